"""Why a request goes where it goes, in words: the same table and the same functions as the hot path.

Rule
    Nothing is decided here. The table matches and assigns, :mod:`proxy.routing.choose` finds units, forced
    variants and samples; this file asks them as the hot path does and writes down what they say.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.routing.choose import (
    NO_UNIT,
    asks_twice,
    find_unit_with_body,
    forced_variant,
    is_logged,
    is_shown,
    shadows_for,
    who_asks,
)
from proxy.routing.hashing import SPACE, bucket
from proxy.routing.table import MISSING, Model, Route, Shadow, Table, Variant
from proxy.wire.request import first_value, host_name, rewrite_target

if TYPE_CHECKING:
    from proxy.settings.keeping import Keep

__all__ = ["Explanation", "LogChoice", "NoRoute", "Request", "ShadowChoice", "explain"]


@dataclass(frozen=True, slots=True)
class Request:
    """The part of a request that decides where it goes."""

    target: bytes
    """Path and query as the client sends them."""
    method: bytes = b"POST"
    host: bytes = b""
    """As in the ``Host`` header: a port is ignored, case does not matter."""
    names: Sequence[bytes] = ()
    """Lower-case header names."""
    values: Sequence[bytes] = ()
    """Their values, in the same order."""
    body: bytes = b""
    """The whole body; empty: none."""
    client: bytes = b""
    """Address of the connection's other end."""


@dataclass(frozen=True, slots=True)
class ShadowChoice:
    """Whether one shadow gets a copy."""

    model: str
    percent: float
    mirrored: bool | None
    """None: each request draws for itself, by its request id."""
    bucket: int | None
    """Under the shadow's own salt."""


@dataclass(frozen=True, slots=True)
class LogChoice:
    """By what a record of the request may come to be, and what would be in it."""

    probability: float
    """How probable it was, before the unit was known, that the sample has it, 0 to 1."""
    kept_if: tuple[str, ...]
    """Rules of ``log.keep`` that watch this request, whatever the sample: what they wait for."""
    budget: int
    """Records of the route per second, about, beyond which a share is left out; 0: no limit."""
    content: str
    """Whether bodies are written: ``yes``, ``no``, or ``not free text``."""
    rows: int
    """Compared rows that a record tells one by one, at most."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """What happens to one request. The fields are those of ``modelproxy explain``."""

    route: str
    rule: dict[str, Any]
    """The route's ``match`` as in the file."""
    unit: str | None
    unit_source: str
    """The source that decided, or ``missing``."""
    bucket: int | None
    fraction: float | None
    """``bucket`` as a part of the whole space, 0 to 1."""
    variant: str | None
    """None: each request draws for itself."""
    role: str | None
    model: str | None
    upstream_url: str | None
    shadows: tuple[ShadowChoice, ...]
    asked_twice: bool | None
    """Whether the request goes to the champion once more (``compare.noise``); None: each request draws for itself."""
    logged: bool | None
    """Whether the payload log's sample has the request; None: each request draws for itself."""
    log: LogChoice | None
    """None: the route has no payload log."""
    shown: bool | None
    """Whether it may become an example, if it disagrees with a shadow (``compare.examples``); None: each request draws
    for itself."""
    probability: float | None
    """How probable this variant was before the unit was known, 0 to 1."""
    forced: bool
    """``x-modelproxy-force`` was honoured."""
    table_version: int | None
    reason: str


@dataclass(frozen=True, slots=True)
class NoRoute:
    """No route takes the request: the client is answered 404."""

    error: str
    routes: tuple[str, ...]
    """The patterns that there are, in the order in which they are tried."""


def explain(table: Table, request: Request, *, version: int | None = None) -> Explanation | NoRoute:
    """Say where ``table`` sends ``request`` and why.

    Args:
        table: the compiled settings.
        request: what the client would send.
        version: number of the table when it is one that serves traffic; None for a file that was only read.
    """
    path = request.target.partition(b"?")[0]
    route = table.match(path, host_name(request.host), request.method)
    if route is None:
        return NoRoute(
            f"no route takes {_text(request.method)} {_text(path)}; the client would be answered 404",
            tuple(_pattern(r) for r in table.routes),
        )
    return _explain_route(table, route, request, version)


def _explain_route(table: Table, route: Route, request: Request, version: int | None) -> Explanation:
    names, values = request.names, request.values
    client = who_asks(table, names, values, request.client)
    # A body that is longer than the side copy is assigned without it.
    body = request.body if len(request.body) <= table.settings.limits.copy_ else b""
    found, index = find_unit_with_body(route, names, values, request.target, client, body)
    unit, source = (None, MISSING) if index == NO_UNIT else (found, route.readers[index].text)
    # A request without a unit draws by its request id: known only if the client sends one.
    drawn_by = unit if unit is not None else first_value(names, values, b"x-request-id") or None
    drawn = _drawn(route.unit_prefix, drawn_by)
    variant, probability, why = _choose(route, unit, drawn)
    forced = forced_variant(table, route, names, values, request.client)
    if forced is not None:
        variant, probability, why = forced, 1.0, "x-modelproxy-force names it and may be believed"
    return Explanation(
        route=route.name,
        rule=_rule(route),
        unit=None if unit is None else _text(unit),
        unit_source=source,
        bucket=drawn,
        fraction=None if drawn is None else drawn / SPACE,
        variant=variant.name if variant else None,
        role=variant.role.value if variant else None,
        model=variant.model.name if variant else None,
        upstream_url=_upstream_url(route, variant.model, request.target) if variant else None,
        shadows=tuple(_shadow(route, shadow, drawn_by) for shadow in route.shadows),
        asked_twice=_asked_twice(route, variant, drawn_by, names),
        logged=_certain(route.log_limit) if drawn_by is None else is_logged(route, drawn_by),
        log=_log(route, drawn_by),
        shown=_shown(route, drawn_by),
        probability=probability,
        forced=forced is not None,
        table_version=version,
        reason=_reason(route, variant, unit, source, why) + (_unsure(route) if version is None else ""),
    )


def _choose(route: Route, unit: bytes | None, drawn: int | None) -> tuple[Variant | None, float | None, str]:
    """Return the variant, how probable it was, and the ground in words."""
    if unit is None and route.missing_champion:
        return route.champion, 1.0, "missing_unit is champion"
    if drawn is None:
        return None, None, "missing_unit is random, so each request draws by its own request id"
    variant = route.assign(drawn)
    place = f"its bucket is at {drawn / SPACE:.4%} of the space, which belongs to {variant.name}"
    if unit is None:
        place = f"missing_unit is random, so x-request-id draws: {place}"
    return variant, variant.probability, place


def _drawn(prefix: bytes, unit: bytes | None) -> int | None:
    return None if unit is None else bucket(prefix, unit)


def _shadow(route: Route, shadow: Shadow, unit: bytes | None) -> ShadowChoice:
    mirrored = _certain(shadow.limit) if unit is None else shadow in shadows_for(route, unit)
    return ShadowChoice(shadow.model.name, float(shadow.percent), mirrored, _drawn(shadow.prefix, unit))


def _asked_twice(
    route: Route, variant: Variant | None, unit: bytes | None, names: Sequence[bytes]
) -> bool | None:
    if route.noise is None:
        return False
    if variant is None or unit is None:
        return None
    return asks_twice(route, variant, unit, names) and bool(shadows_for(route, unit))


def _mirrored(route: Route, unit: bytes | None) -> bool | None:
    """Return whether some shadow gets a copy; None: each request draws for itself."""
    if unit is not None:
        return bool(shadows_for(route, unit))
    certain = [_certain(shadow.limit) for shadow in route.shadows]
    return True if True in certain else None if None in certain else False


def _shown(route: Route, unit: bytes | None) -> bool | None:
    mirrored = _mirrored(route, unit)
    if mirrored is False or not route.shown_limit:
        return False
    shown = _certain(route.shown_limit) if unit is None else is_shown(route, unit)
    return shown if mirrored or shown is False else None


def _log(route: Route, unit: bytes | None) -> LogChoice | None:
    log = route.settings.log
    if not route.is_recorded:
        return None
    # What no shadow gets no shadow disagrees with.
    watching = [
        rule for rule in log.keep if rule.kind != "disagreement" or _mirrored(route, unit) is not False
    ]
    content = "not free text" if log.content == "auto" else "yes" if log.content else "no"
    kept_if = tuple(map(_told, watching))
    return LogChoice(route.log_limit / SPACE, kept_if, log.budget, content, log.rows)


def _told(rule: "Keep") -> str:
    """Return a rule as the file has it."""
    if rule.kind == "slow":
        return f"slow: {rule.slow / 1e9:g}s"
    return f"when: {rule.when}" if rule.kind == "when" else rule.kind


def _certain(limit: int) -> bool | None:
    """Return what a sampler does with every unit: all, none, or None when the unit decides."""
    return limit == SPACE if limit in (0, SPACE) else None


def _reason(route: Route, variant: Variant | None, unit: bytes | None, source: str, why: str) -> str:
    target = f"{variant.name} ({variant.role.value})" if variant else "one of the variants by their weights"
    if unit is None:
        tried = ", ".join(reader.text for reader in route.readers)
        return f"route {route.name}: none of its unit sources ({tried}) is present; {why}; goes to {target}"
    return f"route {route.name}: the unit comes from {source}; {why}; goes to {target}"


def _unsure(route: Route) -> str:
    """Return what a file alone cannot tell."""
    tried = route.settings.rollout_variant
    return f"; the rollout of {tried.name} is taken to be at its first step" if tried is not None else ""


def _upstream_url(route: Route, model: Model, target: bytes) -> str:
    """Return the URL that the model server sees."""
    sent = rewrite_target(target, route.matched_prefix, model.prefix)
    host = f"[{model.host}]" if ":" in model.host else model.host
    return f"{urlsplit(model.settings.urls[0]).scheme}://{host}:{model.port}{_text(sent)}"


def _rule(route: Route) -> dict[str, Any]:
    match = route.settings.match
    rule: dict[str, Any] = {"path": match.path}
    if match.host:
        rule["host"] = match.host
    if match.method:
        rule["method"] = list(match.method)
    return rule


def _pattern(route: Route) -> str:
    rule = _rule(route)
    methods = ",".join(rule.get("method", ()))
    return " ".join(filter(None, (methods, rule.get("host", "") + rule["path"])))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")

"""The runtime table: settings compiled into what a request needs, immutable and numbered.

One request reads one table, from head to record. A table is built whole and swapped by one assignment; the
old one lives until its last request ends.

``compile_table`` is a pure function of (settings, version, positions): supervisor, workers and observer each
call it and get the same indexes, shares and layouts.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from ipaddress import ip_network
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from proxy.evidence.layout import FIELDS
from proxy.model import FAILURE_FAULTS, Failure, Fault, Role
from proxy.routing.experiment import Arm, Experiment, compile_experiment
from proxy.routing.hashing import SPACE, bucket, salt_prefix, share
from proxy.routing.intervals import Claim, Intervals, compile_intervals
from proxy.routing.noise import NoiseSettings, noise_settings, stretch_of
from proxy.routing.outcome_layout import outcome_layout
from proxy.routing.position import Position, weights_of
from proxy.routing.units import Network, UnitReader, compile_reader
from proxy.tally import (
    ENDPOINT_FIELDS,
    MODEL_FIELDS,
    PAYLOAD_FIELDS,
    SHADOW_FIELDS,
    UNROUTED_FIELDS,
    VARIANT_FIELDS,
    WORKER_FIELDS,
    Layout,
)
from proxy.wire.request import climbs_out

if TYPE_CHECKING:
    # For names alone: a worker has settings without their classes (:mod:`proxy.settled`).
    from proxy.settings import Model as ModelSettings
    from proxy.settings import Route as RouteSettings
    from proxy.settings import Settings
    from proxy.settings import Shadow as ShadowSettings
    from proxy.settings import Variant as VariantSettings

__all__ = ["MISSING", "Endpoint", "Model", "Route", "Shadow", "Table", "Variant", "compile_table"]

MISSING = "missing"
"""Value of the metric label ``source`` when no unit source was present."""


class Endpoint:
    """One server of a model."""

    __slots__ = ("host", "host_header", "port", "slot", "url")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self.url = url
        """As metrics name it. It holds no user name or password: the settings refuse these."""
        self.host = parts.hostname or ""
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.host_header = parts.netloc.encode()
        self.slot = 0
        """First slot of the server's section; see ``ENDPOINT_FIELDS``. Only servers that are watched have one."""


class Model:
    """Where answers come from."""

    __slots__ = (
        "endpoints",
        "host",
        "host_header",
        "is_watched",
        "limit",
        "name",
        "pool",
        "port",
        "prefix",
        "secured",
        "settings",
        "slot_faults",
        "slot_limit",
    )

    def __init__(self, name: str, settings: "ModelSettings") -> None:
        self.name = name
        self.settings = settings
        self.endpoints = tuple(Endpoint(url) for url in settings.urls)
        """The servers, one for each URL."""
        self.is_watched = len(self.endpoints) > 1 or settings.health is not None
        """There is a choice among servers, or news of their health: they are counted one by one."""
        first = self.endpoints[0]
        parts = urlsplit(first.url)
        self.host = first.host
        self.port = first.port
        self.host_header = first.host_header
        """Value of ``host`` for HTTP/1.0 clients that sent none."""
        self.prefix = parts.path.rstrip("/").encode()
        """Replaces the matched prefix of the request's path; empty: the path passes unchanged."""
        self.slot_faults = 0
        """Slot of fault 1 (``connect``) minus 1: ``slots[slot_faults + fault] += 1``."""
        self.slot_limit = 0
        """Slot of ``limit_raised``."""
        self.pool: Any = None
        """The worker's connection pool, or its cluster of pools. Attached once, before the table is swapped in."""
        self.limit: Any = None
        """The worker's adaptive limit, if the model has one; attached like the pool."""
        self.secured: Any = None
        """How the worker secures its connections to it, if it does; attached before the pool."""


class Variant:
    """One arm of a route."""

    __slots__ = (
        "header_line",
        "index",
        "model",
        "name",
        "probability",
        "role",
        "settings",
        "slot_codes",
        "slot_duration",
        "slot_duration_sum",
        "slot_evidence",
        "slot_fallbacks",
        "slot_gap",
        "slot_gap_sum",
        "slot_retries",
        "slot_started",
        "slot_ttfb",
        "slot_ttfb_sum",
        "slot_tunnel_received",
        "slot_tunnel_sent",
        "slot_whole",
        "slot_whole_sum",
        "weight",
    )

    def __init__(
        self, index: int, settings: "VariantSettings", model: Model, weight: Decimal, width: int
    ) -> None:
        self.index = index
        self.settings = settings
        self.name = settings.name
        self.role = Role(settings.role)
        self.model = model
        self.weight = weight
        """Percent of the route's traffic; for the champion what is left."""
        self.probability = width / SPACE
        self.header_line = b"x-modelproxy-variant: " + settings.name.encode() + b"\r\n"
        self.slot_started = self.slot_codes = self.slot_retries = self.slot_fallbacks = 0
        self.slot_gap = self.slot_gap_sum = self.slot_tunnel_received = self.slot_tunnel_sent = 0
        self.slot_duration = self.slot_duration_sum = self.slot_ttfb = self.slot_ttfb_sum = 0
        self.slot_whole = self.slot_whole_sum = 0
        self.slot_evidence = index * FIELDS
        """First slot in the block of evidence of its route's experiment."""


class Shadow:
    """A copy of a share of a route's traffic to another model."""

    __slots__ = (
        "bit",
        "index",
        "limit",
        "max_bytes",
        "max_in_flight",
        "model",
        "percent",
        "pool",
        "prefix",
        "quarters",
        "settings",
        "shedding_limit",
        "slot",
        "stretch",
    )

    def __init__(
        self, index: int, settings: "ShadowSettings | NoiseSettings", model: Model, route: str
    ) -> None:
        self.index = index
        self.bit = 1 << index
        """In the mask of the shadows that a request was sent to."""
        self.settings = settings
        self.max_in_flight: int = settings.max_in_flight
        self.max_bytes: int = settings.max_bytes
        self.model = model
        self.percent = settings.percent
        self.limit = share(settings.percent)
        """A unit is mirrored when its bucket under this shadow's salt is below ``limit``."""
        self.prefix = salt_prefix(settings.salt or f"{route}/shadow/{model.name}")
        self.quarters = 3
        """It is dropped when the request's model has more than so many quarters of what it may have under way."""
        self.shedding_limit = 0
        """It is dropped while a worker has more requests than this under way."""
        self.stretch = ""
        """Names what evidence of noise about this candidate is for; see :mod:`proxy.routing.noise`."""
        self.slot = 0
        """First slot of the shadow's section; see ``SHADOW_FIELDS``."""
        self.pool: Any = None
        """The worker's own pool for this shadow. Attached once, before the table is swapped in."""


_DOT, _PERCENT = b".%"
# HOT: a byte is looked for in 10 ns, a text of one or two in 90.


class Route:
    """A compiled route. See :class:`proxy.settings.Route` for what each setting means."""

    __slots__ = (
        "any_host",
        "any_method",
        "arms",
        "body_units",
        "bounds",
        "champion",
        "copies",
        "evidence",
        "exact",
        "experiment",
        "failing_codes",
        "fallback_codes",
        "fallback_faults",
        "force_secret",
        "host",
        "index",
        "intervals",
        "is_compared",
        "is_recorded",
        "keeps_errors",
        "keeps_slow",
        "log_limit",
        "log_prefix",
        "matched_prefix",
        "methods",
        "mirrors_all",
        "missing_champion",
        "name",
        "noise",
        "readers",
        "retry_budget",
        "retry_codes",
        "retry_faults",
        "settings",
        "shadows",
        "shown_limit",
        "shown_prefix",
        "slot_payload",
        "slot_units",
        "timeout_ns",
        "unit_prefix",
        "upgrades",
        "variants",
    )

    def __init__(
        self,
        index: int,
        settings: "RouteSettings",
        models: dict[str, Model],
        positions: Mapping[str, Position],
    ) -> None:
        self.index = index
        self.name = settings.name
        self.settings = settings
        self._compile_match(settings)
        self._compile_variants(settings, models, positions)
        self.readers: tuple[UnitReader, ...] = tuple(compile_reader(u.kind, u.name) for u in settings.unit)
        self.body_units = any(reader.needs_body for reader in self.readers)
        self.missing_champion = settings.missing_unit == "champion"
        self.unit_prefix = salt_prefix(settings.salt or settings.name)
        self.shadows = tuple(
            Shadow(i, shadow, models[shadow.model], settings.name)
            for i, shadow in enumerate(settings.shadows)
        )
        self.mirrors_all = all(shadow.limit == SPACE for shadow in self.shadows)
        """Every shadow gets every request."""
        self._compile_noise(settings)
        self.is_compared = settings.compare.as_ != "none"
        """The observer wants both answers of a mirrored request."""
        log = settings.log
        # Whichever pair disagrees may leave a record, whichever is compared counts by what is in its request.
        shown = (
            SPACE if log.keeps_disagreement or settings.compare.slices else share(settings.compare.examples)
        )
        self.shown_limit = shown if self.is_compared and self.shadows else 0
        """A mirrored unit's requests go along when its bucket under the examples' salt is below ``shown_limit``."""
        self.shown_prefix = salt_prefix(f"{settings.name}/examples")
        self.log_limit = share(log.percent)
        """A unit is logged when its bucket under the log's salt is below ``log_limit``."""
        self.log_prefix = salt_prefix(log.salt or f"{settings.name}/log")
        self.keeps_errors: bool = log.keeps_errors
        self.keeps_slow: int | None = log.keeps_slow
        """What takes more nanoseconds is logged."""
        self.is_recorded = bool(self.log_limit or log.keep)
        """Some request may leave a record."""
        secret = settings.force_secret
        self.force_secret = secret.get_secret_value().encode() if secret else b""
        self.slot_units = self.slot_payload = 0
        self._compile_failures(settings)

    def _compile_noise(self, settings: "RouteSettings") -> None:
        noise = noise_settings(settings)
        self.noise: Shadow | None = None
        """The copy to the champion itself, behind the shadows; see :mod:`proxy.routing.noise`."""
        if noise is not None:
            model = self.champion.model
            self.noise = Shadow(len(self.shadows), noise, model, settings.name)
            self.noise.quarters = 2
            champion = (model.name, model.settings)
            for shadow in self.shadows:
                shadow.stretch = stretch_of(settings, champion, (shadow.model.name, shadow.model.settings))
        self.copies = self.shadows if self.noise is None else (*self.shadows, self.noise)
        """All that a request may be copied to, by index."""

    def _compile_match(self, settings: "RouteSettings") -> None:
        path = settings.match.path.encode()
        self.exact = not path.endswith(b"*")
        self.matched_prefix = path.removesuffix(b"*").rstrip(b"/") if not self.exact else path
        """The part of the path that a model's own path replaces."""
        self.host = settings.match.host.lower().encode() if settings.match.host else b""
        self.any_host = not self.host
        self.methods = frozenset(m.encode() for m in settings.match.method)
        self.any_method = not self.methods

    def _compile_failures(self, settings: "RouteSettings") -> None:
        self.retry_faults, self.retry_codes = _failures(settings.retry)
        self.retry_faults -= {Fault.UNHEALTHY}  # to ask again at once heals nobody
        self.fallback_faults, self.fallback_codes = _failures(settings.fallback)
        self.failing_codes = self.retry_codes | self.fallback_codes
        """Statuses that may not be the last word."""
        self.timeout_ns: int = settings.timeout
        self.upgrades = frozenset(protocol.encode() for protocol in settings.upgrade)
        """Protocols, in lower case, that a request may switch to."""
        self.retry_budget: Any = None
        """This worker's count of retries; see :class:`proxy.dataplane.attempts.RetryBudget`."""

    def _compile_variants(
        self, settings: "RouteSettings", models: dict[str, Model], positions: Mapping[str, Position]
    ) -> None:
        champion = next(i for i, v in enumerate(settings.variants) if v.role == Role.CHAMPION)
        weights = weights_of(settings, positions)
        claims = [
            Claim(i, "bottom" if v.role == Role.CANARY else "top", weights[i], v.max_weight)
            for i, v in enumerate(settings.variants)
            if i != champion
        ]
        self.intervals: Intervals = compile_intervals(claims, champion)
        weights[champion] = 100 - sum((c.weight for c in claims), Decimal(0))
        self.variants = tuple(
            Variant(i, v, models[v.model], weights[i], self.intervals.width(i))
            for i, v in enumerate(settings.variants)
        )
        self.champion = self.variants[champion]
        self.bounds = self.intervals.bounds
        self.arms = tuple(self.variants[i] for i in self.intervals.arms)
        self._compile_experiment(settings, positions)

    def _compile_experiment(self, settings: "RouteSettings", positions: Mapping[str, Position]) -> None:
        arms = [
            Arm(v.name, v.model.settings.urls, self.intervals.width(v.index), v is self.champion)
            for v in self.variants
        ]
        tried = [v.name for v in settings.variants if v.rollout is not None]
        self.experiment: Experiment | None = compile_experiment(
            arms,
            (settings.name, settings.salt or settings.name, *(f"{u.kind}:{u.name}" for u in settings.unit)),
            next((positions[name].rollout for name in tried if name in positions), None),
            is_tried=bool(tried),
        )
        """What there is evidence about; None where one variant gets everything."""
        self.evidence: Any = None
        """Where the worker counts for the experiment. Attached once, before the table is swapped in."""

    def matches(self, path: bytes, host: bytes, method: bytes) -> bool:
        """Tell whether a request with this path (no query), host (no port, lower-case) and method is ours."""
        if self.exact:
            if path != self.matched_prefix:
                return False
        elif not path.startswith(self.matched_prefix) or (
            len(path) > len(self.matched_prefix) and path[len(self.matched_prefix)] != 0x2F and path != b"*"
        ):
            return False
        elif (_DOT in path or _PERCENT in path) and climbs_out(path[len(self.matched_prefix) :]):
            return False  # the model server may resolve it to what the route does not publish
        return (self.any_host or host == self.host) and (self.any_method or method in self.methods)

    @property
    def takes_labels(self) -> bool:
        """Whether what is predicted is remembered until its true answer comes."""
        return self.is_compared and bool(self.shadows) and self.settings.compare.labels is not None

    def bucket(self, unit: bytes) -> int:
        """Return the bucket of ``unit`` under this route's salt."""
        return bucket(self.unit_prefix, unit)

    def assign(self, bucket: int) -> Variant:
        """Return the variant that owns ``bucket``."""
        return self.arms[bisect_right(self.bounds, bucket)]

    def variant(self, name: str) -> Variant | None:
        """Return the variant called ``name``, if there is one."""
        return next((v for v in self.variants if v.name == name), None)


def _failures(conditions: Sequence[Failure | int]) -> tuple[frozenset[Fault], frozenset[int]]:
    """Return the faults and the status codes that ``retry`` or ``fallback`` names."""
    words = [word for word in conditions if isinstance(word, Failure)]
    faults = frozenset().union(*(FAILURE_FAULTS[word] for word in words))
    return faults, frozenset(code for code in conditions if isinstance(code, int))


class Table:
    """Everything a request needs, for one version."""

    __slots__ = (
        "body_limit",
        "choices",
        "copy_limit",
        "digest",
        "fields_limit",
        "head_limit",
        "in_flight_limit",
        "layout",
        "models",
        "observer_layout",
        "request_id_is_unit",
        "routes",
        "settings",
        "shortest_timeout_ns",
        "slot_unrouted",
        "slot_worker",
        "slots",
        "trace_limit",
        "trusted",
        "undecided",
        "version",
    )

    def __init__(
        self, settings: "Settings", version: int, digest: str, positions: Iterable[Position] = ()
    ) -> None:
        self.settings = settings
        self.version = version
        self.digest = digest
        """Hex digest of the configuration document this was compiled from."""
        self.models = {name: Model(name, model) for name, model in settings.models.items()}
        by_route: dict[str, dict[str, Position]] = {route.name: {} for route in settings.routes}
        for position in positions:
            by_route.get(position.route, {})[position.variant] = position
        self.routes = tuple(
            Route(i, route, self.models, by_route[route.name]) for i, route in enumerate(settings.routes)
        )
        self.trusted: tuple[Network, ...] = tuple(
            ip_network(entry, strict=False) for entry in settings.trusted
        )
        self.trace_limit = share(settings.tracing.percent) if settings.tracing.otlp else 0
        """A request is traced when 64 bits of its trace id are below this."""
        self.slot_worker = self.slot_unrouted = 0
        self.request_id_is_unit = any(
            reader.kind == "header" and reader.key == b"x-request-id"
            for route in self.routes
            for reader in route.readers
        )
        """Some route assigns by ``x-request-id``."""
        self.body_limit: int = settings.limits.body
        self.head_limit: int = settings.limits.head
        self.fields_limit: int = settings.limits.headers
        self.copy_limit: int = settings.limits.copy_
        """Cap of each side copy in bytes."""
        self.in_flight_limit: int = settings.limits.in_flight
        """Most requests of a worker under way."""
        self.shortest_timeout_ns: int = min(route.timeout_ns for route in self.routes)
        """The shortest time that a route gives a whole request."""
        self.layout = _worker_layout(self)
        self.observer_layout = outcome_layout(self.routes)
        self.choices: dict[Any, Any] = {}
        """This worker's memo of what the table chose for a head; see :class:`proxy.routing.choose.Choice`."""
        self.undecided = 0
        """Requests of this worker that hold the table and are not counted yet: their unit is in the body."""
        self.slots: Any = None
        """The worker's tally block for this version. Attached once, before the table is swapped in."""
        _attach_slots(self)

    def match(self, path: bytes, host: bytes, method: bytes) -> Route | None:
        """Return the first route that matches."""
        for route in self.routes:
            if route.matches(path, host, method):
                return route
        return None


def compile_table(
    settings: "Settings", version: int, digest: str = "", positions: Iterable[Position] = ()
) -> Table:
    """Return the table of ``settings``.

    Args:
        settings: what the configuration says.
        version: the table's number, 1 and up; 0 is reserved for folded counts.
        digest: of the configuration document.
        positions: where the rollouts stand. A variant with a rollout and no position has the weight of its first step;
            a position of something that has no rollout, or is not there, means nothing.
    """
    return Table(settings, version, digest, positions)


def _worker_layout(table: Table) -> Layout:
    parts: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = [
        ("worker", (), WORKER_FIELDS),
        ("unrouted", (), UNROUTED_FIELDS),
    ]
    parts += [("model", (name,), MODEL_FIELDS) for name in table.models]
    parts += [
        ("endpoint", (model.name, endpoint.url), ENDPOINT_FIELDS)
        for model in table.models.values()
        if model.is_watched
        for endpoint in model.endpoints
    ]
    for route in table.routes:
        parts.append(("unit", (route.name,), (*(r.text for r in route.readers), MISSING)))
        parts.append(("payload", (route.name,), PAYLOAD_FIELDS))
        parts += [("variant", (route.name, v.name, v.model.name), VARIANT_FIELDS) for v in route.variants]
        parts += [("shadow", (route.name, s.model.name), SHADOW_FIELDS) for s in route.shadows]
        if route.noise is not None:
            parts.append(("noise", (route.name, route.noise.model.name), SHADOW_FIELDS))
    return Layout.of(parts)


def _attach_slots(table: Table) -> None:
    layout = table.layout
    table.slot_worker = layout.section("worker").base
    table.slot_unrouted = layout.section("unrouted").base
    for name, model in table.models.items():
        section = layout.section("model", name)
        model.slot_faults, model.slot_limit = section.base - 1, section.slot("limit_raised")
        for endpoint in model.endpoints if model.is_watched else ():
            endpoint.slot = layout.section("endpoint", name, endpoint.url).base
    for route in table.routes:
        route.slot_units = layout.section("unit", route.name).base
        route.slot_payload = layout.section("payload", route.name).base
        for shadow in route.copies:
            kind = "noise" if shadow is route.noise else "shadow"
            shadow.slot = layout.section(kind, route.name, shadow.model.name).base
            shadow.shedding_limit = table.in_flight_limit * shadow.quarters // 4
        for variant in route.variants:
            section = layout.section("variant", route.name, variant.name, variant.model.name)
            variant.slot_started = section.slot("started")
            variant.slot_retries = section.slot("retries")
            variant.slot_fallbacks = section.slot("fallbacks")
            variant.slot_codes = section.slot("code_0")
            variant.slot_whole = section.slot("whole_0")
            variant.slot_whole_sum = section.slot("whole_sum_ns")
            variant.slot_duration = section.slot("duration_0")
            variant.slot_duration_sum = section.slot("duration_sum_ns")
            variant.slot_ttfb = section.slot("ttfb_0")
            variant.slot_ttfb_sum = section.slot("ttfb_sum_ns")
            variant.slot_gap = section.slot("gap_0")
            variant.slot_gap_sum = section.slot("gap_sum_ns")
            variant.slot_tunnel_received = section.slot("tunnel_received_bytes")
            variant.slot_tunnel_sent = section.slot("tunnel_sent_bytes")

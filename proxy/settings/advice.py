"""What is allowed and probably not meant: warnings, each with its place."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from proxy.durations import format_duration
from proxy.errors import Problem
from proxy.model import Role
from proxy.settings.document import Path, Source
from proxy.settings.noise_advice import noise_warnings
from proxy.settings.rollout_advice import rollout_warnings
from proxy.settings.schema import Settings
from proxy.settings.traffic import Match, Outlier, Route, Variant
from proxy.settings.units import format_size

__all__ = ["warnings"]


def warnings(settings: Settings, source: Source | None = None) -> tuple[Problem, ...]:
    """Return what an operator should look at; nothing of it keeps the settings from being used.

    Args:
        settings: what to look at.
        source: where its values stand, from ``parse_with_source``; without it the warnings have no line.
    """
    where = source or Source("settings")
    found = [
        *_unused_models(settings, where),
        *_lonely(settings, where),
        *_unreachable(settings, where),
        *_capped(settings, where),
    ]
    for i, route in enumerate(settings.routes):
        found += _outgrown(route, ("routes", i, "variants"), where)
        found += _idle_log(route, ("routes", i, "log"), where)
        found += _idle_comparison(route, ("routes", i, "compare"), where)
        found += rollout_warnings(route, ("routes", i), where)
        found += noise_warnings(settings, route, ("routes", i), where)
    return tuple(sorted(found, key=lambda p: (p.line, p.column, p.path)))


def _unused_models(settings: Settings, source: Source) -> Iterator[Problem]:
    used = {variant.model for route in settings.routes for variant in route.variants}
    used |= {shadow.model for route in settings.routes for shadow in route.shadows}
    for name in settings.models:
        if name not in used:
            path = ("models", name)
            yield source.problem(path, "a route that uses this model", "a model that none uses", at_key=True)


def _lonely(settings: Settings, source: Source) -> Iterator[Problem]:
    """Find what is said about several servers where there is one."""
    for name, model in settings.models.items():
        if len(model.urls) == 1:
            said = {"balance": model.balance != "least-loaded", "outlier": model.outlier != Outlier()}
            for key in (key for key, is_said in said.items() if is_said):
                path = ("models", name, key)
                found = f"{key} where there is nothing to choose from"
                yield source.problem(path, "a list of several servers under url", found, at_key=True)


def _unreachable(settings: Settings, source: Source) -> Iterator[Problem]:
    for i, later in enumerate(settings.routes):
        for earlier in settings.routes[:i]:
            if _covers(earlier.match, later.match):
                found = f"a route that gets nothing: {earlier.name}, before it, takes all of its requests"
                yield source.problem(("routes", i, "match"), "the narrower route first", found, at_key=True)
                break


def _covers(earlier: Match, later: Match) -> bool:
    """Tell whether every request that ``later`` matches is matched by ``earlier`` too."""
    if earlier.host is not None and earlier.host != later.host:
        return False
    if earlier.method and not (later.method and set(later.method) <= set(earlier.method)):
        return False
    if not earlier.path.endswith("/*"):
        return earlier.path == later.path
    # Both without their star: /a/* covers /a, /a/b and /a/b/*, but not /ab.
    prefix = earlier.path[:-2]
    return f"{later.path.removesuffix('/*')}/".startswith(f"{prefix}/")


def _capped(settings: Settings, source: Source) -> Iterator[Problem]:
    """Compare limits that cap one another."""
    copy, pair = settings.limits.copy_, settings.observer.pair_timeout
    if copy > settings.observer.queue // 2:
        # One exchange holds a request and a response.
        expected = f"at most half of observer.queue ({format_size(settings.observer.queue)})"
        yield source.problem(("limits", "copy"), expected, format_size(copy))
    for i, route in enumerate(settings.routes):
        if route.log.body > copy:
            expected = f"at most limits.copy ({format_size(copy)}): no longer body is copied"
            yield source.problem(("routes", i, "log", "body"), expected, format_size(route.log.body))
        for j, shadow in enumerate(route.shadows):
            if shadow.timeout > pair:
                expected = (
                    f"at most observer.pair_timeout ({format_duration(pair)}): a later answer is not compared"
                )
                path = ("routes", i, "shadows", j, "timeout")
                yield source.problem(path, expected, format_duration(shadow.timeout))


def _idle_log(route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Find what is said about the payload log and comes to nothing."""
    log = route.log
    if log.keeps_disagreement and (not route.shadows or route.compare.as_ == "none"):
        found = "disagreement where nothing is compared"
        expected = "shadows to disagree with, and another compare.as than none"
        yield source.problem((*path, "keep"), expected, found, at_key=True)
    if log.budget and not log.percent and not log.keep:
        found = "a budget where nothing is logged"
        yield source.problem((*path, "budget"), "a percent or a rule of keep beside it", found, at_key=True)


def _idle_comparison(route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Find what is said about a comparison and comes to nothing."""
    compare = route.compare
    if compare.labels is not None and not route.shadows:
        expected = "shadows: a true answer says which of two predictions is right"
        yield source.problem((*path, "labels"), expected, "labels where nothing is compared", at_key=True)
    if compare.slices and (not route.shadows or compare.as_ == "none"):
        expected = "shadows to be compared, and another compare.as than none"
        yield source.problem((*path, "slices"), expected, "slices where nothing is compared", at_key=True)
    for name, attribute in compare.slices.items():
        if attribute.kind == "json" and "*" in attribute.name.split("/"):
            expected = "a pointer to one place: in a slice '*' is a key like any other"
            yield source.problem((*path, "slices", name), expected)
    for key, methods in _READ_BY.items():
        if getattr(compare, key) not in (None, ()) and compare.as_ not in methods:
            expected = f"no {key} beside as: {compare.as_}, which does not look at it: it is for {', '.join(methods)}"
            yield source.problem((*path, key), expected, at_key=True)


_READ_BY: Final = {
    "rtol": ("auto", "json", "regression", "tensor", "text"),
    "atol": ("auto", "json", "regression", "tensor", "text"),
    "ignore": ("auto", "json", "text"),
}
"""Key → methods that read it, of those that others have always let pass."""


def _outgrown(route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Find variants whose weight is larger than the range that is reserved for them."""
    for role in (Role.CHALLENGER, Role.CANARY):
        peers = [(i, variant) for i, variant in enumerate(route.variants) if variant.role is role]
        reserved = _reserved([variant for _, variant in peers])
        for (i, variant), width in zip(peers, reserved, strict=True):
            key, weight = "weight", variant.weight
            own = f"its share among {len(peers)} {role} variants, or a max_weight of its own"
            if variant.rollout is not None:
                key, weight = "rollout", route.promoted_weight
                own = own if variant.max_weight is None else "its max_weight"
            if weight is not None and weight > width:
                beyond = "beyond it a change of weight also moves units of other variants"
                expected = f"at most {_short(width)}, {own}: {beyond}"
                found = _short(weight) if key == "weight" else f"a rollout to {_short(weight)}"
                yield source.problem((*path, i, key), expected, found)


def _reserved(peers: list[Variant]) -> list[Decimal]:
    """Return the percent reserved for each variant of one role: ``max_weight``, or an equal share of the rest."""
    explicit = sum((v.max_weight for v in peers if v.max_weight is not None), Decimal(0))
    open_count = sum(v.max_weight is None for v in peers)
    equal = (100 - explicit) / open_count if open_count else Decimal(0)
    return [equal if v.max_weight is None else v.max_weight for v in peers]


def _short(percent: Decimal) -> str:
    return f"{float(percent):.6g}"

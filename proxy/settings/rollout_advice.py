"""What of a rollout is allowed and probably not meant: warnings, each with its place."""

from collections.abc import Iterator
from decimal import Decimal

from proxy.durations import format_duration
from proxy.errors import Problem
from proxy.model import Role
from proxy.settings.document import Path, Source
from proxy.settings.rollout import Guardrail, Metric, Rollout
from proxy.settings.traffic import Route, Variant
from proxy.settings.units import format_percent

__all__ = ["rollout_warnings"]

_TIMED = frozenset({Metric.LATENCY, Metric.SLOW})

_REFERENCE_NS = 20_000_000_000
"""So long it takes until latency is compared, where requests are many: its counts are kept by ten seconds."""

_ALL = Decimal(100)

_BUCKET = Decimal(5)
"""Percent that a bucket of the latency histograms is wide."""


def rollout_warnings(route: Route, path: Path, source: Source) -> Iterator[Problem]:
    """Yield what an operator should look at in the rollout of one route.

    Args:
        route: what to look at.
        path: where it stands.
        source: where the values of the file stand.
    """
    for i, variant in enumerate(route.variants):
        if variant.rollout is not None:
            here = (*path, "variants", i)
            yield from _evidence(route, path, source)
            yield from _bake(route, variant, variant.rollout, (*here, "rollout"), source)
            yield from _hold(variant.rollout, (*here, "rollout"), source)
            yield from _time(variant.rollout, (*here, "rollout"), source)
            yield from _afterwards(route, variant.rollout, (*here, "rollout"), source)
            yield from _judged(variant.rollout, (*here, "rollout"), source)
            yield from _watched(variant.rollout, (*here, "rollout", "guardrails"), source)
            for j, guardrail in enumerate(variant.rollout.guardrails):
                yield from _margins(guardrail, (*here, "rollout", "guardrails", j), source)


def _evidence(route: Route, path: Path, source: Source) -> Iterator[Problem]:
    if route.missing_unit == "champion":
        expected = (
            "random, beside a rollout: a request without a unit that always takes the champion is no evidence, "
            "because no coin chose for it"
        )
        yield source.problem((*path, "missing_unit"), expected, "champion")


def _bake(route: Route, variant: Variant, rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    if rollout.bake and not any(s.model == variant.model and s.percent for s in route.shadows):
        expected = (
            f"a shadow of {variant.model} in this route: at weight 0 nothing else shows what the canary does"
        )
        yield source.problem((*path, "bake"), expected, format_duration(rollout.bake))


def _hold(rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    is_timed = any(each.metric is Metric.LATENCY and not each.advisory for each in rollout.guardrails)
    if is_timed and rollout.hold < _REFERENCE_NS:
        expected = (
            f"{format_duration(_REFERENCE_NS)} or more beside a guardrail for latency: it takes about so long until "
            "there is something to compare with, and the first step waits for that"
        )
        yield source.problem((*path, "hold"), expected, format_duration(rollout.hold))


def _time(rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    least = rollout.bake + len(rollout.steps) * rollout.hold
    if rollout.max_duration < least:
        expected = (
            f"at least {format_duration(least)}, which bake and hold on each step take: it ends inconclusive"
        )
        yield source.problem((*path, "max_duration"), expected, format_duration(rollout.max_duration))


def _afterwards(route: Route, rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    """Find what needs a champion with traffic when the promotion has left it none."""
    if rollout.holdback:
        return
    if any(v.role is Role.CHALLENGER and v.weight for v in route.variants):
        expected = "a holdback: the promotion leaves the champion nothing, and the challengers nobody to compare with"
        yield source.problem((*path, "holdback"), expected, "0, beside challengers")


def _watched(rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    critical = {guardrail.metric for guardrail in rollout.guardrails if not guardrail.advisory}
    if critical == {Metric.DISAGREEMENT}:
        expected = "a guardrail that rolls back, such as {metric: errors}: disagreement only holds"
        yield source.problem(path, expected, "disagreement alone")
    elif Metric.ERRORS not in critical:
        expected = "{metric: errors} among them: a canary that fails at once is fast, and would be promoted"
        yield source.problem(path, expected, "no critical guardrail for errors")


def _judged(rollout: Rollout, path: Path, source: Source) -> Iterator[Problem]:
    if rollout.takes_feedback and all(step == _ALL for step in rollout.steps):
        expected = (
            "steps below 100 beside a guardrail on feedback: everything is switched at once, before anybody has judged "
            "an answer"
        )
        yield source.problem((*path, "steps"), expected, "100 alone")


def _margins(guardrail: Guardrail, path: Path, source: Source) -> Iterator[Problem]:
    if guardrail.metric is Metric.DISAGREEMENT:
        usual = Guardrail(metric=Metric.ERRORS)
        for key in ("margin", "promotion_margin"):
            if (said := getattr(guardrail, key)) != getattr(usual, key):
                expected = f"no {key}: of disagreement the limit is tolerance, in percent points"
                yield source.problem((*path, key), expected, _percent(said))
        return
    if guardrail.promotion_margin < guardrail.margin:
        expected = (
            f"at least the margin ({_percent(guardrail.margin)}): less is to be shown than is rolled back for"
        )
        yield source.problem((*path, "promotion_margin"), expected, _percent(guardrail.promotion_margin))
    elif (
        guardrail.metric is Metric.LATENCY and guardrail.promotion_margin < _BUCKET and not guardrail.advisory
    ):
        expected = (
            "at least 5%: latency is counted in buckets that wide, so less can never be shown of a canary that is "
            "just as fast"
        )
        yield source.problem((*path, "promotion_margin"), expected, _percent(guardrail.promotion_margin))
    if guardrail.metric in _TIMED and not guardrail.margin:
        expected = (
            "a margin such as 10%: no two hosts are equally fast, and at 0 the slower one is rolled back"
        )
        yield source.problem((*path, "margin"), expected, "0")


def _percent(value: Decimal) -> str:
    return str(format_percent(value))

"""What no single field of a rollout can say: its steps, its guardrails, and what else its route must have."""

from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

from proxy.durations import format_duration, parse_duration
from proxy.errors import Problem
from proxy.model import Role
from proxy.settings.fields import Section
from proxy.settings.grammar import percent, rate, yes_or_no
from proxy.settings.rollout import Metric, Rollout
from proxy.settings.view import View, as_text

__all__ = ["check_rollouts"]

_ALL = Decimal(100)
_STEP = rate(0, 100, above=True).read
_DURATION = as_text(parse_duration)


def check_rollouts(route: View) -> Iterator[Problem]:
    """Yield what is wrong with the rollouts of one route. A field that is wrong in itself counts as absent."""
    first: View | None = None
    for variant in route.items("variants"):
        if variant.at("role").value != Role.CANARY or not isinstance(variant.at("rollout").value, dict):
            continue
        if first is not None:
            expected = f"a weight: one variant of a route has a rollout (variants[{first.path[-1]}] does)"
            yield variant.problem("rollout", expected, "a second rollout")
        first = first or variant
        rollout = variant.at("rollout")
        yield from _growing(rollout)
        yield from _room(route, variant, rollout)
        yield from _time(rollout)
        yield from _judged(rollout)
        yield from _distinct(rollout)
        for guardrail in rollout.items("guardrails"):
            yield from _fields_of(guardrail)
            yield from _compared(route, variant, guardrail)


def _said(view: View, section: type[Section], key: str, read: Any) -> Any:
    """Return what the file says under ``key``, else the default; None where it is broken in itself."""
    return view.read(key, read) if view.has(key) else read(section.model_fields[key].default)


def _steps(rollout: View) -> list[tuple[int, Decimal]]:
    """Return the steps that are right in themselves, with their positions; those of the default where none is said."""
    if not rollout.has("steps"):
        return [(i, Decimal(step)) for i, step in enumerate(Rollout.model_fields["steps"].default)]
    found = []
    for i, value in rollout.each("steps"):
        try:
            found.append((i, _STEP(value)))
        except ValueError:
            continue
    return found


def _growing(rollout: View) -> Iterator[Problem]:
    steps = _steps(rollout)
    for (i, before), (j, step) in pairwise(steps):
        if step <= before:
            expected = f"more than {_short(before)}, the step before it (steps[{i}]): a rollout only grows"
            yield _at(rollout, "steps", j)(expected)


def _room(route: View, variant: View, rollout: View) -> Iterator[Problem]:
    """Compare the steps with what the other variants and the holdback leave. A step of 100 means all of that."""
    weights = (
        other.read("weight", percent().read)
        for other in route.items("variants")
        if other.path != variant.path and other.at("role").value != Role.CHAMPION
    )
    others = sum((weight for weight in weights if weight is not None), Decimal(0))
    holdback = _said(rollout, Rollout, "holdback", rate(0, 50).read) or Decimal(0)
    left = _ALL - others - holdback
    if others > _ALL:
        return  # that is a problem of the weights
    taken = " and ".join(
        [f"the weights of the other variants ({_short(others)})"] * bool(others)
        + [f"the holdback ({_short(holdback)})"] * bool(holdback)
    )
    if left <= 0:
        yield rollout.problem(None, f"something to take: {taken} leave nothing of 100", "a rollout")
        return
    for i, step in _steps(rollout):
        if left < step < _ALL:
            expected = f"at most {_short(left)}, which {taken} leave of 100; or 100 for all of that"
            found = None if rollout.has("steps") else f"{_short(step)}, of the default steps"
            yield _at(rollout, "steps", i)(expected, found)


def _time(rollout: View) -> Iterator[Problem]:
    hold, most = (_said(rollout, Rollout, key, _DURATION) for key in ("hold", "max_duration"))
    if hold is not None and most is not None and most <= hold:
        key = "max_duration" if rollout.has("max_duration") else "hold"
        expected = (
            f"more than hold ({format_duration(hold)}): else it is over on its first step"
            if key == "max_duration"
            else f"less than max_duration ({format_duration(most)}): else it is over on its first step"
        )
        yield rollout.problem(key, expected)


def _judged(rollout: View) -> Iterator[Problem]:
    entries = [entry for _, entry in rollout.each("guardrails")]
    guardrails = rollout.items("guardrails")
    if entries and len(guardrails) == len(entries) and all(_is_advisory(each) for each in guardrails):
        expected = (
            "one at least without advisory: true: nothing would roll back, and nothing keep from promotion"
        )
        yield rollout.problem("guardrails", expected, "advisory guardrails alone")


def _is_advisory(guardrail: View) -> bool:
    return guardrail.read("advisory", yes_or_no().read) is True


def _metric(guardrail: View) -> str | None:
    value = guardrail.at("metric").value
    return str(value) if isinstance(value, str) and value in list(Metric) else None


def _distinct(rollout: View) -> Iterator[Problem]:
    seen: dict[tuple[str, int | None], int] = {}
    for guardrail in rollout.items("guardrails"):
        if (metric := _metric(guardrail)) is None:
            continue
        place = int(guardrail.path[-1])
        slow = metric == Metric.SLOW
        threshold = guardrail.read("threshold", _DURATION) if slow else None
        if slow and threshold is None:
            continue
        if (first := seen.setdefault((metric, threshold), place)) != place:
            key, what = ("threshold", "a threshold") if slow else ("metric", "a metric")
            yield guardrail.problem(key, f"{what} that no other guardrail has (guardrails[{first}] has it)")


def _fields_of(guardrail: View) -> Iterator[Problem]:
    """Find what a guardrail's metric needs, and what it cannot have."""
    metric = _metric(guardrail)
    if metric is None:
        return
    if metric == Metric.SLOW and not guardrail.has("threshold"):
        yield guardrail.problem("threshold", "a duration such as 500ms: what takes longer is slow")
    if metric != Metric.SLOW and guardrail.has("threshold"):
        yield guardrail.problem("threshold", f"no threshold: metric slow has one, {metric} has none")
    if metric == Metric.LATENCY and guardrail.has("tolerance"):
        expected = "no tolerance: latency is compared as a whole, by margin; slow, with a threshold, has one"
        yield guardrail.problem("tolerance", expected)
    if metric == Metric.DISAGREEMENT and not guardrail.has("tolerance"):
        expected = "a percent such as 2%: how many answers may differ from the champion's"
        yield guardrail.problem("tolerance", expected)


def _compared(route: View, canary: View, guardrail: View) -> Iterator[Problem]:
    """Find a guardrail that needs copies which nobody sends."""
    model = canary.name("model")
    if _metric(guardrail) != Metric.DISAGREEMENT or model is None:
        return
    shadows = [shadow for shadow in route.items("shadows") if shadow.name("model") == model]
    if not shadows:
        line = f"shadows: [{{model: {model}, percent: 10}}]"
        found = f"disagreement, and no shadow of {model}"
        yield guardrail.problem(
            "metric", f"copies for the canary's model to answer; add to the route: {line}", found
        )
    elif all(shadow.read("percent", percent().read) == 0 for shadow in shadows):
        found = f"disagreement, and a shadow of {model} that gets 0 percent"
        yield guardrail.problem("metric", f"a percent above 0 for the shadow of {model}", found)
    elif route.at("compare").read("as", str) == "none":
        found = "disagreement, and compare: {as: none}"
        yield guardrail.problem("metric", "answers that are compared: another compare.as than none", found)


def _at(rollout: View, key: str, index: int) -> Any:
    """Return the function that makes a problem with one entry of a list; with the list where it has no such entry."""
    path = (*rollout.path, key, index) if rollout.has(key) else (*rollout.path, key)
    return partial(rollout.document.source.problem, path)


def _short(value: Decimal) -> str:
    return f"{value.normalize():f}"

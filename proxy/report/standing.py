"""How canary and champion do on one guardrail: the verdict in a word, and the figures behind it."""

from enum import StrEnum
from math import inf, isfinite, log

from proxy.plural import count
from proxy.report.facts import Judged
from proxy.report.words import amount, latency, percent, times
from proxy.rollout.decide import SUSPICION, reached
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.guardrails import WIDE_MARGIN
from proxy.rollout.plan import Guardrail
from proxy.settings import Metric

__all__ = ["DOES", "Standing", "figures", "meaning", "ratio_text", "standing"]

DOES = {
    Metric.ERRORS: "failed",
    Metric.CLIENT_ERRORS: "refused requests, as mistakes of the client,",
    Metric.ABANDONED: "lost clients that would not wait",
    Metric.SLOW: "was slow",
    Metric.LATENCY: "took",
    Metric.DISAGREEMENT: "answered otherwise",
    Metric.FEEDBACK: "gave answers that were called bad",
}
"""What a variant does more often where it is worse."""


class Standing(StrEnum):
    """What can be said of a guardrail, in the words of the report."""

    WORSE = "worse"
    LOOKS_WORSE = "looks worse"
    AS_GOOD = "as good"
    UNKNOWN = "not yet known"


def standing(judged: Judged, guardrail: GuardrailEvidence) -> Standing:
    """Return the verdict on one guardrail.

    *worse*: it has reached the evidence for a rollback, by itself. *looks worse*: nothing goes on while it does. *as
    good*: it has reached the evidence for a promotion.
    """
    plan = judged.plan
    is_harmful = guardrail.metric is not Metric.DISAGREEMENT and reached(
        guardrail.harm, log(1 / plan.false_rollback)
    )
    if guardrail.name in judged.evidence.blamed or is_harmful:
        return Standing.WORSE
    if reached(guardrail.suspicion, SUSPICION):
        return Standing.LOOKS_WORSE
    if reached(guardrail.noninferiority, log(1 / plan.false_promotion)):
        return Standing.AS_GOOD
    return Standing.UNKNOWN


def meaning(judged: Judged, guardrail: GuardrailEvidence) -> str:
    """Return what the verdict on one guardrail means, as a sentence."""
    canary, champion = judged.plan.canary.name, judged.plan.champion.name
    found = standing(judged, guardrail)
    planned = next((each for each in judged.plan.guardrails if each.name == guardrail.name), None)
    margin = "the margin"
    if planned is not None:
        margin = percent(
            planned.margin if judged.evidence.is_randomised else max(WIDE_MARGIN, planned.margin)
        )
    within = percent(planned.promotion_margin) if planned else "the promotion margin"
    if planned is not None and planned.metric is Metric.DISAGREEMENT:
        return _disagreement(judged, planned, found)
    what = "slower" if guardrail.metric is Metric.LATENCY else "worse"
    if planned is not None and planned.tolerance and guardrail.metric is not Metric.LATENCY:
        counted = "units that were judged" if guardrail.metric is Metric.FEEDBACK else "requests"
        within += f", or by less than {percent(planned.tolerance)} of {counted}"
    return {
        Standing.WORSE: f"{canary} is {what} than {champion} by more than the margin of {margin}.",
        Standing.LOOKS_WORSE: f"{canary} looks {what} than {champion}, perhaps by less than the margin of {margin}.",
        Standing.AS_GOOD: f"{canary} is as good as {champion}, or {what} by less than {within}.",
        Standing.UNKNOWN: f"Nothing shows that {canary} is {what}, and it is not shown to be as good yet.",
    }[found]


def _disagreement(judged: Judged, planned: Guardrail, found: Standing) -> str:
    canary, champion = judged.plan.canary.name, judged.plan.champion.name
    tolerance = f"{percent(planned.tolerance or 0.0)} of copies"
    if planned.above_noise:
        tolerance += f" more than {champion} differs from itself"
    return {
        Standing.AS_GOOD: f"{canary} answers otherwise than {champion} in less than {tolerance}.",
        Standing.UNKNOWN: f"Whether {canary} answers otherwise in less than {tolerance} is open.",
    }.get(found, f"{canary} answers otherwise than {champion} in more than the tolerated {tolerance}.")


def figures(guardrail: GuardrailEvidence) -> tuple[str, str]:
    """Return what was counted: of the canary, and of the champion."""
    if guardrail.metric is Metric.LATENCY:
        return _quantiles(guardrail.canary_ns), _quantiles(guardrail.champion_ns)
    mine = _events(guardrail.canary_events, guardrail.canary_total)
    if guardrail.metric is Metric.DISAGREEMENT and not guardrail.champion_total:
        return mine, "–"
    return mine, _events(guardrail.champion_events, guardrail.champion_total)


def ratio_text(judged: Judged, guardrail: GuardrailEvidence) -> str:
    """Return the canary's figure as a multiple of the champion's, with limits; of disagreement the share, or what of it
    is above noise."""
    low, high = guardrail.low, guardrail.high
    if guardrail.metric is Metric.DISAGREEMENT:
        return f"{percent(low)} to {percent(min(1.0, high))}" if guardrail.canary_total else "–"
    if low <= 0 and high == inf:
        return "not known"
    limits = f"{times(low)} at least" if not isfinite(high) else f"{amount(low)} to {times(high)}"
    if low <= 0:
        limits = f"{times(high)} at most"
    best = judged.ratio(guardrail)
    return limits if best is None or not isfinite(best) else f"{times(best)} ({limits})"


def _events(events: int, total: int) -> str:
    return f"{events:,} of {count(total)} ({percent(events / total)})" if total else "nothing yet"


def _quantiles(values: tuple[int, ...]) -> str:
    if len(values) != 3:
        return "nothing yet"
    return " / ".join(map(latency, values))

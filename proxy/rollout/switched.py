"""The evidence after everything was switched at once: the canary now against the champion before.

Nobody is on the champion any more, so there is no coin, and nothing here is randomised: an incident of the day looks
like the canary's fault. What guards against switching back for nothing is a wide margin (50 % at least) over a
generous estimate of the champion. It is used for the time of ``switch_back`` alone, and never to promote.

The claim against which evidence is counted: each request, given the past, is an event with probability at most
``(1 + margin) * p``, where p is the upper end of a confidence sequence for the champion's share before the switch, at
half the accepted risk. The other half is for the bet (B5), so the e-value counts half.
"""

from dataclasses import replace
from math import inf, log

import numpy as np

from proxy.model import Metric
from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.feedback import as_events
from proxy.rollout.guardrails import WIDE_MARGIN
from proxy.rollout.plan import EVENT_METRICS, Guardrail
from proxy.rollout.showing import at_each_quantile
from proxy.rollout.slices import BUCKETS, LATENCY, REQUEST_ERRORS, REQUESTS, Counts, Slices
from proxy.stats import histogram, mixtures, proportion

__all__ = ["judge_switched", "judge_switched_feedback"]


def judge_switched(guardrail: Guardrail, before: Slices, after: Slices, alpha: float) -> GuardrailEvidence:
    """Return the evidence that the canary is worse now than the champion was.

    Args:
        guardrail: what must not be worse, and by how much.
        before: slices up to the switch, with the champion's counts.
        after: slices since then, with the canary's.
        alpha: the accepted risk.
    """
    now, then = after.canary.sum(axis=0), before.champion.sum(axis=0)
    margin = max(WIDE_MARGIN, guardrail.margin)
    evidence = GuardrailEvidence(guardrail.name, guardrail.metric, guardrail.advisory)
    if guardrail.metric is Metric.DISAGREEMENT or not then[REQUESTS] or not now[REQUESTS]:
        return evidence
    if guardrail.metric is Metric.LATENCY:
        return _latency(evidence, now, then, margin, alpha)
    events, total = _events(guardrail, now), int(now[REQUESTS])
    old_events, old_total = _events(guardrail, then), int(then[REQUESTS])
    low, high = proportion.proportion_sequence(events, total, alpha)
    old_low, old_high = proportion.proportion_sequence(old_events, old_total, alpha)
    return GuardrailEvidence(
        guardrail.name,
        guardrail.metric,
        guardrail.advisory,
        harm=_beyond((events, total), (old_events, old_total), margin, alpha),
        low=low / old_high,
        high=high / old_low if old_low > 0 else inf,
        canary_events=events,
        champion_events=old_events,
        canary_total=total,
        champion_total=old_total,
    )


def judge_switched_feedback(
    guardrail: Guardrail, said: Slices | None, promoted_ns: int, alpha: float
) -> GuardrailEvidence:
    """Return the same of a guardrail on feedback: of what was said before the switch and since."""
    if said is None:
        return GuardrailEvidence(guardrail.name, guardrail.metric, guardrail.advisory)
    of_feedback = as_events(guardrail, said)
    found = judge_switched(of_feedback, said.before(promoted_ns), said.since(promoted_ns), alpha)
    return replace(found, metric=guardrail.metric)


def _events(guardrail: Guardrail, counts: Counts) -> int:
    if guardrail.metric is not Metric.SLOW:
        return min(int(counts[REQUEST_ERRORS + EVENT_METRICS.index(guardrail.metric)]), int(counts[REQUESTS]))
    assert guardrail.threshold_ns is not None  # the settings ask for it
    first = LATENCY + histogram.bucket_of(guardrail.threshold_ns) + 1
    return min(int(counts[first : LATENCY + BUCKETS].sum()), int(counts[REQUESTS]))


def _beyond(now: tuple[int, int], then: tuple[int, int], margin: float, alpha: float) -> float:
    """Return log e against "a share of (1 + margin) times the champion's at most", events and totals given."""
    most = proportion.proportion_sequence(*then, alpha / 2)[1] * (1 + margin)
    return log(0.5) + proportion.exceeds(*now, most) if most < 1 else 0.0


def _latency(
    evidence: GuardrailEvidence, now: Counts, then: Counts, margin: float, alpha: float
) -> GuardrailEvidence:
    """Compare how many requests took longer than the champion's median and p95, and the margin more for the canary."""
    mine, other = now[LATENCY : LATENCY + BUCKETS], then[LATENCY : LATENCY + BUCKETS]
    moved = histogram.buckets_of_margin(margin)
    reached = np.cumsum(other)
    total, old_total = int(mine.sum()), int(other.sum())
    if not total or not old_total:
        return evidence
    logs = []
    for q in (0.5, 0.95):
        edge = int(np.searchsorted(reached, q * old_total))
        beyond = int(mine[min(edge + moved, BUCKETS - 1) + 1 :].sum())
        logs.append(_beyond((beyond, total), (old_total - int(reached[edge]), old_total), 0.0, alpha))
    return GuardrailEvidence(
        evidence.name,
        evidence.metric,
        evidence.advisory,
        harm=mixtures.average(logs, [0.5, 0.5]),
        canary_total=total,
        champion_total=old_total,
        canary_ns=at_each_quantile(mine),
        champion_ns=at_each_quantile(other),
        parts=(("over_p50", logs[0]), ("over_p95", logs[1])),
    )

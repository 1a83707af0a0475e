"""What people are shown of a guardrail, beyond what decides: intervals, quantiles, and how much more it takes.

No verdict rests on anything here, and it takes longer than all that verdicts rest on: it is made when a decision is
written down, or when somebody asks.
"""

from collections.abc import Callable
from dataclasses import asdict, replace
from math import ceil, inf, log

import numpy as np

from proxy.model import Metric
from proxy.rollout import feedback
from proxy.rollout.evidence import GuardrailEvidence, GuardrailGrounds
from proxy.rollout.guardrails import (
    CONFIDENCE,
    Stretch,
    disagreements,
    event_counts,
    first_outcomes,
    harm_with,
    triples,
    weigh,
    within,
)
from proxy.rollout.plan import Guardrail
from proxy.rollout.slices import BUCKETS, FIRST_LATENCY, LATENCY, REQUESTS, UNITS, Counts, Slices
from proxy.stats import bounded, events, histogram, proportion, quantiles

__all__ = ["at_each_quantile", "events_to_harm", "judge", "ratio_of_events", "show"]

_REGRET = 1.7
"""Nats that a mixture of bets loses to the best of them."""

_ENOUGH_UNITS = 200
"""Units without which no growth of evidence is extrapolated."""

_MOST_EVENTS = 4096
"""Events in a row up to which it is said how many roll back; from 32 on to within a sixteenth."""


def judge(guardrail: Guardrail, stretch: Stretch, enough: float) -> GuardrailEvidence:
    """Return all the evidence about one guardrail; arguments as in :func:`show`."""
    return show(guardrail, weigh((guardrail,), stretch)[0], stretch, enough)


def show(
    guardrail: Guardrail, grounds: GuardrailGrounds, stretch: Stretch, enough: float
) -> GuardrailEvidence:
    """Return what decides of a guardrail together with what is shown.

    Args:
        guardrail: what must not be worse, and by how much.
        grounds: what decides of it.
        stretch: the counts.
        enough: log e that a promotion asks for, to tell how much is missing.
    """
    plain = GuardrailEvidence(**asdict(grounds))
    if guardrail.metric is Metric.DISAGREEMENT:
        return _disagreement(plain, guardrail, stretch.slices, enough)
    if guardrail.metric is Metric.FEEDBACK:
        return _feedback(plain, guardrail, stretch, enough)
    if guardrail.metric is not Metric.LATENCY:
        shown = _events(plain, guardrail, stretch)
    else:
        shown = _latency(plain, stretch.last_epoch)
        if not stretch.has_reference:
            return shown
    return replace(shown, requests_to_show=_more(guardrail, grounds.noninferiority, stretch, enough))


# Events


def _events(plain: GuardrailEvidence, guardrail: Guardrail, stretch: Stretch) -> GuardrailEvidence:
    slices = stretch.slices
    coin = (slices.share > 0) & (slices.share < 1)
    low, high = ratio_of_events(guardrail, stretch)
    return replace(
        plain,
        low=low,
        high=high,
        canary_events=int(first_outcomes(guardrail, slices.canary)[coin].sum()),
        champion_events=int(first_outcomes(guardrail, slices.champion)[coin].sum()),
        canary_total=int(slices.canary[coin, UNITS].sum()),
        champion_total=int(slices.champion[coin, UNITS].sum()),
    )


def _feedback(
    plain: GuardrailEvidence, guardrail: Guardrail, stretch: Stretch, enough: float
) -> GuardrailEvidence:
    if (said := stretch.feedback) is None:
        return plain
    of_feedback = feedback.as_events(guardrail, said.slices)
    shown = _events(plain, of_feedback, said)
    if feedback.is_skewed(stretch.skew):
        return shown
    return replace(shown, requests_to_show=_more(of_feedback, plain.noninferiority, said, enough))


def ratio_of_events(guardrail: Guardrail, stretch: Stretch) -> tuple[float, float]:
    """Return the 95 % confidence sequence of the canary's rate of events as a multiple of the champion's."""
    slices = stretch.slices
    canary, champion = event_counts(guardrail, slices.canary), event_counts(guardrail, slices.champion)
    if not canary.any() and not champion.any():
        return 0.0, inf
    return events.risk_ratio_sequence(canary, champion, slices.share, CONFIDENCE)


def events_to_harm(
    guardrail: Guardrail, harm: float, stretch: Stretch, overall: Callable[[float], float], enough: float
) -> int | None:
    """Return how many more events of the canary, one after another, would roll it back; None: no telling.

    Args:
        guardrail: on events.
        harm: its log e of harm now.
        stretch: the counts, with a coin in one slice at least.
        overall: returns log e of all guardrails together, from that of this one.
        enough: log e of them all that rolls back.
    """
    slices = stretch.slices
    row = int(np.flatnonzero((slices.share > 0) & (slices.share < 1))[-1])

    def rolls_back(more: int) -> bool:
        return overall(harm_with(guardrail, stretch, more)) > enough

    # No event multiplies any bet by more than one over its chance at the margin: fewer than this cannot do.
    share, margin = float(slices.share[row]), guardrail.margin
    most = -log(share * (1 + margin) / (1 + share * margin))
    low = max(0, ceil((enough - overall(harm)) / most) - 1)
    step, high = 1, low + 1
    while not rolls_back(high):
        if high > _MOST_EVENTS:
            return None
        low, step = high, 2 * step
        high += step
    while high - low > max(1, high // 16):
        middle = (low + high) // 2
        low, high = (low, middle) if rolls_back(middle) else (middle, high)
    return high


# Latency


def _latency(plain: GuardrailEvidence, epoch: Slices) -> GuardrailEvidence:
    """Add what people see of the latency in one epoch."""
    first = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    every = slice(LATENCY, LATENCY + BUCKETS)
    firsts = [arm[:, first].sum(axis=0) for arm in (epoch.canary, epoch.champion)]
    low, high = quantiles.quantile_ratio_sequence(firsts[0], firsts[1], 0.5, CONFIDENCE)
    return replace(
        plain,
        low=low,
        high=high,
        canary_total=int(firsts[0].sum()),
        champion_total=int(firsts[1].sum()),
        canary_ns=at_each_quantile(epoch.canary[:, every].sum(axis=0)),
        champion_ns=at_each_quantile(epoch.champion[:, every].sum(axis=0)),
    )


def at_each_quantile(counts: Counts) -> tuple[int, ...]:
    """Return p50, p95 and p99 of a histogram in nanoseconds, for display; nothing when it is empty."""
    if not counts.any():
        return ()
    return tuple(int(histogram.quantile_ns(counts, q)) for q in (0.5, 0.95, 0.99))


# Disagreement


def _disagreement(
    plain: GuardrailEvidence, guardrail: Guardrail, slices: Slices, enough: float
) -> GuardrailEvidence:
    count, total = disagreements(slices)
    more = 0 if plain.noninferiority > enough else None
    if more is None and total >= _ENOUGH_UNITS and plain.noninferiority > 0:
        more = _extrapolated(plain.noninferiority, enough, plain.noninferiority, total)
    if guardrail.above_noise:
        return replace(_above_noise(plain, slices), requests_to_show=more)
    low, high = proportion.proportion_sequence(count, total, CONFIDENCE)
    return replace(plain, low=low, high=high, canary_events=count, canary_total=total, requests_to_show=more)


def _above_noise(plain: GuardrailEvidence, slices: Slices) -> GuardrailEvidence:
    mine, other, total = triples(slices)
    both = slices.shadow.both_odd
    low, high = bounded.mean_sequence((other, total - mine - other, mine), (0.0, 0.5, 1.0), CONFIDENCE)
    return replace(
        plain,
        low=2.0 * low - 1.0,
        high=2.0 * high - 1.0,
        canary_events=mine + both,
        champion_events=other + both,
        canary_total=total,
        champion_total=total,
    )


# How much more


def _more(guardrail: Guardrail, shown: float, stretch: Stretch, enough: float) -> int | None:
    """Return about how many more requests show it, if evidence goes on to grow as in the present epoch."""
    if shown > enough:
        return 0
    epoch = stretch.last_epoch
    units = int(epoch.canary[:, UNITS].sum() + epoch.champion[:, UNITS].sum())
    requests = int(epoch.canary[:, REQUESTS].sum() + epoch.champion[:, REQUESTS].sum())
    if units < _ENOUGH_UNITS:
        return None
    is_all = len(epoch.epochs) == len(stretch.slices.epochs)
    grown = shown if is_all else within(guardrail, Stretch(epoch, stretch.beginning_ns))
    if grown <= -_REGRET / 2:
        return None
    more = _extrapolated(shown, enough, grown, units)
    return None if more is None else int(more * requests / units)


def _extrapolated(shown: float, enough: float, grown: float, units: int) -> int | None:
    growth = (grown + _REGRET) / units
    more = (enough - shown) / growth
    return int(more) + 1 if 0 <= more < inf else None

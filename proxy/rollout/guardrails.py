"""The evidence about one guardrail, from the counts of every slice.

Events (errors, client_errors, abandoned, slow)
    Bets are on the first event of each coin (B1): exact for sticky units, whatever they do later. Money is divided
    beforehand:

    * harm: half on a canary that answers nothing but errors, from the beginning; half on every lesser harm, of which
      half from the beginning and half on late onsets (:func:`~proxy.rollout.slices.starts_ns`). Each part is an
      e-process of the same claim, so their average is one.
    * non-inferiority: half on the risk ratio (B1) and half on the difference (B3) of first outcomes. The average is an
      e-value of "worse by the promotion margin *and* by the tolerance", so what it shows is "within the one or the
      other".

Latency, the rule of two tiers
    E_wide: requests, at a margin of +50 %, which noise of hosts does not reach. E_narrow: requests, at the guardrail's
    margin. E_guard: blocks of time, at the guardrail's margin. The metric's e-value is

        E = 1/2 E_wide + 1/2 min(E_narrow, E_guard).

    Is the lesser of two e-processes one? Of the *union* of their null hypotheses, yes: whichever of the two claims is
    true, that one's e-process bounds the lesser from above at every moment, and what is bounded by an e-process is
    one. So the second term is an e-process of "no slower by the margin for requests, or for hosts over time"; no
    alpha has to be divided and the result may be averaged with other metrics. It dominates the rule with thresholds,
    2/alpha for the wide one or for both others. Two limits, stated: the guard is asymptotic, and it is an e-process of
    the sequence of blocks, stopped here at moments that more is known at. Both bear on the guard alone, and requests
    must agree with it.

    References are frozen: a slice is judged by the one it came with, and a slice without one says nothing.

Disagreement
    One-sample bets (B5) on copies that were compared, against the tolerance.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, inf, log, log1p

import numpy as np

from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.plan import EVENT_METRICS, Guardrail
from proxy.rollout.slices import (
    BUCKETS,
    ERRORS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    PLANNED_STARTS,
    REQUESTS,
    UNITS,
    Counts,
    Reals,
    Slices,
    starts_ns,
)
from proxy.settings import Metric
from proxy.stats import blocks, bounded, events, histogram, latency, mixtures, proportion, quantiles

__all__ = [
    "CONFIDENCE",
    "WIDE_MARGIN",
    "Stretch",
    "at_each_quantile",
    "difference_limit",
    "event_counts",
    "event_harm",
    "first_outcomes",
    "halves",
    "judge",
]

CONFIDENCE = 0.05
"""One less the level of what is shown: the sequences of 95 %."""

WIDE_MARGIN = 0.5
"""Margin of latency that no noise of hosts reaches."""

OUTRIGHT = exp(8.0)
"""Ratio of rates, beyond the margin, that a canary is bet on to have that answers nothing but errors."""

_GUARD_EVERY = 4
"""Of so many moments that evidence is counted from, the blocks are counted from one."""

_BLOCK_NS = 10_000_000_000
_BLOCK_SAMPLES = 50
"""A block lasts 10 s and until both arms have so many requests; at 1 request a second that is 50 s."""

_GUARD_QUANTILES = (0.5, 0.95)
_REGRET = 1.7
"""Nats that a mixture of bets loses to the best of them."""

_ENOUGH_UNITS = 200
"""Units without which no growth of evidence is extrapolated."""

_NO_EVENTS = (0.0, 1.0)
_LOG_TWO = log(2)


@dataclass(frozen=True)
class Stretch:
    """Slices of one stretch of evidence, with what all its guardrails need.

    Bets are exact sums over slices, so slices between two moments that evidence is counted from may be joined where
    share and reference are the same: every log e has the same bits, and a day is a few dozen slices.
    """

    bins: Slices
    """As they were counted: the blocks of time are made of these."""
    beginning_ns: int

    @cached_property
    def slices(self) -> Slices:
        """The slices that bets are on: as few as the bets allow."""
        bins = self.bins
        if not len(bins.epochs):
            return bins
        moments = np.array(starts_ns(self.beginning_ns)[1:], np.int64)
        segment = np.searchsorted(moments, bins.start_ns, side="right")
        epoch = np.array([a != b for a, b in zip(bins.epochs, bins.epochs[1:], strict=False)], bool)
        begins = np.ones(len(bins.epochs), bool)
        begins[1:] = (
            epoch | (np.diff(segment) > 0) | (np.diff(bins.reference) != 0) | (np.diff(bins.share) != 0)
        )
        return bins.joined(np.flatnonzero(begins))

    @cached_property
    def _starts(self) -> tuple[Counts, Counts]:
        """Return the slices that evidence is counted from, and the number of each such moment.

        A slice belongs to the time at which it began: one that reaches over a moment, because nothing was counted for
        a while, is not counted from that moment on.
        """
        moments = np.array(starts_ns(self.beginning_ns)[1:], np.int64)
        rows = np.searchsorted(self.slices.start_ns, moments, side="left")
        numbers = np.flatnonzero(rows < len(self.slices.start_ns)) + 1
        return np.concatenate([[0], rows[numbers - 1]]), np.concatenate([[0], numbers])

    def late(self, by_start: Reals) -> float:
        """Return evidence that also allows for a late onset, from the evidence of each slice and all later ones."""
        if not len(by_start):
            return 0.0
        rows, numbers = self._starts
        return mixtures.late_onset(by_start[rows], PLANNED_STARTS, numbers)

    @cached_property
    def last_epoch(self) -> Slices:
        """The slices of the latest epoch that has a coin."""
        slices = self.slices
        coins = np.flatnonzero((slices.share > 0) & (slices.share < 1))
        if not len(coins):
            return slices.only(coins)
        epoch = slices.epochs[coins[-1]]
        return slices.only(np.flatnonzero([each == epoch for each in slices.epochs]))

    @cached_property
    def latency_share(self) -> Reals:
        """The share of each slice, 0 (no bet) where no reference was frozen."""
        return np.where(self.slices.reference >= 0, self.slices.share, 0.0)

    @cached_property
    def references(self) -> list[latency.Reference]:
        """The reference of each slice; any, where it has none."""
        return [self.slices.references[max(0, i)] for i in self.slices.reference.tolist()]

    @cached_property
    def block_series(self) -> tuple[Counts, list[Reals]]:
        """When each block began, and of each quantile how much slower the canary was in it; NaN: too few answers."""
        begins, canary, champion = _blocks(self.bins)
        fewest = np.minimum(canary.sum(axis=1), champion.sum(axis=1))
        series = []
        for q in _GUARD_QUANTILES:
            ratio = histogram.log_quantiles(canary, q) - histogram.log_quantiles(champion, q)
            series.append(np.where(fewest * min(q, 1 - q) >= blocks.MIN_IN_TAIL - 1e-9, ratio, np.nan))
        return begins, series

    def guard_by_start(self, margin: float) -> Reals:
        """Return the guard's log e-value from each moment on that evidence is counted from."""
        begins, series = self.block_series
        moments = starts_ns(self.beginning_ns)
        known: dict[int, float] = {}
        values = []
        for number in self._starts[1].tolist():
            first = number - number % _GUARD_EVERY
            if first not in known:
                rows = begins >= moments[first] if first else np.ones(len(begins), bool)
                known[first] = _guard([each[rows] for each in series], margin)
            values.append(known[first])
        return np.array(values)

    def late_agreed(self, by_start: Reals, guard: Reals) -> float:
        """Return what requests and blocks agree on, also allowing for a late onset."""
        rows, numbers = self._starts
        return mixtures.late_onset(np.minimum(by_start[rows], guard), PLANNED_STARTS, numbers)


def halves(one: float, other: float) -> float:
    """Return the log of the mean of two e-values, given as logs; one of them may be -inf."""
    most, least = max(one, other), min(one, other)
    return most + log1p(exp(least - most)) - _LOG_TWO if least > -inf else most - _LOG_TWO


def _guard(series: list[Reals], margin: float) -> float:
    logs = [blocks.series_guard(each[~np.isnan(each)], log(1 + margin)) for each in series]
    return mixtures.average(logs, np.ones(len(logs)))


def _blocks(slices: Slices) -> tuple[Counts, Counts, Counts]:
    """Return blocks of at least 10 s and 50 requests per arm: when they began, and both arms' histograms.

    A block lies in one epoch. What is left of an epoch that makes no block is left out.
    """
    starts, spans = slices.start_ns.tolist(), slices.span_ns.tolist()
    firsts: list[int] = []
    lasts: list[int] = []
    first, held, time = 0, [0, 0], 0
    counts = np.stack([slices.canary[:, REQUESTS], slices.champion[:, REQUESTS]], axis=1).tolist()
    for row, epoch in enumerate(slices.epochs):
        if row and epoch != slices.epochs[row - 1]:
            first, held, time = row, [0, 0], 0
        held = [held[0] + counts[row][0], held[1] + counts[row][1]]
        time += spans[row]
        if min(held) >= _BLOCK_SAMPLES and time >= _BLOCK_NS:
            firsts.append(first)
            lasts.append(row)
            first, held, time = row + 1, [0, 0], 0
    if not firsts:
        none = np.zeros((0, BUCKETS), np.int64)
        return np.zeros(0, np.int64), none, none
    columns = slice(LATENCY, LATENCY + BUCKETS)
    edges = np.array([[a, b + 1] for a, b in zip(firsts, lasts, strict=True)]).ravel()
    sums = []
    for arm in (slices.canary, slices.champion):
        padded = np.concatenate([arm[:, columns], np.zeros((1, BUCKETS), np.int64)])
        sums.append(np.add.reduceat(padded, edges, axis=0)[::2])
    return np.array([starts[row] for row in firsts], np.int64), sums[0], sums[1]


def judge(guardrail: Guardrail, stretch: Stretch, enough: float) -> GuardrailEvidence:
    """Return the evidence about a guardrail.

    Args:
        guardrail: what must not be worse, and by how much.
        stretch: the counts.
        enough: log e that a promotion asks for, to tell how much is missing.
    """
    if guardrail.metric is Metric.DISAGREEMENT:
        return _disagreement(guardrail, stretch.slices, enough)
    if guardrail.metric is Metric.LATENCY:
        return _latency(guardrail, stretch, enough)
    return _events(guardrail, stretch, enough)


# Events


def event_counts(guardrail: Guardrail, arm: Counts) -> Counts:
    """Return (S,) the first events of coins: what bets are on."""
    if guardrail.metric is Metric.SLOW:
        return first_outcomes(guardrail, arm)
    column: Counts = arm[:, ERRORS + EVENT_METRICS.index(guardrail.metric)]
    return column


def first_outcomes(guardrail: Guardrail, arm: Counts) -> Counts:
    """Return (S,) of how many coins the first completion was an event."""
    if guardrail.metric is not Metric.SLOW:
        column: Counts = arm[:, FIRST_EVENTS + EVENT_METRICS.index(guardrail.metric)]
        return column
    assert guardrail.threshold_ns is not None  # the settings ask for it
    first = FIRST_LATENCY + histogram.bucket_of(guardrail.threshold_ns) + 1
    slow: Counts = arm[:, first : FIRST_LATENCY + BUCKETS].sum(axis=1)
    return slow


def event_harm(canary: Counts, champion: Counts, stretch: Stretch, margin: float) -> float:
    """Return log e against "no more events than the champion has by the margin", from first events (S,)."""
    if not canary.any() and not champion.any():
        return 0.0
    share = stretch.slices.share
    outright = events.harm_at(canary, champion, share, margin, (1 + margin) * OUTRIGHT)
    lesser = stretch.late(events.harm_by_start(canary, champion, share, margin))
    return halves(outright, lesser)


def _events(guardrail: Guardrail, stretch: Stretch, enough: float) -> GuardrailEvidence:
    slices = stretch.slices
    share = slices.share
    canary, champion = event_counts(guardrail, slices.canary), event_counts(guardrail, slices.champion)
    low, high, suspicion = 0.0, inf, 0.0
    if canary.any() or champion.any():
        low, high = events.risk_ratio_sequence(canary, champion, share, CONFIDENCE)
        suspicion = stretch.late(events.harm_by_start(canary, champion, share, 0.0))
    shown = _events_within(guardrail, slices)
    coin = (share > 0) & (share < 1)
    outcomes = first_outcomes(guardrail, slices.canary), first_outcomes(guardrail, slices.champion)
    return GuardrailEvidence(
        name=guardrail.name,
        metric=guardrail.metric,
        advisory=guardrail.advisory,
        harm=event_harm(canary, champion, stretch, guardrail.margin),
        suspicion=suspicion,
        noninferiority=shown,
        low=low,
        high=high,
        canary_events=int(outcomes[0][coin].sum()),
        champion_events=int(outcomes[1][coin].sum()),
        canary_total=int(slices.canary[coin, UNITS].sum()),
        champion_total=int(slices.champion[coin, UNITS].sum()),
        requests_to_show=_more(shown, enough, stretch, lambda s: _events_within(guardrail, s)),
    )


def _events_within(guardrail: Guardrail, slices: Slices) -> float:
    """Return log e against "worse by the promotion margin and by the tolerance", or more."""
    canary, champion = event_counts(guardrail, slices.canary), event_counts(guardrail, slices.champion)
    ratio = events.noninferiority(canary, champion, slices.share, guardrail.promotion_margin)
    if not guardrail.tolerance:
        return ratio
    return halves(ratio, _difference_within(guardrail, slices, guardrail.tolerance))


def _difference_within(guardrail: Guardrail, slices: Slices, limit: float) -> float:
    canary, champion = (_outcomes(guardrail, arm) for arm in (slices.canary, slices.champion))
    # A centre of 0 for every slice: chosen before any of them, and the same however slices are merged.
    centre = np.zeros(len(slices.share))
    return bounded.difference_within(canary, champion, slices.share, _NO_EVENTS, centre, min(limit, 0.999))


def _outcomes(guardrail: Guardrail, arm: Counts) -> Counts:
    """Return (S, 2) coins whose first completion was no event, and was one."""
    outcomes = np.minimum(first_outcomes(guardrail, arm), arm[:, UNITS])
    return np.stack([arm[:, UNITS] - outcomes, outcomes], axis=1)


def difference_limit(guardrail: Guardrail, slices: Slices, alpha: float) -> float:
    """Return the least excess share of events that is ruled out with confidence ``1 - alpha``, at all times; at most 1.

    Evidence against a difference grows with the difference, so the bound is where it reaches 1/alpha.
    """
    needed = log(1 / alpha)
    inside, outside = log(1e-7), log(0.999)
    if _difference_within(guardrail, slices, exp(outside)) <= needed:
        return 1.0
    for _ in range(9):
        middle = (inside + outside) / 2
        if _difference_within(guardrail, slices, exp(middle)) > needed:
            outside = middle
        else:
            inside = middle
    return exp(outside)


# Latency


def _latency(guardrail: Guardrail, stretch: Stretch, enough: float) -> GuardrailEvidence:
    slices = stretch.slices
    shown = _latency_shown(guardrail, stretch.last_epoch)
    if not slices.references or not (slices.reference >= 0).any():
        return shown
    columns = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    arms = slices.canary[:, columns], slices.champion[:, columns]
    common = (*arms, stretch.latency_share, stretch.references)
    wide_margin = max(WIDE_MARGIN, guardrail.margin)
    narrow = latency.slower_by_start(*common, histogram.buckets_of_margin(guardrail.margin))
    wide = latency.slower_by_start(*common, histogram.buckets_of_margin(wide_margin))
    guard = stretch.guard_by_start(guardrail.margin)
    tiers = stretch.late(wide.combined), stretch.late_agreed(narrow.combined, guard)
    suspicion = stretch.late(narrow.combined)
    within = _not_slower(guardrail, stretch)
    return replace(
        shown,
        harm=halves(*tiers),
        suspicion=suspicion,
        noninferiority=within,
        requests_to_show=_more(
            within, enough, stretch, lambda s: _not_slower(guardrail, Stretch(s, stretch.beginning_ns))
        ),
        parts=(
            ("wide", tiers[0]),
            ("narrow_and_blocks", tiers[1]),
            ("narrow", suspicion),
            ("blocks", float(guard[0])),
            ("tilt", float(narrow.tilt[0])),
            ("over_p50", float(narrow.exceed50[0])),
            ("over_p95", float(narrow.exceed95[0])),
            ("over_p99", float(narrow.exceed99[0])),
        ),
    )


def _not_slower(guardrail: Guardrail, stretch: Stretch) -> float:
    slices = stretch.slices
    if not slices.references or not (slices.reference >= 0).any():
        return 0.0
    columns = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    return latency.not_slower(
        slices.canary[:, columns],
        slices.champion[:, columns],
        stretch.latency_share,
        stretch.references,
        histogram.buckets_within_margin(guardrail.promotion_margin),
    ).combined


def _latency_shown(guardrail: Guardrail, epoch: Slices) -> GuardrailEvidence:
    """Return what people see of the latency in one epoch; nothing of it decides."""
    first = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    every = slice(LATENCY, LATENCY + BUCKETS)
    firsts = [arm[:, first].sum(axis=0) for arm in (epoch.canary, epoch.champion)]
    low, high = quantiles.quantile_ratio_sequence(firsts[0], firsts[1], 0.5, CONFIDENCE)
    return GuardrailEvidence(
        name=guardrail.name,
        metric=guardrail.metric,
        advisory=guardrail.advisory,
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


def _disagreement(guardrail: Guardrail, slices: Slices, enough: float) -> GuardrailEvidence:
    total, count = slices.shadow.compared, min(slices.shadow.disagreed, slices.shadow.compared)
    tolerance = guardrail.tolerance or 0.0
    low, high = proportion.proportion_sequence(count, total, CONFIDENCE)
    beyond = proportion.exceeds(count, total, tolerance)
    within = proportion.within(count, total, tolerance)
    more = 0 if within > enough else None
    if more is None and total >= _ENOUGH_UNITS and within > 0:
        more = _extrapolated(within, enough, within, total)
    return GuardrailEvidence(
        name=guardrail.name,
        metric=guardrail.metric,
        advisory=guardrail.advisory,
        harm=beyond,
        suspicion=beyond,
        noninferiority=within,
        low=low,
        high=high,
        canary_events=count,
        canary_total=total,
        requests_to_show=more,
    )


# How much more


def _more(shown: float, enough: float, stretch: Stretch, of: Callable[[Slices], float]) -> int | None:
    """Return about how many more requests show it, if evidence goes on to grow as in the present epoch."""
    if shown > enough:
        return 0
    epoch = stretch.last_epoch
    units = int(epoch.canary[:, UNITS].sum() + epoch.champion[:, UNITS].sum())
    requests = int(epoch.canary[:, REQUESTS].sum() + epoch.champion[:, REQUESTS].sum())
    if units < _ENOUGH_UNITS:
        return None
    grown = shown if len(epoch.epochs) == len(stretch.slices.epochs) else of(epoch)
    if grown <= -_REGRET / 2:
        return None
    more = _extrapolated(shown, enough, grown, units)
    return None if more is None else int(more * requests / units)


def _extrapolated(shown: float, enough: float, grown: float, units: int) -> int | None:
    growth = (grown + _REGRET) / units
    more = (enough - shown) / growth
    return int(more) + 1 if 0 <= more < inf else None

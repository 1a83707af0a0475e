"""The evidence about one guardrail, from the counts of every slice.

Events (errors, client_errors, abandoned, slow)
    Bets are on the first event of each coin (B1): exact for sticky units, whatever they do later. Money is divided
    beforehand:

    * harm: half on every harm, of which 55 % from the beginning and the rest on late onsets
      (:func:`~proxy.rollout.slices.starts_ns`); a quarter on a canary that answers nothing but errors, from the
      beginning. Each is an e-process of the same claim, and both learn of coins by the same events, so their average is
      one. The last quarter is on first outcomes, also those without an event (:mod:`proxy.stats.outcomes`): where
      the canary fails much, they say as much again. Of that and the average the greater part counts.
    * non-inferiority: half on the risk ratio (B1) and half on the difference (B3) of first outcomes. Each is an
      e-process of "worse by the promotion margin *and* by the tolerance", so what they show is "within the one or the
      other". But a coin is revealed to the one by its first event and to the other by its first outcome, so what
      counts is the greater of the halves, not their sum (:func:`proxy.stats.mixtures.strongest`).

Latency, the rule of two tiers
    E_wide: requests, at a margin of +50 %, which noise of hosts does not reach. E_narrow: requests, at the guardrail's
    margin. E_guard: blocks of time, at the guardrail's margin. The metric's e-value is

        E = 1/2 max(E_wide, min(E_narrow, E_guard)).

    Is the lesser of two e-processes one? Of the *union* of their null hypotheses, yes: whichever of the two claims is
    true, that one's e-process bounds the lesser from above at every moment, and what is bounded by an e-process is
    one. So the second term is an e-process of "no slower by the margin for requests, or for hosts over time". It may
    be that of the blocks, which know more than the first answers, so the greater half counts. A limit, stated: the
    guard is asymptotic; it bears on the guard alone, and requests must agree with it.

    References are frozen: a slice is judged by the one it came with, and a slice without one says nothing.

Feedback
    As events, on slices of their own (:mod:`proxy.rollout.feedback`); nothing where it comes for one variant more often
    than its share says.

Disagreement
    One-sample bets (B5) on copies that were compared, against the tolerance. Where the route asks the champion twice,
    the claim is about how much *more* the canary's model differs than the champion from itself (:mod:`proxy.noise`),
    and so are the bets (:func:`proxy.stats.paired.excess_exceeds`): noise alone speaks against nobody, whatever its
    level. Who differs by the tolerance above noise differs by at least that altogether, so the share of all copies may
    show that it is within, too; the greater half of both counts.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import exp, inf, log, log1p

import numpy as np
from numpy.typing import NDArray

from proxy.model import Metric
from proxy.rollout import feedback
from proxy.rollout.evidence import GuardrailGrounds
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
    added,
    starts_ns,
)
from proxy.stats import blocks, bounded, events, histogram, latency, mixtures, paired, proportion
from proxy.stats.outcomes import outright_harm_each

__all__ = [
    "CONFIDENCE",
    "WIDE_MARGIN",
    "Stretch",
    "difference_limit",
    "disagreements",
    "event_counts",
    "event_harms",
    "first_outcomes",
    "halves",
    "harm_with",
    "triples",
    "weigh",
    "within",
]

CONFIDENCE = 0.05
"""One less the level of what is shown: the sequences of 95 %."""

WIDE_MARGIN = 0.5
"""Margin of latency that no noise of hosts reaches."""

OUTRIGHT = exp(8.0)
"""Ratio of rates, beyond the margin, that a canary is bet on to have that answers nothing but errors."""

_AT_ONCE = 0.55
"""Part of the money that is bet from the beginning; the rest is for late onsets.

With half, looking for late ones costs a tenth more requests where it was there from the beginning (``late-0`` in
``benchmarks/SIMULATION.md``)."""

_GUARD_EVERY = 4
"""Of so many moments that evidence is counted from, the blocks are counted from one."""

_BLOCK_NS = 60_000_000_000
_BLOCK_SAMPLES = 50
"""A block lasts a minute and until both arms have so many requests.

Hosts' noise lasts for minutes, and twenty blocks of 10 s know only three minutes of it: with noise of 5 % per minute
3 % of harmless canaries were rolled back, with blocks of a minute none of 500 (``benchmarks/SIMULATION.md``)."""

_GUARD_QUANTILES = (0.5, 0.95)
_NO_EVENTS = (0.0, 1.0)
_LOG_TWO = log(2)
_HALF_EACH = np.array([0.5, 0.5])
_OUTCOMES_AND_EVENTS = np.array([1.0, 3.0])
_OUTRIGHT_AND_LESSER = np.array([1.0, 2.0])

Pair = tuple[Counts, Counts]
"""Of the canary, and of the champion."""


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
        return float(self.late_each(by_start))

    def late_each(self, by_start: Reals) -> Reals:
        """Return the same of several metrics: from (..., S), (...)."""
        if not by_start.shape[-1]:
            return np.zeros(by_start.shape[:-1])
        rows, numbers = self._starts
        return mixtures.late_onset_each(by_start[..., rows], PLANNED_STARTS, numbers, at_once=_AT_ONCE)

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
    def feedback(self) -> "Stretch | None":
        """What was said about answers in this stretch of evidence; None: nothing is known."""
        said = self.bins.feedback
        return None if said is None else Stretch(said.since(self.beginning_ns), self.beginning_ns)

    @cached_property
    def skew(self) -> float:
        """log e against "feedback comes for each variant as often as its share says"."""
        return 0.0 if self.feedback is None else feedback.skew(self.feedback.bins)

    @cached_property
    def has_reference(self) -> bool:
        """Whether anything can be said about latency."""
        return bool(self.slices.references) and bool((self.slices.reference >= 0).any())

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

    def guard_between(self, margin: float, begin_ns: int, end_ns: int) -> float:
        """Return the guard's log e-value from the blocks that begin between two moments."""
        begins, series = self.block_series
        rows = (begins >= begin_ns) & (begins < end_ns)
        return _guard([each[rows] for each in series], margin)

    def late_agreed(self, by_start: Reals, guard: Reals) -> float:
        """Return what requests and blocks agree on, also allowing for a late onset."""
        rows, numbers = self._starts
        agreed = np.minimum(by_start[rows], guard)
        return mixtures.late_onset(agreed, PLANNED_STARTS, numbers, at_once=_AT_ONCE)


def halves(one: float, other: float) -> float:
    """Return the log of the mean of two e-values, given as logs; one of them may be -inf."""
    most, least = max(one, other), min(one, other)
    return most + log1p(exp(least - most)) - _LOG_TWO if least > -inf else most - _LOG_TWO


def _guard(series: list[Reals], margin: float) -> float:
    logs = [blocks.series_guard(each[~np.isnan(each)], log(1 + margin)) for each in series]
    return mixtures.average(logs, np.ones(len(logs)))


def _blocks(slices: Slices) -> tuple[Counts, Counts, Counts]:
    """Return blocks of at least a minute and 50 requests per arm: when they began, and both arms' histograms.

    A block lies in one epoch. What is left of an epoch that makes no block is left out.
    """
    spans = slices.span_ns.tolist()
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
    begins, ends = np.array(firsts), np.array(lasts) + 1
    canary, champion = (added(arm[:, columns], begins, ends) for arm in (slices.canary, slices.champion))
    return slices.start_ns[begins], canary, champion


def weigh(guardrails: Sequence[Guardrail], stretch: Stretch) -> tuple[GuardrailGrounds, ...]:
    """Return what decides of each guardrail; those on events are weighed together, which is most of the speed."""
    on_events = iter(_events([each for each in guardrails if _is_on_events(each)], stretch))
    found = []
    for each in guardrails:
        if _is_on_events(each):
            found.append(next(on_events))
        elif each.metric is Metric.LATENCY:
            found.append(_latency(each, stretch))
        elif each.metric is Metric.FEEDBACK:
            found.append(_feedback(each, stretch))
        else:
            found.append(_disagreement(each, stretch.slices))
    return tuple(found)


def within(guardrail: Guardrail, stretch: Stretch) -> float:
    """Return log e against "worse by the promotion margin or more", for a guardrail on events or latency."""
    if guardrail.metric is Metric.LATENCY:
        return _not_slower(guardrail, stretch)
    return _events_within([guardrail], stretch)[0]


def _is_on_events(guardrail: Guardrail) -> bool:
    return guardrail.metric in EVENT_METRICS or guardrail.metric is Metric.SLOW


def _grouped(
    guardrails: Sequence[Guardrail], key: Callable[[Guardrail], float], of: Callable[[float, Counts], Reals]
) -> Reals:
    """Return (M,) one log e for each guardrail, asking once for all of them that have a key in common."""
    keys = np.array([key(each) for each in guardrails], np.float64)
    found = np.zeros(len(guardrails))
    for value in np.unique(keys).tolist():
        rows = np.flatnonzero(keys == value)
        found[rows] = of(value, rows)
    return found


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


def harm_with(guardrail: Guardrail, stretch: Stretch, more: int = 0) -> float:
    """Return log e against "no more events than the champion has by the margin", had the canary some more of them.

    Args:
        guardrail: on events.
        stretch: the counts.
        more: units with an event that the canary is given besides, in the last slice with a coin.
    """
    canary, champion = _each_event([guardrail], stretch)
    outcomes = _each_outcome([guardrail], stretch.slices)
    if more:
        row = int(np.flatnonzero((stretch.slices.share > 0) & (stretch.slices.share < 1))[-1])
        canary = canary.copy()
        canary[0, row] += more
        outcomes[0][0, row, 1] += more
    return float(_harms((canary, champion), outcomes, stretch, guardrail.margin)[0])


def _harms(firsts: Pair, outcomes: Pair, stretch: Stretch, margin: float) -> Reals:
    """Return (M,) `harm_with` of several metrics, from first events (M, S) and first outcomes (M, S, 2)."""
    of_events = event_harms(*firsts, stretch, margin)
    of_outcomes = outright_harm_each(*outcomes, stretch.slices.share, margin)
    logs = mixtures.strongest_each(np.stack((of_outcomes, of_events), axis=-1), _OUTCOMES_AND_EVENTS)
    return np.where(_has_any(*firsts), logs, 0.0)


def event_harms(canary: Counts, champion: Counts, stretch: Stretch, margin: float) -> Reals:
    """Return (M,) log e against the same from first events (M, S) alone."""
    share = stretch.slices.share
    outright = events.harm_at_each(canary, champion, share, margin, (1 + margin) * OUTRIGHT)
    lesser = _lesser_harms(canary, champion, stretch, margin)
    logs = mixtures.mixed(np.stack((outright, lesser), axis=-1), _OUTRIGHT_AND_LESSER)
    return np.where(_has_any(canary, champion), logs, 0.0)


def _lesser_harms(canary: Counts, champion: Counts, stretch: Stretch, margin: float) -> Reals:
    by_start = events.harm_by_start(canary, champion, stretch.slices.share, margin)
    return np.where(_has_any(canary, champion), stretch.late_each(by_start), 0.0)


def _has_any(canary: Counts, champion: Counts) -> NDArray[np.bool_]:
    """Tell of which metrics (M, S) there is an event: without any, log e is exactly 0."""
    return (canary.any(axis=1) | champion.any(axis=1)).astype(bool)


def _events(guardrails: Sequence[Guardrail], stretch: Stretch) -> list[GuardrailGrounds]:
    if not guardrails:
        return []
    canary, champion = _each_event(guardrails, stretch)
    outcomes = _each_outcome(guardrails, stretch.slices)
    harm = _grouped(
        guardrails,
        lambda each: each.margin,
        lambda margin, rows: _harms(
            (canary[rows], champion[rows]), (outcomes[0][rows], outcomes[1][rows]), stretch, margin
        ),
    )
    suspicion = _lesser_harms(canary, champion, stretch, 0.0)
    shown = _shown_within(guardrails, (canary, champion), outcomes, stretch.slices.share)
    figures = zip(harm.tolist(), suspicion.tolist(), shown, strict=True)
    return [
        GuardrailGrounds(each.name, each.metric, each.advisory, *found)
        for each, found in zip(guardrails, figures, strict=True)
    ]


def _each_event(guardrails: Sequence[Guardrail], stretch: Stretch) -> tuple[Counts, Counts]:
    """Return the first events (M, S) of both arms."""
    slices = stretch.slices
    canary, champion = (
        np.stack([event_counts(each, arm) for each in guardrails]) for arm in (slices.canary, slices.champion)
    )
    return canary, champion


def _events_within(guardrails: Sequence[Guardrail], stretch: Stretch) -> list[float]:
    """Return log e of each against "worse by the promotion margin and by the tolerance", or more."""
    slices = stretch.slices
    firsts = _each_event(guardrails, stretch)
    return _shown_within(guardrails, firsts, _each_outcome(guardrails, slices), slices.share)


def _shown_within(guardrails: Sequence[Guardrail], firsts: Pair, outcomes: Pair, share: Reals) -> list[float]:
    """Return `_events_within`, from first events (M, S) and first outcomes (M, S, 2)."""
    ratios = _grouped(
        guardrails,
        lambda each: each.promotion_margin,
        lambda margin, rows: events.noninferiority_each(firsts[0][rows], firsts[1][rows], share, margin),
    )
    differences = _grouped(
        guardrails,
        lambda each: each.tolerance or 0.0,
        lambda limit, rows: _differences_within((outcomes[0][rows], outcomes[1][rows]), share, limit),
    )
    either = mixtures.strongest_each(np.stack((ratios, differences), axis=-1), _HALF_EACH)
    has_both = np.array([bool(each.tolerance) for each in guardrails])
    found: list[float] = np.where(has_both, either, ratios).tolist()
    return found


def _each_outcome(guardrails: Sequence[Guardrail], slices: Slices) -> Pair:
    """Return the first outcomes (M, S, 2) of both arms: without the event, with it."""
    canary, champion = (
        np.stack([_outcomes(each, arm) for each in guardrails]) for arm in (slices.canary, slices.champion)
    )
    return canary, champion


def _differences_within(outcomes: Pair, share: Reals, limit: float) -> Reals:
    if not limit:
        return np.zeros(len(outcomes[0]))
    # A centre of 0 for every slice: chosen before any of them, and the same however slices are merged.
    centre = np.zeros(len(share))
    return bounded.difference_within(*outcomes, share, _NO_EVENTS, centre, min(limit, 0.999))


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
    outcomes = _each_outcome([guardrail], slices)
    if _differences_within(outcomes, slices.share, exp(outside))[0] <= needed:
        return 1.0
    for _ in range(9):
        middle = (inside + outside) / 2
        if _differences_within(outcomes, slices.share, exp(middle))[0] > needed:
            outside = middle
        else:
            inside = middle
    return exp(outside)


# Latency


def _latency(guardrail: Guardrail, stretch: Stretch) -> GuardrailGrounds:
    slices = stretch.slices
    plain = GuardrailGrounds(guardrail.name, guardrail.metric, guardrail.advisory)
    if not stretch.has_reference:
        return plain
    columns = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    arms = slices.canary[:, columns], slices.champion[:, columns]
    common = (*arms, stretch.latency_share, stretch.references)
    wide_margin = max(WIDE_MARGIN, guardrail.margin)
    narrow = latency.slower_by_start(*common, histogram.buckets_of_margin(guardrail.margin))
    wide = latency.slower_by_start(*common, histogram.buckets_of_margin(wide_margin))
    guard = stretch.guard_by_start(guardrail.margin)
    tiers = stretch.late(wide.combined), stretch.late_agreed(narrow.combined, guard)
    suspicion = stretch.late(narrow.combined)
    return replace(
        plain,
        harm=mixtures.strongest(tiers, _HALF_EACH),
        suspicion=suspicion,
        noninferiority=_not_slower(guardrail, stretch),
        parts=(
            ("wide", tiers[0]),
            ("narrow_and_blocks", tiers[1]),
            ("narrow", suspicion),
            ("blocks", float(guard[0])),
            ("tilt", float(narrow.tilt[0])),
            ("tail", float(narrow.tail[0])),
            ("over_p50", float(narrow.exceed50[0])),
            ("over_p95", float(narrow.exceed95[0])),
            ("over_p99", float(narrow.exceed99[0])),
        ),
    )


def _not_slower(guardrail: Guardrail, stretch: Stretch) -> float:
    slices = stretch.slices
    if not stretch.has_reference:
        return 0.0
    columns = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    return latency.not_slower(
        slices.canary[:, columns],
        slices.champion[:, columns],
        stretch.latency_share,
        stretch.references,
        histogram.buckets_within_margin(guardrail.promotion_margin),
    ).combined


# Feedback


def _feedback(guardrail: Guardrail, stretch: Stretch) -> GuardrailGrounds:
    said, skewed = stretch.feedback, stretch.skew
    plain = GuardrailGrounds(
        guardrail.name, guardrail.metric, guardrail.advisory, parts=(("allocation", skewed),)
    )
    if said is None or feedback.is_skewed(skewed):
        return plain
    found = _events([feedback.as_events(guardrail, said.slices)], said)[0]
    return replace(plain, harm=found.harm, suspicion=found.suspicion, noninferiority=found.noninferiority)


# Disagreement


def _disagreement(guardrail: Guardrail, slices: Slices) -> GuardrailGrounds:
    count, total = disagreements(slices)
    tolerance = guardrail.tolerance or 0.0
    good = proportion.within(count, total, tolerance)
    if guardrail.above_noise:
        counts = triples(slices)
        beyond = paired.excess_exceeds(*counts, tolerance)
        good = mixtures.strongest([good, paired.excess_within(*counts, tolerance)], [1.0, 1.0])
    else:
        beyond = proportion.exceeds(count, total, tolerance)
    return GuardrailGrounds(
        name=guardrail.name,
        metric=guardrail.metric,
        advisory=guardrail.advisory,
        harm=beyond,
        suspicion=beyond,
        noninferiority=good,
    )


def disagreements(slices: Slices) -> tuple[int, int]:
    """Return how many compared copies disagreed, and how many were compared."""
    total = slices.shadow.compared
    return min(slices.shadow.disagreed, total), total


def triples(slices: Slices) -> tuple[int, int, int]:
    """Return in how many triples only the canary's answer differs, in how many the champion's second; of how many."""
    shadow = slices.shadow
    total = max(shadow.triples, shadow.candidate_odd + shadow.champion_odd + shadow.both_odd)
    return shadow.candidate_odd, shadow.champion_odd, total

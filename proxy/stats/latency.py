"""Bets on the assignment coin that look at latency: is the canary slower, or not slower, than the champion?

Theory of operation
    The proxy flips a coin of known probability ``share`` for each request: canary or champion. Where the canary is
    no slower, a duration says nothing about the coin that is in the canary's disfavour, so nobody can get rich by
    betting "it was the canary" on slow answers. For a function ``x`` of the bucket that never falls, the bettor's
    wealth is multiplied by ``exp(x) / m`` for a canary's answer and by ``1 / m`` for a champion's, with
    ``m = share exp(x) + 1 - share``. Its mean is ``1 + E_canary[q] - E_champion[q]`` with ``q = share exp(x) / m``:
    exactly 1 where both have the same law, at most 1 where the canary is stochastically faster, in every slice and
    whatever came before. So the wealth is an e-process: P(it ever reaches 1/alpha) <= alpha.

Bets
    *Tilt*: ``x = d g - c(d)``, ``g`` the normal score of the bucket's mid-rank in the reference; finds shifts of
    everything. *Tail*: the same with a score that is 0 up to the reference's 98.5th percentile and rises from there
    with the logarithm of how rare an answer is; finds tails that got longer in about two thirds of the requests that
    counting what is above one edge needs. *Exceedance* of the reference's q50, q95 and q99 and of an objective (SLO):
    ``x = d`` above a bucket edge. "p99 is above t" is "more than 1 percent are above t", so this is the test of
    p99, and its null needs no stochastic order: only that the canary exceeds the edge no more often. Each bet
    is an average over a grid of ``d``, and what is combined is an average of bets.

Margins
    "slower by more than the margin" compares the canary with the champion whose durations were all multiplied by
    ``GAMMA**buckets``, which on counts is a shift and exact. The reference shifts with it.

Source: the lemma is E[e] = 1 + E_1[q] - E_0[q] of proxy/stats/events.py; betting on ranks: Duan, Ramdas &
Wasserman, "Interactive rank testing by betting", CLeaR 2022. Checked against: full enumeration of E[e] in
tests/stats/test_latency.py, error below 1e-12.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import numpy as np

from proxy.stats.exact import counts_of, grouped_suffix_sums, shares_of
from proxy.stats.histogram import Counts, shift
from proxy.stats.special import Floats, logsumexp, ndtri

__all__ = [
    "WEIGHTS",
    "LatencyEvidence",
    "Reference",
    "not_slower",
    "slower",
    "slower_alone",
    "slower_by_start",
]

QUANTILES: Final = (0.50, 0.95, 0.99)
"""Whose bucket edges in the reference are bet on."""

TILTS: Final[Floats] = 0.05 * 2.0 ** (np.arange(8) / 2)
"""Grid of the tilt: how many standard deviations of the reference's normal score everything is shifted."""

TAIL_TILTS: Final[Floats] = 0.1 * 2.0 ** (np.arange(6) / 2)
"""Grid of the tail: 0.1 says that answers that were e times rarer became exp(0.1) times more frequent among these."""

TAIL: Final = 0.015
"""The share of the reference's slowest answers that the tail's score tells apart."""

MAX_TAIL_SCORE: Final = 5.0
"""No answer is taken as more than exp(5) times rarer than the tail's first one."""

LOG_RATIOS: Final[Floats] = 0.1 * 2.0 ** (np.arange(12) / 2)
"""Grid of the exceedances: log risk ratios (log odds ratios where the exceedance is common), 0.1..4.5."""

MAX_SCORE: Final = 6.0
"""No bucket has a score above this: an unheard-of duration must not decide by itself."""

COMMON: Final = 0.1
"""From this probability on an exceedance's absence is bet on, too: half of the information on q50 is there."""

WEIGHTS: Final = (0.40, 0.45, 0.05, 0.05, 0.05)
"""Of tilt, tail, q50, q95 and q99 in the combined evidence of harm.

Chosen by simulation before any rollout: the first two find every change that was tried sooner than the
exceedances do, which stay for what they say about one quantile, and so that no change is invisible.
"""

SLO_WEIGHT: Final = 0.2
"""Of the objective, where there is one; the others share the rest as their weights say."""

Value = TypeVar("Value", float, Floats)


@dataclass(frozen=True, slots=True)
class LatencyEvidence(Generic[Value]):
    """Natural logarithms of e-values, one number each, or one for each start."""

    tilt: Value
    """From the normal scores of everything."""

    tail: Value
    """From how far the slowest answers are out."""

    exceed50: Value
    """From exceedances of the reference's median."""

    exceed95: Value
    """From exceedances of the reference's 95th percentile."""

    exceed99: Value
    """From exceedances of the reference's 99th percentile."""

    slo: Value | None
    """From exceedances of the objective; None where there is none."""

    combined: Value
    """What decides: see the function that returned this."""


class Reference:
    """What was known of the champion's latency before the bets: fixes scores and thresholds, never changes.

    Any histogram gives valid bets as long as it was chosen before the requests that are bet on; the closer it is
    to the champion's law, the better they are. A reference is best built from at least 20 000 answers.

    Attributes:
        counts: ``(B,)`` int64, read-only.
        mass: ``(B,)`` float64, the probability of each bucket: one made-up request is spread over all buckets, so
            that none has probability 0.
        scores: ``(B,)`` float64, never falling: normal quantile of the mid-rank, standardised under ``mass`` and
            clipped to -6..6.
        tail_scores: ``(B,)`` float64, never falling: 0 below the tail, then the log of how rare an answer is, to 5.
        thresholds: bucket of q50, q95 and q99; "exceeds" is "in a bucket above". They may coincide, where many
            answers have the same bucket: the bets then are equal and their weights add up.

    Checked against: scipy 1.17.1 ``norm.ppf`` of the mid-ranks.
    """

    __slots__ = ("_kept", "_ratios", "_shifted", "counts", "mass", "scores", "tail_scores", "thresholds")

    counts: Counts
    mass: Floats
    scores: Floats
    tail_scores: Floats
    thresholds: tuple[int, int, int]

    def __init__(self, counts: Counts) -> None:
        """Build the reference from a histogram of the champion.

        Args:
            counts: ``(B,)`` int64 with at least one answer and at least two buckets.

        Raises:
            ValueError: an empty histogram, a negative count or a wrong shape.
        """
        self.counts = np.array(counts, np.int64)
        if self.counts.ndim != 1 or self.counts.size < 2:
            raise ValueError(f"expected a histogram of two or more buckets, got shape {self.counts.shape}")
        total = int(self.counts.sum())
        if total < 1 or self.counts.min() < 0:
            raise ValueError("expected a histogram with at least one answer and no negative count")
        self.counts.flags.writeable = False
        self.mass = np.asarray((self.counts + 1.0 / self.counts.size) / (total + 1.0), np.float64)
        self.scores = _scores(self.mass)
        self.tail_scores = _tail_scores(self.mass)
        cumulative = np.cumsum(self.counts)
        below = [int(np.searchsorted(cumulative, q * total)) for q in QUANTILES]
        self.thresholds = (below[0], below[1], below[2])
        self._shifted: dict[tuple[int, bool], Reference] = {}
        self._ratios: dict[tuple[int, float], Floats] = {}
        self._kept: tuple[tuple[Counts, Counts, Floats], dict[int, float]] | None = None

    def recalled(self, canary: Counts, champion: Counts, share: Floats) -> dict[int, float]:
        """Return what `slower_alone` has found in these counts, by margin; of others it forgets everything."""
        asked, kept = (canary, champion, share), self._kept
        if kept is None or not all(map(np.array_equal, kept[0], asked)):
            kept = self._kept = ((canary.copy(), champion.copy(), share.copy()), {})
        return kept[1]

    def shifted(self, buckets: int, *, hold_first: bool = False) -> "Reference":
        """Return the reference of durations times ``GAMMA**buckets``: scores and thresholds move along."""
        if buckets == 0:
            return self
        found = self._shifted.get((buckets, hold_first))
        if found is None:
            found = Reference(shift(self.counts, buckets, hold_first=hold_first))
            self._shifted[buckets, hold_first] = found
        return found

    def tilted(self, sign: float) -> Floats:
        """Return the log likelihood ratios ``(D, B)`` of tilt and tail, over both grids, each d times ``sign``."""
        key = (-1, sign)
        if key not in self._ratios:
            self._ratios[key] = np.concatenate(
                [
                    _tilted(self.mass, self.scores, sign * TILTS),
                    _tilted(self.mass, self.tail_scores, sign * TAIL_TILTS),
                ]
            )
        return self._ratios[key]

    def exceeding(self, edge: int, sign: float) -> Floats:
        """Return the log likelihood ratios ``(D, 2)`` of an answer up to a bucket and above it."""
        key = (edge, sign)
        if key not in self._ratios:
            self._ratios[key] = _exceeding(self.mass, edge, sign)
        return self._ratios[key]


def _scores(mass: Floats) -> Floats:
    """Return the normal scores of the buckets: never falling, mean 0 and variance 1 before they are clipped."""
    below = np.cumsum(mass) - mass / 2
    above = np.cumsum(mass[::-1])[::-1] - mass / 2
    # Each tail is summed from its own end: 1 - 1e-17 is 1, and its quantile infinity.
    raw = np.where(below < 0.5, ndtri(np.minimum(below, 0.5)), -ndtri(np.minimum(above, 0.5)))
    centred = raw - float(mass @ raw)
    spread = math.sqrt(float(mass @ centred**2))
    scores = np.clip(centred / spread if spread > 0.0 else centred, -MAX_SCORE, MAX_SCORE)
    # Rounding may not make a score fall: the bets' guarantee rests on that they do not.
    return np.maximum.accumulate(scores)


def _tail_scores(mass: Floats) -> Floats:
    """Return how far out in the tail each bucket is: ``log(TAIL / P(above its middle))``, 0 before the tail."""
    above = np.cumsum(mass[::-1])[::-1] - mass / 2
    return np.maximum.accumulate(np.clip(math.log(TAIL) - np.log(above), 0.0, MAX_TAIL_SCORE))


def slower(
    canary: Counts,
    champion: Counts,
    share: Floats,
    reference: Reference | Sequence[Reference],
    shift_buckets: int = 0,
    *,
    slo_bucket: int | None = None,
) -> LatencyEvidence[float]:
    """Return the evidence that the canary is slower than the champion times ``GAMMA**shift_buckets``.

    Model: in each slice every request's coin falls on the canary with probability ``share``, whatever the request.
    Durations may drift and depend on anything but the coin. Null hypothesis: in each slice the canary's duration
    is stochastically at most the champion's times the margin; of an exceedance alone: the canary's exceeds that
    edge no more often. ``combined`` is the weighted average of the e-values (`WEIGHTS`), an e-value of the former.

    Args:
        canary: ``(S, B)`` int64, counts of each slice.
        champion: ``(S, B)`` int64.
        share: ``(S,)`` in 0..1: P(canary | canary or champion). Slices at 0 or 1 add exactly 0.
        reference: Chosen before the first slice; or one for each slice, chosen before that slice.
        shift_buckets: The margin, at least 0 (`proxy.stats.histogram.buckets_of_margin`).
        slo_bucket: Bucket of the champion's shifted scale whose upper edge is the objective: answers in higher
            buckets miss it.

    Returns:
        Natural logarithms, finite; 0 where nothing was counted. Reject at ``log(1/alpha)``, at any time.

    Raises:
        ValueError: shapes that do not fit, a share outside 0..1, a negative margin or an unknown bucket.
    """
    every = slower_by_start(canary, champion, share, reference, shift_buckets, slo_bucket=slo_bucket)
    return LatencyEvidence(
        tilt=_first(every.tilt),
        tail=_first(every.tail),
        exceed50=_first(every.exceed50),
        exceed95=_first(every.exceed95),
        exceed99=_first(every.exceed99),
        slo=None if every.slo is None else _first(every.slo),
        combined=_first(every.combined),
    )


def slower_by_start(
    canary: Counts,
    champion: Counts,
    share: Floats,
    reference: Reference | Sequence[Reference],
    shift_buckets: int = 0,
    *,
    slo_bucket: int | None = None,
) -> LatencyEvidence[Floats]:
    """Return what `slower` does for each start: element j is the evidence of slices j and later.

    For `proxy.stats.mixtures.late_onset`. Shapes: each field is ``(S,)``; element 0 is what `slower` returns.
    """
    logs = _logs_by_start(canary, champion, share, reference, shift_buckets, 1.0, slo_bucket)
    tilt, tail, exceed50, exceed95, exceed99, *slo = logs
    weights = WEIGHTS if not slo else (*(weight * (1.0 - SLO_WEIGHT) for weight in WEIGHTS), SLO_WEIGHT)
    combined = logsumexp(np.stack(logs) + np.log(weights)[:, None], axis=0)
    return LatencyEvidence(tilt, tail, exceed50, exceed95, exceed99, slo[0] if slo else None, combined)


def slower_alone(
    canary: Counts, champion: Counts, share: Floats, reference: Reference, shifts: Sequence[int]
) -> list[float]:
    """Return the ``combined`` evidence that `slower` finds, for each margin of ``shifts``: the same bits.

    The reference keeps the last counts that it was asked about, and what was found: for a stretch of time that has a
    reference of its own, and is asked about again when it is long over.
    """
    recalled = reference.recalled(canary, champion, share)
    for shift_buckets in shifts:
        if shift_buckets not in recalled:
            found = slower(canary, champion, share, reference, shift_buckets)
            recalled[shift_buckets] = found.combined
    return [recalled[shift_buckets] for shift_buckets in shifts]


def not_slower(
    canary: Counts,
    champion: Counts,
    share: Floats,
    reference: Reference | Sequence[Reference],
    shift_buckets: int,
    *,
    slo_bucket: int | None = None,
) -> LatencyEvidence[float]:
    """Return the evidence that the canary is *not* slower than the champion times ``GAMMA**shift_buckets``.

    For promotion. Model, arguments and errors as in `slower`; the bets are on fast answers. Null hypothesis of
    each exceedance: the canary exceeds the shifted edge at least as often as the shifted champion; of tilt and tail:
    its duration is stochastically at least the shifted champion's. ``combined`` is the least of q50, q95 and, where
    given, the objective: an e-value of "at one of them the canary is slower by the margin or more", so a better
    median cannot buy a worse tail. (q99 needs several times more requests and is watched by `slower`.)

    Take `proxy.stats.histogram.buckets_within_margin` for ``shift_buckets``.
    """
    by_start = _logs_by_start(canary, champion, share, reference, shift_buckets, -1.0, slo_bucket)
    logs = [_first(log_es) for log_es in by_start]
    tilt, tail, exceed50, exceed95, exceed99, *slo = logs
    return LatencyEvidence(
        tilt,
        tail,
        exceed50,
        exceed95,
        exceed99,
        slo=slo[0] if slo else None,
        combined=min(exceed50, exceed95, *slo),
    )


def _first(by_start: Floats) -> float:
    """Return the evidence of all slices."""
    return float(by_start[0]) if by_start.size else 0.0


def _logs_by_start(
    canary: Counts,
    champion: Counts,
    share: Floats,
    reference: Reference | Sequence[Reference],
    shift_buckets: int,
    sign: float,
    slo_bucket: int | None,
) -> list[Floats]:
    """Return for each bet its log e-value ``(S,)`` of slices j and later, averaged over its grid."""
    shares, coin = shares_of(share)
    references = [reference] * len(shares) if isinstance(reference, Reference) else list(reference)
    _check(canary, champion, shares, references, shift_buckets, slo_bucket)
    # Bucket 0 has no lower edge: its shift is rounded in the null hypothesis's favour.
    hold_first = sign < 0.0
    moved = shift(champion, shift_buckets, hold_first=hold_first)
    # Most of the buckets are empty in every slice.
    used = np.flatnonzero(canary.any(axis=0) | moved.any(axis=0))
    ones, zeros = counts_of(canary[:, used]), counts_of(moved[:, used])
    if not coin.all():
        ones, zeros = ones * coin[:, None], zeros * coin[:, None]
    pairs, group = _groups(references, shares)
    if not pairs:
        return [np.zeros(0) for _ in range(5 if slo_bucket is None else 6)]
    groups = [(each.shifted(shift_buckets, hold_first=hold_first), value) for each, value in pairs]
    value = np.array([share for _, share in groups])
    tilts = np.stack([each.tilted(sign)[:, used] for each, _ in groups])
    graded = grouped_suffix_sums(np.concatenate([ones, zeros], axis=1), _factors(tilts, value), group)
    growths = [graded[:, : len(TILTS)], graded[:, len(TILTS) :]]
    sums = [_from_zero(ones), _from_zero(zeros)]
    for number in range(3 if slo_bucket is None else 4):
        edges = [each.thresholds[number] if number < 3 else slo_bucket or 0 for each, _ in groups]
        x = np.stack([each.exceeding(edge, sign) for (each, _), edge in zip(groups, edges, strict=True)])
        last = np.searchsorted(used, edges, side="right")[group]
        counts = np.concatenate([_two(each, last) for each in sums], axis=1)
        growths.append(grouped_suffix_sums(counts, _factors(x, value), group))
    return [logsumexp(growth, axis=1) - math.log(growth.shape[1]) for growth in growths]


def _groups(references: list[Reference], shares: Floats) -> tuple[list[tuple[Reference, float]], Counts]:
    """Return the distinct pairs of reference and share, and which of them each slice has."""
    if references and all(each is references[0] for each in references):
        values, group = np.unique(shares, return_inverse=True)
        return [(references[0], value) for value in values.tolist()], group
    numbers: dict[tuple[int, float], int] = {}
    groups: list[tuple[Reference, float]] = []
    group = np.empty(len(references), np.int64)
    for row, (reference, share) in enumerate(zip(references, shares.tolist(), strict=True)):
        number = numbers.setdefault((id(reference), share), len(groups))
        if number == len(groups):
            groups.append((reference, share))
        group[row] = number
    return groups, group


def _check(
    canary: Counts,
    champion: Counts,
    share: Floats,
    references: list[Reference],
    shift_buckets: int,
    slo_bucket: int | None,
) -> None:
    if canary.shape != champion.shape or canary.ndim != 2 or share.shape != canary.shape[:1]:
        raise ValueError(
            f"expected counts (S, B) and shares (S,), got {canary.shape}, {champion.shape} and {share.shape}"
        )
    if len(references) != len(share) or any(each.counts.shape != canary.shape[1:] for each in references):
        raise ValueError("expected one reference, or one for each slice, over the buckets of the counts")
    if shift_buckets < 0:
        raise ValueError(f"expected a margin of 0 or more buckets, got {shift_buckets}")
    if slo_bucket is not None and not 0 <= slo_bucket < canary.shape[1]:
        raise ValueError(f"expected a bucket in 0..{canary.shape[1] - 1}, got {slo_bucket}")


def _from_zero(counts: Counts) -> Counts:
    """Return ``(S, K + 1)``: how many are in the first 0..K columns."""
    sums = np.zeros((counts.shape[0], counts.shape[1] + 1), np.int64)
    np.cumsum(counts, axis=1, out=sums[:, 1:])
    return sums


def _two(sums: Counts, last: Counts) -> Counts:
    """Return counts ``(S, 2)``: in the first ``last`` columns of each slice, in those after them."""
    below = np.take_along_axis(sums, last[:, None], axis=1)
    return np.concatenate([below, sums[:, -1:] - below], axis=1)


def _tilted(mass: Floats, scores: Floats, grid: Floats) -> Floats:
    """Return ``x = d g - c(d)`` as ``(D, K)``: the log likelihood ratio of the tilted law to the reference."""
    raised = grid[:, None] * scores
    return np.asarray(raised - logsumexp(raised + np.log(mass), axis=1)[:, None])


def _exceeding(mass: Floats, edge: int, sign: float) -> Floats:
    """Return ``x`` as ``(D, 2)`` for "up to the edge" and "above it"."""
    above = float(mass[edge + 1 :].sum())
    grid = sign * LOG_RATIOS
    if above > COMMON:
        return _tilted(np.array([1.0 - above, above]), np.array([0.0, 1.0]), grid)
    # Given an event its coin is canary with probability pi RR / (pi RR + 1 - pi), whatever the champion's rate is:
    # nothing is lost when that rate drifts away from the reference.
    return np.stack([np.zeros_like(grid), grid], axis=1)


def _factors(x: Floats, share: Floats) -> Floats:
    """Return the log growth of the wealth, by a canary's answer in each class, then by a champion's.

    Shapes: ``x: (G, D, K)``, ``share: (G,)``; the result is ``(G, 2 K, D)``.
    """
    loss = np.log1p(share[:, None, None] * np.expm1(x))
    return np.concatenate([x - loss, -loss], axis=2).transpose(0, 2, 1)

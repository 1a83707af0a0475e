"""Evidence at every look of a run.

A look sees all slices up to it. ``*_by_start`` returns the evidence of each slice and all *later* ones, and sums do not
depend on the order of slices; so, given the slices backwards, it returns the evidence of every look. What has no such
function is evaluated here for all looks at once by the formula of its docstring; tests/simulation/test_looks.py
compares every function of this file, look by look, with the one that decides.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeAlias

import numpy as np

from benchmarks.simulation.cell import Floats
from proxy.stats import blocks, bounded, events, latency
from proxy.stats.allocation import mismatch_each
from proxy.stats.exact import Counts, grouped_suffix_sums, shares_of
from proxy.stats.histogram import log_quantiles
from proxy.stats.proportion import exceeds, within
from proxy.stats.quantiles import proportion_mixture
from proxy.stats.special import logsumexp

__all__ = [
    "allocation_by_look",
    "below_by_look",
    "bets_by_look",
    "difference_by_look",
    "exceeds_by_look",
    "first_reached",
    "guard_by_look",
    "harm_by_look",
    "noninferiority_by_look",
    "quantile_outside_by_look",
    "slower_by_look",
    "within_by_look",
]

Proportion: TypeAlias = Callable[[int, int, float], float]


def harm_by_look(
    canary: Counts, champion: Counts, share: Floats, margin: float, *, expected_ratio: float | None = None
) -> Floats:
    """Return `events.harm` at each look ``(S,)``."""
    back = slice(None, None, -1)
    found = events.harm_by_start(
        canary[back], champion[back], share[back], margin, expected_ratio=expected_ratio
    )
    return found[back]


def noninferiority_by_look(canary: Counts, champion: Counts, share: Floats, margin: float) -> Floats:
    """Return `events.noninferiority` at each look ``(S,)``."""
    grid = np.array(events.NONINFERIORITY_GRID)
    found = bets_by_look(canary, champion, share, grid, margin)
    return _mean(found)


def _mean(growth: Floats) -> Floats:
    result: Floats = logsumexp(growth, axis=-1) - np.log(growth.shape[-1])
    return result


def bets_by_look(canary: Counts, champion: Counts, share: Floats, grid: Floats, margin: float) -> Floats:
    """Return the log growth of each bet of `events` at each look ``(S, J)``."""
    distinct, which = np.unique(share, return_inverse=True)
    shares, _ = shares_of(distinct)
    coin = shares * (1.0 + margin) / (1.0 + shares * margin)
    other = -np.log1p(coin[:, None] * np.expm1(grid))
    factors = np.stack([grid + other, other], axis=1)
    counts = np.stack([canary, champion], axis=1)[::-1]
    found: Floats = grouped_suffix_sums(counts, factors, which[::-1])[::-1]
    return found


def slower_by_look(
    canary: Counts,
    champion: Counts,
    share: Floats,
    reference: latency.Reference | Sequence[latency.Reference],
    shift_buckets: int = 0,
) -> latency.LatencyEvidence[Floats]:
    """Return `latency.slower` at each look."""
    back = slice(None, None, -1)
    if not isinstance(reference, latency.Reference):
        reference = list(reference)[back]
    found = latency.slower_by_start(canary[back], champion[back], share[back], reference, shift_buckets)
    moved: dict[str, Any] = {}
    for field in fields(found):
        value = getattr(found, field.name)
        moved[field.name] = None if value is None else value[back]
    return replace(found, **moved)


def difference_by_look(
    canary: Counts, champion: Counts, share: Floats, limit: float, *, within_limit: bool = False
) -> Floats:
    """Return `bounded.difference_exceeds` (or ``within``) of events at each look; counts are ``(S, 2)``: none, one."""
    centre, back = np.zeros(len(share)), slice(None, None, -1)
    if not within_limit:
        found = bounded.difference_exceeds_by_start(
            canary[back], champion[back], share[back], (0.0, 1.0), centre, limit
        )
        return found[back]
    assert (share == share[0]).all(), "slices of one share are joined"
    sums = zip(np.cumsum(canary, axis=0), np.cumsum(champion, axis=0), strict=True)
    return np.array(
        [
            bounded.difference_within(one[None], other[None], share[:1], (0.0, 1.0), centre[:1], limit)
            for one, other in sums
        ]
    )


def exceeds_by_look(count: Counts, total: Counts, tolerance: float) -> Floats:
    """Return `proportion.exceeds` of counts that were added up to each look ``(S,)``."""
    return _proportion(count, total, tolerance, np.array(events.RATIO_GRID), exceeds)


def within_by_look(count: Counts, total: Counts, tolerance: float) -> Floats:
    """Return `proportion.within` of counts that were added up to each look ``(S,)``."""
    return _proportion(count, total, tolerance, -np.array(events.RATIO_GRID), within)


def _proportion(count: Counts, total: Counts, tolerance: float, grid: Floats, decides: Proportion) -> Floats:
    other = -np.log1p(tolerance * np.expm1(grid))
    growth = count[:, None] * (grid + other) + (total - count)[:, None] * other
    found = _mean(growth)
    assert abs(found[-1] - decides(int(count[-1]), int(total[-1]), tolerance)) < 1e-9
    return found


def allocation_by_look(counts: Counts, shares: Floats) -> Floats:
    """Return `allocation.mismatch` of one epoch, of counts that were added up to each look ``(S, K)``."""
    return mismatch_each(counts, np.broadcast_to(shares, counts.shape))


def quantile_outside_by_look(below: Counts, upto: Counts, total: Counts, q: float, alpha: float) -> Floats:
    """Return 1 for each look at which the bucket of the true quantile is ruled out by `quantiles.quantile_sequence`.

    What is ruled out may lie between two buckets that are not: then the interval still has it, and this counts it as
    left out.
    """
    least = np.ceil(q * np.maximum(total - 1, 0)).astype(np.int64)
    log_e = proportion_mixture(np.clip(least, below, upto), total, q)
    return np.asarray(log_e >= -np.log(alpha), np.float64)


def below_by_look(counts: Counts, bucket: int) -> tuple[Counts, Counts, Counts]:
    """Return how many were below a bucket, up to its end, and in all, up to each look; counts are ``(S, B)``."""
    below, here = counts[:, :bucket].sum(axis=1), counts[:, bucket]
    return np.cumsum(below), np.cumsum(below + here), np.cumsum(counts.sum(axis=1))


def guard_by_look(canary: Counts, champion: Counts, margin: float) -> Floats:
    """Return `blocks.block_guard` of the median and p95 at each look ``(T,)``, one block per look."""
    looks = len(canary)
    logs = np.zeros((2, looks))
    fewest = np.minimum(canary.sum(axis=1), champion.sum(axis=1))
    for row, q in enumerate((0.5, 0.95)):
        ratio = log_quantiles(canary, q) - log_quantiles(champion, q)
        kept = fewest * min(q, 1.0 - q) >= blocks.MIN_IN_TAIL - 1e-9
        for look in range(blocks.MIN_BLOCKS - 1, looks):
            series = ratio[: look + 1][kept[: look + 1]]
            logs[row, look] = blocks.series_guard(series, math.log1p(margin))
    result: Floats = logsumexp(logs, axis=0) - math.log(2.0)
    return result


def first_reached(log_e: Floats, requests: Floats, alpha: float) -> float:
    """Return the requests that were sent when evidence first reached 1/alpha; infinity: it never did."""
    reached = log_e >= -np.log(alpha)
    return float(requests[reached.argmax()]) if reached.any() else np.inf

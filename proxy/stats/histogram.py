"""Histograms of durations over buckets that grow by a constant factor, as the workers count them.

Bucket 0 holds everything up to one microsecond; bucket ``b`` holds the durations from ``GAMMA**(b-1)`` to
``GAMMA**b`` microseconds; the last bucket holds everything above its lower edge, about 271 seconds. Histograms
are int64 counts with the buckets on the last axis, so merging is addition and exact in any order. A value read
back from a histogram is known to its bucket, that is to 5 percent; what only asks "how many were above this edge"
is exact.

Source: the index is the logarithmic mapping of Masson, Rim & Lee, "DDSketch", VLDB 2019, section 2.2.
"""

import math
from typing import Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.special import Floats

__all__ = [
    "BUCKETS",
    "GAMMA",
    "Counts",
    "bucket_of",
    "buckets_of",
    "buckets_of_margin",
    "buckets_within_margin",
    "log_quantiles",
    "lower_edge_ns",
    "lower_edges_ns",
    "middles_ns",
    "quantile_ns",
    "shift",
    "upper_edge_ns",
    "upper_edges_ns",
]

Counts: TypeAlias = NDArray[np.int64]
"""Counts of int64; histograms have their buckets on the last axis."""

Number = TypeVar("Number", np.int64, np.float64)
"""What a histogram may hold: counts, or the probabilities of a law."""

GAMMA: Final = 1.05
"""Ratio of the edges of a bucket."""

BUCKETS: Final = 400
"""How many buckets a histogram of durations has."""

FIRST_NS: Final = 1000
"""Upper edge of bucket 0 in nanoseconds."""

_LOG_GAMMA: Final = math.log(GAMMA)

_TOLERANCE: Final = 1e-12
"""How much a margin may miss a power of `GAMMA` and still be that power: 1.05**2 - 1 is not 0.1025 in binary."""


def bucket_of(ns: int) -> int:
    """Return the bucket of a duration in nanoseconds: 0 up to 1 µs (negatives too), 399 from about 271 s on."""
    if ns <= FIRST_NS:
        return 0
    return min(1 + int(math.log(ns / FIRST_NS) / _LOG_GAMMA), BUCKETS - 1)


def buckets_of(ns: ArrayLike) -> Counts:
    """Return the buckets of many durations in nanoseconds, as `bucket_of` does for one."""
    durations = np.asarray(ns, np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        index = 1.0 + np.floor(np.log(durations / FIRST_NS) / _LOG_GAMMA)
    index = np.where(durations <= FIRST_NS, 0.0, np.minimum(index, BUCKETS - 1))
    return index.astype(np.int64)


def upper_edge_ns(bucket: int) -> float:
    """Return the upper edge of a bucket in nanoseconds; infinity for the last one.

    Raises:
        ValueError: there is no such bucket.
    """
    if not 0 <= bucket < BUCKETS:
        raise ValueError(f"expected a bucket in 0..{BUCKETS - 1}, got {bucket}")
    return math.inf if bucket == BUCKETS - 1 else FIRST_NS * GAMMA**bucket


def lower_edge_ns(bucket: int) -> float:
    """Return the lower edge of a bucket in nanoseconds; 0 for the first one.

    Raises:
        ValueError: there is no such bucket.
    """
    if bucket == 0:
        return 0.0
    upper_edge_ns(bucket)
    return FIRST_NS * GAMMA ** (bucket - 1)


def upper_edges_ns() -> Floats:
    """Return the upper edges of all buckets in nanoseconds; the last one is infinity."""
    return np.array([upper_edge_ns(bucket) for bucket in range(BUCKETS)])


def lower_edges_ns() -> Floats:
    """Return the lower edges of all buckets in nanoseconds; the first one is 0."""
    return np.array([lower_edge_ns(bucket) for bucket in range(BUCKETS)])


def middles_ns() -> Floats:
    """Return the value that stands for each bucket: the geometric middle of its edges, in nanoseconds.

    Half a microsecond stands for the first bucket and its lower edge for the last one. Every duration between is
    within 2.5 percent of its bucket's value.
    """
    middles = FIRST_NS * GAMMA ** (np.arange(BUCKETS) - 0.5)
    middles[0] = FIRST_NS / 2
    middles[-1] = lower_edge_ns(BUCKETS - 1)
    return np.asarray(middles, np.float64)


def shift(counts: NDArray[Number], buckets: int, *, hold_first: bool = False) -> NDArray[Number]:
    """Return the histogram of the same durations times ``GAMMA**buckets`` (below 0: divided).

    Counts that leave at an end stay in the bucket at that end. Bucket 0 has no lower edge, so where its durations
    go is not known: they move with the others, which is never too low; with ``hold_first`` they stay, which is
    never too high. The total is kept.

    Shapes: ``counts: (..., B)``, the result too; any B of at least 1. Probabilities may be shifted like counts.
    """
    size = counts.shape[-1]
    if hold_first and buckets > 0:
        moved = shift(counts, buckets)
        low = min(buckets, size - 1)
        moved[..., 0] += counts[..., 0]
        moved[..., low] -= counts[..., 0]
        return moved
    moved = np.zeros_like(counts)
    kept = max(size - abs(buckets), 0)
    if buckets >= 0:
        moved[..., size - kept :] = counts[..., :kept]
        moved[..., -1] += counts[..., kept:].sum(axis=-1)
    else:
        moved[..., :kept] = counts[..., size - kept :]
        moved[..., 0] += counts[..., : size - kept].sum(axis=-1)
    return moved


def buckets_of_margin(margin: float) -> int:
    """Return the least number of buckets that is at least a margin (a fraction: 0.1 is +10 percent).

    For tests of harm: the canary may be slower by the margin, so the bound is rounded in its favour (0.1 becomes
    2 buckets, +10.25 percent).

    Raises:
        ValueError: a margin that is negative or not finite.
    """
    return max(0, math.ceil(_buckets(margin) - _TOLERANCE / _LOG_GAMMA))


def buckets_within_margin(margin: float) -> int:
    """Return the greatest number of buckets that is at most a margin (a fraction: 0.25 is +25 percent).

    For promotion: what is to be ruled out may not be rounded up (0.25 becomes 4 buckets, +21.6 percent).

    Raises:
        ValueError: a margin that is negative or not finite.
    """
    return math.floor(_buckets(margin) + _TOLERANCE / _LOG_GAMMA)


def _buckets(margin: float) -> float:
    if not 0.0 <= margin < math.inf:
        raise ValueError(f"expected a finite margin of at least 0, got {margin}")
    return math.log1p(margin) / _LOG_GAMMA


def log_quantiles(counts: Counts, q: float) -> Floats:
    """Return the natural logarithm of a quantile in nanoseconds for each of many histograms.

    Inside a bucket the durations are taken as evenly spread on the logarithmic scale, which is off by at most the
    bucket's width (0.049); the first bucket is taken as 953 ns..1 µs and the last as its lower edge.

    Shapes: ``counts: (..., BUCKETS)``; the result is ``(...)``, NaN where a histogram is empty.

    Raises:
        ValueError: ``q`` outside 0..1.
    """
    if not 0.0 <= q <= 1.0:
        raise ValueError(f"expected a quantile in 0..1, got {q}")
    cumulative = np.cumsum(counts, axis=-1)
    total = cumulative[..., -1:]
    wanted = np.maximum(q * total, np.finfo(np.float64).tiny)
    bucket = np.minimum((cumulative < wanted).sum(axis=-1, keepdims=True), counts.shape[-1] - 1)
    inside = np.take_along_axis(counts, bucket, axis=-1)
    before = np.take_along_axis(cumulative, bucket, axis=-1) - inside
    part = np.where(bucket == BUCKETS - 1, 0.0, (wanted - before) / np.maximum(inside, 1))
    position = math.log(FIRST_NS) + _LOG_GAMMA * (bucket - 1 + np.clip(part, 0.0, 1.0))
    return np.asarray(np.where(total > 0, position, np.nan)[..., 0], np.float64)


def quantile_ns(counts: Counts, q: float) -> float:
    """Return a quantile of one histogram in nanoseconds, for display; NaN when it is empty.

    Within 5 percent of the quantile of the durations themselves. See `log_quantiles`; for bounds that hold however
    often they are looked at see `proxy.stats.quantiles.quantile_sequence`.

    Raises:
        ValueError: ``q`` outside 0..1.
    """
    return math.exp(float(log_quantiles(counts, q)))

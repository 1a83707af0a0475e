"""The guard against noise that belongs to hosts: evidence from blocks of time instead of requests.

The coin gives requests to arms, but an arm runs on hosts. A slow host, a noisy neighbour or a cold cache makes
every request of its arm slower at once, and no test that counts requests can tell that from a slow model: at
request level the evidence grows without end. Over blocks of 10-60 seconds host noise is noise, with a variance
that can be estimated from the series of the blocks' differences.

Rule of two tiers, for latency and wherever hosts differ: roll back when the request-level evidence is
overwhelming at a *wide* margin, which host noise does not reach; or when it is at the *narrow* margin and the
guard agrees (`two_tiers`). Measured by tests/stats/test_blocks.py.
"""

import math
from collections.abc import Sequence
from typing import Final

import numpy as np

from proxy.stats.histogram import Counts, log_quantiles
from proxy.stats.mixtures import strongest
from proxy.stats.normal import one_sided
from proxy.stats.special import Floats

__all__ = [
    "MIN_BLOCKS",
    "block_guard",
    "guard_is_needed",
    "host_spread",
    "rate_guard",
    "series_guard",
    "two_tiers",
]

MIN_BLOCKS: Final = 20
"""With fewer blocks their variance is not known well enough to bet on it."""

TAU: Final = 0.2
"""Prior scale of the excess, on the logarithmic scale: effects of about 20 percent beyond the margin."""

LEAST_ERROR: Final = 0.002
"""No mean of a series is taken as known better than this: quantiles are interpolated inside buckets of 5 percent."""

MIN_IN_TAIL: Final = 5
"""A block counts when each arm has this many answers on the lesser side of the quantile."""


def block_guard(canary: Counts, champion: Counts, margin: float, q: float | Sequence[float] = 0.5) -> float:
    """Return the log e-value, over blocks of time, against "the canary's quantile is at most (1 + margin) times".

    ``D_t = log(quantile of the canary in block t / champion's)``; `series_guard` of D against ``log(1 + margin)``.
    Of several quantiles the e-values are averaged: with ``(0.5, 0.95)`` a change of the tail alone is found, too.

    Model: D is a stationary series with short memory around a constant; asymptotic in the number of blocks.
    Shapes: ``(T, BUCKETS)`` int64 each, one row per block, in the order of time. Range: finite.
    Edges: blocks with fewer than 5 answers beyond the quantile in an arm (10 in all for the median, 100 for p95) are
    left out; with fewer than 20 blocks the evidence is 0.

    Args:
        canary: The canary's histograms.
        champion: The champion's histograms of the same blocks.
        margin: A fraction: 0.1 is +10 percent.
        q: The quantile, or several.

    Raises:
        ValueError: shapes that differ, a quantile that is not between 0 and 1, a negative margin.

    Source: specification 1.2. Checked against: A/A simulations with autoregressive and persistent host noise.
    """
    if canary.shape != champion.shape or canary.ndim != 2:
        raise ValueError(f"expected histograms (T, B) of one shape, got {canary.shape} and {champion.shape}")
    if not margin >= 0.0:
        raise ValueError(f"expected a margin of at least 0, got {margin}")
    quantiles = (q,) if isinstance(q, float) else tuple(q)
    if not quantiles or not all(0.0 < each < 1.0 for each in quantiles):
        raise ValueError(f"expected quantiles between 0 and 1, got {quantiles}")
    fewest = np.minimum(canary.sum(axis=1), champion.sum(axis=1))
    logs = []
    for each in quantiles:
        rows = fewest * min(each, 1.0 - each) >= MIN_IN_TAIL - 1e-9
        ratio = log_quantiles(canary[rows], each) - log_quantiles(champion[rows], each)
        logs.append(series_guard(ratio, math.log1p(margin)))
    return _mean(logs)


def rate_guard(
    canary_events: Counts,
    canary_total: Counts,
    champion_events: Counts,
    champion_total: Counts,
    margin: float,
) -> float:
    """Return the log e-value, over blocks of time, against "the canary's rate is at most (1 + margin) times".

    ``D_t = (k1_t/n1_t - (1 + margin) k0_t/n0_t)``, in units of the champion's rate over all blocks; `series_guard` of D
    against 0. For error rates where hosts differ. A block needs no event, so rare events work: their noise is
    in the variance.

    Model as in `block_guard`. Shapes: ``(T,)`` int64 each. Blocks in which an arm has no request are left out.
    Edges: fewer than 20 blocks, or a champion without any event: 0 (there is no rate to be a multiple of).

    Raises:
        ValueError: shapes that differ or a negative margin.
    """
    shapes = {each.shape for each in (canary_events, canary_total, champion_events, champion_total)}
    if len(shapes) != 1 or canary_total.ndim != 1:
        raise ValueError(f"expected counts (T,) of one shape, got {sorted(shapes)}")
    if not margin >= 0.0:
        raise ValueError(f"expected a margin of at least 0, got {margin}")
    rows = (canary_total > 0) & (champion_total > 0)
    events, total = int(champion_events[rows].sum()), int(champion_total[rows].sum())
    if not events:
        return 0.0
    ours = canary_events[rows] / canary_total[rows]
    theirs = champion_events[rows] / champion_total[rows]
    return series_guard((ours - (1.0 + margin) * theirs) / (events / total), 0.0)


def series_guard(series: Floats, null: float) -> float:
    """Return the log e-value against "the mean of this series is at most ``null``".

    The mean over T blocks with the long-run variance of Newey & West (Bartlett weights, lag ``max(4, sqrt T)``),
    put into the one-sided normal mixture with ``tau = 0.2``.

    Shapes: ``(T,)`` float64 in the order of time. Edges: T below 20: 0. A series that does not vary is taken as
    known to 0.002, not better.

    Source: Newey & West, Econometrica 1987, eq. 5; the factor ``T/(T - L - 1)`` makes up for what the estimated mean
    and the cut at lag L take off in short series.
    """
    length = len(series)
    if length < MIN_BLOCKS:
        return 0.0
    return one_sided(float(series.mean()), _mean_variance(series), null, TAU)


def _mean_variance(series: Floats) -> float:
    """Return the variance of the mean of a series with memory."""
    length = len(series)
    lag = max(4, math.isqrt(length))
    rest = series - series.mean()
    long_run = float(rest @ rest)
    for step in range(1, lag + 1):
        long_run += 2.0 * (1.0 - step / (lag + 1.0)) * float(rest[step:] @ rest[:-step])
    return max(long_run / length / (length - lag - 1), LEAST_ERROR**2)


def two_tiers(wide: float, narrow: float, guard: float | None) -> float:
    """Return the log evidence of the rule of two tiers: half of the wide one or of the guarded narrow one, if greater.

    Half of the error goes to each, whatever the blocks know before the requests: at least ``log(1/alpha)`` when
    ``wide >= log(2/alpha)``, or when both ``narrow`` and ``guard`` are. The guarded evidence is the lesser of the two:
    it counts as much as both agree on.

    Args:
        wide: Request-level log e-value at the wide margin (+50 percent for latency, +100 percent for rates).
        narrow: Request-level log e-value at the guardrail's margin.
        guard: `block_guard` or `rate_guard` at the same margin; None where the guard may be left out
            (`guard_is_needed`).

    Source: specification 1.2; `proxy.stats.mixtures.strongest` says why it is not the average.
    """
    return strongest((wide, narrow if guard is None else min(narrow, guard)), (0.5, 0.5))


def _mean(logs: Sequence[float]) -> float:
    top = max(logs)
    if top == -math.inf:
        return top
    return top + math.log(math.fsum(math.exp(each - top) for each in logs) / len(logs))


def host_spread(medians_ns: Floats) -> float:
    """Return how much hosts of one arm differ: the standard deviation of their log medians within a block.

    Learned from the champion's replicas before the canary starts. Persistent and passing differences both count.

    Shapes: ``(T, H)`` float64, median of each host in each block in nanoseconds; NaN where a host had no answers.
    Range: 0.03 means that hosts differ by about 3 percent. Infinity where no block has two hosts: nothing is known.
    """
    values = np.where(medians_ns > 0.0, medians_ns, np.nan)
    logs = np.log(values)
    hosts = np.isfinite(logs).sum(axis=1)
    rows = hosts >= 2
    if not rows.any():
        return math.inf
    logs, hosts = logs[rows], hosts[rows]
    means = np.nansum(logs, axis=1) / hosts
    squares = np.nansum((logs - means[:, None]) ** 2, axis=1)
    return math.sqrt(float(squares.sum()) / float((hosts - 1).sum()))


def guard_is_needed(spread: float, canary_hosts: int, champion_hosts: int, margin: float) -> bool:
    """Return whether latency at this margin needs the block guard: unless hosts are too alike to matter.

    Not needed only if ``3 spread sqrt(1/canary_hosts + 1/champion_hosts) <= log(1 + margin)`` and the canary has at
    least two replicas; with an unknown spread (infinity, NaN) it is needed.

    Source: specification 1.2.
    """
    if canary_hosts < 2 or champion_hosts < 1 or not 0.0 <= spread < math.inf or not margin >= 0.0:
        return True
    return 3.0 * spread * math.sqrt(1.0 / canary_hosts + 1.0 / champion_hosts) > math.log1p(margin)

"""Is the traffic split as configured: the test for a sample ratio mismatch.

A split that is off means that units were lost, doubled or moved in one variant more than in another. Whatever
else the counts say is then worth nothing, so this is looked at first.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.exact import counts_of
from proxy.stats.mixtures import mixed, multinomial
from proxy.stats.special import Floats

__all__ = ["allocation", "mismatch", "mismatch_each"]

_LEAST: Final = 1e-12
"""A share of 0 is taken as this: two units where none may be are proof."""

_SUM_TOLERANCE: Final = 1e-9

_TILTS: Final = 0.05 * 2.0 ** (np.arange(7) / 2)
"""By how much the log odds of one variant are off, either way: from 5 to 40 %."""


def allocation(counts: ArrayLike, shares: ArrayLike, k: float = 1000.0) -> float:
    """Return the log e-value against "each unit went to variant i with the probability shares[i]".

    ``lgamma(k) - lgamma(k+n) + sum_i [lgamma(k t_i + x_i) - lgamma(k t_i)] - sum_i x_i log t_i`` per row,
    rows added.

    Model: units are assigned independently by the shares of their row. Exact: E[e] = 1, for ever.
    Shapes: ``counts: (S, K) int64`` completed units, ``shares: (S, K)`` with the sum 1 in each row; one row
    per stretch of constant shares. Each row starts a bet of its own: do not pass time bins. One row may be
    given without its first dimension. ``k`` above 0: how many units the prior is worth.
    Range: finite. No rows, or no units: exactly 0. Two units where the share is 0 are proof.

    Raises:
        TypeError: counts that are not integers.
        ValueError: other shapes, negative counts, shares that are negative or do not add up, k of 0 or less.

    Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
    Checked against: savvi 0.3.1 ``Multinomial``: x = (130, 870), shares (.1, .9), k = 1000: 1.988121467.
    """
    if not 0.0 < k < math.inf:
        raise ValueError(f"expected k above 0, got {k}")
    units, theta = _rows(counts, shares)
    return math.fsum(multinomial(units, theta, np.full(len(units), k)).tolist())


def mismatch(counts: ArrayLike, shares: ArrayLike) -> float:
    """Return `allocation` with most of the money on mismatches of a size that is worth finding.

    A prior of k units is widest where nothing is wrong: of k = 1000, that finds a share of 10 % that is 9 % soon,
    little is on 8 %. So 3/10 of the money are on that, and the rest is spread evenly over one variant whose odds are
    off by 5, 7, 10 ... 40 %, either way. Of 10 % → 8 % it takes 1.28 times the fewest requests that any rule needs on
    average, not 1.39; of 9.5 % as many as before.

    Model, shapes, range and errors as of `allocation`. Exact: E[e] = 1, for ever.
    Checked against: full enumeration; the sum in plain arithmetic.
    """
    return math.fsum(mismatch_each(counts, shares).tolist())


def mismatch_each(counts: ArrayLike, shares: ArrayLike) -> Floats:
    """Return `mismatch` of each row: ``(S,)``."""
    units, theta = _rows(counts, shares)
    if not units.size:
        return np.zeros(0)
    variants = units.shape[1]
    tilts = np.concatenate([_TILTS, -_TILTS])
    total = units.sum(axis=1)[:, None, None]
    # The likelihood of other odds for one variant, the rest in the old proportion, to that of the shares: (S, K, T).
    ratios = units[:, :, None] * tilts - total * np.log1p(theta[:, :, None] * np.expm1(tilts))
    whole = multinomial(units, theta, np.full(len(units), 1000.0))
    every = np.concatenate([whole[:, None], ratios.reshape(len(units), -1)], axis=1)
    of_whole = 3.0 * variants * len(tilts) / 7.0
    return mixed(every, np.array([of_whole] + [1.0] * (variants * len(tilts))))


def _rows(counts: ArrayLike, shares: ArrayLike) -> tuple[NDArray[np.int64], Floats]:
    """Return units and shares, both (S, K)."""
    units = np.atleast_2d(counts_of(counts))
    theta = np.atleast_2d(np.asarray(shares, np.float64))
    if not units.size:
        return np.zeros((0, 0), np.int64), np.zeros((0, 0))
    if units.shape != theta.shape or units.ndim != 2:
        raise ValueError(f"expected one share per count, got {theta.shape} for {units.shape}")
    if not (theta >= 0.0).all() or not (np.abs(theta.sum(axis=1) - 1.0) <= _SUM_TOLERANCE).all():
        raise ValueError("expected shares of at least 0 that add up to 1")
    theta = np.maximum(theta, _LEAST)
    theta /= theta.sum(axis=1, keepdims=True)
    return units, theta

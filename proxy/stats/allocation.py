"""Is the traffic split as configured: the test for a sample ratio mismatch.

A split that is off means that units were lost, doubled or moved in one variant more than in another. Whatever
else the counts say is then worth nothing, so this is looked at first.
"""

import math
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from proxy.stats.exact import counts_of
from proxy.stats.mixtures import multinomial

__all__ = ["allocation"]

_LEAST: Final = 1e-12
"""A share of 0 is taken as this: two units where none may be are proof."""

_SUM_TOLERANCE: Final = 1e-9


def allocation(counts: ArrayLike, shares: ArrayLike, k: float = 1000.0) -> float:
    """Return the log e-value against "each unit went to variant i with the probability shares[i]".

    ``lgamma(k) - lgamma(k+n) + sum_i [lgamma(k t_i + x_i) - lgamma(k t_i)] - sum_i x_i log t_i`` per row,
    rows added.

    Model: units are assigned independently by the shares of their row. Exact: E[e] = 1, for ever.
    Shapes: ``counts: (S, K) int64`` completed units, ``shares: (S, K)`` with the sum 1 in each row; one row
    per stretch of constant shares. Each row starts a bet of its own: do not pass time bins. One row may be
    given without its first dimension. ``k`` above 0: how many units the prior is worth; 1000 finds
    mismatches of 5 to 20 % soonest.
    Range: finite. No rows, or no units: exactly 0. Two units where the share is 0 are proof.

    Raises:
        TypeError: counts that are not integers.
        ValueError: other shapes, negative counts, shares that are negative or do not add up, k of 0 or less.

    Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
    Checked against: savvi 0.3.1 ``Multinomial``: x = (130, 870), shares (.1, .9), k = 1000: 1.988121467.
    """
    units = np.atleast_2d(counts_of(counts))
    theta = np.atleast_2d(np.asarray(shares, np.float64))
    if not units.size:
        return 0.0
    if units.shape != theta.shape or units.ndim != 2:
        raise ValueError(f"expected one share per count, got {theta.shape} for {units.shape}")
    if not (theta >= 0.0).all() or not (np.abs(theta.sum(axis=1) - 1.0) <= _SUM_TOLERANCE).all():
        raise ValueError("expected shares of at least 0 that add up to 1")
    if not 0.0 < k < math.inf:
        raise ValueError(f"expected k above 0, got {k}")
    theta = np.maximum(theta, _LEAST)
    theta /= theta.sum(axis=1, keepdims=True)
    return math.fsum(multinomial(units, theta, np.full(len(units), k)).tolist())

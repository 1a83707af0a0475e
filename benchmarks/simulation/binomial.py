"""Exact limits of a probability, from how often something happened."""

import math

import numpy as np

from proxy.stats.special import lgamma

__all__ = ["lower_limit", "upper_limit"]

_STEPS = 60


def upper_limit(hits: int, runs: int, level: float = 0.99) -> float:
    """Return what the probability is at most, with confidence ``level``: Clopper & Pearson (1934), one-sided.

    Edges: no runs, or nothing but hits: 1.
    """
    if not runs or hits >= runs:
        return 1.0
    low, high = hits / runs, 1.0
    for _ in range(_STEPS):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _at_most(hits, runs, middle) > 1.0 - level else (low, middle)
    return high


def lower_limit(hits: int, runs: int, level: float = 0.99) -> float:
    """Return what the probability is at least, with confidence ``level``; 0 where nothing was hit."""
    return 1.0 - upper_limit(runs - hits, runs, level)


def _at_most(hits: int, runs: int, p: float) -> float:
    """Return P(X <= hits) of a binomial X, p in (0, 1)."""
    k = np.arange(hits + 1, dtype=np.float64)
    logs = lgamma(runs + 1.0) - lgamma(k + 1.0) - lgamma(runs - k + 1.0)
    return float(np.exp(logs + k * math.log(p) + (runs - k) * math.log1p(-p)).sum())

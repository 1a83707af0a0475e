"""The likeliest ratio of two event rates, from slices that are not pooled: a number for people, beside the interval."""

from math import exp, inf

import numpy as np
from numpy.typing import NDArray

__all__ = ["estimate"]

_WIDEST = 23.0
"""Natural logarithm of the largest ratio that is told from infinity."""


def estimate(
    canary: NDArray[np.int64], champion: NDArray[np.int64], share: NDArray[np.float64]
) -> float | None:
    """Return the ratio of event rates, canary to champion, that makes the counts likeliest.

    Model: each event is the canary's with probability ``pi R / (pi R + 1 - pi)``, as :mod:`proxy.stats.events` bets.
    Shapes: ``(S,)`` each; slices with share 0 or 1 say nothing.
    Range: 0 where only the champion has events, infinity where only the canary has; None without any.

    Source: the score of a conditional binomial, which falls in R, so halving finds its zero.
    Checked against: the closed form of one slice, ``(k1/k0) (1 - pi)/pi``.
    """
    coin = (share > 0) & (share < 1)
    mine, other = canary[coin], champion[coin]
    events, odds = mine + other, share[coin] / (1 - share[coin])
    total, own = int(events.sum()), int(mine.sum())
    if not total:
        return None
    if own in (0, total):
        return inf if own else 0.0
    low, high = -_WIDEST, _WIDEST
    for _ in range(60):
        middle = (low + high) / 2
        raised = odds * exp(middle)
        low, high = (middle, high) if float(events @ (raised / (1 + raised))) < own else (low, middle)
    return exp((low + high) / 2)

"""Bets on one proportion against a tolerance: what share of the comparisons disagree, what share of labels is wrong.

The log factor of an event under odds that are ``e^d`` times the tolerance's is ``d - log(1 + t (e^d - 1))``, of
anything else ``-log(1 + t (e^d - 1))``: the bet of `events` with the tolerance as the coin.
"""

import math
from collections.abc import Sequence
from itertools import chain
from typing import Final, TypeAlias

import numpy as np

from proxy.stats.events import RATIO_GRID
from proxy.stats.special import Floats, logsumexp, stirling_correction

__all__ = ["exceeds", "greater", "greater_each", "proportion_sequence", "within"]

_MOST: Final = 1 << 52
"""More units than a float counts exactly are refused."""

_UP: Final = np.array(RATIO_GRID)
_DOWN: Final = -_UP

Ints: TypeAlias = Sequence[int]

_CLOSE: Final = 0.01
_CLOSE_PART: Final = 0.001
"""So near to its minimum a log e-value is taken, at most: a number, or a part of it."""

_MOST_HALVINGS: Final = 60
"""After so many no proportion is told from its neighbour."""


def exceeds(count: int, total: int, tolerance: float) -> float:
    """Return the log e-value against "each unit, given the past, is an event with probability at most t".

    Model: units in order, each an event or not; the probability may change with every unit and depend on the
    past as long as it stays at or below ``tolerance`` in 0..1. Exact at the tolerance.
    Shapes: numbers; 0 <= count <= total.
    Range: finite. No units: exactly 0. At tolerance 0 nothing speaks for it, each event against it.

    Raises:
        ValueError: a count outside 0..total, or a tolerance outside 0..1.

    Source: Ville's martingale for a Bernoulli probability, mixed over a grid of odds.
    Checked against: full enumeration of E[e], |E - 1| <= 1e-12.
    """
    return _against(count, total, tolerance, _UP)


def within(count: int, total: int, tolerance: float) -> float:
    """Return the log e-value against "each unit, given the past, is an event with probability at least t".

    Large values are evidence that the proportion is below the tolerance. Model, shapes, range and errors as
    in `exceeds`, with the null on the other side. At tolerance 0 it is at most 0: nothing is below.
    """
    return _against(count, total, tolerance, _DOWN)


def greater(count: int, total: int, other_count: int, other_total: int) -> float:
    """Return the log e-value against "the first proportion is at most the second", neither of which is known.

    Model: two streams of units that come in any order among each other; for some p each unit of the first, given the
    past, is an event with probability at most p, and each of the second with probability at least p. Which p is not
    asked: the result is the least over all of them of what `exceeds` and `within` make together.
    Shapes: numbers; 0 <= count <= total of each.
    Range: finite, at most what the best p allows. Either without units: at most 0.
    Error: below the exact minimum by 0.01 or a thousandth of it at most, never above it.

    Raises:
        ValueError: a count outside 0..total.

    Source: for each p the product of two test martingales is one; the infimum over a composite null of e-processes is
    one (Ramdas, Grünwald, Vovk & Shafer, "Game-theoretic statistics and safe anytime-valid inference", Statistical
    Science 2023, section 4).
    Checked against: the minimum over twenty thousand values of p; full enumeration of E[e] <= 1.
    """
    return float(greater_each([count], [total], [other_count], [other_total])[0])


def greater_each(counts: Ints, totals: Ints, other_counts: Ints, other_totals: Ints) -> Floats:
    """Return `greater` of each of K pairs of streams at once. Shapes: four of ``(K,)``; the result is ``(K,)``."""
    for count, total in chain(zip(counts, totals, strict=True), zip(other_counts, other_totals, strict=True)):
        _check(count, total)
    first = np.array([counts, totals], np.float64)
    second = np.array([other_counts, other_totals], np.float64)
    # A search for the minimum of each pair in cells of p, each halved until what is below its best point is close.
    pair = np.arange(first.shape[1])
    low, high = np.zeros(len(pair)), np.ones(len(pair))
    best, least = np.full(len(pair), np.inf), np.full(len(pair), -np.inf)
    for _ in range(_MOST_HALVINGS):
        middle = 0.5 * (low + high)
        # The first bet falls with p and the second rises: between low and high their sum is not below this.
        below = _against_each(first[:, pair], high, _UP) + _against_each(second[:, pair], low, _DOWN)
        reached = _against_each(first[:, pair], middle, _UP) + _against_each(second[:, pair], middle, _DOWN)
        np.minimum.at(best, pair, reached)
        least[pair] = np.inf
        np.minimum.at(least, pair, below)
        is_open = (best - least > np.maximum(_CLOSE, _CLOSE_PART * np.abs(best)))[pair] & (below < best[pair])
        if not is_open.any():
            break
        low, middle, high, pair = low[is_open], middle[is_open], high[is_open], pair[is_open]
        low, high, pair = np.concatenate((low, middle)), np.concatenate((middle, high)), np.tile(pair, 2)
    return least


def proportion_sequence(count: int, total: int, alpha: float) -> tuple[float, float]:
    """Return an interval for a constant proportion that is valid at every moment at once.

    Model: units are events independently with one probability p. The interval holds each p against which the
    mixture over Beta(1/2, 1/2) has not reached 1/alpha: the chance that it ever fails to hold p is at most
    alpha.
    Range: ``0 <= low < high <= 1``, count/total is inside; (0, 1) for no units. Low is exactly 0 for no
    events, high exactly 1 for nothing else. Ends are rounded outwards, by less than 1e-12.

    Raises:
        ValueError: a count outside 0..total, or alpha outside (0, 1).

    Source: Ville's inequality for the mixture likelihood ratio (Robbins 1970).
    Checked against: the definition with log-beta; coverage by enumeration.
    """
    _check(count, total)
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected alpha in 0..1, got {alpha}")
    if not total:
        return 0.0, 1.0
    needed = _evidence_against_best(count, total) + math.log(alpha)
    best = count / total
    low = _edge(count, total, best, 0.0, needed) if count else 0.0
    high = _edge(count, total, best, 1.0, needed) if count < total else 1.0
    return low, high


def _check(count: int, total: int) -> None:
    if not 0 <= count <= total <= _MOST:
        raise ValueError(f"expected 0 <= count <= total <= 2^52, got {count} of {total}")


def _against(count: int, total: int, tolerance: float, grid: Floats) -> float:
    _check(count, total)
    if not 0.0 <= tolerance <= 1.0:
        raise ValueError(f"expected a tolerance in 0..1, got {tolerance}")
    return float(_against_each(np.array([[count], [total]], np.float64), np.array([tolerance]), grid)[0])


def _against_each(streams: Floats, tolerances: Floats, grid: Floats) -> Floats:
    """Return the log e-value of each stream, a column of count and total, against its tolerance."""
    count, total = streams[:, :, None]
    other = -np.log1p(tolerances[:, None] * np.expm1(grid))
    return logsumexp(count * (grid + other) + (total - count) * other) - math.log(len(grid))


def _evidence_against_best(count: int, total: int) -> float:
    """Return log of the mixture's likelihood over the greatest likelihood: about ``-log(total)/2``.

    It is ``log B(1/2 + k, 1/2 + n - k) - log B(1/2, 1/2) - k log(k/n) - (n-k) log((n-k)/n)``, with Stirling's
    leading terms cancelled by hand.
    """
    result = -0.5 * math.log1p(total) + 0.5 * math.log(2.0 / math.pi)
    for part in (count, total - count):
        if part:
            result += part * math.log1p((0.5 * total - part) / (part * (total + 1.0)))
        result += float(stirling_correction(part + 0.5))
    return result - float(stirling_correction(total + 1.0))


def _edge(count: int, total: int, inside: float, outside: float, needed: float) -> float:
    """Return where the log likelihood ratio to the best falls below ``needed`` (negative), rounded outwards."""
    other = total - count
    for _ in range(200):
        middle = 0.5 * (inside + outside)
        if middle in (inside, outside) or abs(outside - inside) <= 1e-15 * inside:
            break
        # Differences to the best, not logarithms themselves: they stay precise for large counts.
        fits = count * math.log1p((middle - count / total) / (count / total)) if count else 0.0
        fits += other * math.log1p(-(middle - count / total) / (other / total)) if other else 0.0
        if fits >= needed:
            inside = middle
        else:
            outside = middle
    return outside

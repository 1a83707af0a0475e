"""Bets on which variant an event came from: errors, timeouts, exceedances, wrong labels.

Theory of operation:
    Champion and canary are chosen by a coin whose probability pi (the canary's share) is known. An event came
    from the canary with probability ``pi R / (pi R + 1 - pi)``, where R is the ratio of the two rates,
    whatever the rates are and however they change with time. So a bettor who guesses the origin of each event
    cannot gain if R is at most what the null says; no base rate, variance or model of traffic enters.
    For a bet on the log ratio d against the boundary d0 the log factor of an event in the canary is
    ``d - f(d0 + d) + f(d0)``, in the champion ``-f(d0 + d) + f(d0)``, ``f(x) = log(pi e^x + 1 - pi)``. The
    difference of the two f is ``log(1 + pi' (e^d - 1))`` with ``pi' = pi e^{d0} / (pi e^{d0} + 1 - pi)``, the
    canary's chance at the boundary: a margin is a change of the coin, and one formula serves all.

Rules:
    A slice is a stretch of constant share; slices of different shares are never pooled, each keeps its coin.
    A slice with share 0 or 1 has no coin and no evidence. Slices of equal share may be joined or split.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.exact import Counts, Split, counts_of, grouped_suffix_sums, grouped_sums, shares_of, split
from proxy.stats.mixtures import mixed
from proxy.stats.special import Floats, logsumexp

__all__ = [
    "HARM_GRID",
    "HARM_MONEY",
    "NONINFERIORITY_GRID",
    "RATIO_GRID",
    "harm",
    "harm_at",
    "harm_at_each",
    "harm_by_start",
    "harm_each",
    "noninferiority",
    "noninferiority_each",
    "risk_ratio_sequence",
]

RATIO_GRID: Final[tuple[float, ...]] = tuple(0.1 * 2.0 ** (j / 2) for j in range(12))
"""Log ratios that are bet on where something is estimated: from 1.1 to 92 times, √2 apart."""

HARM_GRID: Final[tuple[float, ...]] = (*RATIO_GRID, 8.0)
"""Log ratios of rates beyond the margin that are bet on. The last is for a canary that answers nothing but
errors: it costs others 1 % more requests, and lets the third failure in a row at a share of 10 % be the last."""

HARM_MONEY: Final[tuple[float, ...]] = (1.0, *(3.0,) * 11, 1.0)
"""How much is bet on each of `HARM_GRID`, in parts. The least takes so many requests that most rollouts are over
before, and for the greatest there is :mod:`proxy.stats.outcomes`: all others are found 2 % sooner."""

NONINFERIORITY_GRID: Final[tuple[float, ...]] = tuple(-0.05 * 2.0 ** (i / 2) for i in range(10))
"""Log risk ratios below the margin that are bet on: from 0.95 to 0.32 times."""

_FARTHEST: Final = 60.0
"""Log ratios of about this size are not told from 0 and infinity."""

_STEP: Final = 0.1
"""Of the trapezoidal rule: its error is below 1e-9 of the integral."""

_WIDEST: Final = 10.0
"""No bet is on more than this log ratio beyond the margin: at no share does a wider one gain more."""

_ONE_EACH: Final = np.ones(len(NONINFERIORITY_GRID))
_MONEY: Final = np.array(HARM_MONEY)

_SECTIONS: Final = 129
_NEWTON_STEPS: Final = 50
_PRECISION: Final = 1e-10


def harm(
    canary: ArrayLike,
    champion: ArrayLike,
    share: ArrayLike,
    margin: float,
    *,
    expected_ratio: float | None = None,
) -> float:
    """Return the log e-value against "the canary's event rate is at most (1 + margin) times the champion's".

    Model: each event came from the canary with the probability that its slice's coin and the ratio of rates
    give it; the ratio may differ from slice to slice and event to event. Exact: at ratio 1 + margin the
    expectation of the e-value is 1 at every moment, below it is less; it may be looked at for ever.
    Shapes: ``canary, champion: (S,) int64`` events, ``share: (S,)`` in 0..1: P(canary | canary or champion).
    ``margin`` is a fraction above -1 (0.10: ten percent more is no harm). ``expected_ratio`` puts half of the
    money on one ratio of rates above 1 + margin, fixed beforehand; without it the money is spread
    over `HARM_GRID` by `HARM_MONEY`.
    Range: finite. No slices, or no events: exactly 0. Events in the champion only: below 0.

    Raises:
        TypeError: counts that are not integers.
        ValueError: negative counts, shares outside 0..1, a margin or ratio outside its range, or more than
            2.2e12 events.

    Source: the bet of Turner, Ly & Grünwald (JSPI 230, 2024) on the event's origin; Lindon & Malek (NeurIPS
    2022) give the event-only form.
    Checked against: full enumeration of E[e] at the boundary, |E - 1| <= 1e-12.
    """
    return float(harm_each(canary, champion, share, margin, expected_ratio=expected_ratio))


def harm_each(
    canary: ArrayLike,
    champion: ArrayLike,
    share: ArrayLike,
    margin: float,
    *,
    expected_ratio: float | None = None,
) -> Floats:
    """Return `harm` of several metrics at once: events ``(..., S)``, result ``(...)``, the same bits."""
    grid, weights = _bets(margin, expected_ratio)
    return mixed(grouped_sums(*_evidence(canary, champion, share, margin, grid)), weights)


def harm_by_start(
    canary: ArrayLike,
    champion: ArrayLike,
    share: ArrayLike,
    margin: float,
    *,
    expected_ratio: float | None = None,
) -> Floats:
    """Return `harm` of the slices from each one on, in O(S × grid): entry 0 is `harm` bit for bit.

    Shapes: as in `harm`, or ``(..., S)`` events of several metrics that have one share, margin and bets; the result has
    the shape of the events. It is what `mixtures.late_onset` and `mixtures.late_onset_each` take.
    """
    grid, weights = _bets(margin, expected_ratio)
    return mixed(grouped_suffix_sums(*_evidence(canary, champion, share, margin, grid)), weights)


def harm_at(canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float, ratio: float) -> float:
    """Return `harm` of a bettor who puts all the money on one ratio of rates.

    Model, shapes, range and errors as in `harm`. ``ratio`` is above 1 + margin and fixed beforehand; what is more than
    `_WIDEST` beyond the margin is bet as that. A ratio of thousands is a bet on a canary that answers nothing but
    errors: worth most after few events, and nothing for any lesser harm.
    Checked against: full enumeration of E[e] at the boundary.
    """
    return float(harm_at_each(canary, champion, share, margin, ratio))


def harm_at_each(
    canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float, ratio: float
) -> Floats:
    """Return `harm_at` of several metrics at once: events ``(..., S)``, result ``(...)``, the same bits."""
    if not 1.0 + margin < ratio < math.inf:
        raise ValueError(f"expected a ratio above 1 + margin = {1.0 + margin}, got {ratio}")
    grid = (min(math.log(ratio / (1.0 + margin)), _WIDEST),)
    return grouped_sums(*_evidence(canary, champion, share, margin, grid))[..., 0]


def noninferiority(canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float) -> float:
    """Return the log e-value against "the canary's event rate is at least (1 + margin) times the champion's".

    Large values are evidence that the canary is not worse by the margin: what a promotion needs.

    Model, shapes and errors as in `harm`, with the null on the other side. ``margin`` above -1.
    Range: finite. No slices, or no events: exactly 0 (rare events need an absolute tolerance: `bounded`).
    Checked against: full enumeration of E[e] at the boundary, |E - 1| <= 1e-12.
    """
    return float(noninferiority_each(canary, champion, share, margin))


def noninferiority_each(canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float) -> Floats:
    """Return `noninferiority` of several metrics at once: events ``(..., S)``, result ``(...)``, the same bits."""
    evidence = _evidence(canary, champion, share, margin, NONINFERIORITY_GRID)
    return mixed(grouped_sums(*evidence), _ONE_EACH)


def risk_ratio_sequence(
    canary: ArrayLike, champion: ArrayLike, share: ArrayLike, alpha: float
) -> tuple[float, float]:
    """Return an interval for the ratio of event rates, canary to champion, valid at every moment at once.

    Model: as in `harm` with one ratio R throughout. The interval holds each ratio against which the mixture
    over all others has not reached 1/alpha; the probability that it ever fails to hold the true one is at
    most alpha. The mixture is spread over log R = d with the density ``1 / (2 pi cosh(d/2))``: at a share of
    1/2 that is Beta(1/2, 1/2) on the canary's part of the events. (A grid of ratios would be as valid, but
    an interval from it never becomes narrower than the grid.)
    Range: ``0 <= low < high <= inf``; (0, inf) for no events; low is 0 while the canary has none, high is
    infinite while the champion has none. Ends are rounded outwards, by less than 1e-9 of their size.

    Raises:
        ValueError: alpha outside (0, 1), and what `harm` raises.

    Source: Ville's inequality for the mixture likelihood ratio (Robbins 1970).
    Checked against: `proportion.proportion_sequence` at a share of 1/2; a dense sum; coverage by recursion.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected alpha in 0..1, got {alpha}")
    first, second, distinct, which = _columns(canary, champion, share)
    if first.ndim != 1:
        raise ValueError(f"expected the events of one metric, got {first.shape}")
    shares, coin = shares_of(distinct)
    # Equal shares are joined before any float is added: order and partition of slices change nothing.
    events = np.zeros((2, len(shares)), np.int64)
    np.add.at(events[0], which, first)
    np.add.at(events[1], which, second)
    events, shares = events[:, coin], shares[coin]
    mine, total = int(events[0].sum()), int(events.sum())
    if not total:
        return 0.0, math.inf
    every = events.sum(axis=0).astype(np.float64)[:, None]

    def likelihood(d: Floats) -> Floats:
        """Return the log likelihood at log ratios, relative to that at 0."""
        chance: Floats = np.log1p(shares[:, None] * np.expm1(d))
        return np.asarray(mine * d - (every * chance).sum(axis=0))

    def slope(d: Floats) -> Floats:
        return np.asarray(mine - (every * _chance(shares, d)).sum(axis=0))

    mode = _zero(lambda d: slope(d) - 0.5 * np.tanh(0.5 * d))
    at_mode = _chance(shares, np.array([mode]))
    width = 1.0 / math.sqrt(
        float((every * at_mode * (1.0 - at_mode)).sum()) + 0.25 / math.cosh(0.5 * mode) ** 2
    )
    # The trapezoidal rule after d = mode + width sinh(t): dense where the mass is, far-reaching in the tails.
    reach = math.ceil(math.asinh(2.0 * _FARTHEST / width) / _STEP)
    t = _STEP * np.arange(-reach, reach + 1)
    nodes = mode + width * np.sinh(t)
    at_nodes = likelihood(nodes)
    weights = np.log(width * _STEP * np.cosh(t)) - math.log(math.pi) - np.logaddexp(0.5 * nodes, -0.5 * nodes)
    needed = float(logsumexp(at_nodes + weights)) + math.log(alpha)
    # The best node is inside: its likelihood is at least that of the mixture.
    best = int(at_nodes.argmax())
    below, above = np.flatnonzero(at_nodes[:best] < needed), np.flatnonzero(at_nodes[best:] < needed)
    low = math.exp(_edge(likelihood, slope, needed, float(nodes[below[-1]]))) if mine and len(below) else 0.0
    if mine == total or not len(above):
        return low, math.inf
    return low, math.exp(_edge(likelihood, slope, needed, float(nodes[best + above[0]])))


def _chance(shares: Floats, d: Floats) -> Floats:
    """Return the canary's part of the events at log ratios d, without overflow: (U, D)."""
    return np.asarray(1.0 / (1.0 + np.exp(np.log1p(-shares) - np.log(shares))[:, None] * np.exp(-d)))


def _zero(falling: Callable[[Floats], Floats]) -> float:
    """Return where a falling function is 0, within ±`_FARTHEST` and to one part in 10^8 of it."""
    low, high = -_FARTHEST, _FARTHEST
    while high - low > _FARTHEST * 1e-8:
        points = np.linspace(low, high, _SECTIONS)
        place = int(np.count_nonzero(falling(points[1:-1]) > 0.0))
        low, high = float(points[place]), float(points[place + 1])
    return 0.5 * (low + high)


def _edge(
    likelihood: Callable[[Floats], Floats], slope: Callable[[Floats], Floats], needed: float, outside: float
) -> float:
    """Return where the likelihood is ``needed``, coming from outside and not passing it.

    The likelihood is concave: its tangent lies above it, so Newton's steps from outside stay outside.
    """
    for _ in range(_NEWTON_STEPS):
        at = np.array([outside])
        missing, steepness = needed - float(likelihood(at)[0]), float(slope(at)[0])
        if missing <= 0.0 or steepness == 0.0:  # as near as rounding can tell
            break
        outside += missing / steepness
        if abs(missing / steepness) <= _PRECISION:
            break
    return outside


def _bets(margin: float, expected_ratio: float | None) -> tuple[tuple[float, ...], Floats]:
    """Return log ratios beyond the margin, and the money on each in whole parts."""
    if expected_ratio is None:
        return HARM_GRID, _MONEY
    if not 1.0 + margin < expected_ratio < math.inf:
        raise ValueError(f"expected a ratio above 1 + margin = {1.0 + margin}, got {expected_ratio}")
    spike = min(math.log(expected_ratio / (1.0 + margin)), _WIDEST)
    return (*HARM_GRID, spike), np.array([*HARM_MONEY, sum(HARM_MONEY)])


def _evidence(
    canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float, grid: tuple[float, ...]
) -> tuple[Counts, Split, NDArray[np.intp]]:
    """Return events (..., S, 2), log factors (U, 2, J) of the U shares there are, and which one is whose (S,)."""
    if not -1.0 < margin < math.inf:
        raise ValueError(f"expected a margin above -1, got {margin}")
    first, second, distinct, which = _columns(canary, champion, share)
    return np.stack((first, second), axis=-1), _factors(tuple(distinct.tolist()), margin, grid), which


@lru_cache(maxsize=256)
def _factors(distinct: tuple[float, ...], margin: float, grid: tuple[float, ...]) -> Split:
    """Return the log factors of an event in the canary and in the champion: (U, 2, J).

    Kept, because each decision asks for those of the last one, and they take half of the time.
    """
    shares, coin = shares_of(distinct)
    at_margin = shares * (1.0 + margin) / (1.0 + shares * margin)
    factors = np.empty((len(shares), 2, len(grid)))
    np.negative(np.log1p(at_margin[:, None] * np.expm1(grid)), out=factors[:, 1])
    np.add(grid, factors[:, 1], out=factors[:, 0])
    factors[~coin] = 0.0
    return split(factors)


def _columns(
    canary: ArrayLike, champion: ArrayLike, share: ArrayLike
) -> tuple[Counts, Counts, Floats, NDArray[np.intp]]:
    """Return events (..., S) of both, the shares there are (U,), ascending, and which of them is whose (S,)."""
    first, second, shares = counts_of(canary), counts_of(champion), np.asarray(share, np.float64)
    if first.shape != second.shape or shares.ndim != 1 or first.shape[-1:] != shares.shape:
        raise ValueError(f"expected one length, got {first.shape}, {second.shape} and {shares.shape}")
    distinct, which = np.unique(shares, return_inverse=True)
    return first, second, distinct, which

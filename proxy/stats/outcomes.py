"""Bets on which variant an outcome came from, be it an event or none: for harm so great that events are common.

Theory of operation:
    Where a canary answers little but errors, an answer without one is news, too: it is the champion's. So bets are on
    both, ``q1`` on the canary after an event and ``q0`` after none, and a unit multiplies the money by

        canary, event   ``q1 (1 + m q0) / (pi (1 + m))``        champion, event   ``(1 - q1)(1 + m q0) / (1 - pi)``
        canary, none    ``q0 / pi``                             champion, none    ``(1 - q0) / (1 - pi)``

    where pi is the canary's share and m the margin. What that makes on average, ``pi p1 x1 + ...``, is linear in the
    rates p1 of the canary and p0 of the champion, so over all rates with ``p1 <= (1 + m) p0`` it is greatest in one of
    the corners (p0, p1) = (0, 0), (1, 0), (1, 1), (1 / (1 + m), 1). There it is 1, ``q0 + (1 - q1)(1 + m q0)``,
    ``(1 + m q0)(1 - q1 m / (1 + m))`` and 1; the second and the third are at most 1 exactly where
    ``q1 >= q0 (1 + m) / (1 + m q0)``: where the bet's own ratio of odds is at least 1 + m. With ``q0 = pi`` the factors
    are those of :mod:`proxy.stats.events`.

    A canary of which some answers are still out has fewer of them than its share, and the champion's successes are
    then evidence against it though nothing failed. So a second e-value must agree, which asks how often each fails of
    what *it* answered: the likelihood of the same rates, divided by the greatest that the claim allows (universal
    inference). It needs no coin but rates that stay, the bets need the coin but no such rates. The lesser of the two is
    one of either's: whoever is late, or whatever the hour does to both.

    In :mod:`~proxy.stats.events` a canary that fails everything takes ten failures at a share of one half, for each
    says little; each pair of a failure and a champion's success says twice as much.
"""

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from proxy.stats.exact import Counts, Split, counts_of, grouped_sums, shares_of, split
from proxy.stats.mixtures import mixed
from proxy.stats.special import Floats

__all__ = ["RATES", "outright_harm", "outright_harm_each"]

RATES: Final[tuple[tuple[float, float], ...]] = ((0.95, 0.005), (0.5, 0.005), (0.2, 0.01))
"""Rates of canary and, but for the margin, champion that are bet on."""

_MONEY: Final = np.array([2.0, 1.0, 1.0])


def outright_harm(canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float) -> float:
    """Return the log e-value against "the canary's event rate is at most (1 + margin) times the champion's".

    The lesser of the bets on the coin and of the rates' likelihood ratio. The money is on canaries with events in a
    fifth of their units and more, next to champions with few. For others it is as good as lost, so this is worth a
    part of the money, and the rest is for :func:`proxy.stats.events.harm`.

    Model: each unit's coin falls on the canary with probability ``share``, whatever the unit; given the past the rates
    may be anything that the claim allows, and drift. Exact: the expectation of the e-value is at most 1. Or: units are
    missing in one variant more than in the other, and the rates stay what they are.
    Shapes: ``canary, champion: (S, 2) int64`` units without an event and with one, ``share: (S,)`` in 0..1.
    ``margin`` at least 0, a fraction.
    Range: finite. No slices, no units, or no coin (share 0 or 1): exactly 0.

    Raises:
        TypeError: counts that are not integers.
        ValueError: other shapes, negative counts, or numbers outside their range.

    Source: lemma (1) of the specification, solved for a relative margin (see the top of this file); Wasserman, Ramdas &
    Balakrishnan, "Universal inference", PNAS 2020.
    Checked against: full enumeration of E[e] over the corners of the claim and between.
    """
    return float(outright_harm_each(canary, champion, share, margin))


def outright_harm_each(canary: ArrayLike, champion: ArrayLike, share: ArrayLike, margin: float) -> Floats:
    """Return `outright_harm` of several metrics at once: units ``(..., S, 2)``, result ``(...)``, the same bits."""
    first, second, shares = counts_of(canary), counts_of(champion), np.asarray(share, np.float64)
    if shares.ndim != 1 or first.shape[-2:] != (len(shares), 2) or first.shape != second.shape:
        raise ValueError(
            f"expected units (..., {shares.size}, 2), got {first.shape} and {second.shape} for {shares.shape}"
        )
    if not 0.0 <= margin < np.inf:
        raise ValueError(f"expected a margin of at least 0, got {margin}")
    distinct, which = np.unique(shares, return_inverse=True)
    factors = _factors(tuple(distinct.tolist()), margin)
    bets = mixed(grouped_sums(np.concatenate((first, second), axis=-1), factors, which), _MONEY)
    _, coin = shares_of(shares)
    return np.minimum(
        bets, _likelihood_ratio(first[..., coin, :].sum(axis=-2), second[..., coin, :].sum(axis=-2), margin)
    )


def _likelihood_ratio(canary: Counts, champion: Counts, margin: float) -> Floats:
    """Return the log likelihood of `RATES`, mixed, less the greatest that the claim allows: units (..., 2)."""
    units = np.concatenate((canary, champion), axis=-1).astype(np.float64)
    mine, theirs = _rates(margin)
    rates = (1.0 - mine, mine, 1.0 - theirs, theirs)
    # Term by term: a product of matrices adds in an order that depends on how many metrics there are.
    found = sum(units[..., column, None] * np.log(rate) for column, rate in enumerate(rates))
    return mixed(np.asarray(found), _MONEY) - _greatest(units, 1.0 + margin)


def _greatest(units: Floats, ratio: float) -> Floats:
    """Return the greatest log likelihood of rates of which the canary's is at most ``ratio`` times the champion's."""
    well, failed, other_well, other_failed = (units[..., column] for column in range(4))
    own, rest = np.maximum(well + failed, 1.0), np.maximum(other_well + other_failed, 1.0)
    # Where the rates that were seen break the claim, the likeliest that do not are on its edge: a root of the slope.
    every, events = units.sum(axis=-1), failed + other_failed
    linear = events * (1.0 + ratio) + ratio * well + other_well
    root = np.sqrt(np.maximum(linear**2 - 4.0 * ratio * np.maximum(every, 1.0) * events, 0.0))
    edge = np.clip((linear - root) / (2.0 * ratio * np.maximum(every, 1.0)), 0.0, 1.0 / ratio)
    breaks = failed * rest > ratio * other_failed * own
    first, second = np.where(breaks, ratio * edge, failed / own), np.where(breaks, edge, other_failed / rest)
    terms = ((well, 1.0 - first), (failed, first), (other_well, 1.0 - second), (other_failed, second))
    return np.asarray(sum(_times_log(count, chance) for count, chance in terms))


def _times_log(count: Floats, chance: Floats) -> Floats:
    """Return ``count log chance``; 0 for no counts."""
    return np.where(count > 0.0, count * np.log(np.where(count > 0.0, np.maximum(chance, 1e-300), 1.0)), 0.0)


def _rates(margin: float) -> tuple[Floats, Floats]:
    """Return the rates of canary and champion that are bet on."""
    mine, theirs = np.array(RATES).T
    return mine, theirs / (1.0 + margin)


@lru_cache(maxsize=256)
def _factors(distinct: tuple[float, ...], margin: float) -> Split:
    """Return the log factors (U, 4, J): canary without and with an event, champion without and with one."""
    shares, coin = shares_of(distinct)
    own, other = shares[:, None], 1.0 - shares[:, None]
    mine, theirs = _rates(margin)
    after_event = own * mine / (own * mine + other * theirs)
    after_none = own * (1.0 - mine) / (own * (1.0 - mine) + other * (1.0 - theirs))
    raised = np.log1p(margin * after_none)
    factors = np.stack(
        (
            np.log(after_none / own),
            np.log(after_event / (own * (1.0 + margin))) + raised,
            np.log((1.0 - after_none) / other),
            np.log((1.0 - after_event) / other) + raised,
        ),
        axis=1,
    )
    factors[~coin] = 0.0
    return split(factors)

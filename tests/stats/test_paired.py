"""Bets on pairs in which the models differ."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.events import harm
from proxy.stats.paired import (
    auc_pairs,
    auc_worse,
    excess_exceeds,
    excess_within,
    losses,
    losses_within,
    odds_sequence,
    triples,
)

pairs = st.integers(0, 10**6)


@pytest.mark.parametrize("margin", [0.0, 0.2])
def test_the_bets_are_fair(margin: float) -> None:
    """Over all outcomes of forty discordant pairs at the margin, E[e] is 1."""
    p = (1 + margin) / (2 + margin)
    chances = [math.comb(40, k) * p**k * (1 - p) ** (40 - k) for k in range(41)]
    for bet in (losses, losses_within, triples):
        expected = math.fsum(chance * math.exp(bet(k, 40 - k, margin)) for k, chance in enumerate(chances))
        assert expected == pytest.approx(1.0, abs=1e-12)


@given(pairs, pairs, st.sampled_from([0.0, 0.05, 0.5]))
def test_a_tolerance_is_a_coin(candidate: int, second: int, tolerance: float) -> None:
    """Tolerating m more disagreements is a coin of (1 + m)/(2 + m) without margin."""
    coin = (1 + tolerance) / (2 + tolerance)
    expected = harm([candidate], [second], [coin], 0.0)
    got = triples(candidate, second, tolerance)
    assert got == pytest.approx(expected, abs=1e-9, rel=1e-9)


def test_sides() -> None:
    """More lost pairs speak against the challenger, more won ones for it; none say nothing."""
    assert losses(40, 10) > math.log(100.0) > 0.0 > losses(10, 40)
    assert losses_within(10, 40, 0.1) > math.log(100.0) > 0.0 > losses_within(40, 10, 0.1)
    assert losses(0, 0) == losses_within(0, 0, 0.1) == triples(0, 0) == 0.0
    low, high = odds_sequence(40, 10, 0.05)
    assert 1.0 < low < 4.0 < high
    assert odds_sequence(0, 0, 0.05) == (0.0, math.inf)


@pytest.mark.parametrize("limit", [0.0, 0.02, 0.3])
@pytest.mark.parametrize("noise", [0.0, 0.1, 0.35])
def test_bets_on_the_excess_are_fair(limit: float, noise: float) -> None:
    """Over all outcomes of thirty triples of a candidate that differs by just the limit more, E[e] is 1, whatever the
    noise is."""
    n, mine, other = 30, noise + limit, noise
    for bet in (excess_exceeds, excess_within):
        expected = math.fsum(
            math.comb(n, k)
            * math.comb(n - k, j)
            * mine**k
            * other**j
            * (1 - mine - other) ** (n - k - j)
            * math.exp(bet(k, j, n, limit))
            for k in range(n + 1)
            for j in range(n + 1 - k)
        )
        assert expected == pytest.approx(1.0, abs=1e-12)


def test_sides_of_the_excess() -> None:
    """Noise speaks against nobody, its excess does; few odd ones show that there is little of it."""
    assert excess_exceeds(700, 700, 2000, 0.0) < 0.0 < math.log(100.0) < excess_exceeds(700, 500, 2000, 0.02)
    assert excess_within(20, 20, 2000, 0.05) > math.log(100.0) > 0.0 > excess_within(300, 20, 2000, 0.05)
    assert excess_exceeds(0, 0, 0, 0.1) == excess_within(0, 0, 0, 0.1) == 0.0
    assert excess_exceeds(9, 0, 9, 1.0) <= 0.0 < excess_within(0, 9, 9, 1.0)
    with pytest.raises(ValueError, match="expected a limit"):
        excess_exceeds(1, 1, 2, -0.1)
    with pytest.raises(ValueError, match="at least 0"):
        excess_within(2, 1, 2, 0.1)


def test_auc_pairs() -> None:
    """A pair is in order where the positive label has the greater score; ties are not."""
    champion = ([0.9, 0.5, 0.4, 0.5, 0.8, 0.2], [0.1, 0.6, 0.4, 0.2, 0.1, 0.3])
    challenger = ([0.2, 0.7, 0.5, 0.9, 0.8, 0.1], [0.3, 0.6, 0.1, 0.1, 0.1, 0.3])
    assert auc_pairs(*champion, *challenger) == (1, 2)
    assert auc_pairs([], [], [], []) == (0, 0)
    assert auc_worse(30, 5) == losses(30, 5)
    with pytest.raises(ValueError, match="expected four arrays"):
        auc_pairs([1.0], [1.0], [1.0], [1.0, 2.0])
    with pytest.raises(ValueError, match="expected scores that are numbers"):
        auc_pairs([1.0], [1.0], [1.0], [math.nan])

"""The bet that outputs changed at all."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.anychange import any_change
from proxy.stats.special import log_beta


def test_the_bet_is_fair_without_a_change() -> None:
    """Over all outcomes of seven units in two buckets, alike in both variants, E[e] is 1."""
    share, first = 0.2, 0.3
    total = 0.0
    for in_first in range(8):
        for a in range(in_first + 1):
            for b in range(8 - in_first):
                chance = math.comb(7, in_first) * first**in_first * (1 - first) ** (7 - in_first)
                chance *= math.comb(in_first, a) * share**a * (1 - share) ** (in_first - a)
                rest = 7 - in_first
                chance *= math.comb(rest, b) * share**b * (1 - share) ** (rest - b)
                total += chance * math.exp(any_change([[a, b]], [[in_first - a, rest - b]], [share], 3.0))
    assert total == pytest.approx(1.0, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 10**5), st.integers(0, 10**5)), min_size=1, max_size=6))
def test_it_is_its_formula(buckets: list[tuple[int, int]]) -> None:
    """Per bucket a ratio of beta functions, buckets multiplied."""
    share, expected = 0.1, 0.0
    for a, b in buckets:
        expected += float(log_beta(4.0 + a, 36.0 + b) - log_beta(4.0, 36.0))
        expected -= a * math.log(share) + b * math.log1p(-share)
    got = any_change([[a for a, _ in buckets]], [[b for _, b in buckets]], [share])
    scale = sum(a + b for a, b in buckets)
    assert got == pytest.approx(expected, abs=1e-10 + 1e-13 * scale)


@given(st.lists(st.integers(0, 10**9), min_size=8, max_size=8), st.permutations(range(4)))
def test_order_and_cuts_change_nothing(cells: list[int], order: list[int]) -> None:
    """Slices in any order, and cut in two, give the same bits."""
    canary, champion = np.array(cells).reshape(4, 2), np.array(cells[::-1]).reshape(4, 2)
    shares = np.array([0.1, 0.5, 0.1, 0.0])
    whole = any_change(canary, champion, shares)
    assert any_change(canary[order], champion[order], shares[order]) == whole
    half = canary // 2
    parts = np.concatenate((half, canary - half)), np.concatenate((0 * champion, champion))
    assert any_change(*parts, np.concatenate((shares, shares))) == whole


def test_it_finds_a_change_and_no_other() -> None:
    """A bucket that moved is found, buckets that did not are not; without units or coin there is nothing."""
    assert any_change([[100, 200]], [[1100, 1600]], [0.1]) < 0.0
    assert any_change([[200, 100]], [[1100, 1600]], [0.1]) > 20.0
    assert any_change([[0, 0]], [[0, 0]], [0.1]) == 0.0
    assert any_change([[5, 0]], [[0, 0]], [1.0]) == 0.0
    assert any_change(np.zeros((0, 3), np.int64), np.zeros((0, 3), np.int64), []) == 0.0


def test_bad_input() -> None:
    """Shapes must fit and the strength must be above 0."""
    with pytest.raises(ValueError, match="expected one shape"):
        any_change([[1, 2]], [[1, 2]], [0.5, 0.5])
    with pytest.raises(ValueError, match="expected one shape"):
        any_change([1, 2], [1, 2], [0.5, 0.5])
    with pytest.raises(ValueError, match="expected a strength"):
        any_change([[1, 2]], [[1, 2]], [0.5], 0.0)
    with pytest.raises(ValueError, match="expected shares"):
        any_change([[1, 2]], [[1, 2]], [1.5])

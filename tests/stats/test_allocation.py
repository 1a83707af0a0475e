"""The test for a split that is not as configured."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.allocation import allocation, mismatch, mismatch_each


def test_savvi() -> None:
    """The value that savvi 0.3.1 gives for (130, 870) at shares (.1, .9) and k = 1000."""
    assert allocation([130, 870], [0.1, 0.9]) == pytest.approx(1.988121467, abs=5e-10)
    assert allocation([[130, 870]], [[0.1, 0.9]]) == allocation([130, 870], [0.1, 0.9])


@pytest.mark.parametrize("shares", [(0.1, 0.9), (0.5, 0.3, 0.2)])
@pytest.mark.parametrize("k", [1.0, 1000.0])
def test_it_is_fair(shares: tuple[float, ...], k: float) -> None:
    """Over all outcomes of twenty units, split as configured, E[e] is 1."""
    total = 0.0
    for counts in product(range(21), repeat=len(shares)):
        if sum(counts) == 20:
            ways = math.factorial(20) // math.prod(math.factorial(x) for x in counts)
            chance = ways * math.prod(share**x for share, x in zip(shares, counts, strict=True))
            total += chance * math.exp(allocation(counts, shares, k))
    assert total == pytest.approx(1.0, abs=1e-12)


@given(st.lists(st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=5))
def test_rows_add(rows: list[tuple[int, int]]) -> None:
    """The evidence of rows is the sum of that of each, in any order."""
    shares = [[0.1 * (i + 1), 1.0 - 0.1 * (i + 1)] for i in range(len(rows))]
    each = [allocation(row, share) for row, share in zip(rows, shares, strict=True)]
    assert allocation(rows, shares) == math.fsum(each) == allocation(rows[::-1], shares[::-1])


@pytest.mark.parametrize("shares", [(0.1, 0.9), (0.5, 0.3, 0.2), (0.999, 0.001)])
def test_a_mismatch_of_some_size_is_fair(shares: tuple[float, ...]) -> None:
    """Over all outcomes of twenty units, split as configured, E[e] is 1."""
    total = 0.0
    for counts in product(range(21), repeat=len(shares)):
        if sum(counts) == 20:
            ways = math.factorial(20) // math.prod(math.factorial(x) for x in counts)
            chance = ways * math.prod(share**x for share, x in zip(shares, counts, strict=True))
            total += chance * math.exp(mismatch(counts, shares))
    assert total == pytest.approx(1.0, abs=1e-12)


def test_a_mismatch_in_plain_arithmetic() -> None:
    """Three tenths on any split, seven on each variant's odds in turn, by seven sizes either way."""
    counts, shares = (70, 300, 130), (0.2, 0.5, 0.3)
    tilted = []
    for i, j, sign in product(range(3), range(7), (1.0, -1.0)):
        odds = [
            share * math.exp(sign * 0.05 * 2 ** (j / 2)) if i == k else share
            for k, share in enumerate(shares)
        ]
        tilted.append(
            math.prod((o / sum(odds) / t) ** x for o, t, x in zip(odds, shares, counts, strict=True))
        )
    expected = 0.3 * math.exp(allocation(counts, shares)) + 0.7 * math.fsum(tilted) / 42
    assert math.exp(mismatch(counts, shares)) == pytest.approx(expected, rel=1e-9)
    assert mismatch_each([counts, counts], [shares, shares]).tolist() == [mismatch(counts, shares)] * 2


def test_a_large_mismatch_is_found_sooner() -> None:
    """Than by a prior that is widest where nothing is wrong; and nothing is exactly nothing."""
    assert mismatch([300, 3500], [0.1, 0.9]) > allocation([300, 3500], [0.1, 0.9]) + 0.5
    assert mismatch([0, 0], [0.1, 0.9]) == 0.0
    assert mismatch(np.zeros((0, 2), np.int64), np.zeros((0, 2))) == 0.0
    assert mismatch([2, 100], [0.0, 1.0]) > math.log(1e6)


def test_units_where_none_may_be() -> None:
    """Two units in a variant with share 0 are proof; none there are no evidence at all."""
    assert allocation([0, 100], [0.0, 1.0]) == pytest.approx(0.0, abs=1e-9)
    assert allocation([2, 100], [0.0, 1.0]) > math.log(1e6)
    assert math.isfinite(allocation([10**12, 0], [0.0, 1.0]))


def test_no_units() -> None:
    """Nothing is exactly 0."""
    assert allocation([0, 0, 0], [0.2, 0.3, 0.5]) == 0.0
    assert allocation(np.zeros((0, 2), np.int64), np.zeros((0, 2))) == 0.0


def test_huge_counts() -> None:
    """10^12 units split to the unit cost ten nats; off by one in a hundred they are certain."""
    assert -11.0 < allocation([10**11, 9 * 10**11], [0.1, 0.9]) < -10.0
    assert allocation([99 * 10**9, 901 * 10**9], [0.1, 0.9]) > 1e6


@pytest.mark.parametrize(
    ("counts", "shares", "k"),
    [
        ([1, 2], [0.5, 0.4], 1000.0),
        ([1, 2], [-0.5, 1.5], 1000.0),
        ([1, 2], [math.nan, 1.0], 1000.0),
        ([1, 2], [0.5, 0.25, 0.25], 1000.0),
        ([-1, 2], [0.5, 0.5], 1000.0),
        ([1, 2], [0.5, 0.5], 0.0),
    ],
)
def test_bad_input(counts: list[int], shares: list[float], k: float) -> None:
    """Shares add up to 1, counts and k are what they can be."""
    with pytest.raises(ValueError, match="expected"):
        allocation(counts, shares, k)

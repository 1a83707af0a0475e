"""The test for a split that is not as configured."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.allocation import allocation


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

"""Sums that do not depend on the order of adding, and inputs that are refused."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.exact import (
    counts_of,
    grouped_suffix_sums,
    grouped_sums,
    shares_of,
    split,
    suffix_sums,
    sums,
)


@st.composite
def tables(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Return counts (S, R) and coefficients (S, R, J)."""
    slices, rows, bets = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    count = st.integers(0, 10**10) | st.integers(0, 5)
    counts = draw(st.lists(count, min_size=slices * rows, max_size=slices * rows))
    size = slices * rows * bets
    factors = draw(st.lists(st.floats(-8, 8, allow_subnormal=False), min_size=size, max_size=size))
    return (
        np.array(counts, np.int64).reshape(slices, rows),
        np.array(factors, np.float64).reshape(slices, rows, bets),
    )


@given(tables())
def test_sums_are_those_of_rational_arithmetic(table: tuple[np.ndarray, np.ndarray]) -> None:
    """The result is the exact sum, up to the last digit and 2^-61 per count."""
    counts, factors = table
    for bet, got in enumerate(sums(counts, factors).tolist()):
        terms = zip(counts.ravel().tolist(), factors[:, :, bet].ravel().tolist(), strict=True)
        exact = sum(count * Fraction(factor) for count, factor in terms)
        allowed = Fraction(int(counts.sum()), 2**60) + abs(exact) * Fraction(1, 2**51)
        assert abs(Fraction(got) - exact) <= allowed


@given(tables(), st.randoms(use_true_random=False))
def test_order_changes_nothing(table: tuple[np.ndarray, np.ndarray], random: "np.random.Generator") -> None:
    """Slices in any order have the same sum, bit for bit."""
    counts, factors = table
    order = list(range(len(counts)))
    random.shuffle(order)
    assert sums(counts, factors).tolist() == sums(counts[order], factors[order]).tolist()


@given(tables())
def test_each_suffix_is_the_sum_of_its_slices(table: tuple[np.ndarray, np.ndarray]) -> None:
    """Entry j is what the slices from j on would have given alone, bit for bit."""
    counts, factors = table
    suffixes = suffix_sums(counts, factors)
    for start in range(len(counts)):
        assert suffixes[start].tolist() == sums(counts[start:], factors[start:]).tolist()


@given(tables(), st.lists(st.integers(0, 5), min_size=1, max_size=12))
def test_groups_are_slices_with_coefficients_in_common(
    table: tuple[np.ndarray, np.ndarray], picks: list[int]
) -> None:
    """Saying which coefficients are whose gives the same bits as repeating them."""
    counts, factors = table
    group = np.array(picks) % len(counts)
    own = counts[group]
    assert grouped_suffix_sums(own, factors, group).tolist() == suffix_sums(own, factors[group]).tolist()
    assert grouped_sums(own, factors, group).tolist() == sums(own, factors[group]).tolist()
    assert grouped_sums(own, split(factors), group).tolist() == sums(own, factors[group]).tolist()


def test_nothing_sums_to_zero() -> None:
    """No slices, no evidence."""
    assert sums(np.zeros((0, 2), np.int64), np.zeros((0, 2, 3))).tolist() == [0.0, 0.0, 0.0]
    assert suffix_sums(np.zeros((0, 2), np.int64), np.zeros((0, 2, 3))).shape == (0, 3)


def test_what_could_wrap_is_refused() -> None:
    """Counts beyond what the integers hold raise, also where only their sum is too large."""
    factors = np.full((4, 1, 1), -4.0)
    assert sums(np.full((4, 1), 5 * 10**11), factors).tolist() == [-8e12]
    with pytest.raises(ValueError, match="expected fewer than"):
        sums(np.full((4, 1), 2 * 10**12), factors)
    with pytest.raises(ValueError, match="expected fewer than"):
        sums(np.full((4, 1), 2**62), factors)
    for wrong in (np.nan, np.inf, -np.inf):
        with pytest.raises(ValueError, match="expected finite"):
            split(np.full((1, 1, 1), wrong))
    with pytest.raises(ValueError, match="expected coefficients below"):
        split(np.full((1, 1, 1), -1e30))


def test_counts() -> None:
    """Counts are integers of at least 0, of any width; an empty list is no counts."""
    assert counts_of(np.array([1, 2], np.uint32)).dtype == np.int64
    assert counts_of([]).tolist() == []
    with pytest.raises(TypeError, match="expected integer counts"):
        counts_of([1.5])
    with pytest.raises(ValueError, match="expected counts of at least 0, got -1"):
        counts_of([3, -1])


def test_shares() -> None:
    """There is a coin strictly between 0 and 1; beyond is an error."""
    shares, coin = shares_of([0.0, 0.25, 1.0])
    assert shares.tolist() == [0.5, 0.25, 0.5]
    assert coin.tolist() == [False, True, False]
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="expected shares in"):
            shares_of([0.5, wrong])


@pytest.mark.parametrize("rows", [2, 7])
def test_sums_of_several_metrics(rows: int) -> None:
    """Axes before the slices are sums of their own, with the bits that each has alone, up to the capacity of each."""
    generator = np.random.default_rng(rows)
    counts = generator.integers(0, 1000, (2, 3, 8, rows))
    coefficients, group = generator.normal(0.0, 2.0, (4, rows, 5)), generator.integers(0, 4, 8)
    suffixes, wholes = (each(counts, coefficients, group) for each in (grouped_suffix_sums, grouped_sums))
    for place in np.ndindex(2, 3):
        assert suffixes[place].tolist() == grouped_suffix_sums(counts[place], coefficients, group).tolist()
        assert wholes[place].tolist() == suffixes[place][0].tolist()
    many = np.full((3, 1, 1), 2**40)
    assert grouped_sums(many, np.ones((1, 1, 1)), np.zeros(1, np.int64)).tolist() == [[2.0**40]] * 3

"""Tolerance is numpy's formula in either direction; distance is relative, symmetric and bounded."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.tolerance import (
    close_mask,
    compare_numbers,
    is_close,
    largest_difference,
    relative_distance,
    relative_distances,
    scaled_distances,
)

numbers = st.floats(width=64) | st.integers(-(2**53), 2**53)
tolerances = st.floats(0, 1, allow_subnormal=False) | st.sampled_from([0.0, 1e-8, 1e-5])

CLOSE: dict[str, tuple[float, float, float, float, bool]] = {
    "equal": (1.0, 1.0, 0, 0, True),
    "int and float": (1, 1.0, 0, 0, True),
    "on the relative border": (1.5, 1.0, 0.5, 0, True),
    "relative to the larger": (1.0, 1.5, 0.4, 0, True),
    "the other way round": (1.5, 1.0, 0.4, 0, True),
    "beyond that": (1.5, 1.0, 0.3, 0, False),
    "absolute near zero": (1e-9, 0.0, 1e-5, 1e-8, True),
    "relative is no help at zero": (1e-9, 0.0, 1e-5, 0, False),
    "NaN and NaN": (math.nan, math.nan, 0, 0, True),
    "NaN and number": (math.nan, 1.0, 1, 1, False),
    "infinity and itself": (math.inf, math.inf, 0, 0, True),
    "infinities of two signs": (math.inf, -math.inf, 1, 1, False),
    "finite is never close to infinite": (1.0, math.inf, 1e-5, 1e-8, False),
    "nor infinite to finite": (-math.inf, 1.0, 1e-5, 1e-8, False),
    "difference overflows": (1.7e308, -1.7e308, 1e-5, 1e-8, False),
    "large integers are exact": (2**63, 2**63 + 1, 0, 0, False),
    "negative zero": (0.0, -0.0, 0, 0, True),
}


@pytest.mark.parametrize("name", CLOSE)
def test_is_close(name: str) -> None:
    """One row, one decision, alone and in a long list."""
    value, reference, rtol, atol, expected = CLOSE[name]
    assert expected is is_close(value, reference, rtol, atol)
    assert close_mask([value] * 70, [reference] * 70, rtol, atol) == [expected] * 70


@given(numbers, numbers, tolerances, tolerances)
def test_numpy_is_the_referee(value: float, reference: float, rtol: float, atol: float) -> None:
    """Scalars are judged as numpy.isclose judges them in one direction or the other, NaN equal to NaN."""
    with np.errstate(all="ignore"):
        pairs = (float(value), float(reference)), (float(reference), float(value))
        expected = any(bool(np.isclose(*pair, rtol=rtol, atol=atol, equal_nan=True)) for pair in pairs)
    assert expected is is_close(float(value), float(reference), rtol, atol)


@given(st.lists(st.tuples(numbers, numbers), max_size=150), tolerances, tolerances)
def test_long_and_short_lists_are_judged_alike(
    pairs: list[tuple[float, float]], rtol: float, atol: float
) -> None:
    """The vector path gives what the scalar path gives."""
    values, references = [float(a) for a, _ in pairs], [float(b) for _, b in pairs]
    one_by_one = [is_close(a, b, rtol, atol) for a, b in zip(values, references, strict=True)]
    assert one_by_one == close_mask(values, references, rtol, atol)
    assert one_by_one * 70 == close_mask(values * 70, references * 70, rtol, atol)


@pytest.mark.parametrize("large", [2**53 + 1, 2**60 + 1, 2**63 - 1, 1 - 2**63])
def test_large_integers_are_judged_alike(large: int) -> None:
    """Neighbours that are one number as floats are two, in a list of any length."""
    for length in (1, 200):
        values, others = [large] * length, [large] * (length - 1) + [large - 1]
        assert close_mask(values, others, 0.0, 0.5) == [True] * (length - 1) + [False], length
        assert compare_numbers(values, others, 0.0, 0.5)[0] == [True] * (length - 1) + [False], length
        assert all(close_mask(values, others, 0.0, 1.0)), length
        assert all(close_mask(values, others, 1e-9, 0.0)), length


@given(st.lists(st.tuples(numbers, numbers), max_size=5), tolerances, tolerances)
def test_both_at_once(pairs: list[tuple[float, float]], rtol: float, atol: float) -> None:
    """Asked together, mask and distance are what they are alone, for few numbers and for many."""
    for times in (1, 70):
        values, references = [float(a) for a, _ in pairs] * times, [float(b) for _, b in pairs] * times
        mask = close_mask(values, references, rtol, atol)
        largest = largest_difference(values, references)
        relative, scaled = (
            relative_distances(values, references, atol),
            scaled_distances(values, references, 2.0),
        )
        assert compare_numbers(values, references, rtol, atol) == (mask, relative, largest)
        assert compare_numbers(values, references, rtol, atol, 2.0) == (mask, scaled, largest)


DISTANCES: dict[str, tuple[float, float, float, float]] = {
    "equal": (3.0, 3.0, 0, 0.0),
    "both zero": (0, 0.0, 0, 0.0),
    "one per cent": (100.0, 99.0, 0, 0.01),
    "zero and something": (0.0, 5.0, 0, 1.0),
    "zero and noise within atol": (0.0, 1e-12, 1e-8, 0.0),
    "opposite signs": (1.0, -1.0, 0, 1.0),
    "NaN and NaN": (math.nan, math.nan, 0, 0.0),
    "NaN and number": (math.nan, 1.0, 0, 1.0),
    "number and NaN": (1.0, math.nan, 0, 1.0),
    "zero and NaN": (0.0, math.nan, 0, 1.0),
    "NaN and zero": (math.nan, 0.0, 0, 1.0),
    "infinity and number": (math.inf, 1.0, 0, 1.0),
    "infinities of two signs": (math.inf, -math.inf, 0, 1.0),
    "difference overflows": (1.7e308, -1.7e308, 0, 1.0),
}


@pytest.mark.parametrize("name", DISTANCES)
def test_relative_distance(name: str) -> None:
    """Worked values, one by one and as a long list."""
    a, b, atol, expected = DISTANCES[name]
    assert expected == pytest.approx(relative_distance(a, b, atol))
    assert expected == pytest.approx(relative_distances([a] * 70, [b] * 70, atol))


@given(st.lists(st.tuples(numbers, numbers), max_size=100), tolerances)
def test_distance_is_symmetric_and_bounded(pairs: list[tuple[float, float]], atol: float) -> None:
    """In [0, 1], the same both ways, 0 against itself, and independent of the path taken."""
    a, b = [float(x) for x, _ in pairs], [float(y) for _, y in pairs]
    distance = relative_distances(a, b, atol)
    assert 0.0 <= distance <= 1.0
    assert distance == relative_distances(b, a, atol)
    assert relative_distances(a, a, atol) == 0.0
    if pairs:
        assert distance == pytest.approx(relative_distances(a * 70, b * 70, atol))


SCALED: dict[str, tuple[list[float], list[float], float, float, float]] = {
    "half of the scale": ([1.0], [2.0], 2.0, 0.5, 1.0),
    "beyond it": ([1.0, 5.0], [9.0, 5.0], 2.0, 0.5, 8.0),
    "NaN and NaN": ([math.nan], [math.nan], 1.0, 0.0, 0.0),
    "NaN and number": ([math.nan, 3.0], [1.0, 2.5], 1.0, 0.75, 0.5),
    "infinity and itself": ([math.inf], [math.inf], 1.0, 0.0, 0.0),
    "infinity and number": ([math.inf], [0.0], 1.0, 1.0, 0.0),
    "difference overflows": ([1.7e308], [-1.7e308], 2.0, 1.0, 0.0),
    "none": ([], [], 1.0, 0.0, 0.0),
}


@pytest.mark.parametrize("name", SCALED)
def test_scaled(name: str) -> None:
    """Distance in units of the scale, at most 1; the largest difference is of finite numbers, few or many."""
    values, references, scale, distance, largest = SCALED[name]
    for times in (1, 70):
        assert scaled_distances(values * times, references * times, scale) == pytest.approx(distance)
        assert largest_difference(values * times, references * times) == largest

"""The buckets of durations: their edges, shifts, margins and quantiles."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from proxy.stats.histogram import (
    BUCKETS,
    GAMMA,
    bucket_of,
    buckets_of,
    buckets_of_margin,
    buckets_within_margin,
    log_quantiles,
    lower_edge_ns,
    lower_edges_ns,
    middles_ns,
    quantile_ns,
    shift,
    upper_edge_ns,
    upper_edges_ns,
)

HISTOGRAMS = arrays(np.int64, st.integers(1, 12), elements=st.integers(0, 10**6))


@pytest.mark.parametrize(
    ("ns", "bucket"),
    [
        (-5, 0), (0, 0), (1, 0), (999, 0), (1000, 0), (1001, 1), (1049, 1), (1051, 2), (1_000_000, 142),
        (1_000_000_000, 284), (271_000_000_000, 398), (272_000_000_000, 399), (10**15, 399),
    ],
)  # fmt: skip
def test_bucket_of(ns: int, bucket: int) -> None:
    """A duration has the bucket that the formula 1 + floor(log(ns/1000)/log(1.05)) gives, within 0..399."""
    assert bucket_of(ns) == bucket
    assert buckets_of([ns]).tolist() == [bucket]


@given(st.integers(1, 10**12))
def test_a_duration_is_between_the_edges_of_its_bucket(ns: int) -> None:
    """The edges contain the duration, up to a nanosecond's rounding, and one bucket and many agree."""
    bucket = bucket_of(ns)
    assert lower_edge_ns(bucket) * (1 - 1e-12) <= ns <= upper_edge_ns(bucket) * (1 + 1e-12)
    assert int(buckets_of(ns)) == bucket


def test_edges() -> None:
    """Edges rise by the factor gamma from 0 to infinity, and each upper edge is the next lower one."""
    lower, upper = lower_edges_ns(), upper_edges_ns()
    assert lower[0] == 0.0
    assert upper[0] == 1000.0
    assert upper[-1] == math.inf
    assert lower[1:].tolist() == upper[:-1].tolist()
    assert upper[1:-1] / upper[:-2] == pytest.approx(GAMMA)
    inner = middles_ns()[1:-1]
    assert np.abs(np.log(inner / lower[1:-1]) - math.log(GAMMA) / 2).max() < 1e-9


@pytest.mark.parametrize("bucket", [-1, BUCKETS])
def test_there_are_no_other_buckets(bucket: int) -> None:
    """A bucket outside 0..399 has no edges."""
    with pytest.raises(ValueError, match=r"expected a bucket in 0\.\.399"):
        upper_edge_ns(bucket)
    with pytest.raises(ValueError, match=r"expected a bucket in 0\.\.399"):
        lower_edge_ns(bucket)


@pytest.mark.parametrize(
    ("buckets", "hold_first", "expected"),
    [
        (0, False, [1, 2, 3, 4]),
        (1, False, [0, 1, 2, 7]),
        (2, False, [0, 0, 1, 9]),
        (9, False, [0, 0, 0, 10]),
        (-1, False, [3, 3, 4, 0]),
        (-9, False, [10, 0, 0, 0]),
        (0, True, [1, 2, 3, 4]),
        (1, True, [1, 0, 2, 7]),
        (2, True, [1, 0, 0, 9]),
        (9, True, [1, 0, 0, 9]),
    ],
)
def test_shift(buckets: int, hold_first: bool, expected: list[int]) -> None:
    """Counts move by whole buckets and pile up at the ends; the first bucket can be held."""
    counts = np.array([1, 2, 3, 4], np.int64)
    moved = shift(counts, buckets, hold_first=hold_first)
    assert moved.tolist() == expected
    assert counts.tolist() == [1, 2, 3, 4]
    assert moved.dtype == np.int64
    assert shift(np.stack([counts, 0 * counts]), buckets, hold_first=hold_first).tolist() == [
        expected,
        [0] * 4,
    ]


@given(HISTOGRAMS, st.integers(-15, 15), st.booleans())
def test_shift_keeps_the_total(counts: np.ndarray, buckets: int, hold_first: bool) -> None:
    """No count is lost or made by a shift, and none is below 0."""
    moved = shift(counts, buckets, hold_first=hold_first and buckets > 0)
    assert moved.sum() == counts.sum()
    assert moved.min() >= 0


@given(HISTOGRAMS, st.integers(0, 6), st.integers(0, 6))
def test_shifts_add_up(counts: np.ndarray, first: int, second: int) -> None:
    """Two shifts up are one shift by their sum."""
    assert shift(shift(counts, first), second).tolist() == shift(counts, first + second).tolist()


def test_a_shift_is_a_multiplication() -> None:
    """The histogram of slower durations is the shifted histogram of the durations."""
    durations = np.exp(np.random.default_rng(1).normal(16.0, 1.0, 5000))
    plain = np.bincount(buckets_of(durations), minlength=BUCKETS)
    slower = np.bincount(buckets_of(durations * GAMMA**7), minlength=BUCKETS)
    assert np.abs(shift(plain, 7) - slower).sum() <= 2  # a duration on an edge may be rounded to either side


@pytest.mark.parametrize(
    ("margin", "least", "most"),
    [
        (0.0, 0, 0), (0.01, 1, 0), (0.05, 1, 1), (0.1, 2, 1), (0.1025, 2, 2), (0.25, 5, 4), (0.5, 9, 8),
        (1.0, 15, 14), (GAMMA**20 - 1, 20, 20),
    ],
)  # fmt: skip
def test_margins(margin: float, least: int, most: int) -> None:
    """Harm rounds a margin up to whole buckets and promotion rounds it down; powers of gamma are themselves."""
    assert buckets_of_margin(margin) == least
    assert buckets_within_margin(margin) == most


@pytest.mark.parametrize("margin", [-0.1, math.nan, math.inf])
def test_margins_that_are_none(margin: float) -> None:
    """A negative or unbounded margin is refused."""
    with pytest.raises(ValueError, match="expected a finite margin"):
        buckets_of_margin(margin)
    with pytest.raises(ValueError, match="expected a finite margin"):
        buckets_within_margin(margin)


@pytest.mark.parametrize("q", [0.0, 0.01, 0.5, 0.95, 0.99, 1.0])
def test_quantiles_are_near_those_of_the_durations(q: float) -> None:
    """A quantile that is read back is within a bucket of the durations' own."""
    durations = np.exp(np.random.default_rng(2).normal(17.0, 0.7, 20_000))
    counts = np.bincount(buckets_of(durations), minlength=BUCKETS)
    own = float(np.quantile(durations, q))
    assert quantile_ns(counts, q) == pytest.approx(own, rel=0.051 if q in (0.0, 1.0) else 0.01)


def test_quantiles_of_extremes() -> None:
    """The last bucket counts as its lower edge, an empty histogram has no quantile, one count has all of them."""
    top = np.zeros(BUCKETS, np.int64)
    top[-1] = 3
    assert quantile_ns(top, 0.5) == pytest.approx(lower_edge_ns(BUCKETS - 1))
    assert math.isnan(quantile_ns(np.zeros(BUCKETS, np.int64), 0.5))
    one = np.zeros(BUCKETS, np.int64)
    one[100] = 1
    for q in (0.0, 0.5, 1.0):
        assert lower_edge_ns(100) * (1 - 1e-9) <= quantile_ns(one, q) <= upper_edge_ns(100) * (1 + 1e-9)
    with pytest.raises(ValueError, match=r"expected a quantile in 0\.\.1"):
        quantile_ns(one, 1.01)


def test_many_quantiles_at_once() -> None:
    """Each row has the quantile that it has by itself; empty rows have none."""
    rows = np.random.default_rng(3).integers(0, 9, (5, BUCKETS))
    rows[2] = 0
    found = log_quantiles(rows, 0.9)
    assert math.isnan(found[2])
    for row in (0, 1, 3, 4):
        assert math.exp(found[row]) == pytest.approx(quantile_ns(rows[row], 0.9))

"""Sequences for mean durations: what they are worth, their edges, and how often they miss."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.stats.histogram import BUCKETS, buckets_of, lower_edge_ns, middles_ns
from proxy.stats.means import MeanSequence, mean_difference_sequence, mean_sequence

Counts = NDArray[np.int64]


def histogram(values: NDArray[np.float64]) -> Counts:
    """Return the histogram of durations in nanoseconds."""
    return np.bincount(buckets_of(values), minlength=BUCKETS).astype(np.int64)


def test_the_mean_is_near_the_durations_own() -> None:
    """The mean is within 2.5 percent of the durations' mean, the bounds hold it and are a few errors wide."""
    values = np.exp(np.random.default_rng(1).normal(17.0, 0.5, 20_000))
    found = mean_sequence(histogram(values), 0.05)
    assert found.mean_ns == pytest.approx(values.mean(), rel=0.025)
    assert found.low_ns < values.mean() < found.high_ns
    error = values.std() / math.sqrt(20_000)
    assert found.high_ns - found.low_ns < 8 * error + 0.05 * values.mean()
    assert found.reliable


def test_bounds_close_in() -> None:
    """More answers give closer bounds, and a smaller alpha wider ones."""
    rng = np.random.default_rng(2)
    few, many = (histogram(np.exp(rng.normal(17.0, 0.5, n))) for n in (500, 50_000))
    wide, close = mean_sequence(few, 0.05), mean_sequence(many, 0.05)
    assert wide.low_ns < close.low_ns < close.mean_ns < close.high_ns < wide.high_ns
    strict = mean_sequence(many, 0.001)
    assert strict.low_ns < close.low_ns < close.high_ns < strict.high_ns


@pytest.mark.parametrize(
    ("counts", "mean"),
    [({}, math.nan), ({100: 1}, middles_ns()[100]), ({100: 900}, middles_ns()[100])],
    ids=["nothing", "one answer", "one bucket"],
)
def test_where_no_spread_is_known(counts: dict[int, int], mean: float) -> None:
    """Nothing, one answer, or answers in one bucket alone leave the bounds open."""
    row = np.zeros(BUCKETS, np.int64)
    for bucket, count in counts.items():
        row[bucket] = count
    found = mean_sequence(row, 0.05)
    assert (found.low_ns, found.high_ns, found.reliable) == (0.0, math.inf, False)
    assert found.mean_ns == pytest.approx(mean, nan_ok=True)
    both = mean_difference_sequence(row[None], row[None], 0.05)
    assert (both.low_ns, both.high_ns, both.reliable) == (-math.inf, math.inf, False)


def test_the_last_bucket_counts_as_its_lower_edge() -> None:
    """What is off the scale pulls the mean only as far as the scale goes."""
    row = np.zeros(BUCKETS, np.int64)
    row[-1] = row[100] = 5
    expected = (lower_edge_ns(BUCKETS - 1) + middles_ns()[100]) / 2
    assert mean_sequence(row, 0.05).mean_ns == pytest.approx(expected)


def test_a_heavy_tail_is_not_reliable_yet() -> None:
    """A few answers that are a thousand times slower make the bounds untrustworthy until there are many."""
    row = np.zeros(BUCKETS, np.int64)
    row[200], row[201], row[345] = 1000, 1000, 2
    assert not mean_sequence(row, 0.05).reliable
    assert mean_sequence(row * 10_000, 0.05).reliable


def ramp(rng: np.random.Generator, factor: float, slices: int = 40) -> tuple[Counts, Counts]:
    """Return slices whose mean doubles while the canary's share goes from 1 to 50 percent."""
    ones, zeros = [], []
    for number in range(slices):
        level = 17.0 + math.log(2.0) * number / slices
        n = int(2000 * (0.01 + 0.49 * number / slices))
        ones.append(histogram(np.exp(rng.normal(level, 0.4, n)) * factor))
        zeros.append(histogram(np.exp(rng.normal(level, 0.4, 2000 - n))))
    return np.stack(ones), np.stack(zeros)


def test_slices_are_compared_not_pooled() -> None:
    """A ramp through a slower and slower day shows no difference where there is none, and one where there is."""
    rng = np.random.default_rng(3)
    ones, zeros = ramp(rng, 1.0)
    pooled = mean_sequence(ones.sum(axis=0), 0.05).mean_ns - mean_sequence(zeros.sum(axis=0), 0.05).mean_ns
    found = mean_difference_sequence(ones, zeros, 0.05)
    assert found.low_ns < 0 < found.high_ns < pooled
    assert found.reliable
    slower = mean_difference_sequence(*ramp(rng, 1.1), 0.05)
    assert 0 < slower.low_ns < slower.mean_ns


def test_slices_weigh_as_much_as_they_tell() -> None:
    """The difference is the mean of the slices' differences, weighted by n1 n0/(n1 + n0)."""
    values = middles_ns()
    ones, zeros = np.zeros((2, 2, BUCKETS), np.int64)
    ones[0, [200, 202]] = 5, 5
    zeros[0, [200, 201]] = 45, 45
    ones[1, [210, 214]] = 25, 25
    zeros[1, [210, 211]] = 25, 25
    gaps = [(values[202] - values[201]) / 2, (values[214] - values[211]) / 2]
    expected = (9 * gaps[0] + 25 * gaps[1]) / 34
    assert mean_difference_sequence(ones, zeros, 0.05).mean_ns == pytest.approx(expected)


def test_bounds_allow_for_the_width_of_buckets() -> None:
    """However much is counted, the mean is not known better than the values of its buckets: 2.5 percent."""
    row = np.zeros(BUCKETS, np.int64)
    row[200] = row[201] = 10**9
    found = mean_sequence(row, 0.05)
    assert found.high_ns / found.mean_ns == pytest.approx(math.sqrt(1.05), abs=1e-4)
    assert found.low_ns / found.mean_ns == pytest.approx(2 - math.sqrt(1.05), abs=1e-4)


def test_slices_with_one_arm_are_left_out() -> None:
    """A slice in which an arm has fewer than two answers changes nothing."""
    ones, zeros = ramp(np.random.default_rng(4), 1.0, 5)
    alone = np.zeros((1, BUCKETS), np.int64)
    alone[0, 300] = 1
    more = (np.concatenate([ones, alone]), np.concatenate([zeros, 500 * alone]))
    assert mean_difference_sequence(*more, 0.05) == mean_difference_sequence(ones, zeros, 0.05)
    assert math.isnan(mean_difference_sequence(alone, 500 * alone, 0.05).mean_ns)


def test_bad_input() -> None:
    """Wrong shapes and an alpha outside 0..1 are refused."""
    row = np.zeros(BUCKETS, np.int64)
    with pytest.raises(ValueError, match="1 dimensions"):
        mean_sequence(row[None], 0.05)
    with pytest.raises(ValueError, match="400 buckets"):
        mean_sequence(row[:9], 0.05)
    with pytest.raises(ValueError, match="one shape"):
        mean_difference_sequence(row[None], np.stack([row, row]), 0.05)
    for alpha in (0.0, 1.0):
        with pytest.raises(ValueError, match="alpha"):
            mean_sequence(row, alpha)


@pytest.mark.slow
def test_miscoverage_over_50_looks() -> None:
    """Of 120 runs with 50 looks each at most 5 percent + 2 sigma ever miss the mean or the difference of 0."""
    rng = np.random.default_rng(5)
    law = np.exp(-0.5 * ((np.arange(BUCKETS) - 200) / 10.0) ** 2)
    law /= law.sum()
    truth = float(law @ middles_ns())
    missed = apart = 0
    for _ in range(120):
        looks = np.cumsum(rng.multinomial(400, law, (2, 50)), axis=1).astype(np.int64)
        found = [mean_sequence(row, 0.05) for row in looks[0]]
        missed += any(each.reliable and not each.low_ns <= truth <= each.high_ns for each in found)
        gaps = [mean_difference_sequence(looks[:1, t], looks[1:, t], 0.05) for t in range(50)]
        apart += any(gap.reliable and not gap.low_ns <= 0 <= gap.high_ns for gap in gaps)
    assert isinstance(found[0], MeanSequence)
    assert max(missed, apart) <= 120 * 0.05 + 2 * math.sqrt(120 * 0.05 * 0.95)

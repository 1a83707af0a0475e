"""Confidence sequences of quantiles: confseq's numbers, bounds that are edges, and how often they miss."""

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from proxy.stats.histogram import BUCKETS, bucket_of, buckets_of, lower_edges_ns, upper_edges_ns
from proxy.stats.quantiles import (
    proportion_mixture,
    quantile_difference_sequence,
    quantile_ratio_sequence,
    quantile_sequence,
    quantiles_differ,
)

Counts = NDArray[np.int64]


def strength(t_opt: float, alpha_opt: float = 0.05) -> float:
    """Return what confseq's ``t_opt`` is in units of this project: the prior's weight in observations."""
    wanted = 2 * math.log(1 / alpha_opt)
    return max(t_opt / (wanted + math.log1p(wanted)) - 1.0, 1e-3)


def test_beta_binomial_mixture() -> None:
    """confseq 0.0.11: beta_binomial_log_mixture(10, 100, 100, .2, .8, .05, false), n = 100/.16, k = .2 n + 10."""
    found = proportion_mixture(np.array([135]), 625, 0.2, strength(100 / 0.16))
    assert float(found[0]) == pytest.approx(-0.6941012, abs=1e-6)


@pytest.mark.parametrize(
    ("successes", "total", "t_opt", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
        (100, 200, 1, 0.328923, 0.671076),
    ],
)
def test_bernoulli_confidence_interval(
    successes: int, total: int, t_opt: float, low: float, high: float
) -> None:
    """confseq 0.0.11: bernoulli_confidence_interval of its unit test, found by bisection of the same mixture."""

    def rejected(p: float) -> bool:
        mixture = proportion_mixture(np.array([successes]), total, p, strength(t_opt))
        return float(mixture[0]) >= math.log(20)

    for end, expected in ((0.0, low), (1.0, high)):
        outside, inside = end, successes / total
        for _ in range(60):
            middle = (outside + inside) / 2
            outside, inside = (middle, inside) if rejected(middle) else (outside, middle)
        assert inside == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(
    ("q", "offset", "p"),
    [(0.5, 70, 0.814704), (0.5, 85, 0.0838055), (0.5, 100, 0.0054947), (0.9, 55, 0.0340463)],
)
def test_quantile_comparison(q: float, offset: int, p: float) -> None:
    """confseq 0.0.11: QuantileABTest of 1..1000 and the same plus an offset, t_opt 100."""
    first, second = np.zeros((2, 1200), np.int64)
    first[:1000] = 1
    second[offset : offset + 1000] = 1
    found = quantiles_differ(first, second, q, strength(100))
    assert math.exp(-found) == pytest.approx(p, rel=2e-6, abs=2e-6)


def test_a_mixture_is_a_martingale() -> None:
    """E[e] over all counts of n draws is exactly 1, and the least e-value is where the top says."""
    for n, q, weight in ((1, 0.5, 300.0), (7, 0.9, 300.0), (40, 0.99, 12.0), (60, 0.3, 1.0)):
        k = np.arange(n + 1)
        logs = proportion_mixture(k, n, q, weight)
        chance = [math.comb(n, each) * q**each * (1 - q) ** (n - each) for each in k.tolist()]
        assert float(np.exp(logs) @ chance) == pytest.approx(1.0, abs=1e-12)
        assert int(logs.argmin()) == math.ceil(q * (n - 1)) or logs[math.ceil(q * (n - 1))] == pytest.approx(
            logs.min()
        )
        assert (np.diff(np.sign(np.diff(logs))) >= 0).all()


@pytest.mark.parametrize(("total", "q"), [(1, 0.99), (2, 0.5), (17, 0.9), (1000, 0.5), (1000, 0.99)])
def test_a_wide_bucket_gets_the_least_evidence_inside_it(total: int, q: float) -> None:
    """Where everything is in one bucket, any count may be below the quantile: the least e-value of all counts."""
    counts = np.array([0, total, 0])
    least = float(proportion_mixture(np.arange(total + 1), total, q).min())
    assert quantiles_differ(counts, 0 * counts, q) == pytest.approx(least, abs=1e-12)


def test_nothing_counted_bounds_nothing() -> None:
    """Without answers every bound is at its end."""
    none = np.zeros(BUCKETS, np.int64)
    assert quantile_sequence(none, 0.5, 0.05) == (0.0, math.inf)
    assert quantile_difference_sequence(none, none, 0.5, 0.05) == (-math.inf, math.inf)
    assert quantile_ratio_sequence(none, none, 0.5, 0.05) == (0.0, math.inf)
    assert quantiles_differ(none, none, 0.5) == pytest.approx(0.0, abs=1e-12)


def test_bounds_are_edges_around_the_quantile() -> None:
    """Bounds are bucket edges, hold the quantile, and close in on its bucket as answers come."""
    rng = np.random.default_rng(1)
    values = np.exp(rng.normal(17.0, 0.5, 1_000_000))
    width = math.inf
    for n in (100, 10_000, 1_000_000):
        counts = np.bincount(buckets_of(values[:n]), minlength=BUCKETS).astype(np.int64)
        for q in (0.5, 0.95, 0.99):
            low, high = quantile_sequence(counts, q, 0.05)
            assert low in lower_edges_ns()
            assert high in upper_edges_ns()
            assert low <= float(np.quantile(values, q)) <= high
        low, high = quantile_sequence(counts, 0.5, 0.05)
        assert high - low < width
        width = high - low
    assert bucket_of(int(high * 0.999)) - bucket_of(int(low * 1.001)) <= 1


def test_all_in_one_bucket() -> None:
    """A constant duration is bounded by its bucket once there are enough answers."""
    counts = np.zeros(BUCKETS, np.int64)
    counts[200] = 5000
    assert quantile_sequence(counts, 0.5, 0.05) == (lower_edges_ns()[200], upper_edges_ns()[200])
    assert quantile_sequence(counts, 0.99, 0.05) == (lower_edges_ns()[200], upper_edges_ns()[200])


def test_differences_are_narrower_than_two_intervals() -> None:
    """The bounds of a difference and of a ratio hold the truth, and beat the difference of two intervals."""
    rng = np.random.default_rng(2)
    ones, zeros = (
        np.bincount(buckets_of(np.exp(rng.normal(17.0, 0.5, 20_000)) * factor), minlength=BUCKETS).astype(
            np.int64
        )
        for factor in (1.3, 1.0)
    )
    low, high = quantile_difference_sequence(ones, zeros, 0.95, 0.05)
    truth = 0.3 * math.exp(17.0 + 0.5 * 1.6448536)
    assert low < truth < high
    one, zero = quantile_sequence(ones, 0.95, 0.05), quantile_sequence(zeros, 0.95, 0.05)
    assert low >= one[0] - zero[1]
    assert high <= one[1] - zero[0]
    least, most = quantile_ratio_sequence(ones, zeros, 0.95, 0.05)
    assert 1.1 < least < 1.3 < most < 1.5
    assert quantiles_differ(ones, zeros, 0.95) > math.log(20)
    assert quantiles_differ(zeros, zeros, 0.95) < 0


@pytest.mark.parametrize(
    ("q", "alpha", "counts", "message"),
    [
        (0.0, 0.05, np.zeros(BUCKETS, np.int64), "quantile between 0 and 1"),
        (1.0, 0.05, np.zeros(BUCKETS, np.int64), "quantile between 0 and 1"),
        (0.5, 0.0, np.zeros(BUCKETS, np.int64), "alpha between 0 and 1"),
        (0.5, 1.0, np.zeros(BUCKETS, np.int64), "alpha between 0 and 1"),
        (0.5, 0.05, np.zeros(7, np.int64), "shape"),
        (0.5, 0.05, np.full(BUCKETS, -1), "negative counts"),
    ],
)
def test_bad_input(q: float, alpha: float, counts: Counts, message: str) -> None:
    """Input that does not fit is refused with what was expected."""
    with pytest.raises(ValueError, match=message):
        quantile_sequence(counts, q, alpha)


def test_histograms_of_one_shape_are_compared() -> None:
    """Two histograms of different size cannot be compared."""
    with pytest.raises(ValueError, match="one shape"):
        quantiles_differ(np.zeros(3, np.int64), np.zeros(4, np.int64), 0.5)


@pytest.mark.slow
@pytest.mark.parametrize("q", [0.5, 0.95, 0.99])
def test_miscoverage_over_200_looks(q: float) -> None:
    """Of 400 runs with 200 looks at 100 answers each at most 5 percent ever miss the quantile (alpha 5 percent)."""
    rng = np.random.default_rng(3)
    law = np.full(200, 1 / 200)
    truth = round(200 * q) - 1  # exactly q are up to the end of this bucket: the hardest case
    missed = 0
    for _ in range(400):
        upto = np.cumsum(np.cumsum(rng.multinomial(100, law, 200), axis=0), axis=1)
        totals = upto[:, -1]
        # What `quantile_sequence` asks of the true bucket, for all looks at once.
        nearest = np.clip(np.ceil(q * (totals - 1)).astype(np.int64), upto[:, truth - 1], upto[:, truth])
        missed += bool(proportion_mixture(nearest, totals, q).max() >= math.log(20))
    assert missed <= 20

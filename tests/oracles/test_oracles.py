"""Our statistics, and those that they are compared with in the simulation, agree with other people's."""

import math

import numpy as np
import pytest

from benchmarks.simulation.binomial import lower_limit, upper_limit
from benchmarks.simulation.classic import chi_square, mann_whitney, proportions_z, welch_t
from proxy.stats.allocation import allocation
from proxy.stats.blocks import TAU, series_guard
from proxy.stats.histogram import BUCKETS, Counts, middles_ns
from proxy.stats.multiple import e_holm
from proxy.stats.normal import FIXED_POINT, cluster_ratio, normal_sequence, one_sided
from proxy.stats.quantiles import proportion_mixture
from proxy.stats.special import lgamma, log_ndtr, ndtri
from tests.oracles.conftest import Ask

pytestmark = pytest.mark.long

RNG = np.random.default_rng(11)


def histogram(median: float, requests: int) -> Counts:
    found: Counts = np.zeros(BUCKETS, np.int64)
    np.add.at(found, np.rint(RNG.normal(median, 8.0, requests)).astype(int), 1)
    return found


def moments(counts: Counts) -> list[float]:
    values = middles_ns() / 1e6
    return [int(counts.sum()), float(counts @ values), float(counts @ values**2)]


@pytest.mark.parametrize("alpha", [0.05, 0.01])
@pytest.mark.parametrize("tuned_at", [500.0, 5000.0])
def test_normal_sequence(ask: Ask, alpha: float, tuned_at: float) -> None:
    """The normal mixture's interval is GrowthBook's confidence sequence, given the same prior."""
    arms = [1000, 500.0, 900.0], [9000, 4000.0, 7000.0]
    low, high, estimate, variance, rho = ask("sequential", *arms, alpha, tuned_at)
    tau = rho * math.sqrt(10_000 * variance)
    assert normal_sequence(estimate, variance, tau, alpha) == pytest.approx((low, high), abs=1e-12)


@pytest.mark.parametrize("x", [-300.0, -38.0, -6.0, -1.0, -0.01, 0.5, 7.0])
def test_special_functions(ask: Ask, x: float) -> None:
    """Normal distribution, its quantile and the gamma function are scipy's."""
    distribution, quantile, gamma = ask("special_functions", x)
    assert float(log_ndtr(x)) == pytest.approx(distribution, rel=1e-12)
    assert float(lgamma(abs(x))) == pytest.approx(gamma, rel=1e-12)
    if x > -30.0:
        assert float(ndtri(math.exp(min(x, -1e-3)))) == pytest.approx(quantile, rel=1e-9)


@pytest.mark.parametrize("k", [100.0, 1000.0])
@pytest.mark.parametrize("units", [[130, 870], [0, 40], [5000, 44_900], [30, 20, 950]])
def test_allocation(ask: Ask, units: list[int], k: float) -> None:
    """The evidence of a mismatch is the ratio of scipy's Dirichlet-multinomial to its multinomial."""
    shares = [0.1, 0.9] if len(units) == 2 else [0.03, 0.03, 0.94]
    assert allocation(np.array([units]), np.array([shares]), k) == pytest.approx(
        ask("dirichlet", units, shares, k), abs=1e-7
    )


@pytest.mark.parametrize(("count", "total"), [(0, 10), (700, 1000), (990_000, 1_000_000)])
def test_proportion_mixture(ask: Ask, count: int, total: int) -> None:
    """The mixture behind quantiles is the ratio of scipy's beta-binomial to its binomial."""
    for p in (0.5, 0.95, 0.99):
        wanted = ask("beta_binomial", count, total, p, 300.0)
        found = float(proportion_mixture(np.array(count), total, p))
        assert found == pytest.approx(wanted, rel=1e-6, abs=1e-6)


def test_cluster_ratio(ask: Ask) -> None:
    """Ratio and variance over hash buckets are those of a weighted regression with robust errors."""
    units = RNG.integers(1, 400, 256)
    sums = RNG.binomial(units, 0.03)
    found = cluster_ratio(units, sums * FIXED_POINT)
    value, variance = ask("clustered", units, sums)
    assert (found.value, found.variance) == pytest.approx((value, variance), rel=1e-9)


@pytest.mark.parametrize("length", [20, 50, 300])
def test_block_guard(ask: Ask, length: int) -> None:
    """The guard's variance is Newey's and West's, times T/(T - L - 1) for short series."""
    series = 0.1 + np.convolve(RNG.normal(0.0, 0.1, length + 2), [0.5, 0.3, 0.2], "valid")
    lag = max(4, math.isqrt(length))
    mean, variance = ask("newey_west", series, lag)
    wanted = one_sided(mean, variance * length / (length - lag - 1), 0.05, TAU)
    assert series_guard(series, 0.05) == pytest.approx(wanted, rel=1e-9)


def test_holm(ask: Ask) -> None:
    """What e-Holm names at 1/alpha, Holm names too, of the p values that e-values are the inverses of."""
    logs = np.sort(RNG.gamma(2.0, 2.0, 12))
    named = e_holm(logs) >= math.log(20.0)
    adjusted = np.array(ask("holm", np.minimum(1.0, np.exp(-logs))))
    assert named.any()
    assert (adjusted[named] <= 0.05).all()


@pytest.mark.parametrize(("hits", "runs"), [(0, 500), (7, 2000), (250, 500), (1999, 2000)])
def test_limits(ask: Ask, hits: int, runs: int) -> None:
    """The limits of the simulation are those of Clopper and Pearson in statsmodels."""
    assert (lower_limit(hits, runs), upper_limit(hits, runs)) == pytest.approx(
        ask("clopper_pearson", hits, runs), abs=1e-9
    )


def test_compared_rules(ask: Ask) -> None:
    """The tests that ours are compared with are those of gbstats, scipy and statsmodels."""
    one, other = histogram(150.0, 900), histogram(148.0, 4000)
    assert welch_t(one[None], other[None])[0] == pytest.approx(
        ask("welch", moments(one), moments(other)), rel=1e-9
    )
    rank = mann_whitney(one[None], other[None])[0]
    assert ask("normal_survival", float(rank)) == pytest.approx(ask("rank_sum", one, other), rel=1e-9)
    z = proportions_z(*(np.array([each]) for each in (30, 1000, 200, 9000)))[0]
    assert z == pytest.approx(ask("two_proportions", 30, 1000, 200, 9000), rel=1e-9)
    root = chi_square(np.array([[130, 870]]), np.array([0.1, 0.9]))[0]
    assert 2.0 * ask("normal_survival", float(root)) == pytest.approx(
        ask("srm", [130, 870], [0.1, 0.9]), rel=1e-9
    )

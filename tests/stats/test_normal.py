"""Normal mixtures against confseq's reference numbers, and the variances that go into them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from proxy.stats.normal import (
    FIXED_POINT,
    Covariate,
    Estimate,
    adjusted_ratio,
    cluster_ratio,
    covariate,
    difference,
    enough,
    log_ratio,
    lower_bound,
    normal_sequence,
    one_sided,
    to_fixed,
    two_sided,
)

Counts = NDArray[np.int64]

V_OPT, ALPHA = 100.0, 0.05


def rho(alpha: float) -> float:
    """Return the mixture's variance that is best at V_OPT: what confseq computes from ``v_opt`` and ``alpha_opt``."""
    return V_OPT / (2 * math.log(1 / alpha) + math.log1p(2 * math.log(1 / alpha)))


TWO, ONE = rho(ALPHA), rho(2 * ALPHA)
"""confseq 0.0.11, test/uniform_boundaries_unittest.cpp: a sum s of variance v is an estimate s/v of variance 1/v."""


def test_rho_is_confseqs() -> None:
    """The tuning that the constants rest on is the one of confseq's own test."""
    assert pytest.approx(12.60056, abs=1e-5) == TWO


def test_two_sided_mixture_and_bound() -> None:
    """normal_log_mixture(10, 100, 100, .05, false) and its bound, as printed by the R reference."""
    tau = 1 / math.sqrt(TWO)
    assert two_sided(10 / 100, 1 / 100, 0.0, tau) == pytest.approx(-0.6510052, abs=1e-6)
    low, high = normal_sequence(0.0, 1 / 100, tau, ALPHA)
    assert high * 100 == pytest.approx(30.35209, abs=2e-5)
    assert low == -high


def test_one_sided_mixture_and_bound() -> None:
    """normal_log_mixture(10, 100, 100) and its bound, as printed by the R reference."""
    tau = 1 / math.sqrt(ONE)
    assert one_sided(10 / 100, 1 / 100, 0.0, tau) == pytest.approx(-0.06502391, abs=2e-6)
    assert -lower_bound(0.0, 1 / 100, tau, ALPHA) * 100 == pytest.approx(27.66071, abs=2e-5)


@given(
    st.floats(-5, 5), st.floats(1e-6, 100), st.floats(-5, 5), st.floats(1e-3, 10), st.sampled_from([0.001, 0.05, 0.5])
)  # fmt: skip
def test_bounds_are_where_the_evidence_is(
    estimate: float, variance: float, null: float, tau: float, alpha: float
) -> None:
    """A value is outside the bounds exactly where the evidence against it reaches 1/alpha."""
    low, high = normal_sequence(estimate, variance, tau, alpha)
    if min(abs(null - low), abs(null - high)) > 1e-9:
        assert (two_sided(estimate, variance, null, tau) >= math.log(1 / alpha)) == (not low < null < high)
    bound = lower_bound(estimate, variance, tau, alpha)
    if abs(null - bound) > 1e-9:
        assert (one_sided(estimate, variance, null, tau) >= math.log(1 / alpha)) == (null < bound)
    assert low < bound < estimate


def test_evidence_is_a_mixture_of_likelihood_ratios() -> None:
    """Both formulas are the integral of the likelihood ratio over their prior, done numerically."""
    estimate, variance, tau = 0.3, 0.02, 0.25
    effects = np.linspace(-4, 4, 400_001)
    prior = np.exp(-(effects**2) / (2 * tau**2)) / (tau * math.sqrt(2 * math.pi)) * (effects[1] - effects[0])
    ratio = np.exp((estimate * effects - effects**2 / 2) / variance)
    assert two_sided(estimate, variance, 0.0, tau) == pytest.approx(math.log(prior @ ratio), abs=1e-9)
    half = np.where(effects > 0, 2.0, np.where(effects == 0, 1.0, 0.0)) * prior
    assert one_sided(estimate, variance, 0.0, tau) == pytest.approx(math.log(half @ ratio), abs=1e-9)


def test_the_mean_of_the_evidence_is_one_at_the_null() -> None:
    """With a normal estimate E[e] is 1 where the truth is the null, done numerically, and less below it."""
    variance, tau = 0.04, 0.2
    for truth, expected in ((0.0, 1.0), (-0.1, None)):
        grid = truth + np.linspace(-12, 12, 24_001) * math.sqrt(variance)
        density = np.exp(-((grid - truth) ** 2) / (2 * variance)) * (grid[1] - grid[0])
        density /= math.sqrt(2 * math.pi * variance)
        mean = float(
            sum(p * math.exp(one_sided(x, variance, 0.0, tau)) for x, p in zip(grid, density, strict=True))
        )
        assert mean == pytest.approx(1.0, abs=1e-6) if expected else mean < 0.9


@pytest.mark.parametrize(
    ("estimate", "variance"),
    [(1.0, 0.0), (1.0, math.inf), (math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)],
)
def test_without_a_variance_nothing_is_known(estimate: float, variance: float) -> None:
    """An estimate or variance that is none gives no evidence and bounds without end."""
    assert one_sided(estimate, variance, 0.0, 0.1) == 0.0
    assert two_sided(estimate, variance, 0.0, 0.1) == 0.0
    assert normal_sequence(estimate, variance, 0.1, 0.05) == (-math.inf, math.inf)
    assert lower_bound(estimate, variance, 0.1, 0.05) == -math.inf


def test_arguments_are_checked() -> None:
    """A negative variance, a prior without scale and an alpha outside 0..1 are refused."""
    with pytest.raises(ValueError, match="variance"):
        one_sided(1.0, -1.0, 0.0, 0.1)
    for tau in (0.0, -1.0, math.nan):
        with pytest.raises(ValueError, match="prior scale"):
            two_sided(1.0, 1.0, 0.0, tau)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="alpha"):
            normal_sequence(1.0, 1.0, 0.1, alpha)
        with pytest.raises(ValueError, match="alpha"):
            lower_bound(1.0, 1.0, 0.1, alpha)


def test_far_out_evidence_stays_finite() -> None:
    """Huge distances to either side give large finite numbers, not infinities."""
    assert 1e11 < one_sided(1e6, 1.0, 0.0, 1.0) < math.inf
    assert -math.inf < one_sided(-1e6, 1.0, 0.0, 1.0) < -10
    assert -math.inf < one_sided(0.0, 1e-300, 0.0, 1.0) < 0


@pytest.mark.parametrize(
    ("value", "fixed"), [(0.0, 0), (1.0, 1 << 20), (-2.5, -5 << 19), (2.0**-21, 0), (3 * 2.0**-21, 2)]
)
def test_to_fixed(value: float, fixed: int) -> None:
    """Values are rounded once, half to even."""
    assert to_fixed(value) == fixed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 2.0**43])
def test_what_fixed_point_cannot_hold(value: float) -> None:
    """A value that is not finite, or too large for an int64 of such values, is refused."""
    with pytest.raises(ValueError, match="finite value"):
        to_fixed(value)


def bucketed(users: Counts, values: NDArray[np.float64], buckets: int = 1024) -> tuple[Counts, Counts]:
    """Return units and fixed-point sums of observations whose users are hashed into buckets."""
    index = (users * 2654435761) % 2**32 % buckets
    units = np.bincount(index, minlength=buckets).astype(np.int64)
    sums = np.zeros(buckets, np.int64)
    np.add.at(sums, index, np.array([to_fixed(float(each)) for each in values], np.int64))
    return units, sums


def test_independent_observations_have_the_textbook_variance() -> None:
    """One observation per user gives nearly the variance of a mean."""
    rng = np.random.default_rng(1)
    values = rng.normal(10.0, 2.0, 20_000)
    found = cluster_ratio(*bucketed(np.arange(20_000), values))
    assert found.value == pytest.approx(values.mean(), abs=1e-6)
    assert found.variance == pytest.approx(4.0 / 20_000, rel=0.15)
    assert found.clusters == 1024
    assert abs(found.skewness) < 0.3


def test_the_variance_holds_for_sticky_users() -> None:
    """Over repetitions the estimates spread as their variance says, although each user repeats himself."""
    rng = np.random.default_rng(2)
    found = []
    for _ in range(150):
        sizes = rng.integers(1, 30, 600)
        level = rng.normal(0.0, 1.0, 600)
        users = np.repeat(np.arange(600), sizes)
        found.append(cluster_ratio(*bucketed(users, 5.0 + level[users] + rng.normal(0, 0.3, len(users)))))
    spread = np.var([each.value for each in found])
    assert np.mean([each.variance for each in found]) == pytest.approx(spread, rel=0.35)
    naive = 1.1 / np.mean([15 * 600])
    assert spread > 8 * naive


def test_the_variance_is_near_the_jackknife() -> None:
    """The delta method agrees with leaving each bucket out in turn."""
    rng = np.random.default_rng(3)
    units = rng.integers(1, 40, 300)
    sums = np.array([to_fixed(float(each)) for each in units * rng.normal(3.0, 1.0, 300)])
    found = cluster_ratio(units, sums)
    left = np.array([np.delete(sums, b).sum() / FIXED_POINT / np.delete(units, b).sum() for b in range(300)])
    jackknife = 299 / 300 * ((left - left.mean()) ** 2).sum()
    assert found.variance == pytest.approx(jackknife, rel=0.02)


def test_merging_is_addition() -> None:
    """Shards that are added up give, bit for bit, the estimate of everything."""
    rng = np.random.default_rng(4)
    users, values = rng.integers(0, 500, 3000), rng.lognormal(0, 1, 3000)
    shards = [bucketed(users[i::7], values[i::7]) for i in range(7)]
    units = np.sum([each[0] for each in shards], axis=0)
    sums = np.sum([each[1] for each in shards], axis=0)
    assert cluster_ratio(units, sums) == cluster_ratio(*bucketed(users, values))


def test_few_clusters() -> None:
    """Nothing counted has no value, one bucket has no variance, alike buckets have none either."""
    none = cluster_ratio(np.zeros(4, np.int64), np.zeros(4, np.int64))
    assert math.isnan(none.value)
    assert (none.variance, none.clusters) == (math.inf, 0)
    one = cluster_ratio(np.array([0, 3]), np.array([0, 6 * FIXED_POINT]))
    assert (one.value, one.variance, one.clusters) == (2.0, math.inf, 1)
    two = cluster_ratio(np.array([1, 0, 1]), np.array([0, 0, 2 * FIXED_POINT]))
    assert (two.value, two.variance, two.clusters) == (1.0, 1.0, 2)
    alike = cluster_ratio(np.array([1, 2]), np.array([3, 6]) * FIXED_POINT)
    assert (alike.value, alike.variance, alike.skewness) == (3.0, 0.0, 0.0)
    with pytest.raises(ValueError, match="one shape"):
        cluster_ratio(np.zeros(3, np.int64), np.zeros(4, np.int64))
    with pytest.raises(ValueError, match="at least 0"):
        cluster_ratio(np.array([-1, 2]), np.array([3, 6]))


def test_differences() -> None:
    """Variances add up, a log ratio uses the delta method, an arm that is unknown makes the result unknown."""
    canary, champion = Estimate(1.2, 0.01, 300, 0.5), Estimate(1.0, 0.04, 900, -2.0)
    found = difference(canary, champion)
    assert (found.value, found.variance) == pytest.approx((0.2, 0.05))
    assert (found.clusters, found.skewness) == (300, -2.0)
    ratio = log_ratio(canary, champion)
    assert (ratio.value, ratio.variance) == pytest.approx((math.log(1.2), 0.01 / 1.44 + 0.04))
    unknown = log_ratio(canary, Estimate(0.0, 0.01, 300, 0.0))
    assert math.isnan(unknown.value)
    assert unknown.variance == math.inf
    assert one_sided(unknown.value, unknown.variance, 0.0, 0.1) == 0.0


@pytest.mark.parametrize(
    ("estimate", "events", "expected"),
    [
        (Estimate(1.0, 0.1, 200, 0.0), 20, True),
        (Estimate(1.0, 0.1, 199, 0.0), 20, False),
        (Estimate(1.0, 0.1, 200, 0.0), 19, False),
        (Estimate(1.0, 0.1, 355, -1.0), 20, True),
        (Estimate(1.0, 0.1, 354, 1.0), 20, False),
        (Estimate(1.0, 0.0, 900, 0.0), 20, False),
        (Estimate(1.0, math.inf, 900, 0.0), 20, False),
        (Estimate(math.nan, 0.1, 900, 0.0), 20, False),
    ],
)
def test_enough(estimate: Estimate, events: int, expected: bool) -> None:
    """The gate: max(200, 355 skewness^2) clusters, 20 events, a variance."""
    assert enough(estimate, events) is expected


def test_a_covariate_takes_variance_off() -> None:
    """With correlation rho the adjusted variance is 1 - rho^2 of the plain one, and the difference is kept."""
    rng = np.random.default_rng(5)
    n, slope = 30_000, 2.0
    x = rng.normal(5.0, 1.0, n)
    y = slope * x + rng.normal(0.0, 1.0, n)
    users = np.arange(n)
    units, sums = bucketed(users, y)
    covariates = bucketed(users, x)[1]
    learned = covariate(units, sums, covariates)
    assert learned.theta == pytest.approx(slope, rel=0.1)
    assert learned.centre == pytest.approx(5.0, abs=0.05)
    assert learned.variance_ratio == pytest.approx(0.2, abs=0.05)
    plain, adjusted = cluster_ratio(units, sums), adjusted_ratio(units, sums, covariates, learned)
    assert adjusted.variance / plain.variance == pytest.approx(learned.variance_ratio, rel=1e-6)
    assert adjusted.value == pytest.approx(plain.value, abs=1e-9)


def test_a_covariate_of_no_use() -> None:
    """A covariate that does not vary, or nothing counted, adjusts nothing."""
    units, sums = np.array([1, 1, 1]), np.array([1, 2, 3]) * FIXED_POINT
    assert covariate(units, sums, np.array([2, 2, 2]) * FIXED_POINT) == Covariate(0.0, 2.0, 1.0)
    none = np.zeros(3, np.int64)
    assert covariate(none, none, none) == Covariate(0.0, 0.0, 1.0)
    same = adjusted_ratio(units, sums, 7 * sums, Covariate(0.0, 3.0, 1.0))
    assert same == cluster_ratio(units, sums)


@pytest.mark.slow
def test_repeated_looks_cross_rarely() -> None:
    """Of 300 series of skewed users watched from the gate on, at most 5 percent + 3 sigma cross one-sided 5 percent."""
    rng = np.random.default_rng(6)
    crossed = 0
    for _ in range(300):
        units = np.zeros((2, 1024), np.int64)
        sums = np.zeros((2, 1024))
        for _ in range(40):
            index = rng.integers(0, 1024, (2, 200))
            for arm in (0, 1):
                np.add.at(units[arm], index[arm], 1)
                np.add.at(sums[arm], index[arm], rng.exponential(1.0, 200))
            ones, zeros = (
                cluster_ratio(units[arm], np.rint(sums[arm] * FIXED_POINT).astype(np.int64)) for arm in (1, 0)
            )
            gap = difference(ones, zeros)
            if enough(gap, 200) and one_sided(gap.value, gap.variance, 0.0, 0.1) >= math.log(20):
                crossed += 1
                break
    assert crossed <= 300 * 0.05 + 3 * math.sqrt(300 * 0.05 * 0.95)

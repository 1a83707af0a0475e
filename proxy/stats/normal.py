"""Normal-mixture evidence for everything that needs a variance: means, ratios, differences, clustered units.

Unlike the bets on the coin these are asymptotic: they hold once the estimate is nearly normal and its variance
nearly known. `enough` says when that is; before, they are shown but may not decide. The error of a decision that
is made at any time is then about alpha: the estimate's standardised path is replaced by a Brownian motion, over
which the mixture is exact (Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
asymptotic confidence sequences", Annals of Statistics 2024, eq. 9 of arXiv 2103.06476v7).

State is integers: units are counted, values are summed in fixed point (`to_fixed`), both for each of 1024 buckets
of the hashed unit. So states add exactly, in any order. All observations of one unit fall into one bucket, so
whatever correlation there is among them is inside a bucket and in the variance.
"""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from proxy.stats.histogram import Counts
from proxy.stats.special import Floats, log_ndtr

__all__ = [
    "FIXED_POINT",
    "Covariate",
    "Estimate",
    "adjusted_ratio",
    "cluster_ratio",
    "covariate",
    "difference",
    "enough",
    "log_ratio",
    "lower_bound",
    "normal_sequence",
    "one_sided",
    "to_fixed",
    "two_sided",
]

FIXED_POINT: Final = 1 << 20
"""Fixed-point sums are in units of 1/FIXED_POINT: six decimal digits, and 8 · 10^12 fits into an int64."""

MIN_CLUSTERS: Final = 200
MIN_EVENTS: Final = 20
SKEWNESS_FACTOR: Final = 355.0
"""Clusters that a mean of skewness 1 needs until its one-sided coverage is right: Kohavi's rule of thumb."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """An estimate with its variance, and what says whether it may be trusted."""

    value: float
    """The estimate; NaN where nothing was counted."""

    variance: float
    """Its variance (of the estimate, not of one observation); infinite where it cannot be told."""

    clusters: int
    """How many independent clusters (or observations) it rests on; the least of the arms for a difference."""

    skewness: float
    """Skewness of the clusters' contributions; the one of greatest size for a difference."""


def to_fixed(value: float) -> int:
    """Return a value in fixed point, rounded once, half to even.

    Raises:
        ValueError: a value that is not finite or above 8.7 · 10^12, which the sums could not hold.
    """
    if not abs(value) < 2.0**63 / FIXED_POINT:
        raise ValueError(f"expected a finite value below 2^43, got {value}")
    return round(value * FIXED_POINT)


def one_sided(estimate: float, variance: float, null: float, tau: float) -> float:
    """Return the log e-value against "the true value is at most ``null``".

    ``1/2 log(4/(1+r)) + z^2 r/(2 (1+r)) + log Phi(z sqrt(r/(1+r)))`` with ``z = (estimate - null)/sqrt(variance)`` and
    ``r = tau^2/variance``: the half-normal mixture over effects, of scale ``tau``.

    Model: the estimate is normal around the truth, a Brownian motion in time; asymptotic, see `enough`.
    For "at least" pass both values with the sign changed.
    Range: finite; below ``1/2 log 4`` until z is above 0. A variance of infinity gives 0.
    Edges: no variance (0), NaN, or an estimate that is not finite: 0, for nothing is known about the error.

    Raises:
        ValueError: a negative variance, or ``tau`` that is not above 0.

    Source: Howard, Ramdas, McAuliffe & Sekhon, "Time-uniform, nonparametric, nonasymptotic confidence sequences",
    AoS 2021, one-sided normal mixture.
    Checked against: confseq 0.0.11, ``normal_log_mixture(10, 100, 100)`` = -0.06502391 of its unit test.
    """
    ratio = _ratio(estimate, variance, tau)
    if ratio is None:
        return 0.0
    z = (estimate - null) / math.sqrt(variance)
    kept = ratio / (1.0 + ratio)
    return (
        0.5 * (math.log(4.0) - math.log1p(ratio)) + 0.5 * z * z * kept + float(log_ndtr(z * math.sqrt(kept)))
    )


def two_sided(estimate: float, variance: float, null: float, tau: float) -> float:
    """Return the log e-value against "the true value is ``null``": ``-1/2 log(1+r) + z^2 r/(2 (1+r))``.

    Model, edges and errors as in `one_sided`. Range: finite, at least ``-1/2 log(1+r)``.

    Source: eq. 9 of arXiv 2103.06476v7; also the mSPRT of Johari, Koomen, Pekelis & Walsh (2022).
    Checked against: confseq 0.0.11, ``normal_log_mixture(10, 100, 100, .05, false)`` = -0.6510052.
    """
    ratio = _ratio(estimate, variance, tau)
    if ratio is None:
        return 0.0
    z = (estimate - null) / math.sqrt(variance)
    return -0.5 * math.log1p(ratio) + 0.5 * z * z * ratio / (1.0 + ratio)


def _ratio(estimate: float, variance: float, tau: float) -> float | None:
    """Return tau^2 over the variance; None where there is nothing to bet on."""
    if not tau > 0.0:
        raise ValueError(f"expected a positive prior scale, got {tau}")
    if variance < 0.0:
        raise ValueError(f"expected a variance of at least 0, got {variance}")
    if not math.isfinite(estimate) or not math.isfinite(variance) or variance == 0.0:
        return None
    return tau * tau / variance


def normal_sequence(estimate: float, variance: float, tau: float, alpha: float) -> tuple[float, float]:
    """Return an interval that holds the true value at all times with probability ``1 - alpha``.

    ``estimate ± sqrt(variance (1+r)/r (2 log(1/alpha) + log(1+r)))``: where `two_sided` is below ``log(1/alpha)``.
    It is narrowest, relative to the error, when ``tau`` is about two standard errors.

    Model as in `one_sided`. Edges: where nothing is known, ``(-inf, inf)``.

    Raises:
        ValueError: as `one_sided`, or ``alpha`` outside 0..1.

    Source: specification eq. (4); eq. 9 of arXiv 2103.06476v7.
    Checked against: confseq 0.0.11, ``normal_mixture_bound(100, .05, 100, .05, false)`` = 30.35209.
    """
    _check_alpha(alpha)
    ratio = _ratio(estimate, variance, tau)
    if ratio is None:
        return -math.inf, math.inf
    width = math.sqrt(variance * (1.0 + ratio) / ratio * (2.0 * math.log(1.0 / alpha) + math.log1p(ratio)))
    return estimate - width, estimate + width


def lower_bound(estimate: float, variance: float, tau: float, alpha: float) -> float:
    """Return what the true value is above at all times with probability ``1 - alpha``.

    The least ``null`` that `one_sided` does not reject. For an upper bound change the sign of estimate and result.
    Edges: where nothing is known, ``-inf``.

    Raises:
        ValueError: as `one_sided`, or ``alpha`` outside 0..1.

    Checked against: confseq 0.0.11, ``normal_mixture_bound(100, .05, 100)`` = 27.66071.
    """
    _check_alpha(alpha)
    if _ratio(estimate, variance, tau) is None:
        return -math.inf
    wanted = math.log(1.0 / alpha)
    # On the estimate's lower side the one-sided mixture is at least the two-sided one, so this end is rejected.
    low, high = normal_sequence(estimate, variance, tau, alpha)[0], estimate
    for _ in range(200):
        middle = 0.5 * (low + high)
        if not low < middle < high:
            break
        if one_sided(estimate, variance, middle, tau) >= wanted:
            low = middle
        else:
            high = middle
    return low


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"expected alpha between 0 and 1, got {alpha}")


def enough(estimate: Estimate, events: int) -> bool:
    """Return whether an estimate is nearly normal: clusters >= max(200, 355 skewness^2) and events >= 20.

    ``events`` is how many non-zero outcomes both arms had together; pass the number of observations where the
    outcome is not an event. An estimate without a usable variance is never enough.

    Source: specification 1.5; 355 skewness^2 is the rule of Kohavi, Deng, Longbotham & Xu, KDD 2014.
    """
    need = max(float(MIN_CLUSTERS), SKEWNESS_FACTOR * estimate.skewness**2)
    usable = math.isfinite(estimate.value) and 0.0 < estimate.variance < math.inf
    return usable and events >= MIN_EVENTS and estimate.clusters >= need


def cluster_ratio(units: Counts, sums: Counts) -> Estimate:
    """Return the ratio of sums to units of one arm, with a variance that holds for correlated observations.

    ``R = sum Y / sum N``, variance ``G/(G-1) sum_b (Y_b - R N_b)^2 / (sum N)^2`` over the G buckets that have units:
    the delta method over clusters. Every observation of a user is in one bucket.

    Model: buckets are independent and alike (a hash of the user chose them). Shapes: ``units: (B,)`` int64 ≥ 0,
    ``sums: (B,)`` int64 in fixed point (`FIXED_POINT`). The value is in the unit of what was summed.
    Edges: no units: value NaN; fewer than two buckets with units: variance infinite.

    Raises:
        ValueError: shapes that differ, or negative units.

    Source: Deng, Knoblich & Lu, "Applying the delta method in metric analytics", KDD 2018; bucketing as in
    Chamandy, Muralidharan, Najmi & Naidu, "Estimating uncertainty for massive data streams", Google 2012.
    Checked against: the jackknife and repeated sampling in tests/stats/test_normal.py.
    """
    return _ratio_estimate(units, sums / float(FIXED_POINT))


def _ratio_estimate(units: Counts, sums: Floats) -> Estimate:
    if units.shape != sums.shape or units.ndim != 1:
        raise ValueError(f"expected units and sums of one shape (B,), got {units.shape} and {sums.shape}")
    if units.size and units.min() < 0:
        raise ValueError("expected units of at least 0")
    live = units > 0
    clusters, total = int(live.sum()), int(units.sum())
    if not total:
        return Estimate(math.nan, math.inf, 0, 0.0)
    value = float(sums[live].sum()) / total
    if clusters < 2:
        return Estimate(value, math.inf, clusters, 0.0)
    rest = sums[live] - value * units[live]
    variance = clusters / (clusters - 1) * float(rest @ rest) / float(total) ** 2
    return Estimate(value, variance, clusters, _skewness(rest))


def _skewness(rest: Floats) -> float:
    """Return the skewness of numbers whose mean is about 0; 0 where they do not vary."""
    centred = rest - rest.mean()
    scale = float(np.abs(centred).max())
    if scale == 0.0:
        return 0.0
    scaled = centred / scale
    return float(np.mean(scaled**3) / np.mean(scaled**2) ** 1.5)


def difference(canary: Estimate, champion: Estimate) -> Estimate:
    """Return canary minus champion of two independent estimates; NaN and infinite where one is unknown."""
    return Estimate(
        canary.value - champion.value,
        canary.variance + champion.variance,
        min(canary.clusters, champion.clusters),
        max(canary.skewness, champion.skewness, key=abs),
    )


def log_ratio(canary: Estimate, champion: Estimate) -> Estimate:
    """Return log(canary / champion) of two independent positive estimates, by the delta method.

    Edges: where one of them is not above 0, the value is NaN and the variance infinite.
    """
    clusters = min(canary.clusters, champion.clusters)
    skewness = max(canary.skewness, champion.skewness, key=abs)
    if not (canary.value > 0.0 and champion.value > 0.0):
        return Estimate(math.nan, math.inf, clusters, skewness)
    variance = canary.variance / canary.value**2 + champion.variance / champion.value**2
    return Estimate(math.log(canary.value / champion.value), variance, clusters, skewness)


@dataclass(frozen=True, slots=True)
class Covariate:
    """What a covariate takes off the variance (CUPED), learned from earlier traffic of the champion."""

    theta: float
    """Slope of the outcome on the covariate."""

    centre: float
    """The covariate's mean per unit: the adjusted outcome has the same mean as the outcome where X has this one."""

    variance_ratio: float
    """Variance of the adjusted over that of the plain ratio, ``1 - rho^2``, 0..1: 1 is no use at all."""


def covariate(units: Counts, sums: Counts, covariates: Counts) -> Covariate:
    """Return the best slope for one covariate, from slices of the champion *before* those it is used on.

    ``theta = Cov(Y, X)/Var(X)`` over the buckets' residuals ``Y_b - R_Y N_b`` and ``X_b - R_X N_b``.

    Shapes: ``(B,)`` int64; ``sums`` and ``covariates`` in fixed point. Edges: a covariate that does not vary, or
    no units: ``theta`` 0, ratio 1 (nothing is adjusted).

    Source: Deng, Xu, Kohavi & Walker, "Improving the sensitivity of online controlled experiments by utilizing
    pre-experiment data", WSDM 2013, eq. 3 and 4.
    """
    outcome, input_ = cluster_ratio(units, sums), cluster_ratio(units, covariates)
    if not math.isfinite(outcome.variance) or not math.isfinite(input_.variance):
        return Covariate(0.0, 0.0 if math.isnan(input_.value) else input_.value, 1.0)
    live = units > 0
    y = sums[live] / float(FIXED_POINT) - outcome.value * units[live]
    x = covariates[live] / float(FIXED_POINT) - input_.value * units[live]
    xx, yy, xy = float(x @ x), float(y @ y), float(x @ y)
    if xx == 0.0 or yy == 0.0:
        return Covariate(0.0, input_.value, 1.0)
    return Covariate(xy / xx, input_.value, min(1.0, max(0.0, 1.0 - xy * xy / (xx * yy))))


def adjusted_ratio(units: Counts, sums: Counts, covariates: Counts, fixed: Covariate) -> Estimate:
    """Return `cluster_ratio` of ``Y - theta (X - centre)``; both arms must be adjusted by the same `Covariate`.

    Model: the covariate does not depend on the coin (it was known before the request was assigned). Shapes,
    edges and errors as in `cluster_ratio`.
    """
    outcome = sums / float(FIXED_POINT)
    moved = covariates / float(FIXED_POINT) - fixed.centre * units
    return _ratio_estimate(units, outcome - fixed.theta * moved)

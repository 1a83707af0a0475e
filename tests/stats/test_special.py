"""Special functions against values of mpmath 1.4.1 with 60 digits, and against each other."""

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.stats.special import deviance, lgamma, log_beta, log_ndtr, logsumexp, ndtri, stirling_correction

LOG_NDTR = [
    (-1000.0, -500007.82669481216),
    (-100.0, -5005.524208694205),
    (-38.0, -726.5572160188201),
    (-30.5, -469.4627373229121),
    (-29.5, -439.42947460915025),
    (-10.0, -53.23128515051247),
    (-3.0, -6.607726221510349),
    (-1.0, -1.8410216450092636),
    (-1e-09, -0.6931471813578298),
    (0.0, -0.6931471805599453),
    (1e-09, -0.6931471797620608),
    (0.5, -0.3689464152886564),
    (1.0, -0.17275377902344988),
    (3.0, -0.0013508099647481938),
    (8.0, -6.220960574271786e-16),
    (20.0, -2.7536241186062337e-89),
    (37.0, -5.725571222524577e-300),
]

NDTRI = [
    (1e-300, -37.0470962993612),
    (1e-20, -9.262340089798407),
    (1e-05, -4.264890793922825),
    (0.01, -2.326347874040841),
    (0.1, -1.2815515655446004),
    (0.3, -0.5244005127080408),
    (0.5, 0.0),
    (0.6, 0.2533471031357997),
    (0.9, 1.2815515655446006),
    (0.999, 3.090232306167813),
]

LOG_BETA = [
    (1.0, 1.0, 0.0),
    (0.5, 0.5, 1.1447298858494002),
    (0.001, 1e15, 6.872640108988943),
    (3.0, 7.0, -5.529429087511423),
    (9.5, 10.5, -13.709925546998463),
    (3.0, 1e12, -82.1999161672287),
    (40.0, 360.0, -130.90390385453236),
    (1e6, 1e6, -1386300.003362921),
    (1e12, 1e12, -1386294361132.4407),
    (1e12, 9e12, -3250829733927.326),
]

DEVIANCE = [
    (0.0, 3.0, 3.0),
    (1.0, 1.0, 0.0),
    (5.0, 4.0, 0.11571775657104878),
    (1e12, 1e12 + 1e6, 0.49999966666691664),
    (1e12, 1e12 + 1.0, 4.999999999996667e-13),
    (120.0, 100.0, 1.878586815274555),
    (123.0, 100.0, 2.4627428342721136),
    (1e-3, 1e3, 999.9851844894421),
]

CORRECTION = [
    (0.01, 1.4340079537031842),
    (0.5, 0.15342640972002736),
    (1.0, 0.08106146679532726),
    (9.99, 0.00833889679773433),
    (10.0, 0.00833056343336287),
    (50.0, 0.0016666444469833656),
    (1e8, 8.333333333333334e-10),
]


@pytest.mark.parametrize(("x", "expected"), LOG_NDTR)
def test_log_ndtr(x: float, expected: float) -> None:
    """Both tails keep twelve digits."""
    assert float(log_ndtr(x)) == pytest.approx(expected, rel=1e-12, abs=0)


def test_log_ndtr_far_out() -> None:
    """Far to the right nothing is left to say, far to the left only the square counts."""
    got = log_ndtr([math.inf, 50.0, -1e150, -math.inf])
    assert got.tolist() == pytest.approx([0.0, 0.0, -0.5e300, -math.inf], rel=1e-15)


@given(st.floats(-60, 37), st.floats(0, 5))
def test_log_ndtr_rises(x: float, step: float) -> None:
    """A distribution function does not fall, not even where two formulas meet."""
    low, high = log_ndtr([x, x + step])
    assert low <= high


@pytest.mark.parametrize(("p", "expected"), NDTRI)
def test_ndtri(p: float, expected: float) -> None:
    """The quantile keeps thirteen digits."""
    assert float(ndtri(p)) == pytest.approx(expected, rel=1e-13, abs=1e-300)


def test_ndtri_at_its_ends() -> None:
    """Probability 0 and 1 are infinitely far; more than that is no probability."""
    assert ndtri([0.0, 1.0]).tolist() == [-math.inf, math.inf]
    for p in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected a probability"):
            ndtri(p)


@given(st.floats(-37, 8))
def test_ndtri_undoes_log_ndtr(x: float) -> None:
    """The quantile of a probability is where it came from, as exactly as a float64 near 1 can say."""
    density = math.exp(-x * x / 2) / math.sqrt(math.tau)
    rounding = min(1.0, 4 * math.ulp(1.0) / density) if x > 0 else 0.0
    assert float(ndtri(math.exp(float(log_ndtr(x))))) == pytest.approx(x, abs=1e-9 + rounding)


@pytest.mark.parametrize(("a", "b", "expected"), LOG_BETA)
def test_log_beta(a: float, b: float, expected: float) -> None:
    """The beta function is precise for small and for very large arguments, in both orders."""
    assert log_beta([a, b], [b, a]).tolist() == pytest.approx([expected] * 2, rel=1e-13, abs=1e-14)


@given(st.floats(0.01, 1e9), st.floats(0.01, 1e9))
def test_log_beta_recurrence(a: float, b: float) -> None:
    """B(a, b) = B(a + 1, b) + B(a, b + 1), across the borders between formulas."""
    left, right = log_beta([a + 1, a], [b, b + 1]) - log_beta(a, b)
    assert math.exp(left) + math.exp(right) == pytest.approx(1.0, abs=1e-9 + 4e-15 * max(a, b))


@pytest.mark.parametrize(("x", "m", "expected"), DEVIANCE)
def test_deviance(x: float, m: float, expected: float) -> None:
    """What is left when large terms cancel keeps its digits."""
    assert float(deviance(x, m)) == pytest.approx(expected, rel=1e-13, abs=0)


def test_deviance_with_a_better_difference() -> None:
    """The difference may be given where subtraction would lose it."""
    assert float(deviance(1e15, 1e15, 1e-3)) == pytest.approx(0.5e-21, rel=1e-9, abs=0)


@given(st.floats(0, 1e12), st.floats(1e-6, 1e12))
@example(5e-324, 1e12)
def test_deviance_is_never_negative(x: float, m: float) -> None:
    """Zero is the least deviance."""
    assert float(deviance(x, m)) >= 0.0


@pytest.mark.parametrize(("z", "expected"), CORRECTION)
def test_stirling_correction(z: float, expected: float) -> None:
    """What Stirling's formula leaves out is found by series and by difference alike."""
    assert float(stirling_correction(z)) == pytest.approx(expected, abs=2e-14)


def test_lgamma_is_that_of_the_library() -> None:
    """Arrays give, entry by entry, what the C library gives."""
    z = [0.5, 1.0, 7.25, 1e10]
    assert lgamma(z).tolist() == [math.lgamma(each) for each in z]


def test_logsumexp() -> None:
    """Neither large nor small values overflow; nothing sums to nothing."""
    assert float(logsumexp([1000.0, 1000.0])) == pytest.approx(1000.0 + math.log(2.0), rel=1e-15)
    assert float(logsumexp([-1000.0, -math.inf])) == -1000.0
    assert logsumexp(np.full((2, 3), -math.inf)).tolist() == [-math.inf] * 2
    assert logsumexp(np.zeros((2, 0))).tolist() == [-math.inf] * 2
    assert logsumexp(np.log([[1.0, 2.0], [3.0, 4.0]]), axis=0).tolist() == pytest.approx(
        np.log([4.0, 6.0]).tolist()
    )
    assert math.isnan(float(logsumexp([math.nan, 0.0])))

"""Averages, delayed starts and Dirichlet mixtures of e-values."""

import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.events import harm_by_start
from proxy.stats.mixtures import (
    average,
    late_onset,
    late_onset_each,
    mixed,
    multinomial,
    strongest,
    strongest_each,
)

logs = st.floats(-500, 500)


@given(st.lists(st.tuples(logs, st.floats(0.01, 10)), min_size=1, max_size=8))
def test_average_is_between_its_parts(parts: list[tuple[float, float]]) -> None:
    """The mean e-value is no less than the least and no more than the greatest."""
    values = [log for log, _ in parts]
    got = average(values, [weight for _, weight in parts])
    assert min(values) - 1e-9 <= got <= max(values) + 1e-9


def test_average() -> None:
    """Weights are relative; an e-value of 0 counts, one of weight 0 does not."""
    assert average([math.log(2.0), math.log(8.0)], [1.0, 1.0]) == pytest.approx(math.log(5.0), rel=1e-15)
    assert average([math.log(2.0), math.log(8.0)], [0.6, 0.2]) == pytest.approx(math.log(3.5), rel=1e-15)
    assert average([-math.inf, 0.0], [1.0, 1.0]) == pytest.approx(-math.log(2.0), rel=1e-15)
    assert average([-math.inf], [1.0]) == -math.inf
    assert average([700.0, 5.0], [0.0, 1.0]) == 5.0
    assert average([], []) == 0.0


@pytest.mark.parametrize(
    ("values", "weights"),
    [
        ([0.0], [0.0]),
        ([0.0], [-1.0]),
        ([0.0, 0.0], [2.0, -1.0]),
        ([math.nan], [1.0]),
        ([math.inf], [1.0]),
        ([0.0], [math.nan]),
        ([0.0], [math.inf]),
        ([0.0, 1.0], [1.0]),
    ],
)
def test_average_refuses(values: list[float], weights: list[float]) -> None:
    """What is no weighted mean of e-values is an error."""
    with pytest.raises(ValueError, match="expected"):
        average(values, weights)


@given(st.lists(st.tuples(logs | st.just(-math.inf), st.floats(0.01, 10)), min_size=1, max_size=8))
def test_the_strongest_is_at_most_the_average(parts: list[tuple[float, float]]) -> None:
    """And at least the average divided by the number of e-values; joining parts of parts changes nothing."""
    values, weights = [log for log, _ in parts], [weight for _, weight in parts]
    got, mean = strongest(values, weights), average(values, weights)
    assert got <= mean + 1e-9
    assert mean == -math.inf or got >= mean - math.log(len(parts)) - 1e-9
    inner = strongest(values[1:], weights[1:])
    assert (
        strongest([values[0], inner], [weights[0], sum(weights[1:])]) == pytest.approx(got, abs=1e-9)
        or not (weights[1:])
    )


def test_strongest() -> None:
    """Weights are relative; an e-value of weight 0 is left out."""
    assert strongest([math.log(2.0), math.log(8.0)], [1.0, 1.0]) == pytest.approx(math.log(4.0), rel=1e-15)
    assert strongest([700.0, 5.0], [0.0, 1.0]) == 5.0
    assert strongest([-math.inf], [1.0]) == -math.inf
    assert strongest([], []) == 0.0
    with pytest.raises(ValueError, match="expected"):
        strongest([0.0], [-1.0])


def test_strongest_of_each() -> None:
    """Each row is the strongest of its e-values; where nothing is known it is 0."""
    rows = np.array([[0.0, 0.0], [2.0, -1.0], [-math.inf, 3.0]])
    got = strongest_each(rows, np.array([1.0, 3.0]))
    assert got.tolist() == [0.0, strongest(rows[1], [1.0, 3.0]), strongest(rows[2], [1.0, 3.0])]


def who_comes_back() -> Iterator[tuple[Fraction, list[tuple[Fraction, Fraction]]]]:
    """Yield the chance and the course of two e-processes for each way in which three coins can fall.

    One user's first answer is fast and a later one an error, whichever variant serves: nothing is wrong. His coin
    (1/2) is known from the first answer on to the bet on durations, which has all its money on the champion, for fast
    answers are its. The bet on errors has all its money on the canary when the error comes. Then another user's first
    request is an error; his coin has 2/3 for the canary, and the bet on errors has all its money on that.
    """
    for canary, other in itertools.product((True, False), repeat=2):
        chance = Fraction(1, 2) * (Fraction(2, 3) if other else Fraction(1, 3))
        durations, errors = Fraction(0 if canary else 2), Fraction(2 if canary else 0)
        last = errors * Fraction(3, 2) if other else Fraction(0)
        one = Fraction(1)
        yield chance, [(one, one), (durations, one), (durations, errors), (durations, last)]


def test_an_average_across_filtrations_may_err_more_often_than_it_says() -> None:
    """Each is an e-process of what it sees, and their mean reaches 3/2 with 5/6 > 2/3; the greater half obeys Ville."""
    courses = list(who_comes_back())
    for which in (0, 1):  # fair at each step, to whom its own coins are revealed one by one
        assert all(sum(chance * course[t][which] for chance, course in courses) == 1 for t in range(4))
    half = (0.5, 0.5)
    alpha = Fraction(2, 3)
    averages = strongests = Fraction(0)
    for chance, course in courses:
        logs = [[math.log(e) if e else -math.inf for e in pair] for pair in course]
        averages += chance * any(average(pair, half) >= math.log(1 / alpha) - 1e-12 for pair in logs)
        strongests += chance * any(strongest(pair, half) >= math.log(1 / alpha) - 1e-12 for pair in logs)
    assert averages == Fraction(5, 6) > alpha
    assert strongests == Fraction(1, 3) <= alpha


def test_mixed() -> None:
    """Each row is the average of its bets; where nothing is known it is 0, not almost."""
    rows = np.array([[0.0, 0.0, 0.0], [1000.0, 0.0, -1000.0]])
    got = mixed(rows, np.array([1.0, 2.0, 4.0]))
    assert got.tolist() == [0.0, pytest.approx(1000.0 - math.log(7.0), rel=1e-15)]
    assert got[1] == pytest.approx(average(rows[1], [1.0, 2.0, 4.0]), rel=1e-15)


def plainly(log_es: list[float], planned: int, at_once: float = 0.5) -> float:
    """Return the sum of section 1.1 of the specification in plain arithmetic."""
    later = (1 - at_once) / planned
    money = [at_once + later] + [later] * (planned - 1)
    started = [u * math.exp(log_e) for u, log_e in zip(money, log_es, strict=False)]
    return math.log(math.fsum([*started, *money[len(log_es) :]]))


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=20), st.integers(1, 25))
def test_late_onset_is_its_formula(log_es: list[float], planned: int) -> None:
    """Money on slices to come counts as what it is; slices past the plan have none."""
    assert late_onset(log_es, planned) == pytest.approx(plainly(log_es, planned), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("at_once", [0.0, 0.25, 0.55, 1.0])
def test_late_onset_with_another_part_at_once(at_once: float) -> None:
    """What is bet from the start may be any part of the money."""
    logs = [3.0, -1.0, 2.0]
    assert late_onset(logs, 7, at_once=at_once) == pytest.approx(plainly(logs, 7, at_once), rel=1e-12)


@pytest.mark.parametrize("at_once", [-0.01, 1.01, math.nan])
def test_late_onset_refuses_other_parts(at_once: float) -> None:
    """Money is a part of itself."""
    with pytest.raises(ValueError, match="part of the money"):
        late_onset([0.0], 5, at_once=at_once)


def test_late_onset_without_slices() -> None:
    """No slices, no evidence: the money is all there, one planned slice has all of it."""
    assert late_onset([], 60) == 0.0
    assert late_onset([3.0], 1) == pytest.approx(3.0, rel=1e-15)
    assert late_onset([0.0] * 7, 60) == pytest.approx(0.0, abs=1e-15)
    assert late_onset([-math.inf] * 60, 60) == -math.inf


def test_late_onset_of_joined_slices() -> None:
    """A start that was joined into an earlier slice takes its money with it."""
    whole = [1.0, 2.0, 3.0, 0.5]
    got = late_onset([1.0, 3.0], 10, index=[0, 2])
    expected = math.log(0.55 * math.e + 0.05 * math.exp(3.0) + 7 * 0.05)
    assert got == pytest.approx(expected, rel=1e-14)
    assert late_onset(whole, 10, index=[0, 1, 2, 3]) == late_onset(whole, 10)
    assert late_onset([1.0, 2.0], 3, index=[0, 5]) == late_onset([1.0, -math.inf, -math.inf], 3)


@pytest.mark.parametrize("index", [[1, 2], [0, 0], [0], [0, 2, 3], [0, -1]])
def test_late_onset_refuses(index: list[int]) -> None:
    """Slice numbers start with 0 and rise; at least one slice is planned."""
    with pytest.raises(ValueError, match="expected slice numbers"):
        late_onset([0.0, 0.0], 5, index=index)
    with pytest.raises(ValueError, match="at least 1 planned slice"):
        late_onset([0.0], 0)


@pytest.mark.parametrize("planned", [2, 6, 20])
def test_late_onset_is_fair_whenever_one_stops(planned: int) -> None:
    """Over all ways that eight coins can fall, stopping at the first 1.5-fold gains nothing."""
    shares = [0.1, 0.1, 0.3, 0.3, 0.3, 0.5, 0.5, 0.5]
    expectation = 0.0
    for coins in itertools.product((0, 1), repeat=8):
        chance = math.prod(s if coin else 1 - s for s, coin in zip(shares, coins, strict=True))
        for end in range(1, 9):
            canary = coins[:end]
            by_start = harm_by_start(canary, [1 - coin for coin in canary], shares[:end], 0.0)
            wealth = late_onset(by_start, planned)
            if wealth >= math.log(1.5):
                break
        expectation += chance * math.exp(wealth)
    assert expectation == pytest.approx(1.0, abs=1e-12)


@given(st.lists(st.integers(0, 10**6), min_size=3, max_size=3), st.floats(0.5, 5000))
def test_multinomial_is_its_formula(counts: list[int], k: float) -> None:
    """Deviances and corrections add up to the log-gammas of equation (5), within what those cancel."""
    theta = (0.2, 0.3, 0.5)
    n = sum(counts)
    expected = math.lgamma(k) - math.lgamma(k + n)
    for x, share in zip(counts, theta, strict=True):
        expected += math.lgamma(k * share + x) - math.lgamma(k * share) - x * math.log(share)
    scale = 1.0 + math.lgamma(k + n + 2.0)
    assert float(multinomial(counts, theta, k)) == pytest.approx(expected, abs=1e-14 * scale)


def test_multinomial_of_large_counts() -> None:
    """A split that is right to the unit costs what the prior's width costs, also at 10^12 (mpmath 1.4.1)."""
    counts = np.array([[10**11, 9 * 10**11], [10**11 + 10**6, 9 * 10**11 - 10**6]])
    got = multinomial(counts, (0.1, 0.9), 1000.0)
    assert got.tolist() == pytest.approx([-10.362475508786224, -4.806940864027226], rel=1e-12)


def test_late_onsets_of_several_metrics() -> None:
    """Each is what it is alone, bit for bit."""
    logs = np.random.default_rng(5).normal(0.0, 4.0, (7, 20))
    index = np.cumsum(np.r_[0, np.full(19, 2)])
    for planned in (64, 20, 7):
        each = late_onset_each(logs, planned, index)
        assert each.tolist() == [late_onset(row, planned, index) for row in logs]
    assert late_onset_each(np.zeros((3, 0)), 64).tolist() == [0.0] * 3

"""Bets on one proportion, and the interval that goes with them."""

import math
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.stats.proportion import exceeds, greater, greater_each, proportion_sequence, within
from proxy.stats.special import log_beta

totals = st.integers(0, 300) | st.integers(0, 10**12)


def binomial(n: int, p: float) -> list[float]:
    """Return the probabilities of 0..n."""
    return [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]


@pytest.mark.parametrize("n", [1, 2, 17, 60])
@pytest.mark.parametrize("tolerance", [0.001, 0.02, 0.3, 0.9])
def test_the_bets_are_fair_at_the_tolerance(n: int, tolerance: float) -> None:
    """Over all outcomes money neither grows nor shrinks at the tolerance, and shrinks on its side."""
    up = [math.exp(exceeds(k, n, tolerance)) for k in range(n + 1)]
    down = [math.exp(within(k, n, tolerance)) for k in range(n + 1)]

    def expected(e: list[float], p: float) -> float:
        return math.fsum(a * b for a, b in zip(e, binomial(n, p), strict=True))

    assert expected(up, tolerance) == pytest.approx(1.0, abs=1e-12)
    assert expected(down, tolerance) == pytest.approx(1.0, abs=1e-12)
    assert expected(up, tolerance / 2) < 1.0 < expected(down, tolerance / 2)
    assert expected(down, (1 + tolerance) / 2) < 1.0 < expected(up, (1 + tolerance) / 2)


def test_exceeds_is_its_formula() -> None:
    """The twelve odds of section 1.4, summed in plain arithmetic."""
    count, total, tolerance = 9, 200, 0.02
    wealth = 0.0
    for j in range(12):
        odds = tolerance / (1 - tolerance) * math.exp(0.1 * 2 ** (j / 2))
        p = odds / (1 + odds)
        wealth += (p / tolerance) ** count * ((1 - p) / (1 - tolerance)) ** (total - count) / 12
    assert exceeds(count, total, tolerance) == pytest.approx(math.log(wealth), rel=1e-12)


@given(st.data(), st.floats(0, 1))
def test_each_event_speaks_for_more(data: st.DataObject, tolerance: float) -> None:
    """Among as many units, one more event never lowers the evidence that there are too many."""
    total = data.draw(st.integers(1, 10**9))
    count = data.draw(st.integers(0, total - 1))
    slack = 1e-15 * total
    assert exceeds(count + 1, total, tolerance) >= exceeds(count, total, tolerance) - slack
    assert within(count + 1, total, tolerance) <= within(count, total, tolerance) + slack


def test_edges() -> None:
    """No units say nothing; at tolerance 0 an event is evidence, and nothing is within; at 1 nothing exceeds."""
    assert exceeds(0, 0, 0.02) == within(0, 0, 0.02) == 0.0
    assert exceeds(0, 10**6, 0.0) == pytest.approx(0.0, abs=1e-15)
    assert exceeds(2, 10**6, 0.0) > math.log(100.0)
    assert within(0, 10**6, 0.0) == pytest.approx(0.0, abs=1e-15)
    assert exceeds(10, 10, 1.0) == pytest.approx(0.0, abs=1e-12)
    assert exceeds(10**12 // 40, 10**12, 0.02) > 1e6
    assert within(10**12 // 60, 10**12, 0.02) > 1e6


@given(totals, st.data(), st.sampled_from([0.05, 0.01, 1e-6]))
def test_interval_is_what_is_not_refuted(total: int, data: st.DataObject, alpha: float) -> None:
    """At each end the mixture over Beta(1/2, 1/2) is 1/alpha, and the estimate is inside."""
    count = data.draw(st.integers(0, total))
    low, high = proportion_sequence(count, total, alpha)
    assert 0.0 <= low < high <= 1.0
    assert (low == 0.0, high == 1.0) == (count == 0, count == total)
    if not total:
        return
    assert low <= count / total <= high
    mixture = float(log_beta(count + 0.5, total - count + 0.5)) - math.log(math.pi)
    for end in (low, high):
        if 0.0 < end < 1.0 and total < 10**6:
            log_e = mixture - count * math.log(end) - (total - count) * math.log1p(-end)
            assert log_e == pytest.approx(-math.log(alpha), abs=1e-8 + 1e-14 * total)


def test_interval_narrows() -> None:
    """A thousand times the units make it about thirty times narrower, without end."""
    widths = []
    for total in (10**3, 10**6, 10**9, 10**12, 10**15):
        low, high = proportion_sequence(total // 50, total, 0.05)
        assert low < 0.02 < high
        widths.append(high - low)
    assert all(12.0 < wide / narrow < 35.0 for wide, narrow in pairwise(widths))


@pytest.mark.parametrize("p", [0.02, 0.5])
def test_interval_holds_the_truth_at_all_times(p: float) -> None:
    """Over all outcomes of 150 units the truth is ever outside with probability at most alpha."""
    alpha, alive = 0.1, {0: 1.0}
    for total in range(1, 151):
        moved: dict[int, float] = {}
        for count, probability in alive.items():
            moved[count] = moved.get(count, 0.0) + probability * (1 - p)
            moved[count + 1] = moved.get(count + 1, 0.0) + probability * p
        alive = {}
        for count, probability in moved.items():
            low, high = proportion_sequence(count, total, alpha)
            if low <= p <= high and probability > 1e-15:
                alive[count] = probability
    assert 1.0 - alpha <= sum(alive.values()) < 1.0


@pytest.mark.parametrize(("count", "total"), [(-1, 5), (6, 5), (0, 2**53)])
def test_bad_counts(count: int, total: int) -> None:
    """Counts must lie within what was counted."""
    for call in (lambda: exceeds(count, total, 0.1), lambda: proportion_sequence(count, total, 0.1)):
        with pytest.raises(ValueError, match="expected 0 <= count <= total"):
            call()


def test_bad_tolerance_and_alpha() -> None:
    """A tolerance lies in 0..1, alpha strictly between."""
    for tolerance in (-0.1, 1.1, math.nan):
        with pytest.raises(ValueError, match="expected a tolerance"):
            within(1, 2, tolerance)
    for alpha in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="expected alpha"):
            proportion_sequence(1, 2, alpha)


@pytest.mark.parametrize("n", [1, 5, 12])
@pytest.mark.parametrize("p", [0.01, 0.2, 0.5, 0.95])
@pytest.mark.parametrize("more", [0.0, 0.3])
def test_two_alike_earn_nothing(n: int, p: float, more: float) -> None:
    """Over all outcomes of two streams the first of which is at most the second, money does not grow."""
    first, second = binomial(n, p), binomial(n + 3, min(p + more, 1.0))
    expected = math.fsum(
        a * b * math.exp(greater(i, n, j, n + 3)) for i, a in enumerate(first) for j, b in enumerate(second)
    )
    assert expected <= 1.0


GREATER: dict[str, tuple[int, int, int, int]] = {
    "far apart": (60, 100, 30, 1000),
    "alike": (30, 1000, 33, 1000),
    "the other way": (30, 1000, 60, 100),
    "one of few": (1, 1, 0, 40),
    "all and none": (500, 500, 0, 500),
    "many": (30_100, 1_000_000, 30_000, 1_100_000),
    "very many": (5_000_000, 10**9, 4_000_000, 10**9),
}


@pytest.mark.parametrize("counts", GREATER.values(), ids=GREATER)
def test_greater_is_the_least_over_all_proportions(counts: tuple[int, int, int, int]) -> None:
    """No proportion in between gives less evidence, and some gives hardly more."""
    count, total, other, other_total = counts
    found = greater(*counts)
    near = [(count + other * k) / (total + other_total * k) for k in (0.01, 0.1, 0.3, 1, 3, 10, 100)]
    steps = [i / 20_000 for i in range(20_001)] + near
    if total > 10**5:
        low, high = sorted((count / total, other / other_total))
        steps = [low + (high - low) * i / 5000 for i in range(-500, 5501)]
    least = min(exceeds(count, total, p) + within(other, other_total, p) for p in steps)
    assert found <= least + 1e-9
    assert found == pytest.approx(least, abs=0.05, rel=2e-3)


def test_what_greater_says() -> None:
    """A clear difference is named, chance is not, and nothing says nothing."""
    assert greater(60, 100, 30, 1000) > math.log(1000)
    assert greater(30, 1000, 33, 1000) < 0.0
    assert greater(0, 0, 0, 0) == 0.0
    assert greater(7, 10, 0, 0) <= 0.0
    assert greater(0, 0, 0, 10) <= 0.0
    with pytest.raises(ValueError, match="got 3 of 2"):
        greater(3, 2, 0, 0)
    with pytest.raises(ValueError, match="got 3 of 2"):
        greater(0, 0, 3, 2)


@given(totals, totals, st.data())
def test_greater_is_finite(total: int, other_total: int, data: st.DataObject) -> None:
    """Whatever the counts, there is a figure, and never one that both bets at the pooled proportion deny."""
    count, other = data.draw(st.integers(0, total)), data.draw(st.integers(0, other_total))
    found = greater(count, total, other, other_total)
    assert math.isfinite(found)
    if total + other_total:
        pooled = (count + other) / (total + other_total)
        most = exceeds(count, total, pooled) + within(other, other_total, pooled)
        assert found <= most + 1e-9 * (1 + abs(most))


def test_many_at_once_are_each_alone() -> None:
    """What is said of several pairs together is what is said of each."""
    columns = [list(column) for column in zip(*GREATER.values(), strict=True)]
    together = greater_each(*columns)
    assert together == pytest.approx([greater(*counts) for counts in GREATER.values()], rel=2e-3, abs=0.02)
    assert greater_each([], [], [], []).shape == (0,)

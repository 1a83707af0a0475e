"""Plans against the specification's table, against bounds, and against seeded runs of the bets themselves."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from proxy.stats.bounded import difference_exceeds, difference_within
from proxy.stats.events import harm, noninferiority
from proxy.stats.planning import Plan, plan_difference, plan_harm, plan_noninferiority, plan_within

MEASURED = [
    # rates, share, alpha: bound and mean as a simulation of 2000 runs gave them, with looks of 1000 requests
    (0.01, 0.0125, 0.1, 0.01, 176_345, 234_885),
    (0.01, 0.015, 0.1, 0.01, 47_457, 62_674),
    (0.01, 0.02, 0.1, 0.01, 13_448, 18_301),
    (0.01, 0.03, 0.1, 0.01, 4_089, 5_570),
    (0.01, 0.05, 0.1, 0.01, 1_350, 1_911),
    (0.01, 0.2, 0.1, 0.01, 149, 224),
    (0.01, 0.02, 0.1, 0.05, 8_748, 12_858),
    (0.01, 0.02, 0.01, 0.01, 119_204, 163_241),
    (0.01, 0.02, 0.05, 0.01, 25_129, 34_238),
    (0.01, 0.02, 0.25, 0.01, 6_714, 8_922),
    (0.01, 0.02, 0.5, 0.01, 5_341, 6_783),
]


@pytest.mark.parametrize(("p0", "p1", "share", "alpha", "bound", "mean"), MEASURED)
def test_the_table_of_regressions(
    p0: float, p1: float, share: float, alpha: float, bound: int, mean: int
) -> None:
    """The bound is that of the table to the request, the mean within 5 % of what was simulated there."""
    plan = plan_harm(p0, p1, share, margin=0.0, alpha=alpha)
    assert plan.bound == pytest.approx(bound, abs=1.0)
    assert plan.mean == pytest.approx(mean, rel=0.05)
    assert plan.canary_mean == plan.mean * share
    assert plan.exact


@pytest.mark.parametrize(
    ("margin", "share", "bound", "mean"),
    [
        (0.25, 0.5, 48_200, 65_500),
        (0.5, 0.5, 14_700, 19_400),
        (0.5, 0.1, 36_300, 48_500),
        (1.0, 0.1, 11_500, 15_400),
    ],
)
def test_the_table_of_promotions(margin: float, share: float, bound: int, mean: int) -> None:
    """A canary that is the same is found good enough about as soon as was simulated, with looks of 1000 requests."""
    plan = plan_noninferiority(0.01, 0.01, share, margin=margin)
    assert plan.bound == pytest.approx(bound, rel=0.015)
    assert 0.9 * mean <= plan.mean <= mean


def test_a_margin_costs_what_was_measured() -> None:
    """Ten percent of margin cost a doubled rate a third more requests."""
    assert plan_harm(0.01, 0.02, 0.1, margin=0.1).mean == pytest.approx(23_500, rel=0.02)
    assert plan_harm(0.01, 0.02, 0.1, margin=0.25).mean == pytest.approx(36_100, rel=0.02)


@pytest.mark.parametrize("share", [0.01, 0.05, 0.1, 0.25, 0.5])
@pytest.mark.parametrize(("p0", "margin"), [(0.001, 0.0), (0.01, 0.0), (0.01, 0.1)])
def test_detection_is_near_the_bound(share: float, p0: float, margin: float) -> None:
    """Up to a tripled rate at most 1.5 times what is possible on average, beyond at most 1.7 times."""
    for ratio, most in ((1.25, 1.5), (1.5, 1.5), (2.0, 1.5), (3.0, 1.5), (5.0, 1.7), (20.0, 1.7)):
        plan = plan_harm(p0, p0 * ratio, share, margin=margin)
        assert 1.0 < plan.mean / plan.bound <= most


def test_what_half_the_money_costs() -> None:
    """A bet with a part of the money needs more requests: the log of the part, over the information."""
    whole, part = plan_harm(0.01, 0.03, 0.1), plan_harm(0.01, 0.03, 0.1, weight=0.15)
    assert part.bound / whole.bound == pytest.approx(1.0 + math.log(1 / 0.15) / math.log(100.0))
    assert 1.25 < part.mean / whole.mean < 1.5


def test_quantiles_rise_with_power() -> None:
    """More certainty takes more requests; the median is below the mean."""
    late = [plan_harm(0.01, 0.03, 0.1, power=power).at_power for power in (0.5, 0.8, 0.9, 0.99)]
    assert late == sorted(late)
    assert late[0] < plan_harm(0.01, 0.03, 0.1).mean


def test_a_dead_canary() -> None:
    """One that answers nothing but errors is found within a few of its own requests."""
    plan = plan_harm(0.001, 1.0, 0.05)
    assert 2.0 <= plan.canary_mean <= 4.0


def test_durations() -> None:
    """Requests over their rate are seconds."""
    plan = plan_harm(0.01, 0.02, 0.1)
    assert plan.mean_s(1000.0) == plan.mean / 1000.0
    assert plan.at_power_s(0.5) == plan.at_power * 2.0
    assert plan.canary_at_power == plan.at_power * 0.1
    for rate in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="expected a rate above 0"):
            plan.mean_s(rate)


@pytest.mark.slow
def test_what_takes_too_long_to_compute_is_approximated() -> None:
    """For millions of events the two formulas meet."""
    far, near = plan_harm(0.01, 0.0105, 0.5, margin=0.0), plan_harm(0.01, 0.0125, 0.5, margin=0.0)
    assert (far.exact, near.exact) == (False, True)
    assert far.mean / far.bound == pytest.approx(near.mean / near.bound, rel=0.15)
    assert far.at_power / far.mean == pytest.approx(near.at_power / near.mean, rel=0.25)


def simulated(
    decided: Callable[[int, int], bool], p0: float, p1: float, share: float, runs: int
) -> tuple[float, float]:
    """Return mean and 90 % quantile of the requests until a decision, looking after every event."""
    rng = np.random.default_rng(20240229)
    rate = share * p1 + (1 - share) * p0
    chance = share * p1 / rate
    found = []
    for _ in range(runs):
        canary = events = 0
        while not events or not decided(canary, events - canary):
            events += 1
            canary += int(rng.random() < chance)
        found.append(events + int(rng.negative_binomial(events, rate)))
    return float(np.mean(found)), float(np.quantile(found, 0.9))


def agrees(plan: Plan, mean: float, late: float) -> None:
    """Check a plan against a run of a few hundred: the mean within 10 %, the quantile not below by more than 12 %."""
    assert plan.mean == pytest.approx(mean, rel=0.1)
    assert 0.88 * late <= plan.at_power <= 1.2 * late


@pytest.mark.slow
@pytest.mark.parametrize(("p1", "share", "margin"), [(0.03, 0.1, 0.0), (0.05, 0.25, 0.1), (0.2, 0.05, 0.1)])
def test_harm_is_found_when_the_plan_says(p1: float, share: float, margin: float) -> None:
    """Runs of the bet itself, judged after every event, take what was planned and at most 1.6 times the bound."""
    enough = math.log(100.0)
    mean, late = simulated(lambda a, b: harm([a], [b], [share], margin) >= enough, 0.01, p1, share, 400)
    plan = plan_harm(0.01, p1, share, margin=margin)
    agrees(plan, mean, late)
    assert mean <= 1.6 * plan.bound


@pytest.mark.slow
def test_promotion_comes_when_the_plan_says() -> None:
    """The same for a canary that is no worse."""
    enough = math.log(20.0)
    mean, late = simulated(lambda a, b: noninferiority([a], [b], [0.3], 1.0) >= enough, 0.05, 0.05, 0.3, 400)
    plan = plan_noninferiority(0.05, 0.05, 0.3, margin=1.0)
    agrees(plan, mean, late)
    assert mean <= 1.5 * plan.bound


@pytest.mark.slow
@pytest.mark.parametrize(
    ("p0", "p1", "share", "limit"),
    [(0.01, 0.05, 0.1, 0.01), (0.2, 0.3, 0.5, 0.02), (0.01, 0.01, 0.5, 0.02), (0.001, 0.001, 0.05, 0.01)],
)
def test_differences_are_found_when_the_plan_says(p0: float, p1: float, share: float, limit: float) -> None:
    """Linear bets take what was planned, within 15 %, and at most twice the bound."""
    worse = p1 - p0 > limit
    plan = plan_difference(p0, p1, share, limit) if worse else plan_within(p0, p1, share, limit)
    bet, enough = (difference_exceeds, math.log(100.0)) if worse else (difference_within, math.log(20.0))
    rng, step, found = np.random.default_rng(7), max(1, int(plan.mean / 60)), []
    chances = [share * (1 - p1), share * p1, (1 - share) * (1 - p0), (1 - share) * p0]
    for _ in range(150):
        counts = np.zeros(4, np.int64)
        while bet([counts[:2]], [counts[2:]], [share], [0.0, 1.0], [p0], limit) < enough:
            counts += rng.multinomial(step, chances)
        found.append(int(counts.sum()) - step / 2)
    assert plan.mean == pytest.approx(float(np.mean(found)), rel=0.15)
    assert 0.9 * np.quantile(found, 0.9) <= plan.at_power
    assert np.mean(found) <= 2.0 * plan.bound
    assert not plan.exact


def test_nothing_ever_happens() -> None:
    """Without any event at all a difference is known to be small after a time that is certain."""
    plan = plan_within(0.0, 0.0, 0.1, 0.01)
    assert plan.at_power == pytest.approx(plan.mean) == pytest.approx(5_870, rel=0.01)


BAD: dict[str, tuple[Callable[[], Plan], str]] = {
    "no regression": (lambda: plan_harm(0.01, 0.01, 0.1), "expected a rate above"),
    "within the margin": (lambda: plan_harm(0.01, 0.0109, 0.1), "expected a rate above"),
    "worse": (lambda: plan_noninferiority(0.01, 0.02, 0.1), "expected a rate below"),
    "no rate": (lambda: plan_harm(0.0, 0.1, 0.1), "expected p0"),
    "more than all": (lambda: plan_harm(0.5, 1.5, 0.1), "expected p1"),
    "negative": (lambda: plan_within(-0.1, 0.0, 0.1, 0.01), "expected p0"),
    "no share": (lambda: plan_harm(0.01, 0.1, 0.0), "expected share"),
    "alpha": (lambda: plan_harm(0.01, 0.1, 0.1, alpha=1.0), "expected alpha"),
    "power": (lambda: plan_harm(0.01, 0.1, 0.1, power=math.nan), "expected power"),
    "weight": (lambda: plan_harm(0.01, 0.1, 0.1, weight=0.0), "expected a weight"),
    "no difference": (lambda: plan_difference(0.1, 0.1, 0.1, 0.01), "expected a rate above"),
    "a difference": (lambda: plan_within(0.1, 0.2, 0.1, 0.01), "expected a rate below"),
    "a limit of all": (lambda: plan_within(0.1, 0.2, 0.1, 1.5), "expected a limit"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name: str) -> None:
    """What cannot be planned is an error that says what was expected."""
    call, match = BAD[name]
    with pytest.raises(ValueError, match=match):
        call()

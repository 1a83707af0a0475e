"""The budget: its probability is known before the record is, so nothing that it leaves out biases an estimate."""

import copy
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import mmh3
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.records.budget import SLICE_NS, SPACE, Budget, hard_cap

SECOND_NS = 10 * SLICE_NS


def draw(seed: int, number: int) -> int:
    """Return a number in [0, SPACE), as the hash of an exchange is one."""
    return mmh3.mmh3_x64_128_uintdigest(b"%d:%d" % (seed, number)) >> 64


class Run:
    """Records offered in slices, by the number of each."""

    def __init__(self, per_second: int, offered: Sequence[int], seed: int = 1) -> None:
        budget = Budget(per_second)
        self.kept: list[int] = []
        """By slice."""
        self.over: list[int] = []
        self.probabilities: list[float] = []
        self.estimate = 0.0
        """Of the number of records that were offered."""
        number = 0
        for slot, count in enumerate(offered):
            kept = over = 0
            for _ in range(count):
                number += 1
                outcome, probability = budget.admit(slot * SLICE_NS, draw(seed, number))
                self.probabilities.append(probability)
                over += outcome == "over"
                if outcome == "kept":
                    kept += 1
                    self.estimate += 1 / probability
            self.kept.append(kept)
            self.over.append(over)


def poisson(mean: Callable[[int], float], slices: int, seed: int = 1) -> list[int]:
    """Return arrivals by slice, whose mean may change."""
    generator = np.random.default_rng(seed)
    return [int(generator.poisson(mean(i))) for i in range(slices)]


@pytest.mark.parametrize("per_second", [1, 4, 10, 100])
def test_who_stays_below_the_budget_is_not_thinned(per_second: int) -> None:
    """At half the budget, with the noise of real traffic, everything is kept with certainty."""
    run = Run(per_second, poisson(lambda _: per_second / 20, 600))
    assert set(run.probabilities) == {1.0}
    assert not any(run.over)


@pytest.mark.parametrize(("per_second", "factor"), [(1, 30), (10, 3), (10, 100), (100, 1.3), (100, 20)])
def test_who_exceeds_it_keeps_about_the_budget(per_second: int, factor: float) -> None:
    """Under a steady load above the budget as much is kept as it allows, and nothing is lost after the first second."""
    seconds = 60
    run = Run(per_second, poisson(lambda _: per_second * factor / 10, 10 * seconds))
    mean = sum(run.kept[20:]) / (seconds - 2)
    assert 0.85 * per_second - 0.3 <= mean <= 1.1 * per_second + 0.3
    assert not any(run.over[10:])


def test_a_burst_out_of_nothing_is_capped_and_then_thinned() -> None:
    """A thousand times the budget at once: the first slice, whose records stand for themselves, meets the cap, and no
    later one does, whose records stand for many."""
    offered = [0] * 20 + poisson(lambda _: 1000, 200)
    run = Run(10, offered)
    assert run.kept[20] == hard_cap(10) - 10
    assert run.over[20] == offered[20] - run.kept[20]
    assert not any(run.over[21:])
    assert sum(run.kept[21:30]) > 0


@settings(max_examples=60, deadline=None)
@given(
    per_second=st.integers(1, 30),
    offered=st.lists(st.integers(0, 200), min_size=1, max_size=40),
    seed=st.integers(0, 1000),
)
def test_laws(per_second: int, offered: list[int], seed: int) -> None:
    """Whatever comes: the cap holds in every second, no probability is 0, and one slice has one."""
    run = Run(per_second, offered, seed)
    for start in range(len(offered)):
        assert sum(run.kept[start : start + 10]) <= hard_cap(per_second)
    assert all(0 < probability <= 1 for probability in run.probabilities)
    at = 0
    for count in offered:
        assert len(set(run.probabilities[at : at + count])) <= 1
        at += count


def expected(budget: Budget, arrivals: Sequence[tuple[int, int]]) -> Fraction:
    """Return the expectation of the sum of y/q over what is kept, over every way in which the draws can fall.

    Args:
        budget: as it is before.
        arrivals: (slice, y) of each record.
    """
    if not arrivals:
        return Fraction(0)
    (slot, y), *rest = arrivals
    kept, left_out = copy.deepcopy(budget), copy.deepcopy(budget)
    outcome, probability = kept.admit(slot * SLICE_NS, 0)
    assert outcome == "kept"
    chance = Fraction(probability)
    total = chance * (y / chance + expected(kept, rest))
    if chance < 1:
        assert left_out.admit(slot * SLICE_NS, SPACE - 1).outcome == "thinned"
        total += (1 - chance) * expected(left_out, rest)
    return total


ARRIVALS: dict[str, Sequence[int]] = {
    "a burst": (0, 0, 0, 0, 0, 1, 1, 1, 2, 2, 2, 3),
    "a ramp": (0, 1, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5),
    "a pause": (0, 0, 0, 1, 1, 1, 2, 2, 30, 30, 31, 31),
}


@pytest.mark.parametrize("name", ARRIVALS)
def test_the_expectation_is_exact(name: str) -> None:
    """Over all outcomes of all draws, weighted by their probability, the estimate is the truth: as a fraction."""
    arrivals = [(slot, 7 * number % 5 - 1) for number, slot in enumerate(ARRIVALS[name])]
    assert expected(Budget(1), arrivals) == sum(y for _, y in arrivals)


def test_it_was_thinned() -> None:
    """The case above is none in which everything is kept anyway."""
    run = Run(1, [ARRIVALS["a ramp"].count(slot) for slot in range(6)])
    assert min(run.probabilities) < 0.5


@pytest.mark.parametrize(
    "load",
    [lambda i: 2 * 1.03**i, lambda i: 8 + 20 * 0.97**i, lambda i: 60 if i % 20 < 3 else 1],
    ids=["a ramp", "a fall", "bursts"],
)
def test_estimates_are_unbiased(load: Callable[[int], float]) -> None:
    """Over many runs the mean of the estimate is what was offered, within four of its standard errors."""
    offered = poisson(load, 120)
    runs = [Run(40, offered, seed) for seed in range(200)]
    assert not any(over for run in runs for over in run.over[1:])
    errors = [run.estimate - sum(offered) for run in runs if not run.over[0]]
    assert len(errors) == len(runs)
    assert abs(np.mean(errors)) <= 4 * np.std(errors) / math.sqrt(len(errors))
    assert np.std(errors) > 0


def test_the_present_has_no_say() -> None:
    """What comes in a slice does not change its probability, only that of the next."""
    budget = Budget(1)
    for _ in range(1000):
        assert budget.admit(5 * SLICE_NS, SPACE - 1).probability == 1.0
    assert budget.admit(6 * SLICE_NS, 0).probability < 0.01


def test_the_probability_is_the_one_that_is_planned() -> None:
    """Computed by hand: a slice's part of the budget, and a tenth of the credit, of the load that is expected."""
    budget = Budget(10)
    assert [budget.admit(0, 0).outcome for _ in range(1000)].count("kept") == 40
    # 40 were kept of a credit of 15 and a slice's 1: it is at -15, and half of the budget is spent all the same.
    probability = budget.admit(SLICE_NS, 0).probability
    assert probability == pytest.approx(0.5 / (1000 - 2 * math.sqrt(1000)), rel=1e-12)
    edge = int(probability * SPACE)
    assert [budget.admit(SLICE_NS, drawn).outcome for drawn in (edge - 1, edge)] == ["kept", "thinned"]
    # The burst is in the mean of ten slices, with the three records of the second one, and in no later one.
    later = copy.deepcopy(budget)
    assert budget.admit(10 * SLICE_NS, 0).probability == pytest.approx(0.5 / 100.3, rel=1e-12)
    assert later.admit(11 * SLICE_NS, 0).probability == 1.0


def test_the_cap_is_that_of_the_last_second() -> None:
    """A slice and the nine before it have so many; what was kept in the one before those is no part of it."""
    budget, kept = Budget(10), []
    for number in range(11):
        outcomes = [budget.admit(number * SLICE_NS, 0).outcome for _ in range(60)]
        kept.append(outcomes.count("kept"))
    assert kept == [40, 10, *[0] * 8, 40]


def test_a_pause_is_forgotten() -> None:
    """After some quiet seconds, or days, it is as in the beginning."""
    for pause_ns in (3 * SECOND_NS, 10**6 * SECOND_NS):
        budget = Budget(5)
        for number in range(1000):
            budget.admit(number % 10 * SLICE_NS, 0)
        assert budget.admit(SECOND_NS + pause_ns, 0) == ("kept", 1.0)


def test_time_does_not_go_back() -> None:
    """An earlier time counts as the latest that was seen."""
    budget = Budget(1)
    for _ in range(50):
        budget.admit(10 * SLICE_NS, 0)
    budget.admit(11 * SLICE_NS, 0)
    before = budget.probability
    assert budget.admit(3 * SLICE_NS, SPACE - 1) == ("thinned", before)


def test_the_cap_is_far_from_chance() -> None:
    """What is planned for the second in which a load sets in exceeds the cap once in 100,000 times at most."""
    for per_second in range(1, 200):
        cap, mean = hard_cap(per_second), 2 * per_second + 5
        terms = [-mean + k * math.log(mean) - math.lgamma(k + 1) for k in range(cap + 1, cap + 400)]
        assert math.fsum(math.exp(term) for term in terms) <= 1e-5


def test_no_budget_is_no_budget() -> None:
    """A budget of nothing is no budget but a log that is off."""
    with pytest.raises(ValueError, match="at least 1, got 0"):
        Budget(0)

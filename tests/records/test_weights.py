"""Estimates from records: right on average, to the last digit where all samples can be counted."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise, product
from typing import NamedTuple

import mmh3
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records.weights import Estimate, Sample, Weighting, allow_for_losses, weighting_of

HALF, THIRD, TENTH = Fraction(1, 2), Fraction(1, 3), Fraction(1, 10)


class Member(NamedTuple):
    """One request of a population, and how its record comes to be."""

    unit: str
    y: int
    first: Fraction
    second: Fraction = Fraction(1)


def member(text: str) -> Member:
    """Read ``unit y first second``."""
    unit, y, *odds = text.split()
    return Member(unit, int(y), *map(Fraction, odds))


POPULATIONS: dict[str, Sequence[str]] = {
    "units of one request": ("a 1 1/3", "b 0 1/3", "c 5 1/3", "d -2 1/3"),
    "units of several": ("a 1 1/3", "a 1 1/3", "a 4 1/3", "b 2 1/3", "b 0 1/3", "c 3 1/3"),
    "rules beside the sample": ("a 1 1", "a 2 1/10", "a 3 1/10", "b 7 1", "c 4 1/10", "c 1 1"),
    "a budget": ("a 1 1/2 1", "a 2 1/2 1/3", "b 3 1/2 1/3", "b 4 1 1/3", "c 5 1 1/2"),
    "only rules, and a budget": ("a 1 1 1/3", "a 2 1 1/5", "b 3 1 1/5"),
    "a percent that was raised meanwhile": ("a 1 1/3", "a 2 1/2", "a 4 1/2 1/2", "b 3 1/3", "b 1 1/2"),
    "everything": ("a 1 1", "a 2 1", "b 3 1"),
}


def samples(population: Sequence[Member]) -> Iterator[tuple[Fraction, Sample]]:
    """Yield every sample that can come out, with its probability.

    A unit draws once: a record is in if the unit's number is below its first probability. Then each record draws.
    """
    units = sorted({each.unit for each in population})
    thresholds = sorted({Fraction(0), Fraction(1), *(each.first for each in population)})
    ranges = list(pairwise(thresholds))
    for drawn in product(ranges, repeat=len(units)):
        number_of = dict(zip(units, drawn, strict=True))
        for own in product((True, False), repeat=len(population)):
            chance = math.prod((high - low for low, high in drawn), start=Fraction(1))
            sample = Sample()
            for each, is_in in zip(population, own, strict=True):
                chance *= each.second if is_in else 1 - each.second
                if is_in and number_of[each.unit][0] < each.first:
                    sample.add(Weighting(each.unit, each.first, each.second), each.y)
            if chance:
                yield chance, sample


@pytest.mark.parametrize("name", POPULATIONS)
def test_expectations_are_exact(name: str) -> None:
    """Over all samples the total is on average the truth, and its variance estimate the variance: as fractions."""
    population = [member(text) for text in POPULATIONS[name]]
    truth = sum(each.y for each in population)
    chance = mean = square = variance = Fraction(0)
    for probability, sample in samples(population):
        estimate = sample.total()
        chance += probability
        mean += probability * estimate.value
        square += probability * estimate.value**2
        variance += probability * estimate.variance
    assert chance == 1
    assert mean == truth
    assert variance == square - mean**2


def joint(one: Weighting, other: Weighting) -> Fraction:
    """Return how likely it is that both of two different records are there."""
    if one.unit == other.unit:
        return min(one.first, other.first) * one.second * other.second  # type: ignore[no-any-return]
    return one.first * one.second * other.first * other.second  # type: ignore[no-any-return]


PROBABILITY = st.sampled_from([Fraction(1), HALF, THIRD, TENTH])
RECORDS = st.lists(
    st.tuples(st.sampled_from("abc"), PROBABILITY, PROBABILITY, st.integers(-3, 9), st.integers(1, 4)),
    min_size=1,
    max_size=12,
)


@given(RECORDS)
def test_variance_is_the_double_sum(records: list[tuple[str, Fraction, Fraction, int, int]]) -> None:
    """The unit-by-unit formula is the sum over all pairs of records, as it is printed in the book; for ratios too."""
    sample = Sample()
    rows: list[tuple[Weighting, Fraction, int, int]] = []
    for unit, first, second, y, x in records:
        weighting = Weighting(unit, first, second)
        sample.add(weighting, Fraction(y), Fraction(x))
        rows.append((weighting, first * second, y, x))
    below = sum((x / chance for _, chance, _, x in rows), Fraction(0))
    ratio = sum((y / chance for _, chance, y, _ in rows), Fraction(0)) / below
    for estimate, rest, scale in (
        (sample.total(), [Fraction(y) for _, _, y, _ in rows], Fraction(1)),
        (sample.ratio(), [y - ratio * x for _, _, y, x in rows], below),
    ):
        expected = Fraction(0)
        for i, (one, chance, _, _) in enumerate(rows):
            for j, (other, its, _, _) in enumerate(rows):
                both = chance if i == j else joint(one, other)
                expected += (1 - chance * its / both) * rest[i] / chance * rest[j] / its
        assert estimate.variance == expected / scale**2


def test_everything_is_known_of_a_complete_log() -> None:
    """With every request logged the figure has no error, and nobody asks for an interval; of the model it has one."""
    sample = Sample()
    for number in range(100):
        sample.add(Weighting(number, 1.0), float(number % 10 == 0))
    estimate = sample.ratio()
    assert (estimate.value, estimate.variance, estimate.is_complete) == (0.1, 0.0, True)
    assert estimate.proportion_interval() == (0.1, 0.1)
    low, high = estimate.proportion_interval(of_model=True)
    assert low < 0.1 < high


def wilson(share: float, size: float) -> Estimate:
    return Estimate(share, share * (1 - share) / size, math.nan, size, is_complete=False)


REFERENCES = {
    # Newcombe 1998, table I, method 3 (score, no continuity correction).
    "81 of 263": (81 / 263, 263, 0.2553, 0.3662),
    "15 of 148": (15 / 148, 148, 0.0624, 0.1605),
    "0 of 20": (0.0, 20, 0.0, 0.1611),
    "1 of 29": (1 / 29, 29, 0.0061, 0.1718),
    # The same, seen from those that do not have it.
    "182 of 263": (182 / 263, 263, 1 - 0.3662, 1 - 0.2553),
    "20 of 20": (1.0, 20, 1 - 0.1611, 1.0),
}


@pytest.mark.parametrize("name", REFERENCES)
def test_interval_of_a_proportion(name: str) -> None:
    """With units of one request each it is the published interval."""
    share, size, low, high = REFERENCES[name]
    assert wilson(share, size).proportion_interval() == pytest.approx((low, high), abs=6e-5)


# Student 1908, and every table since: the quantile of 97.5 % for so many degrees of freedom.
STUDENT = {2: 4.303, 3: 3.182, 5: 2.571, 10: 2.228, 30: 2.042, 120: 1.980}


@pytest.mark.parametrize("freedom", STUDENT)
def test_few_units(freedom: int) -> None:
    """The interval of a model is as wide as Student's quantile makes it for so many units, or a little wider."""
    variance = 0.001
    estimate = Estimate(0.5, variance, variance, freedom + 1.0, is_complete=False)
    low, high = estimate.proportion_interval(of_model=True)
    square = (high - low) ** 2  # of Wilson's, for a share of a half: 4 reach^2 = q / (1 + q)
    quantile = math.sqrt(square / (1 - square) * 0.25 / variance)
    assert STUDENT[freedom] * 0.999 < quantile < STUDENT[freedom] * (1.05 if freedom == 2 else 1.012)


def test_few_units_of_unlike_size() -> None:
    """Where a few of twenty users ask most, intervals of 95 % hold the truth in 90 % of logs; normal ones do not."""
    generator = np.random.default_rng(1)
    held = normal = 0
    for _ in range(400):
        sample = Sample()
        sizes = np.minimum(1 + generator.pareto(1.2, 20) * 5, 2000).astype(int)
        for unit, size in enumerate(sizes):
            sample.add(Weighting(unit, 0.2), float(generator.binomial(size, 0.2)), float(size))
        estimate = sample.ratio()
        for of_many, size in ((False, estimate.size), (True, 1e9)):
            low, high = replace(estimate, size=size).proportion_interval(of_model=True)
            inside = low <= 0.2 <= high
            held, normal = held + (inside and not of_many), normal + (inside and of_many)
    assert held / 400 >= 0.9 > normal / 400


def test_normal_interval() -> None:
    """It lies around the value and is as wide as the quantile says; a variance below 0 is none."""
    estimate = Estimate(10.0, 4.0, 9.0, 5.0, is_complete=False)
    assert estimate.interval() == pytest.approx((10 - 3.91993, 10 + 3.91993), abs=1e-5)
    assert estimate.interval(0.5, of_model=True) == pytest.approx((10 - 2.02347, 10 + 2.02347), abs=1e-5)
    assert Estimate(1.0, -1e-18, 0.0, 1.0, is_complete=False).interval() == (1.0, 1.0)
    with pytest.raises(ValueError, match="confidence"):
        estimate.interval(1.0)
    with pytest.raises(ValueError, match=r"proportion in 0\.\.1, got 10"):
        estimate.proportion_interval()


class Log:
    """What a log holds of a population in which units with many requests fail more often."""

    UNITS = 400
    PERCENT = 0.1

    def __init__(self) -> None:
        generator = np.random.default_rng(7)
        sizes = generator.geometric(0.2, self.UNITS)
        self.failures = [generator.random(size) < min(0.9, 0.01 * size) for size in sizes]
        self.truth = float(np.concatenate(self.failures).mean())

    def sample(self, seed: int) -> tuple[Sample, float]:
        """Return a sample by unit, with all failures kept, thinned by a half; and the share without any weights."""
        sample, drawn = Sample(), 0
        for unit, failures in enumerate(self.failures):
            is_in = _uniform(seed, unit) < self.PERCENT
            for number, failed in enumerate(failures):
                if (is_in or failed) and _uniform(seed, unit, number) < 0.5:
                    sample.add(Weighting(unit, 1.0 if failed else self.PERCENT, 0.5), float(failed))
                    drawn += failed
        return sample, drawn / sample.records


def _uniform(*key: int) -> float:
    return (mmh3.mmh3_x64_128_uintdigest(repr(key).encode()) >> 64) / 2.0**64


def test_intervals_hold_the_truth() -> None:
    """Of 300 logs of one population about 95 % have the truth in their interval; without weights none comes near."""
    log = Log()
    held, errors, naive = 0, [], []
    for seed in range(300):
        sample, share = log.sample(seed)
        estimate = sample.ratio()
        low, high = estimate.proportion_interval()
        held += low <= log.truth <= high
        errors.append(estimate.value - log.truth)
        naive.append(share)
    assert 0.90 <= held / 300 <= 0.985
    assert abs(np.mean(errors)) < 0.1 * log.truth
    assert min(naive) > 2 * log.truth


def test_a_unit_is_one_draw() -> None:
    """Who takes a unit's requests for independent believes too small an error: here a quarter of the variance."""
    by_unit, alone = Sample(), Sample()
    for unit in range(50):
        for number in range(4):
            by_unit.add(Weighting(unit, 0.1), 1.0)
            alone.add(Weighting((unit, number), 0.1), 1.0)
    assert by_unit.total().value == pytest.approx(alone.total().value)
    assert by_unit.total().variance == pytest.approx(4 * alone.total().variance)
    assert by_unit.total().size == pytest.approx(50)


def test_a_ratio_of_nothing() -> None:
    """No records are no figure; one unit says nothing about the model's spread, and the interval says so."""
    with pytest.raises(ValueError, match="got none"):
        Sample().ratio()
    assert Sample().total().value == 0
    sample = Sample()
    sample.add(Weighting("a", 0.5), 1.0)
    estimate = sample.ratio()
    assert math.isnan(estimate.model_variance)
    assert estimate.proportion_interval(of_model=True)[0] < 0.3


RECORD = {"route": "wine", "unit": "u", "request_id": "r", "inclusion_probability": 0.05}

WEIGHTINGS: dict[str, tuple[dict[str, object], Weighting]] = {
    "version 1": ({}, Weighting(("wine", "unit", "u"), 0.05, 1.0)),
    "by the sample": (
        {"kept_by": ["sample"], "budget_probability": 0.5},
        Weighting(("wine", "unit", "u"), 0.1, 0.5),
    ),
    "by a rule": (
        {"kept_by": ["sample", "errors"], "budget_probability": 0.05},
        Weighting(("wine", "unit", "u"), 1.0, 0.05),
    ),
    "without a unit": ({"unit": None}, Weighting(("wine", "request", "r"), 0.05, 1.0)),
}


@pytest.mark.parametrize("name", WEIGHTINGS)
def test_weighting_of_a_record(name: str) -> None:
    """A record says how it came to be there, whatever its version."""
    changes, expected = WEIGHTINGS[name]
    assert weighting_of({**RECORD, **changes}) == expected


@pytest.mark.parametrize(("inclusion", "budget"), [(0, 1.0), (1.5, 1.0), (0.5, 0.4), (math.nan, 1.0)])
def test_no_weighting_of_nonsense(inclusion: float, budget: float) -> None:
    """What is no probability has no weight."""
    with pytest.raises(ValueError, match="expected 0 < inclusion"):
        weighting_of({**RECORD, "inclusion_probability": inclusion, "budget_probability": budget})


def test_losses() -> None:
    """Of what was lost none may have it, or all."""
    assert allow_for_losses(0.1, 0.2, 0.0, 900.0) == (0.1, 0.2)
    assert allow_for_losses(0.1, 0.2, 100.0, 900.0) == pytest.approx((0.09, 0.28))
    assert allow_for_losses(0.1, 0.2, 5.0, 0.0) == (0.0, 1.0)
    for lost, known in ((0.0, 0.0), (-1.0, 5.0), (5.0, -1.0)):
        with pytest.raises(ValueError, match="expected requests"):
            allow_for_losses(0.1, 0.2, lost, known)


def test_many_units_are_thrown_together() -> None:
    """Beyond its bound a sample tells groups of units apart: the same shares, and on average the same variances."""
    ratios = []
    for seed in range(16):
        random = np.random.default_rng(seed)
        whole, bounded = Sample(), Sample(64)
        for unit, likely in enumerate(random.beta(1, 4, 1200)):
            for y in random.random(random.integers(1, 6)) < likely:
                weighting = Weighting(("wine", f"{seed}-{unit}"), 0.25 if unit % 3 else 1.0, 0.5)
                whole.add(weighting, int(y))
                bounded.add(weighting, int(y))
        exact, grouped = whole.ratio(), bounded.ratio()
        assert grouped.value == pytest.approx(exact.value, rel=1e-12)
        ratios.append((grouped.variance / exact.variance, grouped.model_variance / exact.model_variance))
    # Of one its error is sqrt(2 / 64) = 18 %, of sixteen 5 %.
    assert np.mean(ratios, axis=0) == pytest.approx((1.0, 1.0), abs=0.15)
    assert np.std(ratios, axis=0).max() < 0.3


def test_a_bound_that_is_not_met_changes_nothing() -> None:
    """Up to the bound every figure is the one without it; beyond it a total has no variance."""
    whole, bounded = Sample(), Sample(3)
    for unit in "abcaab":
        whole.add(Weighting(unit, HALF), 1)
        bounded.add(Weighting(unit, HALF), 1)
    assert (bounded.ratio(), bounded.total()) == (whole.ratio(), whole.total())
    bounded.add(Weighting("d", HALF), 1)
    assert (bounded.records, bounded.ratio().value) == (7, 1)
    with pytest.raises(ValueError, match="at most 3 units"):
        bounded.total()

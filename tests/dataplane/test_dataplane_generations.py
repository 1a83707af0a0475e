"""Generations: a unit that comes back in another hour counts again, once, for that hour; whoever counts it."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.evidence import OWN_COIN, UNIT_COIN, Evidence, Experiments, count
from proxy.evidence.blocks import open_evidence
from proxy.evidence.counts import Counts, read, read_all
from proxy.evidence.layout import (
    BUCKETS,
    FIELDS,
    FIRST_LATENCY,
    GENERATIONS,
    RENEWED,
    RENEWED_EVENTS,
    STAMPS,
    UNITS,
    block_size,
    bucket_of,
    renewed_place,
)
from proxy.evidence.units import cells_of, open_units
from proxy.model import Fault
from tests.dataplane.road import build_table
from tests.dataplane.trial import ROLLOUT

EPOCH, ID = "0" * 16, "1" * 16
NOW = 500_000
"""A generation of our time."""
MS = 1_000_000


class Shop:
    """Workers that count one epoch of a route with two variants in real files."""

    def __init__(self, run_dir: Path, workers: int = 2, generation: int = NOW) -> None:
        self.run_dir = run_dir
        self.cells = cells_of(open_units(run_dir, ID, 8))
        self.workers = [self.worker(number, generation) for number in range(workers)]

    def worker(self, number: int, generation: int) -> Evidence:
        block = open_evidence(self.run_dir, EPOCH, number, block_size(2))
        return Evidence(block.slots, self.cells, 2, generation)

    def ask(
        self, unit: int, status: int = 200, *, worker: int = 0, coin: int = UNIT_COIN, ms: int = 5
    ) -> None:
        """Count a request; even units are the champion's."""
        variant = SimpleNamespace(slot_evidence=unit % 2 * FIELDS)
        flight = SimpleNamespace(
            coin=coin, bucket=unit, status=status, fault=Fault.NONE, flags=0, variant=variant
        )
        count(cast("Any", flight), self.workers[worker], ms * MS)

    def renewed(self) -> dict[int, list[tuple[int, int]]]:
        """Return of each generation and variant how many units came, and how many had an error."""
        return {
            generation: [(int(row[:BUCKETS].sum()), int(row[RENEWED_EVENTS])) for row in counts]
            for generation, counts in read_all(self.run_dir, EPOCH, 2)[1].items()
        }


@pytest.fixture
def shop(tmp_path: Path) -> Shop:
    return Shop(tmp_path)


def test_a_new_unit_is_both(shop: Shop) -> None:
    """Who comes for the first time counts as such, and in the generation."""
    shop.ask(1, ms=5)
    shop.ask(1, ms=9)
    counts, renewed = read_all(shop.run_dir, EPOCH, 2)
    assert counts[1, FIRST_LATENCY + bucket_of(5 * MS)] == counts[1, UNITS] == 1
    assert renewed[NOW].shape == (2, RENEWED)
    assert renewed[NOW].sum() == renewed[NOW][1, bucket_of(5 * MS)] == 1
    assert (counts == read(shop.run_dir, EPOCH, 2)).all()


def test_who_comes_back_counts_again(shop: Shop) -> None:
    """In the next generation the same unit counts once more, with its duration of then; its first stays its first."""
    shop.ask(1, 503)
    shop.workers[0].turn(NOW + 1)
    for _ in range(3):
        shop.ask(1, 503, ms=900)
    counts, renewed = read_all(shop.run_dir, EPOCH, 2)
    assert counts[1, UNITS] == 1
    assert renewed[NOW + 1][1, bucket_of(900 * MS)] == 1
    assert shop.renewed() == {NOW: [(0, 0), (1, 1)], NOW + 1: [(0, 0), (1, 1)]}


def test_an_error_after_a_good_answer_in_the_same_generation(shop: Shop) -> None:
    """A unit's first event of a generation counts, whether or not it had one in another."""
    shop.ask(1, 503)
    shop.workers[0].turn(NOW + 1)
    shop.ask(1)
    assert shop.renewed()[NOW + 1] == [(0, 0), (1, 0)]
    shop.ask(1, 503)
    shop.ask(1, 404)
    assert shop.renewed()[NOW + 1] == [(0, 0), (1, 1)]
    assert read_all(shop.run_dir, EPOCH, 2)[1][NOW + 1][1, RENEWED_EVENTS + 1] == 1


def test_its_own_coin_has_no_generation(shop: Shop) -> None:
    """A request that cannot come again is counted as ever, and in no generation."""
    shop.ask(1, 503, coin=OWN_COIN)
    assert shop.renewed() == {}
    assert read(shop.run_dir, EPOCH, 2)[1, UNITS] == 1
    assert not any(shop.cells)


def test_who_is_late_leaves_the_later_ones_alone(shop: Shop) -> None:
    """A worker that has not turned yet counts nothing again that another has counted in the new generation."""
    shop.workers[1].turn(NOW + 1)
    shop.ask(1, worker=1)
    shop.ask(1, 503, worker=0)
    assert shop.renewed() == {NOW + 1: [(0, 0), (1, 0)]}
    shop.ask(3, worker=0)
    shop.ask(3, worker=1)
    assert shop.renewed() == {NOW: [(0, 0), (1, 0)], NOW + 1: [(0, 0), (2, 0)]}


def test_a_clock_that_was_set_back_repeats_nothing(shop: Shop) -> None:
    """After a reboot with an earlier clock, who was counted in a later hour counts when that hour is over."""
    for hour in (NOW + 20, NOW, NOW + 1, NOW + 20):
        shop.workers[0].turn(hour)
        shop.ask(1)
    assert shop.renewed() == {}, "the place of that hour was begun anew"
    shop.workers[0].turn(NOW + 21)
    shop.ask(1)
    assert shop.renewed() == {NOW + 21: [(0, 0), (1, 0)]}


@pytest.mark.parametrize("hours", [1, 2, 100, STAMPS - 32, STAMPS + 1])
def test_stamps_take_turns(shop: Shop, hours: int) -> None:
    """Who stays away for days counts again."""
    shop.ask(1)
    shop.workers[0].turn(NOW + hours)
    shop.ask(1)
    assert shop.renewed()[NOW + hours] == [(0, 0), (1, 0)]


def test_a_successor_goes_on(shop: Shop) -> None:
    """A worker that takes the place of a killed one adds to what that one counted, or begins a generation."""
    shop.ask(1)
    shop.workers[0] = shop.worker(0, NOW)
    shop.ask(3)
    assert shop.renewed() == {NOW: [(0, 0), (2, 0)]}
    shop.workers[0] = shop.worker(0, NOW + GENERATIONS)
    assert shop.renewed() == {}
    shop.ask(1)
    assert shop.renewed() == {NOW + GENERATIONS: [(0, 0), (1, 0)]}


def test_the_first_generation_of_all(tmp_path: Path) -> None:
    """A clock that begins at 0 has a generation 0, which is not "none"."""
    shop = Shop(tmp_path, generation=0)
    shop.ask(1)
    assert shop.renewed() == {0: [(0, 0), (1, 0)]}


@pytest.mark.parametrize("torn", ["first", "last"])
def test_a_place_that_is_being_cleared_is_not_read(shop: Shop, torn: str) -> None:
    """While a generation takes the place of another, the numbers around it differ, and nothing is read."""
    shop.ask(1)
    place = renewed_place(2, NOW)
    shop.workers[0].slots[place if torn == "first" else place + 2 * RENEWED + 1] = NOW + 1 + GENERATIONS
    assert shop.renewed() == {}


def test_marked_before_counted(shop: Shop) -> None:
    """A worker that dies between the mark and the count loses a unit, and doubles none."""

    class DeadError(Exception):
        """The end of a worker."""

    class Slots:
        def __getitem__(self, place: int) -> int:
            raise DeadError

    before = shop.workers[0].slots
    for outcome in (200, 503):
        shop.workers[0].slots = cast("Any", Slots())
        with pytest.raises(DeadError):
            shop.ask(1, outcome)
        shop.workers[0].slots = before
        shop.ask(1, outcome)
    assert shop.renewed() == {NOW: [(0, 0), (0, 1)]} or shop.renewed() == {}


# Against a model that is easy to believe

STEPS = st.one_of(
    st.tuples(st.just("turn"), st.integers(0, 1)),
    st.tuples(st.just("ask"), st.integers(0, 1), st.integers(0, 4), st.sampled_from([200, 404, 503])),
)


@given(st.lists(STEPS, max_size=60))
def test_each_unit_once_in_each_generation(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[Any, ...]]
) -> None:
    """However workers turn and whoever is asked: of each unit and generation exactly one, and one of its errors."""
    shop = Shop(tmp_path_factory.mktemp("run"))
    hours, latest = [NOW, NOW], dict.fromkeys(range(5), 0)
    seen: set[tuple[int, int]] = set()
    failed: set[tuple[int, int]] = set()
    lost: set[tuple[int, int]] = set()
    found: dict[int, Counts] = {}
    for step in steps:
        if step[0] == "turn":
            worker = step[1]
            if hours[worker] <= hours[1 - worker]:  # nobody is two hours ahead
                hours[worker] += 1
                shop.workers[worker].turn(hours[worker])
            continue
        _, worker, unit, status = step
        shop.ask(unit, status, worker=worker)
        if latest[unit] <= hours[worker]:
            latest[unit] = hours[worker]
            seen.add((unit, hours[worker]))
            if status == 503:
                failed.add((unit, hours[worker]))
        elif status == 503 and (unit, latest[unit]) not in failed:
            lost.add((unit, latest[unit]))  # it is marked as if it were of the later hour
        for hour, counts in read_all(shop.run_dir, EPOCH, 2)[1].items():
            found[hour] = np.maximum(counts, found.get(hour, 0))
    for hour, counts in found.items():
        for arm in (0, 1):
            units = {unit for unit, each in seen if each == hour and unit % 2 == arm}
            errors = {unit for unit, each in failed if each == hour and unit % 2 == arm}
            assert counts[arm, :BUCKETS].sum() == len(units)
            assert (
                len({*errors} - {u for u, e in lost if e == hour})
                <= counts[arm, RENEWED_EVENTS]
                <= len(errors)
            )
    assert found.keys() == {hour for _, hour in seen}


def test_experiments_turn_all_that_is_open(tmp_path: Path) -> None:
    """What is opened later is in the generation of the others."""
    experiments, later = Experiments(tmp_path, 0), build_table(ROLLOUT.replace("name: wine", "name: ale"), 2)
    first = build_table(ROLLOUT)
    experiments.attach(first)
    experiments.turn(NOW)
    experiments.attach(later)

    def stamp(of: Any) -> Callable[[], int]:
        return lambda: of.routes[0].evidence.stamp

    stamps = [stamp(first), stamp(later)]
    assert {each() for each in stamps} == {1 + NOW % STAMPS}
    experiments.turn(NOW + 1)
    assert {each() for each in stamps} == {1 + (NOW + 1) % STAMPS}

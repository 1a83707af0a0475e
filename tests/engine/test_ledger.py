"""Evidence in memory: whatever way counts come, the slices are the same; joining keeps what must stay apart."""

import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.engine.ledger import (
    BIN_NS,
    KEPT_GENERATIONS,
    MAX_SLICES,
    Counts,
    Epoch,
    Ledger,
    Reference,
    RowKey,
    bin_of_generation,
)
from proxy.evidence import layout as evidence_layout
from proxy.evidence.layout import RENEWED

FIELDS = 3
ARMS = ("v1", "v3")
HALF = 1 << 63


def epoch(name: str = "a", first_bin: int = 0) -> Epoch:
    return Epoch(name, ARMS, (HALF, HALF), first_bin * BIN_NS)


def reading(*numbers: int) -> Counts:
    return np.array(numbers, np.int64).reshape(len(ARMS), FIELDS)


def flat(number: int) -> Counts:
    return np.full((len(ARMS), FIELDS), number, np.int64)


def shown(ledger: Ledger) -> list[tuple[Any, ...]]:
    """The slices, comparable."""
    return [(each.epoch, each.first, each.last, each.counts.tolist()) for each in ledger.slices()]


def last_numbers(ledger: Ledger) -> list[tuple[int, int, int]]:
    """First bin, last bin and the first count of each slice."""
    return [(each.first, each.last, int(each.counts[0, 0])) for each in ledger.slices()]


def ledger_of(*rows: tuple[str, str, int, int], epochs: Sequence[Epoch] = (epoch(),)) -> Ledger:
    ledger = Ledger(FIELDS)
    for info in epochs:
        ledger.admit(info)
    for source, name, at, number in rows:
        ledger.merge(source, name, at, flat(number))
    return ledger


def test_slices_are_differences() -> None:
    """A slice is what was counted since the row before, within its source; a gap is one longer slice."""
    ledger = ledger_of(("run", "a", 2, 5), ("run", "a", 3, 7), ("run", "a", 9, 20))
    assert last_numbers(ledger) == [(0, 2, 5), (3, 3, 2), (4, 9, 13)]


def test_sources_add_up() -> None:
    """A second life of the supervisor starts at zero and is added."""
    ledger = ledger_of(("run", "a", 1, 5), ("run", "a", 3, 6), ("next", "a", 3, 10), ("next", "a", 4, 11))
    assert last_numbers(ledger) == [(0, 1, 5), (2, 3, 11), (4, 4, 1)]
    assert ledger.totals()["a"].tolist() == flat(17).tolist()
    assert ledger.sources == {"run", "next"}


def test_the_later_reading_of_a_bin_counts() -> None:
    """Readings within one bin replace each other."""
    ledger = ledger_of(("run", "a", 1, 5), ("run", "a", 1, 6), ("run", "a", 1, 5))
    assert last_numbers(ledger) == [(0, 1, 6)]


def test_nothing_new_is_no_news() -> None:
    """What is known already changes nothing and is not written again."""
    ledger = ledger_of(("run", "a", 1, 5))
    assert ledger.take_changes()
    assert not ledger.merge("run", "a", 1, flat(5))
    assert not ledger.merge("run", "a", 7, flat(5))
    assert not ledger.merge("other", "a", 7, flat(0))
    assert not ledger.take_changes()
    assert ledger.merge("run", "a", 7, flat(6))


def test_counters_that_went_back() -> None:
    """A reading below an earlier one takes nothing away."""
    ledger = ledger_of(("run", "a", 1, 5), ("run", "a", 2, 3), ("run", "a", 3, 6))
    assert last_numbers(ledger) == [(0, 1, 5), (2, 3, 1)]


def test_epochs_take_turns() -> None:
    """Slices are in the order of their beginning; an epoch that comes again goes on."""
    epochs = (epoch("a", 0), epoch("b", 4))
    rows = (("run", "a", 1, 5), ("run", "b", 5, 2), ("run", "a", 5, 6), ("run", "a", 8, 9))
    ledger = ledger_of(*rows, epochs=epochs)
    assert [(each.epoch, each.last) for each in ledger.slices()] == [("a", 1), ("a", 5), ("b", 5), ("a", 8)]
    assert list(ledger.epochs) == ["a", "b"]


def test_an_epoch_begins_within_a_bin() -> None:
    """The first slice of an epoch begins when the epoch did, later ones with their bins."""
    ledger = Ledger(FIELDS)
    ledger.admit(Epoch("a", ARMS, (HALF, HALF), 3 * BIN_NS + 7))
    ledger.merge("run", "a", 3, flat(1))
    ledger.merge("run", "a", 5, flat(2))
    assert [each.start_ns for each in ledger.slices()] == [3 * BIN_NS + 7, 4 * BIN_NS]
    ledger.merge("run", "a", 1, flat(1))
    assert [(each.first, each.start_ns) for each in ledger.slices()] == [(1, BIN_NS), (2, 2 * BIN_NS)]


def test_what_is_refused() -> None:
    """Another shape, an unknown epoch, and one that changed its shares are bugs of the caller."""
    ledger = ledger_of()
    with pytest.raises(ValueError, match="expected int64"):
        ledger.merge("run", "a", 1, np.zeros((1, FIELDS), np.int64))
    with pytest.raises(ValueError, match="expected int64"):
        ledger.merge("run", "a", 1, np.zeros((2, FIELDS), np.float64))
    with pytest.raises(KeyError):
        ledger.merge("run", "b", 1, flat(1))
    with pytest.raises(ValueError, match="epoch a"):
        ledger.admit(Epoch("a", ARMS, (HALF, 1), 0))


def test_a_caller_may_reuse_its_array() -> None:
    """What was merged is a copy."""
    ledger, counts = ledger_of(), flat(5)
    ledger.merge("run", "a", 1, counts)
    counts += 1
    assert last_numbers(ledger) == [(0, 1, 5)]


# References


def test_references_hold_from_a_bin_on() -> None:
    """A slice is judged by the last reference that began no later than the slice itself."""
    ledger = ledger_of()
    assert ledger.freeze(Reference(9, np.ones(4, np.int64)))
    assert ledger.freeze(Reference(3, np.zeros(4, np.int64)))
    assert not ledger.freeze(Reference(9, np.zeros(4, np.int64)))
    assert [ledger.reference_of(at) for at in (0, 2, 3, 8, 9, 50)] == [-1, -1, 0, 0, 1, 1]
    assert [each.from_bin for each in ledger.references] == [3, 9]


# Joining


def long_ledger(bins: int, epochs: int = 1) -> Ledger:
    per_epoch = bins // epochs
    infos = [epoch(f"e{i}", i * per_epoch) for i in range(epochs)]
    return ledger_of(
        *(("run", f"e{at // per_epoch}", at, at + 1) for at in range(bins)),
        epochs=infos,
    )


@pytest.mark.parametrize("bins", [513, 2_000, 8_640])
def test_joined_slices_are_few_and_lose_nothing(bins: int) -> None:
    """However long it lasts there are at most 512 slices, the newest the finest, and the sum is the same."""
    ledger = long_ledger(bins)
    assert ledger.coarsen() == len(ledger.slices()) <= MAX_SLICES
    slices = ledger.slices()
    for each in slices:
        age = slices[-1].last - each.last
        assert each.last - each.first + 1 <= max(1, age // 16)
    assert sum(int(each.counts[0, 0]) for each in slices) == bins
    assert [each.first for each in slices[1:]] == [each.last + 1 for each in slices[:-1]]


def test_few_slices_are_left_alone() -> None:
    """Nothing is joined before there are too many."""
    ledger = long_ledger(MAX_SLICES)
    before = shown(ledger)
    assert ledger.coarsen() == MAX_SLICES
    assert shown(ledger) == before


def test_borders_stay() -> None:
    """No slice joins two epochs, and none reaches over the begin of a reference."""
    ledger = long_ledger(2_000, epochs=4)
    borders = [37, 500, 777, 1_203]
    for at in borders:
        ledger.freeze(Reference(at, np.zeros(4, np.int64)))
    starts = [3, 90, 1_999]
    ledger.coarsen(starts)
    borders += starts
    for each in ledger.slices():
        assert each.first // 500 == each.last // 500
        assert not [at for at in borders if each.first < at <= each.last]
    assert len(ledger.slices()) <= MAX_SLICES


def test_more_borders_than_slices() -> None:
    """Where borders alone make too many slices, they stay all the same."""
    ledger = long_ledger(60, epochs=60)
    assert ledger.coarsen(limit=20, join_to=10) == 60


def test_what_comes_late_for_a_joined_slice() -> None:
    """A row again changes nothing; another source's row is added to the slice that has taken its place."""
    ledger = long_ledger(600)
    ledger.coarsen()
    before = shown(ledger)
    assert not ledger.merge("run", "e0", 3, flat(4))
    assert shown(ledger) == before
    assert ledger.merge("other", "e0", 3, flat(1_000))
    assert [row[:3] for row in shown(ledger)] == [row[:3] for row in before]


def test_memory_is_bounded() -> None:
    """Evidence that is joined as it grows never has more rows than slices."""
    ledger = ledger_of()
    for at in range(3_000):
        ledger.merge("run", "a", at, flat(at + 1))
        ledger.coarsen()
        ledger.take_changes()
    assert len(ledger.slices()) <= MAX_SLICES
    assert len(ledger.everything().rows) <= MAX_SLICES


def test_what_a_long_rollout_takes() -> None:
    """Ten days of four variants, in full width, joined as they grow, take no more than 64 MiB."""
    variants = ("v1", "v2", "v3", "v4")
    tracemalloc.start()
    try:
        ledger = Ledger(evidence_layout.FIELDS)
        ledger.admit(Epoch("a", variants, (HALF // 2,) * 4, 0))
        for at in range(0, 86_400, 30):
            ledger.merge("run", "a", at, np.full((4, evidence_layout.FIELDS), at + 1, np.int64))
            ledger.coarsen()
            ledger.take_changes()
        assert len(ledger.slices()) > MAX_SLICES // 2
        assert tracemalloc.get_traced_memory()[0] <= 64 << 20
    finally:
        tracemalloc.stop()


# Laws

ROW = st.tuples(
    st.sampled_from(["run", "next"]),
    st.sampled_from(["a", "b"]),
    st.integers(0, 40),
    st.lists(st.integers(0, 6), min_size=6, max_size=6),
)


def fed(rows: Sequence[tuple[str, str, int, list[int]]]) -> Ledger:
    ledger = Ledger(FIELDS)
    ledger.admit(epoch("a", 0))
    ledger.admit(epoch("b", 3))
    for source, name, at, numbers in rows:
        ledger.merge(source, name, at, reading(*numbers))
    return ledger


@given(st.data(), st.lists(ROW, max_size=30))
def test_any_order_any_duplicates(data: st.DataObject, rows: list[tuple[str, str, int, list[int]]]) -> None:
    """Readings in any order, some twice, make bit-identical slices, joined or not."""
    shuffled = data.draw(st.permutations(rows + rows[: data.draw(st.integers(0, len(rows)))]))
    one, other = fed(rows), fed(shuffled)
    assert shown(one) == shown(other)
    one.coarsen(limit=6, join_to=4)
    other.coarsen(limit=6, join_to=4)
    assert shown(one) == shown(other)


@given(st.lists(ROW, max_size=30), st.integers(1, 64))
def test_any_partition(rows: list[tuple[str, str, int, list[int]]], shards: int) -> None:
    """Ledgers that saw some of the readings each, merged by their rows, are the ledger that saw all."""
    parts = [fed(rows[i::shards]) for i in range(shards)]
    whole = Ledger(FIELDS)
    for part in reversed(parts):
        for info, settled in part.everything().epochs.values():
            whole.admit(info, settled)
        for key, counts in part.everything().rows.items():
            whole.merge(*key, counts)
    assert shown(whole) == shown(fed(rows))


@given(st.lists(ROW, max_size=30), st.lists(st.integers(0, 40), max_size=3))
@settings(max_examples=60, deadline=None)
def test_the_disk_has_what_the_memory_has(
    rows: list[tuple[str, str, int, list[int]]], coarsenings: list[int]
) -> None:
    """Changes applied one after the other, some refused at first, rebuild the same slices."""
    ledger = Ledger(FIELDS)
    ledger.admit(epoch("a", 0))
    ledger.admit(epoch("b", 3))
    disk: dict[RowKey, Counts] = {}
    settled: dict[str, tuple[Epoch, int]] = {}
    for number, (source, name, at, numbers) in enumerate(rows):
        ledger.merge(source, name, at, reading(*numbers))
        if number in coarsenings:
            ledger.coarsen(limit=5, join_to=3)
        changes = ledger.take_changes()
        if number % 3 == 0:
            ledger.put_back(changes)
            continue
        apply(changes.rows, changes.removed, disk)
        settled |= changes.epochs
    changes = ledger.take_changes()
    apply(changes.rows, changes.removed, disk)
    settled |= changes.epochs
    again = Ledger(FIELDS)
    for info, joined_to in settled.values():
        again.admit(info, joined_to)
    for key in sorted(disk, key=lambda each: each.bin):
        again.merge(*key, disk[key])
    assert shown(again) == shown(ledger)


def apply(rows: dict[RowKey, Counts], removed: set[RowKey], disk: dict[RowKey, Counts]) -> None:
    disk |= rows
    for key in removed:
        disk.pop(key, None)


# Generations


def renewed(number: int) -> Counts:
    return np.full((len(ARMS), RENEWED), number, np.int64)


def generations(ledger: Ledger) -> dict[tuple[int, str], int]:
    """The first count of each generation and epoch."""
    return {place: int(counts[0, 0]) for place, counts in ledger.renewed().items()}


def test_generations_are_kept_beside_the_slices() -> None:
    """Of each the highest reading, added up over sources; slices know nothing of them."""
    ledger = ledger_of(("run", "a", 1, 5), epochs=(epoch("a"), epoch("b", 4)))
    for source, name, generation, number in (
        ("run", "b", 8, 2),
        ("run", "a", 8, 3),
        ("next", "a", 8, 10),
        ("run", "a", 7, 4),
        ("run", "a", 7, 6),
    ):
        assert ledger.merge(source, name, bin_of_generation(generation), renewed(number))
    assert not ledger.merge("run", "a", bin_of_generation(7), renewed(5))
    assert not ledger.merge("run", "a", bin_of_generation(7), renewed(6))
    assert not ledger.merge("run", "a", bin_of_generation(9), renewed(0))
    assert list(generations(ledger).items()) == [((7, "a"), 6), ((8, "a"), 13), ((8, "b"), 2)]
    assert last_numbers(ledger) == [(0, 1, 5)]
    with pytest.raises(ValueError, match="expected int64"):
        ledger.merge("run", "a", bin_of_generation(9), flat(1))


def test_a_reading_of_a_generation_is_true_as_a_whole() -> None:
    """One that is lower somewhere is not mixed with what is known: the columns would be of different users."""
    ledger = ledger_of()
    first, other = renewed(3), renewed(3)
    other[0, 0], other[0, 1] = 2, 9
    ledger.merge("run", "a", bin_of_generation(7), first)
    assert not ledger.merge("run", "a", bin_of_generation(7), other)
    assert (ledger.renewed()[7, "a"] == first).all()


def test_generations_are_bounded() -> None:
    """A week of them stays; what is older is deleted from the disk too, and does not come back."""
    ledger = ledger_of()
    for generation in range(KEPT_GENERATIONS + 3):
        ledger.merge("run", "a", bin_of_generation(generation), renewed(1))
    assert [generation for generation, _ in ledger.renewed()] == list(range(3, KEPT_GENERATIONS + 3))
    changes = ledger.take_changes()
    assert changes.removed == {RowKey("run", "a", bin_of_generation(each)) for each in range(3)}
    assert not ledger.merge("run", "a", bin_of_generation(1), renewed(5))


def test_generations_and_their_references_reach_the_disk() -> None:
    """They are changes until they are taken, are all there for a new disk, and come back from it."""
    ledger = ledger_of(("run", "a", 1, 5))
    ledger.merge("run", "a", bin_of_generation(7), renewed(2))
    assert ledger.freeze(Reference(bin_of_generation(7), np.ones(4, np.int64)))
    assert not ledger.freeze(Reference(bin_of_generation(7), np.zeros(4, np.int64)))
    assert ledger.references == []
    taken, whole = ledger.take_changes(), ledger.everything()
    key = RowKey("run", "a", bin_of_generation(7))
    for each in (taken, whole):
        assert (each.rows[key] == 2).all()
        assert [reference.from_bin for reference in each.references] == [bin_of_generation(7)]
    again, fresh, busy = ledger_of(), ledger_of(), ledger_of(("next", "a", 2, 1))
    for held in (again, busy):
        held.merge("next", "a", bin_of_generation(7), renewed(1))
    for row in sorted(whole.rows, key=lambda key: key.bin):
        fresh.merge(*row, whole.rows[row])
    fresh.freeze(whole.references[0])
    again.join(fresh)
    busy.join(ledger)
    assert generations(again) == generations(busy) == {(7, "a"): 3}
    assert again.generation_references[7] == busy.generation_references[7] == whole.references[0]

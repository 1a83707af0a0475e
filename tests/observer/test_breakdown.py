"""Counts of disagreement: complete, bounded whatever clients send, and the same after the disk."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Comparison
from proxy.observer.breakdown import (
    COUNTS,
    FIELDS,
    MAX_LABEL_PAIRS,
    MAX_VALUES,
    MEASURES,
    NONE,
    OTHER,
    TOTAL,
    Breakdown,
    Cell,
    Numbers,
    as_value,
)

AGREE = Comparison("agree", 0.0, None, "classification", 4, 0)
FLIP = Comparison("disagree", 0.5, "label", "classification", 4, 2)
CUT = Comparison("uncomparable", None, "truncated", "auto", 0, 0)

pairs = st.lists(
    st.tuples(
        st.sampled_from([AGREE, FLIP, CUT]),
        st.dictionaries(st.sampled_from(["tier", "lang"]), st.sampled_from(["a", "b", NONE, OTHER])),
    ),
    max_size=30,
)


def shown(breakdown: Breakdown) -> dict[Cell, Numbers]:
    """Return the cells that count something."""
    return {cell: tuple(numbers) for cell, numbers in breakdown.cells.items() if any(numbers)}


def counted(*comparisons: Comparison, **slices: str) -> Breakdown:
    """Return a breakdown in which each of these was counted with the same slices."""
    breakdown = Breakdown(0)
    for comparison in comparisons:
        breakdown.count(comparison, slices)
    return breakdown


def test_a_pair_counts_once_everywhere() -> None:
    """In total, under its reason if it has one, and in each slice."""
    found = shown(counted(AGREE, FLIP, CUT, tier="gold"))
    assert COUNTS == ("agree", "disagree", "uncomparable", "rows", "rows_disagreeing")
    assert {cell: numbers[: len(COUNTS)] for cell, numbers in found.items()} == {
        TOTAL: (1, 1, 1, 8, 2),
        Cell("reason", "label"): (0, 1, 0, 4, 2),
        Cell("reason", "truncated"): (0, 0, 1, 0, 0),
        Cell("slice", "tier", "gold"): (1, 1, 1, 8, 2),
    }


def test_distances_add_up() -> None:
    """Of pairs that have one, in millionths, and their squares rounded up: in total, by reason and by slice."""
    pairs = [FLIP._replace(distance=distance) for distance in (0.25, 0.0, 1e-6, 1.0)]
    found = shown(counted(AGREE._replace(distance=0.0), *pairs, CUT, tier="gold"))
    assert MEASURES == ("measured", "distance", "distance_squared")
    sums = (1_250_001, 62_500 + 1 + 1_000_000)
    assert found[TOTAL][-3:] == found[Cell("slice", "tier", "gold")][-3:] == (5, *sums)
    assert found[Cell("reason", "label")][-3:] == (4, *sums)
    assert found[Cell("reason", "truncated")][-3:] == (0, 0, 0)


def test_without_slices() -> None:
    """A request that did not come along is counted in total alone."""
    breakdown = Breakdown(0)
    breakdown.count(AGREE)
    breakdown.count(FLIP, {})
    assert breakdown.cells.keys() == {TOTAL, Cell("reason", "label")}


def test_values_are_bounded() -> None:
    """The first fifty values of each slice have counts of their own, all later ones share one."""
    breakdown = Breakdown(0)
    for number in range(10 * MAX_VALUES):
        breakdown.count(FLIP, {"tier": f"t{number}", "lang": "en"})
    breakdown.count(FLIP, {"tier": NONE, "lang": "en"})
    found = {cell.value: numbers[1] for cell, numbers in breakdown.cells.items() if cell.name == "tier"}
    assert len(found) == MAX_VALUES + 2
    assert (found["t0"], found[f"t{MAX_VALUES - 1}"], found[OTHER], found[NONE]) == (1, 1, 9 * MAX_VALUES, 1)
    assert breakdown.cells[Cell("slice", "lang", "en")][1] == 10 * MAX_VALUES + 1
    assert breakdown.cells[TOTAL][1] == sum(found.values())


def test_pairs_of_labels_are_bounded() -> None:
    """So many mistakes are told apart; the rest are counted together, and no row is lost."""
    breakdown = Breakdown(0)
    for number in range(2 * MAX_LABEL_PAIRS):
        breakdown.count_labels(f"class {number}", "other", 1)
        breakdown.count_labels(f"class {number}", f"class {number + 1}", 2)
    cells = [cell for cell in breakdown.cells if cell.part == "labels"]
    assert len(cells) <= MAX_LABEL_PAIRS + 1
    assert sum(breakdown.cells[cell][4] for cell in cells) == 6 * MAX_LABEL_PAIRS


def test_values_are_fit_to_be_shown() -> None:
    """What a client wrote is short and drives no terminal."""
    assert as_value("gold") == "gold"
    assert as_value("a\x1b[31m\nb") == "a\\x1b[31m\\nb"
    assert len(as_value("\x00" * 500)) == 64
    assert as_value("é" * 500) == "é" * 64


@given(pairs)
def test_the_slices_add_up(counts: list[tuple[Comparison, dict[str, str]]]) -> None:
    """Where every pair has a value, the values' counts are the total's, field by field."""
    breakdown = Breakdown(0)
    for comparison, slices in counts:
        breakdown.count(comparison, {"tier": NONE, "lang": NONE, **slices})
    for name in ("tier", "lang") if counts else ():
        cells = [numbers for cell, numbers in breakdown.cells.items() if cell.name == name]
        assert [sum(each) for each in zip(*cells, strict=True)] == breakdown.cells[TOTAL]


@given(pairs, pairs, pairs)
def test_two_that_share_a_disk(
    first: list[tuple[Comparison, dict[str, str]]],
    second: list[tuple[Comparison, dict[str, str]]],
    third: list[tuple[Comparison, dict[str, str]]],
) -> None:
    """However the counts of two processes come to the disk, it has their sum, and who reads it has it too."""
    disk: Counter[tuple[Cell, int]] = Counter()

    def save(breakdown: Breakdown) -> None:
        changes = breakdown.unsaved()
        for cell, numbers in changes.items():
            for i, number in enumerate(numbers):
                disk[cell, i] += number
        breakdown.on_saved(changes)
        cells = {cell for cell, _ in disk}
        breakdown.on_read({cell: tuple(disk[cell, i] for i in range(len(FIELDS))) for cell in cells})

    one, two, alone = Breakdown(0), Breakdown(0), Breakdown(0)
    for breakdown, counts in ((one, first), (two, second), (one, third)):
        for comparison, slices in counts:
            breakdown.count(comparison, slices)
            alone.count(comparison, slices)
        save(breakdown)
    save(two)
    assert shown(one) == shown(two) == shown(alone)
    assert not one.unsaved()


def test_a_disk_that_is_replaced() -> None:
    """A new file gets everything, not only what came since."""
    breakdown = counted(FLIP, FLIP)
    breakdown.on_saved(breakdown.unsaved())
    assert not breakdown.unsaved()
    breakdown.forget_saved()
    assert breakdown.unsaved() == shown(breakdown)
    assert breakdown.is_changed


def test_the_order_of_values_outlives_a_restart() -> None:
    """What came first has the first place again, whatever comes before the disk is read."""
    old, new = Breakdown(0), Breakdown(0)
    for value in ("gold", "silver"):
        old.count(FLIP, {"tier": value})
    for value in ("tin", "silver", "gold"):
        new.count(FLIP, {"tier": value})
    new.on_read(old.unsaved())
    assert [cell.value for cell in new.cells if cell.part == "slice"] == ["gold", "silver", "tin"]
    new.count(FLIP)
    assert new.cells[TOTAL][1] == 6


def test_values_that_were_read_are_known() -> None:
    """After a restart there is no second helping of fifty values."""
    old = Breakdown(0)
    for number in range(MAX_VALUES):
        old.count(FLIP, {"tier": f"t{number}"})
    new = Breakdown(0)
    new.on_read(old.unsaved())
    new.count(FLIP, {"tier": "late"})
    assert new.cells[Cell("slice", "tier", OTHER)][1] == 1


def test_what_came_before_the_disk_was_read_is_bounded_too() -> None:
    """There is room for as many values as there would be without the restart; the others are counted together."""
    old, new = Breakdown(0), Breakdown(0)
    for number in range(MAX_VALUES - 1):
        old.count(FLIP, {"tier": f"t{number}"})
    for value in ("fits", "late", "t0"):
        new.count(FLIP, {"tier": value})
        new.measure_meaning(0.5, {"tier": value})
        new.count_labels(value, "other", 1)
    new.on_read(old.unsaved())
    values = {cell.value: numbers[1] for cell, numbers in new.cells.items() if cell.part == "slice"}
    assert len(values) == MAX_VALUES + 1
    assert [values[each] for each in ("t0", "t1", "fits", OTHER)] == [2, 1, 1, 1]
    measured = {cell.value: numbers[5] for cell, numbers in new.cells.items() if cell.part == "meaning"}
    assert measured == {"": 3, "fits": 1, OTHER: 1, "t0": 1}
    assert new.cells[TOTAL][1] == MAX_VALUES + 2
    assert sum(cell.part == "labels" for cell in new.cells) == 3

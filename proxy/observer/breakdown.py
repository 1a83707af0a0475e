"""How often one shadow disagrees, in total and for each slice: counts that stay small whatever clients send.

Pure. Rules
    * A pair of answers is counted once in total, and once in each declared slice. What disagreed or could not be
      compared is counted by its reason, and what labels were mistaken for each other by these.
    * A slice's values come from clients. The first :data:`MAX_VALUES` that are seen have counts of their own, all later
      ones are counted together as :data:`OTHER`; a request without the attribute counts as :data:`NONE`. Labels come
      from models and are bounded likewise.
    * Counts are those of one *stretch*: the time in which the same models were compared by the same rule. Anything
      else would pool numbers that do not belong together.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, TypeAlias

from proxy.compare import Comparison
from proxy.printable import printable

__all__ = [
    "COUNTS",
    "FIELDS",
    "MAX_LABEL_PAIRS",
    "MAX_VALUES",
    "MEASURES",
    "NONE",
    "OTHER",
    "TOTAL",
    "UNIT",
    "Breakdown",
    "Cell",
    "Numbers",
    "as_value",
]

MAX_VALUES: Final = 50
"""Values of one slice that are counted apart, first come."""

MAX_LABEL_PAIRS: Final = 200
"""Pairs of labels that are counted apart, first come: all mistakes among 14 classes."""

MAX_VALUE_CHARACTERS: Final = 64

NONE: Final = "none"
OTHER: Final = "other"

COUNTS: Final = ("agree", "disagree", "uncomparable", "rows", "rows_disagreeing")
"""Pairs by what came of them, then the rows of those that were compared."""

MEASURES: Final = ("measured", "distance", "distance_squared")
"""Pairs whose distance was added up, then the sums of these and of their squares, in parts of `UNIT`."""

FIELDS: Final = (*COUNTS, *MEASURES)
"""What a cell counts."""

UNIT: Final = 1_000_000
"""Distances are added up in millionths, rounded to the nearest, and their squares, rounded up: whole numbers add up to
the same in any order, and a square that is rounded up only widens an interval."""

Numbers: TypeAlias = tuple[int, ...]
"""One number for each of `FIELDS`."""

_PLACE: Final = {name: i for i, name in enumerate(FIELDS)}
_ROWS: Final = _PLACE["rows"]
_ROWS_DISAGREEING: Final = _PLACE["rows_disagreeing"]
_MEASURED: Final = _PLACE["measured"]
_DISTANCE: Final = _PLACE["distance"]
_SQUARED: Final = _PLACE["distance_squared"]

Part: TypeAlias = Literal["total", "reason", "slice", "labels", "meaning"]


class Cell(NamedTuple):
    """What is counted apart: every pair, those of one reason, those of a slice's value, rows of two labels; and how far
    texts are apart in meaning, in total and by a slice's value."""

    part: Part
    name: str = ""
    """The slice; the reason; the primary's label."""
    value: str = ""
    """The slice's; the shadow's label."""


TOTAL: Final = Cell("total")


def as_value(text: str) -> str:
    """Return what a client or a model wrote as the name of a cell: printable, and of bounded length."""
    return printable(text[:MAX_VALUE_CHARACTERS])[:MAX_VALUE_CHARACTERS]


class Breakdown:
    """The counts of one stretch of one shadow, and how much of them is on the disk.

    Args:
        since_wall_ns: when the stretch began.
    """

    __slots__ = ("_known", "_saved", "_total", "cells", "is_changed", "since_wall_ns")

    def __init__(self, since_wall_ns: int) -> None:
        self.since_wall_ns = since_wall_ns
        self._total = [0] * len(FIELDS)
        self.cells: dict[Cell, list[int]] = {TOTAL: self._total}
        self.is_changed = False
        """Something was counted that may not be on the disk."""
        self._saved: dict[Cell, Numbers] = {}
        self._known: Counter[str] = Counter()
        """How many values each slice has, and under the empty name how many pairs of labels there are."""

    def count(self, comparison: Comparison, slices: Mapping[str, str] | None = None) -> None:
        """Count one pair.

        Args:
            comparison: what came of it.
            slices: the pair's value in each declared slice; see :func:`as_value`.
        """
        self.is_changed = True
        # HOT: most pairs agree and have no slices; for them this is all.
        total = self._total
        total[_PLACE[comparison.result]] += 1
        total[_ROWS] += comparison.rows
        distance = comparison.distance
        if distance is not None:
            total[_MEASURED] += 1
            if distance:
                _measure(total, distance)
        if comparison.reason is not None:
            total[_ROWS_DISAGREEING] += comparison.rows_disagreeing
            _add(self._cell(Cell("reason", comparison.reason)), comparison)
        if slices:
            for name, value in slices.items():
                _add(self._bounded(Cell("slice", name, value)), comparison)

    def measure_meaning(self, distance: float, slices: Mapping[str, str]) -> None:
        """Add how far the texts of a pair, counted before, are apart in meaning; ``slices`` as it was counted."""
        self.is_changed = True
        cells = [Cell("meaning")]
        for name, value in slices.items():
            cells.append(Cell("meaning", name, value))
        for cell in cells:
            numbers = self._bounded(cell)
            numbers[_MEASURED] += 1
            _measure(numbers, distance)

    def count_labels(self, primary: str, shadow: str, rows: int) -> None:
        """Count rows that the primary's answer calls one thing and the shadow's another."""
        cell = Cell("labels", as_value(primary), as_value(shadow))
        self._bounded(cell)[_ROWS_DISAGREEING] += rows

    def count_known_labels(self, primary: str, shadow: str, rows: int) -> bool:
        """Count such rows if there are some already; else return False."""
        numbers = self.cells.get(Cell("labels", as_value(primary), as_value(shadow)))
        if numbers is None:
            return False
        numbers[_ROWS_DISAGREEING] += rows
        return True

    def _cell(self, cell: Cell) -> list[int]:
        numbers = self.cells.get(cell)
        if numbers is None:
            numbers = self.cells[cell] = [0] * len(FIELDS)
        return numbers

    def _bounded(self, cell: Cell) -> list[int]:
        """Return what counts ``cell``: its own numbers, or those of all for which there is no room."""
        numbers = self.cells.get(cell)
        if numbers is not None:
            return numbers
        if cell.part == "meaning" and cell.name:
            is_apart = Cell("slice", cell.name, cell.value) in self.cells
            return self._cell(cell if is_apart else cell._replace(value=OTHER))
        family = _family(cell)
        if family is not None:
            if self._known[family] >= (MAX_VALUES if family else MAX_LABEL_PAIRS):
                return self._cell(Cell(cell.part, family or OTHER, OTHER))
            self._known[family] += 1
        return self._cell(cell)

    # The disk

    def unsaved(self) -> dict[Cell, Numbers]:
        """Return what was counted and is not on the disk."""
        changes = {}
        for cell, numbers in self.cells.items():
            saved = self._saved.get(cell)
            change = tuple(numbers) if saved is None else tuple(map(int.__sub__, numbers, saved))
            if any(change):
                changes[cell] = change
        return changes

    def on_saved(self, changes: Mapping[Cell, Numbers]) -> None:
        """Take note that ``changes`` were added to what is on the disk."""
        for cell, change in changes.items():
            saved = self._saved.get(cell)
            self._saved[cell] = change if saved is None else tuple(map(int.__add__, saved, change))

    def on_read(self, rows: Mapping[Cell, Numbers]) -> None:
        """Take over what is on the disk: what an earlier process had counted, or another one counts meanwhile.

        What was there before comes first: how much of the evidence a value may use goes by its place. What is not there
        yet follows, where there is still room for it.
        """
        unsaved = self.unsaved()
        self._saved = {cell: tuple(read) for cell, read in rows.items()}
        self._known = Counter(family for cell in rows if (family := _family(cell)) is not None)
        self._total[:] = rows.get(TOTAL, (0,) * len(FIELDS))
        self.cells = {
            TOTAL: self._total,
            **{cell: list(read) for cell, read in rows.items() if cell != TOTAL},
        }
        for cell, change in unsaved.items():
            numbers = self._bounded(cell)
            numbers[:] = map(int.__add__, numbers, change)

    def forget_saved(self) -> None:
        """Take note that the disk has nothing of it any more."""
        self._saved.clear()
        self.is_changed = True


def _family(cell: Cell) -> str | None:
    """Return which bound a new cell counts against: its slice's, or the empty one of labels; None: against none."""
    if cell.part == "labels":
        return None if (cell.name, cell.value) == (OTHER, OTHER) else ""
    return cell.name if cell.part == "slice" and cell.value not in (NONE, OTHER) else None


def _add(numbers: list[int], comparison: Comparison) -> None:
    numbers[_PLACE[comparison.result]] += 1
    numbers[_ROWS] += comparison.rows
    numbers[_ROWS_DISAGREEING] += comparison.rows_disagreeing
    if comparison.distance is not None:
        numbers[_MEASURED] += 1
        _measure(numbers, comparison.distance)


def _measure(numbers: list[int], distance: float) -> None:
    rounded = round(distance * UNIT)
    numbers[_DISTANCE] += rounded
    numbers[_SQUARED] -= -rounded * rounded // UNIT

"""Counts of labelled rows on the disk: ``state_dir/labels.sqlite``. Beside them is what was predicted
(:mod:`proxy.observer.prediction_store`).

Rules
    * What a batch of labels changes is one transaction, and on the disk when it is acknowledged
      (``synchronous=FULL``): the counts, which units have counted already, and which rows have their label.
    * Units are there as keyed hashes. One counts once for each of the two things that are concluded from units
      (:mod:`proxy.labels.verdict`), also after a restart.
    * What was counted for other models or another rule than those in force is forgotten.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from proxy.engine.sqlite_file import open_file
from proxy.labels import COUNT_FIELDS, PRIMARY_BETTER, SHADOW_BETTER, LabelCounts, Outcome
from proxy.observer.breakdown_store import StretchKey
from proxy.observer.prediction_store import Mark, PredictionStore

__all__ = ["FILE_NAME", "KnownLabels", "LabelKey", "LabelStore", "Labelled", "open_labels"]

FILE_NAME: Final = "labels.sqlite"

_SCHEMA: Final = 1
_APPLICATION_ID: Final = 0x6D70_6C62

_MARKED_FIRST, _MARKED_WON = 1, 2

_NUMBERS: Final = ", ".join(f"{name} INTEGER NOT NULL" for name in COUNT_FIELDS)
_NAMES: Final = ", ".join(COUNT_FIELDS)
_RAISE: Final = ", ".join(f"{name} = {name} + excluded.{name}" for name in COUNT_FIELDS)

_TABLES: Final = f"""
CREATE TABLE cells (
    number INTEGER PRIMARY KEY, route TEXT NOT NULL, shadow TEXT NOT NULL, digest TEXT NOT NULL, variant TEXT NOT NULL,
    {_NUMBERS},
    UNIQUE (route, shadow, digest, variant)
);
CREATE TABLE units (
    cell INTEGER NOT NULL, unit INTEGER NOT NULL, said INTEGER NOT NULL,
    PRIMARY KEY (cell, unit)
) WITHOUT ROWID;
"""

_WHERE: Final = "route = ? AND shadow = ? AND digest = ? AND variant = ?"


class LabelKey(NamedTuple):
    """What a labelled row is counted for."""

    stretch: StretchKey
    variant: str
    """Who answered the client."""


class KnownLabels(NamedTuple):
    """What is counted of one shadow beside one variant."""

    shadow: str
    """Name of its model."""
    variant: str
    counts: LabelCounts


class Labelled(NamedTuple):
    """Rows of one request that labels came for."""

    key: LabelKey
    unit: int
    """Names who asked, in 64 bits with a sign."""
    outcomes: Sequence[Outcome]
    """In the order of the rows."""


class LabelStore(PredictionStore):
    """The open file."""

    tables = _TABLES
    schema = _SCHEMA
    application_id = _APPLICATION_ID
    synchronous = "FULL"

    def take(self, labelled: Sequence[Labelled], marks: Sequence[Mark] = ()) -> dict[LabelKey, LabelCounts]:
        """Count all of ``labelled``, or nothing; return what is then counted for each of their keys.

        Args:
            labelled: what labels say.
            marks: which rows of which requests have their label then.

        Raises:
            sqlite3.Error: the disk refused it; nothing was counted.
        """
        with self._transaction():
            sums: dict[LabelKey, LabelCounts] = {}
            for each in labelled:
                cell = self._cell(each.key)
                counted = self._count(cell, each.unit, each.outcomes)
                sums[each.key] = sums.get(each.key, LabelCounts()).plus(counted)
            for key, counts in sums.items():
                self._add(key, counts)
            for mark in marks:
                self._mark(mark)
            return {key: self._read(key) for key in sums}

    def counts(self) -> Mapping[LabelKey, LabelCounts]:
        """Return everything that is counted."""
        rows = self._db.execute(f"SELECT route, shadow, digest, variant, {_NAMES} FROM cells")  # noqa: S608 - names of ours
        return {LabelKey(StretchKey(*row[:3]), row[3]): LabelCounts(*row[4:]) for row in rows}

    def keep_only(self, stretches: Collection[StretchKey]) -> None:
        """Forget what was counted for anything but ``stretches``.

        Raises:
            sqlite3.Error: the disk refused it; nothing was forgotten.
        """
        with self._transaction():
            rows = self._db.execute("SELECT number, route, shadow, digest FROM cells").fetchall()
            for number, *stretch in rows:
                if StretchKey(*stretch) not in stretches:
                    self._db.execute("DELETE FROM units WHERE cell = ?", (number,))
                    self._db.execute("DELETE FROM cells WHERE number = ?", (number,))

    def _count(self, cell: int, unit: int, outcomes: Sequence[Outcome]) -> LabelCounts:
        """Return what the rows of a request add, and mark its unit."""
        row = self._db.execute("SELECT said FROM units WHERE cell = ? AND unit = ?", (cell, unit)).fetchone()
        before = said = int(row[0]) if row else 0
        added = dict.fromkeys(COUNT_FIELDS, 0)
        for outcome in outcomes:
            added[outcome] += 1
            if not said & _MARKED_FIRST and f"first_{outcome}" in added:
                said |= _MARKED_FIRST
                added[f"first_{outcome}"] += 1
            if not said & _MARKED_WON and outcome in PRIMARY_BETTER | SHADOW_BETTER:
                said |= _MARKED_WON
                added["won_primary" if outcome in PRIMARY_BETTER else "won_shadow"] += 1
        if said != before:
            self._db.execute("INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (cell, unit, said))
        return LabelCounts(**added)

    def _cell(self, key: LabelKey) -> int:
        """Return the number of a cell, which is made if it is not there."""
        self._add(key, LabelCounts())
        (number,) = self._db.execute(f"SELECT number FROM cells WHERE {_WHERE}", _flat(key)).fetchone()  # noqa: S608 - names of ours
        return int(number)

    def _add(self, key: LabelKey, counts: LabelCounts) -> None:
        marks = ", ".join("?" * (4 + len(COUNT_FIELDS)))
        self._db.execute(
            f"INSERT INTO cells (route, shadow, digest, variant, {_NAMES}) VALUES ({marks}) "  # noqa: S608 - names of ours
            f"ON CONFLICT (route, shadow, digest, variant) DO UPDATE SET {_RAISE}",
            (*_flat(key), *counts),
        )

    def _read(self, key: LabelKey) -> LabelCounts:
        row = self._db.execute(f"SELECT {_NAMES} FROM cells WHERE {_WHERE}", _flat(key)).fetchone()  # noqa: S608 - names of ours
        return LabelCounts(*row)


def _flat(key: LabelKey) -> tuple[str, str, str, str]:
    return (*key.stretch, key.variant)


def open_labels(directory: Path, wall_ns: int) -> LabelStore:
    """Open the file of ``directory``, or make it; a damaged one is moved aside first.

    Raises:
        StoreError: it cannot be opened, or a newer program wrote it.
    """
    return open_file(directory / FILE_NAME, LabelStore, wall_ns, "counts of labels")

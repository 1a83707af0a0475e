"""Counts of disagreement on the disk: ``state_dir/disagreements.sqlite``, so that no restart begins them anew.

Rules
    * What is written is added: two observers may count the same stretch at a time, which they do in an upgrade. Who has
      not read what the other one wrote does not write: so both know everything, and count the same values apart.
    * What was counted since the last write, a second at most, is lost by a kill; it has no favourite among outcomes.
    * A stretch that is not in force any more is forgotten.
    * What clients sent is there as the names of slices' values, redacted as records are; no request, no answer.
"""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from proxy.engine.sqlite_file import SqliteFile, open_file
from proxy.observer.breakdown import MEASURES, Cell, Numbers

__all__ = ["FILE_NAME", "BreakdownStore", "Change", "Kept", "StretchKey", "open_breakdowns"]

FILE_NAME: Final = "disagreements.sqlite"

_SCHEMA: Final = 1
_APPLICATION_ID: Final = 0x6D70_6469

_TABLES: Final = """
CREATE TABLE stretches (
    number INTEGER PRIMARY KEY, route TEXT NOT NULL, shadow TEXT NOT NULL, digest TEXT NOT NULL,
    since_wall_ns INTEGER NOT NULL,
    UNIQUE (route, shadow, digest)
);
CREATE TABLE cells (
    number INTEGER PRIMARY KEY, stretch INTEGER NOT NULL, part TEXT NOT NULL, name TEXT NOT NULL, value TEXT NOT NULL,
    agree INTEGER NOT NULL, disagree INTEGER NOT NULL, uncomparable INTEGER NOT NULL, rows INTEGER NOT NULL,
    rows_disagreeing INTEGER NOT NULL,
    UNIQUE (stretch, part, name, value)
);
"""

_ADD: Final = """
INSERT INTO cells (stretch, part, name, value, agree, disagree, uncomparable, rows, rows_disagreeing,
    measured, distance, distance_squared)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET
    agree = agree + excluded.agree, disagree = disagree + excluded.disagree,
    uncomparable = uncomparable + excluded.uncomparable, rows = rows + excluded.rows,
    rows_disagreeing = rows_disagreeing + excluded.rows_disagreeing,
    measured = measured + excluded.measured, distance = distance + excluded.distance,
    distance_squared = distance_squared + excluded.distance_squared
"""

_READ: Final = """
SELECT part, name, value, agree, disagree, uncomparable, rows, rows_disagreeing, measured, distance, distance_squared
FROM cells WHERE stretch = ? ORDER BY number
"""


class StretchKey(NamedTuple):
    """What was compared."""

    route: str
    shadow: str
    """Name of its model."""
    digest: str
    """Of the rule and the models."""


Change: TypeAlias = tuple[int, Mapping[Cell, Numbers]]
"""When a stretch began, and what was counted in it."""


class Kept(NamedTuple):
    """What is on the disk of one stretch."""

    since_wall_ns: int
    rows: Mapping[Cell, Numbers]


class BreakdownStore(SqliteFile):
    """The open file."""

    tables = _TABLES
    schema = _SCHEMA
    application_id = _APPLICATION_ID

    def _prepare(self) -> None:
        """Add what came later: an earlier program knows nothing of these columns, and writes beside them."""
        super()._prepare()
        self._read_version = -1
        """What :meth:`others` said when all was read; before that something it never says."""
        with self._transaction():
            there = {name for _, name, *_ in self._db.execute("PRAGMA table_info(cells)")}
            for column in MEASURES:
                if column not in there:
                    self._db.execute(f"ALTER TABLE cells ADD COLUMN {column} INTEGER NOT NULL DEFAULT 0")

    def add(self, changes: Mapping[StretchKey, Change]) -> bool:
        """Add ``changes``; False: nothing was added, for somebody else has written what was not read yet.

        Raises:
            sqlite3.Error: the disk refused it; nothing was added.
        """
        if not changes:
            return self.others() == self._read_version
        with self._transaction():
            if self.others() != self._read_version:
                return False
            for key, (since_wall_ns, rows) in changes.items():
                number = self._number(key, since_wall_ns)
                self._db.executemany(_ADD, [(number, *cell, *numbers) for cell, numbers in rows.items()])
        return True

    def read(self, keys: Collection[StretchKey]) -> dict[StretchKey, Kept]:
        """Return what is kept of those of ``keys`` of which there is something.

        Raises:
            sqlite3.Error: the disk refused it.
        """
        with self._transaction():
            self._read_version = self.others()
            return {key: kept for key in keys if (kept := self._read(key)) is not None}

    def keep_only(self, keys: Collection[StretchKey]) -> None:
        """Forget every stretch but ``keys``.

        Raises:
            sqlite3.Error: the disk refused it; nothing was forgotten.
        """
        with self._transaction():
            rows = self._db.execute("SELECT number, route, shadow, digest FROM stretches").fetchall()
            for number, *key in rows:
                if StretchKey(*key) not in keys:
                    self._db.execute("DELETE FROM cells WHERE stretch = ?", (number,))
                    self._db.execute("DELETE FROM stretches WHERE number = ?", (number,))

    def _number(self, key: StretchKey, since_wall_ns: int) -> int:
        self._db.execute(
            "INSERT OR IGNORE INTO stretches (route, shadow, digest, since_wall_ns) VALUES (?, ?, ?, ?)",
            (*key, since_wall_ns),
        )
        return self._find(key)[0]

    def _find(self, key: StretchKey) -> tuple[int, int]:
        found: tuple[int, int] | None = self._db.execute(
            "SELECT number, since_wall_ns FROM stretches WHERE route = ? AND shadow = ? AND digest = ?", key
        ).fetchone()
        return found or (0, 0)

    def _read(self, key: StretchKey) -> Kept | None:
        number, since_wall_ns = self._find(key)
        if not number:
            return None
        rows = self._db.execute(_READ, (number,))
        return Kept(since_wall_ns, {Cell(*row[:3]): tuple(row[3:]) for row in rows})


def open_breakdowns(directory: Path, wall_ns: int) -> BreakdownStore:
    """Open the file of ``directory``, or make it; a damaged one is moved aside first.

    Raises:
        StoreError: it cannot be opened, or a newer program wrote it.
    """
    return open_file(directory / FILE_NAME, BreakdownStore, wall_ns, "counts of disagreement")

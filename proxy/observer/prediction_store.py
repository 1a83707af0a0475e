"""What was predicted, on the disk until its true answer comes: a table in ``state_dir/labels.sqlite``.

It stands in the file of the counts of labels, so that which rows of a request were labelled changes in the transaction
that counts them: none counts twice, whoever is killed whenever.

Rules
    * Rows are appended, many in a transaction, without waiting for the disk (``synchronous=NORMAL``): they survive the
      process, and a loss of power may take the newest.
    * Bounded in time, by what each route wants, and in bytes (:data:`ROOM_BYTES` for all routes, then the oldest go).
    * Only what a label needs: hashes of the request's id and of the unit, who answered, the label or number of each
      row as :mod:`proxy.labels.said` writes it. No request, no answer.
    * A file of before this table gets it when it is opened. Programs of before do not know it, and do it no harm.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from proxy.engine.sqlite_file import SqliteFile

__all__ = ["ROOM_BYTES", "Mark", "PredictionRow", "PredictionStore", "StoredPrediction"]

ROOM_BYTES: Final = 256 << 20
"""Of predictions; about a million requests of one row."""

ROW_BYTES: Final = 200
"""What a row takes beside what was said: columns, its place in the index."""

_FUTURE_MS: Final = 60_000
"""A row that came later than now and this was written under another clock."""
_STEPS: Final = 16
"""Where there is no room, such a part of all goes at once."""

_TABLE: Final = """
CREATE TABLE IF NOT EXISTS predictions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, name INTEGER NOT NULL, route TEXT NOT NULL, at_ms INTEGER NOT NULL,
    variant TEXT NOT NULL, unit INTEGER NOT NULL, key_id TEXT NOT NULL, said BLOB NOT NULL, labelled BLOB
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS predictions_by_name ON predictions (name)"
_COLUMNS: Final = "name, route, at_ms, variant, unit, key_id, said"


class PredictionRow(NamedTuple):
    """What is put by of one request."""

    name: int
    """Of the request, in 64 bits with a sign."""
    route: str
    at_ms: int
    """Wall time."""
    variant: str
    """Who answered the client."""
    unit: int
    """Names who asked, in 64 bits with a sign."""
    key_id: str
    """Names the key of the hashes that stand for labels; empty: none do."""
    said: bytes


class StoredPrediction(NamedTuple):
    """What was put by, and what became of it since."""

    row: PredictionRow
    labelled: bytes
    """Of each row of the batch, whether a label came for it; empty: for none."""


class Mark(NamedTuple):
    """Labels that came."""

    name: int
    """As in :class:`PredictionRow`."""
    rows: Sequence[int]


class PredictionStore(SqliteFile):
    """The table in its open file."""

    def _prepare(self) -> None:
        super()._prepare()
        self._db.execute(_TABLE)
        self._db.execute(_INDEX)
        (self._held,) = self._db.execute(
            f"SELECT coalesce(sum(length(said) + {ROW_BYTES}), 0) FROM predictions"  # noqa: S608 - a number of ours
        ).fetchone()
        self._looked: dict[str, int] = {}
        """By route: rows up to this number were looked at for their age."""

    @property
    def held_bytes(self) -> int:
        """What the rows are taken to occupy; those that another process adds meanwhile are left out."""
        return int(self._held)

    def add(self, rows: Sequence[PredictionRow]) -> None:
        """Put all of ``rows`` by, or none.

        Raises:
            sqlite3.Error: the disk refused it.
        """
        with self._hasty(), self._transaction():
            self._db.executemany(
                f"INSERT INTO predictions ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 - names of ours
                rows,
            )
        self._held += sum(len(row.said) + ROW_BYTES for row in rows)

    def find(self, names: Iterable[int]) -> dict[int, StoredPrediction]:
        """Return the latest that was put by of each request, where there is something."""
        found = {}
        for name in names:
            row = self._db.execute(
                f"SELECT {_COLUMNS}, labelled FROM predictions WHERE name = ? ORDER BY number DESC LIMIT 1",  # noqa: S608
                (name,),
            ).fetchone()
            if row is not None:
                found[name] = StoredPrediction(PredictionRow(*row[:-1]), row[-1] or b"")
        return found

    def prune(self, now_ms: int, keep_ms: Mapping[str, int], room_bytes: int = ROOM_BYTES) -> int:
        """Delete what is too old, of a route that is not there any more, or too much; return how many requests went
        before their time.

        Args:
            now_ms: wall time. keep_ms: how long, by route. room_bytes: for all of them.

        Raises:
            sqlite3.Error: the disk refused it.
        """
        with self._hasty():
            for route, keep in keep_ms.items():
                with self._transaction():
                    self._forget_old(route, now_ms, keep)
            gone = 0
            while self._held > room_bytes:
                with self._transaction():
                    gone += self._forget_oldest()
        return gone

    def keep_routes(self, routes: Collection[str]) -> None:
        """Delete what is of other routes than these.

        Raises:
            sqlite3.Error: the disk refused it; nothing was deleted.
        """
        marks = ", ".join("?" * len(routes))
        with self._transaction():
            self._delete(f"route NOT IN ({marks})", tuple(routes))

    def _mark(self, mark: Mark) -> None:
        """Note for which rows labels came. In a transaction."""
        found = self._db.execute(
            "SELECT number, labelled FROM predictions WHERE name = ? ORDER BY number DESC LIMIT 1",
            (mark.name,),
        ).fetchone()
        if found is None:
            return
        labelled = bytearray(found[1] or b"")
        labelled += bytes(max(0, max(mark.rows, default=-1) + 1 - len(labelled)))
        for row in mark.rows:
            labelled[row] = 1
        self._db.execute("UPDATE predictions SET labelled = ? WHERE number = ?", (bytes(labelled), found[0]))

    def _forget_old(self, route: str, now_ms: int, keep_ms: int) -> None:
        looked = self._looked.get(route, 0)
        # They came in this order, so the first that stays ends those that go: the others are not looked at.
        first = self._db.execute(
            "SELECT number FROM predictions WHERE number > ? AND at_ms BETWEEN ? AND ? ORDER BY number LIMIT 1",
            (looked, now_ms - keep_ms, now_ms + _FUTURE_MS),
        ).fetchone()
        (last,) = self._db.execute("SELECT coalesce(max(number), 0) FROM predictions").fetchone()
        end = last + 1 if first is None else first[0]
        self._delete("number > ? AND number < ? AND route = ?", (looked, end, route))
        self._looked[route] = end - 1

    def _forget_oldest(self) -> int:
        low, high = self._db.execute("SELECT min(number), max(number) FROM predictions").fetchone()
        if low is None:
            self._held = 0
            return 0
        return self._delete("number <= ?", (low + (high - low) // _STEPS,))

    def _delete(self, where: str, values: tuple[int | str, ...]) -> int:
        size, rows = self._db.execute(
            f"SELECT coalesce(sum(length(said) + {ROW_BYTES}), 0), count(*) FROM predictions WHERE {where}",  # noqa: S608
            values,
        ).fetchone()
        if rows:
            self._db.execute(f"DELETE FROM predictions WHERE {where}", values)  # noqa: S608 - names of ours
            self._held -= size
        return int(rows)

    @contextmanager
    def _hasty(self) -> Iterator[None]:
        """Do not wait for the disk: what is done here may be lost with the power, never half of it."""
        self._db.execute("PRAGMA synchronous = NORMAL")
        try:
            yield
        finally:
            self._db.execute(f"PRAGMA synchronous = {self.synchronous}")

"""Feedback on the disk: ``state_dir/feedback.sqlite``: which request was which variant's, and what was said about it.

Rules
    * What an item of feedback changes is one transaction: its request is marked as judged, its unit as judged and
      perhaps as called bad, and the counts are raised. So an item counts once however often it is sent and whoever is
      killed when, and one that was acknowledged is on the disk, also after a loss of power (``synchronous=FULL``).
    * Evidence is a unit's first judgement (is it bad?) and its first bad one, whatever else is said of it later: the
      unit is what the coin was flipped for. A request that is its own coin needs no mark beside its own.
    * An item is counted for the variant and the epoch of its request, and for the segment of time in which it arrived.
    * Requests are kept for :data:`KEPT_NS`, and :data:`KEPT_REQUESTS` of them at most: the oldest go first, and
      feedback on them is unknown. With all marks of units the file is 1 GiB at most; a full one takes nothing more.
    * Rings are read where they were left, and a request that is there is not taken again: two observers may read them
      at a time, which they do in an upgrade.
    * A damaged file is moved aside: then feedback begins anew, with the requests that come from then on.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from proxy.engine.sqlite_file import SqliteFile, open_file
from proxy.evidence.layout import FIELDS
from proxy.evidence.ring import rings
from proxy.evidence.stretch import Entries, Stretch, read_ring
from proxy.rollout.feedback import Row

__all__ = [
    "FILE_NAME",
    "KEPT_NS",
    "KEPT_REQUESTS",
    "Drained",
    "FeedbackStore",
    "Group",
    "Told",
    "open_feedback",
]

FILE_NAME: Final = "feedback.sqlite"

KEPT_NS: Final = 7 * 86_400 * 1_000_000_000
"""A request is remembered for seven days."""

KEPT_REQUESTS: Final = 2_000_000
"""So many at most, of all routes together; about 200 MB."""

_FORGET_AT_ONCE: Final = 20_000
"""More are forgotten the next time, so that no look at the rings takes a second."""

_SCHEMA: Final = 1
_APPLICATION_ID: Final = 0x6D70_6662

_JUDGED, _BAD = 1, 2

_TABLES: Final = """
CREATE TABLE requests (
    number INTEGER PRIMARY KEY, id INTEGER NOT NULL, epoch INTEGER NOT NULL, variant INTEGER NOT NULL,
    bucket INTEGER NOT NULL, own_coin INTEGER NOT NULL, at_ns INTEGER NOT NULL, is_told INTEGER NOT NULL
);
CREATE UNIQUE INDEX requests_by_id ON requests (id, epoch);
CREATE TABLE units (
    rollout TEXT NOT NULL, bucket INTEGER NOT NULL, said INTEGER NOT NULL,
    PRIMARY KEY (rollout, bucket)
) WITHOUT ROWID;
CREATE TABLE counts (
    rollout TEXT NOT NULL, epoch INTEGER NOT NULL, segment_ns INTEGER NOT NULL, variant INTEGER NOT NULL,
    judged INTEGER NOT NULL, bad INTEGER NOT NULL, units INTEGER NOT NULL, first_bad INTEGER NOT NULL,
    bad_units INTEGER NOT NULL,
    PRIMARY KEY (rollout, epoch, segment_ns, variant)
) WITHOUT ROWID;
CREATE TABLE rings (
    source TEXT NOT NULL, worker INTEGER NOT NULL, position INTEGER NOT NULL,
    PRIMARY KEY (source, worker)
) WITHOUT ROWID;
CREATE TABLE rollouts (rollout TEXT PRIMARY KEY, last_ns INTEGER NOT NULL) WITHOUT ROWID;
"""

_ENTER: Final = (
    "INSERT OR IGNORE INTO requests (id, epoch, variant, bucket, own_coin, at_ns, is_told) "
    "VALUES (?, ?, ?, ?, ?, ?, 0)"
)


class Drained(NamedTuple):
    """What a look at the rings has brought."""

    entered: int = 0
    missed: int = 0
    """Requests that were written over before they were read."""
    forgotten: int = 0
    """Requests that went because there were too many, before their time."""


@dataclass(frozen=True, slots=True)
class Group:
    """Feedback on requests of one rollout."""

    rollout: str
    epochs: Collection[str]
    """All that its requests may have been in."""
    segment_ns: int
    """The segment of time in which it arrives: when that began."""
    items: Sequence[tuple[int, bool]]
    """Hash of the request's id, and whether its answer was good."""


class Told(NamedTuple):
    """What became of a group."""

    accepted: int = 0
    duplicate: int = 0
    """Of requests on which there was feedback before."""
    unknown: int = 0
    """Of requests that are not known: not yet, no longer, or never."""
    unknown_items: tuple[int, ...] = ()
    """Where the first of these stand in the group."""


@dataclass(slots=True)
class _Tally:
    """What a group adds to the counts, by epoch and variant."""

    rows: dict[tuple[int, int], list[int]] = field(default_factory=dict)

    def add(self, place: tuple[int, int], *numbers: int) -> None:
        row = self.rows.setdefault(place, [0] * 5)
        for i, number in enumerate(numbers):
            row[i] += number


def open_feedback(directory: Path, wall_ns: int) -> "FeedbackStore":
    """Open the file of ``directory``, or make it; a damaged one is moved aside first.

    Raises:
        StoreError: it cannot be opened, or a newer program wrote it.
    """
    return open_file(directory / FILE_NAME, FeedbackStore, wall_ns, "feedback")


class FeedbackStore(SqliteFile):
    """The open file. See :func:`open_feedback`."""

    tables = _TABLES
    schema = _SCHEMA
    application_id = _APPLICATION_ID
    synchronous = "FULL"
    cache_kib = 32 * 1024  # ids are spread over all of their index

    # Requests

    def drain(self, sources: Mapping[str, Path], now_ns: int) -> Drained:
        """Take in what the rings have, and let go of what is too old.

        Args:
            sources: run directories, by the name under which they are kept apart.
            now_ns: the engine's clock.

        Raises:
            sqlite3.Error: the disk refused it; nothing was taken in, and all of it is still in the rings.
        """
        known = {
            (name, worker): position
            for name, worker, position in self._db.execute("SELECT source, worker, position FROM rings")
        }
        found: dict[tuple[str, int], Stretch] = {}
        for name, source in sources.items():
            for worker, path in rings(source).items():
                position = known.get((name, worker), 0)
                stretch = read_ring(path, position)
                if stretch.position != position:
                    found[name, worker] = stretch
        if not found:
            return Drained()
        entered = 0
        with self._transaction():
            for (name, worker), stretch in found.items():
                entered += self._db.executemany(_ENTER, _rows_of(stretch, now_ns)).rowcount
                self._db.execute(
                    "INSERT INTO rings VALUES (?, ?, ?) ON CONFLICT (source, worker) DO UPDATE SET "
                    "position = excluded.position",
                    (name, worker, stretch.position),
                )
            forgotten = self._forget(now_ns, entered + _FORGET_AT_ONCE)
        return Drained(entered, sum(each.missed for each in found.values()), forgotten)

    def _forget(self, now_ns: int, at_most: int) -> int:
        """Delete requests that are too old, or too many; return how many went before their time."""
        first, last = self._db.execute("SELECT min(number), max(number) FROM requests").fetchone()
        if first is None:
            return 0
        old = self._db.execute(
            "SELECT max(number) FROM (SELECT number, at_ns FROM requests ORDER BY number LIMIT ?) WHERE at_ns < ?",
            (at_most, now_ns - KEPT_NS),
        ).fetchone()[0]
        due = (old or first - 1) + 1
        most = min(max(due, last - KEPT_REQUESTS + 1), first + at_most)
        if most > first:
            self._db.execute("DELETE FROM requests WHERE number < ?", (most,))
        return int(max(0, most - due))

    # Feedback

    def take(self, groups: Sequence[Group], now_ns: int) -> list[Told]:
        """Count all of ``groups``, or nothing.

        Args:
            groups: of different rollouts. now_ns: the engine's clock.

        Raises:
            sqlite3.Error: the disk refused it; nothing was counted.
        """
        with self._transaction():
            return [self._take(group, now_ns) for group in groups]

    def _take(self, group: Group, now_ns: int) -> Told:
        epochs = {_signed(int(epoch, 16)) for epoch in group.epochs}
        tally, accepted, duplicate = _Tally(), 0, 0
        unknown: list[int] = []
        for i, (name, is_good) in enumerate(group.items):
            told = self._tell(group.rollout, epochs, _signed(name), is_good, tally)
            if told is None:
                unknown.append(i)
            elif told:
                accepted += 1
            else:
                duplicate += 1
        if accepted:
            self._raise_counts(group, tally, now_ns)
        return Told(accepted, duplicate, len(unknown), tuple(unknown[:16]))

    def _tell(self, rollout: str, epochs: set[int], name: int, is_good: bool, tally: _Tally) -> bool | None:
        """Note one item; tell whether it is news, None where its request is not known."""
        rows = self._db.execute(
            "SELECT number, epoch, variant, bucket, own_coin, is_told FROM requests WHERE id = ? ORDER BY number DESC",
            (name,),
        )
        found = next((row for row in rows if row[1] in epochs), None)
        if found is None:
            return None
        number, epoch, variant, bucket, own_coin, is_told = found
        if is_told:
            return False
        self._db.execute("UPDATE requests SET is_told = 1 WHERE number = ?", (number,))
        said = 0 if own_coin else self._mark(rollout, bucket, _JUDGED if is_good else _JUDGED | _BAD)
        is_bad, is_first = int(not is_good), int(not said)
        is_first_bad = int(not is_good and not said & _BAD)
        tally.add((epoch, variant), 1, is_bad, is_first, is_first and is_bad, is_first_bad)
        return True

    def _mark(self, rollout: str, bucket: int, what: int) -> int:
        """Note what was said of a unit; return what had been said of it before."""
        row = self._db.execute(
            "SELECT said FROM units WHERE rollout = ? AND bucket = ?", (rollout, bucket)
        ).fetchone()
        before = int(row[0]) if row else 0
        if before | what != before:
            self._db.execute(
                "INSERT OR REPLACE INTO units VALUES (?, ?, ?)", (rollout, bucket, before | what)
            )
        return before

    def _raise_counts(self, group: Group, tally: _Tally, now_ns: int) -> None:
        self._db.executemany(
            "INSERT INTO counts VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) "
            "ON CONFLICT (rollout, epoch, segment_ns, variant) DO UPDATE SET judged = judged + excluded.judged, "
            "bad = bad + excluded.bad, units = units + excluded.units, first_bad = first_bad + excluded.first_bad, "
            "bad_units = bad_units + excluded.bad_units",
            [
                (group.rollout, epoch, group.segment_ns, variant, *numbers)
                for (epoch, variant), numbers in tally.rows.items()
            ],
        )
        self._db.execute(
            "INSERT INTO rollouts VALUES (?, ?) ON CONFLICT (rollout) DO UPDATE SET "
            "last_ns = max(last_ns, excluded.last_ns)",
            (group.rollout, now_ns),
        )

    # Evidence

    def rows(self, rollout: str) -> tuple[Row, ...]:
        """Return everything that was said about a rollout, in the order of time."""
        found = self._db.execute(
            "SELECT epoch, segment_ns, variant, judged, bad, units, first_bad, bad_units FROM counts "
            "WHERE rollout = ? ORDER BY segment_ns, epoch, variant",
            (rollout,),
        )
        return tuple(Row(f"{epoch & _ALL:016x}", *rest) for epoch, *rest in found)

    def prune(self, live: Iterable[str], sources: Iterable[str], now_ns: int) -> None:
        """Delete what was said about rollouts that are long over, and where rings were read that are gone.

        Args:
            live: rollouts that stay whatever their age. sources: those there are. now_ns: the engine's clock.
        """
        kept, there = set(live), set(sources)
        with self._transaction():
            rows = self._db.execute("SELECT rollout FROM rollouts WHERE last_ns < ?", (now_ns - KEPT_NS,))
            gone = [(rollout,) for (rollout,) in rows.fetchall() if rollout not in kept]
            for table in ("units", "counts", "rollouts"):
                self._db.executemany(f"DELETE FROM {table} WHERE rollout = ?", gone)  # noqa: S608 - names of ours
            named = self._db.execute("SELECT DISTINCT source FROM rings").fetchall()
            self._db.executemany(
                "DELETE FROM rings WHERE source = ?", [(name,) for (name,) in named if name not in there]
            )


_ALL: Final = (1 << 64) - 1


def _signed(number: int) -> int:
    # SQLite's integers have a sign.
    return number - (1 << 64) if number >> 63 else number


def _rows_of(stretch: Stretch, now_ns: int) -> Iterable[tuple[int, int, int, int, int, int]]:
    def plain(words: Entries) -> list[int]:
        found: list[int] = words.astype(np.int64).tolist()
        return found

    variants = (stretch.places // np.uint64(FIELDS)).astype(np.int64).tolist()
    columns = plain(stretch.ids), plain(stretch.epochs), variants, plain(stretch.buckets)
    for id_, epoch, variant, bucket, own_coin in zip(*columns, stretch.own_coins.tolist(), strict=True):
        yield id_, epoch, variant, bucket, int(own_coin), now_ns

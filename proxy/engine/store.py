"""The evidence on the disk: ``state_dir/evidence.sqlite``, so that a restart of anything goes on where it was.

Rules
    * A write is one transaction of a write-ahead log. A kill at any moment leaves what the last whole one left; a loss
      of power may take the newest of them (``synchronous=NORMAL``), never the file.
    * A row is replaced only by one that is at least as high everywhere: two observers may write at a time, which they
      do in an upgrade.
    * The file is the user's alone (0600), and so are the log beside it, whose mode SQLite takes from it.
    * A damaged file is moved aside and a new one begun: what the counters in the run directory still hold is read
      again, the rest is lost, and nothing is decided on less. A file of a newer program is left alone and refused.
    * The file is bounded: the newest :data:`KEPT_ROLLOUTS` rollouts of the last :data:`KEPT_NS`, joined slices, a
      bounded number of undecided verdicts for each, and a hard limit of pages.

Everything here blocks, and belongs to one thread at a time.
"""

import logging
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import orjson

from proxy.engine.ledger import Changes, Counts, Epoch, Ledger, Reference, RowKey
from proxy.engine.sqlite_file import SqliteFile, StoreError, is_damage, open_file

__all__ = [
    "FILE_NAME",
    "KEPT_NS",
    "KEPT_POINTS",
    "KEPT_ROLLOUTS",
    "Batch",
    "Delivery",
    "Loaded",
    "Recorded",
    "ShadowCounts",
    "Store",
    "StoreError",
    "Verdict",
    "Watch",
    "is_damage",
    "open_store",
]

FILE_NAME: Final = "evidence.sqlite"

KEPT_ROLLOUTS: Final = 20
"""Evidence of older rollouts is deleted, unless they are still under way."""

KEPT_NS: Final = 90 * 86_400 * 1_000_000_000
"""So is that of rollouts without news for 90 days."""

_KEPT_VERDICTS: Final = 256
"""Of one rollout, verdicts that changed nothing. Those that moved it are all kept: it has 20 steps at most."""

_KEPT_NOTES: Final = 2048
"""Of all rollouts, verdicts that changed nothing: with what they were drawn from they take up to 200 KiB each, and the
file must have room for evidence."""

KEPT_POINTS: Final = 1024
"""Of one rollout, points of its plots."""

_SCHEMA: Final = 1
_APPLICATION_ID: Final = 0x6D70_6576
_TABLES: Final = """
CREATE TABLE rollouts (
    rollout TEXT PRIMARY KEY, route TEXT NOT NULL, variant TEXT NOT NULL,
    first_ns INTEGER NOT NULL, last_ns INTEGER NOT NULL,
    since_ns INTEGER NOT NULL, away_ns INTEGER NOT NULL, backwards INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE epochs (
    rollout TEXT NOT NULL, epoch TEXT NOT NULL, arms TEXT NOT NULL,
    first_ns INTEGER NOT NULL, settled INTEGER NOT NULL,
    PRIMARY KEY (rollout, epoch)
) WITHOUT ROWID;
CREATE TABLE counts (
    rollout TEXT NOT NULL, source TEXT NOT NULL, epoch TEXT NOT NULL, bin INTEGER NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (rollout, source, epoch, bin)
);
CREATE TABLE frozen (
    rollout TEXT NOT NULL, from_bin INTEGER NOT NULL, counts BLOB NOT NULL,
    PRIMARY KEY (rollout, from_bin)
);
CREATE TABLE shadows (
    rollout TEXT NOT NULL, source TEXT NOT NULL, version INTEGER NOT NULL,
    answered INTEGER NOT NULL, failed INTEGER NOT NULL, compared INTEGER NOT NULL, disagreed INTEGER NOT NULL,
    PRIMARY KEY (rollout, source, version)
) WITHOUT ROWID;
CREATE TABLE points (
    rollout TEXT NOT NULL, bin INTEGER NOT NULL, document BLOB NOT NULL,
    PRIMARY KEY (rollout, bin)
);
CREATE TABLE decisions (
    number INTEGER PRIMARY KEY AUTOINCREMENT, rollout TEXT NOT NULL, route TEXT NOT NULL, sequence INTEGER NOT NULL,
    engine_ns INTEGER NOT NULL, verdict TEXT NOT NULL, moves INTEGER NOT NULL, digest TEXT NOT NULL,
    document BLOB NOT NULL, snapshot BLOB NOT NULL
);
CREATE INDEX decisions_of_route ON decisions (route, number);
CREATE INDEX decisions_of_rollout ON decisions (rollout, number);
CREATE INDEX decisions_by_digest ON decisions (digest);
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY, target TEXT NOT NULL, created_ns INTEGER NOT NULL,
    attempts INTEGER NOT NULL, due_ns INTEGER NOT NULL, body BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE clock (only INTEGER PRIMARY KEY CHECK (only = 0), engine_ns INTEGER NOT NULL);
"""

_TRIPLES: Final = """
CREATE TABLE IF NOT EXISTS triples (
    rollout TEXT NOT NULL, source TEXT NOT NULL, version INTEGER NOT NULL,
    triples INTEGER NOT NULL, candidate_odd INTEGER NOT NULL, champion_odd INTEGER NOT NULL, both_odd INTEGER NOT NULL,
    PRIMARY KEY (rollout, source, version)
) WITHOUT ROWID
"""
"""Beside the others, and newer: a program that does not know it leaves it alone, so the schema keeps its number."""

_OF_SHADOWS: Final = 4
"""So many of the first columns of :class:`ShadowCounts` are in the table ``shadows``, the rest in ``triples``."""

_OF_A_ROLLOUT: Final = ("epochs", "counts", "frozen", "shadows", "triples", "points", "decisions", "rollouts")

_log = logging.getLogger("modelproxy")


class ShadowCounts(NamedTuple):
    """What copies to the canary's model have shown under one table version; each number only grows."""

    answered: int = 0
    failed: int = 0
    compared: int = 0
    """With the champion's answers."""
    disagreed: int = 0
    triples: int = 0
    """Copies beside which the champion was asked once more, and that say something."""
    candidate_odd: int = 0
    """Of these, in which only the canary's model differs from the client's answer."""
    champion_odd: int = 0
    both_odd: int = 0


class Watch(NamedTuple):
    """How well a rollout was watched."""

    since_ns: int = 0
    """The step that ``away_ns`` is about: when it began."""
    away_ns: int = 0
    """Time of this step in which nobody read the counts."""
    fell_ns: int = 0
    """When counters were last found to have gone backwards, on the engine's clock; 0: never. On the disk it is called
    ``backwards``."""


@dataclass(slots=True)
class Batch:
    """What one tick has to say about one rollout."""

    rollout: str
    route: str
    variant: str
    """Empty where several are compared without a rollout."""
    engine_ns: int
    changes: Changes = field(default_factory=Changes)
    shadows: Mapping[tuple[str, int], ShadowCounts] = field(default_factory=dict)
    """By source and table version."""
    watch: Watch = field(default_factory=Watch)
    points: Mapping[int, bytes] = field(default_factory=dict)
    """Bin → the document of its point in the plots."""


@dataclass(slots=True)
class Loaded:
    """What was stored of one rollout."""

    shadows: dict[tuple[str, int], ShadowCounts] = field(default_factory=dict)
    points: dict[int, bytes] = field(default_factory=dict)
    watch: Watch = field(default_factory=Watch)
    last_ns: int = 0
    """When it was written last; 0: never."""


class Verdict(NamedTuple):
    """A verdict and all it was drawn from."""

    rollout: str
    route: str
    sequence: int
    engine_ns: int
    verdict: str
    moves: bool
    """It asked for a change of weights."""
    digest: str
    """Of the snapshot."""
    document: bytes
    snapshot: bytes
    """From which the same document can be computed again."""


class Recorded(NamedTuple):
    """A stored verdict, without its snapshot."""

    number: int
    verdict: Verdict


def crowded(bins: Sequence[int]) -> list[int]:
    """Return which of the ascending ``bins`` lose their point, once they are more than :data:`KEPT_POINTS`.

    What stays is spread evenly over the whole time: the first, and the last in each stretch of so many bins. To
    thin the older ones alone would hollow them out, for they would be thinned again each time.
    """
    if len(bins) <= KEPT_POINTS:
        return []
    kept, shift = set(bins), 0
    while len(kept) > KEPT_POINTS * 3 // 4:
        shift += 1
        kept = {bins[0], *{at >> shift: at for at in bins}.values()}
    return [at for at in bins if at not in kept]


class Delivery(NamedTuple):
    """A message on its way to a webhook."""

    id: str
    target: str
    """Which webhook, without its secrets."""
    created_ns: int
    """Wall time."""
    attempts: int
    due_ns: int
    """Wall time before which it is not tried again."""
    body: bytes


def open_store(directory: Path, wall_ns: int) -> "Store":
    """Open the store of ``directory``, or make it; a damaged one is moved aside first.

    Args:
        directory: made, with mode 0700, where it is missing.
        wall_ns: names the file that is moved aside.

    Raises:
        StoreError: it cannot be opened, or a newer program wrote it.
    """
    return open_file(directory / FILE_NAME, Store, wall_ns, "evidence")


class Store(SqliteFile):
    """The open file. See :func:`open_store`."""

    tables = _TABLES
    schema = _SCHEMA
    application_id = _APPLICATION_ID

    def _prepare(self) -> None:
        super()._prepare()
        self._db.execute(_TRIPLES)

    # The clock

    def engine_ns(self) -> int:
        """Return the latest engine time that anything was written at; 0 at first."""
        row = self._db.execute("SELECT engine_ns FROM clock").fetchone()
        return int(row[0]) if row else 0

    # Evidence

    def write(self, batches: Iterable[Batch]) -> None:
        """Store all of ``batches``, or nothing.

        Raises:
            sqlite3.Error: the disk refused it; see :func:`is_damage`.
        """
        with self._transaction():
            for batch in batches:
                self._write_batch(batch)
                self._db.execute(
                    "INSERT INTO clock VALUES (0, ?) ON CONFLICT (only) DO UPDATE SET "
                    "engine_ns = max(engine_ns, excluded.engine_ns)",
                    (batch.engine_ns,),
                )

    def _write_batch(self, batch: Batch) -> None:
        db, rollout = self._db, batch.rollout
        db.execute(
            "INSERT INTO rollouts VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout) DO UPDATE SET "
            "last_ns = max(last_ns, excluded.last_ns), since_ns = excluded.since_ns, away_ns = excluded.away_ns, "
            "backwards = excluded.backwards",
            (rollout, batch.route, batch.variant, batch.engine_ns, batch.engine_ns, *batch.watch),
        )
        self._write_changes(rollout, batch.changes)
        db.executemany(
            "INSERT INTO shadows VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout, source, version) DO UPDATE SET "
            "answered = max(answered, excluded.answered), failed = max(failed, excluded.failed), "
            "compared = max(compared, excluded.compared), disagreed = max(disagreed, excluded.disagreed)",
            [(rollout, *key, *counts[:_OF_SHADOWS]) for key, counts in batch.shadows.items()],
        )
        db.executemany(
            "INSERT INTO triples VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (rollout, source, version) DO UPDATE SET "
            "triples = max(triples, excluded.triples), candidate_odd = max(candidate_odd, excluded.candidate_odd), "
            "champion_odd = max(champion_odd, excluded.champion_odd), both_odd = max(both_odd, excluded.both_odd)",
            [
                (rollout, *key, *counts[_OF_SHADOWS:])
                for key, counts in batch.shadows.items()
                if counts.triples
            ],
        )
        if batch.points:
            db.executemany(
                "INSERT OR REPLACE INTO points VALUES (?, ?, ?)",
                [(rollout, at, document) for at, document in batch.points.items()],
            )
            self._thin_points(rollout)

    def _write_changes(self, rollout: str, changes: Changes) -> None:
        db = self._db
        db.executemany(
            "INSERT INTO epochs VALUES (?, ?, ?, ?, ?) ON CONFLICT (rollout, epoch) DO UPDATE SET "
            "first_ns = min(first_ns, excluded.first_ns), settled = max(settled, excluded.settled)",
            [
                (rollout, info.epoch, _pack_arms(info), info.first_ns, settled)
                for info, settled in changes.epochs.values()
            ],
        )
        for key, counts in changes.rows.items():
            self._write_row(rollout, key, counts)
        # After the rows that took over what these held.
        db.executemany(
            "DELETE FROM counts WHERE rollout = ? AND source = ? AND epoch = ? AND bin = ?",
            [(rollout, *key) for key in changes.removed],
        )
        db.executemany(
            "INSERT OR IGNORE INTO frozen VALUES (?, ?, ?)",
            [(rollout, each.from_bin, _pack(each.counts)) for each in changes.references],
        )

    def _write_row(self, rollout: str, key: RowKey, counts: Counts) -> None:
        found = self._db.execute(
            "SELECT counts FROM counts WHERE rollout = ? AND source = ? AND epoch = ? AND bin = ?",
            (rollout, *key),
        ).fetchone()
        if found is not None and (stored := _unpack(found[0])) is not None and stored.size == counts.size:
            counts = np.maximum(counts, stored.reshape(counts.shape))
        self._db.execute(
            "INSERT OR REPLACE INTO counts VALUES (?, ?, ?, ?, ?)", (rollout, *key, _pack(counts))
        )

    def _thin_points(self, rollout: str) -> None:
        """Leave out points once there are too many."""
        rows = self._db.execute(
            "SELECT bin FROM points WHERE rollout = ? ORDER BY bin", (rollout,)
        ).fetchall()
        self._db.executemany(
            "DELETE FROM points WHERE rollout = ? AND bin = ?",
            [(rollout, at) for at in crowded([at for (at,) in rows])],
        )

    def load(self, rollout: str, ledger: Ledger) -> Loaded:
        """Merge what is stored of ``rollout`` into ``ledger``; return the rest.

        Rows that do not have the ledger's shape are left out, with a warning: another version counted them.
        """
        unreadable = 0
        for epoch, arms, first_ns, settled in self._db.execute(
            "SELECT epoch, arms, first_ns, settled FROM epochs WHERE rollout = ?", (rollout,)
        ):
            names, widths, *champion = orjson.loads(arms)
            ledger.admit(Epoch(epoch, tuple(names), tuple(map(int, widths)), first_ns, *champion), settled)
        epochs = ledger.epochs
        for source, epoch, at, blob in self._db.execute(
            "SELECT source, epoch, bin, counts FROM counts WHERE rollout = ? ORDER BY bin", (rollout,)
        ):
            counts = _unpack(blob)
            try:
                if counts is None:
                    raise ValueError("not readable")
                ledger.merge(source, epoch, at, counts.reshape(len(epochs[epoch].variants), -1))
            except (KeyError, ValueError):
                unreadable += 1
        for from_bin, blob in self._db.execute(
            "SELECT from_bin, counts FROM frozen WHERE rollout = ? ORDER BY from_bin", (rollout,)
        ):
            if (counts := _unpack(blob)) is not None:
                ledger.freeze(Reference(from_bin, counts))
        if unreadable:
            _log.warning("%s: %d readings of rollout %s cannot be used", self.path, unreadable, rollout)
        found = self._db.execute(
            "SELECT since_ns, away_ns, backwards, last_ns FROM rollouts WHERE rollout = ?", (rollout,)
        ).fetchone()
        watch, last_ns = (Watch(*found[:3]), found[3]) if found else (Watch(), 0)
        return Loaded(self.shadows(rollout), self._load_points(rollout), watch, last_ns)

    def shadows(self, rollout: str) -> dict[tuple[str, int], ShadowCounts]:
        """Return what copies have shown, by source and table version."""
        rows = self._db.execute(
            "SELECT source, version, answered, failed, compared, disagreed FROM shadows WHERE rollout = ?",
            (rollout,),
        )
        found = {(source, version): ShadowCounts(*counts) for source, version, *counts in rows}
        # A file that is only read may be of a program that did not know them.
        if self._db.execute("SELECT 1 FROM sqlite_master WHERE name = 'triples'").fetchone() is None:
            return found
        more = self._db.execute(
            "SELECT source, version, triples, candidate_odd, champion_odd, both_odd FROM triples WHERE rollout = ?",
            (rollout,),
        )
        for source, version, *counts in more:
            before = found.get((source, version), ShadowCounts())
            found[source, version] = ShadowCounts(*before[:_OF_SHADOWS], *counts)
        return found

    def _load_points(self, rollout: str) -> dict[int, bytes]:
        return dict(
            self._db.execute("SELECT bin, document FROM points WHERE rollout = ? ORDER BY bin", (rollout,))
        )

    # Decisions

    def record(self, verdict: Verdict) -> int:
        """Store ``verdict`` with its snapshot; return its number.

        Raises:
            sqlite3.Error: the disk refused it.
        """
        with self._transaction():
            cursor = self._db.execute(
                "INSERT INTO decisions (rollout, route, sequence, engine_ns, verdict, moves, digest, document, "
                "snapshot) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                verdict._replace(snapshot=zlib.compress(verdict.snapshot, 6)),
            )
            if not verdict.moves:
                self._db.execute(
                    "DELETE FROM decisions WHERE number IN (SELECT number FROM decisions "
                    "WHERE rollout = ? AND moves = 0 ORDER BY number DESC LIMIT -1 OFFSET ?)",
                    (verdict.rollout, _KEPT_VERDICTS),
                )
                self._db.execute(
                    "DELETE FROM decisions WHERE number IN (SELECT number FROM decisions "
                    "WHERE moves = 0 ORDER BY number DESC LIMIT -1 OFFSET ?)",
                    (_KEPT_NOTES,),
                )
        return int(cursor.lastrowid or 0)

    def decisions(self, route: str, limit: int, moves_of: str = "") -> list[Recorded]:
        """Return the last ``limit`` verdicts about ``route``, oldest first, without their snapshots.

        Args:
            route: its name.
            limit: how many.
            moves_of: a rollout of which all that moved it are returned, however old.
        """
        rows = self._db.execute(
            "SELECT number, rollout, sequence, engine_ns, verdict, moves, digest, document FROM decisions "
            "WHERE number IN (SELECT number FROM decisions WHERE route = ? ORDER BY number DESC LIMIT ?) "
            "OR (rollout = ? AND moves = 1) ORDER BY number DESC",
            (route, limit, moves_of),
        ).fetchall()
        return [
            Recorded(
                number, Verdict(rollout, route, sequence, at_ns, verdict, bool(moves), digest, document, b"")
            )
            for number, rollout, sequence, at_ns, verdict, moves, digest, document in reversed(rows)
        ]

    def snapshot(self, digest: str) -> bytes | None:
        """Return the snapshot with this digest; None when it is not, or no longer, here."""
        row = self._db.execute(
            "SELECT snapshot FROM decisions WHERE digest = ? LIMIT 1", (digest,)
        ).fetchone()
        return zlib.decompress(row[0]) if row else None

    def prune(self, live: Iterable[str], engine_ns: int) -> int:
        """Delete the evidence of rollouts that are long over; return how many.

        Args:
            live: rollouts that stay whatever their age.
            engine_ns: now.
        """
        rows = self._db.execute(
            "SELECT rollout, last_ns FROM rollouts ORDER BY last_ns DESC, rollout"
        ).fetchall()
        kept = set(live)
        gone = [
            rollout
            for index, (rollout, last_ns) in enumerate(rows)
            if rollout not in kept and (index >= KEPT_ROLLOUTS or last_ns < engine_ns - KEPT_NS)
        ]
        with self._transaction():
            for table in _OF_A_ROLLOUT:
                self._db.executemany(
                    f"DELETE FROM {table} WHERE rollout = ?",  # noqa: S608 - a name of ours
                    [(rollout,) for rollout in gone],
                )
        return len(gone)

    # Webhooks

    def put_deliveries(self, deliveries: Sequence[Delivery]) -> None:
        """Store messages, in place of earlier states of the same."""
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO deliveries VALUES (?, ?, ?, ?, ?, ?)", deliveries)

    def drop_deliveries(self, ids: Sequence[str]) -> None:
        """Forget messages that arrived, or never will."""
        with self._transaction():
            self._db.executemany("DELETE FROM deliveries WHERE id = ?", [(each,) for each in ids])

    def deliveries(self) -> list[Delivery]:
        """Return every message that is still on its way, oldest first."""
        rows = self._db.execute("SELECT * FROM deliveries ORDER BY created_ns, id")
        return [Delivery(*row) for row in rows]


def _pack(counts: Counts) -> bytes:
    # Little-endian, so that a file may move between machines. Level 1: most of it is zeros.
    return zlib.compress(counts.astype("<i8").tobytes(), 1)


def _unpack(blob: bytes) -> Counts | None:
    try:
        return np.frombuffer(zlib.decompress(blob), "<i8").astype(np.int64)
    except (zlib.error, ValueError):
        return None


def _pack_arms(info: Epoch) -> str:
    # Widths go up to 2^64, which neither SQLite nor JSON's readers take as a number.
    document: Any = [info.variants, list(map(str, info.widths)), info.champion]
    return orjson.dumps(document).decode()

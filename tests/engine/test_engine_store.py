"""The evidence file: what comes back after a restart, a kill, a full or damaged disk."""

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from proxy.engine.archive import open_archive
from proxy.engine.ledger import Changes, Epoch, Ledger, Reference
from proxy.engine.store import (
    FILE_NAME,
    KEPT_NS,
    KEPT_ROLLOUTS,
    Batch,
    Delivery,
    Loaded,
    ShadowCounts,
    Store,
    StoreError,
    Verdict,
    Watch,
    is_damage,
    open_store,
)

FIELDS = 4
EPOCH = Epoch("e1", ("v1", "v3"), ((1 << 64) - 7, 7), 1)
SHADOWS = ShadowCounts(12, 1, 10, 2)
NOW_NS = 1_800_000_000_000_000_000

WRITER = """
import sys
from pathlib import Path
from proxy.engine.store import open_store
from tests.engine.test_engine_store import batch_at

store = open_store(Path(sys.argv[1]), 0)
for at in range(1, 1_000_000):
    store.write([batch_at(at)])
    print(at, flush=True)
"""


def counts_at(number: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    return np.arange(2 * FIELDS, dtype=np.int64).reshape(2, FIELDS) + number


def batch_at(at: int, rollout: str = "r1", source: str = "run") -> Batch:
    """What a tick in bin ``at`` has to say, alone."""
    ledger = Ledger(FIELDS)
    ledger.admit(EPOCH)
    ledger.merge(source, "e1", at, counts_at(at))
    return Batch(rollout, "wine", "v3", NOW_NS + at, ledger.take_changes())


def loaded(store: Store, rollout: str = "r1") -> tuple[Ledger, Loaded]:
    ledger = Ledger(FIELDS)
    return ledger, store.load(rollout, ledger)


def shown(ledger: Ledger) -> list[tuple[Any, ...]]:
    return [(each.epoch, each.first, each.last, each.counts.tolist()) for each in ledger.slices()]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(tmp_path / "state", NOW_NS)
    yield store
    store.close()


def verdict(sequence: int = 1, *, moves: bool = True, rollout: str = "r1", route: str = "wine") -> Verdict:
    name = "RAMP" if moves else "HOLD"
    return Verdict(
        rollout, route, sequence, NOW_NS, name, moves, f"d{sequence}", b"{}", b"snapshot %d" % sequence
    )


def test_what_was_written_comes_back(store: Store, tmp_path: Path) -> None:
    """Epochs, counts, references, counts of copies, points and how it was watched are the same after a restart."""
    ledger = Ledger(FIELDS)
    ledger.admit(EPOCH)
    for at in range(1, 9):
        ledger.merge("run", "e1", at, counts_at(at * at))
    ledger.freeze(Reference(4, np.array([1, 2, 1 << 60], np.int64)))
    batch = Batch(
        "r1", "wine", "v3", NOW_NS, ledger.take_changes(), {("run", 3): SHADOWS}, Watch(5, 6, 7), {4: b"{}"}
    )
    store.write([batch])
    store.close()
    again, rest = loaded(open_store(tmp_path / "state", NOW_NS))
    assert shown(again) == shown(ledger)
    assert again.epochs == {"e1": EPOCH}
    assert [(each.from_bin, each.counts.tolist()) for each in again.references] == [(4, [1, 2, 1 << 60])]
    assert rest == Loaded({("run", 3): SHADOWS}, {4: b"{}"}, Watch(5, 6, 7), NOW_NS)
    assert not again.coarsen() - 8


def test_a_second_writer_takes_nothing_away(store: Store) -> None:
    """Lower counts than those stored leave them as they are."""
    store.write([batch_at(5)])
    lower = batch_at(5)
    lower.changes.rows = {key: counts - 3 for key, counts in lower.changes.rows.items()}
    store.write([lower])
    store.write([Batch("r1", "wine", "v3", NOW_NS, shadows={("run", 1): ShadowCounts(20, 3, 9, 1)})])
    store.write([Batch("r1", "wine", "v3", NOW_NS, shadows={("run", 1): ShadowCounts(19, 4, 8, 2)})])
    ledger, rest = loaded(store)
    assert ledger.totals()["e1"].tolist() == counts_at(5).tolist()
    assert rest.shadows == {("run", 1): ShadowCounts(20, 4, 9, 2)}


def test_triples_are_kept_beside(store: Store) -> None:
    """What was shown where the champion was asked twice is found again, the highest of each, as long as its rollout."""
    key, twice = ("run", 1), ShadowCounts(20, 3, 9, 1, 8, 2, 1, 1)
    for counts in (twice, ShadowCounts(20, 3, 9, 1, 7, 3, 0, 1), ShadowCounts(21, 3, 9, 1)):
        store.write([Batch("r1", "wine", "v3", NOW_NS, shadows={key: counts})])
    assert store.shadows("r1") == {key: ShadowCounts(21, 3, 9, 1, 8, 3, 1, 1)}
    store.prune([], NOW_NS + (1 << 62))
    assert store.shadows("r1") == {}


def test_a_file_of_a_program_that_knew_no_triples(tmp_path: Path) -> None:
    """It is read as it is, and goes on under the same schema; the program of before finds its own tables unchanged."""
    before = open_store(tmp_path, 0)
    before.write([Batch("r1", "wine", "v3", NOW_NS, shadows={("run", 1): SHADOWS})])
    before._db.execute("DROP TABLE triples")
    before.close()
    archive = open_archive(tmp_path)
    assert archive.shadows("r1") == {("run", 1): SHADOWS}
    archive.close()
    store = open_store(tmp_path, 0)
    assert store.shadows("r1") == {("run", 1): SHADOWS}
    store.write([Batch("r1", "wine", "v3", NOW_NS, shadows={("run", 1): SHADOWS._replace(triples=4)})])
    assert store.shadows("r1") == {("run", 1): SHADOWS._replace(triples=4)}
    assert store._db.execute("SELECT * FROM shadows").fetchall() == [("r1", "run", 1, *SHADOWS[:4])]
    store.close()


def test_joined_slices_are_joined_on_the_disk(store: Store) -> None:
    """Rows that were joined are gone, and what comes late for them is added to what took their place."""
    ledger = Ledger(FIELDS)
    ledger.admit(EPOCH)
    for at in range(1, 40):
        ledger.merge("run", "e1", at, counts_at(at))
        ledger.coarsen(limit=10, join_to=8)
        store.write([Batch("r1", "wine", "v3", NOW_NS, ledger.take_changes())])
    again, _ = loaded(store)
    assert shown(again) == shown(ledger)
    assert len(again.slices()) <= 10
    again.merge("run", "e1", 3, counts_at(3))
    assert shown(again) == shown(ledger)


def test_a_batch_is_written_whole_or_not_at_all(store: Store) -> None:
    """A batch that fails in its middle leaves no trace."""
    bad = Batch("r2", "wine", "v3", NOW_NS, shadows={("run", 1): ShadowCounts(1 << 70)})
    with pytest.raises(OverflowError):
        store.write([batch_at(5), bad])
    assert shown(loaded(store)[0]) == []
    assert store.engine_ns() == 0
    store.write([batch_at(5)])


def test_the_clock_is_kept(store: Store) -> None:
    """The latest engine time that was written is the one that is told."""
    assert store.engine_ns() == 0
    store.write([batch_at(7)])
    store.write([batch_at(3)])
    assert store.engine_ns() == NOW_NS + 7


def test_files_are_the_users_alone(store: Store) -> None:
    """The file and the two beside it can be read by nobody else, whatever the mask says."""
    before = os.umask(0)
    try:
        store.write([batch_at(1)])
    finally:
        os.umask(before)
    files = sorted(store.path.parent.iterdir())
    assert [path.name for path in files] == [FILE_NAME, f"{FILE_NAME}-shm", f"{FILE_NAME}-wal"]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_no_link_is_followed(tmp_path: Path) -> None:
    """A link in the file's place is refused."""
    (tmp_path / "elsewhere").touch()
    (tmp_path / FILE_NAME).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StoreError, match="cannot keep evidence"):
        open_store(tmp_path, NOW_NS)
    assert (tmp_path / "elsewhere").read_bytes() == b""


# Bad files


def test_a_newer_file_is_refused(store: Store, tmp_path: Path) -> None:
    """A file of a newer program is left as it is, and the sentence says what to do."""
    other = sqlite3.connect(store.path)
    other.execute("PRAGMA user_version = 99")
    other.close()
    store.close()
    with pytest.raises(StoreError, match=r"schema is 99.*knows 1 at most; run the program that wrote it"):
        open_store(tmp_path / "state", NOW_NS)
    assert [path.name for path in (tmp_path / "state").iterdir()] == [FILE_NAME]


def damage_head(path: Path) -> None:
    path.write_bytes(b"not a database" * 1000)


def damage_pages(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)
    path.write_bytes(data)


@pytest.mark.parametrize("damage", [damage_head, damage_pages])
def test_a_damaged_file_is_moved_aside(
    store: Store, tmp_path: Path, damage: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """A damaged file is kept under another name, with a warning, and evidence begins anew."""
    for at in range(1, 300):
        store.write([batch_at(at)])
    store.close()
    damage(store.path)
    again = open_store(tmp_path / "state", NOW_NS)
    assert shown(loaded(again)[0]) == []
    again.write([batch_at(1)])
    again.close()
    names = sorted(path.name for path in (tmp_path / "state").iterdir())
    assert names == [FILE_NAME, f"{FILE_NAME}.damaged-{NOW_NS // 1_000_000_000}"]
    assert "evidence begins anew" in caplog.text


def test_damage_is_told_from_trouble(tmp_path: Path) -> None:
    """A file that is no database is damaged; one that somebody else holds is not."""
    (tmp_path / "x").write_bytes(b"not a database" * 100)
    with pytest.raises(sqlite3.DatabaseError) as damaged:
        sqlite3.connect(tmp_path / "x").execute("SELECT * FROM sqlite_master")
    assert is_damage(damaged.value)
    held = sqlite3.connect(tmp_path / "y", isolation_level=None)
    held.execute("BEGIN EXCLUSIVE")
    with pytest.raises(sqlite3.OperationalError) as busy:
        sqlite3.connect(tmp_path / "y", timeout=0).execute("CREATE TABLE t (a)")
    assert not is_damage(busy.value)
    held.close()


def test_rows_of_another_version(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """Counts with another number of fields are left out, with a warning."""
    store.write([batch_at(1)])
    wider = Ledger(FIELDS + 1)
    store.load("r1", wider)
    assert wider.slices() == []
    assert "1 readings of rollout r1 cannot be used" in caplog.text


def test_a_deleted_file_is_noticed(store: Store) -> None:
    """Whether what is written will be found again can be asked."""
    assert store.is_in_place()
    store.path.unlink()
    assert not store.is_in_place()


@pytest.mark.slow
def test_a_kill_in_the_middle(tmp_path: Path) -> None:
    """A writer that is killed leaves all that it had written, and no damage."""
    for round_ in range(3):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True
        ) as writer:
            assert writer.stdout is not None
            lines = iter(writer.stdout)
            for _ in range(20 + 7 * round_):
                next(lines)
            os.kill(writer.pid, signal.SIGKILL)
            written = max(map(int, [*(line for line in lines if line.endswith("\n")), "20"]))
        store = open_store(tmp_path, NOW_NS)
        ledger, _ = loaded(store)
        store.close()
        last = ledger.slices()[-1].last
        assert last >= written
        assert ledger.totals()["e1"].tolist() == counts_at(last).tolist()
    assert [path.name for path in tmp_path.iterdir() if "damaged" in path.name] == []


# Verdicts


def test_verdicts_and_snapshots(store: Store) -> None:
    """The last verdicts of a route are told oldest first; their snapshots are found by digest."""
    for sequence in range(1, 6):
        store.record(verdict(sequence))
    store.record(verdict(9, route="beer"))
    told = store.decisions("wine", 2)
    assert [each.verdict.sequence for each in told] == [4, 5]
    assert told[0].number < told[1].number
    assert told[1].verdict == verdict(5)._replace(snapshot=b"")
    assert store.snapshot("d4") == b"snapshot 4"
    assert store.snapshot("d99") is None


def test_verdicts_that_moved_nothing_are_bounded(store: Store) -> None:
    """Of verdicts that changed nothing the newest 256 stay; those that did all stay."""
    store.record(verdict(0))
    for sequence in range(1, 300):
        store.record(verdict(sequence, moves=False))
    kept = [each.verdict.sequence for each in store.decisions("wine", 1000)]
    assert kept == [0, *range(300 - 256, 300)]


def test_notes_of_many_rollouts_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many rollouts there are, their notes leave room for evidence; what moved a rollout stays."""
    monkeypatch.setattr("proxy.engine.store._KEPT_NOTES", 10)
    for sequence in range(20):
        store.record(verdict(sequence, moves=sequence == 3, rollout=f"r{sequence}"))
    assert [each.verdict.sequence for each in store.decisions("wine", 99)] == [3, *range(10, 20)]


# What is deleted


def test_old_rollouts_are_deleted(store: Store) -> None:
    """The newest 20 stay, and those under way; everything of the others goes."""
    for number in range(KEPT_ROLLOUTS + 3):
        store.write([batch_at(number + 1, rollout=f"r{number}")])
        store.record(verdict(number, rollout=f"r{number}"))
    assert store.prune(["r1"], NOW_NS) == 2
    left = [n for n in range(KEPT_ROLLOUTS + 3) if loaded(store, f"r{n}")[0].slices()]
    assert left == [1, *range(3, KEPT_ROLLOUTS + 3)]
    assert [each.verdict.sequence for each in store.decisions("wine", 100)] == left


def test_rollouts_without_news_are_deleted(store: Store) -> None:
    """After 90 days the evidence goes, unless its rollout is still under way."""
    store.write([batch_at(1, rollout="old"), batch_at(1, rollout="live")])
    assert store.prune(["live"], NOW_NS + KEPT_NS) == 0
    assert store.prune(["live"], NOW_NS + KEPT_NS + 10) == 1
    assert loaded(store, "live")[0].slices()


def test_points_are_thinned(store: Store) -> None:
    """Plots keep a bounded number of points, spread over the whole time, with the first and the newest."""
    for at in range(1500):
        store.write([Batch("r1", "wine", "v3", NOW_NS, points={at: b"%d" % at})])
    points = loaded(store)[1].points
    assert len(points) <= 1024
    assert list(points)[-100:] == list(range(1400, 1500))
    assert points[0] == b"0"
    assert max(after - before for before, after in pairwise(points)) <= 4


# Webhooks


def test_messages_on_their_way(store: Store, tmp_path: Path) -> None:
    """Messages survive a restart with their attempts, oldest first, until they are dropped."""
    first = Delivery("msg_1", "t", NOW_NS, 0, NOW_NS, b"a")
    second = Delivery("msg_0", "t", NOW_NS + 1, 0, NOW_NS, b"b")
    store.put_deliveries([second, first])
    store.put_deliveries([first._replace(attempts=3)])
    store.close()
    again = open_store(tmp_path / "state", NOW_NS)
    assert again.deliveries() == [first._replace(attempts=3), second]
    again.drop_deliveries(["msg_1"])
    assert again.deliveries() == [second]
    again.close()


def test_an_empty_batch_is_fine(store: Store) -> None:
    """A rollout without news is remembered all the same."""
    store.write([Batch("r1", "wine", "v3", NOW_NS, Changes())])
    assert store.prune([], NOW_NS) == 0
    assert store.engine_ns() == NOW_NS

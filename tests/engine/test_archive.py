"""The evidence file, read by somebody who may not change it."""

import os
import sqlite3
from pathlib import Path

import pytest

from proxy.engine.archive import open_archive
from proxy.engine.ledger import Ledger
from proxy.engine.store import FILE_NAME, StoreError, Verdict, open_store
from tests.engine.test_engine_store import FIELDS, batch_at, loaded, shown


def test_it_reads_beside_a_writer(tmp_path: Path) -> None:
    """What a running proxy has written is seen at once, and nothing can be written."""
    store = open_store(tmp_path, 0)
    store.write([batch_at(1), batch_at(2, "r2")])
    archive = open_archive(tmp_path)
    assert [(each.rollout, each.route, each.variant) for each in archive.rollouts()] == [
        ("r1", "wine", "v3"),
        ("r2", "wine", "v3"),
    ]
    store.write([batch_at(3)])
    assert shown(loaded(archive)[0]) == shown(loaded(store)[0])
    first, second = archive.rollouts()
    assert (first.rollout, second.rollout) == ("r1", "r2")
    assert first.last_ns > second.last_ns
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        archive.write([batch_at(4)])
    archive.close()
    store.close()


def test_it_reads_where_nothing_can_be_written(tmp_path: Path) -> None:
    """A copy in a directory that belongs to somebody else is read too."""
    store = open_store(tmp_path, 0)
    store.write([batch_at(1)])
    store.close()
    assert not (tmp_path / f"{FILE_NAME}-wal").exists()
    tmp_path.chmod(0o500)
    try:
        archive = open_archive(tmp_path)
        ledger = Ledger(FIELDS)
        archive.load("r1", ledger)
        archive.close()
    finally:
        tmp_path.chmod(0o700)
    assert len(ledger.slices()) == 1


@pytest.mark.parametrize(
    "content", [None, b"", b"no database at all" * 100], ids=["none", "empty", "garbage"]
)
def test_it_says_what_is_wrong(tmp_path: Path, content: bytes | None) -> None:
    """A directory without evidence is told in a sentence, and nothing is made in it."""
    if content is not None:
        (tmp_path / FILE_NAME).write_bytes(content)
    with pytest.raises(StoreError, match=r"there is no evidence here|cannot be read"):
        open_archive(tmp_path)
    assert os.listdir(tmp_path) == ([] if content is None else [FILE_NAME])  # noqa: PTH208


def test_a_newer_file_is_refused(tmp_path: Path) -> None:
    """A file of a later program is not guessed at."""
    store = open_store(tmp_path, 0)
    store._db.execute("PRAGMA user_version = 99")
    store.close()
    with pytest.raises(StoreError, match="its schema is 99"):
        open_archive(tmp_path)


def test_moves_are_kept_in_sight(tmp_path: Path) -> None:
    """However many verdicts came since, those that moved the rollout are told with the last ones."""
    store = open_store(tmp_path, 0)
    for number in range(8):
        moves = number in (0, 3)
        store.record(Verdict("r1", "wine", number, number, "hold", moves, f"d{number}", b"{}", b"s"))
    assert [each.verdict.digest for each in store.decisions("wine", 2)] == ["d6", "d7"]
    assert [each.verdict.digest for each in store.decisions("wine", 2, "r1")] == ["d0", "d3", "d6", "d7"]
    store.close()

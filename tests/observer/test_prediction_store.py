"""Predictions on the disk: found by their request, bounded in time and bytes, marked with their labels."""

import sqlite3
from pathlib import Path

import pytest

from proxy.observer.breakdown_store import StretchKey
from proxy.observer.label_store import FILE_NAME, LabelKey, Labelled, LabelStore, open_labels
from proxy.observer.prediction_store import ROW_BYTES, Mark, PredictionRow

KEY = LabelKey(StretchKey("wine", "v4", "00"), "v1")


@pytest.fixture
def store(tmp_path: Path) -> LabelStore:
    return open_labels(tmp_path, 0)


def row(name: int, at_ms: int = 0, route: str = "wine", said: bytes = b"[]") -> PredictionRow:
    return PredictionRow(name, route, at_ms, "v1", 5, "", said)


def names(store: LabelStore, *wanted: int) -> list[int]:
    return sorted(store.find(wanted))


def test_the_latest_of_a_request(store: LabelStore) -> None:
    """An id that is used again names the later request; what was never put by is not there."""
    store.add([row(1, said=b"a"), row(-2, said=b"b"), row(1, said=b"c")])
    found = store.find([1, -2, 3])
    assert {name: (each.row.said, each.labelled) for name, each in found.items()} == {
        1: (b"c", b""),
        -2: (b"b", b""),
    }
    assert store.held_bytes == 3 * (ROW_BYTES + 1)


def test_marks_are_in_the_transaction_of_the_counts(store: LabelStore) -> None:
    """Rows are marked one after the other; where nothing could be counted nothing is marked."""
    store.add([row(1), row(1)])
    store.take([Labelled(KEY, 5, ["both_right"])], [Mark(1, [2]), Mark(7, [0])])
    store.take([], [Mark(1, [0])])
    assert store.find([1])[1].labelled == b"\1\0\1"
    with pytest.raises(KeyError):
        store.take([Labelled(KEY, 5, ["nonsense"])], [Mark(1, [1])])  # type: ignore[list-item]
    assert store.find([1])[1].labelled == b"\1\0\1"


def test_a_restart(tmp_path: Path) -> None:
    """Rows stay, with their marks and with what they weigh."""
    first = open_labels(tmp_path, 0)
    first.add([row(1, said=b"x" * 100), row(2)])
    first.take([], [Mark(1, [0])])
    first.close()
    second = open_labels(tmp_path, 0)
    assert second.find([1])[1].labelled == b"\1"
    assert second.held_bytes == 2 * ROW_BYTES + 102


def test_age(store: LabelStore) -> None:
    """Each route's go after its own time, also when they came between those of another; nothing is lost early."""
    store.add([row(n, at_ms=n, route="wine" if n % 2 else "beer") for n in range(100)])
    for now_ms in (100, 110, 120):
        assert store.prune(now_ms, {"wine": 50, "beer": 90}) == 0
        left = names(store, *range(100))
        assert left == [n for n in range(100) if n >= now_ms - (50 if n % 2 else 90)]
    store.prune(1000, {"wine": 50, "beer": 90})
    assert (names(store, *range(100)), store.held_bytes) == ([], 0)
    store.add([row(1, at_ms=2000)])
    store.prune(2010, {"wine": 50, "beer": 90})
    assert names(store, 1) == [1]


def test_a_clock_that_was_set_back(store: LabelStore) -> None:
    """What is of a time that has not come goes: it would stay for ever, and what comes behind it too."""
    store.add([row(1, at_ms=10_000_000), row(2, at_ms=50)])
    store.prune(60, {"wine": 50})
    assert names(store, 1, 2) == [2]


def test_room(store: LabelStore) -> None:
    """Where there is too much the oldest go, and are counted."""
    store.add([row(n, said=b"x" * 100) for n in range(1000)])
    room = 500 * (ROW_BYTES + 100)
    gone = store.prune(0, {"wine": 50}, room)
    assert 500 <= gone < 570
    assert store.held_bytes <= room
    assert names(store, *range(1000)) == list(range(gone, 1000))
    assert store.prune(0, {"wine": 50}, 0) == 1000 - gone
    assert store.held_bytes == 0


def test_routes(store: LabelStore) -> None:
    """What is of a route that wants no labels any more is deleted."""
    store.add([row(1), row(2, route="beer")])
    store.keep_routes({"wine", "tea"})
    assert names(store, 1, 2) == [1]
    store.keep_routes(())
    assert (names(store, 1, 2), store.held_bytes) == ([], 0)


def test_a_file_of_before(tmp_path: Path) -> None:
    """A file without the table gets it, and what was counted stays."""
    open_labels(tmp_path, 0).close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        db.execute("DROP TABLE predictions")
    db.close()
    store = open_labels(tmp_path, 0)
    store.take([Labelled(KEY, 5, ["both_right"])])
    store.add([row(1)])
    assert (names(store, 1), store.counts()[KEY].rows) == ([1], 1)


def test_it_is_on_the_disk_when_labels_are_acknowledged(store: LabelStore) -> None:
    """Only what is put by does not wait for the disk."""
    store.add([row(1)])
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL
    with pytest.raises(sqlite3.Error):
        store.add([row(1)._replace(said=None)])  # type: ignore[arg-type]
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store.held_bytes == ROW_BYTES + 2

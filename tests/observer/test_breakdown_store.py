"""Counts of disagreement on the disk: added, read back in order, forgotten with their stretch."""

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from proxy.observer.breakdown import MEASURES, TOTAL, Cell
from proxy.observer.breakdown_store import FILE_NAME, BreakdownStore, Change, StretchKey, open_breakdowns

KEY = StretchKey("wine", "wine-v4", "d1")
OTHER = StretchKey("wine", "wine-v5", "d1")
ROWS = {
    Cell("slice", "tier", "silver"): (1, 2, 3, 4, 5, 6, 7, 8),
    TOTAL: (10, 20, 30, 40, 50, 60, 70, 80),
    Cell("slice", "tier", "gold"): (0, 1, 0, 1, 1, 1, 0, 0),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BreakdownStore]:
    opened = open_breakdowns(tmp_path, 0)
    yield opened
    opened.close()


def write(store: BreakdownStore, changes: Mapping[StretchKey, Change]) -> None:
    """Add ``changes``, by who knows what is there."""
    store.read([])
    assert store.add(changes)


def test_what_is_added_adds_up(store: BreakdownStore) -> None:
    """Two writes of the same counts are twice the counts, in the order in which they first came."""
    write(store, {KEY: (7, ROWS)})
    assert store.add({KEY: (9, ROWS)})
    assert store.read([OTHER]) == {}
    kept = store.read([KEY, OTHER])[KEY]
    assert kept.since_wall_ns == 7
    assert list(kept.rows) == list(ROWS)
    assert kept.rows == {cell: tuple(2 * number for number in numbers) for cell, numbers in ROWS.items()}


def test_two_observers_write_at_a_time(store: BreakdownStore, tmp_path: Path) -> None:
    """In an upgrade neither overwrites the other, and neither writes before it has read what the other one wrote."""
    second = open_breakdowns(tmp_path, 0)
    more = {KEY: (8, {TOTAL: (1, 0, 0, 0, 0, 1, 2, 3)})}
    assert not store.add({KEY: (7, ROWS)})
    write(store, {KEY: (7, ROWS)})
    write(second, more)
    assert not store.add({})
    assert not store.add(more)
    assert store.read([KEY])[KEY].rows[TOTAL] == (11, 20, 30, 40, 50, 61, 72, 83)
    assert store.add({})
    assert store.add(more)
    assert store.add(more)
    assert second.read([KEY])[KEY].rows[TOTAL] == (13, 20, 30, 40, 50, 63, 76, 89)
    second.close()


def test_a_stretch_that_is_over_is_forgotten(store: BreakdownStore) -> None:
    """Only what is in force stays."""
    write(store, {KEY: (7, ROWS), OTHER: (7, ROWS)})
    store.keep_only([OTHER])
    assert store.read([KEY, OTHER]).keys() == {OTHER}


def test_a_new_process_finds_it(tmp_path: Path) -> None:
    """What was written stays, in a file of the user alone."""
    first = open_breakdowns(tmp_path, 0)
    write(first, {KEY: (7, ROWS)})
    first.close()
    second = open_breakdowns(tmp_path, 0)
    assert second.read([KEY])[KEY].rows == ROWS
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    second.close()


def test_a_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    """Counting begins anew rather than not at all."""
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    store = open_breakdowns(tmp_path, 5_000_000_000)
    write(store, {KEY: (7, ROWS)})
    assert store.read([KEY])[KEY].rows == ROWS
    assert (tmp_path / f"{FILE_NAME}.damaged-5").exists()
    store.close()


def test_a_file_of_an_earlier_program(tmp_path: Path) -> None:
    """Its counts stay, with no distances, and it writes on beside ours."""
    opened = open_breakdowns(tmp_path, 0)
    write(opened, {KEY: (7, ROWS)})
    opened.close()
    with closing(sqlite3.connect(tmp_path / FILE_NAME)) as earlier:
        for column in MEASURES:
            earlier.execute(f"ALTER TABLE cells DROP COLUMN {column}")
        earlier.commit()
        now = open_breakdowns(tmp_path, 0)
        earlier.execute("UPDATE cells SET agree = agree + 1")
        earlier.commit()
    rows = now.read([KEY])[KEY].rows
    assert rows == {cell: (numbers[0] + 1, *numbers[1:5], 0, 0, 0) for cell, numbers in ROWS.items()}
    write(now, {KEY: (7, {TOTAL: (0, 0, 0, 0, 0, 1, 2, 3)})})
    assert now.read([KEY])[KEY].rows[TOTAL][-3:] == (1, 2, 3)
    now.close()

"""Counts of disagreement on the disk: added, read back in order, forgotten with their stretch."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.observer.breakdown import TOTAL, Cell
from proxy.observer.breakdown_store import FILE_NAME, BreakdownStore, StretchKey, open_breakdowns

KEY = StretchKey("wine", "wine-v4", "d1")
OTHER = StretchKey("wine", "wine-v5", "d1")
ROWS = {
    Cell("slice", "tier", "silver"): (1, 2, 3, 4, 5),
    TOTAL: (10, 20, 30, 40, 50),
    Cell("slice", "tier", "gold"): (0, 1, 0, 1, 1),
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[BreakdownStore]:
    opened = open_breakdowns(tmp_path, 0)
    yield opened
    opened.close()


def test_what_is_added_adds_up(store: BreakdownStore) -> None:
    """Two writes of the same counts are twice the counts, in the order in which they first came."""
    assert store.exchange({KEY: (7, ROWS)}, [OTHER]) == {}
    kept = store.exchange({KEY: (9, ROWS)}, [KEY])[KEY]
    assert kept.since_wall_ns == 7
    assert list(kept.rows) == list(ROWS)
    assert kept.rows == {cell: tuple(2 * number for number in numbers) for cell, numbers in ROWS.items()}


def test_two_observers_write_at_a_time(store: BreakdownStore, tmp_path: Path) -> None:
    """In an upgrade neither overwrites the other."""
    second = open_breakdowns(tmp_path, 0)
    store.exchange({KEY: (7, ROWS)}, [])
    second.exchange({KEY: (8, {TOTAL: (1, 0, 0, 0, 0)})}, [])
    assert store.exchange({}, [KEY])[KEY].rows[TOTAL] == (11, 20, 30, 40, 50)
    second.close()


def test_a_stretch_that_is_over_is_forgotten(store: BreakdownStore) -> None:
    """Only what is in force stays."""
    store.exchange({KEY: (7, ROWS), OTHER: (7, ROWS)}, [])
    store.keep_only([OTHER])
    assert store.exchange({}, [KEY, OTHER]).keys() == {OTHER}


def test_a_new_process_finds_it(tmp_path: Path) -> None:
    """What was written stays, in a file of the user alone."""
    first = open_breakdowns(tmp_path, 0)
    first.exchange({KEY: (7, ROWS)}, [])
    first.close()
    second = open_breakdowns(tmp_path, 0)
    assert second.exchange({}, [KEY])[KEY].rows == ROWS
    assert (tmp_path / FILE_NAME).stat().st_mode & 0o777 == 0o600
    second.close()


def test_a_damaged_file_is_moved_aside(tmp_path: Path) -> None:
    """Counting begins anew rather than not at all."""
    (tmp_path / FILE_NAME).write_bytes(b"no database at all" * 1000)
    store = open_breakdowns(tmp_path, 5_000_000_000)
    assert store.exchange({KEY: (7, ROWS)}, [KEY])[KEY].rows == ROWS
    assert (tmp_path / f"{FILE_NAME}.damaged-5").exists()
    store.close()

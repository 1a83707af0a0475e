"""Remnants: who still counts there, and until when they are a source."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.evidence.blocks import adopt, has_evidence, open_evidence, sources
from proxy.evidence.counts import read
from proxy.evidence.layout import FIELDS, REQUEST_EVENTS
from proxy.evidence.remnants import (
    ended_remnants,
    follow_remnant,
    has_observer,
    has_workers,
    is_stored,
    let_go,
    lock_observer,
    lock_workers,
    mark_stored,
    remnants,
)

EPOCH = "0123456789abcdef"


@pytest.fixture
def ours(tmp_path: Path) -> Path:
    return directory(tmp_path / "ours")


@pytest.fixture
def dead(tmp_path: Path) -> Path:
    return directory(tmp_path / "dead")


@pytest.fixture
def lock(dead: Path) -> Iterator[int]:
    """What the supervisor, and each worker, of the dead directory has."""
    lock = lock_workers(dead)
    yield lock
    os.close(lock)


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def add(run_dir: Path, number: int) -> None:
    """Count on behalf of a worker."""
    block = open_evidence(run_dir, EPOCH, 0, 2 * FIELDS)
    block.slots[REQUEST_EVENTS] += number
    block.close()


def counted(run_dir: Path) -> dict[str, int]:
    return {name: int(read(place, EPOCH, 2)[0, REQUEST_EVENTS]) for name, place in sources(run_dir).items()}


def test_a_copy_of_the_lock_is_as_good_as_the_lock(dead: Path) -> None:
    """Somebody may count until the supervisor and the last worker, which has the lock from its birth, are gone."""
    supervisor = lock_workers(dead)
    read_end, write_end = os.pipe()
    worker = os.fork()
    if worker == 0:
        os.close(write_end)
        os.read(read_end, 1)
        os._exit(0)
    os.close(read_end)
    os.close(supervisor)
    assert has_workers(dead)
    os.close(write_end)
    os.waitpid(worker, 0)
    assert not has_workers(dead)


def test_asking_takes_nothing(dead: Path, lock: int) -> None:
    """Two who ask, and one who asks about another process, do not take each other for it."""
    assert has_workers(dead)
    assert not has_observer(dead)
    observer = lock_observer(dead)
    assert has_observer(dead)
    os.close(observer)
    assert not has_observer(dead)
    assert has_workers(dead)


def test_nobody_was_ever_there(tmp_path: Path) -> None:
    """Where there is no lock, not even a directory, nobody counts."""
    assert not has_workers(tmp_path)
    assert not has_workers(tmp_path / "gone")


def test_a_remnant_is_a_source_until_it_is_let_go(ours: Path, dead: Path) -> None:
    """It is read where it lies, with what was adopted there, and under the same names as before."""
    add(ours, 1)
    add(dead, 10)
    before = directory(ours.parent / "before")
    add(before, 100)
    adopt(dead, before)
    follow_remnant(ours, dead)
    follow_remnant(ours, dead)
    add(dead, 5)
    assert counted(ours) == {"ours": 1, "dead": 15, "before": 100}
    let_go(ours, "dead")
    let_go(ours, "dead")
    assert counted(ours) == {"ours": 1}
    assert has_evidence(dead), "who lets go deletes nothing"


def test_it_has_ended_with_its_last_worker(ours: Path, dead: Path, lock: int) -> None:
    """Before, there may be more to come."""
    quiet = directory(ours.parent / "quiet")
    for each in (dead, quiet):
        follow_remnant(ours, each)
    assert remnants(ours) == {"dead": dead, "quiet": quiet}
    assert ended_remnants(ours) == {"quiet"}


def test_a_remnant_that_is_gone_is_none(ours: Path, dead: Path) -> None:
    """Somebody removed it all the same: there is nothing to read, and nothing to wait for."""
    follow_remnant(ours, dead)
    dead.rmdir()
    assert sources(ours) == {"ours": ours}
    assert ended_remnants(ours) == {"dead"}


def test_what_is_adopted_is_evidence(ours: Path, dead: Path) -> None:
    """A directory in which nobody has counted, but which keeps what another has, is worth keeping."""
    assert not has_evidence(ours)
    add(dead, 1)
    adopt(ours, dead)
    assert has_evidence(ours)


def test_stored_is_said_once_and_for_all(ours: Path) -> None:
    """Nothing is, until it is said."""
    assert not is_stored(ours)
    mark_stored(ours)
    mark_stored(ours)
    assert is_stored(ours)

"""The map of units: shared, saved, restored and handed on."""

import errno
import os
import zlib
from pathlib import Path

import numpy as np
import pytest

from proxy.evidence.layout import CELLS, CELLS_STANDING
from proxy.evidence.units import (
    cells_of,
    forget_units,
    link_units,
    open_units,
    remove_units,
    restore_units,
    save_units,
    saved_units,
    units_path,
)

ROLLOUT = "00112233aabbccdd"


def mark(run_dir: Path, cell: int, value: int = 1, cells: int = CELLS_STANDING) -> None:
    block = open_units(run_dir, ROLLOUT, cells)
    view = cells_of(block)
    view[cell] |= value
    view.release()
    block.close()


def at(run_dir: Path, cell: int) -> int:
    return int(np.fromfile(units_path(run_dir, ROLLOUT), np.uint16)[cell])


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    path = tmp_path / "run"
    path.mkdir()
    return path


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.mark.parametrize("cells", [CELLS, CELLS_STANDING])
def test_a_new_map_is_empty_private_and_owns_its_space(run_dir: Path, cells: int) -> None:
    """Two bytes for each cell, zeros, for this user alone; a second worker has the same one."""
    mark(run_dir, 5, cells=cells)
    first, second = open_units(run_dir, ROLLOUT, cells), open_units(run_dir, ROLLOUT, cells)
    one, other = cells_of(first), cells_of(second)
    assert len(one) == cells
    assert other[5] == 1
    one[6] = 0xFF03
    assert other[5:8].tolist() == [1, 0xFF03, 0]
    status = units_path(run_dir, ROLLOUT).stat()
    assert status.st_mode & 0o777 == 0o600
    assert status.st_blocks * 512 >= 2 * cells


def test_saved_and_restored(run_dir: Path, state_dir: Path) -> None:
    """What was saved comes back into a run directory that has none."""
    mark(run_dir, 7, 5)
    assert save_units(run_dir, state_dir, ROLLOUT) is not None
    assert saved_units(state_dir) == {ROLLOUT}
    assert (state_dir / "rollouts" / f"{ROLLOUT}.cells").stat().st_mode & 0o777 == 0o600
    remove_units(run_dir, ROLLOUT)
    assert not units_path(run_dir, ROLLOUT).exists()
    assert restore_units(run_dir, state_dir, ROLLOUT)
    assert at(run_dir, 7) == 5
    mark(run_dir, 8)
    assert at(run_dir, 7) == 5


def test_only_a_change_is_written(run_dir: Path, state_dir: Path) -> None:
    """Saving again costs a look, until something has changed."""
    place = state_dir / "rollouts" / f"{ROLLOUT}.cells"
    mark(run_dir, 7)
    first = save_units(run_dir, state_dir, ROLLOUT)
    inode = place.stat().st_ino
    place.rename(place.with_suffix(".kept"))
    assert save_units(run_dir, state_dir, ROLLOUT, first) == first
    assert not place.exists()
    mark(run_dir, 8)
    assert save_units(run_dir, state_dir, ROLLOUT, first) != first
    assert place.stat().st_ino != inode


def test_nothing_to_save_is_nothing(run_dir: Path, state_dir: Path) -> None:
    """Without a map, or with one that is just being made, nothing is written over what was saved."""
    assert save_units(run_dir, state_dir, ROLLOUT) is None
    units_path(run_dir, ROLLOUT).write_bytes(b"")
    assert save_units(run_dir, state_dir, ROLLOUT) is None
    assert saved_units(state_dir) == frozenset()


def test_a_map_that_is_there_is_newer(run_dir: Path, state_dir: Path) -> None:
    """Restoring does not touch what workers write to."""
    mark(run_dir, 1)
    save_units(run_dir, state_dir, ROLLOUT)
    mark(run_dir, 2)
    assert restore_units(run_dir, state_dir, ROLLOUT)
    assert at(run_dir, 2) == 1


@pytest.mark.parametrize("length", [None, 0, 100, 2 * CELLS_STANDING - 2, 2 * CELLS + 2])
def test_what_is_no_map_is_not_restored(run_dir: Path, state_dir: Path, length: int | None) -> None:
    """Nothing, half a file and something else are left where they are."""
    if length is not None:
        (state_dir / "rollouts").mkdir(parents=True)
        (state_dir / "rollouts" / f"{ROLLOUT}.cells").write_bytes(b"\1" * length)
    assert not restore_units(run_dir, state_dir, ROLLOUT)
    assert list(run_dir.iterdir()) == []


def test_no_link_is_followed(run_dir: Path, state_dir: Path, tmp_path: Path) -> None:
    """Where others can write beside us, a link of theirs is neither read nor written through."""
    theirs = tmp_path / "theirs"
    theirs.write_bytes(b"x" * 2 * CELLS_STANDING)
    (state_dir / "rollouts").mkdir(parents=True)
    saved = state_dir / "rollouts" / f"{ROLLOUT}.cells"
    saved.symlink_to(theirs)
    with pytest.raises(OSError, match="symbolic links"):
        restore_units(run_dir, state_dir, ROLLOUT)
    saved.with_suffix(".new").symlink_to(theirs)
    mark(run_dir, 7)
    save_units(run_dir, state_dir, ROLLOUT)
    assert theirs.read_bytes() == b"x" * 2 * CELLS_STANDING
    assert not saved.is_symlink()


def test_a_failed_saving_keeps_the_last(
    run_dir: Path, state_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk leaves what was saved before, and the next attempt is not in its way."""

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    mark(run_dir, 7)
    first = save_units(run_dir, state_dir, ROLLOUT)
    saved = state_dir / "rollouts" / f"{ROLLOUT}.cells"
    before = saved.read_bytes()
    mark(run_dir, 8)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="No space"):
            save_units(run_dir, state_dir, ROLLOUT, first)
    assert saved.read_bytes() == before
    save_units(run_dir, state_dir, ROLLOUT, first)
    units_path(run_dir, ROLLOUT).unlink()
    assert restore_units(run_dir, state_dir, ROLLOUT)
    assert at(run_dir, 8) == 1


@pytest.mark.parametrize("is_linked", [True, False], ids=["linked", "copied"])
def test_the_map_is_handed_on(
    run_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_linked: bool
) -> None:
    """After an upgrade both programs have one map; across file systems what was known is copied."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    if not is_linked:
        monkeypatch.setattr(os, "link", refuse)
    after = tmp_path / "after"
    after.mkdir()
    mark(run_dir, 7)
    link_units(run_dir, after)
    mark(run_dir, 8)
    assert [at(after, 7), at(after, 8)] == [1, int(is_linked)]
    link_units(run_dir, after)
    mark(after, 9)
    assert at(run_dir, 9) == int(is_linked)


def test_forgetting(run_dir: Path, state_dir: Path) -> None:
    """A rollout that is over leaves nothing, and may be forgotten twice."""
    mark(run_dir, 7)
    save_units(run_dir, state_dir, ROLLOUT)
    for _ in range(2):
        forget_units(state_dir, ROLLOUT)
        remove_units(run_dir, ROLLOUT)
    assert saved_units(state_dir) == frozenset()
    assert list(run_dir.iterdir()) == []


def test_a_map_of_bytes_is_none(run_dir: Path, state_dir: Path) -> None:
    """What a program with cells of one byte saved has the same size, and is not taken for cells of two."""
    (state_dir / "rollouts").mkdir(parents=True)
    (state_dir / "rollouts" / f"{ROLLOUT}.map").write_bytes(zlib.compress(b"\1" * 2 * CELLS))
    assert not restore_units(run_dir, state_dir, ROLLOUT)
    assert saved_units(state_dir) == frozenset()

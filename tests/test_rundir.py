"""The run directory: private, gone at the end, and no other's is touched."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from proxy.rundir import run_directory

LONG_AGO_S = 1_000_000_000


def leave_behind(parent: Path, name: str, *, lock: bool = True) -> Path:
    """Make the directory of a supervisor that was killed long ago."""
    path = parent / name
    path.mkdir()
    (path / "w0-1.tally").write_bytes(b"\0" * 8)
    if lock:
        (path / "supervisor.lock").touch()
    os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return path


def test_it_is_private_and_gone_at_the_end(tmp_path: Path) -> None:
    """Mode 0700 while it is used; removed with all that is in it."""
    with run_directory((tmp_path,)) as (path, _):
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        (path / "w0-1.tally").touch()
    assert list(tmp_path.iterdir()) == []


def test_it_is_gone_after_a_failure_too(tmp_path: Path) -> None:
    """An exception leaves nothing behind."""
    with pytest.raises(RuntimeError), run_directory((tmp_path,)):
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


def test_the_next_parent_is_tried(tmp_path: Path) -> None:
    """Where the first place is missing the second is taken."""
    with run_directory((tmp_path / "missing", tmp_path)) as (path, _):
        assert path.parent == tmp_path


def test_no_place_at_all_is_an_error(tmp_path: Path) -> None:
    """Where nothing can be written the error names the place."""
    with pytest.raises(OSError, match="missing"), run_directory((tmp_path / "missing",)):
        pass


def test_the_default_leaves_room_for_a_socket() -> None:
    """The path of the observer's socket fits into what the system allows."""
    with run_directory() as (path, _):
        assert len(os.fsencode(path / "observer.sock")) < 104


def test_what_a_killed_supervisor_left_is_removed(tmp_path: Path) -> None:
    """An old directory whose lock nobody holds goes."""
    stale = leave_behind(tmp_path, "modelproxy-dead")
    with run_directory((tmp_path,)):
        assert not stale.exists()


def test_what_is_alive_or_not_ours_stays(tmp_path: Path) -> None:
    """A locked directory stays, and so do a young one, one without a lock, and another program's."""
    alive = leave_behind(tmp_path, "modelproxy-alive")
    young = leave_behind(tmp_path, "modelproxy-young")
    os.utime(young)
    unlocked = leave_behind(tmp_path, "modelproxy-nolock", lock=False)
    other = leave_behind(tmp_path, "other")
    with (alive / "supervisor.lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with run_directory((tmp_path,)):
            pass
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in (alive, young, unlocked, other)
    }


def test_what_a_link_points_to_stays(tmp_path: Path) -> None:
    """A link with a name like ours, which anybody can make in a shared directory, leads to no removal."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    target = leave_behind(elsewhere, "modelproxy-old")
    parent = tmp_path / "shared"
    parent.mkdir()
    (parent / "modelproxy-link").symlink_to(target)
    os.utime(parent / "modelproxy-link", (LONG_AGO_S, LONG_AGO_S), follow_symlinks=False)
    with run_directory((parent,)):
        pass
    assert (target / "supervisor.lock").exists()

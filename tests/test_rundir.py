"""The run directory: private, gone at the end, and no other's is touched."""

import fcntl
import os
import stat
from pathlib import Path

import pytest

from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import FIELDS
from proxy.evidence.remnants import has_workers, lock_workers, mark_stored
from proxy.rundir import left_behind, owner_of, run_directory

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
    with run_directory((tmp_path,)) as (path, *_):
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
    with run_directory((tmp_path / "missing", tmp_path)) as (path, *_):
        assert path.parent == tmp_path


def test_no_place_at_all_is_an_error(tmp_path: Path) -> None:
    """Where nothing can be written the error names the place."""
    with pytest.raises(OSError, match="missing"), run_directory((tmp_path / "missing",)):
        pass


def test_the_default_leaves_room_for_a_socket() -> None:
    """The path of the observer's socket fits into what the system allows."""
    with run_directory() as (path, *_):
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


def count_in(run_dir: Path) -> None:
    open_evidence(run_dir, "0123456789abcdef", 0, FIELDS).close()


def test_evidence_that_is_not_stored_stays(tmp_path: Path) -> None:
    """The next start of the same owner finds it; what is stored goes."""
    for is_stored in (False, True):
        with run_directory((tmp_path,), "me") as (path, *_):
            count_in(path)
            if is_stored:
                mark_stored(path)
        assert path.exists() != is_stored
    (found,) = left_behind("me", (tmp_path,))
    assert not has_workers(found)
    assert left_behind("you", (tmp_path,)) == left_behind("", (tmp_path,)) == []


def test_the_directory_says_whose_it_is(tmp_path: Path) -> None:
    """Before anybody may take it for a dead one."""
    with run_directory((tmp_path,), "me") as (path, *_):
        assert left_behind("me", (tmp_path,)) == [path]
        assert has_workers(path)


def test_an_owner_is_a_state_directory(tmp_path: Path) -> None:
    """The same by another way, another one by the same way, none at all."""
    state = tmp_path / "state"
    assert owner_of(state) == ""
    state.mkdir()
    (tmp_path / "link").symlink_to(state)
    before = owner_of(state)
    assert owner_of(tmp_path / "link") == before
    state.rename(tmp_path / "before")
    state.mkdir()
    assert owner_of(state) not in ("", before)


def test_strangers_wait_a_day_for_the_owner(tmp_path: Path) -> None:
    """Evidence of another is left alone for a day after it was found dead, and removed then."""
    dead = leave_behind(tmp_path, "modelproxy-dead")
    (dead / "owner").write_text("you")
    count_in(dead)
    for found_s, stays in ((None, True), (None, True), (LONG_AGO_S, False)):
        if found_s is not None:
            os.utime(dead / "found", (found_s, found_s))
        os.utime(dead, (LONG_AGO_S, LONG_AGO_S))
        with run_directory((tmp_path,), "me"):
            assert dead.exists() == stays


def test_nothing_goes_while_its_workers_finish(tmp_path: Path) -> None:
    """However old it is, and whether or not there is evidence."""
    dead = leave_behind(tmp_path, "modelproxy-dead")
    workers = lock_workers(dead)
    os.utime(dead, (LONG_AGO_S, LONG_AGO_S))
    with run_directory((tmp_path,)):
        assert dead.exists()
    os.close(workers)
    with run_directory((tmp_path,)):
        assert not dead.exists()


def test_half_a_removal_is_ended(tmp_path: Path) -> None:
    """What somebody had begun to remove when he was killed goes, with or without its lock, and is nobody's evidence."""
    dead = leave_behind(tmp_path, "modelproxy-dead.gone", lock=False)
    (dead / "owner").write_text("me")
    count_in(dead)
    assert left_behind("me", (tmp_path,)) == []
    with run_directory((tmp_path,), "me"):
        assert not dead.exists()


def test_the_owner_keeps_its_own(tmp_path: Path) -> None:
    """What is its own is taken over, not swept away."""
    dead = leave_behind(tmp_path, "modelproxy-dead")
    (dead / "owner").write_text("me")
    os.utime(dead, (LONG_AGO_S, LONG_AGO_S))
    with run_directory((tmp_path,), "me"):
        assert dead.exists()

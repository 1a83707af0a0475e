"""The run directory: counters and the observer's socket, private to one supervisor and gone with it.

It lives in memory (``/dev/shm``) where that can be, so that counting never touches a disk. A supervisor that
was killed leaves its directory behind; the next one on the machine removes it, unless there is evidence in it: that is
for the next supervisor of the same owner (:mod:`proxy.remnants`), and others remove it only when nobody has come for it
for a day. Who is alive is told by a lock, not by a process id, which another process may have by now.
"""

import contextlib
import fcntl
import logging
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from proxy.clock import wall_ns
from proxy.evidence.blocks import has_evidence
from proxy.evidence.remnants import has_workers, is_stored, lock_workers
from proxy.private import open_private

__all__ = [
    "RunDirectory",
    "end_run_directory",
    "left_behind",
    "owner_of",
    "remove_run_directory",
    "run_directory",
    "take_over",
    "unlock",
]

_PREFIX = "modelproxy-"
_LOCK = "supervisor.lock"
_GONE = ".gone"
_OWNER = "owner"
_FOUND = "found"
"""Written by a stranger who finds the directory dead: since when it waits for somebody who wants its evidence."""

_SHARED_MEMORY = Path("/dev/shm")

_MAX_PARENT_BYTES = 60
"""A Unix socket's path may have about 100 bytes (104 on macOS, 108 on Linux); the names below take 35."""

_MAX_OWNER_BYTES = 5000

_SETTLED_NS = 60_000_000_000
"""A younger directory may belong to a supervisor that has not locked it yet."""

_KEPT_NS = 24 * 3600 * 1_000_000_000
"""So long strangers leave alone what has evidence, once they found it dead."""

_log = logging.getLogger("modelproxy")


class RunDirectory(NamedTuple):
    """A run directory and the descriptors that hold its locks."""

    path: Path
    lock: int
    workers: int = -1
    """The lock that workers hold too (:func:`proxy.evidence.remnants.lock_workers`); -1: not ours to hand out."""


@contextlib.contextmanager
def run_directory(parents: tuple[Path, ...] = (), owner: str = "") -> Iterator[RunDirectory]:
    """Make a private directory (mode 0700), lock it, and end it at the end.

    Args:
        parents: where to try, in this order; by default shared memory, the system's temporary directory,
            ``/tmp``.
        owner: who may take over what is in it (:func:`owner_of`); empty: nobody.

    Raises:
        OSError: none of them can be written; the message names the last one.
    """
    path = _make(parents or _default_parents())
    lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    directory = RunDirectory(path, lock)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        directory = directory._replace(workers=lock_workers(path))
        # Last: who finds it knows by it that the locks were taken.
        _write_owner(path, owner)
        _remove_stale(path.parent, owner)
        yield directory
    finally:
        end_run_directory(directory)


def owner_of(state_dir: Path) -> str:
    """Return by what the run directories of ``state_dir`` are known; empty where it cannot be told."""
    try:
        status = state_dir.stat()
        return f"{status.st_dev}:{status.st_ino}:{state_dir.resolve()}"
    except OSError:
        return ""


def end_run_directory(directory: RunDirectory) -> None:
    """Remove a directory that nobody counts in any more; if there is evidence that was not stored, leave it behind."""
    if has_evidence(directory.path) and not is_stored(directory.path):
        _log.warning("%s: not all evidence was stored; it stays, for the next start", directory.path)
        unlock(directory)
    else:
        remove_run_directory(directory)


def remove_run_directory(directory: RunDirectory) -> None:
    """Remove a directory that nobody counts in any more, all at once, and give up its locks."""
    # Who reads it would take what is half removed for the whole.
    gone = directory.path.with_name(directory.path.name + _GONE)
    with contextlib.suppress(OSError):
        directory.path.rename(gone)
    shutil.rmtree(directory.path, ignore_errors=True)
    shutil.rmtree(gone, ignore_errors=True)
    unlock(directory)


def left_behind(owner: str, parents: tuple[Path, ...] = ()) -> list[Path]:
    """Return the run directories of ``owner``, those begun last first: its own, and what killed supervisors left."""
    found: list[tuple[int, Path]] = []
    for parent in dict.fromkeys(parents or _default_parents()):
        for path in parent.glob(f"{_PREFIX}*"):
            with contextlib.suppress(OSError):
                # What is half removed was read to its end, under another name: its counts would count twice.
                is_whole = path.suffix != _GONE and _is_private(path)
                if owner and is_whole and _read_owner(path) == owner:
                    found.append(((path / _OWNER).stat().st_mtime_ns, path))
    return [path for _, path in sorted(found, reverse=True)]


def take_over(path: Path) -> RunDirectory | None:
    """Take the place of a dead supervisor: while the descriptor is open nobody removes it. None: it is not dead.

    Raises:
        OSError: it is gone.
    """
    lock = open_private(path / _LOCK, os.O_RDWR)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return RunDirectory(path, lock)


def unlock(directory: RunDirectory) -> None:
    """Give up the locks of a directory that stays."""
    for fd in (directory.lock, directory.workers):
        if fd >= 0:
            os.close(fd)


def _default_parents() -> tuple[Path, ...]:
    default = Path(tempfile.gettempdir())
    short = (default,) if len(os.fsencode(default)) <= _MAX_PARENT_BYTES else ()
    return (_SHARED_MEMORY, *short, Path("/tmp"))


def _make(parents: tuple[Path, ...]) -> Path:
    failure: OSError | None = None
    for parent in parents:
        try:
            return Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        except OSError as error:
            failure = error
    assert failure is not None
    raise failure


def _is_private(path: Path) -> bool:
    # Others can write in the parent: a link of theirs to a directory of ours is none that was left behind.
    status = path.lstat()
    return stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid()


def _write_owner(path: Path, owner: str) -> None:
    with os.fdopen(open_private(path / _OWNER, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(os.fsencode(owner))


def _read_owner(path: Path) -> str:
    try:
        fd = open_private(path / _OWNER, os.O_RDONLY)
    except FileNotFoundError:
        return ""
    with os.fdopen(fd, "rb") as file:
        return os.fsdecode(file.read(_MAX_OWNER_BYTES))


def _remove_stale(parent: Path, owner: str) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if _is_private(path):
                _remove_if_stale(path, owner)


def _remove_if_stale(path: Path, owner: str) -> None:
    theirs = _read_owner(path)
    if path.suffix == _GONE:
        shutil.rmtree(path)  # by somebody who was killed while he removed it
        return
    if wall_ns() - path.lstat().st_mtime_ns < _SETTLED_NS or (owner and theirs == owner):
        return
    directory = take_over(path)
    if directory is None:
        return
    if has_workers(path) or (theirs and has_evidence(path) and not _has_waited(path)):
        unlock(directory)
        return
    remove_run_directory(directory)
    _log.info("removed %s, left behind by a supervisor that was killed", path)


def _has_waited(path: Path) -> bool:
    """Tell whether it was found dead long ago; note it when it is found for the first time."""
    try:
        return wall_ns() - (path / _FOUND).stat().st_mtime_ns >= _KEPT_NS
    except FileNotFoundError:
        (path / _FOUND).touch(mode=0o600)
        return False

"""The run directory: counters and the observer's socket, private to one supervisor and gone with it.

It lives in memory (``/dev/shm``) where that can be, so that counting never touches a disk. A supervisor that
was killed leaves its directory behind; the next one on the machine removes it. Who is alive is told by a
lock, not by a process id, which another process may have by now.
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

__all__ = ["RunDirectory", "remove_run_directory", "run_directory"]

_PREFIX = "modelproxy-"
_LOCK = "supervisor.lock"
_SHARED_MEMORY = Path("/dev/shm")

_MAX_PARENT_BYTES = 60
"""A Unix socket's path may have about 100 bytes (104 on macOS, 108 on Linux); the names below take 35."""

_SETTLED_NS = 60_000_000_000
"""A younger directory may belong to a supervisor that has not locked it yet."""

_log = logging.getLogger("modelproxy")


class RunDirectory(NamedTuple):
    """A run directory and the descriptor that holds its lock."""

    path: Path
    lock: int


@contextlib.contextmanager
def run_directory(parents: tuple[Path, ...] = ()) -> Iterator[RunDirectory]:
    """Make a private directory (mode 0700), lock it, and remove it at the end.

    Args:
        parents: where to try, in this order; by default shared memory, the system's temporary directory,
            ``/tmp``.

    Raises:
        OSError: none of them can be written; the message names the last one.
    """
    path = _make(parents or _default_parents())
    lock = os.open(path / _LOCK, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        _remove_stale(path.parent)
        yield RunDirectory(path, lock)
    finally:
        remove_run_directory(RunDirectory(path, lock))


def remove_run_directory(directory: RunDirectory) -> None:
    """Remove a directory that nobody counts in any more, and give up its lock."""
    shutil.rmtree(directory.path, ignore_errors=True)
    os.close(directory.lock)


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


def _remove_stale(parent: Path) -> None:
    for path in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            _remove_if_stale(path)


def _remove_if_stale(path: Path) -> None:
    # Others can write in the parent: a link of theirs to a directory of ours is none that was left behind.
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        return
    if wall_ns() - status.st_mtime_ns < _SETTLED_NS:
        return
    lock = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(path)
        _log.info("removed %s, left behind by a supervisor that was killed", path)
    finally:
        os.close(lock)

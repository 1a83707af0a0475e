"""Remnants: run directories of supervisors that were killed, with evidence in them that may not be stored yet.

Its workers finish what they have begun, and count it, when nobody may be there any more who reads. So the next
supervisor keeps such a directory (:mod:`proxy.remnants`) and names it in its own one: a remnant is a source of evidence
beside ours. Our observer reads it until its last worker has ended, stores what it read, and then lets it go
(:func:`let_go`): from then on it may be deleted. A directory whose observer could not store everything in the end, and
say so (:func:`mark_stored`), becomes a remnant too.

Who is alive is told by two locks in each run directory. That of the workers is held by the supervisor and handed to
each worker at its birth, so that there is no moment in which one lives without it.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

from proxy.private import make_private_directory, open_private

__all__ = [
    "ended_remnants",
    "follow_remnant",
    "has_observer",
    "has_workers",
    "is_stored",
    "let_go",
    "lock_observer",
    "lock_workers",
    "mark_stored",
    "remnants",
]

_REMNANTS = "remnants"
_WORKERS = "workers.lock"
_OBSERVER = "observer.lock"
_STORED = "stored"


def lock_workers(run_dir: Path) -> int:
    """Return a descriptor; who has it, or a copy, may count in ``run_dir``.

    Raises:
        OSError: no space, no permission, no locks.
    """
    return _lock(run_dir / _WORKERS)


def lock_observer(run_dir: Path) -> int:
    """Return a descriptor; who has it may have evidence of ``run_dir`` that is not stored yet.

    Raises:
        OSError: as :func:`lock_workers`.
    """
    return _lock(run_dir / _OBSERVER)


def has_workers(run_dir: Path) -> bool:
    """Tell whether anybody may count there: a worker, or a supervisor that would start one."""
    return _is_locked(run_dir / _WORKERS)


def has_observer(run_dir: Path) -> bool:
    """Tell whether an observer still reads there."""
    return _is_locked(run_dir / _OBSERVER)


def follow_remnant(run_dir: Path, remnant: Path) -> None:
    """Make ``remnant`` a source of ``run_dir``.

    Raises:
        OSError: no space.
    """
    make_private_directory(run_dir / _REMNANTS)
    with suppress(FileExistsError):
        (run_dir / _REMNANTS / remnant.name).symlink_to(remnant)


def remnants(run_dir: Path) -> dict[str, Path]:
    """Return every remnant that was not let go, by name."""
    found: dict[str, Path] = {}
    for link in (run_dir / _REMNANTS).glob("*"):
        with suppress(OSError):
            found[link.name] = link.readlink()
    return found


def ended_remnants(run_dir: Path) -> frozenset[str]:
    """Return those in which nobody counts any more: what is read from now on is all there will be."""
    return frozenset(name for name, place in remnants(run_dir).items() if not has_workers(place))


def let_go(run_dir: Path, name: str) -> None:
    """Say that all there is in a remnant is stored, or that nobody will ever want it."""
    (run_dir / _REMNANTS / name).unlink(missing_ok=True)


def mark_stored(run_dir: Path) -> None:
    """Say that all there is in our own run directory is stored, and nobody counts there any more.

    Raises:
        OSError: no space.
    """
    (run_dir / _STORED).touch(mode=0o600)


def is_stored(run_dir: Path) -> bool:
    """Tell whether :func:`mark_stored` was called."""
    return (run_dir / _STORED).exists()


def _lock(path: Path) -> int:
    fd = open_private(path, os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(fd)
        raise
    return fd


def _is_locked(path: Path) -> bool:
    try:
        fd = open_private(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who ask at a time do not take each other for the holder.
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(fd)
    return False

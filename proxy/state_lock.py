"""One supervisor for each ``state_dir``: two would number tables alike, and mix their journals and payload files.

Who is alive is told by a lock, which ends with its holder however it ends. It guards against a mistake, not against
an attack: where it cannot be had (a read-only directory, a file system without locks) the proxy starts all the same.
"""

import fcntl
import logging
import os
from pathlib import Path

from proxy.private import make_private_directory, open_private

__all__ = ["LOCK_NAME", "StateInUseError", "lock_state"]

LOCK_NAME = "supervisor.lock"

_log = logging.getLogger("modelproxy")


class StateInUseError(Exception):
    """Another supervisor has the directory. ``str()`` is the sentence to print."""


def lock_state(state_dir: Path) -> int | None:
    """Lock ``state_dir`` for this process and return the descriptor that holds the lock; None where none can be had.

    Raises:
        StateInUseError: another process holds it.
    """
    path = state_dir / LOCK_NAME
    try:
        make_private_directory(state_dir)
        lock = open_private(path, os.O_RDWR | os.O_CREAT)
    except OSError as error:
        _log.warning(
            "%s: cannot lock the state directory: %s; make sure that it has one user", path, error.strerror
        )
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(lock, 0)
        os.pwrite(lock, b"%d\n" % os.getpid(), 0)
    except BlockingIOError:
        holder = os.pread(lock, 20, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(lock)
        raise StateInUseError(
            f"state_dir: {state_dir} is in use by another supervisor (process {holder}); stop it, or choose another "
            "directory: two would give different tables the same version"
        ) from None
    except OSError as error:
        _log.warning(
            "%s: cannot lock the state directory: %s; make sure that it has one user", path, error.strerror
        )
    return lock

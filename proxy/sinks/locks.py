"""Who is writing a file: whoever holds its lock, which the system lets go when he ends, however he ends.

During an upgrade two observers write into the same directories, and each tidies up there.
"""

import fcntl
import os
from contextlib import suppress
from pathlib import Path

__all__ = ["hold", "is_held"]


def hold(fd: int) -> None:
    """Take the lock of an open file for as long as it is open. On file systems without locks nothing happens."""
    with suppress(OSError):  # the file was made exclusively: nobody else writes it
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_held(path: Path) -> bool:
    """Tell whether somebody is writing the file. One that cannot be opened counts as free."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(fd)
    return False

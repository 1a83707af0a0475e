"""Directories and files that belong to this user alone, also where others can write beside them.

``state_dir`` may lie in a directory that is shared (``/tmp``, a volume of several containers). So nothing of ours is
opened through a link that somebody put in its place, and every directory that is made on the way is closed to others.
"""

import os
from pathlib import Path

__all__ = ["make_private_directory", "open_private"]


def make_private_directory(path: Path) -> None:
    """Make ``path`` and every directory above it that is missing, each with mode 0700.

    ``Path.mkdir(parents=True)`` gives the mode to the last one alone. What exists stays as it is.

    Raises:
        OSError: it cannot be made, or something else has its name.
    """
    if path.is_dir():
        return
    make_private_directory(path.parent)
    path.mkdir(mode=0o700, exist_ok=True)


def open_private(path: Path, flags: int) -> int:
    """Open ``path`` with ``flags``, mode 0600 if it is made, and return its descriptor.

    Raises:
        OSError: as ``os.open``; ``ELOOP`` when ``path`` is a symbolic link.
    """
    return os.open(path, flags | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)

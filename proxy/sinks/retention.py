"""Which files must go: the oldest, once all together are too large, and those that are too old.

A file's age is told by its name, which says when it was begun, not by its times in the file system: copies and backups
change those. So no record is kept for longer than ``keep_age``, and one of a file's last ones for as much less as the
file was open.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR
from typing import Final

from proxy.sinks.locks import is_held

__all__ = ["PREFIX", "begun_ns", "prune", "stamp_of", "surplus"]

PREFIX: Final = "payloads-"
"""Of every file's name. Behind it stands when it was begun, ``YYYYmmddTHHMMSS``, UTC, and a number: names sort by age.
"""

_STAMP: Final = "%Y%m%dT%H%M%S"
_STAMP_LENGTH: Final = 15
_SECOND_NS: Final = 1_000_000_000


def stamp_of(wall_ns: int) -> str:
    """Return the part of a name that says when a file was begun."""
    return datetime.fromtimestamp(wall_ns // _SECOND_NS, UTC).strftime(_STAMP)


def begun_ns(name: str) -> int | None:
    """Return when the file of this name was begun; None where the name does not say."""
    stamp = name.removeprefix(PREFIX)[:_STAMP_LENGTH]
    if not name.startswith(PREFIX) or len(stamp) < _STAMP_LENGTH:
        return None
    try:
        return int(datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()) * _SECOND_NS
    except ValueError:
        return None


def surplus(files: Sequence[tuple[str, int]], room: int, oldest_ns: int) -> set[str]:
    """Return the files that must go.

    Args:
        files: path and size of each. Files in different directories may have one name.
        room: bytes that those that stay may take; the oldest go first.
        oldest_ns: what was begun before goes, whatever the room.
    """
    gone = set()
    total = sum(size for _, size in files)
    for path, size in sorted(files, key=lambda file: (_name(file[0]), file)):
        begun = begun_ns(_name(path))
        if total > room or (begun is not None and begun < oldest_ns):
            gone.add(path)
            total -= size
    return gone


def prune(paths: Iterable[Path], room: int, oldest_ns: int) -> list[Path]:
    """Delete those of ``paths`` that must go, but none that is being written, and return them. See :func:`surplus`.

    What has another kind of name somebody else has put there: it stays, and counts for nothing.
    """
    ours = (path for path in paths if begun_ns(path.name) is not None)
    found = {str(path): size for path in ours if (size := _size(path)) is not None}
    deleted = []
    for path in map(Path, sorted(surplus(list(found.items()), room, oldest_ns))):
        if not is_held(path):
            path.unlink(missing_ok=True)
            deleted.append(path)
    return deleted


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _size(path: Path) -> int | None:
    """Return the bytes of a file; None if it is gone (during an upgrade two observers prune), or is a directory."""
    try:
        found = path.lstat()
    except FileNotFoundError:
        return None
    return None if S_ISDIR(found.st_mode) else found.st_size

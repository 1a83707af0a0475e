"""Which files must go: the oldest, once all together are too large, and those that are too old.

A file's age is told by its name, which says when it was begun, not by its times in the file system: copies and backups
change those. So no record is kept for longer than ``keep_age``, and one of a file's last ones for as much less as the
file was open.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
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
    """Return the names that must go.

    Args:
        files: name and size of each.
        room: bytes that those that stay may take; the oldest go first.
        oldest_ns: what was begun before goes, whatever the room.
    """
    gone = set()
    total = sum(size for _, size in files)
    for name, size in sorted(files):
        begun = begun_ns(name)
        if total > room or (begun is not None and begun < oldest_ns):
            gone.add(name)
            total -= size
    return gone


def prune(paths: Iterable[Path], room: int, oldest_ns: int) -> list[Path]:
    """Delete those of ``paths`` that must go, but none that is being written, and return them. See :func:`surplus`."""
    found = {path.name: path for path in paths}
    sizes = [(name, size) for name, path in found.items() if (size := _size(path)) is not None]
    gone = [found[name] for name in sorted(surplus(sizes, room, oldest_ns))]
    deleted = []
    for path in gone:
        if not is_held(path):
            path.unlink(missing_ok=True)
            deleted.append(path)
    return deleted


def _size(path: Path) -> int | None:
    """Return the bytes of a file; None if it is gone: during an upgrade two observers prune."""
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None

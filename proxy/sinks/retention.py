"""Which files must go: the oldest, once all together are too large, and those that are too old.

A file's age is told by its name, which says when it was begun, not by its times in the file system: copies and backups
change those. So no record is kept for longer than ``keep_age``, and one of a file's last ones for as much less as the
file was open.

Where the name cannot be right, since it names a moment to come or one before this program was written, the clock was
wrong when the file was begun. Then its time in the file system counts; if that cannot be right either, it is set to
now. So no such file is kept for ever, and none is deleted as soon as the clock is right.
"""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISDIR
from typing import Final, NamedTuple

from proxy.clock import monotonic_ns
from proxy.sinks.locks import is_held

__all__ = ["PREFIX", "AgeClock", "Found", "begun_ns", "prune", "stamp_of", "surplus"]

PREFIX: Final = "payloads-"
"""Of every file's name. Behind it stands when it was begun, ``YYYYmmddTHHMMSS``, UTC, and a number: names sort by age.
"""

_STAMP: Final = "%Y%m%dT%H%M%S"
_STAMP_LENGTH: Final = 15
_SECOND_NS: Final = 1_000_000_000
_SLACK_NS: Final = 60 * _SECOND_NS
"""Clocks are corrected by as much every day."""
_DOUBT_NS: Final = 3600 * _SECOND_NS
_EARLIEST_NS: Final = 1_577_836_800 * _SECOND_NS
"""2020. Machines whose clock nobody has set are in 1970, 2000 or in the year they were built."""


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


class AgeClock:
    """The time by which files are too old: wall time, but a jump ahead is not believed at once.

    A clock that is years ahead for a minute would have every file deleted. So what it says is believed once it has
    said so for an hour; until then time goes on from before the jump. At the start of a process that is from the last
    moment that a file of an earlier one tells of. A machine that slept, or wrote nothing for long, looks the same: its
    old files go an hour later.

    Args:
        monotonic_ns: a clock that does not jump.
    """

    def __init__(self, monotonic_ns: Callable[[], int] = monotonic_ns) -> None:
        self._monotonic_ns = monotonic_ns
        self._offset_ns: int | None = None
        """Wall time less the other, as it is believed."""
        self._jumped_ns: int | None = None
        """When the wall clock was first seen to be ahead."""

    def now_ns(self, wall_ns: int, last_ns: int | None = None) -> int:
        """Return the time to go by.

        Args:
            wall_ns: what the wall clock says.
            last_ns: what it said last before this process, as far as files tell; None: they do not.
        """
        steady_ns = self._monotonic_ns()
        offset_ns = wall_ns - steady_ns
        if self._offset_ns is None and last_ns is not None:
            self._offset_ns = last_ns - steady_ns
        if self._offset_ns is None or offset_ns <= self._offset_ns + _SLACK_NS:
            self._offset_ns, self._jumped_ns = offset_ns, None
            return wall_ns
        if self._jumped_ns is None:
            self._jumped_ns = steady_ns
        if steady_ns - self._jumped_ns < _DOUBT_NS:
            return steady_ns + self._offset_ns
        self._offset_ns, self._jumped_ns = offset_ns, None
        return wall_ns


class Found(NamedTuple):
    """A file that may have to go."""

    path: str
    size: int
    """Bytes."""
    begun_ns: int
    """When it was begun, as well as that is known."""
    last_ns: int = 0
    """The last moment that it tells of: when it was begun or written; 0: it tells of none."""


def surplus(files: Sequence[Found], room: int, oldest_ns: int) -> set[str]:
    """Return the files that must go.

    Args:
        files: those there are. Files in different directories may have one name.
        room: bytes that those that stay may take; the oldest go first.
        oldest_ns: what was begun before goes, whatever the room.
    """
    gone = set()
    total = sum(file.size for file in files)
    for file in sorted(files, key=lambda file: (file.begun_ns, _name(file.path), file.path)):
        if total > room or file.begun_ns < oldest_ns:
            gone.add(file.path)
            total -= file.size
    return gone


def prune(
    paths: Iterable[Path],
    room: int,
    now_ns: int,
    keep_age_ns: int | None = None,
    clock: AgeClock | None = None,
) -> list[Path]:
    """Delete those of ``paths`` that must go, but none that is being written, and return them. See :func:`surplus`.

    What has another kind of name somebody else has put there: it stays, and counts for nothing.

    Args:
        paths: of files in the directories of a sink.
        room: bytes that those that stay may take.
        now_ns: wall time.
        keep_age_ns: what was begun longer ago goes; None: nothing for its age.
        clock: says how long ago that is; None: the wall clock is believed.
    """
    found = [file for path in paths if (file := _found(path, now_ns)) is not None]
    if clock is not None:
        now_ns = clock.now_ns(now_ns, max((file.last_ns for file in found if file.last_ns), default=None))
    oldest_ns = 0 if keep_age_ns is None else now_ns - keep_age_ns
    deleted = []
    for path in map(Path, sorted(surplus(found, room, oldest_ns))):
        if not is_held(path):
            path.unlink(missing_ok=True)
            deleted.append(path)
    return deleted


def _found(path: Path, now_ns: int) -> Found | None:
    """Return what is known of a file; None if it is none of ours, or gone: during an upgrade two observers prune."""
    stamped_ns = begun_ns(path.name)
    if stamped_ns is None:
        return None
    try:
        status = path.lstat()
    except FileNotFoundError:
        return None
    if S_ISDIR(status.st_mode):
        return None
    moments_ns = [
        moment_ns
        for moment_ns in (stamped_ns, status.st_mtime_ns)
        if _EARLIEST_NS <= moment_ns <= now_ns + _SLACK_NS
    ]
    if moments_ns:
        return Found(str(path), status.st_size, moments_ns[0], max(moments_ns))
    if now_ns >= _EARLIEST_NS:
        with suppress(OSError):  # it is of another user, or gone: asked again the next time
            os.utime(path, ns=(now_ns, now_ns), follow_symlinks=False)
    return Found(str(path), status.st_size, now_ns)


def _name(path: str) -> str:
    return path.rpartition("/")[2]

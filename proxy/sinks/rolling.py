"""Files of lines that roll by size and age and are kept within a budget. Every line in them is whole.

A line may be a compressed frame as well: what is written whole or not at all.

Rules
    * A file is made when its first line comes: ``payloads-YYYYmmddTHHMMSS-NNN.jsonl``, UTC; names sort by
      age.
    * Files are 0600 and made exclusively: never an existing one, never through a link. A directory that has
      to be made is 0700.
    * A line that did not fit (a full disk) is cut off again, so that a reader never meets half a line.
    * A file that is being written is locked (:mod:`proxy.sinks.locks`) and is never deleted for size or age.
    * Not thread-safe, and every call may wait for the disk: it belongs to one thread of its own.
"""

import errno
import logging
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from proxy.private import make_private_directory, open_private
from proxy.sinks.locks import hold, is_held
from proxy.sinks.retention import PREFIX, AgeClock, begun_ns, prune, stamp_of

__all__ = ["FileLimits", "RollingFile"]

_MAX_SAME_SECOND: Final = 1000
_LOOK_BYTES: Final = 1 << 16

_log = logging.getLogger("modelproxy")

_NO_SPACE: Final = frozenset({errno.ENOSPC, errno.EDQUOT})
"""The file itself is sound and can go on once there is room. After any other error a fresh file is begun."""


@dataclass(frozen=True, slots=True)
class FileLimits:
    """Where the files lie and how large they get."""

    directory: Path
    roll_size: int
    """Bytes after which a file is complete. A single longer line gets a file of its own."""
    roll_every_ns: int
    """Age after which a file is complete."""
    keep_size: int
    """Bytes that all files may take together; the oldest are deleted."""
    keep_age_ns: int | None = None
    """Files that were begun longer ago are deleted; None: none for its age."""
    suffix: str = ".jsonl"
    """End of the names."""


class RollingFile:
    """The file that is being written, and the budget of those before it.

    Args:
        limits: sizes and place; may be replaced while no file is open.
        write: ``os.write``, or what stands in for it.
        age_clock: by which files are too old.
    """

    def __init__(
        self,
        limits: FileLimits,
        write: Callable[[int, bytes | memoryview], int] = os.write,
        age_clock: AgeClock | None = None,
    ) -> None:
        self.limits = limits
        self._write = write
        self._age_clock = AgeClock() if age_clock is None else age_clock
        self._fd: int | None = None
        self._path = limits.directory
        self._size = 0
        self._opened_wall_ns = 0
        self._stamp, self._number = "", 0
        self._is_first = True

    @property
    def path(self) -> Path | None:
        """The file that is open, if one is."""
        return None if self._fd is None else self._path

    def append(self, lines: Sequence[bytes], wall_ns: int) -> tuple[int, OSError | None]:
        """Write ``lines`` (each with its newline) and return how many are in the files, and what stopped
        the rest."""
        done = 0
        try:
            self.roll(wall_ns)
            while done < len(lines):
                if self._fd is not None and self._size + len(lines[done]) > self.limits.roll_size:
                    self.close()
                fd = self._open(wall_ns) if self._fd is None else self._fd
                count, error = self._write_lines(fd, self._fitting(lines, done))
                done += count
                if error is not None:
                    return done, error
        except OSError as error:
            self.close()
            return done, error
        return done, None

    def roll(self, wall_ns: int) -> None:
        """Close the file if it is too old, or if somebody has deleted it."""
        if self._fd is None:
            return
        # Also when the clock was set back: else the file would stay open until that time comes again.
        is_old = not 0 <= wall_ns - self._opened_wall_ns < self.limits.roll_every_ns
        if is_old or os.fstat(self._fd).st_nlink == 0:
            self.close()

    def close(self) -> None:
        """Close the file; one without a line is deleted."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        try:
            if not self._size:
                self._path.unlink(missing_ok=True)
        except OSError:
            pass  # an empty file is left behind; the next one is opened all the same
        finally:
            os.close(fd)

    def _fitting(self, lines: Sequence[bytes], start: int) -> Sequence[bytes]:
        """Return the lines from ``start`` that the open file still takes; at least one."""
        size, end = self._size + len(lines[start]), start + 1
        while end < len(lines) and size + len(lines[end]) <= self.limits.roll_size:
            size += len(lines[end])
            end += 1
        return lines[start:end]

    def _write_lines(self, fd: int, lines: Sequence[bytes]) -> tuple[int, OSError | None]:
        data = memoryview(b"".join(lines))
        at = 0
        try:
            while at < len(data):
                at += self._write(fd, data[at:])
        except OSError as error:
            count = size = 0
            while size + len(lines[count]) <= at:
                size += len(lines[count])
                count += 1
            self._cut(fd, self._size + size, error)
            return count, error
        self._size += at
        return len(lines), None

    def _cut(self, fd: int, size: int, error: OSError) -> None:
        """Take half a line off the end of the file, and leave the file if it is not sound."""
        self._size = size
        try:
            os.ftruncate(fd, size)
        except OSError:
            self.close()
            return
        if error.errno not in _NO_SPACE:
            self.close()

    def _open(self, wall_ns: int) -> int:
        directory = self.limits.directory
        make_private_directory(directory)
        if self._is_first and not self._mend():
            _log.warning("payload files: a half line that a killed process left could not be cut off")
        self._is_first = False
        self.prune(wall_ns)
        stamp = stamp_of(wall_ns)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
        # A number is never used twice, also when its file is gone already: names must sort by age.
        first = self._number + 1 if stamp == self._stamp else 0
        for number in range(first, _MAX_SAME_SECOND):
            path = directory / f"{PREFIX}{stamp}-{number:03d}{self.limits.suffix}"
            try:
                self._fd = open_private(path, flags)
            except FileExistsError:
                continue
            hold(self._fd)
            self._path, self._size, self._opened_wall_ns = path, 0, wall_ns
            self._stamp, self._number = stamp, number
            return self._fd
        raise FileExistsError(errno.EEXIST, "no free name for a payload file in this second", str(directory))

    def _mend(self) -> bool:
        """Cut off half a line at the end of the file written last: who is killed while he writes may leave one.
        False if that cannot be done."""
        if self.limits.suffix != ".jsonl":
            return True  # readers of frames pass over half a one
        ours = (
            path for path in self.limits.directory.glob(f"{PREFIX}*.jsonl") if begun_ns(path.name) is not None
        )
        # Not by their names, which a clock that was wrong has given.
        newest = max(ours, key=_written_ns, default=None)
        if newest is None or is_held(newest):
            return True
        try:
            fd = open_private(newest, os.O_RDWR)
        except OSError:
            return False
        try:
            size = os.fstat(fd).st_size
            if (whole := _whole_lines(fd, size)) < size:
                os.ftruncate(fd, whole)
        except OSError:
            return False
        finally:
            os.close(fd)
        return True

    def prune(self, wall_ns: int) -> None:
        """Delete the oldest files until the rest and a full new one keep within the budget, and those too old.

        Never the one that is open, also where there are no locks that would say so.

        Raises:
            OSError: one cannot be deleted.
        """
        limits = self.limits
        # Those without compression and those with it: the setting may have changed.
        files = (path for path in limits.directory.glob(f"{PREFIX}*.jsonl*") if path != self.path)
        prune(files, limits.keep_size - limits.roll_size, wall_ns, limits.keep_age_ns, self._age_clock)


def _written_ns(path: Path) -> tuple[int, str]:
    try:
        return path.lstat().st_mtime_ns, path.name
    except OSError:  # it is gone
        return 0, path.name


def _whole_lines(fd: int, size: int) -> int:
    """Return how many of the first ``size`` bytes are whole lines."""
    end = size
    while end > 0:
        start = max(0, end - _LOOK_BYTES)
        if (found := os.pread(fd, end - start, start).rfind(b"\n")) >= 0:
            return start + found + 1
        end = start
    return 0

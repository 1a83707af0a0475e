"""Records as files of JSON lines, compressed or not.

With compression each batch is a frame of its own (RFC 8878 §3.1: frames may follow each other), so a reader sees what a
batch holds as soon as it is written, and a killed process leaves at most the last frame unreadable.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import Final

from proxy.clock import wall_ns
from proxy.sinks.rolling import FileLimits, RollingFile
from proxy.sinks.sink import Entry, Result

__all__ = ["JsonlWriter"]

_LEVEL: Final = 3
_PRUNE_NS: Final = 60_000_000_000
"""How often the age of files is looked at when no new one is begun."""


class JsonlWriter:
    """Writes records to rolling files. A :class:`proxy.sinks.sink.Writer`.

    What the disk refuses has failed: a full disk stays full for longer than records could wait.

    Args:
        limits: of the files; may be replaced at any time.
        is_compressed: each batch becomes a zstd frame.
        make_file: makes the file.
        clock_ns: wall time.
    """

    held_bytes = 0

    def __init__(
        self,
        limits: FileLimits,
        *,
        is_compressed: bool = False,
        make_file: Callable[[FileLimits], RollingFile] = RollingFile,
        clock_ns: Callable[[], int] = wall_ns,
    ) -> None:
        self.limits = limits
        self._clock_ns = clock_ns
        self._file = make_file(limits)
        self._compress = _zstd() if is_compressed else None
        self._pruned_ns = 0

    def write(self, entries: Sequence[Entry]) -> Result:
        """Append ``entries``."""
        file = self._current()
        lines, tokens = [entry.line for entry in entries], [entry.token for entry in entries]
        if self._compress is None:
            count, error = file.append(lines, self._clock_ns())
        else:
            count, error = file.append([self._compress(b"".join(lines))], self._clock_ns())
            count *= len(lines)
        return Result(tokens[:count], tokens[count:], problem="" if error is None else str(error))

    def tick(self) -> Result:
        """Close a file that is too old, delete those that are."""
        file, now_ns = self._current(), self._clock_ns()
        try:
            file.roll(now_ns)
        except OSError:
            file.close()
        if self.limits.keep_age_ns is not None and abs(now_ns - self._pruned_ns) >= _PRUNE_NS:
            self._pruned_ns = now_ns
            with suppress(OSError):  # it is tried again, and a file that is begun says why it cannot be
                file.prune(now_ns)
        return Result()

    def close(self) -> Result:
        """Close the file."""
        self._file.close()
        return Result()

    def _current(self) -> RollingFile:
        if self._file.limits != self.limits:
            self._file.close()
            self._file.limits = self.limits
        return self._file


def _zstd() -> Callable[[bytes], bytes]:
    """Return what makes a frame, with its size and a checksum."""
    # Who does not compress does not pay for the library.
    zstd = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    options = {
        zstd.CompressionParameter.compression_level: _LEVEL,
        zstd.CompressionParameter.checksum_flag: 1,
    }
    return partial(zstd.compress, options=options)

"""Records as Parquet files, partitioned as Hive does: ``route=wine/date=2026-11-21/hour=18/payloads-….parquet``.

Labels have files of their own, in the same partitions below ``_labels``. What is in the files of either says
:mod:`proxy.sinks.parquet_tables`; sizes, ages and limits are the same for both, and ``keep_size`` is for all together.

Theory of operation
    Records gather in memory as the lines they are. When there are enough, they become a row group of the file of their
    route and hour (UTC). Once ``roll_every``, and when a file has reached ``roll_size``, files are closed: written out,
    brought to the disk, given their name. Until then they are called ``.payloads-….parquet.tmp``: a reader never meets
    half a file.

Rules
    * A record is written when its file has its name. A killed process leaves files without a footer, which cannot be
      read; they are deleted at the next start, and their records count as failed.
    * A file that is being written is locked. Another observer (during an upgrade there are two) leaves it alone.
    * Files are 0600 and made exclusively, never through a link; directories that have to be made are 0700.
    * The columns are those of :mod:`proxy.records.columns`; ``route`` stands in the path alone, as is usual.
"""

import errno
import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from proxy.clock import wall_ns
from proxy.private import make_private_directory, open_private
from proxy.sinks.locks import hold, is_held
from proxy.sinks.parquet_tables import PARTITIONS, Shape, partition_of, shape_of
from proxy.sinks.retention import PREFIX, AgeClock, prune, stamp_of
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Entry, Result, Token

__all__ = ["GROUP_BYTES", "ParquetWriter"]

GROUP_BYTES: Final = 8 << 20
"""Lines that gather before they become row groups."""
_MAX_OPEN: Final = 64
"""Files being written at a time; one more closes all."""
_MAX_SAME_SECOND: Final = 1000
_PRUNE_NS: Final = 60_000_000_000

_MISFITS: Final = (pa.ArrowException, TypeError, ValueError, OverflowError, KeyError)
"""What is raised for values that are not of their columns' kinds."""

_Group: TypeAlias = list[tuple[Mapping[str, Any], Token]]
"""Records of one file, and whose they are."""


@dataclass(slots=True)
class _Open:
    """A file that is being written."""

    path: Path
    """Its name, once it is whole."""
    temporary: Path
    stream: BinaryIO
    """Buffers what Arrow writes."""
    sink: pa.NativeFile
    writer: pq.ParquetWriter
    tokens: Counter[Token] = field(default_factory=Counter)
    """Whose records are in it: a million of small ones have few owners."""


class ParquetWriter:
    """Writes records to partitioned files. A :class:`proxy.sinks.sink.Writer`.

    Args:
        limits: of the files; may be replaced at any time. ``suffix`` is not used.
        compression: of the columns: ``none``, ``snappy`` or ``zstd``.
        group_bytes: lines that gather before they become row groups.
        clock_ns: wall time.
        age_clock: by which files are too old.
    """

    def __init__(
        self,
        limits: FileLimits,
        compression: str = "zstd",
        *,
        group_bytes: int = GROUP_BYTES,
        clock_ns: Callable[[], int] = wall_ns,
        age_clock: AgeClock | None = None,
    ) -> None:
        self.limits = limits
        self._compression = compression
        self._group_bytes = group_bytes
        self._clock_ns = clock_ns
        self._age_clock = AgeClock() if age_clock is None else age_clock
        self._gathered: list[Entry] = []
        self._held = 0
        self._open: dict[str, _Open] = {}
        self._since_ns: int | None = None
        """When the first record came that is not in a file with its name."""
        self._pruned_ns: int | None = None
        self._written: list[Token] = []
        self._failed: list[Token] = []
        self._problem = ""

    @property
    def held_bytes(self) -> int:
        """Bytes of the lines in memory."""
        return self._held

    def write(self, entries: Sequence[Entry]) -> Result:
        """Gather ``entries``; write and close what is due."""
        if self._since_ns is None:
            self._since_ns = self._clock_ns()
        self._gathered += entries
        self._held += sum(len(entry.line) for entry in entries)
        if self._held >= self._group_bytes:
            self._flush()
        return self.tick()

    def tick(self) -> Result:
        """Close files that are old or large enough; at first, and once a minute, delete what must go."""
        now_ns = self._clock_ns()
        if self._pruned_ns is None:
            self._clean()
        if self._since_ns is not None and not 0 <= now_ns - self._since_ns < self.limits.roll_every_ns:
            self._flush()
            self._close_all()
        for name, file in list(self._open.items()):
            if file.sink.tell() >= self.limits.roll_size:
                self._close(self._open.pop(name))
        if self._pruned_ns is None or abs(now_ns - self._pruned_ns) >= _PRUNE_NS:
            self._prune(now_ns)
        return self._report()

    def close(self) -> Result:
        """Write everything and close all files."""
        self._flush()
        self._close_all()
        return self._report()

    def _report(self) -> Result:
        written, self._written = self._written, []
        failed, self._failed = self._failed, []
        problem, self._problem = self._problem, ""
        return Result(written, failed, problem=problem)

    # Row groups

    def _flush(self) -> None:
        """Make row groups of what has gathered."""
        entries, self._gathered, self._held = self._gathered, [], 0
        groups: dict[str, tuple[Shape, _Group]] = {}
        for entry in entries:
            try:
                record = orjson.loads(entry.line)
                shape = shape_of(record)
                groups.setdefault(partition_of(record), (shape, []))[1].append((record, entry.token))
            except (orjson.JSONDecodeError, KeyError, TypeError) as error:
                self._fail([entry.token], error)
        for partition, (shape, group) in groups.items():
            self._append(partition, shape, group)

    def _append(self, partition: str, shape: Shape, group: _Group) -> None:
        table, tokens = self._table(shape, group)
        if table is None:
            return
        try:
            file = self._file(partition, shape)
        except (OSError, pa.ArrowException) as error:
            self._fail(tokens, error)
            return
        file.tokens.update(tokens)
        try:
            file.writer.write_table(table)
        except (OSError, pa.ArrowException) as error:
            # Half a row group is in it: nothing of the file can be read any more.
            self._abandon(self._open.pop(partition), error)

    def _table(self, shape: Shape, group: _Group) -> tuple[pa.Table | None, list[Token]]:
        """Return the records as a table, and whose they are; those that do not fit into one have failed alone."""
        try:
            return shape.table_of([record for record, _ in group]), [token for _, token in group]
        except _MISFITS as error:
            if len(group) == 1:
                self._fail([group[0][1]], error)
                return None, []
        tables, tokens = [], []
        for one in group:
            table, token = self._table(shape, [one])
            if table is not None:
                tables.append(table)
                tokens += token
        return (pa.concat_tables(tables) if tables else None), tokens

    # Files

    def _file(self, partition: str, shape: Shape) -> _Open:
        if partition not in self._open:
            if len(self._open) >= _MAX_OPEN:
                self._close_all()
            self._open[partition] = self._begin(self.limits.directory / partition, shape)
        return self._open[partition]

    def _begin(self, directory: Path, shape: Shape) -> _Open:
        make_private_directory(directory)
        stamp = stamp_of(self._clock_ns())
        for number in range(_MAX_SAME_SECOND):
            path = directory / f"{PREFIX}{stamp}-{number:03d}.parquet"
            temporary = path.with_name(f".{path.name}.tmp")
            if path.exists():
                continue
            try:
                fd = open_private(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL)
            except FileExistsError:
                continue
            hold(fd)
            if path.exists():  # somebody else has just finished one of this name
                os.close(fd)
                temporary.unlink()
                continue
            stream = os.fdopen(fd, "wb")
            try:
                sink = pa.PythonFile(stream, mode="w")
                writer = pq.ParquetWriter(sink, shape.schema, compression=self._compression)
            except BaseException:
                stream.close()
                temporary.unlink()
                raise
            return _Open(path, temporary, stream, sink, writer)
        raise FileExistsError(errno.EEXIST, "no free name for a Parquet file in this second", str(directory))

    def _close_all(self) -> None:
        files, self._open = list(self._open.values()), {}
        for file in files:
            self._close(file)
        self._since_ns = None

    def _close(self, file: _Open) -> None:
        """Give a file its name: then its records are written."""
        try:
            file.writer.close()
            # Arrow's own flush leaves what the stream buffers: the footer would follow the name, or never come.
            file.stream.flush()
            os.fsync(file.stream.fileno())
            file.temporary.rename(file.path)
            file.sink.close()
        except (OSError, pa.ArrowException) as error:
            self._abandon(file, error)
            return
        self._written += file.tokens.elements()

    def _abandon(self, file: _Open, error: Exception) -> None:
        """Give a file up, with all that is in it."""
        with suppress(OSError, pa.ArrowException):
            file.sink.close()
        with suppress(OSError):
            file.temporary.unlink()
        self._fail(file.tokens.elements(), error)

    def _fail(self, tokens: Iterable[Token], error: Exception) -> None:
        self._failed += tokens
        # Arrow's texts may quote a value.
        self._problem = (error.strerror or "") if isinstance(error, OSError) else ""
        self._problem = self._problem or type(error).__name__

    # Tidying up

    def _clean(self) -> None:
        """Delete what killed processes left."""
        for path in self._paths(f".{PREFIX}*.parquet.tmp"):
            if not is_held(path):
                with suppress(OSError):
                    path.unlink()

    def _prune(self, now_ns: int) -> None:
        self._pruned_ns = now_ns
        limits = self.limits
        paths = self._paths(f"{PREFIX}*.parquet")
        with suppress(OSError):  # it is tried again in a minute
            for path in prune(paths, limits.keep_size, now_ns, limits.keep_age_ns, self._age_clock):
                with suppress(OSError):  # not empty
                    for directory in list(path.parents)[:3]:
                        directory.rmdir()

    def _paths(self, name: str) -> Iterable[Path]:
        directory = self.limits.directory
        return chain.from_iterable(directory.glob(f"{partition}/{name}") for partition in PARTITIONS)

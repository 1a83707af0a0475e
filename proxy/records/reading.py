"""Payload logs, read: every record of many files in the order of time, whatever wrote them, in constant memory.

Theory of operation
    A line is written when its exchange is over, and its ``ts`` is when the request came. So files, and lines in them,
    are nearly in order, and several replicas (or the two observers of an upgrade) write at the same time. Files are
    opened in the order of their first records, merged while they overlap, and a window of records puts what comes out
    in order. A record that is later than the window is long comes out late, never lost.

Rules
    * What cannot be read is counted and told, never raised: one bad line costs one record.
    * Who reads twice gets the same records in the same order, if nothing was written in between.
    * A record that is in several files comes once: two sinks write the same ones, and directories above both are read.
"""

import heapq
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from proxy.records.columnar import ColumnFile
from proxy.records.files import PARQUET, LineFile, find_files
from proxy.records.record import Damaged, OtherKind, Record, parse_record
from proxy.records.selection import EVERY_RECORD, Selection

__all__ = ["PayloadReader", "Reading"]

MAX_OPEN_FILES: Final = 64
"""Files read at once. Where more replicas than that wrote at the same time, order is only as good as the window."""

WINDOW_RECORDS: Final = 4096
WINDOW_BYTES: Final = 32 << 20
"""What waits for earlier records: at 1 000 records a second, requests of up to four seconds come out in order."""

MAX_OF_A_MOMENT: Final = 1 << 16
"""Records of one microsecond that are known again. No log has as many, but for one without a clock."""

_PROBLEMS_KEPT: Final = 10
_NAMES_KEPT: Final = 10_000

_Records: TypeAlias = Iterator[tuple[int, Record]]
"""Records of one file, each with the length of its line."""
_Numbered: TypeAlias = Iterator[tuple[int, int, Record]]
"""Records of several, each with the number of its file and the length of its line."""
_Heads: TypeAlias = list[tuple[int, int, int, Record, _Records]]
"""A heap: of each open file its next record, by time and then by the file's number, and what follows it."""


@dataclass(slots=True)
class Reading:
    """What was read so far, and what could not be."""

    files: int = 0
    total_bytes: int = 0
    """Of all files, as they lie on the disk when reading began."""
    read_bytes: int = 0
    records: int = 0
    """Records that were wanted."""
    skipped: int = 0
    """Whole records that were not."""
    repeated: int = 0
    """Records that had come from another file: two sinks wrote them, or a file was copied."""
    others: int = 0
    """Whole lines of another kind, such as labels."""
    damaged: int = 0
    """Lines that are no records, and files that broke in the middle."""
    unfinished: int = 0
    """Files that end in half a line: they are being written, or their writer was killed."""
    names: set[tuple[str, str]] = field(default_factory=set)
    """Routes and variants of whole records, wanted or not; of a log of very many the first."""
    problems: list[str] = field(default_factory=list)
    """The first of what is damaged: ``file:line: reason``."""

    def tell(self, problem: str) -> None:
        """Count something damaged, and keep it if it is among the first."""
        self.damaged += 1
        if len(self.problems) < _PROBLEMS_KEPT:
            self.problems.append(problem)


class PayloadReader:
    """The records of payload logs, to be iterated once.

    Args:
        places: files, and directories that are searched below.
        selection: which records are wanted.
        window: how many records wait for earlier ones.

    Raises:
        LogError: a place does not exist, or holds no log.
    """

    def __init__(
        self, places: Sequence[Path], selection: Selection = EVERY_RECORD, window: int = WINDOW_RECORDS
    ) -> None:
        self._paths = find_files(places)
        self._selection = selection
        self._window = window
        self._is_stopped = False
        self.reading = Reading(files=len(self._paths))
        for path in self._paths:
            with suppress(OSError):
                self.reading.total_bytes += path.stat().st_size

    def stop(self) -> None:
        """Read no further, from any thread: a search for a few records among many would go on to the end."""
        self._is_stopped = True

    def __iter__(self) -> Iterator[Record]:
        return self._once(_in_order(self._merged(), self._window))

    def _once(self, records: Iterator[tuple[int, Record]]) -> Iterator[Record]:
        """Yield each of ``(file, record)`` but those that came from another file before.

        Those have the same time, so that they come one right after the other.
        """
        moment_ns, files = -1, dict[tuple[object, ...], int]()
        for number, record in records:
            if record.ts_wall_ns != moment_ns or len(files) >= MAX_OF_A_MOMENT:
                moment_ns, files = record.ts_wall_ns, {}
            if files.setdefault(_identity(record), number) == number:
                yield record
            else:
                self.reading.records -= 1
                self.reading.repeated += 1

    def _merged(self) -> _Numbered:
        """Yield ``(file, size, record)`` of all files, merged as well as their order allows."""
        waiting = deque(sorted((_first_moment(path), number) for number, path in enumerate(self._paths)))
        heads: _Heads = []
        while waiting or heads:
            while waiting and len(heads) < MAX_OPEN_FILES and (not heads or waiting[0][0] <= heads[0][0]):
                number = waiting.popleft()[1]
                self._push(heads, number, self._records(self._paths[number]))
            if not heads:
                continue
            _, number, size, record, records = heapq.heappop(heads)
            yield number, size, record
            self._push(heads, number, records)

    def _push(self, heads: _Heads, number: int, records: _Records) -> None:
        for size, record in records:
            heapq.heappush(heads, (record.ts_wall_ns, number, size, record, records))
            return

    def _records(self, path: Path) -> _Records:
        reading, takes, before = self.reading, self._selection.takes, 0
        file, entries = _open(path)
        for number, size, found in entries:
            if self._is_stopped:
                return
            reading.read_bytes += file.read_bytes - before
            before = file.read_bytes
            if isinstance(found, OtherKind):
                reading.others += 1
            elif isinstance(found, Damaged):
                reading.tell(f"{path}:{number}: {found.reason}")
            else:
                if len(reading.names) < _NAMES_KEPT:
                    reading.names.add((found.route, found.variant))
                if takes(found):
                    reading.records += 1
                    yield size, found
                else:
                    reading.skipped += 1
        reading.read_bytes += file.read_bytes - before
        reading.unfinished += file.is_unfinished
        for number in file.overlong:
            reading.tell(f"{path}:{number}: too long for a record")
        if file.problem is not None:
            reading.tell(f"{path}: {file.problem}")


def _open(path: Path) -> tuple[LineFile | ColumnFile, Iterator[tuple[int, int, Record | Damaged]]]:
    """Return a file, and its records with their numbers and sizes."""
    if path.name.endswith(PARQUET):
        columns = ColumnFile(path)
        return columns, columns.records()
    lines = LineFile(path)
    return lines, ((number, len(line), parse_record(line)) for number, line in lines.lines())


def _first_moment(path: Path) -> int:
    """Return when the request of the first record of a file came; the beginning of time if it has none."""
    for _, _, found in _open(path)[1]:
        if isinstance(found, Record):
            return found.ts_wall_ns
    return 0


def _identity(record: Record) -> tuple[object, ...]:
    """Return what tells a record from others of the same microsecond; ids may be the clients' own."""
    response = record.response
    return record.request_id, record.route, record.unit, record.variant, response.status, response.duration_ms


def _in_order(records: _Numbered, window: int) -> Iterator[tuple[int, Record]]:
    """Yield ``(file, record)`` by time, holding back at most ``window`` of them and ``WINDOW_BYTES``.

    Equal times stay in the order in which they came.
    """
    held: list[tuple[int, int, int, int, Record]] = []
    weight = 0
    for sequence, (number, size, record) in enumerate(records):
        heapq.heappush(held, (record.ts_wall_ns, sequence, size, number, record))
        weight += size
        while len(held) > window or (weight > WINDOW_BYTES and len(held) > 1):
            _, _, size, number, record = heapq.heappop(held)
            weight -= size
            yield number, record
    while held:
        yield heapq.heappop(held)[3:]

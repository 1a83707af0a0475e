"""Payload logs, read: all records, in order, in bounded memory, with everything odd counted and nothing raised."""

import gzip
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.records import reading as reading_module
from proxy.records.reading import PayloadReader
from proxy.records.record import Record
from proxy.records.selection import Selection
from proxy.sinks.rolling import FileLimits, RollingFile
from tests.records.lines import line_of


def write(path: Path, numbers: Iterable[int]) -> None:
    path.write_bytes(b"".join(map(line_of, numbers)))


def ids(reader: PayloadReader) -> list[int]:
    return [int(record.request_id[1:]) for record in reader]


def test_in_order_over_rolled_files(tmp_path: Path) -> None:
    """Files that the proxy itself rolled are read one after the other, all of it."""
    limits = FileLimits(tmp_path, roll_size=2000, roll_every_ns=10**18, keep_size=1 << 30)
    file = RollingFile(limits)
    for number in range(20):
        file.append([line_of(number)], 1_795_000_000_000_000_000 + number)
    file.close()
    assert len(list(tmp_path.iterdir())) > 5
    reader = PayloadReader([tmp_path])
    assert ids(reader) == list(range(20))
    found = reader.reading
    assert (found.records, found.skipped, found.damaged, found.unfinished) == (20, 0, 0, 0)
    assert found.files == len(list(tmp_path.iterdir()))
    assert found.read_bytes == found.total_bytes == sum(path.stat().st_size for path in tmp_path.iterdir())


def test_replicas_are_merged(tmp_path: Path) -> None:
    """Logs of several replicas that wrote at the same time come out as one, by time, compressed or not."""
    write(tmp_path / "a.jsonl", range(0, 300, 3))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "b.jsonl.gz").write_bytes(gzip.compress(b"".join(map(line_of, range(1, 300, 3)))))
    write(tmp_path / "c.jsonl", range(2, 300, 3))
    assert ids(PayloadReader([tmp_path], window=0)) == list(range(300))


def test_lines_are_written_when_an_exchange_is_over(tmp_path: Path) -> None:
    """Records that a window holds come out by the time of their requests; later ones come late, never lost."""
    write(tmp_path / "a.jsonl", [1, 0, 3, 2, 9, 8, 7, 6, 5, 4])
    assert ids(PayloadReader([tmp_path], window=6)) == list(range(10))
    assert sorted(ids(PayloadReader([tmp_path], window=1))) == list(range(10))


@given(st.permutations(range(12)), st.integers(1, 12))
def test_order_is_as_good_as_the_window(
    tmp_path_factory: pytest.TempPathFactory, numbers: Sequence[int], window: int
) -> None:
    """A record that comes at most as many lines late as the window is long is in order; none is lost or doubled."""
    folder = tmp_path_factory.mktemp("log")
    write(folder / "a.jsonl", numbers)
    found = ids(PayloadReader([folder], window=window))
    assert sorted(found) == list(range(12))
    if max(place - number for place, number in enumerate(numbers)) <= window:
        assert found == list(range(12))


def test_what_waits_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long records leave the window before it is full."""
    monkeypatch.setattr(reading_module, "WINDOW_BYTES", 3 * len(line_of(0)))
    write(tmp_path / "a.jsonl", [4, 3, 2, 1, 0])
    assert ids(PayloadReader([tmp_path], window=1000)) == [1, 0, 2, 3, 4]


def test_damage_costs_a_record(tmp_path: Path) -> None:
    """A bad line is counted and named with its place; what is around it is read."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(line_of(0) + b"{broken\n" + line_of(1) + line_of(2, schema=99) + line_of(3)[:-20])
    broken = tmp_path / "b.jsonl.gz"
    broken.write_bytes(gzip.compress(line_of(4)) + b"??")
    reader = PayloadReader([tmp_path])
    assert ids(reader) == [0, 1, 4]
    found = reader.reading
    assert (found.records, found.damaged, found.unfinished) == (3, 3, 1)
    assert found.problems == [
        f"{path}:2: no JSON",
        f"{path}:4: schema 99 is newer than this program, which reads up to 2",
        f"{broken}: damaged gzip",
    ]


def test_only_the_first_problems_are_kept(tmp_path: Path) -> None:
    """A file of rubbish is counted to its end and told in a few lines."""
    (tmp_path / "a.jsonl").write_bytes(b"?\n" * 5000)
    reader = PayloadReader([tmp_path])
    assert ids(reader) == []
    assert (reader.reading.damaged, len(reader.reading.problems)) == (5000, 10)


def test_what_is_not_wanted_is_counted(tmp_path: Path) -> None:
    """The selection passes by records, and says how many."""
    lines = [line_of(i, route="beer" if i % 3 else "wine") for i in range(9)]
    (tmp_path / "a.jsonl").write_bytes(b"".join(lines))
    reader = PayloadReader([tmp_path], Selection(routes={"wine"}))
    assert ids(reader) == [0, 3, 6]
    assert (reader.reading.records, reader.reading.skipped) == (3, 6)


def test_two_sinks_of_the_same_records(tmp_path: Path) -> None:
    """A record that two sinks wrote comes once, however each cut its files; others of its moment stay."""
    for name, cuts in (("one", [0, 40, 100]), ("two", [0, 25, 77, 100])):
        (tmp_path / name).mkdir()
        for first, last in pairwise(cuts):
            write(tmp_path / name / f"{first}.jsonl", range(first, last))
    (tmp_path / "two" / "z.jsonl.gz").write_bytes(gzip.compress(b"".join(map(line_of, range(90, 100)))))
    at_once = [line_of(5, request_id=f"r{number}") for number in (200, 201)]
    (tmp_path / "one" / "more.jsonl").write_bytes(at_once[0] * 2)
    (tmp_path / "two" / "more.jsonl").write_bytes(at_once[0] * 2 + at_once[1])
    reader = PayloadReader([tmp_path])
    assert sorted(ids(reader)) == [*range(100), 200, 200, 201]
    assert (reader.reading.records, reader.reading.repeated) == (103, 112)


def test_more_files_than_may_be_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many files at once are read a few at a time; all of them are."""
    monkeypatch.setattr(reading_module, "MAX_OPEN_FILES", 3)
    for first in range(10):
        write(tmp_path / f"{first}.jsonl", range(first, 100, 10))
    assert ids(PayloadReader([tmp_path])) == list(range(100))


def test_a_log_that_grows(tmp_path: Path) -> None:
    """A file that is being written is read as far as it has whole lines at that time."""
    path = tmp_path / "a.jsonl"
    with path.open("wb", buffering=0) as file:
        file.write(line_of(0) + line_of(1)[:50])
        reader = PayloadReader([tmp_path])
        assert ids(reader) == [0]
        assert (reader.reading.unfinished, reader.reading.damaged) == (1, 0)
        file.write(line_of(1)[50:])
        assert ids(PayloadReader([tmp_path])) == [0, 1]


def test_a_reader_that_is_stopped_reads_no_further(tmp_path: Path) -> None:
    """Who looks for what is not there can be told to stop: the rest of the log is not read."""
    write(tmp_path / "a.jsonl", range(100))
    takes, seen = Selection.takes, 0

    class Stopping(Selection):
        def takes(self, record: Record) -> bool:
            nonlocal seen
            seen += 1
            if seen == 10:
                reader.stop()
            return takes(self, record)

    reader = PayloadReader([tmp_path], Stopping(routes=frozenset({"beer"})))
    assert ids(reader) == []
    assert (seen, reader.reading.skipped) == (10, 10)

"""Parquet files: whole or not there, in their partitions, with the documented columns."""

import errno
import os
import resource
import signal
import stat
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from proxy.sinks.locks import hold
from proxy.sinks.parquet import ParquetWriter
from proxy.sinks.retention import AgeClock, stamp_of
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Entry, Result
from tests.sinks.lines import RECORD, entry_of

NOW_NS = 1_760_000_000_000_000_000
MINUTE_NS = 60_000_000_000
NOTHING = Result([], [])
PARTITION = "route=wine/date=2026-11-21/hour=04"


class Bench:
    """A writer with a clock."""

    def __init__(self, directory: Path, group_bytes: int = 1 << 20, **limits: Any) -> None:
        self.now_ns = NOW_NS
        self.directory = directory
        plain: dict[str, Any] = {"roll_size": 1 << 26, "roll_every_ns": MINUTE_NS, "keep_size": 1 << 30}
        self.writer = ParquetWriter(
            FileLimits(directory, **plain | limits),
            group_bytes=group_bytes,
            clock_ns=lambda: self.now_ns,
            age_clock=AgeClock(lambda: self.now_ns),
        )

    def later(self, seconds: float = 60) -> Result:
        self.now_ns += round(seconds * 1e9)
        return self.writer.tick()

    def files(self) -> list[Path]:
        return sorted(self.directory.rglob("*.parquet"))

    def temporary(self) -> list[Path]:
        return sorted(self.directory.rglob(".*.tmp"))

    def ids(self) -> list[str]:
        return [
            name
            for path in self.files()
            for name in pq.ParquetFile(path).read().column("request_id").to_pylist()
        ]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path / "parquet")


def test_a_record_comes_back(bench: Bench) -> None:
    """Every value of a record is in its column; the file is 0600 in its partition, in directories of 0700."""
    assert bench.writer.write([entry_of()]) == NOTHING
    assert bench.writer.held_bytes == len(entry_of().line)
    assert bench.writer.close() == Result([(0, 1, 1)], [])
    (path,) = bench.files()
    assert path.relative_to(bench.directory).as_posix() == f"{PARTITION}/payloads-20251009T085320-000.parquet"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == stat.S_IMODE(bench.directory.stat().st_mode) == 0o700
    (row,) = pq.ParquetFile(path).read().to_pylist()
    assert row["ts"].isoformat() == "2026-11-21T04:05:20.111541+00:00"
    expected = {
        "schema": 2,
        "variant": "v2",
        "inclusion_probability": 0.5,
        "kept_by": ["sample"],
        "status": 200,
    }
    expected |= {"request_body": '{"planted": 1}', "duration_ms": 4.25, "fault": None, "trace_id": None}
    assert {name: row[name] for name in expected} == expected
    (shadow,) = row["shadows"]
    assert (shadow["model"], shadow["result"], shadow["distance"], shadow["body"]) == (
        "wine-v4",
        "disagree",
        0.25,
        '{"harvested":3}',
    )


def test_a_directory_is_one_table(bench: Bench) -> None:
    """Readers that know Hive's partitions see one table, with the route as a column."""
    others = {"route": "beer", "ts": "2026-11-21T23:59:59.999999Z", "response": {"headers": {"a": "b"}}}
    bench.writer.write([entry_of(1), entry_of(2, **others), entry_of(3)])
    bench.writer.close()
    assert len(bench.files()) == 2
    table = ds.dataset(bench.directory, partitioning="hive").to_table(
        columns=["route", "hour", "request_id", "response_headers"]
    )
    rows = sorted(table.to_pylist(), key=lambda row: str(row["request_id"]))
    assert [row["route"] for row in rows] == ["wine", "beer", "wine"]
    assert [row["hour"] for row in rows] == [4, 23, 4]
    assert orjson.loads(rows[1]["response_headers"]) == {"a": "b"}


def test_row_groups_are_bounded(tmp_path: Path) -> None:
    """Records do not stay in memory: every so many bytes are a row group, of a file without a name yet."""
    bench = Bench(tmp_path, group_bytes=3 * len(entry_of().line))
    for number in range(7):
        assert bench.writer.write([entry_of(number)]) == NOTHING
    assert bench.writer.held_bytes == len(entry_of().line)
    assert bench.files() == []
    (path,) = bench.temporary()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(bench.writer.close().written) == 7
    assert bench.temporary() == []
    assert pq.ParquetFile(bench.files()[0]).num_row_groups == 3


def test_files_are_closed_by_time(bench: Bench) -> None:
    """After ``roll_every`` what came is in a file with its name; then records have been written, not before."""
    bench.writer.write([entry_of(1)])
    assert bench.later(59) == NOTHING
    assert bench.files() == []
    assert bench.later(1).written == [(0, 1, 1)]
    assert bench.ids() == ["req-1"]
    bench.later(1000)
    bench.writer.write([entry_of(2)])
    assert bench.later(59).written == []
    assert bench.later(1).written == [(0, 1, 2)]
    assert bench.later(60) == NOTHING


def test_a_clock_that_was_set_back_closes_files(bench: Bench) -> None:
    """Nothing waits for a time that is far away."""
    bench.writer.write([entry_of(1)])
    assert bench.later(-3600).written == [(0, 1, 1)]


def test_files_are_closed_by_size(tmp_path: Path) -> None:
    """A file that has reached ``roll_size`` is closed at once."""
    bench = Bench(tmp_path, group_bytes=1, roll_size=1)
    assert bench.writer.write([entry_of(1)]).written == [(0, 1, 1)]
    assert bench.writer.write([entry_of(2)]).written == [(0, 1, 2)]
    assert [path.name[-11:] for path in bench.files()] == ["000.parquet", "001.parquet"]
    assert bench.ids() == ["req-1", "req-2"]


def test_what_a_killed_process_left_is_deleted(tmp_path: Path) -> None:
    """Files without a name that nobody writes any more go at the start; one that somebody writes stays."""
    directory = tmp_path / PARTITION
    directory.mkdir(parents=True)
    dead, live = directory / ".payloads-1.parquet.tmp", directory / ".payloads-2.parquet.tmp"
    dead.touch()
    fd = os.open(live, os.O_CREAT | os.O_WRONLY)
    hold(fd)
    Bench(tmp_path).writer.tick()
    assert (dead.exists(), live.exists()) == (False, True)
    os.close(fd)


def test_a_file_is_locked_while_it_is_written(tmp_path: Path) -> None:
    """Another process that starts meanwhile, as in an upgrade, leaves it alone; both write, into files of their own."""
    first, second = Bench(tmp_path, group_bytes=1), Bench(tmp_path, group_bytes=1)
    first.writer.write([entry_of(1)])
    second.writer.write([entry_of(2)])
    assert len(first.temporary()) == 2
    assert [first.writer.close().written, second.writer.close().written] == [[(0, 1, 1)], [(0, 1, 2)]]
    assert sorted(first.ids()) == ["req-1", "req-2"]


MISFITS = {
    "no JSON": b"{\n",
    "a number as text": entry_of(1, table_version="x").line,
    "a number too large": entry_of(1, request={"size": 1 << 63}).line,
    "no time": entry_of(1, ts="yesterday").line,
    "no shadows": orjson.dumps({name: RECORD[name] for name in RECORD if name != "shadows"}) + b"\n",
    "text for a list": entry_of(1, kept_by=5).line,
}


@pytest.mark.parametrize("line", MISFITS.values(), ids=MISFITS.keys())
def test_a_record_that_does_not_fit_fails_alone(bench: Bench, line: bytes) -> None:
    """One that is not as expected spoils no other, and its content is not told."""
    bench.writer.write([entry_of(1), Entry(line, (0, 1, 99)), entry_of(2)])
    result = bench.writer.close()
    assert (list(result.written), list(result.failed)) == ([(0, 1, 1), (0, 1, 2)], [(0, 1, 99)])
    assert result.problem.isidentifier()
    assert bench.ids() == ["req-1", "req-2"]


def test_a_directory_that_cannot_be_made(tmp_path: Path) -> None:
    """Where no directory can be, records have failed and the problem says why; when it can, writing goes on."""
    (tmp_path / "parquet").write_text("a file")
    bench = Bench(tmp_path / "parquet")
    bench.writer.write([entry_of(1)])
    result = bench.later()
    assert (result.written, result.failed) == ([], [(0, 1, 1)])
    assert result.problem == os.strerror(errno.EEXIST) or "directory" in result.problem
    (tmp_path / "parquet").unlink()
    bench.writer.write([entry_of(2)])
    assert bench.later().written == [(0, 1, 2)]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
def test_a_full_disk(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be brought to the disk has failed, leaves no file, and the next file is a fresh one."""
    open_ = os.open
    with monkeypatch.context() as patch:
        patch.setattr(
            os,
            "open",
            lambda path, *rest: open_("/dev/full" if str(path).endswith(".tmp") else path, os.O_WRONLY),
        )
        bench.writer.write([entry_of(1)])
        result = bench.later()
    assert (result.written, result.failed) == ([], [(0, 1, 1)])
    assert "No space left" in result.problem
    assert bench.files() == bench.temporary() == []
    bench.writer.write([entry_of(2)])
    assert bench.later().written == [(0, 1, 2)]


def test_a_file_is_whole_when_it_gets_its_name(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it is on the disk before a reader can find it, its footer too."""
    found: list[int] = []
    rename = Path.rename

    def look(path: Path, target: Path) -> Path:
        found.append(pq.ParquetFile(path).metadata.num_rows)
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", look)
    bench.writer.write([entry_of(1), entry_of(2)])
    bench.later()
    assert found == [2]


def test_a_disk_that_is_full_at_the_footer(bench: Bench) -> None:
    """Where only the last byte of a file does not fit, no file is there, and all of its records have failed."""
    entries = [entry_of(number) for number in range(50)]
    bench.writer.write(entries)
    bench.later()
    (whole,) = bench.files()
    size = whole.stat().st_size
    whole.unlink()
    bench.writer.write(entries)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size - 1, before[1]))
    try:
        result = bench.later()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert (result.written, len(result.failed)) == ([], 50)
    assert bench.files() == bench.temporary() == []


def test_a_file_that_cannot_be_begun(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that cannot write such files costs records, each of which has an outcome."""

    def refuse(*_: object, **__: object) -> None:
        raise pa.ArrowNotImplementedError("no such codec")

    with monkeypatch.context() as patch:
        patch.setattr(pq, "ParquetWriter", refuse)
        bench.writer.write([entry_of(1), entry_of(2, route="beer")])
        assert sorted(bench.later().failed) == [(0, 1, 1), (0, 1, 2)]
    assert bench.writer.held_bytes == 0


def test_retention(tmp_path: Path) -> None:
    """Old files go by their names, with directories that are empty then; others stay."""
    bench = Bench(tmp_path, keep_age_ns=60 * MINUTE_NS)
    old = (
        tmp_path
        / "route=wine/date=2025-10-09/hour=07"
        / f"payloads-{stamp_of(NOW_NS - 61 * MINUTE_NS)}-000.parquet"
    )
    young = (
        tmp_path
        / "route=wine/date=2025-10-09/hour=08"
        / f"payloads-{stamp_of(NOW_NS - 59 * MINUTE_NS)}-000.parquet"
    )
    for path in (old, young):
        path.parent.mkdir(parents=True)
        path.touch()
        os.utime(path, ns=(0, NOW_NS))
    bench.writer.tick()
    assert (old.parent.exists(), young.exists()) == (False, True)
    bench.later(120)
    assert list(tmp_path.iterdir()) == []


def test_retention_by_size(tmp_path: Path) -> None:
    """The oldest go until the rest fits."""
    bench = Bench(tmp_path, group_bytes=1, roll_size=1, keep_size=1)
    bench.writer.write([entry_of(1)])
    bench.later()
    assert bench.files() == []


def test_retention_by_size_counts_every_route(tmp_path: Path) -> None:
    """Files of two routes have the same names: all of them count, and all of them go."""
    bench = Bench(tmp_path)
    bench.writer.write([entry_of(number, route=f"route-{number}") for number in range(4)])
    bench.later()
    assert len(bench.files()) == 4
    assert len({path.name for path in bench.files()}) == 1
    Bench(tmp_path, keep_size=1).writer.tick()
    assert bench.files() == []


def test_many_partitions_do_not_keep_many_files_open(bench: Bench) -> None:
    """However many routes there are, a bounded number of files is open at a time, and all records are written."""
    entries = [entry_of(number, route=f"route-{number}") for number in range(150)]
    written = list(bench.writer.write(entries).written)
    written += bench.later().written
    assert sorted(written) == [entry.token for entry in entries]
    assert len(bench.files()) == 150

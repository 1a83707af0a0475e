"""The payload log: nothing waits for the disk, and every line has exactly one outcome."""

import errno
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import orjson
import pytest

from proxy.observer.payload_log import PayloadLog, Token
from proxy.observer.rolling import FileLimits, RollingFile

LIMITS = {"roll_size": 1 << 20, "roll_every_ns": 3_600_000_000_000, "keep_size": 1 << 30}
WAIT_S = 10.0


class Report:
    """What the log said became of the lines."""

    def __init__(self) -> None:
        self.written: list[Token] = []
        self.failed: list[Token] = []
        self._changed = threading.Condition()

    def settle(self, written: Sequence[Token], failed: Sequence[Token]) -> None:
        with self._changed:
            self.written += written
            self.failed += failed
            self._changed.notify_all()

    def wait(self, condition: Callable[[], bool]) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, WAIT_S)


class Disk:
    """A disk that can be full, and can hang."""

    def __init__(self) -> None:
        self.error = 0
        self.bug = False
        self.hangs = threading.Event()
        self.hangs.set()

    def write(self, fd: int, data: bytes | memoryview) -> int:
        assert self.hangs.wait(WAIT_S)
        if self.bug:
            raise ValueError("a bug")
        if self.error:
            raise OSError(self.error, os.strerror(self.error))
        return os.write(fd, data)

    def make_file(self, limits: FileLimits) -> RollingFile:
        return RollingFile(limits, self.write)


class Bench:
    """A log, its disk and its report."""

    def __init__(self, directory: Path, queue_bytes: int) -> None:
        self.directory = directory
        self.report = Report()
        self.disk = Disk()
        self.limits = FileLimits(directory, **LIMITS)
        self.log = PayloadLog(self.limits, queue_bytes, self.report.settle, self.disk.make_file)

    def submit(self, number: int) -> bool:
        return self.log.submit(b'{"n":%d}\n' % number, (0, 1, number))

    def numbers(self) -> list[int]:
        lines = [line for path in sorted(self.directory.glob("*")) for line in path.read_bytes().splitlines()]
        return [orjson.loads(line)["n"] for line in lines]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path / "payloads", 1 << 20)
    yield bench
    bench.disk.hangs.set()
    bench.log.close(WAIT_S)


def test_lines_are_written_in_order(bench: Bench) -> None:
    """Every submitted line is in the file, in order, and reported as written."""
    assert all(bench.submit(number) for number in range(100))
    bench.report.wait(lambda: len(bench.report.written) == 100)
    assert bench.numbers() == list(range(100))
    assert bench.report.failed == []
    assert bench.log.queued_bytes == 0


def test_close_writes_what_is_queued(bench: Bench) -> None:
    """Closing writes the rest; afterwards nothing is taken any more."""
    for number in range(100):
        bench.submit(number)
    assert bench.log.close(WAIT_S)
    assert bench.numbers() == list(range(100))
    assert len(bench.report.written) == 100
    assert not bench.submit(100)
    assert not bench.log.has_room()


def test_without_a_line_there_is_no_thread_and_no_file(bench: Bench) -> None:
    """A log that nobody uses costs nothing."""
    assert bench.log.close(WAIT_S)
    assert not bench.directory.exists()
    assert "payload-log" not in [thread.name for thread in threading.enumerate()]


def test_a_hanging_disk_fills_the_queue_and_nobody_waits(tmp_path: Path) -> None:
    """While a write hangs, lines are taken up to the bound and then refused; close gives up in time."""
    bench = Bench(tmp_path, 100)
    bench.disk.hangs.clear()
    taken = [bench.submit(number) for number in range(50)]
    assert sum(taken) == 12
    assert taken == sorted(taken, reverse=True)
    assert 0 < bench.log.queued_bytes <= 100
    assert not bench.log.close(0.01)
    bench.disk.hangs.set()
    bench.report.wait(lambda: len(bench.report.written) == 12)


def test_a_full_disk_is_counted_and_recovers(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Refused lines are reported as failed; when there is room again, writing goes on by itself."""
    bench.disk.error = errno.ENOSPC
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    assert bench.log.is_failing
    bench.disk.error = 0
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    assert bench.numbers() == [2]
    assert "No space left" in caplog.text
    assert bench.log.close(WAIT_S)
    assert "writing again" in caplog.text
    assert not bench.log.is_failing


def test_close_does_not_wait_for_a_full_disk(bench: Bench) -> None:
    """With a disk that stays full, closing ends, and what was queued is reported as failed."""
    bench.disk.error = errno.ENOSPC
    for number in range(10):
        bench.submit(number)
    assert bench.log.close(WAIT_S)
    assert len(bench.report.failed) == 10


def test_a_bug_does_not_end_the_log(bench: Bench) -> None:
    """Whatever a write raises, its lines are reported as failed, and later ones are written."""
    bench.disk.bug = True
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    bench.disk.bug = False
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    assert bench.numbers() == [2]


def test_new_limits_take_effect_with_the_next_write(bench: Bench, tmp_path: Path) -> None:
    """After a reload the next lines go where the new limits say."""
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    bench.log.configure(FileLimits(tmp_path / "other", **LIMITS), 1 << 20)
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 2)
    assert bench.numbers() == [1]
    assert [path.read_bytes() for path in (tmp_path / "other").iterdir()] == [b'{"n":2}\n']

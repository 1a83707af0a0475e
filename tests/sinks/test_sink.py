"""A sink: its queue never grows beyond its bound, nobody waits for its writer, and every record has an outcome."""

import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from proxy.sinks.sink import Entry, Result, Sink, Token

WAIT_S = 10.0


class Report:
    """What the sink said became of the records."""

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


class Place:
    """A writer whose receiver can hang, refuse for a while or for ever, hold back its word, and have a bug."""

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.refusals = 0
        """Batches that it will still not take, but may later."""
        self.never: Token | None = None
        """A record that it will not take, though it says each time that it may."""
        self.fails = False
        """Records are lost."""
        self.bug = False
        self.holds = False
        self.held: list[Entry] = []
        self.took = threading.Event()
        """Thirteen records are held."""
        self.hangs = threading.Event()
        self.hangs.set()
        self.ticked = threading.Event()
        self.attempts = 0
        self.is_closed = False
        self.last: threading.Barrier | None = None
        """Closing waits there for others."""

    @property
    def held_bytes(self) -> int:
        return sum(len(entry.line) for entry in self.held)

    def write(self, entries: Sequence[Entry]) -> Result:
        self.attempts += 1
        assert self.hangs.wait(WAIT_S)
        if self.bug:
            raise ValueError("a bug that quotes a secret")
        if self.refusals:
            self.refusals -= 1
            return Result(again=entries, problem="busy")
        tokens = [entry.token for entry in entries]
        if self.fails:
            return Result(failed=tokens, problem="No space left")
        refused = [entry for entry in entries if entry.token == self.never]
        if refused:
            entries = [entry for entry in entries if entry not in refused]
            self.lines += [entry.line for entry in entries]
            return Result([entry.token for entry in entries], again=refused, problem="busy")
        self.lines += [entry.line for entry in entries]
        if self.holds:
            self.held += entries
            if len(self.held) == 13:
                self.took.set()
            return Result()
        return Result(tokens)

    def tick(self) -> Result:
        self.ticked.set()
        return Result()

    def close(self) -> Result:
        self.is_closed = True
        if self.last is not None:
            self.last.wait(WAIT_S)
        held, self.held = self.held, []
        return Result([entry.token for entry in held])


class Bench:
    """A sink, its writer and its report."""

    def __init__(self, queue_bytes: int = 1 << 20, patience_ns: int = 300_000_000_000) -> None:
        self.report = Report()
        self.place = Place()
        self.sink = Sink("here", self.place, queue_bytes, self.report.settle, patience_ns=patience_ns)

    def submit(self, number: int) -> bool:
        return self.sink.submit(b'{"n":%d}\n' % number, (0, 1, number))

    def state(self) -> tuple[bool, str]:
        return self.sink.is_failing, self.sink.problem

    def numbers(self) -> list[int]:
        return [int(line[5:-2]) for line in self.place.lines]


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    yield bench
    bench.place.hangs.set()
    bench.sink.close(WAIT_S)


def test_records_are_written_in_order(bench: Bench) -> None:
    """Every submitted record is written, in order, reported and counted as written."""
    assert all(bench.submit(number) for number in range(100))
    bench.report.wait(lambda: len(bench.report.written) == 100)
    assert bench.numbers() == list(range(100))
    assert bench.report.failed == []
    assert bench.sink.queued_bytes == 0
    assert bench.sink.counts.show() == {"taken": 100, "written": 100, "dropped": 0, "failed": 0}


def test_close_writes_what_is_queued(bench: Bench) -> None:
    """Closing writes the rest and closes the writer; afterwards nothing is taken any more."""
    for number in range(100):
        bench.submit(number)
    assert bench.sink.close(WAIT_S)
    assert bench.numbers() == list(range(100))
    assert len(bench.report.written) == 100
    assert bench.place.is_closed
    assert not bench.submit(100)
    assert not bench.sink.has_room()


def test_without_a_record_there_is_no_thread(bench: Bench) -> None:
    """A sink that nobody uses costs nothing."""
    assert bench.sink.close(WAIT_S)
    assert "sink here" not in [thread.name for thread in threading.enumerate()]
    assert not bench.place.is_closed


def test_an_eager_sink_begins_at_once() -> None:
    """A writer that has something to do by the clock is there without a record, and is closed."""
    place = Place()
    sink = Sink("eager", place, 100, is_eager=True)
    assert sink.close(WAIT_S)
    assert place.is_closed


def test_a_hanging_writer_fills_the_queue_and_nobody_waits() -> None:
    """While a write hangs, records are taken up to the bound and then dropped and counted; close gives up in time."""
    bench = Bench(100)
    bench.place.hangs.clear()
    taken = [bench.submit(number) for number in range(50)]
    assert sum(taken) == 13
    assert taken == sorted(taken, reverse=True)
    assert 100 <= bench.sink.queued_bytes < 100 + len(b'{"n":12}\n')
    assert not bench.sink.close(0.01)
    bench.place.hangs.set()
    bench.report.wait(lambda: len(bench.report.written) == 13)
    assert bench.sink.counts.show()["dropped"] == 37


@pytest.mark.parametrize("size", [10, 100_000])
@pytest.mark.parametrize(("waiting", "is_taken"), [(99, True), (100, False)])
def test_what_is_dropped_says_nothing_of_its_size(size: int, waiting: int, is_taken: bool) -> None:
    """A long record finds room where a short one does: what is left under too much load is not only the short ones."""
    bench = Bench(100)
    bench.place.hangs.clear()
    assert bench.sink.submit(bytes(waiting), (0, 1, 0))
    assert bench.sink.submit(bytes(size), (0, 1, 1)) == is_taken
    bench.place.hangs.set()
    assert bench.sink.close(WAIT_S)


def test_what_a_writer_holds_takes_room() -> None:
    """Records that the writer took and did not settle count against the bound, until it settles them."""
    bench = Bench(100)
    bench.place.holds = True
    assert sum(bench.submit(number) for number in range(50)) == 13
    assert bench.place.took.wait(WAIT_S)
    assert not bench.submit(13)
    assert bench.sink.close(WAIT_S)
    assert bench.report.written == [(0, 1, number) for number in range(13)]
    assert bench.sink.counts.show() == {"taken": 13, "written": 13, "dropped": 38, "failed": 0}


def test_what_is_refused_for_a_while_is_offered_again(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Records that may be taken later are kept, in their order, and written once that is so; nothing is lost."""
    bench.place.refusals = 3
    for number in range(10):
        bench.submit(number)
    bench.report.wait(lambda: len(bench.report.written) == 10)
    assert bench.numbers() == list(range(10))
    assert bench.place.attempts >= 4
    assert bench.sink.close(WAIT_S)
    assert "sink here: busy, trying again" in caplog.text
    assert "sink here: writing again" in caplog.text
    assert not bench.sink.is_failing


def test_patience_ends() -> None:
    """Records that are refused for longer than the patience have failed, and what comes after them is written."""
    bench = Bench(patience_ns=0)
    bench.place.refusals = 1
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    assert bench.sink.close(WAIT_S)
    assert bench.numbers() == [2]


def test_patience_with_one_record_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record that is never taken fails after the same time though all others are written, and holds none of them
    up."""
    monkeypatch.setattr("proxy.sinks.sink._RETRY_S", (0.001,))
    monkeypatch.setattr("proxy.sinks.sink._GATHER_S", 0.001)
    bench = Bench(patience_ns=300_000_000)
    bench.place.never = (0, 1, 0)
    number = 0

    def has_come() -> bool:
        return len(bench.report.written) + len(bench.report.failed) >= number

    while not bench.report.failed and number < 5000:
        bench.submit(number)
        bench.report.wait(has_come)
        number += 1
    assert bench.report.failed == [(0, 1, 0)]
    assert number > 10
    assert bench.sink.close(WAIT_S)
    assert sorted(bench.numbers()) == list(range(1, number))


def test_close_offers_again_until_its_time_is_over() -> None:
    """While closing, what is refused is offered again soon; at the end of the given time it has failed."""
    bench = Bench()
    bench.place.refusals = 1 << 30
    for number in range(5):
        bench.submit(number)
    bench.sink.begin_to_close(0.3)
    assert bench.sink.wait_closed(WAIT_S)
    assert len(bench.report.failed) == 5
    assert bench.place.attempts > 1
    assert bench.sink.counts.show()["failed"] == 5


def test_what_is_lost_is_counted_and_it_recovers(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Lost records are reported as failed; later ones are written."""
    bench.place.fails = True
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    assert bench.state() == (True, "No space left")
    bench.place.fails = False
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    assert bench.numbers() == [2]
    assert "sink here: No space left; 1 record lost" in caplog.text
    assert bench.sink.close(WAIT_S)
    assert bench.state() == (False, "")


def test_it_fails_until_something_is_written(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing comes nobody knows better: what was wrong is told until a record is written."""
    monkeypatch.setattr("proxy.sinks.sink._IDLE_S", 0.01)
    monkeypatch.setattr("proxy.sinks.sink._RETRY_S", (0.01,))
    bench.place.fails = True
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    for _ in range(2):  # what the first tick said has been noted when the second comes
        bench.place.ticked.clear()
        assert bench.place.ticked.wait(WAIT_S)
    assert bench.state() == (True, "No space left")
    bench.place.fails = False
    bench.submit(2)
    assert bench.sink.close(WAIT_S)
    assert bench.state() == (False, "")


def test_a_bug_does_not_end_the_sink(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a writer raises, its records are reported as failed, later ones are written, and its words are not
    repeated."""
    bench.place.bug = True
    bench.submit(1)
    bench.report.wait(lambda: len(bench.report.failed) == 1)
    bench.place.bug = False
    bench.submit(2)
    bench.report.wait(lambda: len(bench.report.written) == 1)
    assert bench.numbers() == [2]
    assert "ValueError" in caplog.text
    assert "secret" not in caplog.text

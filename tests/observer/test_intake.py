"""The intake over its real socket: order, turns, back-pressure, broken streams, and sums that always agree."""

import asyncio
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.exchange import Flag, ShadowPart
from proxy.model import Fault
from proxy.observer.blocks import Blocks
from proxy.observer.intake import Intake
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import frame_weight
from proxy.sinks.sink import Token
from proxy.tally import Key, block_path, read_slots
from proxy.tasks import spawn
from tests.observer.exchanges import agreeing, as_frame, hello_frame, primary_part, shadow_part, table_of

SECOND_NS = 1_000_000_000


class Sink:
    """Takes every record and counts it as written at once."""

    def __init__(self, blocks: Blocks) -> None:
        self.records: list[dict[str, Any]] = []
        self._blocks = blocks

    def has_room(self) -> bool:
        return True

    def submit(self, line: bytes, token: Token) -> bool:
        self.records.append(orjson.loads(line))
        self._blocks.settle_sink(*token, "written")
        return True

    def drop(self) -> None:
        raise AssertionError("there is room")


class NoTracer:
    """Takes no spans."""

    def trace(self, *_: object) -> None:
        raise AssertionError("nothing here is traced")


class Clock:
    """Time that moves by hand, and a little with every look."""

    def __init__(self, step_ns: int = 0) -> None:
        self.now_ns = SECOND_NS
        self.step_ns = step_ns

    def __call__(self) -> int:
        self.now_ns += self.step_ns
        return self.now_ns


class Worker:
    """The worker's end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self.writer = writer

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    async def close(self) -> None:
        self.writer.close()
        await self.writer.wait_closed()

    async def wait_cut(self) -> None:
        """Wait until the other side has ended the connection."""
        async with asyncio.timeout(5):
            with suppress(ConnectionError):
                assert await self._reader.read() == b""
        self.writer.close()


class Bench:
    """An intake and what is around it."""

    def __init__(
        self, run_dir: Path, queue_bytes: int = 1 << 20, clock: Clock | None = None, stale_s: float = 10.0
    ) -> None:
        self.table = table_of()
        self.run_dir = run_dir
        self.clock = clock or Clock()
        self.blocks = Blocks(run_dir)
        self.sink = Sink(self.blocks)
        outcomes = Outcomes(self.blocks, self.sink, NoTracer(), b"k" * 32)
        self.blocks.admit(self.table, [0, 1])
        outcomes.admit(self.table)
        self.intake = Intake(
            run_dir / "observer.sock",
            self.blocks,
            outcomes,
            queue_bytes=queue_bytes,
            pair_timeout_ns=60 * SECOND_NS,
            clock_ns=self.clock,
            stale_s=stale_s,
        )
        self.task: asyncio.Task[None] | None = None
        self.workers: list[Worker] = []

    async def start(self) -> "Bench":
        await self.intake.listen()
        self.task = spawn(self.intake.run(), name="intake")
        return self

    async def connect(self) -> Worker:
        worker = Worker(*await asyncio.open_unix_connection(self.run_dir / "observer.sock"))
        self.workers.append(worker)
        return worker

    def counts(self, worker: int = 0) -> Counter[Key]:
        layout = self.table.observer_layout
        named = layout.counts(read_slots(block_path(self.run_dir, f"o{worker}", 1), layout.size))
        return Counter({key: n for key, n in named.items() if not key[1].startswith("distance")})

    def outcomes(self, worker: int = 0) -> dict[str, int]:
        """Return counts by outcome, whatever variant and shadow."""
        total: Counter[str] = Counter()
        for key, count in self.counts(worker).items():
            total[key[1]] += count
        return dict(total)

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():  # noqa: ASYNC110 - nobody signals counts in files
                await asyncio.sleep(0.001)

    async def stop(self) -> None:
        for worker in self.workers:
            worker.writer.close()
        if self.task is not None:
            await self.intake.finish(5)
            self.task.cancel()
            await asyncio.wait([self.task])
        self.blocks.close()


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    # Not tmp_path: a socket's path has some hundred characters, and pytest's directories may be deep.
    with tempfile.TemporaryDirectory() as directory:
        bench = Bench(Path(directory))
        yield bench
        await bench.stop()


def exchange(number: int, label: int = 1, worker: int = 0, **changes: Any) -> tuple[bytes, bytes]:
    """Return the two frames of a mirrored exchange that agrees when ``label`` is 1."""
    primary = primary_part(number=number, worker=worker, **changes)
    return as_frame(primary), as_frame(
        shadow_part(number=number, worker=worker, response_body=agreeing(label))
    )


async def test_frames_become_outcomes(bench: Bench) -> None:
    """Frames in any chunks become comparisons and records."""
    await bench.start()
    worker = await bench.connect()
    stream = hello_frame() + b"".join(b"".join(exchange(n, label=1 + n % 2)) for n in range(10))
    for start in range(0, len(stream), 777):
        worker.send(stream[start : start + 777])
        await asyncio.sleep(0)
    await bench.until(lambda: len(bench.sink.records) == 10)
    assert bench.outcomes() == {"agree": 5, "disagree": 5, "reason_label": 5, "written": 10}
    assert {shadow["comparison"]["result"] for r in bench.sink.records for shadow in r["shadows"]} == {
        "agree",
        "disagree",
    }


async def test_the_socket_is_private_and_replaces_a_stale_one(bench: Bench) -> None:
    """The socket is 0600 and takes the place of one that a predecessor left."""
    path = bench.run_dir / "observer.sock"
    path.write_text("stale")
    await bench.start()
    assert path.is_socket()
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in bench.run_dir.iterdir() if "sock" in p.name) == ["observer.sock"]


BROKEN = {
    "no hello": as_frame(primary_part()),
    "garbage": b"\xff" * 64,
    "an unknown kind": hello_frame() + b"\x01\x00\x00\x00\x09",
    "two hellos": hello_frame() + hello_frame(),
    "a frame of another worker": hello_frame() + as_frame(primary_part(worker=1)),
    "a hello without counts": hello_frame(shipped=b"[]"),
    "a hello that is no JSON": hello_frame(shipped=b"{"),
    "a hello with a count that is none": hello_frame(shipped=b'{"1\\npayload\\nwine":"9"}'),
    "a hello with labels missing": hello_frame(shipped=b'{"1\\nshadow\\nwine":9}'),
}


@pytest.mark.parametrize("name", BROKEN)
async def test_broken_streams(bench: Bench, name: str) -> None:
    """A stream that makes no sense is cut and counted, and the next connection is served."""
    await bench.start()
    broken = await bench.connect()
    broken.send(BROKEN[name])
    await broken.wait_cut()
    assert bench.intake.statistics().broken_streams == 1
    worker = await bench.connect()
    worker.send(hello_frame(), *exchange(1))
    await bench.until(lambda: bench.outcomes() == {"agree": 1, "written": 1})


async def test_what_was_lost_is_dropped_at_the_next_hello(bench: Bench) -> None:
    """A worker dies with half a frame out: its successor's hello makes the sums agree."""
    await bench.start()
    first = await bench.connect()
    whole, half = exchange(1), exchange(2)
    first.send(hello_frame(boot=1), *whole, half[0], half[1][:20])
    await bench.until(lambda: len(bench.sink.records) == 1)
    await first.close()
    second = await bench.connect()
    shipped = orjson.dumps({"1\nshadow\nwine\nwine-v4": 3, "1\npayload\nwine": 4})
    second.send(hello_frame(boot=2, shipped=shipped))
    await bench.until(lambda: bench.intake.statistics().lost_frames == 4)
    assert bench.outcomes() == {"agree": 1, "dropped": 2 + 2, "written": 2}
    assert bench.counts()["sink", "dropped", "wine"] == 2


async def test_a_new_connection_waits_for_the_old_one(bench: Bench) -> None:
    """Nothing of a worker's new connection is processed before the old one has ended, so nothing counts twice."""
    await bench.start()
    old, new = await bench.connect(), await bench.connect()
    old.send(hello_frame(boot=1))
    await bench.until(lambda: bench.intake.statistics().connections == 2)
    await asyncio.sleep(0.01)
    shipped = orjson.dumps({"1\nshadow\nwine\nwine-v4": 3, "1\npayload\nwine": 3})
    new.send(hello_frame(boot=2, shipped=shipped), *exchange(7))
    old.send(*exchange(1), *exchange(2))
    await bench.until(lambda: len(bench.sink.records) == 2)
    await asyncio.sleep(0.01)
    assert bench.outcomes() == {"agree": 2, "written": 2}
    await old.close()
    await bench.until(lambda: len(bench.sink.records) == 3)
    # Two of three were accounted for when the turn came; the third was lost; then came one more.
    assert bench.outcomes() == {"agree": 3, "written": 3, "dropped": 2}


async def test_a_silent_old_connection_is_cut(bench: Bench) -> None:
    """A connection that says nothing more while its worker's next one waits does not keep it waiting for ever."""
    bench = Bench(bench.run_dir, stale_s=0.02)
    await bench.start()
    old, new = await bench.connect(), await bench.connect()
    old.send(hello_frame(boot=1), *exchange(1))
    await bench.until(lambda: len(bench.sink.records) == 1)
    shipped = orjson.dumps({"1\nshadow\nwine\nwine-v4": 1, "1\npayload\nwine": 1})
    new.send(hello_frame(boot=2, shipped=shipped), *exchange(2))
    await old.wait_cut()
    await bench.until(lambda: bench.outcomes() == {"agree": 2, "written": 2})
    await bench.stop()


async def test_the_same_worker_comes_back(bench: Bench) -> None:
    """A part that comes over the new connection finds its primary settled, and is dropped, not lost."""
    await bench.start()
    primary, shadow = exchange(1)
    first = await bench.connect()
    first.send(hello_frame(boot=1), primary)
    await first.close()
    await bench.until(lambda: len(bench.sink.records) == 1)
    second = await bench.connect()
    shipped = orjson.dumps({"1\nshadow\nwine\nwine-v4": 0, "1\npayload\nwine": 1})
    second.send(hello_frame(boot=1, shipped=shipped), shadow)
    await bench.until(lambda: bench.intake.statistics().pending_pairs == 1)
    bench.clock.now_ns += 61 * SECOND_NS
    await bench.until(lambda: bench.outcomes() == {"written": 1, "dropped": 1})


async def test_a_workers_end_settles_its_pairs(bench: Bench) -> None:
    """When a worker hangs up, its waiting pairs are settled at once; another worker's wait on."""
    await bench.start()
    one, other = await bench.connect(), await bench.connect()
    one.send(hello_frame(0), exchange(1)[0])
    other.send(hello_frame(1), exchange(1, worker=1)[0])
    await bench.until(lambda: bench.intake.statistics().pending_pairs == 2)
    await one.close()
    await bench.until(lambda: len(bench.sink.records) == 1)
    assert bench.intake.statistics().pending_pairs == 1
    assert bench.outcomes(1) == {}


async def test_pairs_expire(bench: Bench) -> None:
    """After the timeout a lone shadow is dropped, a lone primary recorded, a failed shadow no loss."""
    await bench.start()
    worker = await bench.connect()
    failed = as_frame(shadow_part(number=3, fault=Fault.TIMEOUT, status=0))
    worker.send(hello_frame(), exchange(1)[0], exchange(2)[1], failed)
    await bench.until(lambda: bench.intake.statistics().pending_pairs == 3)
    bench.clock.now_ns += 61 * SECOND_NS
    await bench.until(lambda: bench.intake.statistics().expired_pairs == 3)
    assert bench.outcomes() == {"dropped": 1, "written": 1}


async def test_a_full_book_evicts(bench: Bench) -> None:
    """Beyond its bound the book gives up the oldest pairs: shadows dropped, records written."""
    primary = primary_part(response_body=b"x" * 1000)
    bench.intake.book.max_bytes = 10 * frame_weight(primary)
    await bench.start()
    worker = await bench.connect()
    worker.send(hello_frame())
    for number in range(15):
        worker.send(as_frame(primary_part(number=number, response_body=b"x" * 1000)))
    await bench.until(lambda: len(bench.sink.records) == 5)
    assert bench.intake.statistics().evicted_pairs == 5
    assert [record["request_id"] for record in bench.sink.records] == ["req-1"] * 5
    worker.send(*(as_frame(shadow_part(number=number)) for number in range(15)))
    # The pairs that were evicted lack their primary; those behind them are whole, or evicted whole and shed.
    await bench.until(lambda: len(bench.sink.records) == 15)
    bench.clock.now_ns += 61 * SECOND_NS
    await bench.until(lambda: bench.intake.statistics().pending_pairs == 0)
    outcomes = bench.outcomes()
    assert outcomes["written"] == 15
    assert sum(count for field, count in outcomes.items() if field != "written") == 15


async def test_back_pressure(bench: Bench) -> None:
    """With a full queue reading stops and the worker's pipe fills; nothing that was sent is lost."""
    bench = Bench(bench.run_dir, queue_bytes=64 << 10)
    await bench.intake.listen()
    worker = await bench.connect()
    body = b"x" * 10_000
    frames = [as_frame(primary_part(number=n, shadows_sent=0, response_body=body)) for n in range(400)]
    worker.send(hello_frame(), *frames)
    await bench.until(lambda: bench.intake.statistics().paused)
    for _ in range(20):
        await asyncio.sleep(0)
    held = bench.intake.statistics()
    # One piece that was read already may come on top of the bound.
    assert held.queued_bytes < (64 << 10) + (512 << 10)
    assert worker.writer.transport.get_write_buffer_size() > 1 << 20
    bench.task = spawn(bench.intake.run(), name="intake")
    await bench.until(lambda: len(bench.sink.records) == 400)
    assert bench.outcomes() == {"written": 400}
    statistics = bench.intake.statistics()
    assert (statistics.paused, statistics.queued_bytes, statistics.queued_frames) == (False, 0, 0)
    await bench.stop()


async def test_a_worker_that_connects_while_reading_is_stopped(bench: Bench) -> None:
    """A connection that comes under back-pressure is served once there is room."""
    bench = Bench(bench.run_dir, queue_bytes=8 << 10)
    await bench.intake.listen()
    first = await bench.connect()
    first.send(hello_frame(0), *(as_frame(primary_part(number=n, shadows_sent=0)) for n in range(20)))
    await bench.until(lambda: bench.intake.statistics().paused)
    second = await bench.connect()
    second.send(hello_frame(1), as_frame(primary_part(worker=1, shadows_sent=0)))
    bench.task = spawn(bench.intake.run(), name="intake")
    await bench.until(lambda: len(bench.sink.records) == 21)
    await bench.stop()


async def test_the_loop_breathes(bench: Bench) -> None:
    """However many frames wait, other tasks get their turn every few milliseconds."""
    bench = Bench(bench.run_dir, clock=Clock(step_ns=1_000_000), queue_bytes=1 << 30)
    await bench.intake.listen()
    worker = await bench.connect()
    worker.send(hello_frame(), *(as_frame(primary_part(number=n, shadows_sent=0)) for n in range(500)))
    await bench.until(lambda: bench.intake.statistics().queued_frames == 500)
    bench.task = spawn(bench.intake.run(), name="intake")
    turns = 0
    while len(bench.sink.records) < 500:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= 100
    await bench.stop()


async def test_finish_waits_for_the_workers(bench: Bench) -> None:
    """Finishing processes what workers send until they hang up, then removes the socket."""
    await bench.start()
    worker = await bench.connect()
    worker.send(hello_frame())
    await bench.until(lambda: bench.intake.statistics().connections == 1)
    finishing = spawn(bench.intake.finish(5), name="finish")
    await asyncio.sleep(0.01)
    assert not finishing.done()
    worker.send(*exchange(1))
    await worker.close()
    await finishing
    assert bench.outcomes() == {"agree": 1, "written": 1}
    assert not (bench.run_dir / "observer.sock").exists()


async def test_finish_is_bounded(bench: Bench) -> None:
    """A worker that does not hang up is cut off when the time is over; its waiting pairs are settled as they are."""
    await bench.start()
    worker = await bench.connect()
    worker.send(hello_frame(), exchange(1)[0])
    await bench.until(lambda: bench.intake.statistics().pending_pairs == 1)
    await bench.intake.finish(0.01)
    await worker.wait_cut()
    await bench.until(lambda: bench.outcomes() == {"written": 1})


async def test_unlogged_exchanges_leave_no_record(bench: Bench) -> None:
    """What is only mirrored is compared and not written."""
    await bench.start()
    worker = await bench.connect()
    part: ShadowPart = shadow_part()
    worker.send(hello_frame(), as_frame(primary_part(flags=Flag.MIRRORED)), as_frame(part))
    await bench.until(lambda: bench.outcomes() == {"agree": 1})
    assert bench.sink.records == []

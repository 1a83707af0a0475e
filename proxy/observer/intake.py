"""Frames in: the Unix socket that every worker writes to, and the one consumer behind it.

Theory of operation
    Each worker holds one connection: a hello, then frames. Frames of all connections wait in one queue, read by
    read and in the order they came, for one consumer, which works in slices and lets the loop breathe in between,
    so that the admin address always answers. When the queue is full, reading stops: the kernel's buffer fills,
    then the worker's pipe, then the worker drops and counts. That is the back-pressure, and the only one;
    nothing here can make a worker wait.

Rules
    * One worker, one live connection. A new connection of a worker waits until everything of the one before
      has been read, processed and settled. Only then do its hello's numbers and ours speak of the same
      frames (:meth:`Blocks.reconcile`).
    * A broken stream ends its connection, no more. The worker connects again, and its hello says what was
      lost.
    * Every part leaves as exactly one outcome, also when a pair is evicted, expires, or is orphaned by its
      worker's end.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias, cast

import orjson

from proxy.clock import monotonic_ns
from proxy.errors import StateError
from proxy.exchange import Frame, Hello, Primary, ShadowPart, parse_frames
from proxy.observer.blocks import Blocks
from proxy.observer.outcomes import Outcomes
from proxy.observer.pairing import FRAME_OVERHEAD_BYTES, PairBook

__all__ = ["Intake", "IntakeStatistics"]

MAX_QUEUED: Final = 50_000
"""Frames in the queue; bytes are bounded by ``observer.queue``."""
MAX_PAIRS: Final = 100_000
"""Pairs in the book; bytes are bounded by ``observer.queue`` as well."""
_SLICE_NS: Final = 5_000_000
"""Longest time without letting the loop do something else, one pair's work aside."""
_TICK_S: Final = 0.25
"""How often pairs are looked at for their age when no frame comes."""
STALE_S: Final = 10.0
"""A connection whose worker has come again and that says nothing more for this long is cut."""

_log = logging.getLogger("modelproxy")


@dataclass(frozen=True, slots=True)
class IntakeStatistics:
    """What the intake holds and what has gone wrong."""

    connections: int
    queued_frames: int
    queued_bytes: int
    pending_pairs: int
    pending_bytes: int
    paused: bool
    """Reading has stopped because the queue is full."""
    broken_streams: int
    expired_pairs: int
    evicted_pairs: int
    lost_frames: int
    """Frames that were handed to the pipe and never arrived."""


class Connection(asyncio.Protocol):
    """One worker's connection."""

    def __init__(self, intake: "Intake") -> None:
        self.hello: Hello | None = None
        self.held: list[_Batch] = []
        """What was read before the connection's turn came."""
        self.is_live = False
        self.is_lost = False
        self.heard_ns = 0
        self._intake = intake
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, because uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)
        self._intake.on_connected(self)

    def data_received(self, data: bytes) -> None:
        """Parse what is complete and hand it over."""
        self.heard_ns = monotonic_ns()
        buffer = self._buffer
        buffer += data
        size = len(buffer)
        try:
            frames = parse_frames(buffer)
            if frames:
                self._take(frames, size - len(buffer))
        except (StateError, ValueError) as error:
            self._intake.on_broken(self, error)

    def _take(self, frames: list[Frame], size: int) -> None:
        if self.hello is None:
            first = frames.pop(0)
            if not isinstance(first, Hello):
                raise StateError("expected a hello first")
            self.hello = first
            self._intake.on_hello(self, first)
        hello, worker = self.hello, self.hello.worker
        for frame in frames:
            if isinstance(frame, Hello):
                raise StateError("expected one hello, got another")
            if frame.worker != worker:
                raise StateError(f"expected frames of worker {worker}, got one of {frame.worker}")
        if frames:
            parts = cast("list[Primary | ShadowPart]", frames)
            batch = _Batch(hello, parts, size + FRAME_OVERHEAD_BYTES * len(parts))
            if self.is_live:
                self._intake.on_batch(batch)
            else:
                self.held.append(batch)

    def pause(self) -> None:
        """Stop reading."""
        if self._transport is not None and not self._is_paused and not self._transport.is_closing():
            self._is_paused = True
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self._transport is not None and self._is_paused and not self._transport.is_closing():
            self._transport.resume_reading()
        self._is_paused = False

    @property
    def is_paused(self) -> bool:
        """Whether reading has stopped."""
        return self._is_paused

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the intake; what was parsed is still processed."""
        self.is_lost = True
        self._transport = None
        self._buffer.clear()
        self._intake.on_lost(self)


@dataclass(slots=True)
class _Lane:
    """The connections of one worker: the live one, and those that wait for their turn."""

    live: Connection | None = None
    waiting: deque[Connection] = field(default_factory=deque)


@dataclass(frozen=True, slots=True)
class _End:
    """Stands in the queue after the last frame of a connection."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class _Batch:
    """Parts that came in one read."""

    hello: Hello
    """Of their connection."""
    parts: Sequence[Primary | ShadowPart]
    weight: int
    """Bytes that they are taken to occupy in memory."""


_Item: TypeAlias = _Batch | Hello | _End


class Intake:
    """The socket, the queue and its consumer.

    Args:
        path: of the Unix socket.
        blocks: the counts.
        outcomes: where settled pairs go.
        queue_bytes: bound of the queue, and of the book of pairs.
        pair_timeout_ns: see :attr:`PairBook.timeout_ns`.
        clock_ns: monotonic time.
        stale_s: see :data:`STALE_S`.
    """

    def __init__(
        self,
        path: Path,
        blocks: Blocks,
        outcomes: Outcomes,
        *,
        queue_bytes: int,
        pair_timeout_ns: int,
        clock_ns: Callable[[], int] = monotonic_ns,
        stale_s: float = STALE_S,
    ) -> None:
        self.book = PairBook(max_items=MAX_PAIRS, max_bytes=queue_bytes, timeout_ns=pair_timeout_ns)
        self._path = path
        self._blocks = blocks
        self._outcomes = outcomes
        self._queue_bytes = queue_bytes
        self._clock_ns = clock_ns
        self._stale_s = stale_s
        self._server: asyncio.Server | None = None
        self._connections: set[Connection] = set()
        self._lanes: dict[int, _Lane] = {}
        self._queue: deque[_Item] = deque()
        self._queued_bytes = self._queued_frames = 0
        self._is_paused = False
        self._wake = asyncio.Event()
        self._calm = asyncio.Event()
        self._slice_end_ns = 0
        self._broken = self._expired = self._evicted = self._lost = 0

    async def listen(self) -> None:
        """Bind the socket (mode 0600), in place of one that a predecessor left.

        Raises:
            OSError: the socket cannot be bound.
        """
        self._path.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        # Bound under another name, so that nobody connects before the mode is set.
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.unlink(missing_ok=True)
        self._server = await loop.create_unix_server(lambda: Connection(self), path=str(fresh), backlog=128)
        fresh.chmod(0o600)
        fresh.rename(self._path)

    def statistics(self) -> IntakeStatistics:
        """Return a snapshot."""
        return IntakeStatistics(
            connections=len(self._connections),
            queued_frames=self._queued_frames,
            queued_bytes=self._queued_bytes,
            pending_pairs=len(self.book),
            pending_bytes=self.book.weight,
            paused=self._is_paused,
            broken_streams=self._broken,
            expired_pairs=self._expired,
            evicted_pairs=self._evicted,
            lost_frames=self._lost,
        )

    async def run(self) -> None:
        """Process frames until cancelled."""
        loop = asyncio.get_running_loop()
        self._slice_end_ns = self._clock_ns() + _SLICE_NS
        next_tick_ns = 0
        while True:
            now = self._clock_ns()
            if now >= next_tick_ns:
                await self._breathing(self._expire(now))
                next_tick_ns = now + int(_TICK_S * 1e9)
            if self._queue:
                await self._breathing(self._process(self._queue.popleft()))
                continue
            if self._is_calm():
                self._calm.set()
            self._wake.clear()
            timer = loop.call_later(_TICK_S, self._wake.set)
            await self._wake.wait()
            timer.cancel()
            self._slice_end_ns = self._clock_ns() + _SLICE_NS

    async def finish(self, timeout_s: float) -> None:
        """Wait until every worker has hung up and all it sent is processed, at most ``timeout_s``; then
        settle the rest.

        ``run`` must be running. Workers that are still there are cut off.
        """
        self._calm.clear()
        self._wake.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                await self._calm.wait()
        if self._server is not None:
            self._server.close()
            self._path.unlink(missing_ok=True)
        for connection in list(self._connections):
            connection.abort()

    async def settle_all(self) -> None:
        """Settle every pair there is, as it is. For the end, when ``run`` has stopped."""
        for worker in list(self._lanes):
            await self._breathing(self._settle_worker(worker))

    # Called by connections

    def on_connected(self, connection: Connection) -> None:
        """Take note of a connection."""
        self._connections.add(connection)
        if self._is_paused:
            connection.pause()

    def on_hello(self, connection: Connection, hello: Hello) -> None:
        """Give the connection its turn, or let it wait for the one before."""
        lane = self._lanes.setdefault(hello.worker, _Lane())
        if lane.live is None and not lane.waiting:
            self._go_live(lane, connection)
            return
        lane.waiting.append(connection)
        connection.pause()
        self._watch(lane)

    def on_batch(self, batch: _Batch) -> None:
        """Queue what came from a live connection."""
        self._queue.append(batch)
        self._queued_bytes += batch.weight
        self._queued_frames += len(batch.parts)
        if self._queued_bytes > self._queue_bytes or self._queued_frames > MAX_QUEUED:
            self._pause_all()
        self._wake.set()

    def on_broken(self, connection: Connection, error: Exception) -> None:
        """End a connection whose stream makes no sense."""
        self._broken += 1
        worker = "?" if connection.hello is None else connection.hello.worker
        _log.error("stream of worker %s is broken: %s", worker, error)
        connection.abort()

    def on_lost(self, connection: Connection) -> None:
        """Mark the end of a connection's frames."""
        self._connections.discard(connection)
        if connection.is_live:
            self._queue.append(_End(connection))
        self._wake.set()

    # Turns

    def _go_live(self, lane: _Lane, connection: Connection) -> None:
        hello = connection.hello
        assert hello is not None, "a connection waits for its turn only after its hello"
        lane.live = connection
        connection.is_live = True
        self._queue.append(hello)
        held, connection.held = connection.held, []
        for batch in held:
            self.on_batch(batch)
        if connection.is_lost:
            self._queue.append(_End(connection))
        elif not self._is_paused:
            connection.resume()
        self._wake.set()

    def _watch(self, lane: _Lane) -> None:
        asyncio.get_running_loop().call_later(self._stale_s, self._cut_stale, lane)

    def _cut_stale(self, lane: _Lane) -> None:
        """Cut a live connection that keeps its successor waiting without saying anything.

        Its worker is gone or has given it up, so its end must be near; a process that inherited it might
        keep it open.
        """
        live = lane.live
        if live is None or live.is_lost or not lane.waiting:
            return
        if not live.is_paused and monotonic_ns() - live.heard_ns > self._stale_s * 0.9e9:
            live.abort()
        else:
            self._watch(lane)

    def _is_calm(self) -> bool:
        """Tell whether every worker has hung up and everything it sent is processed."""
        is_busy = any(lane.live is not None or lane.waiting for lane in self._lanes.values())
        return not (self._connections or self._queue or is_busy)

    # The consumer

    async def _breathing(self, steps: Iterable[None]) -> None:
        """Take ``steps``; whenever a slice of time is over, let the loop do something else."""
        for _ in steps:
            if self._clock_ns() >= self._slice_end_ns:
                await asyncio.sleep(0)
                self._slice_end_ns = self._clock_ns() + _SLICE_NS

    def _process(self, item: _Item) -> Iterator[None]:
        if isinstance(item, _Batch):
            yield from self._settle_complete(item)
            self._queued_bytes -= item.weight
            self._queued_frames -= len(item.parts)
            if (
                self._is_paused
                and self._queued_bytes < self._queue_bytes // 2
                and self._queued_frames < MAX_QUEUED // 2
            ):
                self._resume_all()
        elif isinstance(item, _End):
            yield from self._end(item.connection)
        else:
            self._greet(item)
        yield

    def _settle_complete(self, batch: _Batch) -> Iterator[None]:
        """Put the parts into the book; settle what they complete, and what has no place any more."""
        boot, book, settle = batch.hello.boot, self.book, self._outcomes.settle
        now_ns = self._clock_ns()
        for part in batch.parts:
            left = book.add(boot, part, now_ns)
            for pair in left:
                settle(pair)
                yield
            if not left:
                while (evicted := book.pop_overflow()) is not None:
                    self._evicted += 1
                    settle(evicted, shed=True)
                    yield

    def _greet(self, hello: Hello) -> None:
        """Account for what never arrived. Everything that came before is settled by now."""
        try:
            lost = self._blocks.reconcile(hello.worker, _parse_shipped(hello.shipped))
        except ValueError as error:
            lane = self._lanes[hello.worker]
            if lane.live is not None:
                self.on_broken(lane.live, error)
            return
        if lost:
            self._lost += lost
            _log.warning("worker %d: %d frames were lost on their way here", hello.worker, lost)

    def _end(self, connection: Connection) -> Iterator[None]:
        hello = connection.hello
        assert hello is not None, "only a live connection has an end"
        yield from self._settle_worker(hello.worker)
        lane = self._lanes[hello.worker]
        lane.live = None
        if lane.waiting:
            self._go_live(lane, lane.waiting.popleft())

    def _settle_worker(self, worker: int) -> Iterator[None]:
        for pair in self.book.take_worker(worker):
            self._outcomes.settle(pair)
            yield

    def _expire(self, now_ns: int) -> Iterator[None]:
        while (pair := self.book.pop_expired(now_ns)) is not None:
            self._expired += 1
            self._outcomes.settle(pair)
            yield

    def _pause_all(self) -> None:
        if not self._is_paused:
            self._is_paused = True
            for connection in self._connections:
                connection.pause()

    def _resume_all(self) -> None:
        self._is_paused = False
        for connection in self._connections:
            if connection.is_live or connection.hello is None:
                connection.resume()


def _parse_shipped(text: bytes) -> Mapping[str, int]:
    """Return ``Hello.shipped`` as a mapping.

    Raises:
        ValueError: it is something else.
    """
    shipped = orjson.loads(text)
    if not isinstance(shipped, dict):
        raise ValueError(f"expected an object of counts, got {type(shipped).__name__}")
    for name, count in shipped.items():
        parts = name.split("\n")
        is_known = (len(parts), parts[1:2]) in ((4, ["shadow"]), (4, ["noise"]), (3, ["payload"]))
        if not (is_known and parts[0].isdecimal() and isinstance(count, int)):
            raise ValueError("expected counts by version, kind and labels")
    return shipped

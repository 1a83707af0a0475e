"""Connections to model servers: how they are lent, taken back, waited for and given up."""

import asyncio
from typing import Any, cast

import pytest

from proxy.clock import monotonic_ns
from proxy.dataplane import upstream as module
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.upstream import MAX_RESPONSE_HEAD_BYTES, Pool, PoolLimits, UpstreamConnection
from proxy.model import Fault
from proxy.wire.request import Framing
from tests.dataplane.road import chunked, response
from tests.fakes import FakeLoop, FakeTransport

SECOND = 1_000_000_000


class Listener:
    """A sink that writes down what it is told."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.events: list[Any] = []
        self.connection: UpstreamConnection | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.events.append("connected")

    def on_interim(self, connection: UpstreamConnection) -> None:
        self.events.append(("interim", connection.status))

    def on_whole_response(
        self, connection: UpstreamConnection, status: int, reason: bytes, block: bytes, body: bytes
    ) -> None:
        self.events.append(("whole", status, reason, body))

    def on_response_head(self, connection: UpstreamConnection) -> None:
        self.events.append(("head", connection.status, connection.framing))

    def on_response_body(self, data: bytes) -> None:
        self.events.append(data)

    def on_response_read(self) -> None:
        self.events.append("read")

    def on_response_end(self) -> None:
        self.events.append("end")

    def on_fault(self, fault: Fault, stale: bool) -> None:
        self.events.append((fault, stale))

    def on_upstream_paused(self, paused: bool) -> None:
        self.events.append(("paused", paused))


class Stage:
    """A pool whose connects are answered by hand, in stepped time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = FakeLoop()
        self.attempts = 0
        monkeypatch.setattr(module, "monotonic_ns", self.loop.monotonic_ns)
        monkeypatch.setattr(module, "spawn", self._spawn)
        self.outbox = Outbox(cast("asyncio.AbstractEventLoop", self.loop))
        self.pool = self.make_pool()

    def make_pool(self, *, total: bool = False, max_connections: int = 2, max_pending: int = 3) -> Pool:
        limits = PoolLimits(
            timeout_ns=5 * SECOND,
            idle_timeout_ns=3 * SECOND,
            connect_timeout_ns=SECOND,
            keep_alive_ns=10 * SECOND,
            max_connections=max_connections,
            max_pending=max_pending,
            total=total,
        )
        return Pool(cast("asyncio.AbstractEventLoop", self.loop), self.outbox, "127.0.0.1", 9, limits)

    def _spawn(self, coro: Any, *, name: str) -> None:
        coro.close()
        self.attempts += 1

    def connect(self, pool: Pool | None = None) -> tuple[UpstreamConnection, FakeTransport]:
        """Let a connection succeed."""
        pool = pool or self.pool
        connection = UpstreamConnection(pool)
        transport = FakeTransport(connection)
        pool.connecting = max(pool.connecting - 1, 0)
        pool.release(connection)
        return connection, transport

    def send(self, connection: UpstreamConnection, *, done: bool = True, head_only: bool = False) -> Listener:
        """Lend ``connection``, which must be idle, to a new sink, and send a request on it."""
        listener = Listener()
        assert connection.pool.acquire(listener) is connection
        connection.send(listener, b"request", head_only, done, self.loop.clock_ns)
        self.loop.run_soon()
        return listener


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


# The pool


def test_last_in_first_out(stage: Stage) -> None:
    """The connection that was used last is lent first, so that the surplus grows idle."""
    first, _ = stage.connect()
    second, _ = stage.connect()
    assert stage.pool.acquire(Listener()) is second
    assert stage.pool.acquire(Listener()) is first


def test_first_come_first_served(stage: Stage) -> None:
    """Who waits longest is served first, with whatever becomes free."""
    sinks = [Listener(name) for name in "abc"]
    for sink in sinks:
        assert stage.pool.acquire(sink) is None
    assert stage.attempts == 2
    connection, _ = stage.connect()
    stage.pool.release(connection)
    stage.connect()
    assert [sink.events for sink in sinks] == [["connected"]] * 3
    assert sinks[0].connection is sinks[1].connection is connection


def test_bounds(stage: Stage) -> None:
    """So many connections, so many in the queue; the next is told at once."""
    for _ in range(3):
        assert stage.pool.acquire(Listener()) is None
    assert stage.pool.acquire(Listener()) is Fault.OVERFLOW
    assert stage.attempts == 2


def test_forgotten_sinks_are_not_served(stage: Stage) -> None:
    """A sink that went leaves the queue, and the connection that was made for it serves the next or stays."""
    gone, waiting = Listener(), Listener()
    stage.pool.acquire(gone)
    stage.pool.acquire(waiting)
    stage.pool.forget(gone)
    stage.pool.forget(gone)
    connection, _ = stage.connect()
    assert (gone.events, waiting.events) == ([], ["connected"])
    spare, _ = stage.connect()
    assert stage.pool.idle == [spare]
    assert connection not in stage.pool.idle


def test_lost_connection_is_replaced_for_who_waits(stage: Stage) -> None:
    """A connection that ends makes room for another, if somebody waits."""
    connections = [stage.connect() for _ in range(2)]
    for connection, _ in connections:
        stage.pool.idle.remove(connection)
    stage.pool.acquire(Listener())
    assert stage.attempts == 0
    connections[0][1].lose()
    assert stage.attempts == 1
    connections[1][1].lose()
    assert stage.attempts == 1
    assert stage.pool.open == 0


def test_closing_connections_are_not_lent(stage: Stage) -> None:
    """A connection that is closing already is passed over, whoever closes it."""
    connection, transport = stage.connect()
    transport.closed = True
    assert stage.pool.acquire(Listener()) is None
    transport.lose()
    assert connection not in stage.pool.idle
    assert stage.attempts == 1


def test_retired_pool(stage: Stage) -> None:
    """A retired pool closes what is idle at once, and what is lent when it comes back."""
    _, idle = stage.connect()
    lent, transport = stage.connect()
    listener = stage.send(lent)
    stage.pool.retire()
    assert idle.is_closing()
    assert not transport.is_closing()
    lent.data_received(response(b"1"))
    assert listener.events == [("whole", 200, b"OK", b"1")]
    assert transport.is_closing()
    assert stage.pool.idle == []


@pytest.mark.parametrize("fault", [Fault.CONNECT, Fault.CONNECT_TIMEOUT])
async def test_real_connect_that_fails(monkeypatch: pytest.MonkeyPatch, fault: Fault) -> None:
    """Refused and too slow are told apart, and everybody who waits gets a try."""
    loop = asyncio.get_running_loop()
    never = asyncio.Event()

    async def hang(*_: object) -> None:
        await never.wait()

    with pytest.MonkeyPatch.context() as patch:
        stage = Stage(patch)
        limits = stage.pool.limits
    if fault is Fault.CONNECT_TIMEOUT:
        limits.connect_timeout_ns = 1_000_000
        monkeypatch.setattr(loop, "create_connection", hang)
    server = await asyncio.start_server(lambda _r, _w: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    pool = Pool(loop, Outbox(loop), "127.0.0.1", port, limits)
    failed = asyncio.Semaphore(0)

    class Waiting(Listener):
        def on_fault(self, fault: Fault, stale: bool) -> None:
            super().on_fault(fault, stale)
            failed.release()

    sinks = [Waiting() for _ in range(3)]
    for sink in sinks:
        assert pool.acquire(sink) is None
    async with asyncio.timeout(10):
        for _ in sinks:
            await failed.acquire()
    assert [sink.events for sink in sinks] == [[(fault, False)]] * 3
    assert (pool.open, pool.connecting, len(pool.waiting)) == (0, 0, 0)


async def test_real_connect_and_answer() -> None:
    """Over a real socket: a connection is made, lent, used and kept."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"request")
        writer.write(response(b"1"))
        await reader.read()
        writer.close()
        closed.set()

    loop = asyncio.get_running_loop()
    with pytest.MonkeyPatch.context() as patch:
        limits = Stage(patch).pool.limits
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    pool = Pool(loop, Outbox(loop), "127.0.0.1", server.sockets[0].getsockname()[1], limits)
    ended, closed = asyncio.Event(), asyncio.Event()

    class Sender(Listener):
        def on_connected(self, connection: UpstreamConnection) -> None:
            super().on_connected(connection)
            connection.send(self, b"request", False, True, monotonic_ns())

        def on_whole_response(self, connection: UpstreamConnection, *rest: Any) -> None:
            super().on_whole_response(connection, *rest)
            ended.set()

    sender = Sender()
    assert pool.acquire(sender) is None
    async with asyncio.timeout(10):
        await ended.wait()
    assert sender.events == ["connected", ("whole", 200, b"OK", b"1")]
    assert len(pool.idle) == 1
    pool.retire()
    async with asyncio.timeout(10):
        await closed.wait()
    assert pool.open == 0
    server.close()


# One connection

HEAD = b"HTTP/1.1 200 OK\r\n"
EVENTS: dict[str, tuple[list[bytes], list[Any], bool]] = {
    "plain": ([response(b"ab")], [("whole", 200, b"OK", b"ab")], True),
    "in two": (
        [response(b"ab")[:-1], b"b"],
        [("head", 200, Framing.LENGTH), b"a", "read", b"b", "end"],
        True,
    ),
    "head first": (
        [HEAD, b"Content-Length: 1\r\n\r\n", b"a"],
        ["read", ("head", 200, Framing.LENGTH), "read", b"a", "end"],
        True,
    ),
    "chunked": (
        [chunked(b"a", b"b", status="200 OK")],
        [("head", 200, Framing.CHUNKED), b"a", b"b", "end"],
        True,
    ),
    "empty": (
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"],
        [("head", 200, Framing.CHUNKED), "end"],
        True,
    ),
    "no content": ([b"HTTP/1.1 204 No Content\r\n\r\n"], [("head", 204, Framing.NONE), "end"], True),
    "interim": (
        [b"HTTP/1.1 100 Continue\r\n\r\n" + response(b"a")],
        [("interim", 100), ("head", 200, Framing.LENGTH), b"a", "end"],
        True,
    ),
    "close": (
        [response(b"a", Connection="close")],
        [("head", 200, Framing.LENGTH), b"a", "end"],
        False,
    ),
    "old": (
        [b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\na"],
        [("head", 200, Framing.LENGTH), b"a", "end"],
        False,
    ),
    "junk behind": ([response(b"a") + b"?"], [("head", 200, Framing.LENGTH), b"a", "end"], False),
    "not http": ([b"hello\r\n"], [(Fault.PROTOCOL, False)], False),
}


@pytest.mark.parametrize(("pieces", "events", "kept"), EVENTS.values(), ids=EVENTS.keys())
def test_what_a_sink_hears(stage: Stage, pieces: list[bytes], events: list[Any], kept: bool) -> None:
    """Each response ends exactly once, and only a connection in a known state is kept."""
    connection, transport = stage.connect()
    listener = stage.send(connection)
    assert transport.take() == b"request"
    for piece in pieces:
        connection.data_received(piece)
    assert listener.events == events
    assert transport.is_closing() != kept
    assert (stage.pool.idle == [connection]) == kept
    transport.lose()
    assert listener.events == events


def test_end_of_the_connection(stage: Stage) -> None:
    """The end ends a response without a length, is a fault in any other, and stale on a connection that was kept."""
    connection, transport = stage.connect()
    listener = stage.send(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nab")
    transport.lose()
    assert listener.events[-1] == "end"
    connection, transport = stage.connect()
    listener = stage.send(connection)
    transport.lose()
    assert listener.events == [(Fault.RESET, False)]
    connection, transport = stage.connect()
    stage.send(connection)
    connection.data_received(response(b"1"))
    listener = stage.send(connection)
    transport.lose(ConnectionResetError())
    assert listener.events == [(Fault.RESET, True)]


def test_reset_ends_nothing(stage: Stage) -> None:
    """A reset is not the end of a response without a length: some of it may be missing."""
    connection, transport = stage.connect()
    listener = stage.send(connection)
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nab")
    transport.lose(ConnectionResetError())
    assert listener.events[-1] == (Fault.RESET, False)


def test_given_up(stage: Stage) -> None:
    """Who gives a connection up hears nothing more of it."""
    connection, transport = stage.connect()
    listener = stage.send(connection)
    connection.give_up()
    assert transport.aborted
    connection.data_received(response(b"1"))
    transport.lose()
    assert listener.events == []


def test_nobody_asked(stage: Stage) -> None:
    """An idle connection that speaks is closed and not lent again."""
    connection, transport = stage.connect()
    connection.data_received(response(b"1"))
    assert transport.aborted
    assert stage.pool.acquire(Listener()) is None


def test_interim_head_without_end(stage: Stage) -> None:
    """A head that does not end is a fault at its limit."""
    connection, transport = stage.connect()
    listener = stage.send(connection)
    connection.data_received(HEAD + b"A: ")
    for _ in range(MAX_RESPONSE_HEAD_BYTES // 1000 + 1):
        if not transport.is_closing():
            connection.data_received(b"x" * 1000)
    assert listener.events[-1] == (Fault.PROTOCOL, False)


def test_paused_connection_is_kept_running(stage: Stage) -> None:
    """A connection that was stopped for a client that is gone reads again for the next."""
    connection, transport = stage.connect()

    class Pausing(Listener):
        def on_interim(self, connection: UpstreamConnection) -> None:
            connection.pause_reading()

    listener = Pausing()
    assert stage.pool.acquire(listener) is connection
    connection.send(listener, b"request", False, True, stage.loop.clock_ns)
    connection.data_received(b"HTTP/1.1 103 Early Hints\r\n\r\n" + response(b"1"))
    assert listener.events[-1] == "end"
    assert transport.is_reading()
    assert not connection.read_paused


# Deadlines


def test_idle_connections_are_closed(stage: Stage) -> None:
    """A connection that nobody uses is closed after ``keep_alive``, and not lent from then on."""
    connection, transport = stage.connect()
    stage.loop.advance(6)
    stage.send(connection)
    connection.data_received(response(b"1"))
    stage.loop.advance(9.9)
    assert not transport.is_closing()
    stage.loop.advance(0.2)
    assert transport.is_closing()
    assert stage.pool.idle == []


def test_timeout_runs_from_the_whole_request(stage: Stage) -> None:
    """The time for an answer begins when all of the request is sent."""
    connection, _ = stage.connect()
    listener = stage.send(connection, done=False)
    stage.loop.advance(60)
    connection.send_more(b"more", False, stage.loop.clock_ns)
    stage.loop.advance(60)
    connection.send_more(b"all", True, stage.loop.clock_ns)
    stage.loop.advance(4.9)
    assert listener.events == []
    stage.loop.advance(0.2)
    assert listener.events == [(Fault.TIMEOUT, False)]


def test_timeout_of_a_model_that_does_not_take_the_request(stage: Stage) -> None:
    """While the request does not get through, the time runs; when it does, it stops."""
    connection, transport = stage.connect()
    listener = stage.send(connection, done=False)
    transport.stall(100_000)
    stage.loop.advance(4.9)
    transport.take_up()
    stage.loop.advance(60)
    assert listener.events == [("paused", True), ("paused", False)]
    transport.stall(100_000)
    stage.loop.advance(5.1)
    assert listener.events[2:] == [("paused", True), (Fault.TIMEOUT, False)]


def test_interim_answers_win_no_time(stage: Stage) -> None:
    """1xx answers do not put off the time for the real one."""
    connection, _ = stage.connect()
    listener = stage.send(connection)
    for _ in range(4):
        stage.loop.advance(1.2)
        connection.data_received(b"HTTP/1.1 102 Processing\r\n\r\n")
    stage.loop.advance(0.3)
    assert listener.events[-1] == (Fault.TIMEOUT, False)


def test_idle_timeout(stage: Stage) -> None:
    """A body may take as long as it likes if no gap in it is too long; a gap that we made does not count."""
    connection, _ = stage.connect()
    listener = stage.send(connection)
    connection.data_received(response(b"abcdef")[:-6])
    for piece in (b"a", b"b", b"c"):
        stage.loop.advance(2.9)
        connection.data_received(piece)
    connection.pause_reading()
    stage.loop.advance(60)
    connection.resume_reading()
    stage.loop.advance(2.9)
    assert listener.events[-1] == "read"
    stage.loop.advance(0.2)
    assert listener.events[-1] == (Fault.IDLE_TIMEOUT, False)


def test_pause_before_the_head(stage: Stage) -> None:
    """A pause before the head gives the model its whole time again, not the shorter one of a body."""
    connection, _ = stage.connect()
    listener = stage.send(connection)
    connection.pause_reading()
    stage.loop.advance(60)
    connection.resume_reading()
    stage.loop.advance(4.9)
    assert listener.events == []
    stage.loop.advance(0.2)
    assert listener.events == [(Fault.TIMEOUT, False)]


def test_total_timeout(stage: Stage) -> None:
    """With ``total`` the time is for all of the answer, and nothing puts it off."""
    pool = stage.make_pool(total=True)
    connection, _ = stage.connect(pool)
    listener = stage.send(connection)
    connection.data_received(response(b"abcdefgh")[:-8])
    for piece in (b"a", b"b", b"c", b"d"):
        stage.loop.advance(1.2)
        connection.data_received(piece)
    stage.loop.advance(0.3)
    assert listener.events[-1] == (Fault.TIMEOUT, False)


def test_closing_waits_for_nobody(stage: Stage) -> None:
    """An idle connection whose server does not take the rest of what it answered is closed all the same."""
    connection, transport = stage.connect()
    stage.send(connection)
    transport.stall(100_000)
    connection.data_received(response(b"1"))
    stage.pool.retire()
    assert transport.aborted

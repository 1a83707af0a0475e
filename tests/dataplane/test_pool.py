"""Pools of connections: how they are lent, taken back and waited for."""

import asyncio
import ssl
from typing import Any

import pytest

from proxy.clock import monotonic_ns
from proxy.dataplane.contexts import Contexts
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool
from proxy.dataplane.upstream import UpstreamConnection
from proxy.model import Fault
from proxy.settings import parse
from tests.dataplane.road import response
from tests.dataplane.stage import Listener, Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


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
    """So many connections, so many who wait for a busy one; the next is told at once."""
    for _ in range(2 + 3):
        assert stage.pool.acquire(Listener()) is None
    assert stage.pool.pending == 3
    assert stage.pool.acquire(Listener()) is Fault.OVERFLOW
    assert stage.attempts == 2


def test_no_queue_at_all(stage: Stage) -> None:
    """With ``max_pending: 0`` nobody waits for a busy connection; a new one may still be opened."""
    pool = stage.make_pool(max_connections=1, max_pending=0)
    assert pool.acquire(Listener()) is None
    assert pool.acquire(Listener()) is Fault.OVERFLOW
    connection, _ = stage.connect(pool)
    pool.release(connection)
    assert pool.acquire(Listener()) is connection
    assert pool.acquire(Listener()) is Fault.OVERFLOW


def test_who_waits_too_long_is_told(stage: Stage) -> None:
    """Whoever waits for a busy connection longer than allowed is told so, first come first; one timer sees to it."""
    for _ in range(2):
        connection, _ = stage.connect()
        assert stage.pool.acquire(Listener()) is connection
    first, second, third = sinks = [Listener(name) for name in "abc"]
    for sink in sinks:
        assert stage.pool.acquire(sink) is None
        stage.loop.advance(0.5)
    assert sum(not handle.cancelled for handle in stage.loop.handles) == 1 + 2
    stage.loop.advance(0.4)
    assert first.events == []
    stage.loop.advance(0.2)
    assert first.events == [(Fault.PENDING_TIMEOUT, False)]
    stage.pool.forget(second)
    stage.loop.advance(0.5)
    assert (second.events, third.events) == ([], [])
    stage.loop.advance(0.5)
    assert third.events == [(Fault.PENDING_TIMEOUT, False)]
    assert not stage.pool.waiting
    late = Listener()
    assert stage.pool.acquire(late) is None
    stage.loop.advance(2.1)
    assert late.events == [(Fault.PENDING_TIMEOUT, False)]


def test_who_waits_for_a_new_connection_is_not_pending(stage: Stage) -> None:
    """While a connection is opened for everybody who waits, the time for that is ``connect_timeout``."""
    sinks = [Listener() for _ in range(3)]
    for sink in sinks:
        assert stage.pool.acquire(sink) is None
    stage.loop.advance(1.9)
    assert stage.pool.pending == 1
    stage.loop.advance(0.2)
    assert [sink.events for sink in sinks] == [[(Fault.PENDING_TIMEOUT, False)], [], []]
    stage.loop.advance(60)
    assert [sink.events for sink in sinks[1:]] == [[], []]
    stage.connect()
    stage.pool.on_unconnected(Fault.CONNECT)
    assert [sink.events for sink in sinks[1:]] == [["connected"], [(Fault.CONNECT, False)]]


def test_room_for_a_new_connection_ends_the_wait(stage: Stage) -> None:
    """When a busy connection is lost, one is opened for who waited for it, and its time is that of connecting."""
    connection, transport = stage.connect()
    assert stage.pool.acquire(Listener()) is connection
    sinks = [Listener() for _ in range(2)]
    for sink in sinks:
        assert stage.pool.acquire(sink) is None
    assert (stage.pool.connecting, stage.pool.pending) == (1, 1)
    transport.lose()
    assert (stage.pool.connecting, stage.pool.pending) == (2, 0)
    stage.loop.advance(3)
    assert [sink.events for sink in sinks] == [[], []]


def test_who_comes_again_while_being_told(stage: Stage) -> None:
    """A sink that asks for another connection as soon as it is told waits its whole time anew."""

    class Insisting(Listener):
        def on_fault(self, fault: Fault, stale: bool) -> None:
            super().on_fault(fault, stale)
            assert pool.acquire(self) is None

    pool = stage.make_pool(max_connections=1)
    connection, _ = stage.connect(pool)
    assert pool.acquire(Listener()) is connection
    sink = Insisting()
    assert pool.acquire(sink) is None
    stage.loop.advance(2.1)
    assert len(sink.events) == 1
    stage.loop.advance(1.8)
    assert len(sink.events) == 1
    stage.loop.advance(0.2)
    assert len(sink.events) == 2


async def test_a_connection_that_is_dead_on_arrival() -> None:
    """A server that accepts and closes at once fails the sink that waits, which would never hear of it else."""

    class Gone(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

    class Loop:
        async def create_connection(self, factory: Any, *_: object) -> tuple[asyncio.Transport, Any]:
            protocol, transport = factory(), Gone({})
            protocol.transport = transport
            pool.open += 1
            pool.on_closed(protocol)
            return transport, protocol

    loop: Any = Loop()
    with pytest.MonkeyPatch.context() as patch:
        limits = Stage(patch).pool.limits
    pool = Pool(loop, Outbox(loop), "127.0.0.1", 9, limits)

    class Waiting(Listener):
        told = asyncio.Event()

        def on_fault(self, fault: Fault, stale: bool) -> None:
            super().on_fault(fault, stale)
            self.told.set()

    sink = Waiting()
    assert pool.acquire(sink) is None
    async with asyncio.timeout(10):
        await sink.told.wait()
    assert sink.events == [(Fault.CONNECT, False)]
    assert (pool.open, pool.connecting) == (0, 0)


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


SECURED = """
models: {one: {url: "https://127.0.0.1:1"}}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: one, role: champion}]}]
"""


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (ssl.SSLError(1, "certificate required"), Fault.TLS),
        (ConnectionResetError(), Fault.RESET),
        (None, Fault.RESET),
    ],
)
def test_refused_behind_the_handshake(stage: Stage, error: Exception | None, fault: Fault) -> None:
    """A new secured connection that ends by an alert was never one; one that is just closed was reset."""
    contexts = Contexts()
    model = parse(SECURED, environ={}).models["one"]
    stage.pool.secured = contexts.backend("one", model)
    connection, transport = stage.connect()
    sink = Listener()
    connection.send(sink, b"GET / HTTP/1.1\r\n\r\n", False, True, 0)
    transport.lose(error)
    assert sink.events == [(fault, False)]


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

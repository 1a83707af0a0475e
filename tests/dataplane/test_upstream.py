"""Connections to model servers: how they read a response, keep time and are given up."""

from typing import Any

import pytest

from proxy.dataplane.upstream import MAX_RESPONSE_HEAD_BYTES, UpstreamConnection
from proxy.model import Fault
from proxy.wire.request import Framing
from tests.dataplane.road import chunked, response
from tests.dataplane.stage import Listener, Stage


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch) -> Stage:
    return Stage(monkeypatch)


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

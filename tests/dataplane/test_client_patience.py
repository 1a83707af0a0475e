"""Connections from clients over time: deadlines, back-pressure, clients that leave, draining."""

import socket

import pytest

from proxy.dataplane import client as client_module
from tests.dataplane.road import (
    CONFIG,
    JSON_UNIT,
    Road,
    chunked,
    codes,
    is_lingering,
    read_answers,
    request,
    response,
    statuses,
    unrouted,
)

# Deadlines


def test_dribbled_head(road: Road) -> None:
    """A head has ``client_head`` from its first byte, however often a byte comes."""
    for byte in b"POST /v2/m":
        road.feed(bytes([byte]))
        assert road.received() == b""
        road.wait(0.99)
    road.wait(0.2)
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (408, b"close")
    assert unrouted(road) == {"code_408": 1}
    road.wait(2.1)
    assert road.transport.lost


def test_stalled_body(road: Road) -> None:
    """A body has ``client_body`` from piece to piece, and then the model is let go."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    for i in range(-5, -1):
        road.wait(29)
        assert road.received() == b""
        road.feed(data[i : i + 1])
    road.wait(30.1)
    assert statuses(road.received()) == [408]
    assert model.aborted
    assert codes(road) == {"code_408": 1}
    assert road.count("model", "fault_timeout", "one") == 0
    road.wait(2.1)
    assert road.transport.lost


def test_slow_upload_is_not_the_models_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's time to answer begins when it has the whole request."""
    road = Road(monkeypatch, CONFIG.replace("max_pending: 8", "max_pending: 8, timeout: 5s"))
    data = request(body=b"0123456789")
    road.feed(data[:-2])
    road.connect()
    road.wait(20)
    road.feed(data[-2:-1])
    road.wait(20)
    road.feed(data[-1:])
    road.wait(4.9)
    assert road.received() == b""
    road.wait(0.2)
    assert statuses(road.received()) == [504]
    assert road.count("model", "fault_timeout", "one") == 1


def test_stalled_body_with_its_unit_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that stalls before it is known whose it is counts as nobody's, and holds no table."""
    road = Road(monkeypatch, JSON_UNIT)
    road.feed(request(body=b'{"user": 1}')[:-3])
    assert road.table.undecided == 1
    road.wait(30.1)
    assert statuses(road.received()) == [408]
    assert unrouted(road) == {"code_408": 1}
    assert road.table.undecided == 0


def test_idle_connections_are_closed_silently(road: Road) -> None:
    """Nothing is said to a client that says nothing: a new one has ``client_head``, a used one ``keep_alive``."""
    silent = road.add_client()
    road.feed(request())
    road.answer(road.connect(), response(b"1"))
    road.received()
    road.wait(10.1)
    assert silent.lost
    assert road.received(silent) == b""
    road.wait(64.8)
    assert not road.transport.is_closing()
    road.wait(0.2)
    assert road.transport.lost
    assert road.received() == b""
    assert unrouted(road) == {}


# Back-pressure


def test_slow_client_stops_the_model(road: Road) -> None:
    """While the client takes no more, the model is not read, and its idle time rests."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    road.transport.stall(100_000)
    assert not model.is_reading()
    for left in (90_000, 80_000, 70_000):
        road.wait(29)
        road.transport.unsent = left
    assert not road.transport.is_closing()
    road.transport.take_up()
    assert model.is_reading()
    road.answer(model, b"1\r\nc\r\n0\r\n\r\n")
    assert [(a.body, a.is_whole) for a in read_answers(road.received())] == [(b"abc", True)]


def test_client_that_takes_nothing(road: Road) -> None:
    """A client that takes nothing for ``client_body`` is cut off, and the model is let go."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    road.transport.stall(100_000)
    road.wait(29.9)
    assert not road.transport.is_closing()
    road.wait(0.2)
    assert road.transport.was_reset
    assert model.was_reset
    assert codes(road) == {"code_200": 1}


def test_pause_that_comes_late(road: Road) -> None:
    """A model connection that was lent while the client was slow already is stopped with its first piece."""
    road.feed(request())
    road.transport.stall(100_000)
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    assert not model.is_reading()
    road.transport.take_up()
    assert model.is_reading()


def test_slow_client_does_not_stop_others(road: Road) -> None:
    """A connection that was given back is not touched when its last client turns out to be slow."""
    road.feed(request())
    model = road.connect()
    road.answer(model, response(b"x" * 100_000))
    road.transport.stall(100_000)
    assert model.is_reading()
    other = road.add_client()
    road.feed(request(), to=other)
    road.answer(model, response(b"1"))
    assert statuses(road.received(other)) == [200]


def test_answers_are_not_piled_up(road: Road) -> None:
    """A client that takes no answers is not read, and what it has asked already waits until it does."""
    road.feed(request(body=b"one") + request(body=b"two"))
    model = road.connect()
    model.take()
    road.transport.stall(70_000)
    road.answer(model, response(b"x" * 70_000))
    assert model.take() == b""
    assert not road.transport.is_reading()
    road.transport.take_up()
    road.settle()
    assert model.take().endswith(b"two")
    assert road.transport.is_reading()
    road.transport.stall(70_000)
    road.answer(model, response(b"2"))
    assert not road.transport.is_reading()
    road.transport.take_up()
    assert road.transport.is_reading()
    assert statuses(road.received()) == [200, 200]


def test_idle_client_that_takes_nothing(road: Road) -> None:
    """The last answer waits for a slow client as long as it takes anything of it."""
    road.feed(request(body=b"one"))
    road.answer(road.connect(), response(b"x"))
    road.transport.stall(70_000)
    road.wait(29)
    road.transport.unsent = 60_000
    road.wait(30)
    assert not road.transport.is_closing()
    road.wait(1.1)
    assert road.transport.aborted


def test_closing_does_not_wait_for_ever(road: Road) -> None:
    """A connection that is closed with an answer unsent is cut off when the client takes nothing of it."""
    road.feed(request(Connection="close"))
    model = road.connect()
    road.transport.unsent = 50_000
    road.answer(model, response(b"x"))
    assert road.transport.is_closing()
    assert not road.transport.lost
    road.wait(60.1)
    assert road.transport.aborted


def test_slow_model_stops_the_client(road: Road) -> None:
    """While the model takes no more of the request, the client is not read, and its deadline rests."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    model.stall(100_000)
    assert not road.transport.is_reading()
    road.wait(29.9)
    assert not road.transport.is_closing()
    model.take_up()
    assert road.transport.is_reading()
    road.wait(29.9)
    assert road.received() == b""
    road.feed(data[-5:])
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]


def test_model_that_takes_nothing(road: Road) -> None:
    """A model that does not take the request has failed it, not the client."""
    road.feed(request(body=b"0123456789")[:-5])
    model = road.connect()
    model.stall(100_000)
    road.wait(30.1)
    assert statuses(road.received()) == [504]
    assert road.count("model", "fault_timeout", "one") == 1
    assert codes(road) == {"code_504": 1}


def test_upload_waits_for_a_connection(road: Road) -> None:
    """A client is not read beyond a bound while there is no connection to send its request on."""
    data = request(body=b"x" * 600_000)
    road.feed(data[:200_000])
    assert road.transport.is_reading()
    road.feed(data[200_000:300_000])
    assert not road.transport.is_reading()
    model = road.connect()
    assert road.transport.is_reading()
    road.feed(data[300_000:])
    assert model.take().endswith(b"x" * 600_000)


# The client leaves


def test_client_leaves_while_the_model_works(road: Road) -> None:
    """The model's work is cancelled, counted as 499, and not sent again."""
    road.feed(request(body=b"abc"))
    model = road.connect()
    model.take()
    road.leave()
    assert model.was_reset
    assert codes(road) == {"code_499": 1}
    assert road.wanted == []
    assert road.count("model", "fault_reset", "one") == 0


@pytest.mark.skipif(not hasattr(socket, "TCP_INFO"), reason="other systems do not tell")
@pytest.mark.parametrize("state", [7, 8], ids=["reset", "closed"])
def test_client_leaves_unread(road: Road, state: int) -> None:
    """A client that leaves while it is not read, as it has pipelined, is missed within two seconds."""
    road.feed(request(body=b"one") + request(body=b"two"))
    model = road.connect()
    assert not road.transport.is_reading()
    road.wait(5)
    assert not road.transport.is_closing()
    road.transport.socket.state = state
    road.wait(2.1)
    assert road.transport.aborted
    road.leave()
    assert model.was_reset
    assert codes(road) == {"code_499": 1}


def test_client_leaves_in_the_middle_of_its_answer(road: Road) -> None:
    """An answer that has begun is counted under its own status."""
    road.feed(request())
    model = road.connect()
    road.answer(model, response(b"x" * 100)[:-50])
    road.leave()
    assert model.aborted
    assert codes(road) == {"code_200": 1}


def test_client_leaves_while_it_waits_for_a_connection(road: Road) -> None:
    """Nothing is sent when the connection comes, and the connection is kept for others."""
    road.feed(request())
    road.leave()
    model = road.connect()
    assert model.take() == b""
    assert codes(road) == {"code_499": 1}
    assert road.table.models["one"].pool.idle


def test_client_leaves_before_its_unit_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that nobody was chosen for is counted without a route."""
    road = Road(monkeypatch, JSON_UNIT)
    road.feed(request(body=b'{"user": 1}')[:-3])
    road.leave()
    assert unrouted(road) == {"code_499": 1}
    assert road.table.undecided == 0


def test_client_that_shuts_its_side_has_left(road: Road) -> None:
    """Half a connection is none: the transport is asked to close."""
    assert road.client.eof_received() is False


# Draining


def test_draining(road: Road) -> None:
    """The answer to what is under way says that it is the last, and what was sent behind it cannot destroy it."""
    road.feed(request())
    road.worker.draining = True
    road.client.drain()
    road.answer(road.connect(), response(b"1"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (200, b"close")
    assert is_lingering(road.transport)
    road.feed(request())
    assert not road.transport.is_closing()
    road.transport.lose()


@pytest.mark.parametrize("is_new", [True, False])
def test_draining_closes_idle_connections(road: Road, is_new: bool) -> None:
    """A connection before its first request, or between two, is listened to for a moment, then shut silently."""
    if not is_new:
        road.feed(request())
        road.answer(road.connect(), response(b"1"))
        road.received()
    road.worker.draining = True
    road.client.drain()
    road.wait(client_module.LAST_IDLE_NS / 1e9 - 0.01)
    assert not road.transport.eof_written
    road.wait(0.02)
    assert is_lingering(road.transport)
    assert road.received() == b""
    road.wait(client_module.LINGER_NS / 1e9)
    assert road.transport.lost


def test_a_request_that_crosses_the_drain_is_answered(road: Road) -> None:
    """A client that did not know yet gets its answer, also if its request is in the socket when the time is up."""
    road.worker.draining = True
    road.client.drain()
    road.loop.clock_ns += client_module.LAST_IDLE_NS
    road.client._on_timer()
    assert not road.transport.is_closing()
    road.feed(request())
    road.wait(1)
    road.answer(road.connect(), response(b"1"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (200, b"close")


def test_a_connection_made_while_draining_has_a_moment(road: Road) -> None:
    """Who was connected before the worker knew is answered if it asks, and not waited for if it does not."""
    road.worker.draining = True
    quick, silent = road.add_client(), road.add_client()
    road.feed(request("/nowhere"), to=quick)
    (answer,) = read_answers(road.received(quick))
    assert (answer.status, answer.fields[b"connection"]) == (404, b"close")
    road.wait(client_module.LAST_IDLE_NS / 1e9 + 0.01)
    assert is_lingering(silent)


def test_drained_while_an_answer_is_on_its_way(road: Road) -> None:
    """A connection whose answer did not say so takes one more request, whose answer does."""
    road.feed(request())
    model = road.connect()
    road.answer(model, response(b"x" * 100)[:-50])
    road.worker.draining = True
    road.client.drain()
    road.answer(model, b"x" * 50)
    (answer,) = read_answers(road.received())
    assert answer.is_whole
    assert b"connection" not in answer.fields
    road.feed(request("/nowhere"))
    (last,) = read_answers(road.received())
    assert (last.status, last.fields[b"connection"]) == (404, b"close")


def test_draining_answers_what_was_pipelined(road: Road) -> None:
    """What was read before the drain is answered, the model's answers and ours, and the last of them says so."""
    road.feed(request() + request("/nowhere") + request() + request("/nowhere"))
    road.worker.draining = True
    road.client.drain()
    model = road.connect()
    for _ in range(2):
        road.answer(model, response())
    answers = read_answers(road.received())
    assert [answer.status for answer in answers] == [200, 404, 200, 404]
    assert [answer.fields.get(b"connection") for answer in answers] == [None, None, None, b"close"]
    assert is_lingering(road.transport)


def test_draining_answers_of_our_own(road: Road) -> None:
    """An answer of our own says it too."""
    road.worker.draining = True
    road.feed(request("/nowhere"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (404, b"close")
    assert is_lingering(road.transport)

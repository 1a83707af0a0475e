"""One request on the road when the model fails, is tried once more, or answers unusually."""

from collections.abc import Callable

import pytest

from proxy.dataplane.endings import send_off
from proxy.dataplane.upstream import MAX_RESPONSE_HEAD_BYTES
from proxy.model import Fault
from tests.dataplane.road import (
    CONFIG,
    FEEDS,
    Feed,
    Road,
    chunked,
    feeds,
    named,
    read_answers,
    request,
    response,
    statuses,
)
from tests.fakes import FakeTransport

# What goes wrong upstream


def refuse(road: Road) -> FakeTransport | None:
    road.refuse_connect()
    return None


def refuse_late(road: Road) -> FakeTransport | None:
    road.refuse_connect(Fault.CONNECT_TIMEOUT)
    return None


def be_silent(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.wait(29.9)
    assert road.received() == b""
    road.wait(0.2)
    return model


def close_at_once(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.hang_up(model)
    return model


def reset_in_head(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.answer(model, b"HTTP/1.1 200 O")
    road.hang_up(model, ConnectionResetError())
    return model


def says(*pieces: bytes) -> Callable[[Road], FakeTransport | None]:
    def play(road: Road) -> FakeTransport | None:
        model = road.connect()
        road.answer(model, *pieces)
        return model

    return play


FAULTS: dict[str, tuple[Callable[[Road], FakeTransport | None], int, Fault]] = {
    "refused": (refuse, 502, Fault.CONNECT),
    "no connection in time": (refuse_late, 504, Fault.CONNECT_TIMEOUT),
    "silent": (be_silent, 504, Fault.TIMEOUT),
    "closed": (close_at_once, 502, Fault.RESET),
    "reset in its head": (reset_in_head, 502, Fault.RESET),
    "garbage": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 502, Fault.PROTOCOL),
    "garbage in its head": (says(b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n"), 502, Fault.PROTOCOL),
    "head too large": (
        says(b"HTTP/1.1 200 OK\r\nA: ", b"x" * (MAX_RESPONSE_HEAD_BYTES // 2), b"x" * 200_000),
        502,
        Fault.PROTOCOL,
    ),
    "two lengths": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        Fault.PROTOCOL,
    ),
    "length and chunks": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        502,
        Fault.PROTOCOL,
    ),
    "another protocol": (
        says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        502,
        Fault.PROTOCOL,
    ),
    "no status": (says(b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"), 502, Fault.PROTOCOL),
}


@pytest.mark.parametrize("http", [b"HTTP/1.1", b"HTTP/1.0"], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("play", "status", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_before_the_answer(
    road: Road, play: Callable[[Road], FakeTransport | None], status: int, fault: Fault, http: bytes
) -> None:
    """A model that fails before its answer is answered for: status, sentence, id; its fault, our code."""
    road.feed(request(body=b"abc", X_Request_Id="r1").replace(b"HTTP/1.1", http))
    model = play(road)
    (answer,) = read_answers(road.received())
    assert answer.status == status
    assert answer.is_whole
    assert b'"request_id":"r1"' in answer.body
    assert answer.fields[b"x-request-id"] == b"r1"
    assert b"x-modelproxy-variant" not in answer.fields
    assert named(road, "model") == {f"fault_{fault.label}": 1}
    assert named(road, "variant", "code_") == {f"code_{status}": 1}
    assert model is None or model.lost
    assert road.wanted == []
    assert not road.transport.aborted
    assert road.transport.lost == (http == b"HTTP/1.0")
    if http == b"HTTP/1.1":
        road.feed(request())
        road.answer(road.connect(), response(b"1"))
        assert statuses(road.received()) == [200]
    assert road.table.models["one"].pool.open == (http == b"HTTP/1.1")


def test_fault_while_the_client_is_sending(road: Road) -> None:
    """The rest of a body that nobody wants is read away, and the connection carries on."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    road.hang_up(road.connect())
    assert statuses(road.received()) == [502]
    road.feed(data[-5:] + request("/nowhere"))
    assert statuses(road.received()) == [404]


def test_overflow(road: Road) -> None:
    """Four connections and eight waiting are the limit: the thirteenth is told when to come again, at once."""
    clients = [road.add_client() for _ in range(13)]
    for client in clients[:4]:
        road.feed(request(body=b"abc"), to=client)
    models = [road.connect() for _ in range(4)]
    for client in clients[4:]:
        road.feed(request(body=b"abc"), to=client)
    (answer,) = read_answers(road.received(clients[-1]))
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert named(road, "model") == {"fault_overflow": 1}
    assert road.wanted == []
    for _ in range(3):
        for model in models:
            road.answer(model, response(b"1"))
    assert [statuses(road.received(client)) for client in clients[:-1]] == [[200]] * 12
    road.feed(request(), to=clients[-1])
    road.answer(models[-1], response(b"1"))
    assert statuses(road.received(clients[-1])) == [200]


def test_waiting_requests_share_the_failure(road: Road) -> None:
    """Each connection that cannot be made fails one request, and the next in line gets a try of its own."""
    clients = [road.add_client() for _ in range(6)]
    for client in clients:
        road.feed(request(), to=client)
    assert len(road.wanted) == 4
    for client in clients:
        road.refuse_connect()
        assert statuses(road.received(client)) == [502]
    assert road.wanted == []
    assert road.table.models["one"].pool.connecting == 0


CUT = {
    "length": (response(b"x" * 10)[:-5], b"content-length"),
    "chunked": (chunked(b"x" * 5, status="200 OK").removesuffix(b"0\r\n\r\n"), b"transfer-encoding"),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nxxxxx", b"transfer-encoding"),
}
ENDS = {
    "reset": (lambda road, model: road.hang_up(model, ConnectionResetError()), Fault.RESET),
    "idle": (lambda road, model: road.wait(60.1), Fault.IDLE_TIMEOUT),
}


@pytest.mark.parametrize("http", [b"HTTP/1.1", b"HTTP/1.0"], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("end", "fault"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize(("data", "framing"), CUT.values(), ids=CUT.keys())
def test_fault_in_the_answer(
    road: Road,
    data: bytes,
    framing: bytes,
    end: Callable[[Road, FakeTransport], None],
    fault: Fault,
    http: bytes,
) -> None:
    """An answer that breaks off ends so that the client can tell: too short, without a last chunk, or by a reset."""
    road.feed(request().replace(b"HTTP/1.1", http))
    model = road.connect()
    road.answer(model, data)
    end(road, model)
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.body, answer.is_whole) == (200, b"xxxxx", False)
    assert (framing in answer.fields) == (http == b"HTTP/1.1" or framing == b"content-length")
    assert road.transport.lost
    assert road.transport.was_reset == (http == b"HTTP/1.0")
    assert model.lost
    assert named(road, "model") == {f"fault_{fault.label}": 1}
    assert named(road, "variant", "code_") == {"code_200": 1}


def test_garbage_in_the_answer(road: Road) -> None:
    """Chunks that are none end the answer where they begin."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"abc", status="200 OK").removesuffix(b"0\r\n\r\n") + b"zz\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole) == (b"abc", False)
    assert model.aborted
    assert named(road, "model") == {"fault_protocol": 1}


def test_refused_in_the_middle_of_the_answer(road: Road) -> None:
    """A client that breaks its body while it is being answered is cut off, and the answer is not made to look whole."""
    road.feed(chunked(b"abc").removesuffix(b"0\r\n\r\n"))
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    road.feed(b"zz\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.is_whole) == (200, False)
    assert model.aborted
    assert road.transport.eof_written
    assert named(road, "variant", "code_") == {"code_200": 1}


BEHIND = {
    "second response": response(b"1") + response(b"2"),
    "junk": response(b"1") + b"junk",
    "behind nothing": b"HTTP/1.1 204 No Content\r\n\r\njunk",
    "behind chunks": chunked(b"1", status="200 OK") + b"junk",
}


@pytest.mark.parametrize("data", BEHIND.values(), ids=BEHIND.keys())
def test_bytes_behind_the_answer(road: Road, data: bytes) -> None:
    """What comes behind an answer belongs to nobody: the client does not see it, and nobody gets that connection."""
    road.feed(request())
    model = road.connect()
    road.answer(model, data)
    (answer,) = read_answers(road.received())
    assert answer.status in (200, 204)
    assert answer.body in (b"1", b"")
    assert model.aborted
    road.feed(request())
    assert len(road.wanted) == 1


def test_bytes_between_two_requests(road: Road) -> None:
    """An idle connection that speaks is closed, and what it said is not the next answer."""
    road.feed(request())
    model = road.connect()
    road.answer(model, response(b"1"))
    road.answer(model, response(b"unasked"))
    assert model.aborted
    road.received()
    road.feed(request())
    road.answer(road.connect(), response(b"2"))
    assert [answer.body for answer in read_answers(road.received())] == [b"2"]


# Once more


def used(road: Road) -> FakeTransport:
    """Return a model's connection that has served a request."""
    road.feed(request(method="GET"))
    model = road.connect()
    road.answer(model, response(b"0"))
    road.received()
    model.take()
    return model


@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["closed", "reset"])
@pytest.mark.parametrize("data", [request(body=b"abc"), chunked(b"ab", b"c")], ids=["length", "chunked"])
def test_stale_connection_is_replaced(road: Road, data: bytes, error: Exception | None) -> None:
    """A kept connection that the server closed costs the client nothing: the request is sent again on a new one."""
    model = used(road)
    road.feed(data)
    sent = model.take()
    road.hang_up(model, error)
    again = road.connect()
    assert again.take() == sent
    road.answer(again, response(b"1"))
    assert [answer.body for answer in read_answers(road.received())] == [b"1"]
    counts = named(road, "variant")
    assert (counts["retries"], counts["started"], counts["code_200"]) == (1, 2, 2)
    assert named(road, "model") == {}


def test_once_more_is_once(road: Road) -> None:
    """A second failure is the model's."""
    model = used(road)
    other = road.add_client()
    road.feed(request(body=b"abc"))
    road.feed(request(body=b"def"), to=other)
    second = road.connect()
    road.hang_up(model)
    road.answer(second, response(b"1"))
    assert second.take().endswith(b"abc")
    road.hang_up(second)
    assert statuses(road.received()) == [502]
    assert road.connect().take() == b""
    assert named(road, "model") == {"fault_reset": 1}
    assert named(road, "variant")["retries"] == 1


def test_no_retry_when_a_byte_was_seen(road: Road) -> None:
    """A server that had begun to answer has done the work: it is not asked to do it again."""
    model = used(road)
    road.feed(request(body=b"abc"))
    road.answer(model, b"H")
    road.hang_up(model)
    assert statuses(road.received()) == [502]
    assert road.wanted == []


def test_retry_of_a_body_under_way(road: Road) -> None:
    """What has come of a body is sent again, and the rest as it comes."""
    model = used(road)
    road.feed(request(body=b"abcd")[:-2], b"c")
    road.hang_up(model)
    second = road.connect()
    assert second.take().endswith(b"\r\n\r\nabc")
    road.feed(b"d")
    assert second.take() == b"d"
    road.answer(second, response(b"1"))
    assert statuses(road.received()) == [200]


def test_no_retry_of_a_body_that_is_not_at_hand(road: Road) -> None:
    """A body of which more has gone out than ``limits.copy`` cannot be sent again."""
    road.swap("limits: {copy: 1KiB}\n" + CONFIG)
    model = used(road)
    data = request(body=b"x" * 2000)
    road.feed(data[:-1500], data[-1500:-1])
    road.hang_up(model)
    assert statuses(road.received()) == [502]
    assert road.wanted == []


def test_no_retry_on_a_new_connection(road: Road) -> None:
    """A connection that has never worked is not stale."""
    road.feed(request(body=b"abc"))
    road.hang_up(road.connect())
    assert statuses(road.received()) == [502]


def test_client_leaves_while_its_retry_waits(road: Road) -> None:
    """A retry that nobody waits for any more is not sent."""
    model = used(road)
    road.feed(request(body=b"abc"))
    road.hang_up(model)
    road.leave()
    assert road.connect().take() == b""
    assert named(road, "variant", "code_") == {"code_200": 1, "code_499": 1}


# Unusual answers


def test_answer_before_the_request_is_over(road: Road) -> None:
    """An early answer reaches the client; the rest of its body is read away, and both connections part cleanly."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    road.answer(model, response(b"enough", "429 Too Many Requests"))
    assert statuses(road.received()) == [429]
    assert model.aborted
    road.feed(data[-5:] + request())
    road.answer(road.connect(), response(b"1"))
    assert statuses(road.received()) == [200]
    assert named(road, "variant", "code_") == {"code_200": 1, "code_429": 1}


def test_answer_that_streams_while_the_request_does(road: Road) -> None:
    """Both bodies may be under way at once, and an upload keeps its answer from counting as idle."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    for i in range(-5, -1):
        road.wait(25)
        road.feed(data[i : i + 1])
    road.wait(25)
    road.feed(data[-1:])
    road.answer(model, b"1\r\nc\r\n0\r\n\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole) == (b"abc", True)
    assert not model.closed


def test_interim_answers_pass(road: Road) -> None:
    """1xx answers pass with their fields and are not counted."""
    road.feed(request())
    model = road.connect()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    road.answer(model, hints + hints, response(b"1"))
    received = road.received()
    assert received.startswith(hints + hints + b"HTTP/1.1 200 OK\r\n")
    assert named(road, "variant", "code_") == {"code_200": 1}
    assert not model.closed


def test_interim_answers_are_not_for_http10(road: Road) -> None:
    """An HTTP/1.0 client does not know 1xx."""
    road.feed(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    road.answer(road.connect(), b"HTTP/1.1 103 Early Hints\r\n\r\n", response(b"1"))
    assert statuses(road.received()) == [200]


NO_BODY = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_BODY.values(), ids=NO_BODY.keys())
def test_answers_without_a_body(road: Road, data: bytes) -> None:
    """204 and 304 end with their head, whatever they say, and both connections carry on."""
    for _ in range(2):
        road.feed(request(method="GET"))
        model = road.connect() if road.wanted else road.upstreams[0]
        road.answer(model, data)
        received = road.received()
        assert received.startswith(data[:20])
        assert received.endswith(b"\r\n\r\n")
        assert b"transfer-encoding" not in received
    assert not road.transport.closed
    assert len(road.upstreams) == 1


@feeds
def test_chunked_answer(road: Road, feed: Feed) -> None:
    """Chunks arrive as chunks, with the trailer fields that may follow them."""
    road.feed(request())
    model = road.connect()
    data = chunked(b"ab", b"c", status="200 OK", trailer="X-Sum: 1\r\nSet-Cookie: a=b\r\n")
    road.answer(model, *(feed(data) if feed is not FEEDS["with trailing bytes"] else [data]))
    received = road.received()
    (answer,) = read_answers(received)
    assert (answer.body, answer.is_whole, answer.trailers) == (b"abc", True, (b"X-Sum: 1\r\n",))
    assert not model.closed


def test_answer_until_close(road: Road) -> None:
    """A body that ends with the model's connection is sent in chunks, and the client's connection stays."""
    road.feed(request())
    model = road.connect()
    road.answer(model, b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nab", b"c")
    road.hang_up(model)
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole, answer.fields[b"transfer-encoding"]) == (b"abc", True, b"chunked")
    assert not road.transport.closed
    assert named(road, "model") == {}


def test_endless_trailer(road: Road) -> None:
    """Lines behind the last chunk are bounded like a head."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"abc", status="200 OK").removesuffix(b"\r\n") + b"X: ")
    for _ in range(MAX_RESPONSE_HEAD_BYTES // 50_000 + 1):
        road.answer(model, b"x" * 50_000)
    assert model.aborted
    assert named(road, "model") == {"fault_protocol": 1}


def test_trailer_of_a_request(road: Road) -> None:
    """Trailer fields of a request go on, but for those that only a head may hold."""
    road.feed(chunked(b"abc", trailer="X-Sum: 1\r\nHost: other\r\nX-ModelProxy-Force: v2\r\n"))
    sent = road.connect().take()
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n")


def test_bug_while_parsing_a_response_is_reported(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours goes to the loop's exception handler, and the client is answered."""
    monkeypatch.setattr("proxy.dataplane.upstream.response_framing", lambda *a: 1 / 0)
    road.feed(request())
    road.answer(road.connect(), chunked(b"a", status="200 OK"))
    assert statuses(road.received()) == [502]
    assert [type(error["exception"]) for error in road.loop.errors] == [ZeroDivisionError]


# The end of the worker


def test_who_waits_is_told_that_the_worker_ends(road: Road) -> None:
    """A request without an answer gets 503 and its connection is closed; the model need not go on."""
    road.feed(request(body=b"abc"))
    model = road.connect()
    send_off(road.client)
    road.settle()
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (503, b"close")
    assert model.aborted
    assert road.transport.closed
    assert named(road, "variant", "code_") == {"code_503": 1}


@pytest.mark.parametrize("http", ["1.1", "1.0"])
def test_a_part_of_an_answer_is_cut_when_the_worker_ends(road: Road, http: str) -> None:
    """The client can tell: no last chunk, and where there are no chunks a reset."""
    road.feed(request(body=b"abc").replace(b"HTTP/1.1", b"HTTP/" + http.encode()))
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    send_off(road.client)
    road.settle()
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.is_whole) == (200, False)
    assert road.transport.aborted == (http == "1.0")
    assert named(road, "variant", "code_") == {"code_200": 1}


def test_who_asks_for_nothing_is_closed_when_the_worker_ends(road: Road) -> None:
    """Also with half a head, or the rest of a body that is not wanted any more."""
    road.feed(b"GET /v2/mod")
    send_off(road.client)
    road.settle()
    assert road.transport.closed
    assert road.received() == b""

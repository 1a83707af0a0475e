"""Connections from clients: what is refused and how, what is kept, what asks for more."""

import pytest

from proxy.dataplane.client import MOST_WAITING
from tests.dataplane.road import (
    FEEDS,
    JSON_UNIT,
    Feed,
    Road,
    chunked,
    codes,
    feeds,
    finish,
    is_lingering,
    read_answers,
    request,
    response,
    statuses,
    unrouted,
    warm,
    warmed,
)

# What is refused

NOT_HTTP = {
    "tls": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "words": (b"hello\r\n\r\n", 400),
    "http 0.9": (b"GET /\r\n\r\n", 505),
    "http 2": (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    "http 3": (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505),
    "http 2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "no host": (b"GET /a HTTP/1.1\r\n\r\n", 400),
    "two hosts": (b"GET /a HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    "space before colon": (b"GET /a HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", 400),
    "folded line": (b"GET /a HTTP/1.1\r\nHost: a\r\nX: 1\r\n 2\r\n\r\n", 400),
    "zero byte": (b"GET /a HTTP/1.1\r\nHost: a\r\nX: \0\r\n\r\n", 400),
    "length and coding": (
        b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        400,
    ),
    "two lengths": (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n", 400),
    "negative length": (b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: -3\r\n\r\n", 400),
    "authority as target": (b"GET example.org:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    "unknown method": (b"BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    "connect": (b"CONNECT example.org:443 HTTP/1.1\r\nHost: example.org:443\r\n\r\n", 501),
    "other coding": (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    "two codings": (b"POST /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    "head too large": (b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + bytes(b"x" * 2000) + b"\r\n\r\n", 431),
    "target too large": (b"GET /" + b"a" * 2000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    "head too large, unfinished": (b"GET /a HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 2000, 431),
    "too many fields": (b"GET /a HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 8 + b"\r\n", 431),
}


@feeds
@pytest.mark.parametrize(("data", "status"), NOT_HTTP.values(), ids=NOT_HTTP.keys())
def test_bad_request(small: Road, data: bytes, status: int, feed: Feed) -> None:
    """What is not HTTP, or not HTTP we take, is answered once, counted once, and ends the connection."""
    small.feed(*feed(data))
    received = small.received()
    (answer,) = read_answers(received)
    assert answer.status == status
    assert answer.fields[b"connection"] == b"close"
    assert answer.fields[b"content-type"] == b"application/json"
    assert unrouted(small) == {f"code_{status}": 1}
    assert is_lingering(small.transport)
    small.feed(b"more junk")
    small.wait(2.1)
    assert small.transport.lost
    assert small.received() == b""
    assert small.wanted == []
    assert small.worker.bugs == []


BROKEN_BODIES = {
    "no chunk size": b"zz\r\n",
    "chunk too long": b"3\r\nabcd\r\n",
    "trailer too large": b"0\r\nX: " + b"x" * 2000,
    "chunk line too long": b"1;" + b"x" * 2000,
}


@pytest.mark.parametrize("feed", [FEEDS["whole"], FEEDS["byte by byte"]], ids=["whole", "byte by byte"])
@pytest.mark.parametrize("rest", BROKEN_BODIES.values(), ids=BROKEN_BODIES.keys())
def test_broken_body(small: Road, rest: bytes, feed: Feed) -> None:
    """A body that is not HTTP is answered for the variant it was on its way to, whose connection is given up."""
    status = 431 if len(rest) > 1000 else 400
    small.feed(chunked(b"abc").removesuffix(b"0\r\n\r\n"))
    model = small.connect()
    small.feed(*feed(rest))
    assert statuses(small.received()) == [status]
    assert codes(small) == {f"code_{status}": 1}
    assert model.aborted
    assert is_lingering(small.transport)


def test_body_broken_in_its_first_read(road: Road) -> None:
    """A kept connection that was lent, but not written on, goes back for others."""
    model = warm(road, True)
    assert model is not None
    road.feed(chunked(b"abc").removesuffix(b"0\r\n\r\n") + b"zz\r\n")
    assert statuses(road.received()) == [400]
    assert model.take() == b""
    assert not model.is_closing()
    assert [connection.transport for connection in road.table.models["one"].pool.idle] == [model]


def test_body_broken_behind_its_answer(road: Road) -> None:
    """A body that breaks when its request is answered already gets no second answer, but the connection ends."""
    data = chunked(b"abc", path="").replace(b"/v2/models/wine", b"/elsewhere").removesuffix(b"0\r\n\r\n")
    road.feed(data)
    assert statuses(road.received()) == [404]
    road.feed(b"zz\r\n")
    assert road.received() == b""
    assert is_lingering(road.transport)
    assert unrouted(road) == {"code_404": 1}


@feeds
def test_too_large_by_length(small: Road, feed: Feed) -> None:
    """A length above the limit is refused before the body comes; what comes of it is read away for a moment."""
    head, _, body = request(body=b"x" * 101).partition(b"\r\n\r\n")
    small.feed(*feed(head + b"\r\n\r\n"))
    assert statuses(small.received()) == [413]
    assert is_lingering(small.transport)
    assert small.wanted == []
    assert unrouted(small) == {"code_413": 1}
    small.feed(body)
    small.wait(2.1)
    assert small.transport.aborted


def test_too_large_and_whole(small: Road) -> None:
    """A body above the limit that is here already need not be waited for."""
    small.feed(request(body=b"x" * 101))
    assert statuses(small.received()) == [413]
    assert small.transport.lost
    assert not small.transport.aborted


@feeds
def test_too_large_by_count(small: Road, feed: Feed) -> None:
    """A chunked body is counted: one byte above the limit cancels what was begun."""
    small.feed(*feed(chunked(b"x" * 60, b"x" * 41)))
    assert statuses(small.received()) == [413]
    assert codes(small) == {"code_413": 1}
    assert is_lingering(small.transport)
    assert small.table.models["one"].pool.waiting.__len__() == 0


def test_too_large_ends_what_is_behind_it(small: Road) -> None:
    """What was pipelined behind a request that ends the connection is not begun."""
    small.feed(chunked(b"x" * 101) + request(body=b"x") * 3)
    assert statuses(small.received()) == [413]
    assert not small.client.waiting
    assert small.transport.is_reading()
    assert small.worker.bugs == []


def test_endless_body_of_an_answered_request(small: Road) -> None:
    """The rest of an answered request is read away up to the limit, then the connection ends."""
    small.feed(chunked(b"x", path="").replace(b"/v2/models/wine", b"/elsewhere").removesuffix(b"0\r\n\r\n"))
    assert statuses(small.received()) == [404]
    for _ in range(99):
        small.feed(b"1\r\nx\r\n")
    assert not small.transport.eof_written
    small.feed(b"1\r\nx\r\n")
    assert is_lingering(small.transport)
    assert small.received() == b""


def test_too_many_connections(small: Road) -> None:
    """A connection above the limit is told so and closed; one that goes makes room."""
    second = small.add_client()
    third = small.add_client()
    (answer,) = read_answers(small.received(third))
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert is_lingering(third)
    small.feed(request(), to=third)
    assert small.wanted == []
    assert unrouted(small) == {"code_503": 1}
    small.wait(2.1)
    assert third.lost
    small.leave(second)
    fourth = small.add_client()
    assert small.received(fourth) == b""


def test_bugs_are_ours(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours while parsing is kept for the log and answered 500, not blamed on the client."""
    monkeypatch.setattr("proxy.dataplane.client.check_request", lambda *a, **k: 1 / 0)
    road.feed(request(X_User_Id="alice", Expect="100-continue"))
    assert statuses(road.received()) == [500]
    assert [type(bug) for bug in road.worker.bugs] == [ZeroDivisionError]
    assert unrouted(road) == {"code_500": 1}


# What is kept


@feeds
@pytest.mark.parametrize(
    "data",
    [request(X_User_Id="alice"), request(body=b"abc"), chunked(b"ab", b"c"), request(method="GET")],
    ids=["no body", "length", "chunked", "get"],
)
def test_connections_are_kept(road: Road, data: bytes, feed: Feed) -> None:
    """Requests follow each other on one connection each way."""
    for body in (b"1", b"2"):
        road.feed(*feed(data))
        model = road.connect() if body == b"1" else road.upstreams[0]
        sent = model.take()
        assert sent.startswith(data.partition(b"\r\n")[0])
        assert sent.count(b"HTTP/1.1") == 1
        road.answer(model, response(body))
        assert [answer.body for answer in read_answers(road.received())] == [body]
        finish(road, feed)
    assert not road.wanted
    assert not road.transport.is_closing()
    assert codes(road) == {"code_200": 2}


@feeds
def test_not_found_keeps_the_connection(road: Road, feed: Feed) -> None:
    """A path that no route matches is answered, and the next request is served."""
    data = request("/nowhere", b"abc")
    road.feed(*feed(data))
    (answer,) = read_answers(road.received())
    assert answer.status == 404
    assert b"connection" not in answer.fields
    assert b'"request_id":"id-1"' in answer.body
    assert unrouted(road) == {"code_404": 1}
    assert not road.transport.is_closing()


def test_pipelining(road: Road) -> None:
    """Requests in one read are served one after the other, answers come in order, and nobody is read meanwhile."""
    bodies = [b"one", b"two", b"three"]
    data = b"".join(request(body=body) for body in bodies)
    road.feed(data)
    model = road.connect()
    for body in bodies:
        assert model.take().endswith(b"\r\n\r\n" + body)
        assert road.transport.is_reading() == (body == b"three")
        road.answer(model, response(body.upper()))
    assert [answer.body for answer in read_answers(road.received())] == [b"ONE", b"TWO", b"THREE"]
    assert road.transport.is_reading()
    assert codes(road) == {"code_200": 3}


@pytest.mark.parametrize("second", [request(body=b"a" * 10), chunked(b"a" * 10)], ids=["length", "chunked"])
def test_pipelined_body_is_split(road: Road, second: bytes) -> None:
    """A pipelined request whose body is still coming begins with what is there, and the rest follows."""
    cut = len(second) - 9
    road.feed(request(body=b"one") + second[:cut])
    model = road.connect()
    model.take()
    road.answer(model, response(b"1"))
    begun = model.take()
    assert begun.startswith(b"POST ")
    assert road.transport.is_reading()
    road.feed(second[cut:] + request(body=b"three"))
    assert (begun + model.take()).partition(b"\r\n\r\n")[2].count(b"a") >= 10
    road.answer(model, response(b"2"))
    road.answer(model, response(b"3"))
    assert [answer.body for answer in read_answers(road.received())] == [b"1", b"2", b"3"]
    assert codes(road) == {"code_200": 3}


def test_pipelined_body_that_stalls(road: Road) -> None:
    """The deadline of a body begins when its turn comes."""
    road.feed(request(body=b"one") + request(body=b"0123456789")[:-5])
    model = road.connect()
    road.wait(29)
    road.answer(model, response(b"1"))
    road.wait(29)
    assert statuses(road.received()) == [200]
    road.wait(1.1)
    assert statuses(road.received()) == [408]
    assert codes(road) == {"code_200": 1, "code_408": 1}


def test_pipelined_head_that_stalls(road: Road) -> None:
    """The deadline of a head that began behind another request begins when that is answered."""
    road.feed(request(body=b"one") + b"POST /v2/mod")
    model = road.connect()
    road.wait(20)
    road.answer(model, response(b"1"))
    road.wait(9.9)
    assert statuses(road.received()) == [200]
    road.wait(0.2)
    assert statuses(road.received()) == [408]


@pytest.mark.parametrize(
    ("junk", "status"),
    [
        (b"\x00\x01", 400),
        (b"GET /a HTTP/1.1\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\n\r\n", 501),
        (b"\x16\x03\x01\r\n\r\n", 400),
        (chunked(b"abc").removesuffix(b"0\r\n\r\n") + b"zz\r\n", 400),
    ],
    ids=["junk", "no host", "method", "junk with an end", "broken body"],
)
@warmed
def test_junk_behind_a_request(road: Road, junk: bytes, status: int, is_warm: bool) -> None:
    """Junk is answered after what was asked before it, once, whatever the model's connection does meanwhile."""
    kept = warm(road, is_warm)
    road.feed(request(method="GET") + request(method="GET") + junk)
    assert not road.transport.is_reading()
    model = kept or road.connect()
    assert not road.transport.is_reading()
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]
    road.answer(model, response(b"2"))
    assert statuses(road.received()) == [200, status]
    assert is_lingering(road.transport)
    assert road.transport.is_reading()
    assert unrouted(road) == {f"code_{status}": 1}
    assert codes(road) == {"code_200": 2 + is_warm}
    assert road.worker.bugs == []


def test_more_requests_than_may_wait(road: Road) -> None:
    """The requests that may wait are answered in their turn, one more is refused, and the connection closes."""
    road.feed(request(method="GET") * 1000)
    model = road.connect()
    answers = []
    for _ in range(1 + MOST_WAITING):
        road.answer(model, response(b"x"))
        answers += statuses(road.received())
    assert answers == [200] * (1 + MOST_WAITING) + [503]
    assert is_lingering(road.transport)
    assert model.take().count(b"GET ") == 1 + MOST_WAITING
    assert (codes(road), unrouted(road)) == ({"code_200": 1 + MOST_WAITING}, {"code_503": 1})
    assert road.worker.bugs == []


def test_broken_body_whose_turn_has_come_but_not_begun(road: Road) -> None:
    """A pipelined request whose body breaks between its predecessor's answer and its own beginning is refused."""
    road.feed(request(body=b"one") + chunked(b"abc").removesuffix(b"0\r\n\r\n"))
    model = road.connect()
    model.take()
    model.protocol.data_received(response(b"1"))
    road.client.data_received(b"zz\r\n")
    road.settle()
    assert statuses(road.received()) == [200, 400]
    assert model.take() == b""
    assert unrouted(road) == {"code_400": 1}
    assert codes(road) == {"code_200": 1}


def test_client_leaves_between_two_pipelined_requests(road: Road) -> None:
    """What has not begun when the client leaves is not begun."""
    road.feed(request(body=b"one") + request(body=b"two"))
    model = road.connect()
    model.take()
    model.protocol.data_received(response(b"1"))
    road.leave()
    assert model.take() == b""
    assert codes(road) == {"code_200": 1}
    assert road.count("variant", "started", "wine", "v1", "one") == 1


@pytest.mark.parametrize("behind", [b"\r\n", request(), b"junk"], ids=["empty line", "request", "junk"])
@warmed
def test_nothing_is_read_behind_a_last_request(road: Road, behind: bytes, is_warm: bool) -> None:
    """What a client sends behind a request that it called its last is neither answered nor counted.

    It does not cost it the answer either: a socket that is closed with something unread resets (RFC 9112 §9.6).
    """
    kept = warm(road, is_warm)
    road.feed(request(body=b"one", Connection="close") + behind)
    model = kept or road.connect()
    road.feed(behind)
    road.answer(model, response(b"1"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (200, b"close")
    assert road.transport.lost == (behind == b"\r\n")
    assert road.transport.lost or is_lingering(road.transport)
    assert not road.transport.aborted
    assert codes(road) == {"code_200": 1 + is_warm}
    assert unrouted(road) == {}
    assert model.take().count(b"POST") == 1


HTTP10 = {
    "plain": ({}, b"close", True),
    "keep-alive": ({"Connection": "keep-alive"}, b"keep-alive", False),
    "close": ({"Connection": "close"}, b"close", True),
}


@feeds
@pytest.mark.parametrize(("headers", "connection", "closes"), HTTP10.values(), ids=HTTP10.keys())
def test_http10(road: Road, headers: dict[str, str], connection: bytes, closes: bool, feed: Feed) -> None:
    """An HTTP/1.0 client keeps its connection only if it asks to, and is told either way."""
    data = (
        request(body=b"abc", **headers)
        .replace(b"HTTP/1.1", b"HTTP/1.0")
        .replace(b"Host: proxy.test\r\n", b"")
    )
    road.feed(*feed(data))
    model = road.connect()
    assert b"\r\nhost: 127.0.0.1:9001\r\n" in b"\r\n" + model.take().partition(b"\r\n")[2]
    road.answer(model, response(b"1"))
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.fields[b"connection"]) == (200, connection)
    assert (road.transport.lost or is_lingering(road.transport)) == closes


def test_http10_chunked_answer(road: Road) -> None:
    """An HTTP/1.0 client cannot read chunks: it gets the bytes, and the end of the connection as their end."""
    road.feed(request(Connection="keep-alive").replace(b"HTTP/1.1", b"HTTP/1.0"))
    road.answer(road.connect(), chunked(b"ab", b"c", status="200 OK"))
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.fields[b"connection"]) == (b"abc", b"close")
    assert b"transfer-encoding" not in answer.fields
    assert road.transport.lost
    assert not road.transport.aborted


HEAD_ANSWERS = {
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
    "neither": b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n",
    "not found": b"HTTP/1.1 404 Not Found\r\nContent-Length: 5\r\n\r\n",
    "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
}


@feeds
@pytest.mark.parametrize("data", HEAD_ANSWERS.values(), ids=HEAD_ANSWERS.keys())
def test_head(road: Road, data: bytes, feed: Feed) -> None:
    """The answer to HEAD has no body whatever it says, and both connections carry on."""
    for _ in range(2):
        road.feed(*feed(request(method="HEAD")))
        model = road.connect() if road.wanted else road.upstreams[0]
        road.answer(model, *([data] if feed is FEEDS["with trailing bytes"] else feed(data)))
        received = road.received()
        assert received.startswith(data[:16])
        assert received.endswith(b"\r\n\r\n")
        assert received.count(b"\r\n\r\n") == 1
        finish(road, feed)
    assert not road.wanted
    assert not road.transport.is_closing()


def test_head_of_our_own_answer(road: Road) -> None:
    """Our own answer to HEAD names its length and leaves the body out."""
    road.feed(request("/nowhere", method="HEAD"))
    head, _, body = road.received().partition(b"\r\n\r\n")
    assert b"content-length: " in head
    assert body == b""


# What asks for more


def test_expect_is_for_the_model_to_answer(road: Road) -> None:
    """A client that waits for ``100 Continue`` gets the model's."""
    data = request(body=b"abc", Expect="100-continue")
    road.feed(data[:-3])
    model = road.connect()
    assert b"\r\nexpect: 100-continue\r\n" in model.take()
    assert road.received() == b""
    road.answer(model, b"HTTP/1.1 100 Continue\r\n\r\n")
    assert road.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    road.feed(data[-3:])
    assert model.take() == b"abc"
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]


def test_expect_refused_by_the_model(road: Road) -> None:
    """A final answer instead of ``100 Continue`` reaches the client, and the body is not asked for."""
    data = request(body=b"abc", Expect="100-continue")
    road.feed(data[:-3])
    model = road.connect()
    road.answer(model, response(b"no", "417 Expectation Failed"))
    assert statuses(road.received()) == [417]
    assert model.aborted
    assert codes(road) == {"code_417": 1}


def test_expect_is_ours_when_the_unit_is_in_the_body(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who must read the body to choose the model asks for it, and then the model is not asked again."""
    road = Road(monkeypatch, JSON_UNIT)
    data = request(body=b'{"user": 1}', Expect="100-continue")
    road.feed(data[:-11])
    assert road.received() == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert road.wanted == []
    road.feed(data[-11:])
    sent = road.connect().take()
    assert b"expect" not in sent.lower()
    assert sent.endswith(b'{"user": 1}')


def test_expect_of_http10_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    """An HTTP/1.0 client is not sent interim answers, whatever it expects."""
    road = Road(monkeypatch, JSON_UNIT)
    road.feed(request(body=b"{}", Expect="100-continue").replace(b"HTTP/1.1", b"HTTP/1.0")[:-2])
    assert road.received() == b""


@feeds
def test_absolute_form(road: Road, feed: Feed) -> None:
    """A target with a host is sent in origin-form, and its host counts, not the field's."""
    road.feed(*feed(request("http://other.test/v2/models/wine/infer?a=1", b"abc")))
    sent = road.connect().take()
    assert sent.startswith(b"POST /v2/models/wine/infer?a=1 HTTP/1.1\r\nHost: other.test\r\n")
    assert b"x-forwarded-host: other.test\r\n" in sent

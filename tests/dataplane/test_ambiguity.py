"""Messages made to be read in two ways, over the whole road: each has one meaning behind us, or does not get there."""

import pytest

from proxy.wire.plain import MAX_PLAIN_HEAD_BYTES, plain_request_head
from tests.dataplane.road import CONFIG, FEEDS, Answer, Feed, Road, chunked, read_answers, request, response

feeds = pytest.mark.parametrize(
    "feed", [FEEDS["whole"], FEEDS["byte by byte"]], ids=["whole", "byte by byte"]
)


def answers_to(road: Road, *pieces: bytes) -> list[Answer]:
    """Return what a client gets whose model server answers with ``pieces``."""
    road.feed(request())
    model = road.connect()
    model.take()
    road.answer(model, *pieces)
    return read_answers(road.received())


FAULTY = {
    "length and coding": b"200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "two lengths": b"200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabcd",
    "list of lengths": b"200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
    "coding under chunks": b"200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "coding until close": b"200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
    "two codings": b"200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "tab behind the coding": b"200 OK\r\nTransfer-Encoding: chunked\t\r\n\r\n0\r\n\r\n",
    "status below 100": b"042 OK\r\nContent-Length: 3\r\n\r\nabc",
    "line break in a reason": b"200 OK\nSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc",
    "line break in a value": b"200 OK\r\nA: b\nSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc",
    "CR in a value": b"200 OK\r\nA: b\rSet-Cookie: a=b\r\nContent-Length: 3\r\n\r\nabc",
    "other protocol": b"101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n",
}


@feeds
@pytest.mark.parametrize("faulty", FAULTY.values(), ids=FAULTY)
def test_faulty_responses(road: Road, faulty: bytes, feed: Feed) -> None:
    """A response with two meanings is the model's fault; nothing of it reaches the client."""
    (answer,) = answers_to(road, *feed(b"HTTP/1.1 " + faulty))
    assert answer.status == 502
    assert b"set-cookie" not in answer.fields
    assert road.count("model", "fault_protocol", "one") + road.count("variant", "code_502", "wine", "v1") >= 1
    assert road.upstreams[0].lost
    assert road.worker.bugs == []


@feeds
def test_fields_of_ours_from_a_model(road: Road, feed: Feed) -> None:
    """A model cannot say which variant answered, nor speak to the client in our name."""
    for raw in (
        response(x_modelproxy_variant="v9", x_modelproxy_other="1", x_request_id="forged"),
        chunked(b"ok", status="200 OK", X_Modelproxy_Variant="v9", x_modelproxy_other="1"),
    ):
        road.feed(request())
        model = road.upstreams[0] if road.upstreams else road.connect()
        road.answer(model, *feed(raw))
        (answer,) = read_answers(road.received())
        assert answer.fields[b"x-modelproxy-variant"] == b"v1"
        assert answer.fields[b"x-request-id"].startswith(b"id-")
        assert b"x-modelproxy-other" not in answer.fields


def test_no_length_without_a_body(road: Road) -> None:
    """Interim responses and 204 lose a ``content-length``: some client would wait for that body."""
    hints, empty = answers_to(
        road, b"HTTP/1.1 103 Early Hints\r\nContent-Length: 5\r\nLink: </a>\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    )  # fmt: skip
    assert (hints.status, hints.fields) == (103, {b"link": b"</a>"})
    assert empty.status == 204
    assert b"content-length" not in empty.fields


def test_control_characters_in_a_reason(road: Road) -> None:
    """A terminal that shows the status line is not written to."""
    road.feed(request())
    road.answer(road.connect(), b"HTTP/1.1 404 \x1b[2J\r\nContent-Length: 0\r\n\r\n")
    assert road.received().startswith(b"HTTP/1.1 404 Not Found\r\n")


def test_old_server_with_chunks_is_not_used_again(road: Road) -> None:
    """RFC 9112 §6.1: a transfer coding of an HTTP/1.0 server may be a misunderstanding; its connection ends."""
    raw = (
        b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
    )
    (answer,) = answers_to(road, raw)
    assert (answer.status, answer.body, answer.is_whole) == (200, b"ok", True)
    assert road.upstreams[0].lost


@pytest.mark.parametrize("host", ["proxy.test", "PROXY.test:8080"])
@feeds
def test_routes_know_the_name_of_a_host(monkeypatch: pytest.MonkeyPatch, host: str, feed: Feed) -> None:
    """A port or another case in ``Host`` is the same host."""
    road = Road(monkeypatch, CONFIG.replace('path: "', 'host: proxy.test, path: "'))
    road.feed(*feed(request().replace(b"Host: proxy.test", b"Host: " + host.encode())))
    assert road.received() == b""
    assert b"\r\nHost: %b\r\n" % host.encode() in road.connect().take()


def test_absolute_target_decides_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """RFC 9112 §3.2.2: route and model see the host of the target, not the field beside it."""
    road = Road(monkeypatch, CONFIG.replace('path: "', 'host: proxy.test, path: "'))
    raw = (
        request()
        .replace(b"POST /", b"POST HTTP://Proxy.test:80/")
        .replace(b"Host: proxy.test", b"Host: evil")
    )
    road.feed(raw)
    sent = road.connect().take()
    assert sent.startswith(b"POST /v2/models/wine/infer HTTP/1.1\r\n")
    assert b"\r\nHost: Proxy.test:80\r\n" in sent
    assert b"evil" not in sent


REFUSED = {
    "host that is none": request().replace(b"Host: proxy.test", b"Host: proxy.test/x"),
    "user information": request().replace(b"POST /", b"POST http://proxy.test@evil/"),
    "other scheme": request().replace(b"POST /", b"POST ftp://proxy.test/"),
    "asterisk": request("*"),
    "length of zeros": request().replace(b"Length: 0", b"Length: " + b"0" * 5000),
    "coding from an old client": chunked(b"a").replace(b"HTTP/1.1", b"HTTP/1.0"),
}


@pytest.mark.parametrize("raw", REFUSED.values(), ids=REFUSED)
def test_refused_requests(road: Road, raw: bytes) -> None:
    """What no second reader would read like us is answered with 400, and is no bug of ours."""
    road.feed(raw)
    (answer,) = read_answers(road.received())
    assert answer.status == 400
    assert road.wanted == []
    assert road.worker.bugs == []


def test_blanks_behind_a_value_are_no_part_of_it(road: Road) -> None:
    """RFC 9110 §5.5: also for what is forwarded."""
    road.feed(request(x_user_id="7 \t").replace(b"Length: 0", b"Length: 0 "))
    assert b"\r\nx-user-id: 7\r\n" in road.connect().take()


def test_a_read_full_of_upgrades(road: Road) -> None:
    """Thousands of requests for another protocol in one read are read one after the other, not one in the other."""
    once = request(method="GET", Connection="upgrade", Upgrade="h2c")
    road.feed(once * 3000)
    model = road.connect()
    for _ in range(3):
        assert b"upgrade" not in model.take().lower()
        road.answer(model, response())
        (answer,) = read_answers(road.received())
        assert answer.status == 200
    assert road.worker.bugs == []


def test_long_heads_are_not_remembered(road: Road) -> None:
    """A client cannot fill the memory with heads that are new each time."""
    before = plain_request_head.cache_info().currsize
    road.feed(request(x_long="x" * MAX_PLAIN_HEAD_BYTES))
    assert plain_request_head.cache_info().currsize == before
    assert b"x-long: xxx" in road.connect().take()

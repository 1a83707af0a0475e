"""Tunnels: what is asked, what consent is, and that two sides become one connection in all that counts."""

import pytest

from proxy.exchange import Primary
from proxy.model import Fault
from tests.dataplane.road import Feed, Road, feeds, named, read_answers, request, response, statuses, told
from tests.fakes import FakeTransport

CONFIG = """
timeouts: {tunnel: 60s}
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
  dark: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/*"}
    unit: [header:x-user-id]
    retry: []
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 100}
    shadows: [{model: dark}]
    log: {percent: 100}
"""
ASK = request(
    "/chat",
    method="GET",
    Connection="keep-alive, Upgrade",
    Upgrade="websocket",
    Sec_WebSocket_Key="dGhlIHNhbXBsZSBub25jZQ==",
    X_User_Id="u",
)
CONSENT = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A route whose challenger has all the traffic, and a shadow that wants copies."""
    return Road(monkeypatch, CONFIG)


def opened(road: Road) -> FakeTransport:
    """Return the model's end of an open tunnel."""
    road.feed(ASK)
    model = road.connect()
    model.take()
    road.answer(model, CONSENT)
    road.received()
    return model


@feeds
def test_opening(road: Road, feed: Feed) -> None:
    """The wish and the consent pass with what they name; nothing is mirrored; the variant is the sticky one."""
    pieces = feed(ASK)
    road.feed(*pieces)
    model = road.connect()
    assert model.protocol.pool.port == 9002  # type: ignore[attr-defined]
    sent = model.take()
    early = b"".join(pieces).removeprefix(ASK)
    assert b"connection: upgrade\r\nupgrade: websocket\r\n" in sent
    assert b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" in sent
    assert sent.endswith(b"\r\n\r\n"), "nothing is sent in a protocol that is not agreed"
    road.answer(model, *(feed(CONSENT)[:1] if early else feed(CONSENT)))
    head, _, rest = road.received().partition(b"\r\n\r\n")
    assert head.startswith(
        b"HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
    )
    assert head.endswith(
        b"connection: upgrade\r\nupgrade: websocket\r\nx-request-id: id-1\r\nx-modelproxy-variant: v2"
    )
    assert rest == b"".join(feed(CONSENT)).removeprefix(CONSENT)
    assert model.take() == early
    assert road.wanted == []
    assert named(road, "shadow") == {}


def test_bytes_pass_both_ways(road: Road) -> None:
    """What one side writes the other reads, at once, and every byte is counted."""
    model = opened(road)
    road.feed(b"\x81\x05hello", b"GET / HTTP/1.1\r\n\r\n")
    assert model.take() == b"\x81\x05helloGET / HTTP/1.1\r\n\r\n"
    road.answer(model, b"HTTP/1.1 200 OK\r\n\r\n", b"\x00")
    assert road.received() == b"HTTP/1.1 200 OK\r\n\r\n\x00"
    assert road.count("variant", "tunnel_received_bytes", "wine", "v2", "two") == 25
    assert road.count("variant", "tunnel_sent_bytes", "wine", "v2", "two") == 20


def test_early_bytes_of_both(road: Road) -> None:
    """What comes with the head, or before the consent, is the first of the tunnel, in order."""
    road.feed(ASK + b"1")
    road.feed(b"2")
    model = road.connect()
    road.feed(b"3")
    model.take()
    road.answer(model, CONSENT + b"4")
    assert model.take() == b"123"
    assert road.received().endswith(b"\r\n\r\n4")


def test_refused_upgrade(road: Road) -> None:
    """A model that answers in HTTP is heard, and what the client sent behind its head is its next request."""
    road.feed(ASK + request(method="GET", X_User_Id="u")[:20])
    model = road.connect()
    road.feed(request(method="GET", X_User_Id="u")[20:])
    road.answer(model, response(b"no", "426 Upgrade Required"))
    (answer,) = read_answers(road.received())
    assert answer.status == 426
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]
    assert named(road, "variant", "code_") == {"code_426": 1, "code_200": 1}


CONSENTS_TO_OTHER_THINGS = {
    "another protocol": CONSENT.replace(b"websocket", b"h2c"),
    "two protocols": CONSENT.replace(b"websocket", b"websocket, h2c"),
    "no protocol": b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\r\n",
    "no connection field": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
}


@pytest.mark.parametrize("data", CONSENTS_TO_OTHER_THINGS.values(), ids=CONSENTS_TO_OTHER_THINGS.keys())
def test_other_consents_are_faults(road: Road, data: bytes) -> None:
    """A model that switches to what nobody asked for is not followed."""
    road.swap(CONFIG + "    fallback: []\n")
    road.feed(ASK)
    road.answer(road.connect(), data)
    assert statuses(road.received()) == [502]
    assert named(road, "model") == {"fault_protocol": 1}


def test_a_challenger_that_is_down(road: Road) -> None:
    """The champion is asked for the same protocol."""
    road.feed(ASK)
    road.refuse_connect()
    champion = road.connect()
    assert b"upgrade: websocket\r\n" in champion.take()
    road.answer(champion, CONSENT)
    assert b"x-modelproxy-variant: v1" in road.received()
    road.feed(b"x")
    assert champion.take() == b"x"
    assert road.count("variant", "tunnel_received_bytes", "wine", "v2", "two") == 1


# Ends


def test_half_close(road: Road) -> None:
    """A side that has said all is told so to the other, which may go on."""
    model = opened(road)
    assert road.transport.protocol.eof_received()
    assert model.eof_written
    road.answer(model, b"the rest")
    assert road.received() == b"the rest"
    assert not model.protocol.eof_received(), "both have said all"


@pytest.mark.parametrize("side", ["client", "model"])
def test_end_of_one_is_end_of_both(road: Road, side: str) -> None:
    """When one side is gone the other is closed behind what was on its way, and the request is counted once."""
    model = opened(road)
    first, second = (road.transport, model) if side == "client" else (model, road.transport)
    first.lose()
    assert second.closed
    assert not second.aborted
    road.settle()
    assert second.lost
    assert named(road, "variant", "code_") == {"code_101": 1}
    assert (road.worker.in_flight, road.worker.connected) == (0, 0)
    assert road.table.models["two"].pool.open == 0
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert (part.status, told(part).fault, told(part).response_head[:12]) == (
        101,
        Fault.NONE,
        b"HTTP/1.1 101",
    )


def test_reset_of_one_is_reset_of_both(road: Road) -> None:
    """A side that breaks is no orderly end for the other."""
    model = opened(road)
    road.hang_up(model, ConnectionResetError())
    assert road.transport.aborted


def test_idle_tunnel(road: Road) -> None:
    """A tunnel in which nothing moves is cut after ``timeouts.tunnel``, and not before."""
    model = opened(road)
    for _ in range(5):
        road.wait(40)
        road.feed(b"x")
        road.wait(40)
        road.answer(model, b"y")
    road.wait(59)
    assert not model.closed
    road.wait(2)
    assert model.aborted
    assert road.transport.aborted
    assert named(road, "variant", "code_") == {"code_101": 1}


def test_long_tunnel_outlives_the_request_timeout(road: Road) -> None:
    """The route's ``timeout`` ends with the 101."""
    road.swap(CONFIG + "    timeout: 5s\n")
    model = opened(road)
    road.wait(20)
    road.feed(b"x")
    assert model.take() == b"x"


def test_back_pressure(road: Road) -> None:
    """A side that does not take makes the other wait, and nothing is held in between."""
    model = opened(road)
    for slow, other in ((model, road.transport), (road.transport, model)):
        slow.stall(100_000)
        assert not other.is_reading()
        slow.take_up()
        assert other.is_reading()


def test_duration_is_that_of_the_opening(road: Road) -> None:
    """A tunnel of an hour does not spoil the durations of requests."""
    road.feed(ASK)
    model = road.connect()
    road.wait(0.2)
    road.answer(model, CONSENT)
    road.wait(30)
    road.leave()
    assert road.count("variant", "whole_sum_ns", "wine", "v2", "two") == 200_000_000


def test_pipelined_wish_is_not_followed(road: Road) -> None:
    """Behind a request that is not answered yet nobody can switch: it is answered as if it had not asked."""
    road.feed(request(method="GET", X_User_Id="u") + ASK)
    model = road.connect()
    model.take()
    road.answer(model, response(b"1"))
    assert b"upgrade" not in model.take().lower()
    road.answer(model, response(b"2"))
    assert statuses(road.received()) == [200, 200]


def test_reload_leaves_tunnels_alone(road: Road) -> None:
    """A tunnel lives on under the table it began with, also when its model is gone from the file."""
    model = opened(road)
    first = road.table
    road.swap(CONFIG.replace("9002", "9009"))
    road.feed(b"x")
    assert model.take() == b"x"
    assert not model.closed
    road.leave()
    assert first.layout.counts(first.slots)["variant", "code_101", "wine", "v2", "two"] == 1

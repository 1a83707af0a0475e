"""What the copies of a shadow may cost: requests and bytes at a time, connections thrown away, attempts in vain."""

from collections.abc import Callable
from hashlib import sha256

import pytest

from proxy.dataplane.shadow_budget import LONGEST_S, REST_S, RETURN_S
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import Fault
from tests.dataplane.mirrored import CONFIG, both, counts
from tests.dataplane.road import FEEDS, Feed, Road, chunked, request, response, told
from tests.fakes import FakeTransport


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch, CONFIG)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A route whose exchanges are all recorded."""
    return Road(monkeypatch, CONFIG + "    log: {percent: 100}\n")


def test_budget_of_requests(road: Road) -> None:
    """The third copy at once is dropped, and one that ends makes room."""
    clients = [road.add_client() for _ in range(3)]
    for client in clients:
        road.feed(request(body=b"abc"), to=client)
    assert counts(road) == {"eligible": 3, "sent": 2, "dropped_in_flight": 1}
    _, shadow = both(road)
    road.answer(shadow, response(b"1"))
    road.feed(request(body=b"abc"), to=road.add_client())
    assert counts(road) == {"eligible": 4, "sent": 3, "dropped_in_flight": 1, "answered": 1, "shipped": 1}


def test_budget_of_bytes(road: Road) -> None:
    """Copies that together are longer than the budget are dropped."""
    for _ in range(2):
        road.feed(request(body=b"x" * 600), to=road.add_client())
    assert counts(road) == {"eligible": 2, "sent": 1, "dropped_bytes": 1}


@pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS.keys())
@pytest.mark.parametrize("make", [lambda body: request(body=body), chunked], ids=["length", "chunked"])
def test_too_large(logged: Road, make: Callable[[bytes], bytes], feed: Feed) -> None:
    """A body longer than a copy may be is not mirrored, but goes to its model whole."""
    road = logged
    road.feed(*feed(make(b"x" * 1025)))
    assert counts(road) == {"eligible": 1, "dropped_too_large": 1}
    model = road.connect()
    assert model.take().count(b"x" * 1000) == 1 or feed is FEEDS["byte by byte"]
    road.answer(model, response(b"1"))
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert part.flags == Flag.MIRRORED | Flag.LOGGED | Flag.REQUEST_TRUNCATED
    assert (told(part).request_body, told(part).request_bytes) == (b"x" * 1024, 1025)
    assert part.shadows_sent == 0


def test_draining(road: Road) -> None:
    """A worker that is shutting down begins no copies."""
    road.worker.draining = True
    road.feed(request())
    assert counts(road) == {"eligible": 1, "dropped_draining": 1}
    assert len(road.wanted) == 1


LONG = response(b"x" * 9000)[:-9000]
"""As much as is read of an answer that is too long."""


class Copies:
    """Requests one after the other, and what becomes of their copies."""

    def __init__(self, road: Road) -> None:
        self.road = road
        self.model: FakeTransport | None = None
        self.shadow: FakeTransport | None = None

    def send(self, *answers: bytes) -> list[bool]:
        """Send a request for each of ``answers``, which its copy would get; return which of them had a copy."""
        return [self._send(answer) for answer in answers]

    def _send(self, answer: bytes) -> bool:
        road, before = self.road, counts(self.road).get("sent", 0)
        road.feed(request())
        self.model = self.model or road.connect()
        is_sent = counts(road)["sent"] > before
        road.answer(self.model, response(b"1"))
        if is_sent:
            self.shadow = self.shadow or road.connect()
            road.answer(self.shadow, answer)
            if self.shadow.is_closing():
                self.shadow = None
        assert not road.wanted
        return is_sent


def test_long_answers_keep_their_places(road: Road) -> None:
    """Where nothing else comes, as many connections are thrown away as there are places, then one after a tenth of a
    second, one after two more, and so on: the copies between are dropped and counted."""
    copies = Copies(road)
    assert copies.send(*[LONG] * 5) == [True, True, False, False, False]
    for turn in range(3):
        road.wait(RETURN_S * 2**turn * 1.01)
        assert copies.send(LONG, LONG) == [True, False]
    found = counts(road)
    assert (found["sent"], found["answered"], found["dropped_in_flight"]) == (5, 5, 6)
    road.wait(2.5 * LONGEST_S)
    pool = road.table.routes[0].shadows[0].pool
    assert (pool.in_flight, pool.held) == (0, 0)


def test_a_whole_answer_returns_a_place(road: Road) -> None:
    """Who has two places can have one long answer after each whole one, without any time in between."""
    copies = Copies(road)
    assert copies.send(*[LONG, response(b"1")] * 50) == [True] * 100
    assert copies.send(LONG, LONG, response(b"1")) == [True, True, False]


@pytest.mark.parametrize("share", [1, 10, 40])
def test_long_answers_among_others_silence_nobody(monkeypatch: pytest.MonkeyPatch, share: int) -> None:
    """Where fewer than half are long, every copy goes out all the same, in no time at all."""
    road = Road(monkeypatch, CONFIG.replace("max_in_flight: 2", "max_in_flight: 64"))
    draws = [sha256(bytes([share, n % 256, n // 256])).digest()[0] / 2.56 for n in range(1000)]
    is_long = [draw < share for draw in draws]
    assert abs(sum(is_long) - 10 * share) < 40
    assert all(Copies(road).send(*(LONG if each else response(b"1") for each in is_long)))


def test_a_shadow_with_other_connections_has_no_rest(road: Road) -> None:
    """One connection more that is refused says nothing of those that are there: the next copy tries again."""
    clients = [road.add_client() for _ in range(3)]
    road.feed(request(), to=clients[0])
    _, shadow = both(road)
    road.feed(request(), to=clients[1])
    road.connect()
    road.refuse_connect(Fault.CONNECT)
    assert counts(road)["failed"] == 1
    road.feed(request(), to=clients[2])
    assert len(road.wanted) == 2, "the client's and its copy's"
    road.answer(shadow, response(b"1"))
    assert counts(road) == {"eligible": 3, "sent": 3, "failed": 1, "answered": 1, "shipped": 1}


def test_a_shadow_that_refuses_is_left_alone_for_a_moment(road: Road) -> None:
    """After a connection that could not be made no copy is sent for a tenth of a second, then twice as long, and so on
    to a second; a shadow that is reached has its copies at once."""
    road.feed(request())
    model = road.connect()
    for attempts in range(1, 7):
        road.refuse_connect(Fault.CONNECT_TIMEOUT)
        road.answer(model, response(b"1"))
        for _ in range(3):
            road.feed(request())
            assert not road.wanted
            road.answer(model, response(b"1"))
        dropped = 3 * attempts
        assert counts(road) == {
            "eligible": attempts + dropped,
            "sent": attempts,
            "failed": attempts,
            "dropped_unreachable": dropped,
        }
        road.wait(min(REST_S * 2 ** (attempts - 1), LONGEST_S) * 1.01)
        road.feed(request())
    faults = [part.fault for part in road.worker.shipper.parts() if isinstance(part, ShadowPart)]
    assert faults == [Fault.CONNECT_TIMEOUT] * 6
    shadow = road.connect()
    road.answer(shadow, response(b"1"))
    road.answer(model, response(b"1"))
    road.feed(request())
    road.answer(shadow, response(b"1"))
    assert (counts(road)["answered"], counts(road)["dropped_unreachable"]) == (2, 18)


def test_a_shadow_with_several_servers_rests_when_none_can_be_reached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """While one of its servers has a connection copies are sent; without any they are dropped."""
    urls = 'url: ["http://127.0.0.1:9002", "http://127.0.0.1:9004"]'
    road = Road(monkeypatch, CONFIG.replace('url: "http://127.0.0.1:9002/v9/other"', urls))
    road.feed(request())
    model = road.connect()
    shadow = road.connect()
    road.answer(shadow, response(b"1"))
    road.answer(model, response(b"1"))
    road.feed(request())
    road.refuse_connect()  # the other server
    road.answer(model, response(b"1"))
    road.hang_up(shadow)
    road.feed(request())
    road.answer(model, response(b"1"))
    assert counts(road) == {"eligible": 3, "sent": 3, "answered": 1, "shipped": 1, "failed": 1}
    road.refuse_connect()
    road.feed(request())
    road.answer(model, response(b"1"))
    assert not road.wanted
    assert counts(road)["dropped_unreachable"] == 1

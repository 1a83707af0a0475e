"""Shadows: what they get, how they end, and that no client ever notices."""

from collections.abc import Callable, Sequence

import pytest

from proxy.dataplane import inflight
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.inflight import InFlight
from proxy.dataplane.mirror import launch_shadows
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.routing.table import Shadow
from tests.dataplane.mirrored import CONFIG, both, counts
from tests.dataplane.road import FEEDS, Feed, Road, chunked, read_answers, request, response
from tests.fakes import FakeTransport

TWO_SHADOWS = CONFIG + "      - {model: three}\n"

feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS.keys())


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch, CONFIG)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A route whose exchanges are all recorded."""
    return Road(monkeypatch, CONFIG + "    log: {percent: 100}\n")


# What a shadow gets


@feeds
def test_copy(road: Road, feed: Feed) -> None:
    """A shadow gets the model's request with its own path and a mark."""
    road.feed(*feed(request(body=b"abc", X_User_Id="alice")))
    model, shadow = both(road)
    sent = model.take()
    copy = shadow.take()
    assert copy == sent.replace(b"/v2/models/wine/infer", b"/v9/other/infer").replace(
        b"\r\n\r\n", b"\r\nx-modelproxy-shadow: 1\r\n\r\n"
    )


@feeds
def test_copy_of_chunks(road: Road, feed: Feed) -> None:
    """A chunked request reaches a shadow in one piece, with its length."""
    road.feed(*feed(chunked(b"ab", b"c")))
    _, shadow = both(road)
    head, _, body = shadow.take().partition(b"\r\n\r\n")
    assert body == b"abc"
    assert head.lower().count(b"content-length: 3") == 1
    assert b"transfer-encoding" not in head.lower()
    assert b"x-modelproxy-shadow: 1" in head


def test_copy_under_the_same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow without a path of its own gets the request as the model gets it, and the mark."""
    road = Road(monkeypatch, CONFIG.replace("/v9/other", ""))
    road.feed(request(body=b"abc", X_User_Id="alice"))
    model, shadow = both(road)
    mark = b"\r\nx-modelproxy-shadow: 1\r\n\r\n"
    assert shadow.take() == model.take().replace(b"\r\n\r\n", mark)


def test_clients_cannot_mark(road: Road) -> None:
    """The mark is ours alone: a client's is not passed on, to anybody."""
    road.feed(request(X_ModelProxy_Shadow="0", x_modelproxy_shadow="1"))
    model, shadow = both(road)
    assert b"x-modelproxy-shadow" not in model.take().lower()
    assert shadow.take().lower().count(b"x-modelproxy-shadow") == 1


def test_expect_is_not_mirrored(road: Road) -> None:
    """A copy is sent whole: it asks for no permission."""
    road.feed(request(body=b"abc", Expect="100-continue"))
    model, shadow = both(road)
    assert b"expect: 100-continue" in model.take()
    assert b"expect" not in shadow.take().lower()


def test_copy_waits_for_the_whole_request(road: Road) -> None:
    """Nothing is sent to a shadow before the request is complete; the model has had it all by then."""
    data = request(body=b"abc")
    road.feed(data[:-1])
    assert len(road.wanted) == 1
    road.feed(data[-1:])
    model, shadow = both(road)
    assert model.take().endswith(b"abc")
    assert shadow.take().endswith(b"abc")


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_percent_is_of_units(monkeypatch: pytest.MonkeyPatch, percent: int) -> None:
    """A unit is mirrored always or never, and so many of a hundred are."""
    road = Road(
        monkeypatch, CONFIG.replace("timeout: 5s", f"percent: {percent}").replace("max_in_flight: 2, ", "")
    )
    road.feed(request(X_User_Id="nobody"))
    model = road.connect()
    mirrored: dict[int, set[int]] = {0: set(), 1: set()}
    before = counts(road).get("eligible", 0)
    road.answer(model, response(b"1"))
    for turn in (0, 1):
        for i in range(200):
            road.feed(request(X_User_Id=f"user-{i}"))
            road.answer(model, response(b"1"))
            if (now := counts(road).get("eligible", 0)) != before:
                mirrored[turn].add(i)
                before = now
    assert mirrored[0] == mirrored[1]
    assert abs(len(mirrored[0]) - 2 * percent) <= (20 if percent == 50 else 0)


# How a shadow ends, and that no client notices


def refuse(road: Road, shadow: FakeTransport | None) -> None:
    road.refuse_connect()


def refuse_late(road: Road, shadow: FakeTransport | None) -> None:
    road.refuse_connect(Fault.CONNECT_TIMEOUT)


def be_silent(road: Road, shadow: FakeTransport | None) -> None:
    road.wait(5.1)


def dribble(road: Road, shadow: FakeTransport | None) -> None:
    assert shadow is not None
    road.answer(shadow, response(b"x" * 100)[:-100])
    for _ in range(6):
        road.answer(shadow, b"x")
        road.wait(1)


def hang_up(road: Road, shadow: FakeTransport | None) -> None:
    assert shadow is not None
    road.hang_up(shadow)


def reset(road: Road, shadow: FakeTransport | None) -> None:
    assert shadow is not None
    road.answer(shadow, response(b"abc")[:-1])
    road.hang_up(shadow, ConnectionResetError())


def says(*pieces: bytes) -> Callable[[Road, FakeTransport | None], None]:
    def play(road: Road, shadow: FakeTransport | None) -> None:
        assert shadow is not None
        road.answer(shadow, *pieces)

    return play


def until_close(road: Road, shadow: FakeTransport | None) -> None:
    assert shadow is not None
    road.answer(shadow, b"HTTP/1.0 200 OK\r\n\r\nabc")
    road.hang_up(shadow)


ENDS: dict[str, tuple[Callable[[Road, FakeTransport | None], None], Fault, int, bytes, int]] = {
    "refused": (refuse, Fault.CONNECT, 0, b"", 0),
    "no connection in time": (refuse_late, Fault.CONNECT_TIMEOUT, 0, b"", 0),
    "silent": (be_silent, Fault.TIMEOUT, 0, b"", 0),
    "slow": (dribble, Fault.TIMEOUT, 200, b"xxxxx", 0),
    "hangs up": (hang_up, Fault.RESET, 0, b"", 0),
    "reset": (reset, Fault.RESET, 200, b"ab", 0),
    "garbage": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), Fault.PROTOCOL, 0, b"", 0),
    "head of its own size": (
        says(*[b"HTTP/1.1 200 OK\r\nA: " + b"x" * 200_000] * 2),
        Fault.PROTOCOL,
        0,
        b"",
        0,
    ),
    "plain": (says(response(b"abc")), Fault.NONE, 200, b"abc", 0),
    "chunked": (says(chunked(b"ab", b"c", status="200 OK")), Fault.NONE, 200, b"abc", 0),
    "error": (says(response(b"no", "500 Internal Server Error")), Fault.NONE, 500, b"no", 0),
    "interim": (says(b"HTTP/1.1 103 Early Hints\r\n\r\n", response(b"abc")), Fault.NONE, 200, b"abc", 0),
    "huge": (says(response(b"x" * 1025)), Fault.NONE, 200, b"", Flag.RESPONSE_TRUNCATED),
    "huge in pieces": (
        says(*(chunked(b"x" * 1000, b"x" * 1000, b"x" * 7000, status="200 OK").partition(b"x" * 1000))),
        Fault.NONE,
        200,
        b"x" * 1000,
        Flag.RESPONSE_TRUNCATED,
    ),
    "huge as it says": (
        says(response(b"x" * 9000)[:-9000]),
        Fault.NONE,
        200,
        b"",
        Flag.RESPONSE_TRUNCATED,
    ),
    "endless": (
        says(chunked(b"x" * 2000, status="200 OK").removesuffix(b"0\r\n\r\n")),
        Fault.NONE,
        200,
        b"",
        Flag.RESPONSE_TRUNCATED,
    ),
    "until close": (
        until_close,
        Fault.NONE,
        200,
        b"abc",
        0,
    ),
}


@pytest.mark.parametrize("first", [True, False], ids=["shadow first", "client first"])
@pytest.mark.parametrize(("end", "fault", "status", "body", "flags"), ENDS.values(), ids=ENDS.keys())
def test_end_of_a_shadow(
    road: Road,
    end: Callable[[Road, FakeTransport | None], None],
    fault: Fault,
    status: int,
    body: bytes,
    flags: int,
    first: bool,
) -> None:
    """However a shadow ends, before the client's answer or after, the client's bytes are the same, and all adds up."""
    road.feed(request(body=b"abc", X_User_Id="alice"))
    model = road.connect()
    shadow = None if end in (refuse, refuse_late) else road.connect()
    if first:
        end(road, shadow)
        assert road.received() == b""
        road.answer(model, response(b"1"))
    else:
        road.answer(model, response(b"1"))
        assert not road.transport.is_closing()
    received = road.received()
    assert received == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nx-request-id: id-1\r\nx-modelproxy-variant: v1\r\n\r\n1"
    )
    if not first:
        end(road, shadow)
    assert road.received() == b""
    ended = {"failed": 1} if fault else {"answered": 1, "shipped": 1}
    assert counts(road) == {"eligible": 1, "sent": 1, **ended}
    assert {k[1]: n for k, n in road.counts().items() if k[0] == "model"} == {}
    pool = road.table.routes[0].shadows[0].pool
    assert (pool.in_flight - pool.held, pool.in_flight_bytes) == (0, 0)
    parts = road.worker.shipper.parts()
    (primary,) = [part for part in parts if isinstance(part, Primary)]
    (part,) = [part for part in parts if isinstance(part, ShadowPart)]
    assert (part.fault, part.status, part.response_body, part.flags) == (fault, status, body, flags)
    assert (part.number, part.version, part.route, part.variant) == (primary.number, 1, 0, 0)
    assert (part.shadow, primary.shadows_sent) == (0, 1)
    assert part.duration_ns >= 0
    assert primary.response_body == b"1"
    assert road.loop.errors == []


@pytest.mark.parametrize("more", [b"", b"x" * 100], ids=["head alone", "with its beginning"])
def test_an_answer_that_says_it_is_too_long_is_not_read(road: Road, more: bytes) -> None:
    """Its connection is given up with the first read, and what is told of it is the length it said."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"x" * 9000)[:-9000] + more)
    assert shadow.is_closing()
    (part,) = [part for part in road.worker.shipper.parts() if isinstance(part, ShadowPart)]
    assert (part.response_bytes, part.response_body, part.flags) == (9000, b"", Flag.RESPONSE_TRUNCATED)


def test_deadline_is_for_all_of_it(road: Road) -> None:
    """A shadow that keeps sending is given up all the same: its deadline does not move."""
    road.feed(request())
    _, shadow = both(road)
    dribble(road, shadow)
    assert shadow.aborted
    assert counts(road)["failed"] == 1
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, ShadowPart)
    assert 5_000_000_000 <= part.duration_ns < 5_100_000_000


def test_deadline_on_a_kept_connection(road: Road) -> None:
    """A later copy on the same connection has the same time from its own beginning."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    road.wait(3.3)
    road.feed(request())
    road.wait(4.9)
    assert not shadow.is_closing()
    road.wait(0.2)
    assert shadow.aborted


def test_shadows_are_never_retried(road: Road) -> None:
    """Not even on a connection that was closed while it was idle."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    road.feed(request())
    road.hang_up(shadow)
    assert road.wanted == []
    assert counts(road) == {"eligible": 2, "sent": 2, "answered": 1, "shipped": 1, "failed": 1}


def test_client_that_leaves_early(logged: Road) -> None:
    """A client that leaves before its request is complete leaves no copy behind."""
    road = logged
    road.feed(request(body=b"abc")[:-1])
    road.leave()
    assert counts(road) == {}
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert (part.status, part.shadows_sent) == (499, 0)
    assert part.flags & Flag.CLIENT_LEFT


def test_client_that_leaves_late(road: Road) -> None:
    """A copy that is under way goes on without its client."""
    road.feed(request(body=b"abc"))
    _, shadow = both(road)
    road.leave()
    assert not shadow.is_closing()
    road.answer(shadow, response(b"1"))
    assert counts(road) == {"eligible": 1, "sent": 1, "answered": 1, "shipped": 1}
    numbers = {part.number for part in road.worker.shipper.parts()}
    assert len(numbers) == 1


def test_model_that_fails_does_not_take_its_copy_along(road: Road) -> None:
    """A copy goes on when the model has failed; the record says what the client got."""
    road.feed(request(body=b"abc"))
    model, shadow = both(road)
    road.hang_up(model)
    assert [answer.status for answer in read_answers(road.received())] == [502]
    road.answer(shadow, response(b"1"))
    primary, part = road.worker.shipper.parts()
    assert isinstance(primary, Primary)
    assert (primary.status, primary.number) == (502, part.number)
    assert b'"status":502' in primary.response_body


def test_a_retry_is_not_mirrored_again(road: Road) -> None:
    """A request that is sent once more has its copy already."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    shadow.take()
    road.feed(request())
    road.hang_up(model)
    again = road.connect()
    road.answer(again, response(b"2"))
    assert shadow.take().count(b"POST") == 1
    parts = road.worker.shipper.parts()
    assert parts[-1].flags & Flag.RETRIED
    assert counts(road)["eligible"] == 2


def test_each_shadow_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """One shadow's trouble is not the other's."""
    road = Road(monkeypatch, TWO_SHADOWS)
    road.feed(request(body=b"abc"))
    _, two = both(road)
    three = road.connect()
    road.hang_up(two)
    road.answer(three, response(b"1"))
    assert counts(road, "two") == {"eligible": 1, "sent": 1, "failed": 1}
    assert counts(road, "three") == {"eligible": 1, "sent": 1, "answered": 1, "shipped": 1}
    shadows = {
        part.shadow: part.fault for part in road.worker.shipper.parts() if isinstance(part, ShadowPart)
    }
    assert shadows == {0: Fault.RESET, 1: Fault.NONE}


def test_reload_under_a_shadow(road: Road) -> None:
    """A copy that is under way at a reload ends under the table that it began with."""
    old = road.table
    road.feed(request())
    _, shadow = both(road)
    road.swap(CONFIG.replace("timeout: 5s", "timeout: 6s"))
    road.answer(shadow, response(b"1"))
    assert old.layout.counts(old.slots)["shadow", "answered", "wine", "two"] == 1
    assert counts(road) == {}
    assert shadow.lost


def test_head_is_mirrored(road: Road) -> None:
    """The answer to a copy of HEAD has no body either."""
    road.feed(request(method="HEAD"))
    model, shadow = both(road)
    road.answer(shadow, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    road.answer(model, b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
    assert counts(road) == {"eligible": 1, "sent": 1, "answered": 1, "shipped": 1}
    assert not shadow.is_closing()


def test_a_copy_is_made_when_the_clients_request_is_out(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is done for a copy before the model has its request."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    model.take()
    seen: list[bytes] = []

    def launch_and_look(flight: InFlight, shadows: Sequence[Shadow]) -> int:
        seen.append(model.written)
        return launch_shadows(flight, shadows)

    monkeypatch.setattr(inflight, "launch_shadows", launch_and_look)
    road.feed(request())
    (written,) = seen
    assert written.startswith(b"POST ")


def test_no_copy_of_a_request_that_ended_in_the_same_turn(road: Road) -> None:
    """A client that leaves before its request is written has no copy, and no copy is counted."""
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    before = counts(road)
    assert isinstance(road.client, ClientConnection)
    road.client.data_received(request())
    road.client.connection_lost(None)
    road.settle()
    assert counts(road) == before

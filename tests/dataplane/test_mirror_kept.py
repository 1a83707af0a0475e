"""What is kept of copies and their requests for the observer, and what becomes of it."""

from collections.abc import Callable
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.exchange import Flag, Primary, ShadowPart
from tests.dataplane.mirrored import CONFIG, both, counts
from tests.dataplane.road import Road, chunked, read_answers, request, response, told


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch, CONFIG)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A route whose exchanges are all recorded."""
    return Road(monkeypatch, CONFIG + "    log: {percent: 100}\n")


def test_observer_that_is_gone(road: Road) -> None:
    """What cannot be handed over is counted, and nothing else changes."""
    road.worker.shipper.accepts = False
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"1"))
    assert [answer.status for answer in read_answers(road.received())] == [200]
    assert counts(road) == {"eligible": 1, "sent": 1, "answered": 1, "comparison_dropped": 1}
    assert road.count("worker", "exchanges_dropped") == 1


UNCOMPARED = CONFIG + "    compare: {as: none}\n"


@pytest.mark.parametrize("make", [response, lambda b: chunked(b, status="200 OK")], ids=["length", "chunked"])
def test_nothing_is_kept_for_a_comparison_that_nobody_wants(
    monkeypatch: pytest.MonkeyPatch, make: Callable[[bytes], bytes]
) -> None:
    """With ``compare: {as: none}`` copies are sent and counted, and the observer gets nothing."""
    road = Road(monkeypatch, UNCOMPARED)
    copied = request(body=b"abc", X_User_Id="alice")
    road.feed(copied)
    model, shadow = both(road)
    for turn in range(2):  # the second time by the choice that is remembered
        if turn:
            road.feed(copied)
        assert shadow.take().endswith(b"x-modelproxy-shadow: 1\r\n\r\nabc")
        road.answer(model, make(b"1"))
        road.answer(shadow, make(b"1"))
    assert [answer.status for answer in read_answers(road.received())] == [200, 200]
    assert counts(road) == {"eligible": 2, "sent": 2, "answered": 2, "not_compared": 2}
    assert road.worker.shipper.parts() == []


def test_a_failed_copy_without_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shadow that hangs up has failed, whether or not somebody wants to compare."""
    road = Road(monkeypatch, UNCOMPARED)
    road.feed(request())
    _, shadow = both(road)
    road.hang_up(shadow)
    assert counts(road) == {"eligible": 1, "sent": 1, "failed": 1}


def test_what_is_logged_is_kept_without_comparison(monkeypatch: pytest.MonkeyPatch) -> None:
    """A record holds the shadow's answer, also when it is compared with nothing."""
    road = Road(monkeypatch, UNCOMPARED + "    log: {percent: 100}\n")
    road.feed(request())
    model, shadow = both(road)
    road.answer(model, response(b"1"))
    road.answer(shadow, response(b"2"))
    assert [type(part) for part in road.worker.shipper.parts()] == [Primary, ShadowPart]
    assert counts(road) == {"eligible": 1, "sent": 1, "answered": 1, "shipped": 1}


@pytest.mark.parametrize("cut", [None, 500, 1100, 2000])
@pytest.mark.parametrize("make", [response, lambda b: chunked(b, status="200 OK")], ids=["length", "chunked"])
def test_record_of_a_long_answer(logged: Road, make: Callable[[bytes], bytes], cut: int | None) -> None:
    """The record keeps the beginning of an answer that is longer than a copy may be; the client gets it all."""
    road = logged
    road.feed(request())
    model, _ = both(road)
    data = make(bytes(range(256)) * 8)
    road.answer(model, *([data] if cut is None else [data[:cut], data[cut:]]))
    (answer,) = read_answers(road.received())
    assert (len(answer.body), answer.is_whole) == (2048, True)
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert part.response_body == answer.body[:1024]
    assert told(part).response_bytes == 2048
    assert part.flags == Flag.MIRRORED | Flag.LOGGED | Flag.RESPONSE_TRUNCATED


@pytest.mark.parametrize("pieces", [1, 3, 200])
@pytest.mark.parametrize("make", [lambda body: request(body=body), chunked], ids=["length", "chunked"])
def test_record_of_a_long_request(logged: Road, make: Callable[[bytes], bytes], pieces: int) -> None:
    """The record keeps the same beginning of a long request however it arrives."""
    road = logged
    data = make(bytes(range(256)) * 8)
    step = len(data) // pieces + 1
    road.feed(*[data[i : i + step] for i in range(0, len(data), step)])
    road.answer(road.connect(), response(b"1"))
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert told(part).request_body == (bytes(range(256)) * 8)[:1024]
    assert told(part).request_bytes == 2048
    assert part.flags == Flag.MIRRORED | Flag.LOGGED | Flag.REQUEST_TRUNCATED


@given(cuts=st.lists(st.integers(0, 200), max_size=6), name=st.sampled_from(["plain", "chunked"]))
@settings(max_examples=60)
def test_frames_do_not_depend_on_chunking(cuts: list[int], name: str) -> None:
    """However a shadow's answer arrives, the same frame is left."""
    data = {
        "plain": response(b"abc", Server="m", Connection="keep-alive", X_Request_Id="r"),
        "chunked": chunked(b"ab", b"c", status="200 OK", Server="m"),
    }[name]
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    frames = []
    for pieces in ([data], [data[a:b] for a, b in pairwise(places)]):
        with pytest.MonkeyPatch.context() as patch:
            road = Road(patch, CONFIG)
            road.feed(request())
            _, shadow = both(road)
            road.answer(shadow, *pieces)
            frames.append(road.worker.shipper.parts())
    assert frames[0] == frames[1]

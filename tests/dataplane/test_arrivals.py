"""When the pieces of a streamed answer came, of answers that are copied and of no others."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.arrivals import note_arrival
from proxy.exchange import MOST_ARRIVALS, Primary, ShadowPart
from tests.dataplane.road import CONFIG, Road, request, response

LOGGED = CONFIG + "    log: {percent: 100}\n"
MIRRORED = CONFIG + "    shadows: [{model: three, percent: 100}]\n"
HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
MS = 1_000_000


def pairs(part: Primary | ShadowPart) -> list[tuple[int, int]]:
    """Return (ms since the start, bytes so far) of each piece."""
    numbers = array("Q", part.arrivals)
    return [(ns // MS, size) for ns, size in zip(numbers[::2], numbers[1::2], strict=True)]


def stream(road: Road, *pieces: bytes) -> None:
    """Let the newest model answer a piece each 10 ms."""
    model = road.upstreams[-1]
    for piece in pieces:
        road.loop.clock_ns += 10 * MS
        road.answer(model, piece)


PIECES: dict[str, tuple[tuple[bytes, ...], list[tuple[int, int]]]] = {
    "an event a read": ((HEAD, b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"), [(20, 2), (30, 3)]),
    "head and first event together": (
        (HEAD + b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"),
        [(10, 2), (20, 3)],
    ),
    "two events in one read": ((HEAD, b"2\r\nab\r\n1\r\nc\r\n", b"0\r\n\r\n"), [(20, 3)]),
    "a chunk in two reads": ((HEAD, b"4\r\nab", b"cd\r\n", b"0\r\n\r\n"), [(20, 2), (30, 4)]),
    "all in one read": ((HEAD + b"2\r\nab\r\n0\r\n\r\n",), [(10, 2)]),
    "no body": ((HEAD, b"0\r\n\r\n"), []),
    "a length that was told": ((b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n", b"ab", b"cd"), []),
    "whole and plain": ((response(b"ab"),), []),
}


@pytest.mark.parametrize("name", PIECES)
def test_of_the_clients_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each read that brought a part of the body, since the request's head was there."""
    pieces, expected = PIECES[name]
    road = Road(monkeypatch, LOGGED)
    road.feed(request(X_User_Id="alice"))
    road.connect()
    stream(road, *pieces)
    (part,) = road.worker.shipper.parts()
    assert pairs(part) == expected


@pytest.mark.parametrize("name", PIECES)
def test_of_a_shadows_answer(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same of a copy, since it was sent."""
    pieces, expected = PIECES[name]
    road = Road(monkeypatch, MIRRORED)
    road.feed(request(X_User_Id="alice"))
    road.answer(road.connect(), response(b"{}"))
    road.connect()
    stream(road, *pieces)
    primary, shadow = road.worker.shipper.parts()
    assert isinstance(shadow, ShadowPart)
    assert pairs(shadow) == expected
    assert primary.arrivals == b""


def test_until_the_connection_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body without chunks and length comes in pieces too."""
    road = Road(monkeypatch, LOGGED)
    road.feed(request(X_User_Id="alice"))
    model = road.connect()
    stream(road, b"HTTP/1.1 200 OK\r\n\r\n", b"ab", b"c")
    road.hang_up(model)
    (part,) = road.worker.shipper.parts()
    assert (pairs(part), part.response_body) == ([(20, 2), (30, 3)], b"abc")


def test_what_is_not_kept_is_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind ``limits.copy`` nothing is noted: nobody has the piece."""
    road = Road(monkeypatch, "limits: {copy: 1KiB}\n" + LOGGED)
    road.feed(request(X_User_Id="alice"))
    road.connect()
    big = b"400\r\n" + b"x" * 1024 + b"\r\n"
    stream(road, HEAD, big, b"1\r\ny\r\n", b"0\r\n\r\n")
    (part,) = road.worker.shipper.parts()
    assert pairs(part) == [(20, 1024)]


def test_each_answer_of_a_connection_has_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next request begins with none."""
    road = Road(monkeypatch, LOGGED)
    road.feed(request(X_User_Id="alice"))
    road.connect()
    for user in ("bob", "carol"):
        stream(road, HEAD, b"2\r\nab\r\n", b"0\r\n\r\n")
        road.feed(request(X_User_Id=user))
    assert [pairs(part) for part in road.worker.shipper.parts()] == [[(20, 2)], [(20, 2)]]


def test_nothing_is_noted_where_nothing_is_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream of nobody's interest leaves no frame, and no array on its way."""
    noted: list[int] = []
    monkeypatch.setattr("proxy.dataplane.inflight.note_arrival", lambda *given: noted.append(1))
    road = Road(monkeypatch, CONFIG)
    road.feed(request(X_User_Id="alice"))
    road.connect()
    stream(road, *PIECES["an event a read"][0])
    assert (noted, road.worker.shipper.frames) == ([], [])


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), max_size=30))
def test_reads_are_told_apart_by_their_time(steps: list[tuple[int, int]]) -> None:
    """Times ascend strictly, sizes ascend, and the last pair is the last piece."""
    noted = array("Q")
    now = size = 0
    for wait, length in steps:
        now, size = now + wait, size + length
        note_arrival(noted, now, size)
    times, sizes = list(noted[::2]), list(noted[1::2])
    assert times == sorted(set(times))
    assert sizes == sorted(sizes)
    assert not steps or (times[-1], sizes[-1]) == (now, size)


def test_a_very_long_stream_keeps_its_beginning_and_its_end() -> None:
    """The memory of a stream without end has a bound, and its last piece is always known."""
    noted = array("Q")
    for number in range(3 * MOST_ARRIVALS):
        note_arrival(noted, number, number + 1)
    assert len(noted) == 2 * MOST_ARRIVALS
    assert list(noted[:4]) == [0, 1, 1, 2]
    assert list(noted[-2:]) == [3 * MOST_ARRIVALS - 1, 3 * MOST_ARRIVALS]

"""Connections that are idle rest: their timer waits until they are to be closed, and what the client sends wakes it."""

import pytest

from tests.dataplane.road import CONFIG, Road, read_answers, request, response, statuses


def answered(road: Road) -> Road:
    """Do one request and answer it."""
    road.feed(request(body=b"x"))
    road.answer(road.connect(), response())
    assert statuses(road.received()) == [200]
    return road


def armed(road: Road, seconds: int) -> int:
    """Let time pass; return how often the client connection's timer was set anew."""
    timers = {id(timer): timer for timer in (road.client.timer,)}
    for _ in range(seconds):
        road.wait(1)
        timers[id(road.client.timer)] = road.client.timer
    return len(timers) - 1


def test_an_idle_connection_rests(road: Road) -> None:
    """An idle connection is looked at twice, then when its time is over: not every two seconds."""
    answered(road)
    assert armed(road, 74) <= 2
    assert not road.transport.closed
    road.wait(1.5)
    assert road.transport.closed


def test_a_new_connection_that_says_nothing_rests(road: Road) -> None:
    """A connection that never says anything is closed after ``client_head``, by few timers."""
    assert armed(road, 9) <= 2
    assert not road.transport.closed
    road.wait(1.5)
    assert road.transport.closed


def test_a_rested_connection_keeps_time(road: Road) -> None:
    """A head that stops half-way is given ``client_head`` and no more, however long the connection rested before."""
    answered(road)
    road.wait(50)
    road.feed(b"POST /v2/m")
    road.wait(9.9)
    assert road.received() == b""
    road.wait(0.2)
    assert statuses(road.received()) == [408]


def test_a_rested_connection_keeps_the_time_of_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request has the route's ``timeout`` and no more, however long the connection rested before."""
    text = CONFIG.replace("    retry: []\n", "    retry: []\n    timeout: 5s\n")
    road = answered(Road(monkeypatch, text))
    road.wait(28)
    road.feed(request(body=b"x"))
    road.wait(4.9)
    assert road.received() == b""
    road.wait(0.2)
    (answer,) = read_answers(road.received())
    assert answer.status == 504


def test_a_rested_connection_drains(road: Road) -> None:
    """Draining ends the rest."""
    answered(road)
    road.wait(50)
    road.worker.draining = True
    road.client.drain()
    road.wait(3)
    assert road.transport.closed or road.transport.eof_written

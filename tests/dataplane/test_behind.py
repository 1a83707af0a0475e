"""Requests for another protocol that nobody switches to: what follows their head is read like anything else."""

import pytest

from tests.dataplane.road import (
    Feed,
    Road,
    chunked,
    codes,
    feeds,
    finish,
    request,
    response,
    statuses,
    unrouted,
)

UPGRADES = {
    "unknown": request(method="GET", Connection="Upgrade", Upgrade="IRC/6.9, RTA/x11"),
    "not nominated": request(method="GET", Upgrade="websocket"),
    "websocket with body": request(body=b"abc", Connection="upgrade", Upgrade="websocket"),
    "h2c": request(
        method="GET", Connection="Upgrade, HTTP2-Settings", Upgrade="h2c", HTTP2_Settings="AAMAAABk"
    ),
    "with body": request(body=b"abc", Connection="upgrade", Upgrade="h2c"),
    "chunked": chunked(b"ab", b"c", Connection="upgrade", Upgrade="h2c"),
}


@feeds
@pytest.mark.parametrize("data", UPGRADES.values(), ids=UPGRADES.keys())
def test_upgrade_is_ignored(road: Road, data: bytes, feed: Feed) -> None:
    """A request for another protocol is served as if it had not asked, and so is the next one."""
    pieces = feed(data)
    road.feed(*pieces)
    model = road.connect()
    sent = model.take()
    assert b"upgrade" not in sent.lower()
    assert sent.count(b"HTTP/1.1") == 1
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]
    finish(road, feed)
    road.feed(*feed(data))
    road.answer(model, response(b"2"))
    assert statuses(road.received()) == [200]
    assert model.take() == sent.replace(b"id-1", b"id-3" if unrouted(road) else b"id-2")
    assert codes(road) == {"code_200": 2}


def test_many_upgrades_in_one_read(road: Road) -> None:
    """A read full of such requests is taken like any other."""
    count = 2000
    road.feed(UPGRADES["unknown"].replace(b"/v2/models/wine", b"/nowhere") * count)
    assert statuses(road.received()) == [404] * count
    assert road.worker.bugs == []

"""What a finished request leaves behind for the observer."""

import pytest

from proxy.exchange import Flag, Primary
from tests.dataplane.road import CONFIG, Road, request, response

LOGGED = CONFIG + "    log: {percent: 100}\n"


def finish(road: Road, body: bytes = b"{}") -> Primary:
    """Let one request pass and return its primary frame."""
    road.feed(request(body=body, X_User_Id="alice"))
    model = road.connect()
    road.loop.clock_ns += 5_000_000
    road.answer(model, response(b"[1]"))
    part = road.worker.shipper.parts()[-1]
    assert isinstance(part, Primary)
    return part


def test_the_frame_says_what_happened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Assignment, times, sizes, heads and bodies of both sides are in the frame."""
    road = Road(monkeypatch, LOGGED)
    part = finish(road)
    assert (part.version, part.route, part.variant, part.served_by, part.unit_source) == (1, 0, 0, 0, 0)
    assert (part.status, part.fault, part.flags) == (200, 0, Flag.LOGGED)
    assert part.bucket == road.table.routes[0].bucket(b"alice")
    assert (part.request_id, part.unit, part.client) == (b"id-1", b"alice", b"192.0.2.7")
    assert part.target == b"/v2/models/wine/infer"
    assert part.request_head.startswith(b"POST /v2/models/wine/infer HTTP/1.1\r\n")
    assert (part.request_body, part.request_bytes) == (b"{}", 2)
    assert part.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert (part.response_body, part.response_bytes) == (b"[1]", 3)
    assert part.ttfb_ns == part.duration_ns == 5_000_000
    assert part.shadows_sent == 0


def test_what_the_pipe_refuses_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A sampled record is shipped or dropped, never neither."""
    road = Road(monkeypatch, LOGGED)
    finish(road)
    road.worker.shipper.accepts = False
    road.feed(request(X_User_Id="bob"))
    road.answer(road.upstreams[0], response())
    assert road.count("payload", "sampled", "wine") == 2
    assert road.count("payload", "shipped", "wine") == 1
    assert road.count("payload", "dropped", "wine") == 1
    assert road.count("worker", "exchanges_dropped") == 1


def test_a_request_that_nobody_samples_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shadow, log and trace there is no frame and no copy."""
    road = Road(monkeypatch)
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.connect(), response())
    assert road.worker.shipper.frames == []

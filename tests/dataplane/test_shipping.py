"""What a finished request leaves behind for the observer."""

import pytest

from proxy.exchange import Flag, Primary
from tests.dataplane.road import CONFIG, Road, request, response, told, warmed

LOGGED = CONFIG + "    log: {percent: 100}\n"
SHOWN = CONFIG + "    compare: {examples: 100}\n    shadows: [{model: three, percent: 100}]\n"


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
    details = told(part)
    assert (part.version, part.route, part.variant, part.served_by, details.unit_source) == (1, 0, 0, 0, 0)
    assert (part.status, details.fault, part.flags) == (200, 0, Flag.LOGGED)
    assert details.bucket == road.table.routes[0].bucket(b"alice")
    assert (part.request_id, part.unit) == (b"id-1", b"alice")
    assert details.target == b"/v2/models/wine/infer"
    assert details.request_head.startswith(b"POST /v2/models/wine/infer HTTP/1.1\r\n")
    assert (details.request_body, details.request_bytes) == (b"{}", 2)
    assert details.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert part.response_lines == b"Content-Length: 3\r\n"
    assert (part.response_body, details.response_bytes) == (b"[1]", 3)
    assert details.ttfb_ns == details.duration_ns == 5_000_000
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


def test_what_is_only_compared_leaves_nothing_of_the_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """A comparison asks for two answers: neither the request nor who sent it goes to the observer."""
    road = Road(monkeypatch, SHOWN.replace("100}", "0}", 1))
    road.feed(request(body=b"secret", X_User_Id="alice"))
    road.answer(road.connect(), response(b"[1]"))
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert (part.flags, part.shadows_sent, part.response_body, part.details) == (
        Flag.MIRRORED,
        1,
        b"[1]",
        None,
    )
    assert not any(word in road.worker.shipper.frames[0] for word in (b"secret", b"192.0.2.7", b"POST"))


def test_a_copy_that_was_not_sent_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where no copy went out there is nothing to compare with, and nobody to tell."""
    road = Road(monkeypatch, CONFIG + "    shadows: [{model: three, percent: 100}]\n")
    road.worker.draining = True
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.connect(), response(b"[1]"))
    assert road.count("shadow", "eligible", "wine", "three") == 1
    assert road.worker.shipper.frames == []
    assert road.count("worker", "exchanges_dropped") == 0


def test_a_request_that_nobody_samples_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without shadow, log and trace there is no frame and no copy."""
    road = Road(monkeypatch)
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.connect(), response())
    assert road.worker.shipper.frames == []


@warmed
def test_a_shown_request_goes_along(monkeypatch: pytest.MonkeyPatch, is_warm: bool) -> None:
    """What is to be shown beside a disagreement leaves request and heads, though it is neither logged nor traced."""
    road = Road(monkeypatch, SHOWN)
    if is_warm:
        road.feed(request(body=b"{}", X_User_Id="alice"))
        model, shadow = road.connect(), road.connect()
        road.answer(model, response(b"[1]"))
        road.answer(shadow, response(b"[1]"))
        road.worker.shipper.frames.clear()
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.upstreams[0] if is_warm else road.connect(), response(b"[1]"))
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert (part.flags, part.shadows_sent) == (Flag.MIRRORED | Flag.SHOWN, 1)
    details = told(part)
    assert (details.target, details.request_body) == (b"/v2/models/wine/infer", b"{}")
    assert details.response_head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert road.count("payload", "sampled", "wine") == 0


def test_a_shown_copy_that_was_not_sent_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """An example is one of a comparison: without a copy there is none."""
    road = Road(monkeypatch, SHOWN)
    road.worker.draining = True
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.connect(), response(b"[1]"))
    assert road.worker.shipper.frames == []

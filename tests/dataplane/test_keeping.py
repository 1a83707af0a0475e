"""What ``log.keep`` wants of the worker: it judges when a request ends, and hands over what the rules want, whole."""

from collections.abc import Callable

import pytest

from proxy.exchange import Flag, Primary
from proxy.model import Fault
from tests.dataplane.road import CONFIG, Road, chunked, request, response, told, warmed

KEEPING = CONFIG + "    log: {keep: [errors, {slow: 100ms}]}\n"
FALLING = KEEPING.replace(
    "      - {name: v1, model: one, role: champion}\n",
    "      - {name: v1, model: one, role: champion}\n"
    "      - {name: v2, model: two, role: challenger, weight: 100}\n",
)
MIRRORED = "    compare: {examples: 0}\n    shadows: [{model: three, percent: 100}]\n"


def left(road: Road) -> list[Primary]:
    """Return the primary frames that were handed over, and forget them."""
    parts = [part for part in road.worker.shipper.parts() if isinstance(part, Primary)]
    road.worker.shipper.frames.clear()
    return parts


def model_of(road: Road) -> "Callable[..., None]":
    """Return what answers the request that is under way, after some milliseconds."""
    transport = road.connect() if road.wanted else road.upstreams[0]

    def answer(*pieces: bytes, after_ms: int = 0) -> None:
        road.loop.clock_ns += after_ms * 1_000_000
        road.answer(transport, *pieces)

    return answer


KEPT: dict[str, tuple[str, int, int]] = {
    "good and fast": ("200 OK", 100, 0),
    "a client's error": ("404 Not Found", 5, 0),
    "an error": ("500 Internal Server Error", 5, Flag.ERRORS),
    "slow": ("200 OK", 101, Flag.SLOW),
    "slow, and an error": ("503 Service Unavailable", 101, Flag.ERRORS | Flag.SLOW),
}


@warmed
@pytest.mark.parametrize("name", KEPT)
def test_judged_at_the_end(monkeypatch: pytest.MonkeyPatch, name: str, is_warm: bool) -> None:
    """What a rule wants leaves a frame with its reasons; what none wants, of which copies were kept, leaves nothing."""
    status, after_ms, flags = KEPT[name]
    road = Road(monkeypatch, KEEPING)
    for _ in range(2 if is_warm else 1):  # the second time the choice is remembered
        road.feed(request(body=b"{}", X_User_Id="alice"))
        model_of(road)(response(b"[1]", status), after_ms=after_ms)
        parts = left(road)
        assert [part.flags for part in parts] == [flags] * bool(flags)
    for part in parts:
        details = told(part)
        assert (part.status, details.request_body, part.response_body) == (int(status[:3]), b"{}", b"[1]")
        assert details.request_head.startswith(b"POST /v2/models/wine/infer HTTP/1.1\r\n")
        assert details.response_head.startswith(b"HTTP/1.1 " + status.encode())
    sampled = road.count("payload", "sampled", "wine")
    assert sampled == road.count("payload", "shipped", "wine") == bool(flags) * (2 if is_warm else 1)


def refused(road: Road) -> None:
    road.feed(request(X_User_Id="alice"))
    road.refuse_connect()


def reset(road: Road) -> None:
    road.feed(request(X_User_Id="alice"))
    road.hang_up(road.connect(), ConnectionResetError())


def broke_off(road: Road) -> None:
    road.feed(request(X_User_Id="alice"))
    model = road.connect()
    road.answer(model, response(b"a long answer")[:-5])
    road.hang_up(model)


def left_early(road: Road) -> None:
    road.feed(request(X_User_Id="alice"))
    road.connect()
    road.leave()


def answered_in_pieces(road: Road) -> None:
    road.feed(request(X_User_Id="alice"))
    model = model_of(road)
    whole = chunked(b"one", b"two", status="200 OK")
    model(whole[:-8])
    model(whole[-8:], after_ms=200)


ENDINGS: dict[str, tuple[Callable[[Road], None], int, int, int]] = {
    "no connection": (refused, Flag.ERRORS, 502, Fault.CONNECT),
    "a connection that broke": (reset, Flag.ERRORS, 502, Fault.RESET),
    "an answer that broke off": (broke_off, Flag.ERRORS | Flag.CUT, 200, Fault.RESET),
    "a slow stream": (answered_in_pieces, Flag.SLOW, 200, 0),
}


@pytest.mark.parametrize("name", ENDINGS)
def test_every_ending(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A fault is an error whatever the status, and its record has what there is of both sides."""
    end, flags, status, fault = ENDINGS[name]
    road = Road(monkeypatch, KEEPING)
    end(road)
    (part,) = left(road)
    assert (part.flags, part.status, told(part).fault) == (flags, status, fault)
    assert told(part).response_head


def test_a_client_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """499 says nothing of the model."""
    road = Road(monkeypatch, KEEPING)
    left_early(road)
    assert left(road) == []


def test_what_the_champion_made_good_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """The assigned variant failed, though the client got a good answer."""
    road = Road(monkeypatch, FALLING)
    road.feed(request("/v2/models/wine/infer", X_User_Id="alice"))
    road.answer(road.connect(), response(b"x", "503 Service Unavailable"))
    road.answer(road.connect(), response(b"good"))
    (part,) = left(road)
    assert (part.flags & Flag.ERRORS, part.status, part.served_by) == (Flag.ERRORS, 200, 0)
    assert part.variant == 1


def test_a_mirrored_request_that_no_rule_wants_leaves_its_answer_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is compared as ever; its request does not go along."""
    road = Road(monkeypatch, KEEPING + MIRRORED)
    road.feed(request(body=b"secret", X_User_Id="alice"))
    road.answer(road.connect(), response(b"[1]"))
    (part,) = left(road)
    assert (part.flags, part.shadows_sent, part.details) == (Flag.MIRRORED, 1, None)


def test_a_mirrored_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that was mirrored is both."""
    road = Road(monkeypatch, KEEPING + MIRRORED)
    road.feed(request(body=b"{}", X_User_Id="alice"))
    road.answer(road.connect(), response(b"no", "500 Internal Server Error"))
    (part,) = left(road)
    assert (part.flags, part.shadows_sent) == (Flag.MIRRORED | Flag.ERRORS, 1)
    assert told(part).request_body == b"{}"


def test_sample_and_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is in the sample leaves a record anyway, with the rule's reason beside it; it is counted once."""
    road = Road(monkeypatch, KEEPING.replace("keep:", "percent: 100, keep:"))
    road.feed(request(X_User_Id="alice"))
    model_of(road)(response(b"[1]"), after_ms=200)
    (part,) = left(road)
    assert part.flags == Flag.LOGGED | Flag.SLOW
    assert road.count("payload", "sampled", "wine") == 1


def test_expressions_see_every_exchange(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether ``when`` wants it only the observer knows: each goes there whole, and the worker counts no record."""
    road = Road(monkeypatch, CONFIG + '    log: {keep: [{when: "response.status == `404`"}]}\n')
    road.feed(request(body=b"{}", X_User_Id="alice"))
    model_of(road)(response(b"[1]"))
    (part,) = left(road)
    assert (part.flags, told(part).request_body) == (Flag.OFFERED, b"{}")
    assert road.count("payload", "sampled", "wine") == 0


@pytest.mark.parametrize("examples", [0, 5])
def test_disagreement_sees_every_mirrored_exchange(monkeypatch: pytest.MonkeyPatch, examples: int) -> None:
    """However few examples are wanted, each mirrored request goes along: any may turn out to disagree."""
    text = CONFIG + "    log: {keep: [disagreement]}\n" + MIRRORED.replace("0}", f"{examples}}}", 1)
    road = Road(monkeypatch, text)
    for user in ("alice", "bob", "carol"):
        road.feed(request(body=b"{}", X_User_Id=user))
        while road.wanted:
            road.connect()
        for model in road.upstreams:
            road.answer(model, response(b"[1]"))
    assert [part.flags for part in left(road)] == [Flag.MIRRORED | Flag.SHOWN] * 3
    assert road.count("payload", "sampled", "wine") == 0


def test_what_the_pipe_refuses_is_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An error that could not be handed over is sampled and dropped."""
    road = Road(monkeypatch, KEEPING)
    road.worker.shipper.accepts = False
    refused(road)
    assert road.count("payload", "sampled", "wine") == road.count("payload", "dropped", "wine") == 1


def test_a_body_that_is_too_long(monkeypatch: pytest.MonkeyPatch) -> None:
    """The copies are capped by ``limits.copy`` and marked."""
    road = Road(monkeypatch, "limits: {copy: 1KiB}\n" + KEEPING)
    road.feed(request(body=b"x" * 5000, X_User_Id="alice"))
    model_of(road)(response(b"y" * 5000, "500 Internal Server Error"))
    (part,) = left(road)
    assert part.flags == Flag.ERRORS | Flag.REQUEST_TRUNCATED | Flag.RESPONSE_TRUNCATED
    assert (len(told(part).request_body), len(part.response_body)) == (1024, 1024)

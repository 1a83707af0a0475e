"""One request on the road: what the model gets, what the client gets, what is counted."""

from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.exchange import Flag, Primary
from proxy.model import DURATION_BOUNDS_NS
from tests.dataplane.road import (
    CONFIG,
    FEEDS,
    Feed,
    Road,
    chunked,
    feeds,
    named,
    read_answers,
    request,
    response,
    statuses,
    told,
)

SPLIT = """
trusted: [10.0.0.0/8]
limits: {copy: 1KiB}
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002/v9/other"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id, cookie:uid, "json:/user", query:user]
    missing_unit: champion
    force_secret: let-me-choose
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: challenger, weight: 40}
      - {name: v3, model: three, role: canary, weight: 20}
"""


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A road with three variants and every kind of unit but the address."""
    return Road(monkeypatch, SPLIT)


def variant_of(road: Road) -> str:
    """Return the only variant that was assigned."""
    (name,) = [key[3] for key in road.counts() if key[:2] == ("variant", "started")]
    return name


# There and back


def test_request_and_response_pass(road: Road) -> None:
    """A request reaches the model with its lines in order, and the answer comes back with ours added."""
    road.feed(request(body=b"{}", X_User_Id="alice", Accept="*/*"))
    model = road.connect()
    assert model.take() == (
        b"POST /v2/models/wine/infer HTTP/1.1\r\n"
        b"Host: proxy.test\r\n"
        b"X-User-Id: alice\r\n"
        b"Accept: */*\r\n"
        b"Content-Length: 2\r\n"
        b"x-forwarded-for: 192.0.2.7\r\n"
        b"x-forwarded-proto: http\r\n"
        b"x-forwarded-host: proxy.test\r\n"
        b"via: 1.1 modelproxy\r\n"
        b"x-request-id: id-1\r\n"
        b"\r\n"
        b"{}"
    )
    road.answer(model, response(b"[1]", Server="m"))
    assert road.received() == (
        b"HTTP/1.1 200 OK\r\nServer: m\r\nContent-Length: 3\r\n"
        b"x-request-id: id-1\r\nx-modelproxy-variant: v1\r\n\r\n[1]"
    )
    assert road.count("variant", "started", "wine", "v1", "one") == 1
    assert road.count("variant", "code_200", "wine", "v1", "one") == 1


@feeds
def test_same_bytes_in_every_feed(road: Road, feed: Feed) -> None:
    """The model and the client get the same bytes however theirs arrive."""
    road.feed(*feed(request(body=b"{}", X_User_Id="alice", Connection="keep-alive")))
    model = road.connect()
    head, _, body = model.take().partition(b"\r\n\r\n")
    assert body == b"{}"
    assert head.count(b"\r\n") == 8
    assert b"connection" not in head.lower()
    data = response(b"[1]", Server="m", Connection="keep-alive", Keep_Alive="timeout=5")
    road.answer(model, *(feed(data) if feed is not FEEDS["with trailing bytes"] else [data]))
    assert road.received() == (
        b"HTTP/1.1 200 OK\r\nServer: m\r\nContent-Length: 3\r\n"
        b"x-request-id: id-1\r\nx-modelproxy-variant: v1\r\n\r\n[1]"
    )


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Cut ``data`` at these places, taken modulo its length."""
    places = sorted({0, len(data), *(cut % len(data) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


def without_chunks(data: bytes) -> bytes:
    """Return a chunked message with its body in one chunk: where chunks end says nothing."""
    head, _, _ = data.partition(b"\r\n\r\n")
    if b"transfer-encoding: chunked" not in head.lower():
        return data
    (answer,) = read_answers(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + data[len(head) + 4 :])
    assert answer.is_whole
    return head + b"\r\n\r\n" + answer.body + b"".join(answer.trailers)


REQUESTS = {
    "plain": request(body=b'{"user": "bob"}', X_User_Id="alice"),
    "no body": request(method="GET"),
    "special": request(body=b"abc", X_Forwarded_For="203.0.113.9", Via="1.0 fred"),
    "chunked": chunked(b"ab", b"c" * 40, b"d", Cookie="a=b; uid=carol"),
    "unit in body": request(body=b'{"user": "bob"}'),
    "unit in chunked body": chunked(b'{"us', b'er": 17}'),
    "too long for its unit": request(body=b'{"user": "bob", "x": "' + b"x" * 1100 + b'"}'),
}
RESPONSES = {
    "length": response(b"[1, 2]", Server="m"),
    "empty": response(b""),
    "chunked": chunked(b"ab", b"c" * 40, status="200 OK", trailer="X-Sum: 1\r\n"),
    "interim": b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" + response(b"abc"),
    "no content": b"HTTP/1.1 204 No Content\r\nA: b\r\n\r\n",
    "close": response(b"abc", Connection="close"),
}


Outcome = tuple[bytes, list[bytes], dict[tuple[str, ...], int]]


def play(pieces: list[bytes], answer_pieces: list[bytes]) -> Outcome:
    """Return what the model got, what the client got, and what was counted of it."""
    with pytest.MonkeyPatch.context() as patch:
        road = Road(patch, SPLIT)
        road.feed(*pieces)
        model = road.connect()
        road.answer(model, *answer_pieces)
        assert road.worker.bugs == []
        assert road.loop.errors == []
        timed = ("duration", "ttfb", "gap")
        counts = {k: n for k, n in road.counts().items() if not k[1].startswith(timed)}
        received = road.received().split(b"HTTP/1.1 ")
        return without_chunks(model.take()), [*map(without_chunks, received)], counts


@cache
def play_whole(data: bytes, answer: bytes) -> Outcome:
    """Return the outcome of the uncut messages."""
    return play([data], [answer])


@given(
    data=st.sampled_from(list(REQUESTS.values())),
    cuts=st.lists(st.integers(0, 5000), max_size=8),
    answer=st.sampled_from(list(RESPONSES.values())),
    answer_cuts=st.lists(st.integers(0, 500), max_size=8),
)
@settings(max_examples=400)
@pytest.mark.slow
def test_law_of_chunking(data: bytes, cuts: list[int], answer: bytes, answer_cuts: list[int]) -> None:
    """However the bytes of both sides are cut, the same bytes go out, and the same is counted."""
    assert play(pieces_of(data, cuts), pieces_of(answer, answer_cuts)) == play_whole(data, answer)


def test_durations_are_counted(road: Road) -> None:
    """Durations run from the head to the last byte, times to the first byte to the response's head."""
    road.feed(request())
    model = road.connect()
    road.wait(0.25)
    road.answer(model, response(b"ab")[:-1])
    road.wait(0.5)
    road.answer(model, b"b")
    counts = named(road, "variant")
    assert 0.75e9 <= counts["duration_sum_ns"] < 0.751e9
    assert 0.25e9 <= counts["ttfb_sum_ns"] < 0.251e9
    slot = next(i for i, bound in enumerate(DURATION_BOUNDS_NS) if bound >= counts["duration_sum_ns"])
    assert counts[f"duration_{slot}"] == 1


REQUEST_IDS = {
    "kept": ("abc-123", b"abc-123"),
    "as long as it may be": ("x" * 256, b"x" * 256),
    "too long": ("x" * 257, b"id-1"),
    "empty": ("", b"id-1"),
}


@pytest.mark.parametrize(("value", "expected"), REQUEST_IDS.values(), ids=REQUEST_IDS.keys())
def test_request_id(road: Road, value: str, expected: bytes) -> None:
    """The client's id is kept unless it is empty or over-long, goes upstream once and comes back once."""
    road.feed(request(X_Request_Id=value))
    model = road.connect()
    assert model.take().lower().count(b"x-request-id: " + expected + b"\r\n") == 1
    road.answer(model, response(b"", X_Request_Id="the-models-own"))
    received = road.received()
    assert read_answers(received)[0].fields[b"x-request-id"] == expected
    assert received.lower().count(b"x-request-id") == 1


# Assignment

UNITS = {
    "header": (request(X_User_Id="alice", Cookie="uid=bob"), b"alice", "header:x-user-id"),
    "cookie": (request(Cookie="a=1; uid=bob"), b"bob", "cookie:uid"),
    "empty header": (request(X_User_Id="", Cookie="uid=bob"), b"bob", "cookie:uid"),
    "query behind no body": (request("/v2/models/wine/infer?user=d%20n", method="GET"), b"d n", "query:user"),
    "json": (request("/v2/models/wine/infer?user=dan", b'{"user": "carl"}'), b"carl", "json:/user"),
    "json number": (request(body=b'{"user": 17}'), b"17", "json:/user"),
    "json absent": (request("/v2/models/wine/infer?user=dan", b'{"u": 1}'), b"dan", "query:user"),
    "not json": (request("/v2/models/wine/infer?user=dan", b"user"), b"dan", "query:user"),
    "json in chunks": (chunked(b'{"user"', b': "carl"}'), b"carl", "json:/user"),
    "json over limits.copy": (
        request("/v2/models/wine/infer?user=dan", b'{"user": "carl", "x": "' + b"x" * 1024 + b'"}'),
        b"dan",
        "query:user",
    ),
    "missing": (request(), b"", "missing"),
    "missing in json": (request(body=b"[]"), b"", "missing"),
}


@feeds
@pytest.mark.parametrize(("data", "unit", "source"), UNITS.values(), ids=UNITS.keys())
def test_unit_sources(split: Road, data: bytes, unit: bytes, source: str, feed: Feed) -> None:
    """The first source that is present decides, wherever it is, and the assignment follows from the unit alone."""
    split.feed(*feed(data))
    route = split.table.routes[0]
    expected = route.assign(route.bucket(unit)) if unit else route.champion
    assert variant_of(split) == expected.name
    assert named(split, "unit") == {source: 1}
    assert split.table.undecided == 0


@pytest.mark.parametrize(("data", "unit", "source"), UNITS.values(), ids=UNITS.keys())
def test_same_choice_again(split: Road, data: bytes, unit: bytes, source: str) -> None:
    """A head that has been seen under a table gives the same again, and is forgotten with the table."""
    split.feed(data)
    model = split.connect()
    sent = model.take()
    split.answer(model, response(b"1"))
    first = {k: n for k, n in split.counts().items() if "duration" not in k[1] and "ttfb" not in k[1]}
    split.feed(data)
    assert model.take() == sent.replace(b"id-1", b"id-2")
    split.answer(model, response(b"1"))
    assert {k: n for k, n in split.counts().items() if k in first} == {k: 2 * n for k, n in first.items()}
    split.swap(SPLIT.replace("model: one", "model: three"))
    split.feed(data)
    if variant_of(split) == "v1":
        assert split.connect().get_extra_info("peername")[1] == 9003
    assert named(split, "unit") == {source: 1}


def test_missing_unit_is_drawn_by_request_id(monkeypatch: pytest.MonkeyPatch) -> None:
    """With ``missing_unit: random`` requests without a unit spread over the variants, by their ids."""
    road = Road(monkeypatch, SPLIT.replace("missing_unit: champion", "missing_unit: random"))
    route = road.table.routes[0]
    for i in range(200):
        transport = road.add_client()
        road.feed(request(X_Request_Id=f"r{i}"), to=transport)
        road.leave(transport)
    counts = {key[3]: number for key, number in road.counts().items() if key[:2] == ("variant", "started")}
    expected = [route.assign(route.bucket(b"r%d" % i)).name for i in range(200)]
    assert counts == {name: expected.count(name) for name in ("v1", "v2", "v3")}
    assert named(road, "unit") == {"missing": 200}


FORCED = {
    "trusted address": ("10.1.2.3", {"X-ModelProxy-Force": "v2"}, True),
    "secret": ("192.0.2.7", {"X-ModelProxy-Force": "v2", "X-ModelProxy-Force-Secret": "let-me-choose"}, True),
    "wrong secret": ("192.0.2.7", {"X-ModelProxy-Force": "v2", "X-ModelProxy-Force-Secret": "let-me"}, False),
    "neither": ("192.0.2.7", {"X-ModelProxy-Force": "v2"}, False),
    "unknown variant": ("10.1.2.3", {"X-ModelProxy-Force": "v9"}, False),
}


@pytest.mark.parametrize(("peer", "headers", "granted"), FORCED.values(), ids=FORCED.keys())
def test_forced_variant(split: Road, peer: str, headers: dict[str, str], granted: bool) -> None:
    """Who may force a variant gets it, everybody else is assigned as ever, and no model sees the header."""
    client = split.add_client(peer)
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    split.feed(request().replace(b"Content-Length", lines.encode() + b"Content-Length"), to=client)
    sent = split.connect().take()
    assert b"modelproxy-force" not in sent.lower()
    assert variant_of(split) == ("v2" if granted else "v1")


PATHS = {
    "inside": ("/v2/models/wine/infer", b"/v9/other/infer"),
    "query": ("/v2/models/wine/infer?a=b/c", b"/v9/other/infer?a=b/c"),
    "prefix itself": ("/v2/models/wine", b"/v9/other"),
    "prefix and query": ("/v2/models/wine?a=b", b"/v9/other?a=b"),
    "slash": ("/v2/models/wine/", b"/v9/other/"),
}


@pytest.mark.parametrize(("path", "expected"), PATHS.values(), ids=PATHS.keys())
def test_model_path(split: Road, path: str, expected: bytes) -> None:
    """A model's own path replaces the matched prefix, and no more."""
    client = split.add_client("10.1.2.3")
    split.feed(request(path, X_ModelProxy_Force="v2"), to=client)
    assert split.connect().take().startswith(b"POST " + expected + b" HTTP/1.1\r\n")


def test_one_request_one_table(road: Road) -> None:
    """A request that is under way at a reload ends, and is counted, under the table that it began with."""
    old = road.table
    road.feed(request(body=b"abc")[:-1])
    model = road.connect()
    road.swap(CONFIG.replace("v1", "v7"))
    road.feed(b"c")
    road.answer(model, response(b"1"))
    assert read_answers(road.received())[0].fields[b"x-modelproxy-variant"] == b"v1"
    assert old.layout.counts(old.slots)["variant", "code_200", "wine", "v1", "one"] == 1
    assert named(road, "variant") == {}
    road.feed(request())
    road.answer(model, response(b"2"))
    assert read_answers(road.received())[0].fields[b"x-modelproxy-variant"] == b"v7"
    assert len(road.upstreams) == 1


def test_pool_of_a_changed_model_is_let_go(road: Road) -> None:
    """A connection under old limits finishes its request and is closed then."""
    road.feed(request())
    model = road.connect()
    road.swap(CONFIG.replace("max_pending: 8", "max_pending: 9"))
    road.answer(model, response(b"1"))
    assert statuses(road.received()) == [200]
    assert model.lost
    road.feed(request())
    assert len(road.wanted) == 1


# Traces

TRACED = "tracing: {otlp: 'http://127.0.0.1:4318', percent: 100}\n" + CONFIG
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@feeds
def test_traced(monkeypatch: pytest.MonkeyPatch, feed: Feed) -> None:
    """With tracing on a span of ours is the parent upstream, in the client's trace, and the exchange is left."""
    road = Road(monkeypatch, TRACED)
    road.feed(*feed(request(body=b"abc", Traceparent=PARENT, Tracestate="a=b")))
    model = road.connect()
    sent = model.take()
    line = next(line for line in sent.split(b"\r\n") if line.startswith(b"traceparent: "))
    version, trace_id, span_id, flags = line.removeprefix(b"traceparent: ").split(b"-")
    assert (version, trace_id, flags) == (b"00", PARENT[3:35].encode(), b"01")
    assert sent.lower().count(b"traceparent") == 1
    assert b"\r\ntracestate: a=b\r\n" in sent
    road.answer(model, response(b"1"))
    (part,) = road.worker.shipper.parts()
    assert isinstance(part, Primary)
    assert told(part).span_id == int(span_id, 16)
    assert part.flags == Flag.TRACED
    assert told(part).traceparent == PARENT.encode()


def test_not_traced(road: Road) -> None:
    """Without tracing the context passes as it is, and nothing is left."""
    road.feed(request(Traceparent=PARENT, Tracestate="a=b"))
    model = road.connect()
    sent = model.take()
    assert f"traceparent: {PARENT}\r\ntracestate: a=b\r\n".encode() in sent
    road.answer(model, response(b"1"))
    assert road.worker.shipper.frames == []


def test_invalid_traceparent_is_replaced(road: Road) -> None:
    """An invalid context is replaced by a fresh one, and its state is not passed on."""
    road.feed(request(Traceparent="00-zz", Tracestate="a=b"))
    sent = road.connect().take()
    assert b"00-zz" not in sent
    assert b"tracestate" not in sent
    assert sent.count(b"traceparent: 00-") == 1

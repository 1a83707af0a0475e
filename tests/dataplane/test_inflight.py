"""One request on the road: what the model gets, what the client gets, what is counted."""

from collections.abc import Callable
from functools import cache
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dataplane.upstream import MAX_RESPONSE_HEAD_BYTES
from proxy.exchange import Flag, Primary
from proxy.model import DURATION_BOUNDS_NS, Fault
from tests.dataplane.road import CONFIG, FEEDS, Feed, Road, chunked, read_answers, request, response
from tests.fakes import FakeTransport

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

feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS.keys())


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch)


@pytest.fixture
def split(monkeypatch: pytest.MonkeyPatch) -> Road:
    """A road with three variants and every kind of unit but the address."""
    return Road(monkeypatch, SPLIT)


def statuses(data: bytes) -> list[int]:
    return [answer.status for answer in read_answers(data)]


def named(road: Road, kind: str, prefix: str = "") -> dict[str, int]:
    """Return the counts of a kind, by field, added up over its labels."""
    found: dict[str, int] = {}
    for key, number in road.counts().items():
        if key[0] == kind and key[1].startswith(prefix):
            found[key[1]] = found.get(key[1], 0) + number
    return found


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
    return head + b"\r\n\r\n" + answer.body


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
        counts = {k: n for k, n in road.counts().items() if "duration" not in k[1] and "ttfb" not in k[1]}
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


# What goes wrong upstream


def refuse(road: Road) -> FakeTransport | None:
    road.refuse_connect()
    return None


def refuse_late(road: Road) -> FakeTransport | None:
    road.refuse_connect(Fault.CONNECT_TIMEOUT)
    return None


def be_silent(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.wait(29.9)
    assert road.received() == b""
    road.wait(0.2)
    return model


def close_at_once(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.hang_up(model)
    return model


def reset_in_head(road: Road) -> FakeTransport | None:
    model = road.connect()
    road.answer(model, b"HTTP/1.1 200 O")
    road.hang_up(model, ConnectionResetError())
    return model


def says(*pieces: bytes) -> Callable[[Road], FakeTransport | None]:
    def play(road: Road) -> FakeTransport | None:
        model = road.connect()
        road.answer(model, *pieces)
        return model

    return play


FAULTS: dict[str, tuple[Callable[[Road], FakeTransport | None], int, Fault]] = {
    "refused": (refuse, 502, Fault.CONNECT),
    "no connection in time": (refuse_late, 504, Fault.CONNECT_TIMEOUT),
    "silent": (be_silent, 504, Fault.TIMEOUT),
    "closed": (close_at_once, 502, Fault.RESET),
    "reset in its head": (reset_in_head, 502, Fault.RESET),
    "garbage": (says(b"SSH-2.0-OpenSSH_9.2\r\n"), 502, Fault.PROTOCOL),
    "garbage in its head": (says(b"HTTP/1.1 200 OK\r\nA\0: b\r\n\r\n"), 502, Fault.PROTOCOL),
    "head too large": (
        says(b"HTTP/1.1 200 OK\r\nA: ", b"x" * (MAX_RESPONSE_HEAD_BYTES // 2), b"x" * 200_000),
        502,
        Fault.PROTOCOL,
    ),
    "two lengths": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        502,
        Fault.PROTOCOL,
    ),
    "length and chunks": (
        says(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"),
        502,
        Fault.PROTOCOL,
    ),
    "another protocol": (
        says(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"),
        502,
        Fault.PROTOCOL,
    ),
    "no status": (says(b"HTTP/1.1 099 No\r\nContent-Length: 0\r\n\r\n"), 502, Fault.PROTOCOL),
}


@pytest.mark.parametrize("http", [b"HTTP/1.1", b"HTTP/1.0"], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("play", "status", "fault"), FAULTS.values(), ids=FAULTS.keys())
def test_fault_before_the_answer(
    road: Road, play: Callable[[Road], FakeTransport | None], status: int, fault: Fault, http: bytes
) -> None:
    """A model that fails before its answer is answered for: status, sentence, id; its fault, our code."""
    road.feed(request(body=b"abc", X_Request_Id="r1").replace(b"HTTP/1.1", http))
    model = play(road)
    (answer,) = read_answers(road.received())
    assert answer.status == status
    assert answer.is_whole
    assert b'"request_id":"r1"' in answer.body
    assert answer.fields[b"x-request-id"] == b"r1"
    assert b"x-modelproxy-variant" not in answer.fields
    assert named(road, "model") == {f"fault_{fault.label}": 1}
    assert named(road, "variant", "code_") == {f"code_{status}": 1}
    assert model is None or model.lost
    assert road.wanted == []
    assert not road.transport.aborted
    assert road.transport.lost == (http == b"HTTP/1.0")
    if http == b"HTTP/1.1":
        road.feed(request())
        road.answer(road.connect(), response(b"1"))
        assert statuses(road.received()) == [200]
    assert road.table.models["one"].pool.open == (http == b"HTTP/1.1")


def test_fault_while_the_client_is_sending(road: Road) -> None:
    """The rest of a body that nobody wants is read away, and the connection carries on."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    road.hang_up(road.connect())
    assert statuses(road.received()) == [502]
    road.feed(data[-5:] + request("/nowhere"))
    assert statuses(road.received()) == [404]


def test_overflow(road: Road) -> None:
    """Four connections and eight waiting are the limit: the thirteenth is told when to come again, at once."""
    clients = [road.add_client() for _ in range(13)]
    for client in clients[:4]:
        road.feed(request(body=b"abc"), to=client)
    models = [road.connect() for _ in range(4)]
    for client in clients[4:]:
        road.feed(request(body=b"abc"), to=client)
    (answer,) = read_answers(road.received(clients[-1]))
    assert (answer.status, answer.fields[b"retry-after"]) == (503, b"1")
    assert named(road, "model") == {"fault_overflow": 1}
    assert road.wanted == []
    for _ in range(3):
        for model in models:
            road.answer(model, response(b"1"))
    assert [statuses(road.received(client)) for client in clients[:-1]] == [[200]] * 12
    road.feed(request(), to=clients[-1])
    road.answer(models[-1], response(b"1"))
    assert statuses(road.received(clients[-1])) == [200]


def test_waiting_requests_share_the_failure(road: Road) -> None:
    """Each connection that cannot be made fails one request, and the next in line gets a try of its own."""
    clients = [road.add_client() for _ in range(6)]
    for client in clients:
        road.feed(request(), to=client)
    assert len(road.wanted) == 4
    for client in clients:
        road.refuse_connect()
        assert statuses(road.received(client)) == [502]
    assert road.wanted == []
    assert road.table.models["one"].pool.connecting == 0


CUT = {
    "length": (response(b"x" * 10)[:-5], b"content-length"),
    "chunked": (chunked(b"x" * 5, status="200 OK").removesuffix(b"0\r\n\r\n"), b"transfer-encoding"),
    "until close": (b"HTTP/1.1 200 OK\r\n\r\nxxxxx", b"transfer-encoding"),
}
ENDS = {
    "reset": (lambda road, model: road.hang_up(model, ConnectionResetError()), Fault.RESET),
    "idle": (lambda road, model: road.wait(60.1), Fault.IDLE_TIMEOUT),
}


@pytest.mark.parametrize("http", [b"HTTP/1.1", b"HTTP/1.0"], ids=["1.1", "1.0"])
@pytest.mark.parametrize(("end", "fault"), ENDS.values(), ids=ENDS.keys())
@pytest.mark.parametrize(("data", "framing"), CUT.values(), ids=CUT.keys())
def test_fault_in_the_answer(
    road: Road,
    data: bytes,
    framing: bytes,
    end: Callable[[Road, FakeTransport], None],
    fault: Fault,
    http: bytes,
) -> None:
    """An answer that breaks off ends so that the client can tell: too short, without a last chunk, or by a reset."""
    road.feed(request().replace(b"HTTP/1.1", http))
    model = road.connect()
    road.answer(model, data)
    end(road, model)
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.body, answer.is_whole) == (200, b"xxxxx", False)
    assert (framing in answer.fields) == (http == b"HTTP/1.1" or framing == b"content-length")
    assert road.transport.lost
    assert road.transport.aborted == (http == b"HTTP/1.0")
    assert model.lost
    assert named(road, "model") == {f"fault_{fault.label}": 1}
    assert named(road, "variant", "code_") == {"code_200": 1}


def test_garbage_in_the_answer(road: Road) -> None:
    """Chunks that are none end the answer where they begin."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"abc", status="200 OK").removesuffix(b"0\r\n\r\n") + b"zz\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole) == (b"abc", False)
    assert model.aborted
    assert named(road, "model") == {"fault_protocol": 1}


def test_refused_in_the_middle_of_the_answer(road: Road) -> None:
    """A client that breaks its body while it is being answered is cut off, and the answer is not made to look whole."""
    road.feed(chunked(b"abc").removesuffix(b"0\r\n\r\n"))
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    road.feed(b"zz\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.status, answer.is_whole) == (200, False)
    assert model.aborted
    assert road.transport.eof_written
    assert named(road, "variant", "code_") == {"code_200": 1}


BEHIND = {
    "second response": response(b"1") + response(b"2"),
    "junk": response(b"1") + b"junk",
    "behind nothing": b"HTTP/1.1 204 No Content\r\n\r\njunk",
    "behind chunks": chunked(b"1", status="200 OK") + b"junk",
}


@pytest.mark.parametrize("data", BEHIND.values(), ids=BEHIND.keys())
def test_bytes_behind_the_answer(road: Road, data: bytes) -> None:
    """What comes behind an answer belongs to nobody: the client does not see it, and nobody gets that connection."""
    road.feed(request())
    model = road.connect()
    road.answer(model, data)
    (answer,) = read_answers(road.received())
    assert answer.status in (200, 204)
    assert answer.body in (b"1", b"")
    assert model.aborted
    road.feed(request())
    assert len(road.wanted) == 1


def test_bytes_between_two_requests(road: Road) -> None:
    """An idle connection that speaks is closed, and what it said is not the next answer."""
    road.feed(request())
    model = road.connect()
    road.answer(model, response(b"1"))
    road.answer(model, response(b"unasked"))
    assert model.aborted
    road.received()
    road.feed(request())
    road.answer(road.connect(), response(b"2"))
    assert [answer.body for answer in read_answers(road.received())] == [b"2"]


# Once more


def used(road: Road) -> FakeTransport:
    """Return a model's connection that has served a request."""
    road.feed(request(method="GET"))
    model = road.connect()
    road.answer(model, response(b"0"))
    road.received()
    model.take()
    return model


@pytest.mark.parametrize("error", [None, ConnectionResetError()], ids=["closed", "reset"])
@pytest.mark.parametrize("data", [request(body=b"abc"), chunked(b"ab", b"c")], ids=["length", "chunked"])
def test_stale_connection_is_replaced(road: Road, data: bytes, error: Exception | None) -> None:
    """A kept connection that the server closed costs the client nothing: the request is sent again on a new one."""
    model = used(road)
    road.feed(data)
    sent = model.take()
    road.hang_up(model, error)
    again = road.connect()
    assert again.take() == sent
    road.answer(again, response(b"1"))
    assert [answer.body for answer in read_answers(road.received())] == [b"1"]
    counts = named(road, "variant")
    assert (counts["retries"], counts["started"], counts["code_200"]) == (1, 2, 2)
    assert named(road, "model") == {}


def test_once_more_is_once(road: Road) -> None:
    """A second failure is the model's."""
    model = used(road)
    other = road.add_client()
    road.feed(request(body=b"abc"))
    road.feed(request(body=b"def"), to=other)
    second = road.connect()
    road.hang_up(model)
    road.answer(second, response(b"1"))
    assert second.take().endswith(b"abc")
    road.hang_up(second)
    assert statuses(road.received()) == [502]
    assert road.connect().take() == b""
    assert named(road, "model") == {"fault_reset": 1}
    assert named(road, "variant")["retries"] == 1


def test_no_retry_when_a_byte_was_seen(road: Road) -> None:
    """A server that had begun to answer has done the work: it is not asked to do it again."""
    model = used(road)
    road.feed(request(body=b"abc"))
    road.answer(model, b"H")
    road.hang_up(model)
    assert statuses(road.received()) == [502]
    assert road.wanted == []


def test_no_retry_of_a_body_under_way(road: Road) -> None:
    """What is not at hand as a whole cannot be sent again."""
    model = used(road)
    road.feed(request(body=b"abc")[:-1])
    road.hang_up(model)
    assert statuses(road.received()) == [502]
    assert road.wanted == []


def test_no_retry_on_a_new_connection(road: Road) -> None:
    """A connection that has never worked is not stale."""
    road.feed(request(body=b"abc"))
    road.hang_up(road.connect())
    assert statuses(road.received()) == [502]


def test_client_leaves_while_its_retry_waits(road: Road) -> None:
    """A retry that nobody waits for any more is not sent."""
    model = used(road)
    road.feed(request(body=b"abc"))
    road.hang_up(model)
    road.leave()
    assert road.connect().take() == b""
    assert named(road, "variant", "code_") == {"code_200": 1, "code_499": 1}


# Unusual answers


def test_answer_before_the_request_is_over(road: Road) -> None:
    """An early answer reaches the client; the rest of its body is read away, and both connections part cleanly."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    road.answer(model, response(b"enough", "429 Too Many Requests"))
    assert statuses(road.received()) == [429]
    assert model.aborted
    road.feed(data[-5:] + request())
    road.answer(road.connect(), response(b"1"))
    assert statuses(road.received()) == [200]
    assert named(road, "variant", "code_") == {"code_200": 1, "code_429": 1}


def test_answer_that_streams_while_the_request_does(road: Road) -> None:
    """Both bodies may be under way at once, and an upload keeps its answer from counting as idle."""
    data = request(body=b"0123456789")
    road.feed(data[:-5])
    model = road.connect()
    road.answer(model, chunked(b"ab", status="200 OK").removesuffix(b"0\r\n\r\n"))
    for i in range(-5, -1):
        road.wait(25)
        road.feed(data[i : i + 1])
    road.wait(25)
    road.feed(data[-1:])
    road.answer(model, b"1\r\nc\r\n0\r\n\r\n")
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole) == (b"abc", True)
    assert not model.closed


def test_interim_answers_pass(road: Road) -> None:
    """1xx answers pass with their fields and are not counted."""
    road.feed(request())
    model = road.connect()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    road.answer(model, hints + hints, response(b"1"))
    received = road.received()
    assert received.startswith(hints + hints + b"HTTP/1.1 200 OK\r\n")
    assert named(road, "variant", "code_") == {"code_200": 1}
    assert not model.closed


def test_interim_answers_are_not_for_http10(road: Road) -> None:
    """An HTTP/1.0 client does not know 1xx."""
    road.feed(request().replace(b"HTTP/1.1", b"HTTP/1.0"))
    road.answer(road.connect(), b"HTTP/1.1 103 Early Hints\r\n\r\n", response(b"1"))
    assert statuses(road.received()) == [200]


NO_BODY = {
    "204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "304": b"HTTP/1.1 304 Not Modified\r\nETag: x\r\n\r\n",
    "304 with a length": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("data", NO_BODY.values(), ids=NO_BODY.keys())
def test_answers_without_a_body(road: Road, data: bytes) -> None:
    """204 and 304 end with their head, whatever they say, and both connections carry on."""
    for _ in range(2):
        road.feed(request(method="GET"))
        model = road.connect() if road.wanted else road.upstreams[0]
        road.answer(model, data)
        received = road.received()
        assert received.startswith(data[:20])
        assert received.endswith(b"\r\n\r\n")
        assert b"transfer-encoding" not in received
    assert not road.transport.closed
    assert len(road.upstreams) == 1


@feeds
def test_chunked_answer(road: Road, feed: Feed) -> None:
    """Chunks arrive as chunks; trailer fields end here."""
    road.feed(request())
    model = road.connect()
    data = chunked(b"ab", b"c", status="200 OK", trailer="X-Sum: 1\r\n")
    road.answer(model, *(feed(data) if feed is not FEEDS["with trailing bytes"] else [data]))
    received = road.received()
    (answer,) = read_answers(received)
    assert (answer.body, answer.is_whole) == (b"abc", True)
    assert b"X-Sum" not in received
    assert not model.closed


def test_answer_until_close(road: Road) -> None:
    """A body that ends with the model's connection is sent in chunks, and the client's connection stays."""
    road.feed(request())
    model = road.connect()
    road.answer(model, b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nab", b"c")
    road.hang_up(model)
    (answer,) = read_answers(road.received())
    assert (answer.body, answer.is_whole, answer.fields[b"transfer-encoding"]) == (b"abc", True, b"chunked")
    assert not road.transport.closed
    assert named(road, "model") == {}


def test_endless_trailer(road: Road) -> None:
    """Lines behind the last chunk are bounded like a head."""
    road.feed(request())
    model = road.connect()
    road.answer(model, chunked(b"abc", status="200 OK").removesuffix(b"\r\n") + b"X: ")
    for _ in range(MAX_RESPONSE_HEAD_BYTES // 50_000 + 1):
        road.answer(model, b"x" * 50_000)
    assert model.aborted
    assert named(road, "model") == {"fault_protocol": 1}


def test_trailer_of_a_request(road: Road) -> None:
    """Trailer fields of a request end here too."""
    road.feed(chunked(b"abc", trailer="X-Sum: 1\r\n"))
    sent = road.connect().take()
    assert sent.endswith(b"\r\n\r\n3\r\nabc\r\n0\r\n\r\n")
    assert b"X-Sum" not in sent


def test_bug_while_parsing_a_response_is_reported(road: Road, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of ours goes to the loop's exception handler, and the client is answered."""
    monkeypatch.setattr("proxy.dataplane.upstream.response_framing", lambda *a: 1 / 0)
    road.feed(request())
    road.answer(road.connect(), chunked(b"a", status="200 OK"))
    assert statuses(road.received()) == [502]
    assert [type(error["exception"]) for error in road.loop.errors] == [ZeroDivisionError]


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
    assert part.span_id == int(span_id, 16)
    assert part.flags == Flag.TRACED
    assert part.traceparent == PARENT.encode()


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

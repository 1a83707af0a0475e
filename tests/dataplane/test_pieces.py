"""Answers in pieces: what is passed on without the parser comes out as if the parser had read it."""

from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proxy.dataplane import upstream as upstream_module
from proxy.dataplane.outbox import LARGE_BYTES
from proxy.dataplane.upstream import UNPARSED_BYTES, UpstreamConnection
from proxy.exchange import Primary
from proxy.model import Fault
from tests.conformance.reading import MessageReader
from tests.dataplane.road import CONFIG, Road, chunked, named, request, response
from tests.dataplane.stage import SECOND, Stage

COPIED = f"limits: {{copy: 1KiB}}\n{CONFIG}    log: {{percent: 100}}\n"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
STREAM = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def spell(size: int, case: str, zeros: int, extension: bytes) -> bytes:
    """Return the line that begins a chunk."""
    return b"0" * zeros + format(size, case).encode() + extension + b"\r\n"


sizes = st.sampled_from([1, 2, 9, 10, 15, 16, 17, 26, 170, 255, 256, 257, 700, 1023, 1024, 1025, 3000])
plain = st.builds(
    lambda size, case, fill: spell(size, case, 0, b"") + (fill * size)[:size] + b"\r\n",
    sizes,
    st.sampled_from("xX"),
    st.sampled_from([b"a", b"\r\n", b"1\r\na\r\n", b"0\r\n\r\n", b"\xff\n"]),
)
odd = st.builds(
    lambda size, zeros, extension: spell(size, "x", zeros, extension) + b"b" * size + b"\r\n",
    sizes,
    st.sampled_from([0, 1, 9]),
    st.sampled_from([b"", b";", b";a=b", b';a="\t,"', b" ", b"\t"]),
)
BROKEN = (
    b"zz\r\n",
    b"\r\n",
    b"\n",
    b"-1\r\na\r\n",
    b"+1\r\na\r\n",
    b"0x1\r\na\r\n",
    b"1_0\r\n" + b"a" * 16 + b"\r\n",
    b" 1\r\na\r\n",
    b"1 \r\na\r\n",
    b"1\t\r\na\r\n",
    b"1;\r\na\r\n",
    b"2\r\na\n\r",
    b"2\r\nab\rx",
    b"2\r\nabx\n",
    b"2\r\nab\r\n2\r\nabx\n",
    b"1\na\n",
    b"2\r\nabc\r\n",
    b"3\r\nab\r\n",
    b"1a\r\n" + b"a" * 26 + b"\n\r",
    b"1a\r\n" + b"a" * 26 + b"\r\r",
    b"1a\r\n" + b"a" * 27 + b"\n",
    b"1\r\na\r\n0",
    b"fffffffffffffffff\r\na",
)
ends = st.sampled_from(
    [
        b"",
        LAST,
        LAST,
        b"0\r\nX-Sum: 1\r\n\r\n",
        b"000;a\r\n\r\n",
        LAST + b"\r\n",
        LAST + b"junk",
        LAST + response(b"2", X_Sum="1"),
        LAST + chunked(b"a", status="200 OK"),
        LAST + b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello",
    ]
)


class Said(NamedTuple):
    """What a model says: each token in a read of its own, in one with what came before, or cut."""

    tokens: list[bytes]
    ways: list[str]
    cuts: list[int]
    pauses: list[float]
    """Seconds before each read."""

    def reads(self) -> list[bytes]:
        """Return it as it arrives."""
        reads: list[bytes] = []
        for token, way, cut in zip(self.tokens, self.ways, self.cuts, strict=True):
            at = cut % (len(token) + 1)
            if way == "apart" or not reads:
                reads.append(token)
            elif way == "joined":
                reads[-1] += token
            elif way == "cut":
                reads += [token[:at], token[at:]]
            else:
                reads[-1] += token[:at]
                reads.append(token[at:])
        return [read for read in reads if read]


@st.composite
def said(
    draw: st.DrawFn, body: st.SearchStrategy[bytes], begin: bytes, end: st.SearchStrategy[bytes]
) -> Said:
    """Return an answer in tokens."""
    tokens = [begin, *draw(st.lists(body, min_size=1, max_size=8)), draw(end)]
    size = len(tokens)
    way = st.sampled_from(["apart", "apart", "apart", "joined", "cut", "joined and cut"])
    cut = st.integers(0, 6) | st.integers(0, 4000)
    pause = st.sampled_from([0, 0.001, 0.03, 20, 59, 61])
    return Said(
        tokens,
        draw(st.lists(way, min_size=size, max_size=size)),
        draw(st.lists(cut, min_size=size, max_size=size)),
        draw(st.lists(pause, min_size=2 * size, max_size=2 * size)),
    )


def only_parser(patch: pytest.MonkeyPatch) -> None:
    """Let the parser see everything."""
    patch.setattr(UpstreamConnection, "on_chunk_complete", lambda _self: None)
    patch.setattr(UpstreamConnection, "_begin_body", lambda _self: None)


def outcome(
    reads: list[bytes], pauses: list[float], asked: bytes, config: str, *, shown: bool
) -> tuple[Any, ...]:
    """Return all that can be seen of an answer in these reads: by the client, the model, the counters, the observer."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upstream_module, "UNPARSED_BYTES", 8)
        if shown:
            only_parser(patch)
        road = Road(patch, config)
        road.feed(asked)
        model = road.connect()
        after: list[Any] = []
        for read, pause in zip(reads, pauses[: len(reads)], strict=True):
            road.wait(pause)
            road.answer(model, read)
            after.append((road.loop.clock_ns, model.closed, model.aborted, road.transport.closed))
        road.wait(30)
        after.append((model.closed, model.aborted))
        if not model.lost:
            road.hang_up(model)
        reader = MessageReader((asked.partition(b" ")[0],))
        reader.feed(road.received())
        reader.end()
        assert road.worker.bugs == []
        assert road.loop.errors == []
        answers = [(m.status, m.fields, m.body, m.trailers, m.is_whole) for m in reader.messages]
        parts = [part for part in road.worker.shipper.parts() if isinstance(part, Primary)]
        shipped = [(p.response_body, p.flags, p.status, p.details) for p in parts]
        return answers, reader.error, after, road.counts(), shipped, road.transport.was_reset


ASKED = {
    "1.1": request(),
    "1.0": request().replace(b"HTTP/1.1", b"HTTP/1.0"),
    "head": request(method="HEAD"),
}


def check(answer: Said, asked: bytes, config: str) -> None:
    """Both ways of reading the answer have the same outcome."""
    reads = answer.reads()
    shown = outcome(reads, answer.pauses, asked, config, shown=True)
    assert outcome(reads, answer.pauses, asked, config, shown=False) == shown


@pytest.mark.slow
@given(
    answer=said(plain | plain | odd, STREAM, ends | st.sampled_from(BROKEN)),
    asked=st.sampled_from(list(ASKED.values())),
    config=st.sampled_from([CONFIG, COPIED]),
)
@settings(max_examples=200)
def test_law_of_chunks(answer: Said, asked: bytes, config: str) -> None:
    """Chunks that are passed on as they are read as if they had been parsed: bytes, faults, times and counts."""
    check(answer, asked, config)


SECRETS = {
    **{repr(broken)[2:30]: [broken, LAST] for broken in BROKEN},
    "a chunk in a chunk": [b"6;a\r\n", b"1\r\nz\r\n", b"\r\n" + LAST],
    "a size without its zero": [b"1\r\nb\r\n0", b"1\r\nc\r\n", LAST],
    "a size without its first digit": [
        b"1\r\nb\r\n1",
        b"a\r\n" + b"c" * 10 + b"\r\n9\r\n" + b"d" * 9 + b"\r\n",
        b"\r\n" + LAST,
    ],
    "a chunk without its first byte": [b"1\r\nb\r\n7\r\n1", b"1\r\nz\r\n", b"\r\n" + LAST],
    "lines without a body": [b"1;a\r\n", b"b", b"\r\n", b"1\r\nc\r\n", LAST],
}


@pytest.mark.parametrize("config", [CONFIG, COPIED], ids=["plain", "copied"])
@pytest.mark.parametrize("reads", SECRETS.values(), ids=SECRETS.keys())
def test_what_is_no_plain_chunk_is_the_parsers(reads: list[bytes], config: str) -> None:
    """What only looks like chunks, or is wrong, has the outcome that the parser gives it, in the midst of a stream."""
    reads = [STREAM, b"1\r\na\r\n", b"2\r\nbc\r\n", *reads]
    pauses = [0.001] * len(reads)
    shown = outcome(reads, pauses, request(), config, shown=True)
    assert outcome(reads, pauses, request(), config, shown=False) == shown


@pytest.mark.slow
@given(
    answer=said(
        st.sampled_from([b"a", b"bc" * 50, b"\r\n", LAST]),
        HEAD + b"Content-Length: 120\r\n\r\n",
        st.sampled_from(
            [b"", b"x" * 120, b"y" * 120 + response(b"2"), b"\r\n" * 70, b"HTTP/1.1 101 A\r\n" * 9]
        ),
    ),
    asked=st.sampled_from(list(ASKED.values())),
    config=st.sampled_from([CONFIG, COPIED]),
)
@settings(max_examples=200)
def test_law_of_known_length(answer: Said, asked: bytes, config: str) -> None:
    """A body of known length that the parser does not see ends where it would have, and so does what follows it."""
    check(answer, asked, config)


@pytest.mark.slow
@given(
    answer=said(st.sampled_from([b"a", b"bc" * 50, b"\r\n", LAST]), HEAD + b"\r\n", st.just(b"z")),
    asked=st.sampled_from(list(ASKED.values())),
    config=st.sampled_from([CONFIG, COPIED]),
)
@settings(max_examples=100)
def test_law_of_bodies_that_end_with_the_connection(answer: Said, asked: bytes, config: str) -> None:
    """A body without an end of its own is the same whether the parser sees it or not."""
    check(answer, asked, config)


@pytest.fixture
def road(monkeypatch: pytest.MonkeyPatch) -> Road:
    return Road(monkeypatch)


def test_events_are_passed_on_as_they_are(road: Road) -> None:
    """Each event leaves in the very bytes it came in, also two in one read, whatever the case of their sizes."""
    road.feed(request())
    model = road.connect()
    road.answer(model, STREAM, b"3\r\none\r\n")
    road.received()
    events = (b"1A\r\n" + b"e" * 26 + b"\r\n", b"1a\r\n" + b"e" * 26 + b"\r\n", b"3\r\ntwo\r\n5\r\nthree\r\n")
    for event in events:
        road.answer(model, event)
        assert road.received() == event
    road.answer(model, b"5;a=b\r\nthree\r\n")
    assert road.received() == b"5\r\nthree\r\n"


def test_a_client_that_is_slow_stops_the_stream(road: Road) -> None:
    """Events leave at the end of the turn, a large one at once; nothing is read for a client that takes nothing."""
    road.feed(request())
    model = road.connect()
    road.answer(model, STREAM, b"3\r\none\r\n")
    road.received()
    model.protocol.data_received(b"3\r\ntwo\r\n")
    assert road.received() == b""
    large = b"%x\r\n" % LARGE_BYTES + bytes(LARGE_BYTES) + b"\r\n"
    model.protocol.data_received(large)
    assert road.received() == b"3\r\ntwo\r\n" + large
    assert model.is_reading()
    road.client.write_paused = True
    model.protocol.data_received(b"5\r\nthree\r\n")
    assert not model.is_reading()


def test_the_parser_does_not_see_plain_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """An event costs no parser: not one byte of it is fed, before and behind one that only the parser can read."""
    stage = Stage(monkeypatch)
    connection, _ = stage.connect()
    listener = stage.send(connection)
    passed: list[bytes] = []
    connection.data_received(STREAM)
    connection.takes_chunks = lambda data, _now_ns: passed.append(data)
    connection.data_received(b"1\r\na\r\n")
    fed: list[bytes] = []
    feed = connection.feed

    def watched(data: bytes) -> None:
        fed.append(data)
        feed(data)

    monkeypatch.setattr(connection, "feed", watched)
    for data in (b"1\r\nb\r\n", b"2;a\r\n", b"cd\r\n", b"1\r\ne\r\n", LAST):
        connection.data_received(data)
    assert (passed, fed) == ([b"1\r\nb\r\n", b"1\r\ne\r\n"], [b"2;a\r\n", b"cd\r\n", LAST])
    assert listener.events[-1] == "end"


def test_the_parser_does_not_see_large_bodies(monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes of a large body behind its first read is handed over as it is, and the connection serves again."""
    stage = Stage(monkeypatch)
    connection, transport = stage.connect()
    for _ in range(2):
        listener = stage.send(connection)
        body = bytes(UNPARSED_BYTES)
        connection.data_received(response(body + b"x")[: -len(body) - 1])
        connection.data_received(body)
        assert listener.events[-2] is body
        connection.data_received(b"x")
        assert listener.events[-2:] == [b"x", "end"]
    assert stage.pool.idle == [connection]
    assert not transport.is_closing()


def test_a_stream_that_falls_silent_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    """The idle timeout runs from the last event, passed on as it was or not, and rests while the client is slow."""
    stage = Stage(monkeypatch)
    connection, _ = stage.connect()
    listener = stage.send(connection)
    connection.data_received(STREAM)
    connection.takes_chunks = lambda _data, _now_ns: None
    for _ in range(10):
        stage.loop.advance(2.9)
        connection.data_received(b"1\r\na\r\n")
    connection.pause_reading()
    stage.loop.advance(60)
    assert len(stage.loop.handles) == 1
    connection.resume_reading()
    stage.loop.advance(2.9)
    assert (Fault.IDLE_TIMEOUT, False) not in listener.events
    began_ns = stage.loop.clock_ns
    stage.loop.advance(0.2)
    assert listener.events[-1] == (Fault.IDLE_TIMEOUT, False)
    assert stage.loop.clock_ns - began_ns < SECOND


def test_gaps_of_passed_events_are_counted(road: Road) -> None:
    """Each read of a stream but the first counts one gap, with its time."""
    road.feed(request())
    model = road.connect()
    road.answer(model, STREAM)
    for _ in range(4):
        road.wait(0.25)
        road.answer(model, b"1\r\na\r\n1\r\nb\r\n")
    counts = named(road, "variant", "gap")
    assert sum(number for name, number in counts.items() if name != "gap_sum_ns") == 4
    assert 1e9 <= counts["gap_sum_ns"] < 1.001e9


BEHIND = {
    "another answer": response(b"2", X_Sum="1"),
    "a switch of protocols": b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: a\r\n\r\nhello",
}


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND.keys())
@pytest.mark.parametrize(
    "answer",
    [response(b"ok", Connection="keep-alive"), chunked(b"ok", status="200 OK")],
    ids=["length", "chunked"],
)
def test_nothing_behind_an_answer_becomes_part_of_it(road: Road, answer: bytes, behind: bytes) -> None:
    """What a model sends behind its answer is no trailer and opens no tunnel; the connection is not used again."""
    road.feed(request())
    model = road.connect()
    road.answer(model, answer[:-1], answer[-1:] + behind)
    reader = MessageReader((b"POST",))
    reader.feed(road.received())
    assert [(m.status, m.body, m.trailers, m.is_whole) for m in reader.messages] == [(200, b"ok", [], True)]
    assert reader.buffer == b""
    assert model.closed
    assert road.worker.in_flight == 0

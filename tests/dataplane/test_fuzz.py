"""Any bytes in any chunking, from clients and models alike: no crash, no hang, no leak, no request lost or told twice.

What is hostile comes from the conformance table and llhttp's own messages, with bytes gone astray, or is plain noise.
"""

from itertools import pairwise
from typing import NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conformance.hostile import hostile_requests, hostile_responses, mutations
from tests.conformance.reading import MessageReader
from tests.dataplane.road import CONFIG, Road, request, response
from tests.dataplane.test_laws import check_variants
from tests.fakes import FakeTransport

pytestmark = pytest.mark.slow

EVERY_PATH = CONFIG.replace('"/v2/models/wine/*"', '"*"').replace(
    "header:x-user-id", '"json:/user", header:x-user-id'
)
LIMITED = "limits: {head: 2KiB, headers: 32, body: 4KiB, copy: 1KiB}\n" + EVERY_PATH
REQUESTS = tuple(raw for raw in hostile_requests() if len(raw) < 3000)
RESPONSES = hostile_responses()
OK = response(b"ok")

client_bytes = mutations(REQUESTS) | st.sampled_from(REQUESTS) | st.binary(max_size=40)
model_bytes = mutations(RESPONSES) | st.sampled_from(RESPONSES) | st.binary(max_size=40)


def pieces_of(data: bytes, cuts: list[int]) -> list[bytes]:
    """Return ``data`` in pieces that end at these places."""
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


class Turn(NamedTuple):
    """One side sends bytes in pieces, or hangs up."""

    is_client: bool
    data: bytes
    cuts: list[int]
    leaves: bool


def turns() -> st.SearchStrategy[list[Turn]]:
    """Return a strategy for a conversation."""
    cuts = st.lists(st.integers(0, 3000), max_size=6)
    leaves = st.sampled_from([False] * 9 + [True])
    client = st.builds(Turn, st.just(True), client_bytes, cuts, leaves)
    model = st.builds(Turn, st.just(False), model_bytes, cuts, leaves)
    return st.lists(client | model, min_size=1, max_size=8)


def connect_all(road: Road) -> None:
    """Grant every wish for a connection."""
    while road.wanted:
        road.connect()


def play(road: Road, turn: Turn) -> None:
    """Let a turn happen, if its side is still there."""
    sides = [t for t in (road.clients if turn.is_client else road.upstreams) if not t.closed]
    if not sides:
        return
    side = sides[0]
    for piece in pieces_of(turn.data, turn.cuts):
        if side.reading and not side.closed:
            side.protocol.data_received(piece)
            road.settle()
            connect_all(road)
    if turn.leaves and not side.lost:
        side.lose()
        road.settle()


def check_end(road: Road) -> None:
    """Everybody falls silent: every connection ends by its deadline, and the books balance."""
    for _ in range(4):
        connect_all(road)
        road.wait(4000)
    assert road.worker.bugs == []
    assert road.loop.errors == []
    assert [t for t in (*road.clients, *road.upstreams) if not t.lost] == []
    assert road.worker.connected == 0
    assert road.table.undecided == 0
    check_variants(road.table)
    for model in road.table.models.values():
        pool = model.pool
        assert (pool.open, pool.connecting, len(pool.waiting), len(pool.idle)) == (0, 0, 0, 0)


@given(script=turns())
@settings(max_examples=200)
def test_any_bytes(script: list[Turn]) -> None:
    """Whatever both sides send, in whatever pieces, everything ends by itself and every request has one end."""
    with pytest.MonkeyPatch.context() as patch:
        road = Road(patch, LIMITED)
        for turn in script:
            play(road, turn)
        reader = MessageReader((b"HEAD",))  # no bodies: what follows a head must not be asked of noise
        head, _, _ = road.received().partition(b"\r\n\r\n")
        reader.feed(head + b"\r\n\r\n" if head else b"")
        assert reader.error == ""
        check_end(road)


class Course(NamedTuple):
    """What came of a conversation in which every request is answered."""

    statuses: list[int]
    requests: list[tuple[bytes, bytes]]
    """First line and body of the whole ones."""
    is_closed: bool


def converse(data: bytes, cuts: list[int]) -> Course:
    """Let a client send ``data`` in pieces, and a model answer each request when it is whole."""
    with pytest.MonkeyPatch.context() as patch:
        road = Road(patch, LIMITED)
        readers: dict[FakeTransport, MessageReader] = {}
        for piece in pieces_of(data, cuts):
            if not road.transport.closed:
                road.feed(piece)
            answer_all(road, readers)
        found = [message for reader in readers.values() for message in reader.messages if message.is_whole]
        methods = (*(message.start.partition(b" ")[0] for message in found), b"GET")
        client = MessageReader(methods)
        client.feed(road.received())
        assert (client.error, client.buffer) == ("", b"")
        assert [reader.error for reader in readers.values() if reader.error] == []
        statuses = [message.status for message in client.messages if message.status >= 200]
        course = Course(
            statuses, [(m.start, m.body) for m in found], road.transport.closed or road.transport.eof_written
        )
        check_end(road)
        return course


def answer_all(road: Road, readers: dict[FakeTransport, MessageReader]) -> None:
    """Let the model answer until nobody asks it any more."""
    is_quiet = False
    while not is_quiet:
        is_quiet = True
        connect_all(road)
        for model in road.upstreams:
            reader = readers.setdefault(model, MessageReader())
            before = sum(message.is_whole for message in reader.messages)
            reader.feed(model.take())
            whole = sum(message.is_whole for message in reader.messages) - before
            if whole and not model.closed:
                is_quiet = False
                road.answer(model, *[OK] * whole)


@given(data=client_bytes, cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6))
@settings(max_examples=150)
def test_any_chunking(data: bytes, cuts: list[int]) -> None:
    """How bytes are cut makes no difference to what is forwarded and what is answered."""
    whole, cut = converse(data, []), converse(data, cuts)
    assert cut.requests == whole.requests
    assert cut.is_closed == whole.is_closed
    # Of a method that is cut the parser cannot tell whether it is none (400) or not known (501).
    assert [400 if s == 501 else s for s in cut.statuses] == [400 if s == 501 else s for s in whole.statuses]


def answers_to(data: bytes, cuts: list[int], method: str) -> list[tuple[object, ...]]:
    """Return what a client reads whose model answers with ``data`` in pieces and hangs up."""
    with pytest.MonkeyPatch.context() as patch:
        road = Road(patch, LIMITED)
        road.feed(request(method=method))
        model = road.connect()
        for piece in pieces_of(data, cuts):
            if not model.closed:
                road.answer(model, piece)
        if not model.lost:
            road.hang_up(model)
        reader = MessageReader((method.encode(),))
        reader.feed(road.received())
        reader.end()
        assert reader.error == ""
        check_end(road)
        return [(m.status, m.fields, m.body, m.trailers, m.is_whole) for m in reader.messages]


@given(
    data=model_bytes,
    cuts=st.lists(st.integers(0, 3000), min_size=1, max_size=6),
    method=st.sampled_from(["POST", "HEAD"]),
)
@settings(max_examples=150)
def test_any_chunking_of_an_answer(data: bytes, cuts: list[int], method: str) -> None:
    """How the bytes of an answer are cut makes no difference to what the client reads."""
    assert answers_to(data, cuts, method) == answers_to(data, [], method)

"""Batches of records to an HTTP server: each record is written, failed, or offered again, none is forgotten."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)

from proxy.sinks import otlp
from proxy.sinks.cloudevents import build_events, pack_batches
from proxy.sinks.delivering import HttpWriter, Parcel
from proxy.sinks.otlp import build_log_record
from proxy.sinks.posting import Message, Posted, Poster
from proxy.sinks.sink import Entry
from tests.sinks.lines import entry_of
from tests.sinks.receivers import http_receiver

BAD = b"?"
TAKEN, BUSY, REFUSED = Posted(""), Posted("status 503", True, 2.0), Posted("status 400")


class FakePoster(Poster):
    """Answers as it was told."""

    def __init__(self, answers: Sequence[Posted]) -> None:
        self.answers = answers
        self.is_closed = False

    def post(self, messages: Sequence[Message]) -> list[Posted]:
        return list(self.answers[: len(messages)])

    def close(self) -> None:
        self.is_closed = True


def two_each(built: Sequence[tuple[int, str]]) -> list[Parcel]:
    """Pack each record into two messages."""
    return [Parcel(Message({}, name.encode()), (position,)) for position, name in built for _ in range(2)]


def all_in_one(built: Sequence[tuple[int, str]]) -> list[Parcel]:
    """Pack all records into one message."""
    return [Parcel(Message({}, b""), [position for position, _ in built])] if built else []


def writer_of(
    answers: Sequence[Posted],
    pack: Callable[[Sequence[tuple[int, str]]], list[Parcel]],
    refused: Callable[[bytes], int] = lambda _: 0,
) -> HttpWriter[str]:
    return HttpWriter(FakePoster(answers), lambda record: str(record["request_id"]), pack, refused)


CASES: dict[str, tuple[list[Posted], str]] = {
    "both taken": ([TAKEN, TAKEN], "written"),
    "one busy": ([TAKEN, BUSY], "again"),
    "one refused": ([REFUSED, TAKEN], "failed"),
    "one busy, one refused": ([BUSY, REFUSED], "failed"),
}


@pytest.mark.parametrize(("answers", "fate"), CASES.values(), ids=CASES.keys())
def test_a_record_in_two_messages(answers: list[Posted], fate: str) -> None:
    """The worse of its two answers counts."""
    entry = entry_of()
    result = writer_of(answers, two_each).write([entry])
    found = {"written": result.written, "failed": result.failed}
    assert found.pop(fate, None) == ([entry.token] if fate != "again" else None)
    assert result.again == ([entry] if fate == "again" else [])
    assert not any(found.values())
    assert bool(result.problem) == (fate != "written")
    assert result.pause_s == (2.0 if BUSY in answers else 0.0)


def test_some_of_a_message_are_refused() -> None:
    """Records that a receiver refused of a message it took have failed, and the others are written."""
    entries = [entry_of(number) for number in range(5)]
    result = writer_of([TAKEN], all_in_one, lambda _: 2).write(entries)
    assert (len(result.written), len(result.failed), list(result.again)) == (3, 2, [])
    assert result.problem == "some records were refused"
    assert len(writer_of([TAKEN], all_in_one, lambda _: 99).write(entries).failed) == 5


def test_a_record_that_cannot_be_built_spoils_no_other() -> None:
    """What is not as expected has failed alone."""
    entries = [entry_of(1), Entry(b"{}\n", (0, 1, 2)), Entry(b"no JSON", (0, 1, 3)), entry_of(4)]
    result = writer_of([TAKEN], all_in_one).write(entries)
    assert [token[2] for token in result.written] == [1, 4]
    assert [token[2] for token in result.failed] == [2, 3]


def test_closing_closes_the_connections() -> None:
    """Nothing is held, so nothing is left at the end."""
    poster = FakePoster([])
    writer: HttpWriter[Mapping[str, Any]] = HttpWriter(poster, dict, lambda _: [])
    assert writer.tick() == writer.close() == ((), (), (), "", 0.0)
    assert poster.is_closed


class Narrow(Poster):
    """Takes messages of at most so many bytes, with nothing in them that is bad."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.posted: list[int] = []

    def post(self, messages: Sequence[Message]) -> list[Posted]:
        self.posted += [len(message.body) for message in messages]
        return [self.answer(message.body) for message in messages]

    def answer(self, body: bytes) -> Posted:
        if len(body) > self.most:
            return Posted("status 413", is_too_large=True)
        return Posted("status 400", is_bad=True) if BAD in body else TAKEN


def joined(built: Sequence[tuple[int, bytes]]) -> list[Parcel]:
    """Pack all records into one message, whose size is that of the records."""
    return [Parcel(Message({}, b"".join(body for _, body in built)), [position for position, _ in built])]


def narrow_writer(poster: Narrow) -> HttpWriter[bytes]:
    return HttpWriter(poster, lambda record: record["request_id"].encode(), joined)


def entries_of(sizes: Sequence[int], bad: Collection[int] = ()) -> list[Entry]:
    """Return records that are so large in a message; those at ``bad`` have something bad in them."""
    letters = (BAD.decode() if number in bad else "x" for number in range(len(sizes)))
    return [
        Entry(orjson.dumps({"request_id": letter * size}), (0, 0, number))
        for number, (letter, size) in enumerate(zip(letters, sizes, strict=True))
    ]


def test_a_message_that_is_too_large_is_sent_in_halves() -> None:
    """The one record that is too large fails, every other is written, in few messages."""
    poster = Narrow(40)
    writer = narrow_writer(poster)
    entries = entries_of([10] * 10 + [41] + [10] * 5)
    result = writer.write(entries)
    assert [token[2] for token in result.failed] == [10]
    assert [token[2] for token in result.written] == [*range(10), *range(11, 16)]
    assert result.problem == "status 413"
    assert len(poster.posted) < 2 * len(entries)
    # What was learnt: nothing is refused any more, and messages are no smaller than need be.
    poster.posted.clear()
    assert writer.write(entries_of([10] * 16)).problem == ""
    assert poster.posted == [40] * 4


def test_a_receiver_that_takes_nothing_teaches_nothing() -> None:
    """Where even single records are refused all fail; once it takes them again, messages are as large as before."""
    poster = Narrow(0)
    writer = narrow_writer(poster)
    assert len(writer.write(entries_of([10] * 8)).failed) == 8
    assert poster.posted == [80] + [40] * 2 + [20] * 4 + [10] * 8
    poster.most = 1000
    poster.posted.clear()
    assert len(writer.write(entries_of([10] * 8)).written) == 8
    assert poster.posted == [80]


def test_what_is_bad_fails_alone() -> None:
    """The bad records fail, those beside them are written, and nothing is learnt of how large messages may be."""
    poster = Narrow(10_000)
    writer = narrow_writer(poster)
    result = writer.write(entries_of([10] * 1000, bad={0, 517}))
    assert [token[2] for token in result.failed] == [0, 517]
    assert len(result.written) == 998
    assert (result.problem, list(result.again)) == ("status 400", [])
    assert len(poster.posted) <= 65
    poster.posted.clear()
    assert len(writer.write(entries_of([10] * 1000)).written) == 1000
    assert poster.posted == [10_000]


def test_who_finds_everything_bad_is_not_flooded() -> None:
    """A receiver that takes nothing gets 64 messages more; a single record that is bad is not sent again at all."""
    poster = Narrow(10_000)
    writer = narrow_writer(poster)
    assert len(writer.write(entries_of([10] * 1000, bad=range(1000))).failed) == 1000
    assert len(poster.posted) == 65
    poster.posted.clear()
    assert len(writer.write(entries_of([10], bad=[0])).failed) == 1
    assert poster.posted == [10]


RECEIVERS: dict[
    str, tuple[Callable[[Any], Any], Callable[[Any], Sequence[Parcel]], Callable[[bytes], int]]
] = {
    "CloudEvents": (
        lambda record: build_events(record, "/here", 0),
        pack_batches,
        lambda body: len(orjson.loads(body)) // 2,
    ),
    "OTLP": (
        lambda record: build_log_record(record, 0),
        partial(otlp.pack, service_name="s"),
        lambda body: len(
            ExportLogsServiceRequest.FromString(body).resource_logs[0].scope_logs[0].log_records
        ),
    ),
}


@pytest.mark.parametrize("name", RECEIVERS)
async def test_over_http(name: str) -> None:
    """A receiver that refuses 16 records at once, and 8, gets them four at a time: whole messages of its protocol."""
    build, pack, count = RECEIVERS[name]
    async with http_receiver() as receiver:
        receiver.statuses = [413, 413, 413]
        writer = HttpWriter(Poster(receiver.url, {}, 5.0), build, pack)
        result = await asyncio.to_thread(writer.write, [entry_of(number) for number in range(16)])
        await asyncio.to_thread(writer.close)
        assert len(result.written) == 16
        assert [count(body) for _, _, body in receiver.got] == [4] * 4


@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("name", RECEIVERS)
async def test_one_bad_record_over_http(name: str, status: int) -> None:
    """A receiver that finds fault with one record of 16 gets the other 15."""
    build, pack, count = RECEIVERS[name]
    async with http_receiver() as receiver:
        receiver.verdict = lambda body: status if b"req-11" in body else 200
        writer = HttpWriter(Poster(receiver.url, {}, 5.0), build, pack)
        result = await asyncio.to_thread(writer.write, [entry_of(number) for number in range(16)])
        await asyncio.to_thread(writer.close)
        assert [token[2] for token in result.failed] == [11]
        assert len(result.written) == 15
        assert sorted(count(body) for _, _, body in receiver.got) == [1, 2, 4, 8]
        assert receiver.attempts == 9


@pytest.mark.parametrize("status", [301, 401, 403, 404, 405, 415])
async def test_a_refusal_of_the_sender_is_not_searched(status: int) -> None:
    """What has nothing to do with the records would be the same of fewer."""
    build, pack, _ = RECEIVERS["OTLP"]
    async with http_receiver() as receiver:
        receiver.verdict = lambda _: status
        writer = HttpWriter(Poster(receiver.url, {}, 5.0), build, pack)
        result = await asyncio.to_thread(writer.write, [entry_of(number) for number in range(16)])
        await asyncio.to_thread(writer.close)
        assert (len(result.failed), receiver.attempts) == (16, 1)


PARTIAL = {"some": (2, 2), "none": (0, 0), "more than there are": (99, 5), "nonsense": (-3, 0)}


@pytest.mark.parametrize(("rejected", "failed"), PARTIAL.values(), ids=PARTIAL.keys())
async def test_what_a_collector_rejects_of_what_it_took(rejected: int, failed: int) -> None:
    """``partialSuccess.rejectedLogRecords`` have failed; they are not sent again (OTLP 1.x, Partial Success)."""
    build, pack, _ = RECEIVERS["OTLP"]
    async with http_receiver() as receiver:
        partial_success = ExportLogsPartialSuccess(rejected_log_records=rejected)
        receiver.answer = ExportLogsServiceResponse(partial_success=partial_success).SerializeToString()
        writer = HttpWriter(Poster(receiver.url, {}, 5.0), build, pack, otlp.refused)
        result = await asyncio.to_thread(writer.write, [entry_of(number) for number in range(5)])
        await asyncio.to_thread(writer.close)
        assert (len(result.failed), len(result.written)) == (failed, 5 - failed)
        assert receiver.attempts == 1


@given(
    st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=20), max_size=5),
    st.integers(0, 60),
    st.sets(st.integers(0, 19)),
)
def test_only_what_is_bad_or_too_large_by_itself_fails(
    batches: list[list[int]], most: int, bad: set[int]
) -> None:
    """Batch after batch: at most two messages for each record, and none fails for another's size or fault."""
    poster = Narrow(most)
    writer = narrow_writer(poster)
    for sizes in batches:
        poster.posted.clear()
        result = writer.write(entries_of(sizes, bad))
        wrong = [number for number, size in enumerate(sizes) if size > most or number in bad]
        assert [token[2] for token in result.failed] == wrong
        assert sorted(token[2] for token in (*result.written, *result.failed)) == list(range(len(sizes)))
        assert len(poster.posted) < 2 * len(sizes)


@given(st.lists(st.sampled_from([TAKEN, BUSY, REFUSED]), max_size=40), st.booleans())
def test_each_record_has_one_fate(answers: list[Posted], is_one: bool) -> None:
    """Whatever the receiver says, every record is in exactly one of written, failed and again."""
    entries = [entry_of(number) for number in range(len(answers) // 2)]
    if is_one and not answers:
        return
    result = writer_of(answers, all_in_one if is_one else two_each).write(entries)
    tokens = [*result.written, *result.failed, *(entry.token for entry in result.again)]
    assert sorted(tokens) == [entry.token for entry in entries]
    positions = [entries.index(entry) for entry in result.again]
    assert positions == sorted(positions)

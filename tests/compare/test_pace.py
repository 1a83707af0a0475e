"""How fast a model wrote: from when its stream came and what it says."""

from array import array
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.pace import Pace, measure_pace, read_arrivals

EVENTS = b"text/event-stream; charset=utf-8"
LIMIT = 4096


def event(**delta: Any) -> bytes:
    """Return an event of a chat."""
    return b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n"


ROLE, END = event(role="assistant", content=""), b"data: [DONE]\n\n"
USAGE = b'data: {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}\n\n'


def reads(*pieces: tuple[int, bytes]) -> tuple[bytes, bytes]:
    """Return the arrivals and the body of pieces that came at these times, in nanoseconds."""
    blob, body = array("Q"), b""
    for at, piece in pieces:
        body += piece
        blob.extend((at, len(body)))
    return blob.tobytes(), body


def measure(*pieces: tuple[int, bytes], kind: bytes | None = EVENTS, limit: int = LIMIT) -> Pace | None:
    """Return the pace of such a stream."""
    blob, body = reads(*pieces)
    return measure_pace(blob, body, kind, limit=limit)


def test_an_event_a_read() -> None:
    """The piece with the role is no token; the end is none either; what lies between are gaps."""
    a = event(content="a")
    found = measure((10, ROLE), (50, a), (60, a), (90, a), (95, END))
    assert found == Pace(50, 90, 3, 3, 10, 30, 30, False)
    assert (found.per_token_ns, found.tokens_per_second) == (20, 5e7)


def test_the_models_own_count_of_tokens() -> None:
    """An event may hold several tokens: where the model says how many they were, that counts."""
    found = measure((10, event(content="a b c")), (90, event(content="d e f")), (91, USAGE), (92, END))
    assert found is not None
    assert (found.parts, found.tokens, found.per_token_ns) == (2, 9, 10)


def test_an_event_in_two_reads_is_there_with_the_second() -> None:
    """Half an event is nothing that a client could read."""
    a = event(content="a")
    found = measure((10, a[:9]), (20, a[9:-1]), (30, a[-1:] + a), (40, END))
    assert found is not None
    assert (found.first_token_ns, found.last_token_ns, found.gap_max_ns) == (30, 30, 0)
    assert found.per_token_ns is None
    assert found.tokens_per_second is None


def test_lines() -> None:
    """Ollama's lines are pieces like any other."""
    line = orjson.dumps({"response": "a", "done": False}) + b"\n"
    last = orjson.dumps({"response": "", "done": True, "eval_count": 2}) + b"\n"
    found = measure((5, line), (8, line), (9, last), kind=b"application/x-ndjson")
    assert found == Pace(5, 8, 2, 2, 3, 3, 3, False)


def test_one_part_has_no_gap() -> None:
    """Nothing is said of what was not there."""
    found = measure((5, event(content="a")), (6, END))
    assert found == Pace(5, 5, 1, 1, None, None, None, False)


def test_a_stream_that_was_cut_has_a_pace_so_far() -> None:
    """The time to the first token is known, whatever came after."""
    found = measure((5, event(content="a")), (9, event(content="b") + b"data: {"))
    assert found is not None
    assert (found.first_token_ns, found.last_token_ns) == (5, 9)


def test_more_reads_than_are_noted() -> None:
    """The last noted arrival is the stream's last: what lay between is in no gap, but in the time per token."""
    a = event(content="a")
    blob = array("Q", (10, len(a), 20, 2 * len(a), 100, 10 * len(a))).tobytes()
    found = measure_pace(blob, 10 * a, EVENTS, limit=3)
    assert found == Pace(10, 100, 10, 10, 10, 10, 10, True)
    assert found.per_token_ns == 10


def test_parts_that_were_copied_and_not_timed() -> None:
    """A part behind the last arrival has no time, and is not counted."""
    a = event(content="a")
    found = measure_pace(array("Q", (10, len(a))).tobytes(), a + a, EVENTS, limit=LIMIT)
    assert found is not None
    assert found.parts == 1


NO_STREAMS: dict[str, tuple[tuple[int, bytes], bytes | None]] = {
    "JSON": ((5, b"{}"), b"application/json"),
    "no type": ((5, event(content="a")), None),
    "rows": ((5, b"data: 1\n\n"), EVENTS),
    "no content": ((5, ROLE), EVENTS),
    "text": ((5, b"data: hello\n\n"), EVENTS),
}


@pytest.mark.parametrize("name", NO_STREAMS)
def test_what_is_no_generated_stream(name: str) -> None:
    """It has no pace."""
    piece, kind = NO_STREAMS[name]
    assert measure(piece, kind=kind) is None


def test_a_broken_blob_is_read_as_far_as_it_goes() -> None:
    """A pair that is not whole is none."""
    times, sizes = read_arrivals(array("Q", (1, 2, 3)).tobytes() + b"xyz")
    assert (list(times), list(sizes)) == ([1], [2])
    assert measure_pace(b"x", event(content="a"), EVENTS, limit=LIMIT) is None


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 40)), min_size=1, max_size=20), st.integers(1, 6))
def test_however_the_stream_is_cut_into_reads(cuts: list[tuple[int, int]], events: int) -> None:
    """Times lie between the first and the last read, gaps add up, and no part is lost."""
    body = b"".join(event(content=str(number)) for number in range(events))
    blob, at, now = array("Q"), 0, 0
    for wait, length in cuts:
        now, at = now + wait, min(len(body), at + length)
        blob.extend((now, at))
    blob.extend((now + 1, len(body)))
    found = measure_pace(blob.tobytes(), body, EVENTS, limit=LIMIT)
    assert found is not None
    assert found.parts == found.tokens == events
    assert blob[0] <= found.first_token_ns <= found.last_token_ns <= now + 1
    if events == 1:
        assert found.gap_max_ns is None
    else:
        assert found.gap_p50_ns is not None
        assert found.gap_p99_ns is not None
        assert found.gap_max_ns is not None
        assert 0 <= found.gap_p50_ns <= found.gap_p99_ns <= found.gap_max_ns
        assert found.gap_max_ns <= found.last_token_ns - found.first_token_ns


@given(st.binary(max_size=64), st.binary(max_size=80))
def test_any_bytes_have_a_pace_or_none(blob: bytes, body: bytes) -> None:
    """No exception, whatever came over the pipe."""
    measure_pace(blob, body, EVENTS, limit=LIMIT)
    measure_pace(blob, event(content="a") + body, EVENTS, limit=LIMIT)

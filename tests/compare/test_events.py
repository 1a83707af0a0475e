"""Event streams and lines are cut where the standard says, each piece with the place where it is known."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.events import Piece, read_events, read_lines

EVENTS: dict[str, tuple[bytes, list[tuple[bytes, int]]]] = {
    # The examples of WHATWG HTML, section 9.2.6.
    "the standard's stock quotes": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [(b"YHOO\n+2\n10", 30)]),
    "the standard's comments and ids": (
        b": test stream\n\ndata: first event\nid: 1\n\ndata:second event\nid\n\ndata:  third event\n\n",
        [(b"first event", 40), (b"second event", 62), (b" third event", 82)],
    ),
    "the standard's empty data, and an end without a blank line": (b"data\n\ndata\ndata\n\ndata:", [(b"\n", 17)]),
    "the standard's optional space": (b"data:test\n\ndata: test\n\n", [(b"test", 11), (b"test", 23)]),
    "CR": (b"data: a\r\rdata: b\r\r", [(b"a", 9), (b"b", 18)]),
    "CRLF: known at the CR": (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"a", 10), (b"b", 21)]),
    "all three": (b"data: a\r\ndata: b\ndata: c\r\r", [(b"a\nb\nc", 26)]),
    "a byte order mark": (b"\xef\xbb\xbfdata: a\n\n", [(b"a", 12)]),
    "a second byte order mark is a field's name": (b"\xef\xbb\xbf\xef\xbb\xbfdata: a\n\n", []),
    "other fields": (b"event: message\nretry: 3\nid: 4\ndata: a\nDATA: b\ndatum: c\n\n", [(b"a", 56)]),
    "a colon in the value": (b"data: a: b\n\n", [(b"a: b", 12)]),
    "a tab is no space": (b"data:\ta\n\n", [(b"\ta", 9)]),
    "an unfinished event": (b"data: a\n\ndata: b\n", [(b"a", 9)]),
    "an unfinished line": (b"data: a\n\ndata: b", [(b"a", 9)]),
    "nothing": (b"", []),
    "blank lines": (b"\n\r\n\r", []),
}  # fmt: skip


@pytest.mark.parametrize("name", EVENTS)
def test_events(name: str) -> None:
    """Data and place of each event."""
    body, expected = EVENTS[name]
    assert [(piece.data, piece.end) for piece in read_events(body)] == expected


LINES: dict[str, tuple[bytes, list[tuple[bytes, int]]]] = {
    "lines": (b"1\n2\n", [(b"1", 2), (b"2", 4)]),
    "no end": (b"1\n2", [(b"1", 2), (b"2", 3)]),
    "CRLF and blank lines": (b"1\r\n\r\n 2 \r\n", [(b"1", 3), (b"2", 10)]),
    "a byte order mark": (b"\xef\xbb\xbf1\n", [(b"1", 5)]),
    "nothing": (b"\n\n", []),
}


@pytest.mark.parametrize("name", LINES)
def test_lines(name: str) -> None:
    """Each line that holds something."""
    body, expected = LINES[name]
    assert [(piece.data, piece.end) for piece in read_lines(body)] == expected


texts = st.text(st.characters(blacklist_characters="\r\n", codec="utf-8"), max_size=8)
ends = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.lists(texts, min_size=1, max_size=3).filter(any), max_size=5), ends)
def test_what_is_written_is_read(events: list[list[str]], end: bytes) -> None:
    """Any texts come back, whatever ends their lines."""
    body = b"".join(b"".join(b"data: " + line.encode() + end for line in event) + end for event in events)
    assert [piece.data.decode() for piece in read_events(body)] == ["\n".join(event) for event in events]


@given(
    st.binary(max_size=20)
    | st.lists(st.sampled_from([b"data: a", b"data", b"id: b", b"\xef\xbb\xbf", b"\n", b"\r", b"\n\n"])).map(
        b"".join
    )
)
def test_an_event_is_known_from_its_end_on(body: bytes) -> None:
    """The body up to an event's end gives that event, and without its last byte does not: so its time can be told."""
    found: list[Piece] = list(read_events(body))
    for number, piece in enumerate(found):
        assert list(read_events(body[: piece.end])) == found[: number + 1]
        assert list(read_events(body[: piece.end - 1])) == found[:number]

"""Bodies that come piece by piece → their pieces, each with the place where it ended.

Two framings: server-sent events (WHATWG HTML, section 9.2.6, "Interpreting an event stream") and lines of JSON.
Where a piece ends in the body tells when it was there to be read: see ``pace``.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

__all__ = ["Piece", "read_events", "read_lines"]

_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_LINE: Final = re.compile(rb"([^\r\n]*)(\r\n|\n|\r|\Z)")
"""A line and its end. The end of the body is one too: without it, a last line would be looked at from each of its
bytes anew, which is quadratic."""


class Piece(NamedTuple):
    """One piece of a body."""

    data: bytes
    """An event's data, its lines joined by newlines; or a line without its end."""
    end: int
    """How many bytes of the body a reader must have to know the piece: the first that does not belong to it."""


def read_events(body: bytes) -> Iterator[Piece]:
    """Yield the events of an event stream that have data, whatever their type.

    Lines end in CR, LF or both; a byte order mark in front is skipped; comments, ``id`` and ``retry`` mean nothing
    here, and ``event`` neither: every service that sets it says the same in its data. An event without a blank line
    behind it is thrown away, as the section demands: no client sees it. So is one of no data.
    """
    at = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    data: list[bytes] = []
    for found in _LINE.finditer(body, at):
        line, end = found.groups()
        if not line:
            if data and end:
                joined = b"\n".join(data)
                data = []
                if joined:
                    yield Piece(joined, found.end(1) + 1)
        elif line.startswith(b"data"):
            name, _, value = line.partition(b":")
            if name == b"data":
                data.append(value.removeprefix(b" "))


def read_lines(body: bytes) -> Iterator[Piece]:
    """Yield the lines that are not blank; the last one needs no end."""
    at = len(_BYTE_ORDER_MARK) if body.startswith(_BYTE_ORDER_MARK) else 0
    while at < len(body):
        end = body.find(b"\n", at) + 1 or len(body)
        if line := body[at:end].strip():
            yield Piece(line, end)
        at = end

"""Plain messages: a whole request or response in one read, in the simplest grammar there is.

Theory of operation
    Nearly all inference traffic is small messages of a few fixed header lines. For those, a parser that calls back
    for each header costs more than everything else the proxy does. So a read that holds exactly one whole message is
    first tried against a *subset* of HTTP/1.1: known methods, origin-form target, fields of visible ASCII with at most
    one space after the colon, one ``host``, at most one ``content-length``, no transfer coding, no ``expect``, no
    ``upgrade``. What fits is what llhttp would have read, which ``tests/wire/test_plain.py`` checks against llhttp
    itself. What does not fit, for whatever reason, is not refused here: it goes to the parser, which is the law.

Implementation
    Lines and whole heads repeat, so both are memoised (bounded, least recently used first out). A miss costs one
    regular expression for each unknown line. What is memoised is kept, so callers must not pass heads longer than
    :data:`MAX_PLAIN_HEAD_BYTES`: thousands of the longest heads that the limits allow would be gigabytes.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from proxy.wire.head import MAX_REQUEST_ID_BYTES, RequestHead
from proxy.wire.request import SPECIAL, is_host, is_internal, is_loop
from proxy.wire.response import RESPONSE_SPECIAL

__all__ = [
    "MAX_PLAIN_HEAD_BYTES",
    "PlainResponse",
    "cut_request_id",
    "plain_request_head",
    "plain_response_head",
]

MAX_PLAIN_HEAD_BYTES = 2048
"""Longer heads go to the parser; those of inference requests have some hundred bytes. All that is memoised stays below
some 100 MiB for requests, and as much for responses, even when every head is new and of this size."""

_REQUEST_LINE = re.compile(rb"(GET|POST|PUT|PATCH|DELETE|OPTIONS) (/[!\x22$-~]*) HTTP/1\.1")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([2-5][0-9][0-9]) ([!-~](?:[ -~]*[!-~])?)?")
_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([!-~](?:[ -~]*[!-~])?)?")
_REQUEST_ID = re.compile(rb"\r\n[Xx]-[Rr]equest-[Ii][Dd]: ?([!-~]{1,%d})(?=\r\n|\Z)" % MAX_REQUEST_ID_BYTES)
_LENGTH = re.compile(rb"0|[1-9][0-9]{0,14}")

_CONNECTION = frozenset({b"connection", b"proxy-connection"})
"""llhttp reads both as one."""
_ENDED_HERE = frozenset({b"keep-alive", b"x-request-id"})
_ONCE = (b"host", b"content-length", b"connection", b"via")
_NEVER_PLAIN = frozenset({b"transfer-encoding", b"expect", b"upgrade", b"trailer", b"te", b"max-forwards"})


class _Field(NamedTuple):
    name: bytes
    value: bytes
    line: bytes
    """The line to forward, with its CRLF; empty when it ends here."""
    is_special: bool


def _read_field(line: bytes) -> tuple[bytes, bytes] | None:
    """Return lower-case name and value of a field that may be plain in either direction."""
    match = _FIELD.fullmatch(line)
    if match is None:
        return None
    name, value = match[1].lower(), match[2] or b""
    if name in _NEVER_PLAIN or (name == b"content-length" and not _LENGTH.fullmatch(value)):
        return None
    return name, value


@lru_cache(maxsize=8192)
def _request_field(line: bytes) -> _Field | None:
    read = _read_field(line)
    if read is None:
        return None
    name, value = read
    if (name == b"host" and not is_host(value)) or (name == b"via" and is_loop(value)):
        return None
    if name in _CONNECTION:
        return _Field(name, value, b"", False) if value.lower() == b"keep-alive" else None
    if name in _ENDED_HERE:
        return _Field(name, value, b"", False)
    return _Field(name, value, line + b"\r\n", name in SPECIAL or is_internal(name))


def cut_request_id(head: bytes) -> tuple[bytes, bytes]:
    """Return ``head`` without its ``x-request-id`` field, and the field's value; as it is and empty when there is none.

    The one field that differs in every request of a well-behaved client. Without it heads repeat, and
    :func:`plain_request_head` remembers them. A value that is not plain is left where it is.
    """
    # HOT: two searches in C when there is no such field; a field that is cut saves 6 µs (benchmarks/NOTES.md).
    # ``in`` would first take the needle for a number, and drop a TypeError: 2 % of a request's instructions.
    if head.find(b"equest-I") < 0 and head.find(b"equest-i") < 0:
        return head, b""
    match = _REQUEST_ID.search(head)
    return (head[: match.start()] + head[match.end() :], match[1]) if match else (head, b"")


@lru_cache(maxsize=4096)
def plain_request_head(head: bytes) -> RequestHead | None:
    """Return the parsed ``head`` (without the empty line at its end), or None when it is not plain."""
    first, *rest = head.split(b"\r\n")
    start = _REQUEST_LINE.fullmatch(first)
    if start is None:
        return None
    fields = []
    for line in rest:
        field = _request_field(line)
        if field is None:
            return None
        fields.append(field)
    names = [field.name for field in fields]
    if any(names.count(name) > 1 for name in _ONCE) or b"host" not in names:
        return None
    return RequestHead(
        start[1],
        start[2],
        names,
        [field.value for field in fields],
        [field.line for field in fields],
        is_special=any(field.is_special for field in fields),
        is_plain=True,
    )


class PlainResponse(NamedTuple):
    """A response head as it is forwarded."""

    status: int
    reason: bytes
    block: bytes
    """Header lines for the client."""
    length: int
    """Size of the body in bytes."""
    opening: bytes
    """Status line and ``block``."""


@lru_cache(maxsize=4096)
def _response_field(line: bytes) -> _Field | None:
    read = _read_field(line)
    if read is None:
        return None
    name, value = read
    if name in _CONNECTION and value.lower() != b"keep-alive":
        return None
    ends_here = name in RESPONSE_SPECIAL or is_internal(name)
    return _Field(name, value, b"" if ends_here else line + b"\r\n", False)


@lru_cache(maxsize=2048)
def plain_response_head(head: bytes) -> PlainResponse | None:
    """Return the parsed ``head`` (without the empty line at its end), or None when it is not plain.

    Only responses with a body of a known length are; 204 and 304 have none whatever they say (RFC 9112 §6.3).
    """
    first, *rest = head.split(b"\r\n")
    start = _STATUS_LINE.fullmatch(first)
    if start is None or start[1] in (b"204", b"304"):
        return None
    length, block = -1, []
    for line in rest:
        field = _response_field(line)
        if field is None:
            return None
        if field.name == b"content-length":
            if length >= 0:
                return None
            length = int(field.value)
        block.append(field.line)
    if length < 0:
        return None
    lines = b"".join(block)
    return PlainResponse(int(start[1]), start[2] or b"", lines, length, b"%b\r\n%b" % (first, lines))

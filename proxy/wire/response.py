"""From an upstream's head to the client's, and the replies that we give ourselves."""

import re
from collections.abc import Sequence
from email.utils import formatdate
from http import HTTPStatus

import orjson

from proxy.errors import BadFraming, BadHead
from proxy.wire.request import HOP_BY_HOP, MAX_LENGTH_DIGITS, Framing, first_value, is_internal, nominated

__all__ = [
    "CHUNK_LINES",
    "CONTINUE",
    "NO_CHUNK",
    "PLAIN_DIGITS",
    "RESPONSE_SPECIAL",
    "are_plain_chunks",
    "build_interim",
    "build_plain",
    "build_reply",
    "build_response_head",
    "check_status",
    "chunk",
    "date_line",
    "forwarded_block",
    "last_chunk",
    "response_framing",
    "without_chunks",
]

PLAIN_DIGITS = 7
"""A plain chunk's size has at most so many digits: 256 MiB are more than one read."""

CHUNK_LINES = {
    len(line) + size + 2: (len(line), (line, line.upper()))
    for size in range(1, 1024)
    for line in [b"%x\r\n" % size]
}
"""By the length of a whole, plain chunk: how long the line with its size is, and how it may be written."""
NO_CHUNK: tuple[int, tuple[bytes, ...]] = (0, ())
"""Of a length that no such chunk has, or one that is too long to be listed."""

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_LAST_CHUNK = b"0\r\n\r\n"
_ZERO = ord("0")
RESPONSE_SPECIAL = HOP_BY_HOP | {b"x-request-id"}
"""Fields of a response that end here, or that we write ourselves."""

_REASONS = {status.value: status.phrase.encode() for status in HTTPStatus}
_CONNECTION = {
    (True, True): b"",
    (True, False): b"connection: close\r\n",
    (False, True): b"connection: keep-alive\r\n",
    (False, False): b"connection: close\r\n",
}
"""By (client speaks HTTP/1.1, connection stays): RFC 9112 §9.3."""

_ALLOW = b"allow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\n"
"""What an answer to ``OPTIONS`` says, and 405 must (RFC 9110 §10.2.1)."""

_REASON = re.compile(rb"[\t -~\x80-\xff]*")


def check_status(status: int, reason: bytes) -> bytes:
    """Return the reason phrase for the client: the one received, or the usual one if that may not be sent.

    The parser lets control characters through that RFC 9112 §4 does not allow in a reason phrase.

    Raises:
        BadHead: ``status`` is below 100: neither an interim nor a final response (RFC 9110 §15).
    """
    if status < 100:
        raise BadHead(f"expected a status of 100 or more, got {status}")
    return reason if _REASON.fullmatch(reason) else _REASONS.get(status, b"")


def response_framing(status: int, names: Sequence[bytes], values: Sequence[bytes], head_only: bool) -> int:
    """Return how the response body is delimited (RFC 9112 §6.3).

    Args:
        status: final status, 200 and up.
        names: lower-case field names.
        values: their values.
        head_only: the request was HEAD.

    Raises:
        BadFraming: more than one length or transfer coding, a length of too many digits, or a coding other than
            ``chunked``. We ask for none by ``te``, so no other may be used (RFC 9112 §7.4); its name would end here and
            the client take the coded body for plain. ``identity``, of servers from before RFC 7230, is none.
    """
    if head_only or status in (204, 304):
        return Framing.NONE
    codings, lengths = names.count(b"transfer-encoding"), names.count(b"content-length")
    if codings + lengths > 1:
        raise BadFraming("expected one content-length or transfer-encoding field, got several")
    if codings:
        # Blanks may follow a value, but the parser takes a tab there for another coding.
        coding = first_value(names, values, b"transfer-encoding").rstrip(b" ").lower()
        if coding == b"identity":
            return Framing.UNTIL_CLOSE
        if coding != b"chunked":
            raise BadFraming("expected no transfer coding but chunked")
        return Framing.CHUNKED
    if lengths:
        if len(first_value(names, values, b"content-length")) > MAX_LENGTH_DIGITS:
            raise BadFraming(f"expected a content-length of not more than {MAX_LENGTH_DIGITS} digits")
        return Framing.LENGTH
    return Framing.UNTIL_CLOSE


def forwarded_block(
    status: int, names: Sequence[bytes], values: Sequence[bytes], lines: Sequence[bytes]
) -> bytes:
    """Return the header lines for the client: all but hop-by-hop, what ``Connection`` names, and ours.

    Interim responses and 204 must not have a ``content-length`` (RFC 9110 §8.6): a client might wait for that body.
    """
    dropped = RESPONSE_SPECIAL
    if b"connection" in names:
        dropped = dropped | nominated(names, values)
    if status < 200 or status == 204:
        dropped = dropped | {b"content-length"}
    return b"".join(
        [
            line
            for name, line in zip(names, lines, strict=True)
            if name not in dropped and not is_internal(name)
        ]
    )


def build_plain(opening: bytes, request_id: bytes, variant_line: bytes, body: bytes = b"") -> bytes:
    """Return :func:`build_response_head` for HTTP/1.1, a connection that stays and a known length, and ``body`` behind.

    Args:
        opening: status line and forwarded header lines.
        request_id: never empty.
        variant_line: see :func:`build_response_head`.
        body: what follows the head.
    """
    return b"".join((opening, b"x-request-id: ", request_id, b"\r\n", variant_line, b"\r\n", body))


def build_response_head(
    status: int,
    reason: bytes,
    block: bytes,
    request_id: bytes,
    variant_line: bytes,
    *,
    http11: bool,
    keep_alive: bool,
    chunked: bool,
) -> bytes:
    """Return a response head for the client.

    Args:
        status: status code.
        reason: reason phrase as received.
        block: forwarded header lines.
        request_id: goes into ``x-request-id``; empty: no such line.
        variant_line: the ``x-modelproxy-variant`` line with its CRLF, or empty.
        http11: the client speaks HTTP/1.1.
        keep_alive: the connection stays open afterwards.
        chunked: the body will be sent in chunks.
    """
    return b"HTTP/1.1 %d %b\r\n%b%b%b%b%b\r\n" % (
        status,
        reason,
        block,
        b"x-request-id: %b\r\n" % request_id if request_id else b"",
        variant_line,
        b"transfer-encoding: chunked\r\n" if chunked else b"",
        _CONNECTION[http11, keep_alive],
    )


def build_interim(status: int, reason: bytes, block: bytes) -> bytes:
    """Return a 1xx head (RFC 9110 §15.2) for the client."""
    return b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, block)


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk (RFC 9112 §7.1). Empty data would end the body: never pass it."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Sequence[bytes] | None = None) -> bytes:
    """Return the end of a chunked body: the last chunk and the lines of the trailer fields (RFC 9112 §7.1.2)."""
    return b"0\r\n%b\r\n" % b"".join(trailers) if trailers else _LAST_CHUNK


def are_plain_chunks(data: bytes) -> bool:
    """Tell whether ``data`` is nothing but whole, plain chunks, so that it may be passed on as it is.

    Plain is a chunk without extensions, whose size has no leading zero and no more than ``PLAIN_DIGITS``; the last
    chunk is none. To such a chunk everybody gives the same meaning.
    """
    at, end = 0, len(data)
    while at < end:
        line_end = data.find(b"\r\n", at, at + PLAIN_DIGITS + 2)
        digits = data[at:line_end]
        # int() also takes blanks, signs, underscores and 0x. What is left of them by isalnum() begins with a zero.
        if line_end <= at or data[at] == _ZERO or not digits.isalnum():
            return False
        try:
            size = int(digits, 16)
        except ValueError:
            return False
        at = line_end + size + 4
        if data[at - 2 : at] != b"\r\n":
            return False
    return at == end > 0


def without_chunks(data: bytes) -> bytes:
    """Return the body in ``data``, which :func:`are_plain_chunks`."""
    end, lines = CHUNK_LINES.get(len(data), NO_CHUNK)
    if data[:end] in lines:
        return data[end:-2]
    pieces = []
    at = 0
    while at < len(data):
        start = data.index(b"\r\n", at) + 2
        at = start + int(data[at : start - 2], 16) + 2
        pieces.append(data[start : at - 2])
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def date_line(wall_ns: int) -> bytes:
    """Return the ``date`` line of a reply at ``wall_ns``, nanoseconds since 1970 (RFC 9110 §5.6.7, §6.6.1)."""
    return b"date: %b\r\n" % formatdate(wall_ns // 1_000_000_000, usegmt=True).encode()


def build_reply(
    status: int,
    sentence: str,
    request_id: bytes,
    *,
    http11: bool = True,
    keep_alive: bool = False,
    head_only: bool = False,
    retry_after_s: int | None = None,
    date: bytes = b"",
) -> bytes:
    """Return a whole response of our own: JSON with ``error``, ``status`` and ``request_id``.

    Args:
        status: status code.
        sentence: what went wrong and what to do, for a person.
        request_id: goes into ``x-request-id`` and the body.
        http11: the client speaks HTTP/1.1.
        keep_alive: the connection stays open afterwards.
        head_only: the request was HEAD: the length is named, the body left out.
        retry_after_s: seconds for ``retry-after``.
        date: the ``date`` line with its CRLF, which RFC 9110 §6.6.1 asks of who answers and has a clock.
    """
    document = {"error": sentence, "status": status, "request_id": request_id.decode("latin-1") or None}
    body = orjson.dumps(document) + b"\n"
    block = b"%bcontent-type: application/json\r\ncontent-length: %d\r\n" % (date, len(body))
    if status in (200, 405):
        block += _ALLOW
    if retry_after_s is not None:
        block += b"retry-after: %d\r\n" % retry_after_s
    head = build_response_head(
        status,
        _REASONS.get(status, b""),
        block,
        request_id,
        b"",
        http11=http11,
        keep_alive=keep_alive,
        chunked=False,
    )
    return head if head_only else head + body

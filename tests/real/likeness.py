"""Where two recordings of the same call differ, less what the README says a proxy changes.

Every list here is a promise: what it does not name must be equal to the byte.
"""

import re
from collections.abc import Iterable, Iterator, Sequence

from tests.real.messages import Exchange, Message

__all__ = ["Drawn", "answer_differences", "forwarded_differences", "paired", "redrawn"]

HOP_BY_HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
"""End at the proxy in both directions (RFC 9110 §7.6.1); the framing itself is compared with the body."""

ADDED_TO_REQUEST = {b"x-request-id", b"x-forwarded-for", b"x-forwarded-proto", b"x-forwarded-host", b"via"}
ADDED_TO_ANSWER = {b"x-request-id", b"x-modelproxy-variant"}

MOVED = {b"expect"}
"""Written behind the other lines, with the same bytes."""

DRAWN_LINES = {b"date"}
"""Different for every answer of the same server."""

Drawn = Sequence[tuple[re.Pattern[bytes], bytes]]
"""What a server draws afresh for each answer, and what to put in its place before comparing."""


def redrawn(body: bytes, drawn: Drawn) -> bytes:
    """Return a body with everything replaced that the server drew."""
    for pattern, replacement in drawn:
        body = pattern.sub(replacement, body)
    return body


def _kept(message: Message, without: set[bytes]) -> list[bytes]:
    """Return the other header lines, with one blank before each value: those around it are not part of it.

    RFC 9110 §5.5; the proxy writes lines anew.
    """
    split = (line.partition(b":") for line in message.lines)
    return [
        b"%b: %b" % (name, value.strip(b" \t")) for name, _, value in split if name.lower() not in without
    ]


def _nominated(message: Message) -> set[bytes]:
    """Return the fields that ``Connection`` names: they end at the proxy like it (RFC 9110 §7.6.1)."""
    return {name.strip().lower() for value in message.values(b"connection") for name in value.split(b",")}


def _unequal(what: str, one: object, other: object) -> Iterator[str]:
    if one != other:
        yield f"{what}:\n    {_shown(one)}\n    {_shown(other)}"


def _shown(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) < 2_000 else f"{shown[:2_000]}… ({len(shown)} characters)"


def forwarded_differences(client: Exchange, server: Exchange, *, waits_for_body: bool) -> list[str]:
    """Compare the same exchange on both sides of the proxy: nothing may differ but what the proxy adds and ends.

    Args:
        client: as the client saw it.
        server: as the server saw it.
        waits_for_body: the unit may be in the body, so the proxy itself tells a client to send it.
    """
    continued = waits_for_body and bool(client.request.values(b"expect"))
    return [*_request(client.request, server.request, continued), *_answer(client, server, continued)]


def _request(came: Message, went: Message, continued: bool) -> Iterator[str]:
    yield from _unequal("request line", came.start, went.start)
    without = HOP_BY_HOP | MOVED | ADDED_TO_REQUEST | _nominated(came)
    yield from _unequal("request header lines", _kept(came, without), _kept(went, without))
    for name in MOVED:
        expected = [] if continued else came.values(name)
        yield from _unequal(f"{name.decode()} of the request", expected, went.values(name))
    for own in came.values(b"x-request-id"):
        yield from _unequal("request id", own, went.values(b"x-request-id")[0])
    for name in sorted(ADDED_TO_REQUEST):
        yield from _unequal(f"number of {name.decode()} lines to the model", 1, len(went.values(name)))
    yield from _body("request", came, went)


def _answer(client: Exchange, server: Exchange, continued: bool) -> Iterator[str]:
    came, went = server.response, client.response
    interim = [b"HTTP/1.1 100 Continue"] * continued + [each.start for each in server.interim]
    yield from _unequal("interim answers", interim, [each.start for each in client.interim])
    yield from _unequal("status line", came.start, went.start)
    without = HOP_BY_HOP | ADDED_TO_ANSWER | _nominated(came)
    yield from _unequal("header lines of the answer", _kept(came, without), _kept(went, without))
    yield from _unequal("variant", 1, len(went.values(b"x-modelproxy-variant")))
    yield from _unequal(
        "request id of the answer", server.request.values(b"x-request-id"), went.values(b"x-request-id")
    )
    yield from _body("answer", came, went)
    yield from _unequal("bytes behind an answer without a body", b"", client.stray)


def _body(whose: str, came: Message, went: Message) -> Iterator[str]:
    yield from _unequal(f"body of the {whose}", *_both(came, went, came.body, went.body))
    yield from _unequal(f"trailers of the {whose}", came.trailers, went.trailers)
    if not came.until_close:  # one without end is sent in chunks
        yield from _unequal(f"chunked {whose}", came.chunks is None, went.chunks is None)
    # Chunks may be cut where a read ended; two of them are never joined.
    joined = {end for end in came.chunks or () if end <= len(went.body)} - set(went.chunks or ())
    if joined and went.chunks is not None:
        yield f"chunks of the {whose} joined at {sorted(joined)[:10]} of {len(came.body)} bytes"


def _both(one: Message, other: Message, one_body: bytes, other_body: bytes) -> tuple[bytes, bytes]:
    """Return two bodies, as far as both go if one was not read to its end."""
    if one.left or other.left:
        both = min(len(one_body), len(other_body))
        return one_body[:both], other_body[:both]
    return one_body, other_body


def answer_differences(direct: Exchange, proxied: Exchange, drawn: Drawn) -> list[str]:
    """Compare the answer to a direct call with the answer to the same call through the proxy."""
    one, other = direct.response, proxied.response
    without = HOP_BY_HOP | ADDED_TO_ANSWER | DRAWN_LINES
    bodies = redrawn(_undated(one.body), drawn), redrawn(_undated(other.body), drawn)
    if len(one.body) != len(other.body) and bodies[0] == bodies[1]:
        without |= {b"content-length"}  # what was drawn differs in length, and the length with it
    found = list(_unequal("request", *_conversation(direct, proxied)))
    found += _unequal("status line", one.start, other.start)
    lines = ([redrawn(line, drawn) for line in _kept(each, without)] for each in (one, other))
    found += _unequal("header lines", *lines)
    found += _unequal("body", *_both(one, other, *bodies))
    found += _unequal("trailers", one.trailers, other.trailers)
    return found


def _conversation(direct: Exchange, proxied: Exchange) -> tuple[object, object]:
    """Return what the client said in both cases: if that differs, the proxy made it behave differently."""
    one, other = direct.request, proxied.request
    bodies = _both(one, other, _undated(one.body), _undated(other.body))
    return (one.start, one.lines, bodies[0]), (other.start, other.lines, bodies[1])


def _undated(body: bytes) -> bytes:
    """Return a body without the second in which it was compressed (RFC 1952 §2.3.1, MTIME)."""
    return body[:4] + bytes(4) + body[8:] if body.startswith(b"\x1f\x8b") else body


def paired(clients: Iterable[Exchange], servers: Iterable[Exchange]) -> Iterator[tuple[Exchange, Exchange]]:
    """Yield each exchange of the client with the one of the server that has the same request id."""
    by_id = {exchange.request.values(b"x-request-id")[0]: exchange for exchange in servers}
    for exchange in clients:
        yield exchange, by_id.pop(exchange.response.values(b"x-request-id")[0])
    assert not by_id, f"the server was asked what no client asked: {list(by_id)}"

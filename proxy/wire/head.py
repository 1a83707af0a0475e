"""A request head, parsed and checked, ready to be forwarded many times."""

import re
from collections.abc import Sequence

from proxy.errors import BadFraming, BadHead, HeadTooLarge, LastStop, UnsupportedFeature
from proxy.wire.request import (
    MAX_LENGTH_DIGITS,
    Framing,
    first_value,
    host_name,
    is_host,
    is_loop,
    origin_form,
)

__all__ = ["RequestHead", "check_request", "check_size", "status_of_syntax"]


class RequestHead:
    """What a client asked. Shared between requests with the same head: nothing changes it.

    Args:
        method: as sent.
        target: origin-form, or ``*``.
        names: lower-case field names.
        values: their values.
        lines: what of each field goes upstream, with CRLF; empty for those that end here.
        is_special: some field must be looked at before the lines are forwarded (see ``SPECIAL``).
        http11: the client speaks HTTP/1.1.
        keep_alive: the client wants the connection to stay.
        framing: how the body is delimited; by default from ``content-length``.
        authority: host of an absolute-form target.
        is_plain: read by :mod:`proxy.wire.plain`, which gives the same object for the same bytes.
    """

    __slots__ = (
        "block",
        "forced",
        "framing",
        "host",
        "host_name",
        "http11",
        "is_plain",
        "is_special",
        "keep_alive",
        "length",
        "lines",
        "method",
        "names",
        "path",
        "request_id",
        "target",
        "values",
    )

    def __init__(
        self,
        method: bytes,
        target: bytes,
        names: Sequence[bytes],
        values: Sequence[bytes],
        lines: Sequence[bytes],
        *,
        is_special: bool,
        http11: bool = True,
        keep_alive: bool = True,
        framing: int | None = None,
        authority: bytes = b"",
        is_plain: bool = False,
    ) -> None:
        self.method = method
        self.target = target
        self.path = target.partition(b"?")[0]
        self.names = names
        self.values = values
        self.lines = lines
        self.block = b"".join(lines)
        self.host = authority or first_value(names, values, b"host")
        self.host_name = host_name(self.host)
        """What routes match: see :func:`~proxy.wire.request.host_name`."""
        self.is_special = is_special or not self.host
        self.is_plain = is_plain
        self.http11 = http11
        self.keep_alive = keep_alive
        self.length = int(first_value(names, values, b"content-length") or b"0")
        """Declared size of the body; 0 when it is chunked."""
        if framing is None:
            framing = Framing.LENGTH if self.length else Framing.NONE
        self.framing = framing
        request_id = first_value(names, values, b"x-request-id")
        self.request_id = request_id if len(request_id) <= MAX_REQUEST_ID_BYTES else b""
        """The client's, or empty."""
        self.forced = b"x-modelproxy-force" in names


MAX_REQUEST_ID_BYTES = 256
"""A longer ``x-request-id`` is replaced: it would go into every record and log line."""


def check_size(target: bytes, lines: Sequence[bytes], most_bytes: int, most_fields: int) -> None:
    """Check that a head is within its limits.

    Raises:
        HeadTooLarge: more fields than ``most_fields`` or more bytes than ``most_bytes`` (431, RFC 6585 §5), or the
            target alone has more (414, RFC 9112 §3).
    """
    if len(lines) > most_fields:
        raise HeadTooLarge(f"more than {most_fields} header fields")
    if len(target) > most_bytes:
        raise HeadTooLarge(f"request target larger than {most_bytes} bytes", 414)
    if sum(map(len, lines)) + len(target) > most_bytes:
        raise HeadTooLarge(f"request head larger than {most_bytes} bytes")


def check_request(
    method: bytes,
    target: bytes,
    names: Sequence[bytes],
    values: Sequence[bytes],
    lines: Sequence[bytes],
    *,
    http11: bool,
    keep_alive: bool,
) -> RequestHead:
    """Return the head of a request that the parser accepted, after the checks that no parser makes.

    Raises:
        BadHead: no ``Host``, several or an impossible one (RFC 9112 §3.2), an impossible target.
        BadFraming: several lengths, a length and a transfer coding, or a transfer coding from a client that speaks
            HTTP/1.0 (RFC 9112 §6.1: smuggling, or a broken client).
        UnsupportedFeature: ``CONNECT``, or a transfer coding under ``chunked`` (RFC 9112 §6.1 asks for 501).
        LastStop: ``OPTIONS`` or ``TRACE`` that may be forwarded no further.
    """
    if method == b"CONNECT":
        raise UnsupportedFeature("CONNECT is not for a model server")
    hosts = names.count(b"host")
    if hosts != 1 and (http11 or hosts):
        raise BadHead(f"expected one host field, got {hosts}")
    if hosts and not is_host(first_value(names, values, b"host")):
        raise BadHead("expected a host field that holds a host name or address")
    framing = _framing(names, values)
    if framing == Framing.CHUNKED and not http11:
        raise BadFraming("expected no transfer coding from an HTTP/1.0 client")
    target, authority = origin_form(method, target)
    if b"via" in names and is_loop(b",".join(v for n, v in zip(names, values, strict=True) if n == b"via")):
        raise BadHead("this request has come here too often: a model's url leads back to this proxy", 508)
    fresh: dict[bytes, bytes] = {}
    if authority and hosts:
        # RFC 9112 §3.2.2: the field that came is ignored and replaced, or the two might name different hosts.
        fresh[b"Host"] = authority
    length = first_value(names, values, b"content-length")
    if length[:1] == b"0" and length != b"0":
        fresh[b"Content-Length"] = b"%d" % int(length)  # some reader might take leading zeros for octal
    if b"max-forwards" in names and method in (b"OPTIONS", b"TRACE"):
        fresh[b"Max-Forwards"] = _max_forwards(method, names, values)
    for name, value in fresh.items():
        at = names.index(name.lower())
        values = [*values[:at], value, *values[at + 1 :]]
        lines = [*lines[:at], b"%b: %b\r\n" % (name, value), *lines[at + 1 :]]
    return RequestHead(
        method,
        target,
        names,
        values,
        lines,
        is_special=True,
        http11=http11,
        keep_alive=keep_alive,
        framing=framing,
        authority=authority,
    )


_METHOD = re.compile(rb"[A-Z][!#$%&'*+\-.^_`|~0-9A-Za-z]*(?:[ \r\n]|\Z)")
"""What the parser does not take for a method is one we do not know (501) if it starts so, else it is not HTTP (400)."""

_END = b"\r\n\r\n"


def status_of_syntax(error: str, data: bytes, *, begins_there: bool) -> int:
    """Return the status for what the parser did not take.

    Args:
        error: what the parser says, in lower case.
        data: what it was reading.
        begins_there: the broken message begins with ``data``; else behind other messages in it.
    """
    if "invalid http version" in error or "on pri" in error:
        return 505  # RFC 9110 §15.6.6; the latter is what the preface of HTTP/2 gives (RFC 9113 §3.4)
    # Behind other messages, this one begins behind the last end of a head, or near enough.
    start = data if begins_there else data.removesuffix(_END).split(_END)[-1]
    return 501 if "method" in error and _METHOD.match(start.lstrip(b"\r\n")) else 400


MAX_MAX_FORWARDS_DIGITS = 9


def _max_forwards(method: bytes, names: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the field's value for the next recipient (RFC 9110 §7.6.2)."""
    value = first_value(names, values, b"max-forwards")
    if names.count(b"max-forwards") > 1 or not value.isdigit() or len(value) > MAX_MAX_FORWARDS_DIGITS:
        raise BadHead("expected one max-forwards field of decimal digits, not more than 9")
    if not int(value):
        # To reflect a TRACE would show what proxies before us have added, credentials included.
        raise LastStop("max-forwards allows no further hop", 405 if method == b"TRACE" else None)
    return b"%d" % (int(value) - 1)


def _framing(names: Sequence[bytes], values: Sequence[bytes]) -> int:
    codings, lengths = names.count(b"transfer-encoding"), names.count(b"content-length")
    if codings + lengths > 1:
        raise BadFraming("expected one content-length or transfer-encoding field, got several")
    if codings:
        coding = first_value(names, values, b"transfer-encoding").lower()
        if coding == b"chunked":
            return Framing.CHUNKED
        under, _, last = coding.rpartition(b",")
        if last.strip() == b"chunked" and under.strip():
            raise UnsupportedFeature("expected no transfer coding but chunked")
        raise BadFraming("expected chunked as the last transfer coding")  # RFC 9112 §6.3
    if not lengths:
        return Framing.NONE
    length = first_value(names, values, b"content-length")
    if not length.isdigit() or len(length) > MAX_LENGTH_DIGITS:
        raise BadFraming(f"expected a content-length of decimal digits, not more than {MAX_LENGTH_DIGITS}")
    return Framing.LENGTH if int(length) else Framing.NONE

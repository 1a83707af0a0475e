"""From a client's head to the upstream's: what is checked, what ends here, what is added.

What goes upstream is built from what was parsed, so no second parser can read it differently. The framing rules
are RFC 9112 §6; the parser (llhttp in its strict mode) refuses what is ambiguous in syntax, this file what is
ambiguous in meaning.
"""

from collections.abc import Sequence

__all__ = [
    "HOP_BY_HOP",
    "INTERNAL_PREFIX",
    "SHADOW_LINE",
    "SPECIAL",
    "Framing",
    "build_head",
    "common_block",
    "first_value",
    "forwarded_lines",
    "origin_form",
    "rewrite_target",
]

HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""RFC 9110 §7.6.1 and the older RFC 2616 §13.5.1; fields named in ``Connection`` come on top."""

INTERNAL_PREFIX = b"x-modelproxy-"

SPECIAL = HOP_BY_HOP | {
    b"expect",
    b"traceparent",
    b"tracestate",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-request-id",
}
"""A head that has none of these is forwarded line by line without a look at each."""

SHADOW_LINE = b"x-modelproxy-shadow: 1\r\n"

_VIA = b"1.1 modelproxy"


class Framing:
    """How a message body is delimited (RFC 9112 §6.3)."""

    NONE = 0
    LENGTH = 1
    CHUNKED = 2
    UNTIL_CLOSE = 3
    """Responses only."""


def first_value(names: Sequence[bytes], values: Sequence[bytes], name: bytes) -> bytes:
    """Return the value of the first field called ``name``, or empty bytes."""
    return values[names.index(name)] if name in names else b""


def origin_form(target: bytes) -> tuple[bytes, bytes]:
    """Split an absolute-form target into ``(origin-form, authority)`` (RFC 9112 §3.2.2).

    An origin-form or asterisk-form target comes back as it is, with an empty authority.
    """
    if target[:1] == b"/" or target == b"*":
        return target, b""
    authority, slash, path = target.partition(b"://")[2].partition(b"/")
    host, mark, query = authority.partition(b"?")
    if mark:
        return b"/?" + query + slash + path, host
    return b"/" + path, authority


def rewrite_target(target: bytes, matched: bytes, prefix: bytes) -> bytes:
    """Return ``target`` with its ``matched`` prefix replaced by a model's own path; unchanged if that is empty."""
    if not prefix:
        return target
    return prefix + target[len(matched) :]


def forwarded_lines(client: bytes, host: bytes) -> bytes:
    """Return the lines that say who asked: ``x-forwarded-*`` and ``via`` (RFC 9110 §7.6.3)."""
    return b"x-forwarded-for: %b\r\nx-forwarded-proto: http\r\nx-forwarded-host: %b\r\nvia: %b\r\n" % (
        client,
        host,
        _VIA,
    )


def common_block(
    names: Sequence[bytes],
    values: Sequence[bytes],
    lines: Sequence[bytes],
    *,
    client: bytes,
    host: bytes,
    trace_lines: bytes,
) -> bytes:
    """Return the header lines for the upstream of a head that is :data:`SPECIAL`.

    Without: hop-by-hop fields, what ``Connection`` names, ours, ``x-request-id``, ``expect``, the framing fields of a
    chunked body and the trace context. With: ``x-forwarded-for`` and ``via`` appended to, ``-proto`` and ``-host``
    kept when a proxy before us set them, and ``trace_lines``.
    """
    dropped = _connection_options(names, values) | _REPLACED
    kept = [
        line
        for name, line in zip(names, lines, strict=True)
        if name not in dropped and not name.startswith(INTERNAL_PREFIX)
    ]
    kept.append(_appended(names, values, b"x-forwarded-for", client))
    kept.append(_kept_or(names, values, b"x-forwarded-proto", b"http"))
    kept.append(_kept_or(names, values, b"x-forwarded-host", host))
    kept.append(_appended(names, values, b"via", _VIA))
    kept.append(trace_lines)
    return b"".join(kept)


_REPLACED = SPECIAL


def _connection_options(names: Sequence[bytes], values: Sequence[bytes]) -> frozenset[bytes]:
    """Return the field names that ``Connection`` nominates, less those that frame or address the message.

    ``Connection: content-length`` or ``host`` must not make us forward a message with another meaning.
    """
    if b"connection" not in names:
        return frozenset()
    options = {
        option.strip().lower()
        for name, value in zip(names, values, strict=True)
        if name == b"connection"
        for option in value.split(b",")
    }
    return frozenset(options - {b"host", b"content-length", b"content-type", b"content-encoding"})


def _appended(names: Sequence[bytes], values: Sequence[bytes], name: bytes, last: bytes) -> bytes:
    earlier = [value for n, value in zip(names, values, strict=True) if n == name and value]
    return b"%b: %b\r\n" % (name, b", ".join([*earlier, last]))


def _kept_or(names: Sequence[bytes], values: Sequence[bytes], name: bytes, default: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, first_value(names, values, name) or default)


def build_head(method: bytes, target: bytes, block: bytes, request_id: bytes, framing: bytes) -> bytes:
    """Return a request head for an upstream.

    Args:
        method: as the client sent it.
        target: origin-form, already rewritten for the model.
        block: header lines, each with its CRLF.
        request_id: goes into ``x-request-id``.
        framing: further lines (``transfer-encoding``, ``expect``, the shadow mark), or empty.
    """
    return b"%b %b HTTP/1.1\r\n%bx-request-id: %b\r\n%b\r\n" % (method, target, block, request_id, framing)

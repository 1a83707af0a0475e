"""From a client's head to the upstream's: what is checked, what ends here, what is added.

What goes upstream is built from what was parsed, so no second parser can read it differently. The framing rules
are RFC 9112 §6; the parser (llhttp in its strict mode) refuses what is ambiguous in syntax, this file what is
ambiguous in meaning.
"""

import re
from collections.abc import Sequence

from proxy.errors import BadHead

__all__ = [
    "HOP_BY_HOP",
    "MAX_LENGTH_DIGITS",
    "SHADOW_LINE",
    "SPECIAL",
    "Framing",
    "build_head",
    "build_opening",
    "climbs_out",
    "common_block",
    "first_value",
    "forwarded_lines",
    "host_name",
    "is_host",
    "is_internal",
    "is_loop",
    "is_trailer",
    "nominated",
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

MAX_LENGTH_DIGITS = 18
"""An exabyte, which fits into 63 bits: some readers count with signed numbers (RFC 9110 §8.6). And ``int()`` refuses
thousands of digits, which the parser takes if they are zeros."""

SHADOW_LINE = b"x-modelproxy-shadow: 1\r\n"

_VIA = b"1.1 modelproxy"
_VIA_HTTP10 = b"1.0 modelproxy"

_INTERNAL = re.compile(rb"x[-_]modelproxy[-_]")

_AUTHORITY = rb"(?:\[[0-9A-Za-z:.%_~-]+\]|[0-9A-Za-z!$&'()*+,;=._~%-]+)(?::[0-9]*)?"
_HOST = re.compile(_AUTHORITY)
_ABSOLUTE_FORM = re.compile(rb"(?i:https?)://(%b)(/[^?]*)?(\?.*)?" % _AUTHORITY)


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


def is_host(value: bytes) -> bool:
    """Tell whether ``value`` may stand in a ``Host`` field: empty, or a name or address with or without a port.

    RFC 9110 §7.2, less exact in what stands in brackets and behind a percent sign.
    """
    return not value or _HOST.fullmatch(value) is not None


def host_name(host: bytes) -> bytes:
    """Return the name in a ``Host`` field: lower-case, no port, IPv6 without brackets."""
    if host[:1] == b"[":
        return host[1:].partition(b"]")[0].lower()
    return host.partition(b":")[0].lower()


def is_internal(name: bytes) -> bool:
    """Tell whether a field belongs to us: ``x-modelproxy-*``, in lower case.

    With underscores too: CGI, WSGI and their kin hand both spellings to the application under one name.
    """
    return _INTERNAL.match(name) is not None


_NOT_IN_TRAILERS = HOP_BY_HOP | {
    b"authorization",
    b"cache-control",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"expect",
    b"host",
    b"max-forwards",
    b"range",
    b"set-cookie",
    b"traceparent",
    b"tracestate",
    b"via",
    b"x-forwarded-for",
    b"x-forwarded-host",
    b"x-forwarded-proto",
    b"x-request-id",
}


def is_trailer(name: bytes, dropped: frozenset[bytes]) -> bool:
    """Tell whether a field of this lower-case name is forwarded when it comes behind a chunked body.

    RFC 9110 §6.5.1: not what frames, routes, authenticates or says how to read the message. A receiver that merges
    trailers into the head would take it for such. Nor what ``Connection`` nominates in the head: ``dropped``, found
    once a message, as there may be thousands of both.
    """
    return name not in _NOT_IN_TRAILERS and not is_internal(name) and name not in dropped


def origin_form(method: bytes, target: bytes) -> tuple[bytes, bytes]:
    """Split an absolute-form target into ``(origin-form, authority)`` (RFC 9112 §3.2.2).

    An origin-form or asterisk-form target comes back as it is, with an empty authority. ``OPTIONS`` of an authority
    without a path becomes asterisk-form (RFC 9112 §3.2.4).

    Raises:
        BadHead: an asterisk without ``OPTIONS``, a scheme other than HTTP, no host or user information (which
            RFC 9110 §4.2.4 wants treated as an error), a fragment (no part of a target: RFC 9112 §3.2; servers differ
            in whether the path ends there).
    """
    if b"#" in target:
        raise BadHead("expected a request target without a fragment")
    if target[:1] == b"/":
        return target, b""
    if target == b"*" and method == b"OPTIONS":
        return target, b""
    absolute = _ABSOLUTE_FORM.fullmatch(target)
    if absolute is None:
        raise BadHead("expected a request target that starts with a slash, or http:// and a host")
    authority, path, query = absolute.groups(b"")
    if method == b"OPTIONS" and not path and not query:
        return b"*", authority
    return (path or b"/") + query, authority


def climbs_out(rest: bytes) -> bool:
    """Tell whether dot segments lead a path out of where it begins, for who resolves them (RFC 3986 §5.2.4).

    Servers differ in what they decode, take for a slash and cut off a segment before they do: all of it counts.

    Args:
        rest: a path behind the prefix it must not leave.
    """
    if b".." not in rest and b"%" not in rest:
        return False
    depth = 0
    for segment in _same_to_some(rest).split(b"/"):
        name = segment.partition(b";")[0]
        if name == b"..":
            depth -= 1
            if depth < 0:
                return True
        elif name not in (b"", b"."):
            depth += 1
    return False


def _same_to_some(path: bytes) -> bytes:
    path = path.lower().replace(b"%2e", b".").replace(b"%2f", b"/").replace(b"%3b", b";")
    return path.replace(b"%5c", b"/").replace(b"\\", b"/")


def rewrite_target(target: bytes, matched: bytes, prefix: bytes) -> bytes:
    """Return ``target`` with its ``matched`` prefix replaced by a model's own path; unchanged if that is empty.

    ``*`` asks about the server as a whole, which no path can stand for: it stays.
    """
    if not prefix or target == b"*":
        return target
    return prefix + target[len(matched) :]


MAX_OWN_HOPS = 8
"""So many proxies of our kind may stand behind each other; a request that has passed more is going in circles."""


def is_loop(via: bytes) -> bool:
    """Tell whether a request with this ``Via`` has passed too many proxies of our kind (RFC 9110 §7.6.3)."""
    return via.count(b" modelproxy") > MAX_OWN_HOPS


def forwarded_lines(client: bytes, host: bytes, scheme: bytes = b"http") -> bytes:
    """Return the lines that say who asked: ``x-forwarded-*`` and ``via`` (RFC 9110 §7.6.3)."""
    return b"x-forwarded-for: %b\r\nx-forwarded-proto: %b\r\nx-forwarded-host: %b\r\nvia: %b\r\n" % (
        client,
        scheme,
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
    http11: bool = True,
    scheme: bytes = b"http",
    trusted: bool = False,
) -> bytes:
    """Return the header lines for the upstream of a head that is :data:`SPECIAL`.

    Without: hop-by-hop fields, what ``Connection`` names, ours, ``x-request-id``, ``expect``, the framing fields of a
    chunked body and the trace context. With: ``x-forwarded-for`` and ``via`` appended to (the latter names the version
    that the client spoke: ``http11``), ``-proto`` and ``-host`` kept when a ``trusted`` proxy before us set them, else
    replaced, ``trace_lines``, and ``te: trailers`` when the client takes them (RFC 9110 §10.1.4), as we do.
    """
    dropped = nominated(names, values) | SPECIAL
    kept = [
        line for name, line in zip(names, lines, strict=True) if name not in dropped and not is_internal(name)
    ]
    kept.append(_appended(names, values, b"x-forwarded-for", client))
    told = names if trusted else ()
    kept.append(_kept_or(told, values, b"x-forwarded-proto", scheme))
    kept.append(_kept_or(told, values, b"x-forwarded-host", host))
    kept.append(_appended(names, values, b"via", _VIA if http11 else _VIA_HTTP10))
    kept.append(trace_lines)
    if b"te" in names and http11 and b"trailers" in _members(names, values, b"te"):
        kept.append(_TE_TRAILERS)
    return b"".join(kept)


_TE_TRAILERS = b"connection: te\r\nte: trailers\r\n"
"""A sender of ``TE`` must nominate it, as it ends with the next hop (RFC 9110 §10.1.4)."""


def nominated(names: Sequence[bytes], values: Sequence[bytes]) -> frozenset[bytes]:
    """Return the field names that ``Connection`` nominates, less those that frame or address the message.

    ``Connection: content-length`` or ``host`` must not make us forward a message with another meaning.
    """
    if b"connection" not in names:
        return frozenset()
    options = _members(names, values, b"connection")
    return frozenset(options - {b"host", b"content-length", b"content-type", b"content-encoding"})


def _members(names: Sequence[bytes], values: Sequence[bytes], field: bytes) -> set[bytes]:
    """Return the members of a list field, in lower case (RFC 9110 §5.6.1)."""
    lists = [value for name, value in zip(names, values, strict=True) if name == field]
    return {member.strip().lower() for value in lists for member in value.split(b",")}


def _appended(names: Sequence[bytes], values: Sequence[bytes], name: bytes, last: bytes) -> bytes:
    earlier = [value for n, value in zip(names, values, strict=True) if n == name and value]
    return b"%b: %b\r\n" % (name, b", ".join([*earlier, last]))


def _kept_or(names: Sequence[bytes], values: Sequence[bytes], name: bytes, default: bytes) -> bytes:
    return b"%b: %b\r\n" % (name, first_value(names, values, name) or default)


def build_opening(method: bytes, target: bytes, block: bytes) -> bytes:
    """Return the first lines of :func:`build_head`: what is the same whenever a client sends the same head."""
    return b"%b %b HTTP/1.1\r\n%b" % (method, target, block)


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

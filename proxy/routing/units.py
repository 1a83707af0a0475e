"""Who a request belongs to: the unit of assignment and where it comes from.

Sources are tried in the order of the file; the first that is present and not empty decides. All but ``json:``
read the head alone, so an assignment needs the body only when no earlier source was present.
"""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

__all__ = [
    "Network",
    "UnitReader",
    "client_address",
    "compile_reader",
    "find_cookie",
    "find_json",
    "find_query",
    "is_trusted",
    "parse_pointer",
]

Network = IPv4Network | IPv6Network

_MOST_PAIRS = 1000
"""Cookies, or query parameters, that are looked at: as many as any framework reads. A head full of empty ones would
keep a worker busy for a tenth of a second."""

_MOST_HOPS = 64
"""Addresses of ``x-forwarded-for`` that are looked at, from the last one back, for the same reason."""


class UnitReader:
    """One compiled source. ``kind`` is ``header``, ``cookie``, ``query``, ``json`` or ``client_ip``."""

    __slots__ = ("is_in_head", "key", "kind", "needs_body", "pointer", "text")

    def __init__(self, kind: str, name: str) -> None:
        self.kind = kind
        self.text = kind if kind == "client_ip" else f"{kind}:{name}"
        """The source as in the file; the value of the metric label ``source``."""
        self.key = name.lower().encode() if kind == "header" else name.encode()
        self.pointer: tuple[str, ...] = parse_pointer(name) if kind == "json" else ()
        self.needs_body = kind == "json"
        self.is_in_head = kind in ("header", "cookie", "query")
        """The head alone decides: not the body, not the client's address."""

    def from_head(
        self, names: Sequence[bytes], values: Sequence[bytes], target: bytes, client: bytes
    ) -> bytes | None:
        """Return the unit, or None when this source is absent from the head (always for ``json``).

        Args:
            names: lower-case header names.
            values: their values, same order.
            target: the request target.
            client: the client's address.
        """
        if self.kind == "header":
            key = self.key
            # HOT: `in` and `index` run in C; a loop in Python costs 0.5 µs for ten headers.
            return values[names.index(key)] or None if key in names else None
        if self.kind == "cookie":
            return find_cookie(names, values, self.key)
        if self.kind == "query":
            return find_query(target, self.key)
        if self.kind == "client_ip":
            return client or None
        return None

    def from_body(self, body: bytes) -> bytes | None:
        """Return the unit from a complete JSON body, or None when it is absent or not a scalar."""
        return find_json(body, self.pointer)


def compile_reader(kind: str, name: str) -> UnitReader:
    """Return the reader for one unit source of the settings."""
    return UnitReader(kind, name)


def find_cookie(names: Sequence[bytes], values: Sequence[bytes], key: bytes) -> bytes | None:
    """Return the first cookie called ``key``, unquoted (RFC 6265 §5.4: ``name=value``, ``;`` between)."""
    for name, value in zip(names, values, strict=True):
        if name == b"cookie":
            for pair in value.split(b";", _MOST_PAIRS)[:_MOST_PAIRS]:
                cookie, separator, content = pair.partition(b"=")
                if separator and cookie.strip() == key:
                    return content.strip().strip(b'"') or None
    return None


def find_query(target: bytes, key: bytes) -> bytes | None:
    """Return the first query parameter called ``key``, decoded; ``+`` is a space (WHATWG URL §5.1)."""
    _, mark, query = target.partition(b"?")
    if not mark:
        return None
    for pair in query.partition(b"#")[0].split(b"&", _MOST_PAIRS)[:_MOST_PAIRS]:
        name, _, content = pair.partition(b"=")
        if name == key or (
            (b"%" in name or b"+" in name) and unquote_to_bytes(name.replace(b"+", b" ")) == key
        ):
            return unquote_to_bytes(content.replace(b"+", b" ")) or None
    return None


def parse_pointer(pointer: str) -> tuple[str, ...]:
    """Return the reference tokens of a JSON pointer (RFC 6901 §4); the settings have checked its form."""
    return tuple(token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:])


def find_json(body: bytes, pointer: Sequence[str]) -> bytes | None:
    """Return the scalar at ``pointer`` as bytes: text as it is, numbers and booleans as JSON writes them.

    None when the body is not JSON, the path is absent, or the value is null, empty, an object or an array.
    """
    try:
        value: Any = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    for token in pointer:
        if isinstance(value, dict):
            value = value.get(token)
        elif isinstance(value, list) and token.isdecimal() and len(token) < 10 and int(token) < len(value):
            value = value[int(token)]
        else:
            return None
    if isinstance(value, str):
        return value.encode() or None
    return orjson.dumps(value) if isinstance(value, (bool, int, float)) else None


def is_trusted(address: str, networks: Sequence[Network]) -> bool:
    """Tell whether ``address`` lies in one of ``networks``; what is not an address is not trusted."""
    if not networks:
        return False
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if (mapped := getattr(parsed, "ipv4_mapped", None)) is not None:
        parsed = mapped
    return any(parsed in network for network in networks)


def client_address(peer: bytes, forwarded_for: Sequence[bytes], networks: Sequence[Network]) -> bytes:
    """Return who the client is: the peer, or behind trusted peers the last hop that is not trusted.

    Args:
        peer: address of the connection's other end.
        forwarded_for: values of every ``x-forwarded-for`` line, in order.
        networks: addresses whose ``x-forwarded-for`` is believed (``trusted``).
    """
    if not is_trusted(peer.decode("latin-1"), networks):
        return peer
    last = b",".join(forwarded_for).rsplit(b",", _MOST_HOPS)[-_MOST_HOPS:]
    hops = [hop.strip() for hop in last if hop.strip()]
    for hop in reversed(hops):
        if not is_trusted(hop.decode("latin-1"), networks):
            return hop
    return hops[0] if hops else peer

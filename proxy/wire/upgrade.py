"""Switching protocols (RFC 9110 §7.8): which wish is passed on, and which consent is believed.

Only protocols that the route names are asked for. A proxy that passes on any ``Upgrade`` lets a client open a tunnel
of a protocol that nobody looks into, such as ``h2c``, and reach through it what the routes do not show (request
smuggling over HTTP/2 cleartext).
"""

from collections.abc import Collection, Sequence

__all__ = ["offered_protocol", "switched_protocol", "upgrade_lines"]


def offered_protocol(names: Sequence[bytes], values: Sequence[bytes], allowed: Collection[bytes]) -> bytes:
    """Return the first protocol that a request offers and that is ``allowed``, as it is written; empty: none.

    Args:
        names: lower-case field names.
        values: their values.
        allowed: names of protocols in lower case, without version: ``websocket`` allows ``WebSocket/13`` too.
    """
    for protocol in _protocols(names, values):
        if protocol.lower().partition(b"/")[0] in allowed:
            return protocol
    return b""


def switched_protocol(names: Sequence[bytes], values: Sequence[bytes]) -> bytes:
    """Return the protocol that a 101 response switches to; empty when it names none, or several."""
    protocols = _protocols(names, values)
    return protocols[0] if len(protocols) == 1 else b""


def upgrade_lines(protocol: bytes) -> bytes:
    """Return the header lines that ask for ``protocol``, or consent to it."""
    return b"connection: upgrade\r\nupgrade: %b\r\n" % protocol


def _protocols(names: Sequence[bytes], values: Sequence[bytes]) -> list[bytes]:
    listed = [value for name, value in zip(names, values, strict=True) if name == b"upgrade"]
    return [token for value in listed for part in value.split(b",") if (token := part.strip())]

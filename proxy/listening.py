"""The two listening sockets. The supervisor binds them and every child inherits them, so that a child that is
started again finds the connections that came meanwhile still waiting.

The end of one
    The system resets what waits in a listening socket when the last process closes it, with the request that may be
    in it already: a client is connected as soon as its handshake is complete. However late a process accepts for the
    last time, another handshake may end between that and its closing. So new handshakes are stopped first
    (:func:`turn_away`); those under way end, are accepted, and then there is nothing to reset.
"""

import array
import asyncio
import errno
import logging
import os
import socket
import struct
import sys

from proxy.settings import Address

__all__ = ["BACKLOG", "SETTLE_S", "BindError", "bind", "turn_away", "url"]

BACKLOG = 4096
"""Connections that may wait for a worker; the system may allow fewer (``net.core.somaxconn``)."""

SETTLE_S = 0.2
"""For handshakes under way to end, and to be accepted: a round trip to most of the earth. A client that is farther
away, or whose packet was lost, may still be reset."""

_ATTACH_FILTER = 26
"""``SO_ATTACH_FILTER`` of Linux, which the module ``socket`` does not name."""

_NO_SYN = (
    (0x30, 0, 0, 13),  # load the flags
    (0x54, 0, 0, 0x12),  # of them SYN and ACK
    (0x15, 0, 1, 0x02),  # SYN alone: the next instruction; otherwise the one after it
    (0x06, 0, 0, 0),  # drop
    (0x06, 0, 0, 0xFFFFFFFF),  # keep all of it
)
"""Classic BPF, as (code, jump if true, jump if false, operand): what would begin a connection is lost on its way, and
everything else passes. The filter of a TCP socket sees a packet from the TCP header on (RFC 9293 §3.1)."""

_log = logging.getLogger("modelproxy")

_ADVICE = {
    errno.EADDRINUSE: "another process listens there; stop it, or change the address",
    errno.EADDRNOTAVAIL: "this machine has no such address",
    errno.EACCES: "ports below 1024 need a privilege; choose a higher one",
}


class BindError(Exception):
    """An address cannot be listened on. ``str()`` is the sentence to print."""


def bind(address: Address, setting: str) -> socket.socket:
    """Return a socket that listens on ``address``. Port 0 takes a free one.

    Args:
        address: where.
        setting: the name of the setting, for the message.

    Raises:
        BindError: the name is unknown, or the address cannot be bound.
    """
    try:
        infos = socket.getaddrinfo(
            address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
    except OSError as error:
        raise BindError(f"{setting}: cannot find the address {address}: {error.strerror}") from error
    family, kind, protocol, _, where = infos[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6 and address.is_wildcard:
            # [::] means every address, IPv4 included, whatever the system's default is.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(where)
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except OSError as error:
        listener.close()
        reason = os.strerror(error.errno).lower() if error.errno else str(error)
        advice = _ADVICE.get(error.errno or 0)
        sentence = f"{setting}: cannot listen on {address}: {reason}"
        raise BindError(f"{sentence}; {advice}" if advice else sentence) from error
    return listener


def url(listener: socket.socket, scheme: str = "http") -> str:
    """Return where ``listener`` really listens, as ``http://host:port``."""
    host, port = listener.getsockname()[:2]
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


async def turn_away(listener: int) -> None:
    """Let no connection begin at ``listener`` any more; return when those that had begun can be accepted.

    It counts for everybody who shares the socket, and for good: only for one that all of them are about to close. They
    go on accepting meanwhile. A client that comes now is not answered; when it tries again (after 1 s, RFC 6298 §2.1)
    it is refused, or taken by whoever listens there by then. Where the system has no such filter, or does not allow
    it, this returns at once and nothing has changed.

    Args:
        listener: its file descriptor.
    """
    if _drop_syn(listener):
        await asyncio.sleep(SETTLE_S)


def _drop_syn(listener: int) -> bool:
    if sys.platform != "linux":
        return False
    program = array.array("B", b"".join(struct.pack("=HBBI", *instruction) for instruction in _NO_SYN))
    address, _ = program.buffer_info()
    try:
        borrowed = socket.socket(fileno=listener)
        try:
            # struct sock_fprog: the number of instructions and where they are.
            borrowed.setsockopt(socket.SOL_SOCKET, _ATTACH_FILTER, struct.pack("HP", len(_NO_SYN), address))
        finally:
            borrowed.detach()
    except OSError as error:
        _log.debug("cannot stop new connections before listening ends: %s", error.strerror)
        return False
    return True

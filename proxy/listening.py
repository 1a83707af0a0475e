"""The two listening sockets. The supervisor binds them and every child inherits them, so that a child that is
started again finds the connections that came meanwhile still waiting."""

import errno
import os
import socket

from proxy.settings import Address

__all__ = ["BACKLOG", "BindError", "bind", "url"]

BACKLOG = 4096
"""Connections that may wait for a worker; the system may allow fewer (``net.core.somaxconn``)."""

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

"""The link between the supervisor and one child: JSON lines over a Unix socket pair.

Each line is one JSON object with the key ``op``. The two ends are equal: what each ``op`` means is said where
it is handled (:mod:`proxy.children`, and the entries of worker and observer).

Rules
    * The end of the stream is a message too: for a child "the supervisor is gone, drain", for the supervisor
      "the child is gone".
    * Both directions are bounded: a longer line, or a peer that does not read, breaks the link. Both are bugs
      or a hung process, and a broken link is what each side already knows how to handle.
"""

import asyncio
import logging
import socket
from collections.abc import Callable
from typing import Any, cast

import orjson

__all__ = ["MAX_LINE_BYTES", "MAX_UNREAD_BYTES", "Link", "open_link"]

MAX_LINE_BYTES = 16 * 1024 * 1024
"""A longer line breaks the link. Settings are at most about 1 MiB as text, twice that as JSON inside JSON."""

MAX_UNREAD_BYTES = 64 * 1024 * 1024
"""What may wait for a peer that does not read; more breaks the link."""

_log = logging.getLogger("modelproxy")


class Link(asyncio.Protocol):
    """One end of the link. Made by :func:`open_link`.

    Args:
        on_message: called with every message, in order.
        on_closed: called once, when nothing can come any more.
    """

    def __init__(self, on_message: Callable[[dict[str, Any]], None], on_closed: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_closed = on_closed
        self._buffer = bytearray()
        self._searched = 0
        self._transport: asyncio.Transport | None = None

    @property
    def is_open(self) -> bool:
        """Tell whether messages can still be sent."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def fd(self) -> int:
        """The socket's descriptor; -1 when it is closed."""
        return int(self._transport.get_extra_info("socket").fileno()) if self._transport is not None else -1

    @property
    def is_at_rest(self) -> bool:
        """Tell whether no message is half sent or half received."""
        return self._transport is None or not (self._transport.get_write_buffer_size() or self._buffer)

    def send(self, message: dict[str, Any]) -> None:
        """Queue ``message``; never waits. On a closed link it is dropped: ``on_closed`` has told, or is about
        to."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(orjson.dumps(message, option=orjson.OPT_APPEND_NEWLINE))
        if (unread := transport.get_write_buffer_size()) > MAX_UNREAD_BYTES:
            self._break(f"the other side does not read: {unread} bytes wait")

    def close(self) -> None:
        """Send what is queued, then close."""
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep the transport."""
        # A cast, because uvloop's transports do not inherit from asyncio's.
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Hand over each complete line; keep the rest."""
        buffer = self._buffer
        buffer += data
        start = 0
        while (end := buffer.find(b"\n", max(start, self._searched))) >= 0:
            line = bytes(buffer[start:end])
            start = end + 1
            if not self._take(line):
                buffer.clear()
                return
        del buffer[:start]
        self._searched = len(buffer)
        if self._searched > MAX_LINE_BYTES:
            self._break(f"expected a line of at most {MAX_LINE_BYTES} bytes")

    def _take(self, line: bytes) -> bool:
        try:
            message = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            self._break(f"expected JSON: {error}")
            return False
        if not isinstance(message, dict):
            self._break(f"expected an object, got {type(message).__name__}")
            return False
        self._on_message(message)
        return self.is_open

    def _break(self, reason: str) -> None:
        _log.error("link broken: %s", reason)
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's name
        """Tell the owner."""
        self._transport = None
        self._on_closed()


async def open_link(
    fd: int, on_message: Callable[[dict[str, Any]], None], on_closed: Callable[[], None]
) -> Link:
    """Return the link over the connected Unix stream socket ``fd``, which it owns from now on.

    Raises:
        OSError: ``fd`` is not such a socket.
    """
    end = socket.socket(fileno=fd)
    end.setblocking(False)
    loop = asyncio.get_running_loop()
    _, link = await loop.connect_accepted_socket(lambda: Link(on_message, on_closed), end)
    return link

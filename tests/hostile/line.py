"""One end of a TCP connection that does exactly what it is told: it reads, sends, shuts and resets on command only.

Streams and transports read ahead, answer an end of file with one of their own, and never reset. A peer that misbehaves
on purpose needs the socket itself.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum

from proxy.clock import monotonic
from proxy.tasks import spawn

__all__ = ["End", "Line", "connect"]

READ_BYTES = 1 << 16
ABORT = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with a time of 0: closing sends a reset instead of an end of file (``socket(7)``)."""


class End(StrEnum):
    """How the other side ended its sending."""

    OPEN = "open"
    CLOSED = "closed"
    RESET = "reset"


class Line:
    """A connected socket and what came over it.

    Reading is a task of its own, so that a peer that sends can be answered meanwhile; :meth:`stop_reading` really stops
    taking bytes from the kernel.
    """

    def __init__(self, sock: socket.socket, *, reading: bool = True) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.received = bytearray()
        self.taken = 0
        """How much of ``received`` :meth:`take` has handed out."""
        self.end = End.OPEN
        self.ended_at = 0.0
        """When the other side ended, on the monotonic clock."""
        self.total = 0
        """Bytes received, those of a line that keeps nothing included."""
        self.sent = 0
        """Bytes of whole sends that the kernel has taken."""
        self.keep = True
        self.is_closed = False
        """This side has closed or reset."""
        self.sip_bytes = READ_BYTES
        self.sip_gap_s = 0.0
        self._was_refused = False
        self._changed = asyncio.Event()
        self._reader: asyncio.Task[None] | None = None
        if reading:
            self.start_reading()

    # Reading

    def start_reading(self, sip_bytes: int = READ_BYTES, sip_gap_s: float = 0.0) -> None:
        """Take what comes, at most ``sip_bytes`` at a time with ``sip_gap_s`` in between."""
        self.sip_bytes, self.sip_gap_s = sip_bytes, sip_gap_s
        if self._reader is None and not self.is_closed and self.end is End.OPEN:
            self._reader = spawn(self._read(), name="hostile line")

    async def stop_reading(self) -> None:
        """Take nothing more from the kernel."""
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.cancel()
            with suppress(asyncio.CancelledError):
                await reader

    async def _read(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                data = await loop.sock_recv(self.sock, self.sip_bytes)
            except OSError:
                self._on_end(End.RESET)
                return
            if not data:
                self._on_end(End.RESET if self._was_refused else End.CLOSED)
                return
            self.total += len(data)
            if self.keep:
                self.received += data
            self._changed.set()
            if self.sip_gap_s:
                await asyncio.sleep(self.sip_gap_s)

    def _on_end(self, end: End) -> None:
        self.end = end
        self.ended_at = monotonic()
        self._changed.set()

    async def until(self, condition: Callable[[], object], patience_s: float) -> bool:
        """Wait until ``condition`` holds or the other side has ended; tell whether it holds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                while not condition() and self.end is End.OPEN:
                    self._changed.clear()
                    await self._changed.wait()
        return bool(condition())

    async def until_end(self, patience_s: float) -> End:
        """Wait until the other side ends; return how."""
        await self.until(lambda: False, patience_s)
        return self.end

    async def take(self, marker: bytes, patience_s: float) -> bytes:
        """Return what comes up to and with ``marker``, or nothing when it does not come."""
        if not await self.until(lambda: self.received.find(marker, self.taken) >= 0, patience_s):
            return b""
        end = self.received.find(marker, self.taken) + len(marker)
        data = bytes(self.received[self.taken : end])
        self.taken = end
        return data

    async def take_exactly(self, size: int, patience_s: float) -> bytes:
        """Return the next ``size`` bytes, or nothing when they do not come."""
        if not await self.until(lambda: len(self.received) - self.taken >= size, patience_s):
            return b""
        data = bytes(self.received[self.taken : self.taken + size])
        self.taken += size
        return data

    # Sending

    async def send(self, data: bytes) -> bool:
        """Send ``data``; False when the other side has gone."""
        if self.is_closed:
            return False
        try:
            await asyncio.get_running_loop().sock_sendall(self.sock, data)
        except OSError:
            self._was_refused = True  # the kernel tells of a reset once, and has told us
            return False
        self.sent += len(data)
        return True

    def shut(self) -> None:
        """End our sending; go on reading."""
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_WR)

    async def close(self) -> None:
        """Close as programs do that have finished: an end of file, or a reset if something was left unread."""
        await self.stop_reading()
        self.is_closed = True
        self.sock.close()

    async def reset(self) -> None:
        """Close with a reset, as a crashed host, a killed container or a firewall does."""
        with suppress(OSError):
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, ABORT)
        await self.close()


async def connect(host: str, port: int, *, receive_bytes: int = 0, reading: bool = True) -> Line:
    """Open a line; ``receive_bytes`` bounds what the kernel takes for us (0: its own choice)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if receive_bytes:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(sock, (host, port))
    except BaseException:
        sock.close()
        raise
    return Line(sock, reading=reading)

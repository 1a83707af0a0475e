"""Writes gathered to the end of the loop's turn: read all that is there, then write all there is.

Rationale. *Question:* when does a message leave? *Options:* at once, or after every socket that had something has been
read. *Choice:* after, because each write at once wakes a peer that answers and sleeps again, so that the next write
pays for waking it again: 6 µs of kernel time a request (``benchmarks/NOTES.md``, "Order of writes"). HAProxy and Envoy
do the same. *What would change our mind:* an event loop that submits writes in batches itself.

No write is delayed by a timer: the turn ends when the sockets that were ready have been read.

What no client waits for, copies to shadows above all, is begun when the writes of the turn are out, and is written in
the same turn: a client's request is on its way before anything is done for its copy.

A large piece of a stream does not wait for the end of the turn. libuv reads a socket that has more up to 32 times in
one turn, 256 KiB each: gathered, that would be 8 MiB a stream before the transport can say that it is enough.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import cast

__all__ = ["LARGE_BYTES", "MOST_GATHERED", "Outbox", "Writer"]


_AT_ONCE = struct.pack("ii", 1, 0)
"""``SO_LINGER`` with a time of 0: closing sends a reset and drops what the kernel still holds (``socket(7)``)."""


LARGE_BYTES = 64 * 1024
"""A piece of this size is not worth waiting for company."""

MOST_GATHERED = 64
"""Pieces of one connection that wait for the end of the turn. More are a flood: of interim answers, say."""


_TCP_INFO = getattr(socket, "TCP_INFO", None)
_ENDED = frozenset({7, 8, 9, 11})
"""``TCP_CLOSE``, ``TCP_CLOSE_WAIT``, ``TCP_LAST_ACK``, ``TCP_CLOSING``: the peer sends nothing more (``tcp(7)``)."""


class Outbox:
    """The connections of one worker that have something to write in this turn."""

    __slots__ = ("_loop", "afterwards", "writers")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.writers: list[Writer] = []
        self.afterwards: list[Callable[[], None]] = []
        """What is begun behind them."""

    def schedule(self) -> None:
        """Flush at the end of this turn: called by the first writer of it."""
        self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write everything out, begin what comes afterwards, and write that out."""
        writers, self.writers = self.writers, []
        for writer in writers:
            # HOT: ``Writer.flush_writes`` written out (benchmarks/NOTES.md, "Bytecodes").
            gathered = writer.gathered
            if gathered is not None:
                writer.gathered = None
                transport = writer.transport
                if not transport.is_closing():
                    transport.write(gathered if isinstance(gathered, bytes) else b"".join(gathered))
        if self.afterwards:
            self._begin(writers[-1:])

    def follow(self, begin: Callable[[], None]) -> None:
        """Call ``begin`` in this turn, when all that was written in it is out."""
        if not self.writers and not self.afterwards:
            self.schedule()
        self.afterwards.append(begin)

    def _begin(self, somebody: "list[Writer]") -> None:
        afterwards, self.afterwards = self.afterwards, []
        # With somebody in the list nobody schedules another flush: what they write is written here.
        self.writers = somebody
        try:
            for begin in afterwards:
                begin()
        finally:
            self.flush()


class Writer(asyncio.Protocol):
    """A protocol whose writes are gathered. Closing writes out first, aborting does not."""

    __slots__ = ("_outbox", "gathered", "transport")

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self.gathered: bytes | list[bytes] | None = None
        """What waits for the end of the turn: nearly always one message."""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's do not inherit from asyncio's

    def write(self, data: bytes) -> None:
        """Write ``data`` at the end of this turn, after what was written before."""
        gathered = self.gathered
        if gathered is None:
            self.gathered = data
            outbox = self._outbox
            if not outbox.writers:
                outbox.schedule()
            outbox.writers.append(self)
        elif isinstance(gathered, bytes):
            self.gathered = [gathered, data]
        else:
            gathered.append(data)
            if len(gathered) >= MOST_GATHERED:
                self.flush_writes()

    def write_piece(self, data: bytes) -> None:
        """Write a piece of a stream: at the end of this turn, or at once if it is large."""
        self.write(data)
        if len(data) >= LARGE_BYTES:
            self.flush_writes()

    def flush_writes(self) -> None:
        """Hand what was gathered to the transport, unless that is gone."""
        gathered, self.gathered = self.gathered, None
        if gathered is not None and not self.transport.is_closing():
            self.transport.write(gathered if isinstance(gathered, bytes) else b"".join(gathered))

    def reset(self) -> None:
        """Close at once with a reset, so that the peer can tell it from an end and the kernel holds nothing for it.

        Aborting a transport is not enough: it drops what the transport holds, but the socket then closes as if all had
        been said.
        """
        sock = self.transport.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def has_peer_ended(self) -> bool:
        """Tell whether the peer has closed, shut or reset its side, which a socket that is not read does not report.

        Linux only; elsewhere always False.
        """
        sock = self.transport.get_extra_info("socket")
        if _TCP_INFO is None or sock is None:
            return False
        return sock.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 1)[0] in _ENDED

    def close(self) -> None:
        """Write out, then close."""
        self.flush_writes()
        self.transport.close()

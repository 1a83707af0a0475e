"""The pipe to the observer: bounded in bytes, never waited for, gone and back without anybody noticing.

Frames gather for a moment and leave in one write, so that a mirrored request does not cost a system call more. What
comes while there is no observer (it is started beside the workers, and again when it has died) waits here for the next
one. What comes while the pipe is full is refused: the caller counts it. Whether a frame is taken depends on what waits
before it and never on its own size: else, under a load that is too much for the observer, small answers would still
find room where large ones do not, and what is left would speak of small answers only.

Rule
    A hello says what had been handed over when the connection before it was lost, not when it is said: what was taken
    since follows the hello. So the observer finds missing what was lost with that connection, and counts as missing
    nothing that is still to come.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import cast

from proxy.tasks import spawn

__all__ = ["FLUSH_BYTES", "PIPE_BYTES", "Shipper"]

PIPE_BYTES = 32 * 1024 * 1024
"""Frames on their way to the observer, per worker; once so much waits, further ones are dropped and counted. So it may
be exceeded by one batch and one frame (``limits.copy`` bounds it)."""

PIPE_FRAMES = 65_536
"""Frames waiting for one flush, or for an observer; a bound on items beside the bound on bytes."""

FLUSH_BYTES = 128 * 1024
"""Below the usual size of a Unix socket's buffer (208 KiB), so that one write takes all."""

_PIECE_FRAMES = 2048
"""Frames that have waited and are written in one turn of the loop, some milliseconds at most."""

FLUSH_AFTER_S = 0.01
"""Fewer, larger writes wake the observer less often: it shares the caches, often the core, with the workers."""

RECONNECT_FIRST_S = 0.02
RECONNECT_LAST_S = 0.2
"""Not longer: what comes meanwhile takes up memory, and room that what comes later will not find."""

STABLE_S = 5.0
"""A connection that lives this long starts the pauses between attempts anew."""


class Shipper(asyncio.Protocol):
    """Owns the connection to ``observer.sock`` and reconnects for ever.

    Args:
        loop: the worker's loop.
        path: the observer's socket.
        hello: builds the first frame of a connection, from the counts of what was handed over so far.
    """

    __slots__ = (
        "_bytes",
        "_closing",
        "_connected",
        "_connected_s",
        "_disconnected",
        "_frames",
        "_greeting",
        "_hello",
        "_loop",
        "_path",
        "_pause_s",
        "_timer",
        "_transport",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, hello: Callable[[], bytes]) -> None:
        self._loop = loop
        self._path = path
        self._hello = hello
        self._greeting = b""
        """What the next connection begins with; empty: what the hello is now."""
        self._frames: list[bytes] = []
        self._bytes = 0
        self._timer: asyncio.Handle | None = None
        """Of the next flush, or of the next part of what has waited."""
        self._transport: asyncio.Transport | None = None
        """None also until what has waited is written."""
        self._closing = False
        self._pause_s = RECONNECT_FIRST_S
        self._connected, self._disconnected = asyncio.Event(), asyncio.Event()
        self._connected_s = 0.0

    async def start(self, wait_s: float) -> None:
        """Begin to connect, and wait up to ``wait_s`` seconds for the first connection, so that little need wait in
        memory while the processes start. Afterwards it goes on trying by itself.
        """
        self._greeting = self._hello()  # a predecessor's counts: nothing of ours is among them yet
        spawn(self._connect(), name="observer pipe")
        with suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await self._connected.wait()

    def ship(self, frame: bytes) -> bool:
        """Take ``frame`` along; False when it must be dropped."""
        transport = self._transport
        if transport is None:
            return self._hold(frame)
        if len(self._frames) >= PIPE_FRAMES:
            return False
        # HOT: asked once for each batch, not for each frame.
        if not self._bytes and transport.get_write_buffer_size() >= PIPE_BYTES:
            return False
        self._frames.append(frame)
        self._bytes = size = self._bytes + len(frame)
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_AFTER_S, self._flush)
        elif size > FLUSH_BYTES:
            self._timer.cancel()
            self._flush()
        return True

    def _hold(self, frame: bytes) -> bool:
        """Keep ``frame`` for the next connection; False when it must be dropped."""
        if self._bytes >= PIPE_BYTES or len(self._frames) >= PIPE_FRAMES:
            return False
        self._frames.append(frame)
        self._bytes += len(frame)
        return True

    async def close(self, seconds: float) -> None:
        """Write out what is left, to an observer that is still on its way too, and end.

        Args:
            seconds: how long that may take; then the rest is given up.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                if self._frames:
                    await self._connected.wait()
                self._closing = True
                self._flush()
                if self._transport is not None:
                    self._transport.close()
                    await self._disconnected.wait()
        self._closing = True

    def _flush(self) -> None:
        """Write what has gathered, if there is somebody to write to."""
        self._timer = None
        if self._frames and self._transport is not None:
            frames, self._frames, self._bytes = self._frames, [], 0
            self._transport.write(b"".join(frames))

    def _catch_up(self, pipe: asyncio.Transport) -> None:
        """Write a part of what has waited for ``pipe``, and the rest in later turns of the loop: clients wait too.

        What comes meanwhile waits behind it. Nothing is taken off the bound before all is written.
        """
        count = size = 0
        for frame in islice(self._frames, _PIECE_FRAMES):
            count += 1
            size += len(frame)
            if size >= FLUSH_BYTES:
                break
        if count:
            pipe.write(b"".join(self._frames[:count]))
            del self._frames[:count]
        if self._frames:
            self._timer = self._loop.call_soon(self._catch_up, pipe)
            return
        self._timer, self._bytes, self._transport = None, 0, pipe
        self._connected.set()

    async def _connect(self) -> None:
        while not self._closing:
            try:
                await self._loop.create_unix_connection(lambda: self, str(self._path))
            except OSError:
                await self._pause()
            else:
                return

    async def _reconnect(self) -> None:
        await self._pause()
        await self._connect()

    async def _pause(self) -> None:
        await asyncio.sleep(self._pause_s)
        self._pause_s = min(self._pause_s * 2, RECONNECT_LAST_S)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello; what has waited follows."""
        # A cast, because uvloop's transports do not inherit from asyncio's.
        pipe = cast(asyncio.Transport, transport)
        pipe.write(self._greeting or self._hello())
        self._connected_s = self._loop.time()
        self._disconnected.clear()
        self._catch_up(pipe)

    def connection_lost(self, _error: Exception | None) -> None:
        """Try again. Frames that were shipped and never read are found missing at the next hello."""
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._frames, self._bytes = [], 0
        self._greeting = self._hello()
        self._connected.clear()
        self._disconnected.set()
        if self._loop.time() - self._connected_s > STABLE_S:
            self._pause_s = RECONNECT_FIRST_S
        if not self._closing:
            spawn(self._reconnect(), name="observer pipe")

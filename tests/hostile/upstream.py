"""A model server that follows a script on every connection instead of HTTP."""

import asyncio
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from proxy.tasks import spawn
from tests.hostile.line import Line
from tests.hostile.steps import Script, play

__all__ = ["HostileUpstream", "blackhole", "free_port", "hostile_upstream"]

BACKLOG = 128


class HostileUpstream:
    """A listening socket; the first connection plays the first script, the last script is for all that follow."""

    def __init__(self, scripts: Sequence[Script], *, receive_bytes: int = 0, reading: bool = True) -> None:
        self.scripts = scripts
        self.reading = reading
        """Whether lines begin by reading; a server that never reads sets ``receive_bytes`` as well."""
        self.lines: list[Line] = []
        """Every connection, in the order of their coming."""
        self.finished = 0
        """Scripts played to their end."""
        self.arrived = asyncio.Event()
        self._plays: list[asyncio.Task[None]] = []
        self._sock = sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        if receive_bytes:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        sock.bind(("127.0.0.1", 0))
        sock.listen(BACKLOG)
        sock.setblocking(False)
        self.url = f"http://127.0.0.1:{sock.getsockname()[1]}"
        self._acceptor = spawn(self._accept(), name="hostile upstream")

    @property
    def asked(self) -> int:
        """Whole request heads received, over all connections."""
        return sum(line.received.count(b" HTTP/1.1\r\n") for line in self.lines)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            sock, _ = await loop.sock_accept(self._sock)
            line = Line(sock, reading=self.reading)
            script = self.scripts[min(len(self.lines), len(self.scripts) - 1)]
            self.lines.append(line)
            self.arrived.set()
            self._plays.append(spawn(self._play(script, line), name="hostile script"))

    async def _play(self, script: Script, line: Line) -> None:
        await play(script, line)
        self.finished += 1

    async def close(self) -> None:
        """End everything that is still open."""
        self._acceptor.cancel()
        for task in (self._acceptor, *self._plays):
            task.cancel()
            with suppress(asyncio.CancelledError, TimeoutError):
                await task
        for line in self.lines:
            if not line.is_closed:
                await line.close()
        self._sock.close()


@asynccontextmanager
async def hostile_upstream(
    *scripts: Script, receive_bytes: int = 0, reading: bool = True
) -> AsyncIterator[HostileUpstream]:
    """Run a :class:`HostileUpstream` on a free port."""
    upstream = HostileUpstream(scripts, receive_bytes=receive_bytes, reading=reading)
    try:
        yield upstream
    finally:
        await upstream.close()


def free_port() -> int:
    """Return a port where nobody listens: connections to it are refused."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@asynccontextmanager
async def blackhole() -> AsyncIterator[str]:
    """Yield the URL of a socket whose queue is full: connecting to it hangs (Linux drops the SYN)."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen(0)
    address = sock.getsockname()
    fillers = [socket.socket() for _ in range(4)]
    try:
        for filler in fillers:
            filler.setblocking(False)
            with suppress(BlockingIOError):
                filler.connect(address)
        yield f"http://127.0.0.1:{address[1]}"
    finally:
        for filler in fillers:
            filler.close()
        sock.close()

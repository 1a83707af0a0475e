"""A proxy with one route, a model that plays a script behind it, and clients: for what the matrix does not ask."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.tasks import spawn
from tests.e2e.running import Running, eventually, serve
from tests.hostile.line import Line, connect
from tests.hostile.steps import Script
from tests.hostile.upstream import HostileUpstream, hostile_upstream

__all__ = [
    "ASK",
    "MIB",
    "OK",
    "PIECE",
    "SSE",
    "Growth",
    "World",
    "at_rest",
    "on_linux",
    "proxied",
    "worker_of",
]

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="looks at processes through /proc")

MIB = 1 << 20
ASK = b"POST /m HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = b"10000\r\n" + bytes(1 << 16) + b"\r\n"


class World:
    """A proxy, the model behind it, and clients that are gone in the end."""

    def __init__(self, proxy: Running, model: HostileUpstream) -> None:
        self.proxy = proxy
        self.model = model
        self.clients: list[Line] = []

    async def client(self, receive_bytes: int = 0) -> Line:
        """Connect a client."""
        host, port = self.proxy.listen.removeprefix("http://").split(":")
        self.clients.append(await connect(host, int(port), receive_bytes=receive_bytes))
        return self.clients[-1]

    async def asked(self, count: int) -> None:
        """Wait until ``count`` requests have reached the model."""

        async def is_asked() -> bool:
            return sum(bool(line.taken) for line in self.model.lines) == count

        await eventually(is_asked, "every request at the model")


@asynccontextmanager
async def proxied(
    directory: Path, *scripts: Script, receive_bytes: int = 0, timeouts: str = ""
) -> AsyncIterator[World]:
    """Run a proxy in front of a model that plays ``scripts``."""
    async with hostile_upstream(*scripts, receive_bytes=receive_bytes) as model:
        text = f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
limits: {{body: 1GiB}}
timeouts: {{{timeouts}}}
models: {{m: {{url: "{model.url}"}}}}
routes: [{{name: r, match: {{path: "*"}}, variants: [{{name: v, model: m, role: champion}}]}}]
"""
        async with serve(directory, text) as proxy:
            world = World(proxy, model)
            try:
                yield world
            finally:
                for client in world.clients:
                    if not client.is_closed:
                        await client.reset()


async def at_rest(sent: Callable[[], int]) -> None:
    """Wait until something was sent, and for a third of a second nothing more: whoever could take more would have."""
    before, looks = 0, 0
    while looks < 30:
        await asyncio.sleep(0.01)
        now = sent()
        looks = looks + 1 if now == before > 0 else 0
        before = now


async def worker_of(proxy: Running) -> int:
    """Return the process id of the only worker."""
    return int((await proxy.status())["workers"][0]["pid"])


def resident(pid: int) -> int:
    """Return the resident bytes of a process."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


class Growth:
    """How far the memory of a process rises above what it was, looked at every few milliseconds."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.before = resident(pid)
        self.most = 0

    async def __aenter__(self) -> "Growth":
        self._watch = spawn(self._look(), name="growth")
        return self

    async def _look(self) -> None:
        while True:
            self.most = max(self.most, resident(self.pid) - self.before)
            await asyncio.sleep(0.005)

    async def __aexit__(self, *_: object) -> None:
        self._watch.cancel()

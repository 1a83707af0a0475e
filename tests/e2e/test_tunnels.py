"""WebSocket through a running proxy, between a client and a server that know nothing of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.running import Running, eventually, serve

pytestmark = pytest.mark.slow

CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {state_dir}
timeouts: {{drain: 5s}}
models:
  one: {{url: "http://127.0.0.1:{port}"}}
routes:
  - name: chat
    match: {{path: "/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: one}}]
"""


class Echo:
    """A WebSocket server that repeats what it is told, and knows who has left."""

    def __init__(self) -> None:
        self.port = 0
        self.opened = 0
        self.left = 0

    async def talk(self, request: web.Request) -> web.WebSocketResponse:
        """Serve one connection."""
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self.opened += 1
        async for message in socket:
            await (
                socket.send_str(message.data)
                if message.type is aiohttp.WSMsgType.TEXT
                else socket.send_bytes(message.data)
            )
        self.left += 1
        return socket


@asynccontextmanager
async def echo_server() -> AsyncIterator[Echo]:
    """Run one."""
    echo = Echo()
    app = web.Application()
    app.router.add_get("/{path:.*}", echo.talk)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    echo.port = runner.addresses[0][1]
    try:
        yield echo
    finally:
        await runner.cleanup()


@asynccontextmanager
async def chat(directory: Path) -> AsyncIterator[tuple[Running, Echo]]:
    """Run the server, and a proxy in front of it."""
    async with echo_server() as echo:
        text = CONFIG.format(state_dir=directory / "state", port=echo.port)
        async with serve(directory, text) as running:
            yield running, echo


async def test_messages_of_every_length(tmp_path: Path) -> None:
    """Frames of every kind of length come back whole, text and bytes, and every byte is counted."""
    async with chat(tmp_path) as (running, _):
        async with running.session.ws_connect(running.listen, max_msg_size=0) as socket:
            for size in (0, 5, 125, 126, 65_536, 3_000_000):
                await socket.send_bytes(b"x" * size)
                assert await socket.receive_bytes() == b"x" * size
            await socket.send_str("grüße")
            assert await socket.receive_str() == "grüße"
        await running.settled()
        assert await running.total("modelproxy_requests_total", code="101", variant="v1") == 1
        assert await running.total("modelproxy_tunnel_bytes_total", direction="sent") > 3_065_000
        assert await running.total("modelproxy_tunnel_bytes_total", direction="received") > 3_065_000
        assert await running.total("modelproxy_shadow_requests_total", outcome="eligible") == 0


async def test_both_sides_learn_of_the_end(tmp_path: Path) -> None:
    """A client that closes ends the server's side, one that breaks off too, and nothing stays open."""
    async with chat(tmp_path) as (running, echo):
        polite = await running.session.ws_connect(running.listen)
        await polite.close()
        rude = await running.session.ws_connect(running.listen)
        assert rude._response.connection is not None
        assert rude._response.connection.transport is not None
        rude._response.connection.transport.abort()
        await eventually(lambda: value(echo.left == 2), "both gone at the server")
        await running.settled()
        assert await running.total("modelproxy_requests_total", code="101") == 2


async def test_reload_and_drain(tmp_path: Path) -> None:
    """A tunnel lives on through a reload, and through a drain until that is over."""
    async with chat(tmp_path) as (running, echo):
        async with running.session.ws_connect(running.listen) as socket:
            await running.publish(
                CONFIG.format(state_dir=tmp_path / "state", port=echo.port).replace("drain: 5s", "drain: 1s")
            )
            await socket.send_str("still there?")
            assert await socket.receive_str() == "still there?"
            running.process.terminate()
            await socket.send_str("and now?")
            assert await socket.receive_str() == "and now?"
            message = await socket.receive(timeout=10)
            assert message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR)
        assert await asyncio.wait_for(running.process.wait(), 10) == 0


async def value(result: bool) -> bool:
    return result

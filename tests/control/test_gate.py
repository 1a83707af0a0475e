"""The gate of the admin address: few connections, none for ever."""

import asyncio
import logging
import socket
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from proxy.control.gate import GATE, Gate, GatedSite, build_runner
from tests.e2e.running import eventually

PATIENCE_S = 20.0
HEAD = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"


@asynccontextmanager
async def serving(gate: Gate) -> AsyncIterator[int]:
    """Serve a path that answers, one that reads a body, and one that answers much; yield the port."""

    @web.middleware
    async def tell(request: web.Request, handler: object) -> web.StreamResponse:
        gate.on_head(request.transport)
        return await handler(request)  # type: ignore[operator, no-any-return]

    async def answer(_: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def read(request: web.Request) -> web.Response:
        return web.Response(text=f"{len(await request.read())} read")

    async def much(_: web.Request) -> web.Response:
        return web.Response(body=bytes(20_000_000))

    app = web.Application(middlewares=[tell])
    app[GATE] = gate
    app.add_routes([web.get("/healthz", answer), web.post("/read", read), web.get("/much", much)])
    runner = build_runner(app, 0.1)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0))
    await GatedSite(runner, listener).start()
    try:
        yield listener.getsockname()[1]
    finally:
        await runner.cleanup()


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


async def opened(port: int, data: bytes = b"") -> Streams:
    """Open a connection and send ``data``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    return reader, writer


async def ended(reader: asyncio.StreamReader) -> bytes:
    """Wait until the connection is gone; return what came before."""
    got = b""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while data := await reader.read(1 << 16):
                got += data
    except ConnectionError:
        pass
    return got


SLOW = {
    "says nothing": b"",
    "a head without an end": HEAD[:-2],
    "a body that does not come": b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nab",
    "idle after an answer": HEAD,
}


@pytest.mark.parametrize("name", SLOW)
async def test_no_connection_lasts_for_ever(name: str) -> None:
    """Whatever a client waits with, its connection is cut after the patience."""
    gate = Gate(patience_s=0.2)
    async with serving(gate) as port:
        reader, writer = await opened(port, SLOW[name])
        await ended(reader)
        writer.close()
        assert gate.cut == 1


async def test_a_trickle_is_no_progress() -> None:
    """A head that comes byte by byte for ever is cut as well."""
    gate = Gate(patience_s=0.3)
    async with serving(gate) as port:
        reader, writer = await opened(port, b"GET / HTTP/1.1\r\n")

        async def trickle() -> None:
            while True:
                writer.write(b"x: y\r\n")
                await asyncio.sleep(0.05)

        sending = asyncio.ensure_future(trickle())
        await ended(reader)
        sending.cancel()
        await asyncio.wait([sending])
        writer.close()
        assert gate.cut == 1


async def test_who_does_not_read_is_cut() -> None:
    """A client that asks for much and reads nothing holds it only so long."""
    gate = Gate(patience_s=0.3)
    async with serving(gate) as port:
        reader, writer = await opened(port, b"GET /much HTTP/1.1\r\nHost: localhost\r\n\r\n")

        async def is_cut() -> int:
            return gate.cut

        await eventually(is_cut, "the connection cut")
        assert len(await ended(reader)) < 20_000_000
        writer.close()


async def test_each_head_gives_new_time() -> None:
    """A connection that goes on asking lives on beyond the patience of its opening."""
    gate = Gate(patience_s=0.5)
    async with serving(gate) as port:
        reader, writer = await opened(port)
        began = asyncio.get_running_loop().time()
        while asyncio.get_running_loop().time() < began + 1.2:
            writer.write(HEAD)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            await asyncio.sleep(0.05)
        assert gate.cut == 0
        writer.close()


async def test_who_has_waited_longest_makes_room() -> None:
    """However many connections are held open, a new one is answered."""
    gate = Gate(most=5)
    async with serving(gate) as port:
        held = [await opened(port, HEAD[:-2]) for _ in range(5)]
        for _ in range(3):
            reader, writer = await opened(port, HEAD)
            assert (await reader.readuntil(b"ok")).startswith(b"HTTP/1.1 200")
            writer.close()
            held.append((reader, writer))
        await ended(held[0][0])
        assert 1 <= gate.cut <= 3
        for _, writer in held:
            writer.close()


async def test_junk_is_answered_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """What is not HTTP gets its 400; none of its bytes reach the log."""
    with caplog.at_level(logging.DEBUG):
        async with serving(Gate()) as port:
            for junk in (b"\x16\x03\x01junk\r\n\r\n", b"GET / HTTP/1.1\r\nbad header junk\r\n\r\n"):
                reader, writer = await opened(port, junk)
                assert b" 400 " in (await ended(reader)).partition(b"\r\n")[0]
                writer.close()
    assert "junk" not in caplog.text
    assert "Traceback" not in caplog.text


async def test_a_compressed_body_is_not_unpacked() -> None:
    """A body is read as it was sent: half a megabyte that would become 512 costs nothing."""
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(512)) + packer.flush()
    head = b"POST /read HTTP/1.1\r\nHost: localhost\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n"
    async with serving(Gate()) as port:
        reader, writer = await opened(port, head % len(bomb) + bomb)
        # The path answers with the size that it has read; more than a megabyte would be a 413.
        assert (await reader.readuntil(b"read")).endswith(b"\r\n\r\n%d read" % len(bomb))
        writer.close()

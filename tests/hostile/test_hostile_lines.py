"""The hostile peers do what their names say, also to each other."""

import asyncio
import sys

import pytest

from tests.hostile.line import End, Line, connect
from tests.hostile.steps import (
    Drip,
    Ended,
    Fin,
    Flood,
    HoldReading,
    Pause,
    ReadRequest,
    Reset,
    Script,
    Send,
    Serve,
    Shut,
    Sip,
    play,
)
from tests.hostile.upstream import HostileUpstream, blackhole, free_port, hostile_upstream


async def line_to(upstream: HostileUpstream, receive_bytes: int = 0) -> Line:
    """Connect to a hostile upstream."""
    host, port = upstream.url.removeprefix("http://").split(":")
    return await connect(host, int(port), receive_bytes=receive_bytes)


@pytest.mark.parametrize(("step", "end"), [(Fin(), End.CLOSED), (Shut(), End.CLOSED), (Reset(), End.RESET)])
async def test_ends_differ_on_the_wire(step: Fin | Shut | Reset, end: End) -> None:
    """The other side sees an end after closing and shutting, a reset after a reset, and keeps what came before."""
    async with hostile_upstream((Send(b"hello"), Pause(0.05), step, Ended())) as upstream:
        line = await line_to(upstream)
        assert await line.until_end(5) is end
        assert line.received == b"hello"
        await line.close()


async def test_a_reset_is_seen_by_who_writes_first() -> None:
    """The kernel tells of a reset once: the line remembers it whoever was told."""
    async with hostile_upstream((Reset(),)) as upstream:
        line = await line_to(upstream)
        await line.stop_reading()
        await play((Flood(b"x", gap_s=0.01),), line)
        line.start_reading()
        assert await line.until_end(5) is End.RESET
        await line.close()


async def test_not_reading_stops_the_other_side() -> None:
    """Who holds its reading takes no more than the kernel does, and everything once it reads again."""
    size = 16 << 20
    async with hostile_upstream((Flood(bytes(1 << 16), limit=size), Fin())) as upstream:
        line = await line_to(upstream, receive_bytes=4096)
        await play((HoldReading(), Pause(0.1)), line)
        held = line.total
        assert upstream.finished == 0
        line.keep = False
        await play((Sip(1 << 20), Ended()), line)
        assert held < size == line.total
        await line.close()


REQUESTS = {
    "no body": b"GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "length": b"POST / HTTP/1.1\r\nContent-Length: 4\r\n\r\nbody",
    "chunks": b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\nbody\r\n0\r\nX: y\r\n\r\n",
}


@pytest.mark.parametrize("request_", REQUESTS.values(), ids=REQUESTS)
async def test_a_request_is_read_to_its_end(request_: bytes) -> None:
    """Reading a request ends exactly behind it, however it arrives, so the next one is read from its beginning."""
    async with hostile_upstream((ReadRequest(), ReadRequest(), Send(b"both"), Ended())) as upstream:
        line = await line_to(upstream)
        await play((Drip(request_, 0.0005), Send(request_)), line)
        assert await line.take(b"both", 5)
        assert upstream.lines[0].taken == 2 * len(request_)
        await line.close()


async def test_scripts_are_dealt_in_order() -> None:
    """The first connection plays the first script, and the last script is for all that follow."""
    scripts: tuple[Script, ...] = ((Send(b"1"), Ended()), (Send(b"2"), Ended()))
    async with hostile_upstream(*scripts) as upstream:
        heard = []
        for _ in range(3):
            line = await line_to(upstream)
            heard.append(await line.take_exactly(1, 5))
            await line.close()
    assert heard == [b"1", b"2", b"2"]


async def test_serving() -> None:
    """A server that does what it should answers each request once."""
    async with hostile_upstream((Serve(b"HTTP/1.1 204 No Content\r\n\r\n"),)) as upstream:
        line = await line_to(upstream)
        await line.send(REQUESTS["length"] * 3)
        for _ in range(3):
            assert await line.take(b"\r\n\r\n", 5)
        await line.close()


async def test_nobody_listens_on_a_free_port() -> None:
    """Connecting is refused."""
    with pytest.raises(ConnectionRefusedError):
        await connect("127.0.0.1", free_port())


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse what does not fit the queue")
async def test_connecting_to_a_blackhole_hangs() -> None:
    """A full queue neither accepts nor refuses."""
    async with blackhole() as url:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await connect("127.0.0.1", int(url.rpartition(":")[2]))

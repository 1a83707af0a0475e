"""Streams pass piece by piece, at the slower side's pace, in bounded memory, and end as soon as nobody listens."""

import asyncio
import ctypes
import os
import socket
from pathlib import Path

import pytest

from proxy.clock import monotonic
from proxy.tasks import spawn
from tests.faults.world import ASK, MIB, PIECE, SSE, Growth, at_rest, on_linux, proxied, worker_of
from tests.hostile.line import End
from tests.hostile.steps import (
    Ended,
    Fin,
    Flood,
    HoldReading,
    ReadHead,
    ReadRequest,
    Reset,
    Script,
    Send,
    Serve,
    Shut,
    Sip,
    play,
)

pytestmark = pytest.mark.slow


async def test_events_pass_one_by_one(tmp_path: Path) -> None:
    """The model sends its next event only when the client has the last one: nothing is held back, merged or delayed."""
    async with proxied(tmp_path, (ReadRequest(), Send(SSE), Ended())) as world:
        client = await world.client()
        await client.send(ASK)
        assert await client.take(b"\r\n\r\n", 10)
        began = monotonic()
        for number in range(200):
            event = b"data: %d\n\n" % number
            await world.model.lines[0].send(b"%x\r\n%b\r\n" % (len(event), event))
            assert await client.take(b"\r\n", 10) == b"%x\r\n" % len(event)
            assert await client.take_exactly(len(event) + 2, 10) == event + b"\r\n"
        # Nagle's algorithm against a delayed acknowledgement would take 40 ms for each (RFC 9293 §3.7.4).
        assert monotonic() - began < 200 * 0.02


async def test_separate_events_stay_separate_chunks(tmp_path: Path) -> None:
    """Events that arrive in one segment leave as the chunks that they were."""
    events = b"".join(b"9\r\ndata: %d\n\n\r\n" % number for number in range(5))
    async with proxied(tmp_path, (ReadRequest(), Send(SSE + events), Ended())) as world:
        client = await world.client()
        await client.send(ASK)
        assert await client.take(b"\r\n\r\n", 10)
        assert await client.take_exactly(len(events), 10) == events


@pytest.mark.parametrize("has_begun", [False, True], ids=["waiting", "streaming"])
async def test_nobody_listens(tmp_path: Path, has_begun: bool) -> None:
    """Every model connection whose client has left, in whatever way, is ended at once, whether or not it answers."""
    count = 30
    script: Script = (
        (ReadRequest(), Send(SSE), Flood(b"5\r\nevent\r\n", gap_s=0.02))
        if has_begun
        else (ReadHead(), Ended())
    )
    async with proxied(tmp_path, script) as world:
        clients = [await world.client() for _ in range(count)]
        for client in clients:
            await client.send(ASK)
            if has_begun:
                assert await client.take(b"event", 10)
        await world.asked(count)
        left_at = monotonic()
        for number, client in enumerate(clients):
            await play(((Fin(), Reset(), Shut())[number % 3],), client)
        for line in world.model.lines:
            assert await line.until_end(10) is not End.OPEN
        assert max(line.ended_at for line in world.model.lines) - left_at < 1
        await world.proxy.settled()
        code = "200" if has_begun else "499"
        assert await world.proxy.total("modelproxy_requests_total", route="r", code=code) == count
        assert await world.proxy.total("modelproxy_upstream_faults_total") == 0


@on_linux
async def test_a_slow_client_slows_the_model(tmp_path: Path) -> None:
    """Of a 128 MiB stream no more is on its way than the buffers hold, and the worker's memory does not show it."""
    size = 128 * MIB
    pours: Script = (
        ReadRequest(),
        Send(SSE),
        Flood(PIECE, limit=size // 65536 * len(PIECE), patience_s=60),
        Ended(),
    )
    async with proxied(tmp_path, pours) as world:
        async with Growth(await worker_of(world.proxy)) as growth:
            client = await world.client(receive_bytes=1 << 16)
            client.keep = False
            await play((HoldReading(), Send(ASK)), client)
            await at_rest(lambda: world.model.lines[0].sent)
            assert world.model.lines[0].sent < size // 2
            await play((Sip(MIB),), client)
            assert await client.until(lambda: client.total > size, 60)
        assert growth.most < 16 * MIB


@on_linux
async def test_a_slow_model_slows_the_client(tmp_path: Path) -> None:
    """Of a 128 MiB upload no more is on its way than the buffers hold, and the worker's memory does not show it."""
    size = 128 * MIB
    reads: Script = (HoldReading(), Ended(60))
    async with proxied(tmp_path, reads, receive_bytes=1 << 16) as world:
        async with Growth(await worker_of(world.proxy)) as growth:
            client = await world.client()
            await client.send(b"POST /m HTTP/1.1\r\nhost: h\r\ncontent-length: %d\r\n\r\n" % size)
            upload = spawn(play((Flood(bytes(1 << 16), limit=size, patience_s=60),), client), name="upload")
            await asyncio.wait_for(world.model.arrived.wait(), 10)
            line = world.model.lines[0]
            line.keep = False
            await at_rest(lambda: client.sent)
            assert client.sent < size // 2
            await play((Sip(MIB),), line)
            assert await line.until(lambda: line.total > size, 60)
            await upload
        assert growth.most < 16 * MIB


@on_linux
async def test_memory_of_each_stalled_stream(tmp_path: Path) -> None:
    """A hundred streams that nobody takes cost the worker less than half a MiB each."""
    count = 100
    pours: Script = (ReadRequest(), Send(SSE), Flood(PIECE, limit=64 * MIB, patience_s=60), Ended())
    async with proxied(tmp_path, pours) as world:
        async with Growth(await worker_of(world.proxy)) as growth:
            clients = [await world.client(receive_bytes=4096) for _ in range(count)]
            for client in clients:
                await play((HoldReading(), Send(ASK)), client)
            await world.asked(count)
            await at_rest(lambda: sum(line.sent for line in world.model.lines))
            assert sum(line.sent for line in world.model.lines) < count * 64 * MIB // 2
        assert growth.most < count * MIB // 2


PIDFD_GETFD = 438
"""System call number, the same on every architecture of Linux since 5.6."""


def sockets_of(pid: int) -> dict[tuple[int, int], socket.socket]:
    """Return duplicates of a process's connected TCP sockets by (own port, peer's port)."""
    libc = ctypes.CDLL(None, use_errno=True)
    process = os.pidfd_open(pid)
    found = {}
    try:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            if not str(entry.readlink()).startswith("socket:"):
                continue
            descriptor = libc.syscall(PIDFD_GETFD, process, int(entry.name), 0)
            if descriptor < 0:
                pytest.skip(f"may not look into the worker: {os.strerror(ctypes.get_errno())}")
            sock = socket.socket(fileno=descriptor)
            try:
                found[sock.getsockname()[1], sock.getpeername()[1]] = sock
            except (OSError, IndexError, TypeError):
                sock.close()
    finally:
        os.close(process)
    return found


@on_linux
async def test_nothing_waits_to_be_sent_with_more(tmp_path: Path) -> None:
    """Nagle's algorithm is off on both sides of the worker."""
    async with proxied(tmp_path, (Serve(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),)) as world:
        client = await world.client()
        await client.send(ASK)
        assert await client.take(b"\r\n\r\nok", 10)
        sockets = sockets_of(await worker_of(world.proxy))
        to_client = sockets[client.sock.getpeername()[1], client.sock.getsockname()[1]]
        line = world.model.lines[0].sock
        to_model = sockets[line.getpeername()[1], line.getsockname()[1]]
        for sock in (to_client, to_model):
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        for sock in sockets.values():
            sock.close()

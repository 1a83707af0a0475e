"""The processes of the program before: real ones, taken over by nothing but their id and a descriptor."""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from proxy.earlier import Earlier
from proxy.handover import Handover, InheritedLock, InheritedProcess, InheritedSocket, Totals
from proxy.listening import bind
from proxy.settings import parse_address
from proxy.tasks import spawn

pytestmark = pytest.mark.slow

WAIT_S = 30

OBEDIENT = """
import os, sys
fd, path = int(sys.argv[1]), sys.argv[2]
with os.fdopen(fd, "rb") as lines, open(path, "a", buffering=1) as notes:
    os.write(fd, b'{"op":"request","id":7,"verb":"reload"}\\n')
    for line in lines:
        notes.write(line.decode())
        if b"hush" in line:
            os.write(fd, b'{"op":"hushed"}\\n')
        if b"drain" in line:
            break
"""

STUBBORN = "import signal, sys; signal.pause()"


class World:
    """Processes that somebody else has started."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.processes: list[InheritedProcess] = []
        self.children: list[subprocess.Popen[bytes]] = []
        self.listener = bind(parse_address("127.0.0.1:0"), "listen")

    def start(self, name: str, script: str = OBEDIENT) -> int:
        ours, theirs = socket.socketpair()
        command = [sys.executable, "-c", script, str(theirs.fileno()), str(self.directory / name)]
        child = subprocess.Popen(command, pass_fds=(theirs.fileno(),))
        theirs.close()
        self.children.append(child)
        self.processes.append(InheritedProcess(name=name, pid=child.pid, link=ours.detach()))
        return child.pid

    async def take_over(self) -> Earlier:
        inherited = [os.dup(self.listener.fileno()), os.open(self.directory, os.O_RDONLY)]
        handover = Handover(
            pid=os.getpid(),
            listen=InheritedSocket(fd=inherited[0], address="a"),
            admin=InheritedSocket(fd=inherited[1], address="b"),
            run=InheritedLock(path=self.directory, fd=0),
            state=None,
            version=1,
            drain_s=1,
            upgrade_s=1,
            started_wall_ns=1,
            totals=Totals(),
            processes=tuple(self.processes),
        )
        earlier = Earlier(handover)
        await earlier.open()
        return earlier

    def notes(self, name: str) -> str:
        path = self.directory / name
        return path.read_text() if path.exists() else ""


async def until(condition: Callable[[], object]) -> None:
    """Return once ``condition`` holds."""
    async with asyncio.timeout(WAIT_S):
        while True:
            if condition():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """None yet; none is left."""
    world = World(tmp_path)
    yield world
    world.listener.close()
    for child in world.children:
        child.kill()
        child.wait()


async def test_they_finish_in_order(world: World) -> None:
    """The observer falls silent when told; the workers drain, then the observer; all are reaped."""
    pids = [world.start(name) for name in ("worker 0", "worker 1", "observer")]
    earlier = await world.take_over()
    assert earlier.pids == pids
    await earlier.leave()
    await earlier.leave()
    await earlier.hush()
    assert "hush" in world.notes("observer")
    await earlier.drain(WAIT_S, 1)
    assert earlier.pids == []
    for name in ("worker 0", "worker 1", "observer"):
        assert world.notes(name).endswith('{"op":"drain","seconds":30}\n')
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


async def is_let_in(listener: socket.socket) -> bool:
    """Tell whether a new client gets a connection at once."""
    try:
        await asyncio.to_thread(lambda: socket.create_connection(listener.getsockname(), timeout=0.1).close())
    except TimeoutError:
        return False
    return True


async def test_where_their_successor_listens_too_nobody_is_turned_away(world: World) -> None:
    """The socket is shared: what the earlier ones give up is a copy."""
    earlier = await world.take_over()
    with world.listener.dup() as successor:
        await earlier.leave(successor.fileno())
    assert await is_let_in(world.listener)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no such filter")
@pytest.mark.parametrize("moves", [True, False], ids=["moves", "ends"])
async def test_where_nobody_listens_after_them_new_clients_are_turned_away(world: World, moves: bool) -> None:
    """Nobody is let in only to be reset, whether the successor listens elsewhere or there is none."""
    earlier = await world.take_over()
    with bind(parse_address("127.0.0.1:0"), "listen") as elsewhere:
        await earlier.leave(elsewhere.fileno() if moves else None)
        assert not await is_let_in(world.listener)
        assert await is_let_in(elsewhere)


async def test_what_they_ask_for_is_refused_in_words(world: World) -> None:
    """Who asks the earlier observer for a reload is told to try again."""
    world.start("observer")
    earlier = await world.take_over()
    await until(lambda: '"ok":false' in world.notes("observer"))
    await earlier.drain(WAIT_S, 1)
    assert "an upgrade is under way" in world.notes("observer")


async def test_who_does_not_finish_is_killed(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """After its time and a margin."""
    world.start("worker 0", STUBBORN)
    earlier = await world.take_over()
    with caplog.at_level(logging.WARNING):
        async with asyncio.timeout(WAIT_S):
            await earlier.drain(0.05, 0.05)
    assert earlier.pids == []
    assert "earlier worker 0: not drained within 0.1 s; killed" in caplog.text


async def test_an_early_end_is_logged(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """Nobody starts it again, so somebody should know."""
    pid = world.start("worker 0", "")
    earlier = await world.take_over()
    await until(lambda: not earlier.pids)
    assert f"earlier worker 0 (pid {pid}) ended before its successor serves" in caplog.text


async def test_all_of_them_can_be_ended_at_once(world: World) -> None:
    """Stubborn or not."""
    world.start("worker 0", STUBBORN)
    world.start("observer", STUBBORN)
    earlier = await world.take_over()
    async with asyncio.timeout(WAIT_S):
        await earlier.kill()
    assert earlier.pids == []


async def test_an_observer_that_never_falls_silent_holds_nobody_up(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The wait is bounded."""
    monkeypatch.setattr("proxy.earlier._HUSH_S", 0.05)
    world.start("observer", STUBBORN)
    earlier = await world.take_over()
    async with asyncio.timeout(WAIT_S):
        await spawn(earlier.hush(), name="hush")
        await earlier.kill()

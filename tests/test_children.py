"""One slot and the processes in it: what does not behave is ended, and another is started."""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from proxy.children import Child, Timing
from proxy.clock import monotonic
from proxy.tasks import spawn

pytestmark = pytest.mark.slow

PATIENCE_S = 30.0

READY = 'os.write(fd, b\'{"op":"ready","pid":1}\\n\');'
UP = READY + 'os.write(fd, b\'{"op":"committed","version":1}\\n\');'
SLEEP = "signal.pause()"


class Owner:
    """Keeps what it is told, to be waited for."""

    def __init__(self) -> None:
        self.ready: asyncio.Queue[int | None] = asyncio.Queue()
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.changed = asyncio.Event()

    def on_ready(self, child: Child) -> None:
        """Keep the process id."""
        self.ready.put_nowait(child.pid)

    def on_message(self, child: Child, message: dict[str, Any]) -> None:
        """Keep the message."""
        self.messages.put_nowait(message)

    def on_change(self, child: Child) -> None:
        """Wake who waits."""
        self.changed.set()

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait for a change after which ``condition`` holds."""
        while not condition():
            self.changed.clear()
            await asyncio.wait_for(self.changed.wait(), PATIENCE_S)

    async def wait_for_restarts(self, child: Child, number: int) -> None:
        """Wait until the slot has seen so many restarts."""
        await self.wait_until(lambda: child.restarts >= number)


@asynccontextmanager
async def running(script: str, **timing: float) -> AsyncIterator[tuple[Child, Owner]]:
    """Keep processes running that execute ``script``, where ``fd`` is the link."""

    def command(fd: int) -> Sequence[str]:
        return sys.executable, "-c", f"import os, signal, sys; fd = {fd}; {script}"

    async with started(command, **timing) as both:
        yield both


@asynccontextmanager
async def started(command: Any, **timing: float) -> AsyncIterator[tuple[Child, Owner]]:
    """Keep processes running that ``command`` starts; none is left at the end."""
    owner = Owner()
    patience = {"first_pause_s": 0.01, "longest_pause_s": 0.02, "traceback_s": 0.01, **timing}
    child = Child("worker 0", command, (), owner, Timing(**patience))  # type: ignore[arg-type]
    task = spawn(child.run(), name="child under test")
    try:
        yield child, owner
    finally:
        child.stop()
        child.kill()
        await asyncio.wait((task,))


async def test_what_dies_is_started_again() -> None:
    """Each death is one restart, and the successor is another process."""
    async with running(READY + "sys.exit(3)") as (child, owner):
        first = await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        second = await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        assert first != second
        await owner.wait_for_restarts(child, 2)


async def test_what_is_never_ready_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """A process that hangs in its start is ended."""
    with caplog.at_level(logging.ERROR):
        async with running(SLEEP, start_s=0.05) as (child, owner):
            await owner.wait_for_restarts(child, 1)
    assert "not ready within 0.05 s" in caplog.text


async def test_what_closes_its_link_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """A process that nobody can talk to any more is ended."""
    with caplog.at_level(logging.ERROR):
        async with running(READY + "os.close(fd);" + SLEEP, unlinked_s=0.02) as (child, owner):
            await owner.wait_for_restarts(child, 1)
    assert "closed its link" in caplog.text


async def test_what_does_not_answer_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """Nobody waits for longer than the patience, and the answer is none."""
    with caplog.at_level(logging.ERROR):
        async with running(UP + SLEEP, answer_s=0.05) as (child, owner):
            await owner.wait_until(lambda: child.is_up)
            assert await child.ask({"op": "prepare", "version": 1}, "prepared", 1) is None
            await owner.wait_for_restarts(child, 1)
    assert "no prepared within 0.05 s; it hangs and is killed" in caplog.text


async def test_what_comes_up_slowly_lives() -> None:
    """Nobody waits longer than the patience for a process that has no table yet, and it is let alone meanwhile, mute as
    it is."""
    slowly = READY + "import time; time.sleep(1);" + UP.removeprefix(READY) + SLEEP
    async with running(slowly, answer_s=0.05, beat_s=0.02, missed_beats=1000) as (child, owner):
        first = await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        assert await child.ask({"op": "commit", "version": 1}, "committed", 1) is None
        await owner.wait_until(lambda: child.is_up)
        assert (child.pid, child.version, child.hangs) == (first, 1, 0)


async def test_what_never_comes_up_is_killed(caplog: pytest.LogCaptureFixture) -> None:
    """A process that is ready and takes no table is ended."""
    with caplog.at_level(logging.ERROR):
        async with running(READY + SLEEP, start_s=0.5) as (child, owner):
            await owner.wait_for_restarts(child, 1)
    assert "within 0.5 s; it hangs and is killed" in caplog.text


async def test_who_asks_a_dying_process_gets_no_answer() -> None:
    """The end of the process ends the wait, long before the patience does."""
    script = READY + "os.read(fd, 1); sys.exit(0)"
    async with running(script, answer_s=3600) as (child, owner):
        await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        asked = child.ask({"op": "prepare", "version": 1}, "prepared", 1)
        assert await asyncio.wait_for(asked, PATIENCE_S) is None


async def test_what_cannot_be_started_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """A program that is not there is an error line for each attempt, and no exception."""
    with caplog.at_level(logging.ERROR):
        async with started(lambda fd: ("/no/such/program",)) as (child, owner):
            await owner.wait_for_restarts(child, 2)
    assert "worker 0: cannot start" in caplog.text


async def test_a_process_is_out_of_the_terminals_reach() -> None:
    """Ctrl-C goes to the supervisor alone: the process is in a session of its own."""
    async with running(READY + SLEEP) as (_, owner):
        pid = await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        assert pid is not None
        assert os.getsid(pid) == pid


async def test_a_stop_while_starting_ends_the_process() -> None:
    """Nothing is left of a process that was not ready yet, and no other follows."""
    async with running(SLEEP) as (child, owner):
        await owner.wait_until(lambda: child.pid is not None)
        child.stop()
        await owner.wait_until(lambda: child.pid is None)
        assert child.restarts == 0


async def test_a_message_that_was_not_asked_for_goes_to_the_owner() -> None:
    """A request arrives whole, and so does a refusal that nobody waits for."""
    script = READY + 'os.write(fd, b\'{"op":"request","id":1}\\n{"op":"refused","version":3}\\n\');' + SLEEP
    async with running(script) as (_, owner):
        first = await asyncio.wait_for(owner.messages.get(), PATIENCE_S)
        second = await asyncio.wait_for(owner.messages.get(), PATIENCE_S)
    assert (first["op"], second["op"]) == ("request", "refused")


async def test_what_says_nothing_hangs(caplog: pytest.LogCaptureFixture) -> None:
    """A process that was ready and does not answer any more writes where it stands, is killed and replaced."""
    busy = "import faulthandler, time; faulthandler.register(signal.SIGUSR1);"
    script = busy + UP + "time.sleep(3600)"
    with caplog.at_level(logging.WARNING):
        async with running(script, beat_s=0.02, missed_beats=3) as (child, owner):
            await owner.wait_for_restarts(child, 1)
            assert child.hangs == 1
    assert "not a word for 0.06 s; it hangs and is killed" in caplog.text
    assert "signal 9" in caplog.text


async def test_what_is_stopped_is_killed_all_the_same() -> None:
    """A process that cannot even take a signal is replaced."""
    script = UP + "os.kill(os.getpid(), signal.SIGSTOP);" + SLEEP
    async with running(script, beat_s=0.02, missed_beats=3) as (child, owner):
        await owner.wait_for_restarts(child, 1)


async def test_what_answers_lives() -> None:
    """A process that says anything at all between two questions is let alone."""
    script = UP + 'f = os.fdopen(fd); [os.write(fd, b\'{"op":"pong"}\\n\') for line in f]'
    async with running(script, beat_s=0.02, missed_beats=100) as (child, owner):
        first = await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        # As long as it would take to be killed, were it mute.
        await asyncio.sleep(2.5)
        assert (child.pid, child.hangs) == (first, 0)


async def test_pauses_grow_and_the_count_says_so() -> None:
    """A process that dies at once again and again is started less and less often, and each time is counted."""
    born = monotonic()
    async with running(READY + "sys.exit(3)", first_pause_s=0.05, longest_pause_s=0.2) as (child, owner):
        for _ in range(5):
            await asyncio.wait_for(owner.ready.get(), PATIENCE_S)
        assert monotonic() - born >= 0.05 + 0.1 + 0.2 + 0.2
        assert (child.restarts, child.hangs) == (4, 0)

"""One child process: started, linked, asked, and started again when it dies.

A :class:`Child` is a *slot* (``worker 0``, ``observer``): it lives as long as the supervisor, while processes
come and go in it. A process is *linked* from its ``ready`` to its end; only then is anything sent to it.

A linked process has a while to come up: to take in every table and commit one. What is left of a busy core is little,
and a process that was killed for being slow would be as slow the next time. Nobody waits for it meanwhile.

A process that is up is asked every few seconds whether it is there. One that says nothing for five times in a row
*hangs*: it is told to write where it stands (``SIGUSR1``), killed, and started again. The times are counted by our
own loop, so that a machine or a container that slept, and woke up with every deadline past, kills nobody.
"""

import asyncio
import contextlib
import logging
import signal
import socket
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from proxy.clock import monotonic
from proxy.link import Link, open_link
from proxy.tasks import spawn

__all__ = ["Child", "Owner", "Timing"]

_log = logging.getLogger("modelproxy")

_STDERR = 2


@dataclass(frozen=True, slots=True)
class Timing:
    """How patient the supervisor is, in seconds."""

    first_pause_s: float = 0.1
    """Before the first restart; doubles with each."""
    longest_pause_s: float = 5.0
    settled_s: float = 10.0
    """A process that lived so long starts the pauses anew."""
    start_s: float = 30.0
    """From the start of a process to its ``ready``, and from there to its first ``committed``; longer means hung."""
    answer_s: float = 5.0
    """To answer ``prepare``, ``commit`` or ``retire``: so long one waits; longer means hung, if the process is up."""
    unlinked_s: float = 2.0
    """From the end of the link to the end of the process."""
    beat_s: float = 3.0
    """Between two questions whether the process is there."""
    missed_beats: int = 5
    """So many without a word mean that it hangs."""
    traceback_s: float = 0.5
    """To write down where it hangs, before it is killed."""
    retry_s: float = 5.0
    """Before a table that a process could not hold, or a start after an upgrade, is tried again; doubles."""
    longest_retry_s: float = 60.0


class Owner(Protocol):
    """Whoever keeps the children."""

    def on_ready(self, child: "Child") -> None:
        """A process has come up in ``child`` and knows nothing yet."""

    def on_message(self, child: "Child", message: dict[str, Any]) -> None:
        """A message came that answers nothing that was asked."""

    def on_change(self, child: "Child") -> None:
        """Something that the fleet's description shows has changed."""


class Child:
    """A slot for one process.

    Args:
        name: in log lines.
        command: returns the arguments, given the number of the link's file descriptor.
        inherited: file descriptors the process gets besides the link.
        owner: is told what happens.
        timing: see :class:`Timing`.
        restarts: of the slot under the program before, if this one follows it.
        hangs: likewise.
    """

    def __init__(
        self,
        name: str,
        command: Callable[[int], Sequence[str]],
        inherited: Sequence[int],
        owner: Owner,
        timing: Timing,
        *,
        restarts: int = 0,
        hangs: int = 0,
    ) -> None:
        self.name = name
        self.deaths = 0
        """How often a process of this slot has ended without having been told to."""
        self.hangs = hangs
        """How often a process was killed because it did not answer."""
        self.version = 0
        """The table version the process has committed; 0 before the first."""
        self.is_linked = False
        self._command = command
        self._inherited = tuple(inherited)
        self._owner = owner
        self._timing = timing
        self._process: asyncio.subprocess.Process | None = None
        self._link: Link | None = None
        self._asked: dict[tuple[str, int], asyncio.Future[dict[str, Any] | None]] = {}
        self._stopping = asyncio.Event()
        self._is_heard = False
        self._overdue: asyncio.TimerHandle | None = None
        self._is_starting = False
        self._restarts_before = restarts

    @property
    def restarts(self) -> int:
        """How often the slot got another process."""
        return self._restarts_before + self.deaths

    @property
    def link_fd(self) -> int:
        """Descriptor of our end of the link; -1 without one."""
        return self._link.fd if self._link else -1

    @property
    def is_at_rest(self) -> bool:
        """Tell whether nothing is half done: no process half started, no message half sent."""
        return not self._is_starting and (self._link is None or self._link.is_at_rest)

    @property
    def pid(self) -> int | None:
        """The process id; None while no process runs."""
        return self._process.pid if self._process else None

    @property
    def is_up(self) -> bool:
        """Tell whether the process has committed a table."""
        return self.is_linked and self.version > 0

    async def run(self) -> None:
        """Keep a process running until :meth:`stop`; return when the last one has ended."""
        pause = self._timing.first_pause_s
        while not self._stopping.is_set():
            born = monotonic()
            try:
                await self._run_once()
            except OSError as error:
                _log.error("%s: cannot start: %s", self.name, error)
            if self._stopping.is_set():
                return
            if monotonic() - born >= self._timing.settled_s:
                pause = self._timing.first_pause_s
            self.deaths += 1
            self._owner.on_change(self)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._stopping.wait()
            pause = min(pause * 2, self._timing.longest_pause_s)

    def stop(self) -> None:
        """Ask the process to drain and end, and start no other."""
        self._stopping.set()
        if self.is_linked:
            self.send({"op": "drain"})
        elif self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.terminate()

    def kill(self) -> None:
        """End the process at once. Unless :meth:`stop` was called, another is started."""
        if self._process and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def send(self, message: dict[str, Any]) -> None:
        """Send ``message`` to a linked process; to another it would mean nothing, so it is dropped."""
        if self._link and self.is_linked:
            self._link.send(message)

    async def ask(self, message: dict[str, Any], answer: str, version: int = 0) -> dict[str, Any] | None:
        """Send ``message`` and wait for the answer ``answer`` about ``version``.

        Returns None when the process is gone, did not answer in time because it still comes up, or was killed because
        it did not.
        """
        if not self.is_linked:
            return None
        future: asyncio.Future[dict[str, Any] | None] = asyncio.get_running_loop().create_future()
        process = self._process
        self._asked[answer, version] = future
        self.send(message)
        try:
            async with asyncio.timeout(self._timing.answer_s):
                return await future
        except TimeoutError:
            # One that drains is busy ending, and one that is not up is busy starting: each has its own time for that.
            if process is self._process and self.is_up and not self._stopping.is_set():
                self._end_hung(process, f"no {answer} within {self._timing.answer_s:g} s")
            return None
        finally:
            if self._asked.get((answer, version)) is future:
                del self._asked[answer, version]

    async def _run_once(self) -> None:
        loop = asyncio.get_running_loop()
        ours, theirs = socket.socketpair()
        with theirs:
            self._is_starting = True
            try:
                self._link = await open_link(ours.detach(), self._on_message, self._on_closed)
                process = await self._start(theirs.fileno())
            except OSError:
                if self._link is not None:
                    self._link.close()
                raise
            finally:
                self._is_starting = False
        self._process = process
        self._overdue = loop.call_later(self._timing.start_s, self._on_overdue, process)
        beat = spawn(self._keep_beating(process), name=f"heartbeat of {self.name}")
        try:
            self._owner.on_change(self)
            code = await process.wait()
        finally:
            self._overdue.cancel()
            beat.cancel()
            self._forget()
        if not self._stopping.is_set() or code not in (0, -signal.SIGTERM):
            _log.warning("%s (pid %d) ended: %s", self.name, process.pid, _ending(code))

    async def _start(self, fd: int) -> asyncio.subprocess.Process:
        # A session of its own: what a terminal sends to the foreground group (Ctrl-C, hang-up) reaches only
        # the supervisor, which knows the order in which to stop. Standard output belongs to the supervisor's
        # two lines.
        return await asyncio.create_subprocess_exec(
            *self._command(fd),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=_STDERR,
            pass_fds=(*self._inherited, fd),
            start_new_session=True,
        )

    def _forget(self) -> None:
        self.is_linked = False
        self.version = 0
        self._process = None
        if self._link:
            self._link.close()
        self._link = None
        asked, self._asked = self._asked, {}
        for future in asked.values():
            if not future.done():
                future.set_result(None)
        self._owner.on_change(self)

    def _on_overdue(self, process: asyncio.subprocess.Process) -> None:
        if process is self._process and not self.is_up and not self._stopping.is_set():
            what = "no table" if self.is_linked else "not ready"
            self._end_hung(process, f"{what} within {self._timing.start_s:g} s")

    def _expect_table(self) -> None:
        if self._overdue is not None and self._process is not None:
            self._overdue.cancel()
            loop = asyncio.get_running_loop()
            self._overdue = loop.call_later(self._timing.start_s, self._on_overdue, self._process)

    async def _keep_beating(self, process: asyncio.subprocess.Process) -> None:
        timing, missed = self._timing, 0
        while not self._stopping.is_set():
            await asyncio.sleep(timing.beat_s)
            if not self.is_up:
                continue
            missed = 0 if self._is_heard else missed + 1
            self._is_heard = False
            if missed >= timing.missed_beats and not self._stopping.is_set():
                self._end_hung(process, f"not a word for {timing.beat_s * missed:g} s")
                return
            self.send({"op": "ping"})

    def _end_hung(self, process: asyncio.subprocess.Process | None, what: str) -> None:
        _log.error("%s: %s; it hangs and is killed", self.name, what)
        self.hangs += 1
        if process is not None and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGUSR1)
            asyncio.get_running_loop().call_later(self._timing.traceback_s, self._kill_if_running, process)

    def _kill_if_running(self, process: asyncio.subprocess.Process) -> None:
        if process is self._process:
            self.kill()

    def _on_message(self, message: dict[str, Any]) -> None:
        self._is_heard = True
        op = message.get("op")
        if op == "pong":
            return
        if op == "ready":
            self.is_linked = True
            self._expect_table()
            self._owner.on_ready(self)
            self._owner.on_change(self)
            if self._stopping.is_set():
                self.send({"op": "drain"})
            return
        if op == "committed":
            self.version = int(message["version"])
            self._owner.on_change(self)
        answer = "prepared" if op == "refused" else str(op)
        future = self._asked.get((answer, int(message.get("version", 0))))
        if future and not future.done():
            future.set_result(message)
        else:
            self._owner.on_message(self, message)

    def _on_closed(self) -> None:
        process = self._process
        if process and not self._stopping.is_set():
            spawn(self._end_unlinked(process), name=f"end of {self.name}")

    async def _end_unlinked(self, process: asyncio.subprocess.Process) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.unlinked_s):
                await process.wait()
            return
        if process is self._process and not self._stopping.is_set():
            _log.error("%s: closed its link and did not end; it is killed", self.name)
            self.kill()


def _ending(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"

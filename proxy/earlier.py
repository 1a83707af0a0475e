"""The processes of the program before, after an upgrade: they go on until ours serve, then they finish and end.

Nobody starts them again and nobody gives them another table. They hang on the same links as before, held now by the
new program: should that die, they drain, as they would have with their own.
"""

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Iterable
from typing import Any

from proxy.handover import Handover, InheritedProcess
from proxy.link import Link, open_link
from proxy.listening import turn_away
from proxy.tasks import spawn

__all__ = ["Earlier"]

_LOOK_S = 0.05
"""How often it is looked whether a process has ended: they are children of an earlier program, whose event loop would
have been told."""

_HUSH_S = 4.0
"""The observer may take so long to finish its answers at the admin address."""

_log = logging.getLogger("modelproxy")


class _Process:
    """One of them."""

    def __init__(self, inherited: InheritedProcess) -> None:
        self.name = inherited.name
        self.pid = inherited.pid
        self.ended = asyncio.Event()
        self.hushed = asyncio.Event()
        self._fd = inherited.link
        self._link: Link | None = None
        self._is_told = False

    async def open(self) -> None:
        self._link = await open_link(self._fd, self._on_message, lambda: None)
        spawn(self._watch(), name=f"end of earlier {self.name}")

    def send(self, message: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.send(message)

    def drain(self, seconds: float) -> None:
        self._is_told = True
        self.send({"op": "drain", "seconds": seconds})

    def kill(self) -> None:
        self._is_told = True
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    async def _watch(self) -> None:
        while not self._has_ended():  # noqa: ASYNC110 - nobody tells; see _LOOK_S
            await asyncio.sleep(_LOOK_S)
        self.ended.set()
        self.hushed.set()
        if self._link is not None:
            self._link.close()
        if not self._is_told:
            _log.error("earlier %s (pid %d) ended before its successor serves", self.name, self.pid)

    def _has_ended(self) -> bool:
        try:
            return os.waitpid(self.pid, os.WNOHANG)[0] != 0
        except ChildProcessError:
            return True

    def _on_message(self, message: dict[str, Any]) -> None:
        match message.get("op"):
            case "hushed":
                self.hushed.set()
            case "request":
                problem = "an upgrade is under way; try again in a moment"
                self.send(
                    {"op": "reply", "id": message["id"], "ok": False, "document": {"problems": [problem]}}
                )


class Earlier:
    """All of them.

    Args:
        handover: what the program before has left.
    """

    def __init__(self, handover: Handover) -> None:
        processes = [_Process(inherited) for inherited in handover.processes]
        self._observers = [process for process in processes if process.name == "observer"]
        self._workers = [process for process in processes if process.name != "observer"]
        self._listen = handover.listen.fd
        self._sockets = [self._listen, handover.admin.fd]
        if handover.state is not None:
            self._sockets.append(handover.state.fd)

    @property
    def pids(self) -> list[int]:
        """Process ids of those that run."""
        return [process.pid for process in (*self._workers, *self._observers) if not process.ended.is_set()]

    async def leave(self, successor: int | None = None) -> None:
        """Give up what was inherited and is not theirs: whoever needs it by now has a copy.

        Where nobody listens after them, new clients are turned away first, so that none is reset.

        Args:
            successor: descriptor of the socket where clients find us from now on; None: nowhere.
        """
        if self._sockets and not self._is_shared(successor):
            await turn_away(self._listen)
        sockets, self._sockets = self._sockets, []
        for fd in sockets:
            os.close(fd)

    def _is_shared(self, successor: int | None) -> bool:
        return successor is not None and os.path.sameopenfile(self._listen, successor)

    async def open(self) -> None:
        """Take up their links."""
        for process in (*self._workers, *self._observers):
            await process.open()

    async def hush(self) -> None:
        """Have their observer answer no more at the admin address; waits until it is silent, but not for long."""
        for process in self._observers:
            process.send({"op": "hush"})
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_HUSH_S):
                    await process.hushed.wait()

    async def drain(self, seconds: float, margin_s: float) -> None:
        """Let the workers finish for ``seconds``, then the observer; who takes ``margin_s`` longer is killed.

        Called again, a shorter time counts.
        """
        for processes in (self._workers, self._observers):
            for process in processes:
                process.drain(seconds)
            await _wait(processes, seconds + margin_s)

    async def kill(self) -> None:
        """End all of them at once."""
        for process in (*self._workers, *self._observers):
            process.kill()
        await _wait((*self._workers, *self._observers), None)


async def _wait(processes: Iterable[_Process], seconds: float | None) -> None:
    ends = [spawn(process.ended.wait(), name=f"end of earlier {process.name}") for process in processes]
    if not ends:
        return
    _, late = await asyncio.wait(ends, timeout=seconds)
    for process in processes:
        if not process.ended.is_set():
            _log.warning("earlier %s: not drained within %g s; killed", process.name, seconds)
            process.kill()
    if late:
        await asyncio.wait(late)

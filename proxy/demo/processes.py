"""Start and end the processes of the demo: four model servers and one proxy, each by its own process id.

Every child is the leader of a session of its own, so that Ctrl-C reaches the demo alone, which then ends
them in order: the proxy first, while the models it drains towards still answer.
"""

import asyncio
import os
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

__all__ = ["Child", "DemoError", "Fleet", "environment", "free_address", "tail"]

START_S = 90.0
"""A model server may take this long to train and listen. It takes about 3 s, on a
loaded machine far more.
"""

END_S = 10.0
"""A child may take this long to end after SIGTERM; then it is killed with everything it started."""


_ROOT = str(Path(__file__).resolve().parents[2])
"""The children run in another directory, and must import the same package as this process."""


class DemoError(Exception):
    """The demo cannot go on; the message says why and where to look."""


@dataclass
class Child:
    """One running process."""

    name: str
    process: Process
    log: Path
    """Where its standard error (and for the proxy its standard output) goes."""


def environment() -> dict[str, str]:
    """Return what a child needs to import the same package as this process, wherever it runs."""
    path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH", ""))))
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"}


def tail(path: Path, lines: int = 12) -> str:
    """Return the last ``lines`` of the text in ``path``, indented; empty when there is none."""
    with suppress(OSError):
        kept = path.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]
        return "".join(f"\n    {line}" for line in kept)
    return ""


def free_address(preferred: int) -> str:
    """Return ``127.0.0.1:port`` with the ``preferred`` port when it is free, else with any free one."""
    for port in (preferred, 0):
        with closing(socket.socket()) as probe:
            # As servers do: a port in TIME_WAIT counts as free, one that is listened on does not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return f"127.0.0.1:{probe.getsockname()[1]}"
    raise DemoError("no free port on 127.0.0.1")


class Fleet:
    """All children of one run. ``stop`` ends them; ``kill`` is the last resort and never waits."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.children: list[Child] = []

    async def start_models(self, name: str, roles: Sequence[str]) -> tuple[str, dict[str, float]]:
        """Start one server for ``roles``; return its URL and each one's accuracy on held-out rows, once it listens.

        Raises:
            DemoError: it ended or stayed silent; the message ends with the tail of its log.
        """
        # Predicting one row is far too little work to share between threads; the servers would only contend.
        quiet = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        module = ["proxy.demo.server", *(word for role in roles for word in ("--model", role))]
        child = await self._start(f"model-{name}", module, quiet, announces=True)
        stdout = child.process.stdout
        assert stdout is not None, "asked for a pipe"
        try:
            async with asyncio.timeout(START_S):
                announcement = orjson.loads(await stdout.readline())
        except (TimeoutError, orjson.JSONDecodeError) as error:
            raise DemoError(f"the {name} model did not start; see {child.log}{tail(child.log)}") from error
        return f"http://127.0.0.1:{announcement['port']}", announcement["accuracy"]

    async def start_proxy(self, config: Path, environ: Mapping[str, str]) -> Child:
        """Start ``modelproxy serve`` on ``config``; it may not be ready yet."""
        return await self._start("proxy", ["proxy", "serve", str(config)], environ, announces=False)

    async def _start(
        self, name: str, module: list[str], extra: Mapping[str, str], *, announces: bool
    ) -> Child:
        log = self.folder / f"{name}.log"
        with log.open("wb") as sink:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                *module,
                cwd=self.folder,
                env={**environment(), **extra},
                # A model server ends when its standard input does, should this process die without a word.
                stdin=PIPE if announces else DEVNULL,
                stdout=PIPE if announces else sink,
                stderr=sink,
                start_new_session=True,
            )
        child = Child(name, process, log)
        self.children.append(child)
        return child

    def check_alive(self) -> None:
        """Raise DemoError when a child has ended that nobody asked to."""
        for child in self.children:
            if child.process.returncode is not None:
                code = child.process.returncode
                raise DemoError(f"{child.name} ended with exit code {code}; see {child.log}{tail(child.log)}")

    def exit_code(self, name: str) -> int | None:
        """Return the exit code of the child called ``name``, negative after a signal; None while it runs."""
        return next((child.process.returncode for child in self.children if child.name == name), None)

    async def stop(self) -> None:
        """End every child, the last started first; what does not end within ``END_S`` is killed."""
        for child in reversed(self.children):
            if child.process.returncode is None:
                with suppress(ProcessLookupError):
                    child.process.terminate()
            if child.name == "proxy":
                await self._wait_end(child)
        await asyncio.gather(*(self._wait_end(child) for child in self.children))

    async def _wait_end(self, child: Child) -> None:
        try:
            async with asyncio.timeout(END_S):
                await child.process.wait()
        except TimeoutError:
            self._kill(child)
            await child.process.wait()

    def kill(self) -> None:
        """Kill every child that still runs, with everything it started."""
        for child in self.children:
            if child.process.returncode is None:
                self._kill(child)

    @staticmethod
    def _kill(child: Child) -> None:
        # The child leads its session: its process group has its id and holds only what it started.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(child.process.pid, signal.SIGKILL)

"""Everything that goes wrong on purpose: reloads, killed workers, killed observers, model servers that go and come."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from proxy.clock import monotonic, monotonic_ns
from proxy.routing.table import compile_table
from proxy.settings import parse
from proxy.tally import Layout
from tests.e2e.running import Running
from tests.soak.books import Books, Down, Kill
from tests.soak.configurations import configuration, is_broken
from tests.soak.processes import children, client_ports, copy_counters, freeze, open_counts

__all__ = ["ModelServer", "Trouble"]

MODEL_HOST = "127.77.0.1"
"""An address that no client takes for its own: a port stays free while its server is away."""

RELOAD_EVERY_S = 3.0
TROUBLE_EVERY_S = 4.0
PATIENCE_S = 40.0


class ModelServer:
    """A model server: a process, always at the same address."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.books = directory / f"{name}.books"
        self.port = 0
        self._process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://{MODEL_HOST}:{self.port}"

    async def start(self) -> None:
        """Start it and wait until it listens."""
        command = ("-m", "tests.soak.model", self.name, MODEL_HOST, str(self.port), str(self.books))
        self._process = process = await asyncio.create_subprocess_exec(
            sys.executable, *command, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            self.port = int((await process.stdout.readline()).split()[1])

    async def kill(self) -> None:
        """End it at once."""
        process, self._process = self._process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()


class Trouble:
    """Makes trouble and writes down what it did.

    Args:
        proxy: the running proxy.
        servers: the model servers by name.
        books: where kills and restarts are noted.
    """

    def __init__(self, proxy: Running, servers: dict[str, ModelServer], books: Books) -> None:
        self._proxy = proxy
        self._servers = servers
        self._books = books
        self._urls = {name: server.url for name, server in servers.items()}
        self._newest = proxy.config.read_text()
        self._layouts = {1: layout_of(self._newest)}
        self._number = 0
        self._version = 1
        self._upgrades = 0
        self._changing = asyncio.Lock()
        """Held while a configuration comes into force, and while the program is exchanged."""
        self.reload_s: list[float] = []
        """From the file's change to the new table in every worker."""

    async def keep_reloading(self, stop: asyncio.Event) -> None:
        """Change the configuration every few seconds, now and then to one that must be refused."""
        while not await _set_within(stop, RELOAD_EVERY_S):
            async with self._changing:
                await self._reload()

    async def _reload(self) -> None:
        self._number += 1
        text = configuration(self._number, self._urls, self._proxy.state)
        fresh = self._proxy.config.with_suffix(".new")
        fresh.write_text(text)
        began = monotonic()
        if not is_broken(self._number):
            self._newest = text
        fresh.replace(self._proxy.config)
        if is_broken(self._number):
            self._books.refused += 1
            await self._eventually(self._has_refused, f"configuration {self._number} to be refused")
        else:
            self._books.reloads += 1
            await self._follow(f"configuration {self._number} in force")
            self.reload_s.append(monotonic() - began)

    async def _follow(self, what: str) -> None:
        """Wait for a newer version in every worker that is up."""
        self._version = await self._eventually(self._has_followed, what)
        self._layouts[self._version] = layout_of(self._newest)

    async def _has_refused(self) -> int:
        return await self._reported("modelproxy_config_reloads_refused_total", self._books.refused)

    async def _has_followed(self) -> int:
        status = await self._proxy.status()
        version = int(status["config"]["version"]) if status else 0
        level = all(worker["version"] == version or not worker["up"] for worker in status.get("workers", ()))
        return version if version > self._version and level else 0

    async def _has_upgraded(self) -> int:
        return await self._reported("modelproxy_upgrades_total", self._upgrades)

    async def _reported(self, name: str, number: int) -> int:
        try:
            return number if await self._proxy.total(name) >= number else 0
        except OSError:
            return 0

    async def _eventually(self, condition: Callable[[], Awaitable[int]], what: str) -> int:
        deadline = monotonic() + PATIENCE_S
        while not (value := await condition()):
            if monotonic() > deadline:
                raise TimeoutError(f"not within {PATIENCE_S:.0f} s: {what}")
            await asyncio.sleep(0.1)
        return value

    async def make_trouble(self, acts: Sequence[str], stop: asyncio.Event, seconds: float) -> None:
        """Perform ``acts`` in turn, over and over, for so long.

        An act is ``worker N``, ``workers``, ``observer``, ``upgrade``, or the name of a model server.
        """
        end = monotonic() + seconds
        turn = 0
        while monotonic() < end and not await _set_within(
            stop, min(TROUBLE_EVERY_S, max(end - monotonic(), 0.01))
        ):
            act = acts[turn % len(acts)]
            turn += 1
            if act == "observer":
                self._kill_observer()
            elif act == "upgrade":
                await self._upgrade()
            elif act == "workers":
                await asyncio.gather(self._kill_worker(0), self._kill_worker(1))
            elif act.startswith("worker "):
                await self._kill_worker(int(act.split()[1]))
            else:
                await self._restart(act, turn)

    async def _upgrade(self) -> None:
        """Have the program replaced by itself: the file must be good, and not about to change."""
        async with self._changing:
            if is_broken(self._number):
                await self._reload()
            self._upgrades += 1
            began_ns = monotonic_ns()
            self._proxy.process.send_signal(signal.SIGUSR2)
            await self._eventually(self._has_upgraded, "the program to be exchanged")
            self._books.upgrades.append((began_ns, monotonic_ns()))
            await self._follow("the new program's table in force")

    def _kill_observer(self) -> None:
        observer = children(self._proxy.process.pid).get("observer")
        if observer is not None:
            self._books.observer_kills += 1
            os.kill(observer.pid, signal.SIGKILL)

    async def _kill_worker(self, index: int) -> None:
        worker = children(self._proxy.process.pid).get(f"worker {index}")
        if worker is None:
            return
        try:
            await freeze(worker.pid)
        except OSError:
            return
        stopped_ns = monotonic_ns()
        ports = client_ports(worker.pid, int(self._proxy.listen.rpartition(":")[2]))
        counters = copy_counters(worker.run_dir, index)
        os.kill(worker.pid, signal.SIGKILL)
        counts = open_counts(counters, self._layout_of)
        self._books.kills.append(Kill(index, stopped_ns, ports, counts))

    def _layout_of(self, version: int) -> Layout:
        """Return the layout of a table version; one that is not in force yet is the newest."""
        if version in self._layouts:
            return self._layouts[version]
        return layout_of(self._newest)

    async def _restart(self, name: str, turn: int) -> None:
        server = self._servers[name]
        killed_ns = monotonic_ns()
        await server.kill()
        await asyncio.sleep(0.1 + 0.2 * (turn % 4))
        await server.start()
        self._books.downs.append(Down(name, killed_ns, monotonic_ns()))


def layout_of(text: str) -> Layout:
    """Return how a configuration's counters lie."""
    return compile_table(parse(text, environ={}), 1).layout


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
    return event.is_set()

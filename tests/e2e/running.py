"""A whole proxy as its users run it, and model servers that count what they get."""

import asyncio
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import IO, Any

import aiohttp
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from proxy.clock import monotonic

__all__ = ["CountingModel", "Running", "eventually", "model_server", "serve", "waited_s"]

PATIENCE_S = 60.0
"""A machine with two slow cores that others use as well takes long, and the observer gives way to everybody. Who is in
time does not wait."""


async def eventually(
    condition: Callable[[], Awaitable[Any]], what: str, patience_s: float = PATIENCE_S
) -> Any:
    """Await ``condition`` until it gives something true; fail with ``what`` when it takes too long."""
    deadline = monotonic() + patience_s
    while True:
        value = await condition()
        if value:
            return value
        assert monotonic() < deadline, f"not within {patience_s} s: {what}"
        await asyncio.sleep(0.02)


def waited_s() -> float:
    """Return for how long somebody has waited for a processor since the machine started; 0 where it does not say.

    What a machine that has time does within a second takes a busy one longer, by as much at the most.
    """
    try:
        some = Path("/proc/pressure/cpu").read_text().splitlines()[0]
    except OSError:
        return 0.0
    return int(some.rpartition("total=")[2]) / 1e6


class CountingModel:
    """A model server that answers a fixed label and keeps its own books."""

    def __init__(self, name: str, label: int = 1) -> None:
        self.name = name
        self.label = label
        self.label_of: Callable[[int], int] = lambda number: self.label
        """The label of an answer, by the request's number."""
        self.primary = 0
        self.shadow = 0
        self.users: Counter[str] = Counter()
        self.status = 200
        """Of every answer."""
        self.fails: Callable[[str], bool] = lambda user: False
        """Tells who gets a 503 instead."""
        self.delay_s = 0.0
        """Before each answer."""
        self.gate = asyncio.Event()
        """While it is clear, answers wait."""
        self.gate.set()
        self.url = ""
        self.waiting = 0

    async def infer(self, request: web.Request) -> web.Response:
        """Answer an inference request."""
        await request.read()
        user = request.headers.get("x-user-id", "")
        if request.headers.get("x-modelproxy-shadow") == "1":
            self.shadow += 1
        else:
            self.primary += 1
            self.users[user] += 1
        number = self.primary + self.shadow
        self.waiting += 1
        await self.gate.wait()
        await asyncio.sleep(self.delay_s)
        self.waiting -= 1
        label = self.label_of(number)
        outputs = [{"name": "label", "datatype": "INT64", "shape": [1], "data": [label]}]
        status = 503 if self.fails(user) else self.status
        return web.json_response({"model_name": self.name, "outputs": outputs}, status=status)


@asynccontextmanager
async def model_server(name: str, label: int = 1) -> AsyncIterator[CountingModel]:
    """Run a :class:`CountingModel` on a free port."""
    model = CountingModel(name, label)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", model.infer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    model.url = site.name
    assert runner.addresses
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield model
    finally:
        model.gate.set()
        await runner.cleanup()


class Running:
    """A proxy that serves."""

    def __init__(
        self, process: asyncio.subprocess.Process, config: Path, listen: str, admin: str, state: Path
    ) -> None:
        self.process = process
        self.config = config
        self.listen = listen
        self.admin = admin
        self.state = state
        self.session = aiohttp.ClientSession()

    async def infer(self, user: str, path: str = "/v2/models/wine/infer") -> tuple[int, str]:
        """Send one inference request; return status and variant (empty when none answered)."""
        document = {"inputs": [{"name": "x", "shape": [1, 1], "datatype": "FP32", "data": [1.0]}]}
        url = self.listen + path
        async with self.session.post(url, json=document, headers={"x-user-id": user}) as answer:
            await answer.read()
            return answer.status, answer.headers.get("x-modelproxy-variant", "")

    async def status(self) -> dict[str, Any]:
        """Return ``/api/v1/status``; empty while the observer does not answer."""
        try:
            async with self.session.get(self.admin + "/api/v1/status") as answer:
                document: dict[str, Any] = await answer.json() if answer.status == 200 else {}
        except aiohttp.ClientError:
            return {}
        return document

    async def is_watched(self) -> bool:
        """Tell whether the observer answers and every worker is connected to it: what happens now is seen."""
        status = await self.status()
        return bool(status) and status["observer"]["connections"] >= len(status["workers"]) > 0

    async def metrics(self) -> dict[tuple[str, ...], float]:
        """Return every sample as ``(name, label=value, ...)`` with sorted labels."""
        async with self.session.get(self.admin + "/metrics") as answer:
            text = await answer.text()
        samples = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = sorted(f"{name}={value}" for name, value in sample.labels.items())
                samples[sample.name, *labels] = sample.value
        return samples

    async def total(self, name: str, **labels: str) -> int:
        """Return the sum of all samples of ``name`` that have these labels."""
        wanted = {f"{label}={value}" for label, value in labels.items()}
        return int(
            sum(v for key, v in (await self.metrics()).items() if key[0] == name and wanted <= set(key))
        )

    def observer_pid(self) -> int:
        """Return the observer's process id (Linux: from /proc)."""
        pid = self.process.pid
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            if b"proxy.observer" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
        raise AssertionError("no observer among the children")

    async def publish(self, text: str) -> int:
        """Replace the configuration file and wait until every worker runs it; return the version."""
        before = (await self.status())["config"]["version"]
        fresh = self.config.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.config)
        return await self.everywhere(before + 1)

    async def everywhere(self, least: int) -> int:
        """Wait until every worker runs the table of the moment, of this version or a later one; return its version."""

        async def is_everywhere() -> int:
            status = await self.status()
            version = status["config"]["version"] if status else 0
            everywhere = version >= least and all(w["version"] == version for w in status["workers"])
            return version if everywhere else 0

        return int(await eventually(is_everywhere, "the new table in every worker"))

    async def settled(self) -> None:
        """Wait until nothing is in flight and everything shipped is accounted for."""
        open_routes: list[dict[str, Any]] = []

        async def is_settled() -> bool:
            if status := await self.status():
                open_routes[:] = [route for route in status["routes"] if not _is_settled(route)]
            return bool(status) and not open_routes

        try:
            await eventually(is_settled, "all requests and comparisons accounted for")
        except AssertionError as error:
            shown = ("name", "variants", "shadows", "noise", "log")
            raise AssertionError(f"{error}: {[{k: r[k] for k in shown} for r in open_routes]}") from error


def _is_settled(route: dict[str, Any]) -> bool:
    shadows = all(
        s["sent"] == s["answered"] + s["failed"]
        and s["answered"] == s["agree"] + s["disagree"] + s["uncomparable"] + s["comparison_dropped"]
        for s in route["shadows"]
    )
    twice = route["noise"]
    noise = twice is None or (
        twice["sent"] == twice["answered"] + twice["failed"]
        and twice["answered"] == twice["compared"] + twice["uncomparable"] + twice["comparison_dropped"]
    )
    log = route["log"]
    return (
        shadows
        and noise
        and not any(v["in_flight"] for v in route["variants"])
        and log["sampled"] == log["written"] + log["dropped"] + log["failed"] + log["thinned"]
    )


@asynccontextmanager
async def serve(directory: Path, text: str, log: IO[bytes] | None = None) -> AsyncIterator[Running]:
    """Run ``modelproxy serve`` on ``text`` with free ports; end it with SIGTERM and expect exit code 0.

    What it says on standard error goes to ``log``, or where that of the tests goes.
    """
    config = directory / "modelproxy.yaml"
    state = directory / "state"
    config.write_text(text)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "proxy", "serve", str(config), stdout=asyncio.subprocess.PIPE, stderr=log
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(PATIENCE_S):
            listen = (await process.stdout.readline()).split()[-1].decode()
            admin = (await process.stdout.readline()).split()[-1].decode()
        running = Running(process, config, listen, admin, state)
        try:
            await eventually(running.is_watched, "the observer to answer, and every worker to have found it")
            yield running
        finally:
            await running.session.close()
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

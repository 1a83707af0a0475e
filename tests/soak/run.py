"""One soak from start to verdict."""

import asyncio
import contextlib
import resource
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from proxy.clock import monotonic
from proxy.tasks import spawn
from tests.e2e.running import Running, eventually
from tests.soak.books import Books, read_attempts
from tests.soak.client import Client
from tests.soak.configurations import MODELS, configuration
from tests.soak.excuses import Judge
from tests.soak.growth import Sample, growth
from tests.soak.processes import children, look
from tests.soak.records import read_records
from tests.soak.trouble import ModelServer, Trouble
from tests.soak.verdict import (
    Check,
    Counts,
    bounds_of,
    check_clients,
    check_counts,
    check_faults,
    check_growth,
    check_models,
    check_records,
    check_shadows,
)

__all__ = ["Outcome", "soak"]

CLIENTS = 48
EARLY_S, EARLY_SHARE = 60.0, 0.25
"""So long, and no more than this share of the time, anything may be killed."""
WARM_S, WARM_SHARE = 150.0, 0.55
"""From then on memory is watched. Table versions are kept for a minute, so it grows at first, as it should."""
FLAT_FROM_S = 90.0
"""Shorter runs say nothing about growth."""
SETTLE_S = 30.0

EARLY_ACTS = ("worker 1", "observer", "upgrade", "worker 0", "workers", "v2", "shade", "v3", "v1")
LATE_ACTS = ("v2", "shade", "worker 1", "v3", "v1", "worker 1")
"""After the warm-up one worker and the observer live on, so that their memory can be watched."""


@dataclass(slots=True)
class Outcome:
    """What a soak found."""

    checks: list[Check]
    books: Books
    counts: Counts
    seconds: float
    reload_s: list[float]
    samples: list[Sample] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Tell whether everything held."""
        return all(check.holds for check in self.checks)


async def soak(seconds: float, seed: int, directory: Path) -> Outcome:
    """Run traffic and trouble for ``seconds``, then compare the books.

    Args:
        seconds: of traffic; at least 10.
        seed: of the mix.
        directory: takes configuration, state, books and the proxy's log.
    """
    _raise_file_limit()
    books = Books()
    samples: list[Sample] = []
    async with _model_servers(directory) as servers, _proxy(directory, servers) as proxy:
        trouble = Trouble(proxy, servers, books)
        seconds = await _drive(seconds, seed, proxy, trouble, books, samples)
        counts = Counts(await _settled_metrics(proxy))
        proxy.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(SETTLE_S):
            exit_code = await proxy.process.wait()
    for server in servers.values():
        with server.books.open(encoding="ascii") as lines:
            books.attempts.update(read_attempts(lines))
    log = (directory / "proxy.log").read_text(encoding="utf-8")
    _write_down(directory, books, samples)
    checks = _judge(books, counts, samples, seconds, directory)
    checks += [
        Check("exit code after SIGTERM", "0", str(exit_code), exit_code == 0),
        Check("tracebacks in the proxy's log", "0", str(log.count("Traceback")), "Traceback" not in log),
    ]
    return Outcome(checks, books, counts, seconds, trouble.reload_s, samples)


def _write_down(directory: Path, books: Books, samples: list[Sample]) -> None:
    """Leave what ``--keep`` is for: when what was killed, and every look at the processes."""
    troubles = sorted(
        [
            (kill.stopped_ns, f"worker {kill.worker} stopped, then killed: {kill.open_counts}")
            for kill in books.kills
        ]
        + [(began_ns, f"upgrade, done at {ended_ns / 1e9:.3f}") for began_ns, ended_ns in books.upgrades]
        + [(down.killed_ns, f"{down.model} killed, back at {down.back_ns / 1e9:.3f}") for down in books.downs]
    )
    lines = [f"{time_ns / 1e9:.3f} {what}\n" for time_ns, what in troubles]
    (directory / "troubles.txt").write_text("".join(lines), encoding="ascii")
    looks = [f"{s.time_s:.1f},{s.role},{s.pid},{s.rss_bytes},{s.open_files}\n" for s in samples]
    (directory / "processes.csv").write_text("time,role,pid,rss,files\n" + "".join(looks), encoding="ascii")


def _raise_file_limit() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 4096:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))


async def _drive(
    seconds: float, seed: int, proxy: Running, trouble: Trouble, books: Books, samples: list[Sample]
) -> float:
    """Let everybody run; return for how many seconds."""
    host, _, port = proxy.listen.removeprefix("http://").partition(":")
    stop, calm = asyncio.Event(), asyncio.Event()
    clients = [Client((host, int(port)), seed, i, CLIENTS, books.entries.append) for i in range(CLIENTS)]
    began = monotonic()
    running = [spawn(client.run(stop), name="client") for client in clients]
    reloading = spawn(trouble.keep_reloading(calm), name="reloads")
    watching = spawn(_watch(proxy.process.pid, samples, calm), name="watch")
    early_s = min(EARLY_S, seconds * EARLY_SHARE)
    try:
        await trouble.make_trouble(EARLY_ACTS, calm, early_s)
        await trouble.make_trouble(LATE_ACTS, calm, seconds - (monotonic() - began))
    finally:
        calm.set()
        await asyncio.gather(reloading, watching)
        stop.set()
        await asyncio.gather(*running)
    return monotonic() - began


async def _watch(supervisor: int, samples: list[Sample], stop: asyncio.Event) -> None:
    while not stop.is_set():
        pids = {"supervisor": supervisor}
        pids |= {role: process.pid for role, process in children(supervisor).items()}
        samples += [sample for role, pid in pids.items() if (sample := look(role, pid)) is not None]
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), 1.0)


async def _settled_metrics(proxy: Running) -> dict[tuple[str, ...], float]:
    """Wait until nothing is under way any more, then return the metrics.

    What never settles is not an exception here: the checks will name it.
    """

    async def is_quiet() -> bool:
        counts = Counts(await proxy.metrics())
        return not counts.total("modelproxy_in_flight_requests") + counts.total("modelproxy_connections")

    with contextlib.suppress(AssertionError):
        await eventually(is_quiet, "nothing in flight", SETTLE_S)
        await proxy.settled()
    return await proxy.metrics()


def _judge(
    books: Books, counts: Counts, samples: list[Sample], seconds: float, directory: Path
) -> list[Check]:
    attempts = books.by_identity()
    judge = Judge(books.kills, books.downs, attempts)
    entries = {entry.order.identity: entry for entry in books.entries}
    lines = (
        line
        for path in sorted((directory / "state" / "payloads").glob("payloads-*.jsonl"))
        for line in path.read_bytes().splitlines()
    )
    start = samples[0].time_s + min(WARM_S, seconds * WARM_SHARE)
    late = [sample for sample in samples if sample.time_s >= start] if seconds >= FLAT_FROM_S else []
    roles = ("supervisor", "worker 0", "observer") if late else ()
    return [
        *check_clients(books.entries, judge),
        *check_counts(books, bounds_of(books.entries, judge, attempts), counts),
        *check_faults(books.entries, judge, counts),
        *check_models(books, counts),
        *check_shadows(books, counts),
        *check_records(books, counts, read_records(lines, entries)),
        *check_growth(growth(late), roles),
    ]


@contextlib.asynccontextmanager
async def _model_servers(directory: Path) -> AsyncIterator[dict[str, ModelServer]]:
    servers = {name: ModelServer(name, directory) for name in MODELS}
    try:
        await asyncio.gather(*(server.start() for server in servers.values()))
        yield servers
    finally:
        await asyncio.gather(*(server.kill() for server in servers.values()))


@contextlib.asynccontextmanager
async def _proxy(directory: Path, servers: dict[str, ModelServer]) -> AsyncIterator[Running]:
    """Start the proxy; whoever leaves this has ended it, or it is killed."""
    config, state = directory / "modelproxy.yaml", directory / "state"
    config.write_text(configuration(0, {name: server.url for name, server in servers.items()}, state))
    with (directory / "proxy.log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "serve", str(config)), stdout=asyncio.subprocess.PIPE, stderr=log
        )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(SETTLE_S):
            listen = (await process.stdout.readline()).split()[-1].decode()
            admin = (await process.stdout.readline()).split()[-1].decode()
        proxy = Running(process, config, listen, admin, state)
        try:
            await eventually(proxy.status, "the observer to answer")
            yield proxy
        finally:
            await proxy.session.close()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

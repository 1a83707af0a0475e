"""Drain, upgrade, restart under traffic: no request that was taken is lost, and no count either."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.tasks import spawn
from tests.e2e.patient import Books, PatientClient
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

CLIENTS = 12


def config(directory: Path, url: str, shadow: str, *, workers: int = 2, drain: str = "10s") -> str:
    """Return a configuration with a champion, a shadow and a log."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: {workers}
state_dir: {directory}/state
timeouts: {{drain: {drain}}}
models:
  one: {{url: "{url}"}}
  shade: {{url: "{shadow}"}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: shade}}]
    log: {{percent: 100}}
"""


@asynccontextmanager
async def world(directory: Path, **options: Any) -> AsyncIterator[tuple[Running, CountingModel]]:
    """A proxy before two models."""
    async with (
        model_server("one") as one,
        model_server("shade") as shade,
        serve(directory, config(directory, one.url, shade.url, **options)) as proxy,
    ):
        yield proxy, one


@asynccontextmanager
async def traffic(proxy: Running) -> AsyncIterator[Books]:
    """Clients of which some are busy and some think a while between two requests; they end with the block."""
    books = Books()
    clients = [
        spawn(PatientClient(proxy.listen, f"user-{i}", books, 0.2 * (i % 3)).run(), name=f"client {i}")
        for i in range(CLIENTS)
    ]
    try:
        await eventually(lambda: _true(books.answered >= 2 * CLIENTS), "the first answers")
        yield books
    finally:
        books.is_over = True
        async with asyncio.timeout(20):
            await asyncio.gather(*clients)


async def more_traffic(books: Books) -> None:
    """Wait for another fifty answers."""
    least = books.answered + 50
    await eventually(lambda: _true(books.answered > least), "more traffic")


async def _true(value: bool) -> bool:
    return value


def descendants(pid: int) -> set[int]:
    """Return the children of a process (Linux: from /proc)."""
    return {int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()}


async def upgraded(proxy: Running, times: int) -> None:
    """Wait until the proxy has been upgraded so often and nothing of the program before is left."""

    async def is_upgraded() -> bool:
        status = await proxy.status()
        return (
            bool(status)
            and status["config"]["upgrades_total"] == times
            and not status["config"]["earlier_pids"]
        )

    await eventually(is_upgraded, "the end of the upgrade", 60)


async def watch_counters(proxy: Running, falls: list[str]) -> None:
    """Scrape without a pause and note every counter that goes back."""
    before: dict[tuple[str, ...], float] = {}
    while True:
        now = await proxy.metrics()
        for key, value in before.items():
            is_counter = key[0].endswith(("_total", "_count", "_sum", "_bucket"))
            if is_counter and now.get(key, value) < value:
                falls.append(f"{key}: {value} → {now[key]}")
        before |= now
        await asyncio.sleep(0.02)


@pytest.mark.long
@pytest.mark.parametrize("upgrades", [1, 2])
async def test_an_upgrade_under_traffic_costs_nothing(tmp_path: Path, upgrades: int) -> None:
    """SIGUSR2: same process id, other processes, no failed request, no counter that falls, exact sums."""
    async with world(tmp_path) as (proxy, model):
        pid = proxy.process.pid
        falls: list[str] = []
        async with traffic(proxy) as books:
            watcher = spawn(watch_counters(proxy, falls), name="watcher")
            for times in range(1, upgrades + 1):
                before = descendants(pid)
                proxy.process.send_signal(signal.SIGUSR2)
                await upgraded(proxy, times)
                after = descendants(pid)
                assert len(after) == 3
                assert not after & before
                await more_traffic(books)
            watcher.cancel()
        assert (books.failures, books.refused, falls) == ([], 0, [])
        await proxy.settled()
        assert await proxy.total("modelproxy_requests_total", code="200") == books.answered == model.primary
        assert await proxy.total("modelproxy_shadow_requests_total", outcome="eligible") == books.answered
        assert await proxy.total("modelproxy_payload_records_total", outcome="sampled") == books.answered
        assert await proxy.total("modelproxy_in_flight_requests") == 0
        journal = [orjson.loads(line) for line in (proxy.state / "journal.jsonl").read_bytes().splitlines()]
        assert [(e["version"], e["by"], e["why"]) for e in journal] == [
            (1, "start", "started"),
            *((2 + i, "signal", "upgrade") for i in range(upgrades)),
        ]
        status = await proxy.status()
        assert status["config"]["version"] == 1 + upgrades
        assert [w["restarts"] for w in status["workers"]] == [0, 0]
        await eventually(
            lambda: _true(len(list(Path("/proc", str(pid), "fd").iterdir())) < 40), "files closed"
        )
        # What was left open by now would add up with every upgrade.
        assert not [p for p in run_directories(pid) if (p / "earlier").exists()]


def run_directories(pid: int) -> list[Path]:
    """Return the run directories that a process has open (Linux: from /proc)."""
    links = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    return [link.parent for link in links if link.name == "supervisor.lock" and "modelproxy-" in str(link)]


async def test_a_second_signal_during_an_upgrade_is_refused(tmp_path: Path) -> None:
    """While an answer keeps the program before alive, longer than a drain, another SIGUSR2 does nothing but count."""
    async with world(tmp_path, workers=1, drain="100ms") as (proxy, model):
        model.gate.clear()
        slow = spawn(proxy.infer("ann"), name="slow request")
        await eventually(lambda: _true(model.waiting >= 1), "the request at the model")
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_under_way() -> bool:
            status = await proxy.status()
            config = status.get("config", {})
            return bool(config.get("version", 0) == 2 and config["earlier_pids"])

        await eventually(is_under_way, "both programs side by side", 60)
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_refused() -> bool:
            return await proxy.total("modelproxy_upgrades_refused_total") == 1

        await eventually(is_refused, "the refusal")
        assert await proxy.total("modelproxy_earlier_processes") >= 1
        await asyncio.sleep(0.3)  # longer than the drain, which is for SIGTERM
        assert not slow.done()
        model.gate.set()
        assert await slow == (200, "v1")
        await upgraded(proxy, 1)
        assert await proxy.total("modelproxy_requests_total", code="200") == 1


@pytest.mark.long
async def test_an_upgrade_with_a_bad_file_is_refused(tmp_path: Path) -> None:
    """The program on disk does not understand the file: this one goes on, says why, and can be upgraded later."""
    async with world(tmp_path, workers=1) as (proxy, _):
        good = proxy.config.read_text()
        children = descendants(proxy.process.pid)
        proxy.config.write_text(good.replace("role: champion", "role: king"))
        proxy.process.send_signal(signal.SIGUSR2)

        async def is_refused() -> bool:
            return await proxy.total("modelproxy_upgrades_refused_total") == 1

        await eventually(is_refused, "the refusal", 60)
        assert await proxy.infer("ann") == (200, "v1")
        assert descendants(proxy.process.pid) == children
        journal = [orjson.loads(line) for line in (proxy.state / "journal.jsonl").read_bytes().splitlines()]
        (refusal,) = [line for line in journal if line.get("why") == "upgrade"]
        assert refusal["event"] == "refused"
        assert any("king" in problem for problem in refusal["problems"])
        proxy.config.write_text(good)
        proxy.process.send_signal(signal.SIGUSR2)
        await upgraded(proxy, 1)
        assert await proxy.infer("ann") == (200, "v1")


async def test_a_drain_under_traffic_fails_no_request(tmp_path: Path) -> None:
    """SIGTERM: every request that was sent is answered; clients are told, or closed between two requests."""
    async with world(tmp_path) as (proxy, model):
        async with traffic(proxy) as books:
            proxy.process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(30):
                assert await proxy.process.wait() == 0
            await eventually(lambda: _true(books.refused == CLIENTS), "every client to find nobody")
        assert books.failures == []
        assert books.answered == model.primary


def check_right_of_way(supervisor: int, worker: int) -> None:
    """The observer is nicer than a worker, with all its threads, and so is its session."""
    (observer,) = (
        pid
        for pid in descendants(supervisor)
        if b"proxy.observer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )
    usual = os.getpriority(os.PRIO_PROCESS, worker)
    threads = [int(task.name) for task in Path(f"/proc/{observer}/task").iterdir()]
    assert all(os.getpriority(os.PRIO_PROCESS, thread) > usual for thread in threads)
    sessions = [Path(f"/proc/{pid}/autogroup") for pid in (observer, worker)]
    if all(session.exists() for session in sessions):
        of_observer, of_worker = (int(session.read_text().split()[-1]) for session in sessions)
        assert of_observer > of_worker


@pytest.mark.long
async def test_a_hung_worker_is_replaced(tmp_path: Path) -> None:
    """A worker that stands still is found out; the other one serves, and the count says what happened.

    Workers have the right of way before the observer.
    """
    async with world(tmp_path, workers=2) as (proxy, _):
        worker = (await proxy.status())["workers"][0]["pid"]
        check_right_of_way(proxy.process.pid, worker)
        os.kill(worker, signal.SIGSTOP)

        async def is_replaced() -> bool:
            status = await proxy.status()
            first = status["workers"][0] if status else {}
            return bool(first and first["pid"] not in (None, worker) and first["up"])

        await eventually(is_replaced, "another worker", 60)
        assert await proxy.total("modelproxy_worker_hangs_total", worker="0") == 1
        assert (await proxy.infer("ann"))[0] == 200

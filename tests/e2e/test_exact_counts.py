"""The sums of the contract hold exactly, through reloads and kills: checked against what the models counted."""

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

USERS = [f"user-{i}" for i in range(200)]
CONCURRENCY = 16


def config(directory: Path, models: dict[str, CountingModel], canary: int) -> str:
    """Return a configuration with champion, challenger, canary, a disagreeing shadow and a log."""
    lines = "\n".join(f"  {name}: {{url: '{model.url}'}}" for name, model in models.items())
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
observer: {{pair_timeout: 2s}}
models:
{lines}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: challenger, weight: 20}}
      - {{name: v3, model: three, role: canary, weight: {canary}}}
    shadows: [{{model: four, percent: 100, max_in_flight: 1000}}]
    compare: {{noise: 50}}
    log: {{percent: 20}}
"""


class Clients:
    """Sticky users that send until told to stop; failures are counted, not raised."""

    def __init__(self, proxy: Running) -> None:
        self.proxy = proxy
        self.answered: Counter[str] = Counter()
        self.failed = 0
        self._running = True
        self._tasks: list[asyncio.Task[None]] = []

    async def _send(self, offset: int) -> None:
        turn = offset
        while self._running:
            turn += CONCURRENCY
            try:
                status, variant = await self.proxy.infer(USERS[turn % len(USERS)])
            except aiohttp.ClientError:
                self.failed += 1
                continue
            if status == 200:
                self.answered[variant] += 1
            else:
                self.failed += 1

    async def __aenter__(self) -> "Clients":
        self._tasks = [asyncio.ensure_future(self._send(i)) for i in range(CONCURRENCY)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running = False
        await asyncio.gather(*self._tasks)

    async def more(self, count: int) -> None:
        """Wait for ``count`` further answers."""
        goal = self.answered.total() + count

        async def is_reached() -> bool:
            return self.answered.total() >= goal

        await eventually(is_reached, f"{count} further answers")


async def _models(stack: AsyncExitStack) -> dict[str, CountingModel]:
    labels = {"one": 1, "two": 1, "three": 2, "four": 2}
    return {
        name: await stack.enter_async_context(model_server(name, label)) for name, label in labels.items()
    }


async def test_counts_equal_the_models_own_through_reloads(tmp_path: Path) -> None:
    """After a run with reloads every count equals what clients and models counted, and nothing failed."""
    async with AsyncExitStack() as stack:
        models = await _models(stack)
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, models, 5)))
        async with Clients(proxy) as clients:
            for canary in (20, 0, 10):
                await clients.more(300)
                await proxy.publish(config(tmp_path, models, canary))
            await clients.more(300)
        await proxy.settled()
        assert clients.failed == 0
        by_variant = {"v1": "one", "v2": "two", "v3": "three"}
        for variant, name in by_variant.items():
            counted = await proxy.total("modelproxy_requests_total", variant=variant, model=name, code="200")
            assert counted == models[name].primary == clients.answered[variant]
        everything = clients.answered.total()
        assert await proxy.total("modelproxy_requests_total") == everything
        assert await proxy.total("modelproxy_shadow_requests_total", outcome="sent") == models["four"].shadow
        assert models["four"].shadow == everything
        agree = await proxy.total("modelproxy_comparisons_total", model="four", result="agree")
        disagree = await proxy.total("modelproxy_comparisons_total", model="four", result="disagree")
        assert (agree, disagree) == (clients.answered["v3"], everything - clients.answered["v3"])
        twice = await proxy.total("modelproxy_noise_requests_total", outcome="compared")
        assert 0 < twice == models["one"].shadow < models["one"].primary
        assert await proxy.total("modelproxy_noise_triples_total", result="candidate") == twice
        assert await proxy.total("modelproxy_noise_triples_total") == twice


async def test_a_killed_worker_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    """Counts survive SIGKILL of a worker: they differ from the models' by at most what was in flight then."""
    async with AsyncExitStack() as stack:
        models = await _models(stack)
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, models, 10)))
        async with Clients(proxy) as clients:
            await clients.more(300)
            victim = (await proxy.status())["workers"][0]
            os.kill(victim["pid"], signal.SIGKILL)

            async def is_back() -> bool:
                workers = (await proxy.status()).get("workers", [{}])
                return bool(workers[0].get("up")) and workers[0]["pid"] != victim["pid"]

            await eventually(is_back, "the worker to be restarted")
            await proxy.publish(config(tmp_path, models, 20))
            await clients.more(300)
        await proxy.settled()
        lost = await proxy.total("modelproxy_upstream_faults_total", kind="lost")
        assert lost <= CONCURRENCY
        for variant, name in {"v1": "one", "v2": "two", "v3": "three"}.items():
            counted = await proxy.total("modelproxy_requests_total", variant=variant)
            assert counted <= models[name].primary <= counted + lost
            assert clients.answered[variant] <= counted <= clients.answered[variant] + clients.failed
        sent = await proxy.total("modelproxy_shadow_requests_total", outcome="sent")
        assert models["four"].shadow <= sent <= models["four"].shadow + CONCURRENCY
        twice = await proxy.total("modelproxy_noise_requests_total", outcome="sent")
        assert models["one"].shadow <= twice <= models["one"].shadow + CONCURRENCY
        assert await proxy.total("modelproxy_worker_restarts_total") == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc")
async def test_a_killed_observer_costs_no_request_and_no_count(tmp_path: Path) -> None:
    """SIGKILL of the observer: traffic goes on, request counts stay exact, lost comparisons are counted as dropped."""
    async with AsyncExitStack() as stack:
        models = await _models(stack)
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, models, 10)))
        async with Clients(proxy) as clients:
            await clients.more(300)
            os.kill(proxy.observer_pid(), signal.SIGKILL)
            await clients.more(600)

            async def is_connected() -> bool:
                status = await proxy.status()
                return bool(status) and status["observer"]["connections"] == 2

            await eventually(is_connected, "both workers to reach the new observer")
            before = await proxy.total("modelproxy_shadow_requests_total", outcome="compared")
            await clients.more(300)
        await proxy.settled()
        assert clients.failed == 0
        total = clients.answered.total()
        assert await proxy.total("modelproxy_requests_total", code="200") == total
        assert await proxy.total("modelproxy_shadow_requests_total", outcome="answered") == total
        compared = await proxy.total("modelproxy_shadow_requests_total", outcome="compared")
        dropped = await proxy.total("modelproxy_shadow_requests_total", outcome="comparison_dropped")
        assert compared + dropped == total
        in_flight = 2 * CONCURRENCY  # when the pipe came back, and when the observer was asked
        assert compared >= before + 300 - in_flight
        assert await proxy.total("modelproxy_observer_restarts_total") == 1

"""The engine in a whole proxy: it takes a bad canary off, takes a good one on, and survives whoever is killed."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web
from standardwebhooks import Webhook

from proxy.clock import monotonic
from proxy.engine.store import open_store
from proxy.rollout import record
from proxy.tasks import spawn
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


def config(directory: Path, urls: tuple[str, str], rollout: str, more: str = "") -> str:
    """Return a configuration with a canary on its way."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
timeouts: {{drain: 5s}}
models:
  one: {{url: "{urls[0]}"}}
  two: {{url: "{urls[1]}"}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: canary, rollout: {rollout}}}
{more}"""


@asynccontextmanager
async def models() -> AsyncIterator[tuple[CountingModel, CountingModel]]:
    """Two model servers."""
    async with model_server("one") as one, model_server("two") as two:
        yield one, two


async def rollout(proxy: Running) -> dict[str, Any]:
    """Return where the rollout stands; empty while the observer does not answer."""
    try:
        async with proxy.session.get(f"{proxy.admin}/api/v1/routes/wine/rollout") as answer:
            document: dict[str, Any] = await answer.json() if answer.status == 200 else {}
    except OSError:
        return {}
    return document


async def is_in(proxy: Running, phase: str, step: int | None = None) -> dict[str, Any]:
    found = await rollout(proxy)
    is_there = found.get("phase") == phase and step in (None, found.get("step"))
    return found if is_there else {}


def journal(proxy: Running, event: str) -> list[dict[str, Any]]:
    lines = map(orjson.loads, (proxy.state / "journal.jsonl").read_bytes().splitlines())
    return [line for line in lines if line["event"] == event]


def totals(document: dict[str, Any]) -> dict[str, int]:
    """Return the requests that are evidence, by variant."""
    found = {"v1": 0, "v2": 0}
    for epoch in (document.get("evidence") or {}).get("epochs", ()):
        for variant in epoch["variants"]:
            found[variant["name"]] += variant["requests"]
    return found


async def test_a_dead_canary_is_gone(tmp_path: Path) -> None:
    """A canary that fails everything is off within a second of the answer that shows it, and everybody is told."""
    told: list[Any] = []

    async def on_post(request: web.Request) -> web.Response:
        told.append(Webhook(SECRET).verify(await request.read(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", on_post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hooks = f'webhooks:\n  - {{url: "http://127.0.0.1:{runner.addresses[0][1]}/hook", secret: "{SECRET}"}}\n'
    async with models() as (one, two):
        two.status = 500
        text = config(tmp_path, (one.url, two.url), "{steps: [10, 50]}", hooks)
        async with serve(tmp_path, text) as proxy:
            failed, failed_s = 0, 0.0
            for number in range(10_000):
                status, variant = await proxy.infer(f"user-{number}")
                if variant == "v2":
                    assert status == 500
                    failed, failed_s = failed + 1, monotonic()
                    # Three failures show it; who goes on asking at full speed would only see how fast this test is.
                    if failed == 3:
                        break
            found = await eventually(lambda: is_in(proxy, "rolled_back"), "the canary to be taken off", 5.0)
            took_s = monotonic() - failed_s
            assert found["by"] == "engine"
            for number in range(50):
                assert await proxy.infer(f"user-{number}") == (200, "v1")
            (line,) = journal(proxy, "decision")
            assert (line["verdict"], line["reason"], line["by"]) == ("rollback", "harm", "engine")
            assert line["requests_exposed"] == 3
            await eventually(lambda: _true(bool(told)), "the webhook")
            assert told[0]["type"] == "rollout.rollback"
            assert (told[0]["data"]["route"], told[0]["data"]["evidence"]) == ("wine", line["evidence"])
            assert took_s < 1.5, "a second, and what a busy machine takes to be asked"
            assert await proxy.total("modelproxy_decisions_total", decision="rollback") == 1
            assert await proxy.total("modelproxy_rollout_phase", phase="rolled_back") == 1
        store = open_store(proxy.state, 0)
        snapshot = store.snapshot(line["evidence"])
        assert snapshot is not None
        assert orjson.loads(record.recompute(snapshot))["verdict"] == "rollback"
        store.close()
    await runner.cleanup()


async def _true(value: bool) -> bool:
    return value


async def test_killed_on_the_way(tmp_path: Path) -> None:
    """Whoever is killed, no request is counted twice and none is lost, and the canary goes its way."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), "{steps: [25, 50], hold: 4s, budget: null}")
        async with serve(tmp_path, text) as proxy:
            number = 0

            async def ask(times: int) -> None:
                nonlocal number
                for _ in range(times):
                    number += 1
                    assert (await proxy.infer(f"user-{number}"))[0] == 200

            for _ in range(3):
                await ask(60)
                os.kill(proxy.observer_pid(), signal.SIGKILL)
                await ask(60)
                expected = {"v1": one.primary, "v2": two.primary}

                async def is_counted(expected: dict[str, int] = expected) -> bool:
                    return totals(await rollout(proxy)) == expected

                await eventually(is_counted, f"evidence of {expected}")
            await eventually(lambda: is_in(proxy, "ramping", 1), "the next step")
            (line,) = journal(proxy, "decision")
            assert line["verdict"] == "ramp"
            before = totals(await rollout(proxy))
        async with serve(tmp_path, text) as proxy:
            found = await eventually(lambda: is_in(proxy, "ramping", 1), "the step it was on")
            assert totals(found) == before
            await ask(40)

            async def goes_on() -> bool:
                return totals(await rollout(proxy)) == {"v1": one.primary, "v2": two.primary}

            await eventually(goes_on, "evidence of both lives")


async def test_an_upgrade_on_the_way(tmp_path: Path) -> None:
    """The program after goes on with the evidence of the one before, to the last request that was under way."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), "{steps: [25, 50], hold: 1h}")
        async with serve(tmp_path, text) as proxy:
            for number in range(100):
                await proxy.infer(f"user-{number}")
            one.gate.clear()
            late = [spawn(proxy.infer(f"user-{number}"), name="late") for number in range(100, 120)]
            await eventually(lambda: _true(one.waiting > 5), "requests under way")
            before = (await proxy.status())["config"]["version"]
            proxy.process.send_signal(signal.SIGUSR2)

            async def is_upgraded() -> bool:
                return bool(status := await proxy.status()) and status["config"]["version"] > before

            await eventually(is_upgraded, "the program after")
            for number in range(200, 230):
                spawn(proxy.infer(f"user-{number}"), name="new")
            await eventually(lambda: _true(one.waiting > 20), "requests of the program after")
            one.gate.set()
            assert {status for status, _ in await asyncio.gather(*late)} == {200}

            async def is_counted() -> bool:
                return totals(await rollout(proxy)) == {"v1": one.primary, "v2": two.primary}

            await eventually(is_counted, "every request of both programs")
            await eventually(lambda: _is_alone(proxy), "the end of the program before")
            await eventually(is_counted, "every request, when the program before has gone")
            assert one.primary + two.primary == 150


async def _is_alone(proxy: Running) -> bool:
    return await proxy.total("modelproxy_earlier_processes") == 0

"""Each request is evidence exactly once, whoever is killed, restarted or exchanged: compared with the models' books."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from proxy.tasks import spawn
from tests.e2e.running import CountingModel, Running, eventually, serve
from tests.e2e.trial import Crowd, config, counts, is_in, models, rollout, verdicts

pytestmark = pytest.mark.slow

USERS = [f"user-{i}" for i in range(400)]
PLAN = "rollout: {steps: [25, 50], hold: 1h}"


async def counted(proxy: Running, one: CountingModel, two: CountingModel) -> dict[str, Any]:
    """Wait until the evidence is what the models have counted; return it."""
    expected = {"v1": one.primary, "v2": two.primary}

    async def look() -> dict[str, Any]:
        found = await rollout(proxy)
        return found if counts(found) == expected else {}

    found: dict[str, Any] = await eventually(look, f"evidence of {expected}")
    return found


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc")
async def test_killed_observers_and_a_restart(tmp_path: Path) -> None:
    """What an observer counted the next one knows, what nobody saw is found, and a restart goes on from there."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), PLAN)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            for first in (0, 120):
                await crowd.ask(USERS[first : first + 60])
                os.kill(proxy.observer_pid(), signal.SIGKILL)
                await crowd.ask(USERS[first + 60 : first + 120])
                before = await counted(proxy, one, two)
        async with serve(tmp_path, text) as proxy:
            crowd.proxy = proxy
            found = await eventually(lambda: is_in(proxy, "ramping", 0), "the step it was on")
            assert (found["rollout"], counts(found)) == (before["rollout"], counts(before))
            await crowd.ask(USERS[240:280])
            await counted(proxy, one, two)
            assert verdicts(proxy) == []
        assert crowd.statuses == {200: 280}
        assert one.primary + two.primary == 280


@pytest.mark.long
async def test_requests_under_way_in_an_upgrade(tmp_path: Path) -> None:
    """The program after counts on, and so does the one before until its last request is answered."""
    async with models() as (one, two):
        text = config(tmp_path, (one.url, two.url), PLAN)
        async with serve(tmp_path, text) as proxy:
            crowd = Crowd(proxy)
            await crowd.ask(USERS[:100])
            one.gate.clear()
            late = spawn(crowd.ask(USERS[100:120], at_once=20), name="late")
            await eventually(lambda: _true(one.waiting > 5), "requests under way")
            before = (await proxy.status())["config"]["version"]
            proxy.process.send_signal(signal.SIGUSR2)

            async def is_upgraded() -> bool:
                return bool(status := await proxy.status()) and status["config"]["version"] > before

            await eventually(is_upgraded, "the program after")
            new = spawn(crowd.ask(USERS[200:230], at_once=30), name="new")
            await eventually(lambda: _true(one.waiting > 20), "requests of the program after")
            one.gate.set()
            await asyncio.gather(late, new)
            await counted(proxy, one, two)
            await eventually(lambda: _is_alone(proxy), "the end of the program before")
            await counted(proxy, one, two)
        assert crowd.statuses == {200: 150}
        assert one.primary + two.primary == 150


async def _true(value: bool) -> bool:
    return value


async def _is_alone(proxy: Running) -> bool:
    return await proxy.total("modelproxy_earlier_processes") == 0

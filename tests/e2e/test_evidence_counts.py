"""Evidence of a whole proxy: through a killed worker and an upgrade every completion is counted, every unit once."""

import os
import signal
import sys
from pathlib import Path

import aiohttp
import numpy as np
import pytest

from proxy.evidence.blocks import sources
from proxy.evidence.counts import Counts, read
from proxy.evidence.layout import ERRORS, EVENTS, REQUESTS, UNITS
from proxy.routing.experiment import Experiment
from proxy.routing.table import compile_table
from proxy.settings import parse
from tests.e2e.running import Running, eventually, model_server, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the run directory through /proc"),
]

USERS = [f"user-{i}" for i in range(120)]


def config(directory: Path, one: str, two: str) -> str:
    """Return a split between a model that answers and one that is not there."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
models: {{one: {{url: '{one}'}}, two: {{url: '{two}'}}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    retry: []
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: canary, weight: 40}}
"""


def run_directory(proxy: Running) -> Path:
    """Return the run directory whose lock the supervisor holds; the newest, after an upgrade."""
    links = [link.readlink() for link in Path(f"/proc/{proxy.process.pid}/fd").iterdir() if link.is_symlink()]
    found = [link.parent for link in links if link.match("modelproxy-*/supervisor.lock")]
    return max(found, key=lambda path: path.stat().st_ctime_ns)


def counted(proxy: Running, experiment: Experiment) -> Counts:
    """Return everything that was counted for the epoch, by whichever program."""
    found = sources(run_directory(proxy)).values()
    total: Counts = np.stack([read(source, experiment.epoch, 2) for source in found]).sum(axis=0)
    return total


@pytest.mark.long
async def test_evidence_through_a_kill_and_an_upgrade(tmp_path: Path) -> None:
    """One worker is killed between requests, then the program exchanged: nothing is lost, no unit is new twice."""
    async with model_server("one") as model:
        text = config(tmp_path, model.url, "http://127.0.0.1:9")
        route = compile_table(parse(text, environ={}), 1).routes[0]
        experiment = route.experiment
        assert experiment is not None
        arms = [route.assign(route.bucket(user.encode())).index for user in USERS]
        cells = [
            {route.bucket(u.encode()) % experiment.cells for u, a in zip(USERS, arms, strict=True) if a == i}
            for i in (0, 1)
        ]
        async with serve(tmp_path, text) as proxy:

            async def everyone() -> None:
                for user in USERS:
                    status, _ = await proxy.infer(user)
                    assert status == 200

            await everyone()
            before = await proxy.status()
            os.kill(before["workers"][0]["pid"], signal.SIGKILL)

            async def is_back() -> bool:
                workers = (await proxy.status()).get("workers", [{}])
                return bool(workers[0].get("up")) and workers[0]["pid"] != before["workers"][0]["pid"]

            await eventually(is_back, "the worker to be restarted")
            await proxy.session.close()
            proxy.session = aiohttp.ClientSession()
            await everyone()
            first = run_directory(proxy)
            proxy.process.send_signal(signal.SIGUSR2)

            async def is_exchanged() -> bool:
                return not first.exists() and bool(await proxy.status())

            await eventually(is_exchanged, "the upgrade")
            await everyone()
            counts = counted(proxy, experiment)
        for index in (0, 1):
            users = arms.count(index)
            assert counts[index, REQUESTS] == 3 * users
            assert counts[index, UNITS] == len(cells[index])
            assert counts[index, EVENTS + ERRORS] == (len(cells[index]) if index else 0)
        assert model.primary == 3 * len(USERS), "the champion answers for a canary that is not there"

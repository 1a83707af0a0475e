"""What a payload log says of all traffic, through a real proxy: known error rates are found again, losses are told."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.records.budget import hard_cap
from proxy.records.weights import Sample, allow_for_losses, weighting_of
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

USERS = 400
FAILING = frozenset(f"user-{i}" for i in range(0, USERS, 9))
CONCURRENCY = 16
RUSH_S = 3.0
"""Of whatever the machine can: some seconds, since the first of them is told apart from the others."""


def config(directory: Path, one: CountingModel, four: CountingModel, log: str) -> str:
    """Return a champion, a shadow that always disagrees with it, and a log."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
models:
  one: {{url: '{one.url}'}}
  four: {{url: '{four.url}'}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    retry: []
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: four, percent: 5, max_in_flight: 1000}}]
    log: {log}
"""


async def ask(proxy: Running, orders: list[str]) -> Counter[int]:
    """Send one request of each user in ``orders``; return how many were answered with each status."""
    statuses: Counter[int] = Counter()
    waiting = iter(orders)

    async def client() -> None:
        for user in waiting:
            status, _ = await proxy.infer(user)
            statuses[status] += 1

    await asyncio.gather(*(client() for _ in range(CONCURRENCY)))
    return statuses


def records(proxy: Running) -> list[dict[str, Any]]:
    """Return the records that are on the disk."""
    files = sorted((proxy.state / "payloads").glob("payloads-*.jsonl"))
    return [orjson.loads(line) for file in files for line in file.read_bytes().splitlines()]


def share(found: list[dict[str, Any]], holds: Callable[[dict[str, Any]], bool]) -> Sample:
    """Return the records as a sample of whatever ``holds``."""
    sample = Sample()
    for record in found:
        sample.add(weighting_of(record), float(holds(record)))
    return sample


def is_error(record: dict[str, Any]) -> bool:
    status: int = record["response"]["status"]
    return status >= 500


async def outcomes(proxy: Running) -> dict[str, int]:
    words = ("sampled", "written", "dropped", "failed", "thinned")
    return {word: await proxy.total("modelproxy_payload_records_total", outcome=word) for word in words}


async def test_a_known_error_rate_is_found_again(tmp_path: Path) -> None:
    """A tenth of the units is logged, and all errors and disagreements: weighted, it says how often requests fail."""
    log = '{percent: 10, keep: [errors, disagreement, {slow: 60s}, {when: "response.status == `404`"}]}'
    async with model_server("one") as one, model_server("four", label=2) as four:
        one.fails = lambda user: user in FAILING
        async with serve(tmp_path, config(tmp_path, one, four, log)) as proxy:
            orders = [f"user-{i}" for i in range(USERS) for _ in range(1 + i % 9)]
            statuses = await ask(proxy, orders)
            await proxy.settled()
            found, counts = records(proxy), await outcomes(proxy)
    truth = sum(n for status, n in statuses.items() if status >= 500) / statuses.total()
    assert statuses.total() == len(orders)
    assert counts == {"sampled": len(found), "written": len(found), "dropped": 0, "failed": 0, "thinned": 0}
    reasons = Counter(tuple(record["kept_by"]) for record in found)
    assert {"sample", "errors", "disagreement"} == {each for key in reasons for each in key}
    assert sum(n for key, n in reasons.items() if "errors" in key) == round(truth * len(orders))
    assert all(
        any(each["comparison"] and each["comparison"]["result"] == "disagree" for each in record["shadows"])
        for record in found
        if "disagreement" in record["kept_by"]
    )
    errors = share(found, is_error)
    assert errors.total().value == pytest.approx(truth * len(orders))
    assert errors.total().variance == pytest.approx(0.0, abs=1e-9)
    low, high = errors.ratio().proportion_interval(0.9999)
    assert low < truth < high
    assert high < 3 * truth
    assert sum(map(is_error, found)) / len(found) > 2 * truth  # what the records say without their weights


@pytest.mark.long
async def test_a_budget_in_a_rush(tmp_path: Path) -> None:
    """Thirty times the budget leaves what it allows; what is there stands for all, but for what is told as lost."""
    async with model_server("one") as one, model_server("four") as four:
        one.fails = lambda user: user in FAILING
        text = config(tmp_path, one, four, "{percent: 100, budget: 25}")
        async with serve(tmp_path, text) as proxy:
            clock, statuses = asyncio.get_running_loop().time, Counter[int]()
            started = clock()
            while (seconds := clock() - started) < RUSH_S:
                statuses += await ask(proxy, [f"user-{i}" for i in range(USERS)])
            await proxy.settled()
            found, counts = records(proxy), await outcomes(proxy)
    offered = statuses.total()
    assert counts["sampled"] == offered
    assert counts["sampled"] == sum(n for word, n in counts.items() if word != "sampled")
    assert len(found) == counts["written"] <= hard_cap(25) + 60 * (seconds + 1)
    assert counts["thinned"] > offered / 3
    everything = share(found, lambda _: True).total()
    low, high = everything.interval(0.9999)
    assert low + counts["dropped"] <= offered <= high + counts["dropped"]
    errors = share(found, is_error).ratio().proportion_interval(0.9999)
    low, high = allow_for_losses(*errors, lost=float(counts["dropped"]), known=float(everything.value))
    truth = sum(n for status, n in statuses.items() if status >= 500) / statuses.total()
    assert low <= truth <= high


@pytest.mark.long
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc")
async def test_a_killed_observer_leaves_no_record_without_an_end(tmp_path: Path) -> None:
    """What rules chose and a budget thinned adds up again after SIGKILL of the observer, to the last record."""
    log = '{percent: 20, keep: [errors, disagreement, {when: "response.status == `404`"}], budget: 5}'
    async with model_server("one") as one, model_server("four", label=2) as four:
        one.fails = lambda user: user in FAILING
        text = config(tmp_path, one, four, log).replace("percent: 5,", "percent: 60,")
        text += "observer: {pair_timeout: 5s}\n"  # of a pair the kill may have taken one half
        async with serve(tmp_path, text) as proxy:
            orders = [f"user-{i % USERS}" for i in range(1200)]
            killing = asyncio.create_task(_kill_after(proxy, one, 500))
            await ask(proxy, orders)
            await killing
            await eventually(proxy.is_watched, "both workers to reach the new observer")
            # The new one's budget has to see a load that lasts before it thins any: of a burst it loses the rest.
            asking = asyncio.create_task(_keep_asking(proxy, orders[:200]))
            await eventually(lambda: _thins(proxy), "the new observer's budget to thin")
            asking.cancel()
            await asyncio.wait([asking])
            await proxy.settled()
            counts = await outcomes(proxy)
    assert counts["sampled"] == sum(n for word, n in counts.items() if word != "sampled")
    assert counts["written"]
    assert counts["thinned"]


async def _keep_asking(proxy: Running, orders: list[str]) -> None:
    while True:
        await ask(proxy, orders)


async def _thins(proxy: Running) -> bool:
    return (await outcomes(proxy))["thinned"] > 0


async def _kill_after(proxy: Running, model: CountingModel, requests: int) -> None:
    async def is_time() -> bool:
        return model.primary >= requests

    await eventually(is_time, "some requests")
    os.kill(proxy.observer_pid(), signal.SIGKILL)

"""Whoever is killed in mid-rollout, whenever: the same is decided, no unit counts twice and no request is forgotten."""

import asyncio
import math
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from proxy.engine.ledger import Ledger
from proxy.engine.store import open_store
from proxy.evidence.layout import CELLS, FIELDS, REQUESTS, UNITS
from proxy.rundir import left_behind, owner_of
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve
from tests.e2e.trial import EVENTS, Crowd, counts, decisions, is_in, recomputed, rollout, verdicts

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc"),
]

USERS = [f"user-{i}" for i in range(60_000)]
ROUTES = ("wine", "beer")
PLAN = f"{{steps: [10, 30, 60], hold: 2s, guardrails: {EVENTS}}}"


class Models(NamedTuple):
    """The champion of both routes, the canary of each."""

    champion: CountingModel
    wine: CountingModel
    beer: CountingModel


@asynccontextmanager
async def models() -> AsyncIterator[Models]:
    """Three model servers; wine's canary fails the newcomers of its third step."""
    async with model_server("one") as one, model_server("two") as two, model_server("three") as three:
        yield Models(one, two, three)


def config(directory: Path, urls: Models) -> str:
    """Return a configuration with two rollouts."""
    routes = "".join(
        f"""
  - name: {route}
    match: {{path: "/v2/models/{route}/*"}}
    unit: [header:x-user-id]
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: {route}, role: canary, rollout: {PLAN}}}"""
        for route in ROUTES
    )
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
timeouts: {{drain: 20s}}
models: {{one: {{url: "{urls.champion.url}"}}, wine: {{url: "{urls.wine.url}"}}, beer: {{url: "{urls.beer.url}"}}}}
routes:{routes}
"""


def child(supervisor: int, name: str) -> int:
    """Return the process id of ``observer``, ``worker 0`` or ``worker 1``; 0 while it is down."""
    room, _, index = name.partition(" ")
    wanted = [b"proxy.observer"] if room == "observer" else [b"proxy.dataplane", index.encode()]
    with suppress(OSError):  # it ends while it is looked at
        for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
            command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if command[2 : 2 + len(wanted)] == wanted:
                return int(pid)
    return 0


class Life:
    """A proxy that is started again when its supervisor is killed, and the clients that go on asking it.

    Args:
        directory: of all its lives.
        text: its configuration.
    """

    def __init__(self, directory: Path, text: str) -> None:
        self.directory = directory
        self.text = text
        self.proxy: Running
        self.crowd: Crowd
        self.kills: list[str] = []
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> "Life":
        self.proxy = await self._stack.enter_async_context(serve(self.directory, self.text))
        self.crowd = Crowd(self.proxy, ROUTES)
        return self

    async def __aexit__(self, *exc: Any) -> None:
        await self._stack.__aexit__(*exc)

    async def kill(self, whom: str) -> None:
        """Kill with SIGKILL the ``observer``, ``worker`` 0 or 1, or the ``supervisor``, which is started again."""
        self.kills.append(whom)
        if whom == "supervisor":
            self.proxy.process.kill()
            await self.proxy.process.wait()
            self.crowd.proxy = self.proxy = await self._stack.enter_async_context(
                serve(self.directory, self.text)
            )
        else:

            async def pid() -> int:
                return child(self.proxy.process.pid, whom)

            os.kill(await eventually(pid, whom), signal.SIGKILL)

    def is_over(self) -> bool:
        return len(verdicts(self.proxy, "wine")) >= 3 and len(verdicts(self.proxy, "beer")) >= 3


VICTIMS = ("observer", "worker 0", "worker 1", "supervisor")
MOST_KILLS = 32
"""On a busy machine a few hundred answers take less time than an observer needs to start: it would never decide."""


async def chaos(life: Life, seed: int) -> None:
    """Kill somebody, or several at once, after every few hundred answers until all is decided."""
    generator = np.random.default_rng(seed)
    order: list[str] = []
    while len(life.kills) < MOST_KILLS:
        due = life.crowd.statuses.total() + int(generator.integers(150, 600))
        while life.crowd.statuses.total() < due:
            if life.is_over():
                return
            await asyncio.sleep(0.01)
        for _ in range(int(generator.integers(1, 4))):
            order = order or generator.permutation(VICTIMS).tolist()
            await life.kill(order.pop())


async def watch(life: Life, shown: dict[str, list[int]]) -> None:
    """Note what is shown as counted, as often as somebody shows it."""
    while not life.is_over():
        for route in ROUTES:
            found = await rollout(life.proxy, route)
            if (found.get("evidence") or {}).get("kept"):
                shown[route].append(sum(counts(found).values()))
        await asyncio.sleep(0.1)


def stored(state: Path, rollout_id: str) -> dict[str, int]:
    """Return the requests and units that are on the disk for a rollout."""
    store = open_store(state, 0)
    ledger = Ledger(FIELDS)
    store.load(rollout_id, ledger)
    store.close()
    total = sum(each.sum(axis=0) for each in ledger.totals().values())
    return {"requests": int(total[REQUESTS]), "units": int(total[UNITS])}


def collisions(users: int) -> float:
    """Return how many of ``users`` are not counted, at most (six standard deviations): another has their cell."""
    expected: float = users * users / (2 * CELLS)
    return expected + 6 * math.sqrt(expected)


@pytest.mark.parametrize(
    "seed",
    [0, 1, pytest.param(2, marks=pytest.mark.long)],
    ids=["undisturbed", "killed", "killed otherwise"],
)
@pytest.mark.long
async def test_kills_change_no_decision(tmp_path: Path, seed: int) -> None:
    """Everybody is killed by turns, at random moments, and all goes as it goes when nobody is."""
    shown: dict[str, list[int]] = {route: [] for route in ROUTES}
    async with models() as served, Life(tmp_path, config(tmp_path, served)) as life:
        served.wine.fails = lambda user: len(verdicts(life.proxy, "wine")) >= 2
        async with asyncio.TaskGroup() as group:
            group.create_task(life.crowd.ask_until(USERS, life.is_over, "all decisions", 150.0))
            group.create_task(watch(life, shown))
            if seed:
                group.create_task(chaos(life, seed))
        proxy, crowd = life.proxy, life.crowd
        await eventually(lambda: is_in(proxy, "rolled_back"), "the rollback to be shown")
        await eventually(lambda: is_in(proxy, "promoted", route="beer"), "the promotion to be shown")
        asked = crowd.statuses.total() // len(ROUTES)
        ids = {}
        for route in ROUTES:
            ids[route] = (await rollout(proxy, route))["rollout"]

            async def is_all(route: str = route) -> bool:
                found = counts(await rollout(proxy, route))
                shown[route].append(sum(found.values()))
                return bool(asked <= shown[route][-1] <= asked + crowd.broken)

            await eventually(
                is_all, f"evidence of {asked} requests of {route}, and the {crowd.broken} that were broken"
            )
    assert crowd.statuses.keys() == {200}
    moves = {
        "wine": [("ramp", 10, 30), ("ramp", 30, 60), ("rollback", 60, 0)],
        "beer": [("ramp", 10, 30), ("ramp", 30, 60), ("promote", 60, 100)],
    }
    for route in ROUTES:
        lines = decisions(proxy, route)
        assert [(each["verdict"], each["from_weight"], each["to_weight"]) for each in lines] == moves[route]
        assert {each["rollout"] for each in lines} == {ids[route]}
        assert shown[route] == sorted(shown[route]), "what was counted is never less"
        found = stored(proxy.state, ids[route])
        assert asked <= found["requests"] <= asked + crowd.broken
        assert asked - collisions(asked) <= found["units"] <= asked
        for each in lines:
            assert recomputed(proxy, each, route)["verdict"] == each["verdict"]


@pytest.mark.parametrize(
    "victims",
    [
        pytest.param(("supervisor",), marks=pytest.mark.long),
        ("observer", "supervisor"),
        pytest.param(("observer", "supervisor") * 2, marks=pytest.mark.long),
    ],
)
async def test_a_killed_supervisor_takes_nothing_along(tmp_path: Path, victims: tuple[str, ...]) -> None:
    """What was counted in the moment before is there in the next life, and so is what its workers finish after it
    began, also when nobody is there who reads it. What it left behind goes then."""
    async with models() as served, Life(tmp_path, config(tmp_path, served)) as life:
        await life.crowd.ask(USERS[:200])
        served.champion.gate.clear()
        late = Crowd(life.proxy)
        async with asyncio.TaskGroup() as group:
            group.create_task(late.ask(USERS[200:240], at_once=40))
            await eventually(lambda: _is(served.champion.waiting >= 30), "requests under way")
            for victim in victims:
                await life.kill(victim)
            served.champion.gate.set()
        assert (late.broken, late.statuses) == (0, {200: 40}), "it drained"

        async def is_all(requests: int) -> dict[str, Any]:
            found = await rollout(life.proxy)
            return found if sum(counts(found).values()) == requests else {}

        await eventually(lambda: is_all(240), "evidence of 240 requests", 10.0)
        await life.crowd.ask(USERS[:200])
        found = await eventually(lambda: is_all(440), "evidence of 440 requests", 10.0)
        assert sum(counts(found, "units").values()) <= 240, "who was counted before is not new"
        owner = owner_of(life.proxy.state)
        await eventually(lambda: _is(len(left_behind(owner)) == 1), "the end of what was left behind", 10.0)

        async def is_told() -> bool:
            return await life.proxy.total("modelproxy_remnants") == 0

        await eventually(is_told, "the metric to show it")
    assert left_behind(owner) == []


@pytest.mark.long
async def test_an_upgrade_on_the_way(tmp_path: Path) -> None:
    """With SIGUSR2 under traffic: the same rollout at the same weight, each request counted once, no unit new again."""
    async with models() as served:
        text = config(tmp_path, served).replace("hold: 2s", "hold: 1h")
        async with serve(tmp_path, text) as proxy:
            crowd, again = Crowd(proxy), Crowd(proxy)
            await crowd.ask(USERS[:300])
            before = await rollout(proxy)

            async def is_done() -> bool:
                status = await proxy.status()
                config = status.get("config", {})
                return config.get("upgrades_total") == 1 and not config["earlier_pids"]

            async with asyncio.TaskGroup() as group:
                group.create_task(again.ask(USERS[:300] + USERS[300:600]))
                proxy.process.send_signal(signal.SIGUSR2)
                group.create_task(eventually(is_done, "the upgrade"))
            assert (crowd.broken, again.broken) == (0, 0)
            assert again.statuses.keys() == {200}
            assert all(again.history[user] == crowd.history[user] for user in USERS[:300])

            async def is_all() -> dict[str, Any]:
                found = await rollout(proxy)
                return found if sum(counts(found).values()) >= 900 else {}

            after = await eventually(is_all, "evidence of 900 requests")
            assert sum(counts(after).values()) == 900
            assert 600 - collisions(600) <= sum(counts(after, "units").values()) <= 600
            same = ("rollout", "phase", "step", "weight", "sequence")
            assert [after[name] for name in same] == [before[name] for name in same]
            assert verdicts(proxy) == []
            kept = [
                each for each in after["evidence"]["decisions"] if each["decision"]["reason"] == "hold_time"
            ]
            assert len(kept) == 1, "nobody else thought about it meanwhile"


async def _is(value: bool) -> bool:
    return value

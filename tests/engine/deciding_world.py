"""A route with a rollout, workers that count, and a supervisor that is asked: what the tick lives in."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from proxy.engine.deciding import Deciding
from proxy.engine.engine_time import EngineTime
from proxy.engine.ledger import BIN_NS
from proxy.engine.store import Store, StoreError, open_store
from proxy.engine.store_thread import StoreThread
from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import (
    ERRORS,
    EVENTS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    REQUEST_EVENTS,
)
from proxy.rollout.plan import plan_of
from proxy.rollout.state import RolloutState, weight
from proxy.rollout.transitions import Action, apply, begin
from proxy.routing.position import Position
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

__all__ = [
    "ALONE",
    "CONFIG",
    "SECOND",
    "SPLIT",
    "START_NS",
    "WAIT_S",
    "Clocks",
    "World",
    "requests_of",
    "without_disk",
]

CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/*"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v3, model: two, role: canary, rollout: {hold: 60s}}
"""
SPLIT = CONFIG.replace("rollout: {hold: 60s}", "weight: 10")
ALONE = CONFIG.replace("      - {name: v3, model: two, role: canary, rollout: {hold: 60s}}\n", "")
SECOND = 1_000_000_000
WAIT_S = 20.0
START_NS = 1_800_000_000 * SECOND


class Clocks:
    """A monotonic and a wall clock, moved by hand."""

    def __init__(self) -> None:
        self.monotonic_ns = 5 * SECOND
        self.wall_ns = START_NS + 5 * SECOND

    def engine(self) -> EngineTime:
        return EngineTime(BIN_NS, lambda: self.monotonic_ns, lambda: self.wall_ns)

    def advance(self, seconds: float) -> None:
        self.monotonic_ns += round(seconds * SECOND)
        self.wall_ns += round(seconds * SECOND)


class World:
    """A run directory, a state directory, a supervisor that does as it is asked, and the deciding part."""

    def __init__(self, place: Path, text: str = CONFIG) -> None:
        self.run_dir, self.state_dir = place / "run", place / "state"
        self.run_dir.mkdir(exist_ok=True)
        self.settings = parse(text, environ={})
        self.clocks = Clocks()
        self.version = 0
        self.requests: list[tuple[str, Mapping[str, Any]]] = []
        self.answers = True
        plan = plan_of(self.settings, self.settings.routes[0])
        self.plan = plan
        self.state = None if plan is None else begin(plan, "ab" * 8, self.now_ns)
        self.table: Table
        self.deciding = self.make()

    @property
    def now_ns(self) -> int:
        return self.clocks.monotonic_ns + START_NS

    def make(self) -> Deciding:
        shelf = StoreThread(self.state_dir)
        return Deciding(self.run_dir, self.state_dir, self.request, time=self.clocks.engine(), shelf=shelf)

    def publish(self) -> None:
        """Have the state in force."""
        self.version += 1
        positions, documents = [], []
        if self.state is not None and self.plan is not None:
            state = self.state
            positions = [Position(state.route, state.variant, state.rollout, weight(self.plan, state))]
            documents = [state.document()]
        self.table = compile_table(self.settings, self.version, "d", positions)
        message = {"clock_offset_ns": START_NS, "rollouts": documents}
        self.deciding.admit(self.table, message)
        self.deciding.commit(self.version)

    async def request(self, verb: str, by: str, facts: Mapping[str, Any]) -> Mapping[str, Any]:
        self.requests.append((verb, facts["decision"]))
        if not self.answers:
            raise ConnectionError("the supervisor is gone")
        decision = facts["decision"]
        if verb == "note":
            return {"ok": True, "document": {}}
        assert self.state is not None
        assert self.plan is not None
        if decision["sequence"] != self.state.sequence:
            return {"ok": False, "document": {"result": "refused", "problems": ["stale"]}}
        moved = apply(self.plan, self.state, Action(decision["action"]), self.now_ns, by, decision["reason"])
        assert isinstance(moved, RolloutState)
        self.state = moved
        self.publish()
        return {"ok": True, "document": {"result": "published"}}

    def count(
        self,
        requests: Mapping[str, int],
        errors: Mapping[str, int] | None = None,
        bucket: int = 200,
        route: int = 0,
    ) -> None:
        """Count completions of fresh units, by variant, as a worker does."""
        experiment = self.table.routes[route].experiment
        assert experiment is not None
        block = open_evidence(self.run_dir, experiment.epoch, 0, experiment.size)
        slots = np.frombuffer(block.slots, np.uint64).copy()
        for index, arm in enumerate(experiment.arms):
            base, number = index * FIELDS, requests.get(arm.name, 0)
            failed = (errors or {}).get(arm.name, 0)
            slots[base] += np.uint64(number)
            slots[base + 1] += np.uint64(number)
            for column in (REQUEST_EVENTS, FIRST_EVENTS, EVENTS):
                slots[base + column + ERRORS] += np.uint64(failed)
            for column in (LATENCY, FIRST_LATENCY):
                slots[base + column + bucket] += np.uint64(number)
        for i, value in enumerate(slots.tolist()):
            block.slots[i] = value
        block.close()

    async def tick(self, times: int = 1, seconds: float = 1.0) -> None:
        for _ in range(times):
            self.clocks.advance(seconds)
            await self.deciding.tick()
            for _ in range(5):
                await asyncio.sleep(0)

    def decided(self) -> list[str]:
        return [facts["action"] for verb, facts in self.requests if verb == "decide"]

    def noted(self) -> list[tuple[str, str]]:
        return [(facts["verdict"], facts["reason"]) for verb, facts in self.requests if verb == "note"]

    async def restart(self) -> None:
        """A new observer in the same run directory; the old one is killed."""
        await self.deciding.shelf.close(WAIT_S)
        self.deciding = self.make()
        self.publish()

    def stored(self) -> Store:
        return open_store(self.state_dir, 0)


def requests_of(world: World) -> tuple[int, int]:
    """Return how many requests there are of champion and canary."""
    slices = world.deciding.dossiers["ab" * 8].slices("v3")
    return int(slices.champion[:, 0].sum()), int(slices.canary[:, 0].sum())


def without_disk(world: World) -> None:
    def open_(_: Path, __: int) -> Store:
        raise StoreError("no space left on device")

    world.deciding = Deciding(
        world.run_dir,
        world.state_dir,
        world.request,
        time=world.clocks.engine(),
        shelf=StoreThread(world.state_dir, open_),
    )
    world.publish()

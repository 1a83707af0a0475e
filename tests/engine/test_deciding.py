"""The tick: from what workers counted to what the supervisor is asked, over restarts and bad disks."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from proxy.engine.deciding import Deciding
from proxy.engine.engine_time import EngineTime
from proxy.engine.judging import Judgement, judge
from proxy.engine.ledger import BIN_NS
from proxy.engine.store import FILE_NAME, Batch, Store, StoreError, open_store
from proxy.engine.store_thread import StoreThread
from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import (
    CELLS,
    ERRORS,
    EVENTS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    REQUEST_EVENTS,
)
from proxy.evidence.remnants import follow_remnant, lock_workers, remnants
from proxy.evidence.units import open_units, restore_units, units_path
from proxy.rollout import record
from proxy.rollout.plan import plan_of
from proxy.rollout.state import RolloutState, weight
from proxy.rollout.transitions import Action, apply, begin
from proxy.routing.position import Position
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

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


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    world.publish()
    yield world
    await world.deciding.finish(WAIT_S)


async def test_words_are_made_now_and_then(world: World) -> None:
    """The same verdict once in two seconds, another one at once; and evidence whenever it is asked for."""
    shown = []
    for units in (5, 6, 7, 8, 9):
        world.count({"v1": 500, "v3": units})
        await world.tick(seconds=0.5)
        shown.append(world.deciding.judgements["wine"]["units_exposed"])
    assert shown == [5, 5, 5, 5, 35]
    told = await world.deciding.describe("wine")
    assert told is not None
    assert told["canary_units"] == 35
    world.count({"v3": 2})
    await world.tick(seconds=0.5)
    told = await world.deciding.describe("wine")
    assert told is not None
    assert told["canary_units"] == 37
    assert world.deciding.judgements["wine"]["units_exposed"] == 35
    world.count({"v3": 40}, errors={"v3": 40})
    await world.tick(seconds=0.5)
    assert world.deciding.judgements["wine"]["reason"] == "harm"
    assert world.deciding.judgements["wine"]["units_exposed"] == 77


async def test_a_healthy_canary_ramps(world: World) -> None:
    """With enough units after the time to hold it goes a step up, once, on evidence that is stored."""
    for _ in range(29):
        world.count({"v1": 990, "v3": 10})
        await world.tick(seconds=2)
    assert world.decided() == []
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"
    assert world.noted() == [("hold", "hold_time")]
    world.count({"v1": 9900, "v3": 100})
    await world.tick(2, seconds=3)
    assert world.decided() == ["ramp"]
    assert world.state is not None
    assert (world.state.step, world.state.by) == (1, "engine")
    ((_, decision),) = [each for each in world.requests if each[0] == "decide"]
    snapshot = world.stored().snapshot(decision["evidence"])
    assert snapshot is not None
    assert orjson.loads(record.recompute(snapshot)) == {k: v for k, v in decision.items() if k != "evidence"}


async def test_a_dead_canary_is_gone(world: World) -> None:
    """A canary whose first three requests fail is rolled back by the next look."""
    world.count({"v1": 297})
    await world.tick()
    assert world.decided() == []
    world.count({"v3": 3}, {"v3": 3})
    await world.tick()
    assert world.decided() == ["rollback"]
    assert world.state is not None
    assert str(world.state.phase) == "rolled_back"
    await world.tick()
    assert world.deciding.judgements["wine"]["reason"] == "rolled_back"


async def test_who_ends_decides_nothing(world: World) -> None:
    """It goes on to read and to store: a successor may decide already."""
    world.count({"v1": 297})
    await world.tick()
    assert world.state is not None
    units = open_units(world.run_dir, world.state.rollout, CELLS)
    units.slots[7] = 1
    units.close()
    world.deciding.stand_down()
    world.count({"v3": 3}, {"v3": 3})
    await world.tick(3)
    assert world.decided() == []
    assert len(world.stored().decisions("wine", 10)) == 1  # the note of the first look
    slices = world.deciding.dossiers[world.state.rollout].slices("v3")
    assert int(slices.canary[:, 0].sum()) == 3
    assert restore_units(world.run_dir.parent, world.state_dir, world.state.rollout)
    assert units_path(world.run_dir.parent, world.state.rollout).read_bytes()[56] == 1


async def test_asked_again_until_it_is_done(world: World) -> None:
    """What was asked for is asked again each tick, in the same words, until the state has moved."""
    world.answers = False
    world.count({"v1": 297, "v3": 30}, {"v3": 30})
    await world.tick(3)
    assert world.decided() == ["rollback"] * 3
    assert len({orjson.dumps(facts) for verb, facts in world.requests if verb == "decide"}) == 1
    world.answers = True
    await world.tick()
    await world.tick()
    assert world.decided() == ["rollback"] * 4
    assert len(world.stored().decisions("wine", 10)) == 2  # the decision, and a note after it


@pytest.mark.parametrize("kill_at", [1, 7, 12])
async def test_a_restart_changes_nothing(tmp_path: Path, kill_at: int) -> None:
    """An observer that is killed and starts again has the same slices, and decides the same, as one that was not."""
    documents = []
    for at in (-1, kill_at):
        (tmp_path / str(at)).mkdir()
        world = World(tmp_path / str(at))
        world.publish()
        for number in range(15):
            world.count({"v1": 990, "v3": 10}, {"v1": 5})
            if number == at:
                await world.restart()
            await world.tick(seconds=4)
        world.count({"v1": 9900, "v3": 100}, {"v1": 9})
        await world.tick(2, seconds=3)
        documents.append([facts for verb, facts in world.requests if verb == "decide"])
        await world.deciding.finish(WAIT_S)
    first, second = documents
    assert [each["action"] for each in first] == ["ramp"]
    assert second == first


async def test_a_new_run_directory_adds_up(world: World, tmp_path: Path) -> None:
    """After a restart of everything counters begin anew; what was stored before is added."""
    world.count({"v1": 5000, "v3": 50})
    await world.tick(2)
    await world.deciding.finish(WAIT_S)
    world.run_dir = tmp_path / "second"
    world.run_dir.mkdir()
    world.deciding = world.make()
    world.publish()
    world.count({"v1": 990, "v3": 10})
    await world.tick(2)
    assert world.state is not None
    slices = world.deciding.dossiers[world.state.rollout].slices("v3")
    assert (int(slices.champion[:, 0].sum()), int(slices.canary[:, 0].sum())) == (5990, 60)


async def killed(world: World) -> Path:
    """Have observer and supervisor killed, and others begin in another run directory; return the one they left."""
    await world.deciding.shelf.close(WAIT_S)
    dead, world.run_dir = world.run_dir, world.run_dir.with_name(f"after {world.run_dir.name}")
    world.run_dir.mkdir()
    for remnant in (dead, *remnants(dead).values()):
        follow_remnant(world.run_dir, remnant)
    world.deciding = world.make()
    world.publish()
    return dead


def requests_of(world: World) -> tuple[int, int]:
    """Return how many requests there are of champion and canary."""
    slices = world.deciding.dossiers["ab" * 8].slices("v3")
    return int(slices.champion[:, 0].sum()), int(slices.canary[:, 0].sum())


async def test_what_nobody_read_is_read_by_the_next(world: World) -> None:
    """What a killed supervisor's workers counted when nobody looked any more, and what they finish, counts once."""
    world.count({"v1": 500, "v3": 5})
    await world.tick()
    workers = lock_workers(world.run_dir)
    world.count({"v1": 40, "v3": 4})
    dead = await killed(world)
    world.count({"v1": 100, "v3": 1})
    await world.tick(2)
    assert requests_of(world) == (640, 10)
    world.run_dir, ours = dead, world.run_dir
    world.count({"v1": 3, "v3": 2})
    world.run_dir = ours
    await world.tick(2)
    assert requests_of(world) == (643, 12)
    assert remnants(ours) == {dead.name: dead}, "its workers may count more"
    os.close(workers)
    await world.tick()
    assert remnants(ours) == {}
    await world.restart()
    await world.tick()
    assert requests_of(world) == (643, 12)


async def test_two_deaths_in_a_row(world: World) -> None:
    """Killed again before anything was read, the next finds what both have left."""
    world.count({"v1": 40, "v3": 4})
    await killed(world)
    world.count({"v1": 100, "v3": 1})
    await killed(world)
    world.count({"v1": 7})
    assert len(remnants(world.run_dir)) == 2
    await world.tick()
    assert requests_of(world) == (147, 5)
    assert remnants(world.run_dir) == {}


async def test_without_a_disk_nothing_is_let_go(world: World) -> None:
    """What is in memory only must be found again by the next start; and the end says that not all is stored."""
    world.count({"v1": 40, "v3": 4})
    dead = await killed(world)
    without_disk(world)
    await world.tick(5)
    assert requests_of(world) == (40, 4)
    assert remnants(world.run_dir) == {dead.name: dead}
    assert not await world.deciding.finish(WAIT_S)
    world.deciding = world.make()
    world.publish()
    await world.tick()
    assert remnants(world.run_dir) == {}
    assert await world.deciding.finish(WAIT_S)


async def test_what_could_not_be_taken_in_is_not_let_go(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fault of ours costs no evidence."""
    world.count({"v1": 40, "v3": 4})
    dead = await killed(world)
    with monkeypatch.context() as patch:
        patch.setattr("proxy.engine.dossier.Dossier.take", lambda *_: 1 / 0)
        await world.tick(2)
    assert remnants(world.run_dir) == {dead.name: dead}
    await world.tick()
    assert remnants(world.run_dir) == {}
    assert requests_of(world) == (40, 4)


async def test_what_nobody_wants_any_more_is_let_go(tmp_path: Path) -> None:
    """Evidence of a rollout that is gone from the file, or over, is waited for by nobody."""
    world = World(tmp_path)
    world.publish()
    world.count({"v1": 40, "v3": 4})
    await world.deciding.shelf.close(WAIT_S)
    for name, text in (("alone", ALONE), ("split", SPLIT)):
        (tmp_path / name).mkdir()
        other = World(tmp_path / name, text)
        other.publish()
        follow_remnant(other.run_dir, world.run_dir)
        await other.tick()
        assert remnants(other.run_dir) == {}
        await other.deciding.finish(WAIT_S)


# Bad disks


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


async def test_no_disk_no_ramp(world: World) -> None:
    """Without a disk nothing is raised, and the reason is shown."""
    without_disk(world)
    for _ in range(40):
        world.count({"v1": 990, "v3": 10})
        await world.tick(seconds=2)
    assert world.decided() == []
    said = world.deciding.judgements["wine"]
    assert (said["verdict"], said["reason"]) == ("hold", "not_stored")
    assert "no space left" in said["sentence"]
    assert ("hold", "not_stored") in world.noted()


async def test_no_disk_no_mercy(world: World) -> None:
    """Without a disk a bad canary is taken off all the same."""
    without_disk(world)
    world.count({"v1": 297, "v3": 30}, {"v3": 30})
    await world.tick()
    assert world.decided() == ["rollback"]


async def test_a_damaged_file(world: World) -> None:
    """A file that is damaged under way is written anew from memory: no evidence is lost."""
    world.count({"v1": 990, "v3": 10})
    await world.tick(2)
    for path in list(world.state_dir.iterdir()):
        if path.name.startswith(FILE_NAME):
            path.unlink()
    await world.tick(3)
    world.count({"v1": 990, "v3": 10})
    await world.tick(3)
    before = world.deciding.dossiers["ab" * 8].slices("v3")
    await world.restart()
    await world.tick()
    after = world.deciding.dossiers["ab" * 8].slices("v3")
    assert after.champion.tolist() == before.champion.tolist()
    assert after.start_ns.tolist() == before.start_ns.tolist()


# Health


async def test_counters_that_go_back(world: World) -> None:
    """A counter that went backwards makes the evidence invalid for a hold, also after a restart, and no longer."""
    world.count({"v1": 990, "v3": 10})
    await world.tick(2)
    for path in world.run_dir.glob("evidence-*"):
        path.write_bytes(bytes(path.stat().st_size))
    await world.tick(3)
    assert ("invalid", "counts_backwards") in world.noted() or world.deciding.judgements["wine"][
        "verdict"
    ] == "invalid"
    await world.restart()
    await world.tick()
    assert world.deciding.judgements["wine"]["reason"] == "counts_backwards"
    await world.tick(3)
    world.count({"v1": 500, "v3": 5})
    await world.tick(4, seconds=100)
    assert world.deciding.judgements["wine"]["reason"] != "counts_backwards"
    assert requests_of(world) == (1490, 15)


async def test_a_clock_that_jumps(world: World) -> None:
    """A wall clock that is set makes the open bin invalid, and no other."""
    world.count({"v1": 990, "v3": 10})
    await world.tick()
    world.clocks.wall_ns += 3600 * SECOND
    await world.tick()
    assert world.deciding.judgements["wine"]["reason"] == "clock"
    await world.tick(2, seconds=6)
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"


async def test_a_disk_from_the_future_holds_no_step(tmp_path: Path) -> None:
    """Evidence dated later than now, for the wall clock went back over a reboot, makes no step seem to have lasted."""
    world = World(tmp_path, CONFIG.replace("hold: 60s", "hold: 60s, guardrails: [{metric: errors}]"))
    world.publish()
    world.count({"v1": 9900, "v3": 100})
    await world.deciding.shelf.submit(
        lambda store: store.write([Batch("ef" * 8, "beer", "v3", world.now_ns + 3600 * SECOND)])
    )
    await world.tick(3)
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"
    await world.tick(seconds=60)
    assert world.decided() == ["ramp"]
    await world.deciding.finish(WAIT_S)


async def test_what_wavers_is_not_noted_each_time(world: World) -> None:
    """Another verdict is noted at once, one that was noted within the hour only when that is over."""
    hold, invalid = ("hold", "hold_time"), ("invalid", "clock")
    await world.tick()
    assert world.noted() == [hold]
    world.clocks.wall_ns += 3600 * SECOND
    await world.tick(seconds=3)
    assert world.noted() == [hold, invalid]
    await world.tick(seconds=2)
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"
    assert world.noted() == [hold, invalid]
    await world.tick(seconds=30)
    assert world.noted() == [hold, invalid]
    world.clocks.wall_ns += 3600 * SECOND
    await world.tick(seconds=30)
    await world.tick(seconds=30)
    assert world.noted() == [hold, invalid]


async def test_what_lasts_is_noted_again_after_an_hour(tmp_path: Path) -> None:
    """The journal of a verdict that wavers ends with the one that stayed, an hour later at most."""
    world = World(tmp_path, CONFIG.replace("hold: 60s", "hold: 3h"))
    world.publish()
    await world.tick()
    world.clocks.wall_ns += 3600 * SECOND
    await world.tick(seconds=3)
    await world.tick(59, seconds=60)
    assert [reason for _, reason in world.noted()] == ["hold_time", "clock"]
    await world.tick(2, seconds=60)
    assert [reason for _, reason in world.noted()] == ["hold_time", "clock", "hold_time"]
    await world.deciding.finish(WAIT_S)


async def test_the_end_of_its_time_is_said_once(tmp_path: Path) -> None:
    """That a rollout is inconclusive is a decision, and no note beside it."""
    world = World(tmp_path, CONFIG.replace("hold: 60s", "hold: 60s, max_duration: 2m"))
    world.publish()
    await world.tick(5, seconds=30)
    await world.tick(3, seconds=3)
    assert world.decided() == ["conclude"]
    assert world.deciding.judgements["wine"]["reason"] == "inconclusive"
    assert "inconclusive" not in [reason for _, reason in world.noted()]
    await world.deciding.finish(WAIT_S)


async def test_time_without_a_reader_is_not_held(world: World) -> None:
    """A step does not pass while nobody reads the counts; a short pause is none."""
    for _ in range(5):
        world.count({"v1": 990, "v3": 10})
        await world.tick(seconds=4)
    await world.tick(seconds=100)
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"
    assert world.decided() == []
    for _ in range(11):
        world.count({"v1": 990, "v3": 10})
        await world.tick(seconds=4)
    assert world.decided() == ["ramp"]


async def test_one_fault_is_one_routes(world: World, monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    """A fault in judging is counted, logged once, shown, and over when it is over."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("x")

    with monkeypatch.context() as patch:
        patch.setattr("proxy.engine.deciding.judge", fail)
        await world.tick(3)
    assert world.deciding.tick_failures == 3
    assert caplog.text.count("cannot be judged") == 1
    assert world.deciding.judgements["wine"]["reason"] == "fault"
    await world.tick()
    assert world.deciding.judgements["wine"]["reason"] == "hold_time"


async def test_a_person_is_faster(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged from a state that is over meanwhile is neither asked for nor written down."""

    def judge_slowly(*everything: Any) -> Judgement:
        found = judge(*everything)
        assert world.state is not None
        assert world.plan is not None
        paused = apply(world.plan, world.state, Action.PAUSE, world.now_ns, "ada", "wait")
        assert isinstance(paused, RolloutState)
        world.state = paused
        world.deciding._states["wine"] = paused
        return found

    world.count({"v1": 297, "v3": 30}, {"v3": 30})
    with monkeypatch.context() as patch:
        patch.setattr("proxy.engine.deciding.judge", judge_slowly)
        await world.tick()
    assert world.requests == []
    await world.tick()
    assert world.decided() == []
    assert world.deciding.judgements["wine"]["reason"] == "paused"
    assert world.deciding.judgements["wine"]["would"] == "rollback"


# What is shown


async def test_many_rollouts_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With time for one judgement in a tick, each of many has its turn, and a canary that fails has it next."""
    monkeypatch.setattr("proxy.engine.deciding.THINK_S", -1.0)
    models, _, route = CONFIG.partition("routes:\n")
    text = f"{models}routes:\n" + "".join(
        route.replace("wine", f"r{i}").replace("/*", f"/{i}/*") for i in range(8)
    )
    world = World(tmp_path, text)
    states = []
    for i, each in enumerate(world.settings.routes):
        plan = plan_of(world.settings, each)
        assert plan is not None
        states.append(begin(plan, f"{i:016x}", world.now_ns))
    positions = [Position(each.route, each.variant, each.rollout, Decimal(1)) for each in states]
    world.table = compile_table(world.settings, 1, "d", positions)
    rollouts = [each.document() for each in states]
    world.deciding.admit(world.table, {"clock_offset_ns": START_NS, "rollouts": rollouts})
    world.deciding.commit(1)
    world.state = states[6]
    await world.tick()
    assert (list(world.deciding.judgements), world.deciding.turns.left) == (["r0"], 7)
    await world.tick(7, seconds=0.1)
    assert (len(world.deciding.judgements), world.deciding.turns.left) == (8, 0)
    for i in range(8):
        world.count({"v1": 297, "v3": 3}, {"v3": 3 * (i == 6)}, route=i)
    await world.tick(seconds=0.1)
    assert world.decided() == ["rollback"]
    await world.deciding.finish(WAIT_S)


async def test_the_evidence_document(world: World) -> None:
    """The document has the plan, the guardrails, the epochs, the points of the plots and the last verdicts."""
    for _ in range(4):
        world.count({"v1": 990, "v3": 10}, {"v1": 3})
        await world.tick(seconds=10)
    document = await world.deciding.describe("wine")
    assert document is not None
    assert orjson.loads(orjson.dumps(document)) == document
    assert document["kept"]
    assert [each["name"] for each in document["guardrails"]] == ["errors", "client_errors", "latency"]
    (epoch,) = document["epochs"]
    assert [(each["name"], each["requests"], each["errors"]) for each in epoch["variants"]] == [
        ("v1", 3960, 12),
        ("v3", 40, 0),
    ]
    assert len(document["points"]) == 4
    assert {"now_ns", "weight", "harm", "guardrails"} <= document["points"][0].keys()
    assert [each["decision"]["reason"] for each in document["decisions"]] == ["hold_time"]
    assert await world.deciding.describe("beer") is None


async def test_a_split_by_fixed_weights(tmp_path: Path) -> None:
    """A route without a rollout has evidence, also after a restart, and nobody decides about it."""
    world = World(tmp_path, SPLIT)
    world.publish()
    world.count({"v1": 990, "v3": 110}, {"v3": 2})
    await world.tick(2)
    await world.restart()
    await world.tick(2)
    document = await world.deciding.describe("wine")
    assert document is not None
    assert [each["errors"] for each in document["epochs"][0]["variants"]] == [0, 2]
    assert world.requests == []
    assert world.deciding.judgements == {}
    await world.deciding.finish(WAIT_S)


async def test_an_ended_rollout(world: World) -> None:
    """What the supervisor tells of no more is neither judged nor shown."""
    await world.tick()
    assert "wine" in world.deciding.judgements
    world.deciding.take_fleet({"states": [], "clock_offset_ns": START_NS})
    await world.tick()
    assert world.deciding.judgements == {}


async def test_a_state_nobody_understands(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """A malformed state is logged and left out."""
    world.deciding.take_fleet({"states": [{"route": "wine"}]})
    assert "nobody understands" in caplog.text


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - counts are looked at
            await asyncio.sleep(0.002)


async def test_it_runs_by_itself(tmp_path: Path) -> None:
    """Started, it looks by itself, at once after a commit, and stores what came last when it ends."""
    world = World(tmp_path)
    world.publish()
    world.deciding.start()
    await until(lambda: "wine" in world.deciding.judgements)
    world.count({"v1": 7})
    await world.deciding.finish(WAIT_S)
    world.deciding = world.make()
    world.publish()
    for path in world.run_dir.glob("evidence-*"):
        path.unlink()
    await world.tick()
    assert world.deciding.dossiers["ab" * 8].slices("v3").champion[:, 0].sum() == 7
    await world.deciding.finish(WAIT_S)

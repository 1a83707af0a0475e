"""The tick: from what workers counted to what the supervisor is asked, over restarts and bad disks."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from decimal import Decimal
from pathlib import Path

import orjson
import pytest

from proxy.evidence.layout import (
    CELLS,
)
from proxy.evidence.remnants import follow_remnant, lock_workers, remnants
from proxy.evidence.units import open_units, restore_units, units_path
from proxy.rollout import record
from proxy.rollout.plan import plan_of
from proxy.rollout.transitions import begin
from proxy.routing.position import Position
from proxy.routing.table import compile_table
from tests.engine.deciding_world import (
    ALONE,
    CONFIG,
    SPLIT,
    START_NS,
    WAIT_S,
    World,
    requests_of,
    without_disk,
)


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

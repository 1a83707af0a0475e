"""The tick in trouble: disks that fail, counters and clocks that jump, faults of one route, a person who is faster."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from proxy.engine.judging import Judgement, judge
from proxy.engine.store import FILE_NAME, Batch
from proxy.rollout.state import RolloutState
from proxy.rollout.transitions import Action, apply
from tests.engine.deciding_world import (
    CONFIG,
    SECOND,
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


# Bad disks


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

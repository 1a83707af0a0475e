"""Which process holds which version, step by step, over children that do nothing by themselves."""

import asyncio
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from proxy.certificates import Inspection
from proxy.control.judge import Accepted, judge
from proxy.control.matching import match
from proxy.control.release import Release
from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import CELLS, CELLS_STANDING
from proxy.evidence.remnants import follow_remnant
from proxy.evidence.units import open_units, units_path
from proxy.fleet import Commands, Fleet, FoldRule, StartError
from proxy.rollout.state import Phase
from proxy.tally import Block, block_path, open_block, read_all
from tests.control.rollout_world import START_NS, TEXT, Ids

CONFIG = b"""
models:
  m1: {url: "http://127.0.0.1:9001"}
routes:
  - name: wine
    match: {path: "/*"}
    variants: [{name: v1, model: m1, role: champion}]
"""


def release(version: int) -> Release:
    """Return a table numbered ``version``."""
    verdict = judge(CONFIG, None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    return Release(verdict.settings, version, verdict.digest)


class FakeChild:
    """Takes the place of a child; the test plays the process in it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_linked = False
        self.version = 0
        self.restarts = self.deaths = 0
        self.hangs = 0
        self.pid = 1
        self.kills = 0
        self.sent: list[str] = []
        self.messages: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any] | None] = {}

    @property
    def is_up(self) -> bool:
        """Tell whether it serves."""
        return self.is_linked and self.version > 0

    def send(self, message: dict[str, Any]) -> None:
        """Keep what a linked process would get."""
        self.messages += [message] if self.is_linked else []
        if self.is_linked and message["op"] != "fleet":
            files = " ".join(f"{path}={text}" for path, text in message.get("files", {}).items())
            what = message.get("version", message.get("versions", files))
            self.sent.append(f"{message['op']} {what}")

    async def ask(self, message: dict[str, Any], answer: str, version: int = 0) -> dict[str, Any] | None:
        """Answer as told, by default with consent."""
        if not self.is_linked:
            return None
        self.send(message)
        if answer == "committed":
            self.version = version
        return self.answers.get(answer, {"op": answer, "versions": message.get("versions")})

    def kill(self) -> None:
        """Count."""
        self.kills += 1

    def taken(self) -> list[str]:
        """Return what was sent since the last call."""
        sent, self.sent = self.sent, []
        return sent


class World:
    """A fleet over two workers and an observer that are all down."""

    def __init__(self, run_dir: Path) -> None:
        self.run_dir = run_dir
        self.requests: list[dict[str, Any]] = []
        self.fleet = Fleet(
            run_dir,
            Commands(worker=lambda index, link: (), observer=lambda link: ()),
            listen=-1,
            admin=-1,
            workers=2,
            describe_config=dict,
            describe_rollouts=lambda: {"states": [], "clock_offset_ns": 12},
            on_request=self.requests.append,
            fold_rule=FoldRule(keep=1, age_s=0),
        )
        self.workers = [FakeChild("worker 0"), FakeChild("worker 1")]
        self.observer = FakeChild("observer")
        self.fleet.workers = self.workers  # type: ignore[assignment]
        self.fleet.observer = self.observer  # type: ignore[assignment]

    async def come_up(self, *children: FakeChild) -> None:
        """Let a process become ready in each of ``children``."""
        for child in children:
            child.is_linked = True
            self.fleet.on_ready(child)  # type: ignore[arg-type]
            await settle()
            self.fleet.on_change(child)  # type: ignore[arg-type]

    def die(self, child: FakeChild) -> None:
        """Let the process in ``child`` end."""
        child.is_linked, child.version = False, 0
        child.restarts += 1
        child.deaths += 1
        self.fleet.on_change(child)  # type: ignore[arg-type]

    async def publish(self, version: int) -> tuple[str, ...]:
        """Prepare and commit, as the publisher does."""
        fresh = release(version)
        refusals = await self.fleet.prepare(fresh)
        if refusals:
            self.fleet.abandon(fresh)
        else:
            self.fleet.commit(fresh)
        await settle()
        return refusals

    def block(self, version: int) -> Block:
        """Return worker 0's counters of ``version``."""
        layout = release(version).table.layout
        return open_block(block_path(self.run_dir, "w0", version), layout.size)

    def count(self, version: int, field: str) -> None:
        """Count one more ``field`` of the only variant."""
        block = self.block(version)
        block.slots[release(version).table.layout.section("variant", "wine", "v1", "m1").slot(field)] += 1
        block.close()


async def settle() -> None:
    """Let what was spawned run to its end."""
    for _ in range(3):
        await asyncio.sleep(0)


@pytest.fixture
async def world(tmp_path: Path) -> World:
    """A fleet whose processes are all down."""
    return World(tmp_path)


async def test_a_publish_with_nobody_up_reaches_who_comes_later(world: World) -> None:
    """The first table waits for the first worker."""
    assert await world.publish(1) == ()
    assert not world.fleet.serving.done()
    await world.come_up(world.workers[0])
    assert world.workers[0].taken() == ["prepare 1", "commit 1"]
    assert world.fleet.serving.done()


async def test_who_comes_up_gets_every_live_version_then_the_current(world: World) -> None:
    """Old versions may still have counts to settle, so a new process gets them too, oldest first."""
    await world.come_up(*world.workers, world.observer)
    for version in (1, 2, 3):
        await world.publish(version)
    world.workers[1].taken()
    world.die(world.workers[1])
    await world.come_up(world.workers[1])
    assert world.workers[1].taken() == ["prepare 1", "prepare 2", "prepare 3", "commit 3"]


async def test_who_comes_up_in_the_middle_of_a_publish_misses_nothing(world: World) -> None:
    """The version being prepared is given after the live ones, and its commit comes with everybody's."""
    await world.come_up(world.workers[0])
    await world.publish(1)
    fresh = release(2)
    await world.fleet.prepare(fresh)
    await world.come_up(world.workers[1])
    world.fleet.commit(fresh)
    await settle()
    assert world.workers[1].taken() == ["prepare 1", "prepare 2", "commit 1", "commit 2"]


async def test_certificates_come_before_the_table_that_needs_them(world: World) -> None:
    """Workers get the text of all files before a table, and again when one has changed; the observer never does."""
    await world.come_up(*world.workers, world.observer)
    first = release(1)
    first.certificates = Inspection({"a.pem": "A", "b.pem": "B"}, (), (), {})
    await world.fleet.prepare(first)
    world.fleet.commit(first)
    await settle()
    assert world.workers[0].taken() == ["certificates a.pem=A b.pem=B", "prepare 1", "commit 1"]
    world.fleet.renew({"a.pem": "A2", "b.pem": "B"})
    assert world.workers[0].taken() == ["certificates a.pem=A2 b.pem=B"]
    world.die(world.workers[0])
    await world.come_up(world.workers[0])
    assert world.workers[0].taken() == ["certificates a.pem=A2 b.pem=B", "prepare 1", "commit 1"]
    assert world.observer.taken() == ["prepare 1", "commit 1"]


async def test_certificates_that_no_table_needs_are_forgotten(world: World) -> None:
    """A key that is used no more is given to nobody."""
    await world.come_up(*world.workers)
    first = release(1)
    first.certificates = Inspection({"a.pem": "A"}, (), (), {})
    await world.fleet.prepare(first)
    world.fleet.commit(first)
    await world.publish(2)
    world.die(world.workers[0])
    world.workers[0].taken()
    await world.come_up(world.workers[0])
    assert world.workers[0].taken() == ["prepare 1", "prepare 2", "commit 2"]


async def test_a_dead_process_does_not_count(world: World) -> None:
    """A process that dies while it prepares refuses nothing."""
    await world.come_up(*world.workers)
    world.workers[1].answers["prepared"] = None
    assert await world.publish(1) == ()


async def test_a_refusal_names_the_process(world: World) -> None:
    """One refusal is told with its reason; the version is given to nobody who comes later."""
    await world.come_up(*world.workers, world.observer)
    await world.publish(1)
    world.workers[1].answers["prepared"] = {"op": "refused", "version": 2, "reason": "no space"}
    assert await world.publish(2) == ("worker 1: no space",)
    del world.workers[1].answers["prepared"]
    for child in (world.workers[0], world.observer):
        child.taken()
        world.die(child)
        await world.come_up(child)
        assert child.taken() == ["prepare 1", "commit 1"]
    # Worker 1 may have kept it, and must let go before it is folded.
    world.workers[1].taken()
    assert await world.fleet.fold_quiet() == (2,)
    assert world.workers[1].taken() == ["retire [2]"]


async def test_an_unasked_refusal_before_serving_fails_the_start(world: World) -> None:
    """Who cannot hold the first table is the reason the start failed."""
    await world.publish(1)
    message = {"op": "refused", "version": 1, "reason": "no space"}
    world.fleet.on_message(world.workers[0], message)  # type: ignore[arg-type]
    with pytest.raises(StartError, match="worker 0: cannot hold version 1: no space"):
        await world.fleet.serving
    assert world.workers[0].kills == 1


async def test_an_unasked_refusal_by_the_observer_fails_no_start(world: World) -> None:
    """The observer is started again; traffic does not depend on it."""
    await world.publish(1)
    world.fleet.on_message(world.observer, {"op": "refused", "version": 1})  # type: ignore[arg-type]
    assert world.observer.kills == 1
    assert not world.fleet.serving.done()


async def test_processes_are_told_where_the_rollouts_stand(world: World) -> None:
    """Weights come with the settings, also to a process that comes up later; the observer is told more."""
    verdict = judge(TEXT.encode(), None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    entries = match({}, verdict.settings, START_NS, Ids()).entries
    fresh = Release(verdict.settings, 1, verdict.digest, verdict.certificates, entries)
    await world.come_up(world.workers[0], world.observer)
    await world.fleet.prepare(fresh)
    world.fleet.commit(fresh)
    await world.come_up(world.workers[1])
    for child in (*world.workers, world.observer):
        prepare = next(message for message in child.messages if message["op"] == "prepare")
        assert [position["weight"] for position in prepare["positions"]] == ["5", "0"]
        assert prepare["clock_offset_ns"] == 12
        assert prepare["settled"] == (fresh.for_observer if child is world.observer else fresh.for_workers)
        assert ("rollouts" in prepare) == (child is world.observer)
    prepare = next(message for message in world.observer.messages if message["op"] == "prepare")
    assert [state["phase"] for state in prepare["rollouts"]] == ["ramping", "baking"]
    assert world.observer.messages[-1]["rollouts"] == {"states": [], "clock_offset_ns": 12}


async def test_units_of_an_earlier_start_are_there_before_the_first_table(
    world: World, tmp_path: Path
) -> None:
    """A map that was saved is in the run directory when the workers are asked to prepare, and looked for once."""
    text = TEXT + f"state_dir: {tmp_path}/state\n"
    verdict = judge(text.encode(), None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    entries = match({}, verdict.settings, START_NS, Ids()).entries
    rollout = entries["wine"].state.rollout
    saved = tmp_path / "state" / "rollouts" / f"{rollout}.cells"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(zlib.compress(b"\1" * 2 * CELLS))
    await world.fleet.prepare(Release(verdict.settings, 1, verdict.digest, verdict.certificates, entries))
    assert units_path(world.run_dir, rollout).read_bytes() == b"\1" * 2 * CELLS
    units_path(world.run_dir, rollout).unlink()
    await world.fleet.prepare(Release(verdict.settings, 2, verdict.digest, verdict.certificates, entries))
    assert not units_path(world.run_dir, rollout).exists()


async def test_units_are_shared_with_who_still_counts_for_a_killed_supervisor(
    world: World, tmp_path: Path
) -> None:
    """Its workers and ours mark the same map, which is newer than what was saved; others stay where they are."""
    text = TEXT + f"state_dir: {tmp_path}/state\n"
    verdict = judge(text.encode(), None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    entries = match({}, verdict.settings, START_NS, Ids()).entries
    rollout = entries["wine"].state.rollout
    dead = tmp_path / "dead"
    dead.mkdir()
    open_units(dead, "f" * 16, CELLS).close()
    theirs = open_units(dead, rollout, CELLS)
    follow_remnant(world.run_dir, dead)
    saved = tmp_path / "state" / "rollouts" / f"{rollout}.cells"
    saved.parent.mkdir(parents=True)
    saved.write_bytes(zlib.compress(b"\1" * 2 * CELLS))
    await world.fleet.prepare(Release(verdict.settings, 1, verdict.digest, verdict.certificates, entries))
    theirs.slots[3] = 5
    ours = open_units(world.run_dir, rollout, CELLS)
    assert (ours.slots[3], ours.slots[4]) == (5, 0)
    for block in (ours, theirs):
        block.close()
    assert not units_path(world.run_dir, "f" * 16).exists()


async def test_what_a_rollout_counted_goes_with_its_last_table(world: World) -> None:
    """Blocks and the map of a rollout that no table has any more are deleted; those of a split by weights stay."""
    await world.come_up(*world.workers, world.observer)
    verdict = judge(TEXT.encode(), None, source="a.yaml", environ={})
    assert isinstance(verdict, Accepted)
    ids, files = Ids(), []
    for version in (1, 2, 3):
        if version != 2:  # the second goes on with the rollouts of the first, by other weights
            entries = match({}, verdict.settings, START_NS, ids).entries
        else:
            entries = {
                name: replace(entry, state=replace(entry.state, phase=Phase.ROLLED_BACK))
                for name, entry in entries.items()
            }
        fresh = Release(verdict.settings, version, verdict.digest, verdict.certificates, entries)
        await world.fleet.prepare(fresh)
        world.fleet.commit(fresh)
        await settle()
        for route in fresh.table.routes:
            assert route.experiment is not None
            open_evidence(world.run_dir, route.experiment.epoch, 0, route.experiment.size).close()
            open_units(world.run_dir, route.experiment.rollout, CELLS_STANDING).close()
        files.append({path.name for path in world.run_dir.glob("evidence-*")})
        if version == 2:
            assert await world.fleet.fold_quiet() == (1,)
            assert files[0] < {path.name for path in world.run_dir.glob("evidence-*")}
    assert await world.fleet.fold_quiet() == (2,)
    water = fresh.table.routes[-1].experiment
    assert water is not None
    left = {path.name for path in world.run_dir.glob("evidence-*")}
    assert left == files[2] - files[1] | {f"evidence-{water.epoch}-w0.block"}
    assert len(list(world.run_dir.glob("units-*.cells"))) == 3


async def test_settled_is_when_everybody_has_committed(world: World) -> None:
    """Who waits is let go by the last process, or when the time is over."""
    await world.fleet.settle(0)
    await world.come_up(world.workers[0], world.observer)
    fresh = release(1)
    await world.fleet.prepare(fresh)
    world.fleet.commit(fresh)
    assert world.workers[0].version == 0
    await world.fleet.settle(5)
    assert world.workers[0].version == 1


async def test_only_the_observer_may_ask(world: World) -> None:
    """A request from a worker is not followed."""
    message = {"op": "request", "id": 1, "verb": "reload"}
    world.fleet.on_message(world.workers[0], message)  # type: ignore[arg-type]
    assert world.requests == []
    world.fleet.on_message(world.observer, message)  # type: ignore[arg-type]
    assert world.requests == [message]


class TestFold:
    """When a version goes, and in which order."""

    @pytest.fixture
    async def world(self, tmp_path: Path) -> World:
        """Two versions were published; everybody is up."""
        world = World(tmp_path)
        await world.come_up(*world.workers, world.observer)
        await world.publish(1)
        await world.publish(2)
        for child in (*world.workers, world.observer):
            child.taken()
        return world

    async def test_workers_let_go_before_and_the_observer_after(self, world: World) -> None:
        """The counts are in the base when the observer is told."""
        world.count(1, "started")
        world.count(1, "code_200")
        assert await world.fleet.fold_quiet() == (1,)
        assert [child.taken() for child in (*world.workers, world.observer)] == [["retire [1]"]] * 3
        key = ("variant", "started", "wine", "v1", "m1")
        assert read_all(world.run_dir, {})[0][key] == 1
        assert not block_path(world.run_dir, "w0", 1).exists()
        assert await world.fleet.fold_quiet() == ()

    async def test_a_request_in_flight_keeps_it(self, world: World) -> None:
        """Nobody is even asked."""
        world.count(1, "started")
        assert await world.fleet.fold_quiet() == ()
        assert world.workers[0].taken() == []
        world.count(1, "lost")
        assert await world.fleet.fold_quiet() == (1,)

    @pytest.mark.parametrize("state", ["down", "behind"])
    async def test_a_worker_that_is_not_level_keeps_it(self, world: World, state: str) -> None:
        """A worker that is down may have requests to settle; one that is behind may begin new ones."""
        if state == "down":
            world.die(world.workers[1])
        else:
            world.workers[1].version = 1
        assert await world.fleet.fold_quiet() == ()

    async def test_a_worker_that_does_not_let_go_keeps_it(self, world: World) -> None:
        """It is asked again; who came up meanwhile never had it."""
        world.workers[1].answers["retired"] = {"op": "retired", "versions": []}
        assert await world.fleet.fold_quiet() == ()
        assert world.observer.taken() == []
        world.die(world.observer)
        await world.come_up(world.observer)
        assert world.observer.taken() == ["prepare 1", "prepare 2", "commit 2"]
        assert world.workers[1].taken() == ["retire [1]"]
        world.die(world.workers[1])
        await world.come_up(world.workers[1])
        assert world.workers[1].taken() == ["prepare 2", "commit 2"]
        assert await world.fleet.fold_quiet() == (1,)

    async def test_a_full_run_directory_is_tried_again(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A fold that cannot be written is counted and loses nothing."""
        world.count(1, "started")
        world.count(1, "code_200")

        def full(*_: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr("proxy.fleet.fold", full)
            assert await world.fleet.fold_quiet() == ()
        assert world.fleet.describe()["fold_failures_total"] == 1
        assert await world.fleet.fold_quiet() == (1,)

    async def test_a_dead_observer_keeps_nothing(self, world: World) -> None:
        """An observer that is down is not waited for, and gets no folded version when it comes up."""
        world.die(world.observer)
        assert await world.fleet.fold_quiet() == (1,)
        await world.come_up(world.observer)
        assert world.observer.taken() == ["prepare 2", "commit 2"]

    async def test_the_newest_and_the_young_stay(self, world: World, tmp_path: Path) -> None:
        """The rule keeps the newest versions, and those that were replaced just now."""
        world.fleet._fold_rule = FoldRule(keep=2, age_s=0)
        assert await world.fleet.fold_quiet() == ()
        world.fleet._fold_rule = FoldRule(keep=1, age_s=3600)
        assert await world.fleet.fold_quiet() == ()


class TestUpgrade:
    """What one program takes to the next."""

    async def test_complete_is_every_worker(self, world: World) -> None:
        """One that serves is not enough to let those before go."""
        await world.publish(1)
        await world.come_up(world.workers[0])
        assert world.fleet.serving.done()
        assert not world.fleet.is_complete
        await world.come_up(world.workers[1])
        assert world.fleet.is_complete

    async def test_the_observer_answers_when_it_may(self, world: World) -> None:
        """Each observer that comes up after that may at once."""
        await world.come_up(world.observer)
        assert world.observer.taken() == []
        world.fleet.open_admin()
        assert world.observer.taken() == ["open "]
        world.die(world.observer)
        await world.come_up(world.observer)
        assert world.observer.taken() == ["open "]

    async def test_the_layouts_of_every_version_are_known(self, world: World) -> None:
        """Of those that are not folded, for both kinds of writers."""
        await world.publish(1)
        await world.publish(2)
        layouts = world.fleet.layouts()
        assert sorted(layouts) == [1, 2]
        assert layouts[2] == {"w": release(2).table.layout, "o": release(2).table.observer_layout}

    async def test_totals_go_on(self, world: World, tmp_path: Path) -> None:
        """A fleet that follows another counts from where that one was."""
        world.die(world.workers[1])
        world.fleet.count_fold_failure("anything")
        totals = world.fleet.totals()
        assert totals.restarts == {"worker 0": 0, "worker 1": 1, "observer": 0}
        after = Fleet(
            tmp_path,
            Commands(worker=lambda index, link: (), observer=lambda link: ()),
            listen=-1,
            admin=-1,
            workers=3,
            describe_config=dict,
            describe_rollouts=lambda: {"states": []},
            on_request=print,
            totals=totals,
            started_wall_ns=7,
        )
        described = after.describe()
        assert [worker["restarts"] for worker in described["workers"]] == [0, 1, 0]
        assert (described["fold_failures_total"], described["started_wall_ns"]) == (1, 7)

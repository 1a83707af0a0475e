"""Feedback in the engine: bounded, on the disk before it is acknowledged, and never in the way of a tick."""

import asyncio
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from proxy.engine import feedback as feedback_module
from proxy.engine.dossier import Dossier
from proxy.engine.feedback import MAX_BATCHES, BusyError, Feedback
from proxy.engine.feedback_store import FeedbackStore, Group, Told, open_feedback
from proxy.engine.ledger import Epoch
from proxy.engine.sqlite_file import StoreError
from proxy.engine.store import Loaded
from proxy.engine.store_thread import FileThread
from proxy.evidence.blocks import adopt, sources
from proxy.evidence.layout import FIELDS
from proxy.evidence.ring import id_hash, open_ring, ring_path
from proxy.rollout.feedback import Row
from proxy.routing.hashing import SPACE
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from tests.rollout.world import ROLLOUT, START, plan, state

EPOCH = "00000000000000a1"
ROLLED = """
models:
  one: {url: "http://127.0.0.1:9001"}
  two: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/wine"}
    variants:
      - {name: v1, model: one, role: champion}
      - {name: v2, model: two, role: canary, rollout: {guardrails: [{metric: feedback}]}}
"""
STATE = state(plan(), variant="v2")


class World:
    """A run directory with a ring, and the engine's side."""

    def __init__(self, folder: Path) -> None:
        self.run_dir, self.state_dir = folder / "run-1", folder / "state"
        self.run_dir.mkdir()
        self.ring = open_ring(self.run_dir, 0)
        self.gate = threading.Event()
        self.gate.set()
        self.problem: Exception | None = None
        self.shelf = FileThread(self.state_dir, self.open, "feedback")
        self.feedback = Feedback(self.run_dir, self.state_dir, self.shelf)
        self.dossier = Dossier(ROLLOUT, "wine", "v2", "v1")
        self.dossier.ledger.admit(Epoch(EPOCH, ("v1", "v2"), (SPACE // 2, SPACE // 2), START))
        self.dossier.take_stored(Loaded())
        self.states = {"wine": STATE}

    def open(self, directory: Path, wall_ns: int) -> FeedbackStore:
        self.gate.wait()
        if self.problem is not None:
            raise self.problem
        return open_feedback(directory, wall_ns)

    def asked(self, *names: str) -> None:
        for number, name in enumerate(names):
            self.ring.put(name.encode(), int(EPOCH, 16), FIELDS, number + 1, 0)

    async def say(self, *names: str, good: bool = True, route: str = "wine") -> Told:
        items = {route: [(id_hash(name.encode()), good) for name in names]}
        return (await self.feedback.take(items, self.states, {ROLLOUT: self.dossier}, START))[route]

    async def look(self, *tables: Table) -> None:
        await self.feedback.look(tables, self.states, {ROLLOUT: self.dossier}, START)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    made = World(tmp_path)
    yield made
    made.gate.set()
    assert await made.feedback.close(5.0)


def table() -> Table:
    """Return a table whose rollout has the epoch's id as its own: what is looked for is the rollout."""
    found = compile_table(parse(ROLLED, environ={}), 1)
    experiment = found.routes[0].experiment
    assert experiment is not None
    object.__setattr__(experiment, "rollout", ROLLOUT)
    return found


async def test_who_is_quick_is_known(world: World) -> None:
    """An answer of a moment ago is known, though no tick has looked at the rings since."""
    world.asked("one", "two")
    assert await world.say("one", "two", "three") == Told(2, 0, 1, (2,))


async def test_a_look_tells_the_dossier(world: World) -> None:
    """What was said is evidence with the next look; a look without news is none."""
    world.asked("one")
    await world.say("one", good=False)
    await world.look(table())
    assert world.dossier.feedback == (Row(EPOCH, START, 1, 1, 1, 1, 1, 1),)
    news = world.dossier.news
    await world.look(table())
    assert world.dossier.news == news
    said = world.dossier.slices("v2").feedback
    assert said is not None
    assert said.canary.sum() == 5


async def test_nobody_asks_for_it(world: World) -> None:
    """Without a guardrail on feedback no file is made."""
    plain = compile_table(parse(ROLLED.replace("guardrails: [{metric: feedback}]", ""), environ={}), 1)
    await world.look(plain)
    assert not world.state_dir.exists()


async def test_too_much_waits(world: World) -> None:
    """More batches than may wait are refused at once; the others are taken when the disk has time."""
    world.asked("one")
    world.gate.clear()
    waiting = [asyncio.ensure_future(world.say("one")) for _ in range(MAX_BATCHES)]
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="too much feedback waits"):
        await world.say("one")
    world.gate.set()
    told = await asyncio.gather(*waiting)
    assert sorted(each.accepted for each in told) == [0] * (MAX_BATCHES - 1) + [1]
    assert await world.say("one") == Told(0, 1)


async def test_what_waits_is_one_transaction(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever comes while the disk is busy is taken together with the others, and told of his own alone."""
    taken: list[int] = []
    take = FeedbackStore.take

    def count(store: FeedbackStore, groups: list[Group], now_ns: int) -> list[Told]:
        taken.append(len(groups))
        return take(store, groups, now_ns)

    monkeypatch.setattr(FeedbackStore, "take", count)
    world.asked(*map(str, range(30)))
    world.gate.clear()
    first = asyncio.ensure_future(world.say("0"))
    rest = [asyncio.ensure_future(world.say(str(number), "nobody")) for number in range(1, 30)]
    await asyncio.sleep(0.01)
    world.gate.set()
    assert await first == Told(1)
    assert await asyncio.gather(*rest) == [Told(1, 0, 1, (1,))] * 29
    assert sum(taken) == 30
    assert len(taken) <= 2


async def test_too_many_items_wait(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Items are bounded too, but a batch that is alone is always taken."""
    monkeypatch.setattr(feedback_module, "MAX_ITEMS", 3)
    world.gate.clear()
    waiting = asyncio.ensure_future(world.say("1", "2", "3", "4"))
    await asyncio.sleep(0)
    with pytest.raises(BusyError, match="too much feedback waits"):
        await world.say("5")
    world.gate.set()
    assert (await waiting).unknown == 4
    assert (await world.say("5")).unknown == 1


async def test_a_slow_disk(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A look does not wait for a slow disk, and a batch not for ever; what is still taken is a duplicate then."""
    monkeypatch.setattr(feedback_module, "TAKE_PATIENCE_S", 0.01)
    monkeypatch.setattr(feedback_module, "LOOK_PATIENCE_S", 0.01)
    world.asked("one")
    world.gate.clear()
    await world.look(table())
    with pytest.raises(BusyError, match=r"takes longer than 0\.01 s"):
        await world.say("one")
    world.gate.set()
    monkeypatch.setattr(feedback_module, "TAKE_PATIENCE_S", 5.0)
    assert await world.say("one") == Told(0, 1)


async def test_a_broken_disk(world: World) -> None:
    """What the disk refuses is refused with its reason, and counted; what was said before still holds."""
    world.problem = StoreError("no space left on the device")
    with pytest.raises(BusyError, match="nothing of it was taken: no space left"):
        await world.say("one")
    await world.look(table())
    assert world.shelf.failures == 2
    assert world.shelf.problem


async def test_not_in_force_yet(world: World) -> None:
    """Before it is known where the rollout stands nothing is taken."""
    with pytest.raises(BusyError, match="route beer is not in force yet"):
        await world.say("one", route="beer")
    world.dossier.is_loaded = False
    with pytest.raises(BusyError, match="route wine is not in force yet"):
        await world.say("one")


async def test_rings_of_the_program_before(world: World) -> None:
    """What the program before had noted is known after an upgrade, and its ring goes once it was read."""
    world.asked("one")
    later = world.run_dir.with_name("run-2")
    later.mkdir()
    adopt(later, world.run_dir)
    world.feedback = Feedback(later, world.state_dir, world.shelf)
    assert sources(later).keys() == {"run-1", "run-2"}
    place = ring_path(sources(later)["run-1"], 0)
    assert place.exists()
    async with asyncio.timeout(20):
        while place.exists():  # a busy disk takes longer than a look has patience
            await world.look(table())
    assert await world.say("one") == Told(1)


async def test_missed_requests_are_counted(world: World) -> None:
    """What was written over before anybody looked is counted, once."""
    world.ring._slots[0] = world.ring._count = 70_000
    world.asked("one")
    assert await world.say("one") == Told(1)
    missed = world.feedback.missed
    assert missed >= 70_000 - 65_536
    await world.look(table())
    assert world.feedback.missed == missed

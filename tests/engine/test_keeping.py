"""The way to the disk and back, for all dossiers at once, when the disk is slow, refuses, or forgets."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import numpy as np
import pytest

from proxy.engine.dossier import Dossier, Reading
from proxy.engine.engine_time import EngineTime
from proxy.engine.keeping import Keeper
from proxy.engine.ledger import BIN_NS, Epoch
from proxy.engine.store import Batch, ShadowCounts, Store, StoreError, Verdict, open_store
from proxy.engine.store_thread import StoreThread
from proxy.evidence.layout import CELLS_STANDING, FIELDS
from proxy.evidence.units import open_units, save_units, saved_units
from proxy.tally import follow

WAIT_S = 20.0
ROLLOUT = "ab" * 8


class World:
    """A keeper, its disk, and one dossier."""

    def __init__(self, place: Path) -> None:
        self.run_dir, self.state_dir = place / "run", place / "state"
        self.run_dir.mkdir(exist_ok=True)
        self.open: Callable[[Path, int], Store] = open_store
        self.shelf = StoreThread(self.state_dir, lambda *where: self.open(*where))
        self.time = EngineTime(BIN_NS)
        self.keeper = Keeper(self.run_dir, self.state_dir, self.shelf, self.time)
        self.dossier = self.make()
        self.number = 0

    def make(self) -> Dossier:
        dossier = Dossier(ROLLOUT, "wine", "v3", "v1")
        dossier.ledger.admit(Epoch("e1", ("v1", "v3"), (7, 9), 0))
        return dossier

    def count(self) -> None:
        self.number += 1
        counts = np.full((2, FIELDS), self.number, np.int64)
        self.dossier.take([Reading("run", "e1", counts)], {}, self.number * BIN_NS)

    async def write(self, patience_s: float = WAIT_S) -> bool:
        await self.keeper.write([self.dossier], self.number * BIN_NS, patience_s)
        return self.dossier.is_stored

    def stored(self) -> int:
        """How many slices there are on the disk."""
        store, dossier = open_store(self.state_dir, 0), self.make()
        store.load(ROLLOUT, dossier.ledger)
        store.close()
        return len(dossier.ledger.slices())

    def block(self) -> threading.Event:
        """Keep the disk busy until the event is set."""
        release = threading.Event()
        self.shelf.submit(lambda _: release.wait(WAIT_S))
        return release


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    world = World(tmp_path)
    yield world
    await world.shelf.close(WAIT_S)


def verdict(sequence: int = 1) -> Verdict:
    return Verdict(ROLLOUT, "wine", sequence, 5, "ramp", True, "d", b'{"verdict":"ramp"}', b"s")


async def test_to_the_disk_and_back(world: World) -> None:
    """What was written is loaded by the next process, with its time and what was said last."""
    world.count()
    assert await world.write()
    assert await world.write()
    await world.shelf.submit(lambda store: store.record(verdict()))
    second = World(world.run_dir.parent)
    said = await second.keeper.load([second.dossier])
    assert said["wine"][0] == "ramp"
    assert second.dossier.is_loaded
    assert len(second.dossier.ledger.slices()) == 1
    assert second.time.now_ns() >= BIN_NS
    assert await second.keeper.load([second.dossier]) == {}
    await second.shelf.close(WAIT_S)


async def test_a_slow_disk(world: World) -> None:
    """Nobody waits for it; while it lags nothing counts as stored, and afterwards all of it is."""
    release = world.block()
    for _ in range(3):
        world.count()
        assert not await world.write(0.01)
    release.set()
    assert not await world.write(), "the write that was late has the first count only"
    assert await world.write()
    assert world.stored() == 3


async def test_a_disk_that_refuses(world: World) -> None:
    """What it refused is offered again until it takes it."""

    def refuse(_: Path, __: int) -> Store:
        raise StoreError("no space left on device")

    world.open = refuse
    for _ in range(3):
        world.count()
        assert not await world.write()
    assert world.shelf.failures == 3
    world.open = open_store
    world.shelf._opened_ns = None  # as if the pause were over
    assert await world.write()
    assert world.stored() == 3


async def test_a_disk_that_forgets(world: World) -> None:
    """A file that was replaced under us gets everything again, and until then nothing counts as stored."""
    for _ in range(3):
        world.count()
        assert await world.write()
    for path in list(world.state_dir.iterdir()):
        path.unlink()
    world.count()
    assert not await world.write()
    assert await world.write()
    assert world.stored() == 4


async def test_a_raise_waits_for_the_disk(world: World) -> None:
    """A verdict that raises a weight is only good when its evidence and itself are stored."""
    assert "cannot be kept" in await world.keeper.record(world.dossier, verdict())
    await world.keeper.load([world.dossier])
    await world.write()
    assert await world.keeper.record(world.dossier, verdict()) == ""
    assert [each.verdict.digest for each in await world.keeper.decisions("wine", 5)] == ["d"]


def refuse(store: Store, each: Verdict) -> int:
    raise OSError(28, "No space left on device")


async def test_a_fall_does_not(world: World) -> None:
    """A verdict that takes a canary off is stored when the disk is ready, and later if it refuses."""
    release = world.block()
    assert await world.keeper.record_soon(verdict(1))
    release.set()
    await world.shelf.submit(Store.engine_ns)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "record", refuse)
        assert not await world.keeper.record_soon(verdict(2))
    await world.shelf.submit(lambda store: store.write([Batch(ROLLOUT, "wine", "v3", 1)]))
    world.keeper.housekeep([world.dossier], BIN_NS)
    assert [each.verdict.sequence for each in await world.keeper.decisions("wine", 5)] == [1, 2]


async def test_what_is_refused_late_is_not_lost(world: World) -> None:
    """A verdict that nobody waited for any more when the disk refused it is offered again, a move before notes."""
    release = world.block()
    others = [verdict(i)._replace(moves=False) for i in range(2, 20)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "record", refuse)
        assert await world.keeper.record_soon(verdict(1))
        release.set()
        for each in others:
            await world.keeper.record_soon(each)
    await world.shelf.submit(lambda store: store.write([Batch(ROLLOUT, "wine", "v3", 1)]))
    world.keeper.housekeep([world.dossier], BIN_NS)
    stored = [each.verdict.sequence for each in await world.keeper.decisions("wine", 50)]
    assert (stored[0], len(stored), stored[-1]) == (1, 16, 19)


async def test_the_units_are_saved(world: World) -> None:
    """The maps of units of live rollouts are saved in turns; those of others are deleted, also of one that ends."""
    open_units(world.run_dir, ROLLOUT, CELLS_STANDING).close()
    open_units(world.run_dir, "ef" * 8, CELLS_STANDING).close()
    save_units(world.run_dir, world.state_dir, "ef" * 8)
    beer = Dossier("cd" * 8, "beer", "", "v1")
    world.keeper.housekeep([world.dossier, beer], BIN_NS)
    world.keeper.housekeep([world.dossier, beer], BIN_NS)
    await world.shelf.submit(Store.engine_ns)
    assert saved_units(world.state_dir) == {ROLLOUT}
    world.keeper.housekeep([beer], BIN_NS)
    await world.shelf.submit(Store.engine_ns)
    assert saved_units(world.state_dir) == frozenset()


async def test_the_end_of_the_program_before(world: World) -> None:
    """What its observer counted last is fetched once its run directory is left."""
    before = world.run_dir.parent / "before"
    before.mkdir()
    follow(world.run_dir, before)
    await world.keeper.load([world.dossier])
    batch = Batch(ROLLOUT, "wine", "v3", 1, shadows={("before", 3): ShadowCounts(9, 1, 8, 2)})
    await world.shelf.submit(lambda store: store.write([batch]))
    await world.keeper.load([world.dossier])
    assert world.dossier.shadows == {}
    (world.run_dir / "earlier").unlink()
    await world.keeper.load([world.dossier])
    assert world.dossier.shadows == {("before", 3): ShadowCounts(9, 1, 8, 2)}


async def test_another_observer_stores_something(world: World) -> None:
    """What the observer of a killed supervisor stores at its end is fetched, and added to what came meanwhile."""
    world.count()
    await world.keeper.load([world.dossier])
    await world.write()
    other, theirs = open_store(world.state_dir, 0), world.make()
    theirs.take([Reading("before", "e1", np.full((2, FIELDS), 5, np.int64))], {}, 3 * BIN_NS)
    other.write([theirs.take_batch("before", 3 * BIN_NS)])
    other.close()
    world.count()
    await world.keeper.load([world.dossier])
    await world.keeper.load([world.dossier])
    assert world.dossier.ledger.totals()["e1"][0, 0] == 2 + 5
    assert world.dossier.ledger.sources == {"run", "before"}
    assert await world.write()


async def test_a_disk_that_hangs_is_not_looked_at_again_and_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One question waits for it, however many ticks go by."""
    await world.keeper.load([world.dossier])
    looks: list[Store] = []

    def others(store: Store) -> int:
        looks.append(store)
        return 1

    monkeypatch.setattr(Store, "others", others)
    release = world.block()
    for _ in range(3):
        await world.keeper.load([world.dossier])
    release.set()
    await world.write()
    assert len(looks) == 1


async def test_the_end(world: World) -> None:
    """The last reading is stored, also when the one before is still on its way."""
    release = world.block()
    world.count()
    await world.write(0.01)
    world.count()
    asyncio.get_running_loop().call_later(0.02, release.set)
    await world.keeper.finish([world.dossier], 2 * BIN_NS, WAIT_S)
    assert await world.shelf.close(WAIT_S)
    assert world.stored() == 2

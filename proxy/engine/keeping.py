"""What goes to the disk and comes from it, for all rollouts at once; see :mod:`proxy.engine.deciding` for why."""

import asyncio
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeAlias

from proxy.clock import monotonic
from proxy.engine.dossier import Dossier
from proxy.engine.engine_time import EngineTime
from proxy.engine.judging import gist_of_bytes
from proxy.engine.ledger import Ledger
from proxy.engine.store import Batch, Loaded, Recorded, Store, StoreError, Verdict
from proxy.engine.store_thread import StoreThread
from proxy.evidence.units import forget_units, save_units, saved_units
from proxy.tally import EARLIER

__all__ = ["Keeper"]

WRITE_PATIENCE_S: Final = 0.3
"""A tick waits so long for the disk; what takes longer goes on, and the tick judges what it has."""

RECORD_PATIENCE_S: Final = 2.0
"""The same for the snapshot of a decision that raises a weight."""

FALL_PATIENCE_S: Final = 0.2
"""The same for one that lowers it, and for a note."""

LOAD_PATIENCE_S: Final = 2.0
LOAD_AGAIN_S: Final = 5.0
LOOK_PATIENCE_S: Final = 0.1
SHOW_PATIENCE_S: Final = 1.0
UNITS_EVERY_S: Final = 10.0
PRUNE_EVERY_S: Final = 3600.0

_MAX_UNRECORDED: Final = 16

_Fetched: TypeAlias = tuple[Loaded, int, tuple[object, ...] | None]


class Keeper:
    """Keeps dossiers in the store. Belongs to one loop; its methods are called one at a time, by the tick.

    Args:
        run_dir: ours; its name is that of our own counts.
        state_dir: where the maps of units are saved.
        shelf: the store.
        time: is set no earlier than anything that was stored.
    """

    def __init__(self, run_dir: Path, state_dir: Path, shelf: StoreThread, time: EngineTime) -> None:
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._shelf = shelf
        self._time = time
        self._writing: tuple[asyncio.Future[None], Sequence[Batch]] | None = None
        self._unrecorded: list[Verdict] = []
        self._generation = 0
        self._units: dict[str, int | None] = {}
        self._units_turn: list[str] = []
        self._load_due_s: dict[str, float] = {}
        self._units_due_s = self._prune_due_s = monotonic()
        self._had_earlier = False
        self._looking: asyncio.Future[int] | None = None
        self._others: int | None = None

    # Evidence

    async def load(self, dossiers: Collection[Dossier]) -> dict[str, tuple[object, ...]]:
        """Fetch what earlier processes have stored, where that is not done yet.

        Returns:
            by route, the gist of what was said last.
        """
        said: dict[str, tuple[object, ...]] = {}
        # For all of them: a disk that hangs must not keep a tick waiting once for each rollout.
        end_s = monotonic() + LOAD_PATIENCE_S
        for dossier in dossiers:
            now_s = monotonic()
            if dossier.is_loaded or now_s < self._load_due_s.get(dossier.rollout, 0.0):
                continue
            if now_s >= end_s:
                break
            fresh = Ledger(dossier.ledger.fields)
            try:
                stored, latest_ns, last = await self._shelf.call(_fetching(dossier, fresh), end_s - now_s)
            except StoreError:
                self._load_due_s[dossier.rollout] = monotonic() + LOAD_AGAIN_S
                continue
            self._load_due_s.pop(dossier.rollout, None)
            self._time.advance(latest_ns)
            dossier.ledger.join(fresh)
            dossier.take_stored(stored)
            if last is not None:
                said[dossier.route] = last
        has_earlier = (self._run_dir / EARLIER).exists()
        is_left, self._had_earlier = self._had_earlier and not has_earlier, has_earlier
        if await self._is_written_by_others() or is_left:
            await self._reload(dossiers)
        return said

    async def _is_written_by_others(self) -> bool:
        """Tell whether another observer has stored something: that of a supervisor that was killed goes on to drain."""
        if self._looking is None:
            self._looking = self._shelf.submit(Store.others)
        done, _ = await asyncio.wait((self._looking,), timeout=LOOK_PATIENCE_S)
        if not done:
            return False
        looked, self._looking = self._looking, None
        if looked.exception() is not None:
            return False
        before, self._others = self._others, looked.result()
        return before not in (None, self._others)

    async def _reload(self, dossiers: Collection[Dossier]) -> None:
        end_s = monotonic() + LOAD_PATIENCE_S
        for dossier in dossiers:
            fresh = Ledger(dossier.ledger.fields)
            with suppress(StoreError):
                stored = await self._shelf.call(_loading(dossier, fresh), max(end_s - monotonic(), 0.0))
                dossier.ledger.join(fresh)
                dossier.take_shadows(stored.shadows)

    async def write(
        self, dossiers: Collection[Dossier], now_ns: int, patience_s: float = WRITE_PATIENCE_S
    ) -> None:
        """Have the disk take what is new; say of each dossier whether all of it is there."""
        before = self._shelf.generation
        if self._generation and before != self._generation:
            for dossier in dossiers:
                dossier.forget_disk()
        self._generation = before
        if self._writing is None:
            due = [each for each in dossiers if each.is_due(now_ns)]
            if not due:
                return
            batches = [each.take_batch(self._run_dir.name, now_ns) for each in due]
            self._writing = (self._shelf.submit(lambda store: store.write(batches)), batches)
        future, written = self._writing
        done, _ = await asyncio.wait((future,), timeout=patience_s)
        if done:
            self._writing = None
        is_written = bool(done) and future.exception() is None
        # The file may have been replaced meanwhile: then it has this batch alone. The first one has no number before.
        is_whole = is_written and self._shelf.generation in (before, 1)
        batches_of = {batch.rollout: batch for batch in written}
        for dossier in dossiers:
            batch = batches_of.get(dossier.rollout)
            if batch is not None and done and not is_written:
                dossier.put_back(batch)
            if batch is not None:
                dossier.is_stored = is_whole and not dossier.has_news
            elif dossier.has_news:
                dossier.is_stored = False

    async def finish(self, dossiers: Collection[Dossier], now_ns: int, patience_s: float) -> None:
        """Store what was read last. What does not get through is read again from the run directory, if that stays."""
        if self._writing is not None:
            await self.write(dossiers, now_ns, patience_s)
        await self.write(dossiers, now_ns, patience_s)
        self.save_units(*(dossier.rollout for dossier in dossiers))

    def has_all(self, dossiers: Collection[Dossier]) -> bool:
        """Tell whether everything that was read is on the disk."""
        is_whole = self._writing is None and self._generation == self._shelf.generation
        return is_whole and all(each.is_loaded and not each.has_news for each in dossiers)

    # Verdicts

    async def record(self, dossier: Dossier, verdict: Verdict) -> str:
        """Store ``verdict``, which raises a weight; return what is in the way, empty if nothing."""
        if not (dossier.is_loaded and dossier.is_stored):
            problem = self._shelf.problem or "the disk is too slow"
            return f"It would go on, but its evidence cannot be kept: {problem}."
        try:
            await self._shelf.call(lambda store: store.record(verdict), RECORD_PATIENCE_S)
        except StoreError as error:
            return f"It would go on, but the decision cannot be kept: {error}."
        return ""

    async def record_soon(self, verdict: Verdict) -> bool:
        """Store ``verdict`` now if the disk is quick, else later; tell whether the disk has not refused it yet."""
        future = self._offer(verdict)
        done, _ = await asyncio.wait((future,), timeout=FALL_PATIENCE_S)
        return not (done and future.exception() is not None)

    def _offer(self, verdict: Verdict) -> asyncio.Future[int]:
        """Have ``verdict`` stored; one that the disk refuses, at once or after a while, is offered again."""

        def look(future: asyncio.Future[int]) -> None:
            if future.cancelled() or future.exception() is None:
                return
            if len(self._unrecorded) >= _MAX_UNRECORDED:
                # What moved nothing goes first.
                del self._unrecorded[
                    next((i for i, each in enumerate(self._unrecorded) if not each.moves), 0)
                ]
            self._unrecorded.append(verdict)

        future = self._shelf.submit(lambda store: store.record(verdict))
        future.add_done_callback(look)
        return future

    async def decisions(self, route: str, limit: int, moves_of: str = "") -> list[Recorded]:
        """Return the last verdicts about ``route`` and all that moved a rollout, oldest first.

        None while the disk does not answer.
        """
        with suppress(StoreError):
            return await self._shelf.call(
                lambda store: store.decisions(route, limit, moves_of), SHOW_PATIENCE_S
            )
        return []

    async def snapshot(self, digest: str) -> bytes | None:
        """Return what the verdict with this digest was drawn from; None: it is not there, or the disk is too slow."""
        with suppress(StoreError):
            return await self._shelf.call(lambda store: store.snapshot(digest), SHOW_PATIENCE_S)
        return None

    # From time to time

    def housekeep(self, dossiers: Collection[Dossier], now_ns: int) -> None:
        """Do what is due: verdicts that the disk refused before, maps of units, what is too old. Never waits."""
        now_s = monotonic()
        while self._unrecorded and not self._shelf.problem:
            self._offer(self._unrecorded.pop(0))
        live = {dossier.rollout: None for dossier in dossiers}
        for rollout in self._units.keys() - live:
            del self._units[rollout]
            self._shelf.submit(_forgetting(self._state_dir, rollout))
        if now_s >= self._units_due_s and not self._units_turn:
            self._units_due_s = now_s + UNITS_EVERY_S
            self._units_turn = [*live]
        if self._units_turn:
            # One at a time: whoever waits for the store does not wait for all of them.
            self.save_units(self._units_turn.pop())
        if now_s >= self._prune_due_s:
            self._prune_due_s = now_s + PRUNE_EVERY_S
            self._shelf.submit(lambda store: self._prune(store, list(live), now_ns))

    def _prune(self, store: Store, live: Sequence[str], now_ns: int) -> None:
        store.prune(live, now_ns)
        for rollout in saved_units(self._state_dir).difference(live):
            forget_units(self._state_dir, rollout)

    def save_units(self, *rollouts: str) -> None:
        """Have the disk take the maps of units of these rollouts, where they have changed. Never waits."""
        units = self._units
        for rollout in rollouts:
            units.setdefault(rollout, None)

        def save(_: Store) -> None:
            for rollout in rollouts:
                units[rollout] = save_units(self._run_dir, self._state_dir, rollout, units.get(rollout))

        self._shelf.submit(save)


def _fetching(dossier: Dossier, ledger: Ledger) -> Callable[[Store], _Fetched]:
    """Return what loads all there is about a rollout: evidence, the latest engine time, what was said last."""

    def fetch(store: Store) -> _Fetched:
        last = [each.verdict.document for each in store.decisions(dossier.route, 1)]
        return (
            store.load(dossier.rollout, ledger),
            store.engine_ns(),
            gist_of_bytes(last[0]) if last else None,
        )

    return fetch


def _loading(dossier: Dossier, ledger: Ledger) -> Callable[[Store], Loaded]:
    return lambda store: store.load(dossier.rollout, ledger)


def _forgetting(state_dir: Path, rollout: str) -> Callable[[Store], None]:
    return lambda _: forget_units(state_dir, rollout)

"""Feedback as evidence: what the rings have goes to the disk, what was said is counted there, and judged from there.

The disk has a thread of its own (:mod:`~proxy.engine.store_thread`), so a long batch keeps neither the tick waiting nor
the evidence that workers count.
"""

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, NamedTuple, TypeAlias

from proxy.clock import monotonic
from proxy.engine.dossier import Dossier
from proxy.engine.feedback_store import Drained, FeedbackStore, Group, Told, open_feedback
from proxy.engine.store_thread import FileThread
from proxy.evidence.blocks import remove_rings, sources
from proxy.rollout.feedback import Row, segment_of
from proxy.rollout.state import RolloutState
from proxy.routing.table import Table

__all__ = ["MAX_BATCHES", "MAX_ITEMS", "BusyError", "Feedback", "Said"]

MAX_BATCHES: Final = 256
"""Batches that wait for the disk; more are refused at once, and come again."""

MAX_ITEMS: Final = 100_000
"""Items in them; a batch that is alone may have more."""

TAKE_PATIENCE_S: Final = 10.0
"""A batch waits so long for the disk."""

LOOK_PATIENCE_S: Final = 0.2
"""A tick waits so long; what takes longer is judged in a later one."""

PRUNE_EVERY_S: Final = 3600.0

Said: TypeAlias = Sequence[tuple[int, bool]]
"""Hashes of requests' ids, each with whether the answer was good."""

_Looked: TypeAlias = tuple[Drained, dict[str, tuple[Row, ...]]]


class BusyError(Exception):
    """Feedback cannot be taken now; the same again in a moment may be. ``str()`` is the sentence that says why."""


class _Batch(NamedTuple):
    """What somebody waits for."""

    groups: list[Group]
    size: int
    told: "asyncio.Future[list[Told]]"


class Feedback:
    """Takes feedback, and tells what was said. Belongs to one loop.

    Args:
        run_dir: where the rings are.
        state_dir: where feedback is kept.
    """

    def __init__(
        self, run_dir: Path, state_dir: Path, shelf: FileThread[FeedbackStore] | None = None
    ) -> None:
        self.missed = 0
        """Requests that were written over in their ring before they were read: feedback on them is unknown."""
        self.forgotten = 0
        """Requests that went before their time, because there were too many."""
        self.shelf = shelf or FileThread(state_dir, open_feedback, "feedback")
        self._run_dir = run_dir
        self._queue: deque[_Batch] = deque()
        self._waiting = 0
        """Items in the queue, and those that are being counted."""
        self._is_taking = False
        self._looking: asyncio.Future[_Looked] | None = None
        self._prune_due_s = monotonic()

    async def look(
        self,
        tables: Iterable[Table],
        states: Mapping[str, RolloutState],
        dossiers: Mapping[str, Dossier],
        now_ns: int,
    ) -> None:
        """Take in what the rings have, and let the dossiers know what was said.

        While the disk is slow or out of order what was said before still holds.

        Args:
            tables: the live ones. states: by route. dossiers: by rollout. now_ns: the engine's clock.
        """
        rollouts = _judged(tables)
        if not rollouts:
            return
        rows = await self._look(rollouts, now_ns)
        for state in states.values():
            dossier = dossiers.get(state.rollout)
            if dossier is not None and state.rollout in rows:
                dossier.take_feedback(rows[state.rollout], state)

    async def _look(self, rollouts: Collection[str], now_ns: int) -> Mapping[str, tuple[Row, ...]]:
        if self._looking is None:
            wanted = tuple(rollouts)

            def act(store: FeedbackStore) -> _Looked:
                found = sources(self._run_dir)
                drained = store.drain(found, now_ns)
                remove_rings(self._run_dir, found)
                return drained, {rollout: store.rows(rollout) for rollout in wanted}

            self._looking = self.shelf.submit(act)
        done, _ = await asyncio.wait((self._looking,), timeout=LOOK_PATIENCE_S)
        if not done:
            return {}
        looked, self._looking = self._looking, None
        if looked.exception() is not None:
            return {}
        drained, rows = looked.result()
        self._count(drained)
        self._prune(rollouts, now_ns)
        return rows

    async def take(
        self,
        items: Mapping[str, Said],
        states: Mapping[str, RolloutState],
        dossiers: Mapping[str, Dossier],
        now_ns: int,
    ) -> dict[str, Told]:
        """Count what was said, all of it or nothing; return what became of it, by route. It is on the disk then.

        Args:
            items: by route, each of which takes feedback.
            states: by route. dossiers: by rollout. now_ns: the engine's clock.

        Raises:
            BusyError: too much waits already, the disk is out of order, or a rollout is not in force yet.
        """
        groups = [_group(name, states.get(name), dossiers, said, now_ns) for name, said in items.items()]
        size = sum(map(len, items.values()))
        if self._waiting and (len(self._queue) >= MAX_BATCHES or self._waiting + size > MAX_ITEMS):
            raise BusyError("too much feedback waits for the disk already")
        batch = _Batch(groups, size, asyncio.get_running_loop().create_future())
        self._queue.append(batch)
        self._waiting += size
        self._go_on(now_ns)
        done, _ = await asyncio.wait((batch.told,), timeout=TAKE_PATIENCE_S)
        if not done:
            raise BusyError(
                f"the disk takes longer than {TAKE_PATIENCE_S:g} s; what it still takes is a duplicate then"
            )
        return dict(zip(items, batch.told.result(), strict=True))

    def _go_on(self, now_ns: int) -> None:
        """Have what waits counted in one transaction, unless one is under way: a disk has few of them a second."""
        if self._is_taking or not self._queue:
            return
        self._is_taking = True
        batches: list[_Batch] = []

        def act(store: FeedbackStore) -> tuple[Drained, list[Told]]:
            while self._queue:
                batches.append(self._queue.popleft())
            # Whoever is quick has the answer before the next tick has read the rings.
            drained = store.drain(sources(self._run_dir), now_ns)
            return drained, store.take([group for batch in batches for group in batch.groups], now_ns)

        def settle(future: "asyncio.Future[tuple[Drained, list[Told]]]") -> None:
            self._is_taking = False
            if not batches:  # the file could not be opened
                batches.extend(self._queue)
                self._queue.clear()
            self._settle(batches, future)
            self._go_on(now_ns)

        self.shelf.submit(act).add_done_callback(settle)

    def _settle(self, batches: "list[_Batch]", future: "asyncio.Future[tuple[Drained, list[Told]]]") -> None:
        error = BusyError("it is closed") if future.cancelled() else future.exception()
        told: list[Told] = []
        if error is None:
            drained, told = future.result()
            self._count(drained)
        for batch in batches:
            self._waiting -= batch.size
            mine, told = told[: len(batch.groups)], told[len(batch.groups) :]
            if batch.told.done():
                continue
            if error is None:
                batch.told.set_result(mine)
            else:
                batch.told.set_exception(BusyError(f"nothing of it was taken: {error}"))
                batch.told.exception()  # who asked may have gone

    async def close(self, patience_s: float) -> bool:
        """Do what waits, then close the file; False if that takes longer."""
        return await self.shelf.close(patience_s)

    def _count(self, drained: Drained) -> None:
        self.missed += drained.missed
        self.forgotten += drained.forgotten

    def _prune(self, rollouts: Collection[str], now_ns: int) -> None:
        if monotonic() < self._prune_due_s:
            return
        self._prune_due_s = monotonic() + PRUNE_EVERY_S
        live = tuple(rollouts)
        self.shelf.submit(lambda store: store.prune(live, sources(self._run_dir), now_ns))


def _judged(tables: Iterable[Table]) -> frozenset[str]:
    """Return the rollouts that have a guardrail on feedback."""
    return frozenset(
        experiment.rollout
        for table in tables
        for route in table.routes
        if route.settings.takes_feedback and (experiment := route.experiment) is not None
    )


def _group(
    route: str, state: RolloutState | None, dossiers: Mapping[str, Dossier], said: Said, now_ns: int
) -> Group:
    dossier = dossiers.get(state.rollout) if state is not None else None
    if state is None or dossier is None or not dossier.is_loaded:
        raise BusyError(f"the rollout of route {route} is not in force yet")
    segment_ns = segment_of(state.started_ns, state.promoted_ns, now_ns)
    return Group(dossier.rollout, tuple(dossier.ledger.epochs), segment_ns, said)

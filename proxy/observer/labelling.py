"""Labels: what was predicted is remembered, and each true answer that comes later says, row by row, who was right.

Rules
    * What is answered as accepted is on the disk (:mod:`~proxy.observer.label_store`), and counts once, whoever is
      killed meanwhile.
    * What is remembered is in memory, :data:`REMEMBERED_BYTES` for all routes, and a moment later on the disk too
      (:mod:`~proxy.observer.predictions`), where there is room for more and where it outlives the process. Labels are
      held against what memory has, else against what the disk has.
    * A label is for the models and the rule of its request. Where these are not in force any more it is late.
    * A unit is known by a keyed hash: who has the file but not the key cannot try whose it is. After a new key
      (:mod:`proxy.unit_keys`) a unit is another one, and counts once more.
    * One batch at a time: it is looked up, judged, written, and only then marked as labelled. A disk that takes too
      long is waited for by whoever comes next.
"""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from proxy.clock import monotonic_ns, wall_ns
from proxy.compare import Comparison
from proxy.control.label_items import LabelItem
from proxy.engine.feedback import TAKE_PATIENCE_S, BusyError
from proxy.engine.sqlite_file import StoreError
from proxy.engine.store_thread import FileThread
from proxy.evidence.ring import id_hash
from proxy.exchange import Primary
from proxy.labels import (
    Hide,
    LabelCounts,
    Memory,
    Remembered,
    Side,
    Truth,
    compact,
    disguise,
    fits,
    outcomes_of,
)
from proxy.observer.blocks import Blocks, LabelOutcome
from proxy.observer.breakdown_store import StretchKey
from proxy.observer.disagreements import stretch_key
from proxy.observer.early import Early
from proxy.observer.label_store import FILE_NAME, KnownLabels, LabelKey, Labelled, LabelStore, open_labels
from proxy.observer.prediction_store import Mark
from proxy.observer.predictions import NOTHING_HIDDEN, Found, HideOf, HidingOf, Predictions, signed
from proxy.privacy.actions import keyed_hash
from proxy.routing.table import Table

__all__ = ["REMEMBERED_BYTES", "LabelTold", "Labelling"]

REMEMBERED_BYTES: Final = 64 << 20
"""Most that all routes remember together; each has the same part."""

_PROBLEMS: Final = 16
"""So many are said in words."""

AGAIN_S: Final = 5.0
"""What the disk did not tell is asked for again."""

_BREATH: Final = 64
"""Requests that are looked up before the loop may do something else."""

_Keys: TypeAlias = Sequence[StretchKey]
Keep: TypeAlias = Callable[[int, str, LabelItem], None]
"""Writes down what was accepted: the version in force, the route."""


@dataclass(slots=True)
class LabelTold:
    """What became of the labels of one route."""

    counts: dict[LabelOutcome, int] = field(default_factory=dict)
    problems: list[tuple[int, str]] = field(default_factory=list)
    """Place of the item, and what is wrong; the first ones."""

    def tell(self, outcome: LabelOutcome, number: int, sentence: str = "") -> None:
        """Count one item."""
        self.counts[outcome] = self.counts.get(outcome, 0) + 1
        if sentence and len(self.problems) < _PROBLEMS:
            self.problems.append((number, sentence))


class _Judged(NamedTuple):
    """An item that is to be counted."""

    route: str
    name: int
    """Of the request."""
    item: LabelItem
    entry: Remembered[LabelKey]
    rows: Sequence[int]
    labelled: Sequence[Labelled]


class _Writing(NamedTuple):
    """What is on its way to the disk."""

    judged: Sequence[_Judged]
    counts: "asyncio.Future[dict[LabelKey, LabelCounts]]"


class Labelling:
    """Remembers what was predicted, and takes labels. Belongs to one loop.

    Args:
        state_dir: where counts are kept.
        blocks: the counts that metrics show.
        keep: writes down what was accepted.
        shelf: the thread of the file; tests bring their own.
        clock_ns: monotonic time.
        wall: wall time, nanoseconds.
        hiding_of: how labels of a route are hidden on the disk.
        hide_of: how those were that are there.
        is_coming: see :class:`~proxy.observer.early.Early`.
    """

    def __init__(
        self,
        state_dir: Path,
        blocks: Blocks,
        keep: Keep,
        shelf: FileThread[LabelStore] | None = None,
        clock_ns: Callable[[], int] = monotonic_ns,
        wall: Callable[[], int] = wall_ns,
        hiding_of: HidingOf = lambda *_: NOTHING_HIDDEN,
        hide_of: HideOf = lambda _: None,
        is_coming: Callable[[Collection[bytes]], bool] = lambda _: False,
    ) -> None:
        self.shelf = shelf or FileThread(state_dir, open_labels, "counts of labels")
        self.predictions = Predictions(self.shelf, hiding_of, hide_of, clock_ns, wall)
        self._early = Early(is_coming)
        self._wall = wall
        self._blocks = blocks
        self._keep = keep
        self._clock_ns = clock_ns
        self._tables: dict[int, Table] = {}
        self._keys: dict[int, list[_Keys | None]] = {}
        """By version and index of the route: what each shadow's rows are counted for; None: nothing is remembered."""
        self._version = 0
        self._memories: dict[str, Memory[LabelKey]] = {}
        """Of the table in force, by route."""
        self._wanted: set[LabelKey] = set()
        """What labels are counted for, of the table in force."""
        self._counts: dict[LabelKey, LabelCounts] = {}
        self._forgotten = 0
        """Of routes that are not there any more."""
        self._turn = asyncio.Lock()
        self._writing: _Writing | None = None
        self._again: asyncio.TimerHandle | None = None

    # Tables

    def admit(self, table: Table) -> None:
        """Take in a version."""
        self._tables[table.version] = table
        self._keys[table.version] = [
            [stretch_key(route, shadow) for shadow in route.shadows] if route.takes_labels else None
            for route in table.routes
        ]

    def commit(self, version: int) -> None:
        """Remember for the routes of ``version``, and forget what is not in force any more."""
        self._version = version
        routes = {route.name: route for route in self._tables[version].routes if route.takes_labels}
        stretches = frozenset(key for keys in self._keys[version] for key in keys or ())
        budget = REMEMBERED_BYTES // max(1, len(routes))
        memories: dict[str, Memory[LabelKey]] = {}
        self._wanted = set()
        for name, route in routes.items():
            keep_ns = route.settings.compare.labels or 0
            memory = self._memories.pop(name, None)
            if memory is None:
                memory = Memory(keep_ns, budget)
            memory.keep_ns, memory.budget_bytes = keep_ns, budget
            memories[name] = memory
            wanted = {LabelKey(key, variant.name) for key in stretches for variant in route.variants}
            memory.keep_only(wanted)
            self._wanted |= wanted
        self._forgotten += sum(memory.forgotten for memory in self._memories.values())
        self._memories = memories
        self._counts = {key: counts for key, counts in self._counts.items() if key.stretch in stretches}
        if stretches or (self.shelf.directory / FILE_NAME).exists():  # who never wanted labels has no file
            self._load(stretches, frozenset(routes))
        self.predictions.keep({name: memory.keep_ns for name, memory in memories.items()})

    def retire(self, versions: Sequence[int]) -> None:
        """Forget ``versions``."""
        for version in versions:
            self._tables.pop(version, None)
            self._keys.pop(version, None)

    def _load(self, stretches: frozenset[StretchKey], routes: frozenset[str]) -> None:
        def act(store: LabelStore) -> Mapping[LabelKey, LabelCounts]:
            store.keep_only(stretches)
            store.keep_routes(routes)
            return store.counts()

        self.shelf.submit(act).add_done_callback(self._take_counts)

    def look_again(self) -> None:
        """Read the counts once more: in an upgrade the observer before took labels until a moment ago."""
        if self._again is not None:
            self._again.cancel()
            self._again = None
        if self._wanted:
            self.shelf.submit(lambda store: store.counts()).add_done_callback(self._take_counts)

    def _take_counts(self, read: "asyncio.Future[Mapping[LabelKey, LabelCounts]]") -> None:
        if read.cancelled():
            return
        if read.exception() is not None:  # why stands in the log and in a metric
            self._again = asyncio.get_running_loop().call_later(AGAIN_S, self.look_again)
            return
        stretches = {key.stretch for key in self._wanted}
        self._counts.update((key, each) for key, each in read.result().items() if key.stretch in stretches)

    # What is predicted

    def remember(self, primary: Primary, comparisons: Mapping[int, Comparison], key: bytes) -> None:
        """Remember what one exchange predicted.

        Args:
            primary: of a version and a route that there are.
            comparisons: by index of the shadow.
            key: of the hash that stands for the unit, in memory and on the disk.
        """
        keys = self._keys[primary.version][primary.route]
        if keys is None:
            return
        route = self._tables[primary.version].routes[primary.route]
        memory, variant = self._memories.get(route.name), route.variants[primary.variant].name
        if memory is None:
            return
        sides = [
            Side(LabelKey(keys[index], variant), comparison.predicted)
            for index, comparison in comparisons.items()
            if index < len(keys) and comparison.predicted is not None
        ]
        if sides:
            who = b"%b\n%b" % (route.name.encode(), primary.unit or primary.request_id)
            unit = signed(int(keyed_hash(key, who)[:16], 16))
            entry = Remembered(self._clock_ns(), variant, unit, compact(sides))
            name = _name_of(route.name, primary.request_id)
            memory.add(name, entry)
            self.predictions.note(primary.version, route.name, name, entry)

    @property
    def remembered(self) -> int:
        """Requests that are remembered."""
        return sum(map(len, self._memories.values()))

    @property
    def remembered_bytes(self) -> int:
        """Bytes that they are taken to occupy."""
        return sum(memory.weight for memory in self._memories.values())

    @property
    def forgotten(self) -> int:
        """Requests that were forgotten before their time, for want of room: in memory, and on the disk."""
        held = sum(memory.forgotten for memory in self._memories.values())
        return self._forgotten + held + self.predictions.forgotten

    # What is true

    async def take(self, items: Mapping[str, Sequence[LabelItem]]) -> dict[str, LabelTold]:
        """Count what is true; it is on the disk then. Return what became of it, by route.

        Args:
            items: by route, each of which takes labels.

        Raises:
            BusyError: it cannot be taken now; what was may be said again.
        """
        await self._early.wait(partial(self._unknown, items))
        try:
            async with asyncio.timeout(TAKE_PATIENCE_S):
                await self._turn.acquire()
        except TimeoutError:
            self.refuse({name: len(said) for name, said in items.items()})
            raise BusyError("too many labels wait for the disk already") from None
        try:
            await self._write_out()
            told = {name: LabelTold() for name in items}
            judged = await self._judge(items, told, await self._look(items))
            if judged:
                labelled = [each for one in judged for each in one.labelled]
                marks = [Mark(signed(one.name), one.rows) for one in judged]
                self._writing = _Writing(judged, self.shelf.submit(lambda store: store.take(labelled, marks)))
                await self._write_out()
        except BusyError:
            self.refuse({name: len(said) for name, said in items.items()})
            raise
        finally:
            self._turn.release()
        for name, each in told.items():
            for outcome, requests in each.counts.items():
                self._blocks.count_label(self._version, name, outcome, requests)
        return told

    def _unknown(self, items: Mapping[str, Sequence[LabelItem]]) -> set[bytes]:
        """Return the ids of requests that memory knows nothing of."""
        now_ns = self._clock_ns()
        return {
            item.request_id.encode()
            for route, memory in self._memories.items()
            for item in items.get(route, ())
            if memory.find(_name_of(route, item.request_id.encode()), now_ns) == "unknown"
        }

    def refuse(self, requests: Mapping[str, int]) -> None:
        """Count labels that nobody can take, by route."""
        for name, number in requests.items():
            self._blocks.count_label(self._version, name, "refused", number)

    async def _look(self, items: Mapping[str, Sequence[LabelItem]]) -> Mapping[int, Found]:
        """Return what is on the disk of these requests.

        Raises:
            BusyError: the disk does not say.
        """
        names = {_name_of(route, item.request_id.encode()) for route, said in items.items() for item in said}
        try:
            return await self.predictions.find(names, TAKE_PATIENCE_S)
        except StoreError as error:
            raise BusyError(f"no label was taken: {error}") from None

    async def _judge(
        self,
        items: Mapping[str, Sequence[LabelItem]],
        told: Mapping[str, LabelTold],
        stored: Mapping[int, Found],
    ) -> list[_Judged]:
        judged: list[_Judged] = []
        taken: dict[int, set[int]] = {}
        """Rows that an earlier item of the batch has labelled, by name of the request."""
        for name, said in items.items():
            for i, item in enumerate(said):
                if i % _BREATH == _BREATH - 1:
                    await asyncio.sleep(0)
                found = self._judge_one(name, item, told[name], taken, stored)
                if found is not None:
                    judged.append(found)
        return judged

    def _judge_one(
        self,
        route: str,
        item: LabelItem,
        told: LabelTold,
        taken: dict[int, set[int]],
        stored: Mapping[int, Found],
    ) -> _Judged | None:
        name = _name_of(route, item.request_id.encode())
        entry, hide = self._entry(route, name, stored.get(name))
        if isinstance(entry, str):
            told.tell(entry, item.number, _SENTENCES[entry])
            return None
        truth = item.labels if hide is None else tuple(disguise(label, hide) for label in item.labels)
        if len(truth) not in entry.rows:
            told.tell("mismatch", item.number, _wrong_rows(len(truth), sorted(entry.rows)))
            return None
        if not fits(truth, [side.predicted for side in entry.sides]):
            told.tell("mismatch", item.number, _SENTENCES["kind"])
            return None
        before, said = entry.labelled, taken.setdefault(name, set())
        fresh = [
            row
            for row, label in enumerate(truth)
            if label is not None and row not in said and not (row < len(before) and before[row])
        ]
        if not fresh:
            told.tell("duplicate", item.number)
            return None
        said.update(fresh)
        told.tell("accepted", item.number)
        return _Judged(route, name, item, entry, fresh, _labelled(truth, entry, frozenset(fresh)))

    def _entry(
        self, route: str, name: int, found: Found | None
    ) -> tuple[Remembered[LabelKey] | Literal["late", "unknown"], Hide | None]:
        """Return what is known of a request, and how labels are hidden in it."""
        memory = self._memories.get(route)
        entry = "unknown" if memory is None else memory.find(name, self._clock_ns())
        if found is None or memory is None:
            return entry, None
        if isinstance(entry, Remembered):
            if entry.is_saved:  # who answered before this process was there may have taken labels for it
                entry.mark(row for row, is_labelled in enumerate(found.entry.labelled) if is_labelled)
            return entry, None
        stored = found.entry
        stored.sides = tuple(side for side in stored.sides if side.key in self._wanted)
        if not stored.sides or self._wall() - found.at_ms * 1_000_000 > memory.keep_ns:
            return "late", None
        return stored, found.hide

    async def _write_out(self) -> None:
        """Have what is on its way to the disk arrive there.

        Raises:
            BusyError: it has not, or cannot.
        """
        if self._writing is None:
            return
        judged, counts = self._writing
        done, _ = await asyncio.wait((counts,), timeout=TAKE_PATIENCE_S)
        if not done:
            raise BusyError(
                f"the disk takes longer than {TAKE_PATIENCE_S:g} s; what it still takes is a duplicate then"
            )
        self._writing = None
        if (error := counts.exception()) is not None:
            raise BusyError(f"no label was taken: {error}")
        self._counts.update(counts.result())
        for one in judged:
            one.entry.mark(one.rows)
            for each in one.labelled:
                key = each.key
                labels = key.stretch.route, key.variant, key.stretch.shadow
                self._blocks.count_labelled(self._version, labels, each.outcomes)
            self._keep(self._version, one.route, one.item)

    def known(self, route: str) -> list[KnownLabels]:
        """Return what is counted of each shadow of ``route`` beside each variant, where there are labels."""
        return [
            KnownLabels(key.stretch.shadow, key.variant, counts)
            for key, counts in self._counts.items()
            if key.stretch.route == route
        ]

    async def close(self, timeout_s: float) -> bool:
        """Write what is on its way, then close the file; False if that takes longer."""
        self.predictions.close()
        if self._again is not None:
            self._again.cancel()
        return await self.shelf.close(timeout_s)


_SENTENCES: Final = {
    "unknown": "no answer of this route that was compared had this x-request-id, or it is forgotten; where a "
    "shadow may not have answered yet, send the same again later",
    "late": "the true answer comes too late: compare.labels says how long it is waited for, and what is remembered "
    "has a bound; or the models or their rule are others by now",
    "kind": "none of the models predicts anything of this kind: a number where they have names, or a name where "
    "they have numbers",
}


def _wrong_rows(labels: int, rows: Sequence[int]) -> str:
    there = " or ".join(map(str, rows))
    return f"expected a label for each row of the answer, null where it is not known: {there}, got {labels}"


def _labelled(truth: Truth, entry: Remembered[LabelKey], fresh: frozenset[int]) -> list[Labelled]:
    """Return what the ``fresh`` rows say of each shadow whose rows are as many."""
    found = []
    for key, predicted in entry.sides:
        if predicted.rows == len(truth):
            outcomes = [row.outcome for row in outcomes_of(truth, predicted) if row.number in fresh]
            found.append(Labelled(key, entry.unit, outcomes))
    return found


def _name_of(route: str, request_id: bytes) -> int:
    return id_hash(b"%b\n%b" % (route.encode(), request_id))

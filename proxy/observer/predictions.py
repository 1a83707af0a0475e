"""What is remembered of predictions goes to the disk too, behind the loop's back, and is found there again.

So a restart of the observer, of the supervisor or of the machine does not make labels unknown, and neither do more
requests than memory has room for.

Rules
    * The loop notes a reference; a moment later (:data:`SAVE_S`) the file's thread makes bytes of all that came and
      appends them in one transaction. A killed observer loses what came in that moment, with the exchanges that it had
      in hand.
    * What cannot be put by is counted (``unsaved``), whatever the reason, and is still in memory: the disk refused it,
      or was too slow for so much (:data:`MAX_WAITING`), or it must not be written.
    * Where bodies are redacted or left out, hashes stand for labels, under the key of the units' hashes; numbers are
      not put by there. What was put by under a key that is gone cannot be held against a label: it is as if forgotten.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, TypeAlias

from proxy.clock import monotonic_ns, wall_ns
from proxy.engine.store_thread import FileThread
from proxy.labels import Hide, Remembered, Side, dump_said, load_said
from proxy.observer.breakdown_store import StretchKey
from proxy.observer.label_store import LabelKey, LabelStore
from proxy.observer.prediction_store import PredictionRow

__all__ = ["MAX_WAITING", "NOTHING_HIDDEN", "SAVE_S", "Found", "Hiding", "Predictions", "signed"]

SAVE_S: Final = 0.25

MAX_WAITING: Final = 50_000
"""Requests that wait for the disk; what comes then is not put by."""

PRUNE_S: Final = 60.0

_MS: Final = 1_000_000


class Hiding(NamedTuple):
    """How labels are hidden."""

    key_id: str
    """Names the key; empty: they are not."""
    hide: Hide | None


class Found(NamedTuple):
    """What was put by of a request."""

    entry: Remembered[LabelKey]
    at_ms: int
    """Wall time."""
    hide: Hide | None
    """Hashes stand for labels; None: none do."""


NOTHING_HIDDEN: Final = Hiding("", None)

HidingOf: TypeAlias = Callable[[int, str], Hiding | None]
"""How labels of a route are hidden, by version and name; None: nothing may be written."""
HideOf: TypeAlias = Callable[[str], Hide | None]
"""The hash under the key of this id; None where the key is gone. Called in the file's thread."""

_Noted: TypeAlias = tuple[int, str, int, Remembered[LabelKey]]
_Entries: TypeAlias = list[Remembered[LabelKey]]


class Predictions:
    """Puts predictions by and finds them. Belongs to one loop.

    Args:
        shelf: the thread of the file.
        hiding_of: see ``HidingOf``.
        hide_of: see ``HideOf``.
        now_ns: monotonic time.
        wall: wall time, nanoseconds.
    """

    def __init__(
        self,
        shelf: FileThread[LabelStore],
        hiding_of: HidingOf,
        hide_of: HideOf,
        now_ns: Callable[[], int] = monotonic_ns,
        wall: Callable[[], int] = wall_ns,
    ) -> None:
        self.saved = 0
        """Requests whose predictions were put by."""
        self.unsaved = 0
        """Those whose were not."""
        self.forgotten = 0
        """Those that were put by and went before their time, for want of room."""
        self._shelf = shelf
        self._hiding_of = hiding_of
        self._hide_of = hide_of
        self._now_ns = now_ns
        self._wall = wall
        self._loop = asyncio.get_running_loop()
        self._noted: list[_Noted] = []
        self._keep_ms: dict[str, int] = {}
        self._saving: asyncio.TimerHandle | None = None
        self._pruning: asyncio.TimerHandle | None = None
        self._is_busy = False
        """Something is on its way to the disk."""

    def note(self, version: int, route: str, name: int, entry: Remembered[LabelKey]) -> None:
        """Put ``entry`` by, in a moment.

        Args:
            version: under which it was predicted: what may be written is said by its route.
            route: its name. name: of the request. entry: what is remembered of it.
        """
        if len(self._noted) >= MAX_WAITING:
            self.unsaved += 1
            return
        entry.is_saved = True
        self._noted.append((version, route, name, entry))
        if self._saving is None:
            self._saving = self._loop.call_later(SAVE_S, self._save_if_idle)

    def save(self) -> None:
        """Put by what was noted, now: whoever asks the file afterwards finds it there."""
        if self._saving is not None:
            self._saving.cancel()
            self._saving = None
        noted, self._noted = self._noted, []
        if not noted:
            return
        routes = {(version, route) for version, route, _, _ in noted}
        hidings = {each: self._hiding_of(*each) for each in routes}
        offset_ns = self._wall() - self._now_ns()
        self._is_busy = True
        saved = self._shelf.submit(partial(_save, noted, hidings, offset_ns))
        saved.add_done_callback(partial(self._settle, noted))

    async def find(self, names: Iterable[int], patience_s: float) -> dict[int, Found]:
        """Return what was put by of each of these requests, by name; what can be read of it.

        Raises:
            StoreError: the disk refused it, or took too long.
        """
        self.save()
        return await self._shelf.call(partial(_find, list(names), self._hide_of), patience_s)

    def keep(self, keep_ns: Mapping[str, int]) -> None:
        """Keep predictions of these routes for so long each, and look after that from time to time."""
        self._keep_ms = {route: ns // _MS for route, ns in keep_ns.items()}
        if self._pruning is not None:
            self._pruning.cancel()
            self._pruning = None
        if self._keep_ms:
            self._prune()

    def close(self) -> None:
        """Put by what was noted, and look no further."""
        self.save()
        if self._pruning is not None:
            self._pruning.cancel()

    def _save_if_idle(self) -> None:
        self._saving = None
        if self._is_busy:  # a slow disk has one batch at a time before it
            self._saving = self._loop.call_later(SAVE_S, self._save_if_idle)
        else:
            self.save()

    def _settle(self, noted: Sequence[_Noted], done: "asyncio.Future[_Entries]") -> None:
        self._is_busy = False
        unsaved = [entry for _, _, _, entry in noted]
        if not done.cancelled() and done.exception() is None:
            unsaved = done.result()
        for entry in unsaved:
            entry.is_saved = False
        self.saved += len(noted) - len(unsaved)
        self.unsaved += len(unsaved)

    def _prune(self) -> None:
        self._pruning = self._loop.call_later(PRUNE_S, self._prune)
        now_ms, keep_ms = self._wall() // _MS, self._keep_ms
        self._shelf.submit(lambda store: store.prune(now_ms, keep_ms)).add_done_callback(self._count)

    def _count(self, done: "asyncio.Future[int]") -> None:
        if not done.cancelled() and done.exception() is None:
            self.forgotten += done.result()


def _save(
    noted: Sequence[_Noted],
    hidings: Mapping[tuple[int, str], Hiding | None],
    offset_ns: int,
    store: LabelStore,
) -> _Entries:
    """Put ``noted`` by; return what could not be."""
    rows: list[PredictionRow] = []
    unsaved: _Entries = []
    for version, route, name, entry in noted:
        hiding = hidings[version, route]
        if hiding is None or (said := _said(entry, hiding.hide)) is None:
            unsaved.append(entry)
            continue
        at_ms = (entry.arrived_ns + offset_ns) // _MS
        rows.append(PredictionRow(signed(name), route, at_ms, entry.variant, entry.unit, hiding.key_id, said))
    if rows:
        store.add(rows)
    return unsaved


def _said(entry: Remembered[LabelKey], hide: Hide | None) -> bytes | None:
    try:
        return dump_said(
            (((key.stretch.shadow, key.stretch.digest), predicted) for key, predicted in entry.sides), hide
        )
    except TypeError:  # a number of more than 64 bits, a text that is none
        return None


def _find(names: Sequence[int], hide_of: HideOf, store: LabelStore) -> dict[int, Found]:
    stored = store.find(map(signed, names))
    hides: dict[str, Hide | None] = {"": None}
    found = {}
    for name in names:
        each = stored.get(signed(name))
        if each is None:
            continue
        row = each.row
        if row.key_id not in hides:
            hides[row.key_id] = hide_of(row.key_id)
        hide = hides[row.key_id]
        if row.key_id and hide is None:
            continue
        sides = _sides(row)
        if sides:
            entry = Remembered(0, row.variant, row.unit, sides, bytearray(each.labelled), is_saved=True)
            found[name] = Found(entry, row.at_ms, hide)
    return found


def _sides(row: PredictionRow) -> tuple[Side[LabelKey], ...]:
    try:
        return tuple(
            Side(LabelKey(StretchKey(row.route, *key), row.variant), predicted)
            for key, predicted in load_said(row.said)
        )
    except (TypeError, ValueError):  # nothing that this program wrote
        return ()


def signed(number: int) -> int:
    """Return 64 bits as SQLite's integers have them, with a sign."""
    return number - (1 << 64) if number >> 63 else number

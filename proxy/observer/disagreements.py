"""What is known of disagreements: counts by shadow, reason and slice, and examples with both answers side by side.

Rules
    * Counts belong to a stretch: the same models compared by the same rule. A change of either begins them anew; any
      other change of the configuration, a restart or an upgrade does not. They are on the disk a second later
      (:mod:`~proxy.observer.breakdown_store`), and so does one observer know in an upgrade what the other one counts.
    * Examples are in memory alone, raw, and bounded in bytes for all shadows together. They are put into words when
      somebody asks for them, and only as far as the route's records may hold them (:mod:`~proxy.observer.showing`).
    * A change of the rule, the models, or of what may be shown lets go of the examples from before. A route or shadow
      that is not in force any more has neither counts nor examples.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final, NamedTuple

from proxy.clock import wall_ns
from proxy.compare import Comparison
from proxy.compare.meaning import SCORE
from proxy.engine.store_thread import FileThread
from proxy.exchange import Primary, ShadowPart
from proxy.observer.attributes import read_slices
from proxy.observer.breakdown import TOTAL, Breakdown
from proxy.observer.breakdown_store import (
    FILE_NAME,
    BreakdownStore,
    Change,
    Kept,
    StretchKey,
    open_breakdowns,
)
from proxy.observer.examples import Example, Examples
from proxy.observer.meanings import Meanings
from proxy.observer.route_rules import RouteRules
from proxy.observer.showing import Known, Shown, as_shown, example_of, strip, told_pairs
from proxy.routing.table import Route, Shadow, Table
from proxy.tasks import spawn

__all__ = ["EXAMPLES_BYTES", "SAVE_EVERY_S", "Book", "Disagreements"]

EXAMPLES_BYTES: Final = 32 << 20
"""Most that all examples weigh together."""

_EXAMPLES_BYTES_EACH: Final = 4 << 20
"""Most that those of one shadow weigh."""

SAVE_EVERY_S: Final = 1.0

_SAVE_PATIENCE_S: Final = 5.0

_TRIES: Final = 4
"""An observer that ends beside this one writes once a second: hardly ever between our reading and our writing."""

_log = logging.getLogger("modelproxy")


class Compared(NamedTuple):
    """What a stretch is of: counts under two that differ do not belong together."""

    rule: str
    slices: Sequence[tuple[str, str, str]]
    variants: Sequence[tuple[str, str, Sequence[str]]]
    """Names of each variant and its model, and where that is."""
    shadow: Sequence[str]
    """Where it is."""


_CHANGED: Final = (
    "another rule of comparison",
    "other slices",
    "other variants or models",
    "other servers of the shadow",
)
"""What is said of a change, by field of `Compared`."""


class Book:
    """What is known of one shadow.

    Args:
        compared: what its stretch is of.
        key: of its stretch.
        showing: digest of what may be shown of its examples.
        since_wall_ns: when it begins.
    """

    __slots__ = ("breakdown", "compared", "examples", "is_read", "key", "showing")

    def __init__(
        self, compared: "Compared", key: StretchKey, showing: str, since_wall_ns: int, budget_bytes: int
    ) -> None:
        self.compared = compared
        self.key = key
        self.showing = showing
        self.breakdown = Breakdown(since_wall_ns)
        self.examples: Examples[Shown] = Examples(budget_bytes, strip)
        self.is_read = False
        """What the disk has of it is counted in."""


class _Place(NamedTuple):
    """Where pairs of one version, route and shadow are counted."""

    book: Book
    may_show: bool
    """What its version lets be shown is what may be shown now."""


class _Heard(NamedTuple):
    """Where it is noted what the embedder says of a pair."""

    book: Book
    slices: Mapping[str, str]
    example: Example[Shown] | None
    """Of the pair, where it is one."""

    def take(self, distance: float) -> None:
        """Note how far the texts are apart in meaning."""
        if self.example is not None:
            self.example.what.late[SCORE] = distance
        self.book.breakdown.measure_meaning(distance, self.slices)


class _Saving(NamedTuple):
    """What is on its way to the disk."""

    books: Sequence[Book]
    changes: Mapping[StretchKey, Change]
    kept: "asyncio.Future[dict[StretchKey, Kept] | None]"
    """Will be what had to be read first; None: the changes are written."""


class Disagreements:
    """Counts pairs and keeps examples. Belongs to one loop.

    Args:
        state_dir: where counts are kept.
        shelf: the thread of the file; tests bring their own.
        meanings: asked how far texts are apart in meaning; None: nobody is.
    """

    def __init__(
        self,
        state_dir: Path,
        shelf: FileThread[BreakdownStore] | None = None,
        meanings: Meanings | None = None,
    ) -> None:
        self.meanings = meanings
        self.shelf = shelf or FileThread(state_dir, open_breakdowns, "counts of disagreement")
        self._books: dict[tuple[str, str], Book] = {}
        """Of the table in force, by route and model."""
        self._tables: dict[int, Table] = {}
        self._places: dict[int, list[list[_Place | None]]] = {}
        """By version, index of the route, index of the shadow."""
        self._generation = 0
        self._is_new = False
        """Other stretches are in force than before."""
        self._saving: _Saving | None = None
        self._task: asyncio.Task[None] | None = None

    # Tables

    def admit(self, table: Table) -> None:
        """Take in a version; its pairs count where they belong to the table in force."""
        self._tables[table.version] = table
        self._places[table.version] = self._places_of(table)

    def commit(self, version: int) -> None:
        """Let the books be those of ``version``."""
        table = self._tables[version]
        wanted = [(route, shadow) for route in table.routes if route.is_compared for shadow in route.shadows]
        budget = min(_EXAMPLES_BYTES_EACH, EXAMPLES_BYTES // max(len(wanted), 1))
        books: dict[tuple[str, str], Book] = {}
        for route, shadow in wanted:
            compared, showing = compared_of(route, shadow), showing_digest(route)
            key = stretch_key(route, shadow)
            book = self._books.get((route.name, shadow.model.name))
            if book is None or book.key != key:
                if book is not None:
                    _tell_end(book, compared)
                book = Book(compared, key, showing, wall_ns(), budget)
            elif book.showing != showing or book.examples.budget_bytes != budget:
                book.showing, book.examples = showing, Examples(budget, strip)
            books[route.name, shadow.model.name] = book
        self._books = books
        self._is_new = True
        self._places = {number: self._places_of(each) for number, each in self._tables.items()}

    def retire(self, versions: Sequence[int]) -> None:
        """Forget ``versions``."""
        for version in versions:
            self._tables.pop(version, None)
            self._places.pop(version, None)

    def _places_of(self, table: Table) -> list[list[_Place | None]]:
        return [[self._place(route, shadow) for shadow in route.shadows] for route in table.routes]

    def _place(self, route: Route, shadow: Shadow) -> _Place | None:
        book = self._books.get((route.name, shadow.model.name))
        if book is None or book.key != stretch_key(route, shadow):
            return None
        return _Place(book, book.showing == showing_digest(route))

    # Pairs

    def note(self, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison) -> None:
        """Count a pair, and keep it as an example if it disagrees."""
        place = self._places[primary.version][primary.route][part.shadow]
        if place is None:
            return
        book = place.book
        slices = read_slices(rules.slices, rules.record, primary) if rules.slices else None
        book.breakdown.count(comparison, slices)
        example = None
        if comparison.result == "disagree":
            _count_mistakes(book.breakdown, rules, primary, part, comparison)
            if place.may_show:
                example = example_of(rules, primary, part, comparison, slices or {})
                book.examples.add(example)
        if self.meanings is not None and rules.asks_meaning and comparison.method == "text":
            self._ask_meaning(rules, primary, part, comparison, _Heard(book, slices or {}, example))

    def _ask_meaning(
        self, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison, heard: "_Heard"
    ) -> None:
        if self.meanings is None or comparison.result == "uncomparable":
            return
        pairs = told_pairs(rules, primary, part, comparison)
        if pairs is None:
            self.meanings.withheld += 1
        elif pairs:
            self.meanings.ask(pairs, heard.take)

    def known(self, route: str) -> list[Known]:
        """Return what is known of each shadow of ``route`` at this moment."""
        return [
            Known(
                book.key.shadow,
                book.breakdown.since_wall_ns,
                {cell: tuple(numbers) for cell, numbers in book.breakdown.cells.items()},
                [each.what for each in book.examples.newest()],
                [each.what for each in book.examples.extreme()],
            )
            for book in self._books.values()
            if book.key.route == route
        ]

    # The disk

    def start(self) -> None:
        """Begin to keep the counts."""
        if self._task is None:
            self._task = spawn(self._keep(), name="counts of disagreement")

    async def close(self, timeout_s: float) -> bool:
        """Write what is not on the disk yet; False if that takes longer than ``timeout_s``."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if await self.save(timeout_s):  # it may have been an earlier one
            await self.save(timeout_s)
        return await self.shelf.close(timeout_s)

    async def _keep(self) -> None:
        while True:
            await self.save(_SAVE_PATIENCE_S)
            await asyncio.sleep(SAVE_EVERY_S)

    async def save(self, patience_s: float) -> bool:
        """Bring the counts to the disk, and what others have counted from there; False if that is not done yet.

        What the disk refuses is tried again with the next save; why stands in the log and in a metric.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + patience_s
        for _ in range(_TRIES):
            if self._saving is None:
                self._saving = self._begin_save()
            if self._saving is None:
                return True
            saving = self._saving
            done, _pending = await asyncio.wait((saving.kept,), timeout=max(0.0, deadline_s - loop.time()))
            if not done:
                return False
            self._saving = None
            if saving.kept.exception() is not None:
                self._is_new = True  # what is not in force any more may still be there
                _save_again(saving)
                return False
            if self._end_save(saving, saving.kept.result()):
                return True
        return False

    def _begin_save(self) -> "_Saving | None":
        books = list(self._books.values())
        keys = frozenset(book.key for book in books)
        is_new, self._is_new = self._is_new, False
        if not books and not (is_new and (self.shelf.directory / FILE_NAME).exists()):
            return None  # who compares nothing, and never did, has no file
        must_read = any(not book.is_read for book in books)
        changes = {}
        for book in books:
            if book.breakdown.is_changed and not must_read:
                book.breakdown.is_changed = False
                changes[book.key] = (book.breakdown.since_wall_ns, book.breakdown.unsaved())

        def act(store: BreakdownStore) -> dict[StretchKey, Kept] | None:
            if is_new:
                store.keep_only(keys)
            return None if not must_read and store.add(changes) else store.read(keys)

        return _Saving(books, changes, self.shelf.submit(act))

    def _end_save(self, saving: _Saving, kept: Mapping[StretchKey, Kept] | None) -> bool:
        """Take note of what became of it; False if it had to be read first what others wrote."""
        if self.shelf.generation != self._generation:
            # Another file than the last time: what was written before is not there.
            self._generation = self.shelf.generation
            for book in self._books.values():
                book.breakdown.forget_saved()
        if kept is None:
            for book in saving.books:
                if book.key in saving.changes:
                    book.breakdown.on_saved(saving.changes[book.key][1])
            return True
        _save_again(saving)
        for book in saving.books:
            if (found := kept.get(book.key)) is None:
                book.breakdown.is_changed = True  # so that there is a note of when it began
            else:
                book.breakdown.on_read(found.rows)
                book.breakdown.since_wall_ns = min(book.breakdown.since_wall_ns, found.since_wall_ns)
            book.is_read = True
        return False


def _save_again(saving: _Saving) -> None:
    for book in saving.books:
        book.breakdown.is_changed |= book.key in saving.changes


def _count_mistakes(
    breakdown: Breakdown, rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison
) -> None:
    """Count the rows that the two answers label differently."""
    fresh = []
    for label, other, rows in comparison.confusion:
        # Whether labels may be shown takes a look at all three bodies: those that are shown already need none.
        if label != other and not breakdown.count_known_labels(label, other, rows):
            fresh.append((label, other, rows))
    if fresh:
        for label, other, rows in as_shown(rules, primary, part, comparison, fresh):
            breakdown.count_labels(label, other, rows)


def _tell_end(book: Book, compared: Compared) -> None:
    """Tell the operator once, where there is something that does not count any more."""
    if any(book.breakdown.cells[TOTAL]):
        why = [word for word, old, new in zip(_CHANGED, book.compared, compared, strict=True) if old != new]
        place = f"routes[{book.key.route}].shadows[{book.key.shadow}]"
        _log.info("%s: counts of disagreements and labels begin anew: %s", place, " and ".join(why))


def compared_of(route: Route, shadow: Shadow) -> Compared:
    """Return what is compared: the answers of which models, and how."""
    compare = route.settings.compare
    return Compared(
        compare.digest,
        sorted((name, source.kind, source.name) for name, source in compare.slices.items()),
        [(variant.name, variant.model.name, variant.model.settings.urls) for variant in route.variants],
        shadow.model.settings.urls,
    )


def stretch_key(route: Route, shadow: Shadow) -> StretchKey:
    """Return what the counts of ``shadow`` belong to: its model, those whose answers it is compared with, and how."""
    facts = repr(tuple(compared_of(route, shadow)))
    return StretchKey(route.name, shadow.model.name, sha256(facts.encode()).hexdigest()[:16])


def showing_digest(route: Route) -> str:
    """Return what tells whether two versions let the same be shown of the route's examples."""
    return sha256(repr(vars(route.settings.log)).encode()).hexdigest()[:16]

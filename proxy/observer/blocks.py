"""What became of each frame: the observer's own counters, kept on behalf of each worker.

Rules
    * Worker *i* counts what it hands to the pipe (``shipped``), the observer what became of it, in the
      block ``o{i}-{version}``. Both are files, so a kill of either side forgets nothing that was counted.
    * What was handed over and never arrives (a kill in between) is found when worker *i* says hello again:
      ``lost = shipped - outcomes`` is added to ``dropped``. From then on the sums agree again, exactly.
    * A record on its way to the disk has no outcome yet but is not lost: it is *pending* and counts as one
      in that difference.
    * Frames of a version that is not known yet are counted as dropped once it is (a worker may hear of a
      version first).
"""

import logging
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, TypeAlias

from proxy.compare.pace import Pace
from proxy.exchange import RECORDED, Primary, ShadowPart
from proxy.model import DISAGREEMENT_REASONS, DURATION_BOUNDS_NS
from proxy.routing.outcome_fields import (
    COMPARISON_FIELDS,
    DISTANCE_SLOTS,
    FEEDBACK_FIELDS,
    LABEL_FIELDS,
    LABEL_ROW_FIELDS,
    PACE_FIELDS,
    SINK_FIELDS,
    SINK_OUTCOMES,
    TRIPLE_FIELDS,
)
from proxy.routing.table import Table
from proxy.tally import Block, block_path, open_block

__all__ = [
    "Blocks",
    "ComparisonOutcome",
    "FeedbackOutcome",
    "LabelOutcome",
    "SinkNote",
    "SinkOutcome",
    "Slots",
]

ComparisonOutcome: TypeAlias = Literal["agree", "disagree", "uncomparable", "dropped"]
FeedbackOutcome: TypeAlias = Literal["accepted", "duplicate", "unknown", "refused"]
LabelOutcome: TypeAlias = Literal["accepted", "duplicate", "unknown", "late", "mismatch", "refused"]
SinkOutcome: TypeAlias = Literal["written", "dropped", "failed", "thinned"]
SinkNote: TypeAlias = Literal["chosen", "rule_failed"]

_COMPARISON: Final = {field: i for i, field in enumerate(COMPARISON_FIELDS)}
_SINK: Final = {field: i for i, field in enumerate(SINK_FIELDS)}
_FEEDBACK: Final = {field: i for i, field in enumerate(FEEDBACK_FIELDS)}
_LABEL: Final = {field: i for i, field in enumerate(LABEL_FIELDS)}
_LABEL_ROW: Final = {field: i for i, field in enumerate(LABEL_ROW_FIELDS)}
_TRIPLE: Final = {field: i for i, field in enumerate(TRIPLE_FIELDS)}
_DISTANCE: Final = len(COMPARISON_FIELDS)
_DISTANCE_SUM: Final = _DISTANCE + DISTANCE_SLOTS
_FIRST_TOKEN_SUM: Final = PACE_FIELDS.index("first_token_sum_ns")
_PER_TOKEN: Final = PACE_FIELDS.index("per_token_0")
_PER_TOKEN_SUM: Final = PACE_FIELDS.index("per_token_sum_ns")
_REASON: Final = {name: _DISTANCE_SUM + 1 + i for i, name in enumerate(DISAGREEMENT_REASONS)}
_OTHER_REASON: Final = _REASON["other"]
_MILLION: Final = 1_000_000
_LOST: Final = _SINK["lost_thousandths"]
_THOUSAND: Final = 1000

_MAX_UNKNOWN: Final = 64
"""Versions waited for. More than that is not a race but a broken worker."""

_log = logging.getLogger("modelproxy")


class _Place(NamedTuple):
    """Which outcome a frame would have had; ``shadow`` is -1 for a recorded primary."""

    worker: int
    route: int
    variant: int
    shadow: int


_Late: TypeAlias = Counter[_Place] | tuple[int, Mapping[str, int]]
"""What came before its version was known: frames to be dropped, or a worker's hello; in their order."""


class Slots:
    """Where the counts of one table version lie in the observer's blocks."""

    __slots__ = ("comparison", "feedback", "label", "label_rows", "pace", "sink", "size", "triple")

    def __init__(self, table: Table) -> None:
        base = {(s.kind, s.labels): s.base for s in table.observer_layout.sections}
        self.size = table.observer_layout.size
        self.sink = [base["sink", (route.name,)] for route in table.routes]
        """First slot by route."""
        self.feedback = {route.name: base["feedback", (route.name,)] for route in table.routes}
        """First slot by route's name."""
        self.label = {route.name: base["label", (route.name,)] for route in table.routes}
        self.label_rows = {labels: slot for (kind, labels), slot in base.items() if kind == "label_rows"}
        """First slot by route, variant and shadow, of routes that take labels."""
        self.comparison = [
            [
                [
                    base["noise_comparison", (route.name, route.champion.name, copy.model.name)]
                    if copy is route.noise
                    else base["comparison", (route.name, variant.name, copy.model.name)]
                    for copy in route.copies
                ]
                for variant in route.variants
            ]
            for route in table.routes
        ]
        """First slot by route, variant, copy."""
        self.triple = [
            [base["triple", (route.name, each.model.name, each.stretch)] for each in route.shadows]
            if route.noise is not None
            else []
            for route in table.routes
        ]
        """First slot by route and shadow; none where the champion is not asked once more."""
        self.pace = [
            (
                [base["pace", (route.name, variant.name, variant.model.name)] for variant in route.variants],
                [base["pace", (route.name, "", shadow.model.name)] for shadow in route.shadows],
            )
            for route in table.routes
        ]
        """First slot by route: by variant, and by shadow."""


class Blocks:
    """The open blocks of every live version and worker, and the tables they belong to."""

    def __init__(self, run_dir: Path) -> None:
        self.tables: dict[int, Table] = {}
        """Live tables by version."""
        self.strays = 0
        """Frames that no table explains: wrong indexes, retired versions."""
        self._run_dir = run_dir
        self._slots: dict[int, Slots] = {}
        self._blocks: dict[tuple[int, int], Block] = {}
        self._pending: Counter[tuple[int, int, int]] = Counter()
        self._unknown: dict[int, list[_Late]] = {}
        self._newest = 0
        self._complained: set[tuple[int, int]] = set()

    def admit(self, table: Table, workers: Iterable[int]) -> None:
        """Take in ``table`` and open its blocks for ``workers``; a worker heard of later gets its block then.

        Raises:
            OSError: a block could not be made; nothing was taken in.
        """
        version, slots = table.version, Slots(table)
        opened: dict[tuple[int, int], Block] = {}
        try:
            for worker in workers:
                if (worker, version) not in self._blocks:
                    path = block_path(self._run_dir, f"o{worker}", version)
                    opened[worker, version] = open_block(path, slots.size)
        except OSError:
            for block in opened.values():
                block.close()
            raise
        self._blocks |= opened
        self.tables[version], self._slots[version] = table, slots
        self._newest = max(self._newest, version)
        for late in self._unknown.pop(version, ()):
            self._catch_up(version, late)

    def retire(self, versions: Iterable[int]) -> None:
        """Close the blocks of ``versions`` and forget their tables. The files stay."""
        gone = set(versions)
        for key in [key for key in self._blocks if key[1] in gone]:
            self._blocks.pop(key).close()
        for version in gone:
            self.tables.pop(version, None)
            self._slots.pop(version, None)

    def close(self) -> None:
        """Close every block."""
        self.retire(list(self.tables))

    def count_comparison(
        self,
        part: ShadowPart,
        outcome: ComparisonOutcome,
        distance: float | None = None,
        bucket: int = 0,
        reason: str | None = None,
    ) -> None:
        """Count what became of an answered shadow response.

        Args:
            part: the shadow's part.
            outcome: exactly one per part.
            distance: in [0, 1], where there is one.
            bucket: its index in the histogram.
            reason: why it is no agreement.
        """
        found = self._find(part.worker, part.version, part.route, part.variant, part.shadow)
        if found is None:
            return
        slots, base = found
        slots[base + _COMPARISON[outcome]] += 1
        if outcome == "disagree" and reason is not None:
            slots[base + _REASON.get(reason, _OTHER_REASON)] += 1
        if distance is not None:
            slots[base + _DISTANCE + bucket] += 1
            if distance:
                slots[base + _DISTANCE_SUM] += round(distance * _MILLION)

    def count_triple(self, primary: Primary, shadow: int, outcomes: Sequence[str]) -> None:
        """Count what an exchange showed of a shadow beside the champion's own second answer.

        Args:
            primary: of a route that has a noise shadow.
            shadow: index of the candidate.
            outcomes: names of the counts, see :func:`proxy.noise.triples.outcomes`.
        """
        if (block := self._block(primary.worker, primary.version)) is not None:
            base = self._slots[primary.version].triple[primary.route][shadow]
            for outcome in outcomes:
                block.slots[base + _TRIPLE[outcome]] += 1

    def count_pace(self, part: Primary | ShadowPart, pace: Pace) -> None:
        """Count how fast the answer of ``part`` was generated, which belongs to a table that is known."""
        block, slots = self._block(part.worker, part.version), self._slots.get(part.version)
        if block is None or slots is None:
            return
        by_variant, by_shadow = slots.pace[part.route]
        base = by_variant[part.variant] if isinstance(part, Primary) else by_shadow[part.shadow]
        block.slots[base + bisect_left(DURATION_BOUNDS_NS, pace.first_token_ns)] += 1
        block.slots[base + _FIRST_TOKEN_SUM] += pace.first_token_ns
        if (per_token_ns := pace.per_token_ns) is not None:
            block.slots[base + _PER_TOKEN + bisect_left(DURATION_BOUNDS_NS, per_token_ns)] += 1
            block.slots[base + _PER_TOKEN_SUM] += round(per_token_ns)

    def count_sink(self, worker: int, version: int, route: int, outcome: SinkOutcome | SinkNote) -> None:
        """Count what became of a recorded exchange; or that it was recorded for a reason that was found only here, or
        that a rule could not be evaluated."""
        if (found := self._find(worker, version, route, 0, -1)) is not None:
            slots, base = found
            slots[base + _SINK[outcome]] += 1

    def count_lost(self, worker: int, version: int, route: int, requests: float) -> None:
        """Count for how many requests a record would have stood that was dropped."""
        if (found := self._find(worker, version, route, 0, -1)) is not None:
            slots, base = found
            slots[base + _LOST] += round(requests * _THOUSAND)

    def count_feedback(self, version: int, route: str, outcome: FeedbackOutcome, items: int) -> None:
        """Count what became of items of feedback on a route's answers, under the table ``version``."""
        slots, block = self._slots.get(version), self._block(0, version)
        if slots is not None and block is not None and (base := slots.feedback.get(route)) is not None:
            block.slots[base + _FEEDBACK[outcome]] += items

    def count_label(self, version: int, route: str, outcome: LabelOutcome, requests: int = 1) -> None:
        """Count what became of the labels of requests of a route, under the table ``version``."""
        slots, block = self._slots.get(version), self._block(0, version)
        if slots is not None and block is not None and (base := slots.label.get(route)) is not None:
            block.slots[base + _LABEL[outcome]] += requests

    def count_labelled(self, version: int, labels: tuple[str, str, str], outcomes: Iterable[str]) -> None:
        """Count what labelled rows say.

        Args:
            version: of the table in force.
            labels: route, variant, and the shadow's model.
            outcomes: of each row; see :data:`proxy.labels.OUTCOMES`.
        """
        slots, block = self._slots.get(version), self._block(0, version)
        if slots is not None and block is not None and (base := slots.label_rows.get(labels)) is not None:
            for outcome in outcomes:
                block.slots[base + _LABEL_ROW[outcome]] += 1

    def settle_sink(self, worker: int, version: int, route: int, outcome: SinkOutcome) -> None:
        """Count what became of a recorded exchange that :meth:`expect_sink` announced."""
        self._pending[worker, version, route] -= 1
        self.count_sink(worker, version, route, outcome)

    def expect_sink(self, worker: int, version: int, route: int) -> None:
        """Note a recorded exchange whose outcome comes later."""
        self._pending[worker, version, route] += 1

    def drop_frame(self, frame: Primary | ShadowPart) -> None:
        """Count ``frame`` as dropped where it has to be counted at all, now or when its version becomes
        known."""
        if isinstance(frame, ShadowPart):
            if not frame.fault:
                place = _Place(frame.worker, frame.route, frame.variant, frame.shadow)
                self._drop(frame.version, place)
        elif frame.flags & RECORDED:
            self._drop(frame.version, _Place(frame.worker, frame.route, 0, -1))

    def reconcile(self, worker: int, shipped: Mapping[str, int]) -> int:
        """Count as dropped what ``worker`` had handed over and has no outcome; return how many frames that
        were.

        Args:
            worker: index of the worker. shipped: ``Hello.shipped``: ``"VERSION\\nshadow\\nROUTE\\nMODEL"``,
            ``noise`` in place of ``shadow`` for the champion's second answers, or ``"VERSION\\npayload\\nROUTE"`` to
            the count of frames ever handed over. Every frame of its earlier connections must have been processed.
        """
        total = 0
        unknown: dict[int, dict[str, int]] = {}
        for text, count in shipped.items():
            version, kind, *labels = text.split("\n")
            number = int(version)
            if number not in self.tables:
                unknown.setdefault(number, {})[text] = count
            elif kind in ("shadow", "noise"):
                total += self._reconcile_copy(worker, number, kind, labels[0], labels[1], count)
            elif kind == "payload":
                total += self._reconcile_payload(worker, number, labels[0], count)
        for number, rows in unknown.items():
            if (late := self._late(number)) is not None:
                late.append((worker, rows))
        return total

    def _reconcile_copy(
        self, worker: int, version: int, kind: str, route_name: str, model: str, shipped: int
    ) -> int:
        route = next((r for r in self.tables[version].routes if r.name == route_name), None)
        block = self._block(worker, version)
        if route is None or block is None:
            return 0
        copies = (each for each in route.copies if (each is route.noise) == (kind == "noise"))
        index = next((copy.index for copy in copies if copy.model.name == model), None)
        if index is None:
            return 0
        bases = [by_shadow[index] for by_shadow in self._slots[version].comparison[route.index]]
        # Each once: those of the champion's second answers are the same for every variant.
        known = sum(sum(block.slots[base : base + len(COMPARISON_FIELDS)]) for base in set(bases))
        lost = max(shipped - known, 0)
        # Nobody can tell any more which variant had answered; the champion stands for all.
        block.slots[bases[route.champion.index] + _COMPARISON["dropped"]] += lost
        return lost

    def _reconcile_payload(self, worker: int, version: int, route_name: str, shipped: int) -> int:
        route = next((r for r in self.tables[version].routes if r.name == route_name), None)
        block = self._block(worker, version)
        if route is None or block is None:
            return 0
        base = self._slots[version].sink[route.index]
        ended = sum(block.slots[base + _SINK[outcome]] for outcome in SINK_OUTCOMES)
        # What was chosen here was not shipped as recorded.
        known = ended - block.slots[base + _SINK["chosen"]] + self._pending[worker, version, route.index]
        lost = max(shipped - known, 0)
        block.slots[base + _SINK["dropped"]] += lost
        return lost

    def _block(self, worker: int, version: int) -> Block | None:
        block = self._blocks.get((worker, version))
        if block is None and (slots := self._slots.get(version)) is not None:
            try:
                block = open_block(block_path(self._run_dir, f"o{worker}", version), slots.size)
            except OSError as error:
                if (worker, version) not in self._complained:
                    self._complained.add((worker, version))
                    _log.error("cannot count for worker %d, version %d: %s", worker, version, error)
                return None
            self._blocks[worker, version] = block
        return block

    def _find(
        self, worker: int, version: int, route: int, variant: int, shadow: int
    ) -> tuple["memoryview[int]", int] | None:
        """Return the counters and the first slot for a place; None, and one stray more, where there is none."""
        block = self._blocks.get((worker, version)) or self._block(worker, version)
        if block is None:
            self.strays += 1
            return None
        slots = self._slots[version]
        try:
            if shadow < 0:
                return block.slots, slots.sink[route]
            return block.slots, slots.comparison[route][variant][shadow]
        except IndexError:
            self.strays += 1
            return None

    def _drop(self, version: int, place: "_Place") -> None:
        if version in self.tables:
            if (
                found := self._find(place.worker, version, place.route, place.variant, place.shadow)
            ) is not None:
                slots, base = found
                slots[base + (_SINK if place.shadow < 0 else _COMPARISON)["dropped"]] += 1
        elif (late := self._late(version)) is None:
            self.strays += 1
        elif late and isinstance(late[-1], Counter):
            late[-1][place] += 1
        else:
            late.append(Counter((place,)))

    def _late(self, version: int) -> "list[_Late] | None":
        """Return what waits for ``version``; None when it will never be known."""
        if version <= self._newest:
            return None
        if version not in self._unknown and len(self._unknown) == _MAX_UNKNOWN:
            return None
        return self._unknown.setdefault(version, [])

    def _catch_up(self, version: int, late: "_Late") -> None:
        if isinstance(late, tuple):
            self.reconcile(*late)
            return
        for place, count in late.items():
            for _ in range(count):
                self._drop(version, place)

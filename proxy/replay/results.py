"""What a replay has found so far: counts, latencies, the worst examples. Pure, bounded, in any order of arrival.

Rules
    * A request ends as exactly one of answered and failed (sent = answered + failed + abandoned), an answered one as
      exactly one of agree, disagree, uncomparable and ``reference_failed``.
    * A disagreement rate is of the pairs that could be compared: disagree / (agree + disagree), as live.
    * What the limit of a build is held against counts requests that the new model failed as well: a client would have
      got nothing.
"""

import heapq
import math
from collections import Counter
from dataclasses import dataclass, field, fields
from typing import Final

import numpy as np

from proxy.compare import Comparison
from proxy.records.weights import Sample, weighting_of
from proxy.replay.judging import Outcome
from proxy.stats.histogram import BUCKETS, Counts, bucket_of

__all__ = ["OTHER_PAIR", "Example", "Group", "Results", "Score"]

MAX_EXAMPLES: Final = 20
"""Kept; how many of them are shown is up to the page."""

MAX_CLASS_PAIRS: Final = 1000
"""Pairs of labels that are counted apart; further ones are counted together as ``(other)``."""


MAX_UNITS: Final = 1 << 15
"""Told apart in the errors of shares; of more, groups of units are: so a log of any length takes 60 MiB."""

OTHER_PAIR: Final = ("(other)", "(other)")


@dataclass(slots=True)
class Score:
    """A secondary figure over all comparisons that have it."""

    count: int = 0
    total: float = 0.0
    least: float = math.inf
    most: float = -math.inf

    def add(self, value: float) -> None:
        """Take in one comparison's."""
        self.count += 1
        self.total += value
        self.least, self.most = min(self.least, value), max(self.most, value)


@dataclass(frozen=True, slots=True)
class Example:
    """A disagreement that is kept for a person to look at. Bodies stay in the log."""

    ts_wall_ns: int
    request_id: str
    route: str
    variant: str
    path: str
    status: int
    """Of the reference."""
    new_status: int
    comparison: Comparison
    shows_values: bool
    """Values may be shown; else only the places where the answers part."""


@dataclass(slots=True)
class Group:
    """The counts of one route and variant."""

    sent: int = 0
    answered: int = 0
    asked_again: int = 0
    """Requests sent twice; see :class:`proxy.replay.judging.Asked`."""
    failed: Counter[str] = field(default_factory=Counter)
    """By fault."""
    reference_failed: Counter[str] = field(default_factory=Counter)
    agree: int = 0
    disagree: int = 0
    uncomparable: Counter[str] = field(default_factory=Counter)
    """By reason."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Disagreements, by method and reason."""
    methods: Counter[str] = field(default_factory=Counter)
    """Comparisons (agree and disagree), by method."""
    rows: int = 0
    rows_disagreeing: int = 0

    @property
    def compared(self) -> int:
        """Pairs that agree or disagree."""
        return self.agree + self.disagree

    def merge(self, other: "Group") -> None:
        """Add the counts of ``other``."""
        for each in fields(self):
            mine, theirs = getattr(self, each.name), getattr(other, each.name)
            if isinstance(mine, Counter):
                mine.update(theirs)
            else:
                setattr(self, each.name, mine + theirs)

    def add(self, outcome: Outcome) -> None:
        """Count one outcome."""
        self.sent += 1
        self.asked_again += outcome.new.is_second
        if outcome.new.answer is None:
            self.failed[outcome.new.fault or ""] += 1
            return
        self.answered += 1
        comparison = outcome.comparison
        if comparison is None:
            fault = outcome.reference.fault if outcome.reference is not None else None
            self.reference_failed[fault or ""] += 1
        elif comparison.result == "uncomparable":
            self.uncomparable[comparison.reason or ""] += 1
        else:
            self.methods[comparison.method] += 1
            self.rows += comparison.rows
            self.rows_disagreeing += comparison.rows_disagreeing
            if comparison.result == "agree":
                self.agree += 1
            else:
                self.disagree += 1
                self.reasons[comparison.method, comparison.reason or ""] += 1


@dataclass(slots=True)
class Latencies:
    """Two histograms of durations: of the new model, and of the reference for the same requests."""

    new: Counts = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))
    reference: Counts = field(default_factory=lambda: np.zeros(BUCKETS, np.int64))

    def add(self, outcome: Outcome) -> None:
        """Count a request that both answered."""
        if outcome.new.answer is None or (outcome.reference is not None and outcome.reference.answer is None):
            return
        self.new[bucket_of(outcome.new.duration_ns)] += 1
        self.reference[bucket_of(_reference_ns(outcome))] += 1


def _reference_ns(outcome: Outcome) -> int:
    if outcome.reference is not None:
        return outcome.reference.duration_ns
    return int(outcome.record.response.duration_ms * 1e6)


class Results:
    """Everything a replay has found.

    Args:
        examples: how many disagreements of each reason are kept: those with the greatest distance, of equal ones the
            first of the log.
    """

    def __init__(self, examples: int = 5) -> None:
        self.groups: dict[tuple[str, str], Group] = {}
        """By route and assigned variant."""
        self.refused: Counter[str] = Counter()
        """Records that cannot be replayed, by reason."""
        self.abandoned = 0
        """Requests under way when the replay was interrupted."""
        self.latencies = Latencies()
        self.late = np.zeros(BUCKETS, np.int64)
        """By how much requests were sent after they were due."""
        self.most_late_ns = 0
        self.disagreeing = Sample(MAX_UNITS)
        """Whether answers differ, of those that were compared."""
        self.distance = Sample(MAX_UNITS)
        """How far apart answers are, of those that were compared."""
        self.wrong = Sample(MAX_UNITS)
        """Whether answers differ or are missing, of those that were compared or are missing."""
        self.confusion: Counter[tuple[str, str]] = Counter()
        """Rows, by the reference's label and the new one's; only of routes whose values may be shown."""
        self.meanings: Counter[str] = Counter()
        """What came of asking the embedder, by :data:`proxy.replay.judging.MEANINGS`."""
        self.scores: dict[str, Score] = {}
        """Secondary figures of the methods, by name."""
        self._examples = examples
        self._kept: dict[str, list[tuple[float, int, Example]]] = {}
        self._count = 0

    def refuse(self, reason: str) -> None:
        """Count a record that is not replayed."""
        self.refused[reason] += 1

    def add(self, outcome: Outcome, *, shows_values: bool) -> None:
        """Count one outcome; ``shows_values`` as in :class:`Example`."""
        record = outcome.record
        self.groups.setdefault((record.route, record.variant), Group()).add(outcome)
        self.latencies.add(outcome)
        self.late[bucket_of(outcome.late_ns)] += 1
        self.most_late_ns = max(self.most_late_ns, outcome.late_ns)
        self._weigh(outcome)
        if outcome.meaning:
            self.meanings[outcome.meaning] += 1
        comparison = outcome.comparison
        if comparison is not None:
            self._collect(comparison, shows_values=shows_values)
        if comparison is not None and comparison.result == "disagree" and outcome.new.answer is not None:
            self._keep(outcome, comparison, outcome.new.answer.status, shows_values=shows_values)

    def _weigh(self, outcome: Outcome) -> None:
        comparison, weighting = outcome.comparison, weighting_of(outcome.record.document)
        if outcome.new.answer is None:
            self.wrong.add(weighting, 1)
        elif comparison is not None and comparison.result != "uncomparable":
            disagrees = int(comparison.result == "disagree")
            self.wrong.add(weighting, disagrees)
            self.disagreeing.add(weighting, disagrees)
            self.distance.add(weighting, comparison.distance or 0.0)

    def _collect(self, comparison: Comparison, *, shows_values: bool) -> None:
        for name, value in comparison.scores:
            self.scores.setdefault(name, Score()).add(value)
        for reference, new, rows in comparison.confusion if shows_values else ():
            pair = (reference, new)
            if pair not in self.confusion and len(self.confusion) >= MAX_CLASS_PAIRS:
                pair = OTHER_PAIR
            self.confusion[pair] += rows

    def _keep(self, outcome: Outcome, comparison: Comparison, new_status: int, *, shows_values: bool) -> None:
        record, reference = outcome.record, outcome.reference
        status = record.response.status
        if reference is not None and reference.answer is not None:
            status = reference.answer.status
        example = Example(
            record.ts_wall_ns,
            record.request_id,
            record.route,
            record.variant,
            record.request.path,
            status,
            new_status,
            comparison,
            shows_values,
        )
        self._count += 1
        kept = self._kept.setdefault(comparison.reason or "", [])
        # The number breaks ties: of equal distances the first ones stay, and examples are never compared.
        heapq.heappush(kept, (comparison.distance or 0.0, -self._count, example))
        if len(kept) > self._examples:
            heapq.heappop(kept)

    def total(self) -> Group:
        """Return the counts of all groups together."""
        whole = Group()
        for group in self.groups.values():
            whole.merge(group)
        return whole

    def examples(self) -> list[Example]:
        """Return the kept disagreements: the worst of each reason first, then the second ones, and so on."""
        ranked = [sorted(kept, reverse=True) for kept in self._kept.values()]
        by_rank = [
            (rank, -distance, number, example)
            for kept in ranked
            for rank, (distance, number, example) in enumerate(kept)
        ]
        by_rank.sort(key=lambda entry: (entry[0], entry[1], -entry[2]))
        return [entry[-1] for entry in by_rank]

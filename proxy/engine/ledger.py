"""The evidence of one rollout: cumulative counts by source, epoch and time bin, and the slices between them.

Rules
    * A *source* is a run directory: one life of the supervisor. Its counters only grow, so what is known of it is the
      elementwise maximum of all that was ever read: reading twice, late or in another order changes nothing.
    * A *slice* is what was counted in one epoch (constant shares) between two bins that are kept: differences within
      each source, added over the sources. Integers throughout, so the slices are the same bits however they came.
    * A *reference* is frozen before the slices that are judged by it: it holds from a bin on that had not begun.
    * Old slices are joined dyadically (the older, the longer), but never over the begin of a reference or another
      border (see :func:`proxy.rollout.slices.starts_ns`), and never with those of another epoch. What comes late for a
      joined slice is added to it.
    * What units that came back showed in one *generation* (:mod:`proxy.evidence.layout`) is kept beside that: the
      workers themselves say which generation it is, so there are no bins, and nothing can be counted for the wrong one
      however late it is read. Of each source, epoch and generation the highest reading is kept. Such readings,
      and references that hold for a generation, have numbers below 0 in place of a bin
      (:func:`bin_of_generation`).

Theory of operation
    For every source and epoch the *closure* is kept: the counts at bin ``b`` are at least those at every bin before.
    A row that adds nothing to the closure is not kept. A slice without counts is none, so which rows were left out
    cannot be seen in the slices.

    Changes are remembered until somebody takes them to the disk (:meth:`Ledger.take_changes`), and can be put back
    when the disk refused them.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proxy.evidence.layout import RENEWED

__all__ = [
    "BIN_NS",
    "KEPT_GENERATIONS",
    "MAX_SLICES",
    "Changes",
    "Counts",
    "Epoch",
    "Ledger",
    "Reference",
    "RowKey",
    "Slice",
    "bin_of_generation",
]

Counts: TypeAlias = NDArray[np.int64]

BIN_NS: Final = 10_000_000_000
"""Length of a time bin: ten seconds of the engine's clock."""

MAX_SLICES: Final = 512
"""A rollout with more slices has its old ones joined."""

_JOIN_TO: Final = MAX_SLICES * 7 // 8
"""Joining goes on until so many are left, so that it is not done for every new one."""

_FINE_BINS: Final = (128, 64, 32, 16, 8, 4, 2, 1)
"""How many of the newest bins stay as they are: the first number that makes the slices few enough."""


KEPT_GENERATIONS: Final = 168
"""A week. What an earlier one showed, it showed when it ended."""


def bin_of_generation(generation: int) -> int:
    """Return what stands for a generation where otherwise a bin does: a number below 0, and the same back again."""
    return -1 - generation


class Epoch(NamedTuple):
    """A stretch of constant shares."""

    epoch: str
    """Its id, derived from what it consists of."""
    variants: tuple[str, ...]
    """Names, in the order of the rows of its counts."""
    widths: tuple[int, ...]
    """How many of the 2^64 buckets each variant has."""
    first_ns: int
    """When it began, on the engine's clock."""
    champion: str = ""
    """The variant that the others are compared with; empty: an earlier version wrote it down."""


class RowKey(NamedTuple):
    """Names one cumulative reading."""

    source: str
    epoch: str
    bin: int
    """Or a generation, see :func:`bin_of_generation`."""


class Slice(NamedTuple):
    """What was counted between two bins."""

    epoch: str
    first: int
    """First bin: the one after the epoch's slice before."""
    last: int
    """Last bin."""
    start_ns: int
    """When it began: its first bin, or its epoch within the bin."""
    counts: Counts
    """Shape (variants, fields)."""


class Reference(NamedTuple):
    """A frozen histogram of the champion's latencies."""

    from_bin: int
    """Holds for slices that begin in this bin or later; below 0 for one generation, see :func:`bin_of_generation`."""
    counts: Counts
    """Shape (buckets,)."""


@dataclass(slots=True)
class Changes:
    """What the disk does not have yet."""

    rows: dict[RowKey, Counts] = field(default_factory=dict)
    removed: set[RowKey] = field(default_factory=set)
    epochs: dict[str, tuple[Epoch, int]] = field(default_factory=dict)
    """Each with its last bin that was joined."""
    references: list[Reference] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Tell whether there is anything."""
        return bool(self.rows or self.removed or self.epochs or self.references)


class _Series:
    """The closure of one source in one epoch."""

    __slots__ = ("bins", "sums")

    def __init__(self) -> None:
        self.bins: list[int] = []
        self.sums: list[Counts] = []

    def merge(self, at: int, counts: Counts) -> range:
        """Take in what was read at bin ``at``; return the indexes that have changed."""
        index = bisect_left(self.bins, at)
        merged = np.maximum(counts, self.sums[index - 1]) if index else counts.copy()
        is_there = index < len(self.bins) and self.bins[index] == at
        if is_there:
            merged = np.maximum(merged, self.sums[index])
            if np.array_equal(merged, self.sums[index]):
                return range(0)
            self.sums[index] = merged
        elif np.array_equal(merged, self.sums[index - 1]) if index else not merged.any():
            return range(0)
        else:
            self.bins.insert(index, at)
            self.sums.insert(index, merged)
        end = index + 1
        while end < len(self.bins) and (self.sums[end] < merged).any():
            self.sums[end] = np.maximum(self.sums[end], merged)
            end += 1
        return range(index, end)


class _EpochRows:
    """All of one epoch."""

    __slots__ = ("cut", "info", "series", "settled", "stale_from")

    def __init__(self, info: Epoch, settled: int) -> None:
        self.info = info
        self.settled = settled
        """Up to this bin slices have been joined; -1: none."""
        self.series: dict[str, _Series] = {}
        self.cut: list[tuple[int, Counts]] = []
        """Last bin and counts of each slice, up to ``stale_from``."""
        self.stale_from: int | None = None

    def home(self, at: int) -> int:
        """Return the bin whose row takes what was read at ``at``: another one where slices have been joined."""
        if at > self.settled:
            return at
        kept = {each for series in self.series.values() for each in series.bins}
        return min((each for each in kept if each >= at), default=at)

    def spoil(self, at: int) -> None:
        self.stale_from = at if self.stale_from is None else min(at, self.stale_from)

    def slices(self) -> list[tuple[int, Counts]]:
        if self.stale_from is not None:
            start = self.stale_from
            del self.cut[bisect_left(self.cut, start, key=_last_bin) :]
            self.cut += self._differences(start)
            self.stale_from = None
        return self.cut

    def _differences(self, start: int) -> list[tuple[int, Counts]]:
        total: dict[int, Counts] = {}
        for series in self.series.values():
            for i in range(bisect_left(series.bins, start), len(series.bins)):
                at = series.bins[i]
                difference = series.sums[i] - series.sums[i - 1] if i else series.sums[i]
                total[at] = total[at] + difference if at in total else difference
        return [(at, total[at]) for at in sorted(total) if total[at].any()]

    def spans(self) -> Iterator[tuple[int, int, int]]:
        """Yield first bin, last bin and beginning of each slice."""
        first, first_ns = self.info.first_ns // BIN_NS, self.info.first_ns
        for last, _ in self.slices():
            if first > last:  # another process has an earlier clock
                first, first_ns = last, last * BIN_NS
            yield first, last, max(first * BIN_NS, first_ns)
            first = last + 1


class Ledger:
    """The evidence of one rollout. Pure: no clock, no disk.

    Args:
        fields: how many numbers a variant has in each reading.
    """

    def __init__(self, fields: int) -> None:
        self.fields = fields
        self._epochs: dict[str, _EpochRows] = {}
        self._references: list[Reference] = []
        self._renewed: dict[RowKey, Counts] = {}
        self._generation_references: dict[int, Reference] = {}
        self._latest_generation = -1
        self._changes = Changes()

    # Taking in

    def admit(self, info: Epoch, settled: int = -1) -> None:
        """Make an epoch known; again is fine.

        Args:
            info: the epoch. settled: up to which bin its slices have been joined.

        Raises:
            ValueError: the same id with other variants or widths.
        """
        known = self._epochs.get(info.epoch)
        if known is None:
            known = self._epochs[info.epoch] = _EpochRows(info, settled)
        elif known.info[:3] != info[:3]:
            raise ValueError(f"epoch {info.epoch}: expected {known.info[1:3]}, got {info[1:3]}")
        elif info.first_ns >= known.info.first_ns and settled <= known.settled:
            return
        known.info = known.info._replace(first_ns=min(info.first_ns, known.info.first_ns))
        known.settled = max(settled, known.settled)
        self._note_epoch(known)

    def merge(self, source: str, epoch: str, at: int, counts: Counts) -> bool:
        """Take in what ``source`` had counted by bin ``at``, or in a generation; tell whether that was news.

        Args:
            counts: cumulative, shape (variants, fields), of a generation (variants, ``RENEWED``), int64, none negative.

        Raises:
            KeyError: the epoch was not admitted.
            ValueError: the shape is another.
        """
        rows = self._epochs[epoch]
        expected = (len(rows.info.variants), self.fields if at >= 0 else RENEWED)
        if counts.shape != expected or counts.dtype != np.int64:
            raise ValueError(f"expected int64{expected}, got {counts.dtype}{counts.shape}")
        if at < 0:
            return self._merge_renewed(RowKey(source, epoch, at), counts)
        series = rows.series.setdefault(source, _Series())
        changed = series.merge(rows.home(at), counts)
        for i in changed:
            key = RowKey(source, epoch, series.bins[i])
            self._changes.rows[key] = series.sums[i]
            self._changes.removed.discard(key)
        if changed:
            rows.spoil(series.bins[changed[0]])
        return bool(changed)

    def _merge_renewed(self, key: RowKey, counts: Counts) -> bool:
        generation = bin_of_generation(key.bin)
        known = self._renewed.get(key)
        # Counters that fell are not mixed with what they were before: some reading must be true as a whole.
        if not counts.any() if known is None else (counts < known).any() or np.array_equal(counts, known):
            return False
        if generation <= self._latest_generation - KEPT_GENERATIONS:
            return False
        self._renewed[key] = self._changes.rows[key] = counts.copy()
        self._changes.removed.discard(key)
        if generation > self._latest_generation:
            self._latest_generation = generation
            self._drop_generations()
        return True

    def _drop_generations(self) -> None:
        kept = self._latest_generation - KEPT_GENERATIONS
        for key in [key for key in self._renewed if bin_of_generation(key.bin) <= kept]:
            del self._renewed[key]
            self._changes.rows.pop(key, None)
            self._changes.removed.add(key)

    def join(self, other: "Ledger") -> None:
        """Take in all that ``other`` has. What only it has is no change: it came from the disk."""
        if not any(rows.series for rows in self._epochs.values()):
            infos, renewed = self.epochs.values(), self._renewed
            self._epochs, self._references, self._changes = other._epochs, other._references, Changes()
            self._renewed, self._latest_generation = other._renewed, other._latest_generation
            self._generation_references = other._generation_references | self._generation_references
            for info in infos:
                self.admit(info)
            for key, counts in renewed.items():
                self.merge(*key, counts)
            return
        whole = other.everything()
        for info, settled in whole.epochs.values():
            self.admit(info, settled)
        for key in sorted(whole.rows, key=lambda each: each.bin):
            self.merge(*key, whole.rows[key])
        for reference in whole.references:
            self.freeze(reference)

    def freeze(self, reference: Reference) -> bool:
        """Take ``reference`` for slices from its bin on, or for its generation; False when there is one."""
        if reference.from_bin < 0:
            if (generation := bin_of_generation(reference.from_bin)) in self._generation_references:
                return False
            self._generation_references[generation] = reference
            self._changes.references.append(reference)
            return True
        index = bisect_left(self._references, reference.from_bin, key=lambda each: each.from_bin)
        if index < len(self._references) and self._references[index].from_bin == reference.from_bin:
            return False
        self._references.insert(index, reference)
        self._changes.references.append(reference)
        return True

    # Reading

    @property
    def epochs(self) -> dict[str, Epoch]:
        """Every known epoch by its id, in the order of their begin."""
        infos = sorted((rows.info for rows in self._epochs.values()), key=_by_begin)
        return {info.epoch: info for info in infos}

    @property
    def references(self) -> Sequence[Reference]:
        """By their first bin."""
        return self._references

    @property
    def generation_references(self) -> Mapping[int, Reference]:
        """By generation."""
        return self._generation_references

    def renewed(self) -> dict[tuple[int, str], Counts]:
        """Return what units showed by generation and epoch, in this order; shape (variants, ``RENEWED``)."""
        total: dict[tuple[int, str], Counts] = {}
        for key, counts in self._renewed.items():
            place = (bin_of_generation(key.bin), key.epoch)
            total[place] = total[place] + counts if place in total else counts
        order = {name: i for i, name in enumerate(self.epochs)}
        return {place: total[place] for place in sorted(total, key=lambda each: (each[0], order[each[1]]))}

    @property
    def sources(self) -> frozenset[str]:
        """Every source that has counted something."""
        return frozenset(name for rows in self._epochs.values() for name in rows.series)

    def known(self, source: str, epoch: str) -> Counts | None:
        """Return the highest of what a source has counted in an admitted epoch; None: nothing."""
        series = self._epochs[epoch].series.get(source)
        return series.sums[-1] if series is not None and series.sums else None

    def reference_of(self, first_bin: int) -> int:
        """Return the index of the reference for a slice that begins at ``first_bin``; -1: there is none yet."""
        return bisect_right(self._references, first_bin, key=lambda each: each.from_bin) - 1

    def slices(self) -> list[Slice]:
        """Return every slice with counts, in the order of their beginning."""
        order = {name: i for i, name in enumerate(self.epochs)}
        slices = [
            Slice(name, first, last, start_ns, counts)
            for name, rows in self._epochs.items()
            for (first, last, start_ns), (_, counts) in zip(rows.spans(), rows.slices(), strict=True)
        ]
        slices.sort(key=lambda each: (each.start_ns, each.last, order[each.epoch]))
        return slices

    def totals(self) -> dict[str, Counts]:
        """Return what each epoch has counted altogether, shape (variants, fields)."""
        return {
            name: sum(
                (series.sums[-1] for series in rows.series.values() if series.sums),
                np.zeros((len(rows.info.variants), self.fields), np.int64),
            )
            for name, rows in self._epochs.items()
        }

    # Joining

    def coarsen(
        self, borders: Sequence[int] = (), *, limit: int = MAX_SLICES, join_to: int = _JOIN_TO
    ) -> int:
        """Join old slices when there are more than ``limit``; return how many are left.

        Epochs, references and ``borders`` stay apart, so more than ``limit`` may be left.

        Args:
            borders: bins that no slice may reach into from before.
            limit: above this slices are joined. join_to: until so many are left.
        """
        count = sum(len(rows.slices()) for rows in self._epochs.values())
        if count <= limit:
            return count
        newest = max(last for rows in self._epochs.values() for last, _ in rows.slices())
        apart = sorted({*borders, *(each.from_bin for each in self._references)})
        for fine in _FINE_BINS:
            plans = {name: _groups(rows, newest, fine, apart) for name, rows in self._epochs.items()}
            if sum(map(len, plans.values())) <= join_to:
                break
        for name, targets in plans.items():
            self._join(self._epochs[name], targets, newest - fine)
        return sum(map(len, plans.values()))

    def _join(self, rows: _EpochRows, targets: list[int], joined_to: int) -> None:
        epoch = rows.info.epoch
        settled = max((target for target in targets if target <= joined_to), default=-1)
        for source, series in rows.series.items():
            kept: dict[int, Counts] = {}
            for at, sums in zip(series.bins, series.sums, strict=True):
                index = bisect_left(targets, at)
                # The later row of a group takes the place of the earlier: it is at least as high everywhere.
                kept[targets[index] if index < len(targets) else at] = sums
            for at in set(series.bins) - kept.keys():
                self._changes.removed.add(key := RowKey(source, epoch, at))
                self._changes.rows.pop(key, None)
            before = dict(zip(series.bins, series.sums, strict=True))
            for at, sums in kept.items():
                if before.get(at) is not sums:
                    self._changes.rows[RowKey(source, epoch, at)] = sums
            series.bins, series.sums = list(kept), list(kept.values())
        rows.spoil(-1)
        if settled > rows.settled:
            rows.settled = settled
            self._note_epoch(rows)

    # Changes

    @property
    def has_changes(self) -> bool:
        """Tell whether there is something to take."""
        return bool(self._changes)

    def take_changes(self) -> Changes:
        """Return what has changed since the last call."""
        changes, self._changes = self._changes, Changes()
        return changes

    def put_back(self, changes: Changes) -> None:
        """Remember ``changes`` again: they did not reach the disk. What has changed since then counts."""
        newer = self._changes
        for key, counts in changes.rows.items():
            if key not in newer.removed:
                newer.rows.setdefault(key, counts)
        newer.removed |= changes.removed - newer.rows.keys()
        newer.epochs = changes.epochs | newer.epochs
        newer.references = changes.references + newer.references

    def everything(self) -> Changes:
        """Return all there is, for a disk that has nothing."""
        whole = Changes(
            rows=dict(self._renewed), references=[*self._references, *self._generation_references.values()]
        )
        for name, rows in self._epochs.items():
            whole.epochs[name] = (rows.info, rows.settled)
            for source, series in rows.series.items():
                for at, sums in zip(series.bins, series.sums, strict=True):
                    whole.rows[RowKey(source, name, at)] = sums
        return whole

    def _note_epoch(self, rows: _EpochRows) -> None:
        self._changes.epochs[rows.info.epoch] = (rows.info, rows.settled)


def _groups(rows: _EpochRows, newest: int, fine: int, apart: Sequence[int]) -> list[int]:
    """Return the last bin of each slice that would be left."""
    groups: dict[tuple[int, int, int], int] = {}
    for first, last, _ in rows.spans():
        # Ages of [fine, 2 fine) go in pairs, those of [2 fine, 4 fine) in fours, and so on.
        level = ((newest - last) // fine).bit_length()
        groups[bisect_right(apart, first), level, last >> level] = last
    return list(groups.values())


def _last_bin(row: tuple[int, Counts]) -> int:
    return row[0]


def _by_begin(info: Epoch) -> tuple[int, str]:
    return info.first_ns, info.epoch

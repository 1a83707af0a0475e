"""All that is known of one rollout, or of one split by fixed weights: its evidence, and how well it was watched.

Rules
    * A reference is frozen from what the champion has shown so far, and holds from the next bin on: what is judged by
      it had not begun. A new one is taken when an epoch begins, when there are enough answers at last, and each
      time they have doubled; from those since the last one if they are enough. A bad minute would otherwise be what all
      later ones are held against, and where no answer is as slow as its p95 ever again, nothing could show that the
      canary's are not slower.
    * Time in which nobody read the counts is no time held. A pause shorter than :data:`GRACE_NS` is none: an observer
      that is killed is back sooner.
"""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from proxy.engine.continuity import Continuity
from proxy.engine.ledger import BIN_NS, Counts, Epoch, Ledger, Reference, bin_of_generation
from proxy.engine.store import KEPT_POINTS, Batch, Loaded, ShadowCounts, Watch, crowded
from proxy.evidence.layout import (
    BUCKETS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    GENERATION_NS,
    RENEWED,
    RENEWED_LATENCY,
    REQUEST_EVENTS,
    REQUESTS,
    UNITS,
)
from proxy.rollout.feedback import Arms, Row, borders_ns, feedback_slices
from proxy.rollout.slices import Allocation, Health, Renewals, ShadowEvidence, Slices, starts_ns
from proxy.rollout.state import RolloutState
from proxy.routing.experiment import Experiment
from proxy.routing.hashing import SPACE
from proxy.stats.latency import Reference as FrozenLatency

__all__ = ["ENOUGH", "FEW", "GRACE_NS", "Dossier", "Reading", "epoch_of"]

FEW: Final = 100
"""Answers of the champion without which nothing is frozen."""

ENOUGH: Final = 1_000
"""So many make the first reference; FEW do once an epoch ends or the first step has lasted long enough."""

GRACE_NS: Final = 5_000_000_000
"""A pause of reading that is none."""

_WATCH_EVERY_NS: Final = 2_000_000_000
"""So often it is written down that a rollout is watched: less than GRACE_NS, for a restart finds no later time."""


class Reading(NamedTuple):
    """What one source had counted in one epoch at one moment."""

    source: str
    epoch: str
    counts: Counts
    renewed: Mapping[int, Counts] = MappingProxyType({})
    """By generation: what units showed in it."""


def epoch_of(experiment: Experiment, first_ns: int) -> Epoch:
    """Return the epoch that a table's experiment is in, which was first seen at ``first_ns``."""
    arms = experiment.arms
    names, widths = tuple(arm.name for arm in arms), tuple(arm.width for arm in arms)
    return Epoch(experiment.epoch, names, widths, first_ns, names[experiment.champion])


class Dossier:
    """The evidence of one id. Pure, but for what its user makes of it.

    Args:
        rollout: the id. route: its name.
        variant: the canary; of a split by fixed weights empty.
        champion: the variant that the others are compared with.
    """

    def __init__(self, rollout: str, route: str, variant: str, champion: str) -> None:
        self.rollout = rollout
        self.route = route
        self.variant = variant
        self.champion = champion
        self.ledger = Ledger(FIELDS)
        self.shadows: dict[tuple[str, int], ShadowCounts] = {}
        self.points: dict[int, bytes] = {}
        """By bin: what the plots show."""
        self.watch = Watch()
        self.read_ns = 0
        """When it was read last; 0: never."""
        self.is_loaded = False
        """What earlier processes have stored is in it."""
        self.is_stored = False
        """All of it is on the disk."""
        self.news = 0
        """Grows with whatever there is to judge anew."""
        self.events = 0
        """Errors, client errors and abandoned requests of the canary that were read here."""
        self.feedback: tuple[Row, ...] = ()
        """All that was said about its answers; it comes from the disk."""
        self._borders_ns: tuple[int, ...] = ()
        self._epoch = ""
        self._is_new = False
        """Another epoch has begun, and it was no time yet for the reference that is then due."""
        self._continuity = Continuity()
        self._doubtful: dict[tuple[str, str], int] = {}
        """The last generation in which counters of a source fell."""
        self._fresh_points: set[int] = set()
        self._moved_at = -1
        """The last bin of which the point shows what moved the rollout."""
        self._has_fresh_shadows = False
        self._written_ns = 0
        self._frozen: dict[int, FrozenLatency] = {}
        self._known: tuple[int, Counts] | None = None
        """First bin of the last reference, and the champion's latencies counted before it."""

    # Taking in

    def take_stored(self, stored: Loaded) -> None:
        """Take in what was stored beside the ledger, which has its part already."""
        self.take_shadows(stored.shadows)
        self.points = {**stored.points, **self.points}
        mine = self.watch
        if stored.watch.since_ns >= mine.since_ns:
            same = stored.watch.since_ns == mine.since_ns
            away_ns = stored.watch.away_ns + (mine.away_ns if same else 0)
            self.watch = Watch(stored.watch.since_ns, away_ns, mine.fell_ns)
        self.watch = self.watch._replace(fell_ns=max(mine.fell_ns, stored.watch.fell_ns))
        if not self.read_ns:
            self.read_ns = stored.last_ns
        self.is_loaded = True
        self.news += 1

    def take(
        self,
        readings: Sequence[Reading],
        shadows: Mapping[tuple[str, int], ShadowCounts],
        now_ns: int,
        state: RolloutState | None = None,
    ) -> None:
        """Take in what was read at ``now_ns``.

        Args:
            readings: of epochs of this id that were admitted.
            shadows: by source and table version.
            now_ns: the engine's clock.
            state: where the rollout stands; None: there is none.
        """
        self._note_watch(now_ns, state)
        for source, epoch, counts, renewed in readings:
            last = self.ledger.known(source, epoch)
            total, has_fallen = self._continuity.take((source, epoch), counts, last)
            if has_fallen:
                self.watch = self.watch._replace(fell_ns=now_ns)
                self._doubtful[source, epoch] = now_ns // GENERATION_NS
                self.news += 1
            if total is None:
                continue
            self._take_renewed(source, epoch, renewed)
            if last is None or not np.array_equal(total, last):
                self.news += 1
                self.events += self._new_events(epoch, total, last)
            self.ledger.merge(source, epoch, now_ns // BIN_NS, total)
        self._freeze_generation(now_ns // GENERATION_NS)
        self.take_shadows(shadows)
        self.ledger.coarsen(_borders(state))

    def _take_renewed(self, source: str, epoch: str, renewed: Mapping[int, Counts]) -> None:
        if self.variant:  # nobody judges a split by fixed weights
            for generation, counts in renewed.items():
                if generation <= self._doubtful.get((source, epoch), -1):
                    continue  # of what it counted in that hour there is no telling where it goes on
                self.news += self.ledger.merge(source, epoch, bin_of_generation(generation), counts)

    def _freeze_generation(self, generation: int) -> None:
        """Take what all units showed in earlier generations as what this one's answers are measured by.

        Of canary and champion together: who was which says something about the coins of units that come back, and the
        sum does not.
        """
        if generation in self.ledger.generation_references:
            return
        total = np.zeros(BUCKETS, np.int64)
        for (earlier, epoch), counts in reversed(self.ledger.renewed().items()):
            names = self.ledger.epochs[epoch].variants
            if earlier >= generation or {self.variant, self.champion} - {*names}:
                continue
            if total.sum() >= ENOUGH:
                break
            rows = [names.index(self.variant), names.index(self.champion)]
            total += counts[rows, RENEWED_LATENCY : RENEWED_LATENCY + BUCKETS].sum(axis=0)
        if total.sum() >= FEW:
            self.ledger.freeze(Reference(bin_of_generation(generation), total))

    def _new_events(self, epoch: str, counts: Counts, last: Counts | None) -> int:
        names = self.ledger.epochs[epoch].variants
        if self.variant not in names:
            return 0
        row, columns = names.index(self.variant), slice(REQUEST_EVENTS, FIRST_EVENTS)
        return int(counts[row, columns].sum()) - (0 if last is None else int(last[row, columns].sum()))

    def _note_watch(self, now_ns: int, state: RolloutState | None) -> None:
        since_ns = state.since_ns if state is not None else 0
        if since_ns != self.watch.since_ns:
            self.watch = Watch(since_ns, 0, self.watch.fell_ns)
        pause_ns = now_ns - max(self.read_ns, since_ns)
        if self.read_ns and pause_ns > GRACE_NS:
            self.watch = self.watch._replace(away_ns=self.watch.away_ns + pause_ns)
        self.read_ns = max(self.read_ns, now_ns)

    def take_shadows(self, shadows: Mapping[tuple[str, int], ShadowCounts]) -> None:
        """Take in what copies have shown, by source and table version."""
        for key, counts in shadows.items():
            before = self.shadows.get(key, ShadowCounts())
            merged = ShadowCounts(*map(max, before, counts))
            if merged != before:
                self.news += 1
                self.shadows[key] = merged
                self._has_fresh_shadows = True

    def take_feedback(self, rows: tuple[Row, ...], state: RolloutState) -> None:
        """Take in all that was said about the answers."""
        self._borders_ns = borders_ns(state.started_ns, state.promoted_ns)
        if rows != self.feedback:
            self.feedback = rows
            self.news += 1

    def freeze(self, epoch: str, now_ns: int, *, is_held: bool) -> bool:
        """Take a reference if it is time for one; tell whether it was.

        There are as many as epochs and doublings: some thirty for a billion answers.

        Args:
            epoch: the one in force.
            now_ns: the engine's clock.
            is_held: the first step has lasted as long as it has to.
        """
        is_new = self._is_new = self._is_new or (bool(self._epoch) and epoch != self._epoch)
        self._epoch = epoch
        references, at = self.ledger.references, now_ns // BIN_NS
        if references and at < references[-1].from_bin:
            return False
        total = self._champion_latency()
        answers, frozen = int(total.sum()), total
        if references:
            known, size = self._known_latency(total), int(references[-1].counts.sum())
            before = int(known.sum())
            is_due = is_new or answers >= max(ENOUGH, 2 * before) or size < ENOUGH <= answers - before
            is_time = answers > before and is_due
            if int((since := np.maximum(total - known, 0)).sum()) >= ENOUGH:
                frozen = since
        else:
            is_time = answers >= ENOUGH or (answers >= FEW and (is_new or is_held))
        is_frozen = is_time and self.ledger.freeze(Reference(at + 1, frozen))
        self._is_new = is_time and not is_frozen
        return is_frozen

    def _known_latency(self, total: Counts) -> Counts:
        """Return what of ``total`` had been counted before the last reference began to hold.

        From the slices alone, so that it is the same whoever froze it.
        """
        from_bin = self.ledger.references[-1].from_bin
        if self._known is None or self._known[0] != from_bin:
            later = [each for each in self.ledger.slices() if each.last >= from_bin]
            sums = (self._champion_row(each.epoch, each.counts) for each in later)
            self._known = (from_bin, total - sum(sums, np.zeros(BUCKETS, np.int64)))
        return self._known[1]

    def _champion_latency(self) -> Counts:
        totals = (self._champion_row(name, counts) for name, counts in self.ledger.totals().items())
        return sum(totals, np.zeros(BUCKETS, np.int64))

    def _champion_row(self, epoch: str, counts: Counts) -> Counts:
        names = self.ledger.epochs[epoch].variants
        if self.champion not in names:
            return np.zeros(BUCKETS, np.int64)
        row: Counts = counts[names.index(self.champion), FIRST_LATENCY : FIRST_LATENCY + BUCKETS]
        return row

    def add_point(self, now_ns: int, document: bytes, *, has_moved: bool = False) -> None:
        """Keep a point of the plots: of each bin the one that moved the rollout, else the last.

        Once there are too many, some go. A plot shall show the line where it crosses its threshold.
        """
        at = now_ns // BIN_NS
        if at == self._moved_at and not has_moved:
            return
        if has_moved:
            self._moved_at = at
        if self.points.get(at) != document:
            self.points[at] = document
            self._fresh_points.add(at)
        if len(self.points) > KEPT_POINTS:
            for old in crowded(sorted(self.points)):
                del self.points[old]
                self._fresh_points.discard(old)

    # Giving out

    def slices(self, canary: str, *, clock_jumped: bool = False) -> Slices:
        """Return the slices of ``canary`` and the champion, with all that belongs to them."""
        epochs = {
            name: info
            for name, info in self.ledger.epochs.items()
            if canary in info.variants and self.champion in info.variants
        }
        cut = [each for each in self.ledger.slices() if each.epoch in epochs]
        allocations = self._allocations(epochs)
        wide = np.zeros((0, FIELDS), np.int64)
        rows = [
            [each.counts[epochs[each.epoch].variants.index(name)] for each in cut]
            for name in (canary, self.champion)
        ]
        return Slices(
            epochs=tuple(each.epoch for each in cut),
            start_ns=np.array([each.start_ns for each in cut], np.int64),
            span_ns=np.array([(each.last + 1) * BIN_NS - each.start_ns for each in cut], np.int64),
            share=np.array([_share(epochs[each.epoch], canary, self.champion) for each in cut], np.float64),
            canary=np.stack(rows[0]) if cut else wide,
            champion=np.stack(rows[1]) if cut else wide,
            reference=np.array([self.ledger.reference_of(each.first) for each in cut], np.int64),
            references=tuple(map(self._latency, self.ledger.references)),
            allocations=allocations,
            renewals=self._renewals(epochs, canary),
            shadow=ShadowEvidence(*(sum(column) for column in zip(*self.shadows.values(), strict=True))),
            health=Health(
                read_ns=self.read_ns,
                away_ns=self.watch.away_ns,
                fell_ns=self.watch.fell_ns,
                clock_jumped=clock_jumped,
                own_coins=_own_coins(allocations),
            ),
            feedback=self._feedback(epochs, canary) if self.feedback else None,
        )

    def _renewals(self, epochs: Mapping[str, Epoch], canary: str) -> Renewals:
        found = [(place, counts) for place, counts in self.ledger.renewed().items() if place[1] in epochs]
        rows: list[list[Counts]] = [[], []]
        for (_, epoch), counts in found:
            for row, name in zip(rows, (canary, self.champion), strict=True):
                row.append(counts[epochs[epoch].variants.index(name)])
        generations = [generation for (generation, _), _ in found]
        references = self.ledger.generation_references
        known = sorted({*generations} & references.keys())
        wide = np.zeros((0, RENEWED), np.int64)
        return Renewals(
            epochs=tuple(epoch for (_, epoch), _ in found),
            generation=np.array(generations, np.int64),
            share=np.array(
                [_share(epochs[epoch], canary, self.champion) for (_, epoch), _ in found], np.float64
            ),
            canary=np.stack(rows[0]) if found else wide,
            champion=np.stack(rows[1]) if found else wide,
            reference=np.array(
                [known.index(each) if each in known else -1 for each in generations], np.int64
            ),
            references=tuple(self._latency(references[each]) for each in known),
            period_ns=GENERATION_NS,
        )

    def _feedback(self, epochs: Mapping[str, Epoch], canary: str) -> Slices:
        arms = {
            name: Arms(
                info.variants,
                tuple(width / SPACE for width in info.widths),
                _share(info, canary, self.champion),
            )
            for name, info in epochs.items()
        }
        return feedback_slices(self.feedback, arms, canary, self.champion, self._borders_ns)

    def _allocations(self, epochs: Mapping[str, Epoch]) -> tuple[Allocation, ...]:
        totals = self.ledger.totals()
        return tuple(
            Allocation(
                name,
                info.variants,
                tuple(width / SPACE for width in info.widths),
                tuple(totals[name][:, UNITS].tolist()),
                tuple(totals[name][:, REQUESTS].tolist()),
            )
            for name, info in epochs.items()
        )

    def _latency(self, reference: Reference) -> FrozenLatency:
        # Kept, because its scores and thresholds take longer to make than to use.
        if reference.from_bin not in self._frozen:
            self._frozen[reference.from_bin] = FrozenLatency(reference.counts)
        return self._frozen[reference.from_bin]

    @property
    def has_news(self) -> bool:
        """Tell whether there is evidence that the disk does not have."""
        return self.ledger.has_changes or self._has_fresh_shadows

    def is_due(self, now_ns: int) -> bool:
        """Tell whether the disk is to get something: news at once; that a rollout was watched, and its points, less
        often."""
        return self.has_news or (bool(self.variant) and now_ns - self._written_ns >= _WATCH_EVERY_NS)

    def take_batch(self, source: str, now_ns: int) -> Batch:
        """Return what the disk does not have yet."""
        points = {at: self.points[at] for at in self._fresh_points if at in self.points}
        self._fresh_points, self._has_fresh_shadows, self._written_ns = set(), False, now_ns
        shadows = {key: counts for key, counts in self.shadows.items() if key[0] == source}
        changes = self.ledger.take_changes()
        return Batch(self.rollout, self.route, self.variant, now_ns, changes, shadows, self.watch, points)

    def put_back(self, batch: Batch) -> None:
        """Remember what the disk refused."""
        self.ledger.put_back(batch.changes)
        self._fresh_points |= batch.points.keys()
        self._has_fresh_shadows |= bool(batch.shadows)

    def forget_disk(self) -> None:
        """Take it that the disk has nothing: all is to be written again."""
        self.ledger.put_back(self.ledger.everything())
        self._fresh_points, self._has_fresh_shadows = set(self.points), bool(self.shadows)
        self.is_stored = False


def _borders(state: RolloutState | None) -> list[int]:
    """Return the bins that no slice may reach into from before: evidence is also counted from each of them on."""
    if state is None:
        return []
    beginnings = {state.started_ns, state.promoted_ns or state.started_ns}
    return [start // BIN_NS for beginning in beginnings for start in starts_ns(beginning)]


def _share(info: Epoch, canary: str, champion: str) -> float:
    own, rest = (info.widths[info.variants.index(name)] for name in (canary, champion))
    return own / (own + rest) if own + rest else 0.0


def _own_coins(allocations: Sequence[Allocation]) -> bool:
    """Tell whether every request was its own coin: none belonged to a unit that had completed one before."""
    requests, units = (sum(sum(column(each)) for each in allocations) for column in (_requests, _units))
    return requests > 0 and requests == units


def _requests(allocation: Allocation) -> tuple[int, ...]:
    return allocation.requests


def _units(allocation: Allocation) -> tuple[int, ...]:
    return allocation.units

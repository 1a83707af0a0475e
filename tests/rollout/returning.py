"""Users who come back each hour, under a canary: each fast or slow for good, and some prone to errors."""

from dataclasses import dataclass, field, replace

import numpy as np

from proxy.rollout.assemble import Assembly
from proxy.rollout.plan import Plan
from proxy.rollout.slices import (
    BUCKETS,
    ERRORS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    LATENCY,
    RENEWED_EVENTS,
    RENEWED_FIELDS,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Counts,
    Health,
    Reals,
    Renewals,
    Slices,
)
from proxy.rollout.state import Phase, RolloutState
from proxy.stats.latency import Reference
from tests.rollout.world import MINUTE, START, state

__all__ = ["HOUR", "Returning"]

HOUR = 60 * MINUTE
BEGIN = START - START % HOUR + HOUR


@dataclass
class Returning:
    """One rollout among users who come about once an hour. Ramps are up to whoever drives it."""

    plan: Plan
    users: int = 2000
    share: float = 0.1
    seed: int = 1
    pieces: int = 4
    """Looks in each hour."""
    slow: float = 0.5
    """How much users differ for good: standard deviation of the logarithm of their durations."""
    prone: float = 0.1
    """The share of users who fail in one of five requests; others fail in one of two thousand."""
    comes: float = 0.9
    """The chance of a user to come in an hour."""
    slower: float = 1.0
    """Factor on the canary's durations."""
    failing: float = 0.0
    """More of the canary's requests that fail."""
    epoch: int = 0
    now_ns: int = BEGIN
    _rows: list[tuple[int, int, float, Counts, Counts]] = field(default_factory=list)
    _renewed: dict[tuple[int, int], tuple[float, Counts]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.generator = draw = np.random.default_rng(self.seed)
        self.coin = draw.random(self.users)
        self.speed = np.exp(self.slow * draw.standard_normal(self.users))
        self.failure = np.where(draw.random(self.users) < self.prone, 0.2, 0.0005)
        self.met = np.zeros(self.users, bool)
        self.failed = np.zeros(self.users, bool)
        self.reference = self._reference(self._durations(np.ones(self.users)))
        self.references: dict[int, Reference] = {}

    @property
    def generation(self) -> int:
        """The present hour."""
        return self.now_ns // HOUR

    def ramp(self, share: float) -> None:
        """Change the weights."""
        self.share, self.epoch = share, self.epoch + 1

    def hour(self) -> "list[Assembly]":
        """Let an hour go by; return what was known after each piece of it."""
        return [self.piece(number) for number in range(self.pieces)]

    def piece(self, number: int) -> Assembly:
        """Let a piece of an hour go by; users come in one of them."""
        if not number:
            self.when = np.where(
                self.generator.random(self.users) < self.comes,
                self.generator.integers(0, self.pieces, self.users),
                -1,
            )
            self._begin_generation()
        here = self.when == number
        canary = self.coin < self.share
        factor = np.where(canary, self.slower, 1.0)
        buckets = self._durations(factor)
        fails = self.generator.random(self.users) < self.failure + np.where(canary, self.failing, 0.0)
        arms = []
        for mine in (here & canary, here & ~canary):
            row, again = np.zeros(FIELDS, np.int64), np.zeros(RENEWED_FIELDS, np.int64)
            new, errs = mine & ~self.met, mine & fails
            row[REQUESTS], row[UNITS] = mine.sum(), new.sum()
            row[LATENCY : LATENCY + BUCKETS] = np.bincount(buckets[mine], minlength=BUCKETS)
            row[FIRST_LATENCY : FIRST_LATENCY + BUCKETS] = np.bincount(buckets[new], minlength=BUCKETS)
            row[REQUEST_ERRORS], row[FIRST_EVENTS] = errs.sum(), (errs & new).sum()
            row[ERRORS] = (errs & ~self.failed).sum()
            again[:BUCKETS] = np.bincount(buckets[mine], minlength=BUCKETS)
            again[RENEWED_EVENTS] = errs.sum()
            arms.append((row, again))
        self.met |= here
        self.failed |= here & fails
        (mine_row, mine_again), (other_row, other_again) = arms
        self._rows.append((self.epoch, self.now_ns, self.share, mine_row, other_row))
        place = (self.generation, self.epoch)
        counts = np.stack([mine_again, other_again])
        before = self._renewed.get(place)
        self._renewed[place] = (self.share, counts if before is None else before[1] + counts)
        self.now_ns += HOUR // self.pieces
        return self.look()

    def look(self) -> Assembly:
        """Return what is known now."""
        return Assembly(self.plan, self.state(), self.slices(), self.now_ns)

    def state(self) -> RolloutState:
        """Return a state that is ramping since the beginning."""
        return replace(state(self.plan), phase=Phase.RAMPING, step=0, started_ns=BEGIN, since_ns=BEGIN)

    def slices(self) -> Slices:
        """Return what was counted."""
        rows = self._rows
        return Slices(
            epochs=tuple(f"e{each[0]}" for each in rows),
            start_ns=np.array([each[1] for each in rows], np.int64),
            span_ns=np.full(len(rows), HOUR // self.pieces, np.int64),
            share=np.array([each[2] for each in rows]),
            canary=np.stack([each[3] for each in rows]),
            champion=np.stack([each[4] for each in rows]),
            reference=np.zeros(len(rows), np.int64),
            references=(self.reference,),
            renewals=self.renewals(),
            health=Health(read_ns=self.now_ns),
        )

    def renewals(self) -> Renewals:
        """Return what was counted again."""
        places = list(self._renewed)
        known = sorted(self.references)
        return Renewals(
            epochs=tuple(f"e{epoch}" for _, epoch in places),
            generation=np.array([generation for generation, _ in places], np.int64),
            share=np.array([self._renewed[place][0] for place in places]),
            canary=np.stack([self._renewed[place][1][0] for place in places]),
            champion=np.stack([self._renewed[place][1][1] for place in places]),
            reference=np.array([known.index(g) if g in known else -1 for g, _ in places], np.int64),
            references=tuple(self.references[each] for each in known),
            period_ns=HOUR,
        )

    def _begin_generation(self) -> None:
        earlier = [counts for (g, _), (_, counts) in self._renewed.items() if g == self.generation - 1]
        if earlier:
            both: Counts = sum(earlier, np.zeros((2, RENEWED_FIELDS), np.int64)).sum(axis=0)
            self.references[self.generation] = Reference(both[:BUCKETS])

    def _durations(self, factor: Reals) -> Counts:
        took_us = 20_000 * self.speed * factor * np.exp(0.2 * self.generator.standard_normal(self.users))
        buckets = np.clip(1 + np.floor(np.log(took_us) / np.log(1.05)), 0, BUCKETS - 1)
        return np.asarray(buckets, np.int64)

    def _reference(self, buckets: Counts) -> Reference:
        return Reference(np.bincount(buckets, minlength=BUCKETS))

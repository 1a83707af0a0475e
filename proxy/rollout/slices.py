"""What a decision is made from: counts of one rollout, cut where the weights changed and where time passed.

A *slice* is one epoch (a stretch of constant shares) in one bin of time. Counts of different slices are never pooled by
a bet: pooled over a ramp they would blame the canary for the hour in which it was given its traffic.

Whoever builds slices keeps these rules, on which the guarantees rest:

* Slices are in the order of time; a later slice never changes an earlier one, and nothing is counted twice.
* Old slices may be joined with their neighbours of the same epoch and reference, but never across one of
  :func:`starts_ns`: what began before it stays apart from what began at it or later, for evidence is also counted from
  each of them on, and a beginning that moved would be a bet changed after the fact.
* A reference is frozen before the first slice that uses it begins.
* What units showed that came back belongs to one generation, by the word of the worker that counted it, and each unit
  is in it once (:class:`Renewals`). Its reference is of earlier generations, and of both variants together.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from proxy.stats.latency import Reference

__all__ = [
    "BIN_NS",
    "BUCKETS",
    "ERRORS",
    "FIELDS",
    "FIRST_EVENTS",
    "FIRST_LATENCY",
    "LATENCY",
    "PLANNED_STARTS",
    "RENEWED_EVENTS",
    "RENEWED_FIELDS",
    "REQUESTS",
    "REQUEST_ERRORS",
    "UNITS",
    "Allocation",
    "Counts",
    "Health",
    "Reals",
    "Renewals",
    "ShadowEvidence",
    "Slices",
    "added",
    "no_slices",
    "starts_ns",
]

Counts = NDArray[np.int64]
Reals = NDArray[np.float64]

BUCKETS = 400
"""Buckets of a latency histogram."""

REQUESTS, UNITS, REQUEST_ERRORS, FIRST_EVENTS, ERRORS, LATENCY = 0, 1, 2, 5, 8, 11
"""Columns of a slice's counts: completions; first completions of a coin; the first of three columns (errors, client
errors, abandoned) of all completions, of first completions, and of the first such event of each coin; the first of 400
buckets of all completions."""

FIRST_LATENCY = LATENCY + BUCKETS
"""The first of 400 buckets of first completions."""

FIELDS = FIRST_LATENCY + BUCKETS
"""Columns altogether, as the workers count them."""

RENEWED_EVENTS, RENEWED_FIELDS = BUCKETS, BUCKETS + 3
"""Columns of what units showed in one generation: 400 buckets of the first completion of each, and then the first of
three (errors, client errors, abandoned) of the first such event of each; and how many columns there are."""

BIN_NS = 10_000_000_000
"""Length of the shortest slice; slices begin at its multiples on the engine's clock."""

PLANNED_STARTS = 64
"""From how many moments on a late regression is looked for."""

_FIRST_START_NS = 60_000_000_000


def starts_ns(beginning_ns: int) -> tuple[int, ...]:
    """Return from which moments on evidence is counted, besides from all of it, so that late regressions show.

    The distance grows with the time gone by, a quarter octave each, so that a few moments do for a minute and for a
    month. They depend on nothing that can be edited on the way: weights of a mixture that were chosen after a look
    would guarantee nothing.

    Args:
        beginning_ns: when the evidence begins, on the engine's clock.

    Returns:
        ``PLANNED_STARTS`` times, ascending; the first is the beginning, the others are ends of bins.
    """
    later = (
        -(-(beginning_ns + int(_FIRST_START_NS * 2 ** (j / 4))) // BIN_NS) * BIN_NS
        for j in range(PLANNED_STARTS - 1)
    )
    return (beginning_ns, *later)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Who got how much in one epoch, all variants of the route: what the coin is tested with."""

    epoch: str
    variants: tuple[str, ...]
    shares: tuple[float, ...]
    """Of each variant, as cut into the table, 0 to 1; they add up to 1."""
    units: tuple[int, ...]
    requests: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ShadowEvidence:
    """What copies of requests have shown about the canary's model, since the rollout began."""

    answered: int = 0
    failed: int = 0
    compared: int = 0
    disagreed: int = 0
    triples: int = 0
    """Copies beside which the champion was asked once more, and that say something: see :mod:`proxy.noise.triples`."""
    candidate_odd: int = 0
    """Of these, only the canary's model differs from the client's answer."""
    champion_odd: int = 0
    """Only the champion's second answer does."""
    both_odd: int = 0


@dataclass(frozen=True, slots=True)
class Health:
    """What is known about the counting itself."""

    read_ns: int = 0
    """When the counts were last read, on the engine's clock."""
    away_ns: int = 0
    """Time since the state's ``since_ns`` in which nobody read, or by which the clock leapt: it is no time held."""
    fell_ns: int = 0
    """When counters were last found to have gone backwards, on the engine's clock; 0: never. What they counted before
    and since is in the slices, what they counted in between is not."""
    clock_jumped: bool = False
    """The wall clock and the monotonic clock have parted in the bin that is open."""
    own_coins: bool = False
    """Every request was its own coin: requests are as independent as units."""


@dataclass(frozen=True, slots=True)
class Renewals:
    """What units showed that came back, each counted once in each *generation* (an hour); new units are in it too.

    Empty as long as no unit has completed anything: requests that are their own coins do not come back.
    """

    epochs: tuple[str, ...] = ()
    """Of each row, its epoch. A row is one epoch in one generation, in the order of these."""
    generation: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    """(R,) Ascending: how many periods of the engine's clock had gone by before it."""
    share: Reals = field(default_factory=lambda: np.zeros(0))
    """(R,) As of a slice."""
    canary: Counts = field(default_factory=lambda: np.zeros((0, RENEWED_FIELDS), np.int64))
    """(R, RENEWED_FIELDS)"""
    champion: Counts = field(default_factory=lambda: np.zeros((0, RENEWED_FIELDS), np.int64))
    """(R, RENEWED_FIELDS)"""
    reference: Counts = field(default_factory=lambda: np.zeros(0, np.int64))
    """(R,) Index into ``references``; -1: there was none, so nothing is said about latency."""
    references: tuple[Reference, ...] = ()
    """What units of both variants showed before the generation."""
    period_ns: int = 3_600_000_000_000
    """Length of a generation. They begin at its multiples on the engine's clock."""

    def __post_init__(self) -> None:
        count = len(self.epochs)
        if any(array.shape != (count,) for array in (self.generation, self.share, self.reference)):
            raise ValueError(f"expected {count} generations, shares and references")
        if any(array.shape != (count, RENEWED_FIELDS) for array in (self.canary, self.champion)):
            raise ValueError(f"expected counts of {count} generations in {RENEWED_FIELDS} columns")
        if (np.diff(self.generation) < 0).any():
            raise ValueError("expected generations in their order")

    def only(self, keep: NDArray[np.intp]) -> "Renewals":
        """Return some of the rows, by index."""
        return replace(
            self,
            epochs=tuple(self.epochs[i] for i in keep),
            generation=self.generation[keep],
            share=self.share[keep],
            canary=self.canary[keep],
            champion=self.champion[keep],
            reference=self.reference[keep],
        )


@dataclass(frozen=True, slots=True)
class Slices:
    """Everything that a decision about one rollout is made from."""

    epochs: tuple[str, ...]
    """Of each slice, its epoch."""
    start_ns: Counts
    """(S,) When it began, on the engine's clock: its bin, or its epoch within the bin."""
    span_ns: Counts
    """(S,) How long it is; ``BIN_NS`` unless it was merged."""
    share: Reals
    """(S,) P(canary | canary or champion), 0 to 1. A slice of share 0 or 1 has no coin, and carries no bet."""
    canary: Counts
    """(S, FIELDS)"""
    champion: Counts
    """(S, FIELDS)"""
    reference: Counts
    """(S,) Index into ``references``, ascending; -1: none was frozen yet, so nothing is said about latency."""
    references: tuple[Reference, ...] = ()
    """Of the champion's first completions, each frozen before the slices that use it. Kept from one decision to the
    next: what a reference has worked out it keeps."""
    allocations: tuple[Allocation, ...] = ()
    renewals: Renewals = field(default_factory=Renewals)
    shadow: ShadowEvidence = field(default_factory=ShadowEvidence)
    health: Health = field(default_factory=Health)
    feedback: "Slices | None" = None
    """What was said about the answers: :func:`~proxy.rollout.feedback.feedback_slices`; None: nothing was asked for, or
    nothing is known. Always all there is."""

    def __post_init__(self) -> None:
        count = len(self.epochs)
        shapes = {
            (count,): (self.start_ns, self.span_ns, self.share, self.reference),
            (count, FIELDS): (self.canary, self.champion),
            (BUCKETS,): tuple(each.counts for each in self.references),
        }
        for shape, arrays in shapes.items():
            for array in arrays:
                if array.shape != shape:
                    raise ValueError(f"expected an array of shape {shape}, got {array.shape}")

    def since(self, beginning_ns: int) -> "Slices":
        """Return the slices of epochs that began at a moment or after it.

        An epoch began before it if one of its slices was over by then. So the first bin of a new epoch counts from its
        first second, though the bin may have begun earlier.
        """
        over = self.start_ns + self.span_ns <= beginning_ns
        if not over.any():
            return self
        earlier = {epoch for epoch, is_over in zip(self.epochs, over, strict=True) if is_over}
        ended = np.array([epoch in earlier for epoch in self.epochs], bool)
        fewer = self.only(np.flatnonzero((self.start_ns >= beginning_ns) | ~ended))
        again = self.renewals
        ended = np.array([epoch in earlier for epoch in again.epochs], bool)
        later = again.generation > beginning_ns // again.period_ns
        return replace(fewer, renewals=again.only(np.flatnonzero(later | ~ended)))

    def joined(self, firsts: NDArray[np.intp]) -> "Slices":
        """Return fewer slices: each from one of ``firsts`` (ascending, 0 first) up to the next, counts added."""
        if len(firsts) == len(self.epochs):
            return self
        ends = self.start_ns + self.span_ns
        fewer = self.only(firsts)
        lasts = np.append(firsts[1:], len(self.epochs)) - 1
        return replace(
            fewer,
            span_ns=np.maximum.accumulate(ends)[lasts] - fewer.start_ns,
            canary=added(self.canary, firsts, lasts + 1),
            champion=added(self.champion, firsts, lasts + 1),
        )

    def before(self, end_ns: int) -> "Slices":
        """Return the slices that end at or before a moment."""
        return self.only(np.flatnonzero(self.start_ns + self.span_ns <= end_ns))

    def only(self, keep: NDArray[np.intp]) -> "Slices":
        """Return some of the slices, by index."""
        epochs = tuple(self.epochs[i] for i in keep)
        return Slices(
            epochs,
            self.start_ns[keep],
            self.span_ns[keep],
            self.share[keep],
            self.canary[keep],
            self.champion[keep],
            self.reference[keep],
            self.references,
            tuple(each for each in self.allocations if each.epoch in epochs),
            self.renewals,
            self.shadow,
            self.health,
            self.feedback,
        )


def added(counts: Counts, firsts: NDArray[np.intp], ends: NDArray[np.intp]) -> Counts:
    """Return sums of rows: each from one of ``firsts`` up to, but without, the end that belongs to it.

    A few long sums are made faster one by one than by ``reduceat``, and most of the many are of one row.
    """
    sums = counts[firsts]
    for i in np.flatnonzero(ends - firsts > 1).tolist():
        counts[firsts[i] : ends[i]].sum(axis=0, out=sums[i])
    return sums


def no_slices(health: Health | None = None, shadow: ShadowEvidence | None = None) -> Slices:
    """Return what is there before the first bin is over."""
    none = np.zeros(0, np.int64)
    wide = np.zeros((0, FIELDS), np.int64)
    return Slices(
        (),
        none,
        none,
        np.zeros(0),
        wide,
        wide,
        none,
        shadow=shadow or ShadowEvidence(),
        health=health or Health(),
    )

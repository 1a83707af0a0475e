"""Nested assignment: which stretch of the bucket space belongs to which variant.

Theory of operation
    Weights change, users must not. So a variant does not get "its turn in a cumulative list" (where every
    weight before it shifts it), but a *place*:

    * challengers have reserved ranges counted from the **top** of the space, in the order of the file; each
      fills its range from its top downwards;
    * canaries have reserved ranges counted from the **bottom**, and each fills from its bottom upwards;
    * what nobody claims is the champion's.

    Raising a weight therefore only adds buckets to a variant, lowering only returns them, and both trade with
    the champion alone. A range is ``max_weight`` percent wide, by default an equal share of what the explicit
    ones leave. One canary and one challenger have the whole space each and meet only when the champion has
    nothing left, so for them the promise holds at every weight.

Rule
    Challengers take their range first; a canary that meets an occupied stretch continues behind it (it is
    *displaced*); what does not fit into a variant's own range (*overflow*) takes free space last. These are
    the cases in which a change of one variant's weight may move units of another: no stateless rule can avoid
    them (nested sets that may each reach 100 % cannot also be disjoint). ``proxy.routing.plan`` names them.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Literal

from proxy.routing.hashing import SPACE, share

__all__ = ["Claim", "Intervals", "compile_intervals", "reserved_percents"]

Side = Literal["top", "bottom"]


@dataclass(frozen=True, slots=True)
class Claim:
    """What one non-champion variant asks for."""

    arm: int
    """Index of the variant in its route."""
    side: Side
    """``bottom`` for canaries, ``top`` for challengers."""
    weight: Decimal
    """Percent of the route's traffic, 0 to 100."""
    max_weight: Decimal | None = None
    """Width of the reserved range in percent; None: an equal share of what is left on this side."""


@dataclass(frozen=True, slots=True)
class Intervals:
    """A partition of the bucket space: ``arms[i]`` owns the buckets ``bounds[i - 1]`` to ``bounds[i] - 1``.

    ``len(arms) == len(bounds) + 1``; the first interval starts at 0, the last ends at ``SPACE``.
    """

    bounds: tuple[int, ...]
    arms: tuple[int, ...]

    def arm(self, bucket: int) -> int:
        """Return the arm that owns ``bucket``."""
        return self.arms[bisect_right(self.bounds, bucket)]

    def width(self, arm: int) -> int:
        """Return how many buckets ``arm`` owns; divided by ``SPACE``: the probability of the assignment."""
        return sum(end - start for start, end, owner in self.pieces() if owner == arm)

    def pieces(self) -> list[tuple[int, int, int]]:
        """Return every interval as ``(start, end, arm)``, ascending."""
        starts = (0, *self.bounds)
        return list(zip(starts, (*self.bounds, SPACE), self.arms, strict=True))


def reserved_percents(claims: Sequence[Claim]) -> dict[int, Decimal]:
    """Return the width in percent of each claim's reserved range, by arm; claims must be of one side."""
    explicit = sum((c.max_weight for c in claims if c.max_weight is not None), Decimal(0))
    open_count = sum(c.max_weight is None for c in claims)
    equal = (100 - explicit) / open_count if open_count else Decimal(0)
    return {c.arm: equal if c.max_weight is None else c.max_weight for c in claims}


def compile_intervals(claims: Sequence[Claim], champion: int) -> Intervals:
    """Return the partition for ``claims``; ``champion`` is the arm that gets the rest.

    The sum of the weights must be at most 100 (the settings refuse more).
    """
    space = _Space()
    tops = [c for c in claims if c.side == "top"]
    bottoms = [c for c in claims if c.side == "bottom"]
    overflow = [(claim, space.fill(claim, start, end)) for claim, start, end in _ranges(tops)]
    overflow += [(claim, space.fill(claim, start, end)) for claim, start, end in _ranges(bottoms)]
    for claim, missing in overflow:
        if missing:
            space.take(claim.arm, 0, SPACE, missing, from_top=claim.side == "top")
    return space.partition(champion)


def _ranges(claims: Sequence[Claim]) -> list[tuple[Claim, int, int]]:
    """Lay the reserved ranges of one side one after the other, from its end of the space inwards."""
    widths = reserved_percents(claims)
    laid, edge = [], Fraction(0)
    for claim in claims:
        inner = min(Fraction(100), edge + Fraction(widths[claim.arm]))
        low, high = int(edge * SPACE / 100), int(inner * SPACE / 100)
        laid.append((claim, low, high) if claim.side == "bottom" else (claim, SPACE - high, SPACE - low))
        edge = inner
    return laid


class _Space:
    """The bucket space while it is being given away."""

    def __init__(self) -> None:
        self._free: list[tuple[int, int]] = [(0, SPACE)]
        self._taken: list[tuple[int, int, int]] = []

    def fill(self, claim: Claim, start: int, end: int) -> int:
        """Give ``claim`` what of its weight fits into the range; return how many buckets did not fit."""
        return self.take(claim.arm, start, end, share(claim.weight), from_top=claim.side == "top")

    def take(self, arm: int, start: int, end: int, need: int, *, from_top: bool) -> int:
        """Give ``arm`` up to ``need`` free buckets of ``[start, end)`` from one end; return the lack."""
        kept: list[tuple[int, int]] = []
        for low, high in reversed(self._free) if from_top else self._free:
            inner_low, inner_high = max(low, start), min(high, end)
            size = min(need, inner_high - inner_low)
            if size <= 0:
                kept.append((low, high))
                continue
            first = inner_high - size if from_top else inner_low
            self._taken.append((first, first + size, arm))
            need -= size
            kept += [(a, b) for a, b in ((low, first), (first + size, high)) if a < b]
        self._free = sorted(kept)
        return need

    def partition(self, champion: int) -> Intervals:
        pieces = sorted([*self._taken, *((low, high, champion) for low, high in self._free)])
        bounds: list[int] = []
        arms: list[int] = []
        for start, _end, arm in pieces:
            if arms and arms[-1] == arm:
                continue
            if arms:
                bounds.append(start)
            arms.append(arm)
        return Intervals(tuple(bounds), tuple(arms))

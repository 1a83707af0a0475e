"""Counters that went backwards: what of a source can still be believed, and from where on.

The counters of a source only grow. One that is lower than it was has been deleted, cut off or overwritten from outside,
and what happened in between is not known. Nothing before is any the worse for it, and what is counted from then on is
counted as ever; only the two must not be subtracted from each other.

Rule
    A lower reading is no proof: a directory that is read while it is deleted is lower, too, and then gone. It is left
    out. At the second in a row the source goes on from there: what it adds to *that* reading is added to what was
    known before. So a stretch of time is left out of the evidence, in all variants and columns alike, and which one
    depends on nothing that the bets are on. Should the old counters come back, they are known by
    having grown less from where they were than from where they seemed to be, and nothing is counted twice.

    Where a source goes on from is not stored. Whoever starts again finds its counters lower than what is known of it,
    and begins with the rule.
"""

from dataclasses import dataclass, field

import numpy as np

from proxy.engine.ledger import Counts

__all__ = ["Continuity"]


@dataclass(slots=True)
class _Source:
    raw: Counts
    """Its last reading that was believed."""
    offset: Counts
    """What is known of it, less that reading."""
    before: tuple[Counts, Counts] | None = None
    """The same before its counters fell."""
    is_lower: bool = False
    """The reading before this one was lower than what is known."""


@dataclass(slots=True)
class Continuity:
    """What readings of sources are worth. Pure."""

    _sources: dict[tuple[str, str], _Source] = field(default_factory=dict)

    def take(self, key: tuple[str, str], counts: Counts, known: Counts | None) -> tuple[Counts | None, bool]:
        """Return what a source has counted by now, and whether its counters have just been found to have fallen.

        Args:
            key: names the source and what it counts.
            counts: its reading.
            known: the highest of what it had counted before; None: nothing.

        Returns:
            Counts that are at least what is known, None where there is nothing to believe.
        """
        source = self._sources.get(key)
        if source is None:
            source = self._sources[key] = _Source(counts, np.zeros_like(counts))
        elif source.before is not None and _are_back(counts, source.raw, source.before[0]):
            source.offset, source.before = source.before[1], None
        total = counts + source.offset
        if known is None or (total >= known).all():
            source.raw, source.is_lower = counts, False
            return total, False
        if not source.is_lower:
            source.is_lower = True
            return None, False
        if source.before is None:
            source.before = (known - source.offset, source.offset)
        source.raw, source.offset, source.is_lower = counts, known - counts, False
        return None, True


def _are_back(counts: Counts, last: Counts, before: Counts) -> bool:
    """Tell whether counters that had fallen stand where they would have, had they not."""
    return bool((counts >= before).all()) and int((counts - before).sum()) < int((counts - last).sum())

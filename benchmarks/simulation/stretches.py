"""Errors per look as slices of 10 s, for what judges slices: late onsets and the guardrails themselves."""

from collections.abc import Iterator

import numpy as np

from benchmarks.simulation.cell import Floats
from proxy.rollout.guardrails import Stretch
from proxy.rollout.slices import BIN_NS, ERRORS, FIELDS, FIRST_EVENTS, UNITS, Slices
from proxy.stats.histogram import Counts

__all__ = ["errors_of", "stretches"]


def stretches(
    canary: Counts, champion: Counts, share: Floats, looks: range, units: tuple[Counts, Counts] | None = None
) -> Iterator[Stretch]:
    """Yield what is known at each of some looks (1: after the first bin); one epoch, first errors of coins.

    Args:
        canary, champion: first errors, look by look.
        share: of the canary.
        looks: after how many bins.
        units: of canary and champion, of which those are the errors; None: nobody asks.
    """
    count = len(share)
    arms = []
    for number, errors in enumerate((canary, champion)):
        wide = np.zeros((count, FIELDS), np.int64)
        wide[:, ERRORS] = wide[:, FIRST_EVENTS] = errors
        wide[:, UNITS] = errors if units is None else units[number]
        arms.append(wide)
    start = np.arange(count, dtype=np.int64) * BIN_NS
    span, reference = np.full(count, BIN_NS), np.full(count, -1)
    for look in looks:
        slices = Slices(
            ("0",) * look,
            start[:look],
            span[:look],
            share[:look],
            arms[0][:look],
            arms[1][:look],
            reference[:look],
        )
        yield Stretch(slices, 0)


def errors_of(stretch: Stretch) -> tuple[Counts, Counts, Floats]:
    """Return errors of canary and champion, and the share, of each slice that bets are on."""
    slices = stretch.slices
    return slices.canary[:, ERRORS], slices.champion[:, ERRORS], slices.share

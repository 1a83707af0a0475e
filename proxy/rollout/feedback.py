"""Feedback as evidence: what was said about answers, hours after them, by whoever knows.

Who is compared
    Units are: a unit's first judged answer (was it bad?) and its first bad one, as of the variant and the epoch of the
    request that it is about. The coin fell when the request came, so the share is that of its epoch; the time is that
    of the arrival, for nothing was known before. So the same bets hold as on errors, on slices of their own
    (:func:`feedback_slices`), whose columns mean: ``UNITS`` judged units, ``FIRST_EVENTS`` those whose first judged
    answer was bad, ``ERRORS`` first bad answers of a unit, ``REQUESTS`` and ``REQUEST_ERRORS`` judged and bad answers.

Missing feedback
    Bets on bad answers need no word on the others, but they take it that both variants' answers are judged alike. Where
    feedback comes for one more often than its share (D1, on judged units of each epoch), nothing follows from it in
    either direction: who reviews only the canary finds only its mistakes. Until that shows, a canary that is reviewed
    more closely may be rolled back for it; to be stricter would let pass one whose bad answers alone are reported.

    A tolerance compares shares of judged units. Where only bad answers are reported every share is 1 and every
    difference 0, which would show anything to be within it: so it counts only while most of the champion's judged
    units are good.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from math import log
from typing import NamedTuple

import numpy as np

from proxy.model import Metric
from proxy.rollout.plan import Guardrail
from proxy.rollout.slices import (
    BIN_NS,
    ERRORS,
    FIELDS,
    FIRST_EVENTS,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Allocation,
    Slices,
    starts_ns,
)
from proxy.stats.allocation import allocation

__all__ = ["Arms", "Row", "as_events", "borders_ns", "feedback_slices", "is_skewed", "segment_of", "skew"]

_SKEWED = log(1000)
"""log e from which on feedback is taken to prefer a variant."""

_GUARD_BAND = 1e-9

_COLUMNS = (REQUESTS, REQUEST_ERRORS, UNITS, FIRST_EVENTS, ERRORS)


class Row(NamedTuple):
    """What was said of one variant's requests of one epoch, in one segment of time."""

    epoch: str
    segment_ns: int
    variant: int
    """Its place in the epoch."""
    judged: int
    """Requests on which there was feedback."""
    bad: int
    """Those of them whose answer was called bad."""
    units: int
    """Units that were judged for the first time."""
    first_bad: int
    """Those of them whose answer was called bad then."""
    bad_units: int
    """Units whose answer was called bad for the first time."""


@dataclass(frozen=True, slots=True)
class Arms:
    """The variants of one epoch."""

    names: tuple[str, ...]
    shares: tuple[float, ...]
    """Of each, 0 to 1."""
    share: float
    """P(canary | canary or champion)."""


def borders_ns(started_ns: int, promoted_ns: int) -> tuple[int, ...]:
    """Return where segments of time begin: the moments that evidence is counted from.

    What arrived between two of them is never taken apart, so there are some hundred segments whatever happens.

    Args:
        started_ns: when the rollout began, on the engine's clock.
        promoted_ns: when it was promoted; 0: it is not.
    """
    later = starts_ns(promoted_ns) if promoted_ns else ()
    return tuple(sorted({*starts_ns(started_ns), *later}))


def segment_of(started_ns: int, promoted_ns: int, now_ns: int) -> int:
    """Return when the segment began that ``now_ns`` is in; the first, for what seems to be before it."""
    borders = borders_ns(started_ns, promoted_ns)
    return max((border for border in borders if border <= now_ns), default=borders[0])


def feedback_slices(
    rows: Sequence[Row], epochs: Mapping[str, Arms], canary: str, champion: str, borders: Sequence[int]
) -> Slices:
    """Return slices of what was said about the canary and the champion, in the order of its arrival.

    Args:
        rows: in any order; those of other epochs are left out.
        epochs: those with both variants, in their order.
        canary: its name. champion: its name.
        borders: :func:`borders_ns`.
    """
    order = {name: number for number, name in enumerate(epochs)}
    known = [row for row in rows if row.epoch in epochs and row.variant < len(epochs[row.epoch].names)]
    places = sorted({(row.segment_ns, order[row.epoch], row.epoch) for row in known})
    index = {(segment, epoch): i for i, (segment, _, epoch) in enumerate(places)}
    counts = {name: np.zeros((len(places), FIELDS), np.int64) for name in (canary, champion)}
    for row in known:
        name = epochs[row.epoch].names[row.variant]
        if name in counts:
            counts[name][index[row.segment_ns, row.epoch], list(_COLUMNS)] += row[3:]
    ends = dict(pairwise(borders))
    starts = [segment for segment, _, _ in places]
    return Slices(
        epochs=tuple(epoch for _, _, epoch in places),
        start_ns=np.array(starts, np.int64),
        span_ns=np.array([ends.get(start, start + BIN_NS) - start for start in starts], np.int64),
        share=np.array([epochs[epoch].share for _, _, epoch in places], np.float64),
        canary=counts[canary],
        champion=counts[champion],
        reference=np.full(len(places), -1, np.int64),
        allocations=tuple(_allocation(name, arms, known) for name, arms in epochs.items()),
    )


def _allocation(epoch: str, arms: Arms, rows: Sequence[Row]) -> Allocation:
    units, judged = [0] * len(arms.names), [0] * len(arms.names)
    for row in rows:
        if row.epoch == epoch:
            units[row.variant] += row.units
            judged[row.variant] += row.judged
    return Allocation(epoch, arms.names, arms.shares, tuple(units), tuple(judged))


def skew(slices: Slices) -> float:
    """Return log e against "feedback comes for each variant as often as its share says", epoch by epoch."""
    found = 0.0
    for each in slices.allocations:
        kept = [i for i, share in enumerate(each.shares) if share > 0]
        if len(kept) > 1:
            shares = np.array([each.shares[i] for i in kept])
            counts = np.array([each.units[i] for i in kept], np.int64)
            found += float(allocation(counts, shares / shares.sum()))
    return found


def is_skewed(log_e: float) -> bool:
    """Tell whether feedback is taken to prefer a variant, from :func:`skew`."""
    return log_e > _SKEWED + _GUARD_BAND


def as_events(guardrail: Guardrail, slices: Slices) -> Guardrail:
    """Return the guardrail that says of ``feedback_slices`` what ``guardrail`` says of feedback."""
    judged, bad = (int(slices.champion[:, column].sum()) for column in (UNITS, FIRST_EVENTS))
    tolerance = guardrail.tolerance if 2 * bad < judged else None
    return replace(guardrail, metric=Metric.ERRORS, tolerance=tolerance)

"""How long a replay takes at the least, found before it begins. Pure: the log once more, without a request."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from proxy.records.record import Record
from proxy.replay.pacing import Pace, Schedule
from proxy.replay.preparing import Preparer

__all__ = ["MOST_RECORDS", "Forecast", "forecast"]

MOST_RECORDS: Final = 200_000
"""Looked at: a long log would keep a person waiting for what it says. Behind them it is only known that there is more.
"""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What is ahead."""

    requests: int
    """Records that will be sent."""
    duration_ns: int
    """From the first request to the last one, where the model keeps up."""
    waits_shortened: int
    is_whole: bool
    """The log was looked at to its end (or to the limit); else all of this is the least."""


def forecast(
    records: Iterable[Record],
    preparer: Preparer,
    pace: Pace,
    limit: int | None = None,
    most: int = MOST_RECORDS,
) -> Forecast:
    """Return what a run over ``records`` will come to.

    Args:
        records: in the order in which they are sent.
        preparer: says which ones are sent.
        pace: how fast.
        limit: requests sent at most; None: all.
        most: records looked at.
    """
    schedule, last_ns, is_whole = Schedule(pace, 0), 0, True
    for seen, record in enumerate(records):
        if schedule.count == limit:
            break
        if seen == most:
            is_whole = False
            break
        if isinstance(preparer.prepare(record), str):
            continue
        last_ns = schedule.due_ns(record.ts_wall_ns) or 0
    return Forecast(schedule.count, last_ns, schedule.waits_shortened, is_whole)

"""When each request of a replay is due. Pure: times in, times out."""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

__all__ = ["Pace", "Schedule", "parse_speed"]

_SPEED: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)x")
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to replay. Neither: as fast as the concurrency allows."""

    speed: float | None = None
    """The log's gaps, divided by this; above 0."""
    rate: float | None = None
    """Requests a second, whatever the log's gaps; above 0. It takes precedence."""


class Schedule:
    """Gives each record its due time, in the order of the log.

    Args:
        pace: how fast.
        started_ns: when the first is due, on the clock of whoever sends.
    """

    def __init__(self, pace: Pace, started_ns: int) -> None:
        self._pace = pace
        self._started_ns = started_ns
        self._first_wall_ns: int | None = None
        self._count = 0

    def due_ns(self, ts_wall_ns: int) -> int | None:
        """Return when the next record, which came at ``ts_wall_ns``, is due; None: at once, whenever that is.

        One that comes out of the log out of order is due in the past, never before the beginning.
        """
        count, self._count = self._count, self._count + 1
        if self._pace.rate is not None:
            return self._started_ns + int(count / self._pace.rate * _SECOND_NS)
        if self._pace.speed is None:
            return None
        if self._first_wall_ns is None:
            self._first_wall_ns = ts_wall_ns
        gap_ns = max(ts_wall_ns - self._first_wall_ns, 0)
        return self._started_ns + int(gap_ns / self._pace.speed)


def parse_speed(text: str) -> float | None:
    """Return the factor of ``10x``; None for ``max``.

    Raises:
        ValueError: it is neither.
    """
    if text == "max":
        return None
    found = _SPEED.fullmatch(text)
    if found is None or not Decimal(found[1]):
        raise ValueError(f"expected max, or a factor above 0 such as 1x or 10x, got {text!r}")
    return float(found[1])

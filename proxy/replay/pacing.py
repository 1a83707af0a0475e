"""When each request of a replay is due. Pure: times in, times out.

What a log says of time cannot be trusted blindly: a machine boots in 1970, a clock is set back, nobody asks anything
for a week-end.

Rules
    * A wait is as long as the log's gap divided by the speed, at most ``most_wait_ns``: what is cut off a gap is cut
      off for everything behind it.
    * A record that is earlier than one before it was late in the log, and is due at once; gaps are measured from the
      latest one. More than ``STRAGGLERS`` of them in a row are no late ones: the clock was set back, and gaps are
      measured from there.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Final

__all__ = ["STRAGGLERS", "Pace", "Schedule", "parse_speed"]

STRAGGLERS: Final = 16
"""Records in a row that may be earlier than one before them, as when answers took longer than the reader's window."""

_SPEED: Final = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)x")
_SECOND_NS: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast to replay. Neither speed nor rate: as fast as the concurrency allows."""

    speed: float | None = None
    """The log's gaps, divided by this; above 0."""
    rate: float | None = None
    """Requests a second, whatever the log's gaps; above 0. It takes precedence."""
    most_wait_ns: int | None = None
    """At a speed no wait between two requests is longer than this; None: each is as long as the log says."""

    @property
    def is_timed(self) -> bool:
        """Whether requests have times at which they are due."""
        return self.speed is not None or self.rate is not None


class Schedule:
    """Gives each record its due time, in the order of the log.

    Args:
        pace: how fast.
        started_ns: when the first is due, on the clock of whoever sends; see :meth:`start`.
    """

    def __init__(self, pace: Pace, started_ns: int = 0) -> None:
        self._pace = pace
        self._started_ns = started_ns
        self._latest_wall_ns: int | None = None
        self._earlier = 0
        """Records in a row that were earlier than the latest."""
        self._passed_ns = 0
        """Of the log's time, without what was cut off."""
        self.count = 0
        """Records that were given a time."""
        self.waits_shortened = 0
        self.left_out_ns = 0
        """Of the log's time, in gaps that were shortened."""
        self.set_back = 0
        """How often the log's clock was set back."""

    def start(self, started_ns: int) -> None:
        """Say when the first is due, before it is."""
        self._started_ns = started_ns

    def due_ns(self, ts_wall_ns: int) -> int | None:
        """Return when the next record, which came at ``ts_wall_ns``, is due; None: at once, whenever that is.

        It is never before that of the record before it.
        """
        count, self.count = self.count, self.count + 1
        if self._pace.rate is not None:
            return self._started_ns + int(count / self._pace.rate * _SECOND_NS)
        if self._pace.speed is None:
            return None
        self._pass(ts_wall_ns, self._pace.speed)
        return self._started_ns + int(self._passed_ns / self._pace.speed)

    def _pass(self, ts_wall_ns: int, speed: float) -> None:
        latest = ts_wall_ns if self._latest_wall_ns is None else self._latest_wall_ns
        if ts_wall_ns < latest:
            self._earlier += 1
            if self._earlier > STRAGGLERS:
                self.set_back += 1
                self._latest_wall_ns, self._earlier = ts_wall_ns, 0
            return
        self._latest_wall_ns, self._earlier = ts_wall_ns, 0
        gap_ns = ts_wall_ns - latest
        most_wait_ns = self._pace.most_wait_ns
        if most_wait_ns is not None and gap_ns / speed > most_wait_ns:
            shortened_ns = int(most_wait_ns * speed)
            self.waits_shortened += 1
            self.left_out_ns += gap_ns - shortened_ns
            gap_ns = shortened_ns
        self._passed_ns += gap_ns


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

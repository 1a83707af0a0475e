"""Which records are wanted: by route, variant and time. Pure."""

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from proxy.durations import parse_duration
from proxy.records.record import Record, wall_ns_of

__all__ = ["EVERY_RECORD", "Selection", "parse_moment"]

_DAYS: Final = re.compile(r"(\d{1,5})d")
_DAY_NS: Final = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class Selection:
    """A record is wanted that meets all of these."""

    routes: Collection[str] = frozenset()
    """Names; none: all."""
    variants: Collection[str] = frozenset()
    """Names of assigned variants; none: all."""
    since_wall_ns: int | None = None
    """The request came then or later."""
    until_wall_ns: int | None = None
    """The request came before."""

    def takes(self, record: Record) -> bool:
        """Tell whether ``record`` is wanted."""
        if self.routes and record.route not in self.routes:
            return False
        if self.variants and record.variant not in self.variants:
            return False
        if self.since_wall_ns is not None and record.ts_wall_ns < self.since_wall_ns:
            return False
        return self.until_wall_ns is None or record.ts_wall_ns < self.until_wall_ns


EVERY_RECORD = Selection()


def parse_moment(text: str, now_wall_ns: int) -> int:
    """Return nanoseconds since 1970 for an RFC 3339 time or date (UTC without an offset), or for how long ago.

    >>> parse_moment("1970-01-01T00:00:01Z", 0)
    1000000000
    >>> parse_moment("1m", 90_000_000_000)
    30000000000

    Raises:
        ValueError: it is neither, with what would be right.
    """
    try:
        return wall_ns_of(text)
    except (ValueError, OverflowError):
        pass
    days = _DAYS.fullmatch(text)
    try:
        return now_wall_ns - (int(days[1]) * _DAY_NS if days else parse_duration(text))
    except ValueError:
        raise ValueError(
            "expected a time such as 2026-11-21T18:00:00Z or 2026-11-21, or how long ago such as 2h or 7d, "
            f"got {text!r}"
        ) from None

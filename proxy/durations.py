"""Durations as text: ``1m30s`` is 90 000 000 000 ns."""

import re
from decimal import Decimal

__all__ = ["DURATION_PATTERN", "format_duration", "parse_duration"]

DURATION_PATTERN = r"(\d+(\.\d+)?(ms|h|m|s))+"
"""What ``parse_duration`` reads, as far as a regular expression can say it."""

_UNITS = {"h": 3_600_000_000_000, "m": 60_000_000_000, "s": 1_000_000_000, "ms": 1_000_000}
_PART = re.compile(r"(\d{1,18}(?:\.\d{1,9})?)(ms|h|m|s)", re.ASCII)


def parse_duration(text: str) -> int:
    """Return nanoseconds for ``5s``, ``250ms``, ``1m30s``, ``1.5h``: each unit once, the larger first."""
    expected = "a duration such as 5s, 250ms or 1m30s (units h, m, s, ms)"
    if re.fullmatch(r"[-+]?\d+(\.\d+)?", text, re.ASCII):
        raise ValueError(f"a duration with its unit: write {text}s or {text}ms, not {text}")
    total, position, smallest = Decimal(0), 0, _UNITS["h"] + 1
    for part in _PART.finditer(text):
        unit = _UNITS[part[2]]
        if part.start() != position or unit >= smallest:
            raise ValueError(expected)
        total += Decimal(part[1]) * unit
        position, smallest = part.end(), unit
    if position != len(text) or not text or total != int(total):
        raise ValueError(expected)
    return int(total)


def format_duration(duration_ns: int) -> str:
    """Return the shortest form that ``parse_duration`` reads back exactly."""
    parts, rest = [], duration_ns
    for unit in ("h", "m", "s"):
        count, rest = divmod(rest, _UNITS[unit])
        if count:
            parts.append(f"{count}{unit}")
    if rest:
        milliseconds = f"{rest / Decimal(1_000_000):f}"
        parts.append(f"{milliseconds}ms")
    return "".join(parts) or "0s"

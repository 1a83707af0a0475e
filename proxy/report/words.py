"""Numbers as people read them: three digits that count, thousands apart, times in their two largest units."""

from datetime import UTC, datetime
from math import exp, floor, isfinite, log, log10

__all__ = [
    "amount",
    "duration",
    "e_value",
    "joined",
    "latency",
    "percent",
    "rarity",
    "times",
    "when",
]

_LN10 = log(10)
_YEAR_S = 365.25 * 86_400
_LARGE = ((1e12, "trillion"), (1e9, "billion"), (1e6, "million"))


def amount(value: float) -> str:
    """Return a number with three digits that count: ``1,230``, ``3.1``, ``0.0042``; infinity as words."""
    if not isfinite(value):
        return "without limit" if value > 0 else "no number"
    if value == 0:
        return "0"
    digits = max(0, 2 - floor(log10(abs(value))))
    text = f"{round(value, 2 - floor(log10(abs(value)))):,.{digits}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def percent(share: float) -> str:
    """Return a share (0 to 1) as a percent; what is not zero never reads as zero."""
    if 0 < share < 1e-5:
        return "less than 0.001 %"
    return f"{amount(100 * share)} %"


def duration(seconds: float) -> str:
    """Return a time in its two largest units: ``4 min 10 s``; milliseconds below a second, years above two."""
    if not isfinite(seconds):
        return "for ever"
    if seconds >= 2 * _YEAR_S:
        return f"{amount(seconds / _YEAR_S)} years"
    if seconds < 1:
        return f"{amount(1000 * seconds)} ms"
    if seconds < 10:
        return f"{seconds:.1f}".rstrip("0").rstrip(".") + " s"
    whole = round(seconds)
    for size, unit, rest, small in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            left = whole % size // rest
            return f"{whole // size:,} {unit} {left} {small}" if left else f"{whole // size:,} {unit}"
    return f"{whole} s"


def latency(nanoseconds: float) -> str:
    """Return a latency in milliseconds, from ten seconds on in seconds."""
    if nanoseconds >= 1e10:
        return f"{amount(nanoseconds / 1e9)} s"
    return f"{amount(nanoseconds / 1e6)} ms"


def times(ratio: float) -> str:
    """Return a ratio as ``3.1 times``."""
    return f"{amount(ratio)} times"


def e_value(log_e: float) -> str:
    """Return an e-value from its natural logarithm."""
    if log_e < log(0.001):
        return "below 0.001"
    if log_e >= 15 * _LN10:
        return "beyond all doubt"
    value = exp(log_e)
    for size, word in _LARGE:
        if value >= size:
            return f"{amount(value / size)} {word}"
    return amount(value)


def rarity(log_e: float) -> str:
    """Return in how few rollouts such evidence comes up by chance alone: ``fewer than one of 100 rollouts``."""
    if log_e >= 9 * _LN10:
        return "fewer than one of a billion rollouts"
    if log_e >= 6 * _LN10:
        return "fewer than one of a million rollouts"
    # Rounded down: what is said may be too cautious, never too bold.
    number = floor(exp(max(0.0, log_e)) + 1e-6)
    if number < 2:
        return "any rollout"
    step = 10 ** max(0, len(str(number)) - 3)
    return f"fewer than one of {number // step * step:,} rollouts"


def when(nanoseconds: int) -> str:
    """Return a moment since 1970 as date and time (UTC)."""
    try:
        moment = datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
    except (OverflowError, ValueError, OSError):
        return "at an unknown time"
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def joined(names: "list[str] | tuple[str, ...]", last: str = "and") -> str:
    """Return names as a list in a sentence: ``a, b and c``."""
    *others, end = names or ("",)
    return f"{', '.join(others)} {last} {end}" if others else end

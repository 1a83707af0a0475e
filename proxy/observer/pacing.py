"""How fast the answers of an exchange were generated: for its record, and for the histograms of both arms.

Pure. Only answers that were streamed, copied and understood have a pace; all others cost a look at an empty blob.
"""

from typing import Any, Final

from proxy.compare.pace import Pace, measure_pace
from proxy.exchange import MOST_ARRIVALS, Flag, Primary, ShadowPart
from proxy.observer.heads import answer_fields

__all__ = ["ANSWER", "pace_document", "pace_of"]

ANSWER: Final = -1
"""Stands for the client's answer where paces are kept by the index of a shadow."""


def pace_of(part: Primary | ShadowPart) -> Pace | None:
    """Return the pace of an answer; ``None`` where it was not streamed, or its stream cannot be read.

    A compressed stream has none: which read brought which event shows only in its plain form.
    """
    if not part.arrivals or not 200 <= part.status < 300:
        return None
    kind, coding, _ = answer_fields(part.response_lines)
    if coding is not None:
        return None
    pace = measure_pace(part.arrivals, part.response_body, kind, limit=MOST_ARRIVALS)
    if pace is not None and part.flags & Flag.RESPONSE_TRUNCATED:
        return pace._replace(is_partial=True)  # it went on behind ``limits.copy``
    return pace


def pace_document(pace: Pace) -> dict[str, Any]:
    """Return a pace as a record has it."""
    speed = pace.tokens_per_second
    return {
        "time_to_first_token_ms": _milliseconds(pace.first_token_ns),
        "time_to_last_token_ms": _milliseconds(pace.last_token_ns),
        "tokens": pace.tokens,
        "tokens_per_second": None if speed is None else round(speed, 3),
        "parts": pace.parts,
        "gap_p50_ms": _milliseconds(pace.gap_p50_ns),
        "gap_p99_ms": _milliseconds(pace.gap_p99_ns),
        "gap_max_ms": _milliseconds(pace.gap_max_ns),
        "is_partial": pace.is_partial,
    }


def _milliseconds(duration_ns: int | None) -> float | None:
    return None if duration_ns is None else round(duration_ns / 1e6, 3)

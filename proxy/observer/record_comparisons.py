"""What a record says of comparisons: of each shadow's answer, and of the champion's second one. Pure.

Values and places are parts of bodies. Where the route's rules leave something out of bodies, or all of them, the name
of a place may be just that: then none is told.
"""

from typing import Any, Final

from proxy.compare import Comparison
from proxy.exchange import ShadowPart
from proxy.model import Fault
from proxy.noise.fields import field_of

__all__ = ["comparison_document", "noise_document"]

_WHOLE: Final = frozenset({""})
"""The place of a difference that is of the answer as a whole."""


def comparison_document(comparison: Comparison | None, *, tells_fields: bool) -> dict[str, Any] | None:
    """Return a comparison as a record has it.

    Args:
        comparison: what came out; None: there was none.
        tells_fields: whether the names of places may be written.
    """
    if comparison is None:
        return None
    document: dict[str, Any] = {
        "result": comparison.result,
        "distance": comparison.distance,
        "reason": comparison.reason,
        "method": comparison.method,
        "rows": comparison.rows,
        "rows_disagreeing": comparison.rows_disagreeing,
    }
    if comparison.scores:
        document["scores"] = dict(comparison.scores)
    if tells_fields and comparison.differences:
        fields = dict.fromkeys(field_of(each.path) for each in comparison.differences)
        if fields.keys() - _WHOLE:
            document["fields"] = [field for field in fields if field]
    return document


def noise_document(part: ShadowPart, comparison: Comparison | None, *, tells_fields: bool) -> dict[str, Any]:
    """Return what a record says of the champion's second answer: not what it was, but how it compares with the first.

    Args:
        part: the answer.
        comparison: with the client's.
        tells_fields: whether the names of places may be written.
    """
    return {
        "status": part.status or None,
        "fault": Fault(part.fault).label if part.fault else None,
        "duration_ms": round(part.duration_ns / 1e6, 3),
        "comparison": comparison_document(comparison, tells_fields=tells_fields),
    }

"""What a record says of comparisons: of each shadow's answer, row by row, and of the champion's second one. Pure.

Values and places are parts of bodies.

Rules
    * Where the route has rules for bodies, the name of a place may be just what must not be written: none is told.
    * Of a pair of which something was left out of either body, or all of it, labels are hashed as in the table of
      confusions, and numbers are not told: what was left out may be the value, and of two values and how they compare
      one tells the other. So it is where no body is written (``log.body: 0B``).
    * Rows are told up to a bound for the record, those that disagree first; how many are not is told as well.
"""

from collections.abc import Mapping
from typing import Any, Final

from proxy.compare import Comparison
from proxy.compare.rows import JudgedRow, Value, judged_rows
from proxy.exchange import ShadowPart
from proxy.model import Fault
from proxy.noise.fields import field_of
from proxy.privacy.actions import keyed_hash

__all__ = ["add_rows", "comparison_document", "hashed_label", "noise_document"]

_HASH_SHOWN: Final = 12
"""Hex digits of a hash that stands for a label: enough to tell the classes of a model apart."""

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


def add_rows(
    record: dict[str, Any],
    copies: Mapping[int, Mapping[str, Any]],
    comparisons: Mapping[int, Comparison],
    limit: int,
    key: bytes,
    *,
    is_hidden: bool,
) -> None:
    """Add ``rows`` and ``rows_omitted`` to a record; nothing where no row was compared.

    Args:
        record: to be added to; it has its ``response``.
        copies: what it says of each shadow's answer, by the shadow's index.
        comparisons: likewise.
        limit: most rows of all pairs together.
        key: of the hashes of labels that may not be written.
        is_hidden: none may, whatever the bodies.
    """
    found: list[dict[str, Any]] = []
    response, rows = record["response"], 0
    is_hidden = is_hidden or "redacted" in response or "withheld" in response
    for index, copy in copies.items():
        comparison = comparisons.get(index)
        if comparison is not None and comparison.rows:
            rows += comparison.rows
            hidden_by = key if is_hidden or "redacted" in copy or "withheld" in copy else None
            for judged in judged_rows(comparison, limit):
                found.append(_row(copy["model"], judged, hidden_by))
    if not rows:
        return
    if len(found) > 1:
        # By row and not by shadow: where there are too many, none has fewer than another.
        found.sort(key=lambda row: (row["agrees"], row["row"]))
        del found[limit:]
    record["rows"] = found
    record["rows_omitted"] = rows - len(found)


def _row(shadow: str, judged: JudgedRow, key: bytes | None) -> dict[str, Any]:
    row, reason, distance, primary, other = judged
    document: dict[str, Any] = {"shadow": shadow, "row": row, "agrees": reason is None}
    if reason is not None:
        document["reason"] = reason
    if key is not None:
        primary, other = _hidden(primary, key), _hidden(other, key)
    elif distance is not None:
        document["distance"] = distance
    for name, value in zip(_NAMES, (*primary, *other), strict=True):
        if value is not None:
            document[name] = value
    return document


_NAMES = ("primary_label", "primary_number", "primary_score", "shadow_label", "shadow_number", "shadow_score")


def _hidden(value: Value, key: bytes) -> Value:
    label = value[0]
    return None if label is None else hashed_label(key, label), None, None


def hashed_label(key: bytes, label: str) -> str:
    """Return what stands for a label that may not be shown."""
    return keyed_hash(key, label.encode("utf-8", "surrogatepass"))[:_HASH_SHOWN]

"""A disagreement as it may be shown: request, both answers and their differences, by the route's rules for records.

Pure. Rules
    * What a record of the route would not hold is not shown: bodies are redacted and cut as there, headers are those of
      ``log.headers``, the unit is its hash.
    * Of free text (``log.content``) the places of differences are shown and no values.
    * Where something must not be written, the differences are those of what is shown: the same comparison made again of
      the bodies as they are written, so that neither a value nor the name of a place can say more than these do. Where
      they cannot be compared there are no differences.
"""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, Final

from proxy.compare import DIFFERENCE_LIMIT, Answer, Comparison, compare
from proxy.compare.meaning import Pair, text_pairs
from proxy.compare.predictions import differing_rows
from proxy.exchange import Flag, Primary, ShadowPart
from proxy.observer.breakdown import Cell, Numbers
from proxy.observer.examples import Example
from proxy.observer.heads import answer_fields
from proxy.observer.pairing import frame_weight
from proxy.observer.record import (
    answer_document,
    is_cut_short,
    request_document,
    shown_id,
    timestamp,
    withholds_content,
)
from proxy.observer.record_comparisons import hashed_label
from proxy.observer.route_rules import RouteRules
from proxy.privacy.actions import keyed_hash

__all__ = [
    "Known",
    "Shown",
    "as_shown",
    "example_document",
    "example_id",
    "example_of",
    "strip",
    "told_pairs",
]

MAX_PATH_CHARACTERS: Final = 256
"""Longest place that is kept: the keys of a document may have any length."""

MAX_ID_BYTES: Final = 256

WITHHELD: Final = "(withheld)"
"""Stands for a value that is, or may be, free text where that is not to be shown (``log.content``)."""


@dataclass(frozen=True, slots=True)
class Shown:
    """A disagreement as it came."""

    rules: RouteRules
    primary: Primary
    part: ShadowPart
    comparison: Comparison
    slices: Mapping[str, str]
    unit: str | None
    """Its hash."""
    differing_rows: tuple[int, ...] = ()
    """The first rows that are predicted otherwise, where the route takes labels: to be labelled first."""
    is_stripped: bool = False
    """Heads and bodies were too large to keep."""
    was_withheld: bool = False
    """Of a stripped one: its content may not be shown."""
    late: dict[str, float] = field(default_factory=dict)
    """Figures that came after the comparison."""


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one shadow at one moment."""

    shadow: str
    """Name of its model."""
    since_wall_ns: int
    """When the counts began."""
    cells: Mapping[Cell, Numbers]
    newest: Sequence[Shown]
    extreme: Sequence[Shown]


def example_of(
    rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison, slices: Mapping[str, str]
) -> Example[Shown]:
    """Return a disagreement as an example."""
    unit = keyed_hash(rules.record.redactor.key, primary.unit) if primary.unit else None
    rows = () if comparison.predicted is None else differing_rows(comparison.predicted, DIFFERENCE_LIMIT)
    shown = Shown(rules, primary, part, _bounded(comparison), slices, unit, rows)
    return Example(comparison.reason or "", comparison.distance or 0.0, _weight(shown), shown)


def as_shown(
    rules: RouteRules,
    primary: Primary,
    part: ShadowPart,
    comparison: Comparison,
    mistakes: Sequence[tuple[str, str, int]],
) -> Sequence[tuple[str, str, int]]:
    """Return ``mistakes``, rows by the primary's and the shadow's label, as these may be shown.

    Labels are parts of bodies. Of an answer in which something had to be redacted hashes stand for them: what was may
    be the label.
    """
    record = rules.record
    is_hidden = is_other_hidden = withholds_content(record, primary, (part,))
    if not is_hidden:
        if not record.redactor.concerns_bodies:
            return mistakes
        answers = _answers(Shown(rules, primary, part, comparison, {}, None), withheld=False)
        is_hidden, is_other_hidden = (answer.get("redacted", False) for answer in answers)
    key = record.redactor.key
    return [
        (
            hashed_label(key, label) if is_hidden else label,
            hashed_label(key, other) if is_other_hidden else other,
            rows,
        )
        for label, other, rows in mistakes
    ]


def strip(example: Example[Shown]) -> Example[Shown]:
    """Return an example that is too heavy without heads and bodies."""
    shown = example.what
    primary = replace(
        shown.primary,
        request_id=shown.primary.request_id[:MAX_ID_BYTES],
        unit=b"",
        response_lines=b"",
        response_body=b"",
        details=None,
    )
    part = replace(shown.part, response_lines=b"", response_body=b"")
    light = replace(shown, primary=primary, part=part, is_stripped=True, was_withheld=_is_withheld(shown))
    return replace(example, weight=_weight(light), what=light)


def _is_withheld(shown: Shown) -> bool:
    if shown.is_stripped:
        return shown.was_withheld
    return withholds_content(shown.rules.record, shown.primary, (shown.part,))


def _bounded(comparison: Comparison) -> Comparison:
    """Return the comparison with places of bounded length, and without the values of all rows."""
    cut = comparison.differences
    if any(len(each.path) > MAX_PATH_CHARACTERS for each in cut):
        cut = tuple(replace(each, path=each.path[:MAX_PATH_CHARACTERS]) for each in cut)
    return comparison._replace(differences=cut, read=None, predicted=None)


def _weight(shown: Shown) -> int:
    primary, details = shown.primary, shown.primary.details
    texts = sum(
        len(each.path) + len(each.primary) + len(each.shadow) for each in shown.comparison.differences
    )
    texts += sum(map(len, shown.slices.values()))
    more = 0 if details is None else len(details.traceparent)
    # A character takes four bytes at most.
    raw = len(primary.request_id) + len(primary.unit) + more
    return frame_weight(primary) + frame_weight(shown.part) + raw + 4 * texts


def example_id(shown: Shown) -> str:
    """Return what names an example: the same pair has the same name, whenever it is asked for."""
    primary = shown.primary
    facts = (primary.worker, primary.version, primary.number, primary.started_wall_ns, shown.part.shadow)
    return sha256(repr(facts).encode()).hexdigest()[:12]


def example_document(shown: Shown) -> dict[str, Any]:
    """Return the example in words."""
    primary, comparison, rules = shown.primary, shown.comparison, shown.rules
    details, withheld = primary.details, _is_withheld(shown)
    answer, other = _answers(shown, withheld=withheld)
    return {
        "id": example_id(shown),
        "ts": timestamp(primary.started_wall_ns),
        "request_id": shown_id(rules.record, primary.request_id),
        "table_version": primary.version,
        "unit": shown.unit,
        "variant": rules.route.variants[primary.variant].name,
        "shadow": rules.route.shadows[shown.part.shadow].model.name,
        "method": comparison.method,
        "reason": comparison.reason,
        "distance": comparison.distance,
        "scores": {**dict(comparison.scores), **shown.late},
        "rows": comparison.rows,
        "rows_disagreeing": comparison.rows_disagreeing,
        "differing_rows": list(shown.differing_rows),
        "slices": dict(shown.slices),
        "differences": _differences(shown, answer, other, withheld=withheld),
        "request": None
        if details is None
        else request_document(rules.record, primary, details, withheld=withheld),
        "response": answer,
        "shadow_response": other,
        "omitted": "larger than what is kept of one example" if shown.is_stripped else None,
    }


def _answers(shown: Shown, *, withheld: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    primary, part, rule = shown.primary, shown.part, shown.rules.record
    if shown.is_stripped:
        return {"status": primary.status}, {"status": part.status}
    body = primary.response_body
    size = len(body) if primary.details is None else primary.details.response_bytes
    is_cut = part.flags & Flag.RESPONSE_TRUNCATED != 0
    return (
        answer_document(
            rule,
            primary.status,
            primary.response_lines,
            body,
            size,
            is_cut=is_cut_short(primary),
            withheld=withheld,
        ),
        answer_document(
            rule,
            part.status,
            part.response_lines,
            part.response_body,
            part.response_bytes,
            is_cut=is_cut,
            withheld=withheld,
        ),
    )


def told_pairs(
    rules: RouteRules, primary: Primary, part: ShadowPart, comparison: Comparison
) -> tuple[Pair, ...] | None:
    """Return the texts of two answers as another server may be told them: without what must not be written.

    None where that cannot be told from the rest, or the answers are longer than what is written.
    """
    if rules.record.redactor.concerns_bodies:
        answer, other = _answers(Shown(rules, primary, part, comparison, {}, None), withheld=False)
        first, second = _as_written(answer), _as_written(other)
        return None if first is None or second is None else text_pairs(rules.compare, first, second)
    kind, coding, length = answer_fields(primary.response_lines)
    body, is_cut = primary.response_body, part.flags & Flag.RESPONSE_TRUNCATED != 0
    raw = Answer(primary.status, kind, coding, body, is_cut_short(primary), length)
    kind, coding, length = answer_fields(part.response_lines)
    return text_pairs(
        rules.compare, raw, Answer(part.status, kind, coding, part.response_body, is_cut, length)
    )


def _differences(
    shown: Shown, answer: Mapping[str, Any], other: Mapping[str, Any], *, withheld: bool
) -> list[dict[str, str]]:
    comparison = shown.comparison
    if comparison.reason != "status":
        if shown.rules.record.redactor.concerns_bodies:
            first, second = _as_written(answer), _as_written(other)
            if first is None or second is None:
                return []
            comparison = _bounded(compare(shown.rules.compare, first, second))
        elif withheld:
            return [
                {"path": each.path, "primary": WITHHELD, "shadow": WITHHELD}
                for each in comparison.differences
            ]
    return [
        {"path": each.path, "primary": each.primary, "shadow": each.shadow} for each in comparison.differences
    ]


def _as_written(answer: Mapping[str, Any]) -> Answer | None:
    """Return an answer as it is shown, to be compared; None where it is not shown whole."""
    body = answer.get("body")
    if body is None or answer["truncated"]:
        return None
    kind = answer["content_type"]
    return Answer(
        answer["status"],
        None if kind is None else kind.encode(),
        None,
        body.encode() if answer["encoding"] == "text" else base64.b64decode(body),
        inference_header_length=answer.get("inference_header_length"),
        is_assembled=answer.get("assembled", False),
    )

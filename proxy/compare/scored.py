"""Rows that name classes beside scores → pairs of the two.

======================= ==============================================================================
Hugging Face            ``[{"label", "score"}, …]`` for each text or image; ``{"labels": […], "scores": […]}``
TensorFlow Serving      ``[[label, score], …]`` for each row (classify)
TorchServe              ``{label: score, …}``
Custom Vision           ``{"predictions": [{"tagName", "probability"}, …]}`` for an image
======================= ==============================================================================
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, TypeAlias

from proxy.compare.values import Json

__all__ = [
    "LABEL_KEYS",
    "SCORE_KEYS",
    "Pairs",
    "read_alternatives",
    "read_best",
    "read_scored_rows",
]

Pairs: TypeAlias = list[tuple[str, float]]
"""Labels of one row with their scores, in the order in which they were written."""

LABEL_KEYS: Final = (
    "label",
    "class",
    "class_name",
    "category",
    "tagName",
    "token_str",
    "predicted_label",
    "predicted_class",
)
SCORE_KEYS: Final = ("score", "confidence", "probability", "prob")
"""What a class and its score are called."""

_NAMES: Final = frozenset({*LABEL_KEYS, *SCORE_KEYS, "prediction"})
_BESIDE: Final = frozenset({"class_id", "id", "index", "sequence", "tagId", "tagType", "token"})
_SUM_TOLERANCE: Final = 1e-3
_TOP: Final = 5
"""Labels from which a map of falling scores is the first ones of a classifier, though they do not add up to 1. Five is
what TorchServe gives; by chance, five numbers stand so once in 120 times."""
_NUMBERS: Final = frozenset({int, float})


def read_scored_rows(rows: Sequence[Json]) -> list[Pairs] | None:
    """Return the pairs of every row; ``None`` unless all of them are some."""
    if not rows:
        return None
    found: list[Pairs] = []
    for row in rows:
        pairs = _read_row(row)
        if not pairs:
            return None
        found.append(pairs)
    return found


def read_alternatives(rows: Sequence[Json], least: int = 2) -> Pairs | None:
    """Return the pairs of a list of ``{"label", "score"}`` that is one row: what one input may be, the best first.

    A list of as many inputs looks the same, but that their scores do not fall below what is left of 1; of fewer than
    ``least`` that says nothing.
    """
    pairs = _read_objects(list(rows)) if len(rows) >= least else None
    if pairs is None or len({label for label, _ in pairs}) < len(pairs):
        return None
    scores = [score for _, score in pairs]
    return pairs if _are_falling(scores) and sum(scores) <= 1.0 + _SUM_TOLERANCE else None


def read_best(rows: Sequence[Json]) -> list[str] | None:
    """Return the first label of every map from label to score, where someone says that they are such.

    Whoever asks for classes gets them of fewer than `_TOP` as well: of falling scores, at most 1 in all.
    """
    found: list[str] = []
    for row in rows:
        if type(row) is not dict or len(row) < 2 or not _NUMBERS.issuperset(map(type, row.values())):
            return None
        scores = list(row.values())
        if scores[-1] < 0.0 or not _are_falling(scores) or sum(scores) > 1.0 + _SUM_TOLERANCE:
            return None
        found.append(next(iter(row)))
    return found or None


def _read_row(row: Json) -> Pairs | None:
    if type(row) is list:
        return _read_lists(row) or _read_objects(row)
    if type(row) is not dict:
        return None
    labels, scores = row.get("labels"), row.get("scores")
    if type(labels) is list and type(scores) is list and row.keys() <= {"labels", "scores", "sequence"}:
        return _paired(labels, scores)
    return _read_map(row)


def _read_lists(row: list[Json]) -> Pairs | None:
    if any(type(pair) is not list or len(pair) != 2 for pair in row):
        return None
    return _paired([pair[0] for pair in row], [pair[1] for pair in row])


def _read_objects(row: list[Json]) -> Pairs | None:
    if not row or type(row[0]) is not dict:
        return None
    label = next((key for key in LABEL_KEYS if key in row[0]), None)
    score = next((key for key in SCORE_KEYS if key in row[0]), None)
    if label is None or score is None:
        return None
    allowed = _BESIDE | {label, score}
    if any(type(each) is not dict or not {label, score} <= each.keys() <= allowed for each in row):
        return None
    return _paired([each[label] for each in row], [each[score] for each in row])


def _paired(labels: list[Json], scores: list[Json]) -> Pairs | None:
    if len(labels) != len(scores) or any(type(label) is not str for label in labels):
        return None
    return list(zip(labels, scores, strict=True)) if _NUMBERS.issuperset(map(type, scores)) else None


def _read_map(row: dict[str, Json]) -> Pairs | None:
    """Read a map from class to probability: those of all classes, or of the first ones, the best first."""
    scores = list(row.values())
    if len(scores) < 2 or not _NUMBERS.issuperset(map(type, scores)) or float not in set(map(type, scores)):
        return None
    if not row.keys().isdisjoint(_NAMES):
        return None  # {"class": 0, "confidence": 0.9995}
    total = sum(scores)
    if min(scores) < 0.0 or not total <= 1.0 + _SUM_TOLERANCE:
        return None
    is_all = total >= 1.0 - _SUM_TOLERANCE
    return list(row.items()) if is_all or (len(scores) >= _TOP and _are_falling(scores)) else None


def _are_falling(scores: Sequence[float]) -> bool:
    return all(before >= after for before, after in pairwise(scores))

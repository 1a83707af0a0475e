"""Which boxes of two images are the same thing."""

from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from proxy.compare.values import Json

__all__ = ["Corners", "Matching", "iou_matrix", "is_same", "match"]

Corners: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
"""(boxes, 4): x1, y1, x2, y2, finite."""


class Matching(NamedTuple):
    """Which boxes of two images are the same thing."""

    pairs: list[tuple[int, int, float]]
    """First, second, their overlap; those of one class first."""
    alone: tuple[list[int], list[int]]
    """What nothing matches, in either."""


def match(
    first: Corners, second: Corners, labels: Sequence[Json], others: Sequence[Json], least: float
) -> Matching:
    """Match boxes greedily, the largest overlap first, those of one class before those of two.

    Args:
        first: (n, 4) corners.
        second: (m, 4) corners.
        labels: classes of the first, n of them.
        others: classes of the second, m of them.
        least: overlap from which two boxes may be one, in (0, 1].
    """
    overlaps = iou_matrix(first, second)
    rows, columns = np.nonzero(overlaps >= least)
    close = overlaps[rows, columns]
    # Ties in the order of the first answer, then of the second: the same in every run.
    order = np.lexsort((columns, rows, -close))
    rows, columns, close = rows[order], columns[order], close[order]
    numbers: dict[Hashable, int] = {}
    kinds, other_kinds = (
        np.array([numbers.setdefault(_kind(label), len(numbers)) for label in side], np.int64)
        for side in (labels, others)
    )
    same_class = kinds[rows] == other_kinds[columns]
    pairs: list[tuple[int, int, float]] = []
    alone, alone_others = set(range(len(first))), set(range(len(second)))
    for chosen in (same_class, ~same_class):
        candidates = zip(rows[chosen].tolist(), columns[chosen].tolist(), close[chosen].tolist(), strict=True)
        for row, column, iou in candidates:
            if row in alone and column in alone_others:
                alone.remove(row)
                alone_others.remove(column)
                pairs.append((row, column, iou))
    return Matching(pairs, (sorted(alone), sorted(alone_others)))


def iou_matrix(first: Corners, second: Corners) -> Corners:
    """Return intersection over union of every box of one list with every one of another: (n, m), in [0, 1].

    Boxes are (x1, y1, x2, y2) with corners in either order. Equal boxes have 1, even without an area.
    """
    left, low, right, high = _sides(first)
    other_left, other_low, other_right, other_high = _sides(second)
    with np.errstate(over="ignore", invalid="ignore"):
        width = np.minimum.outer(right, other_right) - np.maximum.outer(left, other_left)
        height = np.minimum.outer(high, other_high) - np.maximum.outer(low, other_low)
        shared = np.maximum(width, 0.0) * np.maximum(height, 0.0)
        areas = (right - left) * (high - low), (other_right - other_left) * (other_high - other_low)
        union = np.add.outer(*areas) - shared
        has_area = np.isfinite(union) & (union > 0.0)
        found: Corners = np.divide(shared, union, out=np.zeros_like(shared), where=has_area)
    if not has_area.all():
        one, other = np.stack(_sides(first), axis=1), np.stack(_sides(second), axis=1)
        found[~has_area & (one[:, None] == other[None]).all(axis=2)] = 1.0
    return found


def _sides(corners: Corners) -> tuple[Corners, Corners, Corners, Corners]:
    """Return left, low, right and high of every box, whichever corner was written first."""
    one, other = corners[:, :2], corners[:, 2:]
    low, high = np.minimum(one, other), np.maximum(one, other)
    return low[:, 0], low[:, 1], high[:, 0], high[:, 1]


def is_same(label: Json, other: Json) -> bool:
    """Whether two classes are one: ``1`` and ``1.0`` are, ``1`` and ``"1"`` are not, nor is ``true`` a number."""
    return _kind(label) == _kind(other)


def _kind(label: Json) -> Hashable:
    # NaN equals nothing, and a boolean equals a number in Python.
    return ("NaN",) if label != label else (type(label) is bool, label)

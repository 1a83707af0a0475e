"""Which boxes of two images are the same thing."""

from collections.abc import Sequence
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
    candidates = [
        (row, column, iou)
        for row, column, iou in zip(
            rows[order].tolist(), columns[order].tolist(), close[order].tolist(), strict=True
        )
    ]
    pairs: list[tuple[int, int, float]] = []
    taken: set[int] = set()
    taken_others: set[int] = set()
    for same_class in (True, False):
        for row, column, iou in candidates:
            if row in taken or column in taken_others or is_same(labels[row], others[column]) != same_class:
                continue
            taken.add(row)
            taken_others.add(column)
            pairs.append((row, column, iou))
    return Matching(
        pairs,
        (
            [at for at in range(len(first)) if at not in taken],
            [at for at in range(len(second)) if at not in taken_others],
        ),
    )


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
    return np.minimum(found, 1.0)


def _sides(corners: Corners) -> tuple[Corners, Corners, Corners, Corners]:
    """Return left, low, right and high of every box, whichever corner was written first."""
    one, other = corners[:, :2], corners[:, 2:]
    low, high = np.minimum(one, other), np.maximum(one, other)
    return low[:, 0], low[:, 1], high[:, 0], high[:, 1]


def is_same(label: Json, other: Json) -> bool:
    """Whether two classes are one: ``1`` and ``1.0`` are, ``1`` and ``"1"`` are not, nor is ``true`` a number."""
    return bool(label == other) and (type(label) is bool) == (type(other) is bool)

"""Boxes overlap as rectangles do, and each finds at most one like it."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.overlaps import Corners, iou_matrix, is_same, match

corner = st.integers(0, 20).map(float) | st.floats(allow_nan=False, allow_infinity=False)
boxes = st.lists(st.tuples(corner, corner, corner, corner), max_size=6).map(
    lambda found: np.array(found, np.float64).reshape(len(found), 4)
)

IOU: dict[str, tuple[list[float], list[float], float]] = {
    "equal": ([0, 0, 2, 2], [0, 0, 2, 2], 1.0),
    "half": ([0, 0, 2, 2], [0, 0, 2, 1], 0.5),
    "a quarter of each": ([0, 0, 2, 2], [1, 1, 3, 3], 1 / 7),
    "apart": ([0, 0, 1, 1], [2, 2, 3, 3], 0.0),
    "touching": ([0, 0, 1, 1], [1, 0, 2, 1], 0.0),
    "corners the other way round": ([2, 2, 0, 0], [0, 0, 2, 2], 1.0),
    "a point and itself": ([1, 1, 1, 1], [1, 1, 1, 1], 1.0),
    "a point and a box around it": ([1, 1, 1, 1], [0, 0, 2, 2], 0.0),
    "beyond all numbers": ([-1e300, -1e300, 1e300, 1e300], [-1e300, -1e300, 1e300, 1e300], 1.0),
    "two points": ([1, 1, 1, 1], [2, 2, 2, 2], 0.0),
    "a line and itself": ([0, 0, 5, 0], [5, 0, 0, 0], 1.0),
    "negative": ([-2, -2, 0, 0], [-1, -2, 0, 0], 0.5),
}


def _boxes(*corners: list[float]) -> Corners:
    return np.array(corners, np.float64).reshape(len(corners), 4)


@pytest.mark.parametrize("name", IOU)
def test_iou(name: str) -> None:
    """Intersection over union, in either order."""
    one, other, expected = IOU[name]
    assert iou_matrix(_boxes(one), _boxes(other))[0, 0] == pytest.approx(expected)
    assert iou_matrix(_boxes(other), _boxes(one))[0, 0] == pytest.approx(expected)


@given(boxes, boxes)
def test_iou_range(first: Corners, second: Corners) -> None:
    """In [0, 1], symmetric, 1 for a box and itself."""
    found = iou_matrix(first, second)
    assert found.shape == (len(first), len(second))
    assert ((found >= 0.0) & (found <= 1.0)).all()
    assert (found == iou_matrix(second, first).T).all()
    assert (np.diagonal(iou_matrix(first, first)) == 1.0).all()


A, B, FAR = [0, 0, 10, 10], [0, 0, 10, 8], [50, 50, 60, 60]

# first, its classes, second, its classes, least → pairs, alone on each side
MATCHES: dict[str, tuple[list[Any], list[Any], list[Any], list[Any], float, Any, Any]] = {
    "the same in another order": (
        [A, FAR],
        ["a", "b"],
        [FAR, A],
        ["b", "a"],
        0.5,
        {(0, 1), (1, 0)},
        ([], []),
    ),
    "the larger overlap first": ([A, B], ["a", "a"], [A], ["a"], 0.5, {(0, 0)}, ([1], [])),
    "the class before the overlap": ([A, B], ["a", "b"], [A], ["b"], 0.5, {(1, 0)}, ([0], [])),
    "of another class if there is no other": ([A], ["a"], [B], ["b"], 0.5, {(0, 0)}, ([], [])),
    "too little overlap": ([A], ["a"], [B], ["a"], 0.9, set(), ([0], [0])),
    "nothing": ([], [], [], [], 0.5, set(), ([], [])),
    "nothing on one side": ([], [], [A], ["a"], 0.5, set(), ([], [0])),
    "two things in one place": (
        [A, A],
        ["dog", "cat"],
        [A, A],
        ["cat", "dog"],
        0.5,
        {(0, 1), (1, 0)},
        ([], []),
    ),
}


@pytest.mark.parametrize("name", MATCHES)
def test_match(name: str) -> None:
    """Greedy by overlap, within a class before across classes."""
    first, labels, second, others, least, pairs, alone = MATCHES[name]
    found = match(_boxes(*first), _boxes(*second), labels, others, least)
    assert {(a, b) for a, b, _ in found.pairs} == pairs
    assert found.alone == alone


@given(boxes, boxes, st.sampled_from([0.1, 0.5, 0.9]), st.data())
def test_everyone_is_somewhere(first: Corners, second: Corners, least: float, data: st.DataObject) -> None:
    """Each box is in one pair or alone, and no pair overlaps less than it must."""
    labels, others = (
        data.draw(st.lists(st.sampled_from("ab"), min_size=len(n), max_size=len(n))) for n in (first, second)
    )
    found = match(first, second, labels, others, least)
    assert sorted([at for at, _, _ in found.pairs] + found.alone[0]) == list(range(len(first)))
    assert sorted([at for _, at, _ in found.pairs] + found.alone[1]) == list(range(len(second)))
    assert all(iou >= least for _, _, iou in found.pairs)


@given(boxes)
def test_matched_with_itself(found: Corners) -> None:
    """Every box has its like in the same image."""
    labels = list(range(len(found)))
    assert match(found, found, labels, labels, 1.0).alone == ([], [])


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (1, 1.0, True),
        (1, "1", False),
        (1, True, False),
        (None, None, True),
        ("a", "a", True),
        (float("nan"), float("nan"), True),
    ],
)
def test_is_same(one: Any, other: Any, same: bool) -> None:
    """JSON's numbers are one kind, and a boolean is none of them."""
    assert is_same(one, other) is same

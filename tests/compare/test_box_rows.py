"""What detectors call box, class and score, and where a text names something."""

from typing import Any

import pytest

from proxy.compare.box_rows import read_box_row, read_corners

ROWS: dict[str, tuple[Any, Any]] = {
    "Hugging Face": ({"box": {"xmin": 1}, "label": "cat", "score": 0.9}, ({"xmin": 1}, "cat", 0.9)),
    "Ultralytics": (
        {"box": {"x1": 1}, "name": "cat", "class": 3, "confidence": 0.9},
        ({"x1": 1}, "cat", 0.9),
    ),
    "COCO": ({"image_id": 1, "category_id": 18, "bbox": [1, 2, 3, 4], "score": 0.9}, ([1, 2, 3, 4], 18, 0.9)),
    "Custom Vision": (
        {"boundingBox": {"left": 1}, "tagName": "cat", "tagId": "x", "probability": 0.9},
        ({"left": 1}, "cat", 0.9),
    ),
    "Roboflow": (
        {"x": 1, "y": 2, "width": 3, "height": 4, "class": "cat"},
        ({"x": 1, "y": 2, "width": 3, "height": 4, "class": "cat"}, "cat", None),
    ),
    "TorchServe": ({"cat": [1, 2, 3, 4], "score": 0.9}, ([1, 2, 3, 4], "cat", 0.9)),
    "a span": (
        {"entity_group": "PER", "score": 0.9, "word": "Ada", "start": 3, "end": 6},
        ([3, 6, 3, 6], "PER", 0.9),
    ),
    "a token": (
        {"entity": "B-PER", "score": 0.9, "index": 1, "word": "Ada", "start": 0, "end": 3},
        ([0, 3, 0, 3], "B-PER", 0.9),
    ),
    "a token without a place": (
        {"entity": "B-PER", "score": 0.9, "index": 1, "word": "Ada", "start": None, "end": None},
        None,
    ),
    "a period": ({"entity": "Ada", "score": 0.9, "start": 0, "end": 3, "salary": 5}, None),
    "an interval without a class": ({"score": 0.9, "start": 0, "end": 3}, None),
    "a window": ({"x": 1, "y": 2, "width": 3, "height": 4}, None),
    "two scores": ({"score": 1, "confidence": 2}, None),
    "TorchServe, with more": ({"cat": [1, 2, 3, 4], "score": 0.9, "id": 7}, None),
    "a class": ({"label": "cat", "score": 0.9}, None),
    "three numbers": ({"cat": [1, 2, 3], "score": 0.9}, None),
    "no object": (3, None),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """Box, class and score as they were written."""
    row, expected = ROWS[name]
    assert read_box_row(row) == expected


CORNERS: dict[str, tuple[Any, str, list[float] | None]] = {
    "corners": ([1, 2, 3, 4.5], "xyxy", [1, 2, 3, 4.5]),
    "a corner and sides": ([1, 2, 3, 4], "xywh", [1, 2, 4, 6]),
    "the centre and sides": ([10, 10, 4, 2], "cxcywh", [8, 9, 12, 11]),
    "named corners": ({"x1": 1, "y1": 2, "x2": 3, "y2": 4}, "xyxy", [1, 2, 3, 4]),
    "named sides, whatever the form": (
        {"left": 1, "top": 2, "width": 3, "height": 4},
        "xyxy",
        [1, 2, 4, 6],
    ),
    "named sides of a centre": ({"x": 10, "y": 10, "width": 4, "height": 2}, "cxcywh", [8, 9, 12, 11]),
    "names that are missing": ({"x": 1, "y": 2}, "xyxy", None),
    "a text": ({"x": 1, "y": 2, "w": 3, "h": "4"}, "xywh", None),
    "three": ([1, 2, 3], "xyxy", None),
    "a truth value": ([1, 2, 3, True], "xyxy", None),
    "nothing": (None, "xyxy", None),
}


@pytest.mark.parametrize("name", CORNERS)
def test_corners(name: str) -> None:
    """Two corners, in any convention."""
    box, form, expected = CORNERS[name]
    assert read_corners(box, form) == expected

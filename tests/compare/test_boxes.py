"""Detections are read where detectors put them, and judged image by image."""

from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.boxes import BOX_LIMIT, BOX_TOTAL_LIMIT
from tests.compare.answers import json_answer, oip, text_answer, v1

RULE = ComparisonRule("detection")
A, A_MOVED, B = [0, 0, 10, 10], [0, 0, 10, 8], [20, 20, 30, 30]


def found(boxes: Any, labels: Any = None, scores: Any = None) -> dict[str, Any]:
    parts = {"boxes": boxes, "labels": labels, "scores": scores}
    return {name: part for name, part in parts.items() if part is not None}


# rule, primary, shadow → result, distance, reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "torchvision": (
        RULE,
        json_answer(found([A, B], [1, 2], [0.9, 0.8])),
        json_answer(found([B, A_MOVED], [2, 1], [0.7, 0.6])),
        ("agree", 0.1, None, 1, 0),
    ),
    "another class": (
        RULE,
        json_answer(found([A], ["cat"])),
        json_answer(found([A], ["dog"])),
        ("disagree", 0.0, "label", 1, 1),
    ),
    "one box more": (
        RULE,
        json_answer(found([A])),
        json_answer(found([A, B])),
        ("disagree", 0.5, "boxes", 1, 1),
    ),
    "none in either": (RULE, json_answer(found([])), json_answer(found([])), ("agree", 0.0, None, 1, 0)),
    "none in one": (RULE, json_answer(found([])), json_answer(found([A])), ("disagree", 1.0, "boxes", 1, 1)),
    "a box without an area": (
        RULE,
        json_answer(found([[1, 1, 1, 1]])),
        json_answer(found([[1.0, 1.0, 1.0, 1.0]])),
        ("agree", 0.0, None, 1, 0),
    ),
    "TensorFlow, two images": (
        RULE,
        v1(
            {"detection_boxes": [A], "detection_classes": [1.0], "detection_scores": [0.9]},
            {"detection_boxes": [A, B], "detection_classes": [1.0, 2.0], "detection_scores": [0.9, 0.2]},
        ),
        v1(
            {"detection_boxes": [A], "detection_classes": [1.0], "detection_scores": [0.9]},
            {"detection_boxes": [A], "detection_classes": [1.0], "detection_scores": [0.9]},
        ),
        ("disagree", 1 / 3, "boxes", 2, 1),
    ),
    "what is hardly seen does not count": (
        ComparisonRule("detection", threshold=0.5),
        v1({"detection_boxes": [A, B], "detection_classes": [1, 2], "detection_scores": [0.9, 0.2]}),
        v1({"detection_boxes": [A], "detection_classes": [1], "detection_scores": [0.9]}),
        ("agree", 0.0, None, 1, 0),
    ),
    "Hugging Face": (
        RULE,
        json_answer([{"score": 0.9, "label": "cat", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 10}}]),
        json_answer([{"score": 0.8, "label": "cat", "box": {"xmin": 0, "ymin": 0, "xmax": 10, "ymax": 5}}]),
        ("agree", 0.5, None, 1, 0),
    ),
    "a list of nothing": (RULE, json_answer([]), json_answer([]), ("agree", 0.0, None, 1, 0)),
    "outputs of the protocol": (
        RULE,
        oip(("boxes", "FP32", [1, 2, 4], [*A, *B]), ("labels", "INT64", [1, 2], [1, 2])),
        oip(("boxes", "FP32", [1, 2, 4], [*A, *B]), ("labels", "INT64", [1, 2], [1, 3])),
        ("disagree", 0.0, "label", 1, 1),
    ),
    "outputs without a batch": (
        RULE,
        oip(("boxes", "FP32", [2, 4], [*A, *B])),
        oip(("boxes", "FP32", [1, 4], A)),
        ("disagree", 0.5, "boxes", 1, 1),
    ),
    "corner and sides, where the rule says": (
        ComparisonRule("detection", at="/o/*/bbox", label="/o/*/name", boxes="xywh"),
        json_answer({"o": [{"bbox": [5, 5, 10, 10], "name": "a"}]}),
        json_answer({"o": [{"bbox": [5, 5, 10, 5], "name": "a"}]}),
        ("agree", 0.5, None, 1, 0),
    ),
    "centre and sides, as an object": (
        ComparisonRule("detection", at="/p", boxes="cxcywh"),
        json_answer({"p": [{"x": 5, "y": 5, "width": 10, "height": 10}]}),
        json_answer({"p": [[5, 5, 10, 10]]}),
        ("agree", 0.0, None, 1, 0),
    ),
    "a stricter overlap": (
        ComparisonRule("detection", iou=0.9),
        json_answer(found([A])),
        json_answer(found([A_MOVED])),
        ("disagree", 1.0, "boxes", 1, 1),
    ),
    "fewer images": (RULE, v1(found([A]), found([B])), v1(found([A])), ("disagree", 1.0, "rows", 2, 2)),
    "no boxes": (RULE, v1(1), v1(1), ("uncomparable", None, "no_boxes", 0, 0)),
    "no boxes in the shadow's": (
        RULE,
        json_answer(found([A])),
        text_answer("oops"),
        ("disagree", 1.0, "format", 1, 1),
    ),
    "fewer labels than boxes": (
        RULE,
        json_answer(found([A, B], [1])),
        json_answer(found([A])),
        ("uncomparable", None, "no_boxes", 0, 0),
    ),
    "labels of fewer images": (
        RULE,
        json_answer(found([[A], [B]], [[1]])),
        json_answer(found([A])),
        ("uncomparable", None, "no_boxes", 0, 0),
    ),
    "a word for the labels of two images": (
        RULE,
        json_answer(found([[A], [B]], "ab")),
        json_answer(found([A])),
        ("uncomparable", None, "no_boxes", 0, 0),
    ),
    "a corner that is no number": (
        RULE,
        json_answer(b'{"boxes": [[0, 0, NaN, 10]]}'),
        json_answer(found([A])),
        ("uncomparable", None, "no_boxes", 0, 0),
    ),
    "two images of rows, the second differs": (
        RULE,
        json_answer([[{"score": 0.9, "label": "a", "box": A}], [{"score": 0.9, "label": "a", "box": A}]]),
        json_answer([[{"score": 0.9, "label": "a", "box": A}], [{"score": 0.9, "label": "b", "box": A}]]),
        ("disagree", 0.0, "label", 2, 1),
    ),
    "half a box": (
        RULE,
        json_answer(found([[0, 0, 1]])),
        json_answer(found([A])),
        ("uncomparable", None, "no_boxes", 0, 0),
    ),
    "as many as are matched": (
        RULE,
        json_answer(found([A] * BOX_LIMIT)),
        json_answer(found([A] * BOX_LIMIT)),
        ("agree", 0.0, None, 1, 0),
    ),
    "too many in an image": (
        RULE,
        json_answer(found([A] * (BOX_LIMIT + 1))),
        json_answer(found([A] * (BOX_LIMIT + 1))),
        ("uncomparable", None, "too_many_boxes", 0, 0),
    ),
    "too many in all": (
        RULE,
        v1(*[found([A] * BOX_LIMIT)] * (BOX_TOTAL_LIMIT // BOX_LIMIT), found([A])),
        v1(found([A])),
        ("uncomparable", None, "too_many_boxes", 0, 0),
    ),
    "too many in the shadow's": (
        RULE,
        json_answer(found([A])),
        json_answer(found([A] * (BOX_LIMIT + 1))),
        ("disagree", 1.0, "boxes", 1, 1),
    ),
    "auto": (
        ComparisonRule(),
        oip(("boxes", "FP32", [1, 1, 4], A), ("labels", "INT64", [1, 1], [1])),
        oip(("boxes", "FP32", [1, 2, 4], A + B), ("labels", "INT64", [1, 2], [1, 1])),
        ("disagree", 0.5, "boxes", 1, 1),
    ),
}


DEEP = b"[" * 900 + b"]" * 900
NESTED = [DEEP, b"[%s, [1, 2, 3, 4]]" % DEEP, b"[[[1, 2, 3]]]", b"[null]", b"[[]]", b"5", b'{"a": 1}']


@pytest.mark.parametrize("boxes", NESTED, ids=range(len(NESTED)))
def test_boxes_of_any_nesting(boxes: bytes) -> None:
    """What stands in the place of Vertex AI's or Detectron2's boxes is read or is none, however deep it is."""
    for row in (b'{"displayNames": ["a"], "bboxes": %s}', b'{"instances": {"pred_boxes": %s}}'):
        answer = json_answer(b'{"predictions": [%s]}' % (row % boxes))
        for method in ("auto", "detection"):
            assert compare(ComparisonRule(method), answer, answer).result in ("agree", "uncomparable")


@pytest.mark.parametrize("name", CASES)
def test_boxes(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "detection"
    distance = said.distance if said.distance is None else pytest.approx(said.distance)
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing) == expected


def test_what_is_told() -> None:
    """The confusion counts boxes by class, what is alone beside nobody; differences name image and box."""
    said = compare(
        RULE,
        json_answer(found([A, B, [70, 70, 80, 80]], ["cat", "dog", "dog"])),
        json_answer(found([A, [90, 90, 95, 95], B], ["cat", "owl", "dog"])),
    )
    assert sorted(said.confusion) == [
        ("(none)", "owl", 1),
        ("cat", "cat", 1),
        ("dog", "(none)", 1),
        ("dog", "dog", 1),
    ]
    assert said.scores == (("iou", 0.5),)
    assert [(d.path, d.primary, d.shadow) for d in said.differences] == [
        ("/0/2", '"dog" [70, 70, 80, 80]', "(none)"),
        ("/0/1", "(none)", '"owl" [90, 90, 95, 95]'),
    ]

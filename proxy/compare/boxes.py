"""Boxes around things in images: the method ``detection``.

A row is an image. Boxes of both answers are matched by overlap (intersection over union, at least the rule's ``iou``),
first those of one class, then what is left: those have another ``label``. A box that nothing matches disagrees too.
The distance is 1 - the mean IoU, over matched pairs and, with 0, unmatched boxes.

Where boxes stand, unless ``at``, ``label`` and ``score`` say so: in outputs or keys named ``boxes``, ``labels``,
``scores`` (torchvision), ``detection_boxes``, … (TensorFlow), ``bboxes``, ``displayNames``, ``confidences`` (Vertex AI,
whose numbers are x1, x2, y1, y2), inside ``instances`` (Detectron2), or as a list of objects that name them
(``box_rows``). What a text names stands in it as boxes do in an image: a span of the same class from and to the same
letter is its like.
"""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Final, NamedTuple, TypeAlias

import numpy as np

from proxy.compare.box_rows import BoxRow, read_box_row, read_corners
from proxy.compare.documents import render
from proxy.compare.judge import Judge
from proxy.compare.overlaps import Corners, Matching, is_same, match
from proxy.compare.places import nested, select_value, whole
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Json,
    Prediction,
    Read,
)
from proxy.compare.verdicts import by_rows, confusion_of, disagree_whole, scores_of

__all__ = [
    "BOX_LIMIT",
    "BOX_NAMES",
    "BOX_TOTAL_LIMIT",
    "IMAGES",
    "THING_NAMES",
    "has_boxes",
]

IOU: Final = 0.5
"""Overlap that makes two boxes one where the rule names none: PASCAL VOC's."""

BOX_LIMIT: Final = 512
"""Boxes of one image that are matched. Detectors give 100 to 300; all pairs of 512 take some 10 ms."""

BOX_TOTAL_LIMIT: Final = 4096
"""Boxes of one answer, so that a batch of images takes no more than eight images of `BOX_LIMIT`."""

BOX_NAMES: Final = ("boxes", "bboxes", "detection_boxes", "pred_boxes", "bounding_boxes")
_BOX_NAMES: Final = frozenset(BOX_NAMES)
_LABEL_NAMES: Final = (
    *("labels", "classes", "detection_classes", "pred_classes", "class_ids", "class_names"),
    "displayNames",
)
_SCORE_NAMES: Final = ("scores", "detection_scores", "confidences", "confidence")

_NUMBERS: Final = frozenset({int, float})

NOBODY: Final = "(none)"
"""Stands in the confusion for the box that is not there."""


class _Image(NamedTuple):
    """What was found in one image."""

    corners: Corners
    """(boxes, 4): x1, y1, x2, y2."""
    labels: Sequence[Json]


class _Images(NamedTuple):
    """An image for each row."""

    images: Sequence[_Image]
    source: str = ""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.images)

    @property
    def boxes(self) -> int:
        """How many boxes there are in all of them."""
        return sum(len(image.corners) for image in self.images)

    @property
    def is_too_large(self) -> bool:
        """Whether there are more boxes than are matched."""
        most = max((len(image.corners) for image in self.images), default=0)
        return most > BOX_LIMIT or self.boxes > BOX_TOTAL_LIMIT


def _judge_images(rule: ComparisonRule, first: _Images, second: _Images) -> Comparison:
    """Compare the boxes of every image."""
    if second.is_too_large:
        told = f"{first.boxes} boxes", f"{second.boxes} boxes"
        return disagree_whole("boxes", "detection", first.rows, *told, first)
    reasons: list[str | None] = []
    differences: list[Difference] = []
    labels: tuple[list[Json], list[Json]] = [], []
    distances: list[float] = []
    overlap, boxes = 0.0, 0
    for row, (a, b) in enumerate(zip(first.images, second.images, strict=True)):
        found = match(a.corners, b.corners, a.labels, b.labels, IOU if rule.iou is None else rule.iou)
        common = sum(iou for _, _, iou in found.pairs)
        number = len(found.pairs) + len(found.alone[0]) + len(found.alone[1])
        distances.append(1.0 - common / number if number else 0.0)
        overlap += common
        boxes += number
        for at, other, _ in found.pairs:
            labels[0].append(a.labels[at])
            labels[1].append(b.labels[other])
        for at in found.alone[0]:
            labels[0].append(a.labels[at])
            labels[1].append(NOBODY)
        for at in found.alone[1]:
            labels[0].append(NOBODY)
            labels[1].append(b.labels[at])
        reason, parted = _why(row, a, b, found)
        reasons.append(reason)
        differences += parted[: DIFFERENCE_LIMIT - len(differences)]
    scores = scores_of([("iou", overlap / boxes)]) if boxes else ()
    distance = 1.0 - overlap / boxes if boxes else 0.0
    read = Read(first, second, distances=distances)
    return by_rows("detection", reasons, distance, differences, scores, confusion_of(*labels), read)


def _why(row: int, a: _Image, b: _Image, found: Matching) -> tuple[str | None, list[Difference]]:
    """Return the gravest way in which two images part, and the places."""
    parted = [
        Difference(f"/{row}/{at}", render(a.labels[at]), render(b.labels[other]))
        for at, other, _ in found.pairs
        if not is_same(a.labels[at], b.labels[other])
    ]
    relabelled = bool(parted)
    parted += [Difference(f"/{row}/{at}", _spell(a, at), NOBODY) for at in found.alone[0]]
    parted += [Difference(f"/{row}/{at}", NOBODY, _spell(b, at)) for at in found.alone[1]]
    if relabelled:
        return "label", parted
    return "boxes" if parted else None, parted


def has_boxes(prediction: Prediction) -> bool:
    """Whether an answer shows by its names that it holds boxes: four numbers each, or none, under a usual name."""
    for tensor in prediction.tensors:
        if tensor.name in _BOX_NAMES and tensor.kind in ("float", "int"):
            return tensor.shape[-1:] == (4,) or not tensor.data
    if prediction.format == "oip_v2":
        return False
    rows = whole(prediction)
    first = rows[0] if type(rows) is list and rows else rows
    if type(first) is dict and not _inside(first).keys().isdisjoint(_BOX_NAMES) and "instances" in first:
        return True
    found = _rows_of_boxes(rows)
    return found is not None and any(
        read_corners(row.box, "xyxy") is not None for image in found for row in image
    )


def _rows_of_boxes(value: Json | None) -> list[list[BoxRow]] | None:
    """Return the things found in every image where all of a list are such, or lists of such."""
    if type(value) is dict:
        value = next((value[name] for name in THING_NAMES if type(value.get(name)) is list), None)
    if type(value) is not list:
        return None
    is_batch = bool(value) and all(type(image) is list for image in value)
    images: list[list[BoxRow]] = []
    for image in value if is_batch else [value]:
        rows: list[BoxRow] = []
        for each in image:
            row = read_box_row(each)
            if row is None:
                return None
            rows.append(row)
        images.append(rows)
    return images


THING_NAMES: Final = ("detections", "instances", "objects", "predictions", "results")
"""What a list of things is called that were found in an image."""


def _find_images(
    rule: ComparisonRule, prediction: Prediction, _beside: _Images | None = None
) -> _Images | None:
    """Return the boxes of every image, ``None`` when the answer has none that can be read."""
    found = _at_places(prediction, rule) if rule.at is not None else _by_convention(prediction)
    if found is None:
        return None
    boxes, labels, scores = found
    if not _is_batch(boxes):
        images = [_image(boxes, labels, scores, rule)]
    else:
        # What an answer does not say of its images is null for each.
        columns = [[None] * len(boxes) if part is None else part for part in (labels, scores)]
        if any(type(column) is not list or len(column) != len(boxes) for column in columns):
            return None
        images = [
            _image(box_list, label_list, score_list, rule)
            for box_list, label_list, score_list in zip(boxes, *columns, strict=True)
        ]
    if any(image is None for image in images):
        return None
    return _Images([image for image in images if image is not None])


_Found: TypeAlias = tuple[list[Json], Json, Json]
"""Boxes, labels and scores, of one image or of several."""


def _at_places(prediction: Prediction, rule: ComparisonRule) -> _Found | None:
    places = rule.at, rule.label, rule.score
    boxes, labels, scores = [None if place is None else select_value(prediction, place) for place in places]
    if type(boxes) is not list or (rule.label and labels is None) or (rule.score and scores is None):
        return None
    return boxes, labels, scores


def _by_convention(prediction: Prediction) -> _Found | None:
    if prediction.format == "oip_v2":
        named: dict[str, Json] = {tensor.name: nested(tensor) for tensor in prediction.tensors}
        return _columns(named)
    rows = whole(prediction)
    if type(rows) is dict and (columns := _columns(rows)) is not None:
        return columns
    if (images := _rows_of_boxes(rows)) is not None:  # also no rows: an image with nothing in it
        parts = [[[row[part] for row in image] for image in images] for part in range(3)]
        boxes, labels, scores = parts if len(images) != 1 else [part[0] for part in parts]
        return boxes, labels, scores
    if type(rows) is not list or not all(type(row) is dict for row in rows):
        return None
    found = [_columns(row) for row in rows]
    columns_of = [image for image in found if image is not None]
    if len(columns_of) < len(found):
        return None
    boxes, labels, scores = [[image[part] for image in columns_of] for part in range(3)]
    return boxes, labels, scores


def _columns(named: Mapping[str, Json]) -> _Found | None:
    """Return what stands under the usual names."""
    named = _inside(named)
    boxes, labels, scores = [
        next((named[name] for name in names if name in named), None)
        for names in (BOX_NAMES, _LABEL_NAMES, _SCORE_NAMES)
    ]
    if type(boxes) is not list:
        return None
    if "displayNames" in named:
        boxes = _in_order(boxes)
    return boxes, labels, scores


def _inside(named: Mapping[str, Json]) -> Mapping[str, Json]:
    """Return what Detectron2 says of an image, which it calls ``instances``."""
    inner = named.get("instances")
    return inner if type(inner) is dict and len(named) == 1 else named


def _in_order(boxes: list[Json]) -> list[Json]:
    """Return Vertex AI's boxes, x1, x2, y1, y2, as x1, y1, x2, y2; those of an image or of several."""
    if _is_batch(boxes):
        return [list(map(_swapped, image)) for image in boxes]
    return list(map(_swapped, boxes))


def _swapped(box: Json) -> Json:
    return [box[0], box[2], box[1], box[3]] if type(box) is list and len(box) == 4 else box


def _is_batch(boxes: list[Json]) -> bool:
    """Whether a list holds lists of boxes: the first that is not empty begins with a box, not with a number."""
    if not all(type(part) is list for part in boxes):
        return False
    first = next((part for part in boxes if part), None)
    return bool(boxes) and (first is None or type(first[0]) in (list, dict))


def _image(boxes: Json, labels: Json, scores: Json, rule: ComparisonRule) -> _Image | None:
    """Read the boxes of one image that reach the rule's threshold."""
    if type(boxes) is not list:
        return None
    labels, scores = ([None] * len(boxes) if column is None else column for column in (labels, scores))
    if any(type(column) is not list or len(column) != len(boxes) for column in (labels, scores)):
        return None
    least = rule.threshold
    kept: list[list[float]] = []
    names: list[Json] = []
    for box, label, score in zip(boxes, labels, scores, strict=True):
        if least is not None and type(score) in _NUMBERS and score < least:
            continue
        corners = read_corners(box, rule.boxes)
        if corners is None or not all(map(isfinite, corners)) or type(label) in (list, dict):
            return None
        kept.append(corners)
        names.append(label)
    return _Image(np.array(kept, np.float64).reshape(len(kept), 4), names)


def _spell(image: _Image, at: int) -> str:
    numbers = image.corners[at].tolist()
    if numbers[:2] == numbers[2:]:  # a span of a text, or a point
        numbers = numbers[:2]
    corners = ", ".join(f"{corner:g}" for corner in numbers)
    return f"{render(image.labels[at])} [{corners}]"


def _refuse_many(images: _Images) -> str | None:
    return "too_many_boxes" if images.is_too_large else None


IMAGES: Final = Judge(
    "detection", "boxes", "no_boxes", _find_images, _judge_images, noun="images", refuse=_refuse_many
)

"""Objects that say where something is in an image, or in a text → box, class, score.

Detectors call them as they like: Hugging Face ``{"box": {"xmin", …}, "label", "score"}``, Ultralytics ``{"box": {"x1",
…}, "name", "confidence"}``, COCO ``{"bbox": […], "category_id", "score"}``, Roboflow ``{"x", "y", "width", "height",
"class", "confidence"}``, Custom Vision ``{"boundingBox": {"left", …}, "tagName", "probability"}``, TorchServe
``{name: […], "score"}``. Where a text names something, Hugging Face's token classification says ``{"entity", "score",
"word", "start", "end"}``, or ``entity_group``: a box without an area, which nothing but its like overlaps.
"""

from typing import Final, NamedTuple

from proxy.compare.values import Json

__all__ = ["BoxRow", "read_box_row", "read_corners"]

_BOXES: Final = ("box", "bbox", "bounding_box", "boundingBox")
_LABELS: Final = (
    *("label", "name", "class_name", "class", "category", "tagName"),
    *("category_id", "class_id", "cls"),
)
_SCORES: Final = ("score", "confidence", "conf", "probability")
"""What box, class and score are called; a name goes before a number."""

_ENTITIES: Final = ("entity_group", "entity")
_SPAN: Final = frozenset({*_ENTITIES, "score", "index", "word", "start", "end"})

_CORNERS: Final = (
    ("xmin", "ymin", "xmax", "ymax"),
    ("x1", "y1", "x2", "y2"),
    ("left", "top", "right", "bottom"),
)
_SIDES: Final = (("x", "y", "width", "height"), ("x", "y", "w", "h"), ("left", "top", "width", "height"))
_CORNERS_OR_SIDES: Final = _CORNERS + _SIDES
_NUMBERS: Final = frozenset({int, float})


class BoxRow(NamedTuple):
    """One thing that was found."""

    box: Json
    """As it was written: four numbers, or an object of them."""
    label: Json
    score: Json


def read_box_row(row: Json) -> BoxRow | None:
    """Return what ``row`` says was found, ``None`` if it is no such object."""
    if type(row) is not dict:
        return None
    label = next((row[name] for name in _LABELS if name in row), None)
    score = next((row[name] for name in _SCORES if name in row), None)
    for name in _BOXES:
        if name in row:
            return BoxRow(row[name], label, score)
    if label is None and score is None:
        return None
    if label is None and row.keys() <= _SPAN:
        return _read_span(row, score)
    if _named(row, _CORNERS_OR_SIDES) is not None:
        return BoxRow(row, label, score)
    if len(row) == 2 and score is not None and label is None:  # TorchServe
        return next((BoxRow(box, name, score) for name, box in row.items() if _is_four(box)), None)
    return None


def _read_span(row: dict[str, Json], score: Json) -> BoxRow | None:
    label = next((row[name] for name in _ENTITIES if name in row), None)
    start, end = row.get("start"), row.get("end")
    if type(label) is not str or type(start) is not int or type(end) is not int:
        return None
    return BoxRow([start, end, start, end], label, score)


def read_corners(box: Json, form: str) -> list[float] | None:
    """Return x1, y1, x2, y2 of one box.

    Args:
        box: four numbers, or an object of them.
        form: how they are meant: ``xyxy``, ``xywh``, ``cxcywh``. Names of sides say that they are some, whatever the
            form.
    """
    if type(box) is dict:
        found = _named(box, _CORNERS) if form == "xyxy" else None
        if found is None:
            found = _named(box, _SIDES)
            form = "xywh" if form == "xyxy" else form
        box = found
    if not _is_four(box):
        return None
    a, b, c, d = map(float, box)
    if form == "xywh":
        c, d = a + c, b + d
    elif form == "cxcywh":
        a, b, c, d = a - c / 2.0, b - d / 2.0, a + c / 2.0, b + d / 2.0
    return [a, b, c, d]


def _named(box: dict[str, Json], names: tuple[tuple[str, ...], ...]) -> list[Json] | None:
    keys = next((keys for keys in names if all(key in box for key in keys)), None)
    return None if keys is None else [box[key] for key in keys]


def _is_four(box: Json) -> bool:
    return type(box) is list and len(box) == 4 and _NUMBERS.issuperset(map(type, box))

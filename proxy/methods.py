"""The words that the configuration and the comparison share: methods, forms of boxes, how a class is written."""

import re
from typing import Final, Literal, get_args

__all__ = ["BOX_FORMS", "METHODS", "READ_BY", "Boxes", "Method", "class_word"]

Method = Literal[
    "auto",
    "exact",
    "json",
    "classification",
    "probabilities",
    "regression",
    "tensor",
    "ranking",
    "detection",
    "text",
    "embedding",
    "none",
]
METHODS: Final[tuple[Method, ...]] = get_args(Method)

Boxes = Literal["xyxy", "xywh", "cxcywh"]
"""How the four numbers of a box are meant: two corners, a corner and the sides, the centre and the sides."""
BOX_FORMS: Final[tuple[Boxes, ...]] = get_args(Boxes)

READ_BY: Final[dict[str, frozenset[str]]] = {
    "at": frozenset(METHODS) - {"auto", "exact", "json", "none"},
    "costs": frozenset({"classification"}),
    "score": frozenset({"detection"}),
    "tolerance": frozenset({"probabilities", "tensor", "ranking", "text", "embedding"}),
    "threshold": frozenset({"probabilities", "detection"}),
    "scale": frozenset({"regression"}),
    "k": frozenset({"ranking"}),
    "iou": frozenset({"detection"}),
    "schema": frozenset({"text"}),
    "labels": frozenset({"classification", "probabilities", "regression"}),
}
"""Key of ``compare`` → methods that read it. ``auto`` may pick any of them, so it reads all."""

_WHOLE: Final = re.compile(r"(-?\d+)\.0+", re.ASCII)


def class_word(text: str) -> str:
    """Return how a class is written where it names a cost: as it is, but whole numbers without a point.

    >>> class_word("1.0"), class_word("cat")
    ('1', 'cat')
    """
    found = _WHOLE.fullmatch(text)
    return text if found is None else found[1]

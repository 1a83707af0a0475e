"""The rule by which two answers are compared."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from proxy.methods import BOX_FORMS, METHODS, class_word

__all__ = ["ComparisonRule"]

_LEAST: Final = sys.float_info.min
_MOST: Final = sys.float_info.max
_RANGES: Final = {
    "rtol": (0.0, _MOST, "a finite number of 0 or more"),
    "atol": (0.0, _MOST, "a finite number of 0 or more"),
    "tolerance": (0.0, 1.0, "a number from 0 to 1"),
    "threshold": (0.0, 1.0, "a number from 0 to 1"),
    "iou": (_LEAST, 1.0, "a number above 0, at most 1: boxes that do not touch are not one"),
    "scale": (_LEAST, _MOST, "a finite number above 0"),
    "k": (1, _MOST, "1 or more"),
}


@dataclass(frozen=True, slots=True)
class ComparisonRule:
    """How two answers of one route are compared.

    Where a number is ``None``, the method has its own default; its module says which.

    Raises:
        ValueError: an unknown method, a number out of its range, an ``ignore`` or a place that is not a JSON pointer
            where it must be one, or two places for one thing.
    """

    as_: str = "auto"
    """One of `METHODS`; ``auto`` picks by what the primary's answer is."""
    rtol: float | None = None
    """Relative tolerance, a fraction of the larger number; 0 or more."""
    atol: float | None = None
    """Absolute tolerance in the unit of the values; 0 or more."""
    ignore: tuple[str, ...] = ()
    """JSON pointers left out by ``json``; ``*`` stands for one segment, ``**`` for any number."""
    label: str | None = None
    """Where label or value is: a tensor's name, or (with a leading ``/``) a JSON pointer, ``*`` per row. Of
    ``detection``: where the classes of the boxes are."""
    at: str | None = None
    """Where that stands which the method compares; likewise."""
    score: str | None = None
    """Where the scores of boxes are; likewise."""
    tolerance: float | None = None
    """What still agrees, in [0, 1]: total variation, 1 - cosine, 1 - chrF2/100, share of values or of places."""
    threshold: float | None = None
    """Probability from which a class is chosen, or least score of a box, in [0, 1]."""
    scale: float | None = None
    """How far apart predicted numbers usually are, in their unit; above 0."""
    k: int | None = None
    """Places of a ranking whose items must be the same; 1 or more."""
    iou: float | None = None
    """Overlap that makes two boxes one, in (0, 1]."""
    boxes: str = "xyxy"
    """One of `BOX_FORMS`."""
    schema: str | None = None
    """JSON Schema, as JSON text, that texts should fit."""
    costs: tuple[tuple[str, str, float], ...] = ()
    """Class of the primary's, class of the shadow's, what it costs to answer this for that, in [0, 1]. A pair that is
    not here costs 1, one in the other order is another pair, and what is right costs nothing."""

    keeps_predictions: bool = False
    """The comparison says what each row of both answers was read as."""

    cost_of: dict[tuple[str, str], float] = field(init=False, compare=False, repr=False)
    """`costs` to look up, by `proxy.methods.class_word`."""
    place: str | None = field(init=False)
    """Where that stands which the method compares, by either name."""

    @classmethod
    def of(cls, compare: Any) -> "ComparisonRule":
        """Return what the section ``compare`` of a route says.

        Args:
            compare: a :class:`proxy.settings.Compare`, or what has its attributes.

        Raises:
            ValueError: as the constructor.
        """
        return cls(
            as_=compare.as_,
            rtol=compare.rtol,
            atol=compare.atol,
            ignore=tuple(compare.ignore),
            label=compare.label,
            at=compare.at,
            score=compare.score,
            tolerance=compare.tolerance,
            threshold=compare.threshold,
            scale=compare.scale,
            k=compare.k,
            iou=compare.iou,
            boxes=compare.boxes,
            schema=compare.schema_,
            costs=tuple(
                (label, other, cost) for label, row in compare.costs.items() for other, cost in row.items()
            ),
            keeps_predictions=compare.labels is not None,
        )

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise ValueError(f"expected {problem}")
        object.__setattr__(self, "place", self.label if self.at is None else self.at)
        cost_of = {(class_word(label), class_word(other)): cost for label, other, cost in self.costs}
        object.__setattr__(self, "cost_of", cost_of)

    def _problems(self) -> Iterator[str]:
        if self.as_ not in METHODS:
            yield f"as to be one of {', '.join(METHODS)}, got {self.as_!r}"
        if self.boxes not in BOX_FORMS:
            yield f"boxes to be one of {', '.join(BOX_FORMS)}, got {self.boxes!r}"
        for name, (low, high, allowed) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                yield f"{name} to be {allowed}, got {value!r}"
        for pointer in self.ignore:
            if not pointer.startswith("/"):
                yield f"ignore to hold JSON pointers that start with '/', got {pointer!r}"
        for name in ("at", "label", "score"):
            place = getattr(self, name)
            if place is not None and (not place or (place[0] == "/" and "**" in place.split("/"))):
                yield f"{name} to be a tensor name or a JSON pointer without '**', got {place!r}"
        for label, other, cost in self.costs:
            if not 0.0 <= cost <= 1.0:
                yield f"costs to be numbers from 0 to 1, got {cost!r} of {other!r} for {label!r}"
        if self.at is not None and self.label is not None and self.as_ != "detection":
            yield "either at or label: they name the same place"

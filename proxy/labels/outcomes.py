"""A true answer and two predictions → who was right.

Pure. Rules
    * Of labels an answer is right when it is the true one, as :mod:`proxy.compare.classes` tells labels apart: 1, 1.0
      and true are one label, "1" is another. NaN is never right, and neither is no answer.
    * Of numbers nobody is right: the closer one is better. Who predicted nothing, or no number, is farther than any.
    * A label of another kind than everything that was predicted (a name where there are numbers) is a mistake of who
      labels, not of the models: it is refused, for it would call both wrong.
"""

from collections.abc import Sequence
from math import inf, isnan
from typing import Any, Final, Literal, NamedTuple, TypeAlias, get_args

from proxy.compare.labels import Label, label_family
from proxy.compare.values import Predicted

__all__ = ["OUTCOMES", "PRIMARY_BETTER", "SHADOW_BETTER", "Outcome", "Row", "Truth", "fits", "outcomes_of"]

Outcome: TypeAlias = Literal[
    "both_right",
    "only_primary",
    "only_shadow",
    "both_wrong",
    "primary_closer",
    "shadow_closer",
    "as_close",
]

OUTCOMES: Final[tuple[Outcome, ...]] = get_args(Outcome)
"""What a labelled row comes to: one of the first four where there are labels, of the last three where numbers."""

PRIMARY_BETTER: Final = frozenset({"only_primary", "primary_closer"})
SHADOW_BETTER: Final = frozenset({"only_shadow", "shadow_closer"})
"""Rows in which one of the two is better: all that is known of which is."""

Truth: TypeAlias = tuple[Label, ...]
"""The true answer of each row, None where it is not known."""


class Row(NamedTuple):
    """One labelled row."""

    number: int
    """In the batch, from 0."""
    outcome: Outcome


def fits(truth: Truth, predicted: Sequence[Predicted]) -> bool:
    """Tell whether these labels are of a kind that any of ``predicted`` has."""
    kind = label_family(truth)
    for each in predicted:
        if each.is_number:
            if all(value is None or _is_number(value) for value in truth):
                return True
            continue
        kinds = {label_family(values) for values in (each.primary, each.shadow) if values is not None}
        if kind in kinds or not kinds - {""} or "mixed" in kinds:
            return True
    return False


def outcomes_of(truth: Truth, predicted: Predicted) -> list[Row]:
    """Return what each labelled row comes to, in their order.

    Args:
        truth: as many rows as ``predicted`` has.
        predicted: what both said.
    """
    nothing: Sequence[Any] = (_NOTHING,) * len(truth)
    rows = zip(truth, predicted.primary or nothing, predicted.shadow or nothing, strict=True)
    judge = _closer if predicted.is_number else _right
    return [
        Row(number, judge(label, primary, shadow))
        for number, (label, primary, shadow) in enumerate(rows)
        if label is not None
    ]


class _Nothing:
    """What is predicted by who does not answer: equal to no label."""


_NOTHING: Final = _Nothing()


def _right(label: Label, primary: Label, shadow: Label) -> Outcome:
    if primary == label:
        return "both_right" if shadow == label else "only_primary"
    return "only_shadow" if shadow == label else "both_wrong"


def _closer(label: Label, primary: Label, shadow: Label) -> Outcome:
    error, other = _error(label, primary), _error(label, shadow)
    if error == other:
        return "as_close"
    return "primary_closer" if error < other else "shadow_closer"


def _error(label: Label, value: Label) -> float:
    if not isinstance(label, int | float) or not isinstance(value, int | float):
        return inf
    try:
        error = abs(float(value) - float(label))
    except OverflowError:
        return inf
    return inf if isnan(error) else error


def _is_number(value: Label) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

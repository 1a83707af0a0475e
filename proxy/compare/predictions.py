"""What two answers predicted, row by row: what a label that comes later is held against.

It is what their judge read (`Read`), so a row that they call equal has the same prediction twice.
Of ``classification`` it is the label, of ``probabilities`` the class at the highest probability (of two classes, where
the rule has a ``threshold``, the side of it), of ``regression`` the number, where a row has one. Others have none.

An answer that is none, or that its client could not have read, predicted nothing: that is as wrong as can be. One that
cannot be read by us tells nothing, and neither does its pair.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

from proxy.compare.classes import CLASSES, PROBABILITIES, Chances
from proxy.compare.labels import Label, Labels
from proxy.compare.numbers import NUMBERS
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import relative_distance
from proxy.compare.values import Comparison, Predicted, Prediction, Tensor

__all__ = ["differing_rows", "predicted_alone", "predictions_of"]

_Values: TypeAlias = Sequence[Label] | None


def predictions_of(rule: ComparisonRule, comparison: Comparison) -> Predicted | None:
    """Return what both answers predicted: what their judge read of them. None where that cannot be told."""
    read, tell = comparison.read, _VALUES.get(comparison.method)
    if read is None or read.primary is None or tell is None:
        return None
    first = tell(rule, read.primary)
    if first is None:
        return None
    second = None if read.shadow is None else tell(rule, read.shadow)
    if second is not None and len(second) != len(first):
        second = None
    return Predicted(first, second, comparison.method == NUMBERS.method)


def predicted_alone(rule: ComparisonRule, method: str, prediction: Prediction) -> Predicted | None:
    """Return what an answer predicted beside which there is no other, as the primary's."""
    tell = _VALUES.get(method)
    found = None if tell is None else _FIND[method](rule, prediction, None)
    values = None if tell is None or found is None else tell(rule, found)
    return None if values is None else Predicted(values, None, method == NUMBERS.method)


def _labels(_rule: ComparisonRule, labels: Labels) -> _Values:
    return labels.values


def _numbers(_rule: ComparisonRule, tensor: Tensor) -> _Values:
    return tensor.data if tensor.width == 1 else None


def _decided(rule: ComparisonRule, chances: Chances) -> _Values:
    names, threshold = chances.names, rule.threshold
    if threshold is not None and len(names) == 2:
        return [names[row[1] >= threshold] for row in chances.values]
    return [names[row.index(max(row))] for row in chances.values]


_VALUES: Final[Mapping[str, Callable[[ComparisonRule, Any], _Values]]] = {
    CLASSES.method: _labels,
    PROBABILITIES.method: _decided,
    NUMBERS.method: _numbers,
}
"""How each method's reading tells a value of each row."""

_FIND: Final[Mapping[str, Callable[[ComparisonRule, Prediction, None], Any]]] = {
    CLASSES.method: CLASSES.find,
    PROBABILITIES.method: PROBABILITIES.find,
    NUMBERS.method: NUMBERS.find,
}


def differing_rows(predicted: Predicted, most: int) -> tuple[int, ...]:
    """Return the first rows that are not predicted alike; of numbers those that are farthest apart first."""
    first, second = predicted.primary, predicted.shadow
    if first is None or second is None:
        return tuple(range(min(predicted.rows, most)))
    rows = [
        row
        for row, (a, b) in enumerate(zip(first, second, strict=True))
        if a != b and not (a != a and b != b)
    ]
    if predicted.is_number:
        rows.sort(key=lambda row: -relative_distance(first[row], second[row]))
    return tuple(rows[:most])

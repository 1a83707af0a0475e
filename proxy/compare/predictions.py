"""What two answers predicted, row by row: what a label that comes later is held against.

It is read as the methods read it, by their own functions, so a row that they call equal has the same prediction twice.
Of ``classification`` it is the label, of ``probabilities`` the class at the highest probability (of two classes, where
the rule has a ``threshold``, the side of it), of ``regression`` the number, where a row has one. Others have none.

An answer that is none, or that its client could not have read, predicted nothing: that is as wrong as can be. One that
cannot be read by us tells nothing, and neither does its pair.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from proxy.compare.classes import CLASSES, PROBABILITIES, Chances
from proxy.compare.judge import Found, Judge
from proxy.compare.labels import Label, Labels
from proxy.compare.numbers import NUMBERS
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import relative_distance
from proxy.compare.values import Predicted, Prediction, Tensor, Undecodable
from proxy.compare.verdicts import breaks_client

__all__ = ["differing_rows", "predictions_of"]

T = TypeVar("T", bound=Found)

_Values = Sequence[Label] | None


def predictions_of(
    rule: ComparisonRule, method: str, primary: Prediction, shadow: Prediction | Undecodable | None
) -> Predicted | None:
    """Return what both predicted; None where that cannot be told.

    Args:
        rule: by which they are compared.
        method: that judges.
        primary: the reference.
        shadow: the other; None: there is no answer.
    """
    if isinstance(shadow, Undecodable) and not breaks_client(shadow):
        return None
    if method == CLASSES.method:
        return _read(CLASSES, _labels, rule, primary, shadow)
    if method == PROBABILITIES.method:
        return _read(PROBABILITIES, partial(_decided, rule.threshold), rule, primary, shadow)
    if method == NUMBERS.method:
        return _read(NUMBERS, _numbers, rule, primary, shadow)
    return None


def _read(
    judge: Judge[T],
    values: Callable[[T], _Values],
    rule: ComparisonRule,
    primary: Prediction,
    shadow: Prediction | Undecodable | None,
) -> Predicted | None:
    found = judge.find(rule, primary, None)
    first = None if found is None else values(found)
    if found is None or first is None:
        return None
    second: _Values = None
    if isinstance(shadow, Prediction):
        other = found if shadow is primary else judge.find_beside(rule, primary, found, shadow)
        second = None if other is None else values(other)
        if second is not None and len(second) != len(first):
            second = None
    return Predicted(first, second, judge.method == NUMBERS.method)


def _labels(labels: Labels) -> _Values:
    return labels.values


def _numbers(tensor: Tensor) -> _Values:
    return tensor.data if tensor.width == 1 else None


def _decided(threshold: float | None, chances: Chances) -> _Values:
    names = chances.names
    if threshold is not None and len(names) == 2:
        return [names[row[1] >= threshold] for row in chances.values]
    return [names[row.index(max(row))] for row in chances.values]


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

"""Predicted numbers: the method ``regression``.

A number agrees with |a - b| <= ``atol`` + ``rtol`` max(|a|, |b|). The rule's ``scale`` says how far apart numbers of
this kind usually are, such as the interquartile range of the champion's: with one, ``atol`` is a millionth of it
unless the rule names another, and the distance is the mean of min(1, |a - b| / scale); without, it is relative to the
larger of both.
"""

from collections.abc import Sequence
from typing import Final

from proxy.compare.documents import render
from proxy.compare.labels import select_tensor
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import compare_numbers
from proxy.compare.values import DIFFERENCE_LIMIT, Comparison, Difference, Prediction, Tensor, Undecodable
from proxy.compare.verdicts import disagree_whole, path_of, scores_of, shadow_undecodable, uncomparable

__all__ = ["compare_values"]

RTOL: Final = 1e-3
ATOL: Final = 1e-8
ATOL_OF_SCALE: Final = 1e-6
"""Tolerances where the rule names none."""

_VALUE_NAMES: Final = frozenset(
    {"predictions", "prediction", "predict", "value", "output", "output_0", "y", "mean"}
)


def compare_values(rule: ComparisonRule, primary: Prediction, shadow: Prediction | Undecodable) -> Comparison:
    """Compare the predicted numbers of every row."""
    method = "regression"
    first = _find_values(primary, rule.place)
    if first is None:
        return uncomparable("no_value", method)
    rows = first.rows
    if isinstance(shadow, Undecodable):
        return shadow_undecodable(shadow, method, rows)
    second = first if shadow is primary else _find_values(shadow, rule.place, first.name)
    if second is None:
        return disagree_whole("format", method, rows, f"numbers in {first.name}", "no numbers")
    if rows != second.rows:
        return disagree_whole("rows", method, rows, f"{rows} rows", f"{second.rows} rows")
    if first.width != second.width:
        return disagree_whole("shape", method, rows, f"{first.width} per row", f"{second.width} per row")
    return _judge_values(rule, first, second)


def _judge_values(rule: ComparisonRule, first: Tensor, second: Tensor) -> Comparison:
    method, rows = "regression", first.rows
    rtol, atol = _tolerances(rule)
    mask, distance, largest = compare_numbers(second.data, first.data, rtol, atol, rule.scale)
    scores = scores_of([("max_abs", largest)])
    if all(mask):
        return Comparison("agree", distance, None, method, rows, 0, (), (), scores)
    outside = [at for at, close in enumerate(mask) if not close]
    disagreeing = len({at // first.width for at in outside})
    differences = _value_differences(first, second, outside)
    return Comparison("disagree", distance, "tolerance", method, rows, disagreeing, differences, (), scores)


def _tolerances(rule: ComparisonRule) -> tuple[float, float]:
    rtol = RTOL if rule.rtol is None else rule.rtol
    if rule.atol is not None:
        return rtol, rule.atol
    return rtol, ATOL if rule.scale is None else ATOL_OF_SCALE * rule.scale


def _value_differences(first: Tensor, second: Tensor, outside: Sequence[int]) -> tuple[Difference, ...]:
    prefix = path_of(first.name)
    found = []
    for at in outside[:DIFFERENCE_LIMIT]:
        row, column = divmod(at, first.width)
        place = f"{row}" if first.width == 1 else f"{row}/{column}"
        found.append(Difference(f"{prefix}/{place}", render(first.data[at]), render(second.data[at])))
    return tuple(found)


def _find_values(prediction: Prediction, place: str | None, hint: str | None = None) -> Tensor | None:
    """Return the output that holds the predicted numbers.

    The rule's place alone counts if there is one. Else the output the primary's came from, one with a usual name,
    the first of floats, the first of integers.
    """
    if place is not None:
        tensor = select_tensor(prediction, place)
        return tensor if tensor is not None and tensor.kind in ("float", "int") else None
    numeric = [tensor for tensor in prediction.tensors if tensor.kind in ("float", "int")]
    if not numeric:
        return None
    return min(
        numeric,
        key=lambda tensor: (
            tensor.name != hint,
            tensor.name.lower() not in _VALUE_NAMES,
            tensor.kind != "float",
        ),
    )

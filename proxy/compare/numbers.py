"""Predicted numbers: the method ``regression``.

A number agrees with |a - b| <= ``atol`` + ``rtol`` max(|a|, |b|). The rule's ``scale`` says how far apart numbers of
this kind usually are, such as the interquartile range of the champion's: with one, ``atol`` is a millionth of it
unless the rule names another, and the distance is the mean of min(1, |a - b| / scale); without, it is relative to the
larger of both.
"""

from collections.abc import Sequence
from typing import Final

from proxy.compare.documents import render
from proxy.compare.judge import Judge
from proxy.compare.labels import select_tensor
from proxy.compare.places import likeliest
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import compare_numbers
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Prediction,
    Read,
    Tensor,
)
from proxy.compare.verdicts import disagree_whole, path_of, scores_of

__all__ = ["NUMBERS"]

RTOL: Final = 1e-3
ATOL: Final = 1e-8
ATOL_OF_SCALE: Final = 1e-6
"""Tolerances where the rule names none."""

_VALUE_NAMES: Final = frozenset(
    {"predictions", "prediction", "predict", "value", "output", "output_0", "y", "mean"}
)


def _judge_values(rule: ComparisonRule, first: Tensor, second: Tensor) -> Comparison:
    """Compare the predicted numbers of every row."""
    method, rows = "regression", first.rows
    if first.width != second.width:
        widths = f"{first.width} per row", f"{second.width} per row"
        return disagree_whole("shape", method, rows, *widths, first)
    rtol, atol = _tolerances(rule)
    mask, distance, largest = compare_numbers(second.data, first.data, rtol, atol, rule.scale)
    scores = scores_of([("max_abs", largest)])
    if all(mask):
        return Comparison("agree", distance, None, method, rows, 0, (), (), scores, Read(first, second, ()))
    outside = [at for at, close in enumerate(mask) if not close]
    wrong = list(dict.fromkeys([at // first.width for at in outside]))
    differences = _value_differences(first, second, outside)
    read = Read(first, second, wrong)
    return Comparison(
        "disagree", distance, "tolerance", method, rows, len(wrong), differences, (), scores, read
    )


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


def _find_values(rule: ComparisonRule, prediction: Prediction, beside: Tensor | None = None) -> Tensor | None:
    """Return the output that holds the predicted numbers: at the rule's place if there is one, else the likeliest."""
    if rule.place is not None:
        tensor = select_tensor(prediction, rule.place)
        return tensor if tensor is not None and tensor.is_numeric else None
    return likeliest([tensor for tensor in prediction.tensors if tensor.is_numeric], beside, _VALUE_NAMES)


NUMBERS: Final = Judge("regression", "numbers", "no_value", _find_values, _judge_values, is_named=True)

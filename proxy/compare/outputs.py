"""Tensors, value by value: the method ``tensor``.

Every output of the primary's must be there with its datatype and shape, NaN and the infinities in the same places, and
the numbers within tolerance: that of the datatype, both relative to the larger one and absolute, unless the rule has
others. Integers, booleans and BYTES are equal or not. A row agrees when no more than ``tolerance`` of its values are
out; the distance is the share of all values that are.

Outside of the Open Inference Protocol nobody says what the datatype is: numbers are compared as if they were FP32.
"""

from collections.abc import Sequence
from math import isfinite, isnan
from typing import Final, NamedTuple

from proxy.compare.documents import render
from proxy.compare.judge import Judge
from proxy.compare.labels import select_tensor
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import close_mask, exceeds, largest_difference
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Prediction,
    Read,
    Tensor,
)
from proxy.compare.vectors import cosine
from proxy.compare.verdicts import by_rows, disagree_whole, path_of, scores_of

__all__ = ["DATATYPE_TOLERANCES", "OUTPUTS"]

DATATYPE_TOLERANCES: Final = {"FP64": 1e-9, "FP32": 1e-4, "FP16": 1e-2, "BF16": 2e-2}
"""Relative and absolute tolerance of each datatype of floats where the rule names none."""

_GUESSED: Final = "FP32"
"""What numbers are taken for that come without a datatype: most models compute so, however they print."""


class _Tensors(NamedTuple):
    """The outputs that are compared."""

    named: dict[str, Tensor]
    rows: int
    """The batch size all agree on; an answer without one is one row."""
    is_declared: bool
    """The protocol says what the datatypes are."""
    source: str = ""


def _find_tensors(
    rule: ComparisonRule, prediction: Prediction, _beside: _Tensors | None = None
) -> _Tensors | None:
    """Return every output, or the one at the rule's place."""
    named: dict[str, Tensor] = {}
    if rule.place is None:
        for at, each in enumerate(prediction.tensors):
            # A name that comes again is against the protocol, and no reason to leave the first one out.
            named[each.name if each.name not in named else f"{each.name}[{at}]"] = each
    elif (tensor := select_tensor(prediction, rule.place)) is not None:
        named[rule.place] = tensor
    if not named:
        return None
    counts = {tensor.rows for tensor in named.values()}
    return _Tensors(named, counts.pop() if len(counts) == 1 else 1, prediction.format == "oip_v2")


def _judge_outputs(rule: ComparisonRule, first: _Tensors, second: _Tensors) -> Comparison:
    """Compare every value of every output that both have, once they have the same."""
    method, rows = "tensor", first.rows
    if first.named.keys() != second.named.keys():
        return disagree_whole(
            "names", method, rows, _spell(list(first.named)), _spell(list(second.named)), first
        )
    is_declared = first.is_declared and second.is_declared
    for name, a in first.named.items():
        b = second.named[name]
        if is_declared and a.datatype != b.datatype:
            return disagree_whole("datatype", method, rows, a.datatype, b.datatype, first)
        if not is_declared and _family(a) != _family(b):
            return disagree_whole("datatype", method, rows, _family(a), _family(b), first)
        if a.shape != b.shape:
            reason = "rows" if a.rows != b.rows else "shape"
            return disagree_whole(reason, method, rows, _spell(a.shape), _spell(b.shape), first)
    return _judge_tensors(rule, first, second, is_declared=is_declared)


def _judge_tensors(
    rule: ComparisonRule,
    first: _Tensors,
    second: _Tensors,
    *,
    is_declared: bool,
) -> Comparison:
    rows = first.rows
    outside = [0] * rows
    is_pattern = [False] * rows
    values, width = 0, 0
    largest, lowest = 0.0, 1.0
    differences: list[Difference] = []
    has_floats = False
    for name, a in first.named.items():
        b = second.named[name]
        values += len(a.data)
        width += len(a.data) // rows if rows else 0
        each = max(1, len(a.data) // rows) if rows else 1
        for at in _outside(rule, a, b, is_declared=is_declared):
            row = at // each
            outside[row] += 1
            is_pattern[row] |= _parts_in_pattern(a.data[at], b.data[at])
            if len(differences) < DIFFERENCE_LIMIT:
                differences.append(
                    Difference(f"{path_of(name)}/{at}", render(a.data[at]), render(b.data[at]))
                )
        if a.kind == "float" or b.kind == "float":
            has_floats = True
            largest = max(largest, largest_difference(b.data, a.data))
            found = cosine(a.data, b.data) if a.data else 1.0
            lowest = found if isnan(found) else min(lowest, found)
    tolerance = rule.tolerance or 0.0
    reasons = [
        "not_finite" if pattern else "tolerance" if count and exceeds(count / width, tolerance) else None
        for count, pattern in zip(outside, is_pattern, strict=True)
    ]
    scores = scores_of([("max_abs", largest), ("cosine", lowest)]) if has_floats else ()
    distance = sum(outside) / values if values else 0.0
    read = Read(first, second, distances=outside, unit=max(width, 1))
    return by_rows("tensor", reasons, distance, differences, scores, read=read)


def _outside(rule: ComparisonRule, a: Tensor, b: Tensor, *, is_declared: bool) -> Sequence[int]:
    """Return the places, in row-major order, where two tensors of one shape differ beyond tolerance."""
    if a.data == b.data:
        return ()
    if a.kind != "float" and b.kind != "float":
        return [at for at, (one, other) in enumerate(zip(a.data, b.data, strict=True)) if one != other]
    default = DATATYPE_TOLERANCES[a.datatype if is_declared else _GUESSED]
    rtol = default if rule.rtol is None else rule.rtol
    atol = default if rule.atol is None else rule.atol
    mask = close_mask(b.data, a.data, rtol, atol)
    return [at for at, close in enumerate(mask) if not close]


def _parts_in_pattern(a: object, b: object) -> bool:
    """Whether one of two values that differ is a number and the other NaN or an infinity."""
    return any(type(value) is float and not isfinite(value) for value in (a, b))


def _family(tensor: Tensor) -> str:
    """Return what can be told of values without a declared datatype: JSON writes 2.0 as 2 or 2.0."""
    return "number" if tensor.kind in ("int", "float") else tensor.kind


def _spell(values: Sequence[object]) -> str:
    return f"[{', '.join(map(str, values[:16]))}]"[:80]


OUTPUTS: Final = Judge("tensor", "tensors", "no_tensor", _find_tensors, _judge_outputs, noun="")

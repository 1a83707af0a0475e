"""Predicted numbers are judged within tolerance, or in units of how far apart they usually are."""

from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from tests.compare.answers import json_answer, oip, v1

RULE = ComparisonRule("regression")

# rule, primary, shadow → result, distance, reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "a thousandth of the larger": (RULE, v1(999.0), v1(1000.0), ("agree", 0.001, None, 1, 0)),
    "in the other direction": (RULE, v1(1000.0), v1(999.0), ("agree", 0.001, None, 1, 0)),
    "more than that": (RULE, v1(998.9), v1(1000.0), ("disagree", 0.0011, "tolerance", 1, 1)),
    "a millionth of the scale": (
        ComparisonRule("regression", scale=1e6),
        v1(0.0, 0.0),
        v1(1.0, 1.1),
        ("disagree", 1.05e-6, "tolerance", 2, 1),
    ),
    "the distance is in units of the scale": (
        ComparisonRule("regression", scale=10.0),
        v1(100.0, 100.0),
        v1(105.0, 200.0),
        ("disagree", 0.75, "tolerance", 2, 2),
    ),
    "the rule's own tolerance beside a scale": (
        ComparisonRule("regression", scale=10.0, atol=5.0),
        v1(100.0),
        v1(105.0),
        ("agree", 0.5, None, 1, 0),
    ),
    "at a place": (
        ComparisonRule("regression", at="/items/*/price"),
        json_answer({"items": [{"price": 10}, {"price": 20}]}),
        json_answer({"items": [{"price": 10}, {"price": 30}]}),
        ("disagree", 1 / 6, "tolerance", 2, 1),
    ),
    "at a tensor": (
        ComparisonRule("regression", at="std"),
        oip(("mean", "FP32", [1], [1.0]), ("std", "FP32", [1], [0.5])),
        oip(("mean", "FP32", [1], [9.0]), ("std", "FP32", [1], [0.5])),
        ("agree", 0.0, None, 1, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "regression"
    assert (
        said.result,
        pytest.approx(said.distance),
        said.reason,
        said.rows,
        said.rows_disagreeing,
    ) == expected


def test_what_is_told() -> None:
    """The largest difference of two finite numbers."""
    assert compare(RULE, v1(1.0, 2.5), v1(1.5, 2.0)).scores == (("max_abs", 0.5),)

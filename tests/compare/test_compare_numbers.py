"""Numbers: pairs that ``regression`` judges, as a person reading them would."""

import pytest

from proxy.compare import ComparisonRule
from tests.compare.answers import json_answer, oip, v1
from tests.compare.pairs import Pair, judge

AUTO = ComparisonRule()
VALUES = ComparisonRule(as_="regression")


CASES: dict[str, Pair] = {
    "within tolerance": (
        AUTO,
        v1(100.5),
        v1(100.5001),
        ("agree", 9.95024e-7, None, "regression", 1, 0),
    ),
    "outside": (AUTO, v1(100.5), v1(50.25), ("disagree", 0.5, "tolerance", "regression", 1, 1)),
    "opposite": (AUTO, v1(1.5), v1(-1.5), ("disagree", 1.0, "tolerance", "regression", 1, 1)),
    "wide tolerance": (
        ComparisonRule(rtol=0.6),
        v1(100.5),
        v1(50.25),
        ("agree", 0.5, None, "regression", 1, 0),
    ),
    "several per row": (
        VALUES,
        v1([1.0, 2.0], [3.0, 4.0]),
        v1([1.0, 1.0], [3.0, 2.0]),
        ("disagree", 0.25, "tolerance", "regression", 2, 2),
    ),
    "a null for NaN": (
        VALUES,
        oip(("y", "FP32", [1], [None])),
        oip(("y", "FP32", [1], [1.0])),
        ("disagree", 1.0, "tolerance", "regression", 1, 1),
    ),
    "more per row": (
        VALUES,
        v1([1.5, 2.0]),
        v1([1.5]),
        ("disagree", 1.0, "shape", "regression", 1, 1),
    ),
    "fewer rows": (AUTO, v1(1.5, 2.5), v1(1.5), ("disagree", 1.0, "rows", "regression", 2, 2)),
    "shadow answers text": (
        AUTO,
        v1(1.5),
        v1("high"),
        ("disagree", 1.0, "format", "regression", 1, 1),
    ),
    "shadow is broken": (
        AUTO,
        v1(1.5),
        json_answer(b"{"),
        ("disagree", 1.0, "format", "regression", 1, 1),
    ),
    "primary has none": (
        VALUES,
        v1("high"),
        v1(1.5),
        ("uncomparable", None, "no_value", "regression", 0, 0),
    ),
    "integers will do": (VALUES, v1(2), v1(1), ("disagree", 0.5, "tolerance", "regression", 1, 1)),
    "the usual name among others": (
        VALUES,
        oip(("std", "FP32", [1], [0.1]), ("mean", "FP32", [1], [2.0])),
        oip(("std", "FP32", [1], [0.9]), ("mean", "FP32", [1], [2.0])),
        ("agree", 0.0, None, "regression", 1, 0),
    ),
    "by name": (
        ComparisonRule(as_="regression", label="std"),
        oip(("std", "FP32", [1], [0.1]), ("mean", "FP32", [1], [2.0])),
        oip(("std", "FP32", [1], [0.2]), ("mean", "FP32", [1], [2.0])),
        ("disagree", 0.5, "tolerance", "regression", 1, 1),
    ),
    "a name that is text": (
        ComparisonRule(as_="regression", label="/y"),
        json_answer({"y": "high"}),
        json_answer({"y": 1.0}),
        ("uncomparable", None, "no_value", "regression", 0, 0),
    ),
    "no rows": (
        VALUES,
        v1(),
        json_answer({"predictions": [], "x": 1}),
        ("agree", 0.0, None, "regression", 0, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    judge(CASES[name])

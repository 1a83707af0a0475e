"""Tensors are judged value by value, as their datatype allows."""

from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.outputs import DATATYPE_TOLERANCES
from tests.compare.answers import json_answer, oip, text_answer, v1

RULE = ComparisonRule("tensor")


def one(datatype: str, *values: Any, shape: list[int] | None = None, name: str = "y") -> Answer:
    return oip((name, datatype, shape or [len(values)], list(values)))


# rule, primary, shadow → result, distance, reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "integers are exact": (RULE, one("INT64", 1000000), one("INT64", 1000001), ("disagree", 1.0, "tolerance", 1, 1)),
    "so are they with a tolerance": (
        ComparisonRule("tensor", rtol=0.5),
        one("INT64", 10),
        one("INT64", 11),
        ("disagree", 1.0, "tolerance", 1, 1),
    ),
    "booleans": (RULE, one("BOOL", True, False), one("BOOL", True, True), ("disagree", 0.5, "tolerance", 2, 1)),
    "texts": (RULE, one("BYTES", "a", "b"), one("BYTES", "a", "B"), ("disagree", 0.5, "tolerance", 2, 1)),
    "FP32 near": (RULE, one("FP32", 1.0, 0.0), one("FP32", 1.0001, 0.0001), ("agree", 0.0, None, 2, 0)),
    "FP32 far": (RULE, one("FP32", 1.0), one("FP32", 1.001), ("disagree", 1.0, "tolerance", 1, 1)),
    "FP64 is narrower": (RULE, one("FP64", 1.0), one("FP64", 1.0001), ("disagree", 1.0, "tolerance", 1, 1)),
    "FP16 is wider": (RULE, one("FP16", 1.0), one("FP16", 1.01), ("agree", 0.0, None, 1, 0)),
    "the rule's own tolerance": (
        ComparisonRule("tensor", rtol=0.0, atol=0.5),
        one("FP64", 1.0, 100.0),
        one("FP64", 1.4, 101.0),
        ("disagree", 0.5, "tolerance", 2, 1),
    ),
    "rows": (
        RULE,
        one("FP32", 1, 2, 3, 4, 5, 6, shape=[3, 2]),
        one("FP32", 1, 2, 9, 9, 5, 9, shape=[3, 2]),
        ("disagree", 0.5, "tolerance", 3, 2),
    ),
    "half of a row allowed": (
        ComparisonRule("tensor", tolerance=0.5),
        one("FP32", 1, 2, 3, 4, 5, 6, shape=[3, 2]),
        one("FP32", 1, 2, 9, 9, 5, 9, shape=[3, 2]),
        ("disagree", 0.5, "tolerance", 3, 1),
    ),
    "as many values as are tolerated": (
        ComparisonRule("tensor", tolerance=0.29),
        one("FP32", *[1.0] * 100, shape=[1, 100]),
        one("FP32", *[2.0] * 29, *[1.0] * 71, shape=[1, 100]),
        ("agree", 0.29, None, 1, 0),
    ),
    "two outputs of one name": (
        RULE,
        oip(("a", "FP32", [1], [1.5]), ("a", "FP32", [1], [2.5])),
        oip(("a", "FP32", [1], [9.5]), ("a", "FP32", [1], [2.5])),
        ("disagree", 0.5, "tolerance", 1, 1),
    ),
    "two outputs, in another order": (
        RULE,
        oip(("a", "FP32", [1], [1.5]), ("b", "INT32", [1], [2])),
        oip(("b", "INT32", [1], [2]), ("a", "FP32", [1], [1.5])),
        ("agree", 0.0, None, 1, 0),
    ),
    "other names": (RULE, one("FP32", 1.0), one("FP32", 1.0, name="z"), ("disagree", 1.0, "names", 1, 1)),
    "one output more": (
        RULE,
        one("FP32", 1.0),
        oip(("y", "FP32", [1], [1.0]), ("z", "FP32", [1], [1.0])),
        ("disagree", 1.0, "names", 1, 1),
    ),
    "only the one that is named": (
        ComparisonRule("tensor", at="y"),
        one("FP32", 1.0),
        oip(("y", "FP32", [1], [1.0]), ("z", "FP32", [1], [1.0])),
        ("agree", 0.0, None, 1, 0),
    ),
    "other datatype": (RULE, one("FP32", 1.0), one("FP64", 1.0), ("disagree", 1.0, "datatype", 1, 1)),
    "other shape": (
        RULE,
        one("FP32", 1.0, 2.0, shape=[1, 2]),
        one("FP32", 1.0, 2.0, shape=[1, 2, 1]),
        ("disagree", 1.0, "shape", 1, 1),
    ),
    "fewer rows": (RULE, one("FP32", 1.0, 2.0), one("FP32", 1.0), ("disagree", 1.0, "rows", 2, 2)),
    "NaN in the same place": (RULE, one("FP32", None, 1.0), one("FP32", None, 1.0), ("agree", 0.0, None, 2, 0)),
    "NaN in another": (RULE, one("FP32", None, 1.0), one("FP32", 1.0, None), ("disagree", 1.0, "not_finite", 2, 2)),
    "a NaN that would be allowed as a number": (
        ComparisonRule("tensor", tolerance=1.0),
        one("FP32", 1.0, 1.0, shape=[1, 2]),
        one("FP32", None, 1.0, shape=[1, 2]),
        ("disagree", 0.5, "not_finite", 1, 1),
    ),
    "V1: numbers written in two ways": (
        RULE,
        v1([1, 2], [3, 4]),
        v1([1.0, 2.5], [3, 4]),
        ("disagree", 0.25, "tolerance", 2, 1),
    ),
    "V1: names for numbers": (RULE, v1(1, 2), v1("a", "b"), ("disagree", 1.0, "datatype", 2, 2)),
    "JSON at a place": (
        ComparisonRule("tensor", at="/logits"),
        json_answer({"logits": [[0.25, 0.5]]}),
        json_answer({"logits": [[0.25, 0.50001]]}),
        ("agree", 0.0, None, 1, 0),
    ),
    "no rows": (RULE, one("FP32", shape=[0, 3]), one("FP32", shape=[0, 3]), ("agree", 0.0, None, 0, 0)),
    "nothing in a row": (RULE, one("FP32", shape=[2, 0]), one("FP32", shape=[2, 0]), ("agree", 0.0, None, 2, 0)),
    "outputs of several sizes are one row": (
        RULE,
        oip(("a", "FP32", [2], [1.0, 2.0]), ("b", "FP32", [1], [1.0])),
        oip(("a", "FP32", [2], [1.0, 9.0]), ("b", "FP32", [1], [9.0])),
        ("disagree", 2 / 3, "tolerance", 1, 1),
    ),
    "no tensor": (RULE, json_answer([[1], "a"]), json_answer([[1], "a"]), ("uncomparable", None, "no_tensor", 0, 0)),
    "no tensor in the shadow's": (RULE, v1(1), text_answer("oops"), ("disagree", 1.0, "format", 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_tensors(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "tensor"
    distance = said.distance if said.distance is None else pytest.approx(said.distance)
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing) == expected


@pytest.mark.parametrize("datatype", DATATYPE_TOLERANCES)
def test_the_border_of_each_datatype(datatype: str) -> None:
    """Just inside of twice the tolerance (relative and absolute) values of one agree, just outside they do not."""
    tolerance = DATATYPE_TOLERANCES[datatype]
    inside, outside = 1 + 1.9 * tolerance, 1 + 2.1 * tolerance
    assert compare(RULE, one(datatype, 1.0), one(datatype, inside)).result == "agree"
    assert compare(RULE, one(datatype, 1.0), one(datatype, outside)).result == "disagree"


def test_what_is_told() -> None:
    """The largest difference of finite numbers, the cosine, and the places in row-major order."""
    said = compare(RULE, one("FP32", 3.0, 4.0, shape=[1, 2]), one("FP32", 4.0, -3.0, shape=[1, 2]))
    assert said.scores == (("max_abs", 7.0), ("cosine", 0.0))
    assert [(d.path, d.primary, d.shadow) for d in said.differences] == [
        ("/y/0", "3.0", "4.0"),
        ("/y/1", "4.0", "-3.0"),
    ]
    assert compare(RULE, one("INT64", 1), one("INT64", 1)).scores == ()

"""Labels: pairs that ``classification`` judges, as a person reading them would."""

from typing import Any

import pytest

from proxy.compare import Answer, ComparisonRule
from tests.compare.answers import json_answer, oip, v1
from tests.compare.pairs import Pair, judge

AUTO = ComparisonRule()
CLASSES = ComparisonRule(as_="classification")


def _predict(*labels: Any, model: str = "wine-v1") -> Answer:
    return oip(("predict", "INT64", [len(labels), 1], list(labels)), model_name=model)


def _with_proba(label: int, *proba: float) -> Answer:
    return oip(("predict", "INT64", [1], [label]), ("proba", "FP64", [1, len(proba)], list(proba)))


CASES: dict[str, Pair] = {
    "same label, other probabilities": (
        AUTO,
        _with_proba(2, 0.1, 0.2, 0.7),
        _with_proba(2, 0.1, 0.3, 0.6),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "flipped by little": (
        AUTO,
        _with_proba(0, 0.51, 0.49),
        _with_proba(1, 0.49, 0.51),
        ("disagree", 0.02, "label", "classification", 1, 1),
    ),
    "nothing in common": (
        AUTO,
        _with_proba(0, 1.0, 0.0),
        _with_proba(1, 0.0, 1.0),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "probabilities on one side only": (
        AUTO,
        _with_proba(0, 0.9, 0.1),
        _predict(1),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "other number of classes": (
        AUTO,
        _with_proba(0, 0.9, 0.1),
        _with_proba(0, 0.8, 0.1, 0.1),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "maps in another order": (
        CLASSES,
        v1({"p": {"cat": 0.8, "dog": 0.2}}),
        v1({"p": {"dog": 0.3, "cat": 0.7}}),
        ("agree", 0.1, None, "classification", 1, 0),
    ),
    "maps of other classes": (
        CLASSES,
        v1({"p": {"cat": 0.8, "dog": 0.2}}),
        v1({"p": {"cat": 0.7, "cow": 0.3}}),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "whole floats are labels": (
        AUTO,
        v1(1, 0),
        v1(1.0, 0.0),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "one envelope or the other": (
        AUTO,
        _predict(1, 0),
        v1(1, 0),
        ("agree", 0.0, None, "classification", 2, 0),
    ),
    "sigmoid": (CLASSES, v1([0.6]), v1([0.4]), ("disagree", 0.2, "label", "classification", 1, 1)),
    "names for numbers": (
        AUTO,
        v1(1, 0),
        v1("a", "b"),
        ("disagree", 1.0, "label_type", "classification", 2, 2),
    ),
    "no answer for one row": (
        AUTO,
        v1("a", "b"),
        v1("a", None),
        ("disagree", 1.0, "format", "classification", 2, 2),
    ),
    "fewer rows": (AUTO, v1(1, 0), v1(1), ("disagree", 1.0, "rows", "classification", 2, 2)),
    "no rows": (
        AUTO,
        oip(("predict", "INT64", [0], [])),
        oip(("predict", "INT64", [0], []), model_name="b"),
        ("agree", 0.0, None, "classification", 0, 0),
    ),
    "several labels per row": (
        CLASSES,
        v1([0, 1], [1, 1]),
        v1([0, 1], [1, 0]),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
    "primary has none": (
        CLASSES,
        v1(3.7),
        v1(1),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    "primary has none, same bytes": (
        CLASSES,
        v1(3.7),
        v1(3.7),
        ("uncomparable", None, "no_label", "classification", 0, 0),
    ),
    "shadow has none": (
        CLASSES,
        v1(1),
        v1(3.7),
        ("disagree", 1.0, "format", "classification", 1, 1),
    ),
    "shadow is broken": (
        AUTO,
        v1(1),
        json_answer(b"{"),
        ("disagree", 1.0, "format", "classification", 1, 1),
    ),
    "scores with NaN on both sides": (
        CLASSES,
        json_answer(b'{"predictions": [[NaN, 0.5]]}'),
        json_answer(b'{"predictions": [[NaN, 0.7]]}'),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "NaN on one side": (
        CLASSES,
        json_answer(b'{"predictions": [[0.2, 0.5]]}'),
        json_answer(b'{"predictions": [[NaN, 0.5]]}'),
        ("disagree", 1.0, "label", "classification", 1, 1),
    ),
    "label by name": (
        ComparisonRule(as_="classification", label="vote"),
        oip(("predict", "INT64", [1], [0]), ("vote", "INT64", [1], [1])),
        oip(("predict", "INT64", [1], [2]), ("vote", "INT64", [1], [1])),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "label by pointer": (
        ComparisonRule(as_="classification", label="/items/*/y"),
        json_answer({"items": [{"y": "a"}, {"y": "b"}]}),
        json_answer({"items": [{"y": "a"}, {"y": "c"}]}),
        ("disagree", 0.5, "label", "classification", 2, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    judge(CASES[name])

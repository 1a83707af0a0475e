"""Every method that finds rows takes one road: the primary decides whether a pair can be compared."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import pytest

from proxy.compare import Answer, compare
from proxy.compare.compare import JUDGES
from proxy.compare.judge import Judge
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import Comparison, Prediction, Undecodable
from proxy.compare.verdicts import UNCOMPARABLES
from proxy.methods import METHODS
from tests.compare.answers import json_answer, oip, v1

RULE: Final = ComparisonRule()


class _Words(NamedTuple):
    values: Sequence[str]
    source: str = "words"

    @property
    def rows(self) -> int:
        return len(self.values)


def _find(_rule: ComparisonRule, prediction: Prediction, beside: _Words | None) -> _Words | None:
    found = prediction.document
    return None if found is None else _Words(found, "words" if beside is None else f"beside {beside.source}")


def _judge(_rule: ComparisonRule, first: _Words, second: _Words) -> Comparison:
    return Comparison("agree", 0.0, f"{first.source}, {second.source}", "words", first.rows, 0)


def _refuse(found: _Words) -> str | None:
    return "too_many_boxes" if found.rows > 2 else None


WORDS: Final = Judge("words", "words", "no_text", _find, _judge, refuse=_refuse)
ONE, TWO, MANY, NONE = (Prediction("json", each) for each in (["a"], ["a", "b"], ["a", "b", "c"], None))

# primary, shadow → result, reason, rows, what the primary and the shadow have
ROADS: dict[str, tuple[Prediction, Prediction | Undecodable, tuple[str, str, int], tuple[str, ...]]] = {
    "what was found in the primary leads": (
        ONE,
        TWO._replace(document=["b"]),
        ("agree", "words, beside words", 1),
        (),
    ),
    "the same one is looked at once": (ONE, ONE, ("agree", "words, words", 1), ()),
    "nothing in the primary": (NONE, Undecodable("invalid_json"), ("uncomparable", "no_text", 0), ()),
    "too much in the primary": (MANY, Undecodable("invalid_json"), ("uncomparable", "too_many_boxes", 0), ()),
    "too much in the shadow": (TWO, MANY, ("disagree", "rows", 2), ("2 rows", "3 rows")),
    "a broken shadow": (
        TWO,
        Undecodable("invalid_json"),
        ("disagree", "format", 2),
        ("readable", "invalid_json"),
    ),
    "a shadow that we cannot read": (
        TWO,
        Undecodable("unsupported_encoding"),
        ("uncomparable", "unsupported_encoding", 0),
        (),
    ),
    "nothing in the shadow": (TWO, NONE, ("disagree", "format", 2), ("words in words", "no words")),
}


@pytest.mark.parametrize("name", ROADS)
def test_the_road(name: str) -> None:
    """The primary is found and found fit before anything of the shadow's is looked at."""
    primary, shadow, expected, told = ROADS[name]
    found = WORDS.compare(RULE, primary, shadow)
    assert (found.result, found.reason, found.rows) == expected
    assert tuple(text for each in found.differences for text in (each.primary, each.shadow)) == told


LABEL: Final = oip(("label", "INT64", [1], [1]))

# method, primary, shadow → result, reason
PLACES: dict[str, tuple[str, Answer, Answer, tuple[str, str | None]]] = {
    "an error is no label": ("auto", LABEL, json_answer({"error": 1}), ("disagree", "format")),
    "nor is one without a name": ("auto", v1(1), json_answer([1]), ("disagree", "format")),
    "nor a number": ("regression", v1(1.5), json_answer({"retry_after": 1.5}), ("disagree", "format")),
    "nor a chance": ("probabilities", v1(0.5), json_answer({"load": 0.5}), ("disagree", "format")),
    "nor is it for one who asks plain JSON": (
        "classification",
        json_answer({"label": 1}),
        json_answer({"code": 1}),
        ("disagree", "format"),
    ),
    "the same key": (
        "classification",
        json_answer({"y": 1}),
        json_answer({"y": 1, "z": 0.5}),
        ("agree", None),
    ),
    "nothing of its kind": (
        "classification",
        json_answer({"y": 1}),
        json_answer({"y": 1.5}),
        ("disagree", "format"),
    ),
    "one protocol, the other is none": (
        "classification",
        json_answer({"label": 1}),
        v1(1),
        ("disagree", "format"),
    ),
    "another key of the same meaning": (
        "regression",
        json_answer({"y": 1.5}),
        json_answer({"z": 1.5}),
        ("disagree", "format"),
    ),
    "rows in two forms that are no protocol": (
        "regression",
        json_answer([{"y": 1.5}, {"y": 2.5}]),
        json_answer(b'{"y": 1.5}\n{"y": 2.5}\n', content_type=b"application/x-ndjson"),
        ("agree", None),
    ),
    "two protocols": ("auto", LABEL, v1(1), ("agree", None)),
    "a probability is no class": (
        "auto",
        v1({"score": 0.75, "predicted_label": 1}),
        v1({"score": 0.75}),
        ("disagree", "format"),
    ),
    "a class that is written as a float": (
        "auto",
        v1({"score": 0.75, "predicted_label": 1}),
        v1({"score": 0.75, "predicted_label": 1.0}),
        ("agree", None),
    ),
    "a probability for another": (
        "classification",
        oip(("p", "FP32", [1], [0.75])),
        oip(("q", "FP32", [1], [0.625])),
        ("agree", None),
    ),
    "two outputs of one protocol": ("auto", LABEL, oip(("predict", "INT64", [1], [1])), ("agree", None)),
}


@pytest.mark.parametrize("name", PLACES)
def test_where_it_stands(name: str) -> None:
    """What a client of the primary's would not find in the shadow's answer is not found."""
    method, primary, shadow, expected = PLACES[name]
    found = compare(ComparisonRule(method, keeps_predictions=True), primary, shadow)
    assert (found.result, found.reason) == expected
    assert found.predicted is not None
    assert (found.predicted.shadow is None) is (found.result == "disagree")


def test_rows_may_be_the_judges_own() -> None:
    """A method without a noun for rows looks at their number itself."""
    judge = Judge("words", "words", "no_text", _find, _judge, noun="")
    assert judge.compare(RULE, ONE, TWO).result == "agree"


def test_every_method_has_one_judge() -> None:
    """Those that look into answers; the others are ``exact``, which looks at bytes, and who picks or does nothing."""
    assert sorted(judge.method for judge in JUDGES) == sorted(set(METHODS) - {"auto", "exact", "none"})
    assert {judge.missing for judge in JUDGES} <= set(UNCOMPARABLES)

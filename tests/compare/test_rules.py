"""Rules refuse what they cannot mean."""

import math
from dataclasses import fields, replace
from types import SimpleNamespace
from typing import Any

import pytest

from proxy.compare.rules import ComparisonRule
from proxy.settings import Compare

BAD_RULES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown method": ({"as_": "fuzzy"}, "auto, exact, json, classification, probabilities, regression"),
    "unknown boxes": ({"boxes": "yxyx"}, "xyxy, xywh, cxcywh"),
    "tolerance above 1": ({"tolerance": 1.01}, "tolerance to be a number from 0 to 1"),
    "negative threshold": ({"threshold": -0.1}, "threshold"),
    "no overlap": ({"iou": 0.0}, "iou to be a number above 0"),
    "no scale": ({"scale": 0.0}, "scale to be a finite number above 0"),
    "no places": ({"k": 0}, "k to be 1 or more"),
    "a deep glob": ({"at": "/**/id"}, r"at .*'\*\*'"),
    "score without a place": ({"score": ""}, "score"),
    "one thing at two places": ({"at": "y", "label": "z"}, "either at or label"),
    "negative rtol": ({"rtol": -1e-9}, "rtol"),
    "infinite rtol": ({"rtol": math.inf}, "rtol"),
    "NaN atol": ({"atol": math.nan}, "atol"),
    "ignore without slash": ({"ignore": ("/a", "b/c")}, "'b/c'"),
    "empty label": ({"label": ""}, "label"),
    "label with a deep glob": ({"label": "/**/class"}, r"'\*\*'"),
}


@pytest.mark.parametrize("name", BAD_RULES)
def test_a_rule_that_means_nothing_is_refused(name: str) -> None:
    """The error names the field, or the values that would do."""
    fields, expected = BAD_RULES[name]
    with pytest.raises(ValueError, match=expected):
        ComparisonRule(**fields)


def test_a_place_has_two_names() -> None:
    """What ``label`` named before there was ``at`` it still names; boxes have both."""
    assert ComparisonRule(label="y").place == ComparisonRule(at="y").place == "y"
    assert ComparisonRule().place is None
    assert ComparisonRule("detection", at="/boxes", label="/labels").place == "/boxes"


SAID: dict[str, Any] = {
    "as_": "detection",
    "rtol": 0.5,
    "atol": 0.25,
    "ignore": ("/a",),
    "label": "l",
    "at": "t",
    "score": "s",
    "tolerance": 0.1,
    "threshold": 0.2,
    "scale": 2.0,
    "k": 3,
    "iou": 0.75,
    "boxes": "xywh",
    "schema": "{}",
    "costs": (("cat", "dog", 0.5),),
}


@pytest.mark.parametrize("name", SAID)
def test_each_key_of_the_file_counts(name: str) -> None:
    """What ``compare`` says of each key stands in the rule; a file that says nothing has the default rule."""
    key = "schema_" if name == "schema" else name
    written = {"costs": {"cat": {"dog": 0.5}, "cow": {}}}
    said = SimpleNamespace(**{each: getattr(Compare(), each) for each in Compare.model_fields})
    setattr(said, key, written.get(name, SAID[name]))
    assert ComparisonRule.of(said) == replace(ComparisonRule.of(Compare()), **{name: SAID[name]})
    assert getattr(ComparisonRule.of(said), name) == SAID[name]


def test_every_key_is_said() -> None:
    """What the cases say is all there is, but for what follows from labels being wanted."""
    assert {field.name for field in fields(ComparisonRule) if field.init} - {*SAID} == {"keeps_predictions"}
    assert ComparisonRule.of(Compare.model_validate({"labels": "1h"})) == ComparisonRule(
        keeps_predictions=True
    )


@pytest.mark.parametrize("key", ["at", "label", "score"])
@pytest.mark.parametrize(
    "place", ["/**/a", "/a/**", "/**", "a/**", "/a/**b", "/", "/*/0", "**", "/~0**", " "]
)
def test_whatever_may_be_configured_makes_a_rule(key: str, place: str) -> None:
    """What the settings take is a rule: who would meet the error is a running observer."""
    fields: dict[str, Any] = {"as_": "detection", key: place}
    try:
        compare = Compare.model_validate({"as": "detection", key: place})
    except ValueError:
        with pytest.raises(ValueError, match=key):
            ComparisonRule(**fields)
        return
    assert getattr(ComparisonRule.of(compare), key) == place

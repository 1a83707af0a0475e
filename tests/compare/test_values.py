"""Rules refuse what they cannot mean; the histogram's bounds cover every distance."""

import math
from typing import Any

import pytest

from proxy.compare.values import DISTANCE_BOUNDS, ComparisonRule, Prediction

BAD_RULES: dict[str, tuple[dict[str, Any], str]] = {
    "unknown method": ({"as_": "fuzzy"}, "auto, exact, json, classification, regression"),
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


def test_the_default_rule_is_auto_with_small_tolerance() -> None:
    """The defaults are those of the configuration reference."""
    assert ComparisonRule("auto", 1e-5, 1e-8, (), None) == ComparisonRule()


def test_bounds_are_sorted_and_span_every_distance() -> None:
    """Twelve strictly rising bounds from 0 to 1: agreement has its own bucket, nothing falls above."""
    assert list(DISTANCE_BOUNDS) == sorted(set(DISTANCE_BOUNDS))
    assert (DISTANCE_BOUNDS[0], DISTANCE_BOUNDS[-1], len(DISTANCE_BOUNDS)) == (0.0, 1.0, 12)


def test_text_and_bytes_are_not_json() -> None:
    """Only parsed answers count as JSON."""
    assert Prediction("v1", {}).is_json
    assert not Prediction("text", "x").is_json
    assert not Prediction("bytes", b"x").is_json

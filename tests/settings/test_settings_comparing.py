"""How answers are compared is what the file says."""

from dataclasses import fields
from decimal import Decimal

import orjson

from proxy.compare.rules import ComparisonRule
from proxy.methods import METHODS, READ_BY
from proxy.settings.comparing import Compare
from tests.settings.settings_cases import FULL
from tests.settings.settings_world import read


def test_compare() -> None:
    """The comparison of a route holds what the file says."""
    compare = read(FULL, TOKEN="12345678").routes[0].compare
    assert (compare.as_, compare.rtol, compare.atol) == ("auto", 0.0, 1e-3)
    assert (compare.ignore, compare.label) == (("/a/*", "/b/**/c"), "/l")
    assert (compare.score, compare.scale, compare.tolerance, compare.threshold) == ("s", 2.5, 0.1, 0.5)
    assert (compare.k, compare.iou, compare.boxes) == (5, 0.75, "xywh")
    assert compare.costs == {"cat": {"dog": 0.25, "1": 0.0}, "1.0": {"cat": 1.0}}
    assert compare.examples == Decimal("0.5")
    assert {name: str(source) for name, source in compare.slices.items()} == {
        "tier": "header:x-tier",
        "plan": "cookie:p",
        "region": "query:r e",
        "lang": "json:/a/lang",
    }
    assert compare.schema_ is not None
    assert orjson.loads(compare.schema_) == {"type": "object", "required": ["a"], "maxProperties": 3}


def test_at() -> None:
    """A route says where that stands which is compared."""
    compare = read(FULL, TOKEN="12345678").routes[1].compare
    assert (compare.as_, compare.at) == ("ranking", "/hits/*/id")


def test_words() -> None:
    """The file and the comparison know the same keys, and who reads a key is a method."""
    keys = {field.alias or name for name, field in Compare.model_fields.items()}
    known = {field.name.rstrip("_") for field in fields(ComparisonRule) if field.init}
    assert known - {"keeps_predictions"} <= keys
    assert set(READ_BY) - {"labels"} <= known
    assert set().union(*READ_BY.values()) <= set(METHODS)


def test_what_changes_no_comparison_changes_no_digest() -> None:
    """What is kept of comparisons, and how they are sliced, does not make another rule of it."""
    plain = Compare()
    assert plain.digest == Compare.model_validate({"examples": 50, "slices": {"tier": "header:x"}}).digest
    assert plain.digest == Compare.model_validate({"labels": "1h"}).digest
    assert plain.digest != Compare(rtol=0.5).digest
    assert plain.digest != Compare.model_validate({"costs": {"cat": {"dog": 0.5}}}).digest

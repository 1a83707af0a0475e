"""The cases that Diffy's own tests and examples hold, and what this comparison says of them.

From ``DifferenceSpec``, ``JsonLifterSpec``, ``StringLifterSpec`` and ``HtmlLifterSpec`` of twitter/diffy and from the
example servers of twitter/diffy and opendiffy/diffy (values only; Scala's sets and classes as the JSON that Diffy lifts
them to). Where both say something else, the row says why.
"""

from typing import Any, NamedTuple

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from tests.compare.answers import json_answer, text_answer

JSON = ComparisonRule("json", rtol=0.0, atol=0.0)
AUTO = ComparisonRule()
EXACT = ComparisonRule("exact")


class Case(NamedTuple):
    """One of Diffy's cases."""

    rule: ComparisonRule
    left: Any
    right: Any
    diffy: str
    """Diffy's verdict: the classes of its differences, with their places."""
    places: list[str] | None
    """Where this comparison finds differences, ``None`` where it finds none."""
    why: str = ""
    """Why it says something else, where it does."""


NOTHING, PRIMITIVE, TYPE = "NoDifference", "PrimitiveDifference", "TypeDifference"

CASES: dict[str, Case] = {
    "equal booleans": Case(JSON, True, True, NOTHING, None),
    "equal integers": Case(JSON, 1, 1, NOTHING, None),
    "equal strings": Case(JSON, "hello", "hello", NOTHING, None),
    "equal lists": Case(JSON, [1, 2, 3], [1, 2, 3], NOTHING, None),
    "equal maps": Case(JSON, {"1": "1", "2": "2"}, {"1": "1", "2": "2"}, NOTHING, None),
    "equal objects": Case(
        JSON,
        {"first": "puneet", "last": "khanduri"},
        {"last": "khanduri", "first": "puneet"},
        NOTHING,
        None,
    ),
    "nulls": Case(JSON, None, None, NOTHING, None),
    "booleans": Case(JSON, True, False, PRIMITIVE, [""]),
    "integers": Case(JSON, 1, 2, PRIMITIVE, [""]),
    "strings": Case(JSON, "hello", "world", PRIMITIVE, [""]),
    "doubles": Case(JSON, 1.8, 3.9, PRIMITIVE, [""]),
    "boolean and integer": Case(JSON, True, 1, TYPE, [""]),
    "integer and string": Case(JSON, 1, "hello", TYPE, [""]),
    "string and double": Case(JSON, "hello", 1.2, TYPE, [""]),
    "integer and long": Case(JSON, 2, 3, TYPE, [""], "JSON has one kind of number: another value"),
    "double and integer": Case(JSON, 3.2, 2, TYPE, [""], "JSON has one kind of number: another value"),
    "string and boolean": Case(JSON, "hello", False, TYPE, [""]),
    "null and boolean": Case(JSON, None, True, TYPE, [""]),
    "null and integer": Case(JSON, None, 1, TYPE, [""]),
    "null and string": Case(JSON, None, "hello", TYPE, [""]),
    "null and list": Case(JSON, None, [1, 2, 3], TYPE, [""]),
    "another order": Case(
        JSON,
        ["a", "b", "c"],
        ["c", "b", "a"],
        "OrderingDifference(0 1 2, 2 1 0)",
        ["/0", "/2"],
        "place by place: who reads the first element gets another; `ranking` measures orders",
    ),
    "another size": Case(
        JSON,
        ["a", "a", "b", "b"],
        ["a", "b", "b", "c", "c"],
        "SeqSizeDifference(without a, with c c)",
        ["/1", "/3", "/4"],
        "place by place, as above",
    ),
    "one element": Case(
        JSON, ["a", "b", "c"], ["a", "b", "d"], "IndexedDifference(2: PrimitiveDifference)", ["/2"]
    ),
    "maps": Case(
        JSON,
        {"1": 2, "2": 3, "3": 4},
        {"1": 2, "2": 4, "4": 5},
        "MapDifference(keys: without 3, with 4; values: 2 PrimitiveDifference)",
        ["/2", "/3", "/4"],
    ),
    "one field": Case(
        JSON,
        {"first": "puneet", "last": "khanduri"},
        {"first": "prashant", "last": "khanduri"},
        "ObjectDifference(first: PrimitiveDifference)",
        ["/first"],
    ),
    "buffers": Case(EXACT, b"leftBuffer", b"rightBuffer", PRIMITIVE, [""]),
    "an attribute in HTML": Case(
        EXACT,
        '<div class="header"><h1 class="box">Hello World</h1></div><p>Lorem ipsum dolor sit amet.</p>',
        '<div class="header"><h1 class="round">Hello World</h1></div><p>Lorem ipsum dolor sit amet.</p>',
        "body.children.children.attributes.class.PrimitiveDifference",
        [""],
        "HTML is no prediction: it is a text, and as `exact` it is one place",
    ),
    "the same as a text": Case(
        AUTO,
        '<div class="header"><h1 class="box">Hello World</h1></div><p>Lorem ipsum dolor sit amet.</p>',
        '<div class="header"><h1 class="round">Hello World</h1></div><p>Lorem ipsum dolor sit amet.</p>',
        "body.children.children.attributes.class.PrimitiveDifference",
        None,
        "a model that words the same a little differently has not changed its answer",
    ),
    "JSON in a text": Case(
        AUTO,
        '{"a": "it\'s a json!" }',
        '{"a": "it\'s another json!" }',
        "a.PrimitiveDifference",
        ["/a"],
    ),
    "twitter/diffy's example servers": Case(
        JSON,
        {"name": "twitter", "timestamp": "1464739200000"},
        {"name": "TWITTER", "timestamp": "1464739200001"},
        "name.PrimitiveDifference, timestamp.PrimitiveDifference (as often as noise, so it is not shown)",
        ["/name", "/timestamp"],
        "a comparison of two answers knows no noise: `ignore` names what always differs, `noise` measures it",
    ),
    "the same, with what always differs named": Case(
        ComparisonRule("json", ignore=("/timestamp",)),
        {"name": "twitter", "timestamp": "1464739200000"},
        {"name": "TWITTER", "timestamp": "1464739200001"},
        "name.PrimitiveDifference",
        ["/name"],
    ),
    "opendiffy's example servers, JSON": Case(
        JSON, {"name": "Microsoft"}, {"NAME": "MICROSOFT"}, "name.MissingField, NAME.ExtraField", ["/name", "/NAME"]
    ),
    "opendiffy's example servers, text": Case(
        AUTO,
        "Microsoft",
        "MICROSOFT",
        PRIMITIVE,
        None,
        "case is no difference between texts; `exact` is for who thinks otherwise",
    ),
    "the same byte by byte": Case(EXACT, "Microsoft", "MICROSOFT", PRIMITIVE, [""]),
}  # fmt: skip


def _answer(value: Any, rule: ComparisonRule) -> Answer:
    return text_answer(value) if isinstance(value, str) and rule.as_ != "json" else json_answer(value)


@pytest.mark.parametrize("name", CASES)
def test_diffy(name: str) -> None:
    """The places of the differences; where Diffy finds some and this does not, or the reverse, the row says why."""
    case = CASES[name]
    said = compare(case.rule, _answer(case.left, case.rule), _answer(case.right, case.rule))
    assert said.result == ("agree" if case.places is None else "disagree")
    assert [difference.path for difference in said.differences] == (case.places or [])
    assert case.why or (case.diffy == NOTHING) is (case.places is None)

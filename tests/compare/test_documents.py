"""Two documents are compared leaf by leaf, whatever their depth."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.documents import MISSING, differ, render
from proxy.compare.pointers import compile_patterns

# primary, shadow, leaves, differing leaves, differences
CASES: dict[str, tuple[Any, Any, int, int, list[tuple[str, str, str]]]] = {
    "equal": ({"a": [1, "x", None]}, {"a": [1, "x", None]}, 3, 0, []),
    "keys in another order": ({"a": 1, "b": 2}, {"b": 2, "a": 1}, 2, 0, []),
    "a value": ({"a": 1, "b": 2}, {"a": 1, "b": 3}, 2, 1, [("/b", "2", "3")]),
    "integer and float": ({"a": 1}, {"a": 1.0}, 1, 0, []),
    "within tolerance": ([1.0], [1.000001], 1, 0, []),
    "a flag is no number": ([True, 0], [1, 0], 2, 1, [("/0", "true", "1")]),
    "a flag is no number in a longer list": ([1, 1], [1, True], 2, 1, [("/1", "1", "true")]),
    "null is not missing": ({"a": None}, {}, 1, 1, [("/a", "null", "(missing)")]),
    "an added key": ({}, {"a": "x"}, 1, 1, [("/a", "(missing)", '"x"')]),
    "a subtree counts its leaves": (
        {"a": {"b": [1, 2, 3]}},
        {"c": 1},
        4,
        4,
        [("/a", "object of 1", "(missing)"), ("/c", "(missing)", "1")],
    ),
    "other type": ({"a": [1, 2]}, {"a": "12"}, 2, 2, [("/a", "array of 2", '"12"')]),
    "object and array": ({"a": {}}, {"a": []}, 1, 1, [("/a", "object of 0", "array of 0")]),
    "empty both": ({"a": {}, "b": []}, {"a": {}, "b": []}, 2, 0, []),
    "a shorter list": ([1, "x"], [1], 2, 1, [("/1", '"x"', "(missing)")]),
    "a longer list": ([1], [1, 2, 3], 3, 2, [("/1", "(missing)", "2"), ("/2", "(missing)", "3")]),
    "list order counts": (["a", "b"], ["b", "a"], 2, 2, [("/0", '"a"', '"b"'), ("/1", '"b"', '"a"')]),
    "NaN and NaN": ([math.nan, math.inf], [math.nan, math.inf], 2, 0, []),
    "NaN and null": ([math.nan], [None], 1, 1, [("/0", "nan", "null")]),
    "escaped keys": ({"a/b": {"m~n": 1}}, {"a/b": {"m~n": 2}}, 1, 1, [("/a~1b/m~0n", "1", "2")]),
    "Unicode is compared by code point": (["\u00e9"], ["e\u0301"], 1, 1, [("/0", '"\u00e9"', '"e\u0301"')]),
    "scalars": ("a", "b", 1, 1, [("", '"a"', '"b"')]),
    "document order": (
        {"b": 1, "a": {"y": 1, "x": 1}, "c": 1},
        {"b": 2, "a": {"y": 2, "x": 2}, "c": 2},
        4,
        4,
        [("/b", "1", "2"), ("/a/y", "1", "2"), ("/a/x", "1", "2"), ("/c", "1", "2")],
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_differ(name: str) -> None:
    """Leaves, differing leaves and the report of each."""
    primary, shadow, leaves, differing, differences = CASES[name]
    found = differ(primary, shadow, rtol=1e-5, atol=1e-8)
    assert (leaves, differing) == (found.leaves, found.differing)
    assert differences == [(d.path, d.primary, d.shadow) for d in found.differences]
    assert found.distance == pytest.approx(differing / leaves)


def test_ignored_places_are_not_leaves() -> None:
    """An ignored value neither differs nor dilutes the share of those that do."""
    primary = {"id": 1, "rows": [{"ts": 1, "y": 2, "tags": ["a"]}, {"ts": 2, "y": 3, "tags": []}]}
    shadow = {"id": 2, "rows": [{"ts": 8, "y": 2}, {"ts": 9, "y": 4, "tags": ["b", "c"]}], "ms": 7}
    found = differ(primary, shadow, patterns=compile_patterns(("/id", "/rows/*/ts", "/**/tags", "/ms")))
    assert (found.leaves, found.differing) == (2, 1)
    assert [d.path for d in found.differences] == ["/rows/1/y"]


def test_ignoring_one_element_of_a_list_of_numbers() -> None:
    """Patterns reach into lists that are otherwise compared at once."""
    found = differ([1, 2, 3], [1, 9, 9], patterns=compile_patterns(("/1",)))
    assert (found.leaves, [d.path for d in found.differences]) == (2, ["/2"])


def test_ignoring_everything_agrees() -> None:
    """No leaf is left, and the share of none is 0."""
    assert differ({"a": 1}, {"a": 2}, patterns=compile_patterns(("/**",))).distance == 0.0


def test_rows_are_those_of_the_named_lists() -> None:
    """Differences are charged to the row they are in, by element or by a number of values each."""
    rows = [{"y": 1}, {"y": 2}, {"y": 3}]
    flat = [1, 2, 3, 4, 5, 6]
    primary = {"predictions": rows, "flat": flat, "other": [1]}
    shadow = {"predictions": [{"y": 0}, {"y": 2}, {}], "flat": [1, 2, 3, 0, 0, 6], "other": [2]}
    assert differ(primary, shadow, row_widths={id(rows): 1}).rows == {0, 2}
    assert differ(primary, shadow, row_widths={id(flat): 2}).rows == {1, 2}
    assert differ(primary, shadow).rows == set()


def test_reports_are_bounded_and_counts_are_not() -> None:
    """Sixteen differences are kept of a thousand counted, also from a vector."""
    found = differ({"v": [0] * 500, "w": ["a"] * 500}, {"v": [1] * 500, "w": ["b"] * 500})
    assert (found.differing, len(found.differences)) == (1000, 16)


@pytest.mark.parametrize("depth", [1_000, 10_000])
def test_depth_is_no_limit(depth: int) -> None:
    """The walk needs no stack frames, and neither does counting what is missing."""
    deep: Any = 1
    other: Any = 2
    for _ in range(depth):
        deep, other = [deep, "x"], [other, "x"]
    assert (differ(deep, deep).differing, differ(deep, other).differing) == (0, 1)
    assert differ({"a": deep}, {}).differing == depth + 1


RENDERED: dict[str, tuple[Any, str]] = {
    "text": ("caf\u00e9", '"caf\u00e9"'),
    "text that reads like a number": ("1", '"1"'),
    "long text": ("x" * 500, '"' + "x" * 79),
    "a lone surrogate": ("\ud800", r"'\ud800'"),
    "float": (0.1, "0.1"),
    "infinity": (-math.inf, "-inf"),
    "flag": (False, "false"),
    "null": (None, "null"),
    "missing": (MISSING, "(missing)"),
    "large integer": (2**64 - 1, "18446744073709551615"),
}


@pytest.mark.parametrize("name", RENDERED)
def test_render(name: str) -> None:
    """Scalars as JSON, at most 80 characters."""
    value, expected = RENDERED[name]
    assert expected == render(value)


scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.floats() | st.text(max_size=3)
documents = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=2), inner, max_size=4),
    max_leaves=25,
)


@given(documents)
def test_a_document_equals_itself(document: Any) -> None:
    """Also with NaN in it."""
    assert differ(document, document).differing == 0


@given(documents, documents)
def test_the_walk_is_symmetric_but_for_tolerance(a: Any, b: Any) -> None:
    """Without tolerance both directions count the same leaves and the same differences."""
    one, two = differ(a, b), differ(b, a)
    assert (one.leaves, one.differing) == (two.leaves, two.differing)
    assert 0.0 <= one.distance <= 1.0
    assert bool(one.differing) is bool(one.differences)


@given(st.lists(st.integers(0, 3), max_size=8), st.lists(st.integers(0, 3), max_size=8))
def test_patterns_that_match_nothing_change_nothing(a: list[int], b: list[int]) -> None:
    """A list of numbers is judged alike with patterns that leave it alone and with none."""
    first, second = {"x": {"data": a}}, {"x": {"data": b}}
    plain = differ(first, second, row_widths={id(a): 2})
    patterns = compile_patterns(("/**/nothing", "/x/*/none", "/y/0"))
    assert differ(first, second, patterns=patterns, row_widths={id(a): 2}) == plain

"""Differences between two documents, as sentences."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.control.changes import MAX_CHANGES, describe_changes

CASES: dict[str, tuple[Any, Any, tuple[str, ...]]] = {
    "nothing": ({"a": 1}, {"a": 1}, ()),
    "a value": ({"log_level": "info"}, {"log_level": "debug"}, ("log_level: info → debug",)),
    "a number": ({"a": {"b": 5}}, {"a": {"b": 20}}, ("a.b: 5 → 20",)),
    "none": ({"a": None}, {"a": "x"}, ("a: none → x",)),
    "a weight deep inside": (
        {"routes": [{"name": "wine", "variants": [{"name": "v3", "weight": 5}]}]},
        {"routes": [{"name": "wine", "variants": [{"name": "v3", "weight": 20}]}]},
        ("routes[wine].variants[v3].weight: 5 → 20",),
    ),
    "entries are told apart by name, not by place": (
        {"routes": [{"name": "a"}, {"name": "b", "x": 1}]},
        {"routes": [{"name": "b", "x": 2}]},
        ("routes[a]: removed", "routes[b].x: 1 → 2"),
    ),
    "shadows are told apart by model": (
        {"shadows": [{"model": "m1", "percent": 100}]},
        {"shadows": [{"model": "m1", "percent": 50}, {"model": "m2", "percent": 1}]},
        ("shadows[m1].percent: 100 → 50", "shadows[m2]: added"),
    ),
    "the order of routes matters": (
        {"routes": [{"name": "a"}, {"name": "b"}]},
        {"routes": [{"name": "b"}, {"name": "a"}]},
        ("routes: order a, b → b, a",),
    ),
    "a list of plain values": ({"trusted": []}, {"trusted": ["::1"]}, ('trusted: [] → ["::1"]',)),
    "a key more and a key less": ({"m": {"x": 1}}, {"m": {"y": 1}}, ("m.x: removed", "m.y: added")),
    "a name that occurs twice": (
        {"r": [{"name": "a"}, {"name": "a"}]},
        {"r": [{"name": "a"}]},
        ('r: [{"name":"a"},{"name":"a"}] → [{"name":"a"}]',),
    ),
    "a guardrail by its metric": (
        {"guardrails": [{"metric": "errors", "margin": 10}, {"metric": "latency"}]},
        {"guardrails": [{"metric": "errors", "margin": 5}]},
        ("guardrails[errors].margin: 10 → 5", "guardrails[latency]: removed"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_cases(case: str) -> None:
    """Each difference gives its sentence."""
    old, new, expected = CASES[case]
    assert expected == describe_changes(old, new)


def test_many_changes_are_cut_short() -> None:
    """A wholly different document gives a bounded number of sentences."""
    old = {f"k{i}": 0 for i in range(1000)}
    new = {f"k{i}": 1 for i in range(1000)}
    sentences = describe_changes(old, new)
    assert len(sentences) == MAX_CHANGES + 1
    assert "more than" in sentences[-1]


def test_long_values_are_cut_short() -> None:
    """A sentence stays readable however long the value."""
    (sentence,) = describe_changes({"a": "x" * 10_000}, {"a": "y"})
    assert len(sentence) < 200


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "model", "a", "b"]), inner, max_size=3)
    ),
    max_leaves=12,
)


@given(
    st.dictionaries(st.text(max_size=3), VALUES, max_size=4),
    st.dictionaries(st.text(max_size=3), VALUES, max_size=4),
)
def test_a_difference_is_never_missed(old: dict[str, Any], new: dict[str, Any]) -> None:
    """There is a sentence exactly when the documents differ."""
    assert (old != new) == bool(describe_changes(old, new))

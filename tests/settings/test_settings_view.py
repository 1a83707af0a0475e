from typing import Any

import pytest

from proxy.durations import parse_duration
from proxy.settings.document import read_document
from proxy.settings.view import View, as_text


def view(text: str) -> View:
    document = read_document(text, environ={}, source="f.yaml")
    return View(document, (), document.value)


def test_asked_for_what_is_there() -> None:
    """Keys, mappings of a list, entries and names are what the document says."""
    top = view("a: {b: 5s, n: wine}\nl: [{x: 1}, 2, {}]\nnull_: null\n")
    assert (top.has("a"), top.has("null_"), top.has("z")) == (True, False, False)
    assert top.keys("a") == ["b", "n"]
    assert top.at("a").name("n") == "wine"
    assert top.at("a").read("b", as_text(parse_duration)) == 5 * 10**9
    assert [item.path for item in top.items("l")] == [("l", 0), ("l", 2)]
    assert top.each("l") == [(0, {"x": 1}), (1, 2), (2, {})]


@pytest.mark.parametrize("value", ["5", "text", "[1, [2]]", "true", "{a: {}}"])
def test_anything_may_stand_there(value: str) -> None:
    """What is of another kind reads as nothing, wherever one looks."""
    top = view(f"k: {value}")
    inner: Any = top.at("k").at("b")
    assert inner.value is None
    assert (inner.items("x"), inner.each("x"), inner.keys("x"), inner.name("x")) == ([], [], [], None)
    assert top.name("k") == ("text" if value == "text" else None)
    assert top.read("k", as_text(parse_duration)) is None


def test_problem() -> None:
    """A problem has the place of the key, or of the value itself, and what was found there."""
    top = view("a:\n  b: 5\n")
    inner = top.at("a")
    assert (inner.problem("b", "six").line, inner.problem("b", "six").found) == (2, "5")
    assert (inner.problem(None, "six").path, inner.problem("c", "six").found) == ("a", "nothing")
    assert inner.problem("b", "six", "something else").found == "something else"

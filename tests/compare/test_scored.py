"""Classes beside scores are pairs, in whichever form; other rows are not."""

from typing import Any

import pytest

from proxy.compare.scored import read_alternatives, read_best, read_scored_rows

PAIRS = [("a", 0.7), ("b", 0.3)]
OBJECTS = [{"label": "a", "score": 0.7}, {"label": "b", "score": 0.3}]
FALLING = {"a": 0.4, "b": 0.3, "c": 0.1, "d": 0.05, "e": 0.01}

ROWS: dict[str, tuple[list[Any], Any]] = {
    "TensorFlow Serving": ([[["a", 0.7], ["b", 0.3]]], [PAIRS]),
    "Hugging Face": ([OBJECTS, OBJECTS], [PAIRS, PAIRS]),
    "zero-shot": ([{"sequence": "x", "labels": ["a", "b"], "scores": [0.7, 0.3]}], [PAIRS]),
    "Roboflow": ([[{"class": "a", "class_id": 0, "confidence": 1}]], [[("a", 1)]]),
    "a map of all classes": ([{"a": 0.7, "b": 0.3}], [PAIRS]),
    "TorchServe, the first five": ([FALLING], [list(FALLING.items())]),
    "three that do not add up": ([{"a": 0.4, "b": 0.3, "c": 0.1}], None),
    "five that rise": ([dict(reversed(FALLING.items()))], None),
    "a map of more than one": ([{"a": 0.7, "b": 0.4}], None),
    "a map with less than none": ([{"a": 1.2, "b": -0.2}], None),
    "filled masks": (
        [[{"score": 0.9, "token": 7, "token_str": "a", "sequence": "x a"}]],
        [[("a", 0.9)]],
    ),
    "a class and how sure it is": ([{"class": 0, "confidence": 0.9995}], None),
    "a map of one": ([{"a": 1.0}], None),
    "a map of counts": ([{"a": 1, "b": 0}], None),
    "a map with NaN": ([{"a": float("nan"), "b": 0.3}], None),
    "a map with a name": ([{"a": 0.7, "b": 0.3, "c": "x"}], None),
    "objects with more": ([[{"label": "a", "score": 0.7, "box": [1]}]], None),
    "labels that are numbers": ([[{"label": 1, "score": 0.7}]], None),
    "more labels than scores": ([{"labels": ["a", "b"], "scores": [0.7]}], None),
    "labels beside boxes": ([{"labels": ["a"], "scores": [0.7], "boxes": []}], None),
    "a row of another kind": ([OBJECTS, 3], None),
    "an empty row": ([OBJECTS, []], None),
    "no rows": ([], None),
}


@pytest.mark.parametrize("name", ROWS)
def test_rows(name: str) -> None:
    """The pairs of each row."""
    rows, expected = ROWS[name]
    assert read_scored_rows(rows) == expected


ALTERNATIVES: dict[str, tuple[list[Any], Any]] = {
    "of one input": (OBJECTS, PAIRS),
    "of two inputs": ([{"label": "a", "score": 0.7}, {"label": "b", "score": 0.9}], None),
    "of one that rise": ([{"label": "a", "score": 0.2}, {"label": "b", "score": 0.5}], None),
    "of two that fall": ([{"label": "a", "score": 0.9}, {"label": "b", "score": 0.7}], None),
    "the same twice": ([{"label": "a", "score": 0.5}, {"label": "a", "score": 0.5}], None),
    "one": (OBJECTS[:1], None),
    "none": ([], None),
    "others": ([1, 2], None),
}


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_alternatives(name: str) -> None:
    """A flat list is one input's if its scores can be one distribution, the best first."""
    rows, expected = ALTERNATIVES[name]
    assert read_alternatives(rows) == expected


def test_a_single_alternative() -> None:
    """One alternative says nothing of whether it is all of an input, but where a service lists one input's alone."""
    assert read_alternatives(OBJECTS[:1], least=1) == PAIRS[:1]
    assert read_alternatives([], least=1) is None


BEST: dict[str, tuple[list[Any], list[str] | None]] = {
    "three of many": ([{"a": 0.4, "b": 0.3, "c": 0.1}], ["a"]),
    "of two inputs": ([{"a": 0.4, "b": 0.3}, {"b": 1, "a": 0.0}], ["a", "b"]),
    "that rise": ([{"a": 0.3, "b": 0.4}], None),
    "of more than 1": ([{"a": 0.8, "b": 0.4}], None),
    "of less than nothing": ([{"a": 0.8, "b": -0.1}], None),
    "of NaN": ([{"a": float("nan"), "b": 0.1}], None),
    "one": ([{"a": 0.8}], None),
    "a word": ([{"a": 0.8, "b": "x"}], None),
    "no map": ([3], None),
    "no inputs": ([], None),
}


@pytest.mark.parametrize("name", BEST)
def test_the_best_of_a_few(name: str) -> None:
    """The first of falling scores, where someone says that they are scores of classes."""
    rows, expected = BEST[name]
    assert read_best(rows) == expected

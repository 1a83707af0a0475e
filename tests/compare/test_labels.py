"""The class of every row is found where servers put it."""

import math
from typing import Any

import orjson
import pytest

from proxy.compare.decode import decode
from proxy.compare.labels import (
    Labels,
    are_blobs,
    are_texts,
    find_labels,
    has_labels,
    is_distribution,
    label_family,
)
from proxy.compare.rules import ComparisonRule
from proxy.compare.tensors import tensor_of
from proxy.compare.values import Prediction, Tensor


def _read(document: Any) -> Prediction:
    prediction = decode(200, b"application/json", None, orjson.dumps(document))
    assert isinstance(prediction, Prediction)
    return prediction


def _oip(*outputs: tuple[str, str, list[int], list[Any]]) -> dict[str, Any]:
    return {"outputs": [{"name": n, "datatype": d, "shape": s, "data": v} for n, d, s, v in outputs]}


def _v1(*rows: Any) -> dict[str, Any]:
    return {"predictions": list(rows)}


PROBA: tuple[str, str, list[int], list[Any]] = ("predict_proba", "FP64", [2, 2], [0.9, 0.1, 0.2, 0.8])

# document, rule's label, (source, labels) or None, probabilities found, shows by itself that it classifies
CASES: dict[str, tuple[Any, str | None, tuple[str, list[Any]] | None, bool, bool]] = {
    "scikit-learn on MLServer": (
        _oip(("predict", "INT64", [2, 1], [0, 1]), PROBA),
        None,
        ("predict", [0, 1]),
        True,
        True,
    ),
    "ONNX: probabilities first": (
        _oip(PROBA, ("label", "INT64", [2], [0, 1])),
        None,
        ("label", [0, 1]),
        True,
        True,
    ),
    "named label among integers": (
        _oip(("age", "INT32", [1], [7]), ("Label", "INT32", [1], [3])),
        None,
        ("Label", [3]),
        False,
        True,
    ),
    "two unnamed integers": (
        _oip(("age", "INT32", [1], [7]), ("sex", "INT32", [1], [1])),
        None,
        ("age", [7]),
        False,
        False,
    ),
    "text labels": (_oip(("out", "BYTES", [2], ["cat", "dog"])), None, ("out", ["cat", "dog"]), False, True),
    "flags": (_oip(("fraud", "BOOL", [2], [True, False])), None, ("fraud", [True, False]), False, True),
    "probabilities only": (_oip(PROBA), None, ("predict_proba", [0, 1]), True, True),
    "logits": (_oip(("logits", "FP32", [1, 3], [-1, 5, 2])), None, ("logits", [1]), False, False),
    "probabilities before logits": (
        _oip(("logits", "FP32", [2, 2], [9, 1, 9, 1]), PROBA),
        None,
        ("predict_proba", [0, 1]),
        True,
        True,
    ),
    "first of equal scores": (_oip(("p", "FP32", [1, 2], [0.5, 0.5])), None, ("p", [0]), True, True),
    "maps of positions are no class": (
        _oip(("mask", "FP32", [1, 2, 2], [1, 2, 3, 4])),
        None,
        None,
        False,
        False,
    ),
    "a dimension of one is no obstacle": (
        _oip(("p", "FP32", [1, 1, 2], [0.3, 0.7])),
        None,
        ("p", [1]),
        True,
        True,
    ),
    "Triton's class strings": (
        _oip(("OUT", "BYTES", [1, 2], ["0.900000:2:cat", "0.100000:0:dog"])),
        None,
        ("OUT", [2]),
        False,
        True,
    ),
    "Triton's class strings, top one": (
        _oip(("OUT", "BYTES", [2, 1], ["0.9:2:cat", "0.1:0"])),
        None,
        ("OUT", [2, 0]),
        False,
        True,
    ),
    "times of day are labels": (
        _oip(("OUT", "BYTES", [1], ["12:30"])),
        None,
        ("OUT", ["12:30"]),
        False,
        True,
    ),
    "class strings with an absurd index": (
        _oip(("OUT", "BYTES", [1], ["0.5:" + "9" * 5000])),
        None,
        ("OUT", ["0.5:" + "9" * 5000]),
        False,
        True,
    ),
    "Hugging Face on MLServer": (
        _oip(("output", "BYTES", [1, 1], ['{"label": "POSITIVE", "score": 0.998}'])),
        None,
        ("output", ["POSITIVE"]),
        False,
        True,
    ),
    "text that only looks like JSON": (_oip(("t", "BYTES", [1], ["{x}"])), None, ("t", ["{x}"]), False, True),
    "JSON text without a label": (
        _oip(("t", "BYTES", [1], ['{"a": null}'])),
        None,
        ("t", ['{"a": null}']),
        False,
        True,
    ),
    "several labels per row": (
        _oip(("tags", "INT64", [2, 2], [0, 1, 1, 1])),
        None,
        ("tags", [(0, 1), (1, 1)]),
        False,
        False,
    ),
    "several labels per row beside scores": (
        _oip(("tags", "INT64", [1, 2], [0, 1]), ("s", "FP32", [1, 2], [0.9, 0.8])),
        None,
        ("tags", [(0, 1)]),
        False,
        False,
    ),
    "scores that hold a NaN": (
        _oip(("p", "FP32", [2, 2], [None, 1, 0.1, 0.9])),
        None,
        ("p", [math.nan, 1]),
        False,
        False,
    ),
    "several names per row": (
        _oip(("t", "BYTES", [1, 2], ["a", "b"])),
        None,
        ("t", [("a", "b")]),
        False,
        False,
    ),
    "a pointer to a map": ({"p": {"dog": 0.7, "cat": 0.3}}, "/p", ("/p", ["dog"]), True, False),
    "no columns": (_oip(("tags", "INT64", [2, 0], [])), None, None, False, False),
    "no columns of floats": (_oip(("y", "FP32", [2, 0], [])), None, None, False, False),
    "text that JSON readers refuse": (
        _oip(("t", "BYTES", [2], ['{"label": "a"}', "{"])),
        None,
        ("t", ['{"label": "a"}', "{"]),
        False,
        True,
    ),
    "no rows": (_oip(("predict", "INT64", [0], [])), None, ("predict", []), False, True),
    "V1 integers": (_v1(1, 0), None, ("predictions", [1, 0]), False, True),
    "V1 text": (_v1("cat"), None, ("predictions", ["cat"]), False, True),
    "V1 probabilities": (_v1([0.1, 0.9], [0.6, 0.4]), None, ("predictions", [1, 0]), True, True),
    "V1 integer vectors are no scores": (_v1([0, 1]), None, ("predictions", [(0, 1)]), False, False),
    "V1 objects": (_v1({"label": "cat", "score": 0.9}), None, ("label", ["cat"]), False, True),
    "V1 objects with an integer that is no label": (
        _v1({"score": 0.91, "count": 17}),
        None,
        ("count", [17]),
        False,
        False,
    ),
    "V1 class names beside scores": (
        _v1({"names": ["a", "b"], "scores": [0.2, 0.8]}),
        None,
        ("names", ["b"]),
        False,
        True,
    ),
    "V1 maps": (_v1({"p": {"dog": 0.7, "cat": 0.3}}), None, ("p", ["dog"]), True, True),
    "classify": ({"results": [[["cat", 0.4], ["dog", 0.6]]]}, None, ("label", ["dog"]), True, True),
    "one float: probability of class 1": (_v1([0.93], [0.2]), None, ("predictions", [1, 0]), True, False),
    "one float: a label written as float": (_v1(1.0, 0.0), None, ("predictions", [1.0, 0.0]), False, False),
    "one float that is neither": (_v1(3.7), None, None, False, False),
    "one float that is NaN": (_oip(("y", "FP32", [1], [None])), None, None, False, False),
    "a plain object": ({"class": "cat", "probabilities": [0.9, 0.1]}, None, ("class", ["cat"]), True, True),
    "a vector in a plain object is one row": (
        {"probabilities": [0.4, 0.6]},
        None,
        ("probabilities", [1]),
        True,
        True,
    ),
    "a plain object without anything": ({"a": None}, None, None, False, False),
    "a tensor by name": (
        _oip(("a", "INT8", [1], [1]), ("b", "INT8", [1], [2])),
        "b",
        ("b", [2]),
        False,
        False,
    ),
    "a float tensor by name": (
        _oip(("predict", "INT64", [2], [1, 1]), PROBA),
        "predict_proba",
        ("predict_proba", [0, 1]),
        True,
        True,
    ),
    "a name that is not there": (_oip(("a", "INT8", [1], [1])), "b", None, False, True),
    "a pointer per row": (
        {"items": [{"y": "a"}, {"y": "b"}]},
        "/items/*/y",
        ("/items/*/y", ["a", "b"]),
        False,
        False,
    ),
    "a pointer to one value": ({"out": {"y": 3}}, "/out/y", ("/out/y", [3]), False, False),
    "a pointer to scores": ({"out": [[0.2, 0.8]]}, "/out", ("/out", [1]), True, True),
    "a pointer to nothing": ({"out": 1}, "/no", None, False, False),
    "a pointer to mixed values": ({"out": [1, "a"]}, "/out", None, False, False),
}


@pytest.mark.parametrize("name", CASES)
def test_labels(name: str) -> None:
    """Source, labels and probabilities of each known form."""
    document, label, expected, has_probabilities, _ = CASES[name]
    found = find_labels(ComparisonRule(at=label), _read(document))
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert str(expected) == str((found.source, list(found.values)))
        assert has_probabilities is (found.probabilities is not None)


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case[1] is None])
def test_what_shows_itself_a_classifier(name: str) -> None:
    """Labels, or rows of probabilities; never a lone float or a vector that does not sum to one."""
    document, _, _, _, expected = CASES[name]
    if _read(document).format != "json":
        assert expected is has_labels(_read(document))


def test_a_probability_alone_is_that_of_class_1() -> None:
    """What is told beside its labels has both classes."""
    found = find_labels(ComparisonRule(), _read({"predictions": [0.25, 0.75]}))
    both = Tensor("predictions", "FP64", "float", (2, 2), [0.75, 0.25, 0.25, 0.75], 2, 2)
    assert found == Labels("predictions", [0, 1], both)


def test_the_output_of_the_primary_is_preferred() -> None:
    """A hint picks among several; one that is not there, or tells no class, leaves the conventions."""
    both = _oip(("label", "INT64", [1], [1]), ("vote", "INT64", [1], [2]), ("z", "FP32", [1], [3.7]))
    for hint, expected in (("vote", 2), ("label", 1), ("gone", 1), ("z", 1)):
        found = find_labels(ComparisonRule(), _read(both), Labels(hint, [], None))
        assert found is not None
        assert [expected] == list(found.values)


def test_labels_in_text_have_no_pointer() -> None:
    """A pointer finds nothing in an answer that is not JSON."""
    assert find_labels(ComparisonRule(at="/label"), Prediction("text", "cat")) is None


DISTRIBUTIONS: dict[str, tuple[list[list[float]], bool]] = {
    "exact": ([[0.5, 0.5]], True),
    "rounded": ([[0.333, 0.333, 0.333]], True),
    "off by more": ([[0.5, 0.49]], False),
    "one bad row": ([[0.5, 0.5], [0.9, 0.9]], False),
    "negative": ([[1.5, -0.5]], False),
    "NaN": ([[math.nan, 1.0]], False),
    "NaN last": ([[1.0, math.nan]], False),
    "one column": ([[1.0], [1.0]], False),
    "whole numbers are counts": ([[0, 1]], False),
}


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_is_distribution(name: str) -> None:
    """Every row within 0 and 1, summing to one within 0.001."""
    rows, expected = DISTRIBUTIONS[name]
    tensor = tensor_of(rows, "p")
    assert tensor is not None
    assert expected is is_distribution(tensor)


FAMILIES: dict[str, tuple[list[Any], str]] = {
    "numbers": ([1, True, 2.0], "number"),
    "text": (["a", None], "text"),
    "both": (["a", 1], "mixed"),
    "tuples": ([(1, 2)], "number"),
    "nothing": ([None], ""),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_label_family(name: str) -> None:
    """Numbers and flags are one family, names another."""
    values, expected = FAMILIES[name]
    assert expected == label_family(values)


@pytest.mark.parametrize(
    ("text", "is_text", "is_blob"),
    [
        ("cat", False, False),
        ("a\nb", True, False),
        ("\uefff" * 65, True, False),  # a text in another charset
        ("\uef89PNG\r\n\x1a\n\x00", True, True),
        ("\x00\x00\x00A" * 17, True, True),  # numbers that happen to be ASCII
        ("\x1b[1mbold\x1b[0m\r\n\f\tx", True, False),
    ],
)
def test_what_is_no_label(text: str, is_text: bool, is_blob: bool) -> None:
    """What is too long for a label, or of several lines, is a text, or no text either."""
    tensor = tensor_of([text], "y")
    assert tensor is not None
    assert (are_texts(tensor), are_blobs(tensor)) == (is_text, is_blob)

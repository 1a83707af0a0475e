"""A rule finds what it names."""

from typing import Any

import orjson
import pytest

from proxy.compare.decode import decode
from proxy.compare.places import nested, select_value, whole
from proxy.compare.values import Prediction, Tensor


def _read(document: Any) -> Prediction:
    found = decode(200, b"application/json", None, orjson.dumps(document))
    assert isinstance(found, Prediction)
    return found


OIP = {"outputs": [{"name": "y", "datatype": "INT64", "shape": [2, 2], "data": [1, 2, 3, 4]}]}

PLACES: dict[str, tuple[Any, str, Any]] = {
    "a field": ({"a": {"b": 3}}, "/a/b", 3),
    "one of each": ({"a": [{"b": 1}, {"b": 2}]}, "/a/*/b", [1, 2]),
    "nothing there": ({"a": 1}, "/b", None),
    "a tensor": (OIP, "y", [[1, 2], [3, 4]]),
    "no such tensor": (OIP, "z", None),
    "a pointer into the protocol": (OIP, "/outputs/0/data", [1, 2, 3, 4]),
}


@pytest.mark.parametrize("name", PLACES)
def test_select_value(name: str) -> None:
    """One place, one value."""
    document, place, expected = PLACES[name]
    assert select_value(_read(document), place) == expected


def test_text_has_no_places() -> None:
    """Nothing is behind a pointer into plain text."""
    assert select_value(Prediction("text", "hello"), "/0") is None


WHOLES: dict[str, tuple[Any, Any]] = {
    "rows": ({"predictions": [1, 2]}, [1, 2]),
    "columns": ({"outputs": {"a": [1]}}, {"a": [1]}),
    "other JSON": ({"a": 1}, {"a": 1}),
    "a list": ([1], [1]),
    "the protocol": (OIP, None),
}


@pytest.mark.parametrize("name", WHOLES)
def test_whole(name: str) -> None:
    """The rows of an answer, without the envelope."""
    document, expected = WHOLES[name]
    assert whole(_read(document)) == expected


SHAPES: dict[str, tuple[tuple[int, ...], list[int], Any]] = {
    "scalar": ((), [1], [1]),
    "vector": ((3,), [1, 2, 3], [1, 2, 3]),
    "matrix": ((2, 2), [1, 2, 3, 4], [[1, 2], [3, 4]]),
    "cube": ((1, 2, 2), [1, 2, 3, 4], [[[1, 2], [3, 4]]]),
    "no rows": ((0, 2), [], []),
    "nothing in a row": ((2, 0), [], [[], []]),
}


@pytest.mark.parametrize("name", SHAPES)
def test_nested(name: str) -> None:
    """Lists in lists, as the shape says."""
    shape, data, expected = SHAPES[name]
    rows = shape[0] if shape else 1
    width = len(data) // rows if rows else 0
    assert nested(Tensor("y", "INT64", "int", shape, list(data), rows, width)) == expected

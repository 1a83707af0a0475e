"""What is told of a document at sight is what looking at everything in it tells."""

from importlib import import_module
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import ComparisonRule, compare
from proxy.compare.boxes import BOX_NAMES, THING_NAMES
from proxy.compare.completions import COMPLETION_SIGNS, read_completion
from proxy.compare.embeddings import VECTOR_SIGNS, read_embeddings
from proxy.compare.labels import CLASSIFIED_NAMES
from proxy.compare.plain import is_plain
from proxy.compare.rankings import RANKED_NAMES
from proxy.compare.tensors import tensors_of_rows
from proxy.compare.values import LateTensors, Prediction
from proxy.compare.vectors import EMBEDDING_NAMES
from tests.compare.answers import json_answer
from tests.compare.bodies import BODIES

comparing, decoding = import_module("proxy.compare.compare"), import_module("proxy.compare.decode")
NAMES = sorted(
    {
        *BOX_NAMES,
        *THING_NAMES,
        *RANKED_NAMES,
        *CLASSIFIED_NAMES,
        *EMBEDDING_NAMES,
        *COMPLETION_SIGNS,
        *VECTOR_SIGNS,
    }
    | {"a", "b", "id", "prob", "score", "scores", "xmin"}
)
UNIT = [0.125, -0.125] * 32
SCALARS = [0.25, 0.75, 1, True, None, "cat", "x" * 80, ""]
VALUES: list[Any] = [
    *SCALARS,
    *([], [0.25, 0.75], [0.25, 2, None], ["a", "b"], [1.5, 2, 3, 4], [[1.5, 2, 3, 4]], [1, "a", {}]),
    *(UNIT, [UNIT, UNIT], [[0.5, -0.5]], {str(at): value for at, value in enumerate(UNIT)}),
    *([{"index": 0, "score": 0.5}], [{"box": [1, 2, 3, 4], "label": "a"}], [{"label": "a", "score": 1}]),
    *({}, {"x": 1, "y": 2, "width": 3, "height": 4}, {"a": 0.25, "b": 0.75}, {"ndarray": [[0.5]]}),
]


def _hold(document: Any) -> None:
    """Check both short cuts on one document."""
    answer, other = json_answer(document), json_answer({**document, "a": 0.125})
    assert document.keys() & decoding._SIGNS or (
        read_completion(document) is None
        and read_embeddings(document) is None
        and decoding._read_seldon(document) is None
    )
    found = compare(ComparisonRule(), answer, other)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(comparing, "is_plain", lambda _: False)
        patched.setattr(decoding, "LateTensors", lambda make: make())
        assert compare(ComparisonRule(), answer, other) == found


@pytest.mark.parametrize("name", NAMES)
def test_short_cuts(name: str) -> None:
    """The method that is picked and all that comes of it are the same with and without them."""
    for value in VALUES:
        for beside in ({}, {"a": 0.75}, {"b": "x"}, {"score": 0.5}):
            _hold({name: value, **beside})


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VALUES), max_size=4))
def test_short_cuts_of_any(document: dict[str, Any]) -> None:
    """So are those of any names and values together."""
    _hold(document)


@pytest.mark.parametrize("name", BODIES)
def test_short_cuts_of_real_bodies(name: str) -> None:
    """So are those of bodies as servers write them, whole and each object in them."""
    try:
        stack = [orjson.loads(BODIES[name].data)]
    except orjson.JSONDecodeError:
        return
    while stack:
        value = stack.pop()
        if type(value) is dict:
            _hold(value)
            stack += value.values()
        elif type(value) is list:
            stack += value


def test_a_document_is_told_at_sight() -> None:
    """Of what has none of the names and nothing long in it, no tensor is made."""

    def make() -> Any:
        raise AssertionError("nobody needs them")

    assert is_plain(Prediction("json", {"a": 1, "items": [1, 2]}, LateTensors(make)))
    assert not is_plain(Prediction("json", {"a": 1, "boxes": [1, 2]}, LateTensors(make)))
    assert not is_plain(Prediction("json", {"a": UNIT}, LateTensors(make)))


def test_late_tensors_are_what_they_hold() -> None:
    """They are made once, and equal, show and iterate as the tuple of them."""
    calls = []

    def make() -> Any:
        calls.append(1)
        return tensors_of_rows([{"a": 1.5}], "x")

    late = LateTensors(make)
    whole = make()
    assert (late, len(late), late[0], late[:1], list(late)) == (whole, 1, whole[0], whole, list(whole))
    assert late == LateTensors(make)
    assert late != ()
    assert repr(late) == repr(whole)
    assert len(calls) == 3

"""A comparison row by row: what each answer says of a row, and that rows add up to what is said of them together."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.compare.rows import NOTHING, JudgedRow, judged_rows

JSON = b"application/json"


def judged(method: str, primary: Any, shadow: Any, status: int = 200, **rule: Any) -> Comparison:
    """Return what comes of two JSON answers."""
    first, second = (body if isinstance(body, bytes) else orjson.dumps(body) for body in (primary, shadow))
    answers = Answer(200, JSON, None, first), Answer(status, JSON, None, second)
    return compare(ComparisonRule(method, **rule), *answers)


def rows(*values: Any) -> dict[str, Any]:
    return {"predictions": list(values)}


def chances(*labels: int) -> dict[str, Any]:
    """Return outputs of the Open Inference Protocol: labels, and the probabilities of the first."""
    found = {"name": "label", "datatype": "INT64", "shape": [len(labels)], "data": labels}
    beside = {"name": "probabilities", "datatype": "FP64", "shape": [1, 2], "data": [0.25, 0.75]}
    return {"model_name": "m", "outputs": [found, beside]}


def label(word: str, score: float | None = None) -> tuple[str | None, float | None, float | None]:
    return word, None, score


def number(value: float | None) -> tuple[str | None, float | None, float | None]:
    return None, value, None


CASES: dict[str, tuple[str, Any, Any, list[tuple[Any, ...]]]] = {
    "classes": ("classification", rows(1, 2), rows(1, 3), [
        (1, "label", None, label("2"), label("3")), (0, None, None, label("1"), label("1")),
    ]),
    "classes with probabilities": ("classification", rows([0.25, 0.75], [0.1, 0.9]), rows([0.75, 0.25], [0.1, 0.9]), [
        (0, "label", 0.5, label("1", 0.75), label("0", 0.75)), (1, None, 0.0, label("1", 0.9), label("1", 0.9)),
    ]),
    "probabilities of one row of two": ("classification", chances(1, 2), chances(1, 3), [
        (1, "label", None, label("2"), label("3")), (0, None, None, label("1"), label("1")),
    ]),
    "names": ("classification", rows("cat"), rows("dog"), [(0, "label", None, label("cat"), label("dog"))]),
    "names for numbers": ("classification", rows(1), rows("dog"), [(0, "label_type", 1.0, label("1"), label("dog"))]),
    "fewer rows": ("classification", rows(1, 2), rows(1), [
        (0, "rows", 1.0, label("1"), NOTHING), (1, "rows", 1.0, label("2"), NOTHING),
    ]),
    "broken": ("classification", rows(1), b"{", [(0, "format", 1.0, label("1"), NOTHING)]),
    "probabilities": ("probabilities", rows([0.25, 0.75]), rows([0.5, 0.5]), [
        (0, "label", 0.25, label("1", 0.75), label("0", 0.5)),
    ]),
    "numbers": ("regression", rows(1.5, 2), rows(1.5, 3), [
        (1, "tolerance", None, number(2.0), number(3.0)), (0, None, None, number(1.5), number(1.5)),
    ]),
    "several numbers": ("regression", rows([1.5, 2]), rows([1.5, 3]), [(0, "tolerance", None, NOTHING, NOTHING)]),
    "no number": ("regression", b'{"predictions":[NaN]}', rows(1.5), [
        (0, "tolerance", None, number(None), number(1.5)),
    ]),
    "a tensor": ("tensor", rows(1, 2), rows(1, 5), [
        (1, "tolerance", 1.0, number(2.0), number(5.0)), (0, None, 0.0, number(1.0), number(1.0)),
    ]),
    "texts in a tensor": ("tensor", rows("a"), rows("b"), [(0, "tolerance", 1.0, label("a"), label("b"))]),
    "a ranking": ("ranking", rows(["x", "y"], [1]), rows(["x", "y"], [2]), [
        (1, "top", 1.0, label("1"), label("2")), (0, None, 0.0, label("x"), label("x")),
    ]),
    "an empty ranking": ("ranking", rows([], [True]), rows([], [True]), [
        (0, None, 0.0, NOTHING, NOTHING), (1, None, 0.0, label("true"), label("true")),
    ]),
    "boxes": ("detection", [{"box": [0, 0, 1, 1], "label": "cat"}], [], [
        (0, "boxes", 1.0, number(1.0), number(0.0)),
    ]),
    "words": ("text", {"choices": [{"message": {"content": "yes"}}], "object": "chat.completion"},
              {"choices": [{"message": {"content": "no"}}], "object": "chat.completion"}, [
        (0, "text", 1.0, NOTHING, NOTHING),
    ]),
    "vectors": ("embedding", rows([1.0, 0.0]), rows([0.0, 1.0]), [(0, "tolerance", 1.0, NOTHING, NOTHING)]),
    "documents": ("json", rows({"a": 1}, {"a": 2}), rows({"a": 1}, {"a": 3}), [
        (1, "fields", None, NOTHING, NOTHING), (0, None, None, NOTHING, NOTHING),
    ]),
    "bytes": ("exact", b"a", b"b", [(0, "bytes", None, NOTHING, NOTHING)]),
    "no rows": ("regression", rows(), rows(), []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values(name: str) -> None:
    """Each row has its value, as the method reads it, its reason and its distance; those that disagree stand first."""
    method, primary, shadow, expected = CASES[name]
    found = judged_rows(judged(method, primary, shadow), 10)
    assert [tuple(row) for row in found] == expected


def test_a_text_that_has_no_form() -> None:
    """A record can be written with every label, also with one that was half a character."""
    (found,) = judged_rows(judged("classification", b'{"x": NaN, "predictions": ["\\ud800"]}', rows("a")), 5)
    assert found.primary == label("\ufffd")
    orjson.dumps(found.primary)


def test_a_status() -> None:
    """An answer that failed beside one that did not is one row that disagrees, without values."""
    (found,) = judged_rows(judged("classification", rows(1), rows(1), status=500), 5)
    assert found == JudgedRow(0, "status", None, NOTHING, NOTHING)


def test_what_no_row_differs_in() -> None:
    """A difference beside the rows is of none of them."""
    comparison = judged("json", {"predictions": [1, 2], "of": 1}, {"predictions": [1, 2], "of": 2})
    assert (comparison.rows, comparison.rows_disagreeing) == (2, 1)
    assert judged_rows(comparison, 5) == []


def test_nothing_compared() -> None:
    """What could not be compared has no rows."""
    assert judged_rows(judged("classification", b"{", rows(1)), 5) == []


METHODS = ("auto", "classification", "probabilities", "regression", "tensor", "ranking", "json", "text")
VALUES = st.one_of(
    st.lists(st.sampled_from([0, 1, 2]), max_size=6),
    st.lists(st.sampled_from(["a", "b"]), max_size=6),
    st.lists(st.floats(0, 1, width=16), max_size=6),
    st.lists(st.sampled_from([[0.25, 0.75], [0.75, 0.25], [0.5, 0.5]]), max_size=6),
)


@given(VALUES, VALUES, st.sampled_from(METHODS), st.integers(0, 8))
def test_rows_add_up(first: list[Any], second: list[Any], method: str, limit: int) -> None:
    """As many rows disagree as the comparison says, those that do come first, and the mean of distances is its own."""
    comparison = judged(method, rows(*first), rows(*second))
    found = judged_rows(comparison, 100)
    assert judged_rows(comparison, limit) == found[:limit]
    assert len(found) == comparison.rows
    differing = [row.reason is not None for row in found]
    assert sum(differing) == comparison.rows_disagreeing
    assert differing == sorted(differing, reverse=True)
    assert sorted(row.row for row in found) == list(range(comparison.rows))
    distances = [row.distance for row in found if row.distance is not None]
    if len(distances) == comparison.rows and found:
        assert comparison.distance == pytest.approx(sum(distances) / len(distances))

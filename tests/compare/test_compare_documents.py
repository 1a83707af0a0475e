"""Documents: pairs that ``json`` judges, leaf by leaf."""

import pytest

from proxy.compare import ComparisonRule
from tests.compare.answers import bare, chat, json_answer, oip, v1
from tests.compare.pairs import Pair, judge

AS_JSON = ComparisonRule(as_="json")


CASES: dict[str, Pair] = {
    "last digit": (
        AS_JSON,
        json_answer({"score": 0.7312}),
        json_answer({"score": 0.73120001}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "model and call are not compared": (
        AS_JSON,
        oip(("y", "FP32", [1], [1.0]), id="a", model_version="1", parameters={"ms": 3}),
        oip(("y", "FP32", [1], [1.0]), id="b", model_name="wine-v4"),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "the identity of a plain document counts": (
        AS_JSON,
        json_answer({"id": 1}),
        json_answer({"id": 2}),
        ("disagree", 1.0, "fields", "json", 1, 1),
    ),
    "a moment counts where it is asked for": (
        AS_JSON,
        json_answer({"timestamp": 1, "y": 2}),
        json_answer({"timestamp": 2, "y": 2}),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
    "the next integer is another one": (
        AS_JSON,
        json_answer({"item": 1234567, "items": [1234567, 2]}),
        json_answer({"item": 1234568, "items": [1234567, 3]}),
        ("disagree", 2 / 3, "fields", "json", 1, 1),
    ),
    "integers within a tolerance that is asked for": (
        ComparisonRule(as_="json", rtol=1e-5),
        json_answer({"item": 1234567}),
        json_answer({"item": 1234568}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "tokens used are not compared": (
        AS_JSON,
        json_answer({"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1}}),
        json_answer({"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 2}}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "flat and nested data are the same": (
        AS_JSON,
        json_answer(
            {"outputs": [{"name": "y", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}]}
        ),
        oip(("y", "FP32", [2, 2], [1, 2, 3, 4])),
        ("agree", 0.0, None, "json", 2, 0),
    ),
    "order of outputs has no meaning": (
        AS_JSON,
        oip(("a", "FP32", [1], [1]), ("b", "FP32", [1], [2])),
        oip(("b", "FP32", [1], [2]), ("a", "FP32", [1], [1])),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "other datatype": (
        AS_JSON,
        oip(("y", "FP32", [1], [1])),
        oip(("y", "FP64", [1], [1])),
        ("disagree", 0.25, "fields", "json", 1, 1),
    ),
    "rows of a tensor": (
        AS_JSON,
        oip(("y", "FP32", [3, 2], [1, 2, 3, 4, 5, 6])),
        oip(("y", "FP32", [3, 2], [1, 2, 0, 0, 5, 0])),
        ("disagree", 0.5, "fields", "json", 3, 2),
    ),
    "rows of objects": (
        AS_JSON,
        v1({"y": 1}, {"y": 2}),
        v1({"y": 1}, {"y": 3}),
        ("disagree", 0.5, "fields", "json", 2, 1),
    ),
    "columns": (
        AS_JSON,
        json_answer({"outputs": {"a": [1, 2, 3], "b": [1, 2, 3]}}),
        json_answer({"outputs": {"a": [1, 0, 0], "b": [1, 0, 3]}}),
        ("disagree", 0.5, "fields", "json", 3, 2),
    ),
    "choices": (
        AS_JSON,
        chat("a", "b", "c"),
        chat("a", "x", "y"),
        ("disagree", 2 / 13, "fields", "json", 3, 2),
    ),
    "lines": (
        AS_JSON,
        json_answer(b'{"a": 1}\n{"a": 2}\n{"a": 3}\n', content_type=b"application/x-ndjson"),
        json_answer(b'{"a": 1}\n{"a": 5}\n{"a": 6}\n', content_type=b"application/x-ndjson"),
        ("disagree", 2 / 3, "fields", "json", 3, 2),
    ),
    "fewer rows": (AS_JSON, v1(1, 2), v1(1), ("disagree", 1.0, "rows", "json", 2, 2)),
    "shadow is text": (AS_JSON, v1(1), bare(b"oops"), ("disagree", 1.0, "format", "json", 1, 1)),
    "shadow is broken": (AS_JSON, v1(1), json_answer(b"{"), ("disagree", 1.0, "format", "json", 1, 1)),
    "primary is text": (
        AS_JSON,
        bare(b"oops"),
        v1(1),
        ("uncomparable", None, "not_json", "json", 0, 0),
    ),
    "primary is broken": (
        AS_JSON,
        json_answer(b"{"),
        v1(1),
        ("uncomparable", None, "invalid_json", "json", 0, 0),
    ),
    "ignored": (
        ComparisonRule(as_="json", ignore=("/took_ms", "/hits/*/ts")),
        json_answer({"took_ms": 3, "hits": [{"ts": 1, "y": 1}]}),
        json_answer({"took_ms": 4, "hits": [{"ts": 2, "y": 1}]}),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "NaN tokens": (
        AS_JSON,
        json_answer(b"[NaN, 1]"),
        json_answer(b"[NaN, 1.0]"),
        ("agree", 0.0, None, "json", 1, 0),
    ),
    "other number of outputs": (
        AS_JSON,
        oip(("a", "FP32", [1], [1])),
        oip(("a", "FP32", [1], [1]), ("b", "FP32", [1], [1])),
        ("disagree", 0.5, "fields", "json", 1, 1),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    judge(CASES[name])

"""What holds of a pair whatever the method: failures, codings, bytes, what cannot be seen."""

import gzip
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy import compare as room
from proxy.compare import Answer, ComparisonRule, compare
from tests.compare.answers import bare, json_answer, oip, v1
from tests.compare.pairs import Pair, judge

AUTO = ComparisonRule()
EXACT = ComparisonRule(as_="exact")
AS_JSON = ComparisonRule(as_="json")
CLASSES = ComparisonRule(as_="classification")
VALUES = ComparisonRule(as_="regression")


def _predict(*labels: Any, model: str = "wine-v1") -> Answer:
    return oip(("predict", "INT64", [len(labels), 1], list(labels)), model_name=model)


CASES: dict[str, Pair] = {
    "shadow failed": (AUTO, v1(1), json_answer({}, status=503), ("disagree", 1.0, "status", "auto", 1, 1)),
    "primary failed": (AUTO, json_answer({}, status=422), v1(1), ("disagree", 1.0, "status", "auto", 1, 1)),
    "both failed alike": (
        AUTO,
        json_answer({}, status=400),
        json_answer({}, status=400),
        ("uncomparable", None, "both_failed", "auto", 0, 0),
    ),
    "both failed differently": (
        EXACT,
        json_answer({}, status=400),
        json_answer({}, status=500),
        ("uncomparable", None, "both_failed", "exact", 0, 0),
    ),
    "two kinds of success": (
        AUTO,
        v1(1),
        v1(1)._replace(status=201),
        ("agree", 0.0, None, "classification", 1, 0),
    ),
    "byte by byte: one compressed": (
        EXACT,
        bare(b"hello"),
        bare(gzip.compress(b"hello"), b"gzip"),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "byte by byte: compressed in two ways": (
        EXACT,
        bare(zlib.compress(b"hello"), b"deflate"),
        bare(gzip.compress(b"hello"), b"gzip"),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "byte by byte: JSON in another order": (
        EXACT,
        json_answer(b'{"a":1,"b":2}'),
        json_answer(b'{"b":2,"a":1}'),
        ("disagree", 1.0, "bytes", "exact", 1, 1),
    ),
    "byte by byte: binary": (
        EXACT,
        json_answer(b"\x00\xff"),
        json_answer(b"\x00\xff"),
        ("agree", 0.0, None, "exact", 1, 0),
    ),
    "primary truncated": (
        AUTO,
        json_answer(b"[1", truncated=True),
        v1(1),
        ("uncomparable", None, "truncated", "auto", 0, 0),
    ),
    "shadow truncated": (
        AUTO,
        v1(1),
        json_answer(b"[1", truncated=True),
        ("uncomparable", None, "truncated", "auto", 0, 0),
    ),
    "both truncated alike": (
        EXACT,
        json_answer(b"x", truncated=True),
        json_answer(b"x", truncated=True),
        ("uncomparable", None, "truncated", "exact", 0, 0),
    ),
    "unknown coding alike": (
        EXACT,
        bare(b"x", b"compress"),
        bare(b"x", b"compress"),
        ("uncomparable", None, "unsupported_encoding", "exact", 0, 0),
    ),
    "shadow in an unknown coding": (
        EXACT,
        bare(b"x"),
        bare(b"x", b"compress"),
        ("uncomparable", None, "unsupported_encoding", "exact", 0, 0),
    ),
    "primary unreadable, shadow's gzip broken": (
        AS_JSON,
        json_answer(b"{"),
        bare(b"x", b"gzip"),
        ("uncomparable", None, "invalid_json", "json", 0, 0),
    ),
    "labels, shadow's gzip broken": (
        AUTO,
        v1(1, 0),
        bare(b"x", b"gzip"),
        ("disagree", 1.0, "format", "classification", 2, 2),
    ),
    "shadow's gzip is broken": (
        EXACT,
        bare(b"x"),
        bare(b"x", b"gzip"),
        ("disagree", 1.0, "format", "exact", 1, 1),
    ),
    "a bomb for an answer": (
        EXACT,
        bare(b"x"),
        bare(gzip.compress(bytes(20_000_000)), b"gzip"),
        ("uncomparable", None, "decoded_too_large", "exact", 0, 0),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_pairs(name: str) -> None:
    """Result, distance, reason, method and rows of one pair."""
    judge(CASES[name])


PATHS: dict[str, tuple[ComparisonRule, Answer, Answer, list[tuple[str, str, str]]]] = {
    "status": (AUTO, v1(1), json_answer({}, status=503), [("", "status 200", "status 503")]),
    "label": (AUTO, _predict(0, 1), _predict(0, 2), [("/predict/1", "1", "2")]),
    "label by pointer": (
        ComparisonRule(as_="classification", label="/y"),
        json_answer({"y": "a"}),
        json_answer({"y": "b"}),
        [("/y/0", '"a"', '"b"')],
    ),
    "several labels": (CLASSES, v1([0, 1]), v1([0, 0]), [("/predictions/0", "[0, 1]", "[0, 0]")]),
    "value": (AUTO, v1(1.5, 2.5), v1(1.5, 3.5), [("/predictions/1", "2.5", "3.5")]),
    "one of several values": (VALUES, v1([1.5, 2.5]), v1([1.5, 3.5]), [("/predictions/0/1", "2.5", "3.5")]),
    "field of a tensor": (
        AS_JSON,
        oip(("a", "FP32", [1], [1.5]), ("b", "FP32", [2], [1.5, 2.5])),
        oip(("b", "FP32", [2], [1.5, 3.5]), ("a", "FP32", [1], [1.5])),
        [("/outputs/1/data/1", "2.5", "3.5")],
    ),
}


@pytest.mark.parametrize("name", PATHS)
def test_where_answers_part(name: str) -> None:
    """A difference names its place in the primary and both values."""
    rule, primary, shadow, expected = PATHS[name]
    assert expected == [(d.path, d.primary, d.shadow) for d in compare(rule, primary, shadow).differences]


@pytest.mark.parametrize("rule", [AUTO, VALUES, AS_JSON], ids=lambda rule: rule.as_)
def test_differences_are_bounded(rule: ComparisonRule) -> None:
    """A large batch that differs everywhere keeps sixteen differences and counts every row."""
    for first, second in ((1.5, 2.5), (1, 2)):
        found = compare(rule, v1(*[first] * 300), v1(*[second] * 300))
        assert (len(found.differences), found.rows, found.rows_disagreeing) == (16, 300, 300)


def test_binary_and_json_tensors_are_one_answer() -> None:
    """Triton's binary form is compared with the JSON form by value."""
    head = orjson.dumps(
        {
            "model_name": "m",
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
            ],
        }
    )
    body = head + struct.pack("<2f", 0.5, 2.5)
    binary = Answer(200, b"application/octet-stream", None, body, inference_header_length=len(head))
    plain = oip(("y", "FP32", [2], [0.5, 2.5]))
    for rule in (AUTO, AS_JSON):
        assert compare(rule, binary, plain).result == "agree"
        assert compare(rule, plain, binary).result == "agree"


def test_the_cap_is_the_callers() -> None:
    """A smaller cap refuses what the default would read."""
    answer = bare(gzip.compress(b"x" * 2_000), b"gzip")
    assert compare(EXACT, answer, answer).result == "agree"
    assert compare(EXACT, answer, answer, cap_bytes=1_000).reason == "decoded_too_large"


def test_deep_nesting_is_judged() -> None:
    """As deep as the parser goes: no recursion anywhere behind it."""
    deep = b"[" * 1_000 + b"1" + b"]" * 1_000
    other = b"[" * 1_000 + b"2" + b"]" * 1_000
    for rule in (AUTO, AS_JSON, CLASSES, VALUES):
        assert compare(rule, json_answer(deep), json_answer(b" " + deep)).result in ("agree", "uncomparable")
        assert compare(rule, json_answer(deep), json_answer(other)).result in ("disagree", "uncomparable")


def test_nothing_is_compared_by_the_method_none() -> None:
    """With ``none`` equal answers do not agree, nor do different ones disagree: nobody looked."""
    one, other = v1(1), v1(2)
    for pair in ((one, one), (one, other)):
        found = compare(ComparisonRule(as_="none"), *pair)
        assert (found.result, found.reason, found.distance) == ("uncomparable", "not_wanted", None)


def test_the_map_has_every_module() -> None:
    """The room says of each of its modules what it is for, and of none that is not there."""
    named = {name for line in (room.__doc__ or "").splitlines() for name in re.findall(r"``(\w+)``", line)}
    modules = {path.stem for path in Path(room.__file__).parent.glob("*.py")} - {"__init__"}
    assert named - {"auto"} == modules

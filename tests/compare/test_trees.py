"""Documents are compared without what speaks of the model or the call, bodies byte by byte."""

import pytest

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.trees import compare_bytes
from proxy.compare.values import Undecodable
from tests.compare.answers import chat, json_answer, oip, v1

RULE = ComparisonRule("json")

# primary, shadow → agree or reason
CASES: dict[str, tuple[Answer, Answer, str | None]] = {
    "an envelope names its model": (
        oip(("y", "FP32", [1], [1.5]), id="a", model_version="1"),
        oip(("y", "FP32", [1], [1.5]), id="b", model_version="2"),
        None,
    ),
    "a plain document has no envelope": (json_answer({"id": "a"}), json_answer({"id": "b"}), "fields"),
    "a completion names model and call": (
        chat("Paris"),
        json_answer(chat("Paris").body.replace(b"chatcmpl-1", b"chatcmpl-2").replace(b'"m"', b'"n"')),
        None,
    ),
    "its words count": (chat("Paris"), chat("Rome"), "fields"),
    "numbers within a hundred-thousandth": (v1({"a": 1.0}), v1({"a": 1.000009}), None),
    "beyond it": (v1({"a": 1.0}), v1({"a": 1.00002}), "fields"),
}


@pytest.mark.parametrize("name", CASES)
def test_documents(name: str) -> None:
    """One pair of answers, agreement or the reason."""
    primary, shadow, reason = CASES[name]
    said = compare(RULE, primary, shadow)
    assert (said.method, said.reason) == ("json", reason)


def test_bytes() -> None:
    """Equal or not; a shadow's that nobody could decode is broken, one that only we cannot is unknown."""
    assert compare_bytes(b"a", b"a").result == "agree"
    assert compare_bytes(b"a", b"b").reason == "bytes"
    assert compare_bytes(b"a", Undecodable("bad_encoding")).reason == "format"
    assert compare_bytes(b"a", Undecodable("unsupported_encoding")).result == "uncomparable"

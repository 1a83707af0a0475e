"""What is asked is OpenAI's dialect; of an answer nothing is taken that is not as it should be."""

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.embedder.dialect import build_body, read_vectors


def answered(*vectors: Any) -> bytes:
    """Return the answer with these vectors, the last one first."""
    items = [{"object": "embedding", "index": at, "embedding": each} for at, each in enumerate(vectors)]
    return orjson.dumps({"object": "list", "data": items[::-1], "model": "m", "usage": {}})


def test_what_is_asked() -> None:
    """Model, texts and the form of the answer; half a character becomes a question mark."""
    assert orjson.loads(build_body("m", ["a", "\ud800"])) == {
        "model": "m",
        "input": ["a", "?"],
        "encoding_format": "float",
    }


def test_vectors_come_in_the_order_of_texts() -> None:
    """The index says whose a vector is, not its place."""
    vectors = read_vectors(answered([1, 0.5], [2.0, -1]), 2)
    assert vectors is not None
    assert [each.tolist() for each in vectors] == [[1.0, 0.5], [2.0, -1.0]]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": 1}',
        b'{"data": [1, 2]}',
        answered([1.0]),
        answered([1.0], [1.0], [1.0]),
        answered([1.0], [1.0, 2.0]),
        answered([1.0], []),
        answered([1.0], ["1"]),
        answered([1.0], [True]),
        answered([1.0], [1e300]),
        answered([1.0], None),
        b'{"data": [{"index": 0, "embedding": [1]}, {"index": 0, "embedding": [1]}]}',
        b'{"data": [{"index": [], "embedding": [1]}, {"index": 0, "embedding": [1]}]}',
    ],
)
def test_anything_else_is_no_answer(body: bytes) -> None:
    """Too few, too many, of other lengths, not finite, no numbers, no JSON."""
    assert read_vectors(body, 2) is None


@given(st.binary())
def test_no_bytes_raise(body: bytes) -> None:
    """Whatever comes is vectors or nothing."""
    assert read_vectors(body, 1) is None

"""Embeddings in numbers and in base64 are one tensor."""

import base64
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.embeddings import UNIT_WIDTH, read_embeddings, read_sparse


def _answer(*vectors: Any) -> dict[str, Any]:
    items = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(vectors)]
    return {"object": "list", "data": items, "model": "m"}


def _packed(*values: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(values)}f", *values)).decode()


@given(st.lists(st.lists(st.floats(width=32), min_size=3, max_size=3), min_size=1, max_size=4))
def test_both_forms_say_the_same(vectors: list[list[float]]) -> None:
    """FP32 values survive base64 to the bit, and the document has them as numbers."""
    plain = read_embeddings(_answer(*vectors))
    packed = read_embeddings(_answer(*(_packed(*vector) for vector in vectors)))
    assert plain is not None
    assert packed is not None
    assert (plain[1].datatype, packed[1].datatype) == ("FP64", "FP32")
    assert packed[1].shape == plain[1].shape == (len(vectors), 3)
    assert list(map(repr, packed[1].data)) == list(map(repr, plain[1].data))
    assert repr(packed[0]) == repr(plain[0])


def test_rows_are_in_the_order_of_their_numbers() -> None:
    """The service may answer in any order."""
    answer = _answer([1.0], [2.0])
    answer["data"].reverse()
    found = read_embeddings(answer)
    assert found is not None
    assert found[1].data == [1.0, 2.0]


VECTORS = [[0.5, -0.5], [1.0, 2.0]]
FORMS: dict[str, Any] = {
    "OpenAI, without its object": {"data": [{"embedding": vector} for vector in VECTORS], "model": "m"},
    "llama.cpp": [{"index": at, "embedding": [vector]} for at, vector in enumerate(VECTORS)],
    "llama.cpp, of old": [{"index": at, "embedding": vector} for at, vector in enumerate(VECTORS)],
    "Ollama": {"model": "m", "embeddings": VECTORS, "total_duration": 5, "prompt_eval_count": 2},
    "Cohere": {"id": "c", "embeddings": {"int8": [[1, 2]], "float": VECTORS}, "texts": ["a", "b"], "meta": {}},
    "Cohere, of old": {"id": "c", "embeddings": VECTORS, "response_type": "embeddings_floats"},
    "Gemini": {"embeddings": [{"values": vector} for vector in VECTORS]},
    "Vertex AI": {"predictions": [{"embeddings": {"values": v, "statistics": {}}} for v in VECTORS], "metadata": {}},
}  # fmt: skip
ONE: dict[str, Any] = {
    "Ollama, of old": {"embedding": VECTORS[0]},
    "Titan": {"embedding": VECTORS[0], "inputTextTokenCount": 3, "embeddingsByType": {"float": VECTORS[0]}},
    "Gemini": {"embedding": {"values": VECTORS[0]}},
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str) -> None:
    """Each service's envelope holds the same vectors."""
    found = read_embeddings(FORMS[name])
    assert found is not None
    assert (found[1].name, found[1].shape, found[1].data) == ("embedding", (2, 2), [0.5, -0.5, 1.0, 2.0])


@pytest.mark.parametrize("name", ONE)
def test_forms_of_one(name: str) -> None:
    """A single vector is one row."""
    found = read_embeddings(ONE[name])
    assert found is not None
    assert (found[1].shape, found[1].data) == ((1, 2), [0.5, -0.5])


NONE: dict[str, Any] = {
    "a label beside the vector": {"embedding": [0.5, 1.0], "label": "cat"},
    "a label beside the row's": {"predictions": [{"embeddings": {"values": [1.0]}, "label": "cat"}]},
    "encodings nobody knows": {"embeddings": {"ubinary": [[1]]}},
    "vectors of texts": {"embeddings": [["a"]]},
    "no vectors": {"embeddings": []},
    "vectors of nothing": {"embeddings": [[]]},
    "a list of nothing": [],
    "a list of rows": [{"index": 0}],
    "another list": {"object": "list", "data": [{"id": "m"}]},
    "no list": {"object": "embedding", "data": []},
    "no rows": _answer(),
    "rows of unequal width": _answer([1.0], [1.0, 2.0]),
    "a text among numbers": _answer([1.0, "x"]),
    "truth values": _answer([True]),
    "base64 of no whole number": _answer("AAA="),
    "not base64": _answer("!!"),
    "not ASCII": _answer("é"),
    "a number": _answer(3),
}


@pytest.mark.parametrize("name", NONE)
def test_what_is_no_embedding(name: str) -> None:
    """Anything else is left to who reads plain JSON."""
    assert read_embeddings(NONE[name]) is None


def _pooled(*vectors: Any, kind: str = "pooling") -> dict[str, Any]:
    items = [{"index": at, "object": kind, "data": vector} for at, vector in enumerate(vectors)]
    return {"id": "pool-1", "object": "list", "created": 1, "model": "m", "data": items, "usage": {}}


LONG = [(-0.5) ** at for at in range(UNIT_WIDTH)]
POOLED: dict[str, tuple[Any, tuple[str, int] | None]] = {
    "vectors": (_pooled(LONG, LONG), ("embedding", 2)),
    "vectors in base64": (_pooled(_packed(*LONG)), ("embedding", 1)),
    "a reward": (_pooled([0.25], [-1.5]), ("scores", 2)),
    "chances of many classes": (_pooled([1 / 128] * 128), ("scores", 1)),
    "a vector for each token": (_pooled([LONG, LONG]), None),
    "other lists": (_pooled(LONG, kind="series"), None),
}


@pytest.mark.parametrize("name", POOLED)
def test_pooled(name: str) -> None:
    """vLLM says of pooled numbers that they are some, not what: long ones of both signs are a vector of meaning."""
    answer, expected = POOLED[name]
    found = read_embeddings(answer)
    assert expected == (None if found is None else (found[1].name, found[1].rows))
    assert found is None or [row["data"] for row in found[0]["data"]] == [
        found[1].data[at : at + found[1].width] for at in range(0, len(found[1].data), found[1].width)
    ]


def _terms(**values: float) -> list[dict[str, float]]:
    return [{"index": int(name[1:]), "value": value} for name, value in values.items()]


SPARSE: dict[str, tuple[Any, list[dict[int, float]] | None]] = {
    "two": ([_terms(t7=0.5, t300=1.5), []], [{7: 0.5, 300: 1.5}, {}]),
    "of integers": ([_terms(t7=1, t300=2)], [{7: 1, 300: 2}]),
    "points of a series": ([_terms(t0=0.5, t1=0.25, t2=3.5)], None),
    "points of a series with gaps": ([_terms(t2019=0.5, t2021=0.25, t2030=3.5)], None),
    "points of time": ([_terms(t1700000000=0.5, t1700086400=0.25)], None),
    "places below 0": ([[{"index": -1, "value": 0.5}, {"index": 500, "value": 0.5}]], None),
    "values below 0": ([_terms(t7=0.5, t300=-1.5)], None),
    "the same term twice": ([_terms(t7=0.5, t300=1.5, t9=1) + _terms(t7=1)], None),
    "other members": ([[{"index": 1, "value": 0.5, "unit": "m"}, {"index": 500, "value": 1}]], None),
    "words": ([[{"index": "a", "value": 0.5}, {"index": 5, "value": 1}, {"index": 500, "value": 1}]], None),
    "values that are words": ([[{"index": 1, "value": "a"}, {"index": 500, "value": 0.5}]], None),
    "one list": (_terms(t7=0.5, t300=1.5), None),
    "nothing": ([[]], None),
    "no list": ({"index": 1}, None),
}


@pytest.mark.parametrize("name", SPARSE)
def test_sparse(name: str) -> None:
    """text-embeddings-inference's, and nothing that only looks alike."""
    document, expected = SPARSE[name]
    assert read_sparse(document) == expected

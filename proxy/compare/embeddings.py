"""Embeddings, as services write them → one tensor, a row for each input.

=============== ===================================================================================================
OpenAI          ``{"data": [{"index", "embedding"}]}``, vectors as numbers or base64; llama.cpp: the list alone
vLLM, pooling   ``{"data": [{"index", "object": "pooling", "data"}]}``: vectors if long and of both signs, else scores
Ollama          ``{"embeddings": [vector, …]}``, ``{"embedding": vector}``, as Amazon's Titan
Cohere          ``{"embeddings": {"float": [vector, …]}}``
Google          ``{"embedding": {"values"}}``, ``{"embeddings": […]}``, ``{"predictions": [{"embeddings": …}]}``
TEI, sparse     ``[[{"index", "value"}, …], …]``: of each input the values that are not 0, as maps
=============== ===================================================================================================

An answer that says anything else of its inputs beside their vectors is none of these.
"""

import binascii
from itertools import chain
from typing import Any, Final

import numpy as np

from proxy.compare.values import Json, Tensor

__all__ = ["UNIT_WIDTH", "VECTOR_SIGNS", "read_embeddings", "read_sparse"]

UNIT_WIDTH: Final = 64
"""Values from which a row is taken for a vector of meaning if more speaks for it; the smallest models' have 128."""

_NUMBERS: Final = frozenset({int, float})
_BESIDE: Final = frozenset(
    {
        *(
            "created",
            "created_at",
            "dimensions",
            "id",
            "input",
            "message",
            "meta",
            "metadata",
            "model",
            "object",
        ),
        *("request_id", "response_type", "texts", "usage", "usageMetadata"),
        *("total_duration", "load_duration", "prompt_eval_count"),  # Ollama
        *("embeddingsByType", "inputTextTokenCount"),  # Titan
        *("deployedModelId", "modelDisplayName", "modelVersionId"),  # Vertex
    }
)
"""What stands beside vectors without saying anything more of the inputs."""

_NAMES: Final = ("embeddings", "embedding", "predictions")
VECTOR_SIGNS: Final = frozenset({"data", *_NAMES})
"""Members without any of which a document has no vectors."""

_ENCODINGS: Final = ("float", "base64", "int8", "uint8")
"""In which Cohere gives the same vectors; the most exact first."""


def read_embeddings(document: Json) -> tuple[Json, Tensor] | None:
    """Return the document and its vectors as a tensor, ``None`` for anything else.

    OpenAI's has its vectors as lists then, in the order of their numbers: with ``encoding_format: base64`` (what its
    own client asks for) they come as little-endian FP32.
    """
    if type(document) is list:
        items = _read_items(document)
        return None if items is None else _with_tensor([item for _, item in items], items)
    if type(document) is not dict:
        return None
    listed = document.get("data")
    if type(listed) is list and (document.get("object") == "list" or document.keys() <= _BESIDE | {"data"}):
        items = _read_items(listed) or _read_items(listed, "data", "pooling")
        return (
            None if items is None else _with_tensor({**document, "data": [item for _, item in items]}, items)
        )
    vectors = _find_vectors(document)
    tensor = None if vectors is None else _tensor(vectors, is_packed=False)
    return None if tensor is None else (document, tensor)


def read_sparse(document: Json) -> list[dict[int, float]] | None:
    """Return sparse vectors, ``None`` for anything else.

    A series of points looks the same, but for how few there are of all that a vocabulary has: see `_SPARSE`.
    """
    if type(document) is not list or any(type(row) is not list for row in document):
        return None
    vectors: list[dict[int, float]] = []
    for row in document:
        if any(type(each) is not dict or each.keys() != _TERM for each in row):
            return None
        vector = {each["index"]: each["value"] for each in row if type(each["index"]) is int}
        if len(vector) < len(row) or not _NUMBERS.issuperset(map(type, vector.values())):
            return None
        vectors.append(vector)
    if any(not 0 <= at < _TERMS or not value >= 0.0 for vector in vectors for at, value in vector.items()):
        return None
    is_sparse = any(vector and max(vector) - min(vector) >= _SPARSE * len(vector) for vector in vectors)
    return vectors if is_sparse else None


_TERM: Final = frozenset({"index", "value"})
_TERMS: Final = 1 << 20
"""More than any vocabulary has, and fewer than a time has seconds."""
_SPARSE: Final = 16
"""Numbers from the first to the last for each that is said, in one vector at least: years or months are closer. Of a
vocabulary of 30,000 a text has some hundred at most."""

_Items = list[tuple[bool, dict[str, Json]]]
"""Objects with a vector, and whether it was base64."""


def _with_tensor(document: Json, items: _Items) -> tuple[Json, Tensor] | None:
    key = "embedding" if "embedding" in items[0][1] else "data"
    tensor = _tensor([item[key] for _, item in items], is_packed=any(packed for packed, _ in items))
    if tensor is not None and key == "data" and (tensor.width < UNIT_WIDTH or min(tensor.data) >= 0.0):
        tensor = tensor._replace(name="scores")
    return None if tensor is None else (document, tensor)


def _read_items(listed: list[Json], key: str = "embedding", kind: str | None = None) -> _Items | None:
    found = []
    for place, item in enumerate(listed):
        if type(item) is not dict or key not in item or kind not in (None, item.get("object")):
            return None
        vector = _vector(item[key])
        if vector is None:
            return None
        number = item.get("index")
        packed = type(item[key]) is str
        found.append((number if type(number) is int else place, packed, {**item, key: vector}))
    found.sort(key=lambda item: item[0])
    return [(packed, item) for _, packed, item in found] or None


def _find_vectors(document: dict[str, Json]) -> list[list[Json]] | None:
    """Return the vectors of the other forms."""
    for name in _NAMES:
        said = document.get(name)
        if not said or not document.keys() <= _BESIDE | {name}:
            continue
        if type(said) is dict and "values" not in said:
            said = next((said[encoding] for encoding in _ENCODINGS if encoding in said), None)
        elif name == "embedding":
            said = [said]
        elif name == "predictions" and type(said) is list:
            said = [row.get("embeddings") if type(row) is dict and len(row) == 1 else None for row in said]
        if type(said) is not list:
            return None
        vectors = [_vector(each.get("values") if type(each) is dict else each) for each in said]
        return None if None in vectors else [vector for vector in vectors if vector is not None]
    return None


def _tensor(vectors: list[list[Json]], *, is_packed: bool) -> Tensor | None:
    width = len(vectors[0]) if vectors else 0
    if not width or any(len(vector) != width for vector in vectors):
        return None
    data: list[Any] = list(chain.from_iterable(vectors))
    datatype = "FP32" if is_packed else "FP64"
    return Tensor("embedding", datatype, "float", (len(vectors), width), data, len(vectors), width)


def _vector(value: Json) -> list[Json] | None:
    if type(value) is list:
        if len(value) == 1 and type(value[0]) is list:
            value = value[0]  # llama.cpp, pooled
        return value if _NUMBERS.issuperset(map(type, value)) else None
    if type(value) is not str:
        return None
    try:
        raw = binascii.a2b_base64(value, strict_mode=True)
    except ValueError:  # binascii.Error, and what is not ASCII
        return None
    if len(raw) % 4:
        return None
    numbers: list[Json] = np.frombuffer(raw, "<f4").tolist()
    return numbers

"""OpenAI's embeddings → one tensor, a row for each input."""

import binascii
from itertools import chain
from typing import Any, Final

import numpy as np

from proxy.compare.values import Json, Tensor

__all__ = ["read_embeddings"]

_NUMBERS: Final = frozenset({int, float})


def read_embeddings(document: dict[str, Json]) -> tuple[Json, Tensor] | None:
    """Return the document with its vectors as lists, in the order of their numbers, and them as a tensor.

    Vectors come as numbers or, with ``encoding_format: base64`` (what OpenAI's own client asks for), as little-endian
    FP32. ``None`` for anything else.
    """
    listed = document.get("data")
    if document.get("object") != "list" or type(listed) is not list or not listed:
        return None
    found = []
    is_packed = False
    for place, item in enumerate(listed):
        if type(item) is not dict or "embedding" not in item:
            return None
        vector = _vector(item["embedding"])
        if vector is None:
            return None
        is_packed = is_packed or type(item["embedding"]) is str
        number = item.get("index")
        found.append((number if type(number) is int else place, {**item, "embedding": vector}))
    items = [item for _, item in sorted(found, key=lambda pair: pair[0])]
    vectors = [item["embedding"] for item in items]
    width = len(vectors[0])
    if any(len(vector) != width for vector in vectors):
        return None
    data: list[Any] = list(chain.from_iterable(vectors))
    datatype = "FP32" if is_packed else "FP64"
    tensor = Tensor("embedding", datatype, "float", (len(vectors), width), data, len(vectors), width)
    return {**document, "data": items}, tensor


def _vector(value: Json) -> list[Json] | None:
    if type(value) is list:
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

"""OpenAI's ``/v1/embeddings``: texts → the body of a request, the body of an answer → vectors. Pure and total.

Source: OpenAI API reference, "Create embeddings". vLLM, llama.cpp, Ollama and text-embeddings-inference speak it too.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

__all__ = ["Vector", "build_body", "read_vectors"]

Vector: TypeAlias = NDArray[np.float32]

_NUMBERS: Final = frozenset({int, float})


def build_body(model: str, texts: Sequence[str]) -> bytes:
    """Return the body that asks for the embeddings of ``texts``."""
    # A lone surrogate has no form in UTF-8.
    sayable = [text.encode("utf-8", "replace").decode() for text in texts]
    return orjson.dumps({"model": model, "input": sayable, "encoding_format": "float"})


def read_vectors(body: bytes, count: int) -> list[Vector] | None:
    """Return ``count`` vectors of one length in the order of their texts; None where the answer has other things."""
    try:
        items = orjson.loads(body)["data"]
        vectors = {item["index"]: _vector(item["embedding"]) for item in items}
        found = [vectors[at] for at in range(count)]
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if len(items) != count or len({len(vector) for vector in found}) != 1:
        return None
    return found


def _vector(values: Any) -> Vector:
    if type(values) is not list or not values or not _NUMBERS.issuperset(map(type, values)):
        raise ValueError("expected a list of numbers")
    with np.errstate(over="ignore"):
        vector: Vector = np.array(values, np.float64).astype(np.float32)
    if not np.isfinite(vector).all():
        raise ValueError("expected finite numbers")
    return vector

"""Vectors of meaning: the method ``embedding``.

A row is a vector. It agrees when 1 - cosine is within ``tolerance``: only the direction counts. Of sparse vectors, what
is not said is 0.
"""

from collections.abc import Iterable, Sequence
from math import fsum, isfinite, sqrt
from typing import Any, Final, NamedTuple, TypeAlias

import numpy as np

from proxy.compare.embeddings import UNIT_WIDTH, read_sparse
from proxy.compare.judge import Judge
from proxy.compare.labels import select_tensor
from proxy.compare.places import likeliest
from proxy.compare.rules import ComparisonRule
from proxy.compare.tolerance import exceeds
from proxy.compare.values import (
    DIFFERENCE_LIMIT,
    Comparison,
    Difference,
    Prediction,
    Read,
    Tensor,
)
from proxy.compare.verdicts import by_rows, disagree_whole, path_of, scores_of

__all__ = ["EMBEDDINGS", "EMBEDDING_NAMES", "are_directions", "cosine", "find_sparse"]

TOLERANCE: Final = 0.01
"""1 - cosine that still agrees where the rule names none: the same model in FP16 is within 1e-4 of itself, other
models of the same size are further than 0.05 apart."""

EMBEDDING_NAMES: Final = frozenset(
    {"embedding", "embeddings", "sentence_embedding", "sentence_embeddings", "text_embeds", "image_embeds"}
)
"""Outputs that are vectors of meaning by their name (OpenAI, sentence-transformers, transformers)."""

_Vector: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
_Array: TypeAlias = "np.ndarray[Any, np.dtype[np.floating[Any]]]"


class _Sparse(NamedTuple):
    """Vectors of which only some values are said."""

    vectors: Sequence[dict[int, float]]
    source: str = ""

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return len(self.vectors)


_Found: TypeAlias = Tensor | _Sparse


def _judge_vectors(rule: ComparisonRule, first: _Found, second: _Found) -> Comparison:
    """Compare the direction of every row's vector; the distance is the mean of 1 - cosine, at most 1 each."""
    widths = _width(first), _width(second)
    if widths[0] != widths[1]:
        return disagree_whole("shape", "embedding", first.rows, *widths, first)
    tolerance = TOLERANCE if rule.tolerance is None else rule.tolerance
    cosines = [cosine(a, b) for a, b in _pairs(first, second)]
    reasons: list[str | None] = []
    for row_cosine in cosines:
        if not isfinite(row_cosine):
            reasons.append("not_finite")
        else:
            reasons.append("tolerance" if exceeds(1.0 - row_cosine, tolerance) else None)
    distances = [min(1.0, 1.0 - found) if isfinite(found) else 1.0 for found in cosines]
    prefix = path_of(first.source) if first.source else ""
    differences = [
        Difference(f"{prefix}/{row}", "cosine 1", f"cosine {cosines[row]:.6g}")
        for row, reason in enumerate(reasons)
        if reason is not None
    ][:DIFFERENCE_LIMIT]
    rows = len(cosines)
    scores = scores_of([("cosine", fsum(cosines) / rows), ("cosine_min", min(cosines))]) if rows else ()
    distance = fsum(distances) / rows if rows else 0.0
    read = Read(None, None, distances=distances)
    return by_rows("embedding", reasons, distance, differences, scores, read=read)


def cosine(first: "Sequence[float] | _Array", second: "Sequence[float] | _Array") -> float:
    """Return the cosine of the angle between two vectors of one length, in [-1, 1]; symmetric.

    The same values, whatever they are, have cosine 1; else it is 0 where one is the zero vector, and NaN where one
    holds NaN or an infinity. Vectors are scaled first, so that no square overflows or vanishes.
    """
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if np.array_equal(a, b, equal_nan=True):
        return 1.0
    high = float(np.abs(a).max()), float(np.abs(b).max())
    if not (isfinite(high[0]) and isfinite(high[1])):
        return float("nan")
    if not (high[0] and high[1]):
        return 0.0
    a, b = a / high[0], b / high[1]
    found = float(a @ b) / sqrt(float(a @ a) * float(b @ b))
    return min(1.0, max(-1.0, found))


def are_directions(tensor: Tensor) -> bool:
    """Whether every row is so long a vector of length 1, of both signs, that it can be nothing but an embedding.

    That is how text-embeddings-inference and sentence-transformers answer: without a name.
    """
    if tensor.kind != "float" or len(tensor.shape) != 2 or tensor.width < UNIT_WIDTH or not tensor.data:
        return False
    rows = _vectors(tensor)
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.sqrt((rows * rows).sum(axis=1))
    return bool(np.all(np.abs(norms - 1.0) < UNIT_TOLERANCE) and rows.min() < 0.0)


UNIT_TOLERANCE: Final = 0.01
"""How far a length may be from 1: vectors in FP16 or of few digits are."""


def _vectors(tensor: Tensor) -> _Vector:
    return np.array(tensor.data, np.float64).reshape(tensor.rows, tensor.width)


def _width(found: _Found) -> str:
    return f"{found.width} per row" if isinstance(found, Tensor) else "sparse"


def _pairs(first: _Found, second: _Found) -> Iterable[tuple[Any, Any]]:
    """Return the vectors of each row, both of one length."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        yield from zip(_vectors(first), _vectors(second), strict=True)
    elif isinstance(first, _Sparse) and isinstance(second, _Sparse):
        for a, b in zip(first.vectors, second.vectors, strict=True):
            places = sorted(a.keys() | b.keys())
            yield [a.get(place, 0.0) for place in places], [b.get(place, 0.0) for place in places]


def find_sparse(prediction: Prediction) -> _Sparse | None:
    """Return the sparse vectors that an answer is, ``None`` if it is something else."""
    vectors = read_sparse(prediction.document) if prediction.format == "json" else None
    return None if vectors is None else _Sparse(vectors)


def _find_embeddings(
    rule: ComparisonRule, prediction: Prediction, beside: _Found | None = None
) -> _Found | None:
    """Return the tensor that holds one vector per row: at the rule's place if there is one, else the likeliest of those
    with several values per row; or vectors that are sparse."""
    if rule.place is not None:
        tensor = select_tensor(prediction, rule.place)
        if tensor is None or not tensor.is_numeric:
            return None
        # A list of numbers is one vector, not as many rows of one number.
        return tensor._replace(rows=1, width=tensor.rows) if len(tensor.shape) == 1 else tensor
    if (sparse := find_sparse(prediction)) is not None:
        return sparse
    wide = [tensor for tensor in prediction.tensors if tensor.is_numeric and tensor.width > 1]
    return likeliest(wide, beside if isinstance(beside, Tensor) else None, EMBEDDING_NAMES)


EMBEDDINGS: Final[Judge[_Found]] = Judge(
    "embedding", "vectors", "no_embedding", _find_embeddings, _judge_vectors
)

"""Bytes → prediction → disagreement. Pure and total: any bytes give a value or a reason, never an exception.

``content`` undoes encodings and parses JSON → ``tensors`` makes named columns of it → ``decode`` says what
an answer is. ``labels`` finds the class per row, ``documents`` walks two JSON values, ``tolerance`` tells
when two numbers are one, ``pointers`` names places. ``compare`` judges; its docstring holds the rules.
"""

from proxy.compare.compare import compare
from proxy.compare.decode import decode
from proxy.compare.values import (
    DECODED_CAP_BYTES,
    DIFFERENCE_LIMIT,
    DISTANCE_BOUNDS,
    METHODS,
    Answer,
    Comparison,
    ComparisonRule,
    Difference,
    Prediction,
    Tensor,
    Undecodable,
)

__all__ = [
    "DECODED_CAP_BYTES",
    "DIFFERENCE_LIMIT",
    "DISTANCE_BOUNDS",
    "METHODS",
    "Answer",
    "Comparison",
    "ComparisonRule",
    "Difference",
    "Prediction",
    "Tensor",
    "Undecodable",
    "compare",
    "decode",
]

"""Bytes → prediction → disagreement. Pure and total: any bytes give a value or a reason, never an exception.

``content`` undoes encodings and parses JSON; ``events`` cuts what comes in pieces, ``delimited`` reads CSV →
``tensors`` and ``embeddings`` make named columns of it, ``completions`` a model's words, ``streams`` an answer
of its pieces → ``decode`` says what an answer is, ``requests`` what was asked. ``labels`` finds the class per
row, ``documents`` walks two JSON values, ``tolerance`` tells when two numbers are one, ``pointers`` names places.
``judge`` is the road that all methods share, ``compare`` picks the method; its docstring holds the rules. ``rows`` puts
a judgement into words, row by row.
"""

from proxy.compare.compare import compare
from proxy.compare.decode import decode
from proxy.compare.requests import decode_request
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import (
    DECODED_CAP_BYTES,
    DIFFERENCE_LIMIT,
    DISTANCE_BOUNDS,
    Answer,
    Choice,
    Comparison,
    Completion,
    Difference,
    Predicted,
    Prediction,
    Tensor,
    ToolCall,
    Undecodable,
    Usage,
)

__all__ = [
    "DECODED_CAP_BYTES",
    "DIFFERENCE_LIMIT",
    "DISTANCE_BOUNDS",
    "Answer",
    "Choice",
    "Comparison",
    "ComparisonRule",
    "Completion",
    "Difference",
    "Predicted",
    "Prediction",
    "Tensor",
    "ToolCall",
    "Undecodable",
    "Usage",
    "compare",
    "decode",
    "decode_request",
]

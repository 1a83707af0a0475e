"""Bytes → prediction → disagreement. Pure and total: any bytes give a value or a reason, never an exception.

A map, in the order in which a pair of answers goes through

============================================ =======================================================================
read bytes
``content``                                  content-encodings, charsets, JSON as servers write it
``events`` ``delimited``                     pieces of a stream, rows of CSV
read what services write
``tensors`` ``protobufs`` ``embeddings``     named columns: the shape in which labels and numbers are looked for
``scored`` ``graded``                        classes beside scores, what is said of each text that was sent
``completions``                              words of generating models, in one piece
``streams`` ``dialects`` ``pace``            the same in pieces: what they add up to, and how fast they came
``decode`` ``requests``                      which of all that an answer is, and a request
find what is compared
``pointers`` ``places``                      where a rule looks: JSON pointers, tensor names
``labels`` ``box_rows`` ``identities``       the class of each row, a box, and what is of the call alone
compare values
``tolerance`` ``overlaps`` ``wording``       numbers, boxes, words
``documents``                                two JSON values, leaf by leaf
judge
``rules`` ``values`` ``verdicts``            the words: how, what, and what comes out
``judge``                                    the road that all methods share
``classes`` ``numbers`` ``outputs``          a method each: classification and probabilities, regression, tensor,
``rankings`` ``boxes`` ``texts`` ``vectors`` ranking, detection, text, embedding,
``trees``                                    json and exact
``plain`` ``compare``                        which method ``auto`` picks; the rules that hold of all
tell
``rows`` ``predictions`` ``meaning``         a judgement row by row, what labels are held against, texts to embed
============================================ =======================================================================
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

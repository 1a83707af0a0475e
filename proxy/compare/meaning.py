"""Texts whose meaning may be asked for, and how far vectors of them are apart.

What is JSON is compared as such, refusals with answers are not alike in any case: left is prose beside prose.
"""

from collections.abc import Sequence
from math import fsum, isfinite
from typing import Final, TypeAlias

from proxy.compare.decode import decode, read_assembled
from proxy.compare.rules import ComparisonRule
from proxy.compare.texts import TEXTS, is_prose
from proxy.compare.values import Answer, Prediction, Undecodable

__all__ = ["SCORE", "Pair", "mean_distance", "text_pairs"]

SCORE: Final = "meaning_distance"
"""Name of the figure."""

Pair: TypeAlias = tuple[str, str]
"""What the primary said, and what the shadow said."""


def text_pairs(rule: ComparisonRule, primary: Answer, shadow: Answer) -> tuple[Pair, ...]:
    """Return the texts that stand beside each other in two answers, row by row; none where they have no such texts."""
    first, second = _decoded(primary), _decoded(shadow)
    if isinstance(first, Undecodable) or isinstance(second, Undecodable):
        return ()
    texts, others = TEXTS.find(rule, first, None), TEXTS.find(rule, second, None)
    if texts is None or others is None or texts.rows != others.rows:
        return ()
    pairs = []
    for a, b in zip(texts.choices, others.choices, strict=True):
        text, other = a.refusal or a.text, b.refusal or b.text
        is_alike = (a.refusal is None) == (b.refusal is None)
        if is_alike and text.strip() and other.strip() and is_prose(text):
            pairs.append((text, other))
    return tuple(pairs)


def _decoded(answer: Answer) -> Prediction | Undecodable:
    if answer.is_assembled:
        return read_assembled(answer.body)
    return decode(
        answer.status,
        answer.content_type,
        answer.content_encoding,
        answer.body,
        answer.inference_header_length,
        truncated=answer.truncated,
    )


def mean_distance(cosines: Sequence[float]) -> float | None:
    """Return the mean of 1 - cosine, each in [0, 1]; None for none, or where one is no number."""
    if not cosines or not all(map(isfinite, cosines)):
        return None
    return fsum(min(1.0, max(0.0, 1.0 - each)) for each in cosines) / len(cosines)

"""Noise of a comparison: how much the champion differs from itself, and how much more a candidate does. Pure.

``triples`` says what one request shows whose champion answered twice, ``verdict`` what the counts of many do,
``fields`` which parts of an answer differ above noise. Read them in this order.
"""

from proxy.noise.fields import Field, FieldCounts, judge_fields
from proxy.noise.triples import TRIPLE_FIELDS, Triples, outcomes
from proxy.noise.verdict import NOT_MEASURED, Judgement, judge, sentence

__all__ = [
    "NOT_MEASURED",
    "TRIPLE_FIELDS",
    "Field",
    "FieldCounts",
    "Judgement",
    "Triples",
    "judge",
    "judge_fields",
    "outcomes",
    "sentence",
]

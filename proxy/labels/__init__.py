"""The true answer comes later: what was predicted is remembered until then, and each row says who was right.

Pure. ``memory`` remembers what primary and shadows predicted, ``outcomes`` holds a label against it, ``verdict`` says
what the counts mean.
"""

from proxy.labels.memory import Memory, Remembered, Side, compact
from proxy.labels.outcomes import OUTCOMES, PRIMARY_BETTER, SHADOW_BETTER, Outcome, Truth, fits, outcomes_of
from proxy.labels.verdict import COUNT_FIELDS, LabelCounts, Share, Verdict, judge, sentence

__all__ = [
    "COUNT_FIELDS",
    "OUTCOMES",
    "PRIMARY_BETTER",
    "SHADOW_BETTER",
    "LabelCounts",
    "Memory",
    "Outcome",
    "Remembered",
    "Share",
    "Side",
    "Truth",
    "Verdict",
    "compact",
    "fits",
    "judge",
    "outcomes_of",
    "sentence",
]

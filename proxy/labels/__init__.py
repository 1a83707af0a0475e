"""The true answer comes later: what was predicted is remembered until then, and each row says who was right.

Pure. ``memory`` remembers what primary and shadows predicted, ``said`` makes bytes of it that can be put by,
``outcomes`` holds a label against it, ``verdict`` says what the counts mean.
"""

from proxy.labels.memory import Memory, Remembered, Side, compact
from proxy.labels.outcomes import OUTCOMES, PRIMARY_BETTER, SHADOW_BETTER, Outcome, Truth, fits, outcomes_of
from proxy.labels.said import Hide, Said, disguise, dump_said, load_said
from proxy.labels.verdict import COUNT_FIELDS, LabelCounts, Share, Verdict, judge, sentence

__all__ = [
    "COUNT_FIELDS",
    "OUTCOMES",
    "PRIMARY_BETTER",
    "SHADOW_BETTER",
    "Hide",
    "LabelCounts",
    "Memory",
    "Outcome",
    "Remembered",
    "Said",
    "Share",
    "Side",
    "Truth",
    "Verdict",
    "compact",
    "disguise",
    "dump_said",
    "fits",
    "judge",
    "load_said",
    "outcomes_of",
    "sentence",
]

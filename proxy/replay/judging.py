"""One replayed request → what came of it. Pure; the same comparer as live, and the same exceptions to it."""

from dataclasses import dataclass
from typing import Final

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.records.record import Record

__all__ = ["MEANINGS", "Asked", "Outcome", "judge"]


MEANINGS: Final = ("told", "failed", "withheld")
"""The embedder said how far texts are apart, could not say so, or was not asked: the route redacts what is said."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a model answered, or its fault."""

    answer: Answer | None
    fault: str | None
    """Label of a :class:`proxy.model.Fault`; None when there is an answer."""
    duration_ns: int
    """Sent to last byte, or to the fault."""
    is_second: bool = False
    """It was asked again, because a kept connection was closed without an answer."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one record that was sent."""

    record: Record
    new: Asked
    reference: Asked | None
    """What the other model answered now; None where the reference is the recorded answer."""
    late_ns: int
    """Sent so much after it was due; at least 0."""
    comparison: Comparison | None
    """None when there is nothing to compare: one of those that were asked did not answer."""
    meaning: str = ""
    """What came of asking the embedder: a member of :data:`MEANINGS`; empty where there was nothing to ask."""


def judge(
    rule: ComparisonRule, record: Record, reference: Answer, new: Answer, *, is_recorded: bool
) -> Comparison:
    """Compare the new answer with the reference, as the observer compares a shadow's with the client's.

    Args:
        rule: of the record's route.
        record: of the request.
        reference: what the client got, or what another model answers now.
        new: what the model under test answers.
        is_recorded: the reference is the record's.
    """
    if is_recorded and record.served_by != record.variant:
        # As live: the champion's answer says nothing of the variant that the comparison is counted to.
        return Comparison("uncomparable", None, "fallback", rule.as_, 0, 0)
    # It may be kept as an example: without the values that its judge had at hand.
    return compare(rule, reference, new)._replace(read=None)

"""The same judgement as live."""

from proxy.compare import Comparison, ComparisonRule
from proxy.replay.judging import judge
from tests.replay.asking import answer_of, record_of

RULE = ComparisonRule("json")


def test_answers_are_compared() -> None:
    """The recorded answer is the primary, the new one the shadow."""
    record = record_of()
    assert judge(RULE, record, answer_of(), answer_of(), is_recorded=True).result == "agree"
    judged = judge(RULE, record, answer_of(), answer_of(b'{"a":2}'), is_recorded=True)
    assert (judged.result, judged.reason, judged.differences[0].primary) == ("disagree", "fields", "1")


def test_an_answer_of_another_variant() -> None:
    """What the champion answered in place of a variant is no reference for it; asked now, it is."""
    record = record_of(served_by="v0")
    judged = judge(RULE, record, answer_of(), answer_of(), is_recorded=True)
    assert judged == Comparison("uncomparable", None, "fallback", "json", 0, 0)
    assert judge(RULE, record, answer_of(), answer_of(), is_recorded=False).result == "agree"

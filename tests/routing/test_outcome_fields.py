"""The observer's counters of a route."""

from typing import get_args

from proxy.labels import OUTCOMES
from proxy.observer.blocks import ComparisonOutcome, FeedbackOutcome, LabelOutcome, SinkNote, SinkOutcome
from proxy.routing import outcome_fields as fields


def test_outcomes_are_those_that_are_counted() -> None:
    """Every outcome that the observer can name has its counter, and every counter of an outcome is one of these."""
    assert set(get_args(ComparisonOutcome)) == set(fields.COMPARISON_FIELDS)
    assert set(get_args(SinkOutcome)) == set(fields.SINK_OUTCOMES)
    assert {*get_args(SinkOutcome), *get_args(SinkNote), "lost_thousandths"} == set(fields.SINK_FIELDS)
    assert set(get_args(FeedbackOutcome)) == set(fields.FEEDBACK_FIELDS)
    assert set(get_args(LabelOutcome)) == set(fields.LABEL_FIELDS)
    assert OUTCOMES == fields.LABEL_ROW_FIELDS

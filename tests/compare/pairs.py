"""A pair of answers, and what is to be said of it."""

from typing import TypeAlias

import pytest

from proxy.compare import Answer, ComparisonRule, compare

__all__ = ["Pair", "judge"]

Pair: TypeAlias = tuple[ComparisonRule, Answer, Answer, tuple[str, float | None, str | None, str, int, int]]
"""Rule, primary, shadow → result, distance, reason, method, rows, rows that disagree."""


def judge(pair: Pair) -> None:
    """Compare the pair and check all that is said of it."""
    rule, primary, shadow, expected = pair
    found = compare(rule, primary, shadow)
    result, distance, reason, method, rows, disagreeing = expected
    assert (result, reason, method, rows, disagreeing) == (
        found.result,
        found.reason,
        found.method,
        found.rows,
        found.rows_disagreeing,
    )
    assert found.distance == (None if distance is None else pytest.approx(distance, rel=1e-5))
    assert (result == "disagree") is bool(found.differences)

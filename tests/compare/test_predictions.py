"""What each row of two answers predicted, as the comparison read it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, Comparison, ComparisonRule, Predicted, compare
from tests.compare.answers import chat, json_answer, oip, v1


def predicted(primary: Answer, shadow: Answer, **rule: Any) -> Predicted | None:
    return judged(primary, shadow, **rule).predicted


def judged(primary: Answer, shadow: Answer, **rule: Any) -> Comparison:
    return compare(ComparisonRule(**rule, keeps_predictions=True), primary, shadow)


def labels(*values: int) -> Answer:
    return oip(("predict", "INT64", [len(values), 1], list(values)))


def chances(*rows: list[float]) -> Answer:
    return oip(("probabilities", "FP64", [len(rows), len(rows[0])], [p for row in rows for p in row]))


CLASSES = "classification"
CUT = labels(1)._replace(truncated=True)
CODED = labels(1)._replace(content_encoding=b"x")
FAILED = json_answer({"error": "no"}, status=500)

CASES: dict[str, tuple[dict[str, Any], Answer, Answer, Predicted | None]] = {
    "labels": ({"as_": CLASSES}, labels(1, 2), labels(1, 3), Predicted([1, 2], [1, 3], False)),
    "the same bytes": ({"as_": CLASSES}, labels(1), labels(1), Predicted([1], [1], False)),
    "auto": ({}, labels(1), labels(3), Predicted([1], [3], False)),
    "names and numbers": ({"as_": CLASSES}, v1("red"), v1(3), Predicted(["red"], [3], False)),
    "the best of scores": ({"as_": CLASSES}, chances([0.1, 0.9]), chances([0.8, 0.2]), Predicted([1], [0], False)),
    "at a place": ({"as_": CLASSES, "at": "/kind"}, json_answer({"kind": "a"}), json_answer({"kind": "b"}),
                   Predicted(["a"], ["b"], False)),
    "probabilities": ({"as_": "probabilities"}, chances([0.1, 0.9]), chances([0.8, 0.2]), Predicted([1], [0], False)),
    "the side of a threshold": ({"as_": "probabilities", "threshold": 0.95}, chances([0.1, 0.9]), chances([0.04, 0.96]),
                                Predicted([0], [1], False)),
    "numbers": ({"as_": "regression"}, v1(1.5, 2.5), v1(1.5, 3.5), Predicted([1.5, 2.5], [1.5, 3.5], True)),
    "several numbers in a row": ({"as_": "regression"}, v1([1.5, 2.5]), v1([1.5, 3.5]), None),
    "another number of rows": ({"as_": CLASSES}, labels(1, 2), labels(1), Predicted([1, 2], None, False)),
    "no labels": ({"as_": CLASSES}, labels(1), json_answer({}), Predicted([1], None, False)),
    "no JSON": ({"as_": CLASSES}, labels(1), json_answer(b"{"), Predicted([1], None, False)),
    "the shadow failed": ({"as_": CLASSES}, labels(1, 2), FAILED, Predicted([1, 2], None, False)),
    "the shadow failed, auto": ({}, labels(1), FAILED, Predicted([1], None, False)),
    "the primary failed": ({"as_": "regression"}, FAILED, v1(2.5), Predicted(None, [2.5], True)),
    "both failed": ({"as_": CLASSES}, FAILED, FAILED, None),
    "a coding of which nothing is known": ({"as_": CLASSES}, labels(1), CODED, None),
    "one failed, the other is cut": ({"as_": CLASSES}, FAILED, CUT, None),
    "one failed, the other is no JSON": ({"as_": CLASSES}, FAILED, json_answer(b"{"), None),
    "one failed, the other cannot be undone": ({"as_": CLASSES}, FAILED, CODED, None),
    "cut": ({"as_": CLASSES}, labels(1), CUT, None),
    "nothing to be read": ({"as_": CLASSES}, json_answer({}), labels(1), None),
    "text": ({}, chat("a"), chat("b"), None),
    "documents": ({"as_": "json"}, labels(1), labels(2), None),
    "bytes": ({"as_": "exact"}, labels(1), labels(2), None),
    "nothing is compared": ({"as_": "none"}, labels(1), labels(2), None),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_read(name: str) -> None:
    """Row by row what the method read; nothing where an answer cannot be read by us, or by no method."""
    rule, primary, shadow, expected = CASES[name]
    found = predicted(primary, shadow, **rule)
    assert (
        found and (found.primary and [*found.primary], found.shadow and [*found.shadow], found.is_number)
    ) == (expected and tuple(expected))
    assert found is None or found.rows == len(found.primary or found.shadow or ())


@pytest.mark.parametrize("name", CASES)
def test_the_verdict_is_the_same(name: str) -> None:
    """Who asks for predictions gets the same comparison otherwise, and who does not gets none."""
    rule, primary, shadow, _ = CASES[name]
    plain = compare(ComparisonRule(**rule), primary, shadow)
    assert plain.predicted is None
    assert judged(primary, shadow, **rule)._replace(predicted=None) == plain


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=20))
def test_rows_that_disagree_are_predicted_otherwise(rows: list[tuple[int, int]]) -> None:
    """The rows whose predictions differ are those that the comparison counts."""
    found = judged(labels(*(a for a, _ in rows)), labels(*(b for _, b in rows)), as_=CLASSES)
    assert found.predicted is not None
    first, second = found.predicted.primary or (), found.predicted.shadow or ()
    assert found.rows_disagreeing == sum(a != b for a, b in zip(first, second, strict=True))

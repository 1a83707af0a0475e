"""What holds for every rule and every pair of answers, readable or not."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import METHODS, Answer, Comparison, ComparisonRule, compare

EXACT = ComparisonRule(as_="exact")
CLASSES = ComparisonRule(as_="classification")

number = st.integers(-3, 3) | st.sampled_from([0.5, 0.25, 0.75, 1.0, float("nan"), float("inf")])
row = number | st.sampled_from(["a", "b"]) | st.lists(number, max_size=3) | st.none() | st.booleans()
rows = st.lists(row, max_size=3) | st.lists(number, min_size=1, max_size=3)


def _with_nan(value: Any) -> bytes:
    """Write JSON with the bare words for NaN and infinity, as Python's own writer does."""
    text = (
        repr(value)
        .replace("'", '"')
        .replace("None", "null")
        .replace("True", "true")
        .replace("False", "false")
    )
    return text.replace("nan", "NaN").replace("inf", "Infinity").encode()


documents = (
    rows.map(lambda r: {"predictions": r})
    | st.dictionaries(st.sampled_from(["label", "scores", "x"]), row).map(lambda r: {"predictions": [r]})
    | st.tuples(st.sampled_from(["INT64", "FP32", "BYTES", "BOOL"]), rows).map(
        lambda t: {"outputs": [{"name": "y", "datatype": t[0], "shape": [len(t[1])], "data": t[1]}]}
    )
    | rows
)
bodies = documents.map(_with_nan) | st.binary(max_size=30)
answers = st.builds(
    Answer,
    st.sampled_from([200, 200, 200, 200, 204, 404, 503]),
    st.sampled_from([b"application/json", b"application/json", b"text/plain", None]),
    st.sampled_from([None, None, None, b"gzip", b"br"]),
    bodies,
    st.sampled_from([False, False, False, True]),
    st.none() | st.none() | st.integers(-1, 40),
)
rules = st.builds(
    ComparisonRule,
    st.sampled_from(METHODS),
    st.sampled_from([0.0, 1e-5, 0.5]),
    st.sampled_from([0.0, 1e-8, 1.0]),
    st.sampled_from([(), ("/predictions/*",), ("/**/data",)]),
    st.sampled_from([None, "y", "label", "/predictions", "/predictions/*", "/outputs/0/data"]),
)


def _check(found: Comparison) -> None:
    if found.result == "uncomparable":
        assert (found.distance, found.rows, found.rows_disagreeing, found.differences) == (None, 0, 0, ())
    else:
        assert found.distance is not None
        assert 0.0 <= found.distance <= 1.0
        assert 0 <= found.rows_disagreeing <= found.rows
    assert (found.result == "agree") is (found.reason is None)
    assert len(found.differences) <= 16
    assert found.result != "agree" or (found.rows_disagreeing, found.differences) == (0, ())


@given(rules, answers, answers)
def test_any_pair_is_judged(rule: ComparisonRule, primary: Answer, shadow: Answer) -> None:
    """Never an exception, always a consistent verdict."""
    _check(compare(rule, primary, shadow))


@given(rules, answers)
def test_an_answer_never_disagrees_with_itself(rule: ComparisonRule, answer: Answer) -> None:
    """It agrees at distance 0, or it could not be compared with anything."""
    found = compare(rule, answer, answer)
    assert found.result != "disagree"
    assert found.distance in (None, 0.0)


@given(rules, answers, answers)
def test_comparable_does_not_depend_on_agreement(
    rule: ComparisonRule, primary: Answer, shadow: Answer
) -> None:
    """A primary that cannot be compared with itself is compared with nothing: else agreement would be biased."""
    if compare(rule, primary, primary).result == "uncomparable":
        found = compare(rule, primary, shadow)
        assert found.result == "uncomparable" or found.reason == "status"


@given(rules, answers)
def test_the_short_way_for_equal_bytes_changes_nothing(rule: ComparisonRule, answer: Answer) -> None:
    """Another spelling of the same content type takes the long way to the same verdict."""
    if answer.content_type is not None:
        respelt = answer._replace(content_type=answer.content_type.upper())
        assert compare(rule, answer, answer) == compare(rule, answer, respelt)


@given(st.sampled_from([EXACT, CLASSES]), answers, answers)
def test_exact_and_classes_are_symmetric(rule: ComparisonRule, a: Answer, b: Answer) -> None:
    """Where both directions can be compared, verdict and distance are the same."""
    one, two = compare(rule, a, b), compare(rule, b, a)
    if "uncomparable" not in (one.result, two.result):
        assert (one.result, one.reason) == (two.result, two.reason)
        assert one.distance == pytest.approx(two.distance)

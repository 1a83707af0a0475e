"""Who was right, row by row."""

from math import inf, nan

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.values import Predicted
from proxy.labels.outcomes import OUTCOMES, PRIMARY_BETTER, SHADOW_BETTER, Outcome, fits, outcomes_of

labels = st.sampled_from([0, 1, 2, "red", "blue", True, 1.0, nan, ("a", "b"), None])
numbers = st.floats() | st.integers(-(2**63), 2**63)


@pytest.mark.parametrize(
    ("label", "primary", "shadow", "outcome"),
    [
        (7, 7, 7, "both_right"),
        (7, 7, 1, "only_primary"),
        (7, 1, 7, "only_shadow"),
        (7, 1, 2, "both_wrong"),
        (1, 1.0, True, "both_right"),
        ("1", 1, "1", "only_shadow"),
        (7, nan, 7, "only_shadow"),
        (("a", "b"), ("a", "b"), ("b", "a"), "only_primary"),
        (False, 0, None, "only_primary"),
    ],
)
def test_labels(label: object, primary: object, shadow: object, outcome: str) -> None:
    """An answer is right when it is the true one, of whatever type the number is."""
    assert [row.outcome for row in outcomes_of((label,), Predicted([primary], [shadow], False))] == [outcome]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("label", "primary", "shadow", "outcome"),
    [
        (10.0, 9.0, 12.0, "primary_closer"),
        (10, 12.0, 9.0, "shadow_closer"),
        (10.0, 9.0, 11.0, "as_close"),
        (10.0, nan, 1e300, "shadow_closer"),
        (10.0, inf, nan, "as_close"),
        (10.0, 10**400, 1.0, "shadow_closer"),
        (10.0, None, "x", "as_close"),
    ],
)
def test_numbers(label: object, primary: object, shadow: object, outcome: str) -> None:
    """The closer one is better; what is no number is as far as can be."""
    assert [row.outcome for row in outcomes_of((label,), Predicted([primary], [shadow], True))] == [outcome]  # type: ignore[arg-type]


def test_who_says_nothing_is_wrong() -> None:
    """An answer that is none is wrong in every row, and farther than any."""
    assert [row.outcome for row in outcomes_of((1, 2), Predicted([1, 1], None, False))] == [
        "only_primary",
        "both_wrong",
    ]
    assert [row.outcome for row in outcomes_of((1,), Predicted(None, [1], False))] == ["only_shadow"]
    assert [row.outcome for row in outcomes_of((1,), Predicted(None, [5.0], True))] == ["shadow_closer"]


def test_rows_without_a_label_say_nothing() -> None:
    """Rows keep their numbers; those without a label are left out."""
    found = outcomes_of((None, 5, None, 6), Predicted([1, 5, 3, 6], [1, 5, 3, 0], False))
    assert [(row.number, row.outcome) for row in found] == [(1, "both_right"), (3, "only_primary")]


@given(st.lists(st.tuples(labels, labels, labels)))
def test_every_label_has_one_outcome(rows: list[tuple[object, object, object]]) -> None:
    """Each labelled row comes to one outcome of labels; exchanging the two exchanges who was right."""
    truth, primary, shadow = zip(*rows, strict=True) if rows else ((), (), ())
    found = [row.outcome for row in outcomes_of(truth, Predicted(primary, shadow, False))]
    assert len(found) == sum(label is not None for label in truth)
    assert set(found) <= set(OUTCOMES[:4])
    other = [row.outcome for row in outcomes_of(truth, Predicted(shadow, primary, False))]
    assert other == [_SWAPPED.get(outcome, outcome) for outcome in found]


@given(st.lists(st.tuples(st.floats(allow_nan=False, allow_infinity=False), numbers, numbers)))
def test_numpy_says_who_is_closer(rows: list[tuple[float, float, float]]) -> None:
    """The outcome of numbers is the sign of the difference of absolute errors, NaN counting as infinitely far."""
    table = np.array([[float(each) for each in row] for row in rows], np.float64).reshape(-1, 3)
    found = outcomes_of(
        tuple(row[0] for row in rows), Predicted([row[1] for row in rows], [row[2] for row in rows], True)
    )
    with np.errstate(all="ignore"):
        gaps = np.abs(table[:, 1:] - table[:, :1])
    primary, shadow = np.where(np.isnan(gaps), inf, gaps).T
    expected = np.where(primary < shadow, 0, np.where(primary > shadow, 1, 2))
    assert [OUTCOMES[4:].index(row.outcome) for row in found] == expected.tolist()


_SWAPPED: dict[Outcome, Outcome] = {"only_primary": "only_shadow", "only_shadow": "only_primary"}


def test_one_is_better_or_none() -> None:
    """No outcome speaks for both."""
    assert not PRIMARY_BETTER & SHADOW_BETTER
    assert set(OUTCOMES) >= PRIMARY_BETTER | SHADOW_BETTER


@pytest.mark.parametrize(
    ("truth", "predicted", "expected"),
    [
        ((1,), Predicted([3], [4], False), True),
        (("1",), Predicted([3], [4], False), False),
        (("one",), Predicted([3], ["one"], False), True),
        ((None, "one"), Predicted(["a", "b"], None, False), True),
        ((1,), Predicted([None], [None], False), True),
        (("x",), Predicted([1, "x"], [1, 2], False), True),
        ((1.5, None), Predicted([1.0, 2.0], [1.0, 3.0], True), True),
        (("x",), Predicted([1.0], [1.0], True), False),
        ((1, "x"), Predicted([1.0, 2.0], [1.0, 2.0], True), False),
        ((True,), Predicted([1.0], [1.0], True), False),
    ],
)
def test_the_kind_of_a_label(truth: tuple[object, ...], predicted: Predicted, expected: bool) -> None:
    """A name where every model says numbers, or a number where all say names, is no label of theirs."""
    assert fits(truth, [predicted]) is expected  # type: ignore[arg-type]

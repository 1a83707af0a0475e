"""What counts of labelled rows say."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.labels.verdict import ALPHA, COUNT_FIELDS, LabelCounts, judge, sentence
from proxy.stats.proportion import proportion_sequence

counts = st.builds(LabelCounts, *[st.integers(0, 2000)] * len(COUNT_FIELDS))


def test_nothing_yet() -> None:
    """Without labels nothing is known, and nothing is said."""
    judged = judge(LabelCounts())
    assert judged.primary == judged.shadow == (None, 0.0, 1.0)
    assert (judged.log_e_worse, judged.log_e_better, judged.is_shown) == (0.0, 0.0, None)
    assert judged.odds == (0.0, math.inf)
    assert sentence(LabelCounts()) == "no row was labelled yet"


def test_how_often_each_is_right() -> None:
    """Of units, by their first row; rows of units that were counted already change nothing of it."""
    found = judge(LabelCounts(900, 90, 5, 5, first_both_right=70, first_only_primary=20, first_only_shadow=6,
                              first_both_wrong=4))  # fmt: skip
    assert found.primary == (0.9, *proportion_sequence(90, 100, 0.05))
    assert found.shadow == (0.76, *proportion_sequence(76, 100, 0.05))


@pytest.mark.parametrize(
    ("lost", "won", "said"),
    [
        (40, 10, "worse: worse at 40 and better at 10 of 50 units at which they differ (by chance once in "),
        (10, 40, "better: worse at 10 and better at 40 of 50 units"),
        (8, 0, "not shown to be better or worse"),
        (
            9,
            0,
            "worse: worse at 9 and better at 0 of 9 units at which they differ (by chance once in 120 at most)",
        ),
        (0, 8, "not shown to be better or worse"),
        (0, 9, "better: "),
        (6, 4, "not shown to be better or worse: worse at 6 and better at 4 of 10 units"),
        (0, 0, "no difference in what was labelled so far"),
        (10**6, 0, "once in 1,000,000 at most"),
    ],
)
def test_sentences(lost: int, won: int, said: str) -> None:
    """The sentence says who was better how often, and how sure that is."""
    assert said in sentence(LabelCounts(both_right=1, won_primary=lost, won_shadow=won))


@given(counts)
def test_exchanging_the_two(found: LabelCounts) -> None:
    """Who calls the primary the shadow gets the same, the other way round."""
    swapped = found._replace(
        won_primary=found.won_shadow,
        won_shadow=found.won_primary,
        first_only_primary=found.first_only_shadow,
        first_only_shadow=found.first_only_primary,
    )
    one, other = judge(found), judge(swapped)
    assert (one.primary, one.log_e_worse) == (other.shadow, other.log_e_better)
    assert not (one.log_e_worse >= -math.log(ALPHA) and one.log_e_better >= -math.log(ALPHA))


@pytest.mark.parametrize("units", [1, 7, 30])
def test_nobody_wins_at_a_fair_coin(units: int) -> None:
    """Over all outcomes of so many units at which the models differ, the mean e-value is 1 in either direction."""
    for name in ("log_e_worse", "log_e_better"):
        mean = math.fsum(
            math.comb(units, lost)
            / 2**units
            * math.exp(getattr(judge(LabelCounts(won_primary=lost, won_shadow=units - lost)), name))
            for lost in range(units + 1)
        )
        assert mean == pytest.approx(1.0, abs=1e-12)


def test_looking_all_the_time() -> None:
    """Of all sequences of 99 fair units at most 1 % ever lead to a word in one direction, however often one looks."""
    said = {"worse": 0.0, "better": 0.0}
    reached: dict[int, float] = {0: 1.0}
    for units in range(1, 100):
        after: dict[int, float] = {}
        for lost, chance in reached.items():
            for lost_now in (lost, lost + 1):
                after[lost_now] = after.get(lost_now, 0.0) + chance / 2
        reached = {}
        for lost, chance in after.items():
            shown = judge(LabelCounts(won_primary=lost, won_shadow=units - lost)).is_shown
            if shown is None:
                reached[lost] = chance
            else:
                said[shown] += chance
    assert 0.0 < said["worse"] <= ALPHA
    assert said["worse"] == pytest.approx(said["better"])

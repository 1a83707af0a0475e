"""Probabilities are judged by the class, the threshold, and how far apart they are; labels are counted by class."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.classes import jensen_shannon, total_variation
from tests.compare.answers import json_answer, oip, text_answer, v1

RULE = ComparisonRule("probabilities")
HALF = ComparisonRule("probabilities", threshold=0.5, tolerance=1.0)
distributions = (
    st.lists(st.integers(0, 9), min_size=3, max_size=3)
    .filter(any)
    .map(lambda counts: [count / sum(counts) for count in counts])
)

# rule, primary, shadow → result, distance, reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "near": (RULE, v1([0.1, 0.9]), v1([0.14, 0.86]), ("agree", 0.04, None, 1, 0)),
    "further than the tolerance": (RULE, v1([0.1, 0.9]), v1([0.2, 0.8]), ("disagree", 0.1, "tolerance", 1, 1)),
    "a wider tolerance": (
        ComparisonRule("probabilities", tolerance=0.2),
        v1([0.1, 0.9]),
        v1([0.2, 0.8]),
        ("agree", 0.1, None, 1, 0),
    ),
    "at the tolerance, however it is rounded": (
        RULE,
        v1([0.4, 0.6], [0.02, 0.98], [0.35, 0.65]),
        v1([0.45, 0.55], [0.07, 0.93], [0.3, 0.7]),
        ("agree", 0.05, None, 3, 0),
    ),
    "another class by a hair": (RULE, v1([0.51, 0.49]), v1([0.49, 0.51]), ("disagree", 0.02, "label", 1, 1)),
    "one of two rows": (
        RULE,
        v1([0.1, 0.9], [0.9, 0.1]),
        v1([0.1, 0.9], [0.1, 0.9]),
        ("disagree", 0.4, "label", 2, 1),
    ),
    "a probability alone is that of class 1": (RULE, v1(0.2, 0.7), v1(0.22, 0.7), ("agree", 0.01, None, 2, 0)),
    "the other side of a threshold": (
        ComparisonRule("probabilities", threshold=0.7),
        v1([0.31, 0.69]),
        v1([0.29, 0.71]),
        ("disagree", 0.02, "threshold", 1, 1),
    ),
    "of two classes it is the second's": (
        ComparisonRule("probabilities", threshold=0.3),
        v1([0.31, 0.69]),
        v1([0.29, 0.71]),
        ("agree", 0.02, None, 1, 0),
    ),
    "of several it is everyone's": (
        ComparisonRule("probabilities", threshold=0.3),
        v1([0.31, 0.69, 0.0]),
        v1([0.29, 0.71, 0.0]),
        ("disagree", 0.02, "threshold", 1, 1),
    ),
    "at a threshold is on its upper side": (
        ComparisonRule("probabilities", threshold=0.3),
        v1([0.3, 0.7, 0.0], [0.29, 0.71, 0.0]),
        v1([0.31, 0.69, 0.0], [0.3, 0.7, 0.0]),
        ("disagree", 0.01, "threshold", 2, 1),
    ),
    "one of two classes, and both": (RULE, v1(0.3), v1([0.7, 0.3]), ("agree", 0.0, None, 1, 0)),
    "auto: with a threshold": (
        ComparisonRule(threshold=0.5),
        v1([0.4, 0.6]),
        v1([0.42, 0.58]),
        ("agree", 0.02, None, 1, 0),
    ),
    "named classes": (
        RULE,
        v1({"cat": 0.8, "dog": 0.2}),
        v1({"dog": 0.21, "cat": 0.79}),
        ("agree", 0.01, None, 1, 0),
    ),
    "other classes": (
        ComparisonRule("probabilities", at="/p"),
        json_answer({"p": {"cat": 0.8, "dog": 0.2}}),
        json_answer({"p": {"cat": 0.8, "cow": 0.2}}),
        ("disagree", 1.0, "shape", 1, 1),
    ),
    "one class more": (RULE, v1([0.4, 0.6]), v1([0.4, 0.6, 0.0]), ("disagree", 1.0, "shape", 1, 1)),
    "beside a label": (
        RULE,
        oip(("predict", "INT64", [1], [1]), ("p", "FP32", [1, 2], [0.4, 0.6])),
        oip(("predict", "INT64", [1], [0]), ("p", "FP32", [1, 2], [0.4, 0.6])),
        ("agree", 0.0, None, 1, 0),
    ),
    "at a tensor": (
        ComparisonRule("probabilities", at="q"),
        oip(("p", "FP32", [1, 2], [0.4, 0.6]), ("q", "FP32", [1, 2], [0.5, 0.5])),
        oip(("p", "FP32", [1, 2], [0.9, 0.1]), ("q", "FP32", [1, 2], [0.5, 0.5])),
        ("agree", 0.0, None, 1, 0),
    ),
    "fewer rows": (RULE, v1(0.1, 0.2), v1(0.1), ("disagree", 1.0, "rows", 2, 2)),
    "logits are none": (RULE, v1([1.5, -0.5]), v1([1.5, -0.5]), ("uncomparable", None, "no_probabilities", 0, 0)),
    "logits for probabilities": (RULE, v1([0.4, 0.6]), v1([1.5, -0.5]), ("disagree", 1.0, "format", 1, 1)),
    "text for probabilities": (RULE, v1([0.4, 0.6]), text_answer("oops"), ("disagree", 1.0, "format", 1, 1)),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_probabilities(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "probabilities"
    distance = said.distance if said.distance is None else pytest.approx(said.distance)
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing) == expected


def test_what_is_told() -> None:
    """The largest total variation, the mean Jensen-Shannon distance, and the confusion of the first classes."""
    said = compare(RULE, v1([1.0, 0.0], [0.5, 0.5]), v1([0.0, 1.0], [0.5, 0.5]))
    assert said.scores == (("total_variation_max", 1.0), ("jensen_shannon", 0.5))
    assert said.confusion == (("0", "1", 1), ("0", "0", 1))
    assert [(d.path, d.primary, d.shadow) for d in said.differences] == [
        ("/predictions/0", "[1.0, 0.0]", "[0.0, 1.0]")
    ]


CONFUSIONS: dict[str, tuple[Answer, Answer, tuple[tuple[str, str, int], ...]]] = {
    "the most frequent first": (
        v1("a", "b", "b", "b"),
        v1("a", "c", "b", "b"),
        (("b", "b", 2), ("a", "a", 1), ("b", "c", 1)),
    ),
    "numbers": (v1(1, 0), v1(1, 1), (("1", "1", 1), ("0", "1", 1))),
    "one row": (v1("cat"), v1("dog"), (("cat", "dog", 1),)),
    "several labels per row": (v1([0, 1]), v1([1, 1]), (("[0, 1]", "[1, 1]", 1),)),
    "long labels are cut": (v1("x" * 99), v1("y"), (("x" * 64, "y", 1),)),
    "long labels that differ where they are cut": (
        v1("x" * 99, "x" * 99),
        v1("x" * 98, "x" * 99),
        (("x" * 64, "x" * 63 + "…", 1), ("x" * 64, "x" * 64, 1)),
    ),
    "what is no number is one label": (
        json_answer(b'{"predictions": [[NaN, 0.5], [NaN, 0.1]]}'),
        json_answer(b'{"predictions": [[NaN, 0.5], [NaN, 0.2]]}'),
        (("nan", "nan", 2),),
    ),
    "names for numbers": (v1(1), v1("a"), ()),
}


@pytest.mark.parametrize("name", CONFUSIONS)
def test_confusion(name: str) -> None:
    """Every pair of labels is counted, also the equal ones."""
    primary, shadow, expected = CONFUSIONS[name]
    assert compare(ComparisonRule("classification"), primary, shadow).confusion == expected


def test_confusion_is_capped() -> None:
    """Of very many classes the most frequent pairs are kept, and the others counted together."""
    rows = [f"c{at}" for at in range(200)] + ["c7"]
    found = compare(ComparisonRule("classification"), v1(*rows), v1(*rows)).confusion
    assert found[0] == ("c7", "c7", 2)
    assert found[-1] == ("(other)", "(other)", 136)
    assert len(found) == 65


def test_mistakes_come_before_right_answers() -> None:
    """However many classes are right more often than a mistake is made, the mistakes are what is kept."""
    classes = [at for at in range(100) for _ in range(5)]
    said = compare(ComparisonRule("classification"), v1(*classes, 7, 8), v1(*classes, 8, 7)).confusion
    assert {("7", "8", 1), ("8", "7", 1)} < set(said)
    assert sum(rows for *_, rows in said) == 502

    many = [(at, at + 1) for at in range(80)]
    said = compare(
        ComparisonRule("classification"), v1(*(a for a, _ in many)), v1(*(b for _, b in many))
    ).confusion
    assert said[-1] == ("(other)", "(another)", 16)
    assert all(label != other for label, other, _ in said)


def test_half_a_chance_is_class_0_for_every_method() -> None:
    """A probability alone is that of class 1 against class 0, and of equal ones the first is chosen."""
    for method in ("classification", "probabilities"):
        said = compare(ComparisonRule(method), v1(0.5), v1(0.51))
        assert (said.reason, said.confusion) == ("label", (("0", "1", 1),)), method


COSTS = ComparisonRule(
    "classification",
    costs=(("cat", "dog", 0.25), ("1.0", "0", 0.5), ("0", "1", 0.1), ("[0, 1]", "[1, 1]", 0.0)),
)

# primary, shadow → distance, rows disagreeing
MISTAKES: dict[str, tuple[Answer, Answer, float, int]] = {
    "what is listed": (v1("cat"), v1("dog"), 0.25, 1),
    "the other way round is not": (v1("dog"), v1("cat"), 1.0, 1),
    "what is right costs nothing": (v1("cat"), v1("cat"), 0.0, 0),
    "the mean over rows": (v1("cat", "cat", "cow", "cow"), v1("dog", "cat", "cow", "dog"), 0.3125, 2),
    "integers": (v1(1, 0), v1(0, 1), 0.3, 2),
    "floats are the same labels": (v1(1.0, 0.0), v1(0, 1), 0.3, 2),
    "probabilities do not count": (v1([0.1, 0.9], [0.9, 0.1]), v1([0.9, 0.1], [0.8, 0.2]), 0.25, 1),
    "several labels per row": (v1([0, 1]), v1([1, 1]), 0.0, 1),
    "not a number": (
        oip(("y", "FP64", [2, 2], [None, 1.0, 1.0, 0.0])),
        oip(("y", "FP64", [2, 2], [0.0, 1.0, 1.0, 0.0])),
        0.5,
        1,
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_costs(name: str) -> None:
    """What mistakes cost is the distance and told as such; every mistake disagrees, also one that costs nothing."""
    primary, shadow, distance, disagreeing = MISTAKES[name]
    said = compare(COSTS, primary, shadow)
    assert said.distance == pytest.approx(distance)
    assert said.scores == (("cost", said.distance),)
    assert (said.result, said.rows_disagreeing) == ("disagree" if disagreeing else "agree", disagreeing)
    plain = compare(ComparisonRule("classification"), primary, shadow)
    assert said._replace(distance=plain.distance, scores=()) == plain


def test_a_broken_answer_costs_all() -> None:
    """What is no label at all is as bad as can be."""
    assert compare(COSTS, v1("cat"), v1("cat", "cat")).distance == 1.0
    assert compare(COSTS, v1("cat"), v1(1)).distance == 1.0


@pytest.mark.parametrize("cost", [-0.1, 1.1, math.nan])
def test_costs_are_distances(cost: float) -> None:
    """A cost outside 0 to 1 is refused."""
    with pytest.raises(ValueError, match="costs to be numbers from 0 to 1"):
        ComparisonRule("classification", costs=(("a", "b", cost),))


def test_whole_numbers_are_counted_as_one_label() -> None:
    """A model that writes 1.0 and one that writes 1 mean the same class, in the confusion too."""
    found = compare(ComparisonRule("classification", at="/predictions"), v1(1.0, 0.0), v1(1, 1))
    assert found.confusion == (("1", "1", 1), ("0", "1", 1))


@given(distributions, distributions, st.permutations(range(3)))
def test_distances(p: list[float], q: list[float], order: list[int]) -> None:
    """Both are symmetric, in [0, 1], 0 for the same, and whatever the classes are called; JS² ≤ TV (in bits)."""
    for distance in (total_variation, jensen_shannon):
        assert distance(p, p) == 0.0
        assert 0.0 <= distance(p, q) <= 1.0
        assert distance(p, q) == pytest.approx(distance(q, p), abs=1e-12)
        renamed = [p[at] for at in order], [q[at] for at in order]
        assert distance(p, q) == pytest.approx(distance(*renamed), abs=1e-7)
    assert jensen_shannon(p, q) ** 2 <= total_variation(p, q) + 1e-12


def test_js_by_hand() -> None:
    """Of a certain and an even distribution: ½ (log2 4/3) + ½ (½ log2 2/3 + ½ log2 2)."""
    expected = 0.5 * math.log2(4 / 3) + 0.5 * (0.5 * math.log2(2 / 3) + 0.5)
    assert jensen_shannon([1.0, 0.0], [0.5, 0.5]) ** 2 == pytest.approx(expected)

"""Vectors of meaning are judged by their direction."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.tensors import tensor_of
from proxy.compare.vectors import are_directions, cosine
from tests.compare.answers import json_answer, oip, text_answer, v1

RULE = ComparisonRule("embedding")
vectors = st.lists(st.floats(-1e300, 1e300), min_size=3, max_size=3)

COSINES: dict[str, tuple[list[float], list[float], float]] = {
    "the same direction": ([1, 2], [2, 4], 1.0),
    "the opposite": ([1, 2], [-1, -2], -1.0),
    "a right angle": ([1, 0], [0, 3], 0.0),
    "half of one": ([1, 0], [1, 1], math.sqrt(0.5)),
    "zero and zero": ([0, 0], [0, 0], 1.0),
    "zero and another": ([0, 0], [1, 0], 0.0),
    "one direction, rounded": ([1, 6, 7], [3 / 7, 18 / 7, 3], 1.0),
    "squares that overflow": ([1e300, 0], [1e300, 1e300], math.sqrt(0.5)),
    "squares that vanish": ([1e-300, 0], [1e-300, 1e-300], math.sqrt(0.5)),
    "NaN and itself": ([math.nan, 1], [math.nan, 1], 1.0),
}


@pytest.mark.parametrize("name", COSINES)
def test_cosine(name: str) -> None:
    """The cosine of the angle, in either order."""
    one, other, expected = COSINES[name]
    assert cosine(one, other) == pytest.approx(expected)
    assert cosine(other, one) == pytest.approx(expected)
    assert not abs(cosine(one, other)) > 1.0


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_no_direction(value: float) -> None:
    """Where one holds what is no number there is no angle."""
    assert math.isnan(cosine([value, 1.0], [1.0, 1.0]))


@given(vectors, vectors)
def test_cosine_range(one: list[float], other: list[float]) -> None:
    """In [-1, 1], symmetric, 1 for a vector and itself."""
    assert -1.0 <= cosine(one, other) <= 1.0
    assert cosine(one, other) == pytest.approx(cosine(other, one))
    assert cosine(one, one) == 1.0


def openai(*rows: list[float]) -> Answer:
    data = [{"object": "embedding", "index": at, "embedding": row} for at, row in enumerate(rows)]
    return json_answer(
        {"object": "list", "data": data, "model": "e", "usage": {"prompt_tokens": 1, "total_tokens": 1}}
    )


# rule, primary, shadow → result, distance, reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "auto: OpenAI": (
        ComparisonRule(),
        openai([1.0, 0.0], [0.0, 1.0]),
        openai([2.0, 0.0], [1.0, 1.0]),
        ("disagree", (1 - math.sqrt(0.5)) / 2, "tolerance", 2, 1),
    ),
    "auto: by the output's name": (
        ComparisonRule(),
        oip(("embeddings", "FP32", [1, 2], [1.5, 0.0])),
        oip(("embeddings", "FP32", [1, 2], [3.0, 0.0])),
        ("agree", 0.0, None, 1, 0),
    ),
    "the opposite is as far as can be": (RULE, v1([1.0, 0.5]), v1([-1.0, -0.5]), ("disagree", 1.0, "tolerance", 1, 1)),
    "a wider tolerance": (
        ComparisonRule("embedding", tolerance=0.3),
        v1([1.0, 0.0]),
        v1([1.0, 1.0]),
        ("agree", 1 - math.sqrt(0.5), None, 1, 0),
    ),
    "one vector at a place": (
        ComparisonRule("embedding", at="/vector"),
        json_answer({"vector": [1, 2, 3]}),
        json_answer({"vector": [2, 4, 6]}),
        ("agree", 0.0, None, 1, 0),
    ),
    "vectors at places": (
        ComparisonRule("embedding", at="/items/*/v"),
        json_answer({"items": [{"v": [1, 2]}, {"v": [3, 4]}]}),
        json_answer({"items": [{"v": [1, 2]}, {"v": [-4, 3]}]}),
        ("disagree", 0.5, "tolerance", 2, 1),
    ),
    "NaN on one side": (
        RULE,
        oip(("e", "FP32", [1, 2], [1.0, 2.0])),
        oip(("e", "FP32", [1, 2], [None, 2.0])),
        ("disagree", 1.0, "not_finite", 1, 1),
    ),
    "another width": (RULE, v1([1.0, 2.0]), v1([1.0, 2.0, 3.0]), ("disagree", 1.0, "shape", 1, 1)),
    "fewer rows": (RULE, v1([1.0, 2.0], [1.0, 2.0]), v1([1.0, 2.0]), ("disagree", 1.0, "rows", 2, 2)),
    "texts at a place": (
        ComparisonRule("embedding", at="/e"),
        json_answer({"e": ["a"]}),
        json_answer({"e": ["a"]}),
        ("uncomparable", None, "no_embedding", 0, 0),
    ),
    "no vectors": (RULE, v1("a"), v1("a"), ("uncomparable", None, "no_embedding", 0, 0)),
    "no vectors in the shadow's": (RULE, v1([1.0, 2.0]), text_answer("oops"), ("disagree", 1.0, "format", 1, 1)),
    "no rows": (
        RULE,
        oip(("e", "FP32", [0, 2], [])),
        oip(("e", "FP32", [0, 2], [])),
        ("agree", 0.0, None, 0, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_vectors(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "embedding"
    distance = said.distance if said.distance is None else pytest.approx(said.distance, abs=1e-12)
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing) == expected


def test_what_is_told() -> None:
    """The mean cosine and the lowest."""
    said = compare(RULE, v1([1.0, 0.0], [1.0, 0.0]), v1([1.0, 0.0], [0.0, 1.0]))
    assert said.scores == (("cosine", 0.5), ("cosine_min", 0.0))


DIRECTIONS: dict[str, tuple[list[list[float]], bool]] = {
    "of length 1": ([[0.1] * 99 + [-0.1]] * 2, True),
    "nearly": ([[0.1001] * 99 + [-0.1]], True),
    "one of them longer": ([[0.1] * 99 + [-0.1], [0.2] * 99 + [-0.1]], False),
    "short": ([[0.6, -0.8]], False),
    "just long enough": ([[0.125] * 63 + [-0.125]], True),
    "one too short": ([[0.125] * 62 + [-0.125]], False),
    "of one sign, as roots of probabilities": ([[0.1] * 100], False),
    "not finite": ([[float("nan")] * 99 + [-0.1]], False),
    "too large to square": ([[1e300] * 99 + [-0.1]], False),
}


@pytest.mark.parametrize("name", DIRECTIONS)
def test_vectors_that_can_be_nothing_else(name: str) -> None:
    """Long rows of length 1 and both signs are vectors of meaning, though nothing says so."""
    rows, expected = DIRECTIONS[name]
    tensor = tensor_of(rows, "predictions")
    assert tensor is not None
    assert are_directions(tensor) is expected

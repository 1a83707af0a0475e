"""Rankings are judged by their top, by what is among the first, and by RBO."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Answer, ComparisonRule, compare
from proxy.compare.rankings import RANKING_LIMIT, find_reranked, overlap_at, rank_biased_overlap
from proxy.compare.values import Prediction
from tests.compare.answers import json_answer, oip, text_answer, v1

RULE = ComparisonRule("ranking")
rankings = st.lists(st.integers(0, 12), max_size=10, unique=True)

# By equation 32 of Webber, Moffat and Zobel (2010), written out.
RBO: dict[str, tuple[list[Any], list[Any], float, float]] = {
    "equal": ([1, 2, 3], [1, 2, 3], 0.9, 1.0),
    "nothing in common": ([1, 2], [3, 4], 0.9, 0.0),
    "one place": ([1], [1], 0.5, 1.0),
    # .5/.5 · (0·.5 + 2/2·.25) + 2/2·.25
    "two swapped": ([1, 2], [2, 1], 0.5, 0.5),
    # s=1, l=2: .5/.5 · (1·.5 + 1/2·.25 + 1·1/2·.25) + ((1-1)/2 + 1)·.25
    "the shorter is a head of the longer": ([1], [1, 2], 0.5, 1.0),
    # s=1, l=2: .5/.5 · (0 + 1/2·.25 + 0) + ((1-0)/2 + 0)·.25
    "found later": ([2], [1, 2], 0.5, 0.25),
    # s=2, l=3: .5/.5 · (1·.5 + 1/2·.25 + 1/3·.125 + 1·1/6·.125) + (0/3 + 1/2)·.125
    "uneven, half in common": ([1, 2], [1, 3, 4], 0.5, 0.75),
    "two empty": ([], [], 0.9, 1.0),
    "one empty": ([], [1], 0.9, 0.0),
}


@pytest.mark.parametrize("name", RBO)
def test_rbo(name: str) -> None:
    """The equation's value, in either order."""
    one, other, persistence, expected = RBO[name]
    assert rank_biased_overlap(one, other, persistence) == pytest.approx(expected)
    assert rank_biased_overlap(other, one, persistence) == pytest.approx(expected)


@given(rankings, rankings, st.sampled_from([0.1, 0.9, 0.99]), st.permutations(range(13)))
def test_rbo_laws(first: list[int], second: list[int], persistence: float, renamed: list[int]) -> None:
    """In [0, 1], symmetric, 1 for the same, and whatever items are called."""
    found = rank_biased_overlap(first, second, persistence)
    assert 0.0 <= found <= 1.0
    assert found == pytest.approx(rank_biased_overlap(second, first, persistence))
    assert rank_biased_overlap(first, first, persistence) == pytest.approx(1.0)
    one, other = ([renamed[item] for item in ranking] for ranking in (first, second))
    assert found == rank_biased_overlap(one, other, persistence)


OVERLAPS: dict[str, tuple[list[Any], list[Any], int, float]] = {
    "another order": ([1, 2, 3], [3, 1, 2], 3, 1.0),
    "one of two": ([1, 2, 3], [1, 4, 2], 2, 0.5),
    "both shorter than k": ([1, 2], [2, 1], 10, 1.0),
    "one shorter than k": ([1], [1, 2], 10, 0.5),
    "two empty": ([], [], 10, 1.0),
    "one empty": ([], [1], 10, 0.0),
}


@pytest.mark.parametrize("name", OVERLAPS)
def test_overlap(name: str) -> None:
    """The share of the first k that both have."""
    one, other, depth, expected = OVERLAPS[name]
    assert overlap_at(one, other, depth) == overlap_at(other, one, depth) == expected


SCORED = [{"index": 2, "score": 0.1}, {"index": 0, "score": 0.9}, {"index": 1, "score": 0.5}]


def test_what_was_reranked() -> None:
    """Numbers of what was ranked, the highest score first, also where they came in another order; rows of a table are
    no list of one answer."""
    found = [find_reranked(Prediction(form, SCORED)) for form in ("json", "ndjson", "csv")]
    assert found == [[0, 1, 2], None, None]
    assert find_reranked(Prediction("json", {"results": SCORED})) == [0, 1, 2]


LONG = list(range(2 * RANKING_LIMIT))

# rule, primary, shadow → result, distance, reason, rows, rows disagreeing, overlap
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "hits of a search": (
        ComparisonRule("ranking", at="/hits/*/id"),
        json_answer({"hits": [{"id": "a", "score": 3.1}, {"id": "b", "score": 2.0}]}),
        json_answer({"hits": [{"id": "a", "score": 2.9}, {"id": "b", "score": 1.5}]}),
        ("agree", 0.0, None, 1, 0, 1.0),
    ),
    "another top": (RULE, v1(["a", "b"]), v1(["b", "a"]), ("disagree", 0.1, "top", 1, 1, 1.0)),
    "another item below": (
        RULE,
        json_answer(["a", "b"]),
        json_answer(["a", "c"]),
        ("disagree", 0.45, "overlap", 1, 1, 0.5),
    ),
    "a list in an object": (
        RULE,
        json_answer({"ids": ["a", "b"]}),
        json_answer({"ids": ["a", "b"]}),
        ("agree", 0.0, None, 1, 0, 1.0),
    ),
    "another order below": (
        RULE,
        json_answer(["a", "b", "c"]),
        json_answer(["a", "c", "b"]),
        ("agree", 0.045, None, 1, 0, 1.0),
    ),
    "one of two allowed": (
        ComparisonRule("ranking", k=2, tolerance=0.5),
        json_answer(["a", "b"]),
        json_answer(["a", "c"]),
        ("agree", 0.45, None, 1, 0, 0.5),
    ),
    "only the first counts": (
        ComparisonRule("ranking", k=1),
        json_answer(["a", "b"]),
        json_answer(["a", "c"]),
        ("agree", 0.45, None, 1, 0, 1.0),
    ),
    "rows of one list each": (
        RULE,
        v1([1, 2, 3], [4, 5]),
        v1([1, 2, 3], [5, 4]),
        ("disagree", 0.05, "top", 2, 1, 1.0),
    ),
    "a tensor of ids": (
        ComparisonRule("ranking", at="ids"),
        oip(("ids", "INT64", [2, 2], [1, 2, 3, 4])),
        oip(("ids", "INT64", [2, 2], [1, 2, 3, 4])),
        ("agree", 0.0, None, 2, 0, 1.0),
    ),
    "the tensor that is no float": (
        RULE,
        oip(("scores", "FP32", [1, 2], [0.9, 0.1]), ("ids", "BYTES", [1, 2], ["a", "b"])),
        oip(("scores", "FP32", [1, 2], [0.8, 0.2]), ("ids", "BYTES", [1, 2], ["a", "b"])),
        ("agree", 0.0, None, 1, 0, 1.0),
    ),
    "repeated items count once": (
        RULE,
        json_answer(["a", "a", "b"]),
        json_answer(["a", "b"]),
        ("agree", 0.0, None, 1, 0, 1.0),
    ),
    "as many others as are tolerated": (
        ComparisonRule("ranking", tolerance=0.3),
        json_answer(list(range(10))),
        json_answer([*range(7), "x", "y", "z"]),
        ("agree", 1.0 - rank_biased_overlap(list(range(10)), [*range(7), "x", "y", "z"]), None, 1, 0, 0.7),
    ),
    "true is not 1": (RULE, json_answer([True]), json_answer([1]), ("disagree", 1.0, "top", 1, 1, 0.0)),
    "far below nobody looks": (
        RULE,
        json_answer(LONG),
        json_answer(LONG[:RANKING_LIMIT] + [0] * RANKING_LIMIT),
        ("agree", 0.0, None, 1, 0, 1.0),
    ),
    "no items": (RULE, json_answer([]), json_answer([]), ("agree", 0.0, None, 1, 0, 1.0)),
    "fewer rows": (RULE, v1(["a"], ["b"]), v1(["a"]), ("disagree", 1.0, "rows", 2, 2, None)),
    "no ranking": (
        RULE,
        json_answer({"a": 1}),
        json_answer({"a": 1}),
        ("uncomparable", None, "no_ranking", 0, 0, None),
    ),
    "no ranking in the shadow's": (
        RULE,
        json_answer(["a"]),
        text_answer("oops"),
        ("disagree", 1.0, "format", 1, 1, None),
    ),
    "items that are objects": (
        RULE,
        json_answer([{"id": 1}]),
        json_answer([{"id": 1}]),
        ("uncomparable", None, "no_ranking", 0, 0, None),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_rankings(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "ranking"
    distance = said.distance if said.distance is None else pytest.approx(said.distance, abs=1e-12)
    overlap = dict(said.scores).get("overlap_at_k")
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing, overlap) == expected

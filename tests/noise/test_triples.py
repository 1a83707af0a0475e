"""What a triple counts as, and that the claim it is put to is the one of exchangeable answers."""

from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Comparison
from proxy.noise.triples import TRIPLE_FIELDS, Triples, is_answer, is_in_time, outcomes

AGREE = Comparison("agree", 0.0, None, "json", 1, 0)
NEAR = Comparison("agree", 0.01, None, "json", 1, 0)
FAR = Comparison("disagree", 0.5, "fields", "json", 1, 1)
FARTHER = Comparison("disagree", 1.0, "fields", "json", 1, 1)
NONE = Comparison("uncomparable", None, "truncated", "json", 0, 0)
ALL = (AGREE, NEAR, FAR, FARTHER, NONE)

CASES = {
    "the same three times": (AGREE, AGREE, ("same",)),
    "all within tolerance": (NEAR, AGREE, ("same", "candidate_farther")),
    "the candidate is odd": (FAR, AGREE, ("candidate", "candidate_farther")),
    "the champion is odd": (NEAR, FAR, ("champion", "champion_farther")),
    "both differ": (FAR, FARTHER, ("both", "champion_farther")),
    "both differ as much": (FAR, FAR, ("both",)),
    "no judgement of the candidate": (NONE, FAR, ()),
    "no judgement of the champion": (FAR, NONE, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_outcomes(name: str) -> None:
    """A triple is one of four, and one of two or none by distance."""
    candidate, second, expected = CASES[name]
    assert outcomes(candidate, second) == expected


def test_sides_are_alike() -> None:
    """Who changes candidate and champion changes the names, and nothing else: no answer is left out for whose it is."""
    other = {"candidate": "champion", "champion": "candidate"}
    other |= {f"{name}_farther": f"{twin}_farther" for name, twin in other.items()}
    for candidate, second in product(ALL, repeat=2):
        assert outcomes(second, candidate) == tuple(other.get(x, x) for x in outcomes(candidate, second))


@given(st.lists(st.tuples(st.sampled_from(ALL), st.sampled_from(ALL))))
def test_counts(drawn: list[tuple[Comparison, Comparison]]) -> None:
    """Every judged triple is counted once."""
    counts = dict.fromkeys(TRIPLE_FIELDS, 0)
    for candidate, second in drawn:
        for name in outcomes(candidate, second):
            counts[name] += 1
    judged = [pair for pair in drawn if NONE not in pair]
    triples = Triples(**counts)
    assert triples.total == len(judged)
    assert triples.candidate_farther + triples.champion_farther <= triples.total


def test_left_out_are_no_triples() -> None:
    """What says nothing is no part of the total."""
    assert set(Triples()) == {0}
    assert Triples(same=3, candidate=1, left_out=9).total == 4


def test_whose_answer() -> None:
    """A model's are those that it was asked for: not refusals of a busy or broken server, and not nothing."""
    statuses = (0, 200, 304, 400, 404, 422, 429, 499, 500, 502, 503, 504)
    assert [status for status in statuses if is_answer(status)] == [200, 304, 400, 404, 422, 499]


def test_in_time() -> None:
    """Both copies have the shorter of the two timeouts, to the nanosecond."""
    assert is_in_time(5, 5, (5, 9))
    assert not is_in_time(6, 1, (5, 9))
    assert not is_in_time(1, 6, (9, 5))

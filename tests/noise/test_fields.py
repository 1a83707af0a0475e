"""Which parts of an answer differ above noise."""

import math
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare import Comparison, Difference
from proxy.noise.fields import MAX_FIELDS, OTHER, FieldCounts, field_of, judge_fields
from proxy.stats.paired import triples

PATHS = {
    "": "",
    "/a/b": "/a/b",
    "/outputs/0/data/17": "/outputs/*/data/*",
    "/a/0x1/12a": "/a/0x1/12a",
    "/a/²": "/a/²",
    "/label/3": "/label/*",
    "/a\ud800/b": "/a?/b",
    "/users/ada@example.org/score": OTHER,
    "/4111-1111-1111-1111": OTHER,
    "/" + "x" * 300: "/" + "x" * 199,
}


@pytest.mark.parametrize("path", PATHS)
def test_field_of(path: str) -> None:
    """Indexes are one field; what only looks like one is not."""
    assert field_of(path) == PATHS[path]


def differing(paths: Iterable[str]) -> Comparison:
    differences = tuple(Difference(path, "1", "2") for path in paths)
    if not differences:
        return Comparison("agree", 0.0, None, "json", 1, 0)
    return Comparison("disagree", 0.5, "fields", "json", 1, 1, differences)


def test_counts() -> None:
    """A field counts once for each answer, however many of its places differ."""
    book = FieldCounts()
    book.observe(differing(["/a/0", "/a/1", "/b"]), differing(["/b", "/c"]))
    book.observe(differing([]), differing(["/c"]))
    book.observe(differing([]), differing([]))
    book.observe(differing(["/a/2"]), Comparison("uncomparable", None, "truncated", "json", 0, 0))
    assert book.document() == {"/a/*": [1, 0, 0], "/b": [0, 0, 1], "/c": [0, 2, 0]}
    assert FieldCounts(book.document()).document() == book.document()
    again = FieldCounts(book.document())
    again.add(book.document())
    assert again.document() == {"/a/*": [2, 0, 0], "/b": [0, 0, 2], "/c": [0, 4, 0]}


def test_fields_are_bounded() -> None:
    """Beyond the limit all further fields are one."""
    book = FieldCounts()
    book.observe(differing(f"/f{i:03}" for i in range(MAX_FIELDS - 1)), differing([]))
    book.observe(differing(["/y", "/z"]), differing(["/x"]))
    book.observe(differing(["/x", "/u"]), differing(["/v", "/w"]))
    found = book.document()
    assert len(found) == MAX_FIELDS + 1
    assert (found["/x"], found[OTHER]) == ([1, 1, 0], [1, 0, 1])
    total = FieldCounts()
    total.add({str(i): [1, 2, 3] for i in range(100)} | {OTHER: [1, 1, 1]})
    kept = {str(i): [1, 2, 3] for i in range(MAX_FIELDS)}
    assert total.document() == {**kept, OTHER: [37, 73, 109]}


@given(
    st.lists(
        st.tuples(
            *[st.frozensets(st.integers(0, 90)).map(lambda found: [f"/{i}x" for i in sorted(found)])] * 2
        ),
        max_size=8,
    )
)
def test_sides_are_alike(drawn: list[tuple[list[str], list[str]]]) -> None:
    """Who changes candidate and champion changes their columns, and nothing else."""
    book, mirrored = FieldCounts(), FieldCounts()
    for mine, others in drawn:
        book.observe(differing(mine), differing(others))
        mirrored.observe(differing(others), differing(mine))
    swapped = {path: [b, a, both] for path, (a, b, both) in book.document().items()}
    assert swapped == mirrored.document()


def test_noise_is_not_named() -> None:
    """Of a time stamp that always differs and a score that only the candidate changes, the score is named."""
    fields = judge_fields({"/ts": [400, 390, 9_000], "/score": [60, 2, 0], "/rare": [3, 0, 0]})
    assert [(field.path, field.is_above_noise) for field in fields] == [
        ("/score", True),
        ("/ts", False),
        ("/rare", False),
    ]
    assert judge_fields({}) == []


def test_what_is_asked_of_a_field() -> None:
    """Of 65 fields one is named from an e-value of 65 / 0.05 = 1300 on."""
    counts = [{"/a": [odd, 0, 0]} for odd in (12, 13)]
    assert [math.exp(triples(odd, 0)) for odd in (12, 13)] == pytest.approx([807.7, 1547.5], abs=0.1)
    assert [judge_fields(each)[0].is_above_noise for each in counts] == [False, True]


def test_tolerance() -> None:
    """What a field may differ more is tolerated in it as in the whole."""
    assert judge_fields({"/score": [90, 40, 0]}, 0.0)[0].is_above_noise
    assert not judge_fields({"/score": [90, 40, 0]}, 1.0)[0].is_above_noise


@pytest.mark.slow
def test_wrong_names_are_few() -> None:
    """Of fields that are named although nothing but noise is in them there are 5 % at most on average, and real ones
    are found: 30 fields of noise from 0.1 to 30 %, and 6 that the candidate changes in 2 % more of its answers."""
    rng = np.random.default_rng(5)
    noise = np.concatenate([np.geomspace(0.001, 0.3, 30), np.full(6, 0.01)])
    changed = noise + np.where(np.arange(36) < 30, 0.0, 0.02)
    wrong, found = [], 0
    for _ in range(150):
        mine, second = rng.random((3_000, 36)) < changed, rng.random((3_000, 36)) < noise
        odd = (mine & ~second).sum(axis=0), (second & ~mine).sum(axis=0), (mine & second).sum(axis=0)
        counts = {f"/{i}x": numbers for i, numbers in enumerate(np.stack(odd, axis=1).tolist())}
        named = [int(field.path[1:-1]) for field in judge_fields(counts) if field.is_above_noise]
        wrong.append(sum(i < 30 for i in named) / max(1, len(named)))
        found += sum(i >= 30 for i in named)
    assert np.mean(wrong) <= 0.05
    assert found > 0.9 * 150 * 6

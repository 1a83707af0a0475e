"""What is remembered of predictions, for how long, and what goes first."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.values import Predicted
from proxy.labels.memory import MAX_LATE, Memory, Remembered, Side, compact

KEEP = 1000


def entry(at_ns: int, text: str = "", keys: str = "a") -> Remembered[str]:
    predicted = Predicted((text or 1,), (2,), is_number=False)
    return Remembered(at_ns, "v1", 5, tuple(Side(key, predicted) for key in keys))


def memory(budget_bytes: int = 1 << 20, max_requests: int = 100) -> Memory[str]:
    return Memory(KEEP, budget_bytes, max_requests)


def test_for_a_while() -> None:
    """What is older than the limit is late, what was never there unknown."""
    book = memory()
    book.add(1, entry(0))
    book.add(2, entry(600))
    assert isinstance(book.find(1, KEEP), Remembered)
    assert book.find(1, KEEP + 1) == "late"
    assert isinstance(book.find(2, KEEP + 1), Remembered)
    assert book.find(3, KEEP + 1) == "unknown"
    assert book.forgotten == 0


def test_the_oldest_go_first() -> None:
    """Where there are too many the oldest are forgotten, and counted."""
    book = memory(max_requests=3)
    for name in range(5):
        book.add(name, entry(name))
    assert [book.find(name, 5) == "late" for name in range(5)] == [True, True, False, False, False]
    assert book.forgotten == 2


def test_what_is_too_old_makes_room() -> None:
    """It is late, and not one that was forgotten for want of room."""
    book = memory(max_requests=1)
    book.add(1, entry(0))
    book.add(2, entry(KEEP + 1))
    assert (len(book), book.forgotten, book.find(1, KEEP + 1)) == (1, 0, "late")


def test_as_much_as_there_is_room_for() -> None:
    """One whose weight is all that is allowed stays."""
    book = memory()
    book.add(1, entry(0, "x" * 100))
    exact = memory(budget_bytes=book.weight)
    exact.add(1, entry(0, "x" * 100))
    assert (len(exact), exact.weight) == (1, book.weight)


def test_bytes() -> None:
    """Long texts take the place of several short ones; one that is too long for all is not kept."""
    book = memory(budget_bytes=10_000)
    for name in range(5):
        book.add(name, entry(name))
    book.add(5, entry(5, "x" * 2000))
    assert book.weight <= 10_000
    assert book.find(0, 5) == "late"
    assert isinstance(book.find(5, 5), Remembered)
    book.add(6, entry(6, "x" * 20_000))
    assert (len(book), book.weight) == (0, 0)


def test_an_id_that_comes_again() -> None:
    """The later request has the name."""
    book = memory()
    book.add(1, entry(0))
    book.add(1, entry(1, "second"))
    found = book.find(1, 2)
    assert isinstance(found, Remembered)
    assert found.sides[0].predicted.primary == ("second",)
    assert len(book) == 1
    book = memory(max_requests=1)
    book.add(1, entry(0))
    book.add(2, entry(1))
    book.add(1, entry(2))
    assert isinstance(book.find(1, 2), Remembered)


def test_names_of_what_is_gone_are_bounded() -> None:
    """Of very many late ones the earliest are unknown."""
    book = memory(max_requests=1)
    for name in range(MAX_LATE + 2):
        book.add(name, entry(0))
    assert book.find(0, 0) == "unknown"
    assert book.find(1, 0) == "late"


def test_what_counts_for_nothing_any_more() -> None:
    """What was remembered for models that are not in force is let go of."""
    book = memory()
    book.add(1, entry(0, keys="ab"))
    book.add(2, entry(0, keys="b"))
    book.keep_only({"a"})
    found = book.find(1, 0)
    assert isinstance(found, Remembered)
    assert [side.key for side in found.sides] == ["a"]
    assert book.find(2, 0) == "late"


@given(
    st.lists(
        st.tuples(st.integers(0, 8), st.integers(0, 400), st.integers(0, 3000), st.sampled_from(["a", "ab"])),
        max_size=40,
    )
)
def test_bounds_hold_whatever_comes(steps: list[tuple[int, int, int, str]]) -> None:
    """Number, bytes and age are within their limits after each step, and the weight is that of what is there."""
    book, now = memory(budget_bytes=9000, max_requests=5), 0
    for name, later, length, keys in steps:
        now += later
        book.add(name, entry(now, "x" * length, keys))
        assert len(book) <= 5
        assert 0 <= book.weight <= 9000
        kept = [found for each in range(9) if isinstance(found := book.find(each, now), Remembered)]
        assert book.weight == sum(each.weight for each in kept)
        assert all(now - each.arrived_ns <= KEEP for each in kept)


def test_equal_predictions_are_one() -> None:
    """What several shadows stand beside is kept once."""
    first: Any = Predicted([1, 2], [1, 3], is_number=False)
    second: Any = Predicted([1, 2], None, is_number=False)
    odd: Any = Predicted([[1], 2], [{}, 1], is_number=False)
    a, b, c = compact([Side("a", first), Side("b", second), Side("c", odd)])
    assert a.predicted == Predicted((1, 2), (1, 3), is_number=False)
    assert b.predicted.primary is a.predicted.primary
    assert b.predicted.shadow is None
    assert c.predicted.primary == ([1], 2)

"""Counters that fell: what is believed of them, and from where on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.engine.continuity import Continuity
from proxy.engine.ledger import Counts

KEY = ("run", "e1")


class Reader:
    """Takes readings, and keeps the highest of what they are worth, as the ledger does."""

    def __init__(self) -> None:
        self.continuity = Continuity()
        self.known: Counts | None = None
        self.falls = 0

    def take(self, *counts: int) -> list[int]:
        total, has_fallen = self.continuity.take(KEY, np.array(counts, np.int64), self.known)
        self.falls += has_fallen
        if total is not None:
            assert self.known is None or (total >= self.known).all()
            self.known = total
        return [] if self.known is None else self.known.tolist()


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20))
def test_counters_that_grow_are_what_they_say(steps: list[tuple[int, int]]) -> None:
    """Whatever they grow by."""
    reader, sums = Reader(), np.zeros(2, np.int64)
    for step in steps:
        sums += step
        assert reader.take(*sums.tolist()) == sums.tolist()
    assert not reader.falls


def test_one_lower_reading_is_left_out() -> None:
    """All of it, also what seems to have grown."""
    reader = Reader()
    reader.take(100, 10)
    assert reader.take(60, 12) == [100, 10]
    assert reader.take(110, 14) == [110, 14]
    assert not reader.falls


def test_it_goes_on_from_the_second_lower_reading() -> None:
    """What it adds to that is added; what came in between is left out in every column."""
    reader = Reader()
    reader.take(100, 10)
    reader.take(0, 0)
    assert reader.take(5, 12) == [100, 10]
    assert reader.falls == 1
    assert reader.take(7, 13) == [102, 11]
    assert reader.take(60, 50) == [155, 48]
    assert reader.take(130, 55) == [225, 53]
    reader.take(0, 0)
    assert (reader.take(1, 0), reader.falls) == ([225, 53], 2)
    assert reader.take(2, 3) == [226, 56]


@pytest.mark.parametrize("meanwhile", [(0, 0), (30, 1)])
def test_counters_that_come_back_are_not_counted_twice(meanwhile: tuple[int, int]) -> None:
    """A file that was moved away and back again: in between the other workers were counted, or nobody."""
    reader = Reader()
    reader.take(1000, 100)
    reader.take(0, 0)
    reader.take(0, 0)
    if any(meanwhile):
        reader.take(*meanwhile)
    assert reader.take(1040, 102) == [1040, 102]
    assert reader.take(1050, 103) == [1050, 103]


def test_after_a_restart_the_rule_begins_anew() -> None:
    """What it went on from is forgotten; it is again lower than what is known, and goes on from there."""
    reader = Reader()
    reader.take(100, 10)
    for _ in range(2):
        reader.take(0, 0)
    reader.take(50, 5)
    reader.continuity = Continuity()
    reader.take(60, 6)
    reader.take(61, 6)
    assert (reader.take(63, 7), reader.falls) == ([152, 16], 2)

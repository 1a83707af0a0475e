"""Who is left out, and for how long."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.outlier import MAX_MULTIPLE, ejection_ns, may_eject, next_ejection

CASES: dict[str, tuple[int, int, int, float, bool]] = {
    "one of two": (2, 0, 1, 50, True),
    "both of two": (2, 1, 0, 100, False),
    "one is always allowed": (3, 0, 2, 1, True),
    "none when it is switched off": (3, 0, 2, 0, False),
    "half of four": (4, 1, 2, 50, True),
    "more than half of four": (4, 2, 1, 50, False),
    "all but one": (4, 2, 1, 100, True),
    "the others are unhealthy": (4, 0, 0, 100, False),
    "the only one": (1, 0, 0, 100, False),
}
"""Name → servers, ejected ones, others that would be left, percent, whether one more may go."""


@pytest.mark.parametrize(("total", "ejected", "left", "percent", "allowed"), CASES.values(), ids=CASES)
def test_may_eject(total: int, ejected: int, left: int, percent: float, allowed: bool) -> None:
    """So many percent, but at least one, and never the last that is there."""
    assert may_eject(total, ejected, left, percent) == allowed


@given(st.integers(1, 64), st.floats(0, 100))
def test_never_all(total: int, percent: float) -> None:
    """However many fail, one is left, and never more than the percent (or one) are out."""
    ejected = 0
    while may_eject(total, ejected, total - ejected - 1, percent):
        ejected += 1
    assert ejected < total
    assert ejected <= max(1, total * percent / 100)


@given(st.integers(0, 100), st.integers(0, 10**15), st.integers(1, 10**12))
def test_ejections_grow_and_are_forgiven(ejections: int, since: int, base: int) -> None:
    """At once the next is one more; each base time of good behaviour makes up for one; it is at least the first."""
    following = next_ejection(ejections, since, base)
    assert next_ejection(ejections, 0, base) == ejections + 1
    assert following == max(1, ejections + 1 - since // base)
    assert base <= ejection_ns(following, base) <= MAX_MULTIPLE * base


def test_lengths() -> None:
    """The first takes the base time, the second twice as long, and so on up to ten times."""
    assert [ejection_ns(n, 30) for n in (1, 2, 3, 10, 11, 500)] == [30, 60, 90, 300, 300, 300]

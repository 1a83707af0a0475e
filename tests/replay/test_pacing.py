"""When requests are due."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.replay.pacing import STRAGGLERS, Pace, Schedule, parse_speed

WALL = 1_795_000_000_000_000_000
START = 5_000_000_000
SECOND = 1_000_000_000


def due(pace: Pace, *seconds: float) -> list[float | None]:
    """Return when records that came so many seconds after the first are due, in seconds after the start."""
    schedule = Schedule(pace, START)
    times = [schedule.due_ns(WALL + int(second * SECOND)) for second in seconds]
    return [None if time is None else (time - START) / SECOND for time in times]


def test_the_log_s_gaps() -> None:
    """The gaps of the log, divided by the speed; what comes out of order is due at once, and delays nothing."""
    assert due(Pace(speed=1.0), 0, 0.5, 0.5, 60) == [0, 0.5, 0.5, 60]
    assert due(Pace(speed=10.0), 0, 1, 3600) == [0, 0.1, 360]
    assert due(Pace(speed=0.5), 0, 1) == [0, 2]
    assert due(Pace(speed=1.0), 0, 2, 1, -1, 3) == [0, 2, 2, 2, 3]


MINUTE = 60 * SECOND
DAY = 86_400

WAITS: dict[str, tuple[Pace, list[float], list[float], tuple[int, float]]] = {
    "none is too long": (Pace(1.0, most_wait_ns=MINUTE), [0, 60, 120], [0, 60, 120], (0, 0)),
    "of a week-end": (
        Pace(1.0, most_wait_ns=MINUTE),
        [0, 1, 2 * DAY, 2 * DAY + 5],
        [0, 1, 61, 66],
        (1, 2 * DAY - 61),
    ),
    "of a clock of 1970": (Pace(1.0, most_wait_ns=MINUTE), [-1.7e9, 0, 1], [0, 60, 61], (1, 1.7e9 - 60)),
    "of a clock of the future": (Pace(1.0, most_wait_ns=MINUTE), [0, 1, 3e9], [0, 1, 61], (1, 3e9 - 61)),
    "as long as one waits": (Pace(10.0, most_wait_ns=MINUTE), [0, 600, 1800], [0, 60, 120], (1, 600)),
    "as the log says": (Pace(1.0), [0, 2 * DAY], [0, 2 * DAY], (0, 0)),
}


@pytest.mark.parametrize("name", WAITS)
def test_the_longest_wait(name: str) -> None:
    """A longer one is shortened for all that comes behind it, and what was left out of the log's time is counted."""
    pace, seconds, expected, (shortened, left_out) = WAITS[name]
    schedule = Schedule(pace, START)
    times = [schedule.due_ns(WALL + int(second * SECOND)) for second in seconds]
    assert [((time or 0) - START) / SECOND for time in times] == expected
    assert (schedule.waits_shortened, schedule.left_out_ns / SECOND) == (shortened, left_out)


def test_a_clock_that_was_set_back() -> None:
    """A few earlier records are late ones; with more in a row the clock was set back, and gaps count from there."""
    late = due(Pace(1.0), 0, *range(1, 100), *[50.0] * STRAGGLERS, 100, 101)
    assert late == [*range(100), *[99] * STRAGGLERS, 100, 101]
    schedule = Schedule(Pace(1.0), START)
    times = [
        schedule.due_ns(WALL + second * SECOND)
        for second in [*range(3600), *range(1000, 1000 + STRAGGLERS + 61)]
    ]
    last = times[-1]
    assert last is not None
    assert (last - START) / SECOND == 3599 + 60
    assert schedule.set_back == 1


@given(
    st.lists(st.integers(-(10**19), 10**19), max_size=200),
    st.sampled_from([Pace(0.001), Pace(1.0, most_wait_ns=MINUTE), Pace(1e6, most_wait_ns=1), Pace(rate=7.0)]),
)
def test_nothing_is_due_before_what_came_before_it(times: list[int], pace: Pace) -> None:
    """Whatever a log says, times never go back, and no wait is longer than the longest."""
    schedule = Schedule(pace, START)
    due = [START, *(schedule.due_ns(each) or 0 for each in times)]
    waits = [after - before for before, after in pairwise(due)]
    assert all(wait >= 0 for wait in waits)
    if pace.most_wait_ns is not None:
        assert max(waits, default=0) <= pace.most_wait_ns + 1  # of whole nanoseconds
    assert schedule.count == len(times)


def test_a_rate() -> None:
    """So many a second, whatever the gaps, and whatever the speed."""
    assert due(Pace(rate=4.0), 0, 100, 100, 3) == [0, 0.25, 0.5, 0.75]
    assert due(Pace(speed=1.0, rate=2.0), 0, 100) == [0, 0.5]


def test_as_fast_as_it_goes() -> None:
    """Nothing is due at a time."""
    assert due(Pace(), 0, 1) == [None, None]
    assert [pace.is_timed for pace in (Pace(), Pace(speed=2.0), Pace(rate=2.0))] == [False, True, True]


def test_speeds() -> None:
    """A factor, or max."""
    assert [parse_speed(text) for text in ("max", "1x", "10x", "0.5x")] == [None, 1.0, 10.0, 0.5]


@pytest.mark.parametrize("text", ["", "0x", "10", "-1x", "x", "1e3x", "fast"])
def test_no_speed(text: str) -> None:
    """Anything else is refused with what would be right."""
    with pytest.raises(ValueError, match="such as 1x or 10x"):
        parse_speed(text)

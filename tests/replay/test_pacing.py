"""When requests are due."""

import pytest

from proxy.replay.pacing import Pace, Schedule, parse_speed

WALL = 1_795_000_000_000_000_000
START = 5_000_000_000
SECOND = 1_000_000_000


def due(pace: Pace, *seconds: float) -> list[float | None]:
    """Return when records that came so many seconds after the first are due, in seconds after the start."""
    schedule = Schedule(pace, START)
    times = [schedule.due_ns(WALL + int(second * SECOND)) for second in seconds]
    return [None if time is None else (time - START) / SECOND for time in times]


def test_the_log_s_gaps() -> None:
    """The gaps of the log, divided by the speed; what comes out of order is due at once, never before the start."""
    assert due(Pace(speed=1.0), 0, 0.5, 0.5, 60) == [0, 0.5, 0.5, 60]
    assert due(Pace(speed=10.0), 0, 1, 3600) == [0, 0.1, 360]
    assert due(Pace(speed=0.5), 0, 1) == [0, 2]
    assert due(Pace(speed=1.0), 0, 2, 1, -1) == [0, 2, 1, 0]


def test_a_rate() -> None:
    """So many a second, whatever the gaps, and whatever the speed."""
    assert due(Pace(rate=4.0), 0, 100, 100, 3) == [0, 0.25, 0.5, 0.75]
    assert due(Pace(speed=1.0, rate=2.0), 0, 100) == [0, 0.5]


def test_as_fast_as_it_goes() -> None:
    """Nothing is due at a time."""
    assert due(Pace(), 0, 1) == [None, None]


def test_speeds() -> None:
    """A factor, or max."""
    assert [parse_speed(text) for text in ("max", "1x", "10x", "0.5x")] == [None, 1.0, 10.0, 0.5]


@pytest.mark.parametrize("text", ["", "0x", "10", "-1x", "x", "1e3x", "fast"])
def test_no_speed(text: str) -> None:
    """Anything else is refused with what would be right."""
    with pytest.raises(ValueError, match="such as 1x or 10x"):
        parse_speed(text)

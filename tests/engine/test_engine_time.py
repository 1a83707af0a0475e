"""The engine's time: never back, whatever the clocks do."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.engine.engine_time import JUMP_NS, EngineTime

BIN = 10_000_000_000


class Clocks:
    def __init__(self) -> None:
        self.monotonic_ns, self.wall_ns = 0, 1_000 * BIN

    def make(self) -> EngineTime:
        return EngineTime(BIN, lambda: self.monotonic_ns, lambda: self.wall_ns)


def test_the_offset_is_the_supervisors() -> None:
    """Before the supervisor has told the offset the time is not known; then it goes on with the monotonic clock."""
    clocks = Clocks()
    time = clocks.make()
    known = [time.is_known]
    time.set_offset(7)
    assert [*known, time.is_known] == [False, True]
    clocks.monotonic_ns += 5
    clocks.wall_ns -= BIN
    assert time.now_ns() == 12


def test_it_waits_for_what_was() -> None:
    """A time that was written down is not undercut: the clock stands until it is reached again."""
    clocks = Clocks()
    time = clocks.make()
    time.set_offset(0)
    time.advance(100)
    assert time.now_ns() == 100
    clocks.monotonic_ns = 99
    assert (time.now_ns(), time.told_ns()) == (100, 99)
    clocks.monotonic_ns = 101
    assert time.now_ns() == 101


def test_a_jump_spoils_its_bin() -> None:
    """Clocks that part are noticed once, and distrusted until the bin is over; slewing is nothing."""
    clocks = Clocks()
    time = clocks.make()
    time.set_offset(0)
    clocks.wall_ns += JUMP_NS
    assert not time.look()
    clocks.wall_ns -= JUMP_NS + 1
    assert time.look()
    assert time.look()
    clocks.monotonic_ns += BIN
    clocks.wall_ns += BIN
    assert not time.look()
    assert time.jumps == 1


@given(st.lists(st.tuples(st.integers(0, BIN), st.integers(-BIN, BIN), st.integers(-BIN, BIN)), max_size=30))
def test_never_back(steps: list[tuple[int, int, int]]) -> None:
    """Whatever offsets are told and whatever the wall clock does, no time is before an earlier one."""
    clocks = Clocks()
    time = clocks.make()
    told = []
    for forward, wall, offset in steps:
        clocks.monotonic_ns += forward
        clocks.wall_ns += wall
        time.set_offset(offset)
        time.look()
        told.append(time.now_ns())
    assert told == sorted(told)

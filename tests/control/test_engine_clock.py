"""The clock of rollouts: steady within a boot, like the wall between boots, never back."""

import pytest

from proxy.control import engine_clock
from proxy.control.engine_clock import EngineClock, boot_id, start_clock

SECOND = 1_000_000_000


@pytest.fixture(name="now")
def fixture_now(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """The two clocks and the boot, which the test sets."""
    now = {"wall": 1_000 * SECOND, "monotonic": 50 * SECOND, "boot": 1}
    monkeypatch.setattr(engine_clock, "wall_ns", lambda: now["wall"])
    monkeypatch.setattr(engine_clock, "monotonic_ns", lambda: now["monotonic"])
    monkeypatch.setattr(engine_clock, "boot_id", lambda: str(now["boot"]) if now["boot"] else "")
    return now


def test_the_first_is_the_wall_clock(now: dict[str, int]) -> None:
    """Without an earlier clock the time is the wall's, and goes on like the monotonic clock."""
    clock = start_clock(None, 0)
    assert clock.now_ns() == now["wall"]
    now["monotonic"] += 7 * SECOND
    now["wall"] -= 500 * SECOND
    assert clock.now_ns() == 1_007 * SECOND


def test_within_a_boot_the_wall_clock_does_not_count(now: dict[str, int]) -> None:
    """A program that starts again goes on in the same time, whoever has set the wall clock meanwhile."""
    clock = start_clock(None, 0)
    now["wall"] += 86_400 * SECOND
    now["monotonic"] += 3 * SECOND
    assert start_clock(clock, clock.now_ns()).now_ns() == 1_003 * SECOND


def test_between_boots_it_is_the_wall_clock_again(now: dict[str, int]) -> None:
    """The time that the machine was off has passed."""
    clock = start_clock(None, 0)
    now.update(boot=2, wall=5_000 * SECOND, monotonic=SECOND)
    assert start_clock(clock, 1_000 * SECOND).now_ns() == 5_000 * SECOND


@pytest.mark.parametrize("boot", [2, 0])
def test_it_never_goes_back(now: dict[str, int], boot: int) -> None:
    """A wall clock that is behind what is known to have been is waited for, also where boots have no name."""
    clock = start_clock(None, 0)
    now.update(boot=boot, wall=10 * SECOND, monotonic=SECOND)
    assert start_clock(clock, 1_000 * SECOND).now_ns() == 1_000 * SECOND


def test_without_the_name_of_a_boot_nothing_is_believed(now: dict[str, int]) -> None:
    """Two boots that have no name are not the same one."""
    now["boot"] = 0
    clock = start_clock(None, 0)
    assert clock.boot == ""
    now["wall"] += 100 * SECOND
    assert start_clock(clock, 0).now_ns() == 1_100 * SECOND


def test_the_boot_of_this_machine_stays() -> None:
    """Asked twice it says the same."""
    assert boot_id() == boot_id()


def test_processes_that_know_the_offset_agree(now: dict[str, int]) -> None:
    """The time is the monotonic clock's and an offset, nothing else."""
    assert EngineClock(5).now_ns() == now["monotonic"] + 5

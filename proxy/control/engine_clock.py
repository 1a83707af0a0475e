"""The clock of rollouts: how long a step has lasted must not depend on who set the clock on the wall.

Within one boot of the machine it goes on like the monotonic clock, whatever happens to the wall clock or to the
program. Between two boots it goes on like the wall clock. It never goes back: a wall clock that does is waited for.
"""

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.clock import monotonic_ns, wall_ns

__all__ = ["EngineClock", "boot_id", "start_clock"]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class EngineClock:
    """Shared by all processes of a machine that know the offset."""

    offset_ns: int
    """Added to the monotonic clock."""
    boot: str = ""
    """Which boot the offset is good for; empty: unknown."""

    def now_ns(self) -> int:
        """Return the time; the difference of two is what counts."""
        return monotonic_ns() + self.offset_ns


def boot_id() -> str:
    """Return what names this boot of the machine; empty where nothing does."""
    with suppress(OSError, UnicodeDecodeError):
        return _BOOT_ID.read_text("ascii").strip()
    return ""


def start_clock(earlier: EngineClock | None, latest_ns: int) -> EngineClock:
    """Return the clock, going on from an earlier one.

    Args:
        earlier: as it was written down; None: there was none.
        latest_ns: the latest of its times that is known to have been.
    """
    boot = boot_id()
    if earlier is not None and boot and earlier.boot == boot:
        return earlier
    return EngineClock(max(wall_ns(), latest_ns) - monotonic_ns(), boot)

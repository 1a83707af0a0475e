"""The engine's time in the observer, and whether it can be trusted at the moment.

The supervisor owns the clock (:mod:`proxy.control.engine_clock`) and tells its offset. Here it is kept from going back,
whatever is told, and the wall clock is watched: when it and the monotonic clock part, somebody has set it or the
machine has slept, and nobody knows how long a request of that moment took.
"""

from collections.abc import Callable
from typing import Final

from proxy.clock import monotonic_ns, wall_ns

__all__ = ["JUMP_NS", "EngineTime"]

JUMP_NS: Final = 1_000_000_000
"""So far the two clocks may part between two looks: more than any daemon slews, less than matters."""


class EngineTime:
    """Reads the engine's clock.

    Args:
        monotonic: the monotonic clock. wall: the wall clock; both in nanoseconds.
        bin_ns: a jump spoils the whole bin that it happens in.
    """

    def __init__(
        self,
        bin_ns: int,
        monotonic: Callable[[], int] = monotonic_ns,
        wall: Callable[[], int] = wall_ns,
    ) -> None:
        self.jumps = 0
        """How often the clocks have parted."""
        self._bin_ns = bin_ns
        self._monotonic = monotonic
        self._wall = wall
        self._offset_ns: int | None = None
        self._latest_ns = 0
        self._apart_ns = wall() - monotonic()
        self._jumped_bin = -1

    @property
    def is_known(self) -> bool:
        """Tell whether the supervisor has told the offset."""
        return self._offset_ns is not None

    def set_offset(self, offset_ns: int) -> None:
        """Use the offset that the supervisor tells."""
        self._offset_ns = offset_ns

    def advance(self, latest_ns: int) -> None:
        """Never tell a time before ``latest_ns`` any more: something was written down then."""
        self._latest_ns = max(self._latest_ns, latest_ns)

    def now_ns(self) -> int:
        """Return the time; never less than before."""
        self._latest_ns = max(self._latest_ns, self.told_ns())
        return self._latest_ns

    def told_ns(self) -> int:
        """Return the time as the supervisor has it, with which states are dated.

        It is behind :meth:`now_ns` where the wall clock went back over a reboot and the disk has evidence of later.
        """
        return self._monotonic() + (self._offset_ns or 0)

    def look(self) -> bool:
        """Compare the clocks; tell whether they have parted in the bin that is open."""
        now_ns, apart_ns = self.now_ns(), self._wall() - self._monotonic()
        if abs(apart_ns - self._apart_ns) > JUMP_NS:
            self.jumps += 1
            self._jumped_bin = now_ns // self._bin_ns
        self._apart_ns = apart_ns
        return now_ns // self._bin_ns == self._jumped_bin

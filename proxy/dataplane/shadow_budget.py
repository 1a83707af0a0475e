"""How many copies of a shadow may be under way: a place for each, given back when it ends, or later; and none while it
cannot be reached.

Rationale. *Question:* what becomes of a shadow whose answers are too long to compare? Each costs a connection, for
reading the rest would cost more. *Options:* read to the end; open another for each copy; open no more than a few.
*Choice:* a few. A copy whose connection was thrown away keeps its place until another copy is answered whole, or
:data:`RETURN_S` has passed, one place at a time, each time twice as long while no copy is answered whole. A shadow that
answers 100 MiB to everybody is soon asked once a second, and the other copies are dropped for want of a place; before,
each of 2,000 a second took three times what its client's request took (``benchmarks/NOTES.md``, "A shadow of 100
MiB"). A long answer now and then silences nobody: nearly half of them may be long before copies are dropped. *What
would change our mind:* HTTP/2 to models, where an answer can be given up without its connection.

*Question:* and of a shadow that is not there? *Choice:* the same pauses. When a connection could not be opened and none
is left, copies are dropped for :data:`REST_S`, then one tries again, and each time that it cannot the rest is twice as
long, up to :data:`LONGEST_S`: whoever opens ten connections a second in vain delays some client each time
(``benchmarks/NOTES.md``, "Bad shadows, turn by turn").
"""

import asyncio
from typing import Final

from proxy.clock import monotonic_ns

__all__ = ["LONGEST_S", "REST_S", "RETURN_S", "ShadowBudget"]

RETURN_S: Final = 0.1
"""So long lasts the time from one returned place to the next, at first."""

REST_S: Final = 0.1
"""So long a shadow that cannot be reached is left alone, at first."""

LONGEST_S: Final = 1.0
"""What either of them grows to: so long it takes at most until copies are sent again."""


class ShadowBudget:
    """What the copies of one shadow take of their budget. Unused where a pool serves clients."""

    __slots__ = (
        "_rest_s",
        "_return_s",
        "_returning",
        "held",
        "in_flight",
        "in_flight_bytes",
        "loop",
        "rests_until_ns",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.in_flight = 0
        """Copies that have a place: they are under way, or it is held."""
        self.in_flight_bytes = 0
        """Of the copies under way."""
        self.held = 0
        """Places of copies that have ended."""
        self._returning: asyncio.TimerHandle | None = None
        self._return_s = RETURN_S
        self.rests_until_ns = 0
        """Until when (monotonic) no copy is sent, because nothing could be connected to; 0: it can."""
        self._rest_s = 0.0

    def hold(self) -> None:
        """Take a place for a copy that ends now, and return it by and by."""
        self.in_flight += 1
        self.held += 1
        if self._returning is None:
            self._returning = self.loop.call_later(self._return_s, self._return_one)

    def give_back(self) -> None:
        """Return a place that is held: a copy was answered whole."""
        self._return_s = RETURN_S
        self._return()

    def _return(self) -> None:
        self.in_flight -= 1
        self.held -= 1

    def _return_one(self) -> None:
        self._returning = None
        if self.held:
            self._return()
            self._return_s = min(2 * self._return_s, LONGEST_S)
        if self.held:
            self._returning = self.loop.call_later(self._return_s, self._return_one)
        else:
            self._return_s = RETURN_S

    def rest(self) -> None:
        """Send no copies for a while: a connection could not be opened, and there is no other."""
        now_ns = monotonic_ns()
        if now_ns >= self.rests_until_ns:
            # Of copies that wait for connections at the same time only the first one to fail makes the rest longer.
            self._rest_s = min(2 * self._rest_s or REST_S, LONGEST_S)
            self.rests_until_ns = now_ns + int(self._rest_s * 1e9)

    def end_rest(self) -> None:
        """A connection was opened."""
        self.rests_until_ns = 0
        self._rest_s = 0.0

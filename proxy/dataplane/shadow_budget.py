"""How many copies of a shadow may be under way: a place for each, given back when it ends, or later.

Rationale. *Question:* what becomes of a shadow whose answers are too long to compare? Each costs a connection, for
reading the rest would cost more. *Options:* read to the end; open another for each copy; open no more than a few.
*Choice:* a few. A copy whose connection was thrown away keeps its place until another copy is answered whole, or
:data:`RETURN_S` has passed, one place at a time. A shadow that answers 100 MiB to everybody is then asked ten times a
second, and the other copies are dropped for want of a place; before, each of 2,000 a second took three times what its
client's request took (``benchmarks/NOTES.md``, "A shadow of 100 MiB"). A long answer now and then silences nobody:
nearly half of them may be long before copies are dropped. *What would change our mind:* HTTP/2 to models, where an
answer can be given up without its connection.
"""

import asyncio
from typing import Final

__all__ = ["RETURN_S", "ShadowBudget"]

RETURN_S: Final = 0.1
"""So long lasts the time from one returned place to the next."""


class ShadowBudget:
    """What the copies of one shadow take of their budget. Unused where a pool serves clients."""

    __slots__ = ("_returning", "held", "in_flight", "in_flight_bytes", "loop")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.in_flight = 0
        """Copies that have a place: they are under way, or it is held."""
        self.in_flight_bytes = 0
        """Of the copies under way."""
        self.held = 0
        """Places of copies that have ended."""
        self._returning: asyncio.TimerHandle | None = None

    def hold(self) -> None:
        """Take a place for a copy that ends now, and return it by and by."""
        self.in_flight += 1
        self.held += 1
        if self._returning is None:
            self._returning = self.loop.call_later(RETURN_S, self._return_one)

    def give_back(self) -> None:
        """Return a place that is held."""
        self.in_flight -= 1
        self.held -= 1

    def _return_one(self) -> None:
        self._returning = None
        if self.held:
            self.give_back()
        if self.held:
            self._returning = self.loop.call_later(RETURN_S, self._return_one)

"""Asks for the meaning of texts that were compared, beside everything else: nothing waits for it.

What waits is bounded in bytes and what has no place is dropped; each is counted: asked = answered + failed + what is
under way.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

from proxy.compare.meaning import Pair
from proxy.embedder import Embedder
from proxy.tasks import spawn

if TYPE_CHECKING:
    from proxy.settings.embedding import Embedder as Section

__all__ = ["NO_MEANINGS", "Meanings", "make_meanings"]

_TASK_BYTES: Final = 4096
"""What one that waits takes beside its texts."""


class Asked(Protocol):
    """Who is asked; see :class:`proxy.embedder.Embedder`."""

    async def distance(self, pairs: Sequence[Pair]) -> float | None:
        """Return how far ``pairs`` are apart; None where that cannot be told."""

    async def close(self) -> None:
        """Close the connections."""


class NullMeanings:
    """Nobody is asked."""

    asked = answered = failed = dropped = withheld = 0


NO_MEANINGS: Final = NullMeanings()


class Meanings:
    """The questions under way.

    Args:
        embedder: is asked.
        queue_bytes: most that waits, or is under way.
    """

    def __init__(self, embedder: Asked, queue_bytes: int) -> None:
        self.asked = self.answered = self.failed = self.dropped = 0
        """Pairs of answers."""
        self.withheld = 0
        """Pairs of answers that may not be sent as a whole: what is redacted could not be told from the rest."""
        self.queued_bytes = 0
        """Bytes that wait, or are under way."""
        self._embedder = embedder
        self._queue_bytes = queue_bytes
        self._tasks: set[asyncio.Task[None]] = set()

    def ask(self, pairs: Sequence[Pair], tell: Callable[[float], None]) -> None:
        """Ask for the distance of ``pairs``, and ``tell`` it when it is known. Never waits."""
        # A character takes four bytes at most, and is kept as text and as bytes.
        weight = _TASK_BYTES + sum(8 * (len(text) + len(other)) for text, other in pairs)
        if self.queued_bytes + weight > self._queue_bytes:
            self.dropped += 1
            return
        self.asked += 1
        self.queued_bytes += weight
        task = spawn(self._one(pairs, tell, weight), name="meaning of texts")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _one(self, pairs: Sequence[Pair], tell: Callable[[float], None], weight: int) -> None:
        try:
            distance = await self._embedder.distance(pairs)
        except asyncio.CancelledError:
            self.failed += 1
            raise
        finally:
            self.queued_bytes -= weight
        if distance is None:
            self.failed += 1
            return
        self.answered += 1
        tell(distance)

    async def close(self, timeout_s: float) -> None:
        """Wait for what is under way, at most ``timeout_s``, and give up the rest."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=timeout_s)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._embedder.close()


def make_meanings(section: "Section | None") -> Meanings | None:
    """Return who asks the server that the section ``embedder`` names; None where there is none."""
    return None if section is None else Meanings(Embedder.of(section), section.queue)

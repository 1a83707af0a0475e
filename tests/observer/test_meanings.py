"""Questions about the meaning of texts are bounded, counted, and cost nobody anything when they fail."""

import asyncio
from collections.abc import Sequence

from proxy.compare.meaning import Pair
from proxy.observer.meanings import Meanings


class Slow:
    """Answers when it is told to."""

    def __init__(self, distance: float | None = 0.25) -> None:
        self.go = asyncio.Event()
        self.distance_said = distance
        self.is_closed = False

    async def distance(self, _pairs: Sequence[Pair]) -> float | None:
        await self.go.wait()
        return self.distance_said

    async def close(self) -> None:
        self.is_closed = True


async def test_answers_are_told() -> None:
    """Each when it comes, and what waited is free again."""
    slow, told = Slow(), list[float]()
    meanings = Meanings(slow, 1 << 20)
    meanings.ask([("a", "b")], told.append)
    meanings.ask([("a", "c")], told.append)
    assert (meanings.asked, meanings.answered, told) == (2, 0, [])
    assert meanings.queued_bytes > 0
    slow.go.set()
    await meanings.close(5.0)
    assert (meanings.asked, meanings.answered, meanings.failed, told) == (2, 2, 0, [0.25, 0.25])
    assert (meanings.queued_bytes, slow.is_closed) == (0, True)


async def test_what_has_no_place_is_dropped() -> None:
    """The bound is one of bytes, and holds for a single pair too."""
    slow = Slow()
    meanings = Meanings(slow, 20_000)
    for _ in range(10):
        meanings.ask([("a" * 100, "b" * 100)], lambda _: None)
    meanings.ask([("a" * 5000, "b")], lambda _: None)
    assert (meanings.asked, meanings.dropped) == (3, 8)
    assert meanings.queued_bytes <= 20_000
    slow.go.set()
    await meanings.close(5.0)


async def test_failures_are_counted() -> None:
    """No answer is no figure; at the end what is under way is given up, and has failed."""
    told = list[float]()
    failing = Slow(None)
    failing.go.set()
    meanings = Meanings(failing, 1 << 20)
    meanings.ask([("a", "b")], told.append)
    await meanings.close(5.0)
    assert (meanings.failed, told) == (1, [])
    never = Meanings(Slow(), 1 << 20)
    never.ask([("a", "b")], told.append)
    await never.close(0.01)
    assert (never.asked, never.failed, told) == (1, 1, [])

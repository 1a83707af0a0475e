"""The examples that are kept of one shadow's disagreements: the newest, and of each reason the most extreme.

Pure. Rules
    * Bounded in number and in bytes, whatever sizes come: the newest have one half of the bytes, the most extreme the
      other. Which ones are kept is a function of what came, in its order.
    * By reason, so that a thousand mistaken labels do not crowd out the one answer of another shape. Of two that are as
      extreme the newer one is kept.
    * One that alone would take more than an eighth of a half is kept without its bodies.
"""

from bisect import insort
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final, Generic, TypeVar

__all__ = ["EXTREME", "NEWEST", "Example", "Examples"]

NEWEST: Final = 20
"""Newest ones that are kept of one shadow."""

EXTREME: Final = 5
"""Most extreme ones that are kept of each reason."""

MAX_REASONS: Final = 32
"""Reasons with extreme ones of their own. There are fewer; this is the bound if ever there were not."""

_LARGEST: Final = 8
"""An example may take this part of the bytes of its half."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Example(Generic[T]):
    """One disagreement."""

    reason: str
    distance: float
    """In [0, 1]."""
    weight: int
    """Bytes that it is taken to occupy in memory."""
    what: T


class Examples(Generic[T]):
    """The examples of one shadow.

    Args:
        budget_bytes: most that they may weigh together.
        strip: returns an example that is too heavy without what makes it so.
    """

    def __init__(self, budget_bytes: int, strip: Callable[[Example[T]], Example[T]]) -> None:
        self.budget_bytes = budget_bytes
        self._strip = strip
        self._newest: deque[Example[T]] = deque()
        self._newest_weight = 0
        self._extreme: dict[str, list[Example[T]]] = {}
        """By reason, the most extreme last, of equals the newest last."""
        self._extreme_weight = 0

    @property
    def weight(self) -> int:
        """Bytes of what is kept; what is kept as newest and as extreme counts twice."""
        return self._newest_weight + self._extreme_weight

    def add(self, example: Example[T]) -> None:
        """Take in one more; what it displaces is gone."""
        half = self.budget_bytes // 2
        if example.weight * _LARGEST > half:
            example = self._strip(example)
            if example.weight > half:
                return
        self._add_newest(example, half)
        self._add_extreme(example, half)

    def newest(self) -> Iterator[Example[T]]:
        """Yield everything that is kept, the newest first; an extreme one that is not among these comes after them."""
        seen = set(map(id, self._newest))
        older = [each for each in chain(*self._extreme.values()) if id(each) not in seen]
        yield from reversed(self._newest)
        yield from reversed(older)

    def extreme(self) -> Iterator[Example[T]]:
        """Yield everything that is kept of any reason as extreme, the most extreme first."""
        every = [each for kept in self._extreme.values() for each in reversed(kept)]
        yield from sorted(every, key=lambda each: -each.distance)

    def _add_newest(self, example: Example[T], half: int) -> None:
        self._newest.append(example)
        self._newest_weight += example.weight
        while len(self._newest) > NEWEST or self._newest_weight > half:
            self._newest_weight -= self._newest.popleft().weight

    def _add_extreme(self, example: Example[T], half: int) -> None:
        kept = self._extreme.get(example.reason)
        if kept is None:
            if len(self._extreme) == MAX_REASONS:
                return
            kept = self._extreme[example.reason] = []
        if len(kept) == EXTREME and example.distance < kept[0].distance:
            return
        insort(kept, example, key=_distance)
        self._extreme_weight += example.weight
        if len(kept) > EXTREME:
            self._drop_least(example.reason)
        while self._extreme_weight > half:
            # The reason that takes most gives, so that each keeps its most extreme one as long as that is possible.
            self._drop_least(max(self._extreme, key=self._weight_of))

    def _weight_of(self, reason: str) -> tuple[int, int]:
        kept = self._extreme[reason]
        return len(kept), sum(each.weight for each in kept)

    def _drop_least(self, reason: str) -> None:
        kept = self._extreme[reason]
        self._extreme_weight -= kept.pop(0).weight
        if not kept:
            del self._extreme[reason]


def _distance(example: Example[T]) -> float:
    return example.distance

"""The order in which copies are sent where the champion is asked once more: drawn for each request.

Why: who is asked second may find a machine that is busier, or warmer, because of the first. With a drawn order that
befalls both alike.

Theory of operation
    The places are put on a circle, and one of its 2n symmetries, n turns and as many reflections, is drawn, each with
    the same chance. For any two places i and j the reflection ``x → i + j - x`` exchanges them; a group's element that
    is drawn evenly is still drawn evenly after it. So the two copies of *any* pair have exchanged places exactly as
    often: the joint law of their places is symmetric, which is more than that each is first in half of the cases.

    Bytes of the system's randomness are drawn; a byte that would make a turn likelier than another is drawn again. So
    the chances are equal exactly, not nearly: tests/dataplane/test_order.py counts every byte.
"""

from collections.abc import Callable, Iterator, Sequence
from os import urandom

from proxy.routing.table import Shadow

__all__ = ["Drawn", "drawn_order"]


class Drawn(tuple[Shadow, ...]):
    """Shadows whose order is drawn anew by each iteration; as a sequence they have the order of the table.

    HOT: what has no such copy is a plain sequence, and its iteration costs what it always did.
    """

    __slots__ = ()

    def __iter__(self) -> Iterator[Shadow]:
        """Yield each shadow once, in an order that is drawn now."""
        return map(self.__getitem__, drawn_order(len(self), _draw))


def drawn_order(size: int, draw: Callable[[], int]) -> Sequence[int]:
    """Return the indexes ``0..size-1`` in one of the orders that a circle of them has.

    Args:
        size: 1 to 256.
        draw: gives a byte, 0 to 255, each as likely as the others and independent of those before.
    """
    even = 256 - 256 % size
    while (turn := draw()) >= even:
        pass
    if draw() & 1:
        return [(turn - i) % size for i in range(size)]
    return [(turn + i) % size for i in range(size)]


def _draw() -> int:
    return urandom(1)[0]

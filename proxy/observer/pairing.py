"""Which parts belong together: a primary and the shadow parts it announced.

Pure: time is an argument. Parts come in any order and some never come (a worker died, its pipe was full). A
pair is *complete* when the primary and every shadow part it announced are there; otherwise it leaves by age
(``pop_expired``), by pressure (``pop_overflow``: the oldest first, it has the least to wait for), or
because its worker is gone (``take_worker``). What leaves is the caller's to account for; the book forgets
it.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from proxy.exchange import Primary, ShadowPart

__all__ = ["FRAME_OVERHEAD_BYTES", "Pair", "PairBook", "frame_weight"]

FRAME_OVERHEAD_BYTES = 1024
"""What a parsed frame takes in memory beside its bytes: objects, integers, the dictionary entry (measured:
0.9 KiB)."""

Key = tuple[int, int, int]
"""Worker, boot of its connection, exchange number."""


def frame_weight(frame: Primary | ShadowPart) -> int:
    """Return the bytes ``frame`` is taken to occupy in memory."""
    size = FRAME_OVERHEAD_BYTES + len(frame.response_lines) + len(frame.response_body) + len(frame.arrivals)
    if isinstance(frame, Primary) and (details := frame.details) is not None:
        size += len(details.request_head) + len(details.request_body) + len(details.target)
        size += len(details.response_head)
    return size


@dataclass(slots=True)
class Pair:
    """The parts of one exchange that have come."""

    arrived_ns: int
    """Monotonic time of the first part."""
    primary: Primary | None = None
    shadows: dict[int, ShadowPart] = field(default_factory=dict)
    """By index of the shadow in the route."""
    weight: int = 0
    """Bytes; 0 until it waits in the book."""

    def has(self, part: Primary | ShadowPart) -> bool:
        """Whether this part is there already."""
        return self.primary is not None if isinstance(part, Primary) else part.shadow in self.shadows

    @property
    def is_complete(self) -> bool:
        """Whether the primary and every shadow part it announced are there."""
        if self.primary is None:
            return False
        missing = self.primary.shadows_sent
        for shadow in self.shadows:
            missing &= ~(1 << shadow)
        return not missing


class PairBook:
    """Pairs that wait for a part. Bounded: after each ``add`` the caller empties ``pop_overflow``."""

    def __init__(self, *, max_items: int, max_bytes: int, timeout_ns: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.timeout_ns = timeout_ns
        """How long a pair waits from its first part on. May change at any time."""
        self.weight = 0
        """Bytes of all pairs in the book."""
        # In the order of their first parts. A plain dict keeps it too, but finds its first entry only behind the
        # places of all that have left from there: to evict 10,000 would take 50 million looks.
        self._pairs: OrderedDict[Key, Pair] = OrderedDict()

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def pairs(self) -> Iterable[Pair]:
        """Those in the book, oldest first."""
        return self._pairs.values()

    def add(self, boot: int, part: Primary | ShadowPart, now_ns: int) -> Sequence[Pair]:
        """Take in ``part``; return what it completes: nothing, or one pair, or two after a repeated part.

        A part that is there already cannot come from a sound worker. The older exchange is given back as it
        is, so that each part leaves the book exactly once whatever comes.
        """
        key = part.worker, boot, part.number
        pair = self._pairs.get(key)
        if pair is None:
            pair = Pair(now_ns)
        elif pair.has(part):
            return self._remove(key), *self.add(boot, part, now_ns)
        if isinstance(part, Primary):
            pair.primary = part
        else:
            pair.shadows[part.shadow] = part
        if pair.is_complete:
            if pair.weight:
                self._remove(key)
            return (pair,)
        if not pair.weight:
            self._pairs[key] = pair
        weight = frame_weight(part)
        pair.weight += weight
        self.weight += weight
        return ()

    def pop_expired(self, now_ns: int) -> Pair | None:
        """Return the oldest pair if its time is over."""
        key, pair = next(iter(self._pairs.items()), (None, None))
        if key is None or pair is None or now_ns - pair.arrived_ns < self.timeout_ns:
            return None
        return self._remove(key)

    def pop_overflow(self) -> Pair | None:
        """Return the oldest pair if the book is over one of its bounds."""
        if len(self._pairs) <= self.max_items and self.weight <= self.max_bytes:
            return None
        return self._remove(next(iter(self._pairs)))

    def take_worker(self, worker: int) -> list[Pair]:
        """Return every pair of ``worker``, oldest first."""
        return [self._remove(key) for key in [key for key in self._pairs if key[0] == worker]]

    def _remove(self, key: Key) -> Pair:
        pair = self._pairs.pop(key)
        self.weight -= pair.weight
        return pair

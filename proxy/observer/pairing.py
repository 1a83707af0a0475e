"""Which parts belong together: a primary and the shadow parts it announced.

Pure: time is an argument. Parts come in any order and some never come (a worker died, its pipe was full). A
pair is *complete* when the primary and every shadow part it announced are there; otherwise it leaves by age
(``pop_expired``), by pressure (``pop_overflow``: the oldest first, it has the least to wait for), or
because its worker is gone (``take_worker``). What leaves is the caller's to account for; the book forgets
it.
"""

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
    size = FRAME_OVERHEAD_BYTES + len(frame.response_head) + len(frame.response_body)
    if isinstance(frame, Primary):
        size += len(frame.request_head) + len(frame.request_body) + len(frame.target)
    return size


@dataclass(slots=True)
class Pair:
    """The parts of one exchange that have come."""

    worker: int
    boot: int
    number: int
    arrived_ns: int
    """Monotonic time of the first part."""
    primary: Primary | None = None
    shadows: dict[int, ShadowPart] = field(default_factory=dict)
    """By index of the shadow in the route."""
    weight: int = 0
    """Bytes."""

    @property
    def is_complete(self) -> bool:
        """Whether the primary and every shadow part it announced are there."""
        if self.primary is None:
            return False
        sent = self.primary.shadows_sent
        return not sent or all(not sent >> i & 1 or i in self.shadows for i in range(sent.bit_length()))


class PairBook:
    """Pairs that wait for a part. Bounded: after each ``add`` the caller empties ``pop_overflow``."""

    def __init__(self, *, max_items: int, max_bytes: int, timeout_ns: int) -> None:
        self.max_items = max_items
        self.max_bytes = max_bytes
        self.timeout_ns = timeout_ns
        """How long a pair waits from its first part on. May change at any time."""
        self.weight = 0
        """Bytes of all pairs in the book."""
        self._pairs: dict[Key, Pair] = {}

    def __len__(self) -> int:
        return len(self._pairs)

    def add(self, boot: int, part: Primary | ShadowPart, now_ns: int) -> list[Pair]:
        """Take in ``part``; return what it completes: nothing, or one pair, or two after a repeated part.

        A part that is there already cannot come from a sound worker. The older exchange is given back as it
        is, so that each part leaves the book exactly once whatever comes.
        """
        key = (part.worker, boot, part.number)
        pair = self._pairs.get(key)
        left: list[Pair] = []
        if pair is not None and self._has(pair, part):
            left.append(self._remove(key))
            pair = None
        if pair is None:
            pair = Pair(part.worker, boot, part.number, now_ns)
            if isinstance(part, Primary) and not part.shadows_sent:
                pair.primary = part
                left.append(pair)
                return left
            self._pairs[key] = pair
        if isinstance(part, Primary):
            pair.primary = part
        else:
            pair.shadows[part.shadow] = part
        weight = frame_weight(part)
        pair.weight += weight
        self.weight += weight
        if pair.is_complete:
            left.append(self._remove(key))
        return left

    def pop_expired(self, now_ns: int) -> Pair | None:
        """Return the oldest pair if its time is over."""
        # Pairs are kept in the order of their first part, so the first one is the oldest.
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

    def _has(self, pair: Pair, part: Primary | ShadowPart) -> bool:
        return pair.primary is not None if isinstance(part, Primary) else part.shadow in pair.shadows

    def _remove(self, key: Key) -> Pair:
        pair = self._pairs.pop(key)
        self.weight -= pair.weight
        return pair

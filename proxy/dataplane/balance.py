"""Which of several servers? Pure: loads or a bucket in, a place in the list out.

Least loaded
    Few servers are looked at all, from a place that moves on, so that ties go round. Of many, two are drawn and the
    better one is taken: nearly as even, at a cost that does not grow (M. Mitzenmacher, "The Power of Two Choices in
    Randomized Load Balancing", 2001).

Hash
    Highest random weight (D. Thaler, C. Ravishankar, 1998): each server draws a number for the unit, the highest wins.
    Without one server only its units move, and they spread over all others. Units share one of ``SLOTS`` slots, so
    that a winner can be remembered.
"""

from collections.abc import Sequence

from proxy.routing.hashing import SPACE, bucket

__all__ = ["FEW", "SLOTS", "least_loaded", "next_draw", "server_salt", "slot_of", "two_places", "winner"]

FEW = 4
"""Up to so many servers are all looked at."""

SLOTS = 1 << 14
_SLOT_SHIFT = 64 - 14
_GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio, odd (Knuth, TAOCP 3, §6.4). The units of a small canary all have small buckets;
multiplied by this they lie all over the space."""
_LCG_FACTOR, _LCG_STEP = 6364136223846793005, 1442695040888963407
"""Knuth's MMIX: the quality that drawing two servers needs, and no more."""
_MASK = SPACE - 1


def least_loaded(loads: Sequence[int], start: int) -> int:
    """Return the place of the smallest load; of equal ones the first from ``start`` on, going round."""
    count = len(loads)
    best = start % count
    for place in range(start + 1, start + count):
        if loads[place % count] < loads[best]:
            best = place % count
    return best


def next_draw(state: int) -> int:
    """Return the next of a sequence of numbers below 2^64, of which the high bits look random."""
    return (state * _LCG_FACTOR + _LCG_STEP) & _MASK


def two_places(draw: int, count: int) -> tuple[int, int]:
    """Return two different places below ``count`` (at least 2) for a number below 2^64."""
    first = (draw >> 32) * count >> 32
    second = (draw >> 8 & 0xFFFFFF) * (count - 1) >> 24
    return first, second + (second >= first)


def slot_of(bucket: int) -> int:
    """Return the slot of a unit's bucket."""
    return (bucket * _GOLDEN & _MASK) >> _SLOT_SHIFT


def server_salt(url: str) -> bytes:
    """Return what is hashed with a slot for the server at ``url``: its place in the list does not matter."""
    return url.encode() + b":"


def winner(slot: int, salts: Sequence[bytes]) -> int:
    """Return the place of the server that gets the units of ``slot``."""
    unit = slot.to_bytes(8, "little")
    return max(range(len(salts)), key=lambda place: bucket(salts[place], unit))

"""Where a unit falls: one hash, one integer space, no floating point.

Rationale. *Question:* which hash decides? *Options:* CRC (biased for similar keys), SHA-256 (five times the
cost), MurmurHash3 x64 128. *Choice:* MurmurHash3: 43 ns, the same on every CPU, well distributed for
short similar keys; it is no secret and need not be one. *What would change our mind:* units chosen by
an adversary who gains from a variant; then a keyed hash.
"""

from decimal import Decimal
from fractions import Fraction

from mmh3 import mmh3_x64_128_uintdigest

__all__ = ["SPACE", "bucket", "salt_prefix", "share"]

SPACE = 1 << 64
"""Number of buckets. A bucket is an integer in ``[0, SPACE)``."""


def salt_prefix(salt: str) -> bytes:
    """Return the bytes that are hashed before the unit: ``salt + ":"``."""
    return salt.encode() + b":"


def bucket(prefix: bytes, unit: bytes) -> int:
    """Return the bucket of ``unit``: the high 64 bits of MurmurHash3 x64 128 (seed 0) of ``prefix + unit``.

    The 128-bit digest is read as a little-endian integer, so its high half is the second word, *h2*, of
    Appleby's ``MurmurHash3_x64_128``. Golden vectors in ``tests/routing/test_hashing.py`` pin it.
    """
    return mmh3_x64_128_uintdigest(prefix + unit) >> 64


def share(percent: Decimal) -> int:
    """Return how many buckets ``percent`` (0 to 100, exact) is: ``floor(percent / 100 * SPACE)``."""
    return int(Fraction(percent) * SPACE / 100)

"""Vectors of texts that were asked for lately: equal texts are asked for once. Bounded in bytes. Pure."""

from collections import OrderedDict
from hashlib import blake2b
from typing import Final

from proxy.embedder.dialect import Vector

__all__ = ["VectorCache"]

_ENTRY_BYTES: Final = 256
"""What an entry takes beside its numbers: key, array, place."""


class VectorCache:
    """The vectors that were used last, by a hash of their text: no text is kept.

    Args:
        max_bytes: most that they weigh together; 0: none is kept.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.weight = 0
        """Bytes of all that is kept."""
        self._vectors: OrderedDict[bytes, Vector] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, text: str) -> Vector | None:
        """Return the vector of ``text`` if it is kept."""
        key = _key(text)
        if (vector := self._vectors.get(key)) is not None:
            self._vectors.move_to_end(key)
        return vector

    def put(self, text: str, vector: Vector) -> None:
        """Keep the vector of ``text``, and let go of those that were not used for longest."""
        key = _key(text)
        if (before := self._vectors.pop(key, None)) is not None:
            self.weight -= before.nbytes + _ENTRY_BYTES
        self._vectors[key] = vector
        self.weight += vector.nbytes + _ENTRY_BYTES
        while self.weight > self.max_bytes:
            _, gone = self._vectors.popitem(last=False)
            self.weight -= gone.nbytes + _ENTRY_BYTES


def _key(text: str) -> bytes:
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()

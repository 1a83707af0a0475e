"""What a ring says: the entries since the last look (:mod:`proxy.evidence.ring` is the writer's side).

Apart from it because of numpy, which a worker does not need.
"""

import sys
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from proxy.evidence.ring import (
    ENTRIES,
    HEADER,
    MASK,
    NUMBER_MASK,
    NUMBER_SHIFT,
    OWN_BIT,
    PLACE_MASK,
    SIZE,
    WORDS,
)

__all__ = ["Entries", "Stretch", "read_ring"]

Entries: TypeAlias = NDArray[np.uint64]


class Stretch(NamedTuple):
    """What was read of one ring: column by column, oldest first."""

    ids: Entries
    """Hashes of request ids."""
    epochs: Entries
    buckets: Entries
    places: Entries
    own_coins: NDArray[np.bool_]
    position: int
    """Where to read on."""
    missed: int
    """Entries that were written over before anybody read them."""


def read_ring(path: Path, position: int) -> Stretch:
    """Return what was written since ``position``; nothing where the file is gone or still growing.

    Args:
        path: the ring.
        position: how many entries were read before.
    """
    try:
        with path.open("rb", buffering=0) as file:
            end = _count(file.read(8))
            if end == position:
                return _nothing(position)
            file.seek(0)
            data = file.read(SIZE * 8)
            file.seek(0)
            # The writer may be at work on the entry after the last, which has the place of the one ENTRIES before it.
            sound = _count(file.read(8)) - ENTRIES + 1
    except FileNotFoundError:
        return _nothing(position)
    if len(data) < SIZE * 8:
        return _nothing(position)
    if end < position:  # another file than the one that was read before
        position = 0
    first = min(max(position, sound, 0), end)
    numbers = np.arange(first, end, dtype=np.uint64)
    words = np.frombuffer(data, np.uint64)[HEADER:].reshape(ENTRIES, WORDS)
    rows = words[numbers & np.uint64(MASK)]
    last = rows[:, 3]
    is_whole = last >> np.uint64(NUMBER_SHIFT) == numbers & np.uint64(NUMBER_MASK)
    rows, last = rows[is_whole], last[is_whole]
    return Stretch(
        rows[:, 0],
        rows[:, 1],
        rows[:, 2],
        last & np.uint64(PLACE_MASK),
        last & np.uint64(OWN_BIT) != 0,
        end,
        end - position - len(rows),
    )


def _count(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder) if len(data) == 8 else 0


def _nothing(position: int) -> Stretch:
    none = np.zeros(0, np.uint64)
    return Stretch(none, none, none, none, np.zeros(0, bool), position, 0)

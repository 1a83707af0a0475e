"""Which request was judged as what: a ring in the run directory, from which the observer learns it.

Feedback names a request by its id, hours later. So where a route's rollout has a guardrail on feedback, a worker notes
of each request that is evidence the id's hash, the epoch, the variant and the unit's bucket. One ring for each worker,
whatever the number of routes, made when the first such route comes.

A ring is a file of unsigned 64-bit integers: a header, whose first word says how many entries were ever written, then
``ENTRIES`` entries of four words::

    hash of the id | epoch | bucket of the unit | number << 24 | own coin << 23 | place in the block of evidence

Rules
    * One writer, which never waits: what nobody has read in time is written over. The reader sees how many those were.
    * An entry is written before the count says that it is there, and says its own number: what was written over while
      it was read is known for it.
    * The file survives its writer; the successor goes on after the last whole entry.
"""

import re
import sys
from pathlib import Path
from struct import Struct
from typing import Final, NamedTuple, TypeAlias

import numpy as np
from mmh3 import mmh3_x64_128_uintdigest
from numpy.typing import NDArray

from proxy.tally import Block, open_block

__all__ = ["ENTRIES", "Entries", "Ring", "Stretch", "id_hash", "open_ring", "read_ring", "ring_path", "rings"]

Entries: TypeAlias = NDArray[np.uint64]

ENTRIES: Final = 1 << 16
"""Requests between two looks of the observer, twice a second, that are all remembered; 2 MiB for each worker."""

_HEADER: Final = 8
_WORDS: Final = 4
_MASK: Final = ENTRIES - 1
_SIZE: Final = _HEADER + ENTRIES * _WORDS
_NUMBER_SHIFT: Final = 24
_OWN_BIT: Final = 1 << 23
_PLACE_MASK: Final = _OWN_BIT - 1
_NUMBER_MASK: Final = (1 << 40) - 1

_write = Struct("=4Q").pack_into
_NAME = re.compile(r"feedback-w([0-9]+)\.ring")


def id_hash(request_id: bytes) -> int:
    """Return 64 bits that name a request id: the high ones of MurmurHash3 x64 128, seed 0."""
    return mmh3_x64_128_uintdigest(request_id) >> 64


def ring_path(run_dir: Path, worker: int) -> Path:
    """Return the file in which ``worker`` notes its requests."""
    return run_dir / f"feedback-w{worker}.ring"


class Ring:
    """The writer's side. Belongs to one worker.

    Args:
        block: what :func:`~proxy.tally.open_block` returned for the file.
    """

    __slots__ = ("_block", "_count", "_slots")

    def __init__(self, block: Block) -> None:
        self._block = block
        self._slots = block.slots
        self._count = self._slots[0]

    def put(self, request_id: bytes, epoch: int, place: int, bucket: int, is_own_coin: int) -> None:
        """Note a request.

        Args:
            request_id: as the client sees it.
            epoch: the epoch's id as a number.
            place: where the variant's counts begin in a block of evidence.
            bucket: of the unit.
            is_own_coin: 1 when no other request can have the same unit, else 0.
        """
        # HOT: half a microsecond, of which the hash takes a fifth (benchmarks/evidence.py).
        count, slots = self._count, self._slots
        _write(
            slots,
            _HEADER * 8 + (count & _MASK) * 32,
            mmh3_x64_128_uintdigest(request_id) >> 64,
            epoch,
            bucket,
            (count & _NUMBER_MASK) << 24 | is_own_coin << 23 | place,
        )
        slots[0] = self._count = count + 1

    def close(self) -> None:
        """Unmap. The file stays."""
        self._block.close()


def open_ring(run_dir: Path, worker: int) -> Ring:
    """Map the ring of ``worker``, empty (mode 0600) where it is new.

    Raises:
        OSError: no space, no permission.
    """
    return Ring(open_block(ring_path(run_dir, worker), _SIZE))


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


def rings(source: Path) -> dict[int, Path]:
    """Return the rings in one run directory, by worker."""
    found = {}
    for path in source.glob("feedback-w*.ring"):
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = path
    return found


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
            data = file.read(_SIZE * 8)
            file.seek(0)
            # The writer may be at work on the entry after the last, which has the place of the one ENTRIES before it.
            sound = _count(file.read(8)) - ENTRIES + 1
    except FileNotFoundError:
        return _nothing(position)
    if len(data) < _SIZE * 8:
        return _nothing(position)
    if end < position:  # another file than the one that was read before
        position = 0
    first = min(max(position, sound, 0), end)
    numbers = np.arange(first, end, dtype=np.uint64)
    words = np.frombuffer(data, np.uint64)[_HEADER:].reshape(ENTRIES, _WORDS)
    rows = words[numbers & np.uint64(_MASK)]
    last = rows[:, 3]
    is_whole = last >> np.uint64(_NUMBER_SHIFT) == numbers & np.uint64(_NUMBER_MASK)
    rows, last = rows[is_whole], last[is_whole]
    return Stretch(
        rows[:, 0],
        rows[:, 1],
        rows[:, 2],
        last & np.uint64(_PLACE_MASK),
        last & np.uint64(_OWN_BIT) != 0,
        end,
        end - position - len(rows),
    )


def _count(data: bytes) -> int:
    return int.from_bytes(data, sys.byteorder) if len(data) == 8 else 0


def _nothing(position: int) -> Stretch:
    none = np.zeros(0, np.uint64)
    return Stretch(none, none, none, none, np.zeros(0, bool), position, 0)

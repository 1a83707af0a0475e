"""Which request was judged as what: a ring in the run directory, from which the observer learns it.

Feedback names a request by its id, hours later. So where a route's rollout has a guardrail on feedback, a worker notes
of each request that is evidence the id's hash, the epoch, the variant and the unit's bucket. One ring for each worker,
whatever the number of routes, made when the first such route comes.

A ring is a file of unsigned 64-bit integers: a header, whose first word says how many entries were ever written, then
``ENTRIES`` entries of four words::

    hash of the id | epoch | bucket of the unit | number << 24 | own coin << 23 | place in the block of evidence

Here is the writer's side; :mod:`proxy.evidence.stretch` is the reader's.

Rules
    * One writer, which never waits: what nobody has read in time is written over. The reader sees how many those were.
    * An entry is written before the count says that it is there, and says its own number: what was written over while
      it was read is known for it.
    * The file survives its writer; the successor goes on after the last whole entry.
"""

import re
from pathlib import Path
from struct import Struct
from typing import Final

from mmh3 import mmh3_x64_128_uintdigest

from proxy.tally import Block, open_block

__all__ = [
    "ENTRIES",
    "HEADER",
    "MASK",
    "NUMBER_MASK",
    "NUMBER_SHIFT",
    "OWN_BIT",
    "PLACE_MASK",
    "SIZE",
    "WORDS",
    "Ring",
    "id_hash",
    "open_ring",
    "ring_path",
    "rings",
]

ENTRIES: Final = 1 << 16
"""Requests between two looks of the observer, twice a second, that are all remembered; 2 MiB for each worker."""

HEADER: Final = 8
WORDS: Final = 4
SIZE: Final = HEADER + ENTRIES * WORDS
"""Words of the header, of an entry, and of the file."""

MASK: Final = ENTRIES - 1
"""An entry's number under it is its place in the ring."""

NUMBER_SHIFT: Final = 24
NUMBER_MASK: Final = (1 << 40) - 1
OWN_BIT: Final = 1 << 23
PLACE_MASK: Final = OWN_BIT - 1
"""Of an entry's last word: where its own number begins and what of it there is room for; the own coin; the place."""

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
            HEADER * 8 + (count & MASK) * 32,
            mmh3_x64_128_uintdigest(request_id) >> 64,
            epoch,
            bucket,
            (count & NUMBER_MASK) << 24 | is_own_coin << 23 | place,
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
    return Ring(open_block(ring_path(run_dir, worker), SIZE))


def rings(source: Path) -> dict[int, Path]:
    """Return the rings in one run directory, by worker."""
    found = {}
    for path in source.glob("feedback-w*.ring"):
        if match := _NAME.fullmatch(path.name):
            found[int(match[1])] = path
    return found

"""What the blocks of evidence say: the counts of an epoch, added up over the workers of a source.

Apart from :mod:`proxy.evidence.blocks` because of numpy: who reads wants arrays; workers, which write, and the
supervisor, which looks after the files, would carry 12 MiB for nothing.
"""

from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from proxy.evidence.layout import (
    BUCKETS,
    FIELDS,
    FIRST_LATENCY,
    GENERATIONS,
    LATENCY,
    RENEWED,
    REQUESTS,
    UNITS,
    renewed_place,
)

__all__ = ["Counts", "read", "read_all"]

Counts: TypeAlias = NDArray[np.int64]


def read(source: Path, epoch: str, variants: int) -> Counts:
    """Return the counts of ``epoch`` in one source, added up over its workers: int64, ``(variants, FIELDS)``.

    A file that is gone, or still growing, counts as far as it goes. Nothing is locked: each integer is as of some
    moment of the reading, and never more than it will be.

    Args:
        source: a run directory, or another of :func:`~proxy.evidence.blocks.sources`.
        epoch: 16 hex digits.
        variants: how many variants the route has.
    """
    return read_all(source, epoch, variants)[0]


def read_all(source: Path, epoch: str, variants: int) -> tuple[Counts, dict[int, Counts]]:
    """Return what :func:`read` does, and by generation what was counted in it: ``(variants, RENEWED)``.

    Of the generations that have a place in the blocks, those in which anything was counted.
    """
    total = np.zeros(variants * FIELDS, np.int64)
    renewed: dict[int, Counts] = {}
    for path in source.glob(f"evidence-{epoch}-w*.block"):
        try:
            raw = path.read_bytes()
        except FileNotFoundError:
            continue
        values = np.frombuffer(raw, np.int64, min(len(raw) // 8, total.size))
        total[: values.size] += values
        _add_renewed(renewed, raw, variants)
    counts = total.reshape(variants, FIELDS)
    counts[:, REQUESTS] = counts[:, LATENCY : LATENCY + BUCKETS].sum(axis=1)
    counts[:, UNITS] = counts[:, FIRST_LATENCY : FIRST_LATENCY + BUCKETS].sum(axis=1)
    return counts, renewed


def _add_renewed(renewed: dict[int, Counts], raw: bytes, variants: int) -> None:
    """Add what a block holds about generations, where what stands before and after the counts says of which.

    The file is read from its beginning. Who begins a generation strikes out both numbers, then the counts, and writes
    the first number before the last. So between two equal ones there is nothing of another generation.
    """
    whole = np.frombuffer(raw, np.int64, len(raw) // 8)
    size = variants * RENEWED
    for number in range(GENERATIONS):
        first = renewed_place(variants, number)
        place = whole[first : first + size + 2]
        if place.size < size + 2 or not place[0] or place[0] != place[-1] or not place[1:-1].any():
            continue
        generation, counts = int(place[0]) - 1, place[1:-1].reshape(variants, RENEWED)
        renewed[generation] = renewed[generation] + counts if generation in renewed else counts

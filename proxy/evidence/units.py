"""The map of units: who has completed a request in this rollout already, who has had which event, and who in this hour.

Two bytes for each of 2^21 cells (2^19 for a split by fixed weights). A coin's cell is the low bits of its bucket, and
the variant comes from the high ones, so that a cell says nothing about the variant. All workers map the same file.

Two coins may have the same cell. Then the later one counts as seen: it is left out, and so are its further events, as
it would be if it were the first one's. That costs evidence (half of new coins where 1.5 million were seen before it)
and is no error, for it happens to every variant alike.

A cell is set without a lock: of two workers that complete requests of one unit within the same microsecond both may
take theirs for the first.

The map must live as long as its rollout. It is saved to ``state_dir`` from time to time (:func:`save_units`), brought
back by a start that finds none (:func:`restore_units`), and shared with the program before an upgrade
(:func:`link_units`). A crash of the whole machine forgets the units since the last saving: then they count as new.
"""

import os
import re
import shutil
import zlib
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from proxy.evidence.layout import CELLS, CELLS_STANDING
from proxy.private import make_private_directory, open_private
from proxy.tally import Block, open_block

__all__ = [
    "cells_of",
    "forget_units",
    "link_units",
    "open_units",
    "remove_units",
    "restore_units",
    "save_units",
    "saved_units",
    "units_path",
]

_ID = re.compile("[0-9a-f]{16}")
_CELL_BYTES = 2
_SIZES = (CELLS * _CELL_BYTES, CELLS_STANDING * _CELL_BYTES)


def units_path(run_dir: Path, rollout: str) -> Path:
    """Return the map of ``rollout`` in the run directory."""
    return run_dir / f"units-{rollout}.cells"


def _saved_path(state_dir: Path, rollout: str) -> Path:
    return state_dir / "rollouts" / f"{rollout}.cells"


def open_units(run_dir: Path, rollout: str, cells: int) -> Block:
    """Map the units of ``rollout``, creating the map with zeros (mode 0600) if it is not there.

    ``slots`` of what is returned holds words of 4 cells; see :func:`cells_of`.

    Raises:
        OSError: no space, no permission.
    """
    return open_block(units_path(run_dir, rollout), cells * _CELL_BYTES // 8)


def cells_of(block: Block) -> memoryview:
    """Return the cells of an open map, one number below 2^16 each."""
    return block.slots.cast("B").cast("H")


def save_units(run_dir: Path, state_dir: Path, rollout: str, before: int | None = None) -> int | None:
    """Write the map to ``state_dir/rollouts``, replaced as a whole, if it has changed. Blocks on the disk.

    It is compressed: of a thousand users some kilobytes, where the map has four megabytes.

    Args:
        run_dir: where the workers have it.
        state_dir: where it is kept.
        rollout: 16 hex digits.
        before: what this returned when it was saved last.

    Returns:
        what to say the next time; None when there is no map, and nothing was written.

    Raises:
        OSError: no space, no permission; what was saved before is still there.
    """
    try:
        cells = units_path(run_dir, rollout).read_bytes()
    except FileNotFoundError:
        return None
    fingerprint = zlib.crc32(cells)
    if len(cells) not in _SIZES:
        return None
    if fingerprint != before:
        place = _saved_path(state_dir, rollout)
        make_private_directory(place.parent)
        _write(place, zlib.compress(cells, 1))
    return fingerprint


def restore_units(run_dir: Path, state_dir: Path, rollout: str) -> bool:
    """Bring the saved map into the run directory, before a worker opens it.

    A map that is there is left alone: it is newer. What was saved otherwise is no map, and not restored.

    Returns:
        whether the run directory has a map now.

    Raises:
        OSError: it cannot be read, or there is no space for it.
    """
    place = units_path(run_dir, rollout)
    if place.exists():
        return True
    try:
        fd = open_private(_saved_path(state_dir, rollout), os.O_RDONLY)
    except FileNotFoundError:
        return False
    with os.fdopen(fd, "rb") as file:
        packed = file.read(2 * max(_SIZES))
    try:
        cells = zlib.decompressobj().decompress(packed, max(_SIZES) + 1)
    except zlib.error:
        return False
    if len(cells) not in _SIZES:
        return False
    _write(place, cells)
    return True


def link_units(earlier: Path, run_dir: Path, rollouts: Collection[str] | None = None) -> None:
    """Share the maps of the program before, so that its workers and ours know of each other's units.

    Where the directories lie on two file systems they are copied, and units of the time of the exchange may count
    twice.

    Args:
        earlier: its run directory.
        run_dir: ours.
        rollouts: of these alone.

    Raises:
        OSError: no space.
    """
    wanted = earlier.glob("units-*.cells") if rollouts is None else [units_path(earlier, r) for r in rollouts]
    for path in wanted:
        place = run_dir / path.name
        if place.exists() or not path.exists():
            continue
        try:
            os.link(path, place)
        except OSError:
            fresh = place.with_suffix(".new")
            shutil.copyfile(path, fresh)
            fresh.replace(place)


def remove_units(run_dir: Path, rollout: str) -> None:
    """Delete the map in the run directory; workers that have it open go on in it."""
    units_path(run_dir, rollout).unlink(missing_ok=True)


def forget_units(state_dir: Path, rollout: str) -> None:
    """Delete the saved map of a rollout that is over."""
    _saved_path(state_dir, rollout).unlink(missing_ok=True)


def saved_units(state_dir: Path) -> frozenset[str]:
    """Return the rollouts whose maps are saved."""
    paths = (state_dir / "rollouts").glob("*.cells")
    return frozenset(path.stem for path in paths if _ID.fullmatch(path.stem))


def _write(place: Path, cells: bytes) -> None:
    fresh = place.with_suffix(".new")
    with suppress(FileNotFoundError):
        fresh.unlink()  # left by a crash, or put there by somebody else
    fd = open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    with os.fdopen(fd, "wb") as file:
        file.write(cells)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(place)

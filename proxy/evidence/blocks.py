"""Blocks of evidence: one file of integers for each epoch and worker, in the run directory.

Like the blocks of :mod:`proxy.tally` they have one writer each, are read while they are written, and survive a writer
that is killed: its successor goes on in the same file. What a killed worker had under way is no evidence, for nobody
knows how it would have ended.

An epoch outlives tables: each table with the same odds counts in the same block. So a block is deleted by who knows
that no table and no rollout names the epoch any more (:func:`remove`).

This is the writers' side, and where the files are; what they say is read by :mod:`proxy.evidence.counts`.

A run directory is a *source*: its numbers only grow, whatever is read twice or late. After an upgrade the program
before goes on counting in its own directory for a while, which is a source beside ours, under its own name: first by
the link to it (:func:`proxy.tally.follow`), and once it has ended by what was kept of it (:func:`adopt`). What killed
programs have left is read where it lies (:mod:`proxy.evidence.remnants`).
"""

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from proxy.evidence.remnants import remnants
from proxy.private import make_private_directory
from proxy.tally import EARLIER, Block, open_block

__all__ = [
    "adopt",
    "block_path",
    "epochs",
    "has_evidence",
    "open_evidence",
    "remove",
    "remove_rings",
    "sources",
]

_NAME = re.compile(r"evidence-([0-9a-f]{16})-w([0-9]+)\.block")
_ADOPTED = "sources"
_UNFINISHED = ".unfinished"


def block_path(run_dir: Path, epoch: str, worker: int) -> Path:
    """Return the file in which ``worker`` counts for ``epoch``."""
    return run_dir / f"evidence-{epoch}-w{worker}.block"


def open_evidence(run_dir: Path, epoch: str, worker: int, size: int) -> Block:
    """Map the block of ``worker`` with ``size`` integers; zeros where it is new.

    Raises:
        OSError: no space, no permission.
    """
    return open_block(block_path(run_dir, epoch, worker), size)


def epochs(source: Path) -> frozenset[str]:
    """Return the epochs of which there are blocks in one source."""
    return frozenset(match[1] for path in source.glob("evidence-*") if (match := _NAME.fullmatch(path.name)))


def has_evidence(run_dir: Path) -> bool:
    """Tell whether anything was counted in the run directory, or adopted."""
    return any(map(epochs, (run_dir, *_adopted(run_dir).values())))


def sources(run_dir: Path) -> dict[str, Path]:
    """Return where there are counts, by the name under which they are to be kept apart: the run directory's own."""
    found = {run_dir.name: run_dir}
    for name, remnant in remnants(run_dir).items():
        if remnant.is_dir():
            found |= {name: remnant, **_adopted(remnant)}
    link = run_dir / EARLIER
    if link.is_dir():
        earlier = link.resolve()
        found |= {earlier.name: earlier, **_adopted(earlier)}
    return found | _adopted(run_dir)


def adopt(run_dir: Path, earlier: Path) -> None:
    """Keep what the program before has counted, in ``run_dir``, so that its own directory may go.

    The caller must know that no writer of that program runs any more. May be called again.

    Raises:
        OSError: no space; nothing has changed.
    """
    for name, source in {earlier.name: earlier, **_adopted(earlier)}.items():
        place = run_dir / _ADOPTED / name
        if place.is_dir():
            continue
        fresh = place.with_suffix(_UNFINISHED)
        make_private_directory(fresh)
        # Rings of still earlier programs have been read long ago.
        rings = source.glob("feedback-*.ring") if source == earlier else ()
        for path in (*source.glob("evidence-*.block"), *rings):
            _keep(path, fresh / path.name)
        fresh.rename(place)


def remove_rings(run_dir: Path, names: Iterable[str]) -> None:
    """Delete the rings of adopted sources. The caller must have read them: nobody writes there any more."""
    adopted = _adopted(run_dir)
    for source in (adopted[name] for name in names if name in adopted):
        for path in source.glob("feedback-*.ring"):
            path.unlink(missing_ok=True)


def remove(run_dir: Path, epoch: str) -> None:
    """Delete the blocks of ``epoch`` in the run directory, and those that were adopted.

    The caller must know that no worker counts for it any more.
    """
    for source in (run_dir, *_adopted(run_dir).values()):
        for path in source.glob(f"evidence-{epoch}-w*.block"):
            path.unlink(missing_ok=True)


def _adopted(run_dir: Path) -> dict[str, Path]:
    found = (run_dir / _ADOPTED).glob("*")
    return {path.name: path for path in found if path.suffix != _UNFINISHED and path.is_dir()}


def _keep(path: Path, place: Path) -> None:
    place.unlink(missing_ok=True)
    try:
        os.link(path, place)
    except OSError:  # on another file system
        shutil.copyfile(path, place)

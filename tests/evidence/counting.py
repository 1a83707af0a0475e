"""Blocks of evidence that a worker has counted in, and what they say."""

from pathlib import Path

from proxy.evidence.blocks import open_evidence
from proxy.evidence.counts import read
from proxy.evidence.layout import EVIDENCE_FIELDS, FIELDS

__all__ = ["EPOCH", "OTHER", "add", "named"]

EPOCH, OTHER = "0123456789abcdef", "fedcba9876543210"


def add(run_dir: Path, worker: int, slots: dict[int, int], epoch: str = EPOCH, variants: int = 2) -> None:
    """Count on behalf of a worker."""
    block = open_evidence(run_dir, epoch, worker, variants * FIELDS)
    for slot, number in slots.items():
        block.slots[slot] += number
    block.close()


def named(run_dir: Path, variant: int, epoch: str = EPOCH, variants: int = 2) -> dict[str, int]:
    """Return what was counted for one variant, zeros left out."""
    row = read(run_dir, epoch, variants)[variant]
    return {name: int(number) for name, number in zip(EVIDENCE_FIELDS, row, strict=True) if number}

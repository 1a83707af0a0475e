"""Blocks of evidence: several writers, readers at any time, and the program before an upgrade."""

import errno
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from proxy.evidence import blocks as blocks_module
from proxy.evidence.blocks import adopt, block_path, epochs, open_evidence, read, remove, sources
from proxy.evidence.layout import EVIDENCE_FIELDS, FIELDS, FIRST_LATENCY, LATENCY
from proxy.tally import follow

EPOCH, OTHER = "0123456789abcdef", "fedcba9876543210"


def add(run_dir: Path, worker: int, slots: dict[int, int], epoch: str = EPOCH, variants: int = 2) -> None:
    """Count on behalf of a worker."""
    block = open_evidence(run_dir, epoch, worker, variants * FIELDS)
    for slot, number in slots.items():
        block.slots[slot] += number
    block.close()


def named(run_dir: Path, variant: int, epoch: str = EPOCH, variants: int = 2) -> dict[str, int]:
    row = read(run_dir, epoch, variants)[variant]
    return {name: int(number) for name, number in zip(EVIDENCE_FIELDS, row, strict=True) if number}


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def test_workers_add_up_by_variant_and_epoch(tmp_path: Path) -> None:
    """Each variant has its own run of integers; an epoch's are never another's."""
    add(tmp_path, 0, {2: 1, FIELDS + 3: 4})
    add(tmp_path, 1, {2: 2})
    add(tmp_path, 11, {2: 8})
    add(tmp_path, 0, {2: 99}, OTHER)
    assert named(tmp_path, 0) == {"error_requests": 11}
    assert named(tmp_path, 1) == {"client_error_requests": 4}
    assert epochs(tmp_path) == {EPOCH, OTHER}
    assert read(tmp_path, EPOCH, 2).dtype == np.int64


def test_requests_and_units_are_sums(tmp_path: Path) -> None:
    """They are not counted: so they agree with the durations at any moment, whoever was killed."""
    add(tmp_path, 0, {LATENCY: 1, LATENCY + 399: 2, FIRST_LATENCY + 7: 1})
    assert named(tmp_path, 0) == {
        "requests": 3,
        "units": 1,
        "latency_0": 1,
        "latency_399": 2,
        "first_latency_7": 1,
    }


def test_a_successor_goes_on(tmp_path: Path) -> None:
    """What a killed worker has counted stays, and the next one adds to it."""
    add(tmp_path, 0, {2: 1})
    add(tmp_path, 0, {2: 1})
    assert named(tmp_path, 0) == {"error_requests": 2}
    assert block_path(tmp_path, EPOCH, 0).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("length", [0, 7, 8, 3 * 8 + 5])
def test_a_short_file_counts_as_far_as_it_goes(tmp_path: Path, length: int) -> None:
    """A file that is being made, or was cut, is no error."""
    add(tmp_path, 1, {3: 1})
    data = b"".join((5).to_bytes(8, sys.byteorder) for _ in range(4))
    block_path(tmp_path, EPOCH, 0).write_bytes(data[:length])
    row = read(tmp_path, EPOCH, 2)[0]
    assert row[3] == 1
    assert row[2] == (5 if length >= 24 else 0)


def test_a_file_that_goes_while_it_is_read_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block that was listed and is deleted then counts nothing."""
    gone = block_path(tmp_path, EPOCH, 3)
    monkeypatch.setattr(Path, "glob", lambda *_: iter([gone]))
    assert not read(tmp_path, EPOCH, 2).any()


def test_an_epoch_of_fewer_variants_does_not_read_beyond(tmp_path: Path) -> None:
    """A reader that asks for less gets less; nothing at all is zeros."""
    add(tmp_path, 0, {2: 1, FIELDS + 2: 1})
    assert read(tmp_path, EPOCH, 1).shape == (1, FIELDS)
    assert not read(tmp_path / "nowhere", EPOCH, 2).any()
    assert epochs(tmp_path / "nowhere") == frozenset()


def test_other_files_are_no_epochs(tmp_path: Path) -> None:
    """Only blocks name epochs."""
    for name in ("evidence-x-w0.block", f"evidence-{EPOCH}.block", f"evidence-{EPOCH}-w0.block.new"):
        (tmp_path / name).touch()
    assert epochs(tmp_path) == frozenset()


def test_removal_is_of_one_epoch(tmp_path: Path) -> None:
    """The blocks of an epoch go, those of another stay; doing it again is no error."""
    add(tmp_path, 0, {2: 1})
    add(tmp_path, 1, {2: 1})
    add(tmp_path, 0, {2: 1}, OTHER)
    remove(tmp_path, EPOCH)
    remove(tmp_path, EPOCH)
    assert epochs(tmp_path) == {OTHER}


def test_the_program_before_is_a_source_of_its_own(tmp_path: Path) -> None:
    """Its directory is read beside ours, under its own name, as long as the link is there."""
    before, after = directory(tmp_path / "before"), directory(tmp_path / "after")
    add(before, 0, {2: 5})
    add(after, 0, {2: 1})
    assert sources(after) == {"after": after}
    follow(after, before)
    found = sources(after)
    assert {name: int(read(path, EPOCH, 2)[0, 2]) for name, path in found.items()} == {
        "before": 5,
        "after": 1,
    }


def test_what_was_adopted_stays_under_its_name(tmp_path: Path) -> None:
    """When the directory before goes, the same source has the same counts; again, and over two upgrades."""
    first, second, third = (directory(tmp_path / name) for name in ("first", "second", "third"))
    add(first, 0, {2: 5})
    add(first, 1, {2: 1}, OTHER)
    follow(second, first)
    adopt(second, first)
    adopt(second, first)
    assert sources(second)["first"] != first, "complete, and not on its way to be deleted"
    for path in first.iterdir():
        path.unlink()
    first.rmdir()
    assert read(sources(second)["first"], EPOCH, 2)[0, 2] == 5
    add(second, 0, {2: 2})
    (second / "earlier").unlink()
    follow(third, second)
    assert sources(third).keys() == {"first", "second", "third"}
    adopt(third, second)
    (third / "earlier").unlink()
    found = {name: int(read(path, EPOCH, 2)[0, 2]) for name, path in sources(third).items()}
    assert found == {"first": 5, "second": 2, "third": 0}
    remove(third, EPOCH)
    assert {name: epochs(path) for name, path in sources(third).items()} == {
        "first": {OTHER},
        "second": frozenset(),
        "third": frozenset(),
    }


def test_adoption_is_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A source that was kept in part is not read as if it were whole."""
    before, after = directory(tmp_path / "before"), directory(tmp_path / "after")
    add(before, 0, {2: 5})
    add(before, 1, {2: 6})
    follow(after, before)
    kept: list[Path] = []

    def keep(path: Path, place: Path) -> None:
        if kept:
            raise OSError(errno.ENOSPC, "No space left on device")
        kept.append(place)

    with monkeypatch.context() as patch:
        patch.setattr(blocks_module, "_keep", keep)
        with pytest.raises(OSError, match="No space"):
            adopt(after, before)
    assert sources(after).keys() == {"before", "after"}
    assert read(sources(after)["before"], EPOCH, 2)[0, 2] == 11
    adopt(after, before)
    assert sources(after)["before"] != before
    assert read(sources(after)["before"], EPOCH, 2)[0, 2] == 11


def test_adoption_across_file_systems(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a file cannot be linked it is copied."""

    def refuse(*_: object) -> None:
        raise OSError(errno.EXDEV, "Invalid cross-device link")

    before, after = directory(tmp_path / "before"), directory(tmp_path / "after")
    add(before, 0, {2: 5})
    monkeypatch.setattr(os, "link", refuse)
    adopt(after, before)
    assert read(sources(after)["before"], EPOCH, 2)[0, 2] == 5


def test_no_space_is_an_error_when_the_block_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not a signal later, in the middle of a request."""

    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space"):
        open_evidence(tmp_path, EPOCH, 0, FIELDS)

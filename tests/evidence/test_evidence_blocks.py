"""Blocks of evidence: one writer each, and the program before an upgrade."""

import errno
import os
from pathlib import Path

import pytest

from proxy.evidence import blocks as blocks_module
from proxy.evidence.blocks import adopt, block_path, epochs, open_evidence, remove, sources
from proxy.evidence.counts import read
from proxy.evidence.layout import FIELDS
from proxy.tally import follow
from tests.evidence.counting import EPOCH, OTHER, add, named


def directory(path: Path) -> Path:
    path.mkdir()
    return path


def test_a_successor_goes_on(tmp_path: Path) -> None:
    """What a killed worker has counted stays, and the next one adds to it."""
    add(tmp_path, 0, {2: 1})
    add(tmp_path, 0, {2: 1})
    assert named(tmp_path, 0) == {"error_requests": 2}
    assert block_path(tmp_path, EPOCH, 0).stat().st_mode & 0o777 == 0o600


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

"""Locks that say who is writing a file."""

import os
from pathlib import Path

from proxy.sinks.locks import hold, is_held


def test_held_until_closed(tmp_path: Path) -> None:
    """A file is held from ``hold`` until it is closed; one that is gone is free."""
    path = tmp_path / "file"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    assert not is_held(path)
    hold(fd)
    assert is_held(path)
    os.close(fd)
    assert not is_held(path)
    assert not is_held(tmp_path / "gone")


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """A link in place of a file counts as free: nobody of us writes through one."""
    path = tmp_path / "file"
    fd = os.open(path, os.O_CREAT | os.O_WRONLY)
    hold(fd)
    (tmp_path / "link").symlink_to(path)
    assert not is_held(tmp_path / "link")
    os.close(fd)

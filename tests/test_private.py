"""Private directories and files."""

import errno
import os
import stat
from pathlib import Path

import pytest

from proxy.private import make_private_directory, open_private


def mode_of(path: Path) -> int:
    """Return the permission bits of ``path``."""
    return stat.S_IMODE(path.stat().st_mode)


def test_every_directory_on_the_way_is_private(tmp_path: Path) -> None:
    """All that is made is 0700, whatever the umask; what exists keeps its mode."""
    there = tmp_path / "there"
    there.mkdir()
    there.chmod(0o755)
    before = os.umask(0)
    try:
        make_private_directory(there / "a" / "b" / "c")
        make_private_directory(there / "a" / "b" / "c")
    finally:
        os.umask(before)
    assert [mode_of(path) for path in (there, there / "a", there / "a/b", there / "a/b/c")] == [
        0o755,
        0o700,
        0o700,
        0o700,
    ]


def test_a_file_in_the_way_is_an_error(tmp_path: Path) -> None:
    """Where a file has the name of a directory nothing is made."""
    (tmp_path / "a").touch()
    for path in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(OSError, match="a"):
            make_private_directory(path)


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    """What somebody linked into the place of our file is neither read nor written; a real file is 0600."""
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_bytes(b"theirs")
    link.symlink_to(target)
    for flags in (os.O_RDONLY, os.O_RDWR | os.O_CREAT | os.O_APPEND):
        with pytest.raises(OSError, match="link") as caught:
            open_private(link, flags)
        assert caught.value.errno == errno.ELOOP
    os.close(open_private(tmp_path / "ours", os.O_WRONLY | os.O_CREAT))
    assert mode_of(tmp_path / "ours") == 0o600
    assert target.read_bytes() == b"theirs"

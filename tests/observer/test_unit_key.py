"""The key of the unit hashes: made once, kept, private."""

import os
import stat
from pathlib import Path

import pytest

from proxy.observer.unit_key import KEY_BYTES, KEY_FILE, load_key


def test_made_once_and_kept(tmp_path: Path) -> None:
    """The first call makes the key, 0600 in a directory 0700; later calls read the same."""
    state_dir = tmp_path / "state"
    key = load_key(state_dir, None)
    assert len(key) == KEY_BYTES
    assert load_key(state_dir, None) == key
    assert stat.S_IMODE((state_dir / KEY_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(state_dir.stat().st_mode) == 0o700
    assert [path.name for path in state_dir.iterdir()] == [KEY_FILE]


def test_two_places_two_keys(tmp_path: Path) -> None:
    """Keys are drawn, not derived."""
    assert load_key(tmp_path / "a", None) != load_key(tmp_path / "b", None)


def test_configured(tmp_path: Path) -> None:
    """A configured key is used as it is and no file is made."""
    assert load_key(tmp_path, "the configured key") == b"the configured key"
    assert list(tmp_path.iterdir()) == []


def test_no_place_for_the_file(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Where no file can be, there is still a key, for this process alone, and the log says so."""
    (tmp_path / "taken").write_text("a file")
    assert len(load_key(tmp_path / "taken", None)) == KEY_BYTES
    assert "after a restart" in caplog.text


def test_a_short_file_is_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """An empty or cut file is not taken for a key, nor overwritten."""
    (tmp_path / KEY_FILE).write_bytes(b"short")
    assert len(load_key(tmp_path, None)) == KEY_BYTES
    assert (tmp_path / KEY_FILE).read_bytes() == b"short"
    assert "shorter than 32 bytes" in caplog.text


def test_a_link_is_no_key(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key that somebody linked into its place is not used."""
    known = tmp_path / "known"
    known.write_bytes(b"k" * KEY_BYTES)
    (tmp_path / KEY_FILE).symlink_to(known)
    assert load_key(tmp_path, None) != known.read_bytes()
    assert "no unit key" in caplog.text


def test_a_file_of_another_user_is_no_key(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A key that another user made, and knows, is not used."""
    path = tmp_path / KEY_FILE
    path.write_bytes(b"k" * KEY_BYTES)
    if path.stat().st_uid == 0:
        os.chown(path, 4242, -1)
    monkeypatch.setattr(os, "getuid", lambda: 4243)
    assert load_key(tmp_path, None) != path.read_bytes()
    assert "owned by another user" in caplog.text

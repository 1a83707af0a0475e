"""One state directory, one supervisor."""

import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from proxy.state_lock import LOCK_NAME, StateInUseError, lock_state


def test_the_second_is_told_who_has_it(tmp_path: Path) -> None:
    """A held directory is refused with the holder's process id; a released one is not."""
    held = lock_state(tmp_path / "state")
    assert held is not None
    with pytest.raises(
        StateInUseError, match=f"in use by another supervisor .process {os.getpid()}.; stop it"
    ):
        lock_state(tmp_path / "state")
    os.close(held)
    again = lock_state(tmp_path / "state")
    assert again is not None
    os.close(again)


def test_a_dead_holder_holds_nothing(tmp_path: Path) -> None:
    """The lock ends with its process, also when it is killed."""
    script = (
        "import os, signal, sys; from pathlib import Path; from proxy.state_lock import lock_state;"
        f"lock_state(Path({str(tmp_path)!r})); os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", script], check=False)
    assert (tmp_path / LOCK_NAME).read_text().strip().isdecimal()
    lock = lock_state(tmp_path)
    assert lock is not None
    os.close(lock)


def test_only_the_owner_may_read_it(tmp_path: Path) -> None:
    """The directory is 0700 and the file 0600."""
    lock = lock_state(tmp_path / "state")
    assert lock is not None
    os.close(lock)
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "state" / LOCK_NAME).stat().st_mode) == 0o600


def test_where_there_can_be_no_lock_it_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A directory that cannot be made is a warning: the proxy serves without a journal too."""
    (tmp_path / "file").touch()
    assert lock_state(tmp_path / "file" / "state") is None
    assert "cannot lock the state directory" in caplog.text


def test_a_file_system_without_locks_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Some network file systems have none."""

    def no_locks(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    lock = lock_state(tmp_path)
    assert lock is not None
    os.close(lock)
    assert "No locks available" in caplog.text

"""The service manager hears what it needs, in its own words."""

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.service_manager import ServiceManager


@pytest.fixture(params=["path", "abstract"])
def ear(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """The manager's socket, and its name as the manager writes it."""
    name = f"@modelproxy-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.settimeout(10)
        yield listener, name


def test_each_state_is_one_message(ear: tuple[socket.socket, str]) -> None:
    """The words are those of sd_notify(3)."""
    listener, name = ear
    manager = ServiceManager({"NOTIFY_SOCKET": name})
    manager.ready()
    manager.stopping()
    manager.beat()
    manager.reloading()
    assert [listener.recv(100) for _ in range(3)] == [b"READY=1", b"STOPPING=1", b"WATCHDOG=1"]
    reloading, time = listener.recv(100).split(b"\n")
    assert (reloading, time.partition(b"=")[0]) == (b"RELOADING=1", b"MONOTONIC_USEC")
    assert time.partition(b"=")[2].isdigit()


def test_without_a_manager_nothing_happens() -> None:
    """No variable, no message, no heartbeat."""
    manager = ServiceManager({"WATCHDOG_USEC": "2000000"})
    manager.ready()
    assert manager.beat_s == 0


@pytest.mark.parametrize(
    ("environ", "expected_s"),
    [
        ({"WATCHDOG_USEC": "2000000"}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": str(os.getpid())}, 1.0),
        ({"WATCHDOG_USEC": "2000000", "WATCHDOG_PID": "1"}, 0.0),
        ({"WATCHDOG_USEC": "soon"}, 0.0),
        ({}, 0.0),
    ],
)
def test_half_of_the_watchdogs_patience(environ: dict[str, str], expected_s: float) -> None:
    """A heartbeat is due twice in each period, if the watchdog means this process."""
    assert ServiceManager({"NOTIFY_SOCKET": "/nowhere", **environ}).beat_s == expected_s


def test_a_deaf_manager_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A socket that is not there stops nothing."""
    ServiceManager({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready()
    assert "cannot tell the service manager READY=1" in caplog.text

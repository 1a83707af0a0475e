"""What is handed over is taken as it was meant, or refused in words; a failed exchange leaves no trace."""

import os
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.handover import (
    HANDED_SIGNALS,
    VARIABLE,
    Handover,
    HandoverError,
    InheritedLock,
    InheritedProcess,
    InheritedSocket,
    Totals,
    exchange,
    receive,
)


class World:
    """Two listeners, a lock and a link, and the document about them."""

    def __init__(self, directory: Path) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.admin = socket.create_server(("127.0.0.1", 0))
        self.ours, self.theirs = socket.socketpair()
        self.lock = os.open(directory, os.O_RDONLY)
        self.document = Handover(
            pid=os.getpid(),
            listen=InheritedSocket(fd=self.listener.fileno(), address="127.0.0.1:8080"),
            admin=InheritedSocket(fd=self.admin.fileno(), address="127.0.0.1:9090"),
            run=InheritedLock(path=directory, fd=self.lock),
            state=None,
            version=7,
            drain_s=30,
            upgrade_s=30,
            started_wall_ns=1,
            totals=Totals(reloads=3, restarts={"worker 0": 2}),
            processes=(InheritedProcess(name="worker 0", pid=1, link=self.ours.fileno()),),
        )

    def environ(self, **changes: Any) -> dict[str, str]:
        """Return an environment with the document, changed."""
        return {VARIABLE: self.document.model_copy(update=changes).model_dump_json(), "OTHER": "1"}

    def close(self) -> None:
        for end in (self.listener, self.admin, self.ours, self.theirs):
            end.close()
        os.close(self.lock)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """What there is to hand over."""
    world = World(tmp_path)
    yield world
    world.close()


def test_it_arrives_whole_and_no_child_inherits_it(world: World) -> None:
    """The document comes back as it was, the variable is gone, the descriptors are private again."""
    for fd in world.document.descriptors():
        os.set_inheritable(fd, True)
    environ = world.environ()
    assert receive(environ) == world.document
    assert environ == {"OTHER": "1"}
    assert not any(os.get_inheritable(fd) for fd in world.document.descriptors())


def test_a_start_like_any_other_has_none() -> None:
    """Without the variable nothing is taken over."""
    assert receive({}) is None


def test_what_is_meant_for_another_process_is_ignored(world: World) -> None:
    """A child that finds the variable of its parent starts like any other."""
    environ = world.environ(pid=os.getpid() + 1)
    assert receive(environ) is None
    assert VARIABLE not in environ


def test_what_a_later_version_adds_is_ignored(world: World) -> None:
    """Fields may be added without another format."""
    document = orjson.loads(world.document.model_dump_json())
    document["later"] = document["totals"]["later"] = 1
    assert receive({VARIABLE: orjson.dumps(document).decode()}) == world.document


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"format": 2}, "expected format 1, got 2"),
        ({"listen": InheritedSocket(fd=987, address="a")}, "a descriptor was not inherited"),
    ],
)
def test_a_broken_one_is_refused(world: World, changes: dict[str, Any], sentence: str) -> None:
    """Each error is one sentence."""
    with pytest.raises(HandoverError, match=sentence):
        receive(world.environ(**changes))


def test_a_run_directory_that_is_gone_is_refused(world: World) -> None:
    """A lock alone is no place for counters."""
    with pytest.raises(HandoverError, match="is gone"):
        receive(world.environ(run=InheritedLock(path=Path("/nowhere/at/all"), fd=world.lock)))


def test_a_socket_that_does_not_listen_is_refused(world: World) -> None:
    """Descriptors are what they are said to be."""
    with pytest.raises(HandoverError, match="does not listen"):
        receive(world.environ(admin=InheritedSocket(fd=world.ours.fileno(), address="a")))
    with pytest.raises(HandoverError, match="is no link"):
        receive(world.environ(processes=(InheritedProcess(name="observer", pid=1, link=world.lock),)))


def test_nonsense_is_refused() -> None:
    """Text that is no document is one sentence, which does not quote it."""
    with pytest.raises(HandoverError, match="1 errors in the document"):
        receive({VARIABLE: "{"})


def test_a_failed_exchange_leaves_everything_as_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The system may refuse, for example for lack of memory: signals and descriptors are as before."""
    seen: dict[str, Any] = {}

    def refuse(path: str, arguments: list[str], environ: dict[str, str]) -> None:
        seen["inheritable"] = [os.get_inheritable(fd) for fd in world.document.descriptors()]
        seen["blocked"] = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        seen["document"] = environ[VARIABLE]
        raise OSError(12, "Cannot allocate memory")

    class Closed:
        def flush(self) -> None:
            raise BrokenPipeError

    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(sys, "stdout", Closed())
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    assert exchange(world.document).errno == 12
    assert all(seen["inheritable"])
    assert seen["blocked"] >= set(HANDED_SIGNALS)
    assert Handover.model_validate_json(seen["document"]) == world.document
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before
    assert not any(os.get_inheritable(fd) for fd in world.document.descriptors())
    assert VARIABLE not in os.environ

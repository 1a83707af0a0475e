"""All of the ground or none of it; after an upgrade the ground of the program before."""

import contextlib
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from proxy.ground import Ground, GroundError, lay_ground
from proxy.handover import Handover, InheritedLock, InheritedSocket, Totals

CONFIG = """
listen: LISTEN
admin: 127.0.0.1:0
state_dir: STATE
models: {m: {url: "http://127.0.0.1:9001"}}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: m, role: champion}]}]
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """A good file."""
    return write(tmp_path)


def write(directory: Path, listen: str = "127.0.0.1:0", state: str = "state") -> Path:
    path = directory / "a.yaml"
    path.write_text(CONFIG.replace("LISTEN", listen).replace("STATE", str(directory / state)))
    return path


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Gives up what a test has laid."""
    with contextlib.ExitStack() as stack:
        yield stack


def handover_of(ground: Ground) -> Handover:
    """Return what a program on this ground would hand over."""
    assert ground.state_lock is not None
    return Handover(
        pid=os.getpid(),
        listen=InheritedSocket(fd=ground.listen.fileno(), address=str(ground.settings.listen)),
        admin=InheritedSocket(fd=ground.admin.fileno(), address=str(ground.settings.admin)),
        run=InheritedLock(path=ground.run.path, fd=ground.run.lock),
        state=InheritedLock(path=ground.settings.state_dir.resolve(), fd=ground.state_lock),
        version=1,
        drain_s=1,
        upgrade_s=1,
        started_wall_ns=1,
        totals=Totals(),
        processes=(),
    )


def test_everything_is_there_and_given_up_again(config: Path) -> None:
    """Two listening sockets, a locked state directory, a run directory; nothing of it stays."""
    with contextlib.ExitStack() as stack:
        ground = lay_ground(config, stack)
        assert ground.content == config.read_bytes()
        assert ground.run.path.is_dir()
        socket.create_connection(ground.listen.getsockname()).close()
        with pytest.raises(GroundError, match="in use by another supervisor"):
            lay_ground(config, stack)
    assert not ground.run.path.exists()
    with contextlib.ExitStack() as again:
        lay_ground(config, again)


def test_what_is_wrong_is_said(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    """Every problem of the file, an address in use; nothing is left of a failed attempt."""
    with pytest.raises(GroundError, match="cannot read"):
        lay_ground(tmp_path / "gone.yaml", stack)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = write(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(GroundError, match="listen: cannot listen on") as caught:
            lay_ground(config, stack)
        assert len(caught.value.problems) == 1
    lay_ground(config, stack)


def test_the_ground_of_the_program_before_is_taken_over(config: Path, stack: contextlib.ExitStack) -> None:
    """The same port 0 is the same socket, and a state directory that we hold ourselves is not in use."""
    before = lay_ground(config, stack)
    after = lay_ground(config, stack, handover_of(before))
    assert after.listen.getsockname() == before.listen.getsockname()
    assert after.admin.getsockname() == before.admin.getsockname()
    assert after.run.path != before.run.path
    before.listen.close()
    socket.create_connection(after.listen.getsockname()).close()


def test_a_changed_address_is_bound_anew(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    """An upgrade takes up what needs a restart otherwise."""
    before = lay_ground(write(tmp_path), stack)
    after = lay_ground(write(tmp_path, listen="localhost:0", state="other"), stack, handover_of(before))
    assert after.listen.getsockname() != before.listen.getsockname()
    assert after.admin.getsockname() == before.admin.getsockname()
    assert (tmp_path / "other" / "supervisor.lock").exists()


def test_a_failed_attempt_leaves_what_was_inherited(tmp_path: Path, stack: contextlib.ExitStack) -> None:
    """It can be tried again."""
    before = lay_ground(write(tmp_path), stack)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = write(tmp_path, listen=f"127.0.0.1:{taken.getsockname()[1]}")
        with pytest.raises(GroundError):
            lay_ground(config, stack, handover_of(before))
    lay_ground(write(tmp_path), stack, handover_of(before))

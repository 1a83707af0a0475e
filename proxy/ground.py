"""What a supervisor stands on: a configuration it understands, its two sockets, its directories.

All of it is had before anything is started, or none of it. After an upgrade the sockets and the state directory of the
program before are taken over, unless the file names others by now.
"""

import contextlib
import os
import socket
from dataclasses import dataclass
from pathlib import Path

from proxy.control.judge import Accepted, Refused, judge
from proxy.control.watch import read_file
from proxy.handover import Handover, InheritedSocket
from proxy.listening import BindError, bind
from proxy.remnants import Remnants, claim_remnants
from proxy.rundir import RunDirectory, owner_of, run_directory
from proxy.settings import Address, Settings
from proxy.state_lock import StateInUseError, lock_state

__all__ = ["Ground", "GroundError", "lay_ground"]


class GroundError(Exception):
    """Something is missing. ``problems`` are the sentences to print."""

    def __init__(self, *problems: str) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Ground:
    """All of it."""

    content: bytes
    """The configuration file's."""
    settings: Settings
    listen: socket.socket
    admin: socket.socket
    run: RunDirectory
    remnants: Remnants
    state_lock: int | None
    """Descriptor; None where none could be had."""


def lay_ground(config_path: Path, stack: contextlib.ExitStack, handover: Handover | None = None) -> Ground:
    """Return what the supervisor for ``config_path`` stands on; ``stack`` gives it up again.

    Args:
        config_path: the configuration file.
        stack: closes and removes.
        handover: of the program before. What is taken from it is closed by ``stack`` too if all goes well, and left
            alone if not, so that it can be tried again.

    Raises:
        GroundError: the file is wrong, an address or a directory cannot be had.
    """
    content, settings = _read(config_path)
    with contextlib.ExitStack() as undo:
        try:
            listen = _listener(settings.listen, "listen", handover.listen if handover else None, undo)
            admin = _listener(settings.admin, "admin", handover.admin if handover else None, undo)
            state_lock = _lock(settings.state_dir, handover, undo)
            owner = owner_of(settings.state_dir)
            run = undo.enter_context(run_directory(owner=owner))
            remnants = undo.enter_context(claim_remnants(run.path, owner))
        except (BindError, StateInUseError) as error:
            raise GroundError(str(error)) from error
        except OSError as error:
            raise GroundError(f"cannot make a run directory: {error.strerror}: {error.filename}") from error
        stack.push(undo.pop_all())
    return Ground(content, settings, listen, admin, run, remnants, state_lock)


def _read(config_path: Path) -> tuple[bytes, Settings]:
    content = read_file(config_path)
    if isinstance(content, str):
        raise GroundError(content)
    verdict = judge(content, None, source=str(config_path), environ=os.environ)
    if isinstance(verdict, Refused):
        raise GroundError(*verdict.problems)
    assert isinstance(verdict, Accepted), "nothing is running that it could be equal to"
    return content, verdict.settings


def _listener(
    address: Address, setting: str, inherited: InheritedSocket | None, undo: contextlib.ExitStack
) -> socket.socket:
    if inherited is not None and inherited.address == str(address):
        # A copy: the inherited descriptor stays as it is until all has gone well.
        listener = socket.socket(fileno=os.dup(inherited.fd))
        listener.setblocking(False)
        return undo.enter_context(listener)
    return undo.enter_context(bind(address, setting))


def _lock(state_dir: Path, handover: Handover | None, undo: contextlib.ExitStack) -> int | None:
    inherited = handover.state if handover else None
    if inherited is not None and inherited.path == state_dir.resolve():
        lock: int | None = os.dup(inherited.fd)
    else:
        lock = lock_state(state_dir)
    if lock is not None:
        undo.callback(os.close, lock)
    return lock

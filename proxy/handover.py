"""What one program hands to the next when it is upgraded: open sockets, running processes, and totals.

The supervisor replaces itself in place (``execve``): the process id stays, so that a service manager, or a container
whose first process it is, notices nothing. What must survive is named by a JSON document in the environment; the
descriptors in it are inherited.

Rule
    The document is part of the outward contract between versions: fields are added, never renamed. A program that
    cannot take a document says so *before* the exchange (:mod:`proxy.preflight`).
"""

import contextlib
import os
import signal
import socket
import stat
import sys
from collections.abc import Iterator, MutableMapping
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError

__all__ = [
    "FORMAT",
    "HANDED_SIGNALS",
    "VARIABLE",
    "Handover",
    "HandoverError",
    "InheritedLock",
    "InheritedProcess",
    "InheritedSocket",
    "Totals",
    "exchange",
    "receive",
]

FORMAT = 1
"""Of the document. A higher one is for changes that an older reader would misunderstand."""

VARIABLE = "MODELPROXY_HANDOVER"

HANDED_SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM, signal.SIGUSR2)
"""Held back from before the exchange until the next program listens to them: their default would end it."""


class HandoverError(Exception):
    """The document or what it names is not what it should be. ``str()`` is the sentence to print."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class InheritedSocket(_Part):
    """A listening socket."""

    fd: int
    address: str
    """As the configuration named it: with another address, a new socket is bound."""


class InheritedLock(_Part):
    """A directory and the descriptor that holds its lock."""

    path: Path
    fd: int


class InheritedProcess(_Part):
    """A worker or the observer, which goes on until the next program serves."""

    name: str
    pid: int
    link: int
    """Descriptor of our end of its link."""


class Totals(_Part):
    """What the supervisor counts itself; goes on from here."""

    reloads: int = 0
    reloads_refused: int = 0
    journal_failures: int = 0
    fold_failures: int = 0
    upgrades: int = 0
    upgrades_refused: int = 0
    remnants_dropped: int = 0
    restarts: dict[str, int] = {}
    """By the name of the slot."""
    hangs: dict[str, int] = {}


class Handover(_Part):
    """The document."""

    format: int = FORMAT
    pid: int
    """Of the process that exchanges its program. Keeps a child that finds the variable from believing it."""
    listen: InheritedSocket
    admin: InheritedSocket
    run: InheritedLock
    state: InheritedLock | None
    version: int
    """Highest table version that was used."""
    drain_s: float
    """How long the processes may take to finish when all must end."""
    upgrade_s: float
    """How long they may take when only they must."""
    started_wall_ns: int
    """When the first of these programs started: since then counters count."""
    totals: Totals
    processes: tuple[InheritedProcess, ...]

    def descriptors(self) -> Iterator[int]:
        """Yield everything that is inherited."""
        yield from (self.listen.fd, self.admin.fd, self.run.fd)
        if self.state is not None:
            yield self.state.fd
        yield from (process.link for process in self.processes)


def receive(environ: MutableMapping[str, str]) -> Handover | None:
    """Take the document out of ``environ``, so that no child finds it; None when this is a start like any other.

    Every descriptor is made private to this process again.

    Raises:
        HandoverError: it is meant for this process, and broken.
    """
    text = environ.pop(VARIABLE, None)
    if text is None:
        return None
    try:
        handover = Handover.model_validate_json(text)
    except ValidationError as error:
        raise HandoverError(
            f"{VARIABLE}: {error.error_count()} errors in the document of the upgrade"
        ) from error
    if handover.pid != os.getpid():
        return None
    if handover.format != FORMAT:
        raise HandoverError(f"{VARIABLE}: expected format {FORMAT}, got {handover.format}")
    try:
        for fd in handover.descriptors():
            os.set_inheritable(fd, False)
        _check(handover)
    except OSError as error:
        raise HandoverError(f"{VARIABLE}: a descriptor was not inherited: {error.strerror}") from error
    return handover


def _check(handover: Handover) -> None:
    for inherited in (handover.listen, handover.admin):
        if not _is_listening(inherited.fd):
            raise HandoverError(f"{VARIABLE}: descriptor {inherited.fd} does not listen")
    for process in handover.processes:
        if not stat.S_ISSOCK(os.fstat(process.link).st_mode):
            raise HandoverError(f"{VARIABLE}: descriptor {process.link} is no link")
    if not handover.run.path.is_dir():
        raise HandoverError(f"{VARIABLE}: {handover.run.path} is gone")


def _is_listening(fd: int) -> bool:
    if not stat.S_ISSOCK(os.fstat(fd).st_mode):
        return False
    with socket.socket(fileno=os.dup(fd)) as listener:
        return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))


def exchange(handover: Handover) -> OSError:
    """Replace this program by what now lies where it was started from, with the same arguments.

    Does not return, unless the system refuses: then everything is as it was before.

    Returns:
        why it was refused.
    """
    arguments = [sys.executable, *sys.orig_argv[1:]]
    environ = {**os.environ, VARIABLE: handover.model_dump_json()}
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # whoever read it may have closed its end
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_SIGNALS)
    try:
        for fd in handover.descriptors():
            os.set_inheritable(fd, True)
        os.execve(sys.executable, arguments, environ)  # noqa: S606 - no shell, our own program
    except OSError as error:
        for fd in handover.descriptors():
            os.set_inheritable(fd, False)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return error

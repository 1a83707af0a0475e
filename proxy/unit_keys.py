"""The keys of the hashes that stand for units in records: one in force, those before it, and how one follows another.

Theory of operation
    A unit's hash is the same for as long as the key is, so that its records can be joined. A new key ends that: what is
    written under it cannot be joined with what was written before, but by who holds both keys and the unit. Who deletes
    the old key makes its hashes mean nothing to anybody, in every copy of the records at once ("crypto-shredding").

    ``state_dir/unit.key`` is the first key, made when it is missed. Each later one has a file of its own in
    ``state_dir/unit-keys``, named after the moment from which on it counts; the last of them is in force. That is all
    there is to it: a key is made by making a file (:func:`rotate`), by hand or by age, and every process that looks
    sees it. No file is ever written twice.

Rules
    * A key that is made by age has the moment at which it was due as its name. Of two processes that make it at once
      (two observers, in an upgrade) one finds the other's.
    * A key is read from a private file of our own user, never through a link. Where there is none the key is drawn for
      one process alone: records are still written, but cannot be joined with those of another run. That is logged.
"""

import errno
import logging
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from secrets import token_bytes, token_hex
from typing import Final, NamedTuple

from proxy.private import make_private_directory, open_private

__all__ = [
    "FIRST_KEY",
    "KEY_BYTES",
    "LATER_KEYS",
    "HeldKey",
    "UnitKeys",
    "forget",
    "held_keys",
    "read_key",
    "rotate",
]

FIRST_KEY: Final = "unit.key"
LATER_KEYS: Final = "unit-keys"
KEY_BYTES: Final = 32
_MAX_KEY_BYTES: Final = 4096
_SUFFIX: Final = ".key"
_STAMP: Final = "%Y%m%dT%H%M%SZ"
_SECOND_NS: Final = 1_000_000_000

_log = logging.getLogger("modelproxy")


class HeldKey(NamedTuple):
    """A key that is kept, by its file."""

    path: Path
    began_ns: int
    """Wall time from which on it counts; whole seconds. Of the first key: when its file was made."""


class UnitKeys:
    """The key in force, and when it is replaced.

    Args:
        state_dir: holds the files.
        configured: a key that the configuration gives; it is used as it is, and no file is made or read.
    """

    def __init__(self, state_dir: Path, configured: str | None) -> None:
        self._state_dir = state_dir
        self._configured = configured
        self._path: Path | None = None
        self._problem = ""
        self.key = configured.encode() if configured is not None else self._first()

    def refresh(self, now_ns: int, every_ns: int | None, keep_ns: int | None) -> None:
        """Take the key that is in force now, make the next one if it is due, delete those whose time is over.

        Reads and writes files: it may wait for the disk. What goes wrong is logged, and the key stays.

        Args:
            now_ns: wall time.
            every_ns: age at which a key is replaced; None: never.
            keep_ns: how long after that it is kept; None: for ever.
        """
        if self._configured is not None:
            return
        try:
            held = held_keys(self._state_dir)
            if held and every_ns is not None and now_ns - held[-1].began_ns >= every_ns:
                # The last moment at which one was due: where nobody ran for long, none is made for each.
                due_ns = now_ns - (now_ns - held[-1].began_ns) % every_ns
                rotate(self._state_dir, due_ns)
                held = held_keys(self._state_dir)
            if keep_ns is not None:
                forget(self._state_dir, now_ns - keep_ns)
            if held and held[-1].path != self._path:
                self._take(held[-1].path)
            self._problem = ""
        except OSError as error:
            if str(error) != self._problem:  # it is looked for often: said once
                self._problem = str(error)
                _log.error("unit keys: %s; the one in use stays", error)

    def every(self) -> Iterator[bytes]:
        """Yield the key in force, then those before it that are still there. Reads files."""
        yield self.key
        if self._configured is None:
            with suppress(OSError):  # what cannot be read is as good as gone
                for held in held_keys(self._state_dir):
                    yield _read(held.path)

    def _take(self, path: Path) -> None:
        key = _read(path)
        if len(key) < KEY_BYTES:
            raise OSError(errno.EINVAL, f"shorter than {KEY_BYTES} bytes: delete it", str(path))
        self.key, self._path = key, path

    def _first(self) -> bytes:
        """Return the key in force at the start, which is made where there is none."""
        try:
            held = held_keys(self._state_dir)
            path = held[-1].path if held else self._state_dir / FIRST_KEY
            key = _read_or_make(path)
        except OSError as error:
            _log.error("no unit key: %s; units in records get other hashes after a restart", error)
            return token_bytes(KEY_BYTES)
        if len(key) < KEY_BYTES:
            _log.error(
                "%s is shorter than %d bytes: delete it to get a new one; until then hashes of units change with a "
                "restart",
                path,
                KEY_BYTES,
            )
            return token_bytes(KEY_BYTES)
        self._path = path
        return key


def held_keys(state_dir: Path) -> list[HeldKey]:
    """Return the keys that are kept, the one in force last.

    Raises:
        OSError: the directory cannot be read.
    """
    later = []
    directory = state_dir / LATER_KEYS
    for path in directory.iterdir() if directory.is_dir() else ():
        if path.suffix == _SUFFIX and (began_ns := _moment(path.stem)) is not None:
            later.append(HeldKey(path, began_ns))
    later.sort(key=lambda held: held.began_ns)
    first = state_dir / FIRST_KEY
    try:
        made_ns = first.lstat().st_mtime_ns // _SECOND_NS * _SECOND_NS
    except FileNotFoundError:
        return later
    return [HeldKey(first, made_ns), *later]


def read_key(held: HeldKey) -> bytes:
    """Return the key itself.

    Raises:
        OSError: it cannot be read, or is another user's.
    """
    return _read(held.path)


def rotate(state_dir: Path, began_ns: int) -> HeldKey:
    """Make the next key, which counts from now on. If there is one of that moment already, it is that one.

    Args:
        state_dir: holds the files.
        began_ns: wall time that names it.

    Raises:
        OSError: it cannot be made.
    """
    stamp = datetime.fromtimestamp(began_ns // _SECOND_NS, UTC).strftime(_STAMP)
    path = state_dir / LATER_KEYS / f"{stamp}{_SUFFIX}"
    _read_or_make(path)
    return HeldKey(path, began_ns // _SECOND_NS * _SECOND_NS)


def forget(state_dir: Path, replaced_before_ns: int) -> list[HeldKey]:
    """Delete the keys that were replaced before a moment, or at it, and return them. The one in force stays.

    Raises:
        OSError: one cannot be deleted.
    """
    held = held_keys(state_dir)
    over = [key for key, next_key in pairwise(held) if next_key.began_ns <= replaced_before_ns]
    for key in over:
        key.path.unlink(missing_ok=True)
    if over:
        _sync_directories({key.path.parent for key in over})
    return over


def _sync_directories(directories: set[Path]) -> None:
    """Have the disk know what is gone: a key that comes back after a power cut was not deleted."""
    for directory in directories:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _moment(stamp: str) -> int | None:
    try:
        moment = datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    return int(moment.timestamp()) * _SECOND_NS


def _read_or_make(path: Path) -> bytes:
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    make_private_directory(path.parent)
    fresh = path.with_name(f"{path.name}.{token_hex(4)}")
    key = token_bytes(KEY_BYTES)
    descriptor = open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        try:
            # A link, not a rename: of two processes that make the key at once, the first one's stays.
            os.link(fresh, path)
        except FileExistsError:
            return _read(path)
    finally:
        fresh.unlink(missing_ok=True)
    return key


def _read(path: Path) -> bytes:
    # Not through a link, nor another user's file: in a shared directory we would hash with a key that somebody knows,
    # and whoever knows the key can try every unit.
    with os.fdopen(open_private(path, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:
        if os.fstat(file.fileno()).st_uid not in (0, os.getuid()):
            raise PermissionError(errno.EPERM, "owned by another user, who would know the key", str(path))
        return file.read(_MAX_KEY_BYTES)

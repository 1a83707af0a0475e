"""The key of the hashes that stand for units in records."""

import errno
import logging
import os
from pathlib import Path
from secrets import token_bytes
from typing import Final

from proxy.private import make_private_directory, open_private

__all__ = ["KEY_BYTES", "KEY_FILE", "load_key"]

KEY_FILE: Final = "unit.key"
KEY_BYTES: Final = 32
_MAX_KEY_BYTES: Final = 4096

_log = logging.getLogger("modelproxy")


def load_key(state_dir: Path, configured: str | None) -> bytes:
    """Return the configured key, else the one kept in ``state_dir/unit.key``, which is made (0600) when it
    is not there.

    Where the file cannot be read or made the key is drawn for this process alone: records are still
    written, but their hashes cannot be joined with those of another run. That is logged.
    """
    if configured is not None:
        return configured.encode()
    path = state_dir / KEY_FILE
    try:
        key = _read_or_make(path)
    except OSError as error:
        _log.error("no unit key: %s; units in records get other hashes after a restart", error)
        return token_bytes(KEY_BYTES)
    if len(key) < KEY_BYTES:
        _log.error(
            "%s is shorter than %d bytes: delete it to get a new one; until then hashes of units change with a restart",
            path,
            KEY_BYTES,
        )
        return token_bytes(KEY_BYTES)
    return key


def _read_or_make(path: Path) -> bytes:
    try:
        return _read(path)
    except FileNotFoundError:
        pass
    make_private_directory(path.parent)
    fresh = path.with_name(f"{path.name}.{os.getpid()}")
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

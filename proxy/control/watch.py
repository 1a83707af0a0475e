"""Watches one file and hands over its content whenever it is not what was seen last.

Level-triggered: a notice from the system only means "look now"; whether something changed is decided by
reading. So a notice that is lost, doubled or about another file does no harm, and a look every two seconds
finds what no notice tells of (network file systems, a file behind a symbolic link).

The *directory* is watched, not the file: editors put a new file in place of the old one, and a ConfigMap
volume swaps a symbolic link (``..data``) beside it.
"""

import asyncio
import contextlib
import hashlib
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from watchfiles import awatch

from proxy.tasks import spawn

__all__ = ["FileWatch", "read_file"]

LOOK_EVERY_S = 2.0
"""Longest time a change without a notice goes unseen."""

SETTLE_S = 0.05
"""A file is taken when it reads the same twice, this far apart: an editor that writes in place shows half a
file first."""

_MAX_READS = 100

_MAX_FILE_BYTES = 4 << 20
"""The settings take 1 Mi characters, which are at most so many bytes."""

_log = logging.getLogger("modelproxy")


def read_file(path: Path) -> bytes | str:
    """Return the bytes of ``path``, or one sentence why it cannot be read."""
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_FILE_BYTES + 1)
    except OSError as error:
        return f"{path}: cannot read the configuration file: {error.strerror}"
    if len(content) > _MAX_FILE_BYTES:
        return f"{path}: cannot read the configuration file: larger than {_MAX_FILE_BYTES} bytes"
    return content


class FileWatch:
    """Calls ``on_change`` with the new bytes of ``path``, or with a sentence when it cannot be read.

    Args:
        path: the file.
        seen: the content that is known already.
        on_change: awaited for each change; changes meanwhile are found afterwards.
        look_every_s: how often to look without a notice.
        settle_s: distance of the two equal reads.
    """

    def __init__(
        self,
        path: Path,
        seen: bytes,
        on_change: Callable[[bytes | str], Awaitable[object]],
        *,
        look_every_s: float = LOOK_EVERY_S,
        settle_s: float = SETTLE_S,
    ) -> None:
        self._path = path
        self._seen = _mark(seen)
        self._on_change = on_change
        self._look_every_s = look_every_s
        self._settle_s = settle_s
        self._notice = asyncio.Event()

    async def run(self) -> None:
        """Watch until cancelled."""
        listener = spawn(self._listen(), name="watch notices")
        try:
            while True:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._look_every_s):
                        await self._notice.wait()
                self._notice.clear()
                await self.look()
        finally:
            listener.cancel()

    async def look(self) -> bool:
        """Read the file and call ``on_change`` when it is not what was seen last; return whether it was
        called."""
        content = read_file(self._path)
        if _mark(content) == self._seen:
            return False
        content = await self._settled(content)
        mark = _mark(content)
        if mark == self._seen:
            return False
        self._seen = mark
        await self._on_change(content)
        return True

    async def _settled(self, content: bytes | str) -> bytes | str:
        # Bounded: a file that never stands still is taken as it is, and judged like any other.
        for _ in range(_MAX_READS):
            await asyncio.sleep(self._settle_s)
            again = read_file(self._path)
            if again == content:
                break
            content = again
        return content

    async def _listen(self) -> None:
        try:
            async for _ in awatch(
                self._path.parent, watch_filter=None, debounce=50, step=10, rust_timeout=1000, recursive=False
            ):
                self._notice.set()
        except (OSError, RuntimeError) as error:
            _log.warning(
                "%s: no notices of changes (%s); looking every %g s", self._path, error, self._look_every_s
            )


def _mark(content: bytes | str) -> tuple[bool, bytes]:
    is_text = isinstance(content, bytes)
    raw = content if isinstance(content, bytes) else content.encode()
    return is_text, hashlib.sha256(raw).digest()

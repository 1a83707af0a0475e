"""Where each kind of sink can be pointed in a test: a directory, or a receiver on this machine that keeps what it gets.

``RECEIVERS`` has an entry for each kind; :func:`test_every_kind_has_a_receiver` holds it against the settings. Each is
an async context manager over a directory of the test's own. Its value has ``settings``, an entry of
``payload_log.sinks``, and ``received()``, all bytes that have arrived so far, decompressed and decoded so far that a
text in a record is found in them as it stands there.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backports import zstd

__all__ = ["RECEIVERS", "Receiver", "unzstd"]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somewhere records can go."""

    settings: dict[str, Any]
    """An entry of ``payload_log.sinks``."""
    received: Callable[[], bytes]
    """Returns what has arrived."""


def unzstd(data: bytes) -> bytes:
    """Return the content of all frames."""
    return zstd.decompress(data)


@asynccontextmanager
async def jsonl(state_dir: Path) -> AsyncIterator[Receiver]:
    """Files of lines, compressed, in a directory of their own."""

    def received() -> bytes:
        return b"".join(unzstd(path.read_bytes()) for path in sorted((state_dir / "packed").glob("*.zst")))

    yield Receiver({"kind": "jsonl", "name": "packed", "dir": "packed", "compression": "zstd"}, received)


RECEIVERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Receiver]]] = {"jsonl": jsonl}
"""Kind → what makes a receiver, given the proxy's ``state_dir``."""

"""HTTP/1.1 messages as the soak's own clients and models read them: small, strict, and not the proxy's code."""

import asyncio
from dataclasses import dataclass, field

__all__ = ["GOODBYE", "BrokenOffError", "Head", "chunk", "chunks", "has_ended", "read_body", "read_head"]

LAST_CHUNK = b"0\r\n\r\n"

GOODBYE = b"goodbye"
"""What a model sends last through a tunnel whose client has ended its side: else any end would pass for a good one."""


class BrokenOffError(Exception):
    """The message ended before it was whole, or is not HTTP."""


@dataclass(slots=True)
class Head:
    """A start line and its fields, names in lower case."""

    start: list[str]
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def status(self) -> int:
        """Status of a response."""
        return int(self.start[1])

    def number(self, name: str, default: int = 0) -> int:
        """Return the whole number in field ``name``."""
        return int(self.fields.get(name, default))


def has_ended(reader: asyncio.StreamReader) -> bool:
    """Tell whether the other side has closed or reset the connection."""
    return reader.at_eof() or reader.exception() is not None


def chunk(data: bytes) -> bytes:
    """Return ``data`` as one chunk."""
    return b"%x\r\n%b\r\n" % (len(data), data)


async def read_head(reader: asyncio.StreamReader) -> Head | None:
    """Read a head; None at an orderly end before its first byte.

    Raises:
        BrokenOffError: the end came inside of it, or it is not HTTP.
    """
    try:
        raw = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError as error:
        if not error.partial:
            return None
        raise BrokenOffError("inside the head") from error
    except (asyncio.LimitOverrunError, OSError) as error:
        raise BrokenOffError(f"inside the head: {error!r}") from error
    start, *lines = raw[:-4].decode("latin-1").split("\r\n")
    head = Head(start.split(" ", 2))
    if len(head.start) < 3 or "HTTP/1.1" not in (head.start[0], head.start[2]):
        raise BrokenOffError(f"not HTTP: {start!r}")
    for line in lines:
        name, colon, value = line.partition(":")
        if not colon:
            raise BrokenOffError(f"not a field: {line!r}")
        head.fields[name.lower()] = value.strip()
    return head


async def read_body(reader: asyncio.StreamReader, head: Head, pause_s: float = 0.0) -> bytes:
    """Read the body that ``head`` announces, ``pause_s`` between two pieces of 64 KiB.

    Raises:
        BrokenOffError: the end came inside of it.
    """
    try:
        if head.fields.get("transfer-encoding") == "chunked":
            return b"".join([piece async for piece in chunks(reader)])
        left = head.number("content-length")
        if not pause_s:
            return await reader.readexactly(left)
        pieces = []
        while left:
            pieces.append(await reader.readexactly(min(left, 65536)))
            left -= len(pieces[-1])
            await asyncio.sleep(pause_s)
        return b"".join(pieces)
    except (asyncio.IncompleteReadError, OSError, ValueError) as error:
        raise BrokenOffError(f"inside the body: {error!r}") from error


class chunks:  # noqa: N801 - used like a generator, but one that may be left half-way without being closed
    """Iterate over the chunks of a body. The last one and its end are read before the iteration ends."""

    def __init__(self, reader: asyncio.StreamReader) -> None:
        self._reader = reader

    def __aiter__(self) -> "chunks":
        return self

    async def __anext__(self) -> bytes:
        try:
            size = int((await self._reader.readuntil(b"\r\n"))[:-2], 16)
            data = await self._reader.readexactly(size + 2)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError, ValueError) as error:
            raise BrokenOffError(f"inside a chunk: {error!r}") from error
        if data[-2:] != b"\r\n":
            raise BrokenOffError("a chunk without its end")
        if not size:
            raise StopAsyncIteration
        return data[:-2]

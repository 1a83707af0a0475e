"""A client that holds its connection, believes what it is told about it, and forgives nothing else.

It is what careful HTTP clients are (RFC 9112 §9.3.1, §9.6): after ``connection: close``, or when the server has closed
between two requests, it connects again; a request that was sent and is not answered whole is a failure.
"""

import asyncio
import contextlib
from dataclasses import dataclass, field

__all__ = ["Books", "PatientClient"]

BODY = b'{"inputs":[{"name":"x","shape":[1,1],"datatype":"FP32","data":[1.0]}]}'


@dataclass
class Books:
    """What several clients have seen."""

    answered: int = 0
    refused: int = 0
    """Connections that were not accepted."""
    failures: list[str] = field(default_factory=list)
    closes: int = 0
    """Connections that ended between two requests, as is proper."""
    is_over: bool = False


class PatientClient:
    """Sends one request after the other until the books are closed or nobody listens any more."""

    def __init__(self, address: str, user: str, books: Books, pause_s: float = 0.0) -> None:
        host, port = address.removeprefix("http://").split(":")
        self._host, self._port = host, int(port)
        self._books = books
        self._pause_s = pause_s
        head = f"POST /v2/models/wine/infer HTTP/1.1\r\nHost: {host}\r\nx-user-id: {user}\r\n"
        self._request = (
            f"{head}Content-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n".encode() + BODY
        )

    async def run(self) -> None:
        """Work until there is nothing more to do."""
        while not self._books.is_over:
            try:
                reader, writer = await asyncio.open_connection(self._host, self._port)
            except OSError:
                self._books.refused += 1
                return
            try:
                await self._use(reader, writer)
            finally:
                writer.close()
                with contextlib.suppress(OSError):
                    await writer.wait_closed()

    async def _use(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while not self._books.is_over:
            if reader.at_eof():
                self._books.closes += 1
                return
            writer.write(self._request)
            try:
                is_last = await self._read_answer(reader)
            except (OSError, asyncio.IncompleteReadError, AssertionError) as error:
                self._books.failures.append(repr(error))
                return
            self._books.answered += 1
            if is_last:
                self._books.closes += 1
                return
            if self._pause_s:
                await asyncio.sleep(self._pause_s)

    async def _read_answer(self, reader: asyncio.StreamReader) -> bool:
        """Read one answer; return whether it is the connection's last."""
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        assert head.startswith(b"http/1.1 200 "), head
        length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
        await reader.readexactly(length)
        return b"connection: close" in head

"""A model server that does as it is told and writes down what it did, so that a kill loses nothing.

``python -m tests.soak.model NAME HOST PORT BOOKS`` prints ``ready PORT``. What a request asks for stands in its header:

    x-do: label | bytes | events | echo | status | cut | reset | garbage | stall;  x-size, x-wait-ms, x-gap-ms

Each line of the books is ``MARK TIME ATTEMPT …`` (monotonic nanoseconds, the same clock in all processes):

    S time attempt request-id kind(p|s) action     the head is here        (p: primary, s: a shadow's copy)
    A time attempt status crc                      answered whole; crc of the request's body
    F time attempt action                          failed as it was told to
    G time attempt                                 the other side left first
"""

import asyncio
import os
import socket
import sys
from zlib import crc32

import orjson
import uvloop

from proxy.clock import monotonic, monotonic_ns
from tests.soak.messages import (
    GOODBYE,
    LAST_CHUNK,
    BrokenOffError,
    Head,
    chunk,
    has_ended,
    read_body,
    read_head,
)
from tests.soak.mix import predicted_label

__all__ = ["body_of"]

SLICE_S = 0.01
"""How often a waiting model looks whether it is still wanted."""

_EMPTY = (204, 304)


class GoneError(Exception):
    """Nobody waits for the answer any more."""


class FailedError(Exception):
    """The model fails as it was told to."""


def body_of(attempt: str, size: int) -> bytes:
    """Return ``size`` bytes that tell one attempt's answer from every other."""
    seed = attempt.encode() + b"|"
    return (seed * (size // len(seed) + 1))[:size]


class Model:
    """One process of a model server."""

    def __init__(self, name: str, books: int) -> None:
        self.name = name
        self._books = books
        self._count = 0

    def note(self, mark: str, *words: object) -> None:
        """Write a line that outlives this process."""
        os.write(self._books, f"{mark} {monotonic_ns()} {' '.join(map(str, words))}\n".encode())

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection's requests."""
        writer.transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while (head := await read_head(reader)) is not None:
                if not await self._attend(head, reader, writer):
                    break
        except (BrokenOffError, OSError):
            pass
        finally:
            writer.close()

    async def _attend(self, head: Head, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        self._count += 1
        attempt = f"{self.name}.{os.getpid()}.{self._count}"
        fields = head.fields
        action = fields.get("x-do", "label")
        kind = "s" if fields.get("x-modelproxy-shadow") == "1" else "p"
        self.note("S", attempt, fields.get("x-request-id", "-"), kind, action)
        try:
            body = await read_body(reader, head)
            await _wait(reader, head.number("x-wait-ms") / 1000)
            status = await self._answer(head, attempt, body, reader, writer)
            if has_ended(reader) and action != "echo":
                raise GoneError
            self.note("A", attempt, status, f"{crc32(body):08x}")
        except FailedError:
            self.note("F", attempt, action)
            return False
        except (GoneError, BrokenOffError, OSError, RuntimeError):
            # RuntimeError is what uvloop raises for a write to a transport that is closed.
            self.note("G", attempt)
            return False
        return action != "echo"

    async def _answer(
        self,
        head: Head,
        attempt: str,
        body: bytes,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> int:
        action, size = head.fields.get("x-do", "label"), head.number("x-size")
        common = f"x-attempt: {attempt}\r\nx-crc: {crc32(body):08x}\r\nx-model: {self.name}\r\n"
        if action == "events":
            await self._stream(common, size, head.number("x-gap-ms") / 1000, reader, writer)
            return 200
        if action == "echo":
            await self._echo(common, reader, writer)
            return 101
        if action in ("reset", "garbage", "stall"):
            await self._fail(action, reader, writer)
        status = size if action == "status" else 200
        payload = self._label(head, attempt) if action == "label" else body_of(attempt, size)
        if status in _EMPTY:
            payload = b""
        elif action == "status":
            payload = body_of(attempt, 120)
        kind = "application/json" if action == "label" else "application/octet-stream"
        length = "" if status in _EMPTY else f"content-length: {len(payload)}\r\n"
        start = f"HTTP/1.1 {status} As Told\r\ncontent-type: {kind}\r\n{common}{length}\r\n".encode()
        if action == "cut":
            writer.write(start + payload[: size // 2])
            await writer.drain()
            await _wait(reader, 0.02)  # or its beginning could be lost in a reset
            raise FailedError
        writer.write(start if head.start[0] == "HEAD" else start + payload)
        await writer.drain()
        return status

    def _label(self, head: Head, attempt: str) -> bytes:
        label = predicted_label(self.name, head.fields.get("x-request-id", ""))
        output = {"name": "label", "datatype": "INT64", "shape": [1], "data": [label]}
        return orjson.dumps({"model_name": self.name, "id": attempt, "outputs": [output]})

    async def _stream(
        self,
        common: str,
        events: int,
        gap_s: float,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        writer.write(
            f"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n{common}transfer-encoding: chunked\r\n\r\n".encode()
        )
        for number in range(events):
            writer.write(chunk(b"data: %d %d\n\n" % (number, monotonic_ns())))
            await writer.drain()
            await _wait(reader, gap_s)
        writer.write(chunk(b"data: [DONE]\n\n") + LAST_CHUNK)
        await writer.drain()

    async def _echo(self, common: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = f"HTTP/1.1 101 As Told\r\nconnection: upgrade\r\nupgrade: websocket\r\n{common}\r\n"
        writer.write(start.encode())
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write(GOODBYE)
        await writer.drain()

    async def _fail(self, action: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if action == "garbage":
            writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
            await writer.drain()
            await _wait(reader, 0.02, wanted=False)
        elif action == "stall":
            await _wait(reader, 30.0, wanted=False)
        raise FailedError


async def _wait(reader: asyncio.StreamReader, seconds: float, *, wanted: bool = True) -> None:
    """Wait, and notice within ``SLICE_S`` when nobody waits any more.

    Raises:
        GoneError: the other side has closed, and ``wanted``.
    """
    end = monotonic() + seconds
    while True:
        if has_ended(reader):
            if wanted:
                raise GoneError
            return
        left = end - monotonic()
        if left <= 0:
            return
        await asyncio.sleep(min(left, SLICE_S))


async def _main(name: str, host: str, port: int, books: str) -> None:
    descriptor = os.open(books, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    server = await asyncio.start_server(Model(name, descriptor).serve, host, port, backlog=1024)
    print(f"ready {server.sockets[0].getsockname()[1]}", flush=True)  # noqa: T201 - whoever started it waits for this
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]))

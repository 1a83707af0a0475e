"""``python -m benchmarks.large_models PORT ROLE …``: models whose answers nginx cannot play, on uvloop.

==============  =======================================================================================
``1`` to ``4``  reads the request and answers as many bytes as it had: JSON of this version, or a tensor
``slow``        answers ten seconds later
``flood``       answers 100 MiB, as fast as they are taken
==============  =======================================================================================
"""

import asyncio
import re
from functools import cache
from typing import Any

import click
import uvloop

from benchmarks.payloads import document

__all__ = ["FLOOD_BYTES", "SLOW_S", "Model", "main"]

FLOOD_BYTES = 100 * 2**20
SLOW_S = 10.0
PIECE = bytes(2**18)

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.I)


@cache
def answer(size: int, version: int, is_tensor: bool) -> bytes:
    """Return a whole answer with a body of ``size`` bytes."""
    kind = b"application/octet-stream" if is_tensor else b"application/json"
    body = bytes([version]) * size if is_tensor else document(max(size, 200), version)
    return b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind, len(body)) + body


class Model(asyncio.Protocol):
    """One connection. Nobody here sends a request before the last one is answered."""

    def __init__(self, role: str) -> None:
        self.role = role
        self.head = b""
        self.left = 0
        self.size = 0
        self.flooding = 0
        self.is_paused = False

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.set_write_buffer_limits(high=2 * len(PIECE))

    def data_received(self, data: bytes) -> None:
        if not self.left:
            head, end, body = (self.head + data).partition(b"\r\n\r\n")
            if not end:
                self.head = head
                return
            found = LENGTH.search(head)
            self.head, self.size = head, int(found[1]) if found else 0
            self.left = self.size - len(body)
        else:
            self.left -= len(data)
        if self.left <= 0:
            self.left = 0
            self.reply(b"octet-stream" in self.head)
            self.head = b""

    def reply(self, is_tensor: bool) -> None:
        """Answer as the role says."""
        if self.role == "slow":
            late = answer(200, 4, is_tensor)
            asyncio.get_running_loop().call_later(SLOW_S, self.transport.write, late)
        elif self.role == "flood":
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n"
            self.transport.write(head % FLOOD_BYTES)
            self.flooding = FLOOD_BYTES
            self.flood()
        else:
            self.transport.write(answer(self.size, int(self.role), is_tensor))

    def flood(self) -> None:
        """Write until nobody takes more."""
        while self.flooding and not self.is_paused and not self.transport.is_closing():
            self.flooding -= len(PIECE)
            self.transport.write(PIECE)

    def pause_writing(self) -> None:
        self.is_paused = True

    def resume_writing(self) -> None:
        self.is_paused = False
        self.flood()


async def serve(ports: dict[int, str]) -> None:
    """Play all models until the process is ended."""
    loop = asyncio.get_running_loop()
    for port, role in ports.items():
        await loop.create_server(lambda role=role: Model(role), "127.0.0.1", port, backlog=4096)  # type: ignore[misc]
    await asyncio.Event().wait()


@click.command()
@click.argument("words", nargs=-1, required=True)
def main(words: tuple[str, ...]) -> None:
    """Be the models: pairs of PORT and ROLE."""
    uvloop.run(serve({int(port): role for port, role in zip(words[::2], words[1::2], strict=True)}))


if __name__ == "__main__":
    main()

"""Stand-ins for the event loop and its transports: time is stepped by hand, bytes are looked at."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Any, cast

__all__ = ["FakeLoop", "FakeTransport"]


class FakeHandle:
    """What ``call_later`` returns."""

    def __init__(self, when_s: float, callback: Callable[..., object], args: tuple[Any, ...]) -> None:
        self.when_s = when_s
        self.callback = callback
        self.args = args
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """The few methods of a loop that the data plane uses; ``clock_ns`` is the time."""

    def __init__(self) -> None:
        self.clock_ns = 1_000_000_000
        self.handles: list[FakeHandle] = []
        self.errors: list[dict[str, Any]] = []
        """What was given to the exception handler."""

    def monotonic_ns(self) -> int:
        return self.clock_ns

    def time(self) -> float:
        return self.clock_ns / 1e9

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.errors.append(context)

    def call_later(self, delay_s: float, callback: Callable[..., object], *args: object) -> FakeHandle:
        handle = FakeHandle(self.clock_ns / 1e9 + delay_s, callback, args)
        self.handles.append(handle)
        return handle

    def call_soon(self, callback: Callable[..., object], *args: object) -> FakeHandle:
        return self.call_later(0, callback, *args)

    def advance(self, seconds: float) -> None:
        """Let time pass and run what falls due, in order."""
        end_ns = self.clock_ns + int(seconds * 1e9)
        while True:
            due = [h for h in self.handles if not h.cancelled and h.when_s * 1e9 <= end_ns + 1]
            if not due:
                break
            first = min(due, key=lambda h: h.when_s)
            self.handles.remove(first)
            self.clock_ns = max(self.clock_ns, min(end_ns, int(first.when_s * 1e9) + 1))
            first.callback(*first.args)
        self.clock_ns = end_ns

    def run_soon(self) -> None:
        """Run what was scheduled for now."""
        self.advance(0)


class FakeSocket:
    """Takes options."""

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], bytes] = {}
        self.state = 1
        """Of ``TCP_INFO``: established."""

    def setsockopt(self, level: int, name: int, value: bytes) -> None:
        self.options[level, name] = value

    def getsockopt(self, level: int, name: int, size: int) -> bytes:
        return bytes([self.state])[:size]


class FakeTransport(asyncio.Transport):
    """Keeps what is written; ``lose`` plays the other end's part."""

    def __init__(self, protocol: asyncio.Protocol, peer: tuple[str, int] = ("192.0.2.7", 50_000)) -> None:
        self.socket = FakeSocket()
        super().__init__({"peername": peer, "socket": self.socket})
        self.protocol = protocol
        self.writes: list[bytes] = []
        self.closed = False
        self.aborted = False
        self.eof_written = False
        self.reading = True
        self.lost = False
        self.unsent = 0
        """Bytes that the other end does not take, see ``stall``."""
        protocol.connection_made(self)

    @property
    def was_reset(self) -> bool:
        """Whether the other end sees a reset instead of an end."""
        lingers = self.socket.options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == struct.pack("ii", 1, 0)
        return self.aborted and lingers

    @property
    def written(self) -> bytes:
        return b"".join(self.writes)

    def take(self) -> bytes:
        """Return what was written since the last call."""
        data, self.writes = self.written, []
        return data

    def write(self, data: bytes | bytearray | memoryview) -> None:
        assert not self.eof_written, "a real transport raises"
        if not self.closed:
            self.writes.append(bytes(data))

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def stall(self, unsent: int) -> None:
        """The other end takes no more: ``unsent`` bytes wait, which is too much."""
        self.unsent = unsent
        self.protocol.pause_writing()

    def take_up(self) -> None:
        """The other end has taken everything."""
        self.unsent = 0
        self.protocol.resume_writing()

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.eof_written = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = self.aborted = True

    def is_closing(self) -> bool:
        return self.closed

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = cast(asyncio.Protocol, protocol)

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def lose(self, error: Exception | None = None) -> None:
        """The connection is gone, whoever ended it."""
        if not self.lost:
            self.lost = self.closed = True
            self.protocol.connection_lost(error)

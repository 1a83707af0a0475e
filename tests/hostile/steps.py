"""What a hostile peer does, as values: a script is a sequence of steps, the same for clients and for model servers.

Each step is done when it returns. A step whose peer has gone does nothing, so scripts need no branches.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxy.clock import monotonic
from tests.hostile.line import READ_BYTES, End, Line

__all__ = [
    "Answered",
    "Drip",
    "Ended",
    "Fin",
    "Flood",
    "HoldReading",
    "Pause",
    "ReadHead",
    "ReadRequest",
    "Reset",
    "Script",
    "Send",
    "Serve",
    "Shut",
    "Sip",
    "Step",
    "Until",
    "play",
]

PATIENCE_S = 10.0


class Step(Protocol):
    """One thing that a peer does."""

    async def run(self, line: Line) -> None:
        """Do it on ``line``."""


Script = Sequence[Step]


async def play(script: Script, line: Line) -> None:
    """Do every step of ``script``, one after the other."""
    for step in script:
        if line.is_closed:
            return
        await step.run(line)


@dataclass(frozen=True)
class Send:
    """Send these bytes at once."""

    data: bytes

    async def run(self, line: Line) -> None:
        """Send."""
        await line.send(self.data)


@dataclass(frozen=True)
class Drip:
    """Send these bytes in pieces of ``size`` with a gap after each."""

    data: bytes
    gap_s: float = 0.005
    size: int = 1

    async def run(self, line: Line) -> None:
        """Send slowly."""
        for start in range(0, len(self.data), self.size):
            if not await line.send(self.data[start : start + self.size]):
                return
            await asyncio.sleep(self.gap_s)


@dataclass(frozen=True)
class Flood:
    """Send ``piece`` again and again until the other side has gone, ``limit`` bytes are out, or time is up."""

    piece: bytes
    limit: int = 1 << 30
    gap_s: float = 0.0
    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Send endlessly."""
        deadline, sent = monotonic() + self.patience_s, 0
        while sent < self.limit and monotonic() < deadline:
            try:
                async with asyncio.timeout(max(deadline - monotonic(), 0.01)):
                    if not await line.send(self.piece):
                        return
            except TimeoutError:
                return
            sent += len(self.piece)
            await asyncio.sleep(self.gap_s)


@dataclass(frozen=True)
class Pause:
    """Do nothing for a while."""

    seconds: float

    async def run(self, line: Line) -> None:
        """Wait."""
        await asyncio.sleep(self.seconds)


@dataclass(frozen=True)
class Ended:
    """Do nothing until the other side ends."""

    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Wait."""
        await line.until_end(self.patience_s)


@dataclass(frozen=True)
class Until:
    """Do nothing until ``event`` is set: by the other peer of the same play, say."""

    event: asyncio.Event = field(default_factory=asyncio.Event)
    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Wait."""
        async with asyncio.timeout(self.patience_s):
            await self.event.wait()


@dataclass(frozen=True)
class Answered:
    """Read until ``marker`` has come (behind what was taken before), or the other side has ended."""

    marker: bytes
    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Read."""
        await line.take(self.marker, self.patience_s)


@dataclass(frozen=True)
class ReadHead:
    """Read the head of a message."""

    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Read up to the empty line."""
        await line.take(b"\r\n\r\n", self.patience_s)


@dataclass(frozen=True)
class ReadRequest:
    """Read a whole request: head and body, by length or in chunks."""

    patience_s: float = PATIENCE_S

    async def run(self, line: Line) -> None:
        """Read head and body."""
        head = (await line.take(b"\r\n\r\n", self.patience_s)).lower()
        if b"transfer-encoding: chunked" in head:
            while size := int((await line.take(b"\r\n", self.patience_s)).split(b";")[0] or b"0", 16):
                await line.take_exactly(size + 2, self.patience_s)
            while await line.take(b"\r\n", self.patience_s) not in (b"\r\n", b""):
                pass  # trailer lines
        elif b"content-length:" in head:
            length = int(head.partition(b"content-length:")[2].split(b"\r\n")[0])
            await line.take_exactly(length, self.patience_s)


@dataclass(frozen=True)
class Serve:
    """Read request after request and give each the same answer, until the other side ends."""

    answer: bytes

    async def run(self, line: Line) -> None:
        """Serve."""
        request = ReadRequest()
        while line.end is End.OPEN:
            before = line.taken
            await request.run(line)
            if line.taken == before or not await line.send(self.answer):
                return


@dataclass(frozen=True)
class HoldReading:
    """Take nothing more from the kernel, so that the other side's writes stop."""

    async def run(self, line: Line) -> None:
        """Stop reading."""
        await line.stop_reading()


@dataclass(frozen=True)
class Sip:
    """Read on, in sips of ``size`` bytes with a gap after each."""

    size: int = READ_BYTES
    gap_s: float = 0.0

    async def run(self, line: Line) -> None:
        """Read slowly."""
        line.start_reading(self.size, self.gap_s)
        line.sip_bytes, line.sip_gap_s = self.size, self.gap_s


@dataclass(frozen=True)
class Shut:
    """End our sending and go on reading (half-close)."""

    async def run(self, line: Line) -> None:
        """Shut."""
        line.shut()


@dataclass(frozen=True)
class Fin:
    """Close."""

    async def run(self, line: Line) -> None:
        """Close."""
        await line.close()


@dataclass(frozen=True)
class Reset:
    """Close with a reset."""

    async def run(self, line: Line) -> None:
        """Reset."""
        await line.reset()

"""What a worker leaves behind for the observer: exchanges as frames of bytes.

A mirrored, logged or traced request leaves one *primary* frame (request and the client's answer) and one
*shadow* frame per shadow that was sent. The parts carry the same exchange number; the observer pairs them.
Frames are fixed-size numbers and raw bytes: nothing is decoded, formatted or compressed in the worker.

Layout of a frame, little-endian::

    u32 length of what follows | u8 kind | integers | u32 length of each blob | the blobs
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from struct import Struct

from proxy.errors import StateError

__all__ = [
    "MAX_FRAME_BYTES",
    "MISSING_UNIT",
    "Flag",
    "Frame",
    "Hello",
    "Primary",
    "ShadowPart",
    "build_hello",
    "build_primary",
    "build_shadow",
    "parse_frames",
]

MAX_FRAME_BYTES = 1 << 30
"""A longer frame is a broken stream. The side copies are capped far below (``limits.copy``)."""

_LENGTH = Struct("<I")
_PRIMARY = Struct("<IBHIQHHBHBHHQQQQQQQQ9I")
_SHADOW = Struct("<IBHIQHHHHBHQQQ2I")
_HELLO = Struct("<IBHQI")

_KIND_PRIMARY, _KIND_SHADOW, _KIND_HELLO = 1, 2, 3


class Flag:
    """Bits of :attr:`Primary.flags` and :attr:`ShadowPart.flags`."""

    MIRRORED = 1
    LOGGED = 2
    TRACED = 4
    FORCED = 8
    REQUEST_TRUNCATED = 16
    RESPONSE_TRUNCATED = 32
    CLIENT_LEFT = 64
    RETRIED = 128
    CUT = 256
    """The client's answer ended before it was whole."""


MISSING_UNIT = 0xFF
"""Value of :attr:`Primary.unit_source` when no source was present."""


@dataclass(frozen=True, slots=True)
class Primary:
    """The request and what the client was answered."""

    worker: int
    version: int
    """Table version the request was assigned under."""
    number: int
    """Exchange number; unique for one boot of one worker."""
    route: int
    """Index into the table's routes."""
    variant: int
    """Index of the *assigned* variant in the route."""
    unit_source: int
    """Index into the route's unit sources, or ``MISSING_UNIT``."""
    served_by: int
    """Index of the variant that answered."""
    fault: int
    """A :class:`proxy.model.Fault`; of the assigned variant when another served."""
    status: int
    """What the client got; 499 when it left before the answer began."""
    flags: int
    bucket: int
    started_wall_ns: int
    ttfb_ns: int
    """Request head complete → response head; 0 when there was none."""
    duration_ns: int
    """Request head complete → last byte of the response handed to the transport."""
    request_bytes: int
    """Size of the whole request body, also when the copy is truncated."""
    response_bytes: int
    shadows_sent: int
    """Bit *i* is set when shadow *i* of the route was sent."""
    span_id: int
    """The upstream span's id when traced, else 0."""
    request_id: bytes
    unit: bytes
    """The raw unit; empty when missing. Never written anywhere unkeyed."""
    client: bytes
    """The client's address."""
    target: bytes
    """Request target as the client sent it."""
    request_head: bytes
    """The head as it was built for the upstream, request line included."""
    request_body: bytes
    response_head: bytes
    """The head as it was built for the client, status line included."""
    response_body: bytes
    traceparent: bytes
    """``traceparent`` as the client sent it; empty when absent or invalid."""


@dataclass(frozen=True, slots=True)
class ShadowPart:
    """A shadow's answer, or its fault."""

    worker: int
    version: int
    number: int
    route: int
    variant: int
    """The assigned variant of the primary."""
    shadow: int
    """Index into the route's shadows."""
    flags: int
    fault: int
    status: int
    """0 when there was no response head."""
    started_wall_ns: int
    duration_ns: int
    response_bytes: int
    response_head: bytes
    """The response's header lines, without the status line and what ends at the proxy."""
    response_body: bytes


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame on a connection: who sends, and what it had shipped before.

    ``shipped`` maps ``(version, section kind, *labels)`` joined by newlines to the count of frames ever
    handed to the pipe by this worker slot. What the observer has not accounted for by now is lost for good.
    """

    worker: int
    boot: int
    shipped: bytes
    """JSON object."""


Frame = Primary | ShadowPart | Hello
"""Anything that :func:`parse_frames` finds."""


def build_primary(fixed: Sequence[int], blobs: Sequence[bytes]) -> bytes:
    """Return the frame for ``fixed`` (the integers of :class:`Primary`, in order) and its nine ``blobs``."""
    # HOT: one pack and one join; a pack for each blob costs 1.5 µs more (benchmarks/NOTES.md).
    sizes = [*map(len, blobs)]
    length = _PRIMARY.size - 4 + sum(sizes)
    return b"".join((_PRIMARY.pack(length, _KIND_PRIMARY, *fixed, *sizes), *blobs))


def build_shadow(fixed: Sequence[int], blobs: Sequence[bytes]) -> bytes:
    """Return the frame for ``fixed`` (the integers of :class:`ShadowPart`, in order) and two ``blobs``."""
    sizes = [*map(len, blobs)]
    length = _SHADOW.size - 4 + sum(sizes)
    return b"".join((_SHADOW.pack(length, _KIND_SHADOW, *fixed, *sizes), *blobs))


def build_hello(worker: int, boot: int, shipped: bytes) -> bytes:
    """Return the frame of a :class:`Hello`."""
    return _HELLO.pack(_HELLO.size - 4 + len(shipped), _KIND_HELLO, worker, boot, len(shipped)) + shipped


def parse_frames(buffer: bytearray) -> list[Frame]:
    """Take every complete frame off the front of ``buffer``; what is incomplete stays.

    Raises:
        StateError: the stream is broken (unknown kind, impossible length); drop the connection.
    """
    frames: list[Frame] = []
    offset = 0
    view = memoryview(buffer)
    try:
        while len(view) - offset >= 4:
            (size,) = _LENGTH.unpack_from(view, offset)
            if size > MAX_FRAME_BYTES:
                raise StateError(f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {size}")
            if len(view) - offset - 4 < size:
                break
            frames.append(_parse(bytes(view[offset : offset + 4 + size])))
            offset += 4 + size
    except struct.error as error:
        raise StateError(f"expected the numbers of a frame, got {size} bytes") from error
    finally:
        view.release()
        del buffer[:offset]
    return frames


def _parse(frame: bytes) -> Frame:
    kind = frame[4] if len(frame) > 4 else 0
    if kind == _KIND_PRIMARY:
        numbers = _PRIMARY.unpack_from(frame)
        return Primary(*numbers[2:-9], *_blobs(frame, _PRIMARY.size, numbers[-9:]))
    if kind == _KIND_SHADOW:
        numbers = _SHADOW.unpack_from(frame)
        return ShadowPart(*numbers[2:-2], *_blobs(frame, _SHADOW.size, numbers[-2:]))
    if kind == _KIND_HELLO:
        numbers = _HELLO.unpack_from(frame)
        return Hello(*numbers[2:-1], *_blobs(frame, _HELLO.size, numbers[-1:]))
    raise StateError(f"expected a frame of kind 1, 2 or 3, got {kind}")


def _blobs(frame: bytes, offset: int, sizes: Sequence[int]) -> list[bytes]:
    if offset + sum(sizes) != len(frame):
        raise StateError(f"expected blobs of {sum(sizes)} bytes, got {len(frame) - offset}")
    blobs = []
    for size in sizes:
        blobs.append(frame[offset : offset + size])
        offset += size
    return blobs

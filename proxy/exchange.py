"""What a worker leaves behind for the observer: exchanges as frames of bytes.

A mirrored, recorded or traced request leaves one *primary* frame (request and the client's answer) and one
*shadow* frame per shadow that was sent. The parts carry the same exchange number; the observer pairs them.
Frames are fixed-size numbers and raw bytes: nothing is decoded, formatted or compressed in the worker. What
only a record, a span or an example of a disagreement tells (:class:`Details`) is left out of all others: the
request, above all.

Layout of a frame, little-endian::

    u32 length of what follows | u8 kind | integers | u32 length of each blob | the blobs

Both ends are one program: an upgrade has its own observer for its own workers. Only an installation that was
changed under a running proxy can bring two formats together, so a hello tells which one follows it.
"""

import struct
from dataclasses import dataclass
from struct import Struct

from proxy.errors import StateError

__all__ = [
    "DETAILED",
    "MAX_FRAME_BYTES",
    "MISSING_UNIT",
    "MOST_ARRIVALS",
    "RECORDED",
    "TOLD",
    "Details",
    "Flag",
    "Frame",
    "Hello",
    "Primary",
    "ShadowPart",
    "build_details",
    "build_hello",
    "build_primary",
    "build_shadow",
    "parse_frames",
]

MAX_FRAME_BYTES = 1 << 30
"""A longer frame is a broken stream. The side copies are capped far below (``limits.copy``)."""

_START = Struct("<IB")
_PRIMARY = Struct("<IBHIQHHHHHQQ6I")
_SHADOW = Struct("<IBHIQHHHHBHQQQ3I")
_HELLO = Struct("<IBBHQI")
_DETAILS = Struct("<BBQQQQQQ5I")

_KIND_PRIMARY, _KIND_SHADOW, _KIND_HELLO = 1, 2, 3

_FORMAT = 3
"""Changes with every layout but a hello's first three fields."""


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
    SHOWN = 512
    """Compared, and its request goes along: the observer looks into it, or may show it."""
    ERRORS = 1024
    """``log.keep`` wants errors, and it is one."""
    SLOW = 2048
    """``log.keep`` wants what took so long."""
    WATCHED = 4096
    """Whether ``log.keep`` wants it for one of these is known when it ends; then this flag is gone."""
    OFFERED = 8192
    """``log.keep`` looks at its record, in the observer."""


RECORDED = Flag.LOGGED | Flag.ERRORS | Flag.SLOW
"""Exchanges with one of these leave a record: the worker says so, and counts them as sampled."""

TOLD = RECORDED | Flag.TRACED | Flag.OFFERED | Flag.WATCHED
"""Exchanges with one of these are told of, whatever became of their shadows: a record is written, or spans."""

DETAILED = TOLD | Flag.SHOWN
"""Exchanges with one of these leave :class:`Details`."""

MOST_ARRIVALS = 4096
"""Pieces of one answer whose times are noted at most; from then on each piece takes the place of the last one.

Arrivals are pairs of 64-bit integers in the machine's order: ns since the request's start, and how many bytes of the
body had come by then. What came in one read has one pair."""

MISSING_UNIT = 0xFF
"""Value of :attr:`Details.unit_source` when no source was present."""


@dataclass(frozen=True, slots=True)
class Details:
    """What only a record, a span or an example tells of a request and its answer."""

    unit_source: int
    """Index into the route's unit sources, or ``MISSING_UNIT``."""
    fault: int
    """A :class:`proxy.model.Fault`; of the assigned variant when another served."""
    bucket: int
    ttfb_ns: int
    """Request head complete → response head; 0 when there was none."""
    duration_ns: int
    """Request head complete → last byte of the response handed to the transport."""
    request_bytes: int
    """Size of the whole request body, also when the copy is truncated."""
    response_bytes: int
    span_id: int
    """The upstream span's id when traced, else 0."""
    target: bytes
    """Request target as the client sent it."""
    request_head: bytes
    """The head as it was built for the upstream, request line included."""
    request_body: bytes
    response_head: bytes
    """The head as it was built for the client, status line included."""
    traceparent: bytes
    """``traceparent`` as the client sent it; empty when absent or invalid."""


# Not frozen: a frozen object of so many fields takes five times as long to make, and each frame is one
# (0.16 against 0.80 µs: ``python -m benchmarks.micro_observer``).
@dataclass(slots=True)
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
    served_by: int
    """Index of the variant that answered."""
    status: int
    """What the client got; 499 when it left before the answer began."""
    flags: int
    shadows_sent: int
    """Bit *i* is set when shadow *i* of the route was sent."""
    started_wall_ns: int
    request_id: bytes
    unit: bytes
    """The raw unit; empty when missing. Never written anywhere unkeyed."""
    response_lines: bytes
    """The model's header lines as they were forwarded, without the status line and what the proxy adds."""
    response_body: bytes
    details: Details | None = None
    """None when the exchange is neither logged nor traced nor shown."""
    arrivals: bytes = b""
    """When the pieces of a streamed answer came: see :data:`MOST_ARRIVALS`. Empty for one that told its length."""


@dataclass(slots=True)
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
    response_lines: bytes
    """The response's header lines, without the status line and what ends at the proxy."""
    response_body: bytes
    arrivals: bytes = b""
    """As in :class:`Primary`, since the copy was sent."""


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


# The builders take each field by its place: gathered into sequences first, a frame takes twice as long.


def build_primary(
    worker: int,
    version: int,
    number: int,
    route: int,
    variant: int,
    served_by: int,
    status: int,
    flags: int,
    shadows_sent: int,
    started_wall_ns: int,
    request_id: bytes,
    unit: bytes,
    response_lines: bytes,
    response_body: bytes,
    details: bytes = b"",
    arrivals: bytes = b"",
) -> bytes:
    """Return the frame of a :class:`Primary`; ``details`` as :func:`build_details` returns them, or none."""
    blobs = b"".join((request_id, unit, response_lines, response_body, details, arrivals))
    return (
        _PRIMARY.pack(
            _PRIMARY.size - 4 + len(blobs),
            _KIND_PRIMARY,
            worker,
            version,
            number,
            route,
            variant,
            served_by,
            status,
            flags,
            shadows_sent,
            started_wall_ns,
            len(request_id),
            len(unit),
            len(response_lines),
            len(response_body),
            len(details),
            len(arrivals),
        )
        + blobs
    )


def build_details(
    unit_source: int,
    fault: int,
    bucket: int,
    ttfb_ns: int,
    duration_ns: int,
    request_bytes: int,
    response_bytes: int,
    span_id: int,
    target: bytes,
    request_head: bytes,
    request_body: bytes,
    response_head: bytes,
    traceparent: bytes,
) -> bytes:
    """Return :class:`Details` as a blob of a primary's frame: their integers, the lengths, the blobs."""
    blobs = (target, request_head, request_body, response_head, traceparent)
    numbers = _DETAILS.pack(
        unit_source,
        fault,
        bucket,
        ttfb_ns,
        duration_ns,
        request_bytes,
        response_bytes,
        span_id,
        *map(len, blobs),
    )
    return b"".join((numbers, *blobs))


def build_shadow(
    worker: int,
    version: int,
    number: int,
    route: int,
    variant: int,
    shadow: int,
    flags: int,
    fault: int,
    status: int,
    started_wall_ns: int,
    duration_ns: int,
    response_bytes: int,
    response_lines: bytes,
    response_body: bytes,
    arrivals: bytes = b"",
) -> bytes:
    """Return the frame of a :class:`ShadowPart`."""
    lines_size, body_size, arrivals_size = len(response_lines), len(response_body), len(arrivals)
    numbers = _SHADOW.pack(
        _SHADOW.size - 4 + lines_size + body_size + arrivals_size,
        _KIND_SHADOW,
        worker,
        version,
        number,
        route,
        variant,
        shadow,
        flags,
        fault,
        status,
        started_wall_ns,
        duration_ns,
        response_bytes,
        lines_size,
        body_size,
        arrivals_size,
    )
    return b"".join((numbers, response_lines, response_body, arrivals))


def build_hello(worker: int, boot: int, shipped: bytes) -> bytes:
    """Return the frame of a :class:`Hello`."""
    size = _HELLO.size - 4 + len(shipped)
    return _HELLO.pack(size, _KIND_HELLO, _FORMAT, worker, boot, len(shipped)) + shipped


def parse_frames(buffer: bytearray) -> list[Frame]:
    """Take every complete frame off the front of ``buffer``; what is incomplete stays.

    Raises:
        StateError: the stream is broken (unknown kind, impossible length); drop the connection.
    """
    frames: list[Frame] = []
    if not _has_frame(buffer):
        return frames
    data = bytes(buffer)
    offset, end = 0, len(data)
    try:
        while end - offset > 4:
            size, kind = _START.unpack_from(data, offset)
            follows = offset + 4 + size
            if follows > end:
                _check_size(size)
                break
            if kind == _KIND_PRIMARY:
                frames.append(_parse_primary(data, offset, follows))
            elif kind == _KIND_SHADOW:
                frames.append(_parse_shadow(data, offset, follows))
            else:
                frames.append(_parse_hello(kind, data, offset, follows))
            offset = follows
    except struct.error as error:
        raise StateError(f"expected the numbers of a frame, got {size} bytes") from error
    finally:
        del buffer[:offset]
    return frames


def _has_frame(buffer: bytearray) -> bool:
    """Whether the first frame is there whole: a long one comes in many pieces, and is copied once."""
    if len(buffer) < 4:
        return False
    size = int.from_bytes(buffer[:4], "little")
    _check_size(size)
    if not size:
        raise StateError("expected a frame with a kind, got an empty one")
    return len(buffer) - 4 >= size


def _check_size(size: int) -> None:
    if size > MAX_FRAME_BYTES:
        raise StateError(f"expected a frame of at most {MAX_FRAME_BYTES} bytes, got {size}")


def _parse_primary(data: bytes, offset: int, end: int) -> Primary:
    (
        _,
        _,
        worker,
        version,
        number,
        route,
        variant,
        served_by,
        status,
        flags,
        shadows_sent,
        started_wall_ns,
        id_size,
        unit_size,
        lines_size,
        body_size,
        details_size,
        arrivals_size,
    ) = _PRIMARY.unpack_from(data, offset)
    request_id = offset + _PRIMARY.size
    unit = request_id + id_size
    lines = unit + unit_size
    body = lines + lines_size
    details = body + body_size
    arrivals = details + details_size
    if arrivals + arrivals_size != end:
        raise _misfit(arrivals + arrivals_size, end)
    return Primary(
        worker,
        version,
        number,
        route,
        variant,
        served_by,
        status,
        flags,
        shadows_sent,
        started_wall_ns,
        data[request_id:unit],
        data[unit:lines],
        data[lines:body],
        data[body:details],
        _parse_details(data[details:arrivals]) if details_size else None,
        data[arrivals:end],
    )


def _parse_details(blob: bytes) -> Details:
    numbers = _DETAILS.unpack_from(blob)
    at, blobs = _DETAILS.size, []
    for size in numbers[8:]:
        blobs.append(blob[at : at + size])
        at += size
    if at != len(blob):
        raise _misfit(at, len(blob))
    return Details(*numbers[:8], *blobs)


def _parse_shadow(data: bytes, offset: int, end: int) -> ShadowPart:
    (
        _,
        _,
        worker,
        version,
        number,
        route,
        variant,
        shadow,
        flags,
        fault,
        status,
        started_wall_ns,
        duration_ns,
        response_bytes,
        lines_size,
        body_size,
        arrivals_size,
    ) = _SHADOW.unpack_from(data, offset)
    lines = offset + _SHADOW.size
    body = lines + lines_size
    arrivals = body + body_size
    if arrivals + arrivals_size != end:
        raise _misfit(arrivals + arrivals_size, end)
    return ShadowPart(
        worker,
        version,
        number,
        route,
        variant,
        shadow,
        flags,
        fault,
        status,
        started_wall_ns,
        duration_ns,
        response_bytes,
        data[lines:body],
        data[body:arrivals],
        data[arrivals:end],
    )


def _parse_hello(kind: int, data: bytes, offset: int, end: int) -> Hello:
    if kind != _KIND_HELLO:
        raise StateError(f"expected a frame of kind 1, 2 or 3, got {kind}")
    _, _, form, worker, boot, size = _HELLO.unpack_from(data, offset)
    if form != _FORMAT:
        raise StateError(
            f"expected frames of format {_FORMAT}, got {form}: worker and observer are two programs"
        )
    shipped = offset + _HELLO.size
    if shipped + size != end:
        raise _misfit(shipped + size, end)
    return Hello(worker, boot, data[shipped:end])


def _misfit(expected: int, got: int) -> StateError:
    return StateError(f"expected a frame that ends {expected - got} bytes further on, by its own lengths")

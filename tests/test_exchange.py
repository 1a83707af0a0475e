"""Frames between worker and observer: whatever goes in comes out, and a broken stream is noticed."""

import struct
from dataclasses import astuple, fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import StateError
from proxy.exchange import (
    MAX_FRAME_BYTES,
    Details,
    Flag,
    Hello,
    Primary,
    ShadowPart,
    build_details,
    build_hello,
    build_primary,
    build_shadow,
    parse_frames,
)

u8, u16, u32, u64 = (st.integers(0, 2**bits - 1) for bits in (8, 16, 32, 64))
blob = st.binary(max_size=50)

WIDTHS: dict[str, st.SearchStrategy[int]] = {
    "worker": u16,
    "version": u32,
    "route": u16,
    "variant": u16,
    "shadow": u16,
    "unit_source": u8,
    "served_by": u16,
    "fault": u8,
    "status": u16,
    "flags": u16,
}
"""Widths of the integers that are not 64 bits."""

Frame = Primary | ShadowPart | Hello


def values_of(kind: type[Any], **given: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw any ``kind`` that the wire can carry."""
    drawn = {f.name: blob if f.type is bytes else WIDTHS.get(f.name, u64) for f in fields(kind)}
    return st.builds(kind, **(drawn | given))


frames: st.SearchStrategy[Frame] = st.one_of(
    values_of(Primary, details=st.none() | values_of(Details)),
    values_of(ShadowPart),
    st.builds(Hello, u16, u64, blob),
)


def build(frame: Frame) -> bytes:
    """Return the bytes of ``frame``, built as a worker builds them."""
    if isinstance(frame, Primary):
        *values, _, arrivals = (getattr(frame, name) for name in frame.__slots__)
        details = b"" if frame.details is None else build_details(*astuple(frame.details))
        return build_primary(*[*values, details, arrivals])
    return build_shadow(*astuple(frame)) if isinstance(frame, ShadowPart) else build_hello(*astuple(frame))


SHADOW = ShadowPart(0, 1, 7, 0, 1, 0, Flag.MIRRORED, 0, 200, 5, 6, 2, b"content-type: a/b\r\n", b"{}")
PLAIN: tuple[Any, ...] = (
    0,
    1,
    7,
    0,
    1,
    1,
    200,
    Flag.LOGGED,
    1,
    5,
    b"id",
    b"ada",
    b"content-type: a/b\r\n",
    b"{}",
)
DETAILS = build_details(
    0, 0, 9, 1, 2, 3, 2, 0, b"/", b"GET / HTTP/1.1\r\n", b"{}", b"HTTP/1.1 200 OK\r\n", b"tp"
)
HELLO = Hello(3, 99, b'{"1\\nshadow\\nwine\\nm": 4}')


@given(frames)
def test_a_frame_comes_back_as_it_was(frame: Frame) -> None:
    """Building and parsing is the identity, and nothing is left over."""
    buffer = bytearray(build(frame))
    assert parse_frames(buffer) == [frame]
    assert not buffer


@given(st.lists(frames, max_size=5), st.data())
def test_any_chunks_give_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    """However the stream is cut, the same frames come out in the same order."""
    stream = b"".join(build(frame) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    buffer = bytearray()
    received: list[Frame] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        buffer += stream[start:end]
        received += parse_frames(buffer)
    assert received == sent
    assert not buffer


def test_byte_by_byte() -> None:
    """One byte at a time gives every frame at its last byte."""
    stream = build(HELLO) + build(SHADOW)
    buffer = bytearray()
    received = []
    for position in range(len(stream)):
        buffer += stream[position : position + 1]
        received += [(position + 1, frame) for frame in parse_frames(buffer)]
    assert received == [(len(build(HELLO)), HELLO), (len(stream), SHADOW)]


def test_an_incomplete_frame_stays() -> None:
    """What has not arrived whole is left in the buffer untouched."""
    stream = build(HELLO) + build(SHADOW)[:-1]
    buffer = bytearray(stream)
    assert parse_frames(buffer) == [HELLO]
    assert buffer == build(SHADOW)[:-1]


def test_frames_do_not_hold_the_buffer() -> None:
    """The blobs are copies: the buffer can grow and change after parsing."""
    buffer = bytearray(build(SHADOW))
    (frame,) = parse_frames(buffer)
    buffer += b"x" * 10_000
    assert frame == SHADOW


def frame_of(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "little") + payload


BROKEN: list[tuple[str, bytes]] = [
    ("empty frame", frame_of(b"")),
    ("unknown kind", frame_of(b"\x09" * 40)),
    ("kind 0", frame_of(b"\x00" * 40)),
    ("longer than any frame", (MAX_FRAME_BYTES + 1).to_bytes(4, "little")),
    ("primary cut in its numbers", frame_of(b"\x01" + b"\x00" * 20)),
    ("shadow cut in its numbers", frame_of(b"\x02" + b"\x00" * 5)),
    ("hello cut in its numbers", frame_of(b"\x03")),
    ("hello without its blob", frame_of(build(HELLO)[4 : -len(HELLO.shipped)])),
    ("hello of another format", frame_of(b"\x03\x01" + build(HELLO)[6:])),
    ("details without their numbers", build_primary(*[*PLAIN, b"\x00"])),
    ("details with a blob missing", build_primary(*[*PLAIN, DETAILS[:-1]])),
    ("bytes behind the details", build_primary(*[*PLAIN, DETAILS + b"x"])),
    ("an empty frame between others", build(SHADOW) + frame_of(b"") + build(SHADOW)),
    ("blob longer than the frame", frame_of(build(HELLO)[4:-1])),
    ("bytes behind the last blob", frame_of(build(HELLO)[4:] + b"x")),
    ("shadow with one blob", frame_of(build(SHADOW)[4 : -len(SHADOW.response_body) - 4])),
]


@pytest.mark.parametrize(("name", "stream"), BROKEN, ids=[name for name, _ in BROKEN])
def test_a_broken_stream_is_a_state_error(name: str, stream: bytes) -> None:
    """Every way to be broken is a StateError, and the buffer is free afterwards."""
    buffer = bytearray(stream)
    with pytest.raises(StateError):
        parse_frames(buffer)
    buffer += b"x"


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_a_state_error(stream: bytes) -> None:
    """Parsed, incomplete, or StateError, never anything else."""
    buffer = bytearray(stream)
    try:
        parse_frames(buffer)
    except StateError:
        return
    assert stream.endswith(bytes(buffer))


@given(frames, st.data())
def test_a_flipped_byte_is_a_frame_or_a_state_error(frame: Frame, data: st.DataObject) -> None:
    """Damage anywhere in a frame never raises anything but StateError."""
    stream = bytearray(build(frame))
    position = data.draw(st.integers(0, len(stream) - 1))
    stream[position] ^= data.draw(st.integers(1, 255))
    try:
        parse_frames(stream)
    except StateError:
        return


@given(frames, st.integers(1, 200))
def test_a_frame_shortened_with_its_length_is_a_state_error(frame: Frame, missing: int) -> None:
    """A frame whose end is missing although its length says it is whole is refused."""
    payload = build(frame)[4:]
    with pytest.raises(StateError):
        parse_frames(bytearray(frame_of(payload[: max(0, len(payload) - missing)])))


@pytest.mark.parametrize("value", [-1, 2**16])
def test_a_number_that_does_not_fit_is_not_cut(value: int) -> None:
    """The builder refuses what the wire cannot carry instead of sending something else."""
    with pytest.raises(struct.error, match="format"):
        build(replace(SHADOW, worker=value))


def test_flags_are_distinct_bits_of_16() -> None:
    """Every flag is one bit of its own that the frame can carry."""
    bits = [value for name, value in vars(Flag).items() if name.isupper()]
    assert all(bit.bit_count() == 1 for bit in bits)
    assert len(set(bits)) == len(bits)
    assert max(bits) < 2**16

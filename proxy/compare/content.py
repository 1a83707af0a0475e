"""Bytes as sent → bytes as meant → JSON: content-encodings, charsets and the JSON real servers write."""

import json  # noqa: TID251 - see parse_json: the one parser at hand that reads NaN and Infinity
import zlib
from functools import lru_cache
from typing import Final

import orjson

from proxy.compare.values import Json, Undecodable

__all__ = ["decode_content", "media_type", "parse_json"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_MAX_CODINGS: Final = 3
"""More layers than this are not compression but an attack: each multiplies the ratio by up to 1,000."""

_MAX_MEMBERS: Final = 10_000
"""More members of one gzip body than this are unsupported: an empty one costs 20 bytes to send."""
_WINDOW_BYTES: Final = 16 * 1024
"""How much of a gzip body is fed at once. The decoder copies what it has not used: whole bodies of small members would
take quadratic time."""

_CHARSETS: Final = {
    b"utf-16": "utf-16",
    b"utf-16le": "utf-16-le",
    b"utf-16be": "utf-16-be",
    b"utf-32": "utf-32",
    b"iso-8859-1": "latin-1",
    b"latin1": "latin-1",
    b"windows-1252": "cp1252",
}
"""Charsets other than UTF-8 (and its subset ASCII) that are honoured. A list and not ``codecs.lookup``:
some of Python's codecs take quadratic time."""

_INVALID_JSON: Final = Undecodable("invalid_json")
_BAD_ENCODING: Final = Undecodable("bad_encoding")
_UNSUPPORTED: Final = Undecodable("unsupported_encoding")
_TOO_LARGE: Final = Undecodable("decoded_too_large")


def decode_content(body: bytes, content_encoding: bytes | None, cap_bytes: int) -> bytes | Undecodable:
    """Undo ``content_encoding`` (RFC 9110 section 8.4), writing at most ``cap_bytes`` per layer.

    gzip, deflate (zlib-wrapped, or raw as old servers send it) and identity. Brotli and zstd are not
    in the standard library of every supported Python and give ``unsupported_encoding`` on all of them,
    so that what is comparable does not depend on the interpreter. A body without coding is not capped:
    it was when it was copied.
    """
    if content_encoding is None or content_encoding == b"identity":
        return body
    codings = [
        c for part in content_encoding.lower().split(b",") if (c := part.strip()) not in (b"", b"identity")
    ]
    if len(codings) > _MAX_CODINGS:
        return _UNSUPPORTED
    for coding in reversed(codings):  # listed in the order they were applied
        if coding in (b"gzip", b"x-gzip"):
            plain = _gunzip(body, cap_bytes)
        elif coding == b"deflate":
            plain = _inflate(body, cap_bytes)
        else:
            return _UNSUPPORTED
        if isinstance(plain, Undecodable):
            return plain
        body = plain
    return body


def _gunzip(body: bytes, cap_bytes: int) -> bytes | Undecodable:
    """Decode every member of a gzip body (RFC 1952 section 2.2); what follows the last one is padding."""
    members: list[bytes] = []
    rest, room = memoryview(body), cap_bytes
    while not members or bytes(rest[:2]) == _GZIP_MAGIC:
        if len(members) == _MAX_MEMBERS:
            return _UNSUPPORTED
        decoder = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)
        pieces: list[bytes] = []
        while rest and not decoder.eof:
            window = rest[:_WINDOW_BYTES]
            try:
                piece = decoder.decompress(window, room + 1)
            except zlib.error:
                return _BAD_ENCODING
            room -= len(piece)
            if room < 0:
                return _TOO_LARGE
            pieces.append(piece)
            rest = rest[len(window) - len(decoder.unused_data) :]
        if not decoder.eof:
            return _BAD_ENCODING
        members.append(b"".join(pieces))
    return b"".join(members)


def _inflate(body: bytes, cap_bytes: int) -> bytes | Undecodable:
    """Decode "deflate": zlib format as RFC 9110 section 8.4.1.2 says, else the raw form it mentions."""
    for wbits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        decoder = zlib.decompressobj(wbits=wbits)
        try:
            plain = decoder.decompress(body, cap_bytes + 1)
        except zlib.error:
            continue
        if len(plain) > cap_bytes:
            return _TOO_LARGE
        if decoder.eof:
            return plain
    return _BAD_ENCODING


@lru_cache(maxsize=64)
def media_type(content_type: bytes | None) -> tuple[bytes, bytes]:
    """Return media type and charset, both lower-case, empty where absent. Cached: a server has a few types."""
    if content_type is None:
        return b"", b""
    head, _, parameters = content_type.partition(b";")
    charset = b""
    if parameters:
        for parameter in parameters.split(b";"):
            name, _, value = parameter.partition(b"=")
            if name.strip().lower() == b"charset":
                charset = value.strip().strip(b'"').lower()
    return head.strip().lower(), charset


def parse_json(body: bytes, charset: bytes = b"") -> Json | Undecodable:
    """Parse JSON as model servers write it.

    Beyond RFC 8259: a UTF-8 byte order mark is skipped, a declared single- or double-byte charset is
    honoured, and ``NaN``, ``Infinity``, ``-Infinity`` are numbers (TensorFlow Serving and Python's
    ``json.dumps`` write them). Of duplicate keys the last wins. Integers beyond 64 bits become floats.
    Nesting deeper than the parser's limit (about 1,000) is ``invalid_json``.
    """
    if charset and charset in _CHARSETS:
        try:
            body = body.decode(_CHARSETS[charset]).encode()
        except UnicodeError:
            return _INVALID_JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_tolerantly(body)


def _parse_tolerantly(body: bytes) -> Json | Undecodable:
    """Parse what the strict parser refused: it is several times faster, so it is asked first."""
    if body.startswith(_BYTE_ORDER_MARK):
        body = body[len(_BYTE_ORDER_MARK) :]
        try:
            return orjson.loads(body)
        except orjson.JSONDecodeError:
            pass
    if b"NaN" in body or b"Infinity" in body:
        return _parse_with_nan(body)
    return _INVALID_JSON


def _parse_with_nan(body: bytes) -> Json | Undecodable:
    try:
        return json.loads(body.decode(), parse_int=_int_of_64_bits)
    except (ValueError, RecursionError):
        return _INVALID_JSON


def _int_of_64_bits(digits: str) -> int | float:
    """Read an integer as the strict parser does: one that needs more than 64 bits is a float."""
    if len(digits) > 20:
        return float(digits)
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(value)

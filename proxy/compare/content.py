"""Bytes as sent → bytes as meant → JSON: content-encodings, charsets and the JSON real servers write."""

import json  # noqa: TID251 - see parse_json: the one parser at hand that reads NaN and Infinity
import re
import sys
import zlib
from codecs import charmap_decode
from collections.abc import Callable
from functools import lru_cache
from importlib import import_module
from typing import Any, Final, Protocol

import orjson

from proxy.compare.values import Json, Undecodable

__all__ = ["decode_content", "decode_octets", "decode_text", "media_parameter", "media_type", "parse_json"]

_GZIP_MAGIC: Final = b"\x1f\x8b"
_MAX_CODINGS: Final = 3
"""More layers than this are not compression but an attack: each multiplies the ratio by up to 1,000."""

_MAX_MEMBERS: Final = 10_000
"""More members of one gzip body than this are unsupported: an empty one costs 20 bytes to send."""
_ZSTD_WINDOW_LOG: Final = 23
"""8 MiB: content of a wider window is not to be sent as ``zstd`` (RFC 9659 section 3), and its window is memory."""
_WINDOW_BYTES: Final = 16 * 1024
"""How much of a body of members is fed at once. The decoder copies what it has not used: whole bodies of small
members would take quadratic time."""

_CHARSETS: Final = {
    b"utf-16": "utf-16",
    b"utf-16le": "utf-16-le",
    b"utf-16be": "utf-16-be",
    b"utf-32": "utf-32",
    b"utf-32le": "utf-32-le",
    b"utf-32be": "utf-32-be",
    b"iso-8859-1": "latin-1",
    b"iso8859-1": "latin-1",
    b"latin-1": "latin-1",
    b"latin1": "latin-1",
    b"windows-1252": "cp1252",
    b"cp1252": "cp1252",
}
"""Charsets other than UTF-8 (and its subset ASCII) that are honoured. A list and not ``codecs.lookup``:
some of Python's codecs take quadratic time."""

_INVALID_JSON: Final = Undecodable("invalid_json")
_BAD_ENCODING: Final = Undecodable("bad_encoding")
_UNSUPPORTED: Final = Undecodable("unsupported_encoding")
_TOO_LARGE: Final = Undecodable("decoded_too_large")


def decode_content(body: bytes, content_encoding: bytes | None, cap_bytes: int) -> bytes | Undecodable:
    """Undo ``content_encoding`` (RFC 9110 section 8.4), writing at most ``cap_bytes`` per layer.

    gzip and zstd (any number of members or frames), br, deflate (zlib-wrapped, or raw as old servers send
    it) and identity. A body without coding is not capped: it was when it was copied.
    """
    if content_encoding is None or content_encoding == b"identity":
        return body
    if not body:
        return body  # of no bytes there is nothing to undo, and no client minds
    codings = [
        c for part in content_encoding.lower().split(b",") if (c := part.strip()) not in (b"", b"identity")
    ]
    if len(codings) > _MAX_CODINGS:
        return _UNSUPPORTED
    for coding in reversed(codings):  # listed in the order they were applied
        undo = _CODINGS.get(coding)
        if undo is None:
            return _UNSUPPORTED
        plain = undo(body, cap_bytes)
        if isinstance(plain, Undecodable):
            return plain
        body = plain
    return body


class _Decoder(Protocol):
    """One member of a body, as ``zlib`` and ``compression.zstd`` decode it."""

    @property
    def eof(self) -> bool:
        """Whether the member has ended."""

    @property
    def unused_data(self) -> bytes:
        """What stands behind its end."""

    def decompress(self, data: Any, max_length: int, /) -> bytes:
        """Return what ``data`` adds, at most so many bytes of it."""


def _gunzip(body: bytes, cap_bytes: int) -> bytes | Undecodable:
    """Decode every member of a gzip body (RFC 1952 section 2.2); what follows the last one is padding."""
    wbits = zlib.MAX_WBITS | 16
    return _decode_members(body, cap_bytes, lambda: zlib.decompressobj(wbits), zlib.error, _GZIP_MAGIC)


def _unzstd(body: bytes, cap_bytes: int) -> bytes | Undecodable:
    """Decode every frame of a zstd body (RFC 8878), of windows as small as RFC 9659 asks for."""
    zstd = _zstd()
    options = {zstd.DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG}
    return _decode_members(
        body, cap_bytes, lambda: zstd.ZstdDecompressor(options=options), zstd.ZstdError, b""
    )


def _zstd() -> Any:
    """Return the standard library's module of Python 3.14, or what is the same for those before."""
    name = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"
    return import_module(name)


def _decode_members(
    body: bytes, cap_bytes: int, begin: Callable[[], _Decoder], failure: type[Exception], magic: bytes
) -> bytes | Undecodable:
    """Decode members one after the other, until what follows does not begin with ``magic``."""
    members: list[bytes] = []
    rest, room = memoryview(body), cap_bytes
    while not members or (rest and bytes(rest[: len(magic)]) == magic):
        if len(members) == _MAX_MEMBERS:
            return _UNSUPPORTED
        decoder = begin()
        pieces: list[bytes] = []
        while rest and not decoder.eof:
            window = rest[:_WINDOW_BYTES]
            try:
                piece = decoder.decompress(window, room + 1)
            except failure:
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


def _unbrotli(body: bytes, cap_bytes: int) -> bytes | Undecodable:
    """Decode brotli (RFC 7932), which has one member and nothing behind it."""
    brotli = import_module("brotli")
    decoder = brotli.Decompressor()
    pieces: list[bytes] = []
    room, rest = cap_bytes, body
    while not decoder.is_finished():
        try:
            # It stops a little behind the limit, at the end of what it has at hand (32 KiB).
            piece = decoder.process(rest, output_buffer_limit=room + 1)
        except brotli.error:
            return _BAD_ENCODING
        room -= len(piece)
        if room < 0:
            return _TOO_LARGE
        pieces.append(piece)
        rest = b""
        if not piece and not decoder.is_finished():
            return _BAD_ENCODING  # it waits for more
    return b"".join(pieces)


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


_CODINGS: Final[dict[bytes, Callable[[bytes, int], bytes | Undecodable]]] = {
    b"gzip": _gunzip,
    b"x-gzip": _gunzip,
    b"deflate": _inflate,
    b"br": _unbrotli,
    b"zstd": _unzstd,
}


@lru_cache(maxsize=64)
def media_type(content_type: bytes | None) -> tuple[bytes, bytes]:
    """Return media type and charset, both lower-case, empty where absent. Cached: a server has a few types."""
    if content_type is None:
        return b"", b""
    return content_type.partition(b";")[0].strip().lower(), media_parameter(content_type, b"charset")


def media_parameter(content_type: bytes | None, name: bytes) -> bytes:
    """Return the value of a parameter of a media type, lower-case; empty where there is none of that ``name``."""
    for parameter in (content_type or b"").split(b";")[1:]:
        found, _, value = parameter.partition(b"=")
        if found.strip().lower() == name:
            return value.strip().strip(b'"').lower()
    return b""


def decode_text(body: bytes, charset: bytes = b"") -> str | None:
    """Return ``body`` as text, without a byte order mark; ``None`` if it is not text of its charset."""
    try:
        return body.decode(_CHARSETS.get(charset, "utf-8")).removeprefix("\ufeff")
    except UnicodeError:
        return None


def decode_octets(raw: bytes) -> str:
    """Return ``raw`` as text, one to one: UTF-8, or where it is none, each byte above ASCII as U+EF80 to U+EFFF.

    So what differs in bytes differs as text, which can be written as UTF-8 none the less, unlike the lone surrogates
    that are Python's own way. These letters are for private use; where UTF-8 has one, it is taken for bytes too.
    """
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        pass
    else:
        if text.isascii() or _OCTET.search(raw) is None:
            return text
    return charmap_decode(raw, "strict", _OCTETS)[0]


_OCTETS: Final = "".join(chr(byte if byte < 0x80 else 0xEF00 + byte) for byte in range(0x100))
_OCTET: Final = re.compile(rb"\xee[\xbe\xbf]")
"""What U+EF80 to U+EFFF begin with in UTF-8."""


def parse_json(body: bytes, charset: bytes = b"", *, keeps_octets: bool = False) -> Json | Undecodable:
    """Parse JSON as model servers write it.

    Beyond RFC 8259: a UTF-8 byte order mark is skipped, a declared single- or double-byte charset is
    honoured, and ``NaN``, ``Infinity``, ``-Infinity`` are numbers (TensorFlow Serving and Python's
    ``json.dumps`` write them). Half of a surrogate pair (a model's token may end in the middle of an emoji) is taken
    for U+FFFD, a number beyond FP64 for an infinity: so do most clients. Of duplicate keys the last wins. Integers
    beyond 64 bits become floats. Nesting deeper than the parser's limit (about 1,000) is ``invalid_json``.

    Args:
        body: as sent.
        charset: that the media type names; empty: none.
        keeps_octets: bytes that are not UTF-8 stand as U+EF80 to U+EFFF, as most clients fail or see other letters
            there; else they are taken for the Latin-1 that they may be meant as, for whoever looks for a word.
    """
    if charset and charset in _CHARSETS:
        try:
            body = body.decode(_CHARSETS[charset]).encode()
        except UnicodeError:
            return _INVALID_JSON
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return _parse_tolerantly(body, keeps_octets=keeps_octets)


def _parse_tolerantly(body: bytes, *, keeps_octets: bool) -> Json | Undecodable:
    """Parse what the strict parser refused: it is several times faster, so it is asked first."""
    text = body.decode(errors="surrogateescape")
    text = text.translate(_BYTES_AS_OCTETS if keeps_octets else _BYTES_AS_LATIN_1).removeprefix("\ufeff")
    text = _ESCAPE.sub(lambda found: "\\ufffd" if found[1] else found[0], text)
    try:
        return json.loads(text, parse_int=_int_of_64_bits)
    except (ValueError, RecursionError):
        return _INVALID_JSON


_BYTES_AS_LATIN_1: Final = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}
_BYTES_AS_OCTETS: Final = {0xDC00 + byte: 0xEF00 + byte for byte in range(0x80, 0x100)}
_ESCAPE: Final = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""An escape, or the two of a surrogate pair; the group is half of a pair, without its other."""


def _int_of_64_bits(digits: str) -> int | float:
    """Read an integer as the strict parser does: one that needs more than 64 bits is a float."""
    if len(digits) > 20:
        return float(digits)
    value = int(digits)
    return value if -(2**63) <= value < 2**64 else float(value)

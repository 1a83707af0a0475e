"""A text → what else it may say: the spellings that hide an address or a key from who looks at the letters alone.

Pure, and linear: each spelling is undone once, and what stands in base64 or hex is read in the same way. JSON inside of
texts is looked into elsewhere, as a document; here are the escapes of such JSON as is cut or stands amid other words.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from html import unescape
from typing import Final
from urllib.parse import unquote

__all__ = ["NO_LETTERS", "readings"]

_ESCAPE: Final = re.compile(
    r"(?<!\\)\\++(?:u([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|u\{0{0,4}([0-9A-Fa-f]{1,4})\}|([0-3][0-7]{2}))"
)
"""Escapes of JSON (RFC 8259 section 7) and of programs, octal ones too, also such as were escaped themselves."""

_QUOTED: Final = re.compile(r"=(?:([0-9A-Fa-f]{2})|\r?\n)")
"""Quoted-printable: letters, and ends of lines that are none (RFC 2045 section 6.7)."""

_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")

_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}+=*+")
"""What may be base64 of a text (RFC 4648 sections 4 and 5), alone, in a data URL (RFC 2397) or amid words."""

_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2}(?:[:,-]?[ \n]?(?:0x)?[0-9A-Fa-f]{2}){11,}(?![0-9A-Za-z])"
)
"""Bytes in hex, one behind the other or parted as dumps and debuggers do."""
_NO_HEX: Final = re.compile(r"0x|[^0-9A-Fa-f]")

_CODES: Final = re.compile(r"(?<![\w.-])[0-9]{1,3}(?:(?:,[ \n]?|[ \n])[0-9]{1,3}){11,}(?![\w.])")
"""Bytes in decimal, as a list of them is printed."""
_CODE: Final = re.compile(r"[0-9]+")

NO_LETTERS: Final = frozenset(range(32)) - {0, 9, 10, 13}
"""Codes that no text has: what has some is a list of numbers, such as ages."""

_TO_STANDARD: Final = str.maketrans("-_", "+/")


def readings(text: str) -> Iterator[str]:
    """Yield the texts that ``text``, or a part of it, is another spelling of; never itself."""
    yield from _readings(text, _MOST_LAYERS)


def _readings(text: str, layers: int) -> Iterator[str]:
    plain = _undone(text)
    if plain != text:
        yield plain
    if "=" in plain and (quoted := _QUOTED.sub(_unquoted, plain)) != plain:
        yield quoted
    if not layers:
        return
    inner = [_text_of(bytes.fromhex(_NO_HEX.sub("", found[0]))) for found in _HEX.finditer(plain)]
    inner += [_text_of_codes(found[0]) for found in _CODES.finditer(plain)]
    inner += [_text_of_base64(found[0]) for found in _BASE64.finditer(plain)]
    for each in inner:
        if each:
            yield each
            yield from _readings(each, layers - 1)


_MOST_LAYERS: Final = 2
"""Base64 or hex inside of each other; a layer is at most three quarters as long as what it is in."""


def _undone(text: str) -> str:
    """Return ``text`` without escapes, whichever they are."""
    if "\\" in text:
        text = _ESCAPE.sub(_unescaped, text)
    if "%" in text and _PERCENT.search(text):
        text = unquote(text)
    for _ in range(_MOST_LAYERS):
        text = unescape(text) if "&" in text else text
    return text if text.isascii() else text.translate(_AS_ASCII)


def _unescaped(found: re.Match[str]) -> str:
    octal = found[4]
    return chr(int(octal, 8) if octal else int(found[1] or found[2] or found[3], 16))


def _unquoted(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def _text_of_codes(text: str) -> str | None:
    codes = {int(code) for code in _CODE.findall(text)}
    if max(codes) > 255 or not codes.isdisjoint(NO_LETTERS):
        return None
    return _text_of(bytes(int(code) for code in _CODE.findall(text)))


def _text_of_base64(text: str) -> str | None:
    standard = text.rstrip("=").translate(_TO_STANDARD)
    try:
        return _text_of(base64.b64decode(standard + "=" * (-len(standard) % 4), validate=True))
    except binascii.Error:
        return None


def _text_of(data: bytes) -> str | None:
    """Return the text that ``data`` is in UTF-8, or in UTF-16 as other systems keep texts; None if it is neither."""
    try:
        if b"\0" in data[:2]:
            return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le")
        return data.decode("utf-16" if data[:2] in _BYTE_ORDERS else "utf-8")
    except UnicodeDecodeError:
        return None


_AS_ASCII: Final = {
    **{0xFF00 + letter: 0x20 + letter for letter in range(0x01, 0x5F)},  # full width
    **dict.fromkeys((0xAD, 0x200B, 0x200C, 0x200D, 0x2060, 0xFEFF)),  # take no room
    **dict.fromkeys((*range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63), "-"),
    **dict.fromkeys((0x2024, 0xFE52), "."),
    0xFE6B: "@",
}
"""Letters that look like others, or like nothing (Unicode's forms of compatibility, as far as addresses have them).
``unicodedata.normalize`` would do more, in quadratic time for a text of marks."""

_BYTE_ORDERS: Final = (b"\xff\xfe", b"\xfe\xff")

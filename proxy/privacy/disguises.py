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
    r"(?<!\\)\\++(?:(?:U0000|u)([0-9A-Fa-f]{4})|x([0-9A-Fa-f]{2})|u\{0{0,4}([0-9A-Fa-f]{1,4})\}"
    r"|([0-3][0-7]{2})|([/nr]))"
)
"""Escapes of JSON (RFC 8259 section 7) and of programs, octal ones too, also such as were escaped themselves."""
_SIGNS: Final = {"/": "/", "n": "\n", "r": "\r"}

_QUOTED: Final = re.compile(r"=(?:([0-9A-Fa-f]{2})|\r?\n)")
"""Quoted-printable: letters, and ends of lines that are none (RFC 2045 section 6.7)."""

_PERCENT: Final = re.compile(r"%[0-9A-Fa-f]{2}")

_BASE64: Final = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,}+=*+")
"""What may be base64 of a text (RFC 4648 sections 4 and 5), alone, in a data URL (RFC 2397) or amid words."""
_WRAP: Final = re.compile(r"(?<=[A-Za-z0-9+/_-]{40})\r?\n[ \t]*+(?=[A-Za-z0-9+/_-])")
"""End of a line of base64 that goes on in the next: at 64 letters (RFC 7468 section 2) or 76 (RFC 2045 section 6.8)."""

_HEX: Final = re.compile(
    r"(?<![0-9A-Za-z])(?:0x)?[0-9A-Fa-f]{2}(?:[:,-]?[ \n]?(?:0x)?[0-9A-Fa-f]{2}){11,}[0-9A-Fa-f]?(?![0-9A-Za-z])"
)
"""Bytes in hex, one behind the other or parted as dumps and debuggers do; of the last perhaps one digit."""
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
    inner = [_bytes_of_hex(found[0]) for found in _HEX.finditer(plain)]
    inner += [_bytes_of_codes(found[0]) for found in _CODES.finditer(plain)]
    unwrapped = _WRAP.sub("", plain) if "\n" in plain else plain
    inner += [_bytes_of_base64(found[0]) for found in _BASE64.finditer(unwrapped)]
    for each in map(_text_of, inner):
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
    return text if text.isascii() and "\0" not in text else text.translate(_AS_ASCII)


def _unescaped(found: re.Match[str]) -> str:
    if sign := found[5]:
        return _SIGNS[sign]
    octal = found[4]
    return chr(int(octal, 8) if octal else int(found[1] or found[2] or found[3], 16))


def _unquoted(found: re.Match[str]) -> str:
    return chr(int(found[1], 16)) if found[1] else ""


def _bytes_of_hex(text: str) -> bytes:
    digits = _NO_HEX.sub("", text)
    return bytes.fromhex(digits[: len(digits) // 2 * 2])


def _bytes_of_codes(text: str) -> bytes:
    codes = [int(code) for code in _CODE.findall(text)]
    return b"" if max(codes) > 255 or not NO_LETTERS.isdisjoint(codes) else bytes(codes)


def _bytes_of_base64(text: str) -> bytes:
    letters = text.rstrip("=").translate(_TO_STANDARD)
    # Four letters are three bytes: of one letter alone, where the text was cut, nothing can be read.
    letters = letters[:-1] if len(letters) % 4 == 1 else letters
    try:
        return base64.b64decode(letters + "=" * (-len(letters) % 4), validate=True)
    except binascii.Error:
        return b""


def _text_of(data: bytes) -> str:
    """Return the text that ``data`` is in UTF-8, or in UTF-16 as other systems keep texts. If it is neither, return
    what can be read in it: it was cut, is of another character set, or is a message of a protocol with texts in it."""
    try:
        if b"\0" in data[:2] and b"\0\0" not in data:
            return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le")
        return data.decode("utf-16" if data[:2] in _BYTE_ORDERS else "utf-8")
    except UnicodeDecodeError:
        return "\n".join(found[0].decode("ascii") for found in _READABLE.finditer(data))


_READABLE: Final = re.compile(rb"[\t\n\r -~]{12,}")
"""Of a picture of a megabyte these are a handful by chance."""


_AS_ASCII: Final = {
    **{0xFF00 + letter: 0x20 + letter for letter in range(0x01, 0x5F)},  # full width
    # Take no room, or say how to write what is behind them; and what UTF-16 has between letters.
    **dict.fromkeys((0, 0xAD, 0x034F, 0x061C, 0x180E, *range(0x200B, 0x2010), *range(0x202A, 0x202F))),
    **dict.fromkeys((*range(0x2060, 0x2070), *range(0xFE00, 0xFE10), 0xFEFF)),
    **dict.fromkeys((*range(0x2000, 0x200B), 0x202F, 0x205F, 0x3000), " "),
    **dict.fromkeys((*range(0x2010, 0x2016), 0x2212, 0xFE58, 0xFE63), "-"),
    **dict.fromkeys((0x2024, 0x3002, 0xFE52, 0xFF61), "."),
    0xFE6B: "@",
}
"""Letters that look like others, or like nothing (Unicode's forms of compatibility, as far as addresses have them).
``unicodedata.normalize`` would do more, in quadratic time for a text of marks."""

_BYTE_ORDERS: Final = (b"\xff\xfe", b"\xfe\xff")

"""Other spellings of a text: found, in linear time."""

import base64
import struct
import time
import unicodedata
from urllib.parse import quote

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.privacy.disguises import readings

SECRET = "ada@example.com"
B64 = base64.b64encode(f"to {SECRET}".encode()).decode()

SPELLINGS = {
    "escaped in JSON": r"ada\u0040example.com",
    "escaped twice": r"ada\\u0040example.com",
    "escaped for a program": r"ada\x40example.com",
    "percent": "ada%40example%2Ecom",
    "every letter": "".join(f"%{ord(letter):02x}" for letter in SECRET),
    "an entity": "ada&#64;example.com",
    "an entity by name": "ada&commat;example.com",
    "base64": B64,
    "base64 for URLs": base64.urlsafe_b64encode(f"to {SECRET}??>>".encode()).decode().rstrip("="),
    "a data URL": f"data:text/plain;base64,{B64}",
    "base64 of what is escaped": base64.b64encode(rb'{"a": "ada\u0040example.com"}').decode(),
    "base64 in percent": quote(B64, safe=""),
    "base64 of UTF-16": base64.b64encode(SECRET.encode("utf-16")).decode(),
    "base64 of UTF-16, the other way round": base64.b64encode(SECRET.encode("utf-16-be")).decode(),
    "hex": SECRET.encode().hex(),
    "hex of a program": "0x" + SECRET.encode().hex(),
    "base64 of base64": base64.b64encode(B64.encode()).decode(),
    "full width": "".join(chr(ord(letter) + 0xFEE0) for letter in SECRET),
    "a small sign": SECRET.replace("@", "\ufe6b"),
    "a break that takes no room": SECRET.replace("ple", "\u200bple"),
    "a hyphen that is soft": SECRET.replace("@", "@\u00ad"),
    "capital hex": SECRET.encode().hex().upper(),
    "hex with spaces": SECRET.encode().hex(" "),
    "hex with colons": SECRET.encode().hex(":").upper(),
    "hex with hyphens": SECRET.encode().hex("-"),
    "hex by two bytes": SECRET.encode().hex(" ", 2),
    "hex of a list in a program": ", ".join(f"0x{code:02X}" for code in SECRET.encode()),
    "codes": " ".join(map(str, SECRET.encode())),
    "codes of a list": str(list(SECRET.encode())),
    "octal": "".join(f"\\{ord(letter):03o}" for letter in SECRET),
    "one octal escape": r"ada\100example.com",
    "escaped with braces": r"ada\u{40}example.com",
    "quoted-printable": "ada=40example.com",
    "quoted-printable, every letter": "".join(f"={ord(letter):02X}" for letter in SECRET),
    "quoted-printable in two lines": "ada@exam=\r\nple.com",
    "an entity in an entity": "ada&amp;#64;example.com",
    "a sign that takes no room": SECRET.replace("@", "@\u2063"),
    "the other direction": SECRET.replace("@", "\u202e@"),
    "the full stop of another script": SECRET.replace(".", "\u3002"),
    "UTF-16 read byte by byte": "\0".join(SECRET),
    "escaped with eight digits": SECRET.replace("@", r"\U00000040"),
    "base64 that was cut": base64.b64encode(f"to {SECRET} ".encode() + b"x" * 8).decode()[:-3],
    "base64 that was cut in a letter": base64.b64encode(f"{SECRET} é".encode()[:-1]).decode(),
    "base64 of Latin-1": base64.b64encode(f"André {SECRET}".encode("latin-1")).decode(),
    "base64 of a tensor": base64.b64encode(struct.pack("<I", len(SECRET)) + SECRET.encode()).decode(),
    "base64 of a message with a text": base64.b64encode(b"\x92\xaf" + SECRET.encode() + b"\xff").decode(),
    "hex that was cut": SECRET.encode().hex() + "a",
}


@pytest.mark.parametrize("name", SPELLINGS)
@pytest.mark.parametrize("frame", ["{}", "send it to {} now", '{{"q": "{}", "cut'])
def test_spellings(name: str, frame: str) -> None:
    """What is hidden by its spelling alone, alone or amid words, is among the readings."""
    assert any(SECRET in reading for reading in readings(frame.format(SPELLINGS[name])))


LOOKALIKES = {
    **{chr(code): unicodedata.normalize("NFKC", chr(code)) for code in range(0xFF01, 0xFF5F)},
    **{sign: unicodedata.normalize("NFKC", sign) for sign in "\u2024\ufe52\ufe6b\ufe63"},
    **{chr(code): " " for code in range(0x2000, 0x3001) if unicodedata.normalize("NFKC", chr(code)) == " "},
    **{chr(code): "-" for code in range(0x2010, 0x2016) if unicodedata.category(chr(code)) == "Pd"},
    **dict.fromkeys("\u2212\ufe58", "-"),
    **dict.fromkeys("\u00ad\u200b\u200c\u200d\u2060\ufeff", ""),
}
"""Signs that look like one of ASCII's, or like nothing; for most of them Unicode's own table says which."""


def test_lookalikes() -> None:
    """Each is read as what it looks like."""
    assert len(LOOKALIKES) == 94 + 4 + 14 + 6 + 2 + 6
    for sign, plain in LOOKALIKES.items():
        assert f"a{plain}b" in readings(f"a{sign}b"), hex(ord(sign))


@pytest.mark.parametrize(
    "text", ["", "plain words", "understanding nothing", "a & b, 50 % of c\\d", "deadbeef"]
)
def test_nothing_else(text: str) -> None:
    """A text that hides nothing has no readings, or none that says more."""
    assert [reading for reading in readings(text) if len(reading) > len(text)] == []


@pytest.mark.parametrize("text", ["55 68 64 83 50 55 46 90 74 28 48 87 97", "1" + ", 999" * 20])
def test_numbers_that_are_no_codes(text: str) -> None:
    """Ages, and numbers that are larger than a byte's, spell nothing; in hex the first are no text either."""
    assert list(readings(text)) == []


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n    ", r"\n", r"\r\n"])
@pytest.mark.parametrize("before", range(20, 60))
def test_base64_in_lines(before: int, end: str) -> None:
    """Wherever the line breaks, as mail and certificates are written; escaped too, as in a part of JSON."""
    lines = base64.encodebytes(b"x" * before + f" {SECRET} ".encode() + b"y" * 60).decode().splitlines()
    assert any(SECRET in reading for reading in readings(f"see:\n{end.join(lines)}\nend"))


def test_signs_that_json_may_escape() -> None:
    """Strokes too, as PHP writes them."""
    url = "https://ada:hunter2@db/"
    assert any(url in reading for reading in readings(r'{"url": "https:\/\/ada:hunter2@db\/'))


@given(st.text(max_size=80))
def test_total(text: str) -> None:
    """Any text has readings, and is none of its own."""
    assert text not in list(readings(text))


@given(st.text(st.characters(codec="ascii", exclude_characters="&%\\\0"), min_size=1, max_size=40))
def test_what_was_escaped_is_read(text: str) -> None:
    """The escapes of a JSON writer that escapes every letter are undone."""
    assert text in readings("".join(f"\\u{ord(letter):04x}" for letter in text))


PIECES = (
    "a0 ",
    "a0:",
    "0x41, ",
    "0x",
    "97, ",
    "97 ",
    "999 ",
    "1.",
    "\\1",
    "\\101",
    "\\u{",
    "=4",
    "=41",
    "=\n",
    "%4",
    "%41",
    "\\u00",
    "\\\\",
    "\\u0040",
    "&#",
    "&amp;",
    "A",
    "a0",
    "QUJD",
    "QUJD ",
    "a-",
    "=",
    "&" * 40,
    "A" * 41 + "\n",
    "A" * 41 + "\n  ",
    "\\n",
    "\0",
    "a\0",
    "\u200f",
)


@pytest.mark.parametrize("piece", PIECES)
def test_linear_time(piece: str) -> None:
    """A quarter of a mebibyte of anything has its readings at once, and they are not much longer."""
    text = piece * (256 * 1024 // len(piece))
    began = time.process_time()
    total = sum(map(len, readings(text)))
    assert time.process_time() - began < 2.0
    assert total <= 4 * len(text)


def test_orjson_escapes_are_json() -> None:
    """The first spelling above is what a JSON parser reads so."""
    assert orjson.loads(f'"{SPELLINGS["escaped in JSON"]}"') == SECRET

"""Content-encodings are undone within a cap; JSON is read as servers write it."""

import gzip
import math
import sys
import zlib
from typing import Any

import brotli
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.clock import monotonic
from proxy.compare.content import decode_content, decode_octets, media_type, parse_json
from proxy.compare.values import Undecodable

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

CAP = 10_000
PLAIN = b'{"predictions": [1, 2, 3]}'


def _deflate(body: bytes, wbits: int) -> bytes:
    encoder = zlib.compressobj(wbits=wbits)
    return encoder.compress(body) + encoder.flush()


def _zstd(body: bytes, parameter: zstd.CompressionParameter, value: int) -> bytes:
    encoder = zstd.ZstdCompressor(options={parameter: value})
    return encoder.compress(body) + encoder.flush()


WIDE = _zstd(PLAIN, zstd.CompressionParameter.window_log, 27)
CHECKED = _zstd(PLAIN, zstd.CompressionParameter.checksum_flag, 1)
BOMB = gzip.compress(bytes(50 * 1024 * 1024))

ENCODED: dict[str, tuple[bytes, bytes | None, bytes | str]] = {
    "no encoding": (PLAIN, None, PLAIN),
    "identity": (PLAIN, b"identity", PLAIN),
    "empty header": (PLAIN, b"", PLAIN),
    "gzip": (gzip.compress(PLAIN), b"gzip", PLAIN),
    "x-gzip in capitals": (gzip.compress(PLAIN), b"X-GZIP", PLAIN),
    "two members": (gzip.compress(PLAIN) + gzip.compress(b" "), b"gzip", PLAIN + b" "),
    "padding after the member": (gzip.compress(PLAIN) + b"\0\0\0", b"gzip", PLAIN),
    "deflate with zlib header": (zlib.compress(PLAIN), b"deflate", PLAIN),
    "raw deflate": (_deflate(PLAIN, -15), b"deflate", PLAIN),
    "deflate in gzip": (gzip.compress(zlib.compress(PLAIN)), b"deflate, gzip", PLAIN),
    "exactly the cap": (gzip.compress(b"x" * CAP), b"gzip", b"x" * CAP),
    "one byte over the cap": (gzip.compress(b"x" * (CAP + 1)), b"gzip", "decoded_too_large"),
    "members over the cap together": (gzip.compress(b"x" * 6000) * 2, b"gzip", "decoded_too_large"),
    "a bomb": (BOMB, b"gzip", "decoded_too_large"),
    "a bomb in deflate": (zlib.compress(bytes(10_000_000)), b"deflate", "decoded_too_large"),
    "a bomb in a bomb": (gzip.compress(BOMB), b"gzip, gzip", "decoded_too_large"),
    "cut gzip": (gzip.compress(PLAIN)[:-9], b"gzip", "bad_encoding"),
    "cut deflate": (zlib.compress(PLAIN)[:-6], b"deflate", "bad_encoding"),
    "plain called gzip": (PLAIN, b"gzip", "bad_encoding"),
    "plain called deflate": (PLAIN, b"deflate", "bad_encoding"),
    "wrong checksum": (gzip.compress(PLAIN)[:-8] + bytes(8), b"gzip", "bad_encoding"),
    "empty called gzip": (b"", b"gzip", b""),
    "brotli": (brotli.compress(PLAIN), b"br", PLAIN),
    "brotli, exactly the cap": (brotli.compress(b"x" * CAP), b"br", b"x" * CAP),
    "brotli, one byte over the cap": (brotli.compress(b"x" * (CAP + 1)), b"br", "decoded_too_large"),
    "brotli, a bomb": (brotli.compress(bytes(10_000_000)), b"br", "decoded_too_large"),
    "brotli, cut": (brotli.compress(PLAIN)[:-2], b"br", "bad_encoding"),
    "brotli, bytes behind it": (brotli.compress(PLAIN) + b"x", b"br", "bad_encoding"),
    "brotli, nothing": (b"", b"br", b""),
    "brotli of nothing": (brotli.compress(b""), b"br", b""),
    "plain called brotli": (PLAIN, b"br", "bad_encoding"),
    "zstd": (zstd.compress(PLAIN), b"zstd", PLAIN),
    "zstd, two frames and one to skip": (
        zstd.compress(PLAIN) + b"\x50\x2a\x4d\x18\x02\0\0\0ab" + zstd.compress(b" "),
        b"zstd",
        PLAIN + b" ",
    ),
    "zstd, exactly the cap": (zstd.compress(b"x" * CAP), b"zstd", b"x" * CAP),
    "zstd, one byte over the cap": (zstd.compress(b"x" * (CAP + 1)), b"zstd", "decoded_too_large"),
    "zstd, a bomb": (zstd.compress(bytes(50_000_000)), b"zstd", "decoded_too_large"),
    "zstd, a window of 128 MiB": (WIDE, b"zstd", "bad_encoding"),
    "zstd, cut": (zstd.compress(PLAIN)[:-1], b"zstd", "bad_encoding"),
    "zstd, wrong checksum": (CHECKED[:-4] + bytes(4), b"zstd", "bad_encoding"),
    "zstd, bytes behind it": (zstd.compress(PLAIN) + b"x", b"zstd", "bad_encoding"),
    "zstd, nothing": (b"", b"zstd", b""),
    "plain called zstd": (PLAIN, b"zstd", "bad_encoding"),
    "brotli in zstd": (zstd.compress(brotli.compress(PLAIN)), b"br, zstd", PLAIN),
    "a coding that nobody knows": (PLAIN, b"compress", "unsupported_encoding"),
    "four layers": (PLAIN, b"gzip, gzip, gzip, gzip", "unsupported_encoding"),
}


@pytest.mark.parametrize("name", ENCODED)
def test_content_encoding(name: str) -> None:
    """Each encoding gives the plain body, or the named reason."""
    body, encoding, expected = ENCODED[name]
    wanted = Undecodable(expected) if isinstance(expected, str) else expected
    assert wanted == decode_content(body, encoding, CAP)


def test_small_members_take_linear_time() -> None:
    """A gzip body of many members is decoded; one of more than any server writes is given up."""
    members = [gzip.compress(b"%d" % i) for i in range(2_000)]
    assert b"".join(b"%d" % i for i in range(2_000)) == decode_content(b"".join(members), b"gzip", CAP * 10)
    frames = b"".join(zstd.compress(b"%d" % i) for i in range(2_000))
    assert b"".join(b"%d" % i for i in range(2_000)) == decode_content(frames, b"zstd", CAP * 10)
    empty = gzip.compress(b"")
    assert decode_content(empty * 10_000, b"gzip", CAP) == b""
    started = monotonic()
    assert decode_content(empty * 1_000_000, b"gzip", CAP) == Undecodable("unsupported_encoding")
    assert monotonic() - started < 5, "20 MB took quadratic time before: minutes"


@given(
    st.binary(max_size=200), st.sampled_from([b"gzip", b"deflate", b"deflate, gzip", b"br", b"zstd", b",,"])
)
def test_any_bytes_decode_or_give_a_reason(body: bytes, encoding: bytes) -> None:
    """Nothing is raised, whatever the bytes claim to be."""
    assert isinstance(decode_content(body, encoding, CAP), bytes | Undecodable)


@given(st.binary(max_size=2_000))
def test_decoding_undoes_encoding(body: bytes) -> None:
    """What an encoder wrote is read back."""
    assert body == decode_content(gzip.compress(body), b"gzip", CAP)
    assert body == decode_content(zlib.compress(body), b"deflate", CAP)
    assert body == decode_content(brotli.compress(body, quality=1), b"br", CAP)
    assert body == decode_content(zstd.compress(body), b"zstd", CAP)


MEDIA_TYPES: dict[str, tuple[bytes | None, tuple[bytes, bytes]]] = {
    "absent": (None, (b"", b"")),
    "plain": (b"application/json", (b"application/json", b"")),
    "capitals": (b"Application/JSON; Charset=UTF-8", (b"application/json", b"utf-8")),
    "quoted charset": (b'text/plain;charset="latin1"', (b"text/plain", b"latin1")),
    "other parameters": (b"application/json; profile=x; charset=utf-16", (b"application/json", b"utf-16")),
    "junk": (b";;=;", (b"", b"")),
}


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_media_type(name: str) -> None:
    """Type and charset come out in lower case."""
    header, expected = MEDIA_TYPES[name]
    assert expected == media_type(header)


JSON: dict[str, tuple[bytes, bytes, Any]] = {
    "plain": (b'{"a": [1, 2.5, true, null, "x"]}', b"", {"a": [1, 2.5, True, None, "x"]}),
    "duplicate keys": (b'{"a": 1, "a": 2}', b"", {"a": 2}),
    "byte order mark": (b"\xef\xbb\xbf[1]", b"", [1]),
    "Latin-1 declared": ('["caf\u00e9"]'.encode("latin-1"), b"iso-8859-1", ["caf\u00e9"]),
    "UTF-16 declared": ('["caf\u00e9"]'.encode("utf-16"), b"utf-16", ["caf\u00e9"]),
    "unknown charset is taken as UTF-8": ('["caf\u00e9"]'.encode(), b"klingon", ["caf\u00e9"]),
    "infinities": (b"[Infinity, -Infinity]", b"", [math.inf, -math.inf]),
    "largest unsigned integer": (b"[18446744073709551615]", b"", [2**64 - 1]),
    "integer over 64 bits": (b"[18446744073709551616]", b"", [float(2**64)]),
    "integer over 64 bits beside infinity": (
        b"[Infinity, 18446744073709551616]",
        b"",
        [math.inf, float(2**64)],
    ),
    "negative over 64 bits beside infinity": (
        b"[Infinity, -9223372036854775809]",
        b"",
        [math.inf, -float(2**63)],
    ),
    "very long integer beside infinity": (b"[Infinity, " + b"9" * 6000 + b"]", b"", [math.inf, math.inf]),
    "escaped emoji": (b'["\\ud83d\\ude00"]', b"", ["\U0001f600"]),
    "half an emoji": (b'["a\\ud83d", "\\\\ud83d\\udE00b"]', b"", ["a\ufffd", "\\ud83d\ufffdb"]),
    "half an emoji beside a whole one": (b'["\\uD83D\\ud83d\\ude00"]', b"", ["\ufffd\U0001f600"]),
    "Latin-1 undeclared": ('["caf\u00e9"]'.encode("latin-1"), b"", ["caf\uefe9"]),
    "Latin-1 by another name": ('["caf\u00e9"]'.encode("latin-1"), b"latin-1", ["caf\u00e9"]),
    "a token that ends within a letter": (
        '["caf\u00e9 \u20ac'.encode()[:-1] + b'"]',
        b"",
        ["caf\u00e9 \uefe2\uef82"],
    ),
    "a number beyond FP64": (b"[1e400, -1e400]", b"", [math.inf, -math.inf]),
    "a byte order mark before NaN's neighbour": (b"\xef\xbb\xbf[Infinity]", b"", [math.inf]),
    "deep": (b"[" * 900 + b"]" * 900, b"", ...),
}


@pytest.mark.parametrize("name", JSON)
def test_json_as_servers_write_it(name: str) -> None:
    """The value is what a lenient client would read."""
    body, charset, expected = JSON[name]
    value = parse_json(body, charset, keeps_octets=True)
    if expected is ...:
        assert not isinstance(value, Undecodable)
    else:
        assert expected == value


def test_nan_is_a_number() -> None:
    """TensorFlow Serving and Python write NaN as a bare word."""
    value = parse_json(b'{"predictions": [NaN, 1]}')
    assert not isinstance(value, Undecodable)
    assert math.isnan(value["predictions"][0])
    assert value["predictions"][1] == 1


def test_letters_are_guessed_for_who_looks_for_a_word() -> None:
    """Without a word on octets, what is not UTF-8 is Latin-1: a rule that names a key finds it."""
    assert parse_json('{"pr\u00e9nom": "caf\u00e9"}'.encode("latin-1")) == {"pr\u00e9nom": "caf\u00e9"}
    assert parse_json('["caf\u00e9", Infinity]'.encode("latin-1")) == ["caf\u00e9", math.inf]


def _octets_of(text: str) -> bytes:
    """Return what a text of octets was read from."""
    return b"".join(
        bytes([ord(letter) - 0xEF00]) if "\uef80" <= letter <= "\uefff" else letter.encode()
        for letter in text
    )


awkward_bytes = st.lists(
    st.binary(max_size=4)
    | st.text(max_size=3).map(lambda text: text.encode(errors="replace"))
    | st.sampled_from([b"\xee\xbf\xbf", b"\xee\xbe", b"\xed\xb2\x80", b"\xff", "\u00ff".encode()])
).map(b"".join)


@given(awkward_bytes)
def test_octets_are_one_to_one(raw: bytes) -> None:
    """Any bytes can be had back from their text, so no two texts are one; and it can be written as JSON."""
    text = decode_octets(raw)
    assert _octets_of(text) == raw
    assert orjson.loads(orjson.dumps(text)) == text


@given(st.text(alphabet=st.characters(exclude_categories=["Cs", "Co"])))
def test_text_is_as_it_was_written(text: str) -> None:
    """What is UTF-8 stays as it is, but for the few letters of private use that stand for bytes."""
    assert decode_octets(text.encode()) == text


def test_octets_take_no_more_than_two_bytes_each() -> None:
    """An image is a text of as many letters, of two bytes each."""
    raw = bytes(range(256)) * 256
    text = decode_octets(raw)
    assert len(text) == len(raw)
    assert sys.getsizeof(text) <= 2 * len(raw) + 100


BAD_JSON: dict[str, tuple[bytes, bytes]] = {
    "empty": (b"", b""),
    "cut": (b'{"a": [1, 2', b""),
    "trailing junk": (b"[1] [2]", b""),
    "single quotes": (b"{'a': 1}", b""),
    "not UTF-16": (b"[1]", b"utf-16le"),
    "too deep": (b"[" * 100_000 + b"]" * 100_000, b""),
    "too deep with NaN": (b"[" * 100_000 + b"NaN" + b"]" * 100_000, b""),
    "NaN in a word": (b"[NaNa]", b""),
    "control character beside NaN": (b'["\x01", NaN]', b""),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_bad_json_is_a_reason(name: str) -> None:
    """What no reader accepts is invalid_json."""
    body, charset = BAD_JSON[name]
    assert Undecodable("invalid_json") == parse_json(body, charset)


@given(st.binary(max_size=60), st.sampled_from([b"", b"utf-16", b"latin1", b"utf-32"]))
def test_parsing_never_raises(body: bytes, charset: bytes) -> None:
    """Any bytes are a value or a reason, with and without the words that wake the tolerant parser."""
    parse_json(body, charset)
    parse_json(b"[NaN," + body, charset)

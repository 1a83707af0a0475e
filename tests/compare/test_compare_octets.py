"""Bytes that are no text: what differs in bytes disagrees, and what is said of it can be written."""

import io
import pickle
import struct
import zlib

import numpy as np
import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from proxy.compare import Answer, Comparison, ComparisonRule, compare
from proxy.compare.rows import judged_rows
from tests.compare.answers import json_answer

AUTO = ComparisonRule()


def _binary(*elements: bytes) -> Answer:
    """Return BYTES after the JSON, one a row."""
    raw = b"".join(struct.pack("<I", len(element)) + element for element in elements)
    output = {
        "name": "y",
        "datatype": "BYTES",
        "shape": [len(elements), 1],
        "parameters": {"binary_data_size": len(raw)},
    }
    header = orjson.dumps({"model_name": "m", "outputs": [output]})
    kind = b"application/octet-stream"
    return Answer(200, kind, None, header + raw, inference_header_length=len(header))


def _written(found: Comparison) -> bytes:
    """Write what a record or an example says of a comparison."""
    differences = [[each.path, each.primary, each.shadow] for each in found.differences]
    rows = [list(each) for each in judged_rows(found, 10)]
    predicted = None if found.predicted is None else list(found.predicted)
    return orjson.dumps([differences, found.confusion, rows, predicted])


@given(st.binary(max_size=6), st.binary(max_size=6))
@example(b"\xff", "\u00ff".encode())
@example(b"\xe9", b"\xc3\xa9")
@example(b"\xff", "\uefff".encode())
@example(b"\xff", b"\xfe")
@example(b"\xff", "\ufffd".encode())
@pytest.mark.parametrize("method", ["auto", "classification", "tensor", "json"])
def test_elements_agree_when_their_bytes_are_the_same(method: str, first: bytes, second: bytes) -> None:
    """Python's own equality of bytes is the oracle, whatever method asks for it and whatever the bytes are."""
    rule = ComparisonRule(as_=method, keeps_predictions=True)
    found = compare(rule, _binary(first, b"cat"), _binary(second, b"cat"))
    assert (found.result, found.rows, found.rows_disagreeing) == (
        "agree" if first == second else "disagree",
        2,
        int(first != second),
    )
    _written(found)


def _image(value: int) -> bytes:
    """Return a PNG of 64 grey pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([value] * 8) for _ in range(8))
    head = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(rows, 0))
        + chunk(b"IEND", b"")
    )


def _array(value: float) -> bytes:
    file = io.BytesIO()
    np.save(file, np.full(64, value))
    return file.getvalue()


BLOBS = {
    "images": (_image(65), _image(97)),  # bytes that are "A" and "a", which are alike as words
    "pickles": (pickle.dumps(["A" * 100, 1.5]), pickle.dumps(["a" * 100, 1.5])),
    "arrays": (_array(1.5), _array(1.25)),
}


@pytest.mark.parametrize("name", BLOBS)
def test_blobs_are_no_texts(name: str) -> None:
    """An image or a pickle is the same or not: that most of its bytes are says nothing."""
    blob, other = BLOBS[name]
    assert compare(AUTO, _binary(blob), _binary(blob))[:4] == ("agree", 0.0, None, "tensor")
    found = compare(AUTO, _binary(blob), _binary(other))
    assert found[:4] == ("disagree", 1.0, "tolerance", "tensor")
    _written(found)


def test_a_broken_letter_leaves_a_text_one() -> None:
    """Generated text may be cut within a letter: it is still compared as words."""
    text = (
        "Die Antwort steht ausf\u00fchrlich im Handbuch, und zwar gleich auf der ersten Seite \u20ac".encode()
    )
    found = compare(AUTO, _binary(text), _binary(text[:-1]))
    assert (found.result, found.reason, found.method) == ("agree", None, "text")
    assert found.distance == pytest.approx(0.0, abs=0.1)
    _written(found)


def test_another_charset_is_another_answer() -> None:
    """A client that reads UTF-8 fails at Latin-1, or sees another letter; both in Latin-1 are the same to it."""
    latin = json_answer('{"city": "Z\u00fcrich"}'.encode("latin-1"))
    utf8 = json_answer({"city": "Z\u00fcrich"})
    assert compare(AUTO, utf8, latin)[:3] == ("disagree", 1.0, "fields")
    assert compare(AUTO, latin, latin._replace(body=latin.body + b" "))[:3] == ("agree", 0.0, None)
    assert (
        compare(AUTO, latin, latin._replace(body=latin.body.replace(b"\xfc", b"\xf6"))).result == "disagree"
    )
    declared = latin._replace(content_type=b"application/json; charset=iso-8859-1")
    assert compare(AUTO, utf8, declared)[:3] == ("agree", 0.0, None)
    _written(compare(AUTO, latin, utf8))


@pytest.mark.parametrize("charset", ["utf-8", "latin-1", "cp1251"])
@pytest.mark.parametrize("kind", [b"application/json", b"application/x-ndjson", b"text/plain", b"text/csv"])
def test_letters_differ_in_every_form(kind: bytes, charset: str) -> None:
    """Two texts of a charset that nobody declares differ, and each is like itself: whatever holds them."""
    first, second = ('"z\u00fc", 1\n'.encode("latin-1").replace(b"\xfc", byte) for byte in LETTERS[charset])
    if kind == b"application/json":
        first, second = b"[%s]" % first, b"[%s]" % second
    elif kind == b"application/x-ndjson":
        first, second = b'{"a": [%s]}\n' % first.strip(), b'{"a": [%s]}\n' % second.strip()
    answer, other = (Answer(200, kind, None, body) for body in (first, second))
    assert compare(AUTO, answer, other).result == "disagree"
    assert compare(AUTO, answer, answer).result == "agree"


LETTERS = {
    "utf-8": ("\u00fc".encode(), "\u00f6".encode()),
    "latin-1": (b"\xfc", b"\xf6"),
    "cp1251": (b"\xff", b"\xfe"),
}

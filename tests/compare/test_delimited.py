"""CSV as inference servers write it: rows, their header, and the types of their columns."""

import csv
import io
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.delimited import FIELD_LIMIT, read_delimited, tensors_of_delimited
from proxy.compare.values import Undecodable

CASES: dict[str, tuple[str, bytes, Any]] = {
    "probabilities": ("0.1,0.9\n0.8,0.2\n", b"", [[0.1, 0.9], [0.8, 0.2]]),
    "one row without an end": ("0.25", b"", [[0.25]]),
    "CRLF": ("1,2\r\n3,4\r\n", b"", [[1, 2], [3, 4]]),
    "header": ("label,score\ncat,0.9\n", b"", [{"label": "cat", "score": 0.9}]),
    "header, said to be absent": ("label,score\ncat,0.9\n", b"absent", [["label", "score"], ["cat", "0.9"]]),
    "header, said to be present": ("a,b\ncat,dog\n", b"present", [{"a": "cat", "b": "dog"}]),
    "header of pandas": (",label,p\n0,cat,0.9\n", b"", [{"": 0, "label": "cat", "p": 0.9}]),
    "a first row with a number missing": (",cat\n1,dog\n", b"", [[None, "cat"], [1.0, "dog"]]),
    "a name above nothing": ("a,b\n,cat\n", b"", [["a", "b"], ["", "cat"]]),
    "header alone": ("a,b\n", b"present", []),
    "texts have no header of their own": ("cat\ndog\n", b"", [["cat"], ["dog"]]),
    "a header with a name twice": ("a,a\n1,2\n", b"", [["a", "a"], [1, 2]]),
    "quoted": ('"a, b","c ""d"""\n', b"", [["a, b", 'c "d"']]),
    "quoted newline": ('name,n\n"a\nb",1\n', b"", [{"name": "a\nb", "n": 1}]),
    "missing numbers": ("1.5,2\n,3\n", b"", [[1.5, 2], [None, 3]]),
    "missing texts": ("a,1\n,2\n", b"absent", [["a", 1], ["", 2]]),
    "a column of nothing": (",1\n,2\n", b"", [["", 1], ["", 2]]),
    "numbers among texts are texts": ("1\nx\n", b"", [["1"], ["x"]]),
    "exponents and infinities": ("1e-3\n-inf\n+.5\n2.\n", b"", [[0.001], [-math.inf], [0.5], [2.0]]),
    "integers of more than 64 bits": ("1234567890123456789012\n", b"", [[1.234567890123456789012e21]]),
    "what only Python takes for numbers": ("1_000\n٣\n", b"", [["1_000"], ["٣"]]),
    "ragged": ("1,2\n3\n", b"", [["1", "2"], ["3"]]),
    "blank lines": ("\n1\n\n2\n\n", b"", [[1], [2]]),
    "nothing": ("", b"", []),
    "a quote that does not end": ('a,"b\n', b"", None),
    "letters behind a quote": ('"a"b\n', b"", None),
    "a bare CR": ("a\rb\n", b"", None),
    "a field over 128 KiB": ("x" * 140_000, b"", None),
    "too many fields": ("," * FIELD_LIMIT, b"", Undecodable("decoded_too_large")),
}


@pytest.mark.parametrize("name", CASES)
def test_rows(name: str) -> None:
    """Rows with values of the type of their column; None for what is no CSV."""
    text, header, expected = CASES[name]
    assert read_delimited(text, header) == expected


TENSORS: dict[str, tuple[str, list[tuple[str, str, tuple[int, ...]]]]] = {
    "one column": ("1\n2\n", [("predictions", "INT64", (2, 1))]),
    "like columns": ("0.1,0.9\n1,0\n0.3,0.7\n", [("predictions", "FP64", (3, 2))]),
    "unlike columns": ("cat,0.9\ndog,0.8\n", [("0", "BYTES", (2,)), ("1", "FP64", (2,))]),
    "named columns": ("label,score\ncat,0.9\n", [("label", "BYTES", (1,)), ("score", "FP64", (1,))]),
    "ragged": ("1,2\n3\n", []),
    "nothing": ("", []),
}


@pytest.mark.parametrize("name", TENSORS)
def test_tensors(name: str) -> None:
    """Named where the header names them; one of all columns where they are alike."""
    text, expected = TENSORS[name]
    rows = read_delimited(text)
    assert isinstance(rows, list)
    assert [(tensor.name, tensor.datatype, tensor.shape) for tensor in tensors_of_delimited(rows)] == (
        expected if text else [("predictions", "FP64", (0,))]
    )


fields = st.text(st.characters(blacklist_characters="\r\x00", codec="utf-8"), max_size=5)


@given(st.integers(1, 4).flatmap(lambda n: st.lists(st.lists(fields, min_size=n, max_size=n), max_size=5)))
def test_what_python_writes_is_read(rows: list[list[str]]) -> None:
    """Any texts come back from what the standard library writes, as texts or as the number they spell."""
    out = io.StringIO()
    csv.writer(out, quoting=csv.QUOTE_ALL).writerows(rows)
    found = read_delimited(out.getvalue(), b"absent")
    assert isinstance(found, list)
    assert len(found) == len(rows)
    for row, got in zip(rows, found, strict=True):
        for field, value in zip(row, got, strict=True):
            assert value == field or (value is None and not field) or float(field) == value or value != value


@given(st.text("01.e+-naif, \"'\n\r;x", max_size=40), st.sampled_from([b"", b"present", b"absent"]))
def test_any_text_is_rows_or_none(text: str, header: bytes) -> None:
    """No exception, and tensors of whatever rows come out."""
    found = read_delimited(text, header)
    if isinstance(found, list):
        tensors_of_delimited(found)

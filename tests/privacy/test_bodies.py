"""Bodies of every format: redacted and written anew, or not written at all."""

import gzip
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.privacy.actions import Action, Treatment
from proxy.privacy.bodies import RedactedBody, redact_body
from proxy.privacy.redact import Redactor, Rule, Target

KEY = b"k" * 32
MAIL = "ada@example.com"
JSON = b"application/json"
STREAM = b"text/event-stream; charset=utf-8"
CSV = b"text/csv"


def rules(*named: tuple[Target, str, Action]) -> Redactor:
    return Redactor.of(KEY, [Rule(target, name, Treatment(action)) for target, name, action in named])


POINTER = rules(("json", "/**/secret", "drop"))
DETECT = rules(("detect", "email", "mask"))
TENSOR = rules(("tensor", "ssn", "mask"))
ALL = rules(("json", "/**/secret", "drop"), ("tensor", "ssn", "mask"), ("detect", "email", "mask"))

EVENTS = b'event: e\r\nid: 7\r\n: hello\r\ndata: {"secret":1,\r\ndata: "a":2}\r\n\r\ndata: [DONE]\r\n\r\n'

CASES: dict[str, tuple[Redactor, bytes | None, bytes, bytes | None, bool]] = {
    "json": (POINTER, JSON, b'{"secret":1,"a":2}', b'{"a":2}', True),
    "json with nothing in it": (POINTER, JSON, b'{ "a": 2 }', b'{"a":2}', False),
    "a key that stands twice": (POINTER, JSON, b'{"secret":1,"secret":2}', b"{}", True),
    "json by another name": (POINTER, b"image/png", b'{"secret":1}', b"{}", True),
    "json of another charset": (
        POINTER,
        b"application/json; charset=utf-16",
        '{"secret":1}'.encode("utf-16"),
        b"{}",
        True,
    ),
    "escaped in json": (DETECT, JSON, b'{"q":"ada\\u0040example.com"}', b'{"q":"***"}', True),
    "broken json": (POINTER, JSON, b'{"secret":1', None, False),
    "broken json, detectors": (DETECT, JSON, b'{"q":"ada\\u0040example.com"', None, False),
    "too deep": (ALL, JSON, b"[" * 900 + b"]" * 900, None, False),
    "text": (DETECT, b"text/plain", b"to ada@example.com", b"to ***", True),
    "text without a type": (DETECT, None, b"to ada@example.com", b"to ***", True),
    "text, but places are named": (POINTER, b"text/plain", b"secret=1", None, False),
    "markup hides addresses": (DETECT, b"text/html", b"ada&#64;example.com", None, False),
    "forms hide addresses": (DETECT, b"application/x-www-form-urlencoded", b"q=%61da%40x.org", None, False),
    "not utf-8": (DETECT, b"text/plain", b"ada@example.com\xff", None, False),
    "no text": (DETECT, b"text/plain", b"a\0d\0a\0@\0", None, False),
    "a picture": (DETECT, b"image/png", b"\x89PNG", None, False),
    "still compressed": (DETECT, JSON, gzip.compress(b"{}"), None, False),
    "lines": (
        POINTER,
        b"application/x-ndjson",
        b'{"secret":1,"a":1}\n\n{"a":2}',
        b'{"a":1}\n{"a":2}\n',
        True,
    ),
    "lines, detectors": (
        DETECT,
        b"application/jsonlines",
        b'{"q":"x ada@example.com"}\n',
        b'{"q":"x ***"}\n',
        True,
    ),
    "a text in lines, detectors": (
        DETECT,
        b"application/x-ndjson",
        b'{"response":"ada@","done":false}\n{"response":"example.com","done":true}\n',
        b'{"response":"***","done":true}',
        True,
    ),
    "a text in lines": (
        POINTER,
        b"application/x-ndjson",
        b'{"response":"a","done":false}\n{"response":"b","done":true,"secret":1}\n',
        b'{"response":"ab","done":true}',
        True,
    ),
    "an unknown text in lines, detectors": (
        DETECT,
        b"application/x-ndjson",
        b'{"said":"ada@"}\n{"said":"example.com"}\n',
        None,
        False,
    ),
    "a text that begins late, detectors": (
        DETECT,
        b"application/x-ndjson",
        b'{"hello":1}\n{"response":"a","done":false}\n',
        None,
        False,
    ),
    "a list of pieces, detectors": (DETECT, JSON, b'[{"said":"ada@"},{"said":"example.com"}]', None, False),
    "lines of whole answers": (
        DETECT,
        b"application/x-ndjson",
        b'{"choices":[{"message":{"content":"ada@example.com"}}]}\n{"choices":[{"message":{"content":"b"}}]}\n',
        b'{"choices":[{"message":{"content":"***"}}]}\n{"choices":[{"message":{"content":"b"}}]}\n',
        True,
    ),
    "not a number": (POINTER, JSON, b'{"a":NaN}', b'{"a":null}', True),
    "not a number, in a list": (POINTER, JSON, b"[1, -Infinity ]", b"[1,null]", True),
    "letters of a picture": (POINTER, JSON, b'{"a":"iVNaNB/Infinity+"}', b'{"a":"iVNaNB/Infinity+"}', False),
    "a broken line": (POINTER, b"application/x-ndjson", b'{"a":1}\n{"secret":', None, False),
    "events": (POINTER, STREAM, EVENTS, b'event: e\ndata: {"a":2}\n\ndata: [DONE]\n\n', True),
    "an event that was not ended": (POINTER, STREAM, b'data:{"secret":1}', b"data: {}\n\n", True),
    "an event that is no json": (POINTER, STREAM, b"data: secret\n\n", None, False),
    "events that say nothing": (POINTER, STREAM, b": secret\n\nid: secret\nevent: sec ret\n\n", b"", False),
    "events as plain text": (DETECT, b"text/plain", b"data: ada@\n\ndata: example.com\n\n", None, False),
    "csv": (TENSOR, CSV, b'age,ssn\r\n3,"07,8"\r\n4\r\n', b"age,ssn\n3,***\n4\n", True),
    "csv, detectors": (DETECT, CSV, b'a,"x ada@example.com, y"\n', b'a,"x ***, y"\n', True),
    "csv without that column": (TENSOR, CSV, b"age,name\n3,x\n", b"age,name\n3,x\n", False),
    "csv of words, which may have no header": (TENSOR, CSV, b"x,078-05\ny,219-09\n", None, False),
    "csv with a value that is missing": (TENSOR, CSV, b"ada,NA\neve,3\n", None, False),
    "csv, more cells than names": (TENSOR, CSV, b"age,ssn\n3,x,078\n", None, False),
    "csv, a blank line first": (TENSOR, CSV, b"\nage,ssn\n3,078\n", b"\nage,ssn\n3,***\n", True),
    "csv, a comment first": (TENSOR, CSV, b"# of today\nage,ssn\n3,078\n", None, False),
    "json as events": (POINTER, STREAM, b'{"secret":1}', None, False),
    "csv without a header": (TENSOR, CSV, b"3,078\n4,219\n", None, False),
    "csv with another separator": (TENSOR, CSV, b"age;ssn\n3;078\n", None, False),
    "csv, pointers that name columns": (POINTER, CSV, b"a,secret\n1,2\n", b"a,secret\n1,\n", True),
    "csv, a column by its place": (rules(("json", "/*/1", "mask")), CSV, b"3,078\n4\n", b"3,***\n4\n", True),
    "csv, no such place": (rules(("json", "/*/7", "mask")), CSV, b"3;078\n", None, False),
    "csv, a name and a place": (
        rules(("json", "/*/0", "mask"), ("json", "/*/ssn", "drop")),
        CSV,
        b"age,ssn\nx,07\n",
        b"***,ssn\n***,\n",
        True,
    ),
    "csv, a pointer that names no column": (
        rules(("json", "/a/b/ssn", "drop")),
        CSV,
        b"a,ssn\nx,2\n",
        None,
        False,
    ),
    "csv, a pointer to one row": (rules(("json", "/0/ssn", "drop")), CSV, b"a,ssn\nx,2\n", None, False),
    "csv, a pointer to everything": (rules(("json", "/**", "drop")), CSV, b"a,ssn\nx,2\n", None, False),
    "broken csv": (TENSOR, CSV, b'ssn,a\n"1"x,2\n', None, False),
}

ASSEMBLED = {"a text in lines", "a text in lines, detectors"}


@pytest.mark.parametrize("name", CASES)
def test_bodies(name: str) -> None:
    """A body is redacted in its own format, and where that cannot be promised there is none."""
    redactor, content_type, body, expected, is_changed = CASES[name]
    shown = redact_body(redactor, content_type, None, body)
    is_assembled = name in ASSEMBLED
    assert shown == (None if expected is None else RedactedBody(expected, is_changed, None, is_assembled))


def packed(*texts: str) -> bytes:
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in texts)


def tensor(name: str, datatype: str, shape: list[int], raw: bytes) -> tuple[dict[str, Any], bytes]:
    parameters = {"binary_data_size": len(raw)}
    return {"name": name, "datatype": datatype, "shape": shape, "parameters": parameters}, raw


AGE = tensor("age", "FP32", [2], struct.pack("<2f", 1.5, float("nan")))
SSN = tensor("ssn", "BYTES", [2], packed("078-05-1120", "x"))
TEXT = tensor("q", "BYTES", [1], packed(f"mail {MAIL}"))
WIDE = tensor("w", "BYTES", [1], (len(wide := f"mail {MAIL}".encode("utf-16"))).to_bytes(4, "little") + wide)
CODES = tensor("codes", "UINT8", [len(MAIL)], MAIL.encode())
PLAIN = {"name": "p", "datatype": "BYTES", "shape": [1], "data": ["x"], "parameters": {"content_type": "str"}}


def binary(*tensors: tuple[dict[str, Any], bytes], member: str = "inputs", **more: Any) -> tuple[bytes, int]:
    head = orjson.dumps({member: [each for each, _ in tensors], **more})
    return head + b"".join(raw for _, raw in tensors), len(head)


def json_form(of: tuple[dict[str, Any], bytes], data: list[Any]) -> tuple[dict[str, Any], bytes]:
    return {**of[0], "parameters": {}, "data": data}, b""


BINARY: dict[str, tuple[Redactor, tuple[bytes, int], tuple[bytes, int], bool]] = {
    "nothing to redact": (
        ALL,
        binary(AGE, TEXT_ := tensor("t", "BYTES", [1], packed("é"))),
        binary(AGE, TEXT_),
        False,
    ),
    "by name": (TENSOR, binary(AGE, SSN, CODES), binary(AGE, json_form(SSN, ["***", "***"]), CODES), True),
    "of an answer": (
        TENSOR,
        binary(SSN, AGE, member="outputs"),
        binary(json_form(SSN, ["***", "***"]), AGE, member="outputs"),
        True,
    ),
    "detected in a text": (DETECT, binary(TEXT, AGE), binary(json_form(TEXT, ["mail ***"]), AGE), True),
    "detected in UTF-16": (DETECT, binary(WIDE), binary(json_form(WIDE, ["***"])), True),
    "detected in characters": (DETECT, binary(CODES), binary(json_form(CODES, [0] * len(MAIL))), True),
    "beside JSON": (
        DETECT,
        binary((PLAIN, b""), TEXT),
        binary((PLAIN, b""), json_form(TEXT, ["mail ***"])),
        True,
    ),
    "a pointer into values": (
        rules(("json", "/inputs/1/data/0", "mask")),
        binary(AGE, SSN),
        binary(AGE, json_form(SSN, ["***", "x"])),
        True,
    ),
    "a pointer beside them": (
        rules(("json", "/id", "drop")),
        binary(AGE, id="ada"),
        binary(AGE),
        True,
    ),
}


@pytest.mark.parametrize("name", BINARY)
def test_binary_tensors(name: str) -> None:
    """Binary tensors are redacted as values; what is left is a body of the same protocol, with its header's length."""
    redactor, (body, length), (expected, expected_length), is_changed = BINARY[name]
    shown = redact_body(redactor, b"application/octet-stream", length, body)
    assert shown == RedactedBody(expected, is_changed, expected_length)


def test_a_dropped_tensor_keeps_its_name() -> None:
    """Of a binary tensor that is dropped neither values nor their size are left."""
    body, length = binary(SSN, AGE)
    shown = redact_body(rules(("tensor", "ssn", "drop")), None, length, body)
    bare = {"name": "ssn", "datatype": "BYTES", "shape": [2], "parameters": {}}
    assert shown is not None
    assert (shown.body, shown.header_length) == binary((bare, b""), AGE)


BODY, LENGTH = binary(AGE, SSN)
UNFIT = {
    "cut": (BODY[:-1], LENGTH),
    "more behind it": (BODY + b"078", LENGTH),
    "another length": (BODY, LENGTH - 1),
    "a length beyond the end": (BODY, len(BODY) + 1),
    "no length": (BODY, 0),
    "a size that is none": (BODY.replace(b'binary_data_size":8', b'binary_data_size":-'), LENGTH),
    "another shape": (BODY.replace(b'"shape":[2]', b'"shape":[3]'), LENGTH),
    "no object": (b"[]" + b"078", 2),
}


@pytest.mark.parametrize("name", UNFIT)
def test_binary_that_does_not_fit(name: str) -> None:
    """Binary tensors that are not what their header says are not written."""
    body, length = UNFIT[name]
    assert redact_body(TENSOR, b"application/octet-stream", length, body) is None


TYPES = (
    None,
    JSON,
    b"text/plain",
    CSV,
    STREAM,
    b"application/x-ndjson",
    b"application/octet-stream",
    b"image/png",
)


@given(
    st.sampled_from([POINTER, DETECT, TENSOR, ALL]),
    st.sampled_from(TYPES),
    st.none() | st.integers(0, 40),
    st.binary(max_size=80) | st.text(max_size=60).map(lambda text: text.encode("utf-8", "ignore")),
)
def test_never_an_exception(
    redactor: Redactor, content_type: bytes | None, length: int | None, body: bytes
) -> None:
    """Whatever the bytes, there is a body or none."""
    shown = redact_body(redactor, content_type, length, body)
    assert shown is None or isinstance(shown.body, bytes)


@given(st.sampled_from(TYPES), st.integers(0, 3), st.text(max_size=20), st.text(max_size=20))
def test_no_form_of_body_lets_it_through(
    content_type: bytes | None, form: int, before: str, behind: str
) -> None:
    """An address in a body of any type and form is not in what is written."""
    text = f"{before} {MAIL} {behind}"
    bodies = (
        text.encode("utf-8", "replace"),
        orjson.dumps({"q": [text.encode("utf-8", "replace").decode()]}),
        b"data: " + orjson.dumps({"q": "x"}) + b"\n\ndata: " + text.encode("utf-8", "replace") + b"\n\n",
        b'a,b\n1,"' + text.replace('"', "").encode("utf-8", "replace") + b'"\n',
    )
    shown = redact_body(DETECT, content_type, None, bodies[form])
    assert shown is None or MAIL.encode() not in shown.body

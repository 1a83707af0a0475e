"""Answers of real servers are recognised by what they are; anything else is text, bytes or a reason."""

import gzip
import math
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.compare.decode import decode
from proxy.compare.values import Prediction, Undecodable

JSON = b"application/json"
EVENTS = b"text/event-stream"
CHUNK = b'data: {"choices": [{"index": 0, "delta": {"content": "a"}}]}\n\n'

MLSERVER = {
    "model_name": "wine-v1",
    "model_version": "v0.1.0",
    "id": "9f1c6b9e-3f5e-4a8b-8f55-0d3b1f1f6d2a",
    "parameters": {},
    "outputs": [
        {
            "name": "predict",
            "shape": [2, 1],
            "datatype": "INT64",
            "parameters": {"content_type": "np"},
            "data": [0, 2],
        },
        {"name": "predict_proba", "shape": [2, 2], "datatype": "FP64", "data": [0.9, 0.1, 0.2, 0.8]},
    ],
}

ANSWERS: dict[str, tuple[Any, str, list[str], int | None]] = {
    "MLServer": (MLSERVER, "oip_v2", ["predict", "predict_proba"], 2),
    "Triton, nested data": (
        {
            "model_name": "m",
            "outputs": [{"name": "OUT", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4]]}],
        },
        "oip_v2",
        ["OUT"],
        2,
    ),
    "outputs of different batches": (
        {
            "outputs": [
                {"name": "a", "datatype": "INT8", "shape": [1], "data": [1]},
                {"name": "b", "datatype": "INT8", "shape": [2], "data": [1, 2]},
            ]
        },
        "oip_v2",
        ["a", "b"],
        None,
    ),
    "an envelope that lies about its shape": (
        {"outputs": [{"name": "y", "datatype": "FP32", "shape": [1], "data": [0.1, 0.9]}]},
        "json",
        [],
        None,
    ),
    "KServe V1": ({"predictions": [1, 0, 2]}, "v1", ["predictions"], 3),
    "TensorFlow Serving, vectors": ({"predictions": [[0.1, 0.9]]}, "v1", ["predictions"], 1),
    "TensorFlow Serving, named outputs": (
        {"predictions": [{"scores": [0.9, 0.1], "classes": ["a", "b"]}]},
        "v1",
        ["scores", "classes"],
        1,
    ),
    "TensorFlow Serving, columns": (
        {"outputs": {"label": ["a", "b"], "score": [0.9, 0.8]}},
        "v1",
        ["label", "score"],
        2,
    ),
    "TensorFlow Serving, one column": ({"outputs": [[0.1, 0.9], [0.5, 0.5]]}, "v1", ["outputs"], 2),
    "TensorFlow Serving, classify": ({"results": [[["a", 0.9], ["b", 0.1]]]}, "v1", ["label", "scores"], 1),
    "TensorFlow Serving, regress": ({"result": [1.5, 2.5]}, "v1", ["results"], 2),
    "irregular rows": ({"predictions": [1, "a", None]}, "v1", [], 3),
    "no rows": ({"predictions": []}, "v1", ["predictions"], 0),
    "predictions that are no list": ({"predictions": "none"}, "json", ["predictions"], None),
    "results beside other keys": ({"results": [1], "next": None}, "json", ["results"], None),
    "outputs that are a word": ({"outputs": "x"}, "json", ["outputs"], None),
    "outputs beside other keys": ({"outputs": [1], "next": 2}, "json", ["outputs", "next"], None),
    "an object": ({"label": "cat", "score": 0.9}, "json", ["label", "score"], None),
    "a list": ([0.5, 1.5], "json", ["predictions"], None),
    "a number": (3, "json", ["predictions"], None),
    "null": (None, "json", [], None),
    "MLflow, columns": ({"predictions": {"a": [1, 2], "b": [0.5, 1]}}, "v1", ["a", "b"], 2),
    "predictions of unequal length": ({"predictions": {"a": [1, 2], "b": [1]}}, "json", [], None),
    "OpenAI, chat": ({"choices": [{"message": {"content": "a"}}, {"message": {}}]}, "openai", [], 2),
    "OpenAI, embeddings": (
        {"object": "list", "data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [0.5, 1]}]},
        "openai",
        ["embedding"],
        2,
    ),
    "a list of other data": ({"object": "list", "data": [{"id": 1}]}, "json", ["object"], None),
    "Ollama": ({"response": "a", "done": True}, "json", [], 1),
    "Hugging Face": ([{"generated_text": "a"}, {"generated_text": "b"}], "json", ["generated_text"], 2),
    "an error in a 200": ({"error": "model is cold"}, "json", ["error"], None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_formats(name: str) -> None:
    """Format, outputs and batch size of each known form."""
    document, fmt, tensors, rows = ANSWERS[name]
    prediction = decode(200, JSON, None, orjson.dumps(document))
    assert isinstance(prediction, Prediction)
    assert (fmt, tensors, rows) == (prediction.format, [t.name for t in prediction.tensors], prediction.rows)
    assert document == prediction.document


OPAQUE: dict[str, tuple[bytes | None, bytes, str, Any]] = {
    "text": (b"text/plain", b"hello", "text", "hello"),
    "text without a type": (None, b"hello", "text", "hello"),
    "JSON without a type": (None, b' {"a": 1}', "json", {"a": 1}),
    "JSON as plain text": (b"text/plain; charset=utf-8", b"[1]", "json", [1]),
    "JSON as octets": (b"application/octet-stream", b"[1]", "json", [1]),
    "almost JSON as plain text": (b"text/plain", b"[1", "text", "[1"),
    "JSON in a page stays a page": (b"text/html", b"[1]", "text", "[1]"),
    "vendor JSON": (b"application/vnd.x+json", b"[1]", "json", [1]),
    "a picture": (b"image/png", b"\x89PNG\r\n", "bytes", b"\x89PNG\r\n"),
    "events of text": (b"text/event-stream", b"data: hello\n\n", "text", "data: hello\n\n"),
    "events of JSON": (b"text/event-stream; charset=utf-8", b"data: {}\n\ndata: [DONE]\n\n", "ndjson", [{}]),
    "an event stream of nothing": (b"text/event-stream", b": hello\n\n", "ndjson", []),
    "lines of JSON": (b"application/x-ndjson", b'{"a": 1}\n\n{"a": 2}\n', "ndjson", [{"a": 1}, {"a": 2}]),
    "lines of SageMaker": (b"application/jsonlines", b"[1]\n[2]", "ndjson", [[1], [2]]),
    "comma-separated values": (b"text/csv; charset=utf-8", b"a,b\n1,2\n", "csv", [{"a": 1, "b": 2}]),
    "the same, said to have no header": (b"text/csv; header=absent", b"1,2\n", "csv", [[1, 2]]),
    "the same in Latin-1": (b"text/csv; charset=iso-8859-1", b"caf\xe9\n", "csv", [["caf\u00e9"]]),
    "called so, and not": (b"text/csv", b'"a', "text", '"a'),
    "called so, and no text": (b"text/csv", b"\xff", "bytes", b"\xff"),
    "nothing": (JSON, b"", "bytes", b""),
    "a number as plain text": (b"text/plain", b" -0.5e1\n", "json", -5.0),
    "a number without a type": (None, b"42", "json", 42),
    "digits that are no number": (b"text/plain", b"007", "text", "007"),
    "a number in a page": (b"text/html", b"42", "text", "42"),
    "JSON under any type": (b"*/*", b"[1]", "json", [1]),
    "JSON as S3's octets": (b"binary/octet-stream", b"[1]", "json", [1]),
    "JSON behind a byte order mark, as plain text": (b"text/plain", b"\xef\xbb\xbf[1]", "json", [1]),
    "text in Latin-1": (b"text/plain; charset=iso-8859-1", b"caf\xe9", "text", "caf\u00e9"),
    "text behind a byte order mark": (b"text/plain", b"\xef\xbb\xbfhello", "text", "hello"),
    "lines of JSON as JSON": (JSON, b'{"a": 1}\n{"a": 2}\n', "ndjson", [{"a": 1}, {"a": 2}]),
    "lines of JSON without a type": (None, b'{"a": 1}\n{"a": 2}\n', "ndjson", [{"a": 1}, {"a": 2}]),
    "a line of JSON, then text": (None, b"[1]\nor so", "text", "[1]\nor so"),
    "events of JSON without a type": (None, b'event: y\ndata: {"a": 1}\n\n', "ndjson", [{"a": 1}]),
    "text that begins as events do": (b"text/plain", b"data: none\n\n", "text", "data: none\n\n"),
    "text that begins as an event does": (b"text/plain", b'data: {"a": 1}', "text", 'data: {"a": 1}'),
    "JSON as events": (EVENTS, b'{"detail": "x"}', "json", {"detail": "x"}),
    "text as events": (EVENTS, b"overloaded", "text", "overloaded"),
    "events of no data": (EVENTS, b"retry: 3\n\nevent: end\n\n", "ndjson", []),
    "events that are blank": (EVENTS, b"\n\n", "ndjson", []),
    "no event before the end": (EVENTS, b"data: [DONE]\n\n", "ndjson", []),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_opaque_answers(name: str) -> None:
    """Type and first byte decide whether JSON is tried; the rest is text if it is UTF-8."""
    content_type, body, fmt, document = OPAQUE[name]
    prediction = decode(200, content_type, None, body)
    assert isinstance(prediction, Prediction)
    assert (fmt, document) == (prediction.format, prediction.document)


REASONS: dict[str, tuple[Any, str]] = {
    "not found": (decode(404, JSON, None, b"{}"), "status"),
    "not modified": (decode(304, JSON, None, b""), "status"),
    "truncated": (decode(200, JSON, None, b"[1", truncated=True), "truncated"),
    "broken JSON": (decode(200, JSON, None, b"[1"), "invalid_json"),
    "unknown coding": (decode(200, JSON, b"compress", b"x"), "unsupported_encoding"),
    "broken brotli": (decode(200, JSON, b"br", b"x"), "bad_encoding"),
    "a line that is no JSON": (decode(200, b"application/x-ndjson", None, b"1\n{\n"), "invalid_json"),
    "a stream without its end": (decode(200, EVENTS, None, CHUNK), "cut"),
    "a stream with an error": (
        decode(200, EVENTS, None, CHUNK + b'data: {"error": "x"}\n\n'),
        "stream_error",
    ),
    "events cut in the first": (decode(200, EVENTS, None, b'event: y\ndata: {"a": 1}'), "cut"),
    "a chat as plain text, cut": (decode(200, b"text/plain", None, CHUNK), "cut"),
    "a chat without a type, with an error": (
        decode(200, None, None, CHUNK + b'data: {"error": "x"}\n\n'),
        "stream_error",
    ),
    "lines as JSON, cut in one": (decode(200, JSON, None, b'{"a": 1}\n{"a":'), "invalid_json"),
    "Bedrock's frames": (
        decode(200, b"application/vnd.amazon.eventstream", None, b"\0\0\0\x5b\0\0\0\x4b"),
        "unsupported_type",
    ),
    "parts with a boundary": (
        decode(200, b'multipart/mixed; boundary="a"', None, b"--a\r\n\r\n1\r\n--a--"),
        "unsupported_type",
    ),
    "too many fields": (decode(200, b"text/csv", None, b"," * 1_000_000), "decoded_too_large"),
    "broken gzip": (decode(200, JSON, b"gzip", b"x"), "bad_encoding"),
    "over the cap": (
        decode(200, JSON, b"gzip", gzip.compress(bytes(101)), cap_bytes=100),
        "decoded_too_large",
    ),
}


@pytest.mark.parametrize("name", REASONS)
def test_reasons(name: str) -> None:
    """What cannot be read says why."""
    found, reason = REASONS[name]
    assert Undecodable(reason) == found


def test_a_stream_is_the_answer_in_one_piece() -> None:
    """A streamed answer says the same as the one that came whole, but that it was streamed."""
    whole = {
        "object": "chat.completion",
        "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": None}],
    }
    streamed = decode(200, EVENTS, None, CHUNK + b"data: [DONE]\n\n")
    once = decode(200, JSON, None, orjson.dumps(whole))
    assert isinstance(streamed, Prediction)
    assert isinstance(once, Prediction)
    assert streamed.completion is not None
    assert streamed.completion._replace(is_streamed=False) == once.completion
    assert (streamed.format, streamed.rows) == (once.format, once.rows) == ("openai", 1)


def test_compressed_answers_are_read() -> None:
    """A gzip body is decoded in a copy."""
    prediction = decode(200, JSON, b"gzip", gzip.compress(orjson.dumps(MLSERVER)))
    assert isinstance(prediction, Prediction)
    assert prediction.document == MLSERVER


def _binary(outputs: list[dict[str, Any]], raw: bytes) -> tuple[bytes, int]:
    head = orjson.dumps({"model_name": "m", "outputs": outputs})
    return head + raw, len(head)


LABEL = {"name": "label", "datatype": "INT32", "shape": [2], "parameters": {"binary_data_size": 8}}
SCORE = {"name": "score", "datatype": "FP32", "shape": [2], "parameters": {"binary_data_size": 8}}
PLAIN = {"name": "plain", "datatype": "INT8", "shape": [1], "data": [5]}


def test_binary_tensors_follow_the_json() -> None:
    """Each output takes its own bytes in order; one with JSON data takes none."""
    body, header = _binary([LABEL, PLAIN, SCORE], struct.pack("<2i2f", 1, 2, 0.5, math.inf))
    prediction = decode(200, b"application/octet-stream", None, body, header)
    assert isinstance(prediction, Prediction)
    assert (prediction.format, prediction.rows) == ("oip_v2", None)
    values = [tensor.data for tensor in prediction.tensors]
    assert values == [[1, 2], [5], [0.5, math.inf]]
    assert prediction.document["outputs"][0]["data"] == [1, 2]


def test_a_header_length_over_the_whole_body_is_plain_json() -> None:
    """Triton sends the header with JSON-only answers too."""
    body = orjson.dumps({"outputs": [PLAIN]})
    prediction = decode(200, JSON, None, body, len(body))
    assert isinstance(prediction, Prediction)
    assert prediction.format == "oip_v2"


BAD_BINARY: dict[str, tuple[bytes, int, str]] = {
    "bytes missing": (*_binary([LABEL], bytes(7)), "bad_tensor"),
    "bytes left over": (*_binary([LABEL], bytes(9)), "bad_tensor"),
    "neither data nor size": (
        *_binary([{"name": "x", "datatype": "INT8", "shape": [1]}], b"\0"),
        "bad_tensor",
    ),
    "negative size": (*_binary([{**LABEL, "parameters": {"binary_data_size": -8}}], bytes(8)), "bad_tensor"),
    "outputs is no list": (b'{"outputs": {}}xx', 15, "bad_tensor"),
    "header is no object": (b"[1]x", 3, "bad_tensor"),
    "header is no JSON": (b"[1xx", 3, "invalid_json"),
    "header longer than the body": (b"[1]", 30, "bad_tensor"),
    "negative header": (b"[1]", -1, "bad_tensor"),
}


@pytest.mark.parametrize("name", BAD_BINARY)
def test_binary_tensors_that_do_not_fit(name: str) -> None:
    """Bytes that do not add up are refused, never guessed."""
    body, header, reason = BAD_BINARY[name]
    assert Undecodable(reason) == decode(200, b"application/octet-stream", None, body, header)


words = st.sampled_from([None, b"", JSON, b"text/plain", b"gzip", b"identity", b"br", b";;", b"\xff"])
json_bodies = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["outputs", "predictions", "results", "name", "datatype", "shape", "data", "parameters"]
            ),
            inner,
        )
    ),
    max_leaves=20,
).map(
    lambda value: orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS) if _is_64_bit(value) else b"[]"
)


def _is_64_bit(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_is_64_bit, value.values()))
    if isinstance(value, list):
        return all(map(_is_64_bit, value))
    return not isinstance(value, int) or -(2**63) <= value < 2**64


@given(
    st.integers(100, 599), words, words, st.binary(max_size=80) | json_bodies, st.none() | st.integers(-5, 90)
)
def test_decode_is_total(
    status: int, content_type: bytes | None, encoding: bytes | None, body: bytes, header: int | None
) -> None:
    """Any response is a prediction or a reason."""
    assert isinstance(decode(status, content_type, encoding, body, header), Prediction | Undecodable)


@given(json_bodies)
def test_any_json_is_a_prediction(body: bytes) -> None:
    """Valid JSON in a 200 is never refused, however odd its envelope."""
    prediction = decode(200, JSON, None, body)
    assert isinstance(prediction, Prediction)
    assert prediction.is_json

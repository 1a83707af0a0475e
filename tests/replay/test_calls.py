"""What is sent of a record, and what is not."""

from typing import Any

import pytest

from proxy.replay.calls import DESPITE, REASONS, Call, prepare, read_reference
from tests.replay.asking import record_of


def test_what_is_sent() -> None:
    """Method, path, body and what says how to read it, under an id that can be told apart."""
    record = record_of(
        request={
            "accept": "text/event-stream",
            "inference_header_length": 2,
            "content_type": "application/x",
            "headers": {"x-tier": "gold", "content-type": "other"},
        }
    )
    assert prepare(record, (), ("x-tier", "content-type")) == Call(
        request_id="replay-r0",
        method="POST",
        path="/v2/models/wine/infer",
        headers=(
            ("content-type", "application/x"),
            ("accept", "text/event-stream"),
            ("inference-header-content-length", "2"),
            ("x-tier", "gold"),
        ),
        body=b"{}",
    )


def test_a_bare_request() -> None:
    """Without a type none is invented; logged headers stay where they are unless they are asked for."""
    record = record_of(
        request={"content_type": None, "body": "", "size": 0, "method": "GET", "headers": {"x-a": "b"}}
    )
    call = prepare(record)
    assert isinstance(call, Call)
    assert (call.method, call.headers, call.body) == ("GET", (("accept", "*/*"),), b"")


def test_an_id_that_no_header_can_carry() -> None:
    """What is not plain is left out of the id; a header value that is not plain is not sent."""
    record = record_of(request_id="a\nb ü" + "c" * 500, request={"content_type": "a/b\r\nx: y"})
    call = prepare(record)
    assert isinstance(call, Call)
    assert call.request_id == "replay-ab" + "c" * 198
    assert dict(call.headers) == {"accept": "*/*"}


NOT_SENT: dict[str, tuple[dict[str, Any], str]] = {
    "a tunnel": ({"response": {"status": 101}}, "tunnel"),
    "connect": ({"request": {"method": "CONNECT"}}, "tunnel"),
    "a method that is none": ({"request": {"method": ""}}, "method"),
    "a method with a blank": ({"request": {"method": "GET /"}}, "method"),
    "all of the server": ({"request": {"path": "*"}}, "path"),
    "characters that were replaced": ({"request": {"path": "/\ufffd"}}, "path"),
    "a blank": ({"request": {"path": "/a b"}}, "path"),
    "a line break": ({"request": {"path": "/a\r\nx: y"}}, "path"),
    "a fragment": ({"request": {"path": "/a#b"}}, "path"),
    "a path that is not whole": ({"request": {"path": "/a/***", "path_redacted": True}}, "path_redacted"),
    "a query": ({"request": {"has_query": True}}, "query"),
    "cut": ({"request": {"truncated": True}}, "request_truncated"),
    "redacted": ({"request": {"redacted": True}}, "request_redacted"),
    "left out for redaction": (
        {"request": {"redacted": True, "body": None, "encoding": None}},
        "request_redacted",
    ),
    "left out": ({"request": {"body": None, "encoding": None}}, "request_missing"),
    "binary, of the first version": (
        {"schema": 1, "request": {"body": "/w==", "encoding": "base64"}},
        "request_binary",
    ),
}


@pytest.mark.parametrize("name", NOT_SENT)
def test_what_is_not_sent(name: str) -> None:
    """A request that lacks a part is not sent, for a reason that is explained."""
    changes, reason = NOT_SENT[name]
    assert prepare(record_of(**changes)) == reason
    assert reason in REASONS


SENT: dict[str, dict[str, Any]] = {
    "binary": {"request": {"body": "/w==", "encoding": "base64"}},
    "text, of the first version": {"schema": 1},
    "still compressed": {"request": {"body": "/w==", "encoding": "base64", "content_encoding": "zstd"}},
    "the answer was cut": {"response": {"truncated": True}},
    "percent escapes": {"request": {"path": "/a%20b/%C3%A4;v=1"}},
}


@pytest.mark.parametrize("name", SENT)
def test_what_is_sent_all_the_same(name: str) -> None:
    """What is whole is sent."""
    assert isinstance(prepare(record_of(**SENT[name])), Call)


def test_despite() -> None:
    """A person may send what lacks a query or was redacted, as long as there is something to send."""
    assert isinstance(prepare(record_of(request={"has_query": True}), ("query",)), Call)
    assert isinstance(prepare(record_of(request={"redacted": True}), ("redacted",)), Call)
    gone = record_of(request={"redacted": True, "body": None, "encoding": None})
    assert prepare(gone, DESPITE) == "request_redacted"
    assert prepare(record_of(request={"truncated": True}), DESPITE) == "request_truncated"


NO_REFERENCE: dict[str, tuple[dict[str, Any], str]] = {
    "cut": ({"truncated": True}, "answer_truncated"),
    "redacted": ({"redacted": True}, "answer_redacted"),
    "left out": ({"body": None, "encoding": None}, "answer_missing"),
}


@pytest.mark.parametrize("name", NO_REFERENCE)
def test_no_reference(name: str) -> None:
    """An answer that is not whole is nothing to compare with."""
    changes, reason = NO_REFERENCE[name]
    assert read_reference(record_of(response=changes)) == reason
    assert reason in REASONS


def test_the_reference() -> None:
    """The recorded answer comes back as it went over the wire, as far as a comparison looks at it."""
    record = record_of(
        response={
            "status": 404,
            "body": "/w==",
            "encoding": "base64",
            "content_encoding": "br",
            "inference_header_length": 9,
        }
    )
    answer = read_reference(record)
    assert not isinstance(answer, str)
    assert (answer.status, answer.content_type, answer.content_encoding) == (404, b"application/json", b"br")
    assert (answer.body, answer.inference_header_length, answer.truncated) == (b"\xff", 9, False)
    streamed = read_reference(record_of(response={"assembled": True}))
    assert not isinstance(streamed, str)
    assert (streamed.is_assembled, answer.is_assembled) == (True, False)
    assert prepare(record_of(request={"assembled": True})) == "request_assembled"
    old = record_of(schema=1, response={"body": "/w==", "encoding": "base64"})
    assert read_reference(old) == "answer_binary"
    assert not isinstance(read_reference(record_of(response={"redacted": True}), ("redacted",)), str)

"""Recorded bytes are read as RFC 9112 means them, and what is unclear is an error."""

import pytest

from tests.real.messages import NotYet, exchanges, requests

GET = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
HEAD = b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
POST = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_conversation() -> None:
    """Requests and answers are paired in order; interim answers belong to the final one."""
    first, second = exchanges(GET + GET, b"HTTP/1.1 100 Continue\r\n\r\n" + OK + OK, ended=False)
    assert [each.start for each in first.interim] == [b"HTTP/1.1 100 Continue"]
    assert (first.response.status, first.response.body, second.interim) == (200, b"hi", [])
    assert second.request.lines == [b"Host: a"]


def test_chunks() -> None:
    """Chunks are joined, their ends and the trailers kept."""
    (only,) = exchanges(
        POST + b"2\r\nab\r\n3;x=y\r\ncde\r\n0\r\nx-a: 1\r\n\r\n".replace(b";x=y", b""), OK, ended=False
    )
    assert (only.request.body, only.request.chunks, only.request.trailers) == (b"abcde", [2, 5], [b"x-a: 1"])


@pytest.mark.parametrize(
    ("request_line", "answer"),
    [
        (HEAD, b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"),
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (GET, b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"),
    ],
)
def test_answers_without_a_body(request_line: bytes, answer: bytes) -> None:
    """What the head says of a length does not matter where there is no body."""
    (only,) = exchanges(request_line, answer, ended=False)
    assert (only.response.body, only.stray) == (b"", b"")


def test_a_body_behind_the_answer_to_head() -> None:
    """It is kept apart."""
    (only,) = exchanges(HEAD, OK, ended=False)
    assert only.stray == b"hi"


def test_a_body_until_the_end() -> None:
    """Without length and coding an answer goes on until the server closes."""
    answer = b"HTTP/1.1 200 OK\r\n\r\nhi"
    with pytest.raises(NotYet):
        exchanges(GET, answer, ended=False)
    (only,) = exchanges(GET, answer, ended=True)
    assert (only.response.body, only.response.until_close) == (b"hi", True)


@pytest.mark.parametrize("cut", range(1, len(OK)))
def test_an_answer_that_still_comes(cut: int) -> None:
    """Every part of an answer is not yet an answer, unless the client did not wait for its body."""
    with pytest.raises(NotYet):
        exchanges(GET, OK[:cut], ended=False)


def test_who_leaves() -> None:
    """A client that has left, and a server that answers too early, cut what the other says."""
    (answer,) = exchanges(GET, OK[:-1], ended=False, left=True)
    assert (answer.response.body, answer.response.left) == (b"h", True)
    (stream,) = exchanges(
        GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n", ended=False, left=True
    )
    assert (stream.response.body, stream.response.left) == (b"ab", True)
    (upload,) = exchanges(b"PUT / HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", OK, ended=True)
    assert (upload.request.body, upload.request.left, upload.response.left) == (b"abc", True, False)


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        (GET, OK + b"x"),
        (b"", OK),
        (GET, b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx"),
        (GET, b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\nx"),
        (GET, b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx"),
        (POST + b"1\r\nab\r\n0\r\n\r\n", OK),
    ],
)
def test_what_is_no_conversation(sent: bytes, received: bytes) -> None:
    """Nothing is guessed."""
    with pytest.raises(AssertionError):
        exchanges(sent, received, ended=False)


def test_requests_alone() -> None:
    """Requests can be read without their answers."""
    assert [each.start for each in requests(GET + HEAD)] == [b"GET / HTTP/1.1", b"HEAD / HTTP/1.1"]
    with pytest.raises(NotYet):
        requests(GET[:-1])

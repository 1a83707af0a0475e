"""Fields out of raw heads."""

from hypothesis import given
from hypothesis import strategies as st

from proxy.observer.heads import accept_field, answer_fields, fields, first_fields, request_line

HEAD = b"POST /v1/models/m:predict HTTP/1.1\r\nHost: a:1\r\nX-Two:  b \r\nx-two: c\r\nempty:\r\n\r\n"


def test_fields() -> None:
    """Names are lower-case, values without blanks around, in order; the start line is no field."""
    assert list(fields(HEAD)) == [(b"host", b"a:1"), (b"x-two", b"b"), (b"x-two", b"c"), (b"empty", b"")]
    assert first_fields(HEAD) == {b"host": b"a:1", b"x-two": b"b", b"empty": b""}


def test_request_line() -> None:
    """Method and target come from the first line; nonsense gives nothing."""
    assert request_line(HEAD) == (b"POST", b"/v1/models/m:predict")
    assert request_line(b"") == (b"", b"")


def test_answer_fields_with_and_without_a_status_line() -> None:
    """A client's response head and a shadow's bare header lines give the same."""
    lines = (
        b"Content-Type: application/json\r\ncontent-encoding: gzip\r\nInference-Header-Content-Length: 12\r\n"
    )
    expected = (b"application/json", b"gzip", 12)
    assert answer_fields(lines) == expected
    assert answer_fields(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n") == expected
    assert answer_fields(b"inference-header-content-length: 1e3\r\n") == (None, None, None)


def test_accept() -> None:
    """Several lines are one list; a field whose name only ends so is another one."""
    head = b"GET / HTTP/1.1\r\nAccept: a/b \r\nx-accept: no\r\naccept:c/d\r\n\r\n"
    assert accept_field(head) == b"a/b, c/d"
    assert accept_field(b"GET / HTTP/1.1\r\n\r\n") == b""


@given(st.binary(max_size=200))
def test_any_bytes(head: bytes) -> None:
    """Any bytes give fields or none, never an exception."""
    assert all(name == name.lower() for name, _ in fields(head))
    answer_fields(head)
    accept_field(head)
    request_line(head)

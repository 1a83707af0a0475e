"""Field lines of a request: syntax and size (RFC 9112 §2.2, §5, RFC 9110 §5, RFC 6585 §5)."""

from tests.conformance.case import Case, Expected, get, passes, refused, request

__all__ = ["ROWS"]

START, HOST = b"GET /a HTTP/1.1", b"Host: h"


def _with(*lines: bytes) -> tuple[bytes, ...]:
    return (request(START, HOST, *lines),)


SYNTAX = (
    Case("no space behind the colon", "RFC 9112 §5", _with(b"X-A:1"), passes(b"X-A: 1")),
    Case("many spaces behind the colon", "RFC 9112 §5", _with(b"X-A: \t  1"), passes(b"X-A: 1")),
    Case("spaces behind the value", "RFC 9112 §5", _with(b"X-A: 1 \t "), passes(b"X-A: 1")),
    Case("spaces within the value", "RFC 9110 §5.5", _with(b"X-A: 1 \t 2"), passes(b"X-A: 1 \t 2")),
    Case("empty value", "RFC 9110 §5.5", _with(b"X-A:"), passes(b"X-A: ")),
    Case("case of a name is kept", "RFC 9110 §5.1", _with(b"x-AbC: 1"), passes(b"x-AbC: 1")),
    Case("the same field twice", "RFC 9110 §5.3", _with(b"X-A: 1", b"X-B: 2", b"X-A: 3"), passes(b"X-A: 1", b"X-A: 3")),
    Case("every character of a token", "RFC 9110 §5.6.2", _with(b"!#$%&'*+-.^_`|~09Az: 1"), passes(b"!#$%&'*+-.^_`|~09Az: 1")),
    Case("bytes above ASCII in a value", "RFC 9110 §5.5", _with(b"X-A: \xc3\xa4\xff"), passes(b"X-A: \xc3\xa4\xff")),
    Case("space before the colon", "RFC 9112 §5.1 (MUST 400)", _with(b"X-A : 1"), refused()),
    Case("tab before the colon", "RFC 9112 §5.1 (MUST 400)", _with(b"X-A\t: 1"), refused()),
    Case("space before the colon of a length", "RFC 9112 §5.1 (MUST 400)", _with(b"Content-Length : 3"), refused()),
    Case("space before the colon of a coding", "RFC 9112 §5.1 (MUST 400)", _with(b"Transfer-Encoding : chunked"), refused()),
    Case("no colon", "RFC 9112 §5", _with(b"X-A"), refused()),
    Case("no name", "RFC 9112 §5", _with(b": 1"), refused()),
    Case("space in a name", "RFC 9110 §5.1", _with(b"X A: 1"), refused()),
    Case("control character in a name", "RFC 9110 §5.1", _with(b"X\x01A: 1"), refused()),
    Case("zero byte in a name", "RFC 9110 §5.1", _with(b"X\x00A: 1"), refused()),
    Case("byte above ASCII in a name", "RFC 9110 §5.1", _with(b"X\xe4A: 1"), refused()),
    Case("bracket in a name", "RFC 9110 §5.1", _with(b"X(A: 1"), refused()),
    Case("quote in a name", "RFC 9110 §5.1", _with(b'"X": 1'), refused()),
    Case("zero byte in a value", "RFC 9110 §5.5", _with(b"X-A: 1\x002"), refused()),
    Case("CR in a value", "RFC 9110 §5.5", _with(b"X-A: 1\r2"), refused()),
    Case("control character in a value", "RFC 9110 §5.5", _with(b"X-A: 1\x012"), refused()),
    Case("escape in a value", "RFC 9110 §5.5", _with(b"X-A: \x1b[2J"), refused()),
    Case("vertical tab in a value", "RFC 9110 §5.5", _with(b"X-A: \x0b1"), refused()),
    Case("vertical tab before a coding", "RFC 9110 §5.5", _with(b"Transfer-Encoding: \x0bchunked"), refused()),
    Case("DEL in a value", "RFC 9110 §5.5", _with(b"X-A: 1\x7f2"), refused()),
    Case("folded line", "RFC 9112 §5.2 (MUST 400 or replace)", _with(b"X-A: 1", b" 2"), refused()),
    Case("line folded with a tab", "RFC 9112 §5.2 (MUST 400 or replace)", _with(b"X-A: 1", b"\t2"), refused()),
    Case("folded length", "RFC 9112 §5.2", _with(b"Content-Length:", b" 3"), refused()),
    Case("folded coding", "RFC 9112 §5.2", _with(b"Transfer-Encoding:", b" chunked"), refused()),
    Case("fold of blanks alone", "RFC 9112 §5.2", _with(b"X-A: 1", b"  "), refused()),
    Case("space before the first field", "RFC 9112 §2.2 (MUST)", (request(START, b" X-A: 1", HOST),), refused()),
    Case("folded start line", "RFC 9112 §2.2 (MUST)", (request(START, b" ", HOST),), refused()),
    Case("bare LF behind the start line", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\nHost: h\r\n\r\n",), refused(),
         note="§2.2 allows to take it; we do not"),
    Case("bare LF behind a field", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\nX-A: 1\r\n\r\n",), refused(),
         note="§2.2 allows to take it; we do not"),
    Case("bare LF at the end of the head", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\r\n\n",), refused(),
         note="§2.2 allows to take it; we do not"),
    Case("only bare LFs", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\nHost: h\n\n",), refused()),
    Case("bare CR behind the start line", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\rHost: h\r\n\r\n",), refused()),
    Case("bare CR behind a field", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\rX-A: 1\r\n\r\n",), refused()),
    Case("CR before CRLF", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\r\r\n\r\n",), refused()),
    Case("CR before the end of the head", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\r\n\r\r\n",), refused()),
    Case("field name of a request line", "RFC 9112 §5", _with(b"GET /b HTTP/1.1"), refused()),
    Case("head without an end", "RFC 9112 §2.2", (b"GET /a HTTP/1.1\r\nHost: h\r\n",), Expected((), forwarded=0)),
    Case("byte order mark", "RFC 9112 §2.2", (b"\xef\xbb\xbf" + get(),), refused()),
)  # fmt: skip

SIZES = (
    Case("head of the longest size", "RFC 6585 §5", _with(b"X-A: " + b"a" * 8100), passes()),
    Case("head longer than limits.head", "RFC 6585 §5", _with(b"X-A: " + b"a" * 8200), refused(431)),
    Case("many fields longer than limits.head", "RFC 6585 §5", _with(*[b"X-A: " + b"a" * 200] * 50), refused(431)),
    Case("line without an end", "RFC 6585 §5", (get()[:-2] + b"X-A: " + b"a" * 9000,), refused(431)),
    Case("name without an end", "RFC 6585 §5", (get()[:-2] + b"X" * 9000,), refused(431)),
    Case("as many fields as limits.headers", "RFC 6585 §5", _with(*[b"X-A: 1"] * 63), passes()),
    Case("more fields than limits.headers", "RFC 6585 §5", _with(*[b"X-A: 1"] * 64), refused(431)),
    Case("empty lines without end", "RFC 9112 §2.2", (b"\r\n" * 6000,), Expected((), forwarded=0),
         note="ignored, but only until timeouts.client_head"),
)  # fmt: skip

ROWS = (*SYNTAX, *SIZES)

"""Plain messages are read as llhttp and h11 read them, and everything doubtful is left to the parser."""

from collections.abc import Callable
from functools import _lru_cache_wrapper

import pytest
from hypothesis import event, example, given, settings
from hypothesis import strategies as st

from proxy.wire.plain import (
    MAX_PLAIN_HEAD_BYTES,
    cut_request_id,
    plain_request_head,
    plain_response_head,
)
from proxy.wire.request import Framing, common_block, forwarded_lines
from proxy.wire.response import check_status, forwarded_block, response_framing
from tests.wire.referee import (
    Reading,
    checked,
    corpus,
    fields_of,
    h11_request,
    h11_response,
    llhttp_request,
    llhttp_response,
)

REQUEST = b"POST /v2/models/wine/infer?a=1 HTTP/1.1\r\nHost: h:80\r\nx-user-id: 7\r\nContent-Length: 3"
RESPONSE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 3"

MAX_BODY_BYTES = 4096
"""Bodies of a greater declared length are not built: the referees read the head alone."""


def request(*lines: bytes, start: bytes = b"POST /infer HTTP/1.1") -> bytes:
    """Return a request head of ``start`` and ``lines``."""
    return b"\r\n".join([start, *lines])


def response(*lines: bytes, start: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return a response head of ``start`` and ``lines``."""
    return b"\r\n".join([start, *lines])


def whole(head: bytes, length: int) -> bytes:
    """Return the message with this head, or its beginning when the body is long."""
    return head + b"\r\n\r\n" + b"x" * (length if length <= MAX_BODY_BYTES else 0)


def read_by(referee: Callable[[bytes], Reading | None], head: bytes, length: int) -> Reading:
    """Return what ``referee`` reads, which must be one message of exactly this length."""
    reading = referee(whole(head, length))
    assert reading is not None, f"refused: {head!r}"
    if length <= MAX_BODY_BYTES:
        assert reading.messages == 1
        assert reading.body == b"x" * length
    else:
        assert reading.messages == 0
    return reading


def check_request_law(head: bytes) -> bool:
    """Hold a request head to the referees; return whether it is plain."""
    plain = plain_request_head(head)
    if plain is None:
        return False
    llhttp = read_by(llhttp_request, head, plain.length)
    assert llhttp.start == (plain.method, plain.target)
    assert (llhttp.version, llhttp.keep_alive) == ("1.1", plain.keep_alive)
    assert (llhttp.names, llhttp.values) == (list(plain.names), list(plain.values))
    other = read_by(h11_request, head, plain.length)
    assert other.start == llhttp.start
    assert (other.names, other.values) == (llhttp.names, llhttp.values)

    parsed = checked(whole(head, plain.length))
    for same in (
        "target",
        "path",
        "length",
        "framing",
        "host",
        "host_name",
        "request_id",
        "forced",
        "http11",
    ):
        assert getattr(parsed, same) == getattr(plain, same), same
    long_way = common_block(
        parsed.names, parsed.values, parsed.lines, client=b"192.0.2.1", host=parsed.host, trace_lines=b""
    )
    if plain.is_special:
        short_way = common_block(
            plain.names, plain.values, plain.lines, client=b"192.0.2.1", host=plain.host, trace_lines=b""
        )
    else:
        short_way = plain.block + forwarded_lines(b"192.0.2.1", plain.host)
    assert fields_of(short_way) == fields_of(long_way)
    return True


def check_response_law(head: bytes) -> bool:
    """Hold a response head to the referees; return whether it is plain."""
    plain = plain_response_head(head)
    if plain is None:
        return False
    llhttp = read_by(llhttp_response, head, plain.length)
    assert llhttp.start == (plain.status, plain.reason)
    assert (llhttp.version, llhttp.keep_alive) == ("1.1", True)
    assert response_framing(plain.status, llhttp.names, llhttp.values, False) == Framing.LENGTH
    assert check_status(plain.status, plain.reason) == plain.reason
    other = read_by(h11_response, head, plain.length)
    assert other.start == llhttp.start
    assert (other.names, other.values) == (llhttp.names, llhttp.values)
    long_way = forwarded_block(plain.status, llhttp.names, llhttp.values, llhttp.lines)
    assert fields_of(plain.block) == fields_of(long_way)
    return True


HOST = b"Host: h"

PLAIN_REQUESTS = {
    "as models are asked": REQUEST,
    "get": request(HOST, start=b"GET / HTTP/1.1"),
    "delete with a query": request(HOST, start=b"DELETE /a?b=c&d=%20 HTTP/1.1"),
    "options": request(HOST, start=b"OPTIONS /a HTTP/1.1"),
    "odd target": request(HOST, start=b"GET /\"<>^`{|}\\?\\?' HTTP/1.1"),
    "no blank behind the colon": request(b"Host:h", b"a:b"),
    "empty value": request(HOST, b"a:", b"b: "),
    "empty host": request(b"Host:"),
    "blanks inside a value": request(HOST, b"a: b  c"),
    "every kind of token": request(HOST, b"!#$%&'*+-.^_`|~09AZaz: 1"),
    "the same field twice": request(HOST, b"a: 1", b"A: 2"),
    "length zero": request(HOST, b"Content-Length: 0"),
    "long body": request(HOST, b"content-length: 999999999999999"),
    "keep-alive": request(HOST, b"Connection: Keep-Alive", b"Keep-Alive: timeout=5"),
    "keep-alive of old proxies": request(HOST, b"Proxy-Connection: keep-alive"),
    "request id": request(HOST, b"X-Request-ID: abc"),
    "two request ids": request(HOST, b"X-Request-ID: a", b"x-request-id: b"),
    "forwarded already": request(
        HOST, b"x-forwarded-for: 192.0.2.9", b"via: 1.0 a", b"x-forwarded-proto: https"
    ),
    "trace context": request(
        HOST, b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"tracestate: a=b"
    ),
    "field of ours": request(HOST, b"x-modelproxy-shadow: 1", b"X_Modelproxy_Force: v2"),
    "forced": request(HOST, b"x-modelproxy-force: v2"),
    "host in brackets": request(b"Host: [::1]:80"),
}


@pytest.mark.parametrize("head", PLAIN_REQUESTS.values(), ids=PLAIN_REQUESTS)
def test_plain_requests(head: bytes) -> None:
    """The requests that inference clients send are plain, and all readers agree on them."""
    assert check_request_law(head)


NOT_PLAIN_REQUESTS = {
    "transfer coding": request(HOST, b"Transfer-Encoding: chunked"),
    "length and transfer coding": request(HOST, b"Content-Length: 3", b"Transfer-Encoding: chunked"),
    "expect": request(HOST, b"Expect: 100-continue"),
    "upgrade": request(HOST, b"Upgrade: websocket"),
    "te": request(HOST, b"TE: trailers"),
    "trailer": request(HOST, b"Trailer: x"),
    "two hosts": request(HOST, HOST),
    "no host": request(b"a: b"),
    "host with a path": request(b"Host: h/x"),
    "host with user information": request(b"Host: u@h"),
    "host with a blank": request(b"Host: h x"),
    "two lengths": request(HOST, b"Content-Length: 3", b"Content-Length: 3"),
    "two different lengths": request(HOST, b"Content-Length: 3", b"content-length: 4"),
    "length with a sign": request(HOST, b"Content-Length: +3"),
    "negative length": request(HOST, b"Content-Length: -3"),
    "length with zeros": request(HOST, b"Content-Length: 0003"),
    "list of lengths": request(HOST, b"Content-Length: 3, 3"),
    "length in hex": request(HOST, b"Content-Length: 0x3"),
    "length with an underscore": request(HOST, b"Content-Length: 1_0"),
    "empty length": request(HOST, b"Content-Length:"),
    "huge length": request(HOST, b"Content-Length: 1000000000000000"),
    "length of another script": request(HOST, "Content-Length: ٣".encode()),
    "HTTP/1.0": request(HOST, start=b"POST /infer HTTP/1.0"),
    "HTTP/2": request(HOST, start=b"POST /infer HTTP/2.0"),
    "HTTP/0.9": b"GET /",
    "absolute-form": request(HOST, start=b"GET http://h/ HTTP/1.1"),
    "asterisk-form": request(HOST, start=b"OPTIONS * HTTP/1.1"),
    "authority-form": request(HOST, start=b"CONNECT h:80 HTTP/1.1"),
    "head": request(HOST, start=b"HEAD / HTTP/1.1"),
    "unknown method": request(HOST, start=b"BREW / HTTP/1.1"),
    "lower-case method": request(HOST, start=b"get / HTTP/1.1"),
    "two blanks": request(HOST, start=b"GET  / HTTP/1.1"),
    "blank behind the version": request(HOST, start=b"GET / HTTP/1.1 "),
    "tab in the target": request(HOST, start=b"GET /a\tb HTTP/1.1"),
    "blank in the target": request(HOST, start=b"GET /a b HTTP/1.1"),
    "obs-text in the target": request(HOST, start=b"GET /\xe4 HTTP/1.1"),
    "folded line": request(HOST, b"a: b", b" c"),
    "folded first line": request(b" a: b", HOST),
    "bare LF": request(HOST, b"a: b\nc: d"),
    "bare LF behind the start line": b"GET / HTTP/1.1\nHost: h",
    "bare CR": request(HOST, b"a: b\rc: d"),
    "CR at the end of a value": request(HOST, b"a: b\r"),
    "LF at the end of the head": request(HOST, b"a: b\n"),
    "leading CRLF": b"\r\n" + REQUEST,
    "empty line inside": request(HOST, b"", b"a: b"),
    "empty": b"",
    "start line alone": b"GET / HTTP/1.1",
    "tab in a value": request(HOST, b"a: b\tc"),
    "tab before a value": request(HOST, b"a:\tb"),
    "two blanks before a value": request(HOST, b"a:  b"),
    "blank behind a value": request(HOST, b"a: b "),
    "blank before the colon": request(HOST, b"a : b"),
    "no colon": request(HOST, b"a"),
    "no name": request(HOST, b": b"),
    "obs-text": request(HOST, b"a: \xff"),
    "NUL": request(HOST, b"a: b\0c"),
    "control byte": request(HOST, b"a: b\x01c"),
    "DEL": request(HOST, b"a: b\x7fc"),
    "name with obs-text": request(HOST, b"\xe4: b"),
    "quoted name": request(HOST, b'"a": b'),
    "connection: close": request(HOST, b"Connection: close"),
    "connection names a field": request(HOST, b"Connection: keep-alive, x-secret"),
    "two connection fields": request(HOST, b"Connection: keep-alive", b"Connection: keep-alive"),
    "empty connection": request(HOST, b"Connection:"),
    "proxy-connection: close": request(HOST, b"Proxy-Connection: close"),
}


@pytest.mark.parametrize("head", NOT_PLAIN_REQUESTS.values(), ids=NOT_PLAIN_REQUESTS)
def test_requests_for_the_parser(head: bytes) -> None:
    """Whatever a second reader might take otherwise, or needs more than forwarding, is left to the parser."""
    assert plain_request_head(head) is None


PLAIN_RESPONSES = {
    "as models answer": RESPONSE,
    "no body": response(b"content-length: 0"),
    "created": response(b"content-length: 2", start=b"HTTP/1.1 201 Created"),
    "error": response(b"content-length: 2", start=b"HTTP/1.1 503 Service Unavailable"),
    "unknown status": response(b"content-length: 2", start=b"HTTP/1.1 599 "),
    "no reason": response(b"content-length: 2", start=b"HTTP/1.1 200 "),
    "keep-alive": response(b"content-length: 2", b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
    "fields of ours": response(
        b"content-length: 2", b"x-request-id: a", b"x-modelproxy-variant: v9", b"via: 1.1 b"
    ),
    "cookies": response(b"content-length: 2", b"set-cookie: a=b", b"Set-Cookie: c=d"),
    "compressed": response(b"content-length: 2", b"Content-Encoding: gzip"),
}


@pytest.mark.parametrize("head", PLAIN_RESPONSES.values(), ids=PLAIN_RESPONSES)
def test_plain_responses(head: bytes) -> None:
    """The responses that model servers give are plain, and all readers agree on them."""
    assert check_response_law(head)


LENGTH = b"Content-Length: 3"

NOT_PLAIN_RESPONSES = {
    "interim": response(LENGTH, start=b"HTTP/1.1 100 Continue"),
    "early hints": response(LENGTH, start=b"HTTP/1.1 103 Early Hints"),
    "switching protocols": response(LENGTH, start=b"HTTP/1.1 101 Switching Protocols"),
    "no content": response(LENGTH, start=b"HTTP/1.1 204 No Content"),
    "not modified": response(LENGTH, start=b"HTTP/1.1 304 Not Modified"),
    "status below 100": response(LENGTH, start=b"HTTP/1.1 042 X"),
    "status above 599": response(LENGTH, start=b"HTTP/1.1 600 X"),
    "status of two digits": response(LENGTH, start=b"HTTP/1.1 20 OK"),
    "status of four digits": response(LENGTH, start=b"HTTP/1.1 2000 OK"),
    "no blank behind the status": response(LENGTH, start=b"HTTP/1.1 200"),
    "control byte in the reason": response(LENGTH, start=b"HTTP/1.1 200 O\0K"),
    "HTTP/1.0": response(LENGTH, start=b"HTTP/1.0 200 OK"),
    "no length": response(b"a: b"),
    "two lengths": response(LENGTH, LENGTH),
    "two different lengths": response(LENGTH, b"Content-Length: 4"),
    "length with a sign": response(b"Content-Length: +3"),
    "length with zeros": response(b"Content-Length: 03"),
    "list of lengths": response(b"Content-Length: 3,3"),
    "huge length": response(b"Content-Length: 18446744073709551619"),
    "transfer coding": response(b"Transfer-Encoding: chunked"),
    "length and transfer coding": response(LENGTH, b"Transfer-Encoding: chunked"),
    "upgrade": response(LENGTH, b"Upgrade: h2c"),
    "trailer": response(LENGTH, b"Trailer: x"),
    "connection: close": response(LENGTH, b"Connection: close"),
    "proxy-connection: close": response(LENGTH, b"Proxy-Connection: close"),
    "connection names a field": response(LENGTH, b"Connection: keep-alive, x-secret"),
    "bare LF": response(LENGTH, b"a: b\nc: d"),
    "bare CR": response(LENGTH, b"a: b\rSet-Cookie: c=d"),
    "folded line": response(LENGTH, b" a: b"),
    "blank before the colon": response(b"Content-Length : 3"),
    "obs-text": response(LENGTH, b"a: \xff"),
    "NUL": response(LENGTH, b"a: \0"),
    "empty": b"",
}


@pytest.mark.parametrize("head", NOT_PLAIN_RESPONSES.values(), ids=NOT_PLAIN_RESPONSES)
def test_responses_for_the_parser(head: bytes) -> None:
    """Responses without one plain length, and all that is odd, are left to the parser."""
    assert plain_response_head(head) is None


NAMES = st.sampled_from(
    [
        b"Host", b"host", b"Content-Length", b"content-length", b"Connection", b"Proxy-Connection", b"Keep-Alive",
        b"Transfer-Encoding", b"TE", b"Trailer", b"Expect", b"Upgrade", b"Via", b"x-request-id", b"X-Forwarded-For",
        b"x-modelproxy-force", b"x_modelproxy_x", b"traceparent", b"Content-Type", b"x-user-id", b"Cookie", b"A",
    ]
) | st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,9}", fullmatch=True) | st.binary(max_size=3)  # fmt: skip
VALUES = st.sampled_from(
    [
        b"", b"h", b"h:80", b"0", b"3", b"03", b"+3", b"3, 3", b"keep-alive", b"close", b"keep-alive, a", b"chunked",
        b"identity", b"100-continue", b"websocket", b"trailers", b"a b", b"a\tb", b" a", b"a ", b"\xff", b"\0",
        b"a\rb", b"a\nb: c", b"a\r\n b", b"999999999999999", b"9999999999999999999999", b"a" * 300,
    ]
) | st.binary(max_size=6)  # fmt: skip
COLONS = st.sampled_from([b": ", b": ", b": ", b":", b":  ", b":\t", b" : ", b""])
LINES = st.builds(lambda name, colon, value: name + colon + value, NAMES, COLONS, VALUES)
ENDS = st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r", b"\r\r\n"])
STARTS = st.sampled_from(
    [
        b"GET / HTTP/1.1", b"POST /a?b#c HTTP/1.1", b"OPTIONS * HTTP/1.1", b"HEAD / HTTP/1.1", b"get / HTTP/1.1",
        b"GET http://h/ HTTP/1.1", b"CONNECT h:1 HTTP/1.1", b"PUT / HTTP/1.0", b"PATCH  / HTTP/1.1", b"GET /",
    ]
)  # fmt: skip
STATUSES = st.sampled_from(
    [
        b"HTTP/1.1 200 OK", b"HTTP/1.1 404 Not Found", b"HTTP/1.1 200 ", b"HTTP/1.1 200", b"HTTP/1.0 200 OK",
        b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 X", b"HTTP/1.1 100 Continue", b"HTTP/1.1 599 a  b",
        b"HTTP/1.1 042 X",
    ]
)  # fmt: skip


def heads(starts: st.SearchStrategy[bytes], kept: bytes) -> st.SearchStrategy[bytes]:
    """Return heads that are right in most lines, so that what is wrong in one is what counts."""
    lines = st.lists(st.tuples(ENDS, LINES), max_size=4)
    right = st.lists(
        st.tuples(st.just(b"\r\n"), st.sampled_from([kept, b"a: b", b"x-user-id: 7"])), max_size=3
    )
    rows = st.builds(lambda a, b: a + b, right, lines)
    return st.builds(lambda start, rows: start + b"".join(end + line for end, line in rows), starts, rows)


def mutated(head: bytes) -> st.SearchStrategy[bytes]:
    """Return ``head`` with some bytes replaced, inserted or taken out."""
    piece = st.sampled_from(
        [b"", b"\r", b"\n", b"\r\n", b" ", b"\t", b"\0", b":", b"\x7f", b"\xff", b"0", b"H"]
    )
    edit = st.tuples(st.integers(0, len(head)), st.integers(0, 2), piece | st.binary(max_size=2))

    def apply(edits: list[tuple[int, int, bytes]]) -> bytes:
        text = head
        for at, gone, new in edits:
            text = text[:at] + new + text[at + gone :]
        return text

    return st.lists(edit, min_size=1, max_size=3).map(apply)


@settings(max_examples=400)
@given(heads(STARTS, HOST) | mutated(REQUEST))
@example(request(HOST, b"Proxy-Connection: close"))
def test_plain_requests_are_what_llhttp_and_h11_read(head: bytes) -> None:
    """Whatever is plain, all readers read alike: start line, fields in order, length, keep-alive, forwarded lines."""
    event("plain" if check_request_law(head) else "left to the parser")


@settings(max_examples=400)
@given(heads(STATUSES, LENGTH) | mutated(RESPONSE))
@example(response(LENGTH, b"Proxy-Connection: close"))
def test_plain_responses_are_what_llhttp_and_h11_read(head: bytes) -> None:
    """Whatever is plain, all readers read alike: status, reason, fields in order, length, forwarded lines."""
    event("plain" if check_response_law(head) else "left to the parser")


def test_llhttp_s_own_requests() -> None:
    """The law holds for the requests of llhttp's test documents, with and without a host added."""
    plain = 0
    for raw in corpus("request"):
        start, end, rest = raw.partition(b"\r\n\r\n")[0].rstrip(b"\r\n").partition(b"\r\n")
        plain += check_request_law(start + end + rest)
        plain += check_request_law(b"\r\n".join([start, HOST, *([rest] if rest else [])]))
    assert plain > 20


def test_llhttp_s_own_responses() -> None:
    """The law holds for the responses of llhttp's test documents, with and without a length added."""
    plain = 0
    for raw in corpus("response"):
        start, end, rest = raw.partition(b"\r\n\r\n")[0].rstrip(b"\r\n").partition(b"\r\n")
        plain += check_response_law(start + end + rest)
        plain += check_response_law(b"\r\n".join([start, LENGTH, *([rest] if rest else [])]))
    assert plain > 10


def test_heads_are_remembered() -> None:
    """The same bytes give the same object, which is why nothing may change it."""
    assert plain_request_head(REQUEST) is plain_request_head(bytes(bytearray(REQUEST)))
    assert plain_response_head(RESPONSE) is plain_response_head(bytes(bytearray(RESPONSE)))


@pytest.mark.parametrize("read", [plain_request_head, plain_response_head])
def test_what_is_remembered_is_bounded(read: "_lru_cache_wrapper[object]") -> None:
    """A peer that sends a new head each time, as long as a plain one may be, takes megabytes and not gigabytes."""
    remembered = read.cache_info().maxsize
    assert remembered is not None
    assert remembered * MAX_PLAIN_HEAD_BYTES <= 8 << 20


@pytest.mark.parametrize(
    ("head", "rest", "request_id"),
    [
        (
            b"GET / HTTP/1.1\r\nHost: h\r\nX-Request-ID: a-1\r\nA: b",
            b"GET / HTTP/1.1\r\nHost: h\r\nA: b",
            b"a-1",
        ),
        (b"GET / HTTP/1.1\r\nx-request-id:a-1", b"GET / HTTP/1.1", b"a-1"),
        (b"GET / HTTP/1.1\r\nA: b", b"GET / HTTP/1.1\r\nA: b", b""),
        (b"GET / HTTP/1.1\r\nX-Request-Id: a b", b"GET / HTTP/1.1\r\nX-Request-Id: a b", b""),
        (b"GET / HTTP/1.1\r\nX-Request-Id: a\t", b"GET / HTTP/1.1\r\nX-Request-Id: a\t", b""),
        (b"GET / HTTP/1.1\r\nX-Request-Id: ", b"GET / HTTP/1.1\r\nX-Request-Id: ", b""),
        (b"GET / HTTP/1.1\r\nY: X-Request-Id: 1", b"GET / HTTP/1.1\r\nY: X-Request-Id: 1", b""),
        (b"GET /?x-request-id: 1 HTTP/1.1", b"GET /?x-request-id: 1 HTTP/1.1", b""),
        (
            b"GET / HTTP/1.1\r\nX-Request-Id: " + b"a" * 257,
            b"GET / HTTP/1.1\r\nX-Request-Id: " + b"a" * 257,
            b"",
        ),
        (b"G\r\nx-request-id: 1\r\nx-request-id: 2", b"G\r\nx-request-id: 2", b"1"),
    ],
)
def test_the_request_id_is_cut_whole_or_not_at_all(head: bytes, rest: bytes, request_id: bytes) -> None:
    """Only a field of its own line with a plain value is cut; the first one counts."""
    assert cut_request_id(head) == (rest, request_id)

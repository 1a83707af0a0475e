"""What the model answers becomes what the client gets (RFC 9112 §4, §6, §7, RFC 9110 §6, §15, RFC 8297)."""

from collections.abc import Sequence

from tests.conformance.case import Case, Expected, answered, chunks, get, response
from tests.conformance.stage import CLOSE, CUT, OK, Script

__all__ = ["ROWS"]

CHUNKED = b"Transfer-Encoding: chunked"
FAULT = answered(502, model_closed=True)
"""An answer of which nothing reaches the client."""
NEXT_SAFE = Expected((502, 200), forwarded=2, connections=2)


def _case(name: str, source: str, expected: Expected, *pieces: bytes, method: bytes = b"GET", note: str = "",
          version: bytes = b"HTTP/1.1") -> Case:  # fmt: skip
    sent = (get(method=method, version=version),)
    return Case(name, source, sent, expected, (Script(at_end=pieces),), methods=(method,), note=note)


def _raw(start: bytes, *lines: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join([start, *lines, b"", b""]) + body


def _ok(*lines: bytes, body: bytes = b"abc") -> bytes:
    return response(b"200 OK", *lines, body=body)


STATUS_LINES = (
    _case("200", "RFC 9112 §4", answered(200, body=b"ok"), OK),
    _case("no reason", "RFC 9112 §4", answered(200, body=b"ok"), response(b"200 ", b"Content-Length: 2", body=b"ok")),
    _case("no reason and no space", "RFC 9112 §4", answered(200, body=b"ok"), response(b"200", b"Content-Length: 2", body=b"ok")),
    _case("reason with bytes above ASCII", "RFC 9112 §4", answered(200), response(b"200 \xc3\xa4", b"Content-Length: 0")),
    _case("reason with an escape", "RFC 9112 §4", answered(200), response(b"200 \x1b[2J", b"Content-Length: 0")),
    _case("reason with a zero byte", "RFC 9112 §4", answered(200), response(b"200 a\x00b", b"Content-Length: 0"),
          note="the reason is replaced, the answer is unharmed"),
    _case("reason with a line break", "RFC 9112 §4", FAULT, response(b"200 OK\nSet-Cookie: a=b", b"Content-Length: 0")),
    _case("reason with a CR", "RFC 9112 §4", FAULT, response(b"200 OK\rSet-Cookie: a=b", b"Content-Length: 0")),
    _case("status that nobody knows", "RFC 9110 §15", answered(299), response(b"299 Odd", b"Content-Length: 0")),
    _case("status above 599", "RFC 9110 §15", answered(999), response(b"999 Odd", b"Content-Length: 0"),
          note="passed on; counted as code 0"),
    _case("status of two digits", "RFC 9112 §4", FAULT, _raw(b"HTTP/1.1 42 OK", b"Content-Length: 0")),
    _case("status below 100", "RFC 9110 §15", FAULT, _raw(b"HTTP/1.1 042 OK", b"Content-Length: 0")),
    _case("status of four digits", "RFC 9112 §4", FAULT, _raw(b"HTTP/1.1 2000 OK", b"Content-Length: 0")),
    _case("status of letters", "RFC 9112 §4", FAULT, _raw(b"HTTP/1.1 abc OK", b"Content-Length: 0")),
    _case("HTTP/1.0", "RFC 9112 §2.3", answered(200, body=b"ok"), _raw(b"HTTP/1.0 200 OK", b"Content-Length: 2", body=b"ok")),
    _case("HTTP/2.0", "RFC 9112 §2.3", FAULT, _raw(b"HTTP/2.0 200 OK", b"Content-Length: 0")),
    _case("HTTP/0.9", "RFC 9112 §2.3", FAULT, b"hello\r\n\r\n"),
    _case("RTSP", "RFC 9112 §4", answered(200), _raw(b"RTSP/1.0 200 OK", b"Content-Length: 0"),
          note="the parser takes RTSP and ICE for HTTP; what is passed on is HTTP/1.1"),
    _case("another protocol", "RFC 9112 §4", FAULT, _raw(b"ICY 200 OK", b"Content-Length: 0")),
    _case("tab before the status", "RFC 9112 §4", FAULT, _raw(b"HTTP/1.1\t200 OK", b"Content-Length: 0")),
    _case("a request", "RFC 9112 §4", FAULT, get()),
    _case("empty line before", "RFC 9112 §2.2", answered(200, body=b"ok"), b"\r\n" + OK),
    _case("byte by byte", "RFC 9112 §2.2", answered(200, body=b"ok"), *[OK[i : i + 1] for i in range(len(OK))]),
)  # fmt: skip

FIELDS = (
    _case("fields in order, with their case", "README: pass unchanged", answered(200, b"X-A: 1", b"x-b: \xe4", b"Set-Cookie: a=b", b"SERVER: s", b"Content-Encoding: gzip"),
          _ok(b"X-A: 1", b"x-b: \xe4", b"Set-Cookie: a=b", b"SERVER: s", b"Content-Encoding: gzip", b"Content-Length: 3")),
    _case("what we add", "README: pass unchanged", answered(200, b"x-modelproxy-variant: v1", lacks=[b"via", b"server", b"date"]), OK,
          note="no Date is added to a model's answer that has none (RFC 9110 §6.6.1): its fields pass unchanged"),
    *(
        _case(f"{line.partition(b':')[0].decode()} ends here", "RFC 9110 §7.6.1 (MUST)", answered(200, lacks=[line.partition(b":")[0].lower()]), _ok(line, b"Content-Length: 3"))
        for line in (b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive", b"Proxy-Authenticate: Basic", b"Upgrade: h2c", b"Trailer: X", b"TE: x")
    ),
    _case("fields that Connection names", "RFC 9110 §7.6.1 (MUST)", answered(200, b"X-C: 3", lacks=[b"x-a", b"x-b", b"connection"]),
          _ok(b"X-A: 1", b"Connection: x-a, X-B", b"X-B: 2", b"X-C: 3", b"Content-Length: 3")),
    _case("Connection names content-length", "RFC 9110 §7.6.1", answered(200, b"Content-Length: 3", body=b"abc"), _ok(b"Content-Length: 3", b"Connection: content-length")),
    _case("Connection names content-type", "RFC 9110 §7.6.1", answered(200, b"Content-Type: a/b"), _ok(b"Content-Type: a/b", b"Content-Length: 3", b"Connection: content-type")),
    _case("Connection names x-request-id", "RFC 9110 §7.6.1; README: headers", answered(200, b"x-modelproxy-variant: v1"), _ok(b"Content-Length: 3", b"Connection: x-request-id, x-modelproxy-variant")),
    _case("internal fields from a model", "README: pass unchanged", answered(200, b"x-modelproxy-variant: v1", lacks=[b"x-modelproxy-x"]),
          _ok(b"X-Modelproxy-X: 1", b"Content-Length: 3")),
    _case("space before the colon", "RFC 9112 §5.1 (MUST remove)", FAULT, _ok(b"X-A : 1", b"Content-Length: 3"),
          note="refused as a whole rather than mended"),
    _case("folded line", "RFC 9112 §5.2", FAULT, _ok(b"X-A: 1", b" 2", b"Content-Length: 3"), note="§5.2 lets a proxy refuse it"),
    _case("folded length", "RFC 9112 §5.2", FAULT, _ok(b"Content-Length:", b" 3")),
    _case("bare LF behind the status line", "RFC 9112 §2.2", FAULT, b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n"),
    _case("bare LF behind a field", "RFC 9112 §2.2", FAULT, b"HTTP/1.1 200 OK\r\nX-A: 1\nContent-Length: 0\r\n\r\n"),
    _case("bare LF at the end of the head", "RFC 9112 §2.2", FAULT, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n"),
    _case("CR in a value", "RFC 9110 §5.5", FAULT, _ok(b"X-A: 1\rSet-Cookie: a=b", b"Content-Length: 3")),
    _case("zero byte in a value", "RFC 9110 §5.5", FAULT, _ok(b"X-A: 1\x00", b"Content-Length: 3")),
    _case("control character in a value", "RFC 9110 §5.5", FAULT, _ok(b"X-A: \x1b[2J", b"Content-Length: 3")),
    _case("control character in a name", "RFC 9110 §5.1", FAULT, _ok(b"X\x01: 1", b"Content-Length: 3")),
    _case("no colon", "RFC 9112 §5", FAULT, _ok(b"X-A", b"Content-Length: 3")),
    _case("blanks behind a value", "RFC 9112 §5.1", answered(200, b"X-A: 1"), _ok(b"X-A: 1 \t ", b"Content-Length: 3")),
    _case("head without an end", "RFC 9112 §8", FAULT, b"HTTP/1.1 200 OK\r\nX-A: " + b"a" * 300_000),
    _case("many fields", "RFC 9110 §5.4", answered(200, b"X-999: 1"), _ok(*[b"X-%d: 1" % i for i in range(1000)], b"Content-Length: 3")),
)  # fmt: skip


def _framed(name: str, *lines: bytes, body: bytes = b"abc", expected: Expected = FAULT, note: str = "",
            source: str = "RFC 9112 §6.3 (MUST 502)", end: Sequence[bytes] = ()) -> Case:  # fmt: skip
    return _case(name, source, expected, _ok(*lines, body=body), *end, note=note)


FRAMING = (
    _framed("length", b"Content-Length: 3", expected=answered(200, body=b"abc", model_closed=False), source="RFC 9112 §6.3"),
    _framed("length with leading zeros", b"Content-Length: 0003", expected=answered(200, body=b"abc"), source="RFC 9110 §8.6"),
    _framed("until the end", expected=answered(200, CHUNKED.lower(), body=b"abc", model_closed=True), source="RFC 9112 §6.3", end=[CLOSE]),
    _framed("until the end, empty", body=b"", expected=answered(200, body=b""), source="RFC 9112 §6.3", end=[CLOSE]),
    _framed("until a reset", expected=answered(200, is_cut=True, closed=True, body=b"abc"), source="RFC 9112 §8", end=[CUT]),
    _framed("two lengths", b"Content-Length: 3", b"Content-Length: 0"),
    _framed("two equal lengths", b"Content-Length: 3", b"Content-Length: 3", note="§6.3 allows to take several equal ones; we do not"),
    _framed("list of lengths", b"Content-Length: 3, 0"),
    _framed("list of equal lengths", b"Content-Length: 3, 3", note="§6.3 allows to take several equal ones; we do not"),
    *(_framed(f"length {value.decode('latin-1')!r}", b"Content-Length: " + value) for value in (b"+3", b"-3", b"0x3", b"3.0", b"abc", b"", b"3 3", b"3,", b"\xd9\xa3", b"3_0")),
    _framed("length above 64 bits", b"Content-Length: 18446744073709551619"),
    _framed("length above 63 bits", b"Content-Length: 9223372036854775808", note="some clients count with signed numbers"),
    _framed("length of 5000 zeros", b"Content-Length: " + b"0" * 5000),
    _framed("length and chunked", b"Content-Length: 3", CHUNKED, body=chunks(b"abc"), source="RFC 9112 §6.3",
            note="§6.3 calls it an attempt at response splitting, to be handled as an error"),
    _framed("chunked", CHUNKED, body=chunks(b"ab", b"c"), expected=answered(200, CHUNKED.lower(), lacks=[b"content-length"], body=b"abc", model_closed=False), source="RFC 9112 §7.1"),
    _framed("Chunked", b"Transfer-Encoding: Chunked", body=chunks(b"abc"), expected=answered(200, body=b"abc"), source="RFC 9112 §7"),
    _framed("chunked before blanks", b"Transfer-Encoding: chunked ", body=chunks(b"abc"), expected=answered(200, body=b"abc"), source="RFC 9112 §5"),
    _framed("chunked twice", CHUNKED, CHUNKED, body=chunks(b"abc"), source="RFC 9112 §6.1"),
    _framed("chunked, chunked", b"Transfer-Encoding: chunked, chunked", body=chunks(b"abc"), source="RFC 9112 §6.1"),
    _framed("gzip, chunked", b"Transfer-Encoding: gzip, chunked", body=chunks(b"abc"), source="RFC 9112 §7.4", note="we sent no TE that allows it"),
    _framed("gzip until the end", b"Transfer-Encoding: gzip", source="RFC 9112 §6.1", note="we sent no TE that allows it", end=[CLOSE]),
    _framed("identity", b"Transfer-Encoding: identity", expected=answered(200, lacks=[], body=b"abc", model_closed=True), source="RFC 2616 §3.6", end=[CLOSE],
            note="of servers from before RFC 7230; it means no coding, and a body until the end"),
    _framed("identity and a length", b"Transfer-Encoding: identity", b"Content-Length: 3", source="RFC 9112 §6.3"),
    _framed("chunked with an unknown coding", b"Transfer-Encoding: xchunked", body=chunks(b"abc"), source="RFC 9112 §6.1", end=[CLOSE]),
    _case("chunked in HTTP/1.0", "RFC 9112 §6.1", answered(200, body=b"abc", model_closed=True), _raw(b"HTTP/1.0 200 OK", CHUNKED, b"Connection: keep-alive", body=chunks(b"abc"))),
)  # fmt: skip


def _broken(
    name: str, body: bytes, *end: bytes, forwarded: bytes | None = None, source: str = "RFC 9112 §7.1"
) -> Case:
    """Return a case of a chunked answer that breaks; the client can tell."""
    expected = answered(200, closed=True, is_cut=True, body=forwarded, model_closed=True)
    return _case(name, source, expected, _ok(CHUNKED, body=b""), body, *end)


def _streamed(name: str, body: bytes, expected: Expected, source: str = "RFC 9112 §7.1") -> Case:
    return _case(name, source, expected, _ok(CHUNKED, body=b""), body)


CHUNKS = (
    _streamed("chunk extension", b"3;a=b\r\nabc\r\n0;c\r\n\r\n", answered(200, body=b"abc"), "RFC 9112 §7.1.1 (MUST ignore)"),
    _streamed("size in capitals", b"A\r\n0123456789\r\n0\r\n\r\n", answered(200, body=b"0123456789")),
    _streamed("trailer", chunks(b"abc", trailers=[b"X-Sum: 1", b"grpc-status: 0"]), answered(200, body=b"abc", trailers=[b"X-Sum: 1", b"grpc-status: 0"]), "RFC 9110 §6.5"),
    _streamed("trailers that may not be", chunks(b"abc", trailers=[b"X-A: 1", b"Connection: close", b"Set-Cookie: a=b", b"X-Modelproxy-Variant: v9", b"Content-Type: a/b", b"X-Request-Id: evil"]),
              answered(200, body=b"abc", trailers=[b"X-A: 1"]), "RFC 9110 §6.5.1"),
    *(_broken(f"chunk size {size.decode('latin-1')!r}", size + b"\r\nabc\r\n0\r\n\r\n", forwarded=b"")
      for size in (b"0x3", b"+3", b"-3", b"g", b"", b"3 3", b"10000000000000003", b"3g")),
    _broken("chunk size ' 3'", b" 3\r\nabc\r\n0\r\n\r\n", forwarded=b""),
    _broken("bare LF behind a size", b"3\nabc\r\n0\r\n\r\n", forwarded=b""),
    _broken("more data than said", b"3\r\nabcd\r\n0\r\n\r\n", forwarded=b"abc"),
    _broken("bare LF at the end", b"3\r\nabc\r\n0\r\n\n", forwarded=b"abc"),
    _broken("junk when half is forwarded", b"3\r\nabc\r\n", b"zz\r\n", forwarded=b"abc"),
    _broken("folded trailer", b"3\r\nabc\r\n0\r\nX-A: 1\r\n 2\r\n\r\n", forwarded=b"abc"),
    _broken("closed in a chunk", b"5\r\nabc", CLOSE, forwarded=b"abc", source="RFC 9112 §8"),
    _broken("closed behind a chunk", b"3\r\nabc\r\n", CLOSE, forwarded=b"abc", source="RFC 9112 §8"),
    _broken("closed before the last empty line", b"3\r\nabc\r\n0\r\n", CLOSE, forwarded=b"abc", source="RFC 9112 §8"),
    _broken("reset behind a chunk", b"3\r\nabc\r\n", CUT, forwarded=b"abc", source="RFC 9112 §8"),
    _case("chunks to HTTP/1.0", "RFC 9112 §7.1", answered(200, b"connection: close", lacks=[b"transfer-encoding"], body=b"abc", closed=True),
          _ok(CHUNKED, body=chunks(b"ab", b"c")), version=b"HTTP/1.0"),
    _case("until the end to HTTP/1.0", "RFC 9112 §6.3", answered(200, b"connection: close", lacks=[b"transfer-encoding"], body=b"abc", closed=True),
          _ok(), CLOSE, version=b"HTTP/1.0"),
)  # fmt: skip

NO_BODY = (
    _case("HEAD with a length", "RFC 9110 §9.3.2", answered(200, b"Content-Length: 3", body=b"", model_closed=False), _ok(b"Content-Length: 3", body=b""), method=b"HEAD"),
    _case("HEAD that says chunked", "RFC 9110 §9.3.2", answered(200, lacks=[b"content-length"], body=b"", model_closed=False), _ok(CHUNKED, body=b""), method=b"HEAD"),
    _case("HEAD without a length", "RFC 9110 §9.3.2", answered(200, body=b""), _ok(body=b""), method=b"HEAD"),
    _case("HEAD with a body all the same", "RFC 9110 §9.3.2", answered(200, body=b"", model_closed=True), _ok(b"Content-Length: 3"), method=b"HEAD"),
    _case("204", "RFC 9112 §6.3", answered(204, body=b"", model_closed=False), response(b"204 No Content")),
    _case("204 with a length", "RFC 9110 §8.6 (MUST NOT)", answered(204, lacks=[b"content-length"], body=b""), response(b"204 No Content", b"Content-Length: 3")),
    _case("204 with a body all the same", "RFC 9112 §6.3", answered(204, body=b"", model_closed=True), response(b"204 No Content", b"Content-Length: 3", body=b"abc")),
    _case("204 that says chunked", "RFC 9112 §6.1 (MUST NOT)", answered(204, lacks=[b"transfer-encoding"], body=b""), response(b"204 No Content", CHUNKED)),
    _case("304", "RFC 9112 §6.3", answered(304, body=b"", model_closed=False), response(b"304 Not Modified", b"ETag: \"1\"")),
    _case("304 with a length", "RFC 9110 §15.4.5", answered(304, b"Content-Length: 3", body=b""), response(b"304 Not Modified", b"Content-Length: 3")),
    _case("304 that says chunked", "RFC 9112 §6.1", answered(304, lacks=[b"transfer-encoding"], body=b""), response(b"304 Not Modified", CHUNKED)),
    _case("205 with a length of 0", "RFC 9110 §15.3.6", answered(205, body=b""), response(b"205 Reset", b"Content-Length: 0")),
    _case("length 0", "RFC 9112 §6.3", answered(200, b"Content-Length: 0", body=b"", model_closed=False), _ok(b"Content-Length: 0", body=b"")),
)  # fmt: skip

EARLY = response(b"103 Early Hints", b"Link: </a>; rel=preload")

INTERIM = (
    _case("100", "RFC 9110 §15.2.1", answered((100, 200), body=b"ok"), response(b"100 Continue"), OK),
    _case("102", "RFC 2518 §10.1", answered((102, 200), body=b"ok"), response(b"102 Processing"), OK),
    _case("103", "RFC 8297 §2", answered((103, 200), body=b"ok"), EARLY, OK),
    _case("103 twice", "RFC 8297 §2", answered((103, 103, 200), body=b"ok"), EARLY, EARLY, OK),
    _case("103 and 200 in one piece", "RFC 8297 §2", answered((103, 200), body=b"ok"), EARLY + OK),
    _case("an interim status that nobody knows", "RFC 9110 §15.2", answered((199, 200)), response(b"199 Odd", b"X-A: 1"), OK),
    _case("interim with a length", "RFC 9110 §8.6", answered((103, 200), body=b"ok"), response(b"103 Early Hints", b"Content-Length: 5"), OK),
    _case("interim that says chunked", "RFC 9112 §6.1", answered((103, 200), body=b"ok"), response(b"103 Early Hints", CHUNKED), OK),
    _case("interim to HTTP/1.0", "RFC 9110 §15.2 (MUST NOT)", answered(200, body=b"ok", closed=True), EARLY, OK, version=b"HTTP/1.0"),
    _case("interim and then nothing", "RFC 9110 §15.6.3", answered((103, 502)), EARLY, CLOSE),
    _case("hop-by-hop fields of an interim answer", "RFC 9110 §7.6.1", answered((103, 200)), response(b"103 Early Hints", b"Connection: x-a", b"X-A: 1", b"Keep-Alive: 1"), OK),
    _case("101 that nobody asked for", "RFC 9110 §15.2.2 (MUST NOT)", FAULT, response(b"101 Switching Protocols", b"Connection: upgrade", b"Upgrade: x")),
    _case("HEAD behind an interim answer", "RFC 9110 §9.3.2", answered((103, 200), body=b""), EARLY, _ok(b"Content-Length: 3", body=b""), method=b"HEAD"),
)  # fmt: skip

ENDS = (
    _case("closed inside the head", "RFC 9112 §8", answered(502), b"HTTP/1.1 200 OK\r\nContent-", CLOSE),
    _case("reset inside the head", "RFC 9112 §8", answered(502), b"HTTP/1.1 200 OK\r\nContent-", CUT),
    _case("closed inside the body", "RFC 9112 §8", answered(200, closed=True, is_cut=True, body=b"ab"), _ok(b"Content-Length: 3", body=b"ab"), CLOSE),
    _case("reset inside the body", "RFC 9112 §8", answered(200, closed=True, is_cut=True, body=b"ab"), _ok(b"Content-Length: 3", body=b"ab"), CUT),
    _case("closed behind the head", "RFC 9112 §8", answered(200, closed=True, is_cut=True, body=b""), _ok(b"Content-Length: 3", body=b""), CLOSE),
    Case("closed inside a body, and a request behind it", "RFC 9112 §9.3", (get() + get(),), answered(200, closed=True, is_cut=True),
         (Script(at_end=(_ok(b"Content-Length: 3", body=b"ab"), CLOSE)), Script())),
    _case("a second answer in the same piece", "RFC 9112 §9.2", answered(200, body=b"ok", model_closed=True), OK + response(b"200 OK", b"Content-Length: 4", body=b"evil")),
    _case("a second answer behind", "RFC 9112 §9.2", answered(200, body=b"ok", model_closed=True), OK, response(b"200 OK", b"Content-Length: 4", body=b"evil")),
    Case("a second answer is not the next request's", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK, response(b"200 OK", b"Content-Length: 4", body=b"evil"))), Script())),
    Case("a second answer in the same piece is not the next request's", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK + response(b"200 OK", b"Content-Length: 4", body=b"evil"),)), Script())),
    Case("the beginning of a second answer", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK + b"HTTP/1.1 200 OK\r\nX-A: ",)), Script())),
    Case("more body than said", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK + b"!!",)), Script())),
    Case("a byte behind a chunked body", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(_ok(CHUNKED, body=chunks(b"abc")) + b"X",)), Script())),
    Case("a byte behind 204", "RFC 9112 §9.2", (get(), get()), Expected((204, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(response(b"204 No Content") + b"X",)), Script())),
    Case("a body behind 304", "RFC 9112 §9.2", (get(), get()), Expected((304, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(response(b"304 Not Modified", b"Content-Length: 2", body=b"XX"),)), Script())),
    Case("a body behind HEAD", "RFC 9112 §9.2", (get(method=b"HEAD"), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK,)), Script()), methods=(b"HEAD", b"GET")),
    Case("an interim answer behind a final one", "RFC 9112 §9.2", (get(), get()), Expected((200, 200), forwarded=2, connections=2, answer_body=b"ok"),
         (Script(at_end=(OK, EARLY)), Script())),
    Case("the connection of a split answer", "RFC 9112 §9.2", (get(), get()), NEXT_SAFE,
         (Script(at_end=(_ok(b"Content-Length: 3", b"Content-Length: 0"),)), Script())),
)  # fmt: skip

ROWS = (*STATUS_LINES, *FIELDS, *FRAMING, *CHUNKS, *NO_BODY, *INTERIM, *ENDS)

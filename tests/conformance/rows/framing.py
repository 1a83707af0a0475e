"""Where a request body ends (RFC 9112 §6, §7): lengths, codings, chunks, trailers, limits."""

from tests.conformance.case import Case, Expected, chunks, get, passes, post, refused, stream
from tests.conformance.stage import Script

__all__ = ["ROWS"]

NEXT = get(target=b"/next")
"""What a smuggler hopes to have read as a request."""


def _body(*lines: bytes, rest: bytes = b"abc") -> tuple[bytes, ...]:
    return (get(*lines, method=b"POST") + rest,)


LENGTHS = (
    Case("length", "RFC 9112 §6.2", (post(b"abc"),), passes(b"Content-Length: 3", body=b"abc")),
    Case("length 0", "RFC 9112 §6.2", (post(b""),), passes(b"Content-Length: 0", body=b"")),
    Case("no length, no body", "RFC 9112 §6.3", (get(method=b"POST"),), passes(lacks=[b"content-length", b"transfer-encoding"], body=b"")),
    Case("length with leading zeros", "RFC 9110 §8.6", _body(b"Content-Length: 003"), passes(body=b"abc")),
    Case("length of 18 digits with leading zeros", "RFC 9110 §8.6", _body(b"Content-Length: 000000000000000003"), passes(b"Content-Length: 3", body=b"abc")),
    Case("length of 5000 zeros", "RFC 9110 §8.6 (prevent overflow)", _body(b"Content-Length: " + b"0" * 5000), refused()),
    Case("length above 64 bits", "RFC 9110 §8.6 (prevent overflow)", _body(b"Content-Length: 18446744073709551619"), refused()),
    Case("length above limits.body", "RFC 9110 §15.5.14", _body(b"Content-Length: 65537"), refused(413)),
    Case("length above 63 bits", "RFC 9110 §8.6 (prevent overflow)", _body(b"Content-Length: 9223372036854775808"), refused()),
    Case("length of 18 digits", "RFC 9110 §15.5.14", _body(b"Content-Length: 999999999999999999"), refused(413)),
    Case("two equal lengths", "RFC 9112 §6.3", _body(b"Content-Length: 3", b"Content-Length: 3"), refused(),
         note="§6.3 allows to take several equal ones; we do not"),
    Case("two lengths", "RFC 9112 §6.3 (MUST 400)", _body(b"Content-Length: 3", b"Content-Length: 0"), refused()),
    Case("list of equal lengths", "RFC 9112 §6.3", _body(b"Content-Length: 3, 3"), refused(),
         note="§6.3 allows to take several equal ones; we do not"),
    Case("list of lengths", "RFC 9112 §6.3 (MUST 400)", _body(b"Content-Length: 3, 0"), refused()),
    Case("lengths in two cases", "RFC 9112 §6.3 (MUST 400)", _body(b"Content-Length: 3", b"content-length: 0"), refused()),
    *(
        Case(f"length {value.decode('latin-1')!r}", "RFC 9112 §6.3 (MUST 400)", _body(b"Content-Length: " + value), refused())
        for value in (b"+3", b"-3", b"3.0", b"0x3", b"3 3", b"abc", b"3a", b"", b"3,", b",3", b"3;", b'"3"',
                      b"\xd9\xa3", b"1_0", b"3 0", b"\x0c3", b"3\x00", b"1e1", b"3\r")
    ),
    Case("length behind a tab", "RFC 9112 §5", _body(b"Content-Length:\t3"), passes(body=b"abc")),
    Case("length before blanks", "RFC 9112 §5", _body(b"Content-Length: 3 \t"), passes(b"Content-Length: 3", body=b"abc")),
    Case("length with an underscore in the name", "RFC 9110 §5.1", _body(b"Content-Length: 3", b"Content_Length: 0"), passes(body=b"abc")),
    Case("GET with a length", "RFC 9110 §9.3.1", (post(b"abc", method=b"GET"),), passes(body=b"abc")),
    Case("HEAD with a length", "RFC 9110 §9.3.2", (post(b"abc", method=b"HEAD"),), passes(body=b"abc"), methods=(b"HEAD",)),
    Case("body that is shorter than its length", "RFC 9112 §6.3", (post(b"abcdef")[:-3],), Expected((), forwarded=0, begun=1)),
    Case("body that looks like a request", "RFC 9112 §6.3", (post(NEXT),), passes(body=NEXT)),
    Case("request right behind a body", "RFC 9112 §9.3.2", (post(b"abc") + NEXT,), passes(body=b"abc", times=2)),
    Case("empty line behind a body", "RFC 9112 §2.2", (post(b"abc") + b"\r\n" + NEXT,), passes(body=b"abc", times=2)),
    Case("junk behind a body", "RFC 9112 §6.3", (post(b"abc") + b"\x00\x01",), refused(400, before=1)),
)  # fmt: skip

CODINGS = (
    Case("chunked", "RFC 9112 §7.1", (stream(chunks(b"ab", b"c")),), passes(b"transfer-encoding: chunked", lacks=[b"content-length"], body=b"abc")),
    Case("chunked, empty", "RFC 9112 §7.1", (stream(chunks()),), passes(b"transfer-encoding: chunked", body=b"")),
    Case("Chunked", "RFC 9112 §7 (case-insensitive)", _body(b"Transfer-Encoding: Chunked", rest=chunks(b"abc")), passes(body=b"abc")),
    Case("chunked before blanks", "RFC 9112 §5", _body(b"Transfer-Encoding: chunked ", rest=chunks(b"abc")), passes(body=b"abc")),
    Case("chunked before a tab", "RFC 9112 §5", _body(b"Transfer-Encoding: chunked\t", rest=chunks(b"abc")), refused(400),
         note="§5 lets a tab follow; the parser reads another coding, and so might another"),
    Case("length and chunked", "RFC 9112 §6.3", _body(b"Content-Length: 3", b"Transfer-Encoding: chunked", rest=chunks(b"abc")), refused(),
         note="§6.3 allows to refuse it: an attempt at smuggling"),
    Case("chunked and length", "RFC 9112 §6.3", _body(b"Transfer-Encoding: chunked", b"Content-Length: 3", rest=chunks(b"abc")), refused(),
         note="§6.3 allows to refuse it: an attempt at smuggling"),
    Case("chunked and length 0, then a request", "RFC 9112 §6.3", _body(b"Content-Length: 0", b"Transfer-Encoding: chunked", rest=chunks() + NEXT), refused()),
    Case("chunked twice", "RFC 9112 §6.1 (MUST NOT)", _body(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked", rest=chunks(b"abc")), refused()),
    Case("chunked, chunked", "RFC 9112 §6.1 (MUST NOT)", _body(b"Transfer-Encoding: chunked, chunked", rest=chunks(b"abc")), refused()),
    Case("gzip, chunked", "RFC 9112 §6.1 (SHOULD 501)", _body(b"Transfer-Encoding: gzip, chunked", rest=chunks(b"abc")), refused(501)),
    Case("gzip and chunked in two fields", "RFC 9112 §6.1", _body(b"Transfer-Encoding: gzip", b"Transfer-Encoding: chunked", rest=chunks(b"abc")), refused()),
    Case("chunked not last", "RFC 9112 §6.3 (MUST 400)", _body(b"Transfer-Encoding: chunked, gzip", rest=chunks(b"abc")), refused()),
    Case("chunked and identity", "RFC 9112 §6.3 (MUST 400)", _body(b"Transfer-Encoding: chunked, identity", rest=chunks(b"abc")), refused()),
    Case("identity", "RFC 9112 §6.3 (MUST 400)", _body(b"Transfer-Encoding: identity"), refused()),
    Case("gzip", "RFC 9112 §6.3 (MUST 400)", _body(b"Transfer-Encoding: gzip"), refused()),
    Case("identity and a length", "RFC 9112 §6.3", _body(b"Transfer-Encoding: identity", b"Content-Length: 3"), refused()),
    Case("empty coding", "RFC 9112 §6.1", _body(b"Transfer-Encoding:"), refused()),
    *(
        Case(f"coding {value.decode('latin-1')!r}", "RFC 9112 §6.3 (MUST 400)", _body(b"Transfer-Encoding: " + value, rest=chunks(b"abc")), refused())
        for value in (b"xchunked", b"chunkedx", b"chunke", b'"chunked"', b"chunked;q=1", b"chunked\x00", b"\x0bchunked",
                      b"chunked\x0b", b"ch\xc5\xaanked", b"chunked,", b",chunked", b"chunked x", b"'chunked'", b"chunk\xe9d")
    ),
    Case("coding with an underscore in the name", "RFC 9110 §5.1", (post(b"abc", b"Transfer_Encoding: chunked"),), passes(body=b"abc")),
    Case("coding of another name", "RFC 9110 §5.1", (post(b"abc", b"X-Transfer-Encoding: chunked"),), passes(body=b"abc")),
    Case("chunked in HTTP/1.0", "RFC 9112 §6.1", (stream(chunks(b"abc"), version=b"HTTP/1.0"),), refused()),
    Case("GET in chunks", "RFC 9110 §9.3.1", (get(b"Transfer-Encoding: chunked") + chunks(b"abc"),), passes(body=b"abc")),
    Case("TE that asks for more", "RFC 9110 §10.1.4", (get(b"TE: gzip, chunked", b"Connection: TE"),), passes(lacks=[b"te"])),
)  # fmt: skip

CHUNKS = (
    Case("chunk by chunk", "RFC 9112 §7.1", (stream(b""), b"2\r\nab\r\n", b"1\r\nc\r\n", b"0\r\n\r\n"), passes(body=b"abc")),
    Case("size in capitals", "RFC 9112 §7.1", (stream(b"A\r\n0123456789\r\n0\r\n\r\n"),), passes(body=b"0123456789")),
    Case("size with leading zeros", "RFC 9112 §7.1", (stream(b"0003\r\nabc\r\n000\r\n\r\n"),), passes(body=b"abc")),
    Case("size of 5000 zeros", "RFC 9112 §7.1", (stream(b"0" * 5000 + b"3\r\nabc\r\n0\r\n\r\n"),), passes(body=b"abc")),
    Case("extension", "RFC 9112 §7.1.1 (MUST ignore)", (stream(b"3;a=b\r\nabc\r\n0;c\r\n\r\n"),), passes(body=b"abc")),
    Case("extension in quotes", "RFC 9112 §7.1.1", (stream(b'3;a="b;c"\r\nabc\r\n0\r\n\r\n'),), passes(body=b"abc")),
    Case("extension with a line break in quotes", "RFC 9112 §7.1.1", (stream(b'3;a="\r\nabc\r\n0\r\n\r\n'),), refused()),
    Case("extension with a bare LF", "RFC 9112 §7.1.1", (stream(b"3;a\nabc\r\n0\r\n\r\n"),), refused()),
    Case("extension with a bare CR", "RFC 9112 §7.1.1", (stream(b"3;a\rb\r\nabc\r\n0\r\n\r\n"),), refused()),
    Case("extension with a zero byte", "RFC 9112 §7.1.1", (stream(b"3;a\x00\r\nabc\r\n0\r\n\r\n"),), refused()),
    Case("extension longer than limits.head", "RFC 9112 §7.1.1", (stream(b"3;" + b"a" * 9000),), refused(431)),
    *(
        Case(f"chunk size {size.decode('latin-1')!r}", "RFC 9112 §7.1", (stream(size + b"\r\nabc\r\n0\r\n\r\n"),), refused())
        for size in (b"0x3", b"+3", b"-3", b"g", b"", b" 3", b"3 3", b"3g", b"\xd9\xa3", b"3_0", b"3\x00",
                     b"10000000000000003", b"ffffffffffffffffff", b"3,", b"3.")
    ),
    Case("size above limits.body", "RFC 9110 §15.5.14", (stream(b"fffffffff\r\n" + b"a" * 66000),), refused(413)),
    Case("size without an end", "RFC 9112 §7.1", (stream(b"0" * 9000),), refused(431)),
    Case("space behind a size", "RFC 9112 §7.1.1", (stream(b"3 \r\nabc\r\n0\r\n\r\n"),), refused(),
         note="§7.1.1 calls it bad whitespace, which the parser does not take"),
    Case("bare LF behind a size", "RFC 9112 §7.1", (stream(b"3\nabc\r\n0\r\n\r\n"),), refused()),
    Case("bare LF behind the data", "RFC 9112 §7.1", (stream(b"3\r\nabc\n0\r\n\r\n"),), refused()),
    Case("no line break behind the data", "RFC 9112 §7.1", (stream(b"3\r\nabc0\r\n\r\n"),), refused()),
    Case("more data than said", "RFC 9112 §7.1", (stream(b"3\r\nabcd\r\n0\r\n\r\n"),), refused()),
    Case("bare LF behind the last chunk", "RFC 9112 §7.1", (stream(b"3\r\nabc\r\n0\n\r\n"),), refused()),
    Case("bare LF at the end", "RFC 9112 §7.1", (stream(b"3\r\nabc\r\n0\r\n\n"),), refused()),
    Case("no last chunk", "RFC 9112 §8", (stream(b"3\r\nabc\r\n"),), Expected((), forwarded=0, begun=1)),
    Case("no empty line at the end", "RFC 9112 §7.1", (stream(b"3\r\nabc\r\n0\r\n"),), Expected((), forwarded=0, begun=1)),
    Case("request right behind", "RFC 9112 §9.3.2", (stream(chunks(b"abc")) + NEXT,), passes(body=b"abc", times=2)),
    Case("junk right behind", "RFC 9112 §6.3", (stream(chunks(b"abc")) + b"\x00",), refused(400, before=1)),
    Case("broken when half is forwarded", "RFC 9112 §7.1", (stream(b"3\r\nabc\r\n"), b"zz\r\n"), Expected((400,), closed=True, forwarded=0, begun=1)),
    Case("a chunk that looks like a request", "RFC 9112 §7.1", (stream(chunks(NEXT)),), passes(body=NEXT)),
)  # fmt: skip

TRAILERS = (
    Case("trailer", "RFC 9110 §6.5", (stream(chunks(b"abc", trailers=[b"X-Sum: 1"]), b"Trailer: X-Sum"),), passes(body=b"abc", trailers=[b"X-Sum: 1"])),
    Case("trailers", "RFC 9110 §6.5", (stream(chunks(b"abc", trailers=[b"X-A: 1", b"x-b: 2"])),), passes(body=b"abc", trailers=[b"X-A: 1", b"x-b: 2"])),
    Case("trailer that is folded", "RFC 9112 §5.2", (stream(chunks(b"abc", trailers=[b"X-A: 1", b" 2"])),), refused()),
    Case("trailer with a bare LF", "RFC 9112 §2.2", (stream(chunks(b"abc", trailers=[b"X-A: 1\nX-B: 2"])),), refused()),
    Case("trailer with a space before the colon", "RFC 9112 §5.1", (stream(chunks(b"abc", trailers=[b"X-A : 1"])),), refused()),
    Case("trailer with a zero byte", "RFC 9110 §5.5", (stream(chunks(b"abc", trailers=[b"X-A: \x00"])),), refused()),
    *(
        Case(f"trailer {line.decode()}", "RFC 9110 §6.5.1 (MUST NOT)", (stream(chunks(b"abc", trailers=[line])),), passes(body=b"abc", trailers=[]))
        for line in (b"Host: evil", b"Connection: close", b"Trailer: X",
                     b"Keep-Alive: 5", b"X-Modelproxy-Force: v2", b"X-Request-Id: evil", b"X-Forwarded-For: evil",
                     b"Upgrade: h2c", b"TE: trailers", b"Expect: 100-continue", b"Content-Encoding: gzip",
                     b"Authorization: evil", b"Cookie: evil")
    ),
    *(
        Case(f"trailer {line.decode()}", "RFC 9110 §6.5.1 (MUST NOT)", (stream(chunks(b"abc", trailers=[line])),), refused(),
             note="might be merged into the head to another framing; the parser refuses it")
        for line in (b"Content-Length: 3", b"Transfer-Encoding: chunked")
    ),
    Case("trailer that Connection names", "RFC 9110 §7.6.1", (stream(chunks(b"abc", trailers=[b"X-Hop: 1"]), b"Connection: X-Hop"),), passes(body=b"abc", trailers=[])),
    Case("trailers longer than limits.head", "RFC 6585 §5", (stream(b"3\r\nabc\r\n"), b"0\r\nX-A: " + b"a" * 9000), Expected((431,), closed=True, forwarded=0, begun=1)),
    Case("more trailers than limits.headers", "RFC 6585 §5", (stream(chunks(b"abc", trailers=[b"X: 1"] * 65)),), refused(431)),
    Case("request right behind a trailer", "RFC 9112 §9.3.2", (stream(chunks(b"abc", trailers=[b"X-A: 1"])) + NEXT,), passes(body=b"abc", times=2)),
    Case("TE: trailers", "RFC 9110 §6.5.1", (get(b"TE: trailers", b"Connection: TE"),), passes(b"te: trailers")),
)  # fmt: skip

LARGE = (
    Case("body of limits.body", "RFC 9110 §15.5.14", (post(b"x" * 65536),), passes(body=b"x" * 65536)),
    Case("chunks above limits.body", "RFC 9110 §15.5.14", (stream(b""), chunks(b"x" * 60000, b"x" * 6000)), Expected((413,), closed=True, forwarded=0, begun=1)),
    Case("answer before a chunked body is too large", "RFC 9112 §9.6", (stream(b""), chunks(b"x" * 60000, b"x" * 6000)),
         Expected((200,), closed=True, forwarded=0, begun=1), scripts=(Script(at_head=(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",), at_end=()),)),
)  # fmt: skip

ROWS = (*LENGTHS, *CODINGS, *CHUNKS, *TRAILERS, *LARGE)

"""What goes to the client: framing, fields that end here, and replies of our own."""

from itertools import product

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadFraming, BadHead
from proxy.wire.request import HOP_BY_HOP, Framing
from proxy.wire.response import (
    CHUNK_LINES,
    CONTINUE,
    PLAIN_DIGITS,
    are_plain_chunks,
    build_interim,
    build_plain,
    build_reply,
    build_response_head,
    check_status,
    chunk,
    date_line,
    forwarded_block,
    last_chunk,
    response_framing,
    without_chunks,
)
from tests.wire.referee import h11_response, llhttp_response

Fields = list[tuple[bytes, bytes]]

LENGTH = (b"content-length", b"3")
CHUNKED = (b"transfer-encoding", b"chunked")

FRAMINGS: dict[str, tuple[int, Fields, bool, int]] = {
    # In the order of RFC 9112 §6.3.
    "1: head": (200, [LENGTH], True, Framing.NONE),
    "1: head of a chunked one": (200, [CHUNKED], True, Framing.NONE),
    "1: head without a length": (200, [], True, Framing.NONE),
    "1: 204": (204, [], False, Framing.NONE),
    "1: 204 with a length": (204, [LENGTH], False, Framing.NONE),
    "1: 304 with a length": (304, [LENGTH], False, Framing.NONE),
    "1: 304 with a coding": (304, [CHUNKED], False, Framing.NONE),
    "4: chunked": (200, [CHUNKED], False, Framing.CHUNKED),
    "4: chunked in capitals": (200, [(b"transfer-encoding", b"Chunked")], False, Framing.CHUNKED),
    "4: chunked and blanks": (200, [(b"transfer-encoding", b"chunked  ")], False, Framing.CHUNKED),
    "4: an error": (500, [CHUNKED], False, Framing.CHUNKED),
    "6: length": (200, [LENGTH], False, Framing.LENGTH),
    "6: length zero": (200, [(b"content-length", b"0")], False, Framing.LENGTH),
    "8: neither": (200, [(b"a", b"b")], False, Framing.UNTIL_CLOSE),
}


@pytest.mark.parametrize(("status", "fields", "head_only", "framing"), FRAMINGS.values(), ids=FRAMINGS)
def test_framing(status: int, fields: Fields, head_only: bool, framing: int) -> None:
    """The body is delimited by the first rule of RFC 9112 §6.3 that applies."""
    assert framing == response_framing(status, [n for n, _ in fields], [v for _, v in fields], head_only)


FAULTY: dict[str, Fields] = {
    "3: length and coding": [LENGTH, CHUNKED],
    "5: two lengths": [LENGTH, LENGTH],
    "two codings": [CHUNKED, CHUNKED],
    "coding under chunks": [(b"transfer-encoding", b"gzip, chunked")],
    "coding until close": [(b"transfer-encoding", b"gzip")],
    "chunked is not last": [(b"transfer-encoding", b"chunked, gzip")],
    "chunked twice": [(b"transfer-encoding", b"chunked, chunked")],
    "identity and a length": [(b"transfer-encoding", b"identity"), (b"content-length", b"3")],
    "thousands of zeros": [(b"content-length", b"0" * 5000)],
    "looks like chunked": [(b"transfer-encoding", b"xchunked")],
    "tab behind": [(b"transfer-encoding", b"chunked\t")],
    "empty": [(b"transfer-encoding", b"")],
}


@pytest.mark.parametrize("fields", FAULTY.values(), ids=FAULTY)
def test_faulty_framing(fields: Fields) -> None:
    """A body that two clients could delimit differently, or would not know to be coded, is not forwarded."""
    with pytest.raises(BadFraming):
        response_framing(200, [n for n, _ in fields], [v for _, v in fields], False)


CODINGS = st.lists(
    st.sampled_from([b"chunked", b"gzip", b"identity", b"x", b",", b" ", b"\t", b"CHUNKED"]), max_size=5
)


@given(CODINGS.map(b"".join))
def test_the_parser_agrees_on_chunks(coding: bytes) -> None:
    """What we call chunked, llhttp reads as chunks: a body that ends with the last one."""
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: %b\r\n\r\n" % coding + chunk(b"abc") + last_chunk()
    reading = llhttp_response(raw)
    if reading is None:
        return
    try:
        framing = response_framing(200, reading.names, reading.values, False)
    except BadFraming:
        return
    if reading.values[0].rstrip(b" ").lower() == b"identity":
        assert (framing, reading.messages) == (Framing.UNTIL_CLOSE, 0)
        return
    assert framing == Framing.CHUNKED
    assert (reading.messages, reading.body) == (1, b"abc")


def block_of(status: int, *fields: tuple[bytes, bytes]) -> bytes:
    """Return what of these fields goes to the client."""
    lines = [b"%b: %b\r\n" % pair for pair in fields]
    return forwarded_block(status, [n.lower() for n, _ in fields], [v for _, v in fields], lines)


@pytest.mark.parametrize(
    "name", [*sorted(HOP_BY_HOP), b"x-request-id", b"x-modelproxy-variant", b"X_Modelproxy_A"]
)
def test_fields_that_end_here(name: bytes) -> None:
    """Fields about the connection to the model, and those that only we may write, do not reach the client."""
    assert block_of(200, (b"A", b"1"), (name.title(), b"x"), (b"b", b"2")) == b"A: 1\r\nb: 2\r\n"


def test_fields_that_connection_names_end_here() -> None:
    """RFC 9110 §7.6.1 holds for responses too; but the body stays what it is."""
    options = (b"connection", b"close, X-A ,content-length,content-type,content-encoding")
    kept = [(b"content-length", b"3"), (b"content-type", b"a/b"), (b"content-encoding", b"gzip")]
    assert block_of(200, options, (b"x-a", b"1"), *kept) == b"".join(b"%b: %b\r\n" % pair for pair in kept)


def test_order_case_and_repeats_are_kept() -> None:
    """Everything else goes on as it came."""
    assert block_of(200, (b"Set-Cookie", b"a"), (b"X", b""), (b"set-cookie", b"b")) == (
        b"Set-Cookie: a\r\nX: \r\nset-cookie: b\r\n"
    )


@pytest.mark.parametrize(
    ("status", "kept"), [(100, False), (103, False), (204, False), (304, True), (200, True)]
)
def test_length_of_what_has_no_body(status: int, kept: bool) -> None:
    """RFC 9110 §8.6: interim responses and 204 have no ``content-length``; 304 may tell that of the 200."""
    assert block_of(status, LENGTH) == (b"content-length: 3\r\n" if kept else b"")


@pytest.mark.parametrize("status", [0, 42, 99])
def test_impossible_status(status: int) -> None:
    """Three digits are not yet a status, and nobody may switch protocols unasked (RFC 9110 §7.8)."""
    with pytest.raises(BadHead):
        check_status(status, b"OK")


@pytest.mark.parametrize(
    ("status", "reason", "expected"),
    [
        (200, b"OK", b"OK"),
        (200, b"", b""),
        (200, b"All \t right \xe4", b"All \t right \xe4"),
        (200, b"O\0K", b"OK"),
        (404, b"\x1b[2J", b"Not Found"),
        (299, b"\x7f", b""),
        (200, b"OK\r\nSet-Cookie: a", b"OK"),
    ],
)
def test_reasons(status: int, reason: bytes, expected: bytes) -> None:
    """RFC 9112 §4 allows text and blanks in a reason phrase; anything else gives way to the usual one."""
    assert expected == check_status(status, reason)


@pytest.mark.parametrize(
    ("http11", "keep_alive", "expected"),
    [(True, True, b""), (True, False, b"close"), (False, True, b"keep-alive"), (False, False, b"close")],
)
@pytest.mark.parametrize(("chunked", "request_id"), list(product([False, True], [b"", b"r1"])))
def test_response_heads(
    http11: bool, keep_alive: bool, expected: bytes, chunked: bool, request_id: bytes
) -> None:
    """Each client is told in its own version what becomes of the connection (RFC 9112 §9.3)."""
    built = build_response_head(
        201,
        b"Created",
        b"A: b\r\n",
        request_id,
        b"x-modelproxy-variant: v1\r\n",
        http11=http11,
        keep_alive=keep_alive,
        chunked=chunked,
    )
    reading = llhttp_response(built)
    assert reading is not None
    assert reading.start == (201, b"Created")
    assert list(zip(reading.names, reading.values, strict=True)) == [
        (b"a", b"b"),
        *([(b"x-request-id", request_id)] if request_id else []),
        (b"x-modelproxy-variant", b"v1"),
        *([CHUNKED] if chunked else []),
        *([(b"connection", expected)] if expected else []),
    ]


@pytest.mark.parametrize("variant_line", [b"", b"x-modelproxy-variant: v1\r\n"])
def test_plain_heads_are_the_same(variant_line: bytes) -> None:
    """The short way of the common case writes what the long one writes."""
    head = (200, b"OK", b"A: b\r\n", b"r1", variant_line)
    expected = build_response_head(*head, http11=True, keep_alive=True, chunked=False)
    assert build_plain(b"HTTP/1.1 200 OK\r\nA: b\r\n", b"r1", variant_line) == expected
    assert build_plain(b"HTTP/1.1 200 OK\r\nA: b\r\n", b"r1", variant_line, b"{}") == expected + b"{}"


def test_interim() -> None:
    """An interim response is a head alone, and the final one follows."""
    interim = build_interim(103, b"Early Hints", b"link: </a>\r\n")
    assert interim == b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
    for head in (interim, CONTINUE):
        reading = llhttp_response(head + b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        assert reading is not None
        assert reading.messages == 2


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=5))
def test_chunks_parse_back(pieces: list[bytes]) -> None:
    """Whatever the bytes, chunks and the last one are read as what was put in."""
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    raw = head + b"".join(map(chunk, pieces)) + last_chunk()
    for referee in (llhttp_response, h11_response):
        reading = referee(raw)
        assert reading is not None
        assert (reading.messages, reading.body) == (1, b"".join(pieces))


@given(
    st.sampled_from([400, 404, 408, 413, 431, 499, 501, 502, 503, 504]),
    st.text(max_size=60),
    st.binary(max_size=20).filter(
        lambda text: not set(text) & set(b"\0\r\n\t \x7f") and min(text, default=33) > 32
    ),
    st.booleans(),
    st.booleans(),
    st.none() | st.integers(0, 100),
)
def test_replies(
    status: int, sentence: str, request_id: bytes, http11: bool, keep_alive: bool, retry_after_s: int | None
) -> None:
    """Any sentence and any id that a parser lets through make one whole response with a JSON document in it."""
    built = build_reply(
        status, sentence, request_id, http11=http11, keep_alive=keep_alive, retry_after_s=retry_after_s
    )
    reading = llhttp_response(built)
    assert reading is not None
    assert reading.messages == 1
    assert reading.start[0] == status
    document = orjson.loads(reading.body)
    assert document == {
        "error": sentence,
        "status": status,
        "request_id": request_id.decode("latin-1") or None,
    }
    fields = dict(zip(reading.names, reading.values, strict=True))
    assert fields[b"content-type"] == b"application/json"
    assert fields[b"content-length"] == b"%d" % len(reading.body)
    assert fields.get(b"x-request-id", b"") == request_id
    assert fields.get(b"retry-after") == (None if retry_after_s is None else b"%d" % retry_after_s)
    assert reading.keep_alive == keep_alive


def test_date_of_a_reply() -> None:
    """A reply has the date it is given, in the form of RFC 9110 §5.6.7."""
    date = date_line(784_111_777_999_999_999)
    assert date == b"date: Sun, 06 Nov 1994 08:49:37 GMT\r\n"
    assert build_reply(404, "no route", b"r1", date=date).count(date) == 1


@pytest.mark.parametrize(("status", "has_allow"), [(200, True), (405, True), (404, False), (501, False)])
def test_allowed_methods(status: int, has_allow: bool) -> None:
    """Who asks for options, or for a method that is not allowed, is told the methods (RFC 9110 §10.2.1)."""
    assert (b"\r\nallow: GET, HEAD, POST" in build_reply(status, "", b"r1")) == has_allow


def test_reply_to_head() -> None:
    """A client that asked for the head alone gets it with the length of the body it would have got."""
    full = build_reply(404, "no route", b"r1")
    head, end, body = full.partition(b"\r\n\r\n")
    assert build_reply(404, "no route", b"r1", head_only=True) == head + end
    assert b"content-length: %d\r\n" % len(body) in head


@given(bodies=st.lists(st.binary(min_size=1, max_size=3000), min_size=1, max_size=4), upper=st.booleans())
def test_plain_chunks_and_back(bodies: list[bytes], upper: bool) -> None:
    """Whole chunks without anything else are plain, and their body is what was put in."""
    form = b"%X\r\n%b\r\n" if upper else b"%x\r\n%b\r\n"
    data = b"".join([form % (len(body), body) for body in bodies])
    assert are_plain_chunks(data)
    assert without_chunks(data) == b"".join(bodies)
    assert not any(are_plain_chunks(data[:at]) for at in range(len(chunk(bodies[0]))))


NOT_PLAIN = {
    "nothing": b"",
    "last chunk": b"0\r\n\r\n",
    "chunk and last chunk": b"1\r\na\r\n0\r\n\r\n",
    "leading zero": b"01\r\na\r\n",
    "extension": b"1;a\r\na\r\n",
    "blank": b"1 \r\na\r\n",
    "sign": b"+1\r\na\r\n",
    "underscore": b"1_0\r\n" + b"a" * 16 + b"\r\n",
    "prefix": b"0x1\r\na\r\n",
    "no digits": b"\r\n\r\n",
    "letters": b"xyz\r\n",
    "another end": b"1\r\na\n\r",
    "too long": b"1\r\nab\r\n",
    "more digits than are plain": b"1" * (PLAIN_DIGITS + 1) + b"\r\n",
}


@pytest.mark.parametrize("data", NOT_PLAIN.values(), ids=NOT_PLAIN.keys())
def test_what_is_no_plain_chunk(data: bytes) -> None:
    """What could be read in another way, or is no chunk at all, is not plain."""
    assert not are_plain_chunks(data)


def test_lines_of_short_chunks() -> None:
    """By the length of a chunk, the table has the two ways in which its line may be written."""
    for size in (1, 10, 15, 16, 255, 256, 1023):
        end, lines = CHUNK_LINES[len(chunk(bytes(size)))]
        assert set(lines) == {b"%x\r\n" % size, b"%X\r\n" % size}
        assert {len(line) for line in lines} == {end}

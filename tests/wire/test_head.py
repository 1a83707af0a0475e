"""A request head is either refused with the right status, or has one meaning."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadFraming, BadHead, HeadTooLarge, LastStop, UnsupportedFeature, WireError
from proxy.wire.head import MAX_REQUEST_ID_BYTES, RequestHead, check_request, check_size
from proxy.wire.request import Framing
from tests.wire.referee import checked

HOST = (b"Host", b"h")


def check(
    *fields: tuple[bytes, bytes], method: bytes = b"POST", target: bytes = b"/a", http11: bool = True
) -> RequestHead:
    """Return the checked head of these fields."""
    return check_request(
        method,
        target,
        [name.lower() for name, _ in fields],
        [value for _, value in fields],
        [b"%b: %b\r\n" % pair for pair in fields],
        http11=http11,
        keep_alive=http11,
    )


def raw(*lines: bytes, start: bytes = b"POST /a HTTP/1.1") -> bytes:
    """Return a request head as bytes."""
    return b"\r\n".join([start, *lines, b"", b""])


ACCEPTED: dict[str, tuple[bytes, int, int]] = {
    "no body": (raw(b"Host: h"), Framing.NONE, 0),
    "length": (raw(b"Host: h", b"Content-Length: 3"), Framing.LENGTH, 3),
    "length zero": (raw(b"Host: h", b"Content-Length: 0"), Framing.NONE, 0),
    "length with zeros": (raw(b"Host: h", b"Content-Length: 0003"), Framing.LENGTH, 3),
    "length and blanks": (raw(b"Host: h", b"Content-Length: \t3 \t"), Framing.LENGTH, 3),
    "chunked": (raw(b"Host: h", b"Transfer-Encoding: chunked"), Framing.CHUNKED, 0),
    "chunked in capitals": (raw(b"Host: h", b"Transfer-Encoding: CHUNKED"), Framing.CHUNKED, 0),
    "chunked and blanks": (raw(b"Host: h", b"Transfer-Encoding: chunked  "), Framing.CHUNKED, 0),
    "HTTP/1.0 with a length": (raw(b"Content-Length: 3", start=b"POST /a HTTP/1.0"), Framing.LENGTH, 3),
}


@pytest.mark.parametrize(("head", "framing", "length"), ACCEPTED.values(), ids=ACCEPTED)
def test_framing(head: bytes, framing: int, length: int) -> None:
    """The body is delimited as RFC 9112 §6.3 says: no body unless a length or chunks are announced."""
    parsed = checked(head)
    assert (framing, length) == (parsed.framing, parsed.length)


REFUSED: dict[str, tuple[Sequence[tuple[bytes, bytes]], type[WireError], int]] = {
    "no host": ([], BadHead, 400),
    "two hosts": ([HOST, HOST], BadHead, 400),
    "host with a path": ([(b"host", b"h/x")], BadHead, 400),
    "host with user information": ([(b"host", b"u@h")], BadHead, 400),
    "host with a blank": ([(b"host", b"h x")], BadHead, 400),
    "host with obs-text": ([(b"host", b"h\xff")], BadHead, 400),
    "host with a port that is none": ([(b"host", b"h:http")], BadHead, 400),
    "several lengths": ([HOST, (b"content-length", b"3"), (b"content-length", b"3")], BadFraming, 400),
    "length and coding": ([HOST, (b"content-length", b"3"), (b"transfer-encoding", b"chunked")], BadFraming, 400),
    "chunked twice": ([HOST, *[(b"transfer-encoding", b"chunked")] * 2], BadFraming, 400),
    "chunked in a list twice": ([HOST, (b"transfer-encoding", b"chunked, chunked")], UnsupportedFeature, 501),
    "other coding": ([HOST, (b"transfer-encoding", b"gzip, chunked")], UnsupportedFeature, 501),
    "identity": ([HOST, (b"transfer-encoding", b"identity")], BadFraming, 400),
    "looks like chunked": ([HOST, (b"transfer-encoding", b"xchunked")], BadFraming, 400),
    "not chunked last": ([HOST, (b"transfer-encoding", b"chunked, gzip")], BadFraming, 400),
    "nothing under chunked": ([HOST, (b"transfer-encoding", b",chunked")], BadFraming, 400),
    "signed length": ([HOST, (b"content-length", b"+3")], BadFraming, 400),
    "length with an underscore": ([HOST, (b"content-length", b"1_0")], BadFraming, 400),
    "empty length": ([HOST, (b"content-length", b"")], BadFraming, 400),
    "going in circles": ([HOST, *[(b"via", b"1.1 modelproxy")] * 9], BadHead, 508),
    "thousands of zeros": ([HOST, (b"content-length", b"0" * 5000 + b"3")], BadFraming, 400),
}  # fmt: skip


@pytest.mark.parametrize(("fields", "error", "status"), REFUSED.values(), ids=REFUSED)
def test_refused(fields: Sequence[tuple[bytes, bytes]], error: type[WireError], status: int) -> None:
    """What has two meanings, or one that is not implemented, is refused with its status (RFC 9112 §3.2, §6.1)."""
    with pytest.raises(error) as caught:
        check(*fields)
    assert status == caught.value.status_hint


def test_connect_is_refused() -> None:
    """A tunnel is nothing for a model server."""
    with pytest.raises(UnsupportedFeature):
        check(HOST, method=b"CONNECT", target=b"h:80")


def test_http10_may_leave_the_host_out_but_not_double_it() -> None:
    """RFC 9112 §3.2 asks for the host of HTTP/1.1 clients only."""
    assert check(http11=False).host == b""
    with pytest.raises(BadHead):
        check(HOST, HOST, http11=False)


def test_http10_has_no_transfer_coding() -> None:
    """RFC 9112 §6.1: a transfer coding in an HTTP/1.0 message is faulty framing."""
    with pytest.raises(BadFraming):
        check(HOST, (b"Transfer-Encoding", b"chunked"), http11=False)


@pytest.mark.parametrize(
    "target",
    [b"", b"a", b"*", b"*x", b"*://h/", b"?a", b"h:80", b"ftp://h/", b"http://", b"http:///a", b"http://?a", b"http://u@h/",
     b"http://u:p@h/", b"http://h#a", b"http://h:80:80/", b"//", b"https:/h"],
)  # fmt: skip
def test_impossible_targets(target: bytes) -> None:
    """A target is a path, or an absolute URI of HTTP with a host and without user information."""
    if target[:1] == b"/":
        assert check(HOST, target=target).target == target
        return
    with pytest.raises(BadHead):
        check(HOST, target=target)


def test_absolute_form_replaces_the_host() -> None:
    """RFC 9112 §3.2.2: the field is ignored, and what goes on names the host of the target."""
    head = check((b"a", b"b"), (b"HOST", b"evil"), target=b"http://Models.Example:8080/a?b")
    assert (head.target, head.path) == (b"/a?b", b"/a")
    assert (head.host, head.host_name) == (b"Models.Example:8080", b"models.example")
    assert head.values == [b"b", b"Models.Example:8080"]
    assert head.block == b"a: b\r\nHost: Models.Example:8080\r\n"


def test_absolute_form_without_a_host_field() -> None:
    """An HTTP/1.0 client may name the host in the target alone."""
    head = check(target=b"http://h/a", http11=False)
    assert (head.host, head.names) == (b"h", [])


def test_asterisk_form() -> None:
    """``OPTIONS`` may ask about the server as a whole, also in absolute-form (RFC 9112 §3.2.4)."""
    assert check(HOST, method=b"OPTIONS", target=b"*").target == b"*"
    assert check(HOST, method=b"OPTIONS", target=b"http://h").target == b"*"


@pytest.mark.parametrize(
    ("target", "lines", "status"),
    [
        (b"/" * 10, [b"a: b\r\n"] * 3, 0),
        (b"/" * 10, [b"a: b\r\n"] * 4, 431),
        (b"/" * 101, [], 414),
        (b"/" * 95, [b"a: b\r\n"], 431),
        (b"/" * 94, [b"a: b\r\n"], 0),
    ],
    ids=["fits", "lines", "target", "bytes", "just fits"],
)
def test_sizes(target: bytes, lines: Sequence[bytes], status: int) -> None:
    """Too many lines or bytes are 431; a target that is too long by itself is 414."""
    found = 0
    try:
        check_size(target, lines, 100, 3)
    except HeadTooLarge as error:
        found = error.status_hint
    assert found == status


def test_leading_zeros_are_not_forwarded() -> None:
    """A reader that takes them for octal would see another length."""
    head = check(HOST, (b"content-length", b"010"))
    assert (head.length, head.values[1], head.lines[1]) == (10, b"10", b"Content-Length: 10\r\n")


@pytest.mark.parametrize("method", [b"OPTIONS", b"TRACE"])
def test_max_forwards_counts_down(method: bytes) -> None:
    """RFC 9110 §7.6.2: the next recipient gets one less; for other methods the field means nothing to us."""
    assert check(HOST, (b"max-forwards", b"7"), method=method).lines[1] == b"Max-Forwards: 6\r\n"
    assert check(HOST, (b"max-forwards", b"7"), method=b"GET").lines[1] == b"max-forwards: 7\r\n"


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", 200), (b"TRACE", 405)])
def test_the_last_stop(method: bytes, status: int) -> None:
    """With no forwards left the request is ours to answer, and TRACE is not reflected."""
    with pytest.raises(LastStop) as caught:
        check(HOST, (b"max-forwards", b"0"), method=method)
    assert caught.value.status_hint == status


@pytest.mark.parametrize("values", [[b"x"], [b""], [b"-1"], [b"1", b"1"], [b"1" * 10]])
def test_impossible_max_forwards(values: list[bytes]) -> None:
    """What is no number, or several, cannot be counted down."""
    with pytest.raises(BadHead):
        check(HOST, *[(b"max-forwards", value) for value in values], method=b"OPTIONS")


def test_a_few_proxies_of_our_kind_are_no_loop() -> None:
    """Up to eight may stand behind each other; others are not counted."""
    assert check(HOST, (b"via", b", ".join([b"1.1 modelproxy"] * 8)), (b"via", b"1.1 other")).names


def test_request_id_is_the_client_s_unless_it_is_long() -> None:
    """An id that would swell every record is as good as none."""
    longest = b"a" * MAX_REQUEST_ID_BYTES
    assert check(HOST, (b"X-Request-ID", longest), (b"x-request-id", b"b")).request_id == longest
    assert check(HOST, (b"X-Request-ID", longest + b"a")).request_id == b""
    assert check(HOST).request_id == b""


def test_forced() -> None:
    """A head remembers that it asks for a variant; whether that is granted is decided elsewhere."""
    assert check(HOST, (b"X-Modelproxy-Force", b"v2")).forced
    assert not check(HOST, (b"X-Modelproxy-Forced", b"v2")).forced


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [b"host", b"content-length", b"transfer-encoding", b"x-request-id", b"connection", b"a"]
            ),
            st.binary(max_size=8) | st.sampled_from([b"h", b"3", b"chunked", b"9" * 25]),
        ),
        max_size=5,
    ),
    st.binary(max_size=8) | st.sampled_from([b"/a?b", b"*", b"http://h/a", b"http://h?a/b"]),
    st.booleans(),
)
def test_accepted_or_refused_with_a_reason(
    fields: list[tuple[bytes, bytes]], target: bytes, http11: bool
) -> None:
    """Any fields and target give a head in origin-form with one framing, or a ``WireError``, never anything else."""
    head, status = None, 0
    try:
        head = check(*fields, target=target, http11=http11)
    except WireError as refused:
        status = refused.status_hint
    assert status in ((400, 501) if head is None else (0,))
    if head is None:
        return
    assert head.target[:1] == b"/"
    assert head.names.count(b"content-length") + head.names.count(b"transfer-encoding") <= 1
    assert (head.framing == Framing.LENGTH) == (head.length > 0)
    assert head.block == b"".join(head.lines)

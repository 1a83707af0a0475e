"""What goes upstream: targets, fields that end here, fields that are added, and nothing that was not there."""

from posixpath import normpath
from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadHead
from proxy.wire.request import (
    HOP_BY_HOP,
    SHADOW_LINE,
    build_head,
    climbs_out,
    common_block,
    first_value,
    forwarded_lines,
    host_name,
    is_host,
    is_internal,
    is_loop,
    origin_form,
    rewrite_target,
)
from tests.wire.referee import checked, fields_of, llhttp_request

CLIENT = b"192.0.2.1"
Fields = list[tuple[bytes, bytes]]


def forwarded(
    fields: Fields, *, trace_lines: bytes = b"", http11: bool = True, trusted: bool = False
) -> Fields:
    """Return the fields that go upstream for those of a client, less the four that are always added."""
    names = [name.lower() for name, _ in fields]
    values = [value for _, value in fields]
    lines = [b"%b: %b\r\n" % pair for pair in fields]
    block = common_block(
        names,
        values,
        lines,
        client=CLIENT,
        host=b"h",
        trace_lines=trace_lines,
        http11=http11,
        trusted=trusted,
    )
    return fields_of(block)


ADDED: Fields = [
    (b"x-forwarded-for", CLIENT),
    (b"x-forwarded-proto", b"http"),
    (b"x-forwarded-host", b"h"),
    (b"via", b"1.1 modelproxy"),
]


def test_what_is_added() -> None:
    """A request without such fields gets them all, whichever road it takes."""
    assert forwarded([]) == ADDED
    assert fields_of(forwarded_lines(CLIENT, b"h")) == ADDED
    over_tls = [(name, b"https" if value == b"http" else value) for name, value in ADDED]
    assert fields_of(forwarded_lines(CLIENT, b"h", b"https")) == over_tls
    block = common_block([], [], [], client=CLIENT, host=b"h", trace_lines=b"", scheme=b"https")
    assert fields_of(block) == over_tls


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP))
def test_hop_by_hop_fields_end_here(name: bytes) -> None:
    """RFC 9110 §7.6.1: fields about this connection are not forwarded, however they are written."""
    assert forwarded([(name.title(), b"x"), (b"a", b"b")]) == [(b"a", b"b"), *ADDED]


NOMINATED: dict[str, tuple[bytes, Fields]] = {
    "one field": (b"x-secret", [(b"a", b"b")]),
    "any case": (b"X-SECRET", [(b"a", b"b")]),
    "a list": (b"close , x-secret,a", []),
    "an empty list": (b" , ,", [(b"x-secret", b"1"), (b"a", b"b")]),
    "a name that is not there": (b"b", [(b"x-secret", b"1"), (b"a", b"b")]),
}


@pytest.mark.parametrize(("options", "kept"), NOMINATED.values(), ids=NOMINATED)
def test_fields_that_connection_names_end_here(options: bytes, kept: Fields) -> None:
    """RFC 9110 §7.6.1: what ``Connection`` lists is for us."""
    assert forwarded([(b"Connection", options), (b"X-Secret", b"1"), (b"a", b"b")]) == [*kept, *ADDED]


def test_several_connection_fields_are_one_list() -> None:
    """Each of them nominates."""
    assert forwarded([(b"connection", b"a"), (b"a", b"1"), (b"connection", b"b"), (b"b", b"1")]) == ADDED


@pytest.mark.parametrize("name", [b"host", b"content-length", b"content-type", b"content-encoding"])
def test_connection_cannot_take_the_meaning_away(name: bytes) -> None:
    """What frames, addresses or types the message stays, whatever ``Connection`` says: else it would be another."""
    assert forwarded([(b"connection", name), (name, b"1")]) == [(name, b"1"), *ADDED]


def test_connection_cannot_take_away_what_we_add() -> None:
    """A client cannot hide its address from the model."""
    options = b"x-forwarded-for, via, x-forwarded-proto, x-forwarded-host"
    assert forwarded([(b"connection", options)]) == ADDED


def test_lists_are_appended_to() -> None:
    """``x-forwarded-for`` and ``via`` grow at the end (RFC 9110 §7.6.3), from as many fields as there are."""
    got = forwarded(
        [
            (b"X-Forwarded-For", b"198.51.100.1, 198.51.100.2"),
            (b"Via", b"1.0 a"),
            (b"x-forwarded-for", b""),
            (b"x-forwarded-for", b"198.51.100.3"),
        ]
    )
    assert got == [
        (b"x-forwarded-for", b"198.51.100.1, 198.51.100.2, 198.51.100.3, " + CLIENT),
        *ADDED[1:3],
        (b"via", b"1.0 a, 1.1 modelproxy"),
    ]


def test_via_names_the_version_that_the_client_spoke() -> None:
    """RFC 9110 §7.6.3: the received protocol, not ours."""
    assert forwarded([], http11=False)[-1] == (b"via", b"1.0 modelproxy")


def test_proto_and_host_of_a_proxy_before_us_are_kept() -> None:
    """The first one knows, if it is trusted; empty fields know nothing."""
    kept = [(b"x-forwarded-proto", b"https"), (b"x-forwarded-host", b"models.example")]
    assert forwarded(kept, trusted=True) == [ADDED[0], *kept, ADDED[3]]
    assert forwarded(kept) == ADDED
    assert forwarded([(name, b"") for name, _ in kept], trusted=True) == ADDED


@pytest.mark.parametrize(
    "name",
    [
        b"x-modelproxy-force",
        b"X-Modelproxy-Shadow",
        b"x-modelproxy-anything",
        b"X_Modelproxy_Shadow",
        b"x-modelproxy_a",
    ],
)
def test_fields_of_ours_do_not_come_from_outside(name: bytes) -> None:
    """A backend may believe ``x-modelproxy-*``, also where it cannot tell a dash from an underscore."""
    assert is_internal(name.lower())
    assert forwarded([(name, b"1")]) == ADDED


def test_fields_that_look_like_ours() -> None:
    """Others keep their names."""
    assert not any(
        map(is_internal, [b"x-modelproxy", b"modelproxy-a", b"a-x-modelproxy-a", b"x-modelproxys-a"])
    )


@pytest.mark.parametrize("name", [b"expect", b"x-request-id", b"traceparent", b"tracestate"])
def test_fields_that_are_written_anew(name: bytes) -> None:
    """They are added where the head is built, once."""
    assert forwarded([(name, b"x")]) == ADDED


@pytest.mark.parametrize(
    ("te", "http11", "is_passed"),
    [
        (b"trailers", True, True),
        (b"gzip, Trailers", True, True),
        (b"gzip", True, False),
        (b"trailers", False, False),
    ],
)
def test_who_takes_trailers(te: bytes, http11: bool, is_passed: bool) -> None:
    """A model is told that trailers are welcome, by a field that ends with it (RFC 9110 §10.1.4)."""
    added = [(b"connection", b"te"), (b"te", b"trailers")] if is_passed else []
    found = forwarded([(b"TE", te), (b"Connection", b"TE")], http11=http11)
    assert [field for field in found if field[0] in (b"te", b"connection")] == added


@pytest.mark.parametrize(
    ("via", "is_circle"),
    [
        (b"1.1 modelproxy", False),
        (b"1.1 modelproxy, " * 8, False),
        (b"1.0 modelproxy, " * 9, True),
        (b"1.1 x, " * 20, False),
    ],
)
def test_going_in_circles(via: bytes, is_circle: bool) -> None:
    """RFC 9110 §7.6.3: ``Via`` shows loops; proxies of our kind may stand behind each other, but not for ever."""
    assert is_loop(via) == is_circle


def test_trace_lines_are_added() -> None:
    """The trace context is what the caller made of it."""
    assert forwarded([], trace_lines=b"traceparent: x\r\n") == [*ADDED, (b"traceparent", b"x")]


def test_order_case_and_repeats_of_other_fields_are_kept() -> None:
    """Lines go on as they came."""
    lines = [b"B: 1\r\n", b"a: 2\r\n", b"b: 3\r\n", b"via: 1.1 x\r\n"]
    block = common_block(
        [b"b", b"a", b"b", b"via"],
        [b"1", b"2", b"3", b"1.1 x"],
        lines,
        client=CLIENT,
        host=b"h",
        trace_lines=b"",
    )
    assert block.startswith(b"B: 1\r\na: 2\r\nb: 3\r\nx-forwarded-for")


ORIGIN_FORMS: dict[str, tuple[bytes, bytes, tuple[bytes, bytes]]] = {
    "path": (b"GET", b"/a?b", (b"/a?b", b"")),
    "path that holds a URI": (b"GET", b"/a?b=http://c/d", (b"/a?b=http://c/d", b"")),
    "two slashes": (b"GET", b"//a", (b"//a", b"")),
    "asterisk": (b"OPTIONS", b"*", (b"*", b"")),
    "absolute": (b"GET", b"http://h/a?b", (b"/a?b", b"h")),
    "port": (b"GET", b"http://h:80/a", (b"/a", b"h:80")),
    "brackets": (b"GET", b"http://[::1]:80/a", (b"/a", b"[::1]:80")),
    "no path": (b"GET", b"http://h", (b"/", b"h")),
    "query without a path": (b"GET", b"http://h?q", (b"/?q", b"h")),
    "slash in such a query": (b"GET", b"http://h?a=/b?c", (b"/?a=/b?c", b"h")),
    "empty query": (b"GET", b"http://h?", (b"/?", b"h")),
    "colon and at in the path": (b"GET", b"http://h/a:b@c", (b"/a:b@c", b"h")),
    "upper-case scheme": (b"GET", b"HTTPS://h/a", (b"/a", b"h")),
    "options without a path": (b"OPTIONS", b"http://h:80", (b"*", b"h:80")),
    "options with a path": (b"OPTIONS", b"http://h/", (b"/", b"h")),
    "options with a query": (b"OPTIONS", b"http://h?a", (b"/?a", b"h")),
}


@pytest.mark.parametrize(("method", "target", "expected"), ORIGIN_FORMS.values(), ids=ORIGIN_FORMS)
def test_origin_form(method: bytes, target: bytes, expected: tuple[bytes, bytes]) -> None:
    """RFC 9112 §3.2: an absolute target is split into the host and what a server wants to see."""
    assert expected == origin_form(method, target)


@pytest.mark.parametrize(
    "target", [b"*", b"http://u@h/", b"http://h\r\n/", b"http://h /", b"gopher://h/", b"a"]
)
def test_no_origin_form(target: bytes) -> None:
    """What is neither of the forms is refused, user information included (RFC 9110 §4.2.4)."""
    with pytest.raises(BadHead):
        origin_form(b"GET", target)


@given(st.binary(max_size=20).map(lambda tail: b"http://" + tail) | st.binary(max_size=20))
def test_origin_form_never_returns_anything_else(target: bytes) -> None:
    """A target in origin-form comes out, with an authority that may stand in ``Host``, or ``BadHead``."""
    try:
        origin, authority = origin_form(b"GET", target)
    except BadHead:
        return
    assert origin[:1] == b"/"
    assert is_host(authority)


@pytest.mark.parametrize(
    "host",
    [b"", b"h", b"h:80", b"h:", b"127.0.0.1:8080", b"[::1]", b"[2001:db8::1]:80", b"[fe80::1%25eth0]", b"a_b.example",
     b"xn--bcher-kva.example", b"%C3%BC.example"],
)  # fmt: skip
def test_hosts(host: bytes) -> None:
    """Names and addresses, with or without a port (RFC 9110 §7.2)."""
    assert is_host(host)


@pytest.mark.parametrize(
    "host",
    [b"h/", b"u@h", b"h x", b"h\tx", b"h?x", b"h#x", b"h:80:80", b"h:a", b"::1", b"[::1", b"[::1]x", b"\xff", b'"h"',
     b"h\\x"],
)  # fmt: skip
def test_not_hosts(host: bytes) -> None:
    """What a backend might read as something else than a host."""
    assert not is_host(host)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Models.Example:80", b"models.example"),
        (b"127.0.0.1", b"127.0.0.1"),
        (b"[2001:DB8::1]:80", b"2001:db8::1"),
        (b"", b""),
    ],
)
def test_host_name(field: bytes, expected: bytes) -> None:
    """Routes compare the name alone."""
    assert expected == host_name(field)


REWRITES: dict[str, tuple[bytes, bytes, bytes, bytes]] = {
    "no path of the model": (b"/a/b?c", b"/a", b"", b"/a/b?c"),
    "prefix": (b"/a/b?c", b"/a", b"/m", b"/m/b?c"),
    "whole path": (b"/a", b"/a", b"/m", b"/m"),
    "whole path and a query": (b"/a?c", b"/a", b"/m", b"/m?c"),
    "slash at the end": (b"/a/", b"/a", b"/m", b"/m/"),
    "everything matches": (b"/b?c", b"", b"/m", b"/m/b?c"),
    "asterisk": (b"*", b"", b"/m", b"*"),
}


@pytest.mark.parametrize(("target", "matched", "prefix", "expected"), REWRITES.values(), ids=REWRITES)
def test_rewrite_target(target: bytes, matched: bytes, prefix: bytes, expected: bytes) -> None:
    """A model's own path stands in for what the route matched; the query is not touched."""
    assert expected == rewrite_target(target, matched, prefix)


def test_first_value() -> None:
    """The first field of a name counts; none is empty."""
    assert first_value([b"a", b"b", b"b"], [b"1", b"2", b"3"], b"b") == b"2"
    assert first_value([], [], b"b") == b""


TOKENS = st.from_regex(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}", fullmatch=True)
TEXTS = st.from_regex(rb"([!-~\x80-\xff]([\t -~\x80-\xff]{0,12}[!-~\x80-\xff])?)?", fullmatch=True)
TAKEN = {b"host", b"content-length", b"transfer-encoding", b"connection", b"proxy-connection", b"upgrade"}
SAFE_FIELDS = st.lists(
    st.tuples(TOKENS.filter(lambda name: name.lower() not in TAKEN), TEXTS), max_size=5
).map(lambda fields: [(b"Host", b"h"), *fields])


@given(SAFE_FIELDS, TEXTS)
def test_built_heads_parse_back(fields: Fields, request_id: bytes) -> None:
    """llhttp reads out of a head that we built what was put in: same line, same fields, one message."""
    names = [name.lower() for name, _ in fields]
    values = [value for _, value in fields]
    lines = [b"%b: %b\r\n" % pair for pair in fields]
    block = common_block(names, values, lines, client=CLIENT, host=b"h", trace_lines=b"")
    built = build_head(b"POST", b"/a?b", block, request_id, SHADOW_LINE)
    reading = llhttp_request(built)
    assert reading is not None
    assert reading.messages == 1
    assert reading.start == (b"POST", b"/a?b")
    assert list(zip(reading.names, reading.values, strict=True)) == [
        *fields_of(block),
        (b"x-request-id", request_id),
        (b"x-modelproxy-shadow", b"1"),
    ]


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_no_client_can_add_a_line(name: bytes, value: bytes) -> None:
    """Whatever bytes a field is made of: refused, or one line upstream for each that was read, and nothing behind."""
    raw = b"GET /a HTTP/1.1\r\nHost: h\r\n%b: %b\r\nx-request-id: %b\r\n\r\n" % (name, value, value)
    reading = llhttp_request(raw)
    if reading is None or reading.messages != 1 or {b"content-length", b"host"} & set(reading.names[1:]):
        return
    head = checked(raw)
    block = common_block(head.names, head.values, head.lines, client=CLIENT, host=head.host, trace_lines=b"")
    built = build_head(head.method, head.target, block, head.request_id, b"")
    again = llhttp_request(built)
    assert again is not None
    assert again.messages == 1
    assert len(again.names) == built.count(b"\r\n") - 2 == built.count(b"\n") - 2
    assert len(again.names) <= len(reading.names) + len(ADDED)


CLIMBS: dict[str, tuple[bytes, bool]] = {
    "empty": (b"", False),
    "plain": (b"/infer", False),
    "up": (b"/..", True),
    "up at once": (b"..", True),
    "down and up": (b"/a/..", False),
    "down and twice up": (b"/a/../..", True),
    "dots in a name": (b"/a..b/..c/d../...", False),
    "one dot is nowhere": (b"/./..", True),
    "empty segments are nowhere": (b"/a//../..", True),
    "encoded dots": (b"/%2e%2E/x", True),
    "half encoded": (b"/.%2e", True),
    "encoded slash": (b"/a/..%2f..%2Fx", True),
    "backslash": (b"/..\\x", True),
    "encoded backslash": (b"/..%5cx", True),
    "with a parameter": (b"/..;a=b/x", True),
    "with an encoded parameter": (b"/..%3Bx", True),
    "encoded twice is a name": (b"/%252e%252e", False),
}


@pytest.mark.parametrize("name", CLIMBS)
def test_who_climbs_out(name: str) -> None:
    """A path that some server resolves to a place above its beginning is found out."""
    rest, expected = CLIMBS[name]
    assert expected == climbs_out(rest)


@given(st.lists(st.sampled_from(["..", ".", "", "a", "%2e%2e", "b%2f..", "..;x"]), max_size=8))
def test_who_does_not_climb_stays_below(segments: list[str]) -> None:
    """What is let through is resolved to a place below the prefix, by the books and by who decodes first."""
    rest = "".join(f"/{segment}" for segment in segments)
    if not climbs_out(rest.encode()):
        for read in (rest, unquote(rest), unquote(rest).replace(";x", "")):
            assert normpath(f"/prefix{read}").startswith("/prefix")

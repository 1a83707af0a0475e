"""Who a request belongs to: every source, what counts as absent, and who the client is behind proxies."""

from collections.abc import Sequence
from ipaddress import ip_network

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.units import (
    client_address,
    compile_reader,
    find_cookie,
    find_json,
    find_query,
    is_trusted,
    parse_pointer,
)

CLIENT = b"192.0.2.1"

HEAD_CASES: list[tuple[str, str, str, list[tuple[bytes, bytes]], bytes, bytes | None]] = [
    ("header", "header", "X-User-Id", [(b"accept", b"*/*"), (b"x-user-id", b"42")], b"/", b"42"),
    ("header absent", "header", "x-user-id", [(b"x-user", b"42")], b"/", None),
    ("header empty", "header", "x-user-id", [(b"x-user-id", b"")], b"/", None),
    ("header twice: first", "header", "x-user-id", [(b"x-user-id", b"1"), (b"x-user-id", b"2")], b"/", b"1"),
    ("header not utf-8", "header", "x-user-id", [(b"x-user-id", b"\xff\x00")], b"/", b"\xff\x00"),
    ("header named like a value", "header", "a", [(b"b", b"a")], b"/", None),
    ("cookie", "cookie", "uid", [(b"cookie", b"a=1; uid=u7; b=2")], b"/", b"u7"),
    ("cookie is case-sensitive", "cookie", "uid", [(b"cookie", b"UID=u7")], b"/", None),
    ("cookie quoted", "cookie", "uid", [(b"cookie", b'uid="u7"')], b"/", b"u7"),
    ("cookie empty", "cookie", "uid", [(b"cookie", b"uid=; x=1")], b"/", None),
    (
        "cookie in the second line",
        "cookie",
        "uid",
        [(b"cookie", b"a=1"), (b"cookie", b"uid=u7")],
        b"/",
        b"u7",
    ),
    ("cookie value with =", "cookie", "uid", [(b"cookie", b"uid=a=b==")], b"/", b"a=b=="),
    ("cookie name as a suffix", "cookie", "uid", [(b"cookie", b"xuid=1; uid=2")], b"/", b"2"),
    ("cookie without =", "cookie", "uid", [(b"cookie", b"uid; uid=2")], b"/", b"2"),
    ("query", "query", "user", [], b"/p?a=1&user=bob&b", b"bob"),
    ("query encoded", "query", "user", [], b"/p?user=b%C3%B6b+x%20y", "böb x y".encode()),
    ("query name encoded", "query", "us er", [], b"/p?us%20er=1", b"1"),
    ("query empty", "query", "user", [], b"/p?user=", None),
    ("query absent", "query", "user", [], b"/p?xuser=1", None),
    ("no query", "query", "user", [], b"/user=1", None),
    ("query before the fragment", "query", "user", [], b"/p?user=1#&user=2", b"1"),
    ("query first of two", "query", "user", [], b"/p?user=1&user=2", b"1"),
    ("client ip", "client_ip", "", [(b"x-user-id", b"42")], b"/", CLIENT),
    ("json reads nothing of the head", "json", "/user", [(b"user", b"1")], b"/?user=1", None),
]


@pytest.mark.parametrize(
    ("kind", "name", "headers", "target", "expected"),
    [case[1:] for case in HEAD_CASES],
    ids=[case[0] for case in HEAD_CASES],
)
def test_sources_in_the_head(
    kind: str, name: str, headers: Sequence[tuple[bytes, bytes]], target: bytes, expected: bytes | None
) -> None:
    """Each source reads its own part of the head; absent and empty are the same."""
    names, values = [n for n, _ in headers], [v for _, v in headers]
    assert expected == compile_reader(kind, name).from_head(names, values, target, CLIENT)


def test_unknown_client_is_no_unit() -> None:
    """A connection without an address (a Unix socket) has no ``client_ip``."""
    assert compile_reader("client_ip", "").from_head([], [], b"/", b"") is None


JSON_CASES: list[tuple[str, str, bytes, bytes | None]] = [
    ("text", "/user", b'{"user": "bob"}', b"bob"),
    ("nested", "/parameters/user", b'{"parameters": {"user": "bob"}}', b"bob"),
    ("unicode", "/u", '{"u": "böb 🙂"}'.encode(), "böb 🙂".encode()),
    ("escaped unicode is the same", "/u", rb'{"u": "b\u00f6b"}', "böb".encode()),
    ("integer", "/u", b'{"u": 42}', b"42"),
    ("integer and text are one unit", "/u", b'{"u": "42"}', b"42"),
    ("large integer", "/u", b'{"u": 18446744073709551615}', b"18446744073709551615"),
    ("float", "/u", b'{"u": 1.50}', b"1.5"),
    ("boolean", "/u", b'{"u": true}', b"true"),
    ("index", "/inputs/1/data/0", b'{"inputs": [{}, {"data": [7]}]}', b"7"),
    ("index past the end", "/a/2", b'{"a": [1, 2]}', None),
    ("index with a letter", "/a/x", b'{"a": [1]}', None),
    ("dash", "/a/-", b'{"a": [1]}', None),
    ("key of digits", "/a/0", b'{"a": {"0": "x"}}', b"x"),
    ("escaped slash", "/a~1b", b'{"a/b": "x"}', b"x"),
    ("escaped tilde", "/a~0b", b'{"a~b": "x"}', b"x"),
    ("tilde one", "/a~01", b'{"a~1": "x"}', b"x"),
    ("empty key", "/", b'{"": "x"}', b"x"),
    ("null", "/u", b'{"u": null}', None),
    ("empty text", "/u", b'{"u": ""}', None),
    ("object", "/u", b'{"u": {}}', None),
    ("array", "/u", b'{"u": [1]}', None),
    ("absent", "/u", b'{"v": 1}', None),
    ("through a scalar", "/u/x", b'{"u": "x"}', None),
    ("no body", "/u", b"", None),
    ("not json", "/u", b"u=1", None),
    ("cut", "/u", b'{"u": "bo', None),
    ("not utf-8", "/u", b'{"u": "\xff"}', None),
    ("half a surrogate", "/u", rb'{"u": "\ud800"}', None),
    ("deep", "/u", b"[" * 100_000, None),
    ("infinite", "/u", b'{"u": 1e999}', None),
    ("an index of thousands of digits", "/" + "9" * 5_000, b"[1]", None),
]


@pytest.mark.parametrize(
    ("pointer", "body", "expected"),
    [case[1:] for case in JSON_CASES],
    ids=[case[0] for case in JSON_CASES],
)
def test_units_in_a_json_body(pointer: str, body: bytes, expected: bytes | None) -> None:
    """A scalar at the pointer is the unit; anything else is absent and never an error."""
    reader = compile_reader("json", pointer)
    assert reader.needs_body
    assert expected == reader.from_body(body)


@given(st.binary(max_size=100), st.lists(st.text(max_size=5), max_size=4))
def test_any_body_gives_a_unit_or_nothing(body: bytes, pointer: list[str]) -> None:
    """No bytes of a client make the reader raise."""
    find_json(body, pointer)


json_scalars = st.one_of(st.text(), st.integers(-(2**63), 2**64 - 1), st.booleans(), st.none())
json_values = st.recursive(
    json_scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
)


@given(json_values, st.lists(st.text(max_size=3) | st.integers(0, 3).map(str), max_size=3))
def test_any_document_gives_a_unit_or_nothing(document: object, pointer: list[str]) -> None:
    """What is found is a scalar of the document and never empty."""
    try:
        body = orjson.dumps(document)
    except orjson.JSONEncodeError:  # a lone surrogate
        return
    assert find_json(body, pointer) != b""


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=4))
def test_any_query_and_cookie_give_a_unit_or_nothing(raw: bytes, key: bytes) -> None:
    """Whatever a client sends, cookie and query are read or absent, and never empty."""
    assert find_query(b"/?" + raw, key) != b""
    assert find_cookie([b"cookie"], [raw], key) != b""


@pytest.mark.parametrize(
    ("pointer", "expected"),
    [("", ()), ("/", ("",)), ("/a/b", ("a", "b")), ("/a~1b/~0", ("a/b", "~")), ("/~01", ("~1",))],
)
def test_pointers(pointer: str, expected: tuple[str, ...]) -> None:
    """Reference tokens are unescaped in the order that RFC 6901 §4 asks for."""
    assert expected == parse_pointer(pointer)


def test_the_source_is_named_as_in_the_file() -> None:
    """The metric label is what the operator wrote."""
    texts = [
        compile_reader(*source).text for source in [("header", "X-Id"), ("json", "/a"), ("client_ip", "")]
    ]
    assert texts == ["header:X-Id", "json:/a", "client_ip"]


NETWORKS = [ip_network("10.0.0.0/8"), ip_network("2001:db8::/32"), ip_network("192.0.2.7")]


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.1.2.3", True),
        ("11.1.2.3", False),
        ("192.0.2.7", True),
        ("192.0.2.8", False),
        ("2001:db8::5", True),
        ("2001:db9::5", False),
        ("::ffff:10.1.2.3", True),
        ("::ffff:11.1.2.3", False),
        ("unknown", False),
        ("", False),
        ("10.1.2.3:80", False),
    ],
)
def test_trust(address: str, expected: bool) -> None:
    """An address is trusted when a network holds it, IPv4 in IPv6 included; junk never is."""
    assert is_trusted(address, NETWORKS) is expected


def test_nobody_is_trusted_by_default() -> None:
    """Without networks not even loopback is believed."""
    assert not is_trusted("127.0.0.1", [])


CLIENT_CASES: list[tuple[str, bytes, list[bytes], bytes]] = [
    ("direct", b"203.0.113.9", [], b"203.0.113.9"),
    ("a stranger's header is ignored", b"203.0.113.9", [b"198.51.100.1"], b"203.0.113.9"),
    ("behind one proxy", b"10.0.0.1", [b"198.51.100.1"], b"198.51.100.1"),
    ("behind two", b"10.0.0.1", [b"198.51.100.1, 10.0.0.2"], b"198.51.100.1"),
    (
        "what the client made up is ignored",
        b"10.0.0.1",
        [b"1.1.1.1, 198.51.100.1, 10.0.0.2"],
        b"198.51.100.1",
    ),
    ("several lines", b"10.0.0.1", [b"1.1.1.1", b"198.51.100.1", b"10.0.0.2"], b"198.51.100.1"),
    ("all trusted", b"10.0.0.1", [b"10.0.0.3, 10.0.0.2"], b"10.0.0.3"),
    ("proxy without a header", b"10.0.0.1", [], b"10.0.0.1"),
    ("empty header", b"10.0.0.1", [b" , "], b"10.0.0.1"),
    ("not an address", b"10.0.0.1", [b"unknown"], b"unknown"),
    ("IPv6", b"2001:db8::1", [b"2001:db9::7"], b"2001:db9::7"),
    ("hops beyond the last 64", b"10.0.0.1", [b"198.51.100.1", b"10.0.0.2," * 63 + b"10.0.0.3"], b"10.0.0.2"),
]


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [case[1:] for case in CLIENT_CASES],
    ids=[case[0] for case in CLIENT_CASES],
)
def test_who_the_client_is(peer: bytes, forwarded: list[bytes], expected: bytes) -> None:
    """Behind trusted peers the client is the last hop that is not trusted; from others nothing is believed."""
    assert expected == client_address(peer, forwarded, NETWORKS)


def test_as_many_pairs_are_looked_at_as_any_framework_reads() -> None:
    """The 1000th cookie or parameter is found, the next one is not."""
    for count, expected in ((999, b"x"), (1000, None)):
        assert find_query(b"/?" + b"a=b&" * count + b"u=x", b"u") == expected
        assert find_cookie([b"cookie"], [b"a=b;" * count + b"u=x"], b"u") == expected

from base64 import b64encode
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.settings import units
from proxy.settings.units import Address, UnitSource

MS, S, M, H = 10**6, 10**9, 60 * 10**9, 3600 * 10**9


class TestSize:
    @pytest.mark.parametrize(
        ("text", "size_bytes"),
        [("0B", 0), ("512B", 512), ("64KiB", 65536), ("256MiB", 1 << 28), ("2GiB", 1 << 31)],
    )
    def test_reads(self, text: str, size_bytes: int) -> None:
        """A size is a whole number with a binary unit."""
        assert size_bytes == units.parse_size(text)

    @pytest.mark.parametrize("text", ["", "KiB", "1.5KiB", "64 KiB", "64kib", "64KB", "-1B", "٥B"])
    def test_refuses(self, text: str) -> None:
        """Decimal units, fractions and signs are refused with an example."""
        with pytest.raises(ValueError, match="such as 64KiB"):
            units.parse_size(text)

    def test_bare_number(self) -> None:
        """A number without a unit is answered with how to write it."""
        with pytest.raises(ValueError, match="write 64KiB or 64MiB, not 64"):
            units.parse_size("64")

    @given(st.integers(0, 2**50))
    def test_round_trip(self, size_bytes: int) -> None:
        """What is written reads back exactly."""
        assert size_bytes == units.parse_size(units.format_size(size_bytes))


class TestPercent:
    @given(st.integers(0, 100 * 10**6))
    def test_round_trip_is_exact(self, millionths: int) -> None:
        """A percent survives being a JSON number without any rounding."""
        value = Decimal(millionths).scaleb(-6)
        assert value == units.parse_percent(str(value))
        assert value == units.parse_percent(repr(units.format_percent(value)))
        assert Fraction(millionths, 10**6) == Fraction(units.parse_percent(str(value)))

    @pytest.mark.parametrize("text", ["", "-0.1", "100.000001", "nan", "inf", "ten", "1" * 40, "1e-400x"])
    def test_refuses(self, text: str) -> None:
        """What is no number from 0 to 100 is refused."""
        with pytest.raises(ValueError, match="a percent from 0 to 100"):
            units.parse_percent(text)

    def test_refuses_finer(self) -> None:
        """A seventh decimal is refused, not rounded."""
        with pytest.raises(ValueError, match="at most 6 decimals"):
            units.parse_percent("0.0000001")


class TestRate:
    @pytest.mark.parametrize("sign", ["", "%"])
    @given(millionths=st.integers(0, 1000 * 10**6))
    def test_round_trip_is_exact(self, sign: str, millionths: int) -> None:
        """A percent is the same with its sign and without, and survives being a JSON number."""
        value = Decimal(millionths).scaleb(-6)
        assert value == units.parse_rate(f"{value:f}{sign}", 0, 1000)
        assert value == units.parse_rate(repr(units.format_percent(value)), 0, 1000)

    def test_limits(self) -> None:
        """The limits are allowed, but for a lower one that must be passed."""
        assert units.parse_rate("0%", 0, 50) == 0
        assert units.parse_rate("50%", 0, 50, above=True) == 50
        with pytest.raises(ValueError, match="above 0 and at most 50"):
            units.parse_rate("0%", 0, 50, above=True)


class TestWebhook:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("https://hooks.example", "https://hooks.example/"),
            ("https://H.example:8443/a/b", "https://h.example:8443/a/b"),
            ("http://[::1]:80/a?token=x%20y&z=1", "http://[::1]:80/a?token=x%20y&z=1"),
        ],
    )
    def test_url(self, text: str, url: str) -> None:
        """A receiver may have a path and a query."""
        assert url == units.parse_webhook_url(text)

    @pytest.mark.parametrize(
        "text", ["https://h/?a b", "https://h/?ä", "https://h/?a#b", "https://h/?%zz", "h"]
    )
    def test_no_url(self, text: str) -> None:
        """What would have to be escaped, and what is no URL, is refused."""
        with pytest.raises(ValueError, match="a URL"):
            units.parse_webhook_url(text)

    def test_key(self) -> None:
        """A key is what the base64 behind whsec_ says, or the text itself."""
        key = bytes(range(24))
        secret = f"whsec_{b64encode(key).decode()}"
        assert units.parse_signing_secret(secret) == secret
        assert units.signing_key(secret) == key
        assert units.signing_key("x" * 24) == b"x" * 24

    @pytest.mark.parametrize("size", [0, 23, 65])
    def test_size_of_the_key(self, size: int) -> None:
        """A key that is too short to be secret, or longer than the specification has it, is refused."""
        with pytest.raises(ValueError, match="24 to 64 bytes"):
            units.parse_signing_secret(f"whsec_{b64encode(bytes(size)).decode()}")

    @pytest.mark.parametrize("text", ["whsec_" + "ä" * 40, "whsec_" + "*" * 40, "whsec_" + "A" * 33])
    def test_no_base64(self, text: str) -> None:
        """What is not base64 behind whsec_ is refused, not taken as text."""
        with pytest.raises(ValueError, match="the base64 of a key"):
            units.parse_signing_secret(text)


class TestAddress:
    @pytest.mark.parametrize(
        ("text", "host", "port"),
        [
            ("127.0.0.1:8080", "127.0.0.1", 8080),
            ("0.0.0.0:0", "0.0.0.0", 0),
            ("[::1]:65535", "::1", 65535),
            ("[0:0::1]:1", "::1", 1),
            ("localhost:80", "localhost", 80),
            ("Model-1.example.:80", "model-1.example.", 80),
        ],
    )
    def test_reads(self, text: str, host: str, port: int) -> None:
        """A host and a port, the host in its plain form."""
        assert Address(host, port) == units.parse_address(text)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            ":8080",
            "8080",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "127.0.0.1:-1",
            "::1:80",
            "[::1]",
            "a b:1",
            "unix:/run/x.sock",
            "http://h:1",
            "127.0.0.1:8０",
            "256.1.1.1:80",
            "-a:1",
            "[fe80::1%eth0]:1",
            "[a]b]:1",
        ],
    )
    def test_refuses(self, text: str) -> None:
        """Anything else is refused with an example."""
        with pytest.raises(ValueError, match=r"host:port, such as 127\.0\.0\.1:8080"):
            units.parse_address(text)

    @pytest.mark.parametrize("text", ["127.0.0.1:8080", "[::1]:8080", "localhost:0", "h.example:9"])
    def test_round_trip(self, text: str) -> None:
        """The written form reads back as the same address."""
        assert text == str(units.parse_address(text))

    @pytest.mark.parametrize(
        ("text", "loopback"),
        [
            ("127.0.0.1:1", True),
            ("127.9.9.9:1", True),
            ("[::1]:1", True),
            ("localhost:1", True),
            ("0.0.0.0:1", False),
            ("[::]:1", False),
            ("10.0.0.1:1", False),
            ("model.example:1", False),
        ],
    )
    def test_loopback(self, text: str, loopback: bool) -> None:
        """Only addresses that stay on the machine are loopback; a name other than localhost may be anything."""
        assert loopback == units.parse_address(text).is_loopback

    @pytest.mark.parametrize(
        ("one", "other", "collides"),
        [
            ("127.0.0.1:80", "127.0.0.1:80", True),
            ("127.0.0.1:80", "0.0.0.0:80", True),
            ("[::]:80", "127.0.0.1:80", True),
            ("127.0.0.1:80", "127.0.0.1:81", False),
            ("127.0.0.1:80", "127.0.0.2:80", False),
            ("127.0.0.1:0", "127.0.0.1:0", False),
        ],
    )
    def test_collides(self, one: str, other: str, collides: bool) -> None:
        """Two addresses collide when one socket would keep the other from binding, in both directions."""
        a, b = units.parse_address(one), units.parse_address(other)
        assert collides == a.collides(b) == b.collides(a)


class TestBackendUrl:
    @pytest.mark.parametrize(
        ("text", "url"),
        [
            ("http://127.0.0.1:9001", "http://127.0.0.1:9001"),
            ("http://Model.Example", "http://model.example"),
            ("HTTP://h:1", "http://h:1"),
            ("http://h:1/", "http://h:1"),
            ("http://h/v2/models/a/", "http://h/v2/models/a"),
            ("http://[::1]:9001/a%20b", "http://[::1]:9001/a%20b"),
            ("http://[0:0::1]", "http://[::1]"),
            ("HTTPS://h:8443/p/", "https://h:8443/p"),
        ],
    )
    def test_reads(self, text: str, url: str) -> None:
        """A model's URL is kept in its plain form, without a trailing slash, and reads back as itself."""
        assert url == units.parse_backend_url(text)
        assert url == units.parse_backend_url(url)

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("", "a URL such as"),
            ("127.0.0.1:9001", "a URL such as"),
            ("ftp://h", "a URL such as"),
            ("http://", "a URL such as"),
            ("http:///path", "a URL such as"),
            ("http://h:", "a URL such as"),
            ("http://h:x", "a URL such as"),
            ("http://h:0", "a port from 1 to 65535"),
            ("http://h:70000", "a URL such as"),
            ("http://a b", "a URL such as"),
            ("http://h/a\tb", "a URL such as"),
            ("http://[::1", "a URL such as"),
            ("http://::1", "a URL such as"),
            ("http://-a", "a URL such as"),
            ("http://h\u00e4", "a URL such as"),
            ("http://user:pw@h", "without a user name or password"),
            ("http://h/?a=1", r"without a query \(\?\)"),
            ("http://h#a", r"without a query \(\?\) or fragment"),
            ("http://h/a<b", "RFC 3986"),
            ("http://h/a%2", "RFC 3986"),
        ],
    )
    def test_refuses(self, text: str, expected: str) -> None:
        """What is not supported is refused with what is."""
        with pytest.raises(ValueError, match=expected):
            units.parse_backend_url(text)

    def test_collector(self) -> None:
        """A collector may be behind TLS; a scheme that is not HTTP is refused."""
        assert units.parse_collector_url("https://c:4318/v1/traces") == "https://c:4318/v1/traces"
        with pytest.raises(ValueError, match="a URL such as"):
            units.parse_collector_url("grpc://c:4317")


class TestNames:
    @pytest.mark.parametrize("text", ["a", "wine-v1", "0.1_b", "A" * 63])
    def test_name(self, text: str) -> None:
        """A name may be a metric label and a part of a file name."""
        assert text == units.parse_name(text)

    @pytest.mark.parametrize("text", ["", "-a", ".a", "_a", "a b", "a/b", "a\n", "ä", "A" * 64, "a\0"])
    def test_not_a_name(self, text: str) -> None:
        """What would need escaping in a path or a label is refused."""
        with pytest.raises(ValueError, match="a name of letters"):
            units.parse_name(text)

    @pytest.mark.parametrize(
        ("text", "host"),
        [("H.example", "h.example"), ("[::1]", "::1"), ("10.0.0.1", "10.0.0.1"), ("a_b", "a_b")],
    )
    def test_host(self, text: str, host: str) -> None:
        """A host is a name in lower case or an address without brackets."""
        assert host == units.parse_host(text)

    @pytest.mark.parametrize(
        "text", ["", "h:80", "*.example", "a..b", "-a", "a-", "1.2.3", "x" * 64, "a/b", "h\n"]
    )
    def test_not_a_host(self, text: str) -> None:
        """Wildcards, ports and half addresses are refused."""
        with pytest.raises(ValueError, match="a host name or an IP address"):
            units.parse_host(text)

    def test_header_name(self) -> None:
        """A header name is a token, kept in lower case."""
        assert units.parse_header_name("X-User-Id") == "x-user-id"
        for wrong in ("", "a b", "a:b", "ä", "a\n"):
            with pytest.raises(ValueError, match="a header name"):
                units.parse_header_name(wrong)

    def test_method(self) -> None:
        """A method is a token in capitals."""
        assert units.parse_method("M-SEARCH") == "M-SEARCH"
        for wrong in ("", "get", "A B"):
            with pytest.raises(ValueError, match="in capitals"):
                units.parse_method(wrong)

    def test_network(self) -> None:
        """An address or a range; host bits that are set are answered with the range that is meant."""
        assert units.parse_network("10.0.0.0/8") == "10.0.0.0/8"
        assert units.parse_network("::1") == "::1/128"
        with pytest.raises(ValueError, match=r"write 10\.0\.0\.0/8"):
            units.parse_network("10.1.2.3/8")
        with pytest.raises(ValueError, match="an IP address or a range"):
            units.parse_network("ten")

    def test_paths_and_labels(self) -> None:
        """A directory must be printable; a label is a pointer when it begins with a slash, else a name."""
        assert str(units.parse_path("a/b")) == "a/b"
        with pytest.raises(ValueError, match="printable"):
            units.parse_path("a\nb")
        assert str(units.parse_inner_path("a/../b/./c")) == "b/c"
        for outside in ("/a", "//a", "..", "../a", "a/../..", "a/b/../../../c"):
            with pytest.raises(ValueError, match="set state_dir, or mount that volume inside it"):
                units.parse_inner_path(outside)
        assert units.parse_label("label 1") == "label 1"
        with pytest.raises(ValueError, match="a JSON pointer"):
            units.parse_label("/a~2")
        for place in ("/**", "/a/**/b", "/a/**"):
            with pytest.raises(ValueError, match=r"without .\*\*"):
                units.parse_label(place)
        assert units.parse_label("/a/**b") == "/a/**b"


class TestPathPattern:
    @pytest.mark.parametrize(
        ("text", "pattern"),
        [
            ("*", "/*"),
            ("/*", "/*"),
            ("/", "/"),
            ("/a", "/a"),
            ("/a/", "/a/"),
            ("/a/*", "/a/*"),
            ("/a%20b:x", "/a%20b:x"),
        ],
    )
    def test_reads(self, text: str, pattern: str) -> None:
        """A pattern is a path, or a path and a star as its last segment."""
        assert pattern == units.parse_path_pattern(text)

    @pytest.mark.parametrize(
        "text", ["", "a", "a/*", "/a*", "/*/a", "**", "/a/**", "/a b", "/a?b", "/a#", "/ä", "/%zz"]
    )
    def test_refuses(self, text: str) -> None:
        """A star elsewhere, a query and characters that no request has are refused."""
        with pytest.raises(ValueError, match=r"path|'\*'"):
            units.parse_path_pattern(text)


class TestUnitSource:
    @pytest.mark.parametrize(
        ("text", "kind", "name"),
        [
            ("header:X-User-Id", "header", "x-user-id"),
            ("cookie:uid", "cookie", "uid"),
            ("query:user id", "query", "user id"),
            ("json:/parameters/a~1b", "json", "/parameters/a~1b"),
            ("json:/-a/b-/--//~0-", "json", "/-a/b-/--//~0-"),
            ("client_ip", "client_ip", ""),
        ],
    )
    def test_reads(self, text: str, kind: str, name: str) -> None:
        """A source is a kind and a name, and reads back from its text."""
        source = units.parse_unit_source(text)
        assert UnitSource(kind, name) == source
        assert source == units.parse_unit_source(str(source))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "header",
            "header:",
            "header:a b",
            "cookie:",
            "cookie:a=b",
            "query:",
            "query:a\nb",
            "query:" + "x" * 257,
            "json:",
            "json:a",
            "json:/a~2",
            "client_ip:x",
            "body:/a",
            "Header:a",
            ":a",
        ],
    )
    def test_refuses(self, text: str) -> None:
        """What names no source is refused with what a source looks like."""
        with pytest.raises(ValueError, match=r"NAME|a header name|a JSON pointer"):
            units.parse_unit_source(text)

    @pytest.mark.parametrize("text", ["header:X-Tier", "cookie:uid", "query:user id", "json:/a"])
    def test_an_attribute_is_a_source(self, text: str) -> None:
        """What a request can be sliced by is what a unit can come from."""
        assert units.parse_attribute(text) == units.parse_unit_source(text)

    @pytest.mark.parametrize("text", ["client_ip", "client_ip:x", "", "tier", "header:", "json:a"])
    def test_no_attribute(self, text: str) -> None:
        """The client's address is none, nor is what names no source."""
        with pytest.raises(ValueError, match=r"NAME|a header name|a JSON pointer"):
            units.parse_attribute(text)

    @pytest.mark.parametrize("pointer", ["/items/-", "/-", "/-/id", "/a/-/"])
    @pytest.mark.parametrize("parse", [units.parse_unit_source, units.parse_attribute, units.parse_label])
    def test_the_place_past_the_end(self, pointer: str, parse: Callable[[str], object]) -> None:
        """RFC 6901 has a sign for it, and nothing ever stands there: who writes it means another element."""
        with pytest.raises(
            ValueError, match=r"without '-' alone, which is past the end of a list .* /items/0"
        ):
            parse(pointer if parse is units.parse_label else f"json:{pointer}")

    @given(st.text(max_size=40))
    def test_total(self, text: str) -> None:
        """Any text is a source that reads back, or a ValueError with an expectation."""
        try:
            source = units.parse_unit_source(text)
        except ValueError:
            return
        assert source == units.parse_unit_source(str(source))


PARSERS = [
    units.parse_address,
    units.parse_backend_url,
    units.parse_collector_url,
    units.parse_header_name,
    units.parse_host,
    units.parse_inner_path,
    units.parse_label,
    units.parse_method,
    units.parse_name,
    units.parse_network,
    units.parse_path,
    units.parse_path_pattern,
    units.parse_percent,
    units.parse_pointer,
    units.parse_signing_secret,
    units.parse_size,
    units.parse_webhook_url,
]


@given(
    st.sampled_from(PARSERS),
    st.text(st.characters(max_codepoint=0x250), max_size=30) | st.from_regex(r"http://.{0,20}"),
)
def test_parsers_are_total(parse: Callable[[str], object], text: str) -> None:
    """Every parser takes any text and fails only with a ValueError that says what was expected."""
    expectation = "what was read"
    try:
        parse(text)
    except ValueError as error:
        expectation = str(error)
    assert expectation

"""The small grammars of the file: sizes, percents, addresses, names, unit sources.

Each ``parse_`` takes text and returns a value or raises :class:`ValueError` whose message is the
*expectation* ("a size such as 64KiB or 256MiB"), so that the caller can name what was found. Each ``format_`` is
its inverse.
"""

import re
from base64 import b64decode
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from ipaddress import IPv6Address, ip_address, ip_network
from pathlib import Path
from posixpath import normpath
from urllib.parse import urlsplit

__all__ = [
    "SOURCE_KINDS",
    "Address",
    "UnitSource",
    "format_percent",
    "format_size",
    "parse_address",
    "parse_attribute",
    "parse_backend_url",
    "parse_broker",
    "parse_check_path",
    "parse_collector_url",
    "parse_header_name",
    "parse_host",
    "parse_inner_path",
    "parse_kafka_option",
    "parse_label",
    "parse_method",
    "parse_name",
    "parse_network",
    "parse_path",
    "parse_path_pattern",
    "parse_percent",
    "parse_pointer",
    "parse_rate",
    "parse_signing_secret",
    "parse_size",
    "parse_source",
    "parse_topic",
    "parse_unit_source",
    "parse_webhook_url",
    "signing_key",
]

TOPIC_PATTERN = r"[A-Za-z0-9._-]{1,249}"
_KAFKA_OPTIONS = (
    "client.id",
    "client.rack",
    "enable.ssl.certificate.verification",
    "sasl.mechanism",
    "sasl.oauthbearer.client.id",
    "sasl.oauthbearer.client.secret",
    "sasl.oauthbearer.method",
    "sasl.oauthbearer.scope",
    "sasl.oauthbearer.token.endpoint.url",
    "sasl.password",
    "sasl.username",
    "security.protocol",
    "ssl.ca.location",
    "ssl.ca.pem",
    "ssl.certificate.location",
    "ssl.certificate.pem",
    "ssl.endpoint.identification.algorithm",
    "ssl.key.location",
    "ssl.key.password",
    "ssl.key.pem",
)
KAFKA_OPTION_PATTERN = "|".join(map(re.escape, _KAFKA_OPTIONS))
NAME_PATTERN = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""Names become metric labels and parts of file names."""

TOKEN_PATTERN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""RFC 9110 §5.6.2."""

PROTOCOL_PATTERN = r"[!#$%&'*+.^_`|~0-9a-z-]{1,64}"
METHOD_PATTERN = r"[!#$%&'*+.^_`|~0-9A-Z-]+"
"""A token in capitals."""

POINTER_PATTERN = r"(/(-([^~/]|~[01])+|([^~/-]|~[01])([^~/]|~[01])*)?)+"
"""RFC 6901 §3, without the empty pointer, which would name the whole document, and without ``-`` alone between strokes:
the place past the end of a list (§4), where nothing stands."""

PATH_PATTERN = r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})*"
"""RFC 3986 §3.3, absolute."""

QUERY_PATTERN = r"(?:[A-Za-z0-9._~!$&'()*+,;=:@/?-]|%[0-9A-Fa-f]{2})*"
"""RFC 3986 §3.4."""

CHECK_PATH_PATTERN = rf"{PATH_PATTERN}(?:\?{QUERY_PATTERN})?"
"""RFC 3986 §3.3 and §3.4."""

SOURCE_KINDS = ("header", "cookie", "query", "json", "client_ip")
ATTRIBUTE_PATTERN = rf"(header|cookie):{TOKEN_PATTERN}|query:.+|json:{POINTER_PATTERN}"
SOURCE_PATTERN = rf"{ATTRIBUTE_PATTERN}|client_ip"

RATE_PATTERN = r"\d+(\.\d+)?%"

_SIZE_UNITS = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}
_SIZE = re.compile(r"(\d{1,18})(GiB|MiB|KiB|B)", re.ASCII)
SIZE_PATTERN = r"\d+(GiB|MiB|KiB|B)"

_PERCENT_PLACES = 6
"""A millionth of a percent is one unit in a hundred million: finer than any traffic can show."""

_KEY_PREFIX = "whsec_"
"""Standard Webhooks 1.0, *Signature scheme*: what follows is the key, in base64."""
_KEY_BYTES = (24, 64)
"""Shortest and longest key; the same section."""

_HOST_LABELS = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*\.?")


@dataclass(frozen=True, slots=True)
class Address:
    """Where to listen."""

    host: str
    """IP address or name, without brackets."""
    port: int
    """0 to 65535; 0 lets the system choose."""

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine (in Kubernetes: this pod) can reach it."""
        if self.host == "localhost":
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def is_wildcard(self) -> bool:
        """Whether it means every address of the machine."""
        try:
            return ip_address(self.host).is_unspecified
        except ValueError:
            return False

    def collides(self, other: "Address") -> bool:
        """Tell whether both cannot be bound at the same time."""
        same_host = self.host == other.host or self.is_wildcard or other.is_wildcard
        return self.port == other.port != 0 and same_host


@dataclass(frozen=True, slots=True)
class UnitSource:
    """Where the unit of assignment is read from. ``str()`` is its form in the file, ``header:x-user-id``."""

    kind: str
    """One of ``SOURCE_KINDS``."""
    name: str
    """Header (lower-case), cookie or query parameter name, or JSON pointer; empty for ``client_ip``."""

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}" if self.name else self.kind


def parse_size(text: str) -> int:
    """Return bytes for ``512B``, ``64KiB``, ``256MiB``, ``1GiB``."""
    if match := _SIZE.fullmatch(text):
        return int(match[1]) * _SIZE_UNITS[match[2]]
    if re.fullmatch(r"\d+", text, re.ASCII):
        raise ValueError(f"a size with its unit: write {text}KiB or {text}MiB, not {text}")
    raise ValueError("a size such as 64KiB or 256MiB (whole number; units B, KiB, MiB, GiB)")


def format_size(size_bytes: int) -> str:
    """Return the shortest form that ``parse_size`` reads back exactly."""
    for name, unit in _SIZE_UNITS.items():
        if size_bytes and size_bytes % unit == 0:
            return f"{size_bytes // unit}{name}"
    return f"{size_bytes}B"


def parse_percent(text: str) -> Decimal:
    """Return the exact decimal: 0 to 100, at most six decimals."""
    try:
        value = Decimal(text) if len(text) <= 32 else Decimal("NaN")
    except InvalidOperation:
        value = Decimal("NaN")
    if not value.is_finite() or not 0 <= value <= 100:
        raise ValueError("a percent from 0 to 100")
    if round(value, _PERCENT_PLACES) != value:
        raise ValueError(f"a percent with at most {_PERCENT_PLACES} decimals")
    return value.normalize() + 0


def parse_rate(text: str, low: int, high: int, *, above: bool = False, because: str = "") -> Decimal:
    """Return the exact decimal of ``1%`` or ``1``: a percent from ``low`` to ``high``, at most six decimals.

    Args:
        text: the number, with or without a percent sign right behind it.
        low: smallest; with ``above`` the first that is too small.
        high: largest.
        above: whether ``low`` itself is too small.
        because: what is told who is that low.
    """
    reach = f"above {low} and at most {high}" if above else f"from {low} to {high}"
    expected = f"a percent {reach}, such as 2% or 0.5"
    if not re.fullmatch(r"[+-]?\d{1,9}(\.\d{0,24})?([eE][+-]?\d{1,2})?%?", text, re.ASCII):
        raise ValueError(expected)
    value = Decimal(text.removesuffix("%"))
    if above and value <= low:
        raise ValueError(f"{expected}{because and ': '}{because}")
    if not low <= value <= high:
        raise ValueError(expected)
    if round(value, _PERCENT_PLACES) != value:
        raise ValueError(f"a percent with at most {_PERCENT_PLACES} decimals")
    return value.normalize() + 0


def format_percent(value: Decimal) -> int | float:
    """Return the JSON number that ``parse_percent`` reads back exactly (nine digits fit into a double)."""
    return int(value) if value == int(value) else float(value)


def parse_name(text: str) -> str:
    """Return ``text`` if it can be a metric label and a part of a file name."""
    if re.fullmatch(NAME_PATTERN, text, re.ASCII):
        return text
    raise ValueError(
        "a name of letters, digits, '.', '_' and '-', beginning with a letter or digit, 63 at most"
    )


def parse_host(text: str) -> str:
    """Return a host name or IP address in lower case, IPv6 without brackets."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    try:
        address = ip_address(bare)
    except ValueError:
        pass
    else:
        # A zone (fe80::1%eth0) has no agreed form in URLs and Host headers.
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise ValueError("an IPv6 address without a zone") from None
        return str(address)
    if len(text) <= 253 and _HOST_LABELS.fullmatch(text) and not re.fullmatch(r"[\d.]+", text, re.ASCII):
        return text.lower()
    raise ValueError("a host name or an IP address")


def parse_address(text: str) -> Address:
    """Return the listening address for ``127.0.0.1:8080``, ``[::1]:8080`` or ``localhost:0``."""
    expected = "host:port, such as 127.0.0.1:8080 or [::1]:8080 (0.0.0.0 for every address, port 0 to 65535)"
    host, _, port = text.rpartition(":")
    if (":" in host) != (host.startswith("[") and host.endswith("]")):
        raise ValueError(expected)
    try:
        return Address(parse_host(host), _parse_port(port, lowest=0))
    except ValueError:
        raise ValueError(expected) from None


def parse_backend_url(text: str) -> str:
    """Return the URL of a model in its plain form: ``http[s]://host[:port][/path]``, no trailing slash."""
    expected = "a URL such as http://127.0.0.1:9001 or https://host:9001/v2/models/name"
    scheme, host, port, path = _split_url(text, expected)
    if scheme not in ("http", "https"):
        raise ValueError(expected)
    return f"{scheme}://{host}{port}{path.rstrip('/')}"


def parse_collector_url(text: str) -> str:
    """Return the URL of an OpenTelemetry collector (OTLP over HTTP)."""
    expected = "a URL such as http://127.0.0.1:4318/v1/traces"
    scheme, host, port, path = _split_url(text, expected)
    if scheme not in ("http", "https"):
        raise ValueError(expected)
    return f"{scheme}://{host}{port}{path}"


def parse_webhook_url(text: str) -> str:
    """Return the URL of a webhook's receiver, which may have a query."""
    expected = "a URL such as https://hooks.example/modelproxy"
    address, mark, query = text.partition("?")
    scheme, host, port, path = _split_url(address, expected)
    if scheme not in ("http", "https"):
        raise ValueError(expected)
    if not re.fullmatch(QUERY_PATTERN, query):
        raise ValueError("a URL whose query has only the characters of RFC 3986 (others as %XX)")
    return f"{scheme}://{host}{port}{path or '/'}{mark}{query}"


def parse_source(text: str) -> str:
    """Return the beginning of a CloudEvent's source, which is a URI reference (RFC 3986)."""
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError(
            "a URI reference such as /modelproxy or https://wine.example, of visible ASCII characters"
        )
    return text.rstrip("/") or "/"


def parse_broker(text: str) -> str:
    """Return the address of a Kafka broker, ``host:port``."""
    if parse_address(text).port == 0:
        raise ValueError("host:port, port 1 to 65535")
    return text


def parse_topic(text: str) -> str:
    """Return the name of a Kafka topic (KIP-16 and Kafka's ``Topic.java``)."""
    if not re.fullmatch(TOPIC_PATTERN, text) or text in (".", ".."):
        raise ValueError("a topic's name: letters, digits, '.', '_' and '-', 1 to 249 characters")
    return text


def parse_kafka_option(text: str) -> str:
    """Return the name of an option of librdkafka that says how brokers are met.

    Others are not let through: some load libraries or run commands (``plugin.library.paths``,
    ``sasl.kerberos.kinit.cmd``), some would change what is counted.
    """
    if text not in _KAFKA_OPTIONS:
        raise ValueError(f"one of {', '.join(_KAFKA_OPTIONS)}")
    return text


def parse_signing_secret(text: str) -> str:
    """Return a secret that webhooks are signed with: ``whsec_`` and the key in base64, or any long text."""
    shortest, longest = _KEY_BYTES
    if not text.startswith(_KEY_PREFIX):
        if not shortest <= len(text) <= 4096 or not all("!" <= c <= "~" for c in text):
            raise ValueError(
                f"{_KEY_PREFIX} and a key in base64, or {shortest} to 4096 visible ASCII characters"
            )
        return text
    try:
        size = len(signing_key(text))
    except ValueError:
        size = 0
    if not shortest <= size <= longest:
        raise ValueError(f"{_KEY_PREFIX} and then the base64 of a key of {shortest} to {longest} bytes")
    return text


def signing_key(secret: str) -> bytes:
    """Return the key that ``secret`` stands for.

    Raises:
        ValueError: what follows ``whsec_`` is not base64.
    """
    if not secret.startswith(_KEY_PREFIX):
        return secret.encode()
    return b64decode(secret.removeprefix(_KEY_PREFIX), validate=True)


def _split_url(text: str, expected: str) -> tuple[str, str, str, str]:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise ValueError(expected) from None
    if "@" in parts.netloc:
        raise ValueError("a URL without a user name or password")
    if "?" in text or "#" in text:
        raise ValueError("a URL without a query (?) or fragment (#)")
    # urlsplit drops tabs and line breaks inside the text, so look at the text itself.
    if not parts.netloc or re.search(r"[^\x21-\x7e]", text) or parts.netloc.endswith(":"):
        raise ValueError(expected)
    if parts.path and not re.fullmatch(PATH_PATTERN, parts.path):
        raise ValueError("a URL whose path has only the characters of RFC 3986 (others as %XX)")
    try:
        host = parse_host(parts.netloc if port is None else parts.netloc.rpartition(":")[0])
    except ValueError:
        raise ValueError(expected) from None
    if port is not None:
        _parse_port(str(port), lowest=1)
    bracketed = f"[{host}]" if ":" in host else host
    return parts.scheme, bracketed, "" if port is None else f":{port}", parts.path


def _parse_port(text: str, *, lowest: int) -> int:
    if re.fullmatch(r"\d{1,5}", text, re.ASCII) and lowest <= int(text) <= 65535:
        return int(text)
    raise ValueError(f"a port from {lowest} to 65535")


def parse_network(text: str) -> str:
    """Return an address or CIDR range in its plain form (``10.0.0.0/8``)."""
    try:
        return str(ip_network(text))
    except ValueError:
        pass
    try:
        hint = f": write {ip_network(text, strict=False)}"
    except ValueError:
        hint = ""
    raise ValueError(f"an IP address or a range such as 10.0.0.0/8{hint}")


def parse_path_pattern(text: str) -> str:
    """Return a path to match: exact (``/predict``), a prefix (``/v2/models/*``) or everything (``/*``)."""
    pattern = "/*" if text == "*" else text
    literal = pattern[:-2] if pattern.endswith("/*") else pattern
    if "*" in literal:
        raise ValueError("'*' only as the whole last segment, as in /v2/models/wine/*")
    if "?" in literal or "#" in literal:
        raise ValueError("a path without a query (?) or fragment (#)")
    if not pattern or (literal and not re.fullmatch(PATH_PATTERN, literal)):
        raise ValueError("a path that begins with '/', such as /predict or /v2/models/wine/*")
    return pattern


def parse_check_path(text: str) -> str:
    """Return the target of a health check: an absolute path, perhaps with a query."""
    if not re.fullmatch(CHECK_PATH_PATTERN, text):
        raise ValueError(
            "a path such as /v2/health/ready, of the characters of RFC 3986 (others as %XX), perhaps with a "
            "query"
        )
    return text


def parse_header_name(text: str) -> str:
    """Return a header name (a token of RFC 9110 §5.6.2) in lower case."""
    if re.fullmatch(TOKEN_PATTERN, text, re.ASCII):
        return text.lower()
    raise ValueError("a header name (letters, digits and !#$%&'*+-.^_`|~)")


def parse_method(text: str) -> str:
    """Return an HTTP method. Methods are case-sensitive (RFC 9110 §9.1) and in practice all upper-case."""
    if re.fullmatch(METHOD_PATTERN, text, re.ASCII):
        return text
    raise ValueError("an HTTP method in capitals, such as POST")


def parse_protocol(text: str) -> str:
    """Return the name of a protocol as ``Upgrade`` names it (RFC 9110 §7.8), without its version."""
    if re.fullmatch(PROTOCOL_PATTERN, text, re.ASCII):
        return text
    raise ValueError("the name of a protocol in lower case, such as websocket, without a version")


def parse_path(text: str) -> Path:
    """Return a path of the file system."""
    if not text.isprintable():
        raise ValueError("a path of printable characters")
    return Path(text)


def parse_inner_path(text: str) -> Path:
    """Return a relative path that stays inside the directory it is relative to, with every ``..`` resolved.

    Resolved by its text, so that no link on the disk can give ``..`` another meaning later.
    """
    inner = parse_path(text)
    if inner.is_absolute():
        raise ValueError(
            "a path inside state_dir, without a leading '/': set state_dir, or mount that volume inside it"
        )
    inner = Path(normpath(inner))
    if inner.parts[:1] == ("..",):
        raise ValueError("a path that stays inside state_dir: set state_dir, or mount that volume inside it")
    return inner


def parse_label(text: str) -> str:
    """Return where a label stands: a JSON pointer, or the name of a tensor."""
    if not text.startswith("/"):
        return text
    if "**" in text.split("/"):
        raise ValueError(
            "a JSON pointer without '**', where '*' stands for one key or index, or a tensor's name"
        )
    return parse_pointer(text)


def parse_pointer(text: str) -> str:
    """Return a JSON pointer (RFC 6901) that names something inside the document."""
    if re.fullmatch(POINTER_PATTERN, text):
        return text
    if "-" in text.split("/"):
        raise ValueError(
            "a JSON pointer without '-' alone, which is past the end of a list (RFC 6901): an index such as /items/0"
        )
    raise ValueError("a JSON pointer such as /parameters/user ('~' is written ~0, '/' inside a key ~1)")


def parse_unit_source(text: str) -> UnitSource:
    """Return where a unit comes from: ``header:NAME``, ``cookie:``, ``query:``, ``json:/POINTER``, ``client_ip``."""
    kind, colon, name = text.partition(":")
    if text == "client_ip":
        return UnitSource("client_ip", "")
    if not colon or kind not in SOURCE_KINDS or kind == "client_ip":
        raise ValueError("one of header:NAME, cookie:NAME, query:NAME, json:/POINTER, client_ip")
    return _named_source(kind, name)


def parse_attribute(text: str) -> UnitSource:
    """Return which attribute of a request is meant: as a unit's source, but never the client's address."""
    kind, colon, name = text.partition(":")
    if not colon or kind not in SOURCE_KINDS or kind == "client_ip":
        raise ValueError("one of header:NAME, cookie:NAME, query:NAME, json:/POINTER")
    return _named_source(kind, name)


def _named_source(kind: str, name: str) -> UnitSource:
    if kind == "header":
        return UnitSource(kind, parse_header_name(name))
    if kind == "json":
        return UnitSource(kind, parse_pointer(name))
    if kind == "cookie" and not re.fullmatch(TOKEN_PATTERN, name, re.ASCII):
        raise ValueError("cookie:NAME with a cookie name of RFC 6265 (letters, digits and !#$%&'*+-.^_`|~)")
    if not name or not name.isprintable() or len(name) > 256:
        raise ValueError(f"{kind}:NAME with a name of 1 to 256 printable characters")
    return UnitSource(kind, name)

from decimal import Decimal
from pathlib import Path

from proxy.model import Role
from proxy.settings import Route, UnitSource
from tests.settings.settings_cases import FULL
from tests.settings.settings_world import MINIMAL, minimal, read, told


def route(index: int = 0) -> Route:
    return read(FULL, TOKEN="12345678").routes[index]


def test_model() -> None:
    """A model has its URL in the plain form, its timeouts in nanoseconds, its limits as numbers."""
    models = read(FULL, TOKEN="12345678").models
    one = models["one"]
    assert one.url == "http://h/p"
    assert (one.timeout, one.idle_timeout, one.connect_timeout) == (1_000_000, 2_000_000, 3_000_000)
    assert (one.max_connections, one.max_pending) == (1, 0)
    assert (models["two"].url, models["two"].keep_alive) == ("http://[::1]:9002", 0)


def test_model_tls() -> None:
    """A model over TLS is verified unless it is said otherwise."""
    models = read(FULL, TOKEN="12345678").models
    tls = models["four"].tls
    assert (tls.ca, tls.certificate, tls.key) == (Path("a.pem"), Path("c.pem"), Path("k.pem"))
    assert (tls.verify, tls.server_name) == (True, "n.example")
    assert not models["five"].tls.verify
    assert read(MINIMAL).models["one"].tls.verify
    assert models["five"].url == "https://h:8443"


def test_several_servers() -> None:
    """One URL is itself, also in a list; several are a tuple; every key of health and outlier is read."""
    models = read(FULL, TOKEN="12345678").models
    six = models["six"]
    assert models["one"].urls == (models["one"].url,)
    assert six.url == six.urls == ("http://a:1/p", "http://b:1/p")
    assert read(minimal(model={"url": ["http://h/"]})).models["one"].url == "http://h"
    assert (six.balance, six.pending_timeout) == ("hash", 4_000_000)
    health, outlier = six.health, six.outlier
    assert health is not None
    assert (health.path, health.interval, health.timeout) == ("/ready?deep=1", 10_000_000, 1_000_000)
    assert (health.unhealthy_after, health.healthy_after) == (1, 4)
    assert (outlier.consecutive, outlier.base_ejection_time) == (1, 10_000_000)
    assert outlier.max_ejection_percent == Decimal("12.5")
    assert models["one"].health is None


def test_match() -> None:
    """Hosts are in lower case, methods a tuple, and '*' is every path."""
    first, second = route(0).match, route(1).match
    assert (first.path, first.host, first.method) == ("/a/*", "h.example", ("GET", "POST"))
    assert (second.path, second.host, second.method) == ("/*", None, ("GET",))


def test_units() -> None:
    """Sources are kinds and names, in the order of the file."""
    assert route().unit[0] == UnitSource("header", "x-user")
    assert " ".join(map(str, route().unit)) == "header:x-user cookie:c query:q json:/a client_ip"


def test_variants() -> None:
    """Weights and ranges are exact decimals; the champion has none."""
    variants = route().variants
    assert [v.role for v in variants] == [Role.CHAMPION, Role.CHALLENGER, Role.CANARY]
    assert [v.weight for v in variants] == [None, Decimal("0.1"), Decimal(10)]
    assert [v.max_weight for v in variants] == [None, Decimal("33.333333"), None]


def test_shadow() -> None:
    """Shadows hold what the file says."""
    (shadow,) = route().shadows
    assert (shadow.model, shadow.percent, shadow.timeout) == ("two", Decimal("12.5"), 10**9)
    assert (shadow.max_in_flight, shadow.max_bytes, shadow.salt) == (1, 1024, "t")


def test_defaults() -> None:
    """A route needs a name, a match and variants."""
    r = read(MINIMAL).routes[0]
    assert [str(source) for source in r.unit] == ["header:x-user-id"]
    assert (r.missing_unit, r.salt, r.force_secret) == ("random", None, None)
    assert (r.shadows, r.compare.as_, r.log.percent) == ((), "auto", Decimal(0))


def test_values_are_plain_text() -> None:
    """No value keeps the type that marks it as coming from a variable."""
    assert type(read(MINIMAL.replace("name: r", "name: ${N}"), N="12").routes[0].name) is str


def test_bounded() -> None:
    """The variants and shadows of a route are bounded."""
    variants = [{"name": f"v{i}", "model": "one", "role": "canary", "weight": 0} for i in range(65)]
    shadows = [{"model": "one"}] * 33
    found = told(minimal(route={"variants": variants, "shadows": shadows}))
    assert "at most 64 entries" in found["routes[0].variants"]
    assert "at most 32 entries" in found["routes[0].shadows"]

from decimal import Decimal
from pathlib import Path

import pytest

from proxy.settings import Address, Settings
from tests.settings.settings_cases import FULL
from tests.settings.settings_world import MINIMAL, minimal, read, told

SECOND_NS = 10**9


def full() -> Settings:
    return read(FULL, TOKEN="12345678")


def test_addresses_and_processes() -> None:
    """Addresses are hosts and ports, workers a number or auto, directories paths."""
    s = full()
    assert (Address("127.0.0.1", 0), Address("::", 9090)) == (s.listen, s.admin)
    assert s.workers == "auto"
    assert Path("/var/lib/modelproxy") == s.state_dir
    assert s.log_level == "debug"
    assert s.trusted == ("10.0.0.0/8", "::1/128")


def test_durations_are_nanoseconds() -> None:
    """Every duration is an integer in nanoseconds."""
    t = full().timeouts
    expected = [SECOND_NS, 90 * SECOND_NS, 3 * SECOND_NS // 2, 0, 3 * SECOND_NS]
    assert expected == [t.client_head, t.client_body, t.keep_alive, t.drain, t.upgrade]
    assert full().observer.pair_timeout == 5 * SECOND_NS


def test_sizes_are_bytes() -> None:
    """Every size is an integer in bytes, every count a number."""
    s = full()
    assert list(vars(s.limits).values()) == [32 << 10, 64, 1 << 30, 2 << 20, 4096, 5]
    assert s.observer.queue == 8 << 20
    assert [
        s.payload_log.roll_size,
        s.payload_log.keep_size,
        s.payload_log.queue,
    ] == [1 << 20, 2 << 20, 1 << 20]


def test_tracing() -> None:
    """The collector is a URL, the percent exact."""
    t = full().tracing
    assert (t.otlp, t.percent, t.service_name) == ("https://collector:4318/v1/traces", Decimal("0.1"), "wine")


def test_secrets_are_held_back() -> None:
    """A secret is there for who asks for it by name, and for nobody else."""
    s = full()
    assert s.admin_token is not None
    assert s.admin_token.get_secret_value() == "12345678"
    assert "12345678" not in repr(s)


@pytest.mark.parametrize(
    ("text", "directory"),
    [
        (MINIMAL, "modelproxy-state/payloads"),
        (minimal(state_dir="/var/x"), "/var/x/payloads"),
        (FULL, "/var/lib/modelproxy/logs"),
        (minimal(payload_log={"dir": "a/./b//../c/"}), "modelproxy-state/a/c"),
        (minimal(payload_log={"dir": "."}), "modelproxy-state"),
    ],
)
def test_payload_dir(text: str, directory: str) -> None:
    """Payloads go where payload_log says inside the state directory, else into payloads."""
    assert Path(directory) == read(text, TOKEN="12345678").payload_dir


def test_models_and_routes_are_enough() -> None:
    """Everything else has a default."""
    s = read(MINIMAL)
    assert (Address("127.0.0.1", 8080), Address("127.0.0.1", 9090), 1) == (s.listen, s.admin, s.workers)
    assert s.admin_token is None
    assert s.trusted == ()


def test_tls() -> None:
    """Certificates are paths; none of them is there unless it is said."""
    tls = full().tls
    assert (Path("server.pem"), Path("server.key"), Path("clients.pem")) == (
        tls.certificate,
        tls.key,
        tls.client_ca,
    )
    assert tls.min_version == "1.3"
    plain = read(MINIMAL).tls
    assert (plain.certificate, plain.key, plain.client_ca, plain.min_version) == (None, None, None, "1.2")


def test_immutable() -> None:
    """A setting cannot be changed once it is read."""
    with pytest.raises(ValueError, match="frozen"):
        read(MINIMAL).workers = 2


def test_numbers_from_variables() -> None:
    """A number may come from a variable, text of digits stays text, an empty variable leaves an option out."""
    text = MINIMAL.replace("weight: 10", "weight: '${WEIGHT}'")
    text += "workers: ${W}\nadmin_token: ${T}\npayload_log: {unit_key: '${K}'}\ntracing:\n  percent: ${P}\n"
    s = read(text, W="3", T="00000000", WEIGHT="2.5", K="", P="50")
    assert (3, Decimal(50), None) == (s.workers, s.tracing.percent, s.payload_log.unit_key)
    assert Decimal("2.5") == s.routes[0].variants[1].weight
    assert s.admin_token is not None
    assert s.admin_token.get_secret_value() == "00000000"


def test_bounded() -> None:
    """The number of models and of routes is bounded: each is a set of metric series."""
    models = {f"m{i}": {"url": "http://h"} for i in range(1001)}
    assert "at most 1000 entries" in told(minimal(models={"one": {"url": "http://h"}, **models}))["models"]

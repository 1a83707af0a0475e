"""The mix of requests and of configurations: the same for the same seed, and with everything in it."""

from collections import Counter
from pathlib import Path

import pytest

from proxy.settings import ConfigError, parse
from proxy.settings.changes import restart_needed
from tests.soak.client import payload, request
from tests.soak.configurations import BROKEN_EVERY, MODELS, configuration, is_broken
from tests.soak.excuses import ROUTE_MODELS
from tests.soak.mix import SHARES, Kind, order, predicted_label

URLS = {name: f"http://127.77.0.1:{9000 + index}" for index, name in enumerate(MODELS)}
STATE = Path("/tmp/soak/state")


def test_same_seed_same_requests() -> None:
    """A run can be had again: an order depends on nothing but seed and number."""
    assert [order(7, n) for n in range(500)] == [order(7, n) for n in range(500)]
    assert [order(7, n) for n in range(500)] != [order(8, n) for n in range(500)]


def test_every_kind_has_its_share() -> None:
    """Each kind of request comes about as often as its share says."""
    found = Counter(order(1, n).kind for n in range(20_000))
    whole = sum(SHARES.values())
    assert set(found) == set(Kind)
    for kind, share in SHARES.items():
        assert found[kind] == pytest.approx(20_000 * share / whole, rel=0.5)


def test_every_request_is_what_it_says() -> None:
    """What is sent has the order's id, and a body of the length that the order and the head say."""
    for number in range(2000):
        wanted = order(1, number)
        head, _, body = request(wanted).partition(b"\r\n\r\n")
        assert f"x-request-id: {wanted.identity}".encode() in head
        if wanted.kind is Kind.CHUNKED:
            assert body == b""
        elif wanted.method == "POST":
            assert f"content-length: {len(payload(wanted))}".encode() in head
            assert body == payload(wanted)
        assert wanted.route in ROUTE_MODELS


def test_shadow_disagrees_sometimes() -> None:
    """The shadow's label differs for some requests, the variants' never."""
    identities = [order(1, n).identity for n in range(2000)]
    assert all(predicted_label("v1", i) == predicted_label("v3", i) for i in identities)
    differing = sum(predicted_label("shade", i) != predicted_label("v1", i) for i in identities)
    assert 200 < differing < 400


def test_configurations_follow_each_other() -> None:
    """Each configuration differs from its predecessor and may replace it at run time."""
    last = parse(configuration(0, URLS, STATE), environ={})
    for number in range(1, 60):
        if is_broken(number):
            continue
        settings = parse(configuration(number, URLS, STATE), environ={})
        assert settings != last
        assert not restart_needed(last, settings)
        assert {route.name for route in settings.routes} | {""} == ROUTE_MODELS.keys()
        last = settings


def test_broken_configurations_are_broken() -> None:
    """Now and then comes one that is refused."""
    broken = [number for number in range(4 * BROKEN_EVERY) if is_broken(number)]
    assert len(broken) == 4
    for number in broken:
        with pytest.raises(ConfigError):
            parse(configuration(number, URLS, STATE), environ={})

"""The choices of a table for one request: which unit, which variant by force, which samples."""

import pytest

from proxy.exchange import MISSING_UNIT
from proxy.routing.choose import (
    IN_BODY,
    NO_UNIT,
    find_unit,
    find_unit_with_body,
    forced_variant,
    is_logged,
    is_shown,
    shadows_for,
    who_asks,
)
from proxy.routing.hashing import SPACE, bucket
from proxy.routing.table import Route, Table, compile_table
from proxy.settings import parse

CONFIG = """
trusted: [10.0.0.0/8]
models: {m1: {url: "http://127.0.0.1:9001"}, m2: {url: "http://127.0.0.1:9002"}}
routes:
  - name: wine
    match: {path: "/*"}
    unit: [header:x-user-id, "json:/user", query:user, client_ip]
    force_secret: open-sesame
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, weight: 5}
    shadows: [{model: m1, percent: 30}, {model: m2}]
    log: {percent: 20}
    compare: {examples: 40}
"""

PEER = b"192.0.2.1"


@pytest.fixture(scope="module", name="table")
def fixture_table() -> Table:
    return compile_table(parse(CONFIG, environ={}), 1)


@pytest.fixture(scope="module", name="route")
def fixture_route(table: Table) -> Route:
    return table.routes[0]


USER = ([b"x-user-id"], [b"a"])
NOBODY: tuple[list[bytes], list[bytes]] = ([], [])

HEAD_CASES: list[tuple[str, tuple[list[bytes], list[bytes]], bytes, bytes, bool, tuple[bytes, int]]] = [
    ("the first source", USER, b"/?user=c", PEER, True, (b"a", 0)),
    ("the body comes before the query", NOBODY, b"/?user=c", PEER, True, (b"", IN_BODY)),
    ("without a body its source is passed over", NOBODY, b"/?user=c", PEER, False, (b"c", 2)),
    ("the last source", NOBODY, b"/", PEER, False, (PEER, 3)),
    ("none", NOBODY, b"/", b"", False, (b"", NO_UNIT)),
]


@pytest.mark.parametrize(
    ("head", "target", "client", "has_body", "expected"),
    [case[1:] for case in HEAD_CASES],
    ids=[case[0] for case in HEAD_CASES],
)
def test_units_of_the_head(
    route: Route,
    head: tuple[list[bytes], list[bytes]],
    target: bytes,
    client: bytes,
    has_body: bool,
    expected: tuple[bytes, int],
) -> None:
    """The first source that is present decides, unless an earlier one may be in the body."""
    assert expected == find_unit(route, *head, target, client, has_body)


BODY_CASES: list[tuple[str, tuple[list[bytes], list[bytes]], bytes, bytes, tuple[bytes, int]]] = [
    ("the head comes first all the same", USER, b"/", b'{"user": "b"}', (b"a", 0)),
    ("the body", NOBODY, b"/?user=c", b'{"user": "b"}', (b"b", 1)),
    ("absent from the body", NOBODY, b"/?user=c", b"{}", (b"c", 2)),
    ("a body that is not JSON", NOBODY, b"/?user=c", b"user=b", (b"c", 2)),
    ("a body that was given up", NOBODY, b"/", b"", (PEER, 3)),
]


@pytest.mark.parametrize(
    ("head", "target", "body", "expected"),
    [case[1:] for case in BODY_CASES],
    ids=[case[0] for case in BODY_CASES],
)
def test_units_of_the_body(
    route: Route,
    head: tuple[list[bytes], list[bytes]],
    target: bytes,
    body: bytes,
    expected: tuple[bytes, int],
) -> None:
    """With the body at hand every source is tried in the order of the file."""
    assert expected == find_unit_with_body(route, *head, target, PEER, body)


def test_no_source_at_all(route: Route) -> None:
    """With nothing present there is no unit, body or not."""
    assert find_unit_with_body(route, [], [], b"/", b"", b"{}") == (b"", NO_UNIT)


def test_the_head_decides_alike_with_and_without_the_body(route: Route) -> None:
    """What the head alone decides, the body does not change."""
    for head in (USER, NOBODY):
        unit = find_unit(route, *head, b"/?user=c", PEER, False)
        assert unit == find_unit_with_body(route, *head, b"/?user=c", PEER, b"")


@pytest.mark.parametrize(
    ("peer", "expected"),
    [(b"10.0.0.1", b"198.51.100.7"), (b"192.0.2.1", b"192.0.2.1")],
    ids=["trusted", "stranger"],
)
def test_who_asks(table: Table, peer: bytes, expected: bytes) -> None:
    """Only a trusted peer may say for whom it asks."""
    names = [b"accept", b"x-forwarded-for"]
    assert expected == who_asks(table, names, [b"*/*", b"198.51.100.7"], peer)


def test_who_asks_with_nobody_trusted() -> None:
    """Without ``trusted`` the peer is the client."""
    table = compile_table(parse(CONFIG.replace("trusted: [10.0.0.0/8]", ""), environ={}), 1)
    assert who_asks(table, [b"x-forwarded-for"], [b"198.51.100.7"], b"10.0.0.1") == b"10.0.0.1"


FORCES: list[tuple[str, bytes, dict[bytes, bytes], str | None]] = [
    ("trusted", b"10.0.0.1", {b"x-modelproxy-force": b"v2"}, "v2"),
    ("stranger", PEER, {b"x-modelproxy-force": b"v2"}, None),
    (
        "stranger behind a trusted proxy",
        b"10.0.0.1",
        {b"x-modelproxy-force": b"v2", b"x-forwarded-for": b"10.0.0.9, 198.51.100.7"},
        None,
    ),
    (
        "trusted behind a trusted proxy",
        b"10.0.0.1",
        {b"x-modelproxy-force": b"v2", b"x-forwarded-for": b"10.0.0.9"},
        "v2",
    ),
    ("secret", PEER, {b"x-modelproxy-force": b"v2", b"x-modelproxy-force-secret": b"open-sesame"}, "v2"),
    ("wrong secret", PEER, {b"x-modelproxy-force": b"v2", b"x-modelproxy-force-secret": b"open"}, None),
    ("not ASCII", PEER, {b"x-modelproxy-force": b"v2", b"x-modelproxy-force-secret": b"\xff"}, None),
    ("unknown variant", b"10.0.0.1", {b"x-modelproxy-force": b"v9"}, None),
    ("not a name", b"10.0.0.1", {b"x-modelproxy-force": b"\xff"}, None),
    ("not asked", b"10.0.0.1", {}, None),
]


@pytest.mark.parametrize(
    ("peer", "headers", "expected"), [case[1:] for case in FORCES], ids=[case[0] for case in FORCES]
)
def test_forced_variants(
    table: Table, route: Route, peer: bytes, headers: dict[bytes, bytes], expected: str | None
) -> None:
    """A variant is forced from a trusted address or with the route's secret, and only one that exists."""
    variant = forced_variant(table, route, list(headers), list(headers.values()), peer)
    assert expected == (variant.name if variant else None)


def test_no_unit_is_the_same_number_in_frames() -> None:
    """The index that stands for no unit goes through a frame as it is."""
    assert NO_UNIT == MISSING_UNIT


def test_an_empty_secret_is_no_secret() -> None:
    """A route without a secret is not opened by an empty one."""
    table = compile_table(parse(CONFIG.replace("    force_secret: open-sesame\n", ""), environ={}), 1)
    names, values = [b"x-modelproxy-force", b"x-modelproxy-force-secret"], [b"v2", b""]
    assert forced_variant(table, table.routes[0], names, values, PEER) is None


@pytest.mark.parametrize("number", range(30))
def test_samples_are_below_their_limit(route: Route, number: int) -> None:
    """A unit is in a sample when its bucket under the sampler's own salt is below the percent."""
    unit = b"user-%d" % number
    first, second = route.shadows
    expected = [first] * (bucket(first.prefix, unit) < first.limit) + [second]
    assert expected == shadows_for(route, unit)
    assert (bucket(route.log_prefix, unit) < SPACE // 5) is is_logged(route, unit)
    assert (bucket(b"wine/examples:", unit) < 2 * SPACE // 5) is is_shown(route, unit)


@pytest.mark.parametrize(("percent", "expected"), [("0", 0), ("100", 200)])
def test_samples_of_none_and_all(percent: str, expected: int) -> None:
    """At 0 percent no unit is taken, at 100 every one."""
    text = CONFIG.replace("percent: 30", f"percent: {percent}").replace("percent: 20", f"percent: {percent}")
    text = text.replace("examples: 40", f"examples: {percent}")
    route = compile_table(parse(text, environ={}), 1).routes[0]
    units = [b"user-%d" % number for number in range(200)]
    assert sum(is_logged(route, unit) for unit in units) == expected
    assert sum(is_shown(route, unit) for unit in units) == expected
    assert sum(route.shadows[0] in shadows_for(route, unit) for unit in units) == expected


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("compare: {examples: 40}", "compare: {as: none, examples: 40}"),
        ("shadows: [{model: m1, percent: 30}, {model: m2}]", "shadows: []"),
    ],
    ids=["not compared", "no shadow"],
)
def test_nothing_is_shown_where_nothing_is_compared(line: str, instead: str) -> None:
    """Who does not compare, or has no shadow, pays for no example."""
    route = compile_table(parse(CONFIG.replace(line, instead), environ={}), 1).routes[0]
    assert not any(is_shown(route, b"user-%d" % number) for number in range(200))

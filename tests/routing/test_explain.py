"""Explanations: what they say is what the table does, for every way a request can be assigned."""

from typing import Any

import pytest

from proxy.routing.explain import Explanation, LogChoice, NoRoute, Request, explain
from proxy.routing.hashing import SPACE, bucket
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

CONFIG = """
trusted: [10.0.0.0/8]
models:
  m1: {url: "http://127.0.0.1:9001"}
  m2: {url: "http://127.0.0.1:9002/v2/models/m2"}
  m6: {url: "http://[::1]:9006"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*", method: POST}
    unit: [header:x-user-id, "json:/user", query:user, client_ip]
    force_secret: open-sesame
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: challenger, weight: 50}
    shadows: [{model: m2, percent: 50}, {model: m1}, {model: m6, percent: 0}]
    log: {percent: 10}
  - name: drawn
    match: {path: /drawn}
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m6, role: canary, weight: 30}
    shadows: [{model: m2, percent: 50}, {model: m1}]
  - name: safe
    match: {path: /safe, host: safe.example}
    missing_unit: champion
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, weight: 99}
"""

INFER = b"/v2/models/wine/infer"


@pytest.fixture(scope="module", name="table")
def fixture_table() -> Table:
    return compile_table(parse(CONFIG, environ={}), 3)


def ask(table: Table, target: bytes = INFER, *headers: tuple[bytes, bytes], **more: Any) -> Explanation:
    names, values = [n for n, _ in headers], [v for _, v in headers]
    explanation = explain(table, Request(target, names=names, values=values, **more))
    assert isinstance(explanation, Explanation)
    return explanation


def user_on(table: Table, variant: str, route: int = 0) -> bytes:
    """Return a user that the table assigns to ``variant``."""
    compiled = table.routes[route]
    users = (b"user-%d" % number for number in range(1000))
    return next(u for u in users if compiled.assign(compiled.bucket(u)).name == variant)


@pytest.mark.parametrize("number", range(50))
def test_it_says_what_the_table_does(table: Table, number: int) -> None:
    """Bucket, variant, shadows and logging are those that the hot path's functions give."""
    unit = b"user-%d" % number
    wine = table.routes[0]
    told = ask(table, INFER, (b"x-user-id", unit))
    drawn = wine.bucket(unit)
    variant = wine.assign(drawn)
    assert (told.unit, told.unit_source, told.bucket) == (unit.decode(), "header:x-user-id", drawn)
    assert (told.variant, told.model, told.probability) == (
        variant.name,
        variant.model.name,
        variant.probability,
    )
    assert told.fraction == drawn / SPACE
    assert [s.mirrored for s in told.shadows] == [bucket(s.prefix, unit) < s.limit for s in wine.shadows]
    assert told.logged == (bucket(wine.log_prefix, unit) < wine.log_limit)


SOURCES: list[tuple[str, dict[str, Any], tuple[str, str]]] = [
    (
        "header first",
        {"headers": [(b"x-user-id", b"a")], "body": b'{"user": "b"}'},
        ("a", "header:x-user-id"),
    ),
    ("then the body", {"body": b'{"user": "b"}', "target": INFER + b"?user=c"}, ("b", "json:/user")),
    ("then the query", {"body": b'{"x": 1}', "target": INFER + b"?user=c"}, ("c", "query:user")),
    ("then the address", {"client": b"192.0.2.1"}, ("192.0.2.1", "client_ip")),
    (
        "the address behind a proxy",
        {"client": b"10.0.0.1", "headers": [(b"x-forwarded-for", b"192.0.2.9")]},
        ("192.0.2.9", "client_ip"),
    ),
    (
        "a stranger's x-forwarded-for is not believed",
        {"client": b"192.0.2.1", "headers": [(b"x-forwarded-for", b"192.0.2.9")]},
        ("192.0.2.1", "client_ip"),
    ),
    ("not text", {"headers": [(b"x-user-id", b"\xff")]}, ("\\xff", "header:x-user-id")),
]


@pytest.mark.parametrize(
    ("request_", "expected"), [case[1:] for case in SOURCES], ids=[case[0] for case in SOURCES]
)
def test_the_first_source_that_is_present_decides(
    table: Table, request_: dict[str, Any], expected: tuple[str, str]
) -> None:
    """Sources are tried in the order of the file."""
    more = dict(request_)
    headers, target = more.pop("headers", []), more.pop("target", INFER)
    told = ask(table, target, *headers, **more)
    assert (told.unit, told.unit_source) == expected


KEEPING = CONFIG.replace(
    "    log: {percent: 10}",
    "    compare: {examples: 20}\n"
    "    log: {percent: 10, rows: 5, budget: 7, keep: [errors, disagreement, {slow: 2s}, {when: request_id}]}",
    1,
)


@pytest.mark.parametrize("number", range(20))
def test_what_becomes_of_it_behind_the_answer(number: int) -> None:
    """The sample's chance, the rules that watch the request and whether it may be an example are the table's."""
    table = compile_table(parse(KEEPING, environ={}), 3)
    unit, wine = b"user-%d" % number, table.routes[0]
    told = ask(table, INFER, (b"x-user-id", unit))
    assert told.log == LogChoice(
        0.1, ("errors", "disagreement", "slow: 2s", "when: request_id"), 7, "not free text", 5
    )
    assert told.log.probability == wine.log_limit / SPACE
    # A disagreement that is to be kept goes along with its request, whatever the percent of examples.
    assert told.shown is True
    alone = compile_table(parse(KEEPING.replace("disagreement, ", ""), environ={}), 3)
    shown = bucket(alone.routes[0].shown_prefix, unit) < alone.routes[0].shown_limit
    assert ask(alone, INFER, (b"x-user-id", unit)).shown is shown


def test_what_nobody_looks_at() -> None:
    """A route without a log has none; what no shadow gets is no example, and no disagreement keeps it."""
    table = compile_table(parse(KEEPING, environ={}), 3)
    drawn = ask(table, b"/drawn")
    assert (drawn.log, drawn.shown) == (None, None)
    safe = ask(table, b"/safe", host=b"safe.example")
    assert (safe.log, safe.shown, safe.logged) == (None, False, False)
    unmirrored = KEEPING.replace(
        "[{model: m2, percent: 50}, {model: m1}, {model: m6, percent: 0}]", "[{model: m6, percent: 0}]"
    )
    told = ask(compile_table(parse(unmirrored, environ={}), 3), INFER, (b"x-user-id", b"a"))
    assert told.shown is False
    assert told.log is not None
    assert told.log.kept_if == ("errors", "slow: 2s", "when: request_id")


def test_a_random_draw_is_not_foretold(table: Table) -> None:
    """Without a unit, nothing that depends on the draw is claimed; what is certain is."""
    told = ask(table, b"/drawn")
    assert (told.unit, told.unit_source, told.bucket, told.fraction) == (None, "missing", None, None)
    assert (told.variant, told.model, told.upstream_url, told.probability) == (None, None, None, None)
    assert [s.mirrored for s in told.shadows] == [None, True]
    assert told.logged is False
    assert "draws by its own request id" in told.reason
    assert "header:x-user-id" in told.reason


def test_a_random_draw_by_the_clients_request_id(table: Table) -> None:
    """A request id that the client sends decides, as it does in the running proxy."""
    told = ask(table, b"/drawn", (b"x-request-id", b"r-1"))
    drawn = table.routes[1].bucket(b"r-1")
    assert (told.unit, told.unit_source, told.bucket) == (None, "missing", drawn)
    assert told.variant == table.routes[1].assign(drawn).name
    assert "x-request-id draws" in told.reason


def test_a_missing_unit_can_go_to_the_champion(table: Table) -> None:
    """With ``missing_unit: champion`` the champion is certain."""
    told = ask(table, b"/safe", host=b"Safe.Example:8080")
    assert (told.variant, told.role, told.probability) == ("v1", "champion", 1.0)
    assert "missing_unit is champion" in told.reason


FORCES: list[tuple[str, list[tuple[bytes, bytes]], bytes, bool]] = [
    ("by a stranger", [], b"192.0.2.1", False),
    ("from a trusted address", [], b"10.1.1.1", True),
    ("with the secret", [(b"x-modelproxy-force-secret", b"open-sesame")], b"192.0.2.1", True),
    ("with a wrong secret", [(b"x-modelproxy-force-secret", b"open-sesam")], b"192.0.2.1", False),
]


@pytest.mark.parametrize(
    ("headers", "client", "expected"), [case[1:] for case in FORCES], ids=[case[0] for case in FORCES]
)
def test_force(table: Table, headers: list[tuple[bytes, bytes]], client: bytes, expected: bool) -> None:
    """A forced variant counts only from trusted addresses or with the route's secret."""
    user = user_on(table, "v1")
    force = [(b"x-user-id", user), (b"x-modelproxy-force", b"v2")]
    told = ask(table, INFER, *force, *headers, client=client)
    assert (told.forced, told.variant) == (expected, "v2" if expected else "v1")


def test_an_unknown_forced_name_changes_nothing(table: Table) -> None:
    """Forcing a variant that does not exist leaves the assignment."""
    told = ask(table, INFER, (b"x-user-id", b"a"), (b"x-modelproxy-force", b"v9"), client=b"10.1.1.1")
    assert not told.forced


def test_no_secret_by_default(table: Table) -> None:
    """On a route without a secret an empty one forces nothing."""
    headers = [(b"x-user-id", b"a"), (b"x-modelproxy-force", b"v2"), (b"x-modelproxy-force-secret", b"")]
    assert not ask(table, b"/drawn", *headers).forced


URLS: list[tuple[str, str, int, bytes, str]] = [
    ("path unchanged", "v1", 0, INFER + b"?a=1", "http://127.0.0.1:9001/v2/models/wine/infer?a=1"),
    ("prefix replaced", "v2", 0, INFER + b"?a=1", "http://127.0.0.1:9002/v2/models/m2/infer?a=1"),
    ("IPv6", "v2", 1, b"/drawn", "http://[::1]:9006/drawn"),
]


@pytest.mark.parametrize(
    ("variant", "route", "target", "expected"), [case[1:] for case in URLS], ids=[case[0] for case in URLS]
)
def test_upstream_urls(table: Table, variant: str, route: int, target: bytes, expected: str) -> None:
    """The URL is the one that the model server sees."""
    told = ask(table, target, (b"x-user-id", user_on(table, variant, route)))
    assert expected == told.upstream_url


@pytest.mark.parametrize(
    ("target", "method", "host"),
    [(b"/nowhere", b"POST", b""), (INFER, b"GET", b""), (b"/safe", b"POST", b"other.example")],
)
def test_an_unknown_route_names_those_there_are(
    table: Table, target: bytes, method: bytes, host: bytes
) -> None:
    """When nothing matches, the patterns are listed in the order in which they are tried."""
    told = explain(table, Request(target, method=method, host=host))
    assert isinstance(told, NoRoute)
    assert "404" in told.error
    assert told.routes == ("POST /v2/models/wine/*", "/drawn", "safe.example/safe")


def test_the_version_is_that_of_a_serving_table_only(table: Table) -> None:
    """A file that was only read has no version."""
    assert ask(table).table_version is None
    served = explain(table, Request(INFER), version=3)
    assert isinstance(served, Explanation)
    assert served.table_version == 3


def test_the_rule_is_shown_as_in_the_file(table: Table) -> None:
    """Only what the file restricts is shown."""
    assert ask(table).rule == {"path": "/v2/models/wine/*", "method": ["POST"]}
    assert ask(table, b"/drawn").rule == {"path": "/drawn"}


def test_a_body_past_the_side_copy_is_not_read(table: Table) -> None:
    """A body that the running proxy would not copy gives no unit here either."""
    body = b'{"user": "b"' + b" " * table.settings.limits.copy_ + b"}"
    assert ask(table, body=body).unit_source == "missing"


def test_a_rollout_in_a_file_is_at_its_first_step() -> None:
    """Where a rollout is only a running proxy knows, and the explanation of a file says so."""
    text = CONFIG.replace("weight: 30}", "rollout: {steps: [30, 100]}}")
    table = compile_table(parse(text, environ={}), 3)
    request = Request(b"/drawn", names=[b"x-user-id"], values=[user_on(table, "v2", 1)])
    of_file, running = explain(table, request), explain(table, request, version=3)
    assert isinstance(of_file, Explanation)
    assert isinstance(running, Explanation)
    assert of_file.probability == pytest.approx(0.3)
    assert of_file.reason.endswith("; the rollout of v2 is taken to be at its first step")
    assert "rollout" not in running.reason

"""The runtime table: who matches, who is assigned, and that every process compiles the same."""

import math
from hashlib import sha256

import pytest

from proxy.model import DROPS, Fault, Role
from proxy.routing.hashing import SPACE, bucket, share
from proxy.routing.table import MISSING, Route, Table, compile_table
from proxy.settings import parse
from proxy.tally import ENDPOINT_FIELDS, WORKER_FIELDS
from proxy.wire.request import host_name

CONFIG = """
models:
  m1: {url: "http://127.0.0.1:9001"}
  m2: {url: "http://models.example:9002/v2/models/m2"}
  m3: {url: "http://models.example"}
routes:
  - name: exact
    match: {path: /v1/score, method: [POST, PUT]}
    variants: [{name: v1, model: m1, role: champion}]
  - name: host
    match: {path: "/v2/*", host: Models.Example}
    variants: [{name: v1, model: m1, role: champion}]
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id, cookie:uid, "json:/parameters/user", client_ip]
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: challenger, weight: 10}
      - {name: v3, model: m3, role: canary, weight: 5}
    shadows: [{model: m3, percent: 25}, {model: m2}]
    log: {percent: 5}
  - name: rest
    match: {path: "/*", method: GET}
    missing_unit: champion
    variants: [{name: v1, model: m1, role: champion}]
"""


def table(text: str = CONFIG, version: int = 1) -> Table:
    return compile_table(parse(text, environ={}), version)


def route(name: str = "wine", text: str = CONFIG) -> Route:
    return next(r for r in table(text).routes if r.name == name)


MATCHES: list[tuple[str, bytes, bytes, bytes, str | None]] = [
    ("exact", b"/v1/score", b"", b"POST", "exact"),
    ("exact, second method", b"/v1/score", b"", b"PUT", "exact"),
    ("exact, other method", b"/v1/score", b"", b"DELETE", None),
    ("exact, other method, later route", b"/v1/score", b"", b"GET", "rest"),
    ("exact is not a prefix", b"/v1/score/", b"", b"POST", None),
    ("exact is not a part", b"/v1/scor", b"", b"POST", None),
    ("methods are case-sensitive", b"/v1/score", b"", b"post", None),
    ("prefix itself", b"/v2/models/wine", b"", b"POST", "wine"),
    ("prefix and slash", b"/v2/models/wine/", b"", b"POST", "wine"),
    ("below the prefix", b"/v2/models/wine/versions/1/infer", b"", b"POST", "wine"),
    ("segment border", b"/v2/models/winery/infer", b"", b"POST", None),
    ("above the prefix", b"/v2/models", b"", b"POST", None),
    ("paths are case-sensitive", b"/v2/models/Wine/infer", b"", b"POST", None),
    ("host", b"/v2/models/wine/infer", b"models.example", b"POST", "host"),
    ("other host", b"/v2/models/wine/infer", b"models.example.org", b"POST", "wine"),
    ("host, prefix itself", b"/v2", b"models.example", b"POST", "host"),
    ("everything", b"/", b"", b"GET", "rest"),
    ("everything, deep", b"/a/b/c", b"x", b"GET", "rest"),
    ("nothing", b"/", b"", b"POST", None),
    ("asterisk form", b"*", b"", b"GET", "rest"),
    ("empty", b"", b"", b"GET", "rest"),
    ("dots inside the prefix", b"/v2/models/wine/a/../b", b"", b"POST", "wine"),
    ("dots out of the prefix", b"/v2/models/wine/../../admin", b"", b"POST", None),
    ("dots out of the prefix, encoded", b"/v2/models/wine/%2E%2e%2fadmin", b"", b"POST", None),
    ("dots out of the prefix, to another route", b"/v2/models/wine/../x", b"", b"GET", "rest"),
    ("dots out of everything", b"/../x", b"", b"GET", None),
    ("bytes that are no text", b"/v2/models/wine/\xff\x00", b"", b"POST", "wine"),
]


@pytest.mark.parametrize(
    ("path", "host", "method", "expected"), [case[1:] for case in MATCHES], ids=[case[0] for case in MATCHES]
)
def test_the_first_route_that_matches_wins(
    path: bytes, host: bytes, method: bytes, expected: str | None
) -> None:
    """Path, host and method must all fit; a prefix ends at a segment border."""
    found = table().match(path, host, method)
    assert expected == (found.name if found else None)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (b"Models.Example", b"models.example"),
        (b"models.example:8080", b"models.example"),
        (b"127.0.0.1:80", b"127.0.0.1"),
        (b"[::1]:8080", b"::1"),
        (b"[2001:DB8::1]", b"2001:db8::1"),
        (b"[broken", b"broken"),
        (b"", b""),
    ],
)
def test_host_fields(field: bytes, expected: bytes) -> None:
    """A Host field is compared without its port, in lower case, IPv6 without brackets."""
    assert expected == host_name(field)


@pytest.mark.parametrize(
    ("pattern", "matched", "exact"),
    [
        ("/v1/score", b"/v1/score", True),
        ("/v2/models/wine/*", b"/v2/models/wine", False),
        ("/*", b"", False),
        ("*", b"", False),
    ],
)
def test_the_matched_prefix(pattern: str, matched: bytes, exact: bool) -> None:
    """What a model's own path replaces is all before ``/*``, or the whole of an exact path."""
    compiled = route("exact", CONFIG.replace("/v1/score", pattern).replace("path: *,", 'path: "*",'))
    assert (compiled.matched_prefix, compiled.exact) == (matched, exact)


def test_models_know_their_address() -> None:
    """Host, port and path come from the URL."""
    m1, m2, m3 = table().models.values()
    assert (m1.host, m1.port, m1.prefix, m1.host_header) == ("127.0.0.1", 9001, b"", b"127.0.0.1:9001")
    assert (m2.host, m2.port, m2.prefix) == ("models.example", 9002, b"/v2/models/m2")
    assert m2.host_header == b"models.example:9002"
    assert (m3.host, m3.port, m3.prefix, m3.host_header) == ("models.example", 80, b"", b"models.example")


def test_weights_and_probabilities() -> None:
    """The champion has what is left, and a probability is the width of the variant's place."""
    variants = route().variants
    assert [(v.name, float(v.weight), v.role) for v in variants] == [
        ("v1", 85, Role.CHAMPION),
        ("v2", 10, Role.CHALLENGER),
        ("v3", 5, Role.CANARY),
    ]
    assert [round(v.probability, 12) for v in variants] == [0.85, 0.1, 0.05]
    assert route().champion is not None
    assert route().champion.name == "v1"


def test_assignment_follows_the_intervals() -> None:
    """The canary has the bottom, the challenger the top, the champion the middle; borders belong upwards."""
    wine = route()
    low, high = share(wine.variants[2].weight), SPACE - share(wine.variants[1].weight)
    drawn = [wine.assign(b).name for b in (0, low - 1, low, high - 1, high, SPACE - 1)]
    assert drawn == ["v3", "v3", "v1", "v1", "v2", "v2"]


def test_variants_by_name() -> None:
    """A variant is found by its name and nothing else is."""
    wine = route()
    assert wine.variant("v2") is wine.variants[1]
    assert wine.variant("v9") is None


def test_salts_are_the_routes_own() -> None:
    """Assignment, each shadow and the log hash the same unit with different salts."""
    wine = route()
    salts = [wine.unit_prefix, wine.log_prefix, *(shadow.prefix for shadow in wine.shadows)]
    assert salts == [b"wine:", b"wine/log:", b"wine/shadow/m3:", b"wine/shadow/m2:"]
    own = CONFIG.replace("name: wine\n", "name: wine\n    salt: beer\n").replace(
        "percent: 5}", "percent: 5, salt: l}"
    )
    own = own.replace("percent: 25}", "percent: 25, salt: s}")
    wine = route(text=own)
    assert [wine.unit_prefix, wine.log_prefix, wine.shadows[0].prefix] == [b"beer:", b"l:", b"s:"]


def test_sampling_limits() -> None:
    """A sampler takes the buckets below its percent of the space."""
    wine = route()
    assert [shadow.limit for shadow in wine.shadows] == [SPACE // 4, SPACE]
    assert wine.log_limit == SPACE // 20
    assert route("rest").log_limit == 0


def test_units_in_the_body_are_known() -> None:
    """Only a route with a ``json:`` source ever waits for a body."""
    assert [(r.name, r.body_units) for r in table().routes] == [
        ("exact", False),
        ("host", False),
        ("wine", True),
        ("rest", False),
    ]
    assert route("rest").missing_champion
    assert not route().missing_champion


def test_tracing_is_off_without_a_collector() -> None:
    """Nobody is traced unless there is somewhere to send spans."""
    assert table().trace_limit == 0
    traced = table('tracing: {otlp: "http://127.0.0.1:4318/v1/traces", percent: 50}\n' + CONFIG)
    assert traced.trace_limit == SPACE // 2


def test_servers() -> None:
    """Servers are those of the URLs; they are counted one by one where there is a choice or news of their health."""
    several = '["http://models.example", "http://[::1]:9003"]'
    compiled = table(CONFIG.replace('{url: "http://models.example"}', f"{{url: {several}}}"))
    m1, m3 = compiled.models["m1"], compiled.models["m3"]
    assert [(e.host, e.port, e.host_header) for e in m3.endpoints] == [
        ("models.example", 80, b"models.example"),
        ("::1", 9003, b"[::1]:9003"),
    ]
    assert (m3.host, m3.port) == ("models.example", 80)
    assert (m1.is_watched, m3.is_watched) == (False, True)
    sections = [s for s in compiled.layout.sections if s.kind == "endpoint"]
    assert [s.labels for s in sections] == [("m3", "http://models.example"), ("m3", "http://[::1]:9003")]
    assert [s.base for s in sections] == [e.slot for e in m3.endpoints]
    alone = table(
        CONFIG.replace('{url: "http://models.example"}', '{url: "http://models.example", health: {}}')
    )
    assert alone.models["m3"].is_watched
    https = table(CONFIG.replace('http://models.example"', 'https://models.example"'))
    assert https.models["m3"].endpoints[0].port == 443


def test_two_compiles_have_one_layout() -> None:
    """Each process compiles alone and gets the same slots."""
    one, other = table(), table()
    assert one.layout == other.layout
    assert one.observer_layout == other.observer_layout


def test_the_layout_does_not_depend_on_the_version() -> None:
    """A number alone changes nothing."""
    assert table(version=1).layout == table(version=7).layout


def all_slots(compiled: Table) -> list[int]:
    """List the first slot of everything that the hot path counts, expanded to every slot that it can reach."""
    slots = [compiled.slot_worker + i for i in range(len(WORKER_FIELDS))]
    slots += [compiled.slot_unrouted + i for i in range(600)]
    for model in compiled.models.values():
        slots += [model.slot_faults + fault for fault in Fault if fault is not Fault.NONE]
        slots += [model.slot_limit, model.slot_limit + 1]
        for endpoint in model.endpoints if model.is_watched else ():
            slots += [endpoint.slot + i for i in range(len(ENDPOINT_FIELDS))]
    for r in compiled.routes:
        slots += [r.slot_units + i for i in range(len(r.readers) + 1)]
        slots += [r.slot_payload + i for i in range(3)]
        for shadow in r.shadows:
            slots += [shadow.slot + i for i in range(7 + len(DROPS))]
        for v in r.variants:
            slots += [
                v.slot_started,
                v.slot_started + 1,
                v.slot_retries,
                v.slot_fallbacks,
                v.slot_whole_sum,
                v.slot_duration_sum,
                v.slot_ttfb_sum,
                v.slot_gap_sum,
                v.slot_tunnel_received,
                v.slot_tunnel_sent,
            ]
            slots += [v.slot_codes + i for i in range(600)]
            slots += [v.slot_whole + i for i in range(62)]
            slots += [v.slot_duration + i for i in range(62)]
            slots += [v.slot_ttfb + i for i in range(62)]
            slots += [v.slot_gap + i for i in range(62)]
    return slots


def test_every_slot_is_used_once() -> None:
    """No two counts share a slot, none lies outside of the block, and none is wasted."""
    compiled = table()
    assert list(range(compiled.layout.size)) == sorted(all_slots(compiled))


def test_slots_have_the_names_that_readers_see() -> None:
    """A count that is made in a slot is read back under its labels."""
    compiled = table()
    wine = compiled.routes[2]
    values = [0] * compiled.layout.size
    values[wine.variants[1].slot_codes + 200] = 5
    values[wine.slot_units + len(wine.readers)] = 3
    values[compiled.models["m2"].slot_faults + Fault.TIMEOUT] = 2
    assert compiled.layout.counts(values) == {
        ("variant", "code_200", "wine", "v2", "m2"): 5,
        ("unit", MISSING, "wine"): 3,
        ("model", "fault_timeout", "m2"): 2,
    }


USERS = 100_000
GOLDEN_ASSIGNMENTS = "927ed567506af17baaa03499511d077aaa199fcc5a2a011a22b2caed1edbdfc4"
"""SHA-256 over the names of the variants of users 0 to 99 999, joined by commas. Never edit: it moves users."""


def assignments(text: str = CONFIG) -> list[str]:
    wine = route(text=text)
    return [wine.assign(wine.bucket(b"user-%d" % number)).name for number in range(USERS)]


def test_100_000_golden_assignments() -> None:
    """A fixed configuration assigns 100 000 users as it always did."""
    assert sha256(",".join(assignments()).encode()).hexdigest() == GOLDEN_ASSIGNMENTS


def test_shares_are_the_weights_to_sampling_error() -> None:
    """Of 100 000 users each variant has its weight, within five standard deviations."""
    drawn = assignments()
    for variant in route().variants:
        expected, p = USERS * variant.probability, variant.probability
        assert abs(drawn.count(variant.name) - expected) <= 5 * math.sqrt(expected * (1 - p))


def test_a_ramp_moves_the_difference_of_the_weights() -> None:
    """Canary 5 → 20 → 0: only users between champion and canary move, as many as |Δweight| says (5 sigma)."""
    ramp = [CONFIG.replace("canary, weight: 5", f"canary, weight: {weight}") for weight in (5, 20, 0)]
    drawn = [assignments(text) for text in ramp]
    for before, after, delta, pair in (
        (drawn[0], drawn[1], 0.15, ("v1", "v3")),
        (drawn[1], drawn[2], 0.20, ("v3", "v1")),
    ):
        moved = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
        assert set(moved) == {pair}
        assert abs(len(moved) - USERS * delta) <= 5 * math.sqrt(USERS * delta * (1 - delta))
    assert "v3" not in drawn[2]


def test_samplers_are_independent_of_the_assignment() -> None:
    """A shadow at 25 percent takes a quarter of each variant's users, within five standard deviations."""
    wine = route()
    shadow = wine.shadows[0]
    taken: dict[str, list[bool]] = {"v1": [], "v2": [], "v3": []}
    for number in range(20_000):
        unit = b"user-%d" % number
        mirrored = bucket(shadow.prefix, unit) < shadow.limit
        taken[wine.assign(wine.bucket(unit)).name].append(mirrored)
    for drawn in taken.values():
        assert abs(sum(drawn) - len(drawn) / 4) <= 5 * math.sqrt(len(drawn) * 3 / 16)

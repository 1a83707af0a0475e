"""Plans: who moves is exact, and agrees with what happens to real units."""

import math
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.routing.hashing import SPACE, share
from proxy.routing.plan import FIRST_MOVERS, RoutePlan, compile_plan, count_units
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

MODELS = 'models: {m1: {url: "http://127.0.0.1:9001"}, m2: {url: "http://127.0.0.1:9002"}}\n'


def table(*variants: str, extra: str = "", name: str = "wine") -> Table:
    """Compile one route; ``variants`` are flow mappings without their champion, which is added."""
    lines = "".join(
        f"\n      - {{{variant}}}" for variant in ("name: v1, model: m1, role: champion", *variants)
    )
    text = f'{MODELS}routes:\n  - name: {name}\n    match: {{path: "/a/*"}}\n{extra}    variants:{lines}\n'
    return compile_table(parse(text, environ={}), 1)


def canary(weight: object, name: str = "v3", more: str = "") -> str:
    return f"name: {name}, model: m2, role: canary, weight: {weight}{more}"


def challenger(weight: object, name: str = "v2", more: str = "") -> str:
    return f"name: {name}, model: m2, role: challenger, weight: {weight}{more}"


def route_plan(old: Table, new: Table) -> RoutePlan:
    (plan,) = compile_plan(old, new).routes
    return plan


def moves(old: Table, new: Table) -> dict[tuple[str, str], Fraction]:
    return {(move.source, move.target): move.share for move in route_plan(old, new).moves}


def part(percent: object) -> Fraction:
    """Return the exact share that a weight becomes."""
    return Fraction(share(Decimal(str(percent))), SPACE)


CASES: list[tuple[str, tuple[str, ...], tuple[str, ...], dict[tuple[str, str], Fraction]]] = [
    ("nothing changes", (canary(5), challenger(10)), (canary(5), challenger(10)), {}),
    ("the order in the file is no change", (canary(5), challenger(10)), (challenger(10), canary(5)), {}),
    (
        "ramp up",
        (canary(5), challenger(10)),
        (canary(20), challenger(10)),
        {("v1", "v3"): part(20) - part(5)},
    ),
    ("abort", (canary(20), challenger(10)), (canary(0), challenger(10)), {("v3", "v1"): part(20)}),
    ("remove", (canary(20), challenger(10)), (challenger(10),), {("v3", "v1"): part(20)}),
    ("add", (challenger(10),), (challenger(10), canary("0.1")), {("v1", "v3"): part("0.1")}),
    ("a renamed variant takes its units along", (canary(5),), (canary(5, "v4"),), {("v3", "v4"): part(5)}),
    (
        "both ramp",
        (canary(5), challenger(10)),
        (canary(10), challenger(20)),
        {("v1", "v3"): part(10) - part(5), ("v1", "v2"): part(20) - part(10)},
    ),
    (
        "a canary becomes a challenger",
        (canary(10, "v2"),),
        (challenger(10, "v2"),),
        {("v2", "v1"): part(10), ("v1", "v2"): part(10)},
    ),
]


@pytest.mark.parametrize(("old", "new", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_moves(old: tuple[str, ...], new: tuple[str, ...], expected: dict[tuple[str, str], Fraction]) -> None:
    """Each change moves exactly the units that it must."""
    assert expected == moves(table(*old), table(*new))


def test_everyone_can_move() -> None:
    """A champion under another name is a move of the whole space."""
    old = table()
    new = compile_table(parse(_renamed_champion(), environ={}), 2)
    assert moves(old, new) == {("v1", "v9"): Fraction(1)}


def _renamed_champion() -> str:
    route = '{name: wine, match: {path: "/a/*"}, variants: [{name: v9, model: m1, role: champion}]}'
    return f"{MODELS}routes: [{route}]"


def test_nobody_moves() -> None:
    """A change that touches no assignment is quiet."""
    plan = compile_plan(table(canary(5)), table(canary(5)))
    assert plan.is_quiet
    assert plan.routes[0].moved == 0


def test_routes_come_and_go() -> None:
    """A route under another name is one removed and one added."""
    plan = compile_plan(table(name="wine"), table(name="beer"))
    assert (plan.added, plan.removed, plan.routes) == (("beer",), ("wine",), ())
    assert not plan.is_quiet


def test_another_salt_deals_everyone_anew() -> None:
    """With another salt the shares are the products of the weights."""
    plan = route_plan(table(canary(50)), table(canary(50), extra="    salt: other\n"))
    assert plan.redrawn is not None
    assert "everyone is re-drawn" in plan.redrawn
    assert {(m.source, m.target): m.share for m in plan.moves} == {
        ("v1", "v3"): Fraction(1, 4),
        ("v3", "v1"): Fraction(1, 4),
    }
    assert plan.moved == Fraction(1, 2)


def test_the_salt_of_the_name_is_no_other_salt() -> None:
    """Writing the default salt out changes nothing."""
    assert route_plan(table(canary(5)), table(canary(5), extra="    salt: wine\n")).redrawn is None


def test_other_unit_sources_deal_those_anew_who_bring_another_unit() -> None:
    """A change of the sources is said, since no file tells whom it concerns."""
    plan = route_plan(table(canary(50)), table(canary(50), extra="    unit: [cookie:uid]\n"))
    assert plan.redrawn is not None
    assert "unit sources changed" in plan.redrawn
    assert plan.moved == Fraction(1, 2)


NOTES: list[tuple[str, Table, Table, str]] = [
    (
        "model",
        table(canary(5)),
        table("name: v3, model: m1, role: canary, weight: 5"),
        "model m1 instead of m2",
    ),
    ("role", table(canary(5, "v2")), table(challenger(5, "v2")), "challenger instead of canary"),
    ("missing to champion", table(), table(extra="    missing_unit: champion\n"), "go to the champion"),
    ("missing to random", table(extra="    missing_unit: champion\n"), table(), "draw by their request id"),
]


@pytest.mark.parametrize(("old", "new", "expected"), [n[1:] for n in NOTES], ids=[n[0] for n in NOTES])
def test_notes(old: Table, new: Table, expected: str) -> None:
    """What changes for units that stay is said too."""
    assert any(expected in note for note in route_plan(old, new).notes)
    assert route_plan(old, old).notes == ()


def test_a_rollout_is_noted() -> None:
    """Files do not tell where a running rollout is, so a plan says what it counted."""
    rolled = table("name: v3, model: m2, role: canary, rollout: {steps: [7, 100]}")
    plan = route_plan(table(canary(5)), rolled)
    assert plan.moved == part(7) - part(5)
    (note,) = plan.notes
    assert note.startswith("in the new file, a rollout moves the weight of v3; counted is its first step")
    assert len(route_plan(rolled, rolled).notes) == 2


def test_a_match_that_changed_is_noted() -> None:
    """Other requests may come to a route whose match is another."""
    text = _renamed_champion().replace("v9", "v1")
    new = compile_table(parse(text.replace("/a/*", "/b/*"), environ={}), 2)
    assert "other requests may come" in route_plan(table(), new).notes[0]


WARNINGS: list[tuple[str, tuple[str, ...], list[str]]] = [
    ("one of each at any weight", (canary(60), challenger(40)), []),
    ("two challengers inside", (challenger(50, "a"), challenger(50, "b")), []),
    ("a challenger outgrows", (challenger(51, "a"), challenger(10, "b")), ["a has weight 51"]),
    ("an explicit range", (challenger(11, "a", ", max_weight: 20"), challenger(70, "b")), []),
    (
        "a canary meets the second challenger",
        (challenger(10, "a"), challenger(10, "b"), canary(60)),
        ["v3 is displaced"],
    ),
    (
        "ranges kept apart",
        (challenger(10, "a", ", max_weight: 15"), challenger(10, "b", ", max_weight: 15"), canary(70)),
        [],
    ),
    ("a canary beside it", (challenger(10, "a"), challenger(10, "b"), canary(40)), []),
    ("zero never warns", (challenger(0, "a"), challenger(0, "b"), canary(0)), []),
]


@pytest.mark.parametrize(("variants", "expected"), [w[1:] for w in WARNINGS], ids=[w[0] for w in WARNINGS])
def test_warnings(variants: tuple[str, ...], expected: list[str]) -> None:
    """Where the promise of nested ranges ends, the plan says so, for the old file and for the new one."""
    new = [w for w in route_plan(table(), table(*variants)).warnings if "in the new file" in w]
    assert len(expected) == len(new)
    assert all(text in warning for text, warning in zip(expected, new, strict=True))
    old = [w for w in route_plan(table(*variants), table()).warnings if "in the old file" in w]
    assert len(expected) == len(old)


percents = st.decimals(0, 50, places=3)


@given(percents, percents, percents, percents)
def test_a_plan_adds_up(a: Decimal, b: Decimal, c: Decimal, d: Decimal) -> None:
    """What a variant gains less what it loses is the change of its weight, for every variant."""
    old, new = table(canary(a), challenger(b)), table(canary(c), challenger(d))
    balance = dict.fromkeys(("v2", "v3"), Fraction(0))
    for move in route_plan(old, new).moves:
        assert move.share > 0
        for name, sign in ((move.source, -1), (move.target, 1)):
            if name in balance:
                balance[name] += sign * move.share
    assert balance == {"v2": part(d) - part(b), "v3": part(c) - part(a)}


def test_moves_are_listed_largest_first() -> None:
    """The move that concerns most units comes first."""
    plan = route_plan(table(canary(5), challenger(10)), table(canary(10), challenger(30)))
    assert [m.target for m in plan.moves] == ["v2", "v3"]


def test_given_units_move_as_the_plan_says() -> None:
    """Counting real units agrees with the exact shares to sampling error (5 sigma) and names the first movers."""
    old, new = table(canary(5), challenger(10)), table(canary(20), challenger(5))
    total = 20_000
    count = count_units(old, new, (b"user-%d" % number for number in range(total)))["wine"]
    planned = moves(old, new)
    assert count.total == total
    assert set(count.moved) == set(planned)
    for pair, exact in planned.items():
        p = float(exact)
        assert abs(count.moved[pair] - total * p) <= 5 * math.sqrt(total * p * (1 - p))
    assert len(count.first) == FIRST_MOVERS
    for unit, source, target in count.first:
        before, after = old.routes[0], new.routes[0]
        raw = unit.encode()
        assert before.assign(before.bucket(raw)).name == source != target
        assert after.assign(after.bucket(raw)).name == target


def test_units_are_counted_under_a_new_salt_too() -> None:
    """With another salt the given units are assigned under both salts, exactly."""
    old, new = table(canary(50)), table(canary(50), extra="    salt: other\n")
    count = count_units(old, new, (b"%d" % number for number in range(2000)))["wine"]
    assert abs(sum(count.moved.values()) - 1000) <= 5 * math.sqrt(500)


def test_no_units() -> None:
    """An empty file moves nobody."""
    count = count_units(table(), table(canary(50)), [])["wine"]
    assert (count.total, sum(count.moved.values()), count.first) == (0, 0, [])

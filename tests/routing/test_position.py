"""Positions: what a rollout's place on its way makes of the weights."""

from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from proxy.routing.hashing import SPACE, share
from proxy.routing.position import Position, parse_positions
from proxy.routing.table import Route, Table, compile_table
from proxy.settings import parse

TRIED = """
models: {a: {url: "http://127.0.0.1:1"}, b: {url: "http://127.0.0.1:2"}, c: {url: "http://127.0.0.1:3"}}
routes:
  - name: wine
    match: {path: /wine}
    variants:
      - {name: old, model: a, role: champion}
      - {name: other, model: b, role: challenger, weight: 10}
      - {name: new, model: c, role: canary, rollout: {steps: [2, 50, 100]}}
  - name: plain
    match: {path: /plain}
    variants: [{name: new, model: a, role: champion}]
"""


def position(weight: str, route: str = "wine", variant: str = "new") -> Position:
    return Position(route, variant, "00112233aabbccdd", Decimal(weight))


def table(*positions: Position, text: str = TRIED) -> Table:
    return compile_table(parse(text, environ={}), 1, "", positions)


def route(*positions: Position, text: str = TRIED) -> Route:
    return table(*positions, text=text).routes[0]


def widths(found: Route) -> dict[str, int]:
    return {variant.name: found.intervals.width(variant.index) for variant in found.variants}


def test_a_position_survives_its_document() -> None:
    """The document says all, and the weight exactly."""
    assert parse_positions([position("33.3333333333333333").document()]) == (position("33.3333333333333333"),)
    assert parse_positions([]) == ()


@pytest.mark.parametrize(
    "change",
    [
        {"weight": "x"},
        {"weight": "-1"},
        {"weight": "100.1"},
        {"weight": "NaN"},
        {"weight": None},
        {"route": 5},
        {"rollout": ""},
        {"rollout": "../../etc/passwd"},
        {"rollout": "00112233aabbccd"},
        {"variant": None},
    ],
    ids=str,
)
def test_a_malformed_position_is_refused(change: dict[str, Any]) -> None:
    """What is no position says so, with what was found."""
    document: dict[str, Any] = {**position("5").document(), **change}
    with pytest.raises(ValueError, match="weight"):
        Position.from_document(document)
    with pytest.raises(ValueError, match="expected route, variant, rollout and weight"):
        Position.from_document({"route": "wine"})


@pytest.mark.parametrize(
    ("weight", "new", "old"),
    [("0", "0", "90"), ("5", "5", "85"), ("12.5", "12.5", "77.5"), ("90", "90", "0"), ("100", "90", "0")],
)
def test_a_position_is_the_weight(weight: str, new: str, old: str) -> None:
    """The canary has its position's weight, up to what the others leave, and the champion the rest."""
    found = route(position(weight))
    assert {v.name: v.weight for v in found.variants} == {
        "old": Decimal(old),
        "other": Decimal(10),
        "new": Decimal(new),
    }
    got = widths(found)
    assert sum(got.values()) == SPACE
    assert got["other"] == share(Decimal(10))
    assert got["new"] == share(Decimal(new))


@pytest.mark.parametrize("weight", ["0", "98", "100"])
def test_ends_of_the_way_work_alone(weight: str) -> None:
    """Nothing, all but a holdback, and everything: each is what it says."""
    text = TRIED.replace("      - {name: other, model: b, role: challenger, weight: 10}\n", "")
    found = route(position(weight), text=text)
    assert widths(found) == {"new": share(Decimal(weight)), "old": SPACE - share(Decimal(weight))}
    first, last = found.assign(0), found.assign(SPACE - 1)
    assert first.name == ("new" if Decimal(weight) > 0 else "old")
    assert last.name == ("new" if Decimal(weight) == 100 else "old")


def test_without_a_position_it_is_the_first_step() -> None:
    """Commands that only read the file see the rollout at its beginning."""
    assert route().variants[2].weight == Decimal(2)
    assert widths(route())["new"] == share(Decimal(2))


def test_positions_of_nothing_mean_nothing() -> None:
    """A route that is gone, a variant that is gone, and a variant without a rollout are not moved."""
    strays = [position("50", route="gone"), position("50", variant="gone"), position("50", variant="other")]
    strays.append(position("0", route="plain", variant="new"))
    assert widths(route(*strays)) == widths(route())
    assert [v.weight for v in table(*strays).routes[1].variants] == [Decimal(100)]


def test_raising_a_position_moves_units_only_into_the_canary() -> None:
    """The ramp is nested: nobody leaves the canary, and nobody moves between others."""
    steps = [route(position(weight)) for weight in ("0", "1", "5", "25", "50", "90")]
    buckets = [i * (SPACE // 997) for i in range(997)]
    for before, after in pairwise(steps):
        moved = {
            (before.assign(b).name, after.assign(b).name)
            for b in buckets
            if before.assign(b).name != after.assign(b).name
        }
        assert moved <= {("old", "new")}

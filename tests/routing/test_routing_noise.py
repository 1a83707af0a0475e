"""What the champion's second call is compiled to, and who gets it."""

from decimal import Decimal
from typing import Any

import pytest

from proxy.routing.choose import asks_twice, shadows_for
from proxy.routing.explain import Explanation, Request, explain
from proxy.routing.hashing import SPACE
from proxy.routing.noise import NoiseSettings, noise_settings
from proxy.routing.table import Route, Table, compile_table
from proxy.settings import parse
from proxy.settled import WITHHELD, read_settled, settle

CONFIG = """
limits: {{in_flight: 100}}
models:
  one: {{url: "http://127.0.0.1:9001"}}
  two: {{url: "http://127.0.0.1:9002"}}
  three: {{url: "http://127.0.0.1:9003"}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: challenger, weight: 10}}
    shadows: {shadows}
    compare: {compare}
"""
SHADOWS = (
    "[{model: two, timeout: 5s, max_in_flight: 9}, {model: three, percent: 50, timeout: 8s, max_bytes: 2MiB}]"
)


def table(compare: str = "{noise: 20}", shadows: str = SHADOWS, *, is_settled: bool = True) -> Table:
    settings = parse(CONFIG.format(shadows=shadows, compare=compare), environ={})
    return compile_table(read_settled(settle(settings, WITHHELD)) if is_settled else settings, 1)


def route(compare: str = "{noise: 20}", shadows: str = SHADOWS) -> Route:
    return table(compare, shadows).routes[0]


def test_settings() -> None:
    """It has the longest timeout of the candidates, and half of the least of their budgets."""
    noise = noise_settings(route().settings)
    assert noise == NoiseSettings(Decimal(20), 8 * 10**9, 4, 2**20, "wine/noise")


@pytest.mark.parametrize(
    ("compare", "shadows"),
    [
        ("{}", SHADOWS),
        ("{noise: 20, as: none}", SHADOWS),
        ("{noise: 20}", "[]"),
        ("{noise: 20}", "[{model: two, percent: 0}]"),
    ],
)
def test_nothing_to_ask(compare: str, shadows: str) -> None:
    """Without a share, a comparison or a candidate the champion is asked once, and the layout knows no noise."""
    found = table(compare, shadows)
    assert found.routes[0].noise is None
    assert found.routes[0].copies == found.routes[0].shadows
    kinds = {section.kind for layout in (found.layout, found.observer_layout) for section in layout.sections}
    assert not kinds & {"noise", "noise_comparison", "triple"}


def test_one_more_copy() -> None:
    """It is a copy to the champion's model behind all shadows, shed before them, with counts of its own."""
    found = table()
    compiled = found.routes[0]
    noise = compiled.noise
    assert noise is not None
    assert (noise.model, noise.index, noise.bit) == (compiled.champion.model, 2, 4)
    assert compiled.copies == (*compiled.shadows, noise)
    assert noise.slot == found.layout.section("noise", "wine", "one").base
    assert [copy.shedding_limit for copy in compiled.copies] == [75, 75, 50]
    assert [copy.quarters for copy in compiled.copies] == [3, 3, 2]


def test_who_is_asked_twice() -> None:
    """So many percent of the champion's mirrored units, whoever they are mirrored to; nobody else's."""
    compiled = route()
    units = [b"unit-%d" % i for i in range(4_000)]
    mirrored = {unit: shadows_for(compiled, unit) for unit in units}
    twice = {unit for unit in units if asks_twice(compiled, compiled.champion, unit, ())}
    assert 700 < len(twice) < 900
    with_three = [unit for unit, shadows in mirrored.items() if len(shadows) == 2]
    assert 330 < len(twice.intersection(with_three)) < 470
    assert not any(asks_twice(compiled, compiled.variants[1], unit, ()) for unit in units)
    assert not any(asks_twice(route("{}"), compiled.champion, unit, ()) for unit in units[:9])
    everybody = route("{noise: 100}")
    assert everybody.noise is not None
    assert everybody.noise.limit == SPACE
    assert all(asks_twice(everybody, everybody.champion, unit, ()) for unit in units[:99])


def test_who_knows_the_key_is_asked_once() -> None:
    """The champion would answer a second call with the same idempotency key with its first answer."""
    compiled = route("{noise: 100}")
    assert asks_twice(compiled, compiled.champion, b"ada", (b"host", b"x-idempotency"))
    assert not asks_twice(compiled, compiled.champion, b"ada", (b"host", b"idempotency-key"))
    headers = {b"x-user-id": b"ada", b"idempotency-key": b"7"}
    request = Request(b"/v2/models/wine/infer", names=tuple(headers), values=tuple(headers.values()))
    found = explain(table("{noise: 100}"), request)
    assert isinstance(found, Explanation)
    assert found.asked_twice is False


def test_another_name_begins_anew() -> None:
    """Evidence is for both models by name and address, and for the rule; not for who looks, or how much."""
    shadow = route().shadows[0]
    assert route("{noise: 3, excess: 10, examples: 1}").shadows[0].stretch == shadow.stretch
    assert route("{noise: 20, as: json}").shadows[0].stretch != shadow.stretch
    for old, new in (("two:", "five:"), ("one:", "six:")):
        text = CONFIG.replace(old, new).replace(f"model: {old[:-1]}", f"model: {new[:-1]}")
        shadows = SHADOWS.replace("model: two", f"model: {'five' if new == 'five:' else 'two'}")
        renamed = parse(text.format(shadows=shadows, compare="{noise: 20}"), environ={})
        assert compile_table(renamed, 1).routes[0].shadows[0].stretch != shadow.stretch


@pytest.mark.parametrize(
    ("compare", "shadows", "user", "expected"),
    [
        ("{}", SHADOWS, True, False),
        ("{noise: 100}", SHADOWS, True, True),
        ("{noise: 0.000001}", SHADOWS, True, False),
        ("{noise: 100}", "[{model: two, percent: 0.000001}]", True, False),
        ("{noise: 100}", SHADOWS, False, None),
    ],
)
def test_explain(compare: str, shadows: str, user: bool, expected: bool | None) -> None:
    """What is explained is what happens: only a mirrored request of the champion is asked twice."""
    found = table(compare, shadows)
    unit = next(
        u
        for u in (b"user-%d" % i for i in range(99))
        if found.routes[0].assign(found.routes[0].bucket(u)).role == "champion"
    )
    names, values = ((b"x-user-id",), (unit,)) if user else ((), ())
    told = explain(found, Request(b"/v2/models/wine/infer", names=names, values=values))
    assert isinstance(told, Explanation)
    assert told.asked_twice is expected


def stretches(**changes: Any) -> list[str]:
    return [shadow.stretch for shadow in route(**changes).shadows]


def test_stretches() -> None:
    """Another rule, champion or candidate begins anew; how much is asked and tolerated does not."""
    before = stretches()
    assert len(set(before)) == 2
    assert all(len(each) == 16 for each in before)
    for compare in ("{noise: 30}", "{noise: 20, excess: 5}"):
        assert stretches(compare=compare) == before
    assert not set(stretches(compare="{noise: 20, rtol: 0.1}")) & set(before)
    assert stretches(shadows="[{model: three}, {model: two}]") == before[::-1]
    moved = CONFIG.replace("9003", "9004").format(shadows=SHADOWS, compare="{noise: 20}")
    again = [shadow.stretch for shadow in compile_table(parse(moved, environ={}), 1).routes[0].shadows]
    assert again[0] == before[0]
    assert again[1] != before[1]


def test_every_process_has_the_same_names() -> None:
    """Supervisor and observer, who read settings of different classes, lay the counts out alike."""
    assert table(is_settled=True).observer_layout == table(is_settled=False).observer_layout

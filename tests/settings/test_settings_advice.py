from decimal import Decimal
from typing import Any

import pytest

from proxy.routing.intervals import Claim, reserved_percents
from proxy.settings import parse_with_source, warnings
from proxy.settings.advice import _reserved
from tests.settings.settings_world import MINIMAL, minimal, read

CHAMPION = {"name": "v1", "model": "one", "role": "champion"}


def advice(text: str) -> dict[str, str]:
    """Return path → what was found of every warning."""
    return {p.path: p.found for p in warnings(read(text))}


def routes(*matches: dict[str, Any]) -> str:
    """Return a file with a route for each match, and both models used."""
    shadows = [{"model": "two"}]
    made = [
        {"name": f"r{i}", "match": match, "variants": [CHAMPION], "shadows": shadows}
        for i, match in enumerate(matches)
    ]
    return minimal(routes=made)


def test_nothing_to_say() -> None:
    """A plain file gets no warning."""
    assert advice(MINIMAL) == {}


def test_unused_model() -> None:
    """A model that no route uses, neither as variant nor as shadow, is pointed out."""
    assert advice(minimal()) == {"models.two": "a model that none uses"}
    assert advice(minimal(route={"shadows": [{"model": "two"}]})) == {}


IDLE: dict[str, tuple[dict[str, Any], str]] = {
    "disagreement without copies": ({"log": {"keep": ["errors", "disagreement"]}}, "routes[0].log.keep"),
    "disagreement of what is not compared": (
        {"log": {"keep": ["disagreement"]}, "shadows": [{"model": "two"}], "compare": {"as": "none"}},
        "routes[0].log.keep",
    ),
    "a budget of nothing": ({"log": {"budget": 5}, "shadows": [{"model": "two"}]}, "routes[0].log.budget"),
    "a sample with a budget": ({"log": {"budget": 5, "percent": 1}, "shadows": [{"model": "two"}]}, ""),
    "rules with a budget": ({"log": {"budget": 5, "keep": ["errors"]}, "shadows": [{"model": "two"}]}, ""),
    "disagreement": ({"log": {"keep": ["disagreement"]}, "shadows": [{"model": "two"}]}, ""),
    "labels without copies": ({"compare": {"labels": "1h"}}, "routes[0].compare.labels"),
    "labels": ({"compare": {"labels": "1h"}, "shadows": [{"model": "two"}]}, ""),
    "slices without copies": ({"compare": {"slices": {"a": "header:x"}}}, "routes[0].compare.slices"),
    "slices of what is not compared": (
        {"compare": {"slices": {"a": "header:x"}, "as": "none"}, "shadows": [{"model": "two"}]},
        "routes[0].compare.slices",
    ),
    "a slice of many places": (
        {"compare": {"slices": {"a": "json:/x/*/y"}}, "shadows": [{"model": "two"}]},
        "routes[0].compare.slices.a",
    ),
    "slices": (
        {"compare": {"slices": {"a": "json:/x*/y", "b": "header:*"}}, "shadows": [{"model": "two"}]},
        "",
    ),
    "a tolerance that nobody looks at": (
        {"compare": {"as": "ranking", "rtol": 0.1}, "shadows": [{"model": "two"}]},
        "routes[0].compare.rtol",
    ),
    "places that nobody walks": (
        {"compare": {"as": "classification", "ignore": ["/a"]}, "shadows": [{"model": "two"}]},
        "routes[0].compare.ignore",
    ),
    "tolerances of documents": (
        {"compare": {"as": "text", "ignore": ["/a"], "atol": 0}, "shadows": [{"model": "two"}]},
        "",
    ),
}


@pytest.mark.parametrize("name", IDLE)
def test_what_comes_to_nothing(name: str) -> None:
    """What is said about the payload log, or the comparison, and can never have an effect is pointed out."""
    route, path = IDLE[name]
    assert [found for found in advice(minimal(route=route)) if found.startswith("routes")] == [path] * bool(
        path
    )


def test_one_server_alone() -> None:
    """How several servers are chosen and left out is nothing to say of one; the defaults, and two servers, are fine."""
    shadowed = {"shadows": [{"model": "two"}]}
    several = {"balance": "hash", "outlier": {"consecutive": 2}}
    assert advice(minimal(route=shadowed, model=several)) == {
        "models.one.balance": "balance where there is nothing to choose from",
        "models.one.outlier": "outlier where there is nothing to choose from",
    }
    assert (
        advice(minimal(route=shadowed, model={"balance": "least-loaded", "outlier": {"consecutive": 5}}))
        == {}
    )
    assert advice(minimal(route=shadowed, model={"url": ["http://h", "http://i"], **several})) == {}


@pytest.mark.parametrize(
    ("earlier", "later", "covered"),
    [
        ({"path": "/*"}, {"path": "/a"}, True),
        ({"path": "*"}, {"path": "/a/*"}, True),
        ({"path": "/a/*"}, {"path": "/a"}, True),
        ({"path": "/a/*"}, {"path": "/a/"}, True),
        ({"path": "/a/*"}, {"path": "/a/b/*"}, True),
        ({"path": "/a/*"}, {"path": "/a/*"}, True),
        ({"path": "/a"}, {"path": "/a"}, True),
        ({"path": "/a/*"}, {"path": "/ab"}, False),
        ({"path": "/a/*"}, {"path": "/*"}, False),
        ({"path": "/a"}, {"path": "/a/*"}, False),
        ({"path": "/a"}, {"path": "/a/"}, False),
        ({"path": "/*", "host": "h"}, {"path": "/a", "host": "h"}, True),
        ({"path": "/*"}, {"path": "/a", "host": "h"}, True),
        ({"path": "/*", "host": "h"}, {"path": "/a", "host": "i"}, False),
        ({"path": "/*", "host": "h"}, {"path": "/a"}, False),
        ({"path": "/*", "method": ["GET", "POST"]}, {"path": "/a", "method": "POST"}, True),
        ({"path": "/*", "method": "GET"}, {"path": "/a", "method": ["GET", "POST"]}, False),
        ({"path": "/*", "method": "GET"}, {"path": "/a"}, False),
    ],
)
def test_unreachable_route(earlier: dict[str, Any], later: dict[str, Any], covered: bool) -> None:
    """A route is pointed out exactly when an earlier one takes every request that it would match."""
    expected = (
        {"routes[1].match": "a route that gets nothing: r0, before it, takes all of its requests"}
        if covered
        else {}
    )
    assert expected == advice(routes(earlier, later))


def variants(*others: tuple[str, float, float | None]) -> str:
    """Return a file with a champion and variants of (role, weight, max_weight)."""
    full = [
        {"name": f"c{i}", "model": "two", "role": role, "weight": weight, "max_weight": most}
        for i, (role, weight, most) in enumerate(others)
    ]
    return minimal(route={"variants": [CHAMPION, *full]})


@pytest.mark.parametrize(
    ("others", "outgrown"),
    [
        ([("challenger", 100, None)], []),
        ([("canary", 60, None), ("challenger", 40, None)], []),
        ([("challenger", 50, None), ("challenger", 50, None)], []),
        ([("challenger", 50.000001, None), ("challenger", 1, None)], [1]),
        ([("challenger", 30, None), ("challenger", 20, 80)], [1]),
        ([("challenger", 20, None), ("challenger", 30, 80)], []),
        ([("canary", 40, None), ("canary", 1, None), ("canary", 34, None)], [1, 3]),
        ([("challenger", 1, None), ("challenger", 1, 100)], [1]),
    ],
)
def test_outgrown_range(others: list[tuple[str, float, float | None]], outgrown: list[int]) -> None:
    """A variant is pointed out when its weight is over its reserved range, among the variants of its role."""
    assert [f"routes[0].variants[{i}].weight" for i in outgrown] == list(advice(variants(*others)))


def test_the_sentence_about_ranges() -> None:
    """The warning names the range, and what happens beyond it."""
    (problem,) = warnings(read(variants(("canary", 40, None), ("canary", 1, None), ("canary", 1, None))))
    assert problem.found == "40"
    assert problem.expected.startswith(
        "at most 33.3333, its share among 3 canary variants, or a max_weight of its own"
    )


def test_ranges_are_those_of_the_assignment() -> None:
    """The ranges that are warned about are those that the assignment reserves."""
    settings = read(variants(("challenger", 10, None), ("challenger", 20, 30), ("challenger", 5, None)))
    peers = [v for v in settings.routes[0].variants if v.weight is not None]
    claims = [Claim(i, "top", v.weight or Decimal(0), v.max_weight) for i, v in enumerate(peers)]
    assert list(reserved_percents(claims).values()) == _reserved(peers)


@pytest.mark.parametrize(
    ("text", "path", "found"),
    [
        (minimal(limits={"copy": "64MiB"}), "limits.copy", "64MiB"),
        (minimal(observer={"queue": "1MiB"}), "limits.copy", "1MiB"),
        (minimal(route={"log": {"body": "2MiB"}}), "routes[0].log.body", "2MiB"),
        (
            minimal(route={"shadows": [{"model": "two", "timeout": "61s"}]}),
            "routes[0].shadows[0].timeout",
            "1m1s",
        ),
    ],
)
def test_limits_that_cap_one_another(text: str, path: str, found: str) -> None:
    """A limit that another one makes void is pointed out."""
    assert found == advice(text)[path]


def test_place() -> None:
    """With the source at hand a warning has its line, without it none."""
    settings, source = parse_with_source(minimal().replace('"two"', '\n"two"'), environ={}, source="f.yaml")
    assert [(p.file, p.line) for p in warnings(settings, source)] == [("f.yaml", 2)]
    assert [(p.file, p.line) for p in warnings(settings)] == [("settings", 0)]

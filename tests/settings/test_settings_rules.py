from typing import Any

import pytest

from tests.settings.settings_world import MINIMAL, minimal, problems_of, told

CHAMPION = {"name": "v1", "model": "one", "role": "champion"}


def variants(*others: dict[str, Any], champion: dict[str, Any] | None = None) -> str:
    """Return a file whose route has a champion and ``others``, by default challengers of model two."""
    full = [
        {"name": f"c{i}", "model": "two", "role": "challenger", **other} for i, other in enumerate(others)
    ]
    return minimal(route={"variants": [champion or CHAMPION, *full]})


def routes(*changes: dict[str, Any]) -> str:
    """Return a file with a route for each change."""
    base = {"match": {"path": "/*"}, "variants": [CHAMPION]}
    return minimal(routes=[{"name": f"r{i}", **base, **change} for i, change in enumerate(changes)])


BROKEN: dict[str, tuple[str, str, str]] = {
    "duplicate route": (routes({"name": "a"}, {}, {"name": "a"}), "routes[2].name", "(routes[0] has it)"),
    "duplicate variant": (
        variants({"weight": 1}, {"weight": 1, "name": "v1"}),
        "routes[0].variants[2].name",
        "(variants[0] has it)",
    ),
    "duplicate shadow": (
        minimal(route={"shadows": [{"model": "two"}, {"model": "one"}, {"model": "two"}]}),
        "routes[0].shadows[2].model",
        "(shadows[0] has it)",
    ),
    "unknown model": (
        variants({"weight": 1, "model": "tow"}),
        "routes[0].variants[1].model",
        "(did you mean two?): one, two",
    ),
    "unknown shadow": (
        minimal(route={"shadows": [{"model": "x"}]}),
        "routes[0].shadows[0].model",
        "'x', expected a key of models: one, two",
    ),
    "no champion": (
        minimal(route={"variants": [{"name": "a", "model": "one", "role": "canary", "weight": 1}]}),
        "routes[0].variants",
        "no champion, expected exactly one variant with role: champion",
    ),
    "two champions": (
        minimal(route={"variants": [CHAMPION, {**CHAMPION, "name": "v2"}]}),
        "routes[0].variants[1].role",
        "a route has one champion (variants[0])",
    ),
    "champion with a weight": (
        variants(champion={**CHAMPION, "weight": 0}),
        "routes[0].variants[0].weight",
        "no weight",
    ),
    "champion with a range": (
        variants(champion={**CHAMPION, "max_weight": 5}),
        "routes[0].variants[0].max_weight",
        "no max_weight",
    ),
    "no weight": (variants({}), "routes[0].variants[1].weight", "a challenger needs a weight (0 is allowed)"),
    "null weight": (
        variants({"weight": None}),
        "routes[0].variants[1].weight",
        "nothing, expected a percent",
    ),
    "sum of weights": (
        variants({"weight": 60}, {"weight": 40.000001, "role": "canary"}),
        "routes[0].variants",
        "weights that add up to 100.000001, expected a sum of weights of at most 100",
    ),
    "range below weight": (
        variants({"weight": 5, "max_weight": 4.9}),
        "routes[0].variants[1].max_weight",
        "at least the weight",
    ),
    "sum of ranges": (
        variants({"weight": 1, "max_weight": 60}, {"weight": 1, "max_weight": 50}),
        "routes[0].variants",
        "max_weights of the challenger variants that add up to 110",
    ),
    "same address": (minimal(listen="127.0.0.1:1", admin="127.0.0.1:1"), "admin", "another port"),
    "same as default": (minimal(listen="127.0.0.1:9090"), "listen", "another port"),
    "wildcard address": (minimal(listen="0.0.0.0:9090"), "listen", "another port"),
    "open admin": (minimal(admin="0.0.0.0:9090"), "admin", "or an admin_token beside it"),
    "admin by name": (minimal(admin="pod.example:9090"), "admin", "a loopback address such as"),
    "unit twice": (
        minimal(route={"unit": ["header:A", "client_ip", "header:a"]}),
        "routes[0].unit[2]",
        "(unit[0] is the same)",
    ),
    "redact nothing": (
        minimal(route={"log": {"redact": [{"action": "drop"}]}}),
        "routes[0].log.redact[0]",
        "none of them, expected one of",
    ),
    "redact both": (
        minimal(route={"log": {"redact": [{"json": "/a", "header": "a"}]}}),
        "routes[0].log.redact[0]",
        "json and header, expected one of",
    ),
    "redact by name and by form": (
        minimal(route={"log": {"redact": [{"tensor": "a", "detect": "email"}]}}),
        "routes[0].log.redact[0]",
        "tensor and detect, expected one of",
    ),
    "keep of what is dropped": (
        minimal(route={"log": {"redact": [{"json": "/a", "keep": 3}]}}),
        "routes[0].log.redact[0].keep",
        "action: keep_last beside it",
    ),
    "keep less than a file": (
        minimal(payload_log={"keep_size": "1MiB"}),
        "payload_log.keep_size",
        "at least roll_size",
    ),
    "files larger than kept": (
        minimal(payload_log={"roll_size": "2GiB"}),
        "payload_log.keep_size",
        "at least roll_size",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken(name: str) -> None:
    """Each broken rule is one problem at the place that breaks it."""
    text, path, sentence = BROKEN[name]
    found = told(text)
    assert [path] == list(found)
    assert sentence in found[path]


HOLDS = {
    "the small file": MINIMAL,
    "weights of exactly 100": variants({"weight": 33.3}, {"weight": 66.7, "role": "canary"}),
    "ranges of 100 on each side": variants(
        {"weight": 1, "max_weight": 100}, {"weight": 1, "max_weight": 100, "role": "canary"}
    ),
    "a weight of 0": variants({"weight": 0}),
    "range equal to weight": variants({"weight": 5, "max_weight": 5}),
    "null on the champion": variants(champion={**CHAMPION, "weight": None, "max_weight": None}),
    "one variant name in two routes": routes({}, {}),
    "shadow of the champion's model": minimal(route={"shadows": [{"model": "one"}]}),
    "both ports chosen by the system": minimal(listen="127.0.0.1:0", admin="127.0.0.1:0"),
    "one port on two addresses": minimal(listen="127.0.0.1:1", admin="127.0.0.2:1"),
    "open admin with a token": minimal(admin="0.0.0.0:9090", admin_token="12345678"),
    "IPv6 loopback": minimal(admin="[::1]:9090"),
    "one file kept": minimal(payload_log={"roll_size": "1MiB", "keep_size": "1MiB"}),
}


@pytest.mark.parametrize("name", HOLDS)
def test_holds(name: str) -> None:
    """What is at the edge of a rule is allowed."""
    assert problems_of(HOLDS[name]) == ()


BLUNT: dict[str, tuple[str, set[str]]] = {
    "broken weight": (variants({"weight": "ten"}), {"routes[0].variants[1].weight"}),
    "broken role": (
        minimal(route={"variants": [{**CHAMPION, "role": "boss"}]}),
        {"routes[0].variants[0].role"},
    ),
    "role of another type": (
        minimal(route={"variants": [{**CHAMPION, "role": ["a"]}]}),
        {"routes[0].variants[0].role"},
    ),
    "model of another type": (minimal(route={"shadows": [{"model": {}}]}), {"routes[0].shadows[0].model"}),
    "routes as a mapping": (minimal(routes={"a": 1}), {"routes"}),
    "routes of text": (minimal(routes=["a", 1]), {"routes[0]", "routes[1]"}),
    "variants as text": (minimal(route={"variants": "v1"}), {"routes[0].variants"}),
    "units of another type": (minimal(route={"unit": [1, {}]}), {"routes[0].unit[0]", "routes[0].unit[1]"}),
    "broken address": (minimal(listen="x", admin=1), {"listen", "admin"}),
    "broken size": (minimal(payload_log={"keep_size": "x"}), {"payload_log.keep_size"}),
    "log as a list": (minimal(route={"log": []}), {"routes[0].log"}),
    "models as text": (
        minimal(models="m"),
        {"models", "routes[0].variants[0].model"},
    ),
}


@pytest.mark.parametrize("name", BLUNT)
def test_broken_in_itself(name: str) -> None:
    """A rule says nothing about a value that is broken in itself."""
    text, paths = BLUNT[name]
    assert paths == set(told(text))


def test_two_rules_at_one_place() -> None:
    """Two broken rules of one list are two problems, though they stand at one place."""
    text = minimal(
        route={
            "variants": [
                {"name": "a", "model": "one", "role": "canary", "weight": 60},
                {"name": "b", "model": "one", "role": "challenger", "weight": 60},
            ]
        }
    )
    assert [p.found for p in problems_of(text)] == ["no champion", "weights that add up to 120"]


def test_long_lists_of_models_are_cut() -> None:
    """A file with many models names the first eight."""
    models = {f"m{i}": {"url": "http://h"} for i in range(20)}
    models["one"] = {"url": "http://h"}
    sentence = told(minimal(models=models, route={"shadows": [{"model": "zz"}]}))[
        "routes[0].shadows[0].model"
    ]
    assert sentence.endswith("m0, m1, m2, m3, m4, m5, m6, m7, …")

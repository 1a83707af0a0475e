"""What status and metrics say of the champion's own noise."""

from io import StringIO
from math import log
from pathlib import Path
from typing import Any, cast

import jsonschema
import orjson
import pytest
from prometheus_client.parser import text_string_to_metric_families
from rich.console import Console

from proxy.commands.status import render_status
from proxy.control.openapi import build_openapi
from proxy.noise import Triples, judge
from proxy.observer.metrics import encode_metrics
from proxy.observer.source import CountReader, Reading
from proxy.observer.status import build_status
from tests.observer.world import CONFIG, World

NOISY = CONFIG.replace("    log: {percent: 5}", "    compare: {noise: 20, excess: 10}\n    log: {percent: 5}")
COUNTS = {
    "same": 900,
    "candidate": 60,
    "champion": 20,
    "both": 20,
    "candidate_farther": 61,
    "champion_farther": 30,
}


def read(world: World) -> Reading:
    assert world.current is not None
    counts = CountReader(world.run_dir).read(world.tables)
    return Reading(world.current, counts, world.fleet, world.gauges(), {}, world.fields)


def counted(world: World, **counts: int) -> str:
    """Count triples of the table in force; return what they are evidence for."""
    assert world.current is not None
    (shadow,) = world.current.routes[0].shadows
    world.add(("triple", "wine", "wine-v4", shadow.stretch), counts, writer="o0")
    return shadow.stretch


def of_route(world: World) -> dict[str, Any]:
    document = build_status(read(world))
    api = build_openapi()
    schema = {**api["components"]["schemas"]["Status"], "components": api["components"]}
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(orjson.dumps(document)))
    found: dict[str, Any] = document["routes"][0]
    return found


def test_nothing_where_it_is_not_asked(tmp_path: Path) -> None:
    """Without ``compare.noise`` there is nothing to say, and no series."""
    world = World(tmp_path)
    route = of_route(world)
    assert route["noise"] is None
    assert route["shadows"][0]["noise"] is None
    assert b"modelproxy_noise_requests_total{" not in encode_metrics(read(world), "")[0]


def test_status(tmp_path: Path) -> None:
    """The document holds counts, rates, the verdict and the fields, as the API description says."""
    world = World(tmp_path, NOISY)
    assert of_route(world)["shadows"][0]["noise"]["sentence"] == (
        "no answer could be set beside a second one of the champion yet"
    )
    stretch = counted(world, **COUNTS)
    world.fields = {stretch: {"/ts": [500, 490, 10], "/score": [60, 1, 0]}}
    fields = {"eligible": 9, "sent": 8, "dropped_overload": 1, "answered": 7, "failed": 1, "shipped": 7}
    world.add(("noise", "wine", "wine-v1"), fields)
    world.add(
        ("noise_comparison", "wine", "v1", "wine-v1"), {"agree": 5, "disagree": 1, "dropped": 1}, writer="o0"
    )
    route = of_route(world)
    assert route["noise"] == {
        "percent": 20,
        "eligible": 9,
        "sent": 8,
        "dropped": 1,
        "answered": 7,
        "failed": 1,
        "compared": 6,
        "uncomparable": 0,
        "comparison_dropped": 1,
    }
    assert route["shadows"][0]["sent"] == route["shadows"][0]["agree"] == 0
    noise, judged = route["shadows"][0]["noise"], judge(Triples(**COUNTS), 0.1)
    assert {name: noise[name] for name in COUNTS} == COUNTS
    assert (noise["triples"], noise["candidate_rate"], noise["noise_rate"]) == (1000, 0.08, 0.04)
    assert (noise["excess"], noise["low"], noise["high"]) == (judged.excess, judged.low, judged.high)
    assert noise["evidence_log10"] == pytest.approx(judged.log_e / log(10))
    assert noise["is_more"]
    assert [(each["path"], each["is_above_noise"]) for each in noise["fields"]] == [
        ("/score", True),
        ("/ts", False),
    ]


def test_words(tmp_path: Path) -> None:
    """``modelproxy status`` says the verdict and names the fields above noise; where answers differ and no noise is
    measured it says so."""
    world = World(tmp_path, NOISY)
    world.fields = {counted(world, **COUNTS): {"/ts": [500, 490, 10], "/score": [60, 1, 0], "": [60, 1, 0]}}
    words = rendered(build_status(read(world)))
    said = "8 % of answers differ, and the champion differs from itself in 4 %: it differs more"
    assert f"wine-v4, 1,000 requests asked twice: {said}" in words
    assert "above noise: the answer, /score" in words
    other = tmp_path / "other"
    other.mkdir()
    plain = World(other)
    assert "not measured" not in rendered(build_status(read(plain)))
    plain.add(("comparison", "wine", "v1", "wine-v4"), {"disagree": 1}, writer="o0")
    assert "how much of this is the champion's own is not measured" in rendered(build_status(read(plain)))


def rendered(document: dict[str, Any]) -> str:
    console = Console(width=200, file=StringIO(), color_system=None)
    console.print(render_status(document))
    return cast("StringIO", console.file).getvalue()


def test_another_rule_begins_anew(tmp_path: Path) -> None:
    """Evidence of another rule is not shown; the counter of all that was counted goes on; a return goes on as well."""
    world = World(tmp_path, NOISY)
    first = counted(world, same=5, champion=2)
    world.publish(NOISY.replace("noise: 20", "noise: 20, as: json"))
    assert counted(world, same=1) != first
    assert of_route(world)["shadows"][0]["noise"]["triples"] == 1
    world.publish(NOISY.replace("noise: 20", "noise: 30"))
    assert counted(world, same=1) == first
    assert of_route(world)["shadows"][0]["noise"]["triples"] == 8
    (sample,) = (
        sample
        for family in text_string_to_metric_families(encode_metrics(read(world), "")[0].decode())
        for sample in family.samples
        if sample.name == "modelproxy_noise_triples_total" and sample.labels["result"] == "same"
    )
    assert sample.value == 7


def test_metrics(tmp_path: Path) -> None:
    """The gauges are what the counts of the rule in force say; labels are those of the configuration."""
    world = World(tmp_path, NOISY)
    counted(world, **COUNTS)
    world.add(("noise", "wine", "wine-v1"), {"eligible": 9, "sent": 8})
    seen: dict[tuple[str, ...], float] = {}
    for family in text_string_to_metric_families(encode_metrics(read(world), "")[0].decode()):
        for sample in family.samples:
            if "noise" in sample.name or sample.name.startswith("modelproxy_disagreement_e"):
                labels = [
                    sample.labels[each]
                    for each in ("route", "model", "outcome", "result")
                    if each in sample.labels
                ]
                seen[sample.name.removeprefix("modelproxy_"), *labels] = sample.value
    of = "wine", "wine-v4"
    judged = judge(Triples(**COUNTS), 0.1)
    assert seen["disagreement_excess", *of] == pytest.approx(0.04)
    assert seen["disagreement_evidence", *of] == pytest.approx(judged.log_e / log(10))
    assert seen["noise_triples_total", *of, "candidate"] == 60
    assert seen["noise_requests_total", "wine", "sent"] == 8
    assert seen["noise_requests_total", "wine", "failed"] == 0

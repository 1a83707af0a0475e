"""The status document: what it promises in the API description, with the numbers of the right versions."""

from pathlib import Path
from typing import Any

import jsonschema
import orjson

from proxy import __version__
from proxy.control.openapi import build_openapi
from proxy.observer.source import CountReader, Reading
from proxy.observer.status import build_status, build_table_document
from tests.observer.world import CONFIG, World, delivered

SECRETIVE = """
listen: 127.0.0.1:8080
admin: 127.0.0.1:9090
admin_token: admin-token-never-shown
payload_log: {unit_key: unit-key-that-is-never-shown-to-anyone}
models:
  m: {url: "http://127.0.0.1:9001"}
routes:
  - name: r
    match: {path: "/*"}
    force_secret: force-secret-never-shown
    variants:
      - {name: v, model: m, role: champion}
"""


def read(world: World) -> Reading:
    assert world.current is not None
    return Reading(
        world.current,
        CountReader(world.run_dir).read(world.tables),
        world.fleet,
        world.gauges(),
        sinks=world.delivered,
    )


def check(name: str, document: Any) -> None:
    api = build_openapi()
    schema = {**api["components"]["schemas"][name], "components": api["components"]}
    jsonschema.Draft202012Validator(schema).validate(orjson.loads(orjson.dumps(document)))


def test_matches_its_description(tmp_path: Path) -> None:
    """The documents are what the API description says, idle and busy, before and after the first fleet message."""
    world = World(tmp_path)
    check("Status", build_status(read(world)))
    world.delivered = [delivered("all", written=3, dropped=4, failed=5)]
    world.serve("v1", 3)
    world.count("shadow", "wine", "wine-v4", eligible=1, sent=1, answered=1)
    world.count("comparison", "wine", "v1", "wine-v4", writer="o0", disagree=1, distance_9=1)
    check("Status", build_status(read(world)))
    assert world.current is not None
    check("Table", build_table_document(world.current))
    world.fleet = {}
    check("Status", build_status(read(world)))


def test_totals_and_this_version(tmp_path: Path) -> None:
    """Totals cover every version; since_version covers the table in force alone."""
    world = World(tmp_path)
    world.serve("v1", 5)
    world.publish(CONFIG.replace("weight: 10", "weight: 20.5"))
    world.serve("v1", 2)
    world.count("variant", "wine", "v1", "wine-v1", started=3, code_503=1, lost=1)
    status = build_status(read(world))
    v1, v2, _ = status["routes"][0]["variants"]
    assert tuple(v1[name] for name in ("requests", "errors", "lost", "in_flight")) == (8, 2, 1, 1)
    assert v1["codes"] == {"200": 7, "503": 1}
    assert (v1["since_version"]["requests"], v1["since_version"]["errors"]) == (3, 2)
    assert (v1["weight"], v2["weight"]) == (74.5, 20.5)
    assert status["version"] == __version__
    assert status["config"]["version"] == status["routes"][0]["table_version"] == 2


def test_percentiles(tmp_path: Path) -> None:
    """Percentiles are in milliseconds from the fine histogram, and null without requests."""
    world = World(tmp_path)
    world.serve("v1", 100)
    v1, v2, _ = build_status(read(world))["routes"][0]["variants"]
    assert v1["latency_ms"] == {"p50": 2.825, "p95": 3.1175, "p99": 3.1435}
    assert v2["latency_ms"] == {"p50": None, "p95": None, "p99": None}


def test_shadow(tmp_path: Path) -> None:
    """A shadow's line holds its outcomes, its disagreement and the split by the variant that answered."""
    world = World(tmp_path)
    world.count("shadow", "wine", "wine-v4", eligible=9, sent=7, dropped_in_flight=2, answered=6, failed=1)
    world.count("comparison", "wine", "v1", "wine-v4", writer="o0", agree=3, distance_0=3)
    world.count("comparison", "wine", "v3", "wine-v4", writer="o0", disagree=1, uncomparable=1, dropped=1)
    world.count("comparison", "wine", "v3", "wine-v4", writer="o0", reason_label=1)
    world.count(
        "comparison", "wine", "v3", "wine-v4", writer="o0", distance_11=1, distance_sum_millionths=800_000
    )
    (shadow,) = build_status(read(world))["routes"][0]["shadows"]
    assert shadow == {
        "model": "wine-v4",
        "percent": 50,
        "eligible": 9,
        "sent": 7,
        "dropped": 2,
        "drop_reasons": {
            "in_flight": 2,
            "bytes": 0,
            "too_large": 0,
            "draining": 0,
            "overload": 0,
            "unreachable": 0,
        },
        "answered": 6,
        "failed": 1,
        "agree": 3,
        "disagree": 1,
        "uncomparable": 1,
        "comparison_dropped": 1,
        "disagreement_rate": 0.25,
        "disagreement_reasons": {"label": 1},
        "mean_distance": 0.2,
        "by_variant": {
            "v1": {"agree": 3, "disagree": 0, "uncomparable": 0},
            "v2": {"agree": 0, "disagree": 0, "uncomparable": 0},
            "v3": {"agree": 0, "disagree": 1, "uncomparable": 1},
        },
        "noise": None,
    }


def test_other_parts(tmp_path: Path) -> None:
    """Unit sources, log, models, workers and connections are shown with their counts."""
    world = World(tmp_path)
    world.count("unit", "wine", missing=4)
    world.count("payload", "wine", sampled=2, dropped=2)
    world.delivered = [delivered("all", written=3, dropped=4, failed=5)]
    world.count("model", "wine-v3", fault_timeout=2)
    world.count("worker", connections_opened=5, connections_carried=3, connections_closed=5)
    world.count("unrouted", code_404=1)
    server = ("endpoint", "wine-v2", "http://127.0.0.1:9012")
    world.add(server, {"unhealthy": 1, "ejected": 3, "readmitted": 2, "check_passed": 4, "check_failed": 5})
    world.add(server, {"unhealthy_carried": 1, "asked_unhealthy": 6}, writer="w1")
    status = build_status(read(world))
    route = status["routes"][0]
    assert route["unit_sources"] == {"header:x-user-id": 0, "cookie:uid": 0, "missing": 4}
    assert {name: route["log"][name] for name in ("sampled", "written", "dropped", "failed")} == {
        "sampled": 2,
        "written": 0,
        "dropped": 2,
        "failed": 0,
    }
    assert route["log"]["dir"].endswith("payloads")
    assert status["sinks"] == [
        {
            "name": "all",
            "kind": "jsonl",
            "written": 3,
            "dropped": 4,
            "failed": 5,
            "queue_bytes": 512,
            "failing": True,
            "problem": "No space left",
        }
    ]
    assert status["models"][2]["faults"]["timeout"] == 2
    assert status["models"][2]["servers"] == [{"url": "http://127.0.0.1:9003/v2/models/wine-v3"}]
    assert status["models"][1]["url"] == "http://127.0.0.1:9002"
    assert status["models"][1]["servers"] == [
        {
            "url": "http://127.0.0.1:9002",
            "up": True,
            "unhealthy_workers": 0,
            "ejected": 0,
            "ejections": 0,
            "checks": {"passed": 0, "failed": 0},
            "asked_unhealthy": 0,
        },
        {
            "url": "http://127.0.0.1:9012",
            "up": False,
            "unhealthy_workers": 2,
            "ejected": 1,
            "ejections": 3,
            "checks": {"passed": 4, "failed": 5},
            "asked_unhealthy": 6,
        },
    ]
    assert status["connections"] == {"opened": 5, "open": 3}
    assert status["unrouted"] == {"404": 1}
    assert [worker["index"] for worker in status["workers"]] == [0, 1]
    assert status["observer"]["restarts"] == 3
    assert status["observer"]["queue_bytes"] == 512


def test_intervals_cover_everybody(tmp_path: Path) -> None:
    """The table's intervals run from 0 to 100 percent without a gap, each variant with its weight."""
    table = World(tmp_path).current
    assert table is not None
    pieces = build_table_document(table)["intervals"]["wine"]
    assert [piece["variant"] for piece in pieces] == ["v3", "v1", "v2"]
    assert [(round(piece["from_percent"], 9), round(piece["to_percent"], 9)) for piece in pieces] == [
        (0, 5),
        (5, 90),
        (90, 100),
    ]


def test_no_secret_is_shown(tmp_path: Path) -> None:
    """Neither document holds a token, a key or a secret."""
    world = World(tmp_path, SECRETIVE)
    assert world.current is not None
    shown = orjson.dumps([build_status(read(world)), build_table_document(world.current)])
    assert b"never-shown" not in shown
    assert b"never" not in shown

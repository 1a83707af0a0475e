"""The exposition: exactly the promised names and labels, monotone, and clean by Prometheus's own check."""

import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from math import log
from pathlib import Path

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from proxy import __version__
from proxy.model import DURATION_BOUNDS_NS, HandshakeFailure
from proxy.observer.metrics import DURATION_BOUNDS_SHOWN_S, FAMILIES, encode_metrics
from proxy.observer.source import CountReader, Reading
from proxy.rollout.plan import plan_of
from proxy.rollout.transitions import begin
from tests.observer.world import CONFIG, World, delivered

OPENMETRICS = "application/openmetrics-text; version=1.0.0"

PROMISED = {
    "modelproxy_requests_total": {"route", "variant", "model", "code"},
    "modelproxy_request_duration_seconds": {"route", "variant", "model"},
    "modelproxy_time_to_first_byte_seconds": {"route", "variant", "model"},
    "modelproxy_in_flight_requests": {"route", "variant"},
    "modelproxy_upstream_faults_total": {"model", "kind"},
    "modelproxy_shadow_requests_total": {"route", "model", "outcome"},
    "modelproxy_comparisons_total": {"route", "model", "result"},
    "modelproxy_disagreement_distance": {"route", "model"},
    "modelproxy_payload_records_total": {"route", "outcome"},
    "modelproxy_config_version": set(),
    "modelproxy_config_last_reload_successful": set(),
    "modelproxy_variant_weight": {"route", "variant"},
    "modelproxy_unit_source_total": {"route", "source"},
    "modelproxy_worker_up": {"worker"},
    "modelproxy_observer_up": set(),
    "modelproxy_build_info": {"version"},
}
"""The outward contract: names that dashboards and alerts of others rely on."""

OF_ROLLOUTS = {
    "modelproxy_rollout_phase",
    "modelproxy_rollout_weight",
    "modelproxy_rollout_evidence",
    "modelproxy_srm_evidence",
    "modelproxy_decisions_total",
}
"""Metrics that there are where there is a rollout."""

OF_LABELS = {"modelproxy_labelled_rows_total", "modelproxy_label_evidence"}
"""Metrics that there are where true answers are waited for."""

OF_NOISE = {
    "modelproxy_noise_requests_total",
    "modelproxy_noise_triples_total",
    "modelproxy_disagreement_excess",
    "modelproxy_disagreement_evidence",
}
"""Metrics that there are where the champion is asked twice."""

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


def read(world: World, reader: CountReader | None = None) -> Reading:
    assert world.current is not None
    counts = (reader or CountReader(world.run_dir)).read(world.tables)
    return Reading(
        world.current,
        counts,
        world.fleet,
        world.gauges(),
        world.judgements,
        sinks=world.delivered,
        labels=world.labelled,
    )


def scrape(world: World, reader: CountReader | None = None) -> Series:
    body, _ = encode_metrics(read(world, reader), "")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in parse_text(body.decode())
        for sample in family.samples
    }


def value(series: Series, name: str, **labels: str) -> float:
    return series[f"modelproxy_{name}", frozenset(labels.items())]


def fill(world: World) -> None:
    """Count something of everything."""
    world.serve("v1", 5)
    world.serve("v2", 2, writer="w1")
    world.count("variant", "wine", "v1", "wine-v1", started=2, lost=1, retries=1)
    world.count("model", "wine-v1", fault_connect=1, limit_raised=8, limit_lowered=3)
    world.count("unrouted", code_404=3, code_400=1)
    world.add(("unit", "wine"), {"header:x-user-id": 6, "missing": 1})
    world.count(
        "worker", connections_opened=4, connections_carried=2, connections_closed=3, exchanges_dropped=2
    )
    world.count("shadow", "wine", "wine-v4", eligible=5, sent=4, dropped_in_flight=1, answered=3, failed=1)
    world.count("comparison", "wine", "v1", "wine-v4", writer="o0", agree=2, disagree=1, distance_0=2)
    world.count(
        "comparison", "wine", "v1", "wine-v4", writer="o0", distance_9=1, distance_sum_millionths=400_000
    )
    for arm in (("wine", "v1", "wine-v1"), ("wine", "", "wine-v4")):
        world.count("pace", *arm, writer="o0", first_token_20=2, first_token_sum_ns=9_000_000_000)
        world.count("pace", *arm, writer="o0", per_token_10=1, per_token_sum_ns=1_000_000)
    world.count("payload", "wine", sampled=3, shipped=2, dropped=1)
    world.count("sink", "wine", writer="o0", written=1, failed=1)
    world.delivered = [delivered("kafka.eu", written=7, dropped=2, failed=1)]
    world.count("label", "wine", writer="o0", accepted=5)
    world.count("feedback", "wine", writer="o0", accepted=5, duplicate=1, unknown=2, refused=3)


def test_promised_names_and_labels(tmp_path: Path) -> None:
    """Every promised metric is exposed with exactly the promised labels."""
    world = World(tmp_path)
    fill(world)
    body, _ = encode_metrics(read(world), "")
    seen: dict[str, set[str]] = {}
    for family in parse_text(body.decode()):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        for sample in family.samples:
            seen.setdefault(name, set()).update(sample.labels.keys() - {"le"})
    assert {name: seen.get(name) for name in PROMISED} == PROMISED
    observer = {"modelproxy_observer_queue_bytes", "modelproxy_observer_pending_pairs"}
    assert seen.keys() | OF_ROLLOUTS | OF_NOISE | OF_LABELS == FAMILIES.keys() | observer | {
        "modelproxy_observer_broken_streams_total"
    }
    assert {
        name: seen[name]
        for name in FAMILIES.keys() - OF_ROLLOUTS - OF_NOISE - OF_LABELS - {"modelproxy_build_info"}
    } == {
        name: set(FAMILIES[name].labels)
        for name in FAMILIES.keys() - OF_ROLLOUTS - OF_NOISE - OF_LABELS - {"modelproxy_build_info"}
    }


def test_values(tmp_path: Path) -> None:
    """What the writers counted comes out under its name, all writers added up."""
    world = World(tmp_path)
    fill(world)
    world.serve("v1", 4, writer="w1")
    series = scrape(world)
    v1 = {"route": "wine", "variant": "v1", "model": "wine-v1"}
    shadow = {"route": "wine", "model": "wine-v4"}
    assert value(series, "requests_total", **v1, code="200") == 9
    assert value(series, "requests_total", route="", variant="", model="", code="404") == 3
    assert value(series, "in_flight_requests", route="wine", variant="v1") == 1
    assert value(series, "upstream_retries_total", **v1) == 1
    assert value(series, "upstream_faults_total", model="wine-v1", kind="lost") == 1
    assert value(series, "upstream_faults_total", model="wine-v1", kind="connect") == 1
    assert value(series, "request_duration_seconds_count", **v1) == 9
    assert value(series, "request_duration_seconds_sum", **v1) == pytest.approx(0.027)
    assert value(series, "request_duration_seconds_bucket", **v1, le="0.0025") == 0
    assert value(series, "request_duration_seconds_bucket", **v1, le="0.005") == 9
    assert value(series, "time_to_first_token_seconds_count", **v1) == 2
    assert value(series, "time_to_first_token_seconds_sum", variant="", **shadow) == 9
    assert value(series, "time_per_output_token_seconds_sum", **v1) == 0.001
    assert value(series, "shadow_requests_total", **shadow, outcome="compared") == 3
    assert value(series, "shadow_dropped_total", **shadow, reason="in_flight") == 1
    assert value(series, "comparisons_total", **shadow, result="disagree") == 1
    assert value(series, "variant_comparisons_total", **shadow, variant="v1", result="agree") == 2
    assert value(series, "disagreement_distance_bucket", **shadow, le="0.2") == 2
    assert value(series, "disagreement_distance_bucket", **shadow, le="0.5") == 3
    assert value(series, "disagreement_distance_sum", **shadow) == pytest.approx(0.4)
    assert value(series, "payload_records_total", route="wine", outcome="dropped") == 1
    for outcome, count in (("written", 7), ("dropped", 2), ("failed", 1)):
        assert value(series, "sink_records_total", sink="kafka.eu", outcome=outcome) == count
    assert value(series, "sink_queue_bytes", sink="kafka.eu") == 512
    assert value(series, "sink_failing", sink="kafka.eu") == 1
    assert value(series, "unit_source_total", route="wine", source="missing") == 1
    assert value(series, "variant_weight", route="wine", variant="v1") == 85
    assert value(series, "connections") == 3
    assert value(series, "config_version") == 1
    assert value(series, "config_loaded_timestamp_seconds") == 1_700_000_000.5
    assert value(series, "worker_restarts_total", worker="1") == 1
    assert value(series, "worker_hangs_total", worker="1") == 2
    assert value(series, "observer_restarts_total") == 3
    assert value(series, "observer_hangs_total") == 1
    assert value(series, "upgrades_total") == 4
    assert value(series, "upgrades_refused_total") == 5
    assert (value(series, "remnants"), value(series, "remnants_dropped_total")) == (2, 6)
    assert value(series, "earlier_processes") == 2
    assert value(series, "observer_queue_bytes") == 512
    assert value(series, "build_info", version=__version__) == 1


def test_everything_of_the_table_starts_at_zero(tmp_path: Path) -> None:
    """Before any traffic the outcomes of the table in force are there as zeros; codes appear when seen."""
    series = scrape(World(tmp_path))
    zero = {key: number for key, number in series.items() if key[0].startswith("modelproxy_") and not number}
    assert not any(name == "modelproxy_requests_total" for name, _ in series)
    for name in (
        "shadow_requests_total",
        "comparisons_total",
        "payload_records_total",
        "upstream_faults_total",
    ):
        assert any(key[0] == f"modelproxy_{name}" for key in zero)
    assert value(series, "in_flight_requests", route="wine", variant="v3") == 0
    assert value(series, "request_duration_seconds_count", route="wine", variant="v3", model="wine-v3") == 0
    server = {"model": "wine-v2", "url": "http://127.0.0.1:9012"}
    assert value(series, "endpoint_up", **server) == 1
    assert value(series, "endpoint_ejections_total", **server) == 0
    assert value(series, "health_checks_total", **server, result="failed") == 0


def rollout_world(run_dir: Path, **changes: object) -> World:
    """A route whose canary is on 25 %, judged once."""
    text = CONFIG.replace("role: canary, weight: 5", "role: canary, rollout: {}")
    world = World(run_dir, text)
    assert world.current is not None
    plan = plan_of(world.current.settings, world.current.settings.routes[0])
    assert plan is not None
    state = replace(begin(plan, "ab" * 8, 1), step=2)
    world.fleet["rollouts"] = {
        "states": [state.document()],
        "clock_offset_ns": 0,
        "decisions": {"wine": {"ramp": 2}, "gone": {"ramp": 9}},
    }
    log_e = {"errors.harm": log(100), "latency.harm": -log(10), "junk.harm": 1.0, "allocation": log(1000)}
    world.judgements["wine"] = {"log_e": log_e, **changes}
    return world


def test_rollouts(tmp_path: Path) -> None:
    """A rollout shows its phase, its weight and its evidence as powers of ten, by the labels of the file alone."""
    series = scrape(rollout_world(tmp_path))
    of_rollouts = {
        (name.removeprefix("modelproxy_"), *sorted(labels)): number
        for (name, labels), number in series.items()
        if name in OF_ROLLOUTS
    }
    canary = (("route", "wine"), ("variant", "v3"))
    route = ("route", "wine")
    phases = {"baking": 0, "ramping": 1, "promoted": 0, "rolled_back": 0, "inconclusive": 0}
    expected: dict[tuple[object, ...], float] = {
        ("rollout_phase", ("phase", phase), *canary): number for phase, number in phases.items()
    }
    expected |= {
        ("rollout_weight", *canary): 25,
        ("rollout_evidence", ("metric", "errors"), *canary): 2,
        ("rollout_evidence", ("metric", "latency"), *canary): -1,
        ("srm_evidence", route): 3,
        ("decisions_total", ("decision", "ramp"), route): 2,
    }
    assert {key: round(number, 9) for key, number in of_rollouts.items()} == expected
    for name in OF_ROLLOUTS:
        labels = {key for found, each in series for key, _ in each if found == name}
        assert labels == set(FAMILIES[name].labels)


def test_a_rollout_that_cannot_be_judged(tmp_path: Path) -> None:
    """Without a judgement there is no evidence to show, and evidence without end is left out."""
    world = rollout_world(tmp_path, log_e={"errors.harm": None, "allocation": None})
    for judgement in (world.judgements["wine"], {"verdict": "hold"}):
        world.judgements["wine"] = judgement
        names = {name for name, _ in scrape(world)}
        assert names & OF_ROLLOUTS == OF_ROLLOUTS - {"modelproxy_rollout_evidence", "modelproxy_srm_evidence"}
    del world.judgements["wine"]
    world.fleet["rollouts"] = {}
    assert not {name for name, _ in scrape(world)} & OF_ROLLOUTS


def test_certificates(tmp_path: Path) -> None:
    """Failed handshakes are told by reason; the state of the files as the supervisor told it, or not at all."""
    world = World(tmp_path)
    world.count("worker", handshake_certificate=3, handshake_timeout=1)
    series = scrape(world)
    failures = {
        f.label: value(series, "tls_handshake_failures_total", reason=f.label) for f in HandshakeFailure
    }
    assert {label for label, number in failures.items() if number} == {"certificate", "timeout"}
    assert failures["certificate"] == 3
    assert value(series, "tls_certificate_expiry_timestamp_seconds", model="") == 1_800_000_000
    assert value(series, "tls_certificate_expiry_timestamp_seconds", model="wine-v1") == 1_900_000_000
    assert value(series, "tls_last_reload_successful") == 0
    assert value(series, "tls_reloads_total") == 5
    assert value(series, "tls_reloads_refused_total") == 2
    world.fleet["config"]["certificates"] = None
    told = {name for name, _ in scrape(world) if "_tls_" in name}
    assert told == {"modelproxy_tls_handshake_failures_total"}


def test_servers(tmp_path: Path) -> None:
    """A server is up when no worker holds it for unhealthy or leaves it out; one that nobody watches has no row."""
    world = World(tmp_path)
    first, second = (("endpoint", "wine-v2", f"http://127.0.0.1:{port}") for port in (9002, 9012))
    world.add(first, {"unhealthy": 2, "healthy_again": 2, "check_passed": 7, "check_failed": 3})
    world.add(first, {"ejected": 2, "readmitted": 1, "asked_unhealthy": 4})
    world.add(second, {"unhealthy": 1, "healthy_again": 1}, writer="w0")
    world.add(second, {"unhealthy": 1}, writer="w1")
    series = scrape(world)
    for (_, model, url), up in ((first, 0), (second, 0)):
        assert value(series, "endpoint_up", model=model, url=url) == up
    labels = {"model": "wine-v2", "url": first[2]}
    assert value(series, "endpoint_ejections_total", **labels) == 2
    assert value(series, "endpoint_asked_unhealthy_total", **labels) == 4
    assert value(series, "health_checks_total", **labels, result="passed") == 7
    assert value(series, "health_checks_total", **labels, result="failed") == 3
    world.add(first, {"readmitted": 1})
    world.add(second, {"healthy_again": 1}, writer="w1")
    world.publish(
        CONFIG.replace('["http://127.0.0.1:9002", "http://127.0.0.1:9012"]', '"http://127.0.0.1:9002"')
    )
    series = scrape(world)
    assert value(series, "endpoint_up", **labels) == 1
    gone = {"model": "wine-v2", "url": second[2]}
    assert ("modelproxy_endpoint_up", frozenset(gone.items())) not in series
    assert value(series, "endpoint_ejections_total", **gone) == 0
    assert not any(("model", "wine-v1") in key[1] for key in series if "endpoint" in key[0])


def test_bounds_are_exact(tmp_path: Path) -> None:
    """Every bound that is shown is one that workers count at, in rising order."""
    assert {round(bound * 1e9) for bound in DURATION_BOUNDS_SHOWN_S} <= set(DURATION_BOUNDS_NS)
    assert sorted(set(DURATION_BOUNDS_SHOWN_S)) == list(DURATION_BOUNDS_SHOWN_S)


def counters(series: Series) -> Mapping[tuple[str, frozenset[tuple[str, str]]], float]:
    endings = ("_total", "_bucket", "_count", "_sum")
    return {key: number for key, number in series.items() if key[0].endswith(endings)}


def test_counters_never_go_backwards(tmp_path: Path) -> None:
    """Reload, removal of a variant, retirement, fold and a restart of the observer take nothing from any counter."""
    world = World(tmp_path)
    reader = CountReader(tmp_path)
    old = world.tables[1]
    smaller = CONFIG.replace("      - {name: v3, model: wine-v3, role: canary, weight: 5}\n", "")

    def retire_and_forget() -> None:
        world.retire(1)

    def restart() -> None:
        nonlocal reader
        reader = CountReader(tmp_path)

    steps: list[Callable[[], object]] = [
        lambda: fill(world),
        lambda: world.serve("v3", 2),
        lambda: world.publish(smaller),
        lambda: world.serve("v1", 2, version=1),
        lambda: world.serve("v1", 2),
        retire_and_forget,
        lambda: world.fold(old),
        restart,
        lambda: world.serve("v2", 1, writer="w1"),
        lambda: world.publish(),
    ]
    before = counters(scrape(world, reader))
    for number, step in enumerate(steps):
        step()
        after = counters(scrape(world, reader))
        lower = {key for key in before if after.get(key, 0) < before[key]}
        assert not lower, f"after step {number}"
        before = after
    assert (
        before[
            "modelproxy_requests_total",
            frozenset({("route", "wine"), ("variant", "v3"), ("model", "wine-v3"), ("code", "200")}),
        ]
        == 2
    )


def test_unrouted_requests_have_one_series_per_status(tmp_path: Path) -> None:
    """However much junk comes in, it adds no series beyond the statuses it was answered with."""
    world = World(tmp_path)
    world.count("unrouted", code_404=1)
    few = scrape(world).keys()
    world.count("unrouted", code_404=100_000)
    assert few == scrape(world).keys()


def test_before_the_first_message_of_the_supervisor(tmp_path: Path) -> None:
    """Without a fleet message its metrics have no series, and nothing else is missing."""
    world = World(tmp_path)
    world.fleet = {}
    names = {name for name, _ in scrape(world)}
    assert "modelproxy_worker_up" not in names
    assert {"modelproxy_config_version", "modelproxy_observer_up"} <= names


def test_a_model_name_moves_between_variants(tmp_path: Path) -> None:
    """In-flight requests of a variant that changed its model are one series, without duplicates."""
    world = World(tmp_path)
    world.count("variant", "wine", "v2", "wine-v2", started=1)
    world.publish(CONFIG.replace("{name: v2, model: wine-v2,", "{name: v2, model: wine-v4,"))
    world.count("variant", "wine", "v2", "wine-v4", started=2)
    assert value(scrape(world), "in_flight_requests", route="wine", variant="v2") == 3


def test_openmetrics(tmp_path: Path) -> None:
    """A scraper that asks for OpenMetrics gets it, and its reference parser accepts every line."""
    world = World(tmp_path)
    fill(world)
    body, content_type = encode_metrics(read(world), OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text")
    assert body.endswith(b"# EOF\n")
    names = {family.name for family in parse_openmetrics(body.decode())}  # type: ignore[no-untyped-call]
    assert "modelproxy_requests" in names


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_finds_nothing(tmp_path: Path) -> None:
    """Prometheus's own linter has nothing to say."""
    world = World(tmp_path)
    fill(world)
    body, _ = encode_metrics(read(world), "")
    done = subprocess.run(["promtool", "check", "metrics"], input=body, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")

"""The arithmetic of the benchmark and the configurations of its contenders; no load is run here."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from benchmarks import idle_connections, tls, watching
from benchmarks.cell import Plan, Sample
from benchmarks.contenders import ANSWERS, BACKEND, CONTENDERS, Contender, start_command
from benchmarks.measure import cpu_of, free_ports, hot_process, tree
from benchmarks.report import COLUMNS, Results, markdown, noise, ratios, row, targets
from benchmarks.tools import Tools
from proxy.settings import parse

PORTS = {"v1": 9001, "v2": 9002, "v3": 9003, "shadow": 9004, "count": 9005, "listen": 8080, "admin": 9090}
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU times are read from /proc")
NAMES = [contender.name for contender in CONTENDERS]


class EveryTool(Tools):
    """A machine on which everything is installed."""

    def __getitem__(self, name: str) -> str:
        return f"/usr/bin/{name}"


def sample(tree_us: float, *, hot_us: float = 0.0, foreign: float = 0.0) -> Sample:
    return Sample(tree_us, tree_us / 2, hot_us or tree_us, 50_000.0, 1.0, 2.0, 1.0, 0.5, foreign)


@pytest.mark.parametrize("contender", [BACKEND, *CONTENDERS], ids=lambda contender: contender.name)
def test_configuration_is_filled_in(contender: Contender, tmp_path: Path) -> None:
    """Every placeholder of a configuration and of its command gets a value."""
    command = start_command(contender, EveryTool(), tmp_path, PORTS)
    written = [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]
    assert len(written) == (1 if contender.config else 0)
    assert [text for text in (*written, *command) if "@v" in text or "@directory" in text] == []


@pytest.mark.parametrize("name", ["modelproxy", "modelproxy, mirrored and compared"])
def test_modelproxy_configuration_is_valid(name: str, tmp_path: Path) -> None:
    """Modelproxy's own configurations parse, and only one of them mirrors."""
    contender = next(contender for contender in CONTENDERS if contender.name == name)
    start_command(contender, EveryTool(), tmp_path, PORTS)
    settings = parse((tmp_path / contender.config).read_text(encoding="utf-8"), environ={})
    assert len(settings.routes[0].shadows) == ("mirrored" in name)


def test_variants_are_weighted_alike(tmp_path: Path) -> None:
    """Envoy, HAProxy and modelproxy get the same three weights."""
    for contender in CONTENDERS:
        start_command(contender, EveryTool(), tmp_path, PORTS)
    envoy = yaml.safe_load((tmp_path / "envoy.yaml").read_text(encoding="utf-8"))
    manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert [cluster["weight"] for cluster in route["weighted_clusters"]["clusters"]] == [85, 10, 5]
    haproxy = (tmp_path / "haproxy.cfg").read_text(encoding="utf-8")
    assert [line.split()[-1] for line in haproxy.splitlines() if " weight " in line] == ["85", "10", "5"]
    proxy = yaml.safe_load((tmp_path / "modelproxy.yaml").read_text(encoding="utf-8"))
    assert [variant.get("weight") for variant in proxy["routes"][0]["variants"]] == [None, 10, 5]


def test_idle_connections_configuration_is_valid() -> None:
    """The configuration under which idle connections are counted parses and lets a hundred thousand in."""
    text = idle_connections.CONFIG.format(listen=8080, admin=9090, model=9001, workers=20, directory="/tmp/x")
    settings = parse(text, environ={})
    assert settings.workers == 20
    assert settings.limits.connections >= 100_000


def test_tls_configuration_is_valid() -> None:
    """The configuration under which TLS is measured parses."""
    text = tls.CONFIG.format(
        listen=8080,
        admin=9090,
        directory="/tmp/x",
        tls="{}",
        url="https://127.0.0.1:1",
        model_tls="{ca: a.pem}",
    )
    assert parse(text, environ={}).models["one"].tls.ca == Path("a.pem")


@pytest.mark.parametrize("rollouts", [0, 1, 100])
def test_watching_configuration_is_valid(rollouts: int) -> None:
    """There are as many rollouts as are asked for, and something to ask where there is none."""
    settings = parse(watching.config(rollouts, 8080, 9090, 9001, "/tmp/x"), environ={})
    assert len(settings.routes) == max(1, rollouts)
    assert sum(route.rollout_variant is not None for route in settings.routes) == rollouts


def test_idle_connections_are_scaled_to_a_hundred_thousand(capsys: pytest.CaptureFixture[str]) -> None:
    """What is measured with fewer is said of a hundred thousand too; what is measured with them is not said twice."""
    none, before = idle_connections.Reading(0, 0, 0.0), idle_connections.Reading(2**20, 0, 1.0)
    after = idle_connections.Reading(2**20 + 4_000_000, 9_000_000, 1.0)
    idle = idle_connections.Reading(after.rss_bytes, after.kernel_bytes, 1.2)
    idle_connections.report(1000, 1, before, after, idle, 20.0)
    said = capsys.readouterr().out
    assert "4000 bytes a connection, beside 1 MiB" in said
    assert "about 9000 bytes a connection" in said
    assert "1.00 % of a core" in said
    assert "extrapolated to 100000: 381 MiB, 100.00 % of a core" in said
    idle_connections.report(100_000, 1, none, after, idle, 20.0)
    assert "extrapolated" not in capsys.readouterr().out


def test_answers_have_one_length() -> None:
    """Which variant answers makes no difference in bytes."""
    assert len(ANSWERS) == 4 == len(set(ANSWERS))
    assert len({len(answer) for answer in ANSWERS}) == 1


def test_ratio_is_taken_within_a_round() -> None:
    """A round in which one of the two is invalid gives no ratio."""
    results: Results = {
        "modelproxy": [sample(20), sample(30), "invalid: 3 read errors"],
        "HAProxy": [sample(10), "invalid: ended at start", sample(9)],
    }
    assert ratios(results, "modelproxy", "HAProxy") == [2.0]
    assert ratios(results, "modelproxy", None) == []


def test_row_says_why_there_is_no_figure() -> None:
    """A contender that was never measured shows the reason where its figure would be."""
    envoy = CONTENDERS[NAMES.index("Envoy")]
    shown = row(envoy, {"Envoy": ["not installed: envoy"]})
    assert len(shown) == len(COLUMNS)
    assert shown[1] == "not installed: envoy"


def test_row_counts_invalid_rounds() -> None:
    """A contender with valid and invalid rounds shows both."""
    haproxy = CONTENDERS[NAMES.index("HAProxy")]
    shown = row(haproxy, {"HAProxy": [sample(10), "invalid: 1 status errors"]})
    assert shown[1] == "10.0 (10.0–10.0)"
    assert "1 of 2 rounds invalid: invalid: 1 status errors" in shown[-1]


def test_says_when_the_machine_was_busy() -> None:
    """Figures measured beside other work are marked as noisy."""
    quiet: Results = {"HAProxy": [sample(10, foreign=0.02), "invalid: ended at start"]}
    busy: Results = {"HAProxy": [sample(10, foreign=0.8)], "Envoy": [sample(30, foreign=0.4)]}
    assert noise(quiet) == []
    assert noise(busy)[0].startswith("NOISY: other programs kept 0.60 (0.40–0.80) cores busy")
    assert noise(busy)[0] in markdown(busy, Tools(), Plan(5, 1, 64))


@pytest.mark.parametrize(
    ("worker_us", "verdict"),
    [pytest.param(34.0, "reached", id="below"), pytest.param(36.0, "missed", id="above")],
)
def test_target_of_the_mirror_counts_the_worker_alone(worker_us: float, verdict: str) -> None:
    """The observer's CPU does not enter the ratio to Envoy's mirror."""
    results = {
        "modelproxy, mirrored and compared": [sample(90, hot_us=worker_us)],
        "Envoy, request_mirror_policies": [sample(50)],
    }
    split, _, mirrored = targets(results)
    assert split.endswith("not measured")
    assert mirrored.endswith(verdict)


def test_results_file_holds_machine_table_and_targets() -> None:
    """The written file names the kernel, has a line for each contender and ends with the targets."""
    text = markdown({name: [sample(10)] for name in NAMES}, Tools(), Plan(5, 1, 64))
    assert os.uname().release in text
    assert [name for name in NAMES if f"\n| {name} |" not in text] == []
    assert text.splitlines()[-1].startswith("- mirrored")


@ON_LINUX
def test_cpu_of_a_tree() -> None:
    """A child's CPU time is found below its parent, and grows with what the child does."""
    script = "import sys; sum(range(10**7)); print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        pids = tree(os.getpid())
        assert child.pid in pids
        assert cpu_of(pids)[child.pid].total_s > 0.01
    finally:
        child.communicate()


@ON_LINUX
def test_hot_process_holds_the_sockets() -> None:
    """The process that clients' bytes pass through is the one with the most sockets."""
    keep = "import socket, sys; kept = [socket.socket() for _ in range(200)]"
    script = f"{keep}; print(flush=True); sys.stdin.read()"
    child = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        child.stdout.readline()
        assert hot_process(frozenset({os.getpid(), child.pid})) == child.pid
    finally:
        child.communicate()


def test_ports_are_distinct() -> None:
    """Ports drawn together never collide."""
    assert len(set(free_ports(20))) == 20

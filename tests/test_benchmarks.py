"""The arithmetic of the benchmark and the configurations of its contenders; no load is run here."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import click
import orjson
import pytest
import yaml

from benchmarks import idle_connections, tls, watching
from benchmarks.calm import scanners
from benchmarks.cells import (
    CELLS,
    GOALS,
    LATENCY,
    MIRROR,
    SHADOWED,
    SMALL_64,
    SPLIT,
    STEADY,
    WORKERS,
    Goal,
    Kind,
    Plan,
    Ref,
)
from benchmarks.contenders import BACKEND, PROGRAMS, Entrant, start_command
from benchmarks.goals import Figures, Results, derive, judge, ratios, reached, spread
from benchmarks.measure import cores, cpu_of, free_ports, hot_process, peak_mib, resident_mib, tree
from benchmarks.payloads import ANSWERS, JSON_10K, JSON_64K, document
from benchmarks.report import markdown, noise, sheets
from benchmarks.run import chosen, taking_part
from benchmarks.tools import Tools
from proxy.settings import parse

PORTS = dict(
    zip(
        ("v1", "v2", "v3", "shadow", "count", "listen", "admin", "slow", "flood", "dead"),
        range(9001, 9011),
        strict=True,
    )
)
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="CPU times are read from /proc")
ENTRANTS = [
    Entrant(program, flavour) for program in PROGRAMS.values() for flavour in program.flavours if program.tool
]
OURS = [entrant for entrant in ENTRANTS if entrant.program.name == "modelproxy"]


class EveryTool(Tools):
    """A machine on which everything is installed."""

    def __getitem__(self, name: str) -> str:
        return f"/usr/bin/{name}"


def named(entrant: Entrant) -> str:
    return f"{entrant.program.name}, {entrant.flavour}"


def results(**figures: Sequence[Figures | str]) -> Results:
    """Return results of one cell and load: by program, an entry for each round."""
    return {(SPLIT, SMALL_64.name, name): entries for name, entries in figures.items()}


@pytest.mark.parametrize("entrant", [Entrant(BACKEND), *ENTRANTS], ids=named)
def test_configuration_is_filled_in(entrant: Entrant, tmp_path: Path) -> None:
    """Every placeholder of a configuration and of its command gets a value, and YAML is YAML."""
    command = start_command(entrant, EveryTool(), tmp_path, PORTS)
    written = {path.suffix: path.read_text(encoding="utf-8") for path in tmp_path.iterdir()}
    assert len(written) == (1 if entrant.program.config else 0)
    names = ("@v", "@directory", "@dead", "@slow", "@flood", "@listen", "@mirror", "@option")
    assert [text for text in (*written.values(), *command) for name in names if name in text] == []
    if ".yaml" in written:
        assert yaml.safe_load(written[".yaml"])


@pytest.mark.parametrize("entrant", OURS, ids=named)
def test_modelproxy_configuration_is_valid(entrant: Entrant, tmp_path: Path) -> None:
    """Modelproxy's own configurations parse, and do what their flavour says."""
    start_command(entrant, EveryTool(), tmp_path, PORTS)
    settings = parse((tmp_path / "modelproxy.yaml").read_text(encoding="utf-8"), environ={})
    (route,) = settings.routes
    mirrors = ("mirror", "everything", "dead", "shadow of", "observer")
    assert len(route.shadows) == entrant.flavour.startswith(mirrors)
    assert (route.log.percent > 0) == (entrant.flavour in ("log 5 %", "everything"))
    assert (route.rollout_variant is not None) == (entrant.flavour == "everything")
    assert settings.workers == (2 if entrant.flavour == "2 workers" else 1)


def test_variants_are_weighted_alike(tmp_path: Path) -> None:
    """Envoy, HAProxy, Traefik and modelproxy get the same three weights."""
    for entrant in ENTRANTS:
        if entrant.flavour == "split":
            start_command(entrant, EveryTool(), tmp_path, PORTS)
    envoy = yaml.safe_load((tmp_path / "envoy.yaml").read_text(encoding="utf-8"))
    manager = envoy["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
    route = manager["route_config"]["virtual_hosts"][0]["routes"][0]["route"]
    assert [cluster["weight"] for cluster in route["weighted_clusters"]["clusters"]] == [85, 10, 5]
    traefik = yaml.safe_load((tmp_path / "traefik.yaml").read_text(encoding="utf-8"))
    assert [s["weight"] for s in traefik["http"]["services"]["split"]["weighted"]["services"]] == [85, 10, 5]
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


def test_goals_name_what_is_measured() -> None:
    """Every goal looks at entrants and loads that exist, and a quick run measures all but those that take long."""
    there = {
        (cell.name, load.name, each.name) for cell in CELLS for load in cell.loads for each in cell.entrants
    }
    quick = set()
    for cell in CELLS:
        entrants, loads = taking_part(cell, Plan(1, 1, is_quick=True), ())
        assert {each.name for each in entrants} == set(cell.quick)
        quick |= {(cell.name, load.name, each.name) for load in loads for each in entrants}
    for goal in GOALS:
        for ref in filter(None, (goal.ours, goal.theirs)):
            assert (ref.cell, ref.load, ref.entrant) in there
            assert "LiteLLM" in goal.text or (ref.cell, ref.load, ref.entrant) in quick


def test_cells_are_chosen_by_name() -> None:
    """A part of a name chooses a cell, no part chooses all, and a wrong one says which there are."""
    assert [cell.name for cell in chosen(("MIRROR",))] == [MIRROR]
    assert chosen(()) == list(CELLS)
    with pytest.raises(click.BadParameter, match="there are: small requests"):
        chosen(("grpc",))
    entrants, _ = taking_part(CELLS[0], Plan(1, 1), ("envoy",))
    assert [each.name for each in entrants] == ["Envoy"]


@pytest.mark.parametrize(
    ("plan", "rounds"),
    [(Plan(), (5, 3, 3)), (Plan(most_rounds=2), (2, 2, 2)), (Plan(most_rounds=2, is_quick=True), (2, 2, 1))],
    ids=["whole", "bounded", "quick"],
)
def test_rounds(plan: Plan, rounds: tuple[int, ...]) -> None:
    """Each load has the rounds that it needs, never more than are allowed; a quick run has one of streams."""
    cells = {load.name: (cell, load) for cell in CELLS for load in cell.loads}
    wanted = (SMALL_64.name, "1 MiB tensor each way", "1,000 streams × 25 events/s")
    assert tuple(plan.rounds(*cells[name]) for name in wanted) == rounds


def test_answers_have_one_length() -> None:
    """Which variant answers makes no difference in bytes."""
    assert len(ANSWERS) == 4 == len(set(ANSWERS))
    assert len({len(answer) for answer in ANSWERS}) == 1


@pytest.mark.parametrize("size", [200, 201, 999, 10_240])
def test_documents_have_the_size_asked_for(size: int) -> None:
    """A document is valid JSON of exactly that size, and the version alone makes two differ."""
    one, two = document(size), document(size, 2)
    assert len(one) == len(two) == size
    assert one != two
    assert orjson.loads(one)["outputs"] == orjson.loads(two)["outputs"]
    assert len(JSON_10K.body) == 10_240
    assert len(JSON_64K.body) == 65_536


def test_ratio_is_taken_within_a_round() -> None:
    """A round in which one of the two is invalid gives no ratio."""
    found = results(
        modelproxy=[{"tree_us": 20.0}, {"tree_us": 30.0}, "invalid: 3 read errors"],
        HAProxy=[{"tree_us": 10.0}, "invalid: ended at start", {"tree_us": 9.0}],
    )
    ours, theirs = (Ref(SPLIT, SMALL_64.name, name, "tree_us") for name in ("modelproxy", "HAProxy"))
    assert ratios(found, ours, theirs) == [2.0]
    assert ratios(found, ours, None) == [20.0, 30.0]
    assert ratios(found, Ref(SPLIT, "none", "modelproxy", "tree_us"), theirs) == []


@pytest.mark.parametrize(
    ("measured", "is_least", "verdict"),
    [
        pytest.param(1.2, False, True, id="below an upper limit"),
        pytest.param(1.3, False, False, id="above it"),
        pytest.param(1.3, True, True, id="above a lower limit"),
        pytest.param(1.2, True, False, id="below it"),
    ],
)
def test_goal_is_judged_by_the_median(measured: float, is_least: bool, verdict: bool) -> None:
    """One bad round decides nothing."""
    ref = Ref(SPLIT, SMALL_64.name, "modelproxy", "tree_us")
    found = results(
        modelproxy=[{"tree_us": measured}, {"tree_us": 99.0}, {"tree_us": measured}, {"tree_us": 0.0}]
    )
    assert reached(found, Goal("as said", 1.25, ref, is_least=is_least)).is_reached == verdict
    assert reached({}, Goal("as said", 1.25, ref)).is_reached is None


@pytest.mark.parametrize(("lag_ms", "is_told"), [(0.2, False), (30.0, True)])
def test_late_generator_is_told_beside_the_tail(lag_ms: float, is_told: bool) -> None:
    """A tail that the generator itself had a part in says so."""
    found = results(modelproxy=[{"p99_ms": 40.0, "lag_ms": lag_ms}])
    goal = Goal("tail", 1.0, Ref(SPLIT, SMALL_64.name, "modelproxy", "p99_ms"))
    assert ("generator 30.0 ms late" in reached(found, goal).measured) == is_told


def test_what_is_added_is_the_difference_in_the_same_round() -> None:
    """Latency without a proxy is subtracted round by round; without it nothing is said."""
    plain: list[Figures | str] = [
        {"p50_ms": 0.1, "p99_ms": 0.5},
        "invalid: late",
        {"p50_ms": 0.3, "p99_ms": 0.5},
    ]
    ours: list[Figures | str] = [{"p50_ms": 0.3, "p99_ms": 0.9}] * 3
    key = LATENCY, STEADY.name
    found = derive({(*key, "no proxy"): plain, (*key, "modelproxy"): ours})[*key, "modelproxy"]
    assert [entry.get("added_p50_ms") for entry in found if not isinstance(entry, str)] == [
        pytest.approx(0.2),
        None,
        0.001,
    ]


def test_worst_cell_counts_against_aiohttp() -> None:
    """The row names the cell with the largest ratio, and how many are good."""
    found: Results = {
        (SPLIT, SMALL_64.name, "modelproxy"): [{"tree_us": 20.0}],
        (SPLIT, SMALL_64.name, "aiohttp"): [{"tree_us": 200.0}],
        (MIRROR, SMALL_64.name, "modelproxy"): [{"tree_us": 90.0}],
        (MIRROR, SMALL_64.name, "aiohttp"): [{"tree_us": 300.0}],
    }
    row = next(row for row in judge(found) if "aiohttp" in row.text)
    assert f"1 of 2 reach it; worst: {MIRROR}" in row.text
    assert (row.measured, row.is_reached) == ("0.30", False)


@pytest.mark.parametrize(("spare", "said"), [(1.0, "requests/s"), (0.0, "CPU per request")])
def test_two_workers_are_judged_by_what_the_machine_allows(spare: float, said: str) -> None:
    """Requests per second count where load has cores of its own; else the CPU of each."""
    found: Results = {
        (WORKERS, SMALL_64.name, "modelproxy, 1 worker"): [{"per_s": 100.0, "tree_us": 20.0, "spare": spare}],
        (WORKERS, SMALL_64.name, "modelproxy, 2 workers"): [
            {"per_s": 190.0, "tree_us": 20.5, "spare": spare}
        ],
    }
    row = next(row for row in judge(found) if "2 workers" in row.text)
    assert said in row.text
    assert row.is_reached
    alone = row.measured
    for workers, tree_us in ((1, 10.0), (2, 12.0)):
        name = f"HAProxy, {workers} worker{'s' * (workers > 1)}"
        found = {
            **found,
            (WORKERS, SMALL_64.name, name): [{"per_s": tree_us, "tree_us": tree_us, "spare": spare}],
        }
    row = next(row for row in judge(found) if "2 workers" in row.text)
    assert (row.measured, row.is_reached) == (f"{alone}; HAProxy with 2 threads 1.20", True)


def test_entrant_without_a_figure_says_why() -> None:
    """Who was never measured has dashes and the reason, who missed a round has both."""
    table = sheets(
        results(
            modelproxy=[{"tree_us": 20.0}],
            Envoy=["not installed: envoy"],
            HAProxy=[{"tree_us": 10.0}, "invalid: 1 status errors"],
        )
    )[0]
    rows = {row[0]: row for row in table.rows}
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert rows["Envoy"][1] == "—"
    assert "not installed: envoy" in rows["Envoy"][-1]
    assert rows["HAProxy"][1] == "10.0"
    assert "1 of 2 rounds: invalid: 1 status errors" in rows["HAProxy"][-1]
    assert rows["HAProxy"][-2] == "2.00"


def test_requests_per_second_of_an_idle_core_are_a_lower_bound() -> None:
    """Where load was the limit, the figure says so."""
    table = sheets(
        results(
            modelproxy=[{"per_s": 41_000.0, "share": 0.98}],
            HAProxy=[{"per_s": 60_000.0, "share": 0.7}],
        )
    )[0]
    at = table.columns.index("requests/s")
    assert [row[at] for row in table.rows] == ["41,000", "≥ 60,000"]


def test_says_when_the_machine_was_busy_or_the_generator_late() -> None:
    """Figures measured beside other work, or by a generator that was late, are marked."""
    quiet = results(HAProxy=[{"foreign": 0.02, "lag_ms": 0.05}, "invalid: ended at start"])
    busy = results(HAProxy=[{"foreign": 0.8, "lag_ms": 3.0}], Envoy=[{"foreign": 0.4, "lag_ms": 1.0}])
    assert noise(quiet) == []
    noisy, late = noise(busy)
    assert noisy.startswith("NOISY: other programs kept 0.60 (0.40–0.80) cores busy")
    assert late.startswith("LATE: the generators were 2.00 (1.00–3.00) ms late")
    assert noisy in markdown(busy, {}, Plan(3, 1), 60.0, {})


def test_results_file_holds_machine_goals_and_every_table() -> None:
    """The written file names the kernel, versions and time, has the goals first and a table for each cell and load."""
    figures = {"tree_us": 10.0, "hot_us": 9.0, "p99_ms": 1.0, "idle_kib": 4.5, "rest_mib": 44.0}
    found: Results = {
        (cell.name, load.name, each.name): [figures]
        for cell in CELLS
        for load in cell.loads
        for each in cell.entrants
    }
    text = markdown(found, {"envoy": "1.40.0"}, Plan(3, 1), 600.0, {"pair, logged": 25.0})
    assert os.uname().release in text
    assert "envoy 1.40.0" in text
    assert "in 10 minutes" in text
    titles = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    cells = [f"{cell.name}: {load.name}" for cell in CELLS for load in cell.loads]
    assert titles == ["Goals", *cells, "the observer on a core of its own"]
    assert "| pair, logged | 25.0 | 40,000 |" in text
    assert "| memory of an idle connection | ≤ 8 KiB | 4.50 | reached |" in text
    assert any(load.kind is Kind.STREAMS for cell in CELLS for load in cell.loads)


def test_ratio_of_two_tails_is_that_of_all_requests_together() -> None:
    """The goal is judged by the 99 % of the whole, and the blocks show how far apart parts of it are."""
    goal = Goal(
        "tail", 1.05, Ref(LATENCY, STEADY.name, "a", "p99_ms"), Ref(LATENCY, STEADY.name, "b", "p99_ms")
    )
    blocks = ((1.0, 1.0), (3.0, 1.0), (9.0, 2.0))
    found: Results = {
        (LATENCY, STEADY.name, "a"): [{"p99_ms": mine, "all_p99_ms": 2.06} for mine, _ in blocks],
        (LATENCY, STEADY.name, "b"): [{"p99_ms": theirs, "all_p99_ms": 2.0} for _, theirs in blocks],
    }
    row = reached(found, goal)
    assert (row.measured, row.is_reached) == ("1.03 (1.00–4.50)", True)


def test_threads_that_scan_memory_are_found(tmp_path: Path) -> None:
    """They are the kernel's own, whatever else has such a name, and whatever ends while it is looked for."""
    for pid, name, parent in (
        (77, "kdamond.0", 2),
        (78, "ksmd", 2),
        (79, "kdamond (x) y", 1),
        (80, "kworker", 2),
    ):
        (tmp_path / str(pid)).mkdir()
        (tmp_path / str(pid) / "stat").write_text(f"{pid} ({name}) S {parent} 0 0")
    (tmp_path / "81").mkdir()
    (tmp_path / "meminfo").write_text("")
    assert scanners(tmp_path) == {77: "kdamond.0", 78: "ksmd"}


@pytest.mark.parametrize(
    ("plan", "turns"), [(Plan(), (60, 5)), (Plan(most_rounds=1), (12, 5)), (Plan(is_quick=True), (6, 1))]
)
def test_turns_at_a_fixed_rate(plan: Plan, turns: tuple[int, int]) -> None:
    """Turns fill the seconds of a load, or less where fewer rounds are asked for; a quick run has few."""
    assert plan.turns(SHADOWED) == turns


def test_spread_of_one_is_the_value() -> None:
    """A single round has no range."""
    assert (spread([]), spread([2.0]), spread([3.0, 1.0, 2.0])) == ("—", "2.0", "2.0 (1.0–3.0)")


@ON_LINUX
def test_load_keeps_a_core() -> None:
    """An entrant never gets all cores, unless there is but one for both."""
    usable = sorted(os.sched_getaffinity(0))
    own, rest, is_apart = cores(len(usable))
    assert own.split(",") == [str(core) for core in usable]
    assert rest
    assert not is_apart


@ON_LINUX
def test_memory_of_processes() -> None:
    """A process has held as much as it holds, and that is more than nothing."""
    own = frozenset({os.getpid()})
    assert peak_mib(own) >= resident_mib(own) > 5


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

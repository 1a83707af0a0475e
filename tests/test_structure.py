"""House rules that no linter knows: which room may import which, what is pure, and what each file must have."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "proxy"

ALLOWED: dict[str, set[str]] = {
    # Foundation: nouns, errors, the clock. They know nobody.
    "clock": set(),
    "plural": set(),
    "printable": set(),
    "private": set(),
    "durations": set(),
    "errors": {"printable"},
    "identifiers": set(),
    "lasting": set(),
    "logs": {"printable"},
    "methods": set(),
    "model": set(),
    "schemas": set(),
    "tasks": set(),
    # Pure rooms.
    "settings": {"durations", "errors", "methods", "model", "schemas"},
    "wire": {"errors", "model"},
    "compare": {"errors", "methods", "plural", "schemas"},
    "embedder": {"compare"},
    "labels": {"compare", "stats"},
    "noise": {"compare", "privacy", "stats"},
    "privacy": {"compare"},
    "unit_keys": {"private"},
    "stats": set(),
    "rollout": {"durations", "errors", "model", "plural", "settings", "stats"},
    "report": {"errors", "model", "plural", "printable", "rollout", "settings", "stats"},
    "routing": {"errors", "evidence", "model", "settings", "tally", "wire"},
    "records": {"durations", "errors", "exchange"},
    "replay": {
        "clock", "compare", "embedder", "model", "printable", "records", "routing", "settings", "stats", "tasks",
        "wire",
    },
    # What processes share.
    "tally": {"model"},
    "evidence": {"errors", "model", "private", "tally"},
    "exchange": {"errors"},
    "settled": {"errors", "model", "settings"},
    "link": {"clock", "errors", "tasks"},
    "certificates": {"errors", "settings"},
    # The hot path knows bytes, tables and sockets; nothing of comparing, metrics or the admin address.
    "dataplane": {
        "certificates", "clock", "errors", "evidence", "exchange", "identifiers", "lasting", "link", "logs", "model",
        "routing", "settings", "settled", "tally", "tasks", "wire",
    },
    # What is derived, and what is shown of it.
    "control": {
        "certificates", "clock", "errors", "model", "printable", "private", "rollout", "routing", "settings", "settled",
        "tally", "tasks",
    },
    "engine": {
        "clock", "control", "errors", "evidence", "identifiers", "private", "rollout", "routing", "settings", "stats",
        "tally", "tasks",
    },
    "observer": {
        "clock", "compare", "control", "durations", "embedder", "engine", "errors", "evidence", "exchange",
        "identifiers", "labels", "lasting", "link", "logs", "model", "noise", "printable", "privacy", "private",
        "records", "rollout", "routing", "settings", "settled", "sinks", "stats", "tally", "tasks", "unit_keys",
    },
    "sinks": {"clock", "plural", "private", "records", "settings", "tally"},
    # The supervisor starts the others as processes: it imports neither of them.
    "children": {"clock", "link", "tasks"},
    "listening": {"settings"},
    "retirement": {"tally"},
    "rundir": {"clock", "evidence", "private"},
    "remnants": {"clock", "evidence", "rundir"},
    "handover": set(),
    "earlier": {"handover", "link", "listening", "tasks"},
    "ground": {"control", "handover", "listening", "remnants", "rundir", "settings", "state_lock"},
    "upgrade": {"clock", "earlier", "evidence", "fleet", "handover", "retirement", "rundir", "tally"},
    "preflight": {"errors", "handover", "settings"},
    "service_manager": {"clock"},
    "state_lock": {"private"},
    "fleet": {
        "children", "clock", "control", "evidence", "handover", "link", "retirement", "routing", "settings", "tally",
        "tasks",
    },
    "open_files": {"model", "settings"},
    "supervisor": {
        "children", "clock", "control", "earlier", "errors", "evidence", "fleet", "ground", "handover", "link",
        "listening", "logs", "open_files",
        "retirement", "routing", "rundir", "service_manager", "settings", "tally", "tasks", "upgrade",
    },
    # The outside.
    "demo": {"clock", "routing", "settings", "tasks"},
    "commands": {
        "certificates", "clock", "control", "demo", "durations", "embedder", "engine", "errors", "lasting", "plural",
        "printable", "privacy", "private", "records", "replay", "report", "rollout", "routing", "settings",
        "supervisor", "unit_keys",
    },
    "cli": set(),
    "__main__": {"cli"},
}  # fmt: skip
"""Room → rooms that it may import. A room is a package or a single module of ``proxy/``. Arrows go one way."""

PURE = (
    "report/", "rollout/", "compare/", "embedder/cache.py", "embedder/dialect.py",
    "durations.py", "errors.py", "evidence/layout.py", "exchange.py",
    "labels/", "model.py", "noise/", "plural.py",
    "printable.py", "retirement.py", "routing/", "schemas.py", "settings/", "settled.py", "stats/", "wire/",
    "control/changes.py",
    "control/matching.py", "control/openapi.py", "control/steering.py", "observer/accounting.py", "observer/heads.py",
    "observer/attributes.py", "observer/breakdown.py", "observer/disagreement_view.py", "observer/examples.py",
    "observer/route_rules.py", "observer/showing.py", "control/disagreement_query.py", "control/disagreement_schema.py",
    "engine/evidence_view.py", "engine/judging.py", "engine/ledger.py", "observer/pairing.py",
    "observer/record.py", "privacy/",
    "records/budget.py", "records/expressions.py",
    "records/keep.py", "records/record.py", "records/schema.py", "records/selection.py",
    "records/weights.py",
    "replay/calls.py", "replay/document.py", "replay/forecast.py", "replay/judging.py", "replay/pacing.py",
    "replay/preparing.py", "replay/results.py", "replay/rules.py",
)  # fmt: skip
"""No clock, no socket, no files, no environment, no globals that change: values in, values out."""

IMPURE_MODULES = {
    "asyncio", "concurrent", "io", "logging", "mmap", "multiprocessing", "os", "proxy.clock", "proxy.tasks",
    "queue", "random", "secrets", "select", "selectors", "shutil", "signal", "socket", "ssl", "subprocess", "tempfile",
    "threading", "time", "uvloop",
}  # fmt: skip

IMPURE_EXCEPTIONS = {
    "settings/load.py": {"os"},  # load() reads the file and the environment; everything else is given both
    "privacy/bodies.py": {"io"},  # the csv module reads and writes files; these are texts
}

NO_TEST_FILE: dict[str, str] = {
    "dataplane/life.py": "names of states, no code",
    "dataplane/endings.py": "tested with what it ends: test_inflight_faults.py, test_attempts.py, test_client.py",
    "__main__.py": "two lines, run by tests/test_cli.py",
    "dataplane/__main__.py": "process entry, run for real by tests/test_supervisor.py and tests/demo",
    "observer/__main__.py": "process entry, run for real by tests/test_supervisor.py and tests/demo",
    "clock.py": "four names of the standard library",
    "model.py": "nouns without behaviour; their users test them",
    "demo/command.py": "options only; run by tests/demo/test_demo_run.py",
    "demo/play.py": "drives running processes; run by tests/demo/test_demo_run.py",
    "demo/stage.py": "starts running processes; run by tests/demo/test_demo_run.py",
    "commands/explain.py": "tests/test_cli.py",
    "commands/plan.py": "tests/test_cli.py",
    "commands/schema.py": "tests/test_cli.py",
    "commands/serve.py": "tests/test_cli.py",
    "commands/status.py": "tests/test_cli.py",
    "commands/validate.py": "tests/test_cli.py",
}
"""Modules without a test file of their own, and why. The list may only shrink."""

MAX_LINES = 600
MAX_FUNCTION_P95 = 50


@cache
def sources() -> dict[str, ast.Module]:
    """Return every source file of the package, by its path below ``proxy/``."""
    files = sorted(PACKAGE.rglob("*.py"))
    return {path.relative_to(PACKAGE).as_posix(): ast.parse(path.read_text(), path.name) for path in files}


def room_of(file: str) -> str:
    """Return the room of a file: its first folder, or its own name."""
    return file.partition("/")[0].removesuffix(".py")


def imports(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield (line, dotted name) of everything that is imported, also inside functions and for types alone."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: imports are absolute"
            module = node.module or ""
            yield from ((node.lineno, f"{module}.{alias.name}") for alias in node.names)


def test_arrows_go_one_way() -> None:
    """The table of allowed imports has no cycle."""
    assert list(TopologicalSorter(ALLOWED).static_order())


def test_every_room_is_in_the_table() -> None:
    """A new room is drawn into the table before it is used, and a room that went is taken out."""
    rooms = {room_of(file) for file in sources()} - {"__init__"}
    assert rooms == ALLOWED.keys()
    assert set().union(*ALLOWED.values()) <= rooms


def test_imports_follow_the_arrows() -> None:
    """No file imports a room that its own may not know."""
    wrong = []
    for file, tree in sources().items():
        room = room_of(file)
        for line, name in imports(tree):
            parts = name.split(".")
            if parts[0] != "proxy" or parts[1:2] in ([], ["__version__"], [room]):
                continue
            if parts[1] not in ALLOWED.get(room, set()):
                wrong.append(f"proxy/{file}:{line}: {room} must not import {name}")
    assert not wrong, "\n".join(wrong)


def test_pure_rooms_are_pure() -> None:
    """A pure file imports nothing that has a clock, a socket, a file or a thread."""
    wrong = []
    for file, tree in sources().items():
        if not file.startswith(PURE):
            continue
        excused = IMPURE_EXCEPTIONS.get(file, set())
        for line, name in imports(tree):
            impure = {name, name.rpartition(".")[0], name.partition(".")[0]} & IMPURE_MODULES - excused
            wrong += [f"proxy/{file}:{line}: a pure file must not import {each}" for each in impure]
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "open":
                wrong.append(f"proxy/{file}:{node.lineno}: a pure file must not open files")
    assert not wrong, "\n".join(wrong)


def test_named_files_exist() -> None:
    """The lists of this file name nothing that is gone."""
    files = sources()
    prefixes = [*PURE, *IMPURE_EXCEPTIONS, *NO_TEST_FILE]
    gone = [name for name in prefixes if not any(file.startswith(name) for file in files)]
    assert not gone


def test_every_module_says_what_it_is_and_what_is_public() -> None:
    """Each file has a docstring and an ``__all__``."""
    wrong = []
    for file, tree in sources().items():
        if not ast.get_docstring(tree):
            wrong.append(f"proxy/{file}: no docstring")
        if not any("__all__" in names for names in map(_assigned, tree.body)):
            wrong.append(f"proxy/{file}: no __all__")
    assert not wrong, "\n".join(wrong)


def _assigned(node: ast.stmt) -> set[str]:
    targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def test_public_names_have_docstrings() -> None:
    """Each public class and function of the package is explained."""
    wrong = []
    for file, tree in sources().items():
        for node in tree.body:
            if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            if not node.name.startswith("_") and not ast.get_docstring(node):
                wrong.append(f"proxy/{file}:{node.lineno}: {node.name} has no docstring")
    assert not wrong, "\n".join(wrong)


def test_files_stay_small() -> None:
    """A file that grows past the limit wants to be two."""
    wrong = [
        f"proxy/{file}: {lines} lines, at most {MAX_LINES}"
        for file in sources()
        if (lines := len((PACKAGE / file).read_text().splitlines())) > MAX_LINES
    ]
    assert not wrong, "\n".join(wrong)


def test_functions_stay_short() -> None:
    """95 of 100 functions fit on a screen."""
    lengths = sorted(
        (node.end_lineno or node.lineno) - node.lineno + 1
        for tree in sources().values()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    )
    assert lengths[int(len(lengths) * 0.95)] <= MAX_FUNCTION_P95


def test_no_catch_all_names() -> None:
    """A file is named after what it knows, not after the fact that it helps."""
    vague = {"utils", "util", "helpers", "helper", "manager", "misc", "common", "data", "info", "handler"}
    assert not [file for file in sources() if Path(file).stem in vague]


def own_tests(file: str) -> list[Path]:
    """Return where the test file of a module may stand."""
    path = Path(file)
    stem, folder = path.stem, ROOT / "tests" / path.parent
    room = path.parent.name
    return [folder / f"test_{stem}.py", *([folder / f"test_{room}_{stem}.py"] if room else [])]


def test_every_module_has_its_test_file() -> None:
    """``proxy/room/x.py`` is tested by ``tests/room/test_x.py``, or is excused by name with a reason."""
    wrong = []
    for file in sources():
        if file.endswith("__init__.py"):
            continue
        has_test = any(path.exists() for path in own_tests(file))
        if not has_test and file not in NO_TEST_FILE:
            wrong.append(f"proxy/{file}: no {own_tests(file)[0].relative_to(ROOT)}")
        if has_test and file in NO_TEST_FILE:
            wrong.append(f"proxy/{file}: has a test file now; take it out of NO_TEST_FILE")
    assert not wrong, "\n".join(wrong)


def metric_names() -> set[str]:
    """Return every metric that the observer exposes."""
    texts = {
        node.value
        for node in ast.walk(sources()["observer/metrics.py"])
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if re.fullmatch(r"modelproxy_[a-z0-9_]*[a-z0-9]", text)}


CONTRACT_METRICS = {
    "modelproxy_requests_total", "modelproxy_request_duration_seconds", "modelproxy_time_to_first_byte_seconds",
    "modelproxy_in_flight_requests", "modelproxy_upstream_faults_total", "modelproxy_shadow_requests_total",
    "modelproxy_comparisons_total", "modelproxy_disagreement_distance", "modelproxy_payload_records_total",
    "modelproxy_config_version", "modelproxy_config_last_reload_successful", "modelproxy_variant_weight",
    "modelproxy_unit_source_total", "modelproxy_worker_up", "modelproxy_observer_up", "modelproxy_build_info",
}  # fmt: skip
"""Names that users hold us to: a rename needs an alias for one release."""


def test_promised_metrics_exist() -> None:
    """Every metric that was promised is exposed."""
    assert metric_names() >= CONTRACT_METRICS


def test_every_metric_is_documented() -> None:
    """README's table of metrics, where there is one, names every metric, and none that does not exist."""
    readme = ROOT / "README.md"
    text = readme.read_text() if readme.exists() else ""
    rows = [line for line in text.splitlines() if line.lstrip().startswith("|")]
    documented = set(re.findall(r"\bmodelproxy_[a-z0-9_]*[a-z0-9]\b", "\n".join(rows)))
    if documented:
        assert metric_names() - documented == set()
        unknown = {
            name for name in documented if not name.startswith("modelproxy_observer_")
        } - metric_names()
        assert unknown == set()


@pytest.mark.parametrize("folder", ["proxy", "tests", "benchmarks"])
def test_sources_speak_about_the_product(folder: str) -> None:
    """No file holds a path of somebody's machine."""
    pattern = re.compile(r"/(home|Users|work)/\w+/")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted((ROOT / folder).rglob("*.py"))
        # What the benchmark installs is other people's.
        if path != Path(__file__) and ".work" not in path.parts
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if pattern.search(line)
    ]
    assert not wrong, "\n".join(wrong)


def test_nothing_swallows_a_cancellation() -> None:
    """Nobody waits with ``asyncio.wait_for``: before Python 3.12 it can lose one (python/cpython#86296)."""
    wrong = [
        f"{file}:{line}"
        for file, tree in sources().items()
        for line, name in _attributes(tree)
        if name == "asyncio.wait_for"
    ]
    assert not wrong, "\n".join(wrong)


def _attributes(tree: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"


def test_secrets_are_compared_in_constant_time() -> None:
    """No token or secret is compared by ``==`` or ``in``, which tell by their duration how much was right."""
    secret = re.compile(r"(^|_)(token|secret|offered)$")
    wrong = []
    for file, tree in sources().items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Compare) or all(
                isinstance(op, ast.Is | ast.IsNot) for op in node.ops
            ):
                continue
            if file == "routing/units.py":
                continue  # its tokens are those of a JSON pointer
            names = [n.id for n in ast.walk(node) if isinstance(n, ast.Name)]
            names += [n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)]
            wrong += [f"{file}:{node.lineno}: {name}" for name in names if secret.search(name)]
    assert not wrong, "\n".join(wrong)
    digests = [file for file, tree in sources().items() if "compare_digest" in ast.dump(tree)]
    assert digests == ["control/admin.py", "routing/choose.py"], "where secrets of requests are compared"

"""The command line: what it prints, where it prints it, and with which exit code it ends."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest
from click.testing import CliRunner, Result

from proxy import __version__
from proxy.cli import COMMANDS, main

CONFIG = """\
models:
  m1: {url: "http://127.0.0.1:9001"}
  m2: {url: "http://127.0.0.1:9002"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id, "json:/user"]
    variants:
      - {name: v1, model: m1, role: champion}
      - {name: v2, model: m2, role: canary, weight: 5}
    shadows: [{model: m2, percent: 50}]
"""


def run(*arguments: str, **more: Any) -> Result:
    """Run ``modelproxy`` with ``arguments`` in this process."""
    return CliRunner().invoke(main, list(arguments), **more)


@pytest.fixture(name="config")
def fixture_config(tmp_path: Path) -> Path:
    path = tmp_path / "modelproxy.yaml"
    path.write_text(CONFIG)
    return path


def test_alone_it_prints_help() -> None:
    """Without a command the help goes to standard output."""
    result = run()
    assert result.exit_code == 0
    assert result.stdout == run("--help").stdout
    assert all(f"  {name} " in result.stdout for name in COMMANDS)


def test_version() -> None:
    """The version is that of the package."""
    assert run("--version").stdout == f"modelproxy {__version__}\n"


def test_python_m_is_the_same() -> None:
    """``python -m proxy`` prints the same help under the same name."""
    done = subprocess.run(
        [sys.executable, "-m", "proxy", "--help"], capture_output=True, check=True, text=True
    )
    assert done.stdout.startswith("Usage: modelproxy ")
    assert done.stderr == ""


def test_help_imports_none_of_the_heavy_libraries() -> None:
    """Listing the commands stays fast: nothing is imported that only a running command needs."""
    code = (
        "import sys; from proxy.cli import main; main(['--help'], standalone_mode=False);"
        "print([m for m in ('pydantic', 'rich', 'numpy', 'aiohttp', 'uvloop', 'yaml', 'sklearn') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout.endswith("[]\n")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    """Each command explains itself and exits 0."""
    result = run(name, "--help")
    assert result.exit_code == 0
    assert f"Usage: main {name}" in result.stdout


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "demo"])
def test_every_command_shows_an_example(name: str) -> None:
    """The help of a command has an example that can be pasted."""
    assert f"modelproxy {name}" in run(name, "--help").stdout


@pytest.mark.parametrize(
    "arguments",
    [
        ["servee"],
        ["serve"],
        ["validate"],
        ["explain", "x.yaml"],
        ["plan", "x.yaml"],
        ["status", "--nope"],
        ["--nope"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    """What cannot be understood goes to standard error and ends with 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Error: " in result.stderr
    assert result.stdout == ""


def test_a_mistyped_command_is_recognised() -> None:
    """The nearest command is suggested."""
    assert "Did you mean 'serve'?" in run("servee").stderr


def test_serve_hands_the_file_over_and_passes_the_exit_code_on(
    config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor gets the path, and its exit code is the command's."""
    given: list[Path] = []

    def serve_and_fail(path: Path) -> int:
        given.append(path)
        return 3

    monkeypatch.setattr("proxy.supervisor.serve", serve_and_fail)
    assert run("serve", str(config)).exit_code == 3
    assert given == [config]


def test_validate_accepts(config: Path) -> None:
    """A good file is said to be good, on standard output."""
    result = run("validate", str(config))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{config}: ok (1 route, 2 models)\n"


def test_validate_shows_every_problem(config: Path) -> None:
    """Each problem is one line on standard error with file, line and column."""
    config.write_text(CONFIG.replace("weight: 5", "weight: 500").replace("model: m1", "model: m9"))
    result = run("validate", str(config))
    assert (result.exit_code, result.stdout) == (1, "")
    lines = result.stderr.splitlines()
    assert all(line.startswith(f"{config}:") for line in lines[:-1])
    assert lines[-1] == "2 problems; this file would be refused"
    assert any("routes[0].variants[1].weight: found 500, expected" in line for line in lines)
    assert any("routes[0].variants[0].model: found" in line for line in lines)


def test_validate_shows_warnings(config: Path) -> None:
    """A warning goes to standard error and does not refuse."""
    again = CONFIG[CONFIG.index("  - name: wine") :].replace("name: wine", "name: again")
    config.write_text(CONFIG + again)
    result = run("validate", str(config))
    assert result.exit_code == 0
    assert result.stderr.startswith(f"warning: {config}:")
    document = orjson.loads(run("validate", str(config), "--json").stdout)
    assert document["ok"]
    assert document["warnings"][0]["path"].startswith("routes[1]")


def test_validate_as_json(config: Path) -> None:
    """For machines: ok and the problems, whatever the outcome."""
    assert orjson.loads(run("validate", str(config), "--json").stdout)["ok"] is True
    config.write_text(CONFIG.replace("weight: 5", "weight: 500"))
    result = run("validate", str(config), "--json")
    assert result.exit_code == 1
    (problem,) = orjson.loads(result.stdout)["problems"]
    assert (problem["line"], problem["path"]) == (10, "routes[0].variants[1].weight")


@pytest.mark.parametrize(
    "arguments",
    [["validate"], ["explain", "--path", "/"], ["plan"]],
    ids=["validate", "explain", "plan"],
)
def test_a_missing_file_is_exit_code_1(tmp_path: Path, arguments: list[str]) -> None:
    """A file that is not there is named on standard error."""
    name, *options = arguments
    missing = str(tmp_path / "none.yaml")
    result = run(name, missing, *([missing] if name == "plan" else []), *options)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "none.yaml: found no such file" in result.stderr


def test_schema_is_a_json_schema() -> None:
    """The schema goes to standard output as JSON."""
    document = orjson.loads(run("schema").stdout)
    assert "json-schema.org" in document["$schema"]
    assert "routes" in document["properties"]


def test_schema_of_a_record() -> None:
    """That of a payload record is another."""
    document = orjson.loads(run("schema", "--record").stdout)
    assert "kept_by" in document["properties"]


def explain(config: Path, *options: str, **more: Any) -> Any:
    result = run("explain", str(config), "--path", "/v2/models/wine/infer", *options, **more)
    assert result.exit_code == 0, result.stderr
    return orjson.loads(result.stdout)


def test_explain_has_the_fields_of_the_contract(config: Path) -> None:
    """Everything that the contract names is there."""
    told = explain(config, "--header", "X-User-Id: 42")
    assert {
        "route", "rule", "unit", "unit_source", "bucket", "fraction", "variant", "role", "model",
        "upstream_url", "shadows", "asked_twice", "logged", "probability", "table_version", "reason",
    } <= told.keys()  # fmt: skip
    assert (told["route"], told["unit"], told["unit_source"]) == ("wine", "42", "header:x-user-id")
    assert told["table_version"] is None
    assert told["shadows"][0].keys() == {"model", "percent", "mirrored", "bucket"}


def test_explain_reads_a_body(config: Path, tmp_path: Path) -> None:
    """A body is given as text, as a file, or on standard input."""
    body = tmp_path / "body.json"
    body.write_text('{"user": "bob"}')
    told = [
        explain(config, "--body", '{"user": "bob"}'),
        explain(config, "--body", f"@{body}"),
        explain(config, "--body", "@-", input='{"user": "bob"}'),
    ]
    assert told[0]["unit"] == "bob"
    assert told[0] == told[1] == told[2]


def test_explain_without_a_route(config: Path) -> None:
    """An unknown path lists the patterns and ends with 1, still as JSON."""
    result = run("explain", str(config), "--path", "/nope")
    assert result.exit_code == 1
    assert orjson.loads(result.stdout)["routes"] == ["/v2/models/wine/*"]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--path", "nope"], "begins with '/'"),
        (["--path", "/", "--header", "x-user-id"], "expected 'name: value'"),
        (["--path", "/", "--body", "@/does/not/exist"], "/does/not/exist cannot be read"),
    ],
)
def test_explain_refuses_what_is_no_request(config: Path, options: list[str], expected: str) -> None:
    """A wrong option is wrong usage, and says what is expected."""
    result = run("explain", str(config), *options)
    assert result.exit_code == 2
    assert expected in " ".join(result.stderr.split())


@pytest.fixture(name="ramped")
def fixture_ramped(tmp_path: Path) -> Path:
    path = tmp_path / "ramped.yaml"
    path.write_text(CONFIG.replace("weight: 5", "weight: 20"))
    return path


def test_plan_of_no_change(config: Path) -> None:
    """The same file twice moves nobody."""
    assert run("plan", str(config), str(config)).stdout == "nobody moves\n"
    assert orjson.loads(run("plan", str(config), str(config), "--json").stdout)["moves"] is False


def test_plan_of_a_ramp(config: Path, ramped: Path) -> None:
    """The share that moves is shown with at most three decimals."""
    result = run("plan", str(config), str(ramped))
    assert result.exit_code == 0
    assert "route wine: 15 % of units move" in result.stdout
    assert ["v1", "v2", "15", "%"] in [line.split() for line in result.stdout.splitlines()]


def test_plan_as_json(config: Path, ramped: Path) -> None:
    """For machines the share is a percent and an exact fraction of the bucket space."""
    (route,) = orjson.loads(run("plan", str(config), str(ramped), "--json").stdout)["routes"]
    (move,) = route["moves"]
    assert (move["from"], move["to"]) == ("v1", "v2")
    assert move["percent"] == pytest.approx(15)
    numerator, denominator = map(int, move["exact"].split("/"))
    assert 2**64 % denominator == 0
    assert numerator / denominator == pytest.approx(0.15)


def test_plan_counts_given_units(config: Path, ramped: Path, tmp_path: Path) -> None:
    """The units of a file, or of standard input, are counted and the first movers named."""
    lines = "".join(f"user-{number}\n" for number in range(1000)) + "\n"
    units = tmp_path / "units.txt"
    units.write_text(lines)
    result = run("plan", str(config), str(ramped), "--units", str(units))
    piped = run("plan", str(config), str(ramped), "--units", "-", input=lines)
    assert result.stdout == piped.stdout
    document = orjson.loads(run("plan", str(config), str(ramped), "--units", str(units), "--json").stdout)
    counted = document["routes"][0]["units"]
    assert counted["total"] == 1000
    assert f"{counted['moved']} of 1000 given units move" in result.stdout
    assert len(counted["first"]) == 20
    assert f"… and {counted['moved'] - 20} more" in result.stdout


def test_plan_with_missing_units(config: Path) -> None:
    """A file of units that is not there is one sentence and exit code 1."""
    result = run("plan", str(config), str(config), "--units", "/does/not/exist")
    assert result.exit_code == 1
    assert result.stderr == "/does/not/exist: No such file or directory\n"


def test_plan_says_routes_that_come_and_go(config: Path, tmp_path: Path) -> None:
    """Added and removed routes are named."""
    other = tmp_path / "other.yaml"
    other.write_text(CONFIG.replace("name: wine", "name: beer"))
    lines = run("plan", str(config), str(other)).stdout.splitlines()
    assert [line.split(";")[0] for line in lines] == ["route beer: added", "route wine: removed"]


STATUS: dict[str, Any] = {
    "version": "0.1.0",
    "config": {"version": 7, "last_reload_successful": True, "last_error": []},
    "workers": [{"index": 0, "pid": 1, "up": True, "version": 7, "restarts": 2}],
    "observer": {},
    "routes": [
        {
            "name": "wine",
            "table_version": 7,
            "variants": [
                {
                    "name": "v1", "role": "champion", "model": "m1", "weight": 95, "requests": 1234, "errors": 0,
                    "in_flight": 3, "latency_ms": {"p50": 1.5, "p95": 2.25, "p99": None},
                }
            ],
            "unit_sources": {"header:x-user-id": 1200, "missing": 34},
            "shadows": [
                {
                    "model": "m2", "percent": 50, "eligible": 600, "sent": 590, "dropped": 10, "answered": 580,
                    "failed": 10, "agree": 500, "disagree": 75, "uncomparable": 5, "comparison_dropped": 0,
                    "disagreement_rate": 75 / 575, "mean_distance": 0.125,
                }
            ],
            "log": {"percent": 5, "dir": "/var/p", "sampled": 60, "written": 59, "dropped": 1, "failed": 0},
        },
        {"name": "[bold]beer", "variants": [], "shadows": [], "unit_sources": {}, "log": {"percent": 0}},
    ],
    "models": [
        {
            "name": "m1", "url": "http://127.0.0.1:9001", "faults": {"timeout": 4, "reset": 0},
            "servers": [{"url": "http://127.0.0.1:9001"}],
        },
        {
            "name": "m2", "url": "http://127.0.0.1:9002", "faults": {},
            "servers": [
                {
                    "url": "http://127.0.0.1:9002", "up": True, "unhealthy_workers": 0, "ejected": 0, "ejections": 3,
                    "checks": {"passed": 7, "failed": 2}, "asked_unhealthy": 0,
                },
                {
                    "url": "http://127.0.0.1:9003", "up": False, "unhealthy_workers": 2, "ejected": 1, "ejections": 1,
                    "checks": {"passed": 0, "failed": 9}, "asked_unhealthy": 0,
                },
            ],
        },
    ],
}  # fmt: skip


@contextmanager
def admin_answering(code: int, body: bytes) -> Iterator[str]:
    """Serve one answer to everything on a free port; yield the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code if self.path == "/api/v1/status" else 418)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Say nothing."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_status_as_tables() -> None:
    """Variants, shadows, log, faults and workers are shown; names are never read as markup."""
    with admin_answering(200, orjson.dumps(STATUS)) as admin:
        result = run("status", "--admin", admin)
    assert result.exit_code == 0, result.stderr
    rows = [" ".join(line.split()) for line in result.stdout.splitlines()]
    assert rows[0] == "modelproxy 0.1.0 config version 7 workers 1/1 up, 2 restarts"
    assert "v1 champion m1 95 % 1234 0 3 1.50 2.25 –" in rows
    assert "m2 50 % 590 10 580 10 500 75 13.04% 5 0.1250" in rows
    assert "units from: header:x-user-id 1200, missing 34" in rows
    assert "payload log: 5 % of units into /var/p: sampled 60, written 59, dropped 1, failed 0" in rows
    assert "m1 http://127.0.0.1:9001 timeout 4" in rows
    assert "m2 http://127.0.0.1:9002 up 9 2 3" in rows
    assert "m2 http://127.0.0.1:9003 unhealthy in 2 workers, ejected 9 9 1" in rows
    assert not any(row.startswith("m1 http://127.0.0.1:9001 up") for row in rows)
    assert "route [bold]beer" in rows
    assert "\x1b" not in result.stdout


ROLLOUTS: list[tuple[str, dict[str, Any], list[str]]] = [
    (
        "ramping",
        {},
        ["rollout of v2: ramping, step 2 of 3 at 25 % for 1 h 2 min, by engine: as good as the champion"],
    ),
    (
        "judged",
        {"judgement": {"verdict": "hold", "sentence": "Too few requests: 200 more."}},
        [" engine: Too few requests: 200 more."],
    ),
    (
        "paused in a dry run",
        {"paused_by": "admin 127.0.0.1", "dry_run": True},
        [
            " paused by admin 127.0.0.1: the engine moves nothing until resume",
            " dry run: the engine moves nothing",
        ],
    ),
    (
        "paused for a reason",
        {"paused_by": "anna", "paused_reason": "a sale"},
        [" paused by anna (a sale): the engine moves nothing until resume"],
    ),
    (
        "rolled back",
        {"phase": "rolled_back", "weight": 0, "seconds_in_step": 5.7, "by": "admin ::1", "reason": "bad"},
        [
            "rollout of v2: rolled back at 0 % for 5 s, by admin ::1: bad",
            " modelproxy resume wine starts it again; so does another name, model or server",
        ],
    ),
    (
        "nothing twice",
        {
            "reason": "v2 is rolled back: too slow",
            "judgement": {"sentence": "v2 stays: it was rolled back: too slow"},
        },
        ["rollout of v2: ramping, step 2 of 3 at 25 % for 1 h 2 min, by engine: v2 is rolled back: too slow"],
    ),
]


@pytest.mark.parametrize(
    ("change", "lines"), [case[1:] for case in ROLLOUTS], ids=[case[0] for case in ROLLOUTS]
)
def test_status_shows_the_rollout(change: dict[str, Any], lines: list[str]) -> None:
    """Where it stands, for how long, by whom and why; what the engine thinks of it; what keeps it from moving."""
    rollout = {
        "variant": "v2", "phase": "ramping", "step": 1, "steps": [5, 25, 50], "weight": 25, "seconds_in_step": 3725,
        "by": "engine", "reason": "as good as the champion", "paused_by": "", "dry_run": False, "judgement": None,
        **change,
    }  # fmt: skip
    routes = [{**STATUS["routes"][0], "rollout": rollout}, *STATUS["routes"][1:]]
    with admin_answering(200, orjson.dumps({**STATUS, "routes": routes})) as admin:
        result = run("status", "--admin", admin)
    assert result.exit_code == 0, result.stderr
    shown = [line.replace("  ", " ").rstrip() for line in result.stdout.splitlines()]
    assert [line for line in lines if line not in shown] == []
    assert sum(rollout["reason"].rpartition(": ")[2] in line for line in shown) == 1


def test_status_shows_a_refused_reload() -> None:
    """The problems of the last reload are shown."""
    config = {
        "version": 7,
        "last_reload_successful": False,
        "last_error": ["x.yaml:1:1: found a, expected b"],
    }
    with admin_answering(200, orjson.dumps({**STATUS, "config": config})) as admin:
        result = run("status", "--admin", admin)
    assert "the last reload was refused" in result.stdout
    assert "x.yaml:1:1: found a, expected b" in result.stdout


HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b31m\r\u202e"
"""Sets a terminal's title, clears it, makes it red, goes back to the margin, reverses what follows."""


def test_nothing_shown_reaches_the_terminal_as_more_than_text(tmp_path: Path) -> None:
    """Escape sequences in a status, an error, a file or a list of units are shown, not obeyed."""
    config = {"version": 7, "last_reload_successful": False, "last_error": [f"x.yaml: found {HOSTILE}"]}
    status = {**STATUS, "version": HOSTILE, "config": config}
    with admin_answering(200, orjson.dumps(status)) as admin:
        shown = [
            run("status", "--admin", admin, color=True),
            run("status", "--json", "--admin", admin, color=True),
        ]
    assert orjson.loads(shown[1].stdout)["version"] == HOSTILE
    with admin_answering(503, orjson.dumps({"error": HOSTILE})) as admin:
        shown.append(run("status", "--admin", admin, color=True))
    old, new, units = tmp_path / "old.yaml", tmp_path / "new.yaml", tmp_path / "units"
    old.write_text(CONFIG)
    new.write_text(CONFIG.replace("weight: 5", "weight: 100"))
    units.write_text("".join(f"{HOSTILE}{i}\n" for i in range(20)), newline="\n")
    shown.append(run("plan", str(old), str(new), "--units", str(units), color=True))
    assert "owned" in shown[-1].stdout
    wrong = tmp_path / "wrong.yaml"
    key = '"' + HOSTILE.encode("unicode_escape").decode() + '"'
    wrong.write_text(
        CONFIG.replace("model: ", "model: no-", 1).replace("models:", f"models:\n  {key}: 1\n", 1)
    )
    shown.append(run("validate", str(wrong), color=True))
    assert "owned" in shown[-1].stderr
    for result in shown:
        text = (result.stdout + result.stderr).replace("\n", "")
        assert text.isprintable(), repr(text)


def test_status_of_one_route() -> None:
    """With a route only that one is shown, as JSON too."""
    with admin_answering(200, orjson.dumps(STATUS)) as admin:
        document = orjson.loads(run("status", "wine", "--json", "--admin", admin).stdout)
        unknown = run("status", "nope", "--admin", admin)
    assert [route["name"] for route in document["routes"]] == ["wine"]
    assert unknown.exit_code == 1
    assert unknown.stderr == "no route is called nope; there are: wine, [bold]beer\n"


def test_status_takes_the_address_from_the_environment() -> None:
    """``MODELPROXY_ADMIN`` stands for ``--admin``, and the scheme may be left out."""
    with admin_answering(200, orjson.dumps(STATUS)) as admin:
        result = run("status", "--json", env={"MODELPROXY_ADMIN": admin.removeprefix("http://")})
    assert orjson.loads(result.stdout)["version"] == "0.1.0"


FAILURES: list[tuple[str, int, bytes, str]] = [
    ("not ready", 503, b'{"error": "no configuration is in force yet"}', "no configuration is in force yet"),
    ("something else", 200, b"<html>", "is no admin address of modelproxy"),
    ("something else in JSON", 200, b"[]", "is no admin address of modelproxy"),
    ("not found", 404, b"{}", "answers 404 but is no admin address"),
]


@pytest.mark.parametrize(
    ("code", "body", "expected"), [case[1:] for case in FAILURES], ids=[case[0] for case in FAILURES]
)
def test_status_of_something_else(code: int, body: bytes, expected: str) -> None:
    """An answer that is not a status is one sentence and exit code 1."""
    with admin_answering(code, body) as admin:
        result = run("status", "--admin", admin)
    assert (result.exit_code, result.stdout) == (1, "")
    assert expected in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_status_of_nobody() -> None:
    """When nothing listens that is one sentence and exit code 1."""
    with admin_answering(200, b"") as admin:
        pass
    result = run("status", "--admin", admin)
    assert result.exit_code == 1
    assert (
        result.stderr == f"nothing listens on {admin}: is the proxy running, and is that its admin address?\n"
    )


@pytest.mark.parametrize("admin", ["ftp://127.0.0.1", "http://", "http://127.0.0.1:http"])
def test_status_at_no_address(admin: str) -> None:
    """What is no address is wrong usage."""
    assert run("status", "--admin", admin).exit_code == 2

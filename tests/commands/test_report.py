"""``modelproxy report``: what is asked or read, what is written, and with which exit code it ends."""

from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from click.testing import CliRunner, Result

from proxy.cli import main
from proxy.engine.ledger import Epoch, Ledger
from proxy.engine.store import Batch, open_store
from proxy.rollout.slices import FIELDS, FIRST_LATENCY
from proxy.routing.hashing import SPACE
from tests.commands.keeping import keep
from tests.commands.serving import answering
from tests.report.reading import read
from tests.report.told import bad_rollout, good_rollout


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["report", *arguments])


def answer(**changes: Any) -> bytes:
    return orjson.dumps({"route": "wine", "evidence": {**bad_rollout().document(), **changes}})


def test_markdown_of_a_running_proxy() -> None:
    """The report of the route is on standard output; the deciding snapshot is asked for."""
    with answering(200, answer()) as asked:
        result = run("wine", "--admin", asked.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("# Rollout of v3 on route wine\n\n**v3 was rolled back at 1 %")
    assert f"modelproxy report wine --admin {asked.url} --verify" in result.stdout
    paths = [path for _, path, _, _ in asked.requests]
    assert paths[0] == "/api/v1/routes/wine/rollout"
    assert len(paths) == 2
    assert paths[1].startswith("/api/v1/evidence/")


def test_html(tmp_path: Path) -> None:
    """The page goes into a file, or to standard output."""
    place = tmp_path / "wine.html"
    with answering(200, answer()) as asked:
        result = run("wine", "--admin", asked.url, "--html", str(place))
        other = run("wine", "--admin", asked.url, "--html", "-")
        bad = run("wine", "--admin", asked.url, "--html", str(tmp_path / "no" / "where.html"))
    assert (result.exit_code, result.stdout) == (0, "")
    assert place.read_text(encoding="utf-8") == other.stdout
    assert "svg" in read(other.stdout).tags
    assert bad.exit_code == 1
    assert "No such file" in bad.stderr


def test_json() -> None:
    """Machines get the evidence as it is."""
    with answering(200, answer()) as asked:
        result = run("wine", "--admin", asked.url, "--json")
    assert orjson.loads(result.stdout)["evidence"]["variant"] == "v3"


REFUSED = [
    (404, {"error": "route wine has no rollout"}, "route wine has no rollout"),
    (503, {"error": "not yet"}, "not yet"),
    (200, {"route": "wine", "evidence": None}, "nothing has been counted yet"),
    (200, {"route": "wine", "evidence": {"rollout": 7}}, "expected the evidence of a rollout"),
    (200, [], "is no admin address"),
    (500, {}, "is no admin address"),
]


@pytest.mark.parametrize(("code", "document", "sentence"), REFUSED)
def test_nothing_to_report(code: int, document: Any, sentence: str) -> None:
    """What comes instead of evidence is told in a sentence, with exit code 1."""
    with answering(code, orjson.dumps(document)) as asked:
        result = run("wine", "--admin", asked.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert sentence in result.stderr


WRONG = [
    (["--list"], "need --state-dir"),
    (["wine", "--rollout", "ab"], "need --state-dir"),
    (["wine", "--html", "-", "--json"], "--html goes with neither"),
    ([], "Missing argument 'ROUTE'"),
]


@pytest.mark.parametrize(("arguments", "sentence"), WRONG)
def test_wrong_usage(arguments: list[str], sentence: str) -> None:
    """Options that do not go together end with exit code 2."""
    result = run(*arguments)
    assert result.exit_code == 2
    assert sentence in result.stderr


def test_from_a_state_directory(tmp_path: Path) -> None:
    """Rollouts that are over are listed and reported without any proxy: the newest, or one by its id."""
    keep(tmp_path, bad_rollout(), good_rollout())
    listed = run("--state-dir", str(tmp_path), "--list")
    rows = [line.split()[:3] for line in listed.stdout.splitlines() if "wine" in line]
    assert rows == [
        ["0" * 16, "wine", "v3"],
        ["1" * 16, "wine", "v3"],
    ]
    assert len(orjson.loads(run("--state-dir", str(tmp_path), "--list", "--json").stdout)) == 2
    newest, older = (run("wine", "--state-dir", str(tmp_path), *each) for each in ([], ["--rollout", "000"]))
    assert "v3 was promoted to 100 %" in newest.stdout
    assert "v3 was rolled back at 1 %" in older.stdout
    assert "| 2025-" in older.stdout
    assert f"--state-dir {tmp_path} --rollout {'0' * 16} --verify" in older.stdout


def test_json_from_a_state_directory(tmp_path: Path) -> None:
    """The evidence on the disk is told as the admin address tells it."""
    keep(tmp_path, good_rollout())
    found = orjson.loads(run("wine", "--state-dir", str(tmp_path), "--json").stdout)["evidence"]
    assert found["state"]["phase"] == "promoted"
    assert {"points", "epochs", "decisions", "history", "guardrails"} <= found.keys()


def test_a_split_from_a_state_directory(tmp_path: Path) -> None:
    """Variants with fixed weights are compared with the one that has the most."""
    store = open_store(tmp_path, 0)
    ledger = Ledger(FIELDS)
    ledger.admit(Epoch("e", ("v1", "v2"), (SPACE // 4 * 3, SPACE // 4), 10**18))
    counts = np.zeros((2, FIELDS), np.int64)
    for row, (units, errors) in enumerate([(3000, 30), (1000, 60)]):
        counts[row, [0, 1]], counts[row, [2, 5, 8]] = units, errors
        counts[row, FIRST_LATENCY + 200] = units
    ledger.merge("run", "e", 10**8, counts)
    store.write([Batch("ab" * 8, "wine", "", 10**18 + 10**10, ledger.take_changes())])
    store.close()
    result = run("wine", "--state-dir", str(tmp_path))
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(
        "# Comparison on route wine\n\n**After 1,000 requests it is certain that v2 fails more"
    )
    assert "Weights are fixed: nothing was decided." in result.stdout


def test_a_state_directory_without_it(tmp_path: Path) -> None:
    """A directory, route or id that is not there is told with what there is."""
    assert "there is no evidence here" in run("wine", "--state-dir", str(tmp_path)).stderr
    keep(tmp_path, bad_rollout())
    assert "there are: wine" in run("beer", "--state-dir", str(tmp_path)).stderr
    found = run("wine", "--state-dir", str(tmp_path), "--rollout", "77")
    assert (found.exit_code, "expected one of the rollouts 0000" in found.stderr) == (1, True)


def test_verify(tmp_path: Path) -> None:
    """Every decision comes out the same, and one that was tampered with ends with exit code 1."""
    keep(tmp_path, bad_rollout())
    result = run("wine", "--state-dir", str(tmp_path), "--verify")
    assert result.exit_code == 0, result.output
    assert f"{len(bad_rollout().decisions)} decisions come out the same, byte for byte" in result.stdout
    keep(tmp_path, bad_rollout(), tamper=True)
    result = run("wine", "--state-dir", str(tmp_path), "--verify")
    assert result.exit_code == 1
    assert "altered" in result.stdout
    assert "1 of " in result.stderr
    document = orjson.loads(run("wine", "--state-dir", str(tmp_path), "--verify", "--json").stdout)
    assert document["good"] is False
    assert {each["outcome"] for each in document["checks"]} == {"same", "altered"}


def test_verify_a_running_proxy() -> None:
    """Snapshots that a proxy does not have any more are missed."""
    with answering(200, answer()) as asked:
        result = run("wine", "--admin", asked.url, "--verify")
    assert result.exit_code == 1
    with answering(200, answer(decisions=[], history=[])) as asked:
        result = run("wine", "--admin", asked.url, "--verify")
    assert (result.exit_code, "there is no decision to make again" in result.stdout) == (0, True)

"""The final tables and the JSON say what the facts say."""

import io
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from rich.console import Console

from proxy.demo.checks import judge
from proxy.demo.facts import Facts
from proxy.demo.report import Places, build_document, print_report, shadow_rows, variant_rows
from proxy.demo.trial_checks import judge_trials
from tests.demo.demo_world import WORLD
from tests.demo.trial_world import TRIALS

FOLDER = Path("/run/demo")
PLACES = Places(
    folder=FOLDER,
    config=FOLDER / "modelproxy.yaml",
    versions=[FOLDER / "versions" / f"{i}.yaml" for i in (1, 2, 3)],
    log=FOLDER / "modelproxy-state" / "payloads",
    state=FOLDER / "modelproxy-state",
    listen="127.0.0.1:8080",
    admin="http://127.0.0.1:9090",
)


def printed(facts: Facts, *, kept: bool = False) -> str:
    """The report as text."""
    console = Console(file=io.StringIO(), width=160)
    print_report(console, facts, TRIALS, judge(facts) + judge_trials(TRIALS), PLACES, kept=kept)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_variant_rows() -> None:
    """Requests, percentiles, accuracy and agreement of each variant come from the facts."""
    champion, _, canary = variant_rows(WORLD)
    assert (champion.requests, champion.failed) == (sum(a.variant == "v1" for a in WORLD.answers), 0)
    assert champion.right == 1.0
    assert champion.agreement == 1.0
    assert champion.client_ms[0] == pytest.approx(2.1, abs=0.05)
    assert champion.proxy_ms[0] == pytest.approx(5.0)
    assert canary.agreement == pytest.approx(2 / 3, abs=0.05)


def test_a_variant_without_requests_has_no_percentiles() -> None:
    """Nothing is measured of a variant that nobody met."""
    row = variant_rows(replace(WORLD, answers=[a for a in WORLD.answers if a.variant != "v3"]))[2]
    assert (row.requests, row.client_ms, row.right) == (0, (None, None, None), None)


def test_shadow_rows() -> None:
    """What the proxy counted of each shadow is shown as it was counted."""
    forest, again = shadow_rows(WORLD)
    assert (forest.model, forest.sent, forest.compared) == ("m4", 600, 600)
    assert again.family == "the champion a second time"


def test_the_report_says_that_all_holds() -> None:
    """A good run ends with every check, the reloads, the place of the log and commands to try."""
    text = printed(WORLD)
    checks = len(judge(WORLD)) + len(judge_trials(TRIALS))
    for said in (
        f"{checks} of {checks} checks hold",
        "canary 10 % → 30 %",
        "20 users v1 → v3",
        str(PLACES.log),
        "rolled back by itself",
        "report parcels --state-dir /run/demo/modelproxy-state",
        "Written up in report-v4.html",
        "demo --keep",
    ):
        assert said in text
    assert "✗" not in text


def test_the_report_says_what_does_not_hold() -> None:
    """A failed check is shown with what was expected and what was found."""
    text = printed(replace(WORLD, claims=replace(WORLD.claims, faults={"m1": 3})))
    assert "✗ no_faults: no upstream fault" in text
    assert "expected faults 0" in text
    assert "got      faults 3" in text


def test_a_kept_run_names_the_running_addresses() -> None:
    """What needs a running proxy is offered only while one runs."""
    for verb in ("status", "promote"):
        assert f"{verb} parcels --admin http://127.0.0.1:9090" in printed(WORLD, kept=True)
        assert f"{verb} parcels --admin" not in printed(WORLD)


def test_the_document_is_json() -> None:
    """The result for machines holds the tables and every check."""
    document = orjson.loads(orjson.dumps(build_document(WORLD, TRIALS, judge(WORLD), PLACES)))
    assert document["ok"] is True
    assert document["requests"] == 600
    assert [row["variant"] for row in document["variants"]] == ["v1", "v2", "v3"]
    assert [row["variant"] for row in document["rollouts"]["builds"]] == ["v3", "v4", "v5"]
    assert len(document["checks"]) == len(judge(WORLD))

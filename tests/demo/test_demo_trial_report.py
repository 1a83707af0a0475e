"""The rows about the rollouts say what became of each build."""

import io
from dataclasses import replace

import orjson
import pytest
from rich.console import Console

from proxy.demo.trial_report import build_trials, print_trials, trial_rows
from tests.demo.trial_world import TRIALS


def test_rows() -> None:
    """Weights come from the journal, requests and failures from the models' books."""
    skewed, broken, fixed = trial_rows(TRIALS)
    assert (skewed.weights, skewed.by, skewed.requests, skewed.copies) == ((0.0,), "a person", 0, 500)
    assert (broken.weights, broken.by, broken.requests, broken.failed) == ((5.0, 0.0), "engine", 15, 4)
    assert broken.users == 5
    assert broken.log10_e == pytest.approx(4.473, abs=0.001)
    assert (fixed.weights, fixed.by) == ((0.0, 5.0, 25.0, 50.0, 100.0), "engine")
    assert [row.said for row in (skewed, broken, fixed)] == [
        "held: 50% of its copies differ; aborted",
        "rolled back by itself: e = 29,733",
        "promoted by itself",
    ]


def test_a_rollout_that_never_moved() -> None:
    """Without a line in the journal it has one weight and nobody who moved it."""
    lost = [replace(trial, rollout="", phase="") for trial in TRIALS.trials]
    row = trial_rows(replace(TRIALS, trials=lost))[0]
    assert (row.weights, row.by, row.log10_e, row.said) == ((0.0,), "nobody", None, "never began")


def test_the_table_fits_and_says_who_noticed() -> None:
    """A pipe's width holds every row, and a sentence says what clients saw of the failures."""
    console = Console(file=io.StringIO(), width=110)
    print_trials(console, TRIALS)
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert max(map(len, lines)) <= 110
    assert any(line.startswith("v5") and line.rstrip().endswith("promoted by itself") for line in lines)
    assert any(line.startswith("0 of 3,500 requests failed for their clients. The 4 that") for line in lines)


def test_the_document_is_json() -> None:
    """The result for machines holds a row for each build and where the reports are."""
    document = orjson.loads(orjson.dumps(build_trials(TRIALS)))
    assert [row["variant"] for row in document["builds"]] == ["v3", "v4", "v5"]
    assert (document["requests"], document["failed"], len(document["reports"])) == (3500, 0, 3)

"""Where reports get their evidence from."""

from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest

from proxy.commands.evidence import list_stored, read_evidence
from proxy.control.book import Book, Content, Entry
from proxy.engine.ledger import Epoch, Ledger
from proxy.engine.store import Batch, open_store
from proxy.report.facts import gather
from proxy.rollout.slices import FIELDS
from proxy.rollout.state import Phase
from proxy.rollout.transitions import Action
from proxy.routing.hashing import SPACE
from tests.commands.keeping import keep
from tests.report.told import bad_rollout, good_rollout, tell
from tests.rollout.world import plan


def test_the_disk_tells_what_the_proxy_told(tmp_path: Path) -> None:
    """Counts, points, decisions and history of a rollout that is over are those that were shown while it ran."""
    told = bad_rollout()
    keep(tmp_path, told)
    found, shown = read_evidence(tmp_path, "wine", None).document, told.document()
    assert [each["decision"]["verdict"] for each in found["decisions"]] == [
        each["decision"]["verdict"] for each in shown["decisions"]
    ]
    assert found["points"] == shown["points"]
    assert len(found["history"]) == len(told.history)
    mine, other = (
        sum(v["requests"] for e in each["epochs"] for v in e["variants"]) for each in (found, shown)
    )
    assert mine == other
    assert found["canary_requests"] == shown["canary_requests"]
    assert found["champion"] == "v1"


def test_where_it_stands(tmp_path: Path) -> None:
    """The book says it while it is there; afterwards the last decision does, and whoever moved it later."""
    keep(tmp_path, bad_rollout(), good_rollout())
    for rollout, phase in (("0" * 16, Phase.ROLLED_BACK), ("1" * 16, Phase.PROMOTED)):
        found = read_evidence(tmp_path, "wine", rollout)
        facts = gather("wine", found.document, {})
        assert facts.state is not None
        assert (facts.state.phase, facts.state.by) == (phase, "engine")
    world = good_rollout().world
    state = read_evidence(tmp_path, "wine", None).document["state"]
    paused = type(world.state).from_document({**state, "paused_by": "anna"})
    Book(tmp_path).write(Content({"wine": Entry(paused, world.plan.document())}))
    assert read_evidence(tmp_path, "wine", None).document["state"]["paused_by"] == "anna"


def test_a_pause_settles_nothing(tmp_path: Path) -> None:
    """Of a pause in the journal one learns who and why; who brought it into its phase stays; resume ends it."""
    told = tell(plan(), rate=500).run(3)
    for sequence, verb in enumerate(("pause", "resume"), 8):
        told.history.append(
            {
                "ts": "2026-01-01T00:00:00.000Z", "event": "verb", "rollout": told.world.state.rollout,
                "route": "wine", "by": "anna", "reason": "lunch", "verdict": verb, "phase": "ramping",
                "sequence": sequence,
            }
        )  # fmt: skip
        keep(tmp_path / verb, told)
    paused, resumed = (
        read_evidence(tmp_path / verb, "wine", None).document["state"] for verb in ("pause", "resume")
    )
    assert (paused["by"], paused["paused_by"], paused["paused_reason"]) == ("engine", "anna", "lunch")
    assert (resumed["by"], resumed["paused_by"], resumed["paused_reason"]) == ("engine", "", "")


def test_a_person_was_last(tmp_path: Path) -> None:
    """What somebody did after the last decision is read from the journal."""
    told = tell(plan(), rate=500).run(3)
    told.move(Action.ABORT, "anna", "looks odd")
    told.history[-1] |= {"phase": "rolled_back", "sequence": 9}
    keep(tmp_path, told)
    found = read_evidence(tmp_path, "wine", None).document["state"]
    assert (found["phase"], found["by"], found["reason"]) == ("rolled_back", "anna", "looks odd")


def test_many_that_begin_alike(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A beginning of an id has to name one rollout."""
    keep(tmp_path, bad_rollout(), good_rollout())
    with pytest.raises(click.exceptions.Exit):
        read_evidence(tmp_path, "wine", "")
    assert "expected one of the rollouts" in capsys.readouterr().err
    assert [each.rollout[0] for each in list_stored(tmp_path, None)] == ["0", "1"]


def split(state_dir: Path, champion: str) -> None:
    """Keep a split in which the challenger has more than the champion."""
    ledger = Ledger(FIELDS)
    ledger.admit(Epoch("e" * 16, ("v1", "v2"), (SPACE // 4, SPACE - SPACE // 4), 1, champion))
    ledger.merge("run", "e" * 16, 1, np.ones((2, FIELDS), np.int64))
    store = open_store(state_dir, 0)
    store.write([Batch("5" * 16, "beer", "", 7, ledger.take_changes())])
    store.close()


def test_the_champion_of_a_split_is_known(tmp_path: Path) -> None:
    """It is the variant that the file made the champion, whatever its weight; before that was kept, the heaviest."""
    split(tmp_path / "now", "v1")
    assert read_evidence(tmp_path / "now", "beer", None).document["champion"] == "v1"
    split(tmp_path / "before", "")
    assert read_evidence(tmp_path / "before", "beer", None).document["champion"] == "v2"


def test_the_rollout_that_began_last_is_told_of(tmp_path: Path) -> None:
    """Two that were written in one moment are told apart by their beginning, and one that came back by the book."""
    keep(tmp_path, good_rollout(), bad_rollout())
    store = open_store(tmp_path, 0)
    for rollout, at_ns in (("7" * 16, 1 << 62), ("6" * 16, (1 << 62) + 5), ("7" * 16, (1 << 62) + 9)):
        store.write([Batch(rollout, "wine", "v3", at_ns)])
    store.close()
    assert [each.rollout[0] for each in list_stored(tmp_path, "wine")][2:] == ["7", "6"]
    assert read_evidence(tmp_path, "wine", None).document["rollout"] == "6" * 16
    world = good_rollout().world
    standing = replace(world.state, rollout="0" * 16)
    Book(tmp_path).write(Content({"wine": Entry(standing, world.plan.document())}))
    assert read_evidence(tmp_path, "wine", None).document["rollout"] == "0" * 16

"""Decisions made again: the same bytes, or a sentence about what is wrong."""

from collections.abc import Callable
from typing import Any

import orjson
import pytest

from proxy.report.documents import Rollout
from proxy.report.verify import Check, Outcome, verify
from proxy.rollout import record
from tests.report.told import bad_rollout, good_rollout


def checks(document: dict[str, Any], snapshots: dict[str, bytes]) -> list[Check]:
    read = Rollout.read(document)
    return verify(read.decisions, read.history, snapshots.get)


@pytest.mark.parametrize("make", [bad_rollout, good_rollout])
def test_untouched(make: Callable[[], Any]) -> None:
    """Every decision of a rollout comes out the same."""
    told = make()
    found = checks(told.document(), told.snapshots)
    assert len(found) == len(told.decisions)
    assert {each.outcome for each in found} == {Outcome.SAME}


def tampered(change: Callable[[dict[str, Any]], None]) -> Check:
    """Return the check of the rollback after its snapshot was changed, and its digest with it."""
    told = bad_rollout()
    document = told.document()
    last = next(each for each in document["decisions"] if each["decision"]["action"] == "rollback")
    snapshot = orjson.loads(told.snapshots[last["evidence"]])
    change(snapshot)
    data = orjson.dumps(snapshot, option=orjson.OPT_SORT_KEYS)
    last["evidence"] = record.digest(data)
    document["history"] = []
    return next(
        each
        for each in checks(document, {**told.snapshots, last["evidence"]: data})
        if each.number == last["number"]
    )


def fewer_errors(snapshot: dict[str, Any]) -> None:
    columns, values = snapshot["slices"]["canary"][0]
    values[columns.index(8)] -= 1


def another_risk(snapshot: dict[str, Any]) -> None:
    snapshot["plan"]["false_rollback"] = 0.001


def torn(snapshot: dict[str, Any]) -> None:
    del snapshot["slices"]["canary"]


def other_engine(snapshot: dict[str, Any]) -> None:
    snapshot["engine"] = 99


@pytest.mark.parametrize("change", [fewer_errors, another_risk, torn])
def test_a_forged_snapshot(change: Callable[[dict[str, Any]], None]) -> None:
    """Counts, a plan or a shape that were changed lead elsewhere, even where the digest was made to fit."""
    found = tampered(change)
    assert found.outcome is Outcome.DIFFERS
    assert not found.outcome.is_good


def test_another_engine() -> None:
    """What another version decided cannot be made again, and is no forgery."""
    found = tampered(other_engine)
    assert (found.outcome, found.outcome.is_good) == (Outcome.OTHER_ENGINE, True)
    assert "engine 99" in found.sentence


def test_a_snapshot_that_is_not_its_own() -> None:
    """A byte that changed is seen by the digest; what is not there is missing."""
    told = bad_rollout()
    flipped = {digest: data.replace(b'"errors"', b'"errorz"') for digest, data in told.snapshots.items()}
    assert {each.outcome for each in checks(told.document(), flipped)} == {Outcome.ALTERED}
    assert {each.outcome for each in checks(told.document(), {})} == {Outcome.MISSING}


def test_a_forged_decision() -> None:
    """A decision that was rewritten differs from what its snapshot leads to."""
    told = bad_rollout()
    document = told.document()
    document["decisions"][-1]["decision"]["sentence"] = "all was well"
    assert checks(document, told.snapshots)[-1].outcome is Outcome.DIFFERS


def test_a_forged_journal() -> None:
    """The journal and the store have to say the same; a decision that only the journal knows is missed."""
    told = bad_rollout()
    line = told.history[0]
    for change, outcome in (
        ({"verdict": "promote"}, Outcome.ALTERED),
        ({"log_e": {"harm": 1.0}}, Outcome.ALTERED),
        ({"evidence": "0" * 64}, Outcome.MISSING),
    ):
        document = {**told.document(), "history": [{**line, **change}]}
        bad = [each for each in checks(document, told.snapshots) if not each.outcome.is_good]
        assert [each.outcome for each in bad] == [outcome]

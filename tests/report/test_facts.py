"""Which evidence a report is about: that of the decision, or that of now."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.report.documents import DocumentError
from proxy.report.facts import Facts, deciding_digest, gather
from proxy.rollout.state import Phase
from proxy.rollout.transitions import Action
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import Behaviour, plan


def facts_of(told: Told, **changes: Any) -> Facts:
    return gather("wine", {**told.document(), **changes}, told.snapshots)


def test_what_decided() -> None:
    """Of a rollout that is over the evidence of its decision counts, though more was counted since."""
    told = bad_rollout()
    facts = facts_of(told)
    assert facts.deciding is not None
    assert facts.deciding.decision.action == "rollback"
    assert deciding_digest(told.document()) == facts.deciding.evidence
    assert facts.then is not None
    assert facts.now is not None
    assert facts.then.evidence.canary_requests == facts.deciding.decision.requests_exposed
    assert facts.then.now_ns < facts.now.now_ns
    assert facts.then.evidence.harm == pytest.approx(facts.deciding.decision.log_e["harm"])


def test_what_promoted() -> None:
    """Evidence after a promotion begins anew; the report is about that before."""
    facts = facts_of(good_rollout())
    assert facts.then is not None
    assert facts.then.state.phase is Phase.RAMPING
    assert facts.then.evidence.canary_units > 1000


def test_under_way() -> None:
    """While it goes on, what is judged now counts, and needs no snapshot."""
    told = tell(plan(), rate=500).run(3)
    facts = facts_of(told)
    assert facts.then is facts.now
    assert facts.deciding is None
    assert deciding_digest(told.document()) == ""


def test_a_person_ended_it() -> None:
    """What a person took back was no decision of the engine's."""
    told = tell(plan(), rate=500).run(3)
    told.move(Action.ABORT, "anna", "looks odd")
    facts = facts_of(told)
    assert facts.deciding is None
    assert facts.state is not None
    assert facts.state.by == "anna"


def test_a_snapshot_that_cannot_be_read() -> None:
    """Without what the decision was made from the evidence of now is shown."""
    told = bad_rollout()
    for snapshots in ({}, dict.fromkeys(told.snapshots, b"{}"), dict.fromkeys(told.snapshots, b"garbage")):
        facts = gather("wine", told.document(), snapshots)
        assert facts.then is facts.now
        assert facts.deciding is not None


def test_ratios_are_not_pooled() -> None:
    """The ratio comes from the slices of the snapshot; without them it stays within its limits."""
    told = tell(
        plan(), rate=3000, every=6, canary=Behaviour(errors=0.02), champion=Behaviour(errors=0.02)
    ).run(90)
    facts = facts_of(told)
    assert facts.now is not None
    errors = facts.now.evidence.guardrails[0]
    ratio = facts.now.ratio(errors)
    assert ratio is not None
    assert errors.low <= ratio <= errors.high
    bare = replace(errors, canary_events=100, canary_total=100)
    assert facts.now.ratio(bare) == bare.high
    assert facts.now.ratio(replace(errors, champion_events=0)) is None


WRONG = [
    ({"plan": {"route": "wine"}}, "expected a rollout's plan"),
    ({"state": {"route": "wine"}}, "expected variant of a rollout's state"),
    ({"guardrails": [{"name": "errors"}]}, "expected a guardrail's evidence"),
    ({"guardrails": [{"name": "errors", "metric": "novelty", "advisory": False}]}, "novelty"),
]


@pytest.mark.parametrize(("changes", "sentence"), WRONG)
def test_another_version(changes: dict[str, Any], sentence: str) -> None:
    """A plan, state or guardrail that this program does not know is told in a sentence."""
    with pytest.raises(DocumentError, match=sentence):
        facts_of(bad_rollout(), **changes)

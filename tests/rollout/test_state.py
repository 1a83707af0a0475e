"""The state of a rollout: what it is written as, and which weight it means."""

from dataclasses import replace
from decimal import Decimal

import orjson
import pytest

from proxy.rollout.state import Phase, RolloutState, weight
from tests.rollout.world import START, plan, state


def test_a_state_survives_being_written_down() -> None:
    """A document, as JSON and back, is the same state."""
    for phase in Phase:
        written = state(plan(), phase=phase, paused_by="anna", paused_reason="a sale")
        assert RolloutState.from_document(orjson.loads(orjson.dumps(written.document()))) == written


def test_a_state_written_before_pauses_had_reasons_is_read() -> None:
    """What is missing there is empty: a book of an earlier version is not damaged."""
    document = state(plan(), paused_by="anna").document()
    del document["paused_reason"]
    assert RolloutState.from_document(document) == state(plan(), paused_by="anna")


@pytest.mark.parametrize(
    "damage", [{"step": "1"}, {"step": True}, {"phase": "lost"}, {"route": None}, {"since_ns": 1.5}]
)
def test_what_is_no_state_is_refused(damage: dict[str, object]) -> None:
    """A value of another kind is a ValueError: a damaged book decides nothing."""
    with pytest.raises(ValueError, match=r"expected|valid Phase"):
        RolloutState.from_document(state(plan()).document() | damage)


@pytest.mark.parametrize(
    ("phase", "step", "expected"),
    [
        (Phase.BAKING, -1, 0),
        (Phase.RAMPING, 0, 1),
        (Phase.RAMPING, 3, 50),
        (Phase.RAMPING, 9, 50),
        (Phase.INCONCLUSIVE, 1, 5),
        (Phase.INCONCLUSIVE, -1, 0),
        (Phase.PROMOTED, 3, 88),
        (Phase.ROLLED_BACK, 3, 0),
    ],
)
def test_the_weight_follows_from_plan_and_state(phase: Phase, step: int, expected: int) -> None:
    """Nothing else decides it."""
    of = plan(holdback=Decimal(2), others=Decimal(10))
    assert weight(of, state(of, phase=phase, step=step)) == expected


def test_the_promotion_begins_another_stretch_of_evidence() -> None:
    """Before it counts from the start, after it from the promotion."""
    begun = state(plan())
    assert begun.evidence_since_ns == START
    assert replace(begun, phase=Phase.PROMOTED, promoted_ns=START + 5).evidence_since_ns == START + 5


def test_a_person_settles_what_the_engine_leaves_alone() -> None:
    """Promoted and rolled back by a person is settled; on the way nobody has settled anything."""
    assert state(plan(), phase=Phase.PROMOTED, by="anna").is_settled_by_person
    assert not state(plan(), phase=Phase.PROMOTED).is_settled_by_person
    assert not state(plan(), by="anna").is_settled_by_person
    assert state(plan(), phase=Phase.ROLLED_BACK).is_terminal

"""What would change a verdict."""

from dataclasses import replace
from decimal import Decimal
from math import inf

import pytest

from proxy.rollout.needs import needs_of, next_cost
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Need, Reason
from tests.rollout.world import MINUTE, SECOND, START, evidence, guardrail, plan, shown, state

PLAN = plan()


def found(reason: Reason, of: object = PLAN, stands: object = None, **changes: object) -> tuple[Need, ...]:
    assert isinstance(of, type(PLAN))
    where = state(of) if stands is None else stands
    assert isinstance(where, type(state(PLAN)))
    return needs_of(of, where, evidence(of, **changes), reason, START + 10 * MINUTE)


def test_the_cost_of_the_next_step() -> None:
    """The greatest excess share times the canary's requests in one hold."""
    assert next_cost(PLAN, state(PLAN), evidence(PLAN, excess_share=0.01)) == pytest.approx(
        0.01 * 100 * 0.05 * 300
    )
    others = plan(others=Decimal(50))
    assert next_cost(others, state(others), evidence(others, excess_share=0.01)) == pytest.approx(30)
    assert next_cost(PLAN, state(PLAN, step=3), evidence(PLAN, excess_share=1.0)) == 0.0
    assert next_cost(PLAN, state(PLAN), evidence(PLAN, request_rate=0.0, excess_share=inf)) == 0.0


@pytest.mark.parametrize(
    ("held", "sentence"),
    [
        (0, "5 min more on this step"),
        (4 * MINUTE, "60 s more on this step"),
        (5 * MINUTE - 1, "1 s more on this step"),
    ],
)
def test_time(held: int, sentence: str) -> None:
    """What is left of the hold, rounded up."""
    assert found(Reason.HOLD_TIME, held_ns=held)[0].sentence == sentence


def test_time_of_a_bake() -> None:
    """A bake before steps is as long as the plan says; one instead of steps at least a hold."""
    for of, left in ((plan(bake_ns=2 * MINUTE), 60), (plan(steps=(Decimal(100),)), 240)):
        assert found(Reason.BAKE_TIME, of, held_ns=MINUTE)[0].amount == left


def test_traffic() -> None:
    """Units up to the least."""
    assert (
        found(Reason.NO_TRAFFIC, canary_units=40)[0].sentence == "10 units more for the canary: at least 50"
    )
    assert found(Reason.NO_TRAFFIC, canary_units=49)[0].sentence.startswith("1 unit more")
    assert found(Reason.NO_REFERENCE)[0].sentence.startswith("answers of v1 to compare latency with")


@pytest.mark.parametrize(
    ("changes", "amount", "words"),
    [
        ({"excess_share": 0.2}, 2000, "2,000 units more"),
        ({"excess_share": 0.2, "excess_errors": 100.0}, None, "is spent"),
        ({"excess_share": inf}, None, "any traffic"),
        ({"excess_share": 1.0, "canary_units": 0}, None, "any traffic"),
    ],
)
def test_budget(changes: dict[str, float], amount: float | None, words: str) -> None:
    """Units until the next step is cheap enough, or a person."""
    need = found(Reason.BUDGET, **changes)[0]
    assert need.amount == amount
    assert words in need.sentence


def test_what_is_not_shown_comes_with_numbers() -> None:
    """The longest first; requests with the time at the present rate, copies without."""
    of = plan(guardrails=(*PLAN.guardrails, guardrail("disagreement")))
    known = evidence(of)
    more = {"errors": 3000, "client_errors": 0, "latency": None, "disagreement": 700}
    known = replace(
        known,
        guardrails=tuple(
            replace(
                g, requests_to_show=more[g.name], noninferiority=9.0 if g.name == "client_errors" else 0.0
            )
            for g in known.guardrails
        ),
    )
    needs = needs_of(of, state(of, step=3), known, Reason.NOT_SHOWN, START)
    assert [each.name for each in needs] == ["latency", "errors", "disagreement"]
    assert needs[0].amount is None
    assert needs[1].sentence == "about 3,000 requests more for errors, 30 s at the present rate"
    assert needs[2].sentence == "about 700 copies more for disagreement"


def test_what_would_roll_back() -> None:
    """So many failures in a row; not where it is rolled back, nor for advice."""
    known = evidence(PLAN)
    known = replace(known, guardrails=tuple(replace(g, events_to_harm=3) for g in known.guardrails))
    needs = needs_of(PLAN, state(PLAN), known, Reason.HOLD_TIME, START)
    assert "about 3 units in a row with errors" in " ".join(each.sentence for each in needs)
    for reason, phase in ((Reason.ROLLED_BACK, Phase.ROLLED_BACK), (Reason.HARM, Phase.RAMPING)):
        assert needs_of(PLAN, state(PLAN, phase=phase), known, reason, START) == ()


def test_copies() -> None:
    """A switch of everything needs a shadow, and says so where there is none."""
    of = plan(steps=(Decimal(100),), guardrails=(guardrail("errors"), guardrail("disagreement")))
    assert "no shadow of this route has the model wine-v3" in found(Reason.NOT_SHOWN, of)[0].sentence
    shadowed = replace(of, has_shadow=True)
    assert [each.name for each in found(Reason.NOT_SHOWN, shadowed)] == ["errors", "disagreement"]
    done = needs_of(shadowed, state(shadowed), shown(shadowed, shadow_sound=9.0), Reason.NOT_SHOWN, START)
    assert done == ()


def test_the_time_to_switch_back() -> None:
    """How long it is still guarded."""
    of = plan(switch_back_ns=60 * MINUTE)
    guarded = state(of, phase=Phase.PROMOTED, promoted_ns=START)
    need = needs_of(of, guarded, evidence(of), Reason.GUARDED, START + 10 * MINUTE)[-1]
    assert (need.amount, need.sentence) == (50 * MINUTE / SECOND, "guarded for 50 min more")
    days = replace(of, switch_back_ns=600 * MINUTE)
    assert "10 h" in needs_of(days, guarded, evidence(days), Reason.GUARDED, START)[-1].sentence


def test_feedback_that_is_missing() -> None:
    """How many more answers are to be judged, where that can be told, and how to say so."""
    of = plan(guardrails=(guardrail("feedback"),))
    known = evidence(of)
    for more, amount in ((1234, "about 1,234 answers more"), (None, "more answers than can be told yet")):
        one = replace(known.guardrails[0], requests_to_show=more, canary_total=40, champion_total=60)
        (need,) = needs_of(of, state(of), replace(known, guardrails=(one,)), Reason.NOT_SHOWN, START)
        assert (need.name, need.amount, need.unit) == ("feedback", more, "judged answers")
        assert need.sentence.startswith(f"feedback on {amount}, ")
        assert need.sentence.endswith("by POST /api/v1/feedback; so far 100 units were judged")

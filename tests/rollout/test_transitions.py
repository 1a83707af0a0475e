"""The law of a rollout: every phase with every action, and every edit of the file."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from proxy.rollout.plan import Arm, Plan
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight
from proxy.rollout.transitions import Action, Effect, apply, begin, reconcile
from proxy.settings import Inconclusive, parse
from tests.rollout.test_plan import CONFIG
from tests.rollout.world import MINUTE, ROLLOUT, START, guardrail, plan, state

NOW = START + MINUTE
FRESH = "fedcba9876543210"

BLUE_GREEN = plan(steps=(Decimal(100),))
LAST = {Phase.BAKING: -1, Phase.RAMPING: 3}


def test_a_rollout_begins_on_its_first_step() -> None:
    """Without a bake it has traffic at once."""
    begun = begin(plan(), ROLLOUT, START)
    assert (begun.phase, begun.step, begun.sequence) == (Phase.RAMPING, 0, 1)
    assert weight(plan(), begun) == 1


@pytest.mark.parametrize("of", [plan(bake_ns=MINUTE), BLUE_GREEN])
def test_a_bake_has_no_traffic(of: Plan) -> None:
    """A bake, and a switch of everything at once, begin at weight 0."""
    begun = begin(of, ROLLOUT, START, sequence=7)
    assert (begun.phase, begun.step, begun.sequence) == (Phase.BAKING, -1, 8)
    assert weight(of, begun) == 0


ENGINE_CASES = {
    (Action.RAMP, Phase.BAKING): (Phase.RAMPING, 0),
    (Action.RAMP, Phase.RAMPING): (Phase.RAMPING, 2),
    (Action.PROMOTE, Phase.RAMPING): (Phase.PROMOTED, 3),
    (Action.ROLLBACK, Phase.BAKING): (Phase.ROLLED_BACK, -1),
    (Action.ROLLBACK, Phase.RAMPING): (Phase.ROLLED_BACK, 1),
    (Action.ROLLBACK, Phase.INCONCLUSIVE): (Phase.ROLLED_BACK, 1),
    (Action.ROLLBACK, Phase.PROMOTED): (Phase.ROLLED_BACK, 1),
    (Action.CONCLUDE, Phase.BAKING): (Phase.INCONCLUSIVE, -1),
    (Action.CONCLUDE, Phase.RAMPING): (Phase.INCONCLUSIVE, 1),
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("action", Action)
def test_what_the_engine_may_do(action: Action, phase: Phase) -> None:
    """Each pair of action and phase is in the table, or refused."""
    step = -1 if phase is Phase.BAKING else 3 if action is Action.PROMOTE else 1
    before = state(plan(), phase=phase, step=step)
    after = apply(plan(), before, action, NOW, ENGINE, "because")
    expected = ENGINE_CASES.get((action, phase))
    if expected is None:
        assert isinstance(after, str)
        return
    assert isinstance(after, RolloutState)
    assert expected == (after.phase, after.step)
    assert (after.since_ns, after.by, after.reason) == (NOW, ENGINE, "because")
    assert after.sequence == before.sequence + 1
    assert after.promoted_ns == (NOW if after.phase is Phase.PROMOTED else 0)


def test_the_engine_leaves_no_step_out() -> None:
    """It promotes from the last step alone, unless the rollout's time is over."""
    middle = state(plan(), step=2)
    assert "no step is left out" in str(apply(plan(), middle, Action.PROMOTE, NOW, ENGINE, ""))
    over = apply(plan(), middle, Action.PROMOTE, START + plan().max_duration_ns, ENGINE, "")
    assert isinstance(over, RolloutState)
    assert "no next step" in str(apply(plan(), state(plan(), step=3), Action.RAMP, NOW, ENGINE, ""))


def test_a_switch_of_everything_is_promoted_from_its_bake() -> None:
    """There is no step between."""
    after = apply(BLUE_GREEN, state(BLUE_GREEN), Action.PROMOTE, NOW, ENGINE, "")
    assert isinstance(after, RolloutState)
    assert weight(BLUE_GREEN, after) == 100
    assert isinstance(apply(BLUE_GREEN, state(BLUE_GREEN), Action.RAMP, NOW, ENGINE, ""), str)


@pytest.mark.parametrize(
    ("of", "stands", "why"),
    [
        (plan(dry_run=True), {}, "dry_run"),
        (plan(), {"paused_by": "anna"}, "paused by anna"),
        (plan(), {"phase": Phase.PROMOTED, "by": "anna"}, "a person's word stands"),
        (plan(), {"phase": Phase.ROLLED_BACK, "by": "anna"}, "a person's word stands"),
    ],
)
@pytest.mark.parametrize("action", [Action.RAMP, Action.PROMOTE, Action.ROLLBACK, Action.CONCLUDE])
def test_the_engine_is_refused_where_its_word_does_not_count(
    action: Action, of: Plan, stands: dict[str, Any], why: str
) -> None:
    """Dry runs, pauses and what persons settled: the sentence says which."""
    assert why in str(apply(of, state(of, **stands), action, NOW, ENGINE, ""))


PERSON_CASES: dict[tuple[Action, Phase], Phase] = {
    **{(Action.PROMOTE, phase): Phase.PROMOTED for phase in Phase if phase is not Phase.PROMOTED},
    **{(Action.ABORT, phase): Phase.ROLLED_BACK for phase in Phase if phase is not Phase.ROLLED_BACK},
    **{(Action.PAUSE, phase): phase for phase in Phase if phase is not Phase.ROLLED_BACK},
    (Action.RESUME, Phase.ROLLED_BACK): Phase.RAMPING,
    (Action.RESUME, Phase.INCONCLUSIVE): Phase.RAMPING,
}


@pytest.mark.parametrize("phase", Phase)
@pytest.mark.parametrize("action", Action)
@pytest.mark.parametrize("of", [plan(), plan(dry_run=True)])
def test_what_a_person_may_do(of: Plan, action: Action, phase: Phase) -> None:
    """Each pair of verb and phase is in the table, or refused; a dry run binds the engine alone."""
    before = state(of, phase=phase, step=1)
    after = apply(of, before, action, NOW, "anna", "said so", rollout=FRESH)
    expected = PERSON_CASES.get((action, phase))
    if expected is None:
        assert isinstance(after, str)
        return
    assert isinstance(after, RolloutState)
    assert after.phase is expected
    assert after.sequence == before.sequence + 1


def test_a_pause_stops_nothing_but_the_engine() -> None:
    """It keeps phase and step, resume gives both back, and neither can be said twice."""
    before = state(plan(), step=2)
    paused = apply(plan(), before, Action.PAUSE, NOW, "anna", "a sale")
    assert isinstance(paused, RolloutState)
    assert paused == replace(before, paused_by="anna", paused_reason="a sale", sequence=2)
    assert "already" in str(apply(plan(), paused, Action.PAUSE, NOW, "ben", ""))
    resumed = apply(plan(), paused, Action.RESUME, NOW, "ben", "")
    assert resumed == replace(before, sequence=3)
    assert "not paused" in str(apply(plan(), before, Action.RESUME, NOW, "ben", ""))


def test_a_person_can_promote_and_abort_what_is_paused() -> None:
    """The later word counts, and the pause is over."""
    paused = state(plan(), paused_by="anna", paused_reason="a sale")
    for action in (Action.PROMOTE, Action.ABORT):
        after = apply(plan(), paused, action, NOW, "ben", "")
        assert isinstance(after, RolloutState)
        assert (after.paused_by, after.paused_reason, after.by) == ("", "", "ben")


def test_resume_hands_a_promotion_back_to_the_engine() -> None:
    """The engine then guards what a person promoted."""
    promoted = state(plan(), phase=Phase.PROMOTED, by="anna", promoted_ns=NOW)
    after = apply(plan(), promoted, Action.RESUME, NOW + 1, "anna", "guard it")
    assert isinstance(after, RolloutState)
    assert (after.by, after.promoted_ns) == (ENGINE, NOW)
    rolled_back = apply(plan(), after, Action.ROLLBACK, NOW + 2, ENGINE, "")
    assert isinstance(rolled_back, RolloutState)


def test_resume_after_the_end_is_another_rollout() -> None:
    """It starts at the first step under the fresh id, whose evidence is empty."""
    ended = state(plan(), phase=Phase.ROLLED_BACK, by="anna", sequence=5, step=3)
    assert "expected the id" in str(apply(plan(), ended, Action.RESUME, NOW, "anna", ""))
    after = apply(plan(), ended, Action.RESUME, NOW, "anna", "fixed it", rollout=FRESH)
    assert after == replace(begin(plan(), FRESH, NOW, sequence=5), reason="fixed it")


def test_nobody_is_no_person() -> None:
    """Who acts must be said."""
    assert "who" in str(apply(plan(), state(plan()), Action.ABORT, NOW, "", ""))


# Edits


def edited(old: Plan, new: Plan | None, before: RolloutState) -> tuple[Effect, RolloutState]:
    found = reconcile(old, new, before, NOW, FRESH)
    assert found.state is not None
    assert found.state.sequence >= before.sequence
    if before.phase is not Phase.PROMOTED and new is not None:
        assert weight(new, found.state) <= max(weight(old, before), new.ladder[0] if new.ladder else 0)
    return found.effect, found.state


def test_an_untouched_plan_changes_nothing() -> None:
    """Not even the sequence."""
    found = reconcile(plan(), plan(), state(plan()), NOW, FRESH)
    assert (found.effect, found.state, found.sentences) == (Effect.CONTINUES, state(plan()), ())


EDITS: dict[str, tuple[Plan, Effect]] = {
    "hold": (plan(hold_ns=MINUTE), Effect.CONTINUES),
    "bake": (plan(bake_ns=MINUTE), Effect.CONTINUES),
    "budget": (plan(excess_errors=None), Effect.CONTINUES),
    "max_duration": (plan(max_duration_ns=MINUTE), Effect.CONTINUES),
    "on_inconclusive": (plan(on_inconclusive=Inconclusive.ROLLBACK), Effect.CONTINUES),
    "dry_run": (plan(dry_run=True), Effect.CONTINUES),
    "holdback": (plan(holdback=Decimal(2)), Effect.CONTINUES),
    "switch_back": (plan(switch_back_ns=MINUTE), Effect.CONTINUES),
    "other weights": (plan(others=Decimal(10)), Effect.CONTINUES),
    "another server": (
        plan(canary=Arm("v3", "wine-v3", ("http://127.0.0.1:9003", "http://127.0.0.1:9004"))),
        Effect.CONTINUES,
    ),
    "steps": (plan(steps=(Decimal(5), Decimal(100))), Effect.CONTINUES),
    "guardrails": (plan(guardrails=(guardrail("errors"),)), Effect.JUDGED_ANEW),
    "margin": (
        plan(guardrails=(guardrail("errors", margin=0.2), *plan().guardrails[1:])),
        Effect.JUDGED_ANEW,
    ),
    "false_rollback": (plan(false_rollback=0.05), Effect.JUDGED_ANEW),
    "false_promotion": (plan(false_promotion=0.1), Effect.JUDGED_ANEW),
    "canary": (plan(canary=replace(plan().canary, name="v4")), Effect.RESTARTS),
    "canary's model": (plan(canary=replace(plan().canary, model="wine-v4")), Effect.RESTARTS),
    "canary's url": (plan(canary=replace(plan().canary, urls=("http://new",))), Effect.RESTARTS),
    "champion's model": (plan(champion=replace(plan().champion, model="wine-v2")), Effect.RESTARTS),
    "salt": (plan(salt="other"), Effect.RESTARTS),
    "unit": (plan(units=("client_ip:",)), Effect.RESTARTS),
    "missing_unit": (plan(missing_unit="champion"), Effect.RESTARTS),
}


@pytest.mark.parametrize("name", EDITS)
def test_edits_on_the_way(name: str) -> None:
    """What continues keeps its id; what is judged anew keeps its weight; what restarts begins again."""
    new, expected = EDITS[name]
    before = state(plan(), step=2, since_ns=START + 5)
    effect, after = edited(plan(), new, before)
    assert effect is expected
    assert after.plan_digest == new.digest()
    assert after.sequence > before.sequence
    assert (after.rollout == ROLLOUT) == (expected is Effect.CONTINUES)
    if expected is Effect.RESTARTS:
        assert after == replace(begin(new, FRESH, NOW, sequence=before.sequence), reason=after.reason)
    if expected is Effect.JUDGED_ANEW:
        assert (after.step, after.started_ns, after.since_ns) == (2, NOW, NOW)
    if expected is Effect.CONTINUES and name != "steps":
        assert (after.step, after.started_ns, after.since_ns) == (2, START, START + 5)


@pytest.mark.parametrize("name", EDITS)
def test_edits_after_a_rollback(name: str) -> None:
    """Only another model brings a canary back that was rolled back."""
    new, _ = EDITS[name]
    for by in (ENGINE, "anna"):
        effect, after = edited(plan(), new, state(plan(), phase=Phase.ROLLED_BACK, by=by))
        comes_back = name in ("canary", "canary's model", "canary's url")
        assert (effect is Effect.RESTARTS) == comes_back
        assert (after.phase is Phase.ROLLED_BACK) != comes_back
        assert comes_back or after.rollout == ROLLOUT


@pytest.mark.parametrize("name", EDITS)
def test_edits_after_the_promotion(name: str) -> None:
    """What is compared anew stays promoted; another canary does not inherit the promotion."""
    new, on_the_way = EDITS[name]
    effect, after = edited(plan(), new, state(plan(), phase=Phase.PROMOTED, promoted_ns=START + 5, step=3))
    if name in ("canary", "canary's model", "canary's url"):
        assert (effect, after.phase) == (Effect.RESTARTS, Phase.RAMPING)
    else:
        assert after.phase is Phase.PROMOTED
        assert (effect is Effect.CONTINUES) == (on_the_way is Effect.CONTINUES)
        assert after.promoted_ns == (START + 5 if effect is Effect.CONTINUES else NOW)


@pytest.mark.parametrize(
    ("steps", "at", "step", "now", "phase"),
    [
        ("1 5 25 50 100", 2, 2, 25, Phase.RAMPING),
        ("1 10 30 100", 2, 1, 10, Phase.RAMPING),
        ("25 100", 2, 0, 25, Phase.RAMPING),
        ("30 100", 2, -1, 0, Phase.BAKING),
        ("100", 2, -1, 0, Phase.BAKING),
        ("1 2 3", 0, 0, 1, Phase.RAMPING),
    ],
)
def test_edited_steps_never_raise_the_weight(steps: str, at: int, step: int, now: int, phase: Phase) -> None:
    """It continues at the largest new step that is not above; at 0 where all are."""
    new = plan(steps=tuple(map(Decimal, steps.split())))
    before = state(plan(), step=at)
    effect, after = edited(plan(), new, before)
    assert (effect, after.step, after.phase, int(weight(new, after))) == (Effect.CONTINUES, step, phase, now)
    assert after.since_ns == (START if now == weight(plan(), before) else NOW)


def test_more_time_lets_an_ended_rollout_go_on() -> None:
    """A longer max_duration takes it up again; a shorter one does not."""
    ended = state(plan(), phase=Phase.INCONCLUSIVE, step=2)
    longer = plan(max_duration_ns=2 * plan().max_duration_ns)
    assert edited(plan(), longer, ended)[1].phase is Phase.RAMPING
    assert edited(plan(), longer, replace(ended, step=-1))[1].phase is Phase.BAKING
    assert edited(plan(), plan(max_duration_ns=MINUTE), ended)[1].phase is Phase.INCONCLUSIVE
    assert edited(plan(), plan(false_rollback=0.05), ended)[1].phase is Phase.RAMPING


def test_a_paused_rollout_restarts_without_traffic() -> None:
    """The person's word stands, and nobody meets a model that nobody let go on."""
    new = EDITS["canary's model"][0]
    _, after = edited(plan(), new, state(plan(), step=2, paused_by="anna", paused_reason="why"))
    assert (after.paused_by, after.paused_reason, int(weight(new, after))) == ("anna", "why", 0)


@pytest.mark.parametrize(
    ("before", "after", "phase", "sentence"),
    [
        ("rollout: ROLLOUT", "weight: 5", Phase.RAMPING, "weight of 5 %"),
        ("name: v3", "name: v9", Phase.RAMPING, "variant v3 is gone"),
        ("name: wine", "name: beer", Phase.RAMPING, "route wine is gone"),
    ],
)
def test_the_file_can_end_a_rollout(before: str, after: str, phase: Phase, sentence: str) -> None:
    """The sentence says how."""
    settings = parse(CONFIG.replace(before, after).replace("rollout: ROLLOUT", "weight: 1"), environ={})
    route = next((each for each in settings.routes if each.name == "wine"), None)
    found = reconcile(plan(), None, state(plan(), phase=phase), NOW, FRESH, route)
    assert (found.effect, found.state) == (Effect.ENDS, None)
    assert sentence in found.sentences[0]


@pytest.mark.parametrize(
    ("phase", "sentence"), [(Phase.PROMOTED, "completed"), (Phase.RAMPING, "ended by hand")]
)
def test_the_canary_made_champion_ends_its_rollout(phase: Phase, sentence: str) -> None:
    """After the promotion that is how a rollout is completed."""
    text = CONFIG.replace(
        "{name: v1, model: wine-v1, role: champion}", "{name: v3, model: wine-v3, role: champion}"
    )
    text = text[: text.index("      - name: v3\n        model")] + text[text.index("    shadows:") :]
    found = reconcile(plan(), None, state(plan(), phase=phase), NOW, FRESH, parse(text, environ={}).routes[0])
    assert found.effect is Effect.ENDS
    assert sentence in found.sentences[0]

"""The law of a rollout: who may do what when, and what an edit of the file does.

Rules
    1. Everything that changes a state is in this file. Each change is a new state with a larger ``sequence``.
    2. The engine raises a weight in two ways only, RAMP by one step and PROMOTE; every other change lowers it or keeps
       it. An edit of the file never raises the weight of a canary that is still on its way.
    3. A person's word beats the engine's until ``resume``: while paused the engine moves nothing, and what a person
       promoted or aborted it neither rolls back nor starts again.
    4. Evidence that was looked at is never judged by another standard. Whoever changes a risk, a margin or what is
       counted gets a new rollout id, and with it evidence that begins anew.

``_ENGINE`` and ``_PERSON`` say what each action leads to, by phase; what they do not name is refused with a sentence.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from proxy.model import Role
from proxy.rollout.plan import Plan
from proxy.rollout.state import ENGINE, Phase, RolloutState, weight

if TYPE_CHECKING:
    from proxy.settings import Route

__all__ = ["Action", "Effect", "Reconciled", "apply", "begin", "come_back", "reconcile"]


class Action(StrEnum):
    """What moves a rollout. The first four are the engine's, the others a person's; promote is both's."""

    RAMP = "ramp"
    """To the next step."""
    PROMOTE = "promote"
    """To everything."""
    ROLLBACK = "rollback"
    """To nothing."""
    CONCLUDE = "conclude"
    """Its time is over: stay, and wait for a person."""
    ABORT = "abort"
    PAUSE = "pause"
    RESUME = "resume"


class Effect(StrEnum):
    """What an edit of the file does to a rollout under way."""

    CONTINUES = "continues"
    """Evidence, step and time go on."""
    JUDGED_ANEW = "judged_anew"
    """The weight stays; evidence begins anew, under a new rollout id."""
    RESTARTS = "restarts"
    """From the beginning, under a new rollout id."""
    ENDS = "ends"
    """There is no rollout any more: the file says the weights."""


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What became of a rollout when the file was edited."""

    effect: Effect
    state: RolloutState | None
    """None: it has ended."""
    sentences: tuple[str, ...]
    """Why, one for each edit that had an effect; empty: nothing that matters was edited."""


def begin(
    plan: Plan, rollout: str, now_ns: int, by: str = ENGINE, reason: str = "started", *, sequence: int = 0
) -> RolloutState:
    """Return the state of a rollout that starts now.

    It bakes if the plan says so, and always where its only step is the promotion: such a canary is judged by its
    answers to copies.

    Args:
        plan: what the file asks for.
        rollout: 16 hex digits that no rollout had before.
        now_ns: the engine's clock.
        by: who started it.
        reason: why.
        sequence: of the state that stood here before, so that it keeps growing.
    """
    bakes = plan.bake_ns > 0 or not plan.ladder
    return RolloutState(
        route=plan.route,
        variant=plan.canary.name,
        rollout=rollout,
        phase=Phase.BAKING if bakes else Phase.RAMPING,
        step=-1 if bakes else 0,
        since_ns=now_ns,
        started_ns=now_ns,
        promoted_ns=0,
        paused_by="",
        by=by,
        reason=reason,
        sequence=sequence + 1,
        plan_digest=plan.digest(),
    )


def apply(
    plan: Plan,
    state: RolloutState,
    action: Action,
    now_ns: int,
    by: str,
    reason: str,
    *,
    rollout: str = "",
) -> RolloutState | str:
    """Return the state after an action, or the sentence that refuses it.

    Args:
        plan: what the file asks for.
        state: where the rollout stands.
        action: what to do.
        now_ns: the engine's clock.
        by: ``engine``, or who else.
        reason: why, for the record.
        rollout: a fresh id, for ``resume`` of a rollout that is over, which starts it again.

    ============  ===================================  ==============================================================
    person        in                                   does
    ============  ===================================  ==============================================================
    promote       all but promoted                     everything to the canary, at once and for good
    abort         all but rolled_back                  nothing to the canary, at once and for good
    pause         all but rolled_back, settled         the engine goes on judging, and moves nothing
    resume        paused                               hands it back to the engine
    resume        promoted by a person                 hands it back: the engine guards it from now on
    resume        rolled_back, inconclusive            starts again from the beginning, as a new rollout
    ============  ===================================  ==============================================================
    """
    if by == ENGINE:
        return _by_engine(plan, state, action, now_ns, str(reason))
    return _by_person(plan, state, action, now_ns, str(by), str(reason), rollout)


_UNDER_WAY = (Phase.BAKING, Phase.RAMPING, Phase.INCONCLUSIVE)

_ENGINE: dict[Action, dict[Phase, Phase]] = {
    Action.RAMP: {Phase.BAKING: Phase.RAMPING, Phase.RAMPING: Phase.RAMPING},
    Action.PROMOTE: {Phase.BAKING: Phase.PROMOTED, Phase.RAMPING: Phase.PROMOTED},
    Action.ROLLBACK: dict.fromkeys((*_UNDER_WAY, Phase.PROMOTED), Phase.ROLLED_BACK),
    Action.CONCLUDE: {Phase.BAKING: Phase.INCONCLUSIVE, Phase.RAMPING: Phase.INCONCLUSIVE},
}

_PERSON: dict[Action, dict[Phase, Phase]] = {
    Action.PROMOTE: dict.fromkeys((*_UNDER_WAY, Phase.ROLLED_BACK), Phase.PROMOTED),
    Action.ABORT: dict.fromkeys((*_UNDER_WAY, Phase.PROMOTED), Phase.ROLLED_BACK),
}


def _by_engine(
    plan: Plan, state: RolloutState, action: Action, now_ns: int, reason: str
) -> RolloutState | str:
    if plan.dry_run:
        return f"dry_run is on: {action} is written down, not done"
    if state.paused_by:
        return f"paused by {state.paused_by}: {action} waits for resume"
    if state.is_settled_by_person:
        return f"{state.phase} by {state.by}: a person's word stands until resume"
    phase = _ENGINE.get(action, {}).get(state.phase)
    if phase is None:
        return f"expected a rollout that can {action}, got one that is {state.phase}"
    step = -1 if state.phase is Phase.BAKING else state.step
    if action is Action.RAMP:
        step += 1
        if step >= len(plan.ladder):
            return "there is no next step: what follows is the promotion"
    is_over = now_ns - state.started_ns >= plan.max_duration_ns
    if action is Action.PROMOTE and step < len(plan.ladder) - 1 and not is_over:
        return f"the promotion comes after the last step, {plan.ladder[-1]} %; no step is left out"
    return _moved(state, phase, step, now_ns, ENGINE, reason)


def _by_person(
    plan: Plan, state: RolloutState, action: Action, now_ns: int, by: str, reason: str, rollout: str
) -> RolloutState | str:
    if not by:
        return "expected who asks for it"
    if action is Action.PAUSE:
        return _paused(state, by, reason)
    if action is Action.RESUME:
        return _resumed(plan, state, now_ns, by, reason, rollout)
    if action not in _PERSON:
        return f"{action} is the engine's: a person can promote, abort, pause and resume"
    phase = _PERSON[action].get(state.phase)
    if phase is None:
        return f"it is {state.phase} already"
    return _moved(replace(state, paused_by="", paused_reason=""), phase, state.step, now_ns, by, reason)


def _paused(state: RolloutState, by: str, reason: str) -> RolloutState | str:
    if state.paused_by:
        return f"it is paused already, by {state.paused_by}"
    if state.is_terminal:
        return f"there is nothing to pause: it is {state.phase}, and the engine does not move it"
    return replace(state, paused_by=by, paused_reason=reason, sequence=state.sequence + 1)


def _resumed(
    plan: Plan, state: RolloutState, now_ns: int, by: str, reason: str, rollout: str
) -> RolloutState | str:
    if state.paused_by:
        return replace(state, paused_by="", paused_reason="", sequence=state.sequence + 1)
    if state.phase is Phase.PROMOTED and state.by != ENGINE:
        return replace(state, by=ENGINE, reason=reason, sequence=state.sequence + 1)
    if state.phase in (Phase.ROLLED_BACK, Phase.INCONCLUSIVE):
        if not rollout:
            return "expected the id of the rollout that starts anew"
        started = begin(plan, rollout, now_ns, reason=reason, sequence=state.sequence)
        return replace(started, reason=reason or f"started again by {by}")
    return "there is nothing to resume: it is not paused"


def _moved(state: RolloutState, phase: Phase, step: int, now_ns: int, by: str, reason: str) -> RolloutState:
    return replace(
        state,
        phase=phase,
        step=step,
        since_ns=now_ns,
        promoted_ns=now_ns if phase is Phase.PROMOTED else 0,
        by=by,
        reason=reason,
        sequence=state.sequence + 1,
    )


# What an edit of the file does.


def reconcile(
    old: Plan, new: Plan | None, state: RolloutState, now_ns: int, rollout: str, route: "Route | None" = None
) -> Reconciled:
    """Return what becomes of a rollout whose plan in the file was ``old`` and is ``new``.

    Args:
        old: the plan that the state was last matched with.
        new: the plan now; None: the file has no rollout for the route any more.
        state: where it stands.
        now_ns: the engine's clock.
        rollout: a fresh id, used when evidence begins anew.
        route: the route as the file has it now, None: it is gone. Only for the sentence, where ``new`` is None.

    ==============================================  ================================================================
    edited                                          effect
    ==============================================  ================================================================
    hold, bake, budget, on_inconclusive, dry_run,   continues with the new value
    holdback, switch_back, other variants' weights
    max_duration                                    continues; a rollout whose time was over goes on, if it is longer
    servers of a model, at least one stays          continues
    steps                                           continues at the largest new step that is not above its weight
    guardrails, false_rollback, false_promotion     judged anew: same weight, no evidence yet
    the canary's variant, model or all its servers  restarts from the beginning
    the champion's model or all its servers         restarts; once promoted: judged anew
    salt, unit, missing_unit                        restarts; once promoted: judged anew
    rollout replaced by weight, or taken away       ends: the file's weights count
    the canary made the champion                    ends; after the promotion: as completed
    the route deleted                               ends
    ==============================================  ================================================================

    A canary that was rolled back stays so under every edit but one: another model, or other servers. A margin is no
    reason to show it to clients again. A paused rollout that restarts waits at weight 0 for ``resume``.
    """
    if new is None or new.route != old.route:
        return Reconciled(Effect.ENDS, None, (_ending(old, state, route),))
    if new == old:
        return Reconciled(Effect.CONTINUES, _matched(new, state), ())
    restarts = _restarts(old, new, state)
    if restarts:
        started = begin(new, rollout, now_ns, reason=restarts[0], sequence=state.sequence)
        if state.paused_by:
            started = _waiting(started, state)
        return Reconciled(Effect.RESTARTS, started, restarts)
    anew = _judged_anew(old, new, state)
    kept, sentences = _fitted(old, new, state, now_ns)
    if anew:
        kept = _fresh(kept, rollout, now_ns, anew[0])
        return Reconciled(Effect.JUDGED_ANEW, _matched(new, kept), (*anew, *sentences))
    return Reconciled(Effect.CONTINUES, _matched(new, kept), sentences)


def come_back(new: Plan, state: RolloutState, now_ns: int, rollout: str) -> RolloutState:
    """Return the state of a rollout that the file dropped and has again, with the same canary.

    A file that lacks a route for a moment is nobody's decision: what was rolled back stays so, and what was paused
    waits at weight 0. Anything else begins anew.

    Args:
        new: the plan now.
        state: where it stood when the file dropped it.
        now_ns: the engine's clock.
        rollout: a fresh id, used where it begins anew.
    """
    if state.phase is Phase.ROLLED_BACK:
        why = state.reason
        if _CAME_BACK not in why:
            why = f"{why.rstrip('.')}; {_CAME_BACK}, which starts nothing"
        return _matched(new, replace(state, reason=why, sequence=state.sequence + 1))
    begun = begin(new, rollout, now_ns, sequence=state.sequence)
    return _waiting(begun, state) if state.paused_by else begun


def _waiting(begun: RolloutState, before: RolloutState) -> RolloutState:
    """Return a state that begins, at weight 0, under the pause of the one before."""
    held = replace(begun, phase=Phase.BAKING, step=-1)
    return replace(held, paused_by=before.paused_by, paused_reason=before.paused_reason)


_CAME_BACK = "the file dropped it and brought the same build back"


def _matched(plan: Plan, state: RolloutState) -> RolloutState:
    digest = plan.digest()
    if state.plan_digest == digest:
        return state
    return replace(state, plan_digest=digest, sequence=state.sequence + 1)


def _ending(old: Plan, state: RolloutState, route: "Route | None") -> str:
    name = old.canary.name
    if route is None:
        return f"route {old.route} is gone"
    variant = next((each for each in route.variants if each.name == name), None)
    if variant is None:
        return f"variant {name} is gone"
    if variant.role is Role.CHAMPION:
        done = "completed" if state.phase is Phase.PROMOTED else "ended by hand"
        return f"{name} is the champion now: its rollout is {done}"
    if variant.weight is not None:
        return f"{name} has a weight of {variant.weight} % now instead of a rollout"
    return f"{name} has no rollout any more"


def _restarts(old: Plan, new: Plan, state: RolloutState) -> tuple[str, ...]:
    sentences = []
    if new.canary.name != old.canary.name:
        sentences.append(f"another canary: {new.canary.name} instead of {old.canary.name}")
    elif not new.canary.same_model(old.canary):
        sentences.append(f"{new.canary.name} is another model now")
    if state.phase not in (Phase.ROLLED_BACK, Phase.PROMOTED):
        sentences += _other_comparison(old, new)
    return tuple(sentences)


def _other_comparison(old: Plan, new: Plan) -> list[str]:
    sentences = []
    if new.champion.name != old.champion.name or not new.champion.same_model(old.champion):
        sentences.append("the champion is another model now")
    if (new.salt, new.units, new.missing_unit) != (old.salt, old.units, old.missing_unit):
        sentences.append("units are dealt anew: salt, unit or missing_unit was edited")
    return sentences


def _judged_anew(old: Plan, new: Plan, state: RolloutState) -> tuple[str, ...]:
    if state.phase is Phase.ROLLED_BACK:
        return ()
    sentences = _other_comparison(old, new)
    if new.guardrails != old.guardrails:
        sentences.append("the guardrails were edited: what was seen under others counts no more")
    if (new.false_rollback, new.false_promotion) != (old.false_rollback, old.false_promotion):
        sentences.append("the accepted risk was edited: it cannot be chosen after a look at the evidence")
    return tuple(sentences)


def _fresh(state: RolloutState, rollout: str, now_ns: int, reason: str) -> RolloutState:
    phase = state.phase
    if phase is Phase.INCONCLUSIVE:
        phase = Phase.BAKING if state.step < 0 else Phase.RAMPING
    return replace(
        state,
        rollout=rollout,
        phase=phase,
        since_ns=now_ns,
        started_ns=now_ns,
        promoted_ns=now_ns if phase is Phase.PROMOTED else 0,
        reason=reason,
        sequence=state.sequence + 1,
    )


def _fitted(old: Plan, new: Plan, state: RolloutState, now_ns: int) -> tuple[RolloutState, tuple[str, ...]]:
    """Return the state under the new steps and times, and what is to be said about it."""
    sentences = []
    if state.phase is Phase.INCONCLUSIVE and new.max_duration_ns > old.max_duration_ns:
        phase = Phase.BAKING if state.step < 0 else Phase.RAMPING
        state = replace(state, phase=phase, reason="max_duration is longer now", sequence=state.sequence + 1)
        sentences.append("max_duration is longer now: the rollout goes on")
    if new.ladder == old.ladder or state.phase not in (Phase.RAMPING, Phase.INCONCLUSIVE):
        return state, tuple(sentences)
    now = weight(old, state)
    step = sum(each <= now for each in new.ladder) - 1
    moved = step < 0 or new.ladder[step] != now
    phase = Phase.BAKING if step < 0 and state.phase is Phase.RAMPING else state.phase
    state = replace(
        state,
        phase=phase,
        step=step,
        since_ns=now_ns if moved else state.since_ns,
        sequence=state.sequence + 1,
    )
    sentences.append(f"the steps were edited: it continues at {weight(new, state)} %, and was at {now} %")
    return state, tuple(sentences)

"""What becomes of every rollout when a file is published: pure, by the law of :mod:`proxy.rollout.transitions`."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from proxy.control.book import Entry
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.state import Phase, RolloutState, weight
from proxy.rollout.transitions import Effect, begin, reconcile
from proxy.routing.position import Position
from proxy.settings import Route, Settings

__all__ = ["HELD_BY", "Matched", "match", "plan_for", "positions_of", "rollout_documents", "standing"]

HELD_BY = "start"
"""Who settled a rollout that nobody knows where it stood."""

_EFFECTS = {
    Effect.CONTINUES: "the rollout of {variant} continues at {weight} %",
    Effect.JUDGED_ANEW: "the rollout of {variant} stays at {weight} % and is judged anew",
    Effect.RESTARTS: "the rollout of {variant} restarts at {weight} %",
}


@dataclass(frozen=True, slots=True)
class Matched:
    """The rollouts under the new settings."""

    entries: Mapping[str, Entry]
    """By route, in the order of the file."""
    sentences: tuple[str, ...]
    """What happens to rollouts, one line each."""
    alarms: tuple[str, ...] = ()
    """What an operator must look at."""


def match(
    entries: Mapping[str, Entry],
    settings: Settings,
    now_ns: int,
    fresh: Callable[[], str],
    unknown: Collection[str] | None = (),
) -> Matched:
    """Return the rollouts that ``settings`` ask for, going on from those that there are.

    Args:
        entries: where the rollouts stand, by route.
        settings: what is to be published.
        now_ns: the engine's clock.
        fresh: returns an id that no rollout had.
        unknown: routes whose rollout stands nobody knows where; None: all that are not in ``entries``. Such a rollout
            is held at weight 0.
    """
    matched: dict[str, Entry] = {}
    sentences: list[str] = []
    alarms: list[str] = []
    for route in settings.routes:
        plan, entry = plan_of(settings, route), entries.get(route.name)
        place = f"routes[{route.name}]"
        if entry is not None:
            state, line = _reconcile(entry, plan, route, now_ns, fresh)
            sentences += [f"{place}: {line}"] if line else []
            if state is not None and plan is not None:
                matched[route.name] = Entry(state, plan.document())
        elif plan is not None and (unknown is None or route.name in unknown):
            matched[route.name] = Entry(_held(plan, fresh(), now_ns), plan.document())
            alarms.append(
                f"{place}: it is not known where the rollout of {plan.canary.name} stood: it is held at 0 %; "
                f"modelproxy resume {route.name} starts it again, promote gives it everything"
            )
        elif plan is not None:
            state = begin(plan, fresh(), now_ns)
            matched[route.name] = Entry(state, plan.document())
            sentences.append(f"{place}: the rollout of {state.variant} begins at {weight(plan, state)} %")
    present = {route.name for route in settings.routes}
    sentences += (
        f"routes[{name}]: the rollout of {entry.state.variant} ends: route {name} is gone"
        for name, entry in entries.items()
        if name not in present
    )
    return Matched(matched, tuple(sentences), tuple(alarms))


def plan_for(entry: Entry, plan: Plan | None) -> Plan | None:
    """Return the plan that an entry was last matched with.

    What another version of the program wrote otherwise is taken to be as it is in ``plan``, the one of the file: an
    upgrade alone must not end a rollout. None when even that does not help, because there is no such plan.
    """
    try:
        return Plan.from_document(entry.plan)
    except ValueError:
        if plan is None:
            return None
    whole = plan.document()
    for name in whole.keys() & entry.plan.keys():
        candidate = {**whole, name: entry.plan[name]}
        try:
            Plan.from_document(candidate)
        except ValueError:
            continue
        whole = candidate
    return Plan.from_document(whole)


def standing(entries: Mapping[str, Entry], before: Mapping[str, Entry]) -> tuple[str, ...]:
    """Return a sentence for each rollout of ``entries`` that is where it was ``before``.

    A start writes them down: who was killed between the book and the journal left no line about the last step.
    """
    return tuple(
        f"routes[{route}]: the rollout of {entry.state.variant} goes on at "
        f"{weight(Plan.from_document(entry.plan), entry.state)} % ({str(entry.state.phase).replace('_', ' ')}, "
        f"by {entry.state.by}: {entry.state.reason})"
        for route, entry in entries.items()
        if route in before and before[route].state == entry.state
    )


def positions_of(entries: Mapping[str, Entry]) -> tuple[Position, ...]:
    """Return the weights that tables are made of."""
    return tuple(
        Position(
            route,
            entry.state.variant,
            entry.state.rollout,
            weight(Plan.from_document(entry.plan), entry.state),
        )
        for route, entry in entries.items()
    )


def rollout_documents(entries: Mapping[str, Entry]) -> tuple[dict[str, Any], ...]:
    """Return the states as every process is told them."""
    return tuple(entry.state.document() for entry in entries.values())


def _reconcile(
    entry: Entry, plan: Plan | None, route: Route, now_ns: int, fresh: Callable[[], str]
) -> tuple[RolloutState | None, str]:
    old = plan_for(entry, plan)
    if old is None:
        return None, f"the rollout of {entry.state.variant} ends"
    done = reconcile(old, plan, entry.state, now_ns, fresh(), route)
    why = "; ".join(done.sentences)
    if done.state is None or plan is None:
        return None, f"the rollout of {entry.state.variant} ends: {why}"
    if done.effect is Effect.CONTINUES and not why:
        return done.state, ""
    said = _EFFECTS[done.effect].format(variant=done.state.variant, weight=weight(plan, done.state))
    return done.state, f"{said}: {why}"


def _held(plan: Plan, rollout: str, now_ns: int) -> RolloutState:
    reason = "it was not known where it stood"
    return replace(begin(plan, rollout, now_ns, HELD_BY, reason), phase=Phase.ROLLED_BACK)

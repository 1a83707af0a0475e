"""What becomes of every rollout when a file is published: pure, by the law of :mod:`proxy.rollout.transitions`."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from proxy.control.book import Ended, Entry
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.state import Phase, RolloutState, weight
from proxy.rollout.transitions import Effect, begin, come_back, reconcile
from proxy.routing.position import Position
from proxy.settings import Route, Settings

__all__ = [
    "HELD_BY",
    "KEPT_NS",
    "KEPT_OF_ALL",
    "KEPT_OF_A_ROUTE",
    "Matched",
    "match",
    "plan_for",
    "positions_of",
    "remembered",
    "rollout_documents",
    "standing",
]

HELD_BY = "start"
"""Who settled a rollout that nobody knows where it stood."""

KEPT_OF_A_ROUTE = 16
"""So many canaries that left the file rolled back, or paused, are remembered of one route: the last ones."""

KEPT_OF_ALL = 512
"""The same, of all routes together."""

KEPT_NS = 90 * 86_400 * 1_000_000_000
"""And so long, like their evidence."""

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
    ended: Sequence[Ended] = (),
) -> Matched:
    """Return the rollouts that ``settings`` ask for, going on from those that there are.

    Args:
        entries: where the rollouts stand, by route.
        settings: what is to be published.
        now_ns: the engine's clock.
        fresh: returns an id that no rollout had.
        unknown: routes whose rollout stands nobody knows where; None: all that are not in ``entries``. Such a rollout
            is held at weight 0.
        ended: rollouts that the file does not have any more, oldest first. One that comes back with the same canary
            goes on as what it was.
    """
    matched: dict[str, Entry] = {}
    sentences: list[str] = []
    alarms: list[str] = []
    for route in settings.routes:
        plan, entry = plan_of(settings, route), entries.get(route.name)
        place = f"routes[{route.name}]"
        past = _past(plan, entry, ended)
        if plan is not None and past is not None:
            matched[route.name], line = _returned(plan, past, entry, now_ns, fresh())
            alarms.append(f"{place}: {line}")
        elif entry is not None:
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


def remembered(
    ended: Sequence[Ended], before: Mapping[str, Entry], after: Mapping[str, Entry], now_ns: int
) -> tuple[Ended, ...]:
    """Return the ended rollouts that are to be remembered once ``after`` has taken the place of ``before``.

    They are those that were rolled back or paused, and whose canary nothing tries now.

    Args:
        ended: those that were remembered so far, oldest first.
        before: where the rollouts stood, by route.
        after: where they stand now.
        now_ns: the engine's clock.
    """
    left = [
        Ended(entry, now_ns)
        for entry in before.values()
        if entry.state.phase is Phase.ROLLED_BACK or entry.state.paused_by
    ]
    wanted: list[Ended] = []
    of_route: Counter[str] = Counter()
    routes = {each.entry.state.route for each in (*left, *ended)}
    plans = {route: plan_for(entry, None) for route, entry in after.items() if route in routes}
    for each in (*reversed(left), *reversed(ended)):
        route = each.entry.state.route
        plan = plans.get(route)
        is_live = plan is not None and _is_same_build(each.entry, plan)
        if is_live or now_ns - each.ended_ns >= KEPT_NS or of_route[route] >= KEPT_OF_A_ROUTE:
            continue
        of_route[route] += 1
        wanted.append(each)
    return tuple(reversed(wanted[:KEPT_OF_ALL]))


def _is_same_build(entry: Entry, plan: Plan) -> bool:
    """Tell whether the canary of ``plan`` is the one that ``entry`` tried."""
    named = entry.plan.get("canary")
    if isinstance(named, Mapping) and named.get("name") != plan.canary.name:
        return False  # most are told apart without reading the whole plan
    old = plan_for(entry, plan)
    if old is None or entry.state.route != plan.route:
        return False
    return old.canary.name == plan.canary.name and old.canary.same_model(plan.canary)


def _past(plan: Plan | None, entry: Entry | None, ended: Sequence[Ended]) -> Entry | None:
    """Return the ended rollout that goes on with ``plan``; None: nothing is known of its canary, or it is on trial."""
    if plan is None or (entry is not None and _is_same_build(entry, plan)):
        return None
    return next((each.entry for each in reversed(ended) if _is_same_build(each.entry, plan)), None)


def _returned(plan: Plan, past: Entry, entry: Entry | None, now_ns: int, fresh: str) -> tuple[Entry, str]:
    """Return where a canary stands that was here before, in place of ``entry``, and the sentence about it."""
    sequence = max(past.state.sequence, entry.state.sequence if entry is not None else 0)
    state = come_back(plan, replace(past.state, sequence=sequence), now_ns, fresh)
    start = f"modelproxy resume {plan.route} starts it again"
    if state.phase is not Phase.ROLLED_BACK:
        return Entry(state, plan.document()), (
            f"the rollout of {state.variant} waits at 0 %: it was paused by {state.paused_by} when the file dropped "
            f"it; {start}"
        )
    return Entry(state, plan.document()), (
        f"the rollout of {state.variant} stays at 0 %: this build was rolled back before, and a file that brings it "
        f"back starts nothing; {start}, and so does another name, model or server"
    )


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

"""The tick: twice a second the counts are read, kept, judged, and what follows is asked of the supervisor.

Rules
    * Level-triggered: a tick reads everything there is and forgets nothing it needs; one that is lost costs half a
      second. What was asked for is asked again until the supervisor shows a later state. Ticks never overlap.
    * Whatever raises a weight rests on evidence that is on the disk, and its snapshot is there before it is asked for.
      A disk that does not take it means HOLD.
    * What takes a canary off waits for no disk, or :data:`FALL_PATIENCE_S` at most: clients suffer meanwhile. Counters
      in the run directory outlive this process anyway, so what was in memory only can be read again; a snapshot that
      the disk refused is offered again later.
    * Evidence of earlier processes that could not be loaded is missing evidence: it may still show harm, for the rest
      is valid by itself. It raises nothing.
    * A tick judges for :data:`THINK_S` at most, one rollout after the other (:mod:`proxy.engine.turns`), so that
      neither the loop nor a single rollout waits for a hundred others.
    * A fault in one route's judgement is counted, said once, and is that route's HOLD; the others go on.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from math import inf
from pathlib import Path
from typing import Any, Final, TypeAlias

from proxy.clock import monotonic, wall_ns
from proxy.control.history import read_history
from proxy.engine.dossier import Dossier, Reading, epoch_of
from proxy.engine.engine_time import EngineTime
from proxy.engine.evidence_view import SHOWN_DECISIONS, Seen, evidence_document
from proxy.engine.feedback import Feedback, Said
from proxy.engine.feedback_store import Told
from proxy.engine.judging import Judgement, gist, held_back, judge, point
from proxy.engine.keeping import Keeper
from proxy.engine.ledger import BIN_NS
from proxy.engine.readings import read_evidence, read_shadow
from proxy.engine.store import ShadowCounts, Verdict
from proxy.engine.store_thread import StoreThread
from proxy.engine.turns import Candidate, Turns
from proxy.engine.webhooks import Event, Webhooks, event_body
from proxy.evidence.remnants import ended_remnants, let_go
from proxy.rollout.plan import Plan, plan_of
from proxy.rollout.state import ENGINE, RolloutState
from proxy.routing.table import Route, Table
from proxy.tasks import spawn

__all__ = ["THINK_S", "TICK_S", "Deciding", "Request"]

Request: TypeAlias = Callable[[str, str, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks the supervisor: ``(verb, by, facts)`` → its reply."""

TICK_S: Final = 0.5
"""From one tick's begin to the next one's, so that a verdict is in force within a second of the answer it rests on."""

THINK_S: Final = 0.25
"""So much of a tick goes into judging; who is still due then comes first in the next."""

NOTE_EVERY_NS: Final = 3_600_000_000_000
"""What was noted is not noted again in that hour, so a verdict that wavers fills no journal. A new one never waits."""

SHOW_EVERY_NS: Final = 2_000_000_000
"""What is judged as before is put into words and figures once in that time: they take longer than judging does."""

_log = logging.getLogger("modelproxy")


class _Order:
    """A decision that the supervisor was asked for, until it shows a later state."""

    def __init__(self, state: RolloutState, judgement: Judgement, document: Mapping[str, Any]) -> None:
        self.rollout = state.rollout
        self.sequence = state.sequence
        self.judgement = judgement
        self.document = document
        self.task: asyncio.Task[None] | None = None

    def is_about(self, state: RolloutState) -> bool:
        return (self.rollout, self.sequence) == (state.rollout, state.sequence)

    def was_done(self, state: RolloutState) -> bool:
        decision = self.judgement.decision
        return state.by == ENGINE and (state.phase, state.step) == (decision.phase, decision.step)


class Deciding:
    """Everything about rollouts in the observer. Belongs to one loop.

    Args:
        run_dir: where the counters are.
        state_dir: where evidence is kept.
        request: asks the supervisor.
    """

    def __init__(
        self,
        run_dir: Path,
        state_dir: Path,
        request: Request,
        *,
        time: EngineTime | None = None,
        shelf: StoreThread | None = None,
    ) -> None:
        self.judgements: dict[str, Mapping[str, Any]] = {}
        """What was thought last, by route."""
        self.dossiers: dict[str, Dossier] = {}
        """By id, of every live table."""
        self.tick_seconds = 0.0
        """How long the last tick took."""
        self.tick_failures = 0
        """Judgements, and whole ticks, that failed for a fault of ours."""
        self.shelf = shelf or StoreThread(state_dir)
        self.webhooks = Webhooks(self.shelf)
        self.feedback = Feedback(run_dir, state_dir)
        self._run_dir = run_dir
        self._state_dir = state_dir
        self._request = request
        self._time = time or EngineTime(BIN_NS)
        self._tables: dict[int, Table] = {}
        self._told: dict[int, Sequence[Mapping[str, Any]]] = {}
        """States that came with a version that is not in force yet."""
        self._table: Table | None = None
        self._states: dict[str, RolloutState] = {}
        self._orders: dict[str, _Order] = {}
        self._latest: dict[str, Judgement] = {}
        self._shown_ns: dict[str, int] = {}
        """When it was put into words last, by route."""
        self._noted: dict[str, tuple[object, ...]] = {}
        self._note_due_ns: dict[str, dict[tuple[object, ...], int]] = {}
        self._failing: set[tuple[str, str]] = set()
        self.turns = Turns()
        """Who was judged when; ``left`` says how far judging is behind."""
        self._thinking = asyncio.Lock()
        self._keeper = Keeper(run_dir, state_dir, self.shelf, self._time)
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._turn = asyncio.Lock()
        self._is_standing_down = False
        self._ended: frozenset[str] = frozenset()
        """Of the remnants that were read last, those that had ended before."""

    # What the supervisor tells

    def admit(self, table: Table, message: Mapping[str, Any]) -> None:
        """Take in a version that may come into force."""
        self._set_clock(message)
        self._tables[table.version] = table
        self._told[table.version] = message.get("rollouts", ())
        self._open_dossiers(table)

    def commit(self, version: int) -> None:
        """Judge by this version from now on, and at once."""
        table = self._tables.get(version)
        if table is None:
            return
        self._table = table
        told = _states(self._told.pop(version, ()))
        for route in list(self._states):
            if route not in told:
                self._forget(route)
        for route, state in told.items():
            known = self._states.get(route)
            if known is None or state.sequence >= known.sequence:
                self._states[route] = state
        self.webhooks.configure(table.settings.webhooks)
        self._wake.set()

    def start(self) -> None:
        """Look at everything from now on, twice a second, until :meth:`finish`."""
        self._tasks += (
            spawn(self._run(), name="deciding"),
            spawn(self.webhooks.run(), name="webhooks"),
        )

    def retire(self, versions: Iterable[int]) -> None:
        """Forget these versions. What copies have shown under them is read for the last time."""
        for version in versions:
            self._told.pop(version, None)
            if (table := self._tables.pop(version, None)) is not None:
                for key, counts in self._read_shadows([table]).items():
                    dossier = self.dossiers.get(key)
                    if dossier is not None:
                        dossier.take_shadows(counts)

    def take_fleet(self, told: Mapping[str, Any]) -> None:
        """Take in where the rollouts stand: the part ``rollouts`` of a fleet message."""
        self._set_clock(told)
        if "states" not in told:
            return
        states = _states(told["states"])
        for route in self._states.keys() - states.keys():
            self._forget(route)
        if states != self._states:
            self._states = states
            self._wake.set()

    async def describe(self, name: str) -> dict[str, Any] | None:
        """Return the evidence of the route called ``name``; None when it tries nothing."""
        routes = self._table.routes if self._table is not None else ()
        experiment = next((each.experiment for each in routes if each.name == name), None)
        dossier = self.dossiers.get(experiment.rollout) if experiment is not None else None
        if dossier is None:
            return None
        decisions = await self._keeper.decisions(name, SHOWN_DECISIONS, dossier.rollout)
        latest = self._latest.get(name)
        if latest is not None and latest.state.rollout != dossier.rollout:
            latest = None
        seen, problem = Seen.of(dossier), self.shelf.problem
        document = await asyncio.to_thread(evidence_document, seen, latest, decisions, problem)
        return document | {"history": await asyncio.to_thread(read_history, self._state_dir, name)}

    async def snapshot(self, digest: str) -> bytes | None:
        """Return what the verdict with this digest was drawn from; None when it is not, or no longer, here."""
        return await self._keeper.snapshot(digest)

    def _forget(self, route: str) -> None:
        kept: dict[str, Any]
        for kept in (
            self._states,
            self.judgements,
            self._latest,
            self._orders,
            self._shown_ns,
            self._noted,
            self._note_due_ns,
        ):
            kept.pop(route, None)

    def _set_clock(self, message: Mapping[str, Any]) -> None:
        if not isinstance(offset_ns := message.get("clock_offset_ns"), int):
            return
        was_known = self._time.is_known
        self._time.set_offset(offset_ns)
        if not was_known:
            for table in self._tables.values():
                self._open_dossiers(table)

    def _open_dossiers(self, table: Table) -> None:
        if not self._time.is_known:
            return  # the first epoch would seem to have begun when the machine did
        now_ns = self._time.now_ns()
        for route in table.routes:
            experiment = route.experiment
            if experiment is None:
                continue
            dossier = self.dossiers.get(experiment.rollout)
            if dossier is None:
                canary = route.settings.rollout_variant
                name = canary.name if canary is not None else ""
                dossier = Dossier(experiment.rollout, route.name, name, route.champion.name)
                self.dossiers[experiment.rollout] = dossier
            dossier.champion = route.champion.name
            dossier.ledger.admit(epoch_of(experiment, now_ns))

    # The tick

    async def _run(self) -> None:
        while True:
            started_s = monotonic()
            self._wake.clear()
            with self._excusing("", "a look at the rollouts failed%s; it is tried again"):
                await self.tick()
            self.tick_seconds = monotonic() - started_s
            with suppress(TimeoutError):
                async with asyncio.timeout(max(TICK_S - self.tick_seconds, TICK_S / 10)):
                    await self._wake.wait()

    async def tick(self) -> None:
        """Look once at everything."""
        if self._table is None or not self._time.is_known:
            return
        if not self.dossiers:
            self._ended = ended_remnants(self._run_dir)
            self._let_go()
            return
        async with self._turn:
            dossiers = self.dossiers.values()
            for route, said in (await self._keeper.load(list(dossiers))).items():
                self._noted.setdefault(route, said)
            now_ns = await self._take()
            await self.feedback.look(self._tables.values(), self._states, self.dossiers, now_ns)
            await self._keeper.write(list(dossiers), now_ns)
            self._let_go()
            has_jumped = self._time.look()
            if not self._is_standing_down:
                await self._consider_due(has_jumped)
            self._keeper.housekeep(list(dossiers), now_ns)

    @contextmanager
    def _excusing(self, name: str, sentence: str) -> Iterator[list[str]]:
        """Let a fault of ours pass: counted, logged the first time in a row, and named in the list that is given."""
        excused: list[str] = []
        try:
            yield excused
        except Exception as error:
            excused.append(type(error).__name__)
            self.tick_failures += 1
            if (name, sentence) not in self._failing:
                self._failing.add((name, sentence))
                _log.exception(sentence, name)
        else:
            self._failing.discard((name, sentence))

    async def _take(self) -> int:
        """Read what the workers and our own side have counted."""
        live = {e.rollout for t in self._tables.values() for r in t.routes if (e := r.experiment) is not None}
        for rollout in self.dossiers.keys() - live:
            del self.dossiers[rollout]
        epochs = {name: dossier for dossier in self.dossiers.values() for name in dossier.ledger.epochs}
        wanted = {name: len(dossier.ledger.epochs[name].variants) for name, dossier in epochs.items()}
        self._ended = await asyncio.to_thread(ended_remnants, self._run_dir)
        readings = await asyncio.to_thread(read_evidence, self._run_dir, wanted)
        shadows = await asyncio.to_thread(self._read_shadows, list(self._tables.values()))
        now_ns = self._time.now_ns()
        by_rollout: dict[str, list[Reading]] = {}
        for reading in readings:
            by_rollout.setdefault(epochs[reading.epoch].rollout, []).append(reading)
        for rollout, dossier in list(self.dossiers.items()):
            await asyncio.sleep(0)  # whatever else is to be done comes in between
            found = by_rollout.get(rollout, []), shadows.get(rollout, {})
            with self._excusing(dossier.route, "the evidence of route %s cannot be taken in") as excused:
                dossier.take(*found, now_ns, self._state_of(dossier))
                self._freeze(dossier, now_ns)
            if excused:
                self._ended = frozenset()
        return now_ns

    def _let_go(self) -> None:
        """Let go of the directories of killed supervisors from which there is nothing to come that is not stored."""
        if self._ended and self._keeper.has_all(self.dossiers.values()):
            for name in self._ended:
                let_go(self._run_dir, name)

    async def take_feedback(self, items: Mapping[str, Said]) -> dict[str, Told]:
        """Count what was said about answers, by route; see :meth:`proxy.engine.feedback.Feedback.take`."""
        return await self.feedback.take(items, self._states, self.dossiers, self._time.now_ns())

    def _freeze(self, dossier: Dossier, now_ns: int) -> None:
        assert self._table is not None, "there are ticks only after a commit"
        route = next((each for each in self._table.routes if each.name == dossier.route), None)
        if route is None or route.experiment is None or route.experiment.rollout != dossier.rollout:
            return
        plan, state = plan_of(self._table.settings, route.settings), self._states.get(route.name)
        first_ns = 0 if plan is None else plan.bake_ns + plan.hold_ns
        is_held = plan is None or state is None or now_ns - state.started_ns >= first_ns
        dossier.freeze(route.experiment.epoch, now_ns, is_held=is_held)

    def _read_shadows(self, tables: Sequence[Table]) -> dict[str, dict[tuple[str, int], ShadowCounts]]:
        found: dict[str, dict[tuple[str, int], ShadowCounts]] = {}
        for table in tables:
            for route in table.routes:
                canary = route.settings.rollout_variant
                if route.experiment is None or canary is None:
                    continue
                counts = read_shadow(self._run_dir, table, route, canary.name)
                if counts is not None:
                    key = (self._run_dir.name, table.version)
                    found.setdefault(route.experiment.rollout, {})[key] = counts
        return found

    def _state_of(self, dossier: Dossier) -> RolloutState | None:
        state = self._states.get(dossier.route)
        return state if state is not None and state.rollout == dossier.rollout else None

    # One route

    async def _consider_due(self, has_jumped: bool) -> None:
        """Judge whoever is due, as long as there is time for it, and act on it."""
        assert self._table is not None, "there are ticks only after a commit"
        routes = {each.name: each for each in self._table.routes if each.name in self._states}
        candidates = {name: self._candidate(name, has_jumped) for name in routes}
        due = self.turns.order(candidates.values(), self._time.told_ns())
        # The first one is judged however little time there is.
        ends_s = [inf, *[monotonic() + THINK_S] * len(due)]
        # All at once, for one may wait for the disk to act; thinking they take turns, in this order.
        await asyncio.gather(
            *(
                self._consider(routes[name], candidates[name], has_jumped, end_s)
                for name, end_s in zip(due, ends_s, strict=False)
            )
        )

    def _candidate(self, name: str, has_jumped: bool) -> Candidate:
        state = self._states[name]
        dossier = self.dossiers.get(state.rollout)
        order = self._orders.get(name)
        news, events = (dossier.news, dossier.events) if dossier is not None else (0, 0)
        mark = (self._table, state, news, has_jumped)
        return Candidate(name, mark, events, is_pressing=order is not None and order.is_about(state))

    async def _consider(self, route: Route, candidate: Candidate, has_jumped: bool, end_s: float) -> None:
        said = "the rollout of route %s cannot be judged; it stays where it is"
        with self._excusing(route.name, said) as excused:
            async with self._thinking:
                if monotonic() > end_s:
                    return
                found = await self._judge(route, has_jumped)
                self.turns.done(candidate, self._time.told_ns())
            if found is not None:
                await self._act(route.name, found)
        if excused:
            self.turns.done(candidate._replace(mark=()), self._time.told_ns())
            sentence = f"It cannot be judged, for a fault of this program ({excused[0]}); see the log."
            self.judgements[route.name] = held_back("fault", sentence)

    async def _judge(self, route: Route, has_jumped: bool) -> Judgement | None:
        table, state = self._table, self._states[route.name]
        assert table is not None, "there are ticks only after a commit"
        plan = plan_of(table.settings, route.settings)
        dossier = self.dossiers.get(state.rollout)
        experiment = route.experiment
        if plan is None or dossier is None or experiment is None or experiment.rollout != state.rollout:
            self.judgements[route.name] = held_back("not_in_force", "It is not in force yet.")
            return None
        self._settle(route.name, table, state)
        slices = dossier.slices(state.variant, clock_jumped=has_jumped)
        # How long a step has lasted is told by the clock that dated its beginning.
        found = await asyncio.to_thread(judge, plan, state, slices, self._time.told_ns())
        self._latest[route.name] = found
        if self._is_to_show(route.name, found):
            drawn = await asyncio.to_thread(point, found)
            dossier.add_point(self._time.now_ns(), drawn, has_moved=found.moves)
            self._shown_ns[route.name] = found.now_ns
        return found

    def _is_to_show(self, name: str, found: Judgement) -> bool:
        """Tell whether it is worth its words: it moves something, is another than before, or that was a while ago."""
        age_ns = found.now_ns - self._shown_ns.get(name, -SHOW_EVERY_NS)
        return found.moves or found.gist != gist(self.judgements.get(name, {})) or age_ns >= SHOW_EVERY_NS

    async def _act(self, name: str, found: Judgement) -> None:
        state, dossier = found.state, self.dossiers.get(found.state.rollout)
        if self._states.get(name) != state or dossier is None:
            return  # it has moved meanwhile: the next tick judges the new state
        if found.moves:
            await self._order(name, dossier, state, found)
            return
        self._orders.pop(name, None)
        if self._shown_ns.get(name) == found.now_ns:
            await self._note(name, found.plan, dossier, state, found, found.document)

    def _settle(self, name: str, table: Table, state: RolloutState) -> None:
        """Take leave of an order that is done, or that nobody will do any more."""
        order = self._orders.get(name)
        if order is None or order.is_about(state):
            return
        del self._orders[name]
        if order.was_done(state):
            # It is in the journal: where the same follows from the new state too, nothing is to be added.
            self._noted[name] = gist(order.document)
            self._announce(name, order.document, table.version)

    async def _order(self, name: str, dossier: Dossier, state: RolloutState, found: Judgement) -> None:
        order = self._orders.get(name)
        if order is None or not order.is_about(state) or order.judgement.action != found.action:
            order = _Order(state, found, found.document | {"evidence": found.digest})
            verdict = self._verdict(dossier, state, found, moves=True)
            if found.falls:
                await self._keeper.record_soon(verdict)
            elif problem := await self._keeper.record(dossier, verdict):
                document = found.document | held_back("not_stored", problem)
                await self._note(name, None, dossier, state, found, document)
                return
            self._orders[name] = order
        self.judgements[name] = order.document
        if order.task is None or order.task.done():
            order.task = spawn(self._ask("decide", name, order.document), name=f"decision about {name}")

    async def _note(
        self,
        name: str,
        plan: Plan | None,
        dossier: Dossier,
        state: RolloutState,
        found: Judgement,
        document: Mapping[str, Any],
    ) -> None:
        """Show a judgement that moves nothing, and write it down once it is another than before."""
        self.judgements[name] = document
        now_ns, said = self._time.told_ns(), gist(document)
        due_ns = {known: due for known, due in self._note_due_ns.get(name, {}).items() if now_ns < due}
        if said == self._noted.get(name) or said in due_ns:
            return
        self._noted[name] = said
        self._note_due_ns[name] = due_ns | {said: now_ns + NOTE_EVERY_NS}
        if plan is not None:
            verdict = self._verdict(dossier, state, found, moves=False)
            if await self._keeper.record_soon(verdict):
                document = {**document, "evidence": found.digest}
        spawn(self._ask("note", name, document), name=f"note about {name}")
        if self._table is not None:
            self._announce(name, document, self._table.version)

    def _verdict(self, dossier: Dossier, state: RolloutState, found: Judgement, *, moves: bool) -> Verdict:
        return Verdict(
            dossier.rollout,
            dossier.route,
            state.sequence,
            found.now_ns,
            str(found.decision.verdict),
            moves,
            found.digest,
            found.decision_bytes,
            found.snapshot,
        )

    async def _ask(self, verb: str, route: str, document: Mapping[str, Any]) -> None:
        try:
            reply = await self._request(verb, ENGINE, {"route": route, "decision": document})
        except OSError as error:
            _log.warning("rollout of route %s: the supervisor did not answer: %r", route, error)
            return
        answer = reply.get("document") or {}
        if not reply.get("ok") and verb == "decide":
            _log.warning("rollout of route %s: %s", route, "; ".join(answer.get("problems", ())) or answer)
        self._wake.set()

    def _announce(self, route: str, document: Mapping[str, Any], version: int) -> None:
        verdict = str(document.get("verdict"))
        facts = {
            "route": route,
            "version": version,
            **{
                name: value
                for name, value in document.items()
                if name not in ("needs", "log_e", "confidence")
            },
        }
        ts = datetime.fromtimestamp(wall_ns() / 1e9, UTC).isoformat(timespec="milliseconds")
        key = "\n".join(map(str, (route, *gist(document), document.get("sequence"))))
        body = event_body(f"rollout.{verdict}", ts.replace("+00:00", "Z"), facts)
        self.webhooks.announce(Event(key, verdict, body))

    # The end

    def stand_down(self) -> None:
        """From now on only read and store: this process ends once the workers have, and decides nothing any more.

        The maps of units are saved at once: a successor that starts while the workers drain takes them up.
        """
        self._is_standing_down = True
        self._keeper.save_units(*self.dossiers)

    async def finish(self, patience_s: float) -> bool:
        """Read for the last time, store it, and close; tell whether all is stored. No worker counts any more.

        Waits at most about three times ``patience_s``, and two seconds where it has only begun.
        """
        is_stored = False
        for task in self._tasks[:1]:
            task.cancel()
            await asyncio.wait([task])
        if self._table is not None and self._time.is_known:
            with suppress(Exception):
                # What earlier processes have stored tells which epochs there are.
                await self._keeper.load(list(self.dossiers.values()))
                now_ns = await self._take()
                await self._keeper.finish(list(self.dossiers.values()), now_ns, patience_s)
                is_stored = self._keeper.has_all(self.dossiers.values())
        await self.webhooks.settle(patience_s)
        for task in self._tasks[1:]:
            task.cancel()
            await asyncio.wait([task])
        if not await self.feedback.close(patience_s):
            _log.error("feedback: the disk is too slow; what was not acknowledged may be missing")
        is_closed = await self.shelf.close(patience_s)
        if not is_closed:
            _log.error(
                "evidence: the disk is too slow; what was counted last is read again by the next start"
            )
        return is_stored and is_closed


def _states(documents: Iterable[Mapping[str, Any]]) -> dict[str, RolloutState]:
    states = {}
    for document in documents:
        try:
            state = RolloutState.from_document(document)
        except ValueError as error:
            _log.error("the supervisor told of a rollout that nobody understands: %s", error)
            continue
        states[state.route] = state
    return states

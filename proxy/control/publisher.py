"""The only writer: every change of what the proxy does goes through :class:`Publisher`.

Theory of operation
    A publish reads a whole document and brings the processes to it (level-triggered: it does not matter which
    change was announced, or how often): judge → compile → number → prepare everywhere → journal → commit
    everywhere. What is refused on the way changes nothing: the running table stays, and the refusal is
    counted, journalled and shown.

    *Prepare* makes each process compile and keep the table; *commit* makes it effective. So a table that one
    process cannot hold (no space for its counters) is never half effective. A process that is down does not
    count: it gets every table when it comes back.

    What a table is made of are the settings, as the file declares them, and where the rollouts stand. Both have one way
    in each: :meth:`Publisher.publish` brings other settings, and what becomes of the rollouts under them;
    :meth:`Publisher.steer` moves one rollout under the same settings. A file that says what is declared already changes
    nothing, wherever the rollouts stand by now.

    The book of rollouts is written before the commit. What takes a canary off is *wanted* from then on, also where a
    process could not hold the table: the next publish, of whatever, tries it again.

Rule
    Judging is pure (:func:`judge`); one lock makes publishes one after the other; nothing else changes a
    table.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

from proxy.clock import monotonic, wall_ns
from proxy.control.book import Entry
from proxy.control.journal import Journal
from proxy.control.judge import Accepted, Refused, Unchanged, judge
from proxy.control.matching import standing
from proxy.control.release import Fleet, Outcome, Release, Result
from proxy.control.rollouts import FALL_PATIENCE_S, Rollouts, fresh_id
from proxy.control.steering import Order, Stale, Step, note_facts, take
from proxy.rollout.plan import Plan, plan_of

__all__ = ["Publisher"]

JOURNAL_PATIENCE_S = 5.0
"""A disk that takes longer for one line counts as a failed write; the change goes on."""

REST_S = 10.0
"""After a process could not hold a table, the engine's next step waits so long: each attempt uses a version."""

_log = logging.getLogger("modelproxy")


class Publisher:
    """Publishes documents, one after the other.

    Args:
        source: the configuration file as it was named; in problems and in the status.
        fleet: who gets the tables.
        journal: where each change is written first.
        rollouts: where the rollouts stand.
        last_version: the highest version that was ever used; the next one is higher.
        environ: for ``${NAME}`` in documents.
        on_change: called after whatever :meth:`status` shows has changed.
        reloads: how many were tried under the program before, if this one follows it.
        refused: how many of these were refused.
    """

    def __init__(
        self,
        *,
        source: str,
        fleet: Fleet,
        journal: Journal,
        rollouts: Rollouts,
        last_version: int,
        environ: Mapping[str, str],
        on_change: Callable[[], None],
        reloads: int = 0,
        refused: int = 0,
    ) -> None:
        self._source = source
        self._fleet = fleet
        self._journal = journal
        self._last_version = last_version
        self._environ = environ
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._running: Release | None = None
        self._before = last_version
        self._digest = ""
        self._loaded_wall_ns = 0
        self._last_error: tuple[str, ...] = ()
        self._reloads, self._refused = reloads, refused
        self._rollouts = rollouts
        self._under_way: set[tuple[str, ...]] = set()
        self._applied: dict[str, tuple[str, ...]] = {}
        self._told: dict[str, str] = {}
        self._rest_until_s = 0.0

    @property
    def running(self) -> Release | None:
        """The effective release; None before the first."""
        return self._running

    @property
    def last_version(self) -> int:
        """The highest version that was ever used, also by a refused table."""
        return self._last_version

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Hold publishes back: within, no table is half way to a process. Waits for the one under way."""
        async with self._lock:
            yield

    async def publish(self, content: bytes, *, by: str, why: str) -> Outcome:
        """Bring every process to the document ``content``, or refuse it and change nothing.

        Waits for publishes before it, for the processes to prepare (bounded by their patience) and for the
        journal (bounded by ``JOURNAL_PATIENCE_S``). Once the journal has the line, the commit follows without
        a wait in between.

        Args:
            content: the whole document.
            by: who asked, for the journal: ``start``, ``file``, ``signal``, ``admin 127.0.0.1``.
            why: one phrase for the journal.
        """
        async with self._lock:
            running = self._running
            # In a thread: a large file takes a second to parse, and the children are listened to meanwhile.
            verdict = await asyncio.to_thread(
                judge,
                content,
                running.settings if running else None,
                source=self._source,
                environ=self._environ,
            )
            if isinstance(verdict, Accepted):
                outcome = await self._release(verdict, by, why)
            elif isinstance(verdict, Unchanged):
                self._digest = verdict.digest
                self._last_error = ()
                outcome = await self._catch_up(by, why) or self._unchanged()
            else:
                outcome = await self._refuse_and_catch_up(verdict, by, why)
            self._count(outcome, first=running is None)
        self._on_change()
        return outcome

    async def refuse(self, problem: str, *, by: str, why: str) -> Outcome:
        """Record that there is no document to judge, for example because the file is gone; the table
        stays."""
        async with self._lock:
            outcome = await self._refuse_and_catch_up(Refused((problem,), ""), by, why)
            self._count(outcome, first=self._running is None)
        self._on_change()
        return outcome

    def status(self) -> dict[str, Any]:
        """Return the state of the configuration as JSON values."""
        return {
            "version": self._running.version if self._running else 0,
            "digest": self._digest,
            "path": self._source,
            "loaded_wall_ns": self._loaded_wall_ns,
            "last_reload_successful": not self._last_error,
            "last_error": list(self._last_error),
            "reloads_total": self._reloads,
            "reloads_refused_total": self._refused,
            "journal_failures_total": self._journal.failures,
            "rollout_book_failures_total": self._rollouts.failures,
            "rollout_stale_decisions_total": self._rollouts.stale,
        }

    async def steer(self, order: Order) -> Outcome:
        """Move one rollout as ``order`` says, in every process, or refuse it.

        What takes a canary off is written down and tried again where a process could not hold the table
        (``may_pass_later``), and takes effect also where the disk takes nothing; the next step of the engine does not.
        """
        if order.is_engine and (order.key in self._under_way or self._applied.get(order.route) == order.key):
            return Outcome(Result.ALREADY, self._running.version if self._running else 0)
        self._under_way.add(order.key)
        try:
            async with self._lock:
                outcome = await self._steer(order)
        finally:
            self._under_way.discard(order.key)
        self._on_change()
        return outcome

    async def _steer(self, order: Order) -> Outcome:
        running = self._running
        known = self._rollout_of(running, order.route) if running else f"there is no route {order.route} yet"
        if running is None or isinstance(known, str):
            return self._decline(order, str(known))
        entry, plan = known
        if order.verb == "note":
            return await self._note(running, order, note_facts(order, entry.state, plan))
        step = take(order, entry, plan, self._rollouts.clock.now_ns(), fresh_id())
        if isinstance(step, Step):
            if order.is_engine and not step.is_urgent and monotonic() < self._rest_until_s:
                return self._decline(
                    order, "a process could not hold the last table; tried again in a moment"
                )
            return await self._step(running, order, step)
        if isinstance(step, Stale):
            self._rollouts.stale += 1
            step = step.sentence
        return self._decline(order, step)

    def _rollout_of(self, running: Release, name: str) -> tuple[Entry, Plan] | str:
        route = next((route for route in running.settings.routes if route.name == name), None)
        if route is None:
            names = ", ".join(route.name for route in running.settings.routes)
            return f"no route is called {name}; there are: {names}"
        plan, entry = plan_of(running.settings, route), self._rollouts.entries.get(name)
        if plan is None or entry is None:
            return f"route {name} has no rollout: none of its variants has one in {self._source}"
        return entry, plan

    def _decline(self, order: Order, sentence: str) -> Outcome:
        """Refuse an order; the engine's, which comes again each second, is logged once."""
        if not order.is_engine or self._told.get(order.route) != sentence:
            _log.warning("%s of %s refused: %s", order.verb, order.route, sentence)
        if order.is_engine:
            self._told[order.route] = sentence
        return Outcome(Result.REFUSED, self._running.version if self._running else 0, problems=(sentence,))

    async def _note(self, running: Release, order: Order, facts: dict[str, Any] | Stale) -> Outcome:
        if isinstance(facts, Stale):
            self._rollouts.stale += 1
            return self._decline(order, facts.sentence)
        self._count_decision(order)
        await self._write_step("note", running.version, order, facts)
        return Outcome(Result.UNCHANGED, running.version)

    async def _step(self, running: Release, order: Order, step: Step) -> Outcome:
        entries = {**self._rollouts.entries, order.route: step.entry}
        version = self._last_version = self._last_version + 1
        release = running.with_rollouts(version, self._digest, entries)
        event = "decision" if order.is_engine else "verb"
        refusals = await self._fleet.prepare(release)
        if refusals and not step.is_urgent:
            self._rest_until_s = monotonic() + REST_S
            self._fleet.abandon(release)
            return self._decline(order, "; ".join(refusals))
        is_written = await self._rollouts.write(entries, falls=step.falls)
        if step.rises and not is_written:
            self._fleet.abandon(release)
            return self._decline(
                order, "the book of rollouts cannot be written: a restart would forget the step"
            )
        self._rollouts.adopt(entries, running.settings)
        facts = {"from": self._before, **step.facts}
        if refusals:
            self._fleet.abandon(release)
            await self._write_step(event, running.version, order, {**facts, "problems": list(refusals)})
            sentence = f"{step.sentence}: written down, not in force yet, and tried again"
            return replace(self._decline(order, "; ".join((sentence, *refusals))), may_pass_later=True)
        self._count_decision(order)
        await self._write_step(
            event, version, order, facts, FALL_PATIENCE_S if step.falls else JOURNAL_PATIENCE_S
        )
        self._commit(release)
        self._applied[order.route] = order.key
        self._told.pop(order.route, None)
        _log.info(
            "table version %d is effective (%s: %s): routes[%s]: %s",
            version,
            order.by,
            order.verb,
            order.route,
            step.sentence,
        )
        warnings = (
            () if is_written else ("the book of rollouts cannot be written: a restart now would forget this",)
        )
        return Outcome(Result.PUBLISHED, version, changes=(step.sentence,), warnings=warnings)

    def _count_decision(self, order: Order) -> None:
        if order.is_engine and not order.decision.get("dry_run"):
            self._rollouts.count(order.route, order.verdict)

    async def _write_step(
        self,
        event: str,
        version: int,
        order: Order,
        facts: Mapping[str, Any],
        patience_s: float = JOURNAL_PATIENCE_S,
    ) -> None:
        await self._write(
            lambda: self._journal.steered(
                wall_ns=wall_ns(), event=event, version=version, by=order.by, digest=self._digest, facts=facts
            ),
            patience_s,
        )

    async def _release(self, verdict: Accepted, by: str, why: str) -> Outcome:
        matched = self._rollouts.match(verdict.settings)
        stands = () if self._running else standing(matched.entries, self._rollouts.entries)
        changes = (*verdict.changes, *matched.sentences, *matched.alarms, *stands)
        version = self._last_version + 1
        try:
            release = Release(
                verdict.settings, version, verdict.digest, verdict.certificates, matched.entries
            )
        except Exception as error:
            # A document that passed every rule and does not compile is a bug of ours; the old table serves
            # on.
            _log.exception("cannot compile %s", self._source)
            return await self._refuse(
                Refused((f"{self._source}: cannot compile the table: {error!r}",), verdict.digest), by, why
            )
        # The number is used up whatever comes: a version means one table, also in a process that kept a
        # refused one.
        self._last_version = version
        if refusals := await self._fleet.prepare(release):
            self._fleet.abandon(release)
            outcome = await self._refuse(Refused(refusals, verdict.digest), by, why)
            return replace(outcome, may_pass_later=True)
        advice = (*verdict.warnings, *matched.alarms)
        outcome = await self._bring_in(release, matched.entries, changes, advice, by=by, why=why)
        self._loaded_wall_ns = wall_ns()
        self._last_error = ()
        return outcome

    async def _catch_up(self, by: str, why: str) -> Outcome | None:
        """Bring the rollouts where they are wanted, under the settings in force; None when they are there."""
        running, entries = self._running, self._rollouts.entries
        if running is None or entries == running.entries:
            return None
        version = self._last_version = self._last_version + 1
        release = running.with_rollouts(version, self._digest, entries)
        if refusals := await self._fleet.prepare(release):
            self._fleet.abandon(release)
            outcome = await self._refuse(Refused(refusals, running.digest), by, why)
            return replace(outcome, may_pass_later=True)
        changes = tuple(
            f"routes[{route}]: the rollout of {entry.state.variant} is where it was wanted: {entry.state.reason}"
            for route, entry in entries.items()
            if entry != running.entries.get(route)
        )
        return await self._bring_in(release, entries, changes, (), by=by, why=why)

    async def _bring_in(
        self,
        release: Release,
        entries: Mapping[str, Entry],
        changes: tuple[str, ...],
        advice: tuple[str, ...],
        *,
        by: str,
        why: str,
    ) -> Outcome:
        """Write down the prepared ``release`` and commit it."""
        await self._rollouts.write(entries)
        self._rollouts.adopt(entries, release.settings)
        await self._write(
            lambda: self._journal.published(
                wall_ns=wall_ns(),
                version=release.version,
                before=self._before,
                by=by,
                why=why,
                digest=release.digest,
                changes=changes,
            )
        )
        self._commit(release)
        _log.info("table version %d is effective (%s: %s)", release.version, by, why)
        for sentence in changes:
            _log.info("version %d: %s", release.version, sentence)
        for warning in advice:
            _log.warning("%s", warning)
        return Outcome(Result.PUBLISHED, release.version, changes=changes, warnings=advice)

    def _commit(self, release: Release) -> None:
        self._fleet.commit(release)
        self._running, self._before, self._digest = release, release.version, release.digest

    def _unchanged(self) -> Outcome:
        assert self._running is not None
        _log.info("the configuration says what is running already (version %d)", self._running.version)
        return Outcome(Result.UNCHANGED, self._running.version)

    async def _refuse(self, verdict: Refused, by: str, why: str) -> Outcome:
        version = self._running.version if self._running else 0
        self._last_error = verdict.problems
        if self._running:
            for problem in verdict.problems:
                _log.error("reload refused, version %d stays: %s", version, problem)
            await self._write(
                lambda: self._journal.refused(
                    wall_ns=wall_ns(),
                    running=version,
                    by=by,
                    why=why,
                    digest=verdict.digest,
                    problems=verdict.problems,
                )
            )
        return Outcome(Result.REFUSED, version, problems=verdict.problems)

    async def _refuse_and_catch_up(self, verdict: Refused, by: str, why: str) -> Outcome:
        """Refuse a document; what is wanted of the rollouts does not wait until somebody has mended it."""
        outcome = await self._refuse(verdict, by, why)
        caught_up = await self._catch_up(by, why)
        self._last_error = verdict.problems
        return replace(outcome, may_pass_later=bool(caught_up and caught_up.may_pass_later))

    def _count(self, outcome: Outcome, *, first: bool) -> None:
        if first:
            return
        self._reloads += 1
        self._refused += not outcome.ok

    async def _write(self, append: Callable[[], bool], patience_s: float = JOURNAL_PATIENCE_S) -> None:
        try:
            async with asyncio.timeout(patience_s):
                await asyncio.to_thread(append)
        except TimeoutError:
            self._journal.failures += 1
            _log.error("journal: the disk took longer than %g s; the change goes on", patience_s)

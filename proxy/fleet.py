"""All the children, and which table versions they hold.

Theory of operation
    A version is *pending* while it is prepared, *live* once it was committed, *retiring* when it is over, and
    gone when its counters are folded into the base (:func:`proxy.tally.fold`). A process that comes up is
    given every live version, and the pending one, in ascending order, then the commit of the current: from
    then on it is as good as the others.

    A version is over when it was replaced a while ago, every worker has committed the current one, and its
    counts say that nothing is under way (:mod:`proxy.retirement`). Workers let go of it first, then it is
    folded, then the observer lets go: so at every moment the observer finds each count exactly once, in a
    block or in the base.

Rule
    The observer is never waited for longer than for a worker, and its death changes nothing for traffic.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.children import Child, Timing
from proxy.clock import monotonic, wall_ns
from proxy.control.release import Release
from proxy.evidence.blocks import remove
from proxy.evidence.remnants import remnants
from proxy.evidence.units import link_units, remove_units, restore_units
from proxy.handover import InheritedProcess, Totals
from proxy.retirement import is_quiet
from proxy.routing.experiment import Experiment
from proxy.tally import Layout, fold, read_all
from proxy.tasks import spawn

__all__ = ["Commands", "Fleet", "FoldRule", "StartError"]

START_ATTEMPTS = 3
"""When a worker died so often and none serves yet, the start has failed."""

_log = logging.getLogger("modelproxy")


class StartError(Exception):
    """No worker can serve the first table. ``str()`` is the sentence to print."""


@dataclass(frozen=True, slots=True)
class Commands:
    """How the processes are started: functions that return the arguments, given the link's file
    descriptor."""

    worker: Callable[[int, int], Sequence[str]]
    """``(index, link)``."""
    observer: Callable[[int], Sequence[str]]
    """``(link)``."""


@dataclass(frozen=True, slots=True)
class FoldRule:
    """Which replaced versions may be folded, if they are quiet."""

    keep: int = 4
    """So many of the newest versions stay as they are."""
    age_s: float = 60.0
    """A version replaced more recently stays: a request may have read its table and not be counted yet."""


@dataclass(slots=True)
class _Held:
    release: Release
    replaced_s: float | None = None
    """When it stopped being the current one (monotonic)."""
    is_retiring: bool = False
    was_effective: bool = True
    let_go: set[str] = field(default_factory=set)


class Fleet:
    """The workers and the observer. Implements :class:`proxy.control.release.Fleet`.

    Args:
        run_dir: where the counters are.
        commands: how to start a process.
        listen: file descriptor of the socket that the workers accept from.
        admin: file descriptor of the socket that the observer accepts from.
        workers: how many.
        workers_lock: file descriptor that each worker gets too, for it tells that somebody counts; -1: none.
        describe_config: returns the part ``config`` of the fleet's description.
        describe_rollouts: returns the part ``rollouts``.
        on_request: called with the message when the observer asks for something.
        timing: how patient to be.
        fold_rule: what may be folded.
        totals: of the program before, from which ours go on.
        started_wall_ns: when the first of these programs started, which is when counting began; by default now.
    """

    def __init__(
        self,
        run_dir: Path,
        commands: Commands,
        *,
        listen: int,
        admin: int,
        workers: int,
        workers_lock: int = -1,
        describe_config: Callable[[], dict[str, Any]],
        describe_rollouts: Callable[[], dict[str, Any]] = dict,
        on_request: Callable[[dict[str, Any]], None],
        timing: Timing | None = None,
        fold_rule: FoldRule | None = None,
        totals: Totals | None = None,
        started_wall_ns: int | None = None,
    ) -> None:
        timing, totals = timing or Timing(), totals or Totals()
        self._run_dir = run_dir
        self._describe_config = describe_config
        self._describe_rollouts = describe_rollouts
        self._on_request = on_request
        self._fold_rule = fold_rule or FoldRule()
        self.started_wall_ns = started_wall_ns or wall_ns()
        self._held: dict[int, _Held] = {}
        self._current: Release | None = None
        self._pending: Release | None = None
        self._files: dict[str, str] = {}
        """Text of the certificate files of the current and the pending release."""
        self._committing: set[asyncio.Task[dict[str, Any] | None]] = set()
        self._tried: dict[str, set[str]] = {}
        """Rollouts of any table that is not folded, and their epochs."""
        self._restored: set[str] = set()
        """Rollouts whose units were looked for."""
        self._fold_failures = totals.fold_failures
        self._tasks: dict[str, asyncio.Task[None]] = {}

        def child(name: str, command: Callable[[int], Sequence[str]], *inherited: int) -> Child:
            restarts, hangs = totals.restarts.get(name, 0), totals.hangs.get(name, 0)
            return Child(name, command, inherited, self, timing, restarts=restarts, hangs=hangs)

        theirs = (listen,) if workers_lock < 0 else (listen, workers_lock)
        self.workers = [child(f"worker {i}", _bind(commands.worker, i), *theirs) for i in range(workers)]
        self.observer = child("observer", commands.observer, admin)
        self._is_open = False
        self.may_fold = asyncio.Event()
        """Set when every worker has caught up with the current version: a good moment for :meth:`fold_quiet`."""
        self.serving: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the first worker has committed; fails with :class:`StartError` when none can."""

    @property
    def _children(self) -> list[Child]:
        return [*self.workers, self.observer]

    def start(self) -> None:
        """Start every process."""
        for child in self._children:
            self._tasks[child.name] = spawn(child.run(), name=child.name)

    def open_admin(self) -> None:
        """Have this observer, and each that follows it, answer at the admin address."""
        self._is_open = True
        self.observer.send({"op": "open"})

    # What the publisher calls

    async def prepare(self, release: Release) -> tuple[str, ...]:
        """Have every linked process compile and keep ``release``; return the refusals, one line each.

        A process that does not answer in time is killed, and like any other that is down does not count.
        """
        tried = {route.experiment.rollout for route in release.table.routes if route.experiment}
        for experiment in _rollouts_of(release):
            self._tried.setdefault(experiment.rollout, set()).add(experiment.epoch)
        if fresh := tried - self._restored:
            await asyncio.to_thread(self._restore_units, release.settings.state_dir, fresh)
        self._pending = release
        self.renew(release.certificates.files)
        linked = [child for child in self._children if child.is_linked]
        asked = (
            child.ask(self._preparation(release, child), "prepared", release.version) for child in linked
        )
        answers = await asyncio.gather(*asked)
        return tuple(
            f"{child.name}: {answer.get('reason', 'no reason given')}"
            for child, answer in zip(linked, answers, strict=True)
            if answer and answer["op"] == "refused"
        )

    def _restore_units(self, state_dir: Path, rollouts: Iterable[str]) -> None:
        """Have the units of rollouts where the workers map them, as an earlier start left them."""
        earlier = remnants(self._run_dir).values()
        for rollout in rollouts:
            try:
                # Their workers may go on in these maps, and what was saved is older.
                for remnant in earlier:
                    link_units(remnant, self._run_dir, (rollout,))
                restore_units(self._run_dir, state_dir, rollout)
            except OSError as error:
                _log.warning(
                    "cannot bring back the units of rollout %s, they count anew: %s", rollout, error.strerror
                )
            self._restored.add(rollout)

    def renew(self, files: Mapping[str, str]) -> None:
        """Give every worker the text of certificate files that are new, or have changed."""
        if files:
            self._files.update(files)
            for worker in self.workers:
                worker.send(_certificates(self._files))

    def commit(self, release: Release) -> None:
        """Make the prepared ``release`` the current one everywhere."""
        self._pending = None
        self._files = {path: self._files[path] for path in release.certificates.files}
        if self._current:
            self._held[self._current.version].replaced_s = monotonic()
        self._held[release.version] = _Held(release)
        self._current = release
        for child in self._children:
            if child.is_linked:
                self._commit_in(child)

    async def settle(self, seconds: float) -> None:
        """Wait until every process that was told to commit has done so, or is gone; at most ``seconds``."""
        if self._committing:
            await asyncio.wait(tuple(self._committing), timeout=seconds)

    def abandon(self, release: Release) -> None:
        """Have every process forget the prepared ``release``; it goes the way of a version that is over."""
        self._pending = None
        self._held[release.version] = _Held(release, monotonic(), is_retiring=True, was_effective=False)

    # What a child calls

    def on_ready(self, child: Child) -> None:
        """Give a new process every table, then the current version."""
        if child is self.observer and self._is_open:
            child.send({"op": "open"})
        if child is not self.observer and self._files:
            child.send(_certificates(self._files))
        for held in sorted(self._held.values(), key=lambda held: held.release.version):
            # The observer reads the counts of a retiring version until they are in the base. An abandoned one
            # has none.
            if not held.is_retiring or (child is self.observer and held.was_effective):
                child.send(self._preparation(held.release, child))
        if self._pending:
            child.send(self._preparation(self._pending, child))
        if self._current:
            self._commit_in(child)
        if child is not self.observer:
            # A new worker holds no retiring version, whatever its predecessor held.
            for held in self._held.values():
                if held.is_retiring:
                    held.let_go.add(child.name)

    def on_message(self, child: Child, message: dict[str, Any]) -> None:
        """Handle what was not asked for."""
        match message.get("op"):
            case "request" if child is self.observer:
                self._on_request(message)
            case "refused":
                self._on_late_refusal(child, message)
            case "prepared" | "committed" | "retired":
                pass
            case op:
                _log.warning("%s: sent an unknown message %r", child.name, op)

    def on_change(self, child: Child) -> None:
        """Tell the observer, and whoever waits for the first worker."""
        if child is not self.observer and not self.serving.done():
            if child.is_up:
                self.serving.set_result(None)
            elif max(worker.deaths for worker in self.workers) >= START_ATTEMPTS:
                self._fail_start("the workers do not start; the lines above say why")
        if self._is_level():
            self.may_fold.set()
        self.push()

    def push(self) -> None:
        """Send the fleet's description to the observer."""
        self.observer.send(self.describe())

    def reply(self, number: int, *, ok: bool, document: dict[str, Any]) -> None:
        """Answer the observer's request ``number``."""
        self.observer.send({"op": "reply", "id": number, "ok": ok, "document": document})

    def describe(self) -> dict[str, Any]:
        """Return the message ``fleet``: the state of the configuration and of every process."""
        return {
            "op": "fleet",
            "config": self._describe_config(),
            "rollouts": self._describe_rollouts(),
            "workers": [
                {
                    "index": index,
                    "pid": worker.pid,
                    "up": worker.is_up,
                    "version": worker.version,
                    "restarts": worker.restarts,
                    "hangs": worker.hangs,
                }
                for index, worker in enumerate(self.workers)
            ],
            "observer_restarts": self.observer.restarts,
            "observer_hangs": self.observer.hangs,
            "started_wall_ns": self.started_wall_ns,
            "versions_held": sorted(self._held),
            "fold_failures_total": self._fold_failures,
        }

    # What the supervisor calls

    async def fold_quiet(self) -> tuple[int, ...]:
        """Retire and fold every version that is over; return those that were folded.

        Does nothing while a worker is down or behind: the next call finds the same versions.
        """
        if not self._is_level():
            return ()
        for version in self._over():
            self._held[version].is_retiring = True
        retiring = sorted(version for version, held in self._held.items() if held.is_retiring)
        if not retiring:
            return ()
        await asyncio.gather(*(self._retire_in(worker, retiring) for worker in self.workers))
        folded = tuple(version for version in retiring if self._fold(version))
        if folded:
            # Nothing depends on the answer; an observer that is down will not be given these versions.
            await self.observer.ask({"op": "retire", "versions": list(folded)}, "retired")
            self._sweep(folded)
            self.push()
        return folded

    def count_fold_failure(self, what: str) -> None:
        """Count and log that something could not be folded."""
        self._fold_failures += 1
        _log.error("cannot fold %s; tried again later", what)

    # What an upgrade needs

    @property
    def is_complete(self) -> bool:
        """Tell whether every worker serves."""
        return all(worker.is_up for worker in self.workers)

    @property
    def is_at_rest(self) -> bool:
        """Tell whether no process is half started and no message half sent."""
        return all(child.is_at_rest for child in self._children)

    def layouts(self) -> dict[int, dict[str, Layout]]:
        """Return how the counters of every version that is not folded are laid out, by kind of writer."""
        tables = {version: held.release.table for version, held in self._held.items()}
        return {version: {"w": table.layout, "o": table.observer_layout} for version, table in tables.items()}

    def processes(self) -> tuple[InheritedProcess, ...]:
        """Return the running processes, each with a copy of our end of its link, which the caller owns."""
        return tuple(
            InheritedProcess(name=child.name, pid=child.pid, link=os.dup(child.link_fd))
            for child in self._children
            if child.pid is not None and child.link_fd >= 0
        )

    def totals(self) -> Totals:
        """Return what is counted here, for the program after."""
        return Totals(
            fold_failures=self._fold_failures,
            restarts={child.name: child.restarts for child in self._children},
            hangs={child.name: child.hangs for child in self._children},
        )

    async def drain(self, seconds: float) -> None:
        """Let the workers finish for at most ``seconds``, then the observer; kill what takes longer."""
        await self._end(self.workers, seconds)
        await self._end([self.observer], seconds)

    async def kill(self) -> None:
        """End every process at once."""
        await self._end(self._children, 0)

    async def _end(self, children: Sequence[Child], seconds: float) -> None:
        for child in children:
            child.stop()
        tasks = [self._tasks[child.name] for child in children if child.name in self._tasks]
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=seconds)
        for child in children:
            if self._tasks[child.name] in late:
                if seconds:
                    _log.warning("%s: not drained within %g s; killed", child.name, seconds)
                child.kill()
        if late:
            await asyncio.wait(late)

    def _preparation(self, release: Release, child: Child) -> dict[str, Any]:
        message = {
            "op": "prepare",
            "version": release.version,
            "digest": release.digest,
            "positions": release.positions,
            # By it workers know when a generation begins.
            "clock_offset_ns": self._describe_rollouts().get("clock_offset_ns"),
        }
        if child is self.observer:
            return {**message, "settled": release.for_observer, "rollouts": release.rollouts}
        return {**message, "settled": release.for_workers}

    def _commit_in(self, child: Child) -> None:
        assert self._current is not None
        version = self._current.version
        asked = child.ask({"op": "commit", "version": version}, "committed", version)
        task = spawn(asked, name=f"commit {child.name}")
        self._committing.add(task)
        task.add_done_callback(self._committing.discard)

    def _on_late_refusal(self, child: Child, message: dict[str, Any]) -> None:
        # A process that cannot hold a table that others hold is no use; it is started again, after a pause.
        reason = f"{child.name}: cannot hold version {message['version']}: {message.get('reason')}"
        _log.error("%s", reason)
        if child is not self.observer:
            self._fail_start(reason)
        child.kill()

    def _fail_start(self, reason: str) -> None:
        if not self.serving.done():
            self.serving.set_exception(StartError(reason))

    def _is_level(self) -> bool:
        current = self._current.version if self._current else 0
        return current > 0 and all(worker.version == current for worker in self.workers)

    def _over(self) -> list[int]:
        rule, now = self._fold_rule, monotonic()
        candidates = sorted(self._held)[: -rule.keep or None]
        return [version for version in candidates if self._is_over(self._held[version], now - rule.age_s)]

    def _is_over(self, held: _Held, before_s: float) -> bool:
        if held.is_retiring or held.replaced_s is None or held.replaced_s > before_s:
            return False
        version, table = held.release.version, held.release.table
        workers = read_all(self._run_dir, {version: {"w": table.layout}})
        observer = read_all(self._run_dir, {version: {"o": table.observer_layout}})
        return is_quiet(workers.get(version, {}), observer.get(version, {}))

    async def _retire_in(self, worker: Child, versions: Sequence[int]) -> None:
        answer = await worker.ask({"op": "retire", "versions": list(versions)}, "retired")
        for version in answer["versions"] if answer else ():
            if version in self._held:
                self._held[version].let_go.add(worker.name)

    def _fold(self, version: int) -> bool:
        held = self._held[version]
        if not held.let_go.issuperset(worker.name for worker in self.workers):
            return False
        table = held.release.table
        try:
            fold(self._run_dir, version, {"w": table.layout, "o": table.observer_layout})
        except OSError as error:
            self.count_fold_failure(f"the counts of version {version}: {error.strerror}")
            return False
        del self._held[version]
        return True

    def _sweep(self, folded: Sequence[int]) -> None:
        # An observer that came up during the fold may have made empty files anew.
        for version in folded:
            for path in self._run_dir.glob(f"*-{version}.tally"):
                path.unlink(missing_ok=True)
        # A rollout's id never comes again. That of a split by fixed weights may, and its counts go on then.
        releases = [held.release for held in self._held.values()]
        releases += [release for release in (self._current, self._pending) if release]
        live = {experiment.rollout for release in releases for experiment in _rollouts_of(release)}
        for rollout in self._tried.keys() - live:
            for epoch in self._tried.pop(rollout):
                remove(self._run_dir, epoch)
            remove_units(self._run_dir, rollout)
            self._restored.discard(rollout)


def _rollouts_of(release: Release) -> Iterator[Experiment]:
    for route in release.table.routes:
        if route.experiment is not None and route.experiment.is_tried:
            yield route.experiment


def _certificates(files: Mapping[str, str]) -> dict[str, Any]:
    return {"op": "certificates", "files": dict(files)}


def _bind(command: Callable[[int, int], Sequence[str]], index: int) -> Callable[[int], Sequence[str]]:
    return lambda link: command(index, link)

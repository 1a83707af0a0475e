"""Starts the workers and the observer, watches the configuration, restarts what dies, and drains on SIGTERM.

The life of a proxy, in order:

1. read and judge the file; bind both addresses; lock the state directory; make the run directory
   (:mod:`proxy.ground`). What fails here ends the start with one sentence and exit code 1, and nothing has been
   started;
2. publish the first table, start the processes, wait for the first worker that serves; print where the proxy
   listens;
3. until told to stop: publish what the file says whenever it changes (notice, SIGHUP, or a request at the
   admin address), fold table versions that are over;
4. SIGUSR2: give way to the program on disk, which goes on at 1 with what it inherits (:mod:`proxy.upgrade`);
5. SIGTERM or SIGINT: let no client in any more, stop listening, let the workers finish, then the observer, which by
   then has all they left behind. A second signal ends everything at once.
"""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import uvloop

from proxy.children import Timing
from proxy.clock import wall_ns
from proxy.control.book import Book
from proxy.control.certificate_watch import CertificateWatch
from proxy.control.journal import Journal
from proxy.control.publisher import Publisher
from proxy.control.release import Outcome
from proxy.control.rollouts import Rollouts
from proxy.control.steering import STEERING, Order, read_order
from proxy.control.watch import FileWatch, read_file
from proxy.earlier import Earlier
from proxy.evidence.units import link_units
from proxy.fleet import Commands, Fleet, FoldRule, StartError
from proxy.ground import Ground, GroundError, lay_ground
from proxy.handover import (
    HANDED_SIGNALS,
    Handover,
    HandoverError,
    InheritedLock,
    InheritedSocket,
    Totals,
    exchange,
    receive,
)
from proxy.listening import turn_away, url
from proxy.logs import set_level, start_logging
from proxy.open_files import hold_standard_streams, raise_limit, shortage
from proxy.rundir import RunDirectory, end_run_directory
from proxy.service_manager import ServiceManager
from proxy.settings import Settings
from proxy.tally import follow, leave_layouts
from proxy.tasks import spawn
from proxy.upgrade import preflight, succeed

__all__ = ["CommandsOf", "program_commands", "serve"]

FOLD_EVERY_S = 30.0
"""Longest time between two looks for table versions that are over."""

DRAIN_MARGIN_S = 2.0
"""Over ``timeouts.drain``, which the processes keep themselves, before they are killed."""

REST_S = 5.0
"""Longest wait for a moment in which no message is half sent."""

SETTLE_S = 2.0
"""An answer to a verb waits so long for the last worker: who asked may rely on it with the next request."""

_NS = 1_000_000_000

_log = logging.getLogger("modelproxy")

CommandsOf = Callable[[Path, int, int], Commands]
"""``(run directory, listening socket, admin socket)`` → how to start the processes."""


def program_commands(run_dir: Path, listen: int, admin: int) -> Commands:
    """Return how this program's own processes are started."""
    python = (sys.executable, "-m")
    return Commands(
        worker=lambda index, link: (
            *python,
            "proxy.dataplane",
            str(index),
            str(run_dir),
            str(listen),
            str(link),
        ),
        observer=lambda link: (*python, "proxy.observer", str(run_dir), str(admin), str(link)),
    )


def serve(
    config_path: Path,
    *,
    commands_of: CommandsOf = program_commands,
    timing: Timing | None = None,
    fold_rule: FoldRule | None = None,
) -> int:
    """Run the proxy that ``config_path`` describes until it is told to stop; return the exit code.

    Prints ``modelproxy listening on URL`` and ``modelproxy admin on URL`` on stdout once it serves;
    everything else goes to stderr. Call it in the main thread of a process that runs nothing else: it takes
    SIGHUP, SIGTERM, SIGINT and SIGUSR2, and after SIGUSR2 the process begins anew with the same arguments.

    Args:
        config_path: the configuration file.
        commands_of: how the processes are started.
        timing: how patient to be with them.
        fold_rule: which table versions may be folded.

    Returns:
        0 after a drain; 1 when the start was refused, failed, or a second signal cut the drain short.
    """
    hold_standard_streams()
    start_logging("info", "supervisor")
    try:
        handover = receive(os.environ)
    except HandoverError as error:
        return _fail(str(error))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        supervisor = _Supervisor(config_path, commands_of, timing or Timing(), fold_rule, handover)
        return runner.run(supervisor.run())


def _fail(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201 - the sentence for whoever started the program
    return 1


class _Supervisor:
    def __init__(
        self,
        config_path: Path,
        commands_of: CommandsOf,
        timing: Timing,
        fold_rule: FoldRule | None,
        handover: Handover | None,
    ) -> None:
        self._config_path = config_path
        self._commands_of = commands_of
        self._timing = timing
        self._fold_rule = fold_rule
        self._handover = handover
        self._totals = handover.totals if handover else Totals()
        self._earlier = Earlier(handover) if handover else None
        self._manager = ServiceManager(os.environ)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._upgrade_task: asyncio.Task[None] | None = None
        self._folding = asyncio.Lock()
        self._retry: asyncio.TimerHandle | None = None
        self._retry_pause_s = timing.retry_s
        self._certificates = CertificateWatch(
            lambda files: self._fleet.renew(files), lambda: self._fleet.push()
        )
        self._ground: Ground
        self._fleet: Fleet
        self._journal: Journal
        self._rollouts: Rollouts
        self._publisher: Publisher

    async def run(self) -> int:
        self._take_signals()
        with contextlib.ExitStack() as stack:
            try:
                if self._earlier is None:
                    if problems := await self._start(stack, by="start", why="started"):
                        return _fail(*problems)
                elif not await self._start_beside(self._earlier, stack):
                    return await self._drain(None)
                await self._serve_until_stopped()
                return await self._drain(self._fleet)
            finally:
                if hasattr(self, "_rollouts"):
                    self._rollouts.close()
                if hasattr(self, "_fleet"):
                    await self._fleet.kill()
                if self._earlier is not None and self._handover is not None:
                    await self._earlier.kill()
                    end_run_directory(RunDirectory(self._handover.run.path, self._handover.run.fd))

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)
        loop.add_signal_handler(signal.SIGUSR2, self._on_upgrade)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDED_SIGNALS)

    def _on_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _log.warning("%s again: ending now", number.name)
            self._stop_now.set()
        else:
            _log.info("%s: draining", number.name)
            self._stop.set()

    def _on_hangup(self) -> None:
        if self._tasks and not self._stop.is_set():
            spawn(self._hang_up(), name="reload")

    async def _hang_up(self) -> None:
        self._manager.reloading()
        await self._reload(by="signal", why="SIGHUP")
        self._manager.ready()

    # Start

    async def _start(self, stack: contextlib.ExitStack, *, by: str, why: str) -> tuple[str, ...]:
        """Serve; return the problems, one line each, if that cannot be."""
        try:
            self._ground = ground = lay_ground(self._config_path, stack, self._handover)
        except GroundError as error:
            return error.problems
        set_level(ground.settings.log_level)
        if sentence := shortage(ground.settings, raise_limit()):
            _log.warning("%s", sentence)
        self._journal = Journal(ground.settings.state_dir)
        self._journal.failures = self._totals.journal_failures
        if hasattr(self, "_rollouts"):
            self._rollouts.close()
        self._rollouts = Rollouts(Book(ground.settings.state_dir), counts_go_on=self._handover is not None)
        self._fleet = self._make_fleet(ground)
        self._publisher = self._make_publisher()
        if self._handover is not None:
            follow(ground.run.path, self._handover.run.path)
            self._share_units(self._handover.run.path)
        else:
            self._fleet.open_admin()
        outcome = await self._publisher.publish(ground.content, by=by, why=why)
        if not outcome.ok:
            return outcome.problems
        self._fleet.start()
        stop = spawn(self._stop.wait(), name="stop before serving")
        await asyncio.wait((self._fleet.serving, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not self._fleet.serving.done():
            return ()
        if (failure := self._fleet.serving.exception()) is not None:
            assert isinstance(failure, StartError)
            return (str(failure),)
        self._announce(ground)
        return ()

    async def _start_beside(self, earlier: Earlier, stack: contextlib.ExitStack) -> bool:
        """Serve beside the program before, and try it until it succeeds: meanwhile its processes serve. False if
        somebody wants an end before."""
        await earlier.open()
        pause_s = self._timing.retry_s
        told: tuple[str, ...] = ()
        while not self._stop.is_set():
            with contextlib.ExitStack() as attempt:
                problems = await self._start(attempt, by="signal", why="upgrade")
                if not problems:
                    stack.push(attempt.pop_all())
                    return True
                if hasattr(self, "_fleet"):
                    await self._fleet.kill()
            if problems != told:
                for problem in problems:
                    _log.error("upgrade: cannot serve yet, the program before goes on: %s", problem)
            told = problems
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self._stop.wait()
            pause_s = min(pause_s * 2, self._timing.longest_retry_s)
        return False

    def _make_fleet(self, ground: Ground) -> Fleet:
        listen, admin = ground.listen.fileno(), ground.admin.fileno()
        return Fleet(
            ground.run.path,
            self._commands_of(ground.run.path, listen, admin),
            listen=listen,
            admin=admin,
            workers=_worker_count(ground.settings),
            workers_lock=ground.run.workers,
            describe_config=self._describe,
            describe_rollouts=self._rollouts.describe,
            on_request=self._on_request,
            timing=self._timing,
            fold_rule=self._fold_rule,
            totals=self._totals,
            started_wall_ns=self._handover.started_wall_ns if self._handover else None,
        )

    def _describe(self) -> dict[str, Any]:
        return {
            **self._publisher.status(),
            "certificates": self._certificates.status(),
            "upgrades_total": self._totals.upgrades,
            "upgrades_refused_total": self._totals.upgrades_refused,
            "remnants": len(self._ground.remnants),
            "remnants_dropped_total": self._totals.remnants_dropped + self._ground.remnants.dropped,
            "earlier_pids": self._earlier.pids if self._earlier else [],
        }

    def _make_publisher(self) -> Publisher:
        last = self._journal.last_version()
        if last.warning:
            _log.warning("%s; versions go on from %d", last.warning, last.version + 1)
        return Publisher(
            source=str(self._config_path),
            fleet=self._fleet,
            journal=self._journal,
            rollouts=self._rollouts,
            last_version=max(last.version, self._handover.version if self._handover else 0),
            environ=os.environ,
            on_change=self._on_change,
            reloads=self._totals.reloads,
            refused=self._totals.reloads_refused,
        )

    def _share_units(self, earlier: Path) -> None:
        try:
            link_units(earlier, self._ground.run.path)
        except OSError as error:
            _log.warning("cannot share the units of the rollouts, some count twice: %s", error.strerror)

    def _announce(self, ground: Ground) -> None:
        inherited = self._handover
        if inherited is None or inherited.listen.address != str(ground.settings.listen):
            _announce("listening", ground.listen, "https" if ground.settings.tls.certificate else "http")
        if inherited is None or inherited.admin.address != str(ground.settings.admin):
            _announce("admin", ground.admin, "http")

    # Life and end

    async def _serve_until_stopped(self) -> None:
        watch = FileWatch(self._config_path, self._ground.content, self._on_file)
        self._tasks += (
            spawn(watch.run(), name="file watch"),
            spawn(self._certificates.run(), name="certificate watch"),
            spawn(self._keep_folding(), name="fold"),
            spawn(self._keep_beating(), name="heartbeat for the service manager"),
            spawn(self._ground.remnants.run(self._fleet.push), name="remnants of killed supervisors"),
        )
        if self._earlier is not None:
            self._upgrade_task = spawn(self._succeed(self._earlier), name="succession")
        self._manager.ready()
        await self._stop.wait()
        if self._upgrade_task is not None:
            self._tasks.append(self._upgrade_task)
        for task in self._tasks:
            task.cancel()
        if self._retry is not None:
            self._retry.cancel()

    async def _drain(self, fleet: Fleet | None) -> int:
        self._manager.stopping()
        drained = spawn(self._finish(fleet), name="drain")
        hurried = spawn(self._stop_now.wait(), name="stop now")
        await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
        if drained.done():
            hurried.cancel()
            _log.info("drained")
            return 0
        drained.cancel()
        return 1

    async def _finish(self, fleet: Fleet | None) -> None:
        """Stop listening, so that no client is reset; then let every process finish."""
        earlier, handover = self._earlier, self._handover
        lasts, drains = [], []
        if fleet is not None:
            lasts.append(turn_away(self._ground.listen.fileno()))
        if earlier is not None:
            lasts.append(earlier.leave())
        await asyncio.gather(*lasts)
        if fleet is not None:
            # From here on a new client is refused at once instead of waiting for a worker that does not come.
            self._ground.listen.close()
            running = self._publisher.running
            assert running is not None
            drains.append(fleet.drain(running.settings.timeouts.drain / _NS + DRAIN_MARGIN_S))
        if earlier is not None and handover is not None:
            drains.append(earlier.drain(handover.drain_s, DRAIN_MARGIN_S))
        await asyncio.gather(*drains)

    async def _keep_beating(self) -> None:
        while self._manager.beat_s:
            self._manager.beat()
            await asyncio.sleep(self._manager.beat_s)

    # Upgrade: this program gives way (_upgrade), or has followed another (_succeed)

    def _on_upgrade(self) -> None:
        is_busy = self._upgrade_task is not None and not self._upgrade_task.done()
        if self._stop.is_set():
            _log.warning("SIGUSR2: ignored, the proxy is shutting down")
        elif is_busy or self._earlier is not None or not self._tasks:
            self._count_upgrade(refused=True)
            _log.error("SIGUSR2: refused, another upgrade or the start is still under way")
        else:
            self._upgrade_task = spawn(self._upgrade(), name="upgrade")

    async def _upgrade(self) -> None:
        _log.info("SIGUSR2: upgrading")
        problems = await preflight(self._config_path) or await self._exchange()
        for problem in problems:
            _log.error("upgrade refused, this program goes on: %s", problem)
        self._count_upgrade(refused=True)
        running = self._publisher.running
        version = running.version if running else 0
        await asyncio.to_thread(
            lambda: self._journal.refused(
                wall_ns=wall_ns(), running=version, by="signal", why="upgrade", digest="", problems=problems
            )
        )

    async def _exchange(self) -> tuple[str, ...]:
        """Give way to the program on disk; return the reasons if that cannot be."""
        async with self._publisher.at_rest(), self._folding:
            try:
                async with asyncio.timeout(REST_S):
                    await self._until_at_rest()
            except TimeoutError:
                return (f"a process did not come to rest within {REST_S:g} s",)
            if self._stop.is_set():
                # Who stops us cancels this a moment later, and the listening socket may turn clients away by now.
                return ("the proxy is shutting down",)
            if not await self._rollouts.flush():
                return ("the book of rollouts cannot be written, and the program after would not know it",)
            try:
                leave_layouts(self._ground.run.path, self._fleet.layouts())
            except OSError as error:
                return (f"cannot leave the layouts of the counters: {error.strerror}",)
            handover = self._make_handover()
            refusal = exchange(handover)
        for process in handover.processes:
            os.close(process.link)
        return (f"cannot exchange the program: {refusal.strerror}",)

    async def _until_at_rest(self) -> None:
        while not self._fleet.is_at_rest:  # noqa: ASYNC110 - buffers do not tell when they are empty
            await asyncio.sleep(0.01)

    def _make_handover(self) -> Handover:
        ground, running, status = self._ground, self._publisher.running, self._publisher.status()
        assert running is not None
        totals = self._fleet.totals().model_copy(
            update={
                "reloads": status["reloads_total"],
                "reloads_refused": status["reloads_refused_total"],
                "journal_failures": status["journal_failures_total"],
                "upgrades": self._totals.upgrades,
                "upgrades_refused": self._totals.upgrades_refused,
                "remnants_dropped": self._totals.remnants_dropped + ground.remnants.dropped,
            }
        )
        lock, state_dir = ground.state_lock, ground.settings.state_dir.resolve()
        return Handover(
            pid=os.getpid(),
            listen=InheritedSocket(fd=ground.listen.fileno(), address=str(ground.settings.listen)),
            admin=InheritedSocket(fd=ground.admin.fileno(), address=str(ground.settings.admin)),
            run=InheritedLock(path=ground.run.path, fd=ground.run.lock),
            state=None if lock is None else InheritedLock(path=state_dir, fd=lock),
            version=self._publisher.last_version,
            drain_s=running.settings.timeouts.drain / _NS,
            upgrade_s=running.settings.timeouts.upgrade / _NS,
            started_wall_ns=self._fleet.started_wall_ns,
            totals=totals,
            processes=self._fleet.processes(),
        )

    async def _succeed(self, earlier: Earlier) -> None:
        assert self._handover is not None
        run = self._handover.run
        both = (RunDirectory(run.path, run.fd), self._ground.run)
        patience_s = (self._handover.upgrade_s, DRAIN_MARGIN_S)
        await succeed(earlier, self._fleet, both, patience_s, self._ground.listen.fileno(), self._fleet.push)
        self._earlier = None
        self._count_upgrade(refused=False)
        _log.info("upgraded: the processes of the program before have ended")

    def _count_upgrade(self, *, refused: bool) -> None:
        field = "upgrades_refused" if refused else "upgrades"
        self._totals = self._totals.model_copy(update={field: getattr(self._totals, field) + 1})
        if hasattr(self, "_fleet"):
            self._fleet.push()

    # Reloads

    async def _reload(self, *, by: str, why: str) -> Outcome:
        content = await asyncio.to_thread(read_file, self._config_path)
        outcome = await self._publish(content, by=by, why=why)
        await self._certificates.look()
        return outcome

    async def _publish(self, content: bytes | str, *, by: str, why: str) -> Outcome:
        if isinstance(content, str):
            outcome = await self._publisher.refuse(content, by=by, why=why)
        else:
            outcome = await self._publisher.publish(content, by=by, why=why)
        self._plan_retry(outcome)
        return outcome

    def _plan_retry(self, outcome: Outcome) -> None:
        """Try again what a process could not hold: nobody need touch the file again once the disk has room."""
        if self._retry is not None:
            self._retry.cancel()
            self._retry = None
        if not outcome.may_pass_later:
            self._retry_pause_s = self._timing.retry_s
        elif not self._stop.is_set():
            loop, pause_s = asyncio.get_running_loop(), self._retry_pause_s
            self._retry_pause_s = min(pause_s * 2, self._timing.longest_retry_s)
            self._retry = loop.call_later(pause_s, self._on_retry)
            _log.info("the reload is tried again in %g s", pause_s)

    def _on_retry(self) -> None:
        spawn(self._reload(by="file", why="tried again"), name="reload")

    async def _on_file(self, content: bytes | str) -> None:
        try:
            await self._publish(content, by="file", why="the file changed")
        except Exception:
            # The watch must outlive a bug in what it sets off, or no later file would be seen.
            _log.exception("the reload failed")

    def _on_request(self, message: dict[str, Any]) -> None:
        spawn(self._answer(message), name="admin request")

    async def _answer(self, message: dict[str, Any]) -> None:
        number, verb, by = int(message["id"]), message.get("verb"), str(message.get("by", "admin"))
        if self._stop.is_set():
            self._fleet.reply(number, ok=False, document={"problems": ["the proxy is shutting down"]})
        elif verb == "reload":
            outcome = await self._reload(by=by, why="reload was asked for")
            await self._fleet.settle(SETTLE_S)
            self._fleet.reply(number, ok=outcome.ok, document=outcome.document())
        elif verb in STEERING:
            await self._steer(number, read_order(message))
        else:
            self._fleet.reply(number, ok=False, document={"problems": [f"expected reload, got {verb}"]})

    async def _steer(self, number: int, order: Order | str) -> None:
        if isinstance(order, str):
            self._fleet.reply(number, ok=False, document={"problems": [order]})
            return
        try:
            outcome = await self._publisher.steer(order)
            await self._fleet.settle(SETTLE_S)
        except Exception as error:
            # Who asked must hear of it, and a bug in one decision must not end the supervisor.
            _log.exception("%s of %s failed", order.verb, order.route)
            self._fleet.reply(
                number, ok=False, document={"problems": [f"this failed: {type(error).__name__}"]}
            )
            return
        self._fleet.reply(number, ok=outcome.ok, document=outcome.document())
        if outcome.may_pass_later:
            self._plan_retry(outcome)

    def _on_change(self) -> None:
        if running := self._publisher.running:
            self._certificates.adopt(running)
            set_level(running.settings.log_level)
        self._fleet.push()

    async def _keep_folding(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(FOLD_EVERY_S):
                    await self._fleet.may_fold.wait()
            self._fleet.may_fold.clear()
            try:
                async with self._folding:
                    await self._fleet.fold_quiet()
            except Exception:
                # Versions that are not folded cost memory only; a bug here must not end the proxy.
                _log.exception("folding failed")


def _worker_count(settings: Settings) -> int:
    if isinstance(settings.workers, int):
        return settings.workers
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _announce(what: str, listener: socket.socket, scheme: str) -> None:
    # Whoever started the program may have closed its end; that is no reason to stop serving.
    with contextlib.suppress(OSError):
        print(f"modelproxy {what} on {url(listener, scheme)}", flush=True)  # noqa: T201 - the two lines it promises

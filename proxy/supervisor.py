"""Starts the workers and the observer, watches the configuration, restarts what dies, and drains on SIGTERM.

The life of a proxy, in order:

1. read and judge the file; bind both addresses; make the run directory. What fails here ends the start with
   one sentence and exit code 1, and nothing has been started;
2. publish the first table, start the processes, wait for the first worker that serves; print where the proxy
   listens;
3. until told to stop: publish what the file says whenever it changes (notice, SIGHUP, or a request at the
   admin address), fold table versions that are over;
4. SIGTERM or SIGINT: stop listening, let the workers finish, then the observer, which by then has all they
   left behind. A second signal ends everything at once.
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
from proxy.control.certificate_watch import CertificateWatch
from proxy.control.journal import Journal
from proxy.control.publisher import Accepted, Outcome, Publisher, Refused, judge
from proxy.control.watch import FileWatch, read_file
from proxy.fleet import Commands, Fleet, FoldRule, StartError
from proxy.listening import BindError, bind, url
from proxy.logs import set_level, start_logging
from proxy.rundir import run_directory
from proxy.settings import Settings
from proxy.tasks import spawn

__all__ = ["CommandsOf", "program_commands", "serve"]

FOLD_EVERY_S = 30.0
"""Longest time between two looks for table versions that are over."""

DRAIN_MARGIN_S = 2.0
"""Over ``timeouts.drain``, which the processes keep themselves, before they are killed."""

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
    SIGHUP, SIGTERM and SIGINT.

    Args:
        config_path: the configuration file.
        commands_of: how the processes are started.
        timing: how patient to be with them.
        fold_rule: which table versions may be folded.

    Returns:
        0 after a drain; 1 when the start was refused, failed, or a second signal cut the drain short.
    """
    content = read_file(config_path)
    if isinstance(content, str):
        return _fail(content)
    verdict = judge(content, None, source=str(config_path), environ=os.environ)
    if isinstance(verdict, Refused):
        return _fail(*verdict.problems)
    assert isinstance(verdict, Accepted)
    settings = verdict.settings
    start_logging(settings.log_level, "supervisor")
    with contextlib.ExitStack() as stack:
        try:
            listen = stack.enter_context(bind(settings.listen, "listen"))
            admin = stack.enter_context(bind(settings.admin, "admin"))
            run_dir = stack.enter_context(run_directory()).path
        except BindError as error:
            return _fail(str(error))
        except OSError as error:
            return _fail(f"cannot make a run directory: {error.strerror}: {error.filename}")
        runner = stack.enter_context(asyncio.Runner(loop_factory=uvloop.new_event_loop))
        supervisor = _Supervisor(config_path, content, settings, listen, admin)
        commands = commands_of(run_dir, listen.fileno(), admin.fileno())
        return runner.run(supervisor.run(run_dir, commands, timing, fold_rule))


def _fail(*lines: str) -> int:
    for line in lines:
        print(line, file=sys.stderr)  # noqa: T201 - the sentence for whoever started the program
    return 1


class _Supervisor:
    def __init__(
        self,
        config_path: Path,
        content: bytes,
        settings: Settings,
        listen: socket.socket,
        admin: socket.socket,
    ) -> None:
        self._config_path = config_path
        self._content = content
        self._settings = settings
        self._listen = listen
        self._admin = admin
        self._journal = Journal(settings.state_dir)
        self._stop = asyncio.Event()
        self._stop_now = asyncio.Event()
        self._certificates = CertificateWatch(
            lambda files: self._fleet.renew(files), lambda: self._fleet.push()
        )
        self._fleet: Fleet
        self._publisher: Publisher

    async def run(
        self, run_dir: Path, commands: Commands, timing: Timing | None, fold_rule: FoldRule | None
    ) -> int:
        self._take_signals()
        self._fleet = Fleet(
            run_dir,
            commands,
            listen=self._listen.fileno(),
            admin=self._admin.fileno(),
            workers=_worker_count(self._settings),
            describe_config=lambda: {
                **self._publisher.status(),
                "certificates": self._certificates.status(),
            },
            on_request=self._on_request,
            timing=timing,
            fold_rule=fold_rule,
        )
        self._publisher = self._make_publisher()
        try:
            if not await self._start():
                return 1
            watch = FileWatch(self._config_path, self._content, self._on_file)
            tasks = (
                spawn(watch.run(), name="file watch"),
                spawn(self._certificates.run(), name="certificate watch"),
                spawn(self._keep_folding(), name="fold"),
            )
            await self._stop.wait()
            for task in tasks:
                task.cancel()
            return await self._drain()
        finally:
            await self._fleet.kill()

    def _take_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_stop, number)
        loop.add_signal_handler(signal.SIGHUP, self._on_hangup)

    def _on_stop(self, number: signal.Signals) -> None:
        if self._stop.is_set():
            _log.warning("%s again: ending now", number.name)
            self._stop_now.set()
        else:
            _log.info("%s: draining", number.name)
            self._stop.set()

    def _on_hangup(self) -> None:
        if not self._stop.is_set():
            spawn(self._reload(by="signal", why="SIGHUP"), name="reload")

    def _make_publisher(self) -> Publisher:
        last = self._journal.last_version()
        if last.warning:
            _log.warning("%s; versions go on from %d", last.warning, last.version + 1)
        return Publisher(
            source=str(self._config_path),
            fleet=self._fleet,
            journal=self._journal,
            last_version=last.version,
            environ=os.environ,
            on_change=self._on_change,
        )

    async def _start(self) -> bool:
        outcome = await self._publisher.publish(self._content, by="start", why="started")
        if not outcome.ok:
            _fail(*outcome.problems)
            return False
        self._fleet.open_admin()
        self._fleet.start()
        stop = spawn(self._stop.wait(), name="stop before serving")
        await asyncio.wait((self._fleet.serving, stop), return_when=asyncio.FIRST_COMPLETED)
        stop.cancel()
        if not self._fleet.serving.done():
            return True
        if (error := self._fleet.serving.exception()) is not None:
            assert isinstance(error, StartError)
            _fail(str(error))
            return False
        _announce("listening", self._listen, "https" if self._settings.tls.certificate else "http")
        _announce("admin", self._admin, "http")
        return True

    async def _drain(self) -> int:
        running = self._publisher.running
        assert running is not None
        # From here on a new client is refused at once instead of waiting for a worker that does not come.
        self._listen.close()
        seconds = running.settings.timeouts.drain / _NS + DRAIN_MARGIN_S
        drained = spawn(self._fleet.drain(seconds), name="drain")
        hurried = spawn(self._stop_now.wait(), name="stop now")
        await asyncio.wait((drained, hurried), return_when=asyncio.FIRST_COMPLETED)
        if drained.done():
            hurried.cancel()
            _log.info("drained")
            return 0
        drained.cancel()
        return 1

    # Reloads

    async def _reload(self, *, by: str, why: str) -> Outcome:
        content = await asyncio.to_thread(read_file, self._config_path)
        outcome = await self._publish(content, by=by, why=why)
        await self._certificates.look()
        return outcome

    async def _publish(self, content: bytes | str, *, by: str, why: str) -> Outcome:
        if isinstance(content, str):
            return await self._publisher.refuse(content, by=by, why=why)
        return await self._publisher.publish(content, by=by, why=why)

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
            self._fleet.reply(number, ok=outcome.ok, document=outcome.document())
        else:
            self._fleet.reply(number, ok=False, document={"problems": [f"expected reload, got {verb}"]})

    def _on_change(self) -> None:
        if running := self._publisher.running:
            self._certificates.adopt(running)
            set_level(running.settings.log_level)
        self._fleet.push()

    async def _keep_folding(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._fleet.may_fold.wait(), FOLD_EVERY_S)
            self._fleet.may_fold.clear()
            try:
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

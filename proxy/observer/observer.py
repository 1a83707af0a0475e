"""The observer process: what it holds, what the supervisor tells it, how it starts and ends.

It starts with nothing: the supervisor hands it every live version (``prepare``) and says which is in force
(``commit``). Only then does it listen for workers, so that no frame comes that it could not know. The admin address
is served from ``open`` to ``hush``: in an upgrade two observers run at a time, and only one of them answers. It ends
when the supervisor says so or is gone: after the workers have hung up, everything they sent is processed,
written and exported.
"""

import asyncio
import logging
import os
import signal
import socket
import threading
import traceback
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

from aiohttp import web

from proxy.clock import wall_ns
from proxy.control.gate import build_runner
from proxy.control.label_items import LabelItem
from proxy.engine.feedback import BusyError
from proxy.engine.feedback_store import Told
from proxy.errors import ConfigError
from proxy.evidence.remnants import has_workers, lock_observer, mark_stored
from proxy.link import Link, open_link
from proxy.logs import set_level
from proxy.observer.admin_site import AdminSite
from proxy.observer.blocks import Blocks
from proxy.observer.intake import Intake
from proxy.observer.label_store import KnownLabels
from proxy.observer.labelling import LabelTold
from proxy.observer.meanings import NO_MEANINGS
from proxy.observer.parts import SOCKET_NAME, NullTracer, Parts
from proxy.observer.showing import Known
from proxy.routing.position import parse_positions
from proxy.routing.table import Table, compile_table
from proxy.settled import read_settled
from proxy.sinks.sink import NOBODYS, Token
from proxy.tally import OBSERVER_COUNTERS, OBSERVER_FIELDS, Block, open_block
from proxy.tasks import spawn

__all__ = ["SOCKET_NAME", "NullTracer", "Observer"]

_REPLY_TIMEOUT_S: Final = 30.0
_LOG_CLOSE_S: Final = 5.0
_TRACER_CLOSE_S: Final = 6.0
_ADMIN_CLOSE_S: Final = 2.0
_DECIDING_CLOSE_S: Final = 2.0
_COUNTS_CLOSE_S: Final = 1.0
_MEANINGS_CLOSE_S: Final = 1.0
_LATE_S: Final = 1.0
_LOOK_S: Final = 0.05
_KEYS_S: Final = 5.0
"""How often is looked for a new key of the units' hashes."""

_log = logging.getLogger("modelproxy")


class _Totals:
    """The observer's counts about itself, kept in the run directory so that a restart does not set them
    back."""

    def __init__(self, run_dir: Path) -> None:
        self._block: Block = open_block(run_dir / OBSERVER_COUNTERS, len(OBSERVER_FIELDS))
        self._base = list(self._block.slots[: len(OBSERVER_FIELDS)])

    def show(self, counts: Mapping[str, int]) -> dict[str, float]:
        """Return the totals with those of earlier lives, and keep what was shown."""
        shown: dict[str, float] = {}
        for i, name in enumerate(OBSERVER_FIELDS):
            total = self._base[i] + counts[name]
            self._block.slots[i] = total
            shown[f"{name}_total"] = total
        return shown

    def close(self) -> None:
        self._block.close()


class Observer:
    """The running observer: a :class:`proxy.observer.source.Source` for the admin address.

    Args:
        run_dir: holds the blocks and the workers' socket.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        # Held to the end of the process: what it has read may not be stored before.
        self._lock = _lock(run_dir)
        self._blocks = Blocks(run_dir)
        self._totals = _Totals(run_dir)
        self._fleet: Mapping[str, Any] = {}
        self._current: Table | None = None
        self._running: Parts | None = None
        self._link: Link | None = None
        self._replies: dict[int, asyncio.Future[Mapping[str, Any]]] = {}
        self._requests = 0
        self._ending = asyncio.Event()
        self._is_told_to_drain = False
        """The workers have ended: the supervisor says so by this."""
        self._is_alone = False
        """The supervisor is gone."""
        self._admin: AdminSite | None = None
        self._loop = asyncio.get_running_loop()

    # What the admin address reads

    @property
    def run_dir(self) -> Path:
        """Where the tally blocks lie."""
        return self._run_dir

    @property
    def tables(self) -> Mapping[int, Table]:
        """Every live table, by version."""
        return self._blocks.tables

    @property
    def current(self) -> Table | None:
        """The committed table; None until the supervisor has committed one."""
        return self._current

    @property
    def fleet(self) -> Mapping[str, Any]:
        """The supervisor's last ``fleet`` message."""
        return self._fleet

    def gauges(self) -> Mapping[str, float]:
        """Return what the observer holds; names that end in ``_total`` only grow, also over restarts."""
        running = self._running
        if running is None:
            return {}
        intake, tracer = running.intake.statistics(), running.tracer
        deciding, webhooks = running.deciding, running.deciding.webhooks
        meanings = running.meanings or NO_MEANINGS
        totals = self._totals.show(
            {
                "broken_streams": intake.broken_streams,
                "stray_frames": self._blocks.strays,
                "lost_frames": intake.lost_frames,
                "expired_pairs": intake.expired_pairs,
                "evicted_pairs": intake.evicted_pairs,
                "errors": running.outcomes.errors,
                "spans_exported": tracer.exported,
                "spans_failed": tracer.failed,
                "spans_dropped": tracer.dropped,
                "admin_cut": self._admin.cut if self._admin else 0,
                "tick_failures": deciding.tick_failures,
                "store_failures": deciding.shelf.failures,
                "webhooks_delivered": webhooks.delivered,
                "webhooks_failed": webhooks.failed,
                "webhooks_dropped": webhooks.dropped,
                "feedback_missed": deciding.feedback.missed,
                "feedback_forgotten": deciding.feedback.forgotten,
                "feedback_failures": deciding.feedback.shelf.failures,
                "disagreement_failures": running.disagreements.shelf.failures,
                "label_failures": running.labelling.shelf.failures,
                "labels_forgotten": running.labelling.forgotten,
                "predictions_saved": running.labelling.predictions.saved,
                "predictions_unsaved": running.labelling.predictions.unsaved,
                "meanings_asked": meanings.asked,
                "meanings_answered": meanings.answered,
                "meanings_failed": meanings.failed,
                "meanings_dropped": meanings.dropped,
                "meanings_withheld": meanings.withheld,
            }
        )
        return {
            "connections": intake.connections,
            "queue_frames": intake.queued_frames,
            "queue_bytes": intake.queued_bytes,
            "queue_paused": float(intake.paused),
            "pending_pairs": intake.pending_pairs,
            "pending_bytes": intake.pending_bytes,
            "payload_queue_bytes": running.log.queued_bytes,
            "payload_log_failing": float(running.log.is_failing),
            "tick_seconds": deciding.tick_seconds,
            "tick_left": deciding.turns.left,
            "store_failing": float(bool(deciding.shelf.problem)),
            "feedback_failing": float(bool(deciding.feedback.shelf.problem)),
            "disagreements_failing": float(bool(running.disagreements.shelf.problem)),
            "labels_failing": float(bool(running.labelling.shelf.problem)),
            "labels_remembered": running.labelling.remembered,
            "labels_remembered_bytes": running.labelling.remembered_bytes,
            "webhooks_queued": webhooks.queued,
            **totals,
        }

    def disagreements(self, route: str) -> Sequence[Known]:
        """Return what is known of the disagreements of each shadow of ``route``."""
        return () if self._running is None else self._running.disagreements.known(route)

    def labels(self, route: str) -> Sequence[KnownLabels]:
        """Return what labels say of each shadow of ``route``."""
        return () if self._running is None else self._running.labelling.known(route)

    def noise_fields(self, stretch: str) -> Mapping[str, Sequence[int]]:
        """Return by field how often answers differed; see :class:`proxy.noise.fields.FieldCounts`."""
        return {} if self._running is None else self._running.outcomes.noise.fields(stretch)

    def sinks(self) -> Sequence[Mapping[str, Any]]:
        """Return what the sinks of the payload log do and have done."""
        return [] if self._running is None else self._running.log.statistics()

    def judgement(self, route: str) -> Mapping[str, Any] | None:
        """Return what the engine thought last of the rollout of ``route``; None when it has not, or cannot."""
        return None if self._running is None else self._running.deciding.judgements.get(route)

    async def evidence(self, route: str) -> Mapping[str, Any] | None:
        """Return what ``route`` is judged by; None when it tries nothing."""
        return None if self._running is None else await self._running.deciding.describe(route)

    async def snapshot(self, digest: str) -> bytes | None:
        """Return what the decision with this evidence digest was made from; None when it is not there."""
        return None if self._running is None else await self._running.deciding.snapshot(digest)

    async def feedback(
        self, items: Mapping[str, Sequence[tuple[int, bool]]], refused: Mapping[str, int]
    ) -> Mapping[str, Told]:
        """Count what was said about answers: it is on the disk then.

        Args:
            items: by route, each of which takes feedback: hash of a request's id, and whether its answer was good.
            refused: by route, how many more there were that nobody can take.

        Raises:
            BusyError: it cannot be taken now; nothing was.
        """
        version = self._current.version if self._current is not None else 0
        count = self._blocks.count_feedback
        for route, number in refused.items():
            count(version, route, "refused", number)
        if not items:
            return {}
        try:
            if self._running is None:
                raise BusyError("no configuration is in force yet")
            told = await self._running.deciding.take_feedback(items)
        except BusyError:
            for route, said in items.items():
                count(version, route, "refused", len(said))
            raise
        for route, each in told.items():
            count(version, route, "accepted", each.accepted)
            count(version, route, "duplicate", each.duplicate)
            count(version, route, "unknown", each.unknown)
        return told

    async def take_labels(
        self, items: Mapping[str, Sequence[LabelItem]], refused: Mapping[str, int]
    ) -> Mapping[str, LabelTold]:
        """Count what is true: it is on the disk then.

        Args:
            items: by route, each of which takes labels.
            refused: by route, how many more there were that nobody can take.

        Raises:
            BusyError: it cannot be taken now.
        """
        if self._running is None:
            raise BusyError("no configuration is in force yet")
        self._running.labelling.refuse(refused)
        return await self._running.labelling.take(items) if items else {}

    async def request(self, verb: str, by: str, facts: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Ask the supervisor to do ``verb``, for ``by``, and return its reply: ``ok`` and ``document``.

        Args:
            verb: see :mod:`proxy.control.steering` for those about a rollout.
            by: who wants it.
            facts: what else the request says: ``route``, ``reason``, ``decision``.

        Raises:
            OSError: the supervisor cannot be reached, or did not answer in time (``TimeoutError``).
        """
        if self._link is None or not self._link.is_open:
            raise ConnectionError("the supervisor is gone")
        self._requests += 1
        number = self._requests
        reply: asyncio.Future[Mapping[str, Any]] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            self._link.send({**(facts or {}), "op": "request", "id": number, "verb": verb, "by": by})
            async with asyncio.timeout(_REPLY_TIMEOUT_S):
                return await reply
        finally:
            del self._replies[number]

    # Life

    async def run(
        self, admin: socket.socket, control_fd: int, make_app: Callable[["Observer"], web.Application]
    ) -> None:
        """Serve until told to end.

        Args:
            admin: listening socket of the admin address.
            control_fd: the link to the supervisor.
            make_app: builds the admin address.
        """
        self._loop.add_signal_handler(signal.SIGTERM, self._ending.set)
        runner = build_runner(make_app(self), _ADMIN_CLOSE_S)
        await runner.setup()
        self._admin = AdminSite(runner, admin)
        self._link = await open_link(control_fd, self.on_message, self.on_closed)
        self._link.send({"op": "ready", "pid": os.getpid()})
        await self._ending.wait()
        await self._finish()
        await self._admin.close()
        if self._running is not None:
            self._running.outcomes.noise.close()
        self._totals.close()
        self._blocks.close()
        self._link.close()
        if self._lock is not None:
            os.close(self._lock)

    async def _finish(self) -> None:
        running = self._running
        if running is None:
            return
        # Nobody would do what it decides, and a successor may decide already.
        running.deciding.stand_down()
        table = self._current
        drain_ns = table.settings.timeouts.drain if table is not None else 0
        if self._is_alone:
            await self._until_nobody_counts(drain_ns / 1e9 + _LATE_S)
        if running.task is not None and not running.task.done():
            await running.intake.finish(drain_ns / 1e9)
            running.task.cancel()
            await asyncio.wait([running.task])
        await running.intake.settle_all()
        if running.rekeying is not None:
            running.rekeying.cancel()
            await asyncio.wait([running.rekeying])
        if running.meanings is not None:
            await running.meanings.close(_MEANINGS_CLOSE_S)
        if not await running.disagreements.close(_COUNTS_CLOSE_S):
            _log.error("counts of disagreement: the disk is too slow; those of the last moment are lost")
        await running.labelling.close(_COUNTS_CLOSE_S)  # what it had not taken, nobody was told of
        if await running.deciding.finish(_DECIDING_CLOSE_S) and self._is_told_to_drain:
            with suppress(OSError):
                mark_stored(self._run_dir)
        late: list[str] = []
        if (
            not await _in_thread(lambda: late.extend(running.log.close(_LOG_CLOSE_S)), _LOG_CLOSE_S + 1)
            or late
        ):
            _log.error("payload log: too slow, some records are lost (sinks: %s)", ", ".join(late) or "all")
        if not await _in_thread(running.tracer.close, _TRACER_CLOSE_S):
            _log.error("tracing: the collector is too slow; some spans are lost")
        self.gauges()

    async def _until_nobody_counts(self, seconds: float) -> None:
        """Wait until the workers have finished what they had begun when the supervisor was killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while has_workers(self._run_dir):  # noqa: ASYNC110 - a lock does not tell when it is free
                    await asyncio.sleep(_LOOK_S)

    # The supervisor's messages

    def on_message(self, message: dict[str, Any]) -> None:
        """Do what the supervisor says."""
        match message["op"]:
            case "prepare":
                self._prepare(message)
            case "commit":
                self._commit(message["version"])
            case "retire":
                self._retire(message["versions"])
            case "fleet":
                self._take_fleet(message)
            case "reply":
                self._reply(message)
            case "drain":
                self._is_told_to_drain = True
                self._ending.set()
            case "open":
                spawn(self._open(), name="open the admin address")
            case "hush":
                spawn(self._hush(), name="hush")
            case "ping":
                self._send({"op": "pong"})
            case op:
                _log.error("the supervisor sent %r, which nobody here knows", op)

    def _take_fleet(self, message: dict[str, Any]) -> None:
        self._fleet = message
        if self._running is not None:
            self._running.deciding.take_fleet(message.get("rollouts") or {})

    async def _open(self) -> None:
        assert self._admin is not None, "set before the link is open"
        if self._running is not None:
            self._running.labelling.look_again()
        await self._admin.open()

    async def _hush(self) -> None:
        assert self._admin is not None, "set before the link is open"
        await self._admin.hush(_ADMIN_CLOSE_S)
        self._send({"op": "hushed"})

    def on_closed(self) -> None:
        """End: the supervisor is gone."""
        for reply in self._replies.values():
            if not reply.done():
                reply.set_exception(ConnectionError("the supervisor is gone"))
        self._is_alone = True
        self._ending.set()

    def _send(self, message: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.send(message)

    def _prepare(self, message: dict[str, Any]) -> None:
        version = message["version"]
        try:
            positions = parse_positions(message.get("positions", ()))
            table = compile_table(read_settled(message["settled"]), version, message["digest"], positions)
            if self._running is None:
                self._running = Parts(self._run_dir, self._blocks, table.settings, self._report, self.request)
            self._running.outcomes.admit(table)
            self._running.disagreements.admit(table)
            self._running.labelling.admit(table)
            self._blocks.admit(table, self._workers(table))
            self._running.deciding.admit(table, message)
        except Exception as error:  # whatever it is, the supervisor must hear of it
            if self._running is not None:
                self._running.outcomes.retire([version])
                self._running.disagreements.retire([version])
                self._running.labelling.retire([version])
            # Other errors may quote the settings, and with them secrets.
            is_plain = isinstance(error, OSError | ConfigError)
            reason = str(error) if is_plain else type(error).__name__
            place = "".join(traceback.format_tb(error.__traceback__)).rstrip()
            _log.error("cannot take in version %d: %s\n%s", version, reason, place)
            self._send({"op": "refused", "version": version, "reason": f"observer: {reason}"})
            return
        self._send({"op": "prepared", "version": version})

    def _workers(self, table: Table) -> list[int]:
        known = [worker["index"] for worker in self._fleet.get("workers", ())]
        configured = table.settings.workers
        return known or list(range(configured if isinstance(configured, int) else 0))

    def _commit(self, version: int) -> None:
        running, table = self._running, self._blocks.tables.get(version)
        if running is None or table is None:
            _log.error("asked to commit version %d, which was never prepared", version)
            return
        settings = table.settings
        running.intake.book.timeout_ns = settings.observer.pair_timeout
        running.log.configure(settings)
        set_level(settings.log_level)
        self._current = table
        running.deciding.commit(version)
        running.disagreements.commit(version)
        running.labelling.commit(version)
        if running.task is None:
            running.task = spawn(self._serve(running.intake), name="intake")
            running.rekeying = spawn(self._rekey(running), name="look for new unit keys")
            running.deciding.start()
            running.disagreements.start()
        self._send({"op": "committed", "version": version})

    async def _rekey(self, running: Parts) -> None:
        """Use each new key of the units' hashes from when it is there, whoever made it."""
        while True:
            table = self._current
            if table is not None:
                log = table.settings.payload_log
                look = partial(running.keys.refresh, wall_ns(), log.unit_key_every, log.unit_key_keep)
                # Not in the loop: the disk may be dead.
                await _in_thread(look, _KEYS_S)
                running.outcomes.rekey(running.keys.key)
            await asyncio.sleep(_KEYS_S)

    async def _serve(self, intake: Intake) -> None:
        try:
            await intake.listen()
            await intake.run()
        except Exception:
            # Without an intake this process is of no use: let the supervisor start another.
            self._ending.set()
            raise

    def _retire(self, versions: list[int]) -> None:
        self._blocks.retire(versions)
        if self._running is not None:
            self._running.outcomes.retire(versions)
            self._running.disagreements.retire(versions)
            self._running.labelling.retire(versions)
            self._running.deciding.retire(versions)
        self._send({"op": "retired", "versions": versions})

    def _reply(self, message: dict[str, Any]) -> None:
        reply = self._replies.get(message["id"])
        if reply is not None and not reply.done():
            reply.set_result(message)

    # The payload log's report

    def _report(self, written: Sequence[Token], failed: Sequence[Token]) -> None:
        """Take the report of the log's thread into the loop."""
        # A closed loop means that the process ends; its successor finds these missing.
        with suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._settle, written, failed)

    def _settle(self, written: Sequence[Token], failed: Sequence[Token]) -> None:
        for token in written:
            if token is not NOBODYS:
                self._blocks.settle_sink(*token, "written")
        for token in failed:
            if token is not NOBODYS:
                self._blocks.settle_sink(*token, "failed")


def _lock(run_dir: Path) -> int | None:
    try:
        return lock_observer(run_dir)
    except OSError as error:
        _log.warning("cannot lock %s: %s", run_dir, error.strerror)
        return None


async def _in_thread(act: Callable[[], object], timeout_s: float) -> bool:
    """Run ``act`` in a thread of its own; False if it takes longer than ``timeout_s``.

    The loop's own executor would be waited for at the end of the process, however long a dead disk or
    collector takes.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()

    def run() -> None:
        try:
            act()
        finally:
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=run, daemon=True).start()
    try:
        async with asyncio.timeout(timeout_s):
            await done.wait()
    except TimeoutError:
        return False
    return True

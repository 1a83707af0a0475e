"""A worker process: accepts connections, runs the road, obeys the supervisor.

Rule
    ``Worker.table`` is read once per request and replaced by one assignment. Everything a table needs at run time (its
    tally block, its pools) is attached before the swap.
"""

import asyncio
import logging
import os
import socket
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from proxy.clock import monotonic_ns, wall_ns
from proxy.dataplane.attempts import attach_budgets
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.contexts import Contexts
from proxy.dataplane.door import Door
from proxy.dataplane.endings import send_off
from proxy.dataplane.evidence import Experiments
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.overload import Limits
from proxy.dataplane.pools import Pools
from proxy.dataplane.reconcile import reconcile, shipped_counts
from proxy.dataplane.shipper import Shipper
from proxy.errors import ConfigError
from proxy.evidence.layout import GENERATION_NS
from proxy.exchange import build_hello
from proxy.identifiers import RequestIds, random_bits
from proxy.link import Link, open_link
from proxy.logs import set_level
from proxy.routing.position import parse_positions
from proxy.routing.table import Table, compile_table
from proxy.settled import read_settled
from proxy.tally import WORKER_FIELDS, Block, block_path, open_block
from proxy.tasks import spawn
from proxy.wire.response import date_line

__all__ = ["Worker"]

_OPENED = WORKER_FIELDS.index("connections_opened")
_CARRIED = WORKER_FIELDS.index("connections_carried")
_CLOSED = WORKER_FIELDS.index("connections_closed")
_WITHOUT = WORKER_FIELDS.index("evidence_failures")

SEND_OFF_S = 0.2
"""For last words to leave, when the time to drain is over."""

_EARLY_NS = 5_000_000
"""A timer may fire so much too early, for loops count in milliseconds."""

OBSERVER_WAIT_S = 2.0
"""How long the first commit waits for the pipe to the observer. Traffic flows without one; what there is to compare
and to record waits in memory."""

HAND_OVER_S = (1.0, 5.0)
"""At the end, for the observer to take what it has not taken yet: at least, also when the time to drain is over (the
supervisor allows for a little more), and at most."""

_log = logging.getLogger("modelproxy.worker")


class Worker:
    """One hot-path process.

    Args:
        index: the worker's slot, 0 and up; a successor has the same.
        run_dir: the run directory with tallies and the observer's socket.
        listener: the listening socket, bound by the supervisor.
    """

    def __init__(self, index: int, run_dir: Path, listener: socket.socket) -> None:
        self.loop = asyncio.get_running_loop()
        self.index = index
        self.run_dir = run_dir
        self.table: Table
        self.draining = False
        self.in_flight = 0
        """Requests that have a variant and no end yet."""
        self.ids = RequestIds()
        self.wall_offset_ns = wall_ns() - monotonic_ns()
        """Wall time minus monotonic time, refreshed every second."""
        self.date_line = date_line(wall_ns())
        """Of replies of our own; refreshed every second."""
        self.shipper = Shipper(self.loop, run_dir / "observer.sock", self._hello)
        self._listener = listener
        self._boot = random_bits(8)
        self._number = 0
        self._link: Link | None = None
        self._server: asyncio.Server | None = None
        self._starting = asyncio.Lock()
        self._drained_by_s = 0.0
        """By the loop's clock, when the time to drain is over."""
        self._arriving = 0
        """While draining: connections that were accepted and may not be among ours yet."""
        self._connections: set[ClientConnection] = set()
        self._prepared: dict[int, tuple[Table, Block]] = {}
        self.outbox = Outbox(self.loop)
        self._pools = Pools(self.loop, self.outbox)
        self._limits = Limits()
        self._experiments = Experiments(run_dir, index)
        self._clock_offset_ns: int | None = None
        self._turning: asyncio.TimerHandle | None = None
        self._contexts = Contexts()
        self._door = Door(self, self._stop_if_empty)
        self._stopped = asyncio.Event()
        self._reported: set[str] = set()

    # The hot path's side

    def next_number(self) -> int:
        """Return a fresh exchange number."""
        self._number += 1
        return self._number

    def on_client_connected(self, connection: ClientConnection) -> bool:
        """Count a connection; False when there are too many."""
        self.table.slots[self.table.slot_worker + _OPENED] += 1
        self._connections.add(connection)
        most: int = self.table.settings.limits.connections
        return len(self._connections) <= most

    def on_client_disconnected(self, connection: ClientConnection) -> None:
        """Count a connection that is gone."""
        self.table.slots[self.table.slot_worker + _CLOSED] += 1
        self._connections.discard(connection)
        if self.draining:
            self._stop_if_empty()

    def on_bug(self, error: BaseException) -> None:
        """Log an exception of ours from inside a parser callback, once for each kind."""
        kind = repr(error)
        if kind not in self._reported and len(self._reported) < 100:
            self._reported.add(kind)
            _log.error("unexpected error while parsing a request: %s", kind, exc_info=error)

    @property
    def connections(self) -> int:
        """How many clients are connected."""
        return len(self._connections)

    # The supervisor's side

    async def run(self, control_fd: int) -> None:
        """Obey the link until told to drain, or until the supervisor is gone."""
        self._link = await open_link(control_fd, self._on_message, self.drain)
        self._link.send({"op": "ready", "pid": os.getpid()})
        self._tick()
        await self._stopped.wait()
        self._pools.close()
        least_s, most_s = HAND_OVER_S
        await self.shipper.close(min(max(self._drained_by_s - self.loop.time(), least_s), most_s))

    def drain(self, seconds: float | None = None) -> None:
        """Stop accepting, let what is in flight finish, and end.

        Args:
            seconds: how long that may take, by default ``timeouts.drain``. Said again, the earlier end counts.
        """
        if not self.draining:
            self.draining = True
            for connection in list(self._connections):
                connection.drain()
            if self._server is not None:
                self._take_last(self._server)
            # What the loop has just accepted is told so in its next round: only after that is nobody unknown to us.
            self._arriving += 1
            self.loop.call_soon(self._on_arrived)
        if not hasattr(self, "table"):
            return  # nobody is served yet
        if not self._stopped.is_set():
            patience_s = self.table.settings.timeouts.drain / 1e9 if seconds is None else seconds
            end_s = self.loop.time() + patience_s
            self._drained_by_s = min(self._drained_by_s or end_s, end_s)
            self.loop.call_at(end_s, self._send_off)

    def _send_off(self) -> None:
        """The time to drain is over: end what has not finished, so that nobody takes a part for the whole."""
        for connection in list(self._connections):
            send_off(connection)
        self.loop.call_later(SEND_OFF_S, self._stopped.set)

    def _take_last(self, server: asyncio.Server) -> None:
        """Stop listening, and serve who is connected already: the system would reset them with the socket.

        That nobody comes between our last look and the end of the socket is the supervisor's care
        (:func:`proxy.listening.turn_away`).
        """
        waiting = []
        with self._listener.dup() as listener:
            server.close()
            with suppress(OSError):
                while True:
                    waiting.append(listener.accept()[0])
        self._arriving += len(waiting)
        for client in waiting:
            spawn(self._take_in(client), name="last connection")

    async def _take_in(self, client: socket.socket) -> None:
        client.setblocking(False)
        try:
            await self.loop.connect_accepted_socket(self._door.open, client)
        except OSError:
            client.close()  # it has left meanwhile
        finally:
            self._on_arrived()

    def _on_arrived(self) -> None:
        self._arriving -= 1
        self._stop_if_empty()

    def _stop_if_empty(self) -> None:
        if self.draining and not self._connections and not self._arriving and not self._door.shaking:
            self._stopped.set()

    def _on_message(self, message: dict[str, Any]) -> None:
        op = message["op"]
        if op == "certificates":
            self._take_certificates(message["files"])
        elif op == "prepare":
            self._prepare(message)
        elif op == "commit":
            spawn(self._commit(message["version"]), name="commit")
        elif op == "retire":
            self._retire(message["versions"])
        elif op == "drain":
            self.drain(message.get("seconds"))
        elif op == "ping":
            self._send({"op": "pong"})

    def _send(self, message: dict[str, Any]) -> None:
        if self._link is not None:
            self._link.send(message)

    def _take_certificates(self, files: dict[str, str]) -> None:
        self._contexts.take(files)
        if hasattr(self, "table"):
            self._door.context = self._contexts.server(self.table.settings.tls)

    def _prepare(self, message: dict[str, Any]) -> None:
        version = message["version"]
        if version not in self._prepared:
            self._set_clock(message.get("clock_offset_ns") or 0)
            try:
                table, block = self._compile(message)
            except (ConfigError, OSError, KeyError, ValueError) as error:
                self._send({"op": "refused", "version": version, "reason": str(error)})
                return
            if not hasattr(self, "table"):
                reconcile(table)  # what a predecessor had in flight when it died
            self._prepared[version] = table, block
        self._send({"op": "prepared", "version": version})

    def _set_clock(self, offset_ns: int) -> None:
        """Take the engine's clock to be so far ahead of the monotonic one."""
        if offset_ns != self._clock_offset_ns:
            self._clock_offset_ns = offset_ns
            self._turn()

    def _turn(self) -> None:
        """Count for the generation that it is by the engine's clock, and come again when the next one begins."""
        offset_ns = self._clock_offset_ns or 0
        generation = (monotonic_ns() + offset_ns + _EARLY_NS) // GENERATION_NS
        self._experiments.turn(generation)
        if self._turning is not None:
            self._turning.cancel()
        self._turning = self.loop.call_at(((generation + 1) * GENERATION_NS - offset_ns) / 1e9, self._turn)

    def _compile(self, message: dict[str, Any]) -> tuple[Table, Block]:
        """Return a table with its counters."""
        settings = read_settled(message["settled"])
        positions = parse_positions(message.get("positions", ()))
        table = compile_table(settings, message["version"], message["digest"], positions)
        self._contexts.prepare(settings)
        block = open_block(block_path(self.run_dir, f"w{self.index}", table.version), table.layout.size)
        try:
            without = self._experiments.attach(table)
        except OSError:
            block.close()
            raise
        table.slots = block.slots
        table.slots[table.slot_worker + _WITHOUT] += without
        return table, block

    async def _commit(self, version: int) -> None:
        table, _ = self._prepared[version]
        for model in table.models.values():
            model.secured = self._contexts.backend(model.name, model.settings)
        self._pools.attach(table)
        self._limits.attach(table)
        attach_budgets(table, getattr(self, "table", None), monotonic_ns())
        self._carry_connections(table)
        if getattr(self, "table", table) is not table:
            self.table.choices.clear()  # it is held for a minute and more, and nothing begins under it again
        self.table = table
        self._door.context = self._contexts.server(table.settings.tls)
        self._contexts.keep(held.settings for held, _ in self._prepared.values())
        set_level(table.settings.log_level)
        async with self._starting:
            if self._server is None and not self.draining:
                await self.shipper.start(OBSERVER_WAIT_S)
            if self._server is None and not self.draining:  # it may have been told to drain while it waited
                self._server = await self.loop.create_server(
                    self._door.open, sock=self._listener, backlog=4096
                )
        self._send({"op": "committed", "version": version})

    def _carry_connections(self, table: Table) -> None:
        """Count what is open as closed under the table that goes, and as carried over to the one that comes."""
        count = len(self._connections)
        if count and table is not self.table:
            self.table.slots[self.table.slot_worker + _CLOSED] += count
            table.slots[table.slot_worker + _CARRIED] += count

    def _retire(self, versions: list[int]) -> None:
        """Let go of tables that nothing will count on any more; the supervisor asks again for those we keep."""
        released = []
        for version in versions:
            held = self._prepared.get(version)
            if held is not None:
                if held[0].undecided:
                    continue  # a request that waits for its unit will be counted on it
                held[1].close()
                self._experiments.release(held[0])
                del self._prepared[version]
            released.append(version)
        self._send({"op": "retired", "versions": released})

    def _hello(self) -> bytes:
        shipped = shipped_counts([table for table, _ in self._prepared.values()])
        return build_hello(self.index, self._boot, orjson.dumps(shipped))

    def _tick(self) -> None:
        self.wall_offset_ns = wall_ns() - monotonic_ns()
        self.date_line = date_line(wall_ns())
        self.loop.call_later(1.0, self._tick)

"""Pools of connections to model servers, one per model (and per shadow), reused last in, first out.

A pool lends a connection to a sink, opens another while somebody waits and the limit allows it, and queues whom it
cannot serve at once. Whatever a sink waits for, it is told exactly once: ``on_connected`` or ``on_fault``.

Who waits
    Each connection that is being opened is meant for one of those who wait, the first of them; ``connect_timeout``
    bounds that. Only who waits beyond them, because every connection is busy, is *pending*: ``max_pending`` bounds
    their number and ``pending_timeout`` their patience. The queue is first in, first out, so one timer that looks at
    its head is enough.
"""

import asyncio
from collections import OrderedDict

from proxy.clock import monotonic_ns
from proxy.dataplane.contexts import HANDSHAKE_ERRORS, BackendTls
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.shadow_budget import ShadowBudget
from proxy.dataplane.upstream import Sink, UpstreamConnection
from proxy.model import Fault
from proxy.tasks import spawn

__all__ = ["Pool", "PoolLimits"]


class PoolLimits:
    """Limits of one pool; times in nanoseconds."""

    __slots__ = (
        "connect_timeout_ns",
        "idle_timeout_ns",
        "keep_alive_ns",
        "max_connections",
        "max_pending",
        "pending_timeout_ns",
        "timeout_ns",
        "total",
    )

    def __init__(
        self,
        *,
        timeout_ns: int,
        idle_timeout_ns: int,
        connect_timeout_ns: int,
        keep_alive_ns: int,
        max_connections: int,
        max_pending: int,
        pending_timeout_ns: int,
        total: bool = False,
    ) -> None:
        self.timeout_ns = timeout_ns
        """Request sent → response head; with ``total``: → response complete."""
        self.idle_timeout_ns = idle_timeout_ns
        self.connect_timeout_ns = connect_timeout_ns
        self.keep_alive_ns = keep_alive_ns
        self.max_connections = max_connections
        self.max_pending = max_pending
        self.pending_timeout_ns = pending_timeout_ns
        self.total = total


class Pool(ShadowBudget):
    """Connections to one address, reused last in, first out, so that the surplus grows idle and is closed."""

    __slots__ = (
        "connecting",
        "host",
        "idle",
        "is_simple",
        "limits",
        "open",
        "outbox",
        "port",
        "rests",
        "retired",
        "secured",
        "timer",
        "waiting",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, outbox: Outbox, host: str, port: int, limits: PoolLimits
    ) -> None:
        super().__init__(loop)
        self.outbox = outbox
        self.host = host
        self.port = port
        self.secured: BackendTls | None = None
        """How connections are secured; None: they are not."""
        self.limits = limits
        self.idle: list[UpstreamConnection] = []
        self.open = 0
        """Connections that exist, idle ones included."""
        self.connecting = 0
        self.waiting: OrderedDict[Sink, int] = OrderedDict()
        """Since when (monotonic nanoseconds) each sink waits, the first one first."""
        self.timer: asyncio.TimerHandle | None = None
        self.is_simple = True
        """An answered connection that nobody waits for goes straight back to ``idle``; else :meth:`take_back`."""
        self.retired = False
        self.rests = Fault.NONE
        """Of a shadow without any connection: why none is opened until ``rests_until_ns``."""

    def acquire(self, sink: Sink) -> UpstreamConnection | Fault | None:
        """Return an idle connection, ``None`` when ``sink.on_connected`` will follow, or a fault.

        The fault is ``OVERFLOW``, or of a shadow what has just kept another copy from being sent.
        """
        idle = self.idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
        if self.rests_until_ns and monotonic_ns() < self.rests_until_ns:
            return self.rests
        if self.is_full():
            return Fault.OVERFLOW
        self.wait(sink)
        return None

    def acquire_any(self, sink: Sink) -> UpstreamConnection | Fault | None:
        """Do the same for a request that nobody else can answer; see :class:`proxy.dataplane.endpoints.Cluster`."""
        return self.acquire(sink)

    def wait(self, sink: Sink) -> None:
        """Queue ``sink`` for a connection that has just proved alive: a new one, or one with a response behind it."""
        self.waiting[sink] = monotonic_ns()
        self._maybe_connect()
        if self.timer is None and self.pending:
            self._arm(self.limits.pending_timeout_ns)

    @property
    def pending(self) -> int:
        """Sinks for which no connection is being opened: they wait for one that is busy."""
        return max(len(self.waiting) - self.connecting, 0)

    def is_busy(self) -> bool:
        """Tell whether one more sink would be pending: no connection is free, none is spare, none may be opened."""
        return (
            self.connecting <= len(self.waiting)
            and self.open + self.connecting >= self.limits.max_connections
        )

    def is_full(self) -> bool:
        """Tell whether one more sink would be pending, and as many are as may be."""
        return self.is_busy() and self.pending >= self.limits.max_pending

    def forget(self, sink: Sink) -> None:
        """Take ``sink`` out of the wait queue, if it is there."""
        self.waiting.pop(sink, None)

    def take_back(self, connection: UpstreamConnection, _status: int) -> None:
        """Take back a connection behind a complete answer, of which the status is given."""
        self.release(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection that can carry another request."""
        if self.waiting:
            self.waiting.popitem(last=False)[0].on_connected(connection)
        elif self.retired:
            connection.close()
        else:
            self.idle.append(connection)

    def on_answer(self, status: int) -> None:
        """A complete answer with ``status`` came, of more than one read."""

    def on_failure(self) -> None:
        """A request was failed by this address: no connection, no answer, or a broken one."""

    def on_closed(self, connection: UpstreamConnection) -> None:
        """Forget a connection that is gone, and open another if somebody waits for it."""
        self.open -= 1
        self.discard(connection)
        self._maybe_connect()

    def retire(self) -> None:
        """Close what is idle now and the rest as it becomes free: no table refers to this pool any more."""
        self.retired = True
        self.is_simple = False
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def discard(self, connection: UpstreamConnection) -> None:
        """Lend an idle connection no more: it is about to be closed."""
        if connection in self.idle:
            self.idle.remove(connection)

    def _maybe_connect(self) -> None:
        if self.connecting < len(self.waiting) and self.open + self.connecting < self.limits.max_connections:
            self.connecting += 1
            spawn(self._connect(), name="upstream connect")

    async def _connect(self) -> None:
        fault = Fault.CONNECT
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self.limits.connect_timeout_ns / 1e9):
                if self.secured is None:
                    await self.loop.create_connection(lambda: connection, self.host, self.port)
                else:
                    await self.secured.connect(self.loop, connection, self.host, self.port)
        except TimeoutError:
            fault = Fault.CONNECT_TIMEOUT
        except HANDSHAKE_ERRORS:
            fault = Fault.TLS
        except (OSError, ValueError):  # ValueError: a name that cannot be encoded
            pass
        else:
            # A server that accepts and closes at once may be gone before this task runs: a sink that is given
            # such a connection would never hear of it again.
            if not connection.transport.is_closing():
                self.on_connected(connection)
                return
        self.on_unconnected(fault)

    def on_connected(self, connection: UpstreamConnection) -> None:
        """A connection was opened: who has waited longest gets it."""
        self.connecting -= 1
        self.end_rest()
        self.release(connection)

    def fault_of_new(self, error: Exception | None) -> Fault:
        """Return the fault of a connection that was lost with ``error`` before it brought anything."""
        if self.secured is None or not self.secured.is_refusal(error, self.host, self.port):
            return Fault.RESET
        return Fault.TLS

    def on_unconnected(self, fault: Fault) -> None:
        """A connection could not be made: who has waited longest is told, and the others get another try."""
        self.connecting -= 1
        sink = self.waiting.popitem(last=False)[0] if self.waiting else None
        if self.limits.total and not self.open:
            self.rests = fault
            self.rest()
        self.on_failure()
        if sink is not None:
            sink.on_fault(fault, False)
        self._maybe_connect()

    def _arm(self, delay_ns: int) -> None:
        self.timer = self.loop.call_later(delay_ns / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        """Tell who has waited too long for a busy connection, and look again when the next one may have."""
        self.timer = None
        now_ns, patience_ns = monotonic_ns(), self.limits.pending_timeout_ns
        while self.pending and next(iter(self.waiting.values())) + patience_ns <= now_ns:
            self.waiting.popitem(last=False)[0].on_fault(Fault.PENDING_TIMEOUT, False)
        if self.pending and self.timer is None:
            self._arm(next(iter(self.waiting.values())) + patience_ns - now_ns)

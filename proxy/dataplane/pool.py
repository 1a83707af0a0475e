"""Pools of connections to model servers, one per model (and per shadow), reused last in, first out.

A pool lends a connection to a sink, opens another while somebody waits and the limit allows it, and queues whom it
cannot serve at once. Whatever a sink waits for, it is told exactly once: ``on_connected`` or ``on_fault``.
"""

import asyncio
from collections import deque

from proxy.dataplane.outbox import Outbox
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
        total: bool = False,
    ) -> None:
        self.timeout_ns = timeout_ns
        """Request sent → response head; with ``total``: → response complete."""
        self.idle_timeout_ns = idle_timeout_ns
        self.connect_timeout_ns = connect_timeout_ns
        self.keep_alive_ns = keep_alive_ns
        self.max_connections = max_connections
        self.max_pending = max_pending
        self.total = total


class Pool:
    """Connections to one address, reused last in, first out, so that the surplus grows idle and is closed."""

    __slots__ = (
        "connecting",
        "host",
        "idle",
        "in_flight",
        "in_flight_bytes",
        "limits",
        "loop",
        "open",
        "outbox",
        "port",
        "retired",
        "waiting",
    )

    def __init__(
        self, loop: asyncio.AbstractEventLoop, outbox: Outbox, host: str, port: int, limits: PoolLimits
    ) -> None:
        self.loop = loop
        self.outbox = outbox
        self.host = host
        self.port = port
        self.limits = limits
        self.idle: list[UpstreamConnection] = []
        self.open = 0
        """Connections that exist, idle ones included."""
        self.connecting = 0
        self.waiting: deque[Sink] = deque()
        self.retired = False
        self.in_flight = 0
        """Requests of the shadow that this pool belongs to; unused for primaries."""
        self.in_flight_bytes = 0

    def acquire(self, sink: Sink) -> UpstreamConnection | Fault | None:
        """Return an idle connection, ``None`` when ``sink.on_connected`` will follow, or ``Fault.OVERFLOW``."""
        idle = self.idle
        while idle:
            connection = idle.pop()
            if not connection.transport.is_closing():
                return connection
        if len(self.waiting) >= self.limits.max_pending:
            return Fault.OVERFLOW
        self.wait(sink)
        return None

    def wait(self, sink: Sink) -> None:
        """Queue ``sink`` for a connection that has just proved alive: a new one, or one with a response behind it."""
        self.waiting.append(sink)
        self._maybe_connect()

    def forget(self, sink: Sink) -> None:
        """Take ``sink`` out of the wait queue, if it is there."""
        if sink in self.waiting:
            self.waiting.remove(sink)

    def release(self, connection: "UpstreamConnection") -> None:
        """Take back a connection that can carry another request."""
        if self.waiting:
            self.waiting.popleft().on_connected(connection)
        elif self.retired:
            connection.close()
        else:
            self.idle.append(connection)

    def on_closed(self, connection: "UpstreamConnection") -> None:
        """Forget a connection that is gone, and open another if somebody waits for it."""
        self.open -= 1
        self.discard(connection)
        self._maybe_connect()

    def retire(self) -> None:
        """Close what is idle now and the rest as it becomes free: no table refers to this pool any more."""
        self.retired = True
        idle, self.idle = self.idle, []
        for connection in idle:
            connection.close()

    def discard(self, connection: "UpstreamConnection") -> None:
        """Lend an idle connection no more: it is about to be closed."""
        if connection in self.idle:
            self.idle.remove(connection)

    def _maybe_connect(self) -> None:
        if self.connecting < len(self.waiting) and self.open + self.connecting < self.limits.max_connections:
            self.connecting += 1
            spawn(self._connect(), name="upstream connect")

    async def _connect(self) -> None:
        fault = Fault.CONNECT
        try:
            async with asyncio.timeout(self.limits.connect_timeout_ns / 1e9):
                _, connection = await self.loop.create_connection(
                    lambda: UpstreamConnection(self), self.host, self.port
                )
        except TimeoutError:
            fault = Fault.CONNECT_TIMEOUT
        except OSError:
            pass
        else:
            self.connecting -= 1
            self.release(connection)
            return
        self.on_unconnected(fault)

    def on_unconnected(self, fault: Fault) -> None:
        """A connection could not be made: who has waited longest is told, and the others get another try."""
        self.connecting -= 1
        if self.waiting:
            self.waiting.popleft().on_fault(fault, False)
        self._maybe_connect()

"""One pool and its connections without a socket: connects are answered by hand, in stepped time."""

import asyncio
from typing import Any, cast

import pytest

from proxy.dataplane import pool as pool_module
from proxy.dataplane import shadow_budget as shadow_budget_module
from proxy.dataplane import upstream as upstream_module
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool, PoolLimits
from proxy.dataplane.upstream import UpstreamConnection
from proxy.model import Fault
from proxy.wire.plain import PlainResponse
from tests.fakes import FakeLoop, FakeTransport

__all__ = ["SECOND", "Listener", "Stage"]

SECOND = 1_000_000_000


class Listener:
    """A sink that writes down what it is told."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.events: list[Any] = []
        self.connection: UpstreamConnection | None = None
        self.upgrade = b""
        self.bucket = 0
        self.endpoint: Pool | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        self.events.append("connected")

    def on_interim(self, connection: UpstreamConnection) -> None:
        self.events.append(("interim", connection.status))

    def on_whole_response(self, connection: UpstreamConnection, head: PlainResponse, body: bytes) -> None:
        self.events.append(("whole", head.status, head.reason, body))

    def on_response_head(self, connection: UpstreamConnection) -> None:
        self.events.append(("head", connection.status, connection.framing))

    def on_response_body(self, data: bytes) -> None:
        self.events.append(data)

    def on_upgrade(self, connection: UpstreamConnection, rest: bytes) -> None:
        self.events.append(("upgrade", rest))

    def on_response_trailer(self, line: bytes) -> None:
        self.events.append(("trailer", line))

    def on_response_read(self) -> None:
        self.events.append("read")

    def on_response_end(self) -> None:
        self.events.append("end")

    def on_fault(self, fault: Fault, stale: bool) -> None:
        self.events.append((fault, stale))

    def on_upstream_paused(self, paused: bool) -> None:
        self.events.append(("paused", paused))


class Stage:
    """A pool whose connects are answered by hand, in stepped time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loop = FakeLoop()
        self.attempts = 0
        monkeypatch.setattr(upstream_module, "monotonic_ns", self.loop.monotonic_ns)
        monkeypatch.setattr(pool_module, "monotonic_ns", self.loop.monotonic_ns)
        monkeypatch.setattr(shadow_budget_module, "monotonic_ns", self.loop.monotonic_ns)
        monkeypatch.setattr(pool_module, "spawn", self._spawn)
        self.outbox = Outbox(cast("asyncio.AbstractEventLoop", self.loop))
        self.pool = self.make_pool()

    def make_pool(self, *, total: bool = False, max_connections: int = 2, max_pending: int = 3) -> Pool:
        limits = PoolLimits(
            timeout_ns=5 * SECOND,
            idle_timeout_ns=3 * SECOND,
            connect_timeout_ns=SECOND,
            keep_alive_ns=10 * SECOND,
            max_connections=max_connections,
            max_pending=max_pending,
            pending_timeout_ns=2 * SECOND,
            total=total,
        )
        return Pool(cast("asyncio.AbstractEventLoop", self.loop), self.outbox, "127.0.0.1", 9, limits)

    def _spawn(self, coro: Any, *, name: str) -> None:
        coro.close()
        self.attempts += 1

    def connect(self, pool: Pool | None = None) -> tuple[UpstreamConnection, FakeTransport]:
        """Let a connection succeed."""
        pool = pool or self.pool
        connection = UpstreamConnection(pool)
        transport = FakeTransport(connection)
        pool.connecting = max(pool.connecting - 1, 0)
        pool.release(connection)
        return connection, transport

    def send(self, connection: UpstreamConnection, *, done: bool = True, head_only: bool = False) -> Listener:
        """Lend ``connection``, which must be idle, to a new sink, and send a request on it."""
        listener = Listener()
        assert connection.pool.acquire(listener) is connection
        connection.send(listener, b"request", head_only, done, self.loop.clock_ns)
        self.loop.run_soon()
        return listener

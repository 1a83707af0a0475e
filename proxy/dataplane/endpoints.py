"""A model with several servers: which one gets a request, and which are left out.

A :class:`Cluster` stands where a model with one URL has its :class:`~proxy.dataplane.pool.Pool`, and is asked the
same. Behind it each server has a pool of its own, with a queue of its own; ``max_connections`` holds for each of them,
``max_pending`` for all together.

A server is *usable* while it is healthy (:mod:`proxy.dataplane.health`) and not ejected
(:mod:`proxy.dataplane.outlier`). Where no healthy server is left but ejected ones, these are used: an ejection is a
suspicion, a health check is an answer. With no healthy server at all, a request gets ``Fault.UNHEALTHY``, or, when
nobody else can answer it (:meth:`Cluster.acquire_any`), any server: to ask is then better than to refuse.

A sink that comes again after a fault is given another server than the last time, if there is one.
"""

import asyncio
import logging
from collections.abc import Sequence

from proxy.clock import monotonic_ns
from proxy.dataplane.balance import FEW, least_loaded, next_draw, server_salt, slot_of, two_places, winner
from proxy.dataplane.contexts import BackendTls
from proxy.dataplane.endpoint_counts import EndpointCounts
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.outlier import ejection_ns, may_eject, next_ejection
from proxy.dataplane.pool import Pool, PoolLimits
from proxy.dataplane.shadow_budget import ShadowBudget
from proxy.dataplane.upstream import GATEWAY_FAILURES, Sink, UpstreamConnection
from proxy.model import Fault
from proxy.routing.table import Model

__all__ = ["Cluster", "ServerPool"]

WARY_NS = 1_000_000_000
"""How long a failure makes a server look busier than it is."""

_log = logging.getLogger("modelproxy.endpoints")


class ServerPool(Pool):
    """The connections to one server of several, and what is known of it."""

    __slots__ = (
        "cluster",
        "counts",
        "ejection",
        "ejections",
        "failures",
        "is_healthy",
        "returned_ns",
        "salt",
        "wary_until_ns",
    )

    def __init__(
        self,
        cluster: "Cluster",
        outbox: Outbox,
        address: tuple[str, int],
        limits: PoolLimits,
        counts: EndpointCounts,
    ) -> None:
        super().__init__(cluster.loop, outbox, *address, limits)
        self.cluster = cluster
        self.counts = counts
        self.salt = server_salt(counts.url)
        self.is_simple = False
        self.is_healthy = True
        self.failures = 0
        """Requests failed in a row."""
        self.ejection: asyncio.TimerHandle | None = None
        """What ends the ejection, while there is one."""
        self.ejections = 0
        """Which ejection in a row the last one was."""
        self.returned_ns = 0
        self.wary_until_ns = 0
        """Until when its failures weigh like requests."""

    @property
    def load(self) -> int:
        """Requests under way and waiting; for a moment after a failure, also those that failed in a row.

        A server that refuses at once has the fewest requests under way of all: it would draw all others to itself.
        """
        busy = self.open - len(self.idle) + len(self.waiting)
        if self.failures and monotonic_ns() < self.wary_until_ns:
            busy += self.failures
        return busy

    def is_full(self) -> bool:
        return self.is_busy() and self.cluster.pending >= self.limits.max_pending

    def take_back(self, connection: UpstreamConnection, status: int) -> None:
        self.on_answer(status)
        self.release(connection)

    def on_answer(self, status: int) -> None:
        if status in GATEWAY_FAILURES:
            self.on_failure()
        elif self.failures:
            self.failures = 0

    def rest(self) -> None:
        super().rest()
        if not any(pool.open for pool in self.cluster.pools):
            self.cluster.rest()

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.cluster.end_rest()
        super().on_connected(connection)

    def on_failure(self) -> None:
        self.failures += 1
        self.wary_until_ns = monotonic_ns() + WARY_NS
        self.cluster.on_failure(self)

    def set_healthy(self, is_healthy: bool) -> None:
        """Take up what health checks say. A server that is healthy again is no longer suspected."""
        if is_healthy != self.is_healthy:
            self.is_healthy = is_healthy
            self.cluster.on_health(self)


class Cluster(ShadowBudget):
    """The pools of a model's servers, behind the face of one pool.

    Args:
        loop: for timers.
        outbox: where connections gather what they write.
        model: whose servers they are.
        limits: of each server's pool.
        counts: what is counted of each server, in the order of the model's URLs.
    """

    __slots__ = (
        "_by_hash",
        "_draw",
        "_outlier",
        "_remembered",
        "_turn",
        "limits",
        "name",
        "pools",
        "retired",
        "usable",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        outbox: Outbox,
        model: Model,
        limits: PoolLimits,
        counts: Sequence[EndpointCounts],
    ) -> None:
        super().__init__(loop)
        self.name = model.name
        self.limits = limits
        self.retired = False
        self.pools = tuple(
            ServerPool(self, outbox, (endpoint.host, endpoint.port), limits, each)
            for endpoint, each in zip(model.endpoints, counts, strict=True)
        )
        self.usable: Sequence[ServerPool] = self.pools
        self._outlier = model.settings.outlier
        self._by_hash = model.settings.balance == "hash"
        self._remembered: dict[int, ServerPool] = {}
        """Who gets the units of a slot, among those that are usable now."""
        self._turn = 0
        self._draw = 0

    # The face of a pool

    def acquire(self, sink: Sink) -> UpstreamConnection | Fault | None:
        """Choose a server; return an idle connection, ``None`` when ``sink.on_connected`` will follow, or a fault.

        The fault is ``OVERFLOW``, or ``UNHEALTHY`` when no server is fit to be asked.
        """
        return self._acquire(sink, self.usable) if self.usable else Fault.UNHEALTHY

    def acquire_any(self, sink: Sink) -> UpstreamConnection | Fault | None:
        """Do the same for a request that nobody else can answer: with no server fit, ask any."""
        if self.usable:
            return self._acquire(sink, self.usable)
        pool = self._choose(sink, self.pools)
        pool.counts.on_asked_unhealthy()
        sink.endpoint = pool
        return pool.acquire(sink)

    def wait(self, sink: Sink) -> None:
        """Queue ``sink`` for a connection that has just proved alive, to the server chosen last if it is usable."""
        if sink.endpoint is None or sink.endpoint not in self.usable:
            sink.endpoint = self._choose(sink, self.usable or self.pools)
        sink.endpoint.wait(sink)

    def forget(self, sink: Sink) -> None:
        """Take ``sink`` out of the queue it stands in, if it does."""
        if sink.endpoint is not None:
            sink.endpoint.forget(sink)

    def retire(self) -> None:
        """Retire the pools of all servers, and end all ejections."""
        self.retired = True
        for pool in self.pools:
            if pool.ejection is not None:
                self._readmit(pool)
            pool.retire()

    @property
    def secured(self) -> BackendTls | None:
        """How connections are secured; None: they are not."""
        return self.pools[0].secured

    @secured.setter
    def secured(self, secured: BackendTls | None) -> None:
        for pool in self.pools:
            pool.secured = secured

    @property
    def pending(self) -> int:
        """Sinks of all servers for which no connection is being opened."""
        return sum(pool.pending for pool in self.pools)

    # Who gets it

    def _acquire(self, sink: Sink, among: Sequence[ServerPool]) -> UpstreamConnection | Fault | None:
        pool = sink.endpoint = self._choose(sink, among)
        return pool.acquire(sink)

    def _choose(self, sink: Sink, among: Sequence[ServerPool]) -> ServerPool:
        if sink.endpoint in self.pools:
            among = _without_suspects(among, sink.endpoint)
        if len(among) == 1:
            return among[0]
        if not self._by_hash:
            return self._least(among)
        slot = slot_of(sink.bucket)
        if among is not self.usable:
            return _winner(slot, among)
        pool = self._remembered.get(slot)
        if pool is None:
            pool = self._remembered[slot] = _winner(slot, among)
        return pool

    def _least(self, among: Sequence[ServerPool]) -> ServerPool:
        if len(among) <= FEW:
            self._turn += 1
            return among[least_loaded([pool.load for pool in among], self._turn)]
        self._draw = next_draw(self._draw)
        first, second = two_places(self._draw, len(among))
        best = among[first] if among[first].load <= among[second].load else among[second]
        if best.load >= self.limits.max_connections:
            # Where servers hang, two drawn ones may both be full while others are free.
            best = among[least_loaded([pool.load for pool in among], first)]
        return best

    # Who is left out

    def on_health(self, pool: ServerPool) -> None:
        """Look again who is usable: a server's health has changed."""
        if pool.is_healthy:
            if pool.ejection is not None:
                self._readmit(pool)
            pool.failures = 0
        self._judge()

    def on_failure(self, pool: ServerPool) -> None:
        """Leave a server out when it has failed too often in a row."""
        outlier = self._outlier
        if pool.failures < outlier.consecutive or pool.ejection is not None or self.retired:
            return
        ejected = sum(other.ejection is not None for other in self.pools)
        left = sum(other is not pool for other in self.usable)
        if not may_eject(len(self.pools), ejected, left, float(outlier.max_ejection_percent)):
            return
        base_ns = outlier.base_ejection_time
        pool.ejections = next_ejection(pool.ejections, monotonic_ns() - pool.returned_ns, base_ns)
        length_s = ejection_ns(pool.ejections, base_ns) / 1e9
        pool.ejection = self.loop.call_later(length_s, self._on_ejection_over, pool)
        pool.counts.on_ejected()
        url = pool.counts.url
        _log.warning(
            "model %s: %s is left out for %g s: it failed %d requests in a row",
            self.name,
            url,
            length_s,
            pool.failures,
        )
        self._judge()

    def _on_ejection_over(self, pool: ServerPool) -> None:
        self._readmit(pool)
        self._judge()

    def _readmit(self, pool: ServerPool) -> None:
        """End an ejection. The server is on trial: one more failure is enough."""
        if pool.ejection is not None:
            pool.ejection.cancel()
        pool.ejection = None
        pool.returned_ns = monotonic_ns()
        pool.failures = self._outlier.consecutive - 1
        pool.counts.on_readmitted()

    def _judge(self) -> None:
        """Find out who is usable, and let nobody wait for who is not."""
        healthy = [pool for pool in self.pools if pool.is_healthy]
        self.usable = [pool for pool in healthy if pool.ejection is None] or healthy
        self._remembered.clear()
        if self.usable:
            for pool in self.pools:
                if pool.waiting and pool not in self.usable:
                    self._move_waiting(pool)

    def _move_waiting(self, pool: ServerPool) -> None:
        waiting = list(pool.waiting)
        pool.waiting.clear()
        for sink in waiting:
            other = sink.endpoint = self._choose(sink, self.usable)
            other.wait(sink)


def _winner(slot: int, among: Sequence[ServerPool]) -> ServerPool:
    return among[winner(slot, [pool.salt for pool in among])]


def _without_suspects(among: Sequence[ServerPool], last: Pool | None) -> Sequence[ServerPool]:
    """Return the servers for another attempt: not the last one, and none that has just failed, if there are such."""
    others = [pool for pool in among if pool is not last]
    return [pool for pool in others if not pool.failures] or others or among

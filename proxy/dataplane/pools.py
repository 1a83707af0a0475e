"""Which pool serves which model: pools outlive tables, so a reload keeps the connections of what did not change."""

import asyncio
from collections.abc import Iterator

from proxy.dataplane.endpoint_counts import EndpointCounts
from proxy.dataplane.endpoints import Cluster, ServerPool
from proxy.dataplane.health import HealthWatch
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool, PoolLimits
from proxy.routing.table import Endpoint, Model, Shadow, Table

__all__ = ["Pools"]

Server = tuple[str, str]
"""A model's name and a URL of it."""


class Pools:
    """All pools of one worker, by what they connect to and under which limits.

    A model with one URL and no health checks has one pool. Any other has a cluster of them; each of its servers is
    counted and watched once in the worker, for the model's own cluster and for those of its shadows. Counts and
    watches go by model and URL, so that a server's health is not forgotten when a limit is changed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        self._outbox = outbox
        self._pools: dict[tuple[object, ...], Pool | Cluster] = {}
        self._counts: dict[Server, EndpointCounts] = {}
        self._watches: dict[Server, HealthWatch] = {}

    def attach(self, table: Table) -> None:
        """Give every model and shadow of ``table`` its pool, and retire the pools that it does not use."""
        servers = dict(_servers(table))
        for server, endpoint in servers.items():
            counts = self._counts.setdefault(server, EndpointCounts(endpoint.url))
            counts.move(table.slots, endpoint.slot)
        used = self._attach_pools(table)
        for used_for, pool in self._pools.items():
            if used_for not in used:
                pool.retire()
        self._pools = used
        self._attach_watches(table)
        for server in self._counts.keys() - servers.keys():
            self._counts.pop(server).move(None, 0)

    def close(self) -> None:
        """Ask for nobody's health any more and settle the counts of servers that are out: the worker ends."""
        for watch in self._watches.values():
            watch.stop()
        for pool in self._pools.values():
            pool.retire()
        for counts in self._counts.values():
            counts.move(None, 0)

    def _attach_pools(self, table: Table) -> dict[tuple[object, ...], Pool | Cluster]:
        used: dict[tuple[object, ...], Pool | Cluster] = {}
        for model in table.models.values():
            model.pool = self._take(used, ("model", model.name, model.settings), model, _model_limits(model))
        for route in table.routes:
            for shadow in route.copies:
                key: tuple[object, ...] = (
                    "noise" if shadow is route.noise else "shadow",
                    route.name,
                    shadow.model.name,
                    shadow.model.settings,
                    shadow.settings,
                )
                shadow.pool = self._take(used, key, shadow.model, _shadow_limits(shadow))
        return used

    def _take(
        self,
        used: dict[tuple[object, ...], Pool | Cluster],
        key: tuple[object, ...],
        model: Model,
        limits: PoolLimits,
    ) -> Pool | Cluster:
        pool = self._pools.get(key) or self._make(model, limits)
        pool.secured = model.secured
        used[key] = pool
        return pool

    def _make(self, model: Model, limits: PoolLimits) -> Pool | Cluster:
        if not model.is_watched:
            return Pool(self._loop, self._outbox, model.host, model.port, limits)
        counts = [self._counts[model.name, endpoint.url] for endpoint in model.endpoints]
        return Cluster(self._loop, self._outbox, model, limits, counts)

    def _attach_watches(self, table: Table) -> None:
        """Watch the servers whose health the table wants to know, and those alone; what is known of them stays."""
        before, self._watches = self._watches, {}
        for model in table.models.values():
            for endpoint in model.endpoints if model.settings.health is not None else ():
                server = (model.name, endpoint.url)
                self._watches[server] = self._watch(model, endpoint, before.pop(server, None))
        for server, watch in before.items():
            watch.stop()
            self._counts[server].set_unhealthy(False)
        for name, pool in self._server_pools():
            known = self._watches.get((name, pool.counts.url))
            if known is not None:
                known.listeners.append(pool.set_healthy)
            pool.set_healthy(known is None or known.is_healthy)

    def _watch(self, model: Model, endpoint: Endpoint, before: HealthWatch | None) -> HealthWatch:
        settings = model.settings.health
        assert settings is not None
        if before is not None and before.settings == settings:
            before.secured = model.secured
            before.listeners.clear()
            return before
        counts = self._counts[model.name, endpoint.url]
        watch = HealthWatch(model.name, endpoint, settings, counts, before is None or before.is_healthy)
        watch.secured = model.secured
        if before is not None:
            before.stop()
        watch.start()
        return watch

    def _server_pools(self) -> Iterator[tuple[str, ServerPool]]:
        for cluster in self._pools.values():
            if isinstance(cluster, Cluster):
                yield from ((cluster.name, pool) for pool in cluster.pools)


def _servers(table: Table) -> Iterator[tuple[Server, Endpoint]]:
    """Yield the servers that are counted one by one."""
    for model in table.models.values():
        if model.is_watched:
            yield from (((model.name, endpoint.url), endpoint) for endpoint in model.endpoints)


def _model_limits(model: Model) -> PoolLimits:
    settings = model.settings
    return PoolLimits(
        timeout_ns=settings.timeout,
        idle_timeout_ns=settings.idle_timeout,
        connect_timeout_ns=settings.connect_timeout,
        keep_alive_ns=settings.keep_alive,
        max_connections=settings.max_connections,
        max_pending=settings.max_pending,
        pending_timeout_ns=settings.pending_timeout,
    )


def _shadow_limits(shadow: Shadow) -> PoolLimits:
    """A shadow's deadline is for all of the answer, and its budget bounds connections and queue alike."""
    model, settings = shadow.model.settings, shadow.settings
    return PoolLimits(
        timeout_ns=settings.timeout,
        idle_timeout_ns=settings.timeout,
        connect_timeout_ns=min(model.connect_timeout, settings.timeout),
        keep_alive_ns=model.keep_alive,
        max_connections=settings.max_in_flight,
        max_pending=settings.max_in_flight,
        pending_timeout_ns=min(model.pending_timeout, settings.timeout),
        total=True,
    )

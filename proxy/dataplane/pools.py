"""Which pool serves which model: pools outlive tables, so a reload keeps the connections of what did not change."""

import asyncio

from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool, PoolLimits
from proxy.routing.table import Model, Shadow, Table

__all__ = ["Pools"]


class Pools:
    """All pools of one worker, by what they connect to and under which limits."""

    def __init__(self, loop: asyncio.AbstractEventLoop, outbox: Outbox) -> None:
        self._loop = loop
        self._outbox = outbox
        self._pools: dict[tuple[object, ...], Pool] = {}

    def attach(self, table: Table) -> None:
        """Give every model and shadow of ``table`` its pool, and retire the pools that it does not use."""
        used: dict[tuple[object, ...], Pool] = {}
        for model in table.models.values():
            model.pool = self._take(used, ("model", model.name, model.settings), model, _model_limits(model))
        for route in table.routes:
            for shadow in route.shadows:
                key: tuple[object, ...] = (
                    "shadow",
                    route.name,
                    shadow.model.name,
                    shadow.model.settings,
                    shadow.settings,
                )
                shadow.pool = self._take(used, key, shadow.model, _shadow_limits(shadow))
        for used_for, pool in self._pools.items():
            if used_for not in used:
                pool.retire()
        self._pools = used

    def _take(
        self, used: dict[tuple[object, ...], Pool], key: tuple[object, ...], model: Model, limits: PoolLimits
    ) -> Pool:
        pool = self._pools.get(key) or Pool(self._loop, self._outbox, model.host, model.port, limits)
        used[key] = pool
        return pool


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

"""Pools outlive tables: a reload keeps the connections of what did not change."""

import asyncio
from typing import cast

from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool
from proxy.dataplane.pools import Pools
from proxy.dataplane.upstream import UpstreamConnection
from tests.dataplane.road import CONFIG, build_table
from tests.fakes import FakeLoop, FakeTransport

MIRRORED = CONFIG + "    shadows: [{model: three, timeout: 3s, max_in_flight: 7}]\n"


def make() -> Pools:
    loop = cast("asyncio.AbstractEventLoop", FakeLoop())
    return Pools(loop, Outbox(loop))


def idle(pool: Pool) -> FakeTransport:
    """Give ``pool`` an idle connection."""
    connection = UpstreamConnection(pool)
    transport = FakeTransport(connection, ("127.0.0.1", pool.port))
    pool.release(connection)
    return transport


def test_an_unchanged_model_keeps_its_pool() -> None:
    """Another table with the same model settings lends the same connections."""
    pools = make()
    before, after = build_table(CONFIG, 1), build_table(CONFIG + "    log: {percent: 5}\n", 2)
    pools.attach(before)
    transport = idle(before.models["one"].pool)
    pools.attach(after)
    assert after.models["one"].pool is before.models["one"].pool
    assert not transport.closed


def test_a_changed_model_gets_a_new_pool_and_the_old_one_is_retired() -> None:
    """A changed address or limit must not serve old connections; idle ones are closed at once."""
    pools = make()
    before = build_table(CONFIG, 1)
    pools.attach(before)
    transport = idle(before.models["one"].pool)
    after = build_table(CONFIG.replace("127.0.0.1:9001", "127.0.0.1:9009"), 2)
    pools.attach(after)
    assert after.models["one"].pool is not before.models["one"].pool
    assert after.models["one"].pool.port == 9009
    assert transport.closed
    late = idle(before.models["one"].pool)
    assert late.closed


def test_a_shadow_has_a_pool_of_its_own() -> None:
    """The same model as primary and as shadow shares no connection, and a shadow's limits are its budget."""
    pools = make()
    table = build_table(MIRRORED)
    pools.attach(table)
    shadow = table.routes[0].shadows[0]
    assert shadow.pool is not table.models["three"].pool
    limits = shadow.pool.limits
    assert (limits.max_connections, limits.max_pending, limits.timeout_ns, limits.total) == (
        7,
        7,
        3_000_000_000,
        True,
    )
    assert not table.models["three"].pool.limits.total

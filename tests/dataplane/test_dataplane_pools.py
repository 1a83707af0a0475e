"""Pools outlive tables: a reload keeps the connections of what did not change."""

import asyncio
from typing import cast

import pytest

from proxy.dataplane.endpoints import Cluster
from proxy.dataplane.health import HealthWatch
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool
from proxy.dataplane.pools import Pools
from proxy.dataplane.upstream import UpstreamConnection
from proxy.routing.table import Table
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


SEVERAL = CONFIG.replace('"http://127.0.0.1:9001"', '["http://127.0.0.1:9001", "http://127.0.0.1:9011"]')
WATCHED = SEVERAL.replace("max_pending: 8", "max_pending: 8, health: {interval: 1s}")
SERVER = ("endpoint", "one", "http://127.0.0.1:9011")


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[HealthWatch]:
    """Health watches that were started; they ask nothing."""
    watches: list[HealthWatch] = []
    monkeypatch.setattr(HealthWatch, "start", lambda watch: watches.append(watch))
    return watches


def endpoint_counts(table: Table) -> dict[str, int]:
    """Return what is counted of one server."""
    return {key[1]: n for key, n in table.layout.counts(table.slots).items() if (key[0], *key[2:]) == SERVER}


def test_who_has_a_cluster(started: list[HealthWatch]) -> None:
    """Several URLs or health checks make a cluster, for a model and its shadows; one URL alone has its pool itself."""
    table = build_table(WATCHED + "    shadows: [{model: one}]\n")
    make().attach(table)
    cluster, shadow = table.models["one"].pool, table.routes[0].shadows[0].pool
    assert isinstance(cluster, Cluster)
    assert isinstance(shadow, Cluster)
    assert [pool.port for pool in cluster.pools] == [pool.port for pool in shadow.pools] == [9001, 9011]
    assert type(table.models["two"].pool) is Pool
    assert len(started) == 2


def test_an_ejection_survives_a_reload() -> None:
    """Another table with the same model leaves out whom the last one left out, and counts it as carried over."""
    pools = make()
    before, after = build_table(SEVERAL, 1), build_table(SEVERAL + "    log: {percent: 5}\n", 2)
    pools.attach(before)
    cluster: Cluster = before.models["one"].pool
    for _ in range(5):
        cluster.pools[1].on_failure()
    pools.attach(after)
    assert after.models["one"].pool is cluster
    assert cluster.usable == [cluster.pools[0]]
    assert endpoint_counts(before) == {"ejected": 1, "readmitted": 1}
    assert endpoint_counts(after) == {"ejected_carried": 1}
    pools.attach(build_table(CONFIG, 3))
    assert endpoint_counts(after) == {"ejected_carried": 1, "readmitted": 1}


def test_health_survives_a_reload(started: list[HealthWatch]) -> None:
    """What checks found stays found when limits, or the checks themselves, are changed; not when there are none."""
    pools = make()
    before = build_table(WATCHED, 1)
    pools.attach(before)
    watch = started[1]
    for _ in range(3):
        watch.on_result("it answered 503")
    first: Cluster = before.models["one"].pool
    assert first.usable == [first.pools[0]]

    after = build_table(WATCHED.replace("max_pending: 8", "max_pending: 9"), 2)
    pools.attach(after)
    second: Cluster = after.models["one"].pool
    assert second is not first
    assert second.usable == [second.pools[0]]
    assert len(started) == 2
    watch.on_result("")
    watch.on_result("")
    assert len(second.usable) == 2
    assert first.usable == [first.pools[0]], "a retired cluster hears nothing any more"
    for _ in range(3):
        watch.on_result("no answer in time")

    other = build_table(WATCHED.replace("interval: 1s", "interval: 2s"), 3)
    pools.attach(other)
    third: Cluster = other.models["one"].pool
    assert third.usable == [third.pools[0]]
    assert len(started) == 4
    assert endpoint_counts(other) == {"unhealthy_carried": 1}

    without = build_table(SEVERAL, 4)
    pools.attach(without)
    fourth: Cluster = without.models["one"].pool
    assert len(fourth.usable) == 2
    assert endpoint_counts(without) == {"unhealthy_carried": 1, "healthy_again": 1}


def test_the_same_table_again_changes_nothing(started: list[HealthWatch]) -> None:
    """A table that is attached twice keeps its pools, its watches and its counts."""
    pools = make()
    table = build_table(WATCHED)
    pools.attach(table)
    started[1].on_result("it answered 503")
    cluster = table.models["one"].pool
    counted = endpoint_counts(table)
    pools.attach(table)
    assert table.models["one"].pool is cluster
    assert len(started) == 2
    assert endpoint_counts(table) == counted == {"check_failed": 1, "unhealthy": 1}
    started[1].on_result("")
    started[1].on_result("")
    assert len(cluster.usable) == 2


def test_at_the_end_everything_is_settled(started: list[HealthWatch]) -> None:
    """A worker that ends leaves nobody counted as out, and closes what is idle."""
    pools = make()
    table = build_table(WATCHED)
    pools.attach(table)
    cluster: Cluster = table.models["one"].pool
    transport = idle(cluster.pools[0])
    started[1].on_result("it answered 503")
    for _ in range(5):
        cluster.pools[1].on_failure()
    pools.close()
    settled = {"check_failed": 1, "unhealthy": 1, "healthy_again": 1, "ejected": 1, "readmitted": 1}
    assert endpoint_counts(table) == settled
    assert transport.closed


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

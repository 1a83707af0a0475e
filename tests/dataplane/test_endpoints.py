"""A model with several servers: who gets a request, who is left out, and what becomes of those who wait."""

import logging
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane import endpoints as endpoints_module
from proxy.dataplane.endpoints import Cluster, ServerPool
from proxy.dataplane.upstream import UpstreamConnection
from proxy.model import Fault
from tests.dataplane.road import Road, chunked, codes, named, request, response, statuses
from tests.dataplane.stage import Listener
from tests.fakes import FakeTransport

URLS = [f"http://127.0.0.1:{port}" for port in (9001, 9002, 9003)]
ROUTE = """
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    retry_budget: 100
    variants:
      - {name: v1, model: one, role: champion}
"""


def config(*more: str, urls: list[str] = URLS, route: str = ROUTE) -> str:
    """Return a configuration whose champion has several servers; ``more`` are further keys of the model."""
    keys = "".join(f", {key}" for key in ("max_connections: 2", "max_pending: 3", *more))
    return f"models:\n  one: {{url: [{', '.join(urls)}]{keys}}}\n{route}"


OUTLIER = "outlier: {consecutive: 3, base_ejection_time: 10s, max_ejection_percent: 100}"


class Servers:
    """A road whose only model has several servers."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
        self.road = Road(monkeypatch, text)
        monkeypatch.setattr(endpoints_module, "monotonic_ns", self.road.loop.monotonic_ns)
        self.cluster: Cluster = self.road.table.models["one"].pool

    @property
    def usable(self) -> list[int]:
        """The places of the servers that are usable."""
        return [self.cluster.pools.index(pool) for pool in self.cluster.usable]

    def warm(self) -> None:
        """Give each server an idle connection."""
        for pool in self.cluster.pools:
            self.add_idle(pool)

    def add_idle(self, pool: ServerPool) -> FakeTransport:
        connection = UpstreamConnection(pool)
        transport = FakeTransport(connection, ("127.0.0.1", pool.port))
        self.road.upstreams.append(transport)
        pool.release(connection)
        return transport

    def acquire(self, sink: Listener | None = None, bucket: int = 0) -> int:
        """Ask for a connection; return the place of the server that was chosen."""
        sink = sink or Listener()
        sink.bucket = bucket
        self.cluster.acquire(sink)
        assert isinstance(sink.endpoint, ServerPool)
        return self.cluster.pools.index(sink.endpoint)

    def fail(self, place: int, times: int = 3) -> None:
        for _ in range(times):
            self.cluster.pools[place].on_failure()

    def counts(self, place: int) -> dict[str, int]:
        """Return what is counted of one server."""
        url = self.cluster.pools[place].counts.url
        return {key[1]: n for key, n in self.road.counts().items() if key[0] == "endpoint" and key[3] == url}


@pytest.fixture
def servers(monkeypatch: pytest.MonkeyPatch) -> Servers:
    return Servers(monkeypatch, config(OUTLIER))


# Who gets it


def test_the_fewest_requests(servers: Servers) -> None:
    """Requests spread over the servers, and a new one goes where the fewest are under way."""
    servers.warm()
    taken = [servers.acquire() for _ in range(3)]
    assert sorted(taken) == [0, 1, 2]
    servers.add_idle(servers.cluster.pools[1])
    pool = servers.cluster.pools[1]
    pool.idle[-1].transport.abort()
    assert sorted(servers.acquire() for _ in range(3)) == [0, 1, 2]


def test_many_servers_share(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of more than a few servers two are drawn: none is left out, none gets much more than its share."""
    urls = [f"http://127.0.0.1:{port}" for port in range(9001, 9011)]
    servers = Servers(
        monkeypatch, config("max_connections: 1000", urls=urls).replace("max_connections: 2, ", "")
    )
    got = Counter(servers.acquire() for _ in range(500))
    assert len(got) == 10
    assert max(got.values()) - min(got.values()) <= 10


def test_who_refuses_at_once_draws_nobody(servers: Servers) -> None:
    """A server that fails at once looks busy for a moment: the others get the requests, and it gets a try later."""
    servers.fail(0, 2)
    others = [servers.acquire() for _ in range(4)]
    assert 0 not in others
    assert Counter(servers.acquire() for _ in range(3)) == {0: 1, 1: 1, 2: 1}
    servers.road.wait(1)
    assert [servers.acquire() for _ in range(2)] == [0, 0]


def test_full_servers_are_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """However the two are drawn, nobody waits for a server that hangs while another one has room."""
    urls = [f"http://127.0.0.1:{port}" for port in range(9001, 9011)]
    servers = Servers(monkeypatch, config(urls=urls))
    for pool in servers.cluster.pools[1:]:
        pool.open = 2
    assert {servers.acquire() for _ in range(2)} == {0}
    servers.cluster.pools[0].waiting.clear()
    assert {servers.acquire() for _ in range(2)} == {0}


def test_each_server_has_its_own_connections(servers: Servers) -> None:
    """``max_connections`` is for each server, ``max_pending`` for all of them together."""
    for _ in range(3 * 2 + 3):
        servers.acquire()
    assert len(servers.road.wanted) == 6
    assert servers.cluster.pending == 3
    assert servers.cluster.acquire(Listener()) is Fault.OVERFLOW


def test_a_unit_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """With hash a bucket has its server, remembered or not, whatever the loads."""
    servers = Servers(
        monkeypatch, config("balance: hash", OUTLIER).replace("max_pending: 3", "max_pending: 1000")
    )
    buckets = [i << 50 for i in range(200)]
    first = [servers.acquire(bucket=b) for b in buckets]
    assert [servers.acquire(bucket=b) for b in buckets] == first
    assert set(first) == {0, 1, 2}
    servers.fail(1)
    second = [servers.acquire(bucket=b) for b in buckets]
    assert set(second) == {0, 2}
    assert all(now == before or before == 1 for before, now in zip(first, second, strict=True))
    servers.road.wait(10)
    assert [servers.acquire(bucket=b) for b in buckets] == first


def test_another_attempt_goes_elsewhere(servers: Servers) -> None:
    """Who comes again after a fault gets another server, and one that has not just failed if there is such."""
    for failing in (0, 1):
        servers.fail(failing, 1)
    for _ in range(20):
        sink = Listener()
        first = servers.acquire(sink)
        servers.cluster.forget(sink)
        second = servers.acquire(sink)
        servers.cluster.forget(sink)
        assert second in ((0, 1) if first == 2 else (2,))


def test_a_stale_connection_is_replaced_at_the_same_server(servers: Servers) -> None:
    """A server that closed an idle connection has done nothing wrong: the request waits for a new one to it."""
    sink = Listener()
    place = servers.acquire(sink)
    servers.cluster.forget(sink)
    servers.cluster.wait(sink)
    assert sink in servers.cluster.pools[place].waiting
    servers.cluster.forget(sink)
    servers.fail(place)
    servers.cluster.wait(sink)
    assert sink.endpoint is not servers.cluster.pools[place]


# Who is left out


def test_ejected_and_back(servers: Servers, caplog: pytest.LogCaptureFixture) -> None:
    """Failures in a row eject; when its time is over the server is on trial, and goes for twice as long."""
    caplog.set_level(logging.WARNING)
    servers.fail(0, 2)
    servers.cluster.pools[0].on_answer(200)
    servers.fail(0, 2)
    assert servers.usable == [0, 1, 2]
    servers.fail(0, 1)
    assert servers.usable == [1, 2]
    assert servers.counts(0) == {"ejected": 1}
    assert [record.getMessage() for record in caplog.records] == [
        f"model one: {URLS[0]} is left out for 10 s: it failed 3 requests in a row"
    ]
    servers.road.wait(9.9)
    assert servers.usable == [1, 2]
    servers.road.wait(0.2)
    assert servers.usable == [0, 1, 2]
    assert servers.counts(0) == {"ejected": 1, "readmitted": 1}
    servers.fail(0, 1)
    assert servers.usable == [1, 2]
    servers.road.wait(19.9)
    assert servers.usable == [1, 2]
    servers.road.wait(0.2)
    assert servers.usable == [0, 1, 2]
    servers.road.wait(20)
    servers.fail(0, 1)
    servers.road.wait(10.1)
    assert servers.usable == [0, 1, 2]


def test_an_answer_ends_the_trial(servers: Servers) -> None:
    """A server that is back and answers has all its failures again before it."""
    servers.fail(0)
    servers.road.wait(10.1)
    servers.cluster.pools[0].on_answer(200)
    servers.fail(0, 2)
    assert servers.usable == [0, 1, 2]


def test_the_last_one_stays(servers: Servers) -> None:
    """However many fail, one server is left."""
    for place in (0, 1, 2):
        servers.fail(place, 5)
    assert servers.usable == [2]


def test_the_share_is_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    """No more than the percent of the servers are left out, but one at least; none with 0."""
    half = Servers(monkeypatch, config("outlier: {consecutive: 1}"))
    half.fail(0)
    half.fail(1)
    assert half.usable == [1, 2]
    none = Servers(monkeypatch, config("outlier: {consecutive: 1, max_ejection_percent: 0}"))
    none.fail(0)
    assert none.usable == [0, 1, 2]


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.sampled_from(["fail", "answer", "sick", "well", "wait"])), max_size=60
    )
)
def test_somebody_is_always_there(steps: list[tuple[int, str]]) -> None:
    """Whatever happens: with one healthy server there is a usable one, and all usable ones are healthy."""
    with pytest.MonkeyPatch.context() as patch:
        servers = Servers(patch, config(OUTLIER))
        for place, what in steps:
            pool = servers.cluster.pools[place]
            if what == "fail":
                pool.on_failure()
            elif what == "answer":
                pool.on_answer(200)
            elif what == "wait":
                servers.road.wait(3)
            else:
                pool.set_healthy(what == "well")
            healthy = [i for i, each in enumerate(servers.cluster.pools) if each.is_healthy]
            assert set(servers.usable) <= set(healthy)
            assert bool(servers.usable) == bool(healthy)
            fit = [i for i in healthy if servers.cluster.pools[i].ejection is None]
            assert servers.usable == (fit or healthy)


def test_health(servers: Servers) -> None:
    """Only healthy servers are used; ejected ones when there is no other; with none, only who must be is served."""
    pools = servers.cluster.pools
    pools[0].set_healthy(False)
    assert servers.usable == [1, 2]
    servers.fail(1)
    pools[2].set_healthy(False)
    assert servers.usable == [1]
    pools[1].set_healthy(False)
    assert servers.cluster.acquire(Listener()) is Fault.UNHEALTHY
    sink = Listener()
    assert servers.cluster.acquire_any(sink) is None
    assert isinstance(sink.endpoint, ServerPool)
    assert servers.counts(pools.index(sink.endpoint))["asked_unhealthy"] == 1
    pools[0].set_healthy(True)
    assert servers.cluster.acquire_any(sink) is None
    assert sink.endpoint is pools[0]


def test_healthy_again_is_no_longer_suspected(servers: Servers) -> None:
    """A server that was ejected and then unhealthy is back with its health: it is another process by now."""
    servers.fail(0)
    servers.cluster.pools[0].set_healthy(False)
    servers.cluster.pools[0].set_healthy(True)
    assert servers.usable == [0, 1, 2]
    assert (servers.cluster.pools[0].failures, servers.cluster.pools[0].load) == (0, 0)
    assert servers.counts(0) == {"ejected": 1, "readmitted": 1}
    servers.road.wait(20)
    assert servers.usable == [0, 1, 2]


def test_nobody_waits_for_who_is_out(servers: Servers) -> None:
    """Who waited for a server that is left out waits for another one instead."""
    sinks = [Listener() for _ in range(9)]
    for sink in sinks:
        servers.acquire(sink)
    left_behind = list(servers.cluster.pools[0].waiting)
    assert left_behind
    servers.fail(0)
    assert not servers.cluster.pools[0].waiting
    assert all(
        sink.endpoint in servers.cluster.pools[1:] for sink in left_behind if isinstance(sink, Listener)
    )
    assert sum(len(pool.waiting) for pool in servers.cluster.pools) == 9
    for sink in sinks:
        servers.cluster.forget(sink)
    assert sum(len(pool.waiting) for pool in servers.cluster.pools) == 0


def test_retired(servers: Servers) -> None:
    """A retired cluster closes what is idle, ends its ejections, and ejects nobody any more."""
    transport = servers.add_idle(servers.cluster.pools[1])
    servers.fail(0)
    servers.cluster.retire()
    assert transport.closed
    assert servers.counts(0) == {"ejected": 1, "readmitted": 1}
    servers.fail(1, 10)
    servers.road.wait(100)
    assert servers.counts(1) == {}


# The whole road


FAILED: dict[str, bytes] = {
    "502": response(b"", "502 Bad Gateway"),
    "503 in pieces": chunked(b"a", status="503 Service Unavailable"),
    "504": response(b"", "504 Gateway Timeout"),
}


@pytest.mark.parametrize("answer", FAILED.values(), ids=FAILED)
def test_gateway_failures_count(servers: Servers, answer: bytes) -> None:
    """Answers by which a server says that it cannot answer are failures, each once; other answers end the row."""
    road = servers.road
    pool = servers.add_idle(servers.cluster.pools[0])
    for place in (1, 2):
        servers.cluster.pools[place].set_healthy(False)
    for expected in (1, 2):
        road.feed(request())
        road.answer(pool, answer)
        assert servers.cluster.pools[0].failures == expected
    for fine in (response(b"ok"), chunked(b"ok", status="500 Oops")):
        servers.cluster.pools[0].failures = 2
        road.feed(request())
        road.answer(pool, fine)
        assert servers.cluster.pools[0].failures == 0


def test_faults_count(servers: Servers) -> None:
    """Refused, reset, silent and broken: each is one failure. A stale connection and a client that leaves are none."""
    road = servers.road
    pool = servers.cluster.pools[0]
    for place in (1, 2):
        servers.cluster.pools[place].set_healthy(False)
    pool.failures = -10
    road.feed(request())
    road.hang_up(road.connect())
    assert pool.failures == -9
    road.feed(request())
    road.answer(road.connect(), b"nonsense\r\n\r\n")
    assert pool.failures == -8
    road.feed(request())
    model = road.connect()
    road.wait(30.1)
    assert pool.failures == -7
    road.feed(request())
    road.refuse_connect()
    assert pool.failures == -6
    road.wait(0.1)
    model = road.connect()
    road.answer(model, response(b"ok"))
    assert pool.failures == 0
    road.feed(request())
    road.hang_up(model)
    assert pool.failures == 0
    road.leave()
    assert pool.failures == 0


def test_a_refused_connection_is_retried_elsewhere(servers: Servers) -> None:
    """The first server refuses: the same request is answered by another one, and the client never knows."""
    road = servers.road
    road.feed(request())
    refused = road.wanted[0]
    road.refuse_connect()
    road.wait(0.1)
    assert road.wanted[0] is not refused
    road.answer(road.connect(), response(b"here"))
    assert statuses(road.received()) == [200]
    assert codes(road) == {"code_200": 1}


CANARY = ROUTE.replace(
    "role: champion}", "role: champion}\n      - {name: v2, model: two, role: canary, weight: 100}"
)


def test_an_unhealthy_canary_falls_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """With no healthy server of its model a canary's request is answered by the champion, without another try."""
    text = config(route=CANARY).replace(
        "\n\nroutes", '\n  two: {url: ["http://127.0.0.1:9005", "http://127.0.0.1:9006"]}\nroutes'
    )
    servers = Servers(monkeypatch, text)
    road = servers.road
    for pool in road.table.models["two"].pool.pools:
        pool.set_healthy(False)
    road.feed(request(body=b"x"))
    assert road.wanted[0].port in (9001, 9002, 9003)
    road.answer(road.connect(), response(b"ok"))
    assert statuses(road.received()) == [200]
    assert named(road, "model") == {"fault_unhealthy": 1}
    assert road.count("variant", "fallbacks", "wine", "v2", "two") == 1
    assert road.count("variant", "retries", "wine", "v2", "two") == 0


def test_an_unhealthy_champion_is_asked(servers: Servers) -> None:
    """Nobody stands in for the champion: its servers are asked although no check says that they are fit."""
    road = servers.road
    for pool in servers.cluster.pools:
        pool.set_healthy(False)
    road.feed(request(body=b"x"))
    road.answer(road.connect(), response(b"ok"))
    assert statuses(road.received()) == [200]
    assert named(road, "model") == {}
    assert named(road, "endpoint") == {"asked_unhealthy": 1}


def test_a_shadow_judges_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a shadow's copies suffer takes a server from the shadow alone."""
    route = ROUTE + "    shadows: [{model: one}]\n"
    servers = Servers(monkeypatch, config(OUTLIER, route=route))
    shadow: Cluster = servers.road.table.routes[0].shadows[0].pool
    for _ in range(3):
        shadow.pools[0].on_failure()
    assert shadow.pools[0] not in shadow.usable
    assert servers.usable == [0, 1, 2]
    servers.fail(0)
    assert servers.counts(0) == {"ejected": 2}

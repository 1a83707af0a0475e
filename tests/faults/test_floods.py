"""Much of something costs what it weighs: colliding names, bombs, heads that never end, answers that nobody takes."""

import asyncio
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.clock import monotonic, monotonic_ns
from proxy.wire.head import check_request
from proxy.wire.request import common_block
from proxy.wire.response import forwarded_block
from tests.dataplane.road import Road, statuses
from tests.e2e.running import eventually, serve
from tests.faults.world import ASK, MIB, OK, Growth, at_rest, on_linux, proxied, worker_of
from tests.hostile.answers import judge
from tests.hostile.line import End
from tests.hostile.steps import Flood, HoldReading, ReadRequest, Script, Send, Serve, play
from tests.hostile.upstream import hostile_upstream


def least_ns(action: Callable[[], object], tries: int = 7) -> int:
    """Return how long ``action`` takes when nothing disturbs it."""
    times = []
    for _ in range(tries):
        began = monotonic_ns()
        action()
        times.append(monotonic_ns() - began)
    return min(times)


def colliding(count: int) -> list[bytes]:
    """Return names that fall into one place of every small hash table: what a client could send if it knew our seed."""
    names: list[bytes] = []
    number = 0
    while len(names) < count:
        name = b"x-%d" % number
        if hash(name) % 1024 == 7:
            names.append(name)
        number += 1
    return names


def test_names_that_collide() -> None:
    """A head of 128 fields whose names collide, all of them named in Connection, takes as long as any such head."""

    def work(names: list[bytes]) -> None:
        fields = [b"host", b"connection", *names]
        values = [b"h", b", ".join(names), *names]
        lines = [b"%b: %b\r\n" % pair for pair in zip(fields, values, strict=True)]
        check_request(b"GET", b"/", fields, values, lines, http11=True, keep_alive=True)
        common_block(fields, values, lines, client=b"192.0.2.1", host=b"h", trace_lines=b"")
        forwarded_block(200, fields, values, lines)

    usual, hostile = [b"y-%d" % number for number in range(126)], colliding(126)
    assert least_ns(lambda: work(hostile)) < 4 * least_ns(lambda: work(usual))


def test_trailers_and_connection_options_do_not_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred trailer lines behind a head that names thousands of fields cost their sum, not their product."""
    named = b",".join(b"x%d" % number for number in range(6000))
    head = b"POST /v2/models/wine/infer HTTP/1.1\r\nhost: h\r\nconnection: %b\r\ntransfer-encoding: chunked\r\n\r\n"

    def work(trailers: int) -> None:
        road = Road(monkeypatch)
        road.feed(head % named + b"0\r\n")
        model = road.connect()
        road.feed(b"x: y\r\n" * trailers + b"\r\n")
        road.answer(model, OK)
        assert statuses(road.received()) == [200]

    assert least_ns(lambda: work(100)) < 5 * least_ns(lambda: work(1))


def bomb(size: int, layers: int) -> bytes:
    """Return ``size`` zero bytes, compressed so many times."""
    compress = zlib.compressobj(6, zlib.DEFLATED, 31)
    data = b"".join([*(compress.compress(bytes(MIB)) for _ in range(size // MIB)), compress.flush()])
    for _ in range(layers - 1):
        compress = zlib.compressobj(9, zlib.DEFLATED, 31)
        data = compress.compress(data) + compress.flush()
    return data


@on_linux
@pytest.mark.slow
@pytest.mark.parametrize("layers", [1, 2])
async def test_bombs_explode_nowhere(tmp_path: Path, layers: int) -> None:
    """Compressed answers of 128 MiB reach the client as they are; their copies are decoded up to a cap, and counted."""
    data, other = bomb(128 * MIB, layers), bomb(127 * MIB, layers)
    coding = b", ".join([b"gzip"] * layers)
    lines = (b"HTTP/1.1 200 OK", b"content-type: application/json", b"content-encoding: " + coding)
    first, second = (b"\r\n".join([*lines, b"content-length: %d" % len(d), b"", d]) for d in (data, other))
    async with hostile_upstream((Serve(first),)) as model, hostile_upstream((Serve(second),)) as shadow:
        text = f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {tmp_path}/state
models: {{m: {{url: "{model.url}"}}, s: {{url: "{shadow.url}"}}}}
routes:
  - name: r
    match: {{path: "*"}}
    variants: [{{name: v, model: m, role: champion}}]
    shadows: [{{model: s}}]
    compare: {{as: json}}
    log: {{percent: 100, redact: [{{json: /user, action: drop}}]}}
"""
        async with serve(tmp_path, text) as proxy:
            host, port = proxy.listen.removeprefix("http://").split(":")
            async with Growth(proxy.observer_pid()) as observer, Growth(await worker_of(proxy)) as worker:
                for _ in range(5):
                    url = f"http://{host}:{port}/"
                    async with proxy.session.post(url, data=b"{}", auto_decompress=False) as got:
                        assert await got.read() == data
                await proxy.settled()
            assert observer.most < 64 * MIB
            assert worker.most < 64 * MIB
            assert await proxy.total("modelproxy_shadow_requests_total", outcome="uncomparable") == 5
            assert await proxy.total("modelproxy_observer_errors_total") == 0


@pytest.mark.long
@on_linux
@pytest.mark.slow
async def test_requests_without_end_and_answers_untaken(tmp_path: Path) -> None:
    """A client that pipelines for ever and takes no answer is read no further, costs little, and is cut off."""
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 65536\r\n\r\n" + bytes(65536)
    async with proxied(tmp_path, (Serve(answer),), timeouts="client_body: 1s") as world:
        async with Growth(await worker_of(world.proxy)) as growth:
            clients = [await world.client(receive_bytes=4096) for _ in range(20)]
            for client in clients:
                await play((HoldReading(),), client)
            floods: Script = (Flood(ASK * 1000, limit=256 * MIB, patience_s=8),)
            began = monotonic()
            await asyncio.gather(*(play(floods, client) for client in clients))
            assert monotonic() - began < 6
        assert growth.most < 32 * MIB
        assert max(client.sent for client in clients) < 64 * MIB
        await world.proxy.settled()


@on_linux
@pytest.mark.slow
async def test_interim_answers_that_nobody_takes(tmp_path: Path) -> None:
    """A model that sends interim answers without an end to a client that reads nothing is slowed by it."""
    floods: Script = (
        ReadRequest(),
        Flood(b"HTTP/1.1 102 Processing\r\n\r\n" * 1000, limit=1 << 30, patience_s=3),
    )
    async with proxied(tmp_path, floods) as world:
        async with Growth(await worker_of(world.proxy)) as growth:
            client = await world.client(receive_bytes=4096)
            await play((HoldReading(), Send(ASK)), client)
            await world.asked(1)
            await at_rest(lambda: world.model.lines[0].sent)
        assert growth.most < 32 * MIB
        assert world.model.lines[0].sent < 128 * MIB


@pytest.mark.long
@pytest.mark.slow
async def test_a_thousand_slow_heads(tmp_path: Path) -> None:
    """A thousand clients that never end their heads do not slow the one that does, and are all told 408 in time."""
    async with proxied(tmp_path, (Serve(OK),), timeouts="client_head: 3s") as world:
        began = monotonic()
        slow = [await world.client() for _ in range(1000)]
        for number, client in enumerate(slow):
            await client.send(ASK[: 10 + number % 30])
        good = await world.client()
        waits = []
        for _ in range(50):
            asked = monotonic()
            await good.send(ASK)
            assert await good.take(b"\r\n\r\nok", 10)
            waits.append(monotonic() - asked)
        assert sorted(waits)[25] < 0.1
        for client in slow:
            assert await client.until_end(15) is End.CLOSED
            assert judge(bytes(client.received), client.end) == "408 whole, closed"
        assert monotonic() - began < 15

        async def is_counted() -> bool:
            return await world.proxy.total("modelproxy_requests_total", code="408") == 1000

        await eventually(is_counted, "a thousand times 408")

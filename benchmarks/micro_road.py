"""Print what one request costs in Python alone: the whole road with transports that do nothing.

``python -m benchmarks.micro_road [--profile]``: the kernel's share is not in these figures, so they move with the code
and not with the machine's load. The best of several rounds is printed.
"""

import asyncio
import cProfile
import pstats
import sys
from time import process_time_ns
from typing import Any, cast

from proxy.dataplane.client import ClientConnection
from proxy.dataplane.evidence import Evidence
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pools import Pools
from proxy.dataplane.upstream import UpstreamConnection
from proxy.identifiers import RequestIds
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

REQUESTS = 20_000
ROUNDS = 7

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
ANSWER = b'{"model_name":"wine","outputs":[{"name":"predict","datatype":"INT64","shape":[1,1],"data":[1]}]}'
REQUEST = (
    b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
    b"x-user-id: user-%d\r\nContent-Length: " + b"%d\r\n\r\n" % len(BODY) + BODY
)
FRESH_ID = REQUEST.replace(
    b"Content-Length", b"x-request-id: 8f14e45f-ceea-467f-a0e6-%012d\r\nContent-Length"
)
"""As most clients behind a gateway send it: no two heads are the same."""
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:41:08 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n"
    % len(ANSWER)
    + ANSWER
)

SPLIT = """
models: {a: {url: "http://127.0.0.1:1"}, b: {url: "http://127.0.0.1:2"}, c: {url: "http://127.0.0.1:3"}}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: a, role: champion}
      - {name: v2, model: b, role: challenger, weight: 10}
      - {name: v3, model: c, role: canary, weight: 5}
"""
MIRROR = SPLIT + "    shadows: [{model: c, percent: 100}]\n"
FOUR = "[" + ", ".join(f'"http://127.0.0.1:{port}"' for port in (1, 11, 12, 13)) + "]"
SERVERS = SPLIT.replace('"http://127.0.0.1:1"', FOUR)
HASHED = SPLIT.replace('"http://127.0.0.1:1"', f"{FOUR}, balance: hash")


UNCOUNTED = "split, without evidence"

STAGES = (
    ("split", SPLIT, False),
    (UNCOUNTED, SPLIT, False),
    ("split, fresh request ids", SPLIT, True),
    ("mirror", MIRROR, False),
    ("mirror, fresh request ids", MIRROR, True),
    ("split, four servers for the champion", SERVERS, False),
    ("split, four servers, by hash", HASHED, False),
)


class SilentTransport:
    """Takes everything and does nothing."""

    def write(self, data: bytes) -> None: ...
    def close(self) -> None: ...
    def abort(self) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, _name: str) -> tuple[str, int]:
        return ("127.0.0.1", 50_000)


class SilentLoop:
    """Schedules nothing: the stage flushes by hand, once for each read."""

    def call_soon(self, _callback: object) -> None: ...


class SilentShipper:
    """Takes every frame."""

    def ship(self, frame: bytes) -> bool:
        return bool(frame)


class Stage:
    """A worker with one client connection and one connection to each model."""

    def __init__(
        self, text: str, fresh_ids: bool, loop: asyncio.AbstractEventLoop, *, is_evidence: bool = True
    ) -> None:
        self.fresh_ids = fresh_ids
        self.count = 0
        self.loop = loop
        self.index = 0
        self.table: Table = compile_table(parse(text, environ={}), 1)
        self.table.slots = memoryview(bytearray(8 * self.table.layout.size)).cast("Q")
        experiment = self.table.routes[0].experiment
        if experiment is not None and is_evidence:
            slots = memoryview(bytearray(8 * experiment.size)).cast("Q")
            self.table.routes[0].evidence = Evidence(slots, memoryview(bytearray(experiment.cells)))
        self.draining = False
        self.in_flight = 0
        self.ids = RequestIds()
        self.wall_offset_ns = 0
        self.shipper = SilentShipper()
        self._number = 0
        self.outbox = Outbox(cast("Any", SilentLoop()))
        Pools(loop, self.outbox).attach(self.table)
        pools = [m.pool for m in self.table.models.values()] + [s.pool for s in self.table.routes[0].shadows]
        self.connections = []
        for pool in [each for one in pools for each in getattr(one, "pools", (one,))]:
            connection = UpstreamConnection(pool)
            connection.connection_made(cast("Any", SilentTransport()))
            pool.idle.append(connection)
            self.connections.append(connection)
        self.client = ClientConnection(cast("Any", self))
        self.client.connection_made(cast("Any", SilentTransport()))

    def next_number(self) -> int:
        self._number += 1
        return self._number

    def on_client_connected(self, _connection: object) -> bool:
        return True

    def run(self, count: int) -> None:
        feed, flush, connections = self.client.data_received, self.outbox.flush, self.connections
        fresh = self.fresh_ids
        for i in range(self.count, self.count + count):
            feed(FRESH_ID % (i % 1000, i) if fresh else REQUEST % (i % 1000))
            flush()
            for connection in connections:
                if connection.sink is not None:
                    connection.data_received(RESPONSE)
            flush()
        self.count += count


async def main() -> None:
    loop = asyncio.get_running_loop()
    for name, text, fresh_ids in STAGES:
        stage = Stage(text, fresh_ids, loop, is_evidence=name != UNCOUNTED)
        stage.run(2000)
        best = min(_round(stage) for _ in range(ROUNDS))
        print(f"{name}: {best:.2f} µs a request")
        if "--profile" in sys.argv:
            profile = cProfile.Profile()
            profile.runcall(stage.run, REQUESTS)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


def _round(stage: Stage) -> float:
    start = process_time_ns()
    stage.run(REQUESTS)
    return (process_time_ns() - start) / REQUESTS / 1000


if __name__ == "__main__":
    asyncio.run(main())

"""Print what one request costs in Python alone: the whole road with transports that do nothing.

``python -m benchmarks.micro_road [--profile]``: the kernel's share is not in these figures, so they move with the code
and not with the machine's load. The best of several rounds is printed.
"""

import asyncio
import cProfile
import pstats
import sys
from itertools import pairwise
from pathlib import Path
from time import process_time_ns
from typing import Any, NamedTuple, cast

from proxy.dataplane.client import ClientConnection
from proxy.dataplane.evidence import Evidence
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pools import Pools
from proxy.dataplane.shipper import Shipper
from proxy.dataplane.upstream import UpstreamConnection
from proxy.identifiers import RequestIds
from proxy.routing.table import Table, compile_table
from proxy.settings import parse

__all__ = ["SCRIPTS", "Script", "Stage"]

REQUESTS = 20_000
ROUNDS = 7

BODY = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":[5.1,3.5,1.4,0.2]}]}'
ANSWER = b'{"model_name":"wine","outputs":[{"name":"predict","datatype":"INT64","shape":[1,1],"data":[1]}]}'
LONG = b'{"inputs":[{"name":"x","shape":[1,2544],"datatype":"FP32","data":[' + b"1.5," * 2543 + b"1.5]}]}"
"""10 KiB."""


def request_head(length: int, *, is_fresh: bool = False) -> bytes:
    """Return the head of a request with ``%d`` for the user, and one more for the request id if that is fresh."""
    fresh = b"x-request-id: 8f14e45f-ceea-467f-a0e6-%012d\r\n" if is_fresh else b""
    return (
        b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
        b"x-user-id: user-%d\r\n" + fresh + b"Content-Length: " + str(length).encode() + b"\r\n\r\n"
    )


def response(body: bytes) -> bytes:
    """Return what a model server answers."""
    return (
        b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:41:08 GMT\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n"
        % len(body)
        + body
    )


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nServer: uvicorn\r\nDate: Sat, 21 Nov 2026 03:41:08 GMT\r\n"
    b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
)
EVENT = (
    b'data: {"id":"c-%08d","object":"chat.completion.chunk","choices":[{"delta":{"content":" grape"}}]}\n\n'
)
EVENT_CHUNK = b"%x\r\n" % len(EVENT % 0) + EVENT + b"\r\n"

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
ALONE = MIRROR + "    compare: {as: none}\n"
KEEPING = SPLIT + "    log: {keep: [errors, {slow: 10s}]}\n"
LOOKING = SPLIT + "    log: {keep: [{when: fault}]}\n"
ROLLOUT = SPLIT.replace("role: canary, weight: 5", "role: canary, rollout: {steps: [5, 100]}")
FOUR = "[" + ", ".join(f'"http://127.0.0.1:{port}"' for port in (1, 11, 12, 13)) + "]"
SERVERS = SPLIT.replace('"http://127.0.0.1:1"', FOUR)
HASHED = SPLIT.replace('"http://127.0.0.1:1"', f"{FOUR}, balance: hash")


class Script(NamedTuple):
    """What goes over the road, again and again."""

    name: str
    config: str
    is_fresh: bool = False
    """Each request has an id of its own, as most clients behind a gateway send it: no two heads are the same."""
    is_evidence: bool = True
    body: bytes = BODY
    answer: bytes = ANSWER
    is_stream: bool = False
    """One answer that goes on and on: what is counted is an event of it, a read of its own."""
    is_observed: bool = True
    """False: there is no observer, and what is for it waits in the worker."""


SCRIPTS = (
    Script("split", SPLIT),
    Script("split, without evidence", SPLIT, is_evidence=False),
    Script("split, fresh request ids", SPLIT, is_fresh=True),
    Script("mirror", MIRROR),
    Script("mirror, fresh request ids", MIRROR, is_fresh=True),
    Script("mirror, no observer", MIRROR, is_observed=False),
    Script("mirror, not compared", ALONE),
    Script("split, errors kept", KEEPING),
    Script("split, looked at by an expression", LOOKING),
    Script("rollout", ROLLOUT),
    Script("split, 10 KiB each way", SPLIT, body=LONG, answer=LONG),
    Script("split, four servers for the champion", SERVERS),
    Script("split, four servers, by hash", HASHED),
    Script("stream, an event", SPLIT, is_stream=True),
    Script("stream, mirrored, an event", MIRROR, is_stream=True),
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

    def __init__(self, script: Script, loop: asyncio.AbstractEventLoop) -> None:
        self.is_fresh, self.is_stream = script.is_fresh, script.is_stream
        self.head = request_head(len(script.body), is_fresh=script.is_fresh)
        self.body = script.body
        self.response = response(script.answer)
        self.count = 0
        self.loop = loop
        self.index = 0
        self.table: Table = compile_table(parse(script.config, environ={}), 1)
        self.table.slots = memoryview(bytearray(8 * self.table.layout.size)).cast("Q")
        experiment = self.table.routes[0].experiment
        if experiment is not None and script.is_evidence:
            slots = memoryview(bytearray(8 * experiment.size)).cast("Q")
            cells = memoryview(bytearray(2 * experiment.cells)).cast("H")
            self.table.routes[0].evidence = Evidence(slots, cells, len(experiment.arms), 0)
        self.draining = False
        self.in_flight = 0
        self.ids = RequestIds()
        self.wall_offset_ns = 0
        self.is_observed = script.is_observed
        self.shipper: SilentShipper | Shipper = SilentShipper()
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

    def forget(self) -> None:
        """Let what waits for an observer go: a round fills most of the room that there is for it."""
        if not self.is_observed:
            self.shipper = Shipper(self.loop, Path("nowhere"), bytes)

    def run(self, count: int) -> None:
        """Send ``count`` requests of a thousand users in turn and answer each; of a stream, that many events."""
        if self.is_stream:
            self._stream(count)
            return
        feed, flush, connections = self.client.data_received, self.outbox.flush, self.connections
        fresh, head, body, response = self.is_fresh, self.head, self.body, self.response
        for i in range(self.count, self.count + count):
            feed((head % (i % 1000, i) if fresh else head % (i % 1000)) + body)
            flush()
            for connection in connections:
                if connection.sink is not None:
                    connection.data_received(response)
            flush()
        self.count += count

    def _stream(self, count: int) -> None:
        """Send as many events; the first run begins the stream."""
        if not self.count:
            self.client.data_received(self.head % 1 + self.body)
            self.outbox.flush()
            for connection in self.connections:
                if connection.sink is not None:
                    connection.data_received(STREAM_HEAD)
            self.outbox.flush()
        flush = self.outbox.flush
        streaming = next(connection for connection in self.connections if connection.sink is not None)
        for i in range(self.count, self.count + count):
            streaming.data_received(EVENT_CHUNK % i)
            flush()
        self.count += count


async def main() -> None:
    loop = asyncio.get_running_loop()
    for script in SCRIPTS:
        stage = Stage(script, loop)
        stage.run(2000)
        best = min(_round(stage) for _ in range(ROUNDS))
        print(f"{script.name}: {best:.2f} µs{'' if script.is_stream else ' a request'}")
        if "--profile" in sys.argv:
            profile = cProfile.Profile()
            profile.runcall(stage.run, REQUESTS)
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    best, turn, count = min([await _catch_up(loop) for _ in range(ROUNDS)])
    print(
        f"an observer that comes: {best:.1f} ms for {count:,} frames that waited, {turn:.2f} ms in one turn at most"
    )


class CountingTransport(SilentTransport):
    """Takes everything, and says how much that was."""

    taken = 0

    def write(self, data: bytes) -> None:
        self.taken += len(data)


async def _catch_up(loop: asyncio.AbstractEventLoop) -> tuple[float, float, int]:
    """Return in how many ms an observer that comes is given the small frames that wait for one, how many of these it is
    kept busy without a pause, and how many frames wait at most."""
    shipper, transport = Shipper(loop, Path("nowhere"), bytes), CountingTransport()
    count = size = 0
    while shipper.ship(frame := b"%-313d" % count):  # as long as one of "mirror" is on average
        count += 1
        size += len(frame)
    turns = [process_time_ns()]
    shipper.connection_made(cast("Any", transport))
    turns.append(process_time_ns())
    while transport.taken < size:
        await asyncio.sleep(0)
        turns.append(process_time_ns())
    longest = max(after - before for before, after in pairwise(turns))
    return (turns[-1] - turns[0]) / 1e6, longest / 1e6, count


def _round(stage: Stage) -> float:
    stage.forget()
    start = process_time_ns()
    stage.run(REQUESTS)
    return (process_time_ns() - start) / REQUESTS / 1000


if __name__ == "__main__":
    asyncio.run(main())

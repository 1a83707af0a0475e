"""What a request costs in Python, without a socket: the worker's protocols between transports that do nothing.

``make bench`` shows what matters, but half of it is the kernel's, and it wavers with the machine. This shows our own
half: the best of several repeats, and how many functions a request calls, which does not waver at all.

Run from the project's folder: ``python -m benchmarks.micro_request [--profile]``.
"""

import asyncio
import cProfile
import pstats
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

import click
import uvloop

from benchmarks.contenders import ANSWERS
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.pools import Pools
from proxy.dataplane.upstream import Pool, UpstreamConnection
from proxy.dataplane.worker import Worker
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from proxy.tally import open_block

__all__ = ["main"]

CONFIG = """
models:
  v1: {url: "http://127.0.0.1:9001"}
  v2: {url: "http://127.0.0.1:9002"}
  v3: {url: "http://127.0.0.1:9003"}
  shadow: {url: "http://127.0.0.1:9004"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: v1, role: champion}
      - {name: v2, model: v2, role: challenger, weight: 10}
      - {name: v3, model: v3, role: canary, weight: 5}
    shadows: %s
"""
BODY = (
    b'{"inputs":[{"name":"input-0","datatype":"FP32","shape":[1,4],"data":[13.24,2.59,2.87,21.02]}],"id":"b"}'
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:00:00 GMT\r\n"
    b"Content-Type: application/json\r\nContent-Length: %d\r\nConnection: keep-alive\r\n\r\n%b"
) % (len(ANSWERS[0]), ANSWERS[0].encode())
USERS = 1000
REPEATS = 7


def requests() -> list[bytes]:
    """Return what wrk sends in ``make bench``."""
    head = (
        b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nX-User-Id: user-%d\r\n"
        b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
    )
    return [head % (user, len(BODY), BODY) for user in range(USERS)]


class NullTransport(asyncio.Transport):
    """Swallows what is written, and remembers that something was."""

    def __init__(self, written: list[Any], protocol: Any) -> None:
        super().__init__({"peername": ("127.0.0.1", 50_000)})
        self._written = written
        self._protocol = protocol
        protocol.connection_made(self)

    def write(self, _data: bytes | bytearray | memoryview) -> None:
        self._written.append(self._protocol)

    def is_closing(self) -> bool:
        return False

    def pause_reading(self) -> None:
        raise RuntimeError("nothing here is ever full")


class Road:
    """One client connection and one connection to each model, all in place."""

    def __init__(self, run_dir: Path, shadows: str) -> None:
        self._asked: list[Any] = []
        self.answered: list[Any] = []
        worker = Worker(0, run_dir, None)  # type: ignore[arg-type]  # never listens
        worker.table = table = build_table(run_dir, shadows)
        pools = Pools(worker.loop)
        pools.attach(table)
        for model in table.models.values():
            self._connect(model.pool)
        for shadow in table.routes[0].shadows:
            self._connect(shadow.pool)
        self._client = ClientConnection(worker)
        NullTransport(self.answered, self._client)

    def _connect(self, pool: Pool) -> None:
        connection = UpstreamConnection(pool)
        NullTransport(self._asked, connection)
        pool.idle.append(connection)

    def run(self, requests: list[bytes]) -> None:
        """Carry each request to its model and the answer back."""
        receive, asked = self._client.data_received, self._asked
        for request in requests:
            receive(request)
            while asked:
                asked.pop().data_received(RESPONSE)


def build_table(run_dir: Path, shadows: str) -> Table:
    """Return a table with its counters in shared memory, as in a worker."""
    table = compile_table(parse(CONFIG % shadows, environ={}), 1)
    table.slots = open_block(run_dir / f"block-{len(shadows)}", table.layout.size).slots
    return table


def count_calls(run: Callable[[], None]) -> tuple[int, int]:
    """Return how many Python and how many C functions ``run`` calls."""
    counts = {"call": 0, "c_call": 0}

    def count(_frame: FrameType, event: str, _argument: object) -> None:
        if event in counts:
            counts[event] += 1

    sys.setprofile(count)
    try:
        run()
    finally:
        sys.setprofile(None)
    return counts["call"], counts["c_call"]


def best_us(road: Road, sent: list[bytes]) -> float:
    """Return the microseconds for each request in the best of the repeats."""
    times = []
    for _ in range(REPEATS):
        began = time.process_time_ns()
        for _ in range(10):
            road.run(sent)
        times.append(time.process_time_ns() - began)
    return min(times) / 1e3 / (10 * len(sent))


async def measure(profile: bool) -> None:
    """Print one line for each kind of road."""
    sent = requests()
    with tempfile.TemporaryDirectory() as name:
        for title, shadows in (("split", "[]"), ("split and mirrored", "[{model: shadow}]")):
            road = Road(Path(name), shadows)
            road.run(sent)
            if len(road.answered) != USERS:
                raise RuntimeError(f"expected {USERS} answers, got {len(road.answered)}")
            us = best_us(road, sent)
            calls, c_calls = count_calls(lambda road=road: road.run(sent))  # type: ignore[misc]
            click.echo(
                f"{title:20} {us:6.2f} µs  {calls / USERS:5.1f} Python calls  {c_calls / USERS:5.1f} C calls"
            )
            if profile:
                profiler = cProfile.Profile()
                profiler.runcall(road.run, sent * 10)
                pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(25)


@click.command()
@click.option("--profile", is_flag=True, help="Also show where the time goes, by function.")
def main(profile: bool) -> None:
    """Measure the worker's own part of a request."""
    uvloop.run(measure(profile))


if __name__ == "__main__":
    main()

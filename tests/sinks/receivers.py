"""Where each kind of sink can be pointed in a test: a directory, or a receiver on this machine that keeps what it gets.

``RECEIVERS`` has an entry for each kind; :func:`test_every_kind_has_a_receiver` holds it against the settings. Each is
an async context manager over a directory of the test's own. Its value has ``settings``, an entry of
``payload_log.sinks``, and ``received()``, all bytes that have arrived so far, decompressed and decoded so far that a
text in a record is found in them as it stands there.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pyarrow.parquet as pq
from aiohttp import web
from backports import zstd
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from proxy.clock import monotonic

__all__ = ["RECEIVERS", "HttpReceiver", "MockCluster", "Receiver", "http_receiver", "unzstd"]


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somewhere records can go."""

    settings: dict[str, Any]
    """An entry of ``payload_log.sinks``."""
    received: Callable[[], bytes]
    """Returns what has arrived."""


def unzstd(data: bytes) -> bytes:
    """Return the content of all frames."""
    return zstd.decompress(data)


@asynccontextmanager
async def jsonl(state_dir: Path) -> AsyncIterator[Receiver]:
    """Files of lines, compressed, in a directory of their own."""

    def received() -> bytes:
        return b"".join(unzstd(path.read_bytes()) for path in sorted((state_dir / "packed").glob("*.zst")))

    yield Receiver({"kind": "jsonl", "name": "packed", "dir": "packed", "compression": "zstd"}, received)


class HttpReceiver:
    """An HTTP server that keeps what it is sent, and can refuse it."""

    def __init__(self) -> None:
        self.statuses: list[int] = []
        """Of the next answers; then what ``verdict`` says."""
        self.verdict: Callable[[bytes], int] = lambda _: 200
        """Status of the answer to a body."""
        self.answer_headers: dict[str, str] = {}
        self.answer = b""
        self.got: list[tuple[str, Mapping[str, str], bytes]] = []
        """Path, headers and body of what was taken, in the order of their coming."""
        self.attempts = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        """Answer one request."""
        self.attempts += 1
        body = await request.read()
        await self.gate.wait()
        status = self.statuses.pop(0) if self.statuses else self.verdict(body)
        if 200 <= status < 300:
            self.got.append((request.path_qs, request.headers, body))
        return web.Response(status=status, headers=self.answer_headers, body=self.answer)


@asynccontextmanager
async def http_receiver() -> AsyncIterator[HttpReceiver]:
    """Run an :class:`HttpReceiver` on a free port."""
    receiver = HttpReceiver()
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", receiver.take)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield receiver
    finally:
        receiver.gate.set()
        await runner.cleanup()


@asynccontextmanager
async def cloudevents(_: Path) -> AsyncIterator[Receiver]:
    """A listener for events in the binary mode."""
    async with http_receiver() as receiver:

        def received() -> bytes:
            attributes = [
                f"{name}: {unquote(value)}\n".encode()
                for _, headers, _ in receiver.got
                for name, value in headers.items()
            ]
            return b"".join([*attributes, *(body for _, _, body in receiver.got)])

        yield Receiver({"kind": "cloudevents", "url": f"{receiver.url}/events"}, received)


class MockCluster:
    """librdkafka's mock cluster of three brokers, on sockets of this machine. It keeps messages in memory."""

    def __init__(self) -> None:
        self.brokers: list[str] = []
        self._topics = 0

    def __enter__(self) -> "MockCluster":
        # The cluster lives as long as the client that was told to make it.
        self._owner = Producer({"bootstrap.servers": "mock", "test.mock.num.brokers": 3})
        found = self._owner.list_topics(timeout=10).brokers.values()
        self.brokers = [f"{broker.host}:{broker.port}" for broker in found]
        return self

    def __exit__(self, *_: object) -> None:
        del self._owner

    def topic(self) -> str:
        """Return the name of a topic that nobody has used."""
        self._topics += 1
        return f"records-{self._topics}"

    def read(self, topic: str, count: int, *, rest: bool = False) -> list[Any]:
        """Return ``count`` messages of ``topic`` from its beginning; with ``rest`` those that come right behind too."""
        options = {
            "bootstrap.servers": ",".join(self.brokers),
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
        consumer = Consumer(options)
        try:
            partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
            consumer.assign([TopicPartition(topic, partition, OFFSET_BEGINNING) for partition in partitions])
            messages: list[Any] = []
            deadline = monotonic() + 20
            while len(messages) < count:
                assert monotonic() < deadline, f"{len(messages)} of {count} messages"
                messages += [each for each in consumer.consume(count, timeout=0.2) if each.error() is None]
            while rest and (more := consumer.consume(1000, timeout=1.0)):
                messages += [each for each in more if each.error() is None]
            return messages
        finally:
            consumer.close()


@asynccontextmanager
async def kafka(_: Path) -> AsyncIterator[Receiver]:
    """A mock cluster."""
    with MockCluster() as cluster:

        def received() -> bytes:
            messages = cluster.read("records", 1, rest=True)
            headers = [value for message in messages for _, value in message.headers()]
            return b"".join([*headers, *(message.key() + message.value() for message in messages)])

        yield Receiver({"kind": "kafka", "brokers": cluster.brokers, "topic": "records"}, received)


@asynccontextmanager
async def parquet(state_dir: Path) -> AsyncIterator[Receiver]:
    """Partitioned files."""

    def received() -> bytes:
        rows = [
            row
            for path in (state_dir / "parquet").rglob("*.parquet")
            for row in pq.ParquetFile(path).read().to_pylist()
        ]
        return repr(rows).encode() + b"".join(str(p).encode() for p in (state_dir / "parquet").rglob("*"))

    yield Receiver({"kind": "parquet", "roll_every": "1s"}, received)


@asynccontextmanager
async def otlp(_: Path) -> AsyncIterator[Receiver]:
    """A collector of log records."""
    async with http_receiver() as receiver:
        # A protobuf message holds its texts as they are.
        yield Receiver(
            {"kind": "otlp", "url": receiver.url}, lambda: b"".join(body for _, _, body in receiver.got)
        )


RECEIVERS: dict[str, Callable[[Path], AbstractAsyncContextManager[Receiver]]] = {
    "jsonl": jsonl,
    "parquet": parquet,
    "cloudevents": cloudevents,
    "kafka": kafka,
    "otlp": otlp,
}
"""Kind → what makes a receiver, given the proxy's ``state_dir``."""

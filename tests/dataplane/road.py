"""The whole road without a socket: a client's transport at one end, model servers' transports at the other."""

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import pytest

from proxy.dataplane import attempts as attempts_module
from proxy.dataplane import client as client_module
from proxy.dataplane import endings as endings_module
from proxy.dataplane import inflight as inflight_module
from proxy.dataplane import mirror as mirror_module
from proxy.dataplane import pool as pool_module
from proxy.dataplane import shadow_budget as shadow_budget_module
from proxy.dataplane import tunnel as tunnel_module
from proxy.dataplane import upstream as upstream_module
from proxy.dataplane.client import ClientConnection
from proxy.dataplane.outbox import Outbox
from proxy.dataplane.pool import Pool
from proxy.dataplane.pools import Pools
from proxy.dataplane.upstream import UpstreamConnection
from proxy.exchange import Details, Primary, ShadowPart, parse_frames
from proxy.model import Fault
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from proxy.settled import WITHHELD, read_settled, settle
from proxy.tally import Key
from tests.fakes import FakeLoop, FakeTransport

__all__ = [
    "CONFIG",
    "FEEDS",
    "JSON_UNIT",
    "LIMITS",
    "REST",
    "TRAILING",
    "Answer",
    "FakeShipper",
    "FakeWorker",
    "Feed",
    "Road",
    "build_table",
    "chunked",
    "codes",
    "feeds",
    "finish",
    "is_lingering",
    "named",
    "read_answers",
    "request",
    "response",
    "statuses",
    "told",
    "unrouted",
    "warm",
    "warmed",
]

CONFIG = """
models:
  one: {url: "http://127.0.0.1:9001", max_connections: 4, max_pending: 8}
  two: {url: "http://127.0.0.1:9002/v9/other"}
  three: {url: "http://127.0.0.1:9003"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    retry: []
    variants:
      - {name: v1, model: one, role: champion}
"""


def build_table(text: str, version: int = 1) -> Table:
    """Return the table of a configuration, as a worker gets it, with its counters in a plain list."""
    table = compile_table(read_settled(settle(parse(text, environ={}), WITHHELD)), version)
    table.slots = [0] * table.layout.size
    return table


class FakeShipper:
    """Keeps frames instead of sending them; refuses when told to."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.accepts = True

    def ship(self, frame: bytes) -> bool:
        if self.accepts:
            self.frames.append(frame)
        return self.accepts

    def parts(self) -> list[Primary | ShadowPart]:
        return cast("list[Primary | ShadowPart]", parse_frames(bytearray(b"".join(self.frames))))


class CountingIds:
    def __init__(self) -> None:
        self.count = 0

    def fresh(self) -> bytes:
        self.count += 1
        return b"id-%d" % self.count


class FakeWorker:
    """What connections need of a worker."""

    def __init__(self, loop: FakeLoop, table: Table) -> None:
        self.loop = loop
        self.index = 0
        self.table = table
        self.draining = False
        self.outbox = Outbox(cast("asyncio.AbstractEventLoop", loop))
        self.ids = CountingIds()
        self.wall_offset_ns = 0
        self.date_line = b"date: Sat, 21 Nov 2026 06:00:00 GMT\r\n"
        self.shipper = FakeShipper()
        self.bugs: list[BaseException] = []
        self.connected = 0
        self.numbers = 0
        self.in_flight = 0

    def next_number(self) -> int:
        self.numbers += 1
        return self.numbers

    def on_client_connected(self, connection: ClientConnection) -> bool:
        self.connected += 1
        most: int = self.table.settings.limits.connections
        return self.connected <= most

    def on_client_disconnected(self, connection: ClientConnection) -> None:
        self.connected -= 1

    @property
    def connections(self) -> int:
        return self.connected

    def on_bug(self, error: BaseException) -> None:
        self.bugs.append(error)


class Road:
    """One client connection in front of fake model servers. Connects are answered by hand, see ``connect``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, text: str = CONFIG) -> None:
        self.loop = FakeLoop()
        for module in (
            attempts_module,
            tunnel_module,
            client_module,
            inflight_module,
            endings_module,
            mirror_module,
            pool_module,
            shadow_budget_module,
            upstream_module,
        ):
            monkeypatch.setattr(module, "monotonic_ns", self.loop.monotonic_ns)
        self.wanted: list[Pool] = []
        monkeypatch.setattr(pool_module, "spawn", self._spawn)
        self.table = build_table(text)
        self.worker = FakeWorker(self.loop, self.table)
        self.pools = Pools(cast("asyncio.AbstractEventLoop", self.loop), self.worker.outbox)
        self.pools.attach(self.table)
        self.upstreams: list[FakeTransport] = []
        self.clients: list[FakeTransport] = []
        self.transport = self.add_client()
        self.client = cast("ClientConnection", self.transport.protocol)

    def _spawn(self, coro: Any, *, name: str) -> None:
        self.wanted.append(coro.cr_frame.f_locals["self"])
        coro.close()

    def swap(self, text: str) -> Table:
        """Publish another configuration, as a reload does."""
        self.table = build_table(text, self.table.version + 1)
        self.pools.attach(self.table)
        self.worker.table = self.table
        return self.table

    def add_client(self, peer: str = "192.0.2.7") -> FakeTransport:
        """Open another client connection."""
        transport = FakeTransport(ClientConnection(cast("Any", self.worker)), (peer, 50_000))
        self.clients.append(transport)
        self.settle()
        return transport

    def settle(self) -> None:
        """Run what is scheduled for now, and end the connections that were closed and have nothing left to write."""
        while True:
            self.loop.run_soon()
            ended = [t for t in (*self.clients, *self.upstreams) if t.closed and not t.lost]
            ended = [t for t in ended if t.aborted or not t.unsent]
            if not ended:
                return
            for transport in ended:
                transport.lose()

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.advance(seconds)
        self.settle()

    def feed(self, *pieces: bytes, to: FakeTransport | None = None) -> None:
        """The client sends ``pieces``, each of which arrives alone, until it is not read any more."""
        transport = to or self.transport
        for piece in pieces:
            if not transport.closed:
                transport.protocol.data_received(piece)
                self.settle()

    def received(self, by: FakeTransport | None = None) -> bytes:
        """Return what the client got since the last call."""
        return (by or self.transport).take()

    def leave(self, who: FakeTransport | None = None) -> None:
        """The client is gone."""
        (who or self.transport).lose()
        self.settle()

    def connect(self) -> FakeTransport:
        """Grant the oldest wish for a connection; return the model server's end."""
        pool = self.wanted.pop(0)
        connection = UpstreamConnection(pool)
        transport = FakeTransport(connection, ("127.0.0.1", pool.port))
        self.upstreams.append(transport)
        pool.on_connected(connection)
        self.settle()
        return transport

    def refuse_connect(self, fault: Fault = Fault.CONNECT) -> None:
        """Let the oldest wish for a connection fail."""
        self.wanted.pop(0).on_unconnected(fault)
        self.settle()

    def answer(self, transport: FakeTransport, *pieces: bytes) -> None:
        """The model server sends ``pieces``, each of which arrives alone, until it is not read any more."""
        for piece in pieces:
            if not transport.closed:
                transport.protocol.data_received(piece)
                self.settle()

    def hang_up(self, transport: FakeTransport, error: Exception | None = None) -> None:
        """The model server closes (no ``error``) or resets its connection."""
        transport.lose(error)
        self.settle()

    def counts(self) -> dict[Key, int]:
        """Return the non-zero counts of the current table."""
        return dict(self.table.layout.counts(self.table.slots))

    def count(self, kind: str, field: str, *labels: str) -> int:
        """Return one count."""
        return self.counts().get((kind, field, *labels), 0)


def request(
    path: str = "/v2/models/wine/infer", body: bytes = b"", method: str = "POST", **headers: str
) -> bytes:
    """Return a request with ``content-length``; underscores in header names become hyphens."""
    lines = [f"{method} {path} HTTP/1.1", "Host: proxy.test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    if body or method == "POST":
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def response(body: bytes = b"ok", status: str = "200 OK", **headers: str) -> bytes:
    """Return a response with ``content-length``."""
    lines = [f"HTTP/1.1 {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def chunked(*pieces: bytes, status: str = "", trailer: str = "", **headers: str) -> bytes:
    """Return a chunked request, or with a ``status`` a chunked response, of these pieces."""
    lines = [f"HTTP/1.1 {status}"] if status else ["POST /v2/models/wine/infer HTTP/1.1", "Host: proxy.test"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    lines += ["Transfer-Encoding: chunked", "", ""]
    body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return "\r\n".join(lines).encode() + body + b"0\r\n" + trailer.encode() + b"\r\n"


TRAILING, REST = b"GET /tra", b"iling HTTP/1.1\r\nHost: proxy.test\r\n\r\n"
"""A request to nowhere, in two pieces."""

Feed = Callable[[bytes], list[bytes]]
"""Cuts what is sent into what arrives."""

FEEDS: dict[str, Feed] = {
    "whole": lambda data: [data],
    "byte by byte": lambda data: [data[i : i + 1] for i in range(len(data))],
    "with trailing bytes": lambda data: [data + TRAILING],
}
"""The ways in which every message is fed: what comes of it must not depend on them."""


class Answer(NamedTuple):
    """A response as a client reads it."""

    status: int
    fields: dict[bytes, bytes]
    """By lower-case name."""
    body: bytes
    is_whole: bool = True
    trailers: tuple[bytes, ...] = ()
    """Lines, each with its CRLF."""


def read_answers(data: bytes) -> list[Answer]:
    """Read responses until ``data`` ends; one without a length reaches to the end and is not whole."""
    answers = []
    while data:
        trailers: tuple[bytes, ...] = ()
        head, _, data = data.partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        pairs = [line.partition(b": ") for line in lines]
        fields = {name.lower(): value for name, _, value in pairs}
        status = int(status_line.split(b" ")[1])
        if status < 200 or status in (204, 304):
            body, is_whole = b"", True
        elif fields.get(b"transfer-encoding") == b"chunked":
            body, is_whole, trailers, data = _read_chunks(data)
        else:
            length = int(fields.get(b"content-length", -1))
            body, data = (data[:length], data[length:]) if length >= 0 else (data, b"")
            is_whole = len(body) == length
        answers.append(Answer(status, fields, body, is_whole, trailers))
    return answers


def _read_chunks(data: bytes) -> tuple[bytes, bool, tuple[bytes, ...], bytes]:
    pieces: list[bytes] = []
    while data:
        size_line, _, data = data.partition(b"\r\n")
        size = int(size_line, 16)
        if not size:
            trailer, _, rest = (b"\r\n" + data).partition(b"\r\n\r\n")
            trailers = tuple(line + b"\r\n" for line in trailer.split(b"\r\n")[1:])
            return b"".join(pieces), True, trailers, rest
        pieces.append(data[:size])
        data = data[size + 2 :]
    return b"".join(pieces), False, (), b""


def told(part: Primary) -> Details:
    """Return what is left only of an exchange that is logged or traced."""
    assert part.details is not None
    return part.details


warmed = pytest.mark.parametrize("is_warm", [False, True], ids=["cold", "warm"])
feeds = pytest.mark.parametrize("feed", FEEDS.values(), ids=FEEDS.keys())
JSON_UNIT = CONFIG.replace("header:x-user-id", '"json:/user"')
LIMITS = "limits: {head: 1KiB, headers: 8, body: 100B, copy: 1KiB, connections: 2}\n" + CONFIG


def statuses(data: bytes) -> list[int]:
    return [answer.status for answer in read_answers(data)]


def unrouted(road: Road) -> dict[str, int]:
    """Return how often each code was answered without a route."""
    return {key[1]: number for key, number in road.counts().items() if key[0] == "unrouted"}


def codes(road: Road) -> dict[str, int]:
    """Return how often each code was answered by the only variant."""
    return {
        key[1]: number
        for key, number in road.counts().items()
        if key[0] == "variant" and key[1].startswith("code_")
    }


def finish(road: Road, feed: Feed) -> None:
    """Complete the request whose beginning trailed behind, if that was the feed."""
    if feed is FEEDS["with trailing bytes"]:
        road.feed(REST)
        assert statuses(road.received()) == [404]


def warm(road: Road, is_warm: bool) -> FakeTransport | None:
    """Leave the model's pool with a kept connection, or without."""
    if not is_warm:
        return None
    transport = road.add_client()
    road.feed(request("/v2/models/wine/warm"), to=transport)
    model = road.connect()
    road.answer(model, response(b"0"))
    road.leave(transport)
    model.take()
    return model


def is_lingering(transport: FakeTransport) -> bool:
    return transport.eof_written and not transport.is_closing()


def named(road: Road, kind: str, prefix: str = "") -> dict[str, int]:
    """Return the counts of a kind, by field, added up over its labels."""
    found: dict[str, int] = {}
    for key, number in road.counts().items():
        if key[0] == kind and key[1].startswith(prefix):
            found[key[1]] = found.get(key[1], 0) + number
    return found

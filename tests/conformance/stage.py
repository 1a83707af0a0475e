"""A real proxy between a scripted client and a scripted model server, which write raw bytes and keep what they get.

Nothing here sleeps. Whether the proxy has done all that it will do is found out by its *pulse*: requests over another
connection to another model. The proxy has one worker, and that works off what arrives in the order in which it
arrives; so when several pulses in a row have come back and neither side has seen anything meanwhile, everything that
was sent has had its effect (but for what waits for a timer).
"""

import asyncio
import signal
import socket
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conformance.reading import Message, MessageReader

__all__ = ["CLOSE", "CUT", "OK", "Outcome", "Script", "Seen", "Stage", "open_stage"]

CLOSE = b"<close>"
"""In place of bytes: the writer closes its connection."""
CUT = b"<reset>"
"""In place of bytes: the writer resets its connection."""
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

QUIET_PULSES = 4
"""So many without an event are quiet: a connection that the proxy opens takes some turns of its loop."""

CONFIG = """
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {state}
timeouts: {{client_head: 60s, client_body: 60s}}
limits: {{head: 8KiB, headers: 64, body: 64KiB}}
models:
  model: {{url: "http://127.0.0.1:{model}"}}
  heart: {{url: "http://127.0.0.1:{heart}"}}
  dark: {{url: "http://127.0.0.1:{dark}"}}
routes:
  - name: pulse
    match: {{path: /pulse, host: pulse.test}}
    variants: [{{name: heart, model: heart, role: champion}}]
  - name: all
    match: {{path: "*"}}
    variants: [{{name: v1, model: model, role: champion}}]
    shadows: {shadows}
"""

_PULSE = b"GET /pulse HTTP/1.1\r\nHost: pulse.test\r\n\r\n"
_BEAT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
_SWITCHES = b"HTTP/1.1 101 "
_PATIENCE_S = 30.0


@dataclass(frozen=True)
class Script:
    """What the model server does with one request."""

    at_head: tuple[bytes, ...] = ()
    """Written when the head has come, each piece alone."""
    at_end: tuple[bytes, ...] = (OK,)
    """Written when the request is whole, each piece alone."""


@dataclass
class Seen:
    """One connection that the proxy made to the model server."""

    raw: bytes = b""
    requests: list[Message] = field(default_factory=list)
    error: str = ""
    """Why what came is not a row of requests."""
    closed: bool = False
    """By the proxy."""


@dataclass
class Outcome:
    """What came of what the client sent."""

    raw: bytes = b""
    """What the client got."""
    answers: list[Message] = field(default_factory=list)
    error: str = ""
    """Why what the client got is not a row of responses."""
    closed: bool = False
    """The proxy has ended the client's connection."""
    seen: list[Seen] = field(default_factory=list)

    @property
    def requests(self) -> list[Message]:
        """Every request that the model server got, whole or not, by connection."""
        return [request for seen in self.seen for request in seen.requests]

    copied: list[Seen] = field(default_factory=list)
    """What the shadow got."""


class _ModelConnection(asyncio.Protocol):
    """The model server's end of a connection."""

    def __init__(self, stage: "Stage", *, is_dark: bool = False) -> None:
        self.stage = stage
        self.is_dark = is_dark
        self.seen = Seen()
        self.reader = MessageReader()
        self.heads = 0
        self.ends = 0
        self.script = Script()
        self.pieces: deque[bytes] = deque()
        """Written one by one, whenever all is quiet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.stage.on_model_connected(self)

    def data_received(self, data: bytes) -> None:
        self.stage.events += 1
        self.seen.raw += data
        self.reader.feed(data)
        self.seen.requests = messages = self.reader.messages
        self.seen.error = self.reader.error
        for message in messages[self.ends :]:
            if self.heads == self.ends:
                self.heads += 1
                self.script = Script() if self.is_dark else self.stage.next_script()
                self.pieces.extend(self.script.at_head)
            if message.is_whole:
                self.ends += 1
                self.pieces.extend(self.script.at_end)

    def eof_received(self) -> bool:
        self.stage.events += 1
        self.seen.closed = True
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.stage.events += 1
        self.seen.closed = True
        self.stage.on_model_gone(self)

    def write_next(self) -> None:
        piece = self.pieces.popleft()
        if piece == CLOSE:
            self.transport.close()
        elif piece == CUT:
            _reset(self.transport)
        else:
            if piece.startswith(_SWITCHES):
                self.reader.open_tunnel()
            self.transport.write(piece)


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    sock = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()


class _Client(asyncio.Protocol):
    def __init__(self, stage: "Stage") -> None:
        self.stage = stage
        self.raw = b""
        self.closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.stage.events += 1
        self.raw += data

    def eof_received(self) -> bool:
        self.stage.events += 1
        self.closed = True
        return True  # what the proxy throws away while it lingers may still be sent

    def connection_lost(self, error: Exception | None) -> None:
        self.stage.events += 1
        self.closed = True


class _Heart(asyncio.Protocol):
    """The model behind the pulse."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(_BEAT)


class Stage:
    """The proxy's two neighbours. One play at a time."""

    def __init__(self, runner: asyncio.Runner) -> None:
        self.events = 0
        """Whatever a client or the model server has noticed."""
        self.port = 0
        self._runner = runner
        self._connections: list[_ModelConnection] = []
        self._played: list[_ModelConnection] = []
        self._scripts: deque[Script] = deque()
        self._last = Script()
        self._servers: list[asyncio.Server] = []
        self._pulse: tuple[asyncio.StreamReader, asyncio.StreamWriter]

    def play(
        self,
        sent: Sequence[bytes],
        scripts: Sequence[Script] = (),
        methods: tuple[bytes, ...] = (b"GET",),
        *,
        warm: bool = False,
    ) -> Outcome:
        """Let a client send pieces, each when the one before has had its effect, and return what came of it.

        Args:
            sent: bytes, :data:`CLOSE` or :data:`CUT`.
            scripts: for the requests that reach the model server, in order; the last stands for all further ones.
            methods: of the requests, in order, as the client would know them when it reads the answers.
            warm: the proxy has a kept connection to the model server already.
        """
        return self._runner.run(self._play(sent, scripts, methods, warm))

    # The model server's side

    def on_model_connected(self, connection: _ModelConnection) -> None:
        self.events += 1
        self._connections.append(connection)
        self._played.append(connection)

    def on_model_gone(self, connection: _ModelConnection) -> None:
        self._connections.remove(connection)

    def next_script(self) -> Script:
        if self._scripts:
            self._last = self._scripts.popleft()
        return self._last

    # The play

    async def _play(
        self, sent: Sequence[bytes], scripts: Sequence[Script], methods: tuple[bytes, ...], warm: bool
    ) -> Outcome:
        async with asyncio.timeout(_PATIENCE_S):
            for connection in list(self._connections):
                connection.transport.abort()
            await self._quiet()
            self._played = []
            self._scripts, self._last = deque(), Script()
            if warm:
                await self._act([b"GET /warm HTTP/1.1\r\nHost: h\r\n\r\n"])
                self._forget_warming()
            self._scripts.extend(scripts)
            client = await self._act(sent)
        outcome = Outcome(raw=client.raw, closed=client.closed)
        outcome.seen = [connection.seen for connection in self._played if not connection.is_dark]
        outcome.copied = [connection.seen for connection in self._played if connection.is_dark]
        reader = MessageReader(methods)
        reader.feed(client.raw)
        if client.closed:
            reader.end()
        outcome.answers, outcome.error = reader.messages, reader.error
        if not reader.error and reader.buffer:
            outcome.error = f"left over: {reader.buffer[:40]!r}"
        return outcome

    def _forget_warming(self) -> None:
        for connection in self._played:
            connection.seen.raw = b""
            connection.reader.messages.clear()
            connection.heads = connection.ends = 0

    async def _act(self, sent: Sequence[bytes]) -> _Client:
        loop = asyncio.get_running_loop()
        transport, client = await loop.create_connection(lambda: _Client(self), "127.0.0.1", self.port)
        try:
            for piece in sent:
                if piece == CUT:
                    _reset(transport)
                elif piece == CLOSE:
                    transport.write_eof()
                elif not transport.is_closing():
                    transport.write(piece)
                await self._quiet()
        finally:
            transport.abort()
        closed = client.closed
        await self._quiet()
        client.closed = closed
        return client

    async def _quiet(self) -> None:
        """Return when everything has had its effect and the model server has said all it has to say."""
        reader, writer = self._pulse
        pulses = 0
        while pulses < QUIET_PULSES:
            before = self.events
            writer.write(_PULSE)
            await reader.readuntil(b"\r\n\r\n")
            pulses = pulses + 1 if self.events == before else 0
            if pulses < QUIET_PULSES:
                continue
            for connection in self._connections:
                if connection.pieces:
                    connection.write_next()
                    pulses = 0

    # The course of a stage

    async def listen(self) -> dict[str, int]:
        """Open the model servers; return their ports by name."""
        loop = asyncio.get_running_loop()
        factories: dict[str, Callable[[], asyncio.Protocol]] = {
            "model": lambda: _ModelConnection(self),
            "dark": lambda: _ModelConnection(self, is_dark=True),
            "heart": _Heart,
        }
        for factory in factories.values():
            self._servers.append(await loop.create_server(factory, "127.0.0.1", 0))
        ports = [int(server.sockets[0].getsockname()[1]) for server in self._servers]
        return dict(zip(factories, ports, strict=True))

    async def connect(self, port: int) -> None:
        """Find the proxy's pulse."""
        self.port = port
        self._pulse = await asyncio.open_connection("127.0.0.1", port)
        await self._quiet()

    async def leave(self) -> None:
        """Close everything."""
        self._pulse[1].close()
        for server in self._servers:
            server.close()
        for connection in list(self._connections):
            connection.transport.abort()
        await asyncio.sleep(0)


@contextmanager
def open_stage(directory: Path, *, is_mirrored: bool = False) -> Iterator[Stage]:
    """Run ``modelproxy serve`` with one worker, and a stage around it, in ``directory``.

    Args:
        directory: for the configuration and the state.
        is_mirrored: a shadow gets a copy of every request.
    """
    with asyncio.Runner() as runner:
        stage = Stage(runner)
        ports = runner.run(stage.listen())
        shadows = "[{model: dark}]" if is_mirrored else "[]"
        config = directory / "modelproxy.yaml"
        config.write_text(CONFIG.format(state=directory / "state", shadows=shadows, **ports))
        command = [sys.executable, "-m", "proxy", "serve", str(config)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
            try:
                assert process.stdout is not None
                address = process.stdout.readline().split()
                assert address, "the proxy did not start; see its log above"
                process.stdout.readline()
                runner.run(stage.connect(int(address[-1].rpartition(b":")[2])))
                yield stage
                runner.run(stage.leave())
            finally:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()

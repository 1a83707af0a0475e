"""``python -m benchmarks.streams``: streamed answers, played and read by one process that times every piece.

The model's side sends an event on each of many streams at a fixed rate, the streams taking turns, each event with the
moment at which it was due in it. The client's side finds that moment in what it reads. Both are one process, so that
there is one clock and one schedule, and it is the same for all that are measured; ``lag`` is how late it was itself.
"""

import re
import select
import socket
import time
from collections.abc import Sequence

import click
import orjson

from benchmarks.open_loop import be_punctual, percentile

__all__ = ["EVENT", "Model", "Reader", "event_chunk", "main"]

EVENT = b'data: {"id":"c-1","object":"chat.completion.chunk","choices":[{"delta":{"content":" grape"}}],"t":%020d}\n\n'
DUE = re.compile(rb'"t":(\d{20})}')
HEAD = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
    b"X-Accel-Buffering: no\r\nTransfer-Encoding: chunked\r\n\r\n"
)
QUESTION = b'{"model":"wine","stream":true}'
SIZE = len(EVENT % 0)
CHUNK = b"%x\r\n" % SIZE + EVENT + b"\r\n"
WARMING_S = 0.5
READ_AT_ONCE = 128
"""Events of the poll that are handled before the schedule is looked at again."""


def event_chunk(due_ns: int) -> bytes:
    """Return one event as a chunk of its own."""
    return CHUNK % due_ns


def question(user: int) -> bytes:
    """Return the request that begins a stream."""
    return (
        b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
        b"X-User-Id: user-%d\r\nContent-Length: %d\r\n\r\n" % (user, len(QUESTION)) + QUESTION
    )


class Model:
    """The model's side of all streams."""

    def __init__(self, ports: Sequence[int], poll: select.epoll) -> None:
        self.poll = poll
        self.listening: dict[int, socket.socket] = {}
        self.asking: dict[int, socket.socket] = {}
        self.streams: list[socket.socket] = []
        for port in ports:
            line = socket.create_server(("127.0.0.1", port), backlog=4096)
            line.setblocking(False)
            poll.register(line, select.EPOLLIN)
            self.listening[line.fileno()] = line

    def on_readable(self, fd: int) -> bool:
        """Take what concerns the model; tell whether it did."""
        if fd in self.listening:
            line = self.listening[fd].accept()[0]
            line.setblocking(False)
            line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.poll.register(line, select.EPOLLIN)
            self.asking[line.fileno()] = line
            return True
        if fd not in self.asking:
            return False
        line = self.asking[fd]
        data = line.recv(65536)
        if data.endswith(QUESTION):
            line.send(HEAD)
            self.streams.append(line)
        elif not data:
            self.poll.unregister(fd)
            del self.asking[fd]
        return True


class Reader:
    """The client's side of one stream."""

    __slots__ = ("rest", "socket")

    def __init__(self, port: int, user: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setblocking(False)
        self.socket.send(question(user))
        self.rest = b""

    def moments(self) -> list[bytes]:
        """Read and return when each event in it was due.

        Raises:
            ConnectionError: when the stream has ended.
        """
        data = self.socket.recv(65536)
        if not data:
            raise ConnectionError("a stream ended")
        data = self.rest + data
        end = data.rfind(b"}\n\n")
        # What follows the last whole event is kept for the next read.
        self.rest = data[end + 3 :] if end >= 0 else data
        return DUE.findall(data[: end + 1])


class Run:
    """All streams, opened and measured."""

    def __init__(self, model_ports: Sequence[int], target: int, streams: int) -> None:
        self.poll = select.epoll()
        self.model = Model(model_ports, self.poll)
        self.target, self.wanted = target, streams
        self.readers: dict[int, Reader] = {}
        self.delays: list[int] = []
        self.lags: list[int] = []
        self.sent = self.read = self.reads = self.blocked = 0

    def open(self) -> None:
        """Begin all streams.

        Raises:
            TimeoutError: when they do not all begin.
        """
        end = time.monotonic() + 20
        for user in range(self.wanted):
            reader = Reader(self.target, user)
            self.poll.register(reader.socket, select.EPOLLIN)
            self.readers[reader.socket.fileno()] = reader
            self.take(0.001)
        while len(self.model.streams) < self.wanted:
            if time.monotonic() > end:
                raise TimeoutError(f"expected {self.wanted} streams, got {len(self.model.streams)}")
            self.take(0.01)

    def take(self, timeout_s: float) -> None:
        """Handle what is to be read."""
        events = self.poll.poll(0, READ_AT_ONCE)
        # An epoll takes whole milliseconds; a select on the epoll takes microseconds.
        if not events and timeout_s and select.select([self.poll], [], [], timeout_s)[0]:
            events = self.poll.poll(0, READ_AT_ONCE)
        for fd, _event in events:
            if self.model.on_readable(fd):
                continue
            moments = self.readers[fd].moments()
            now_ns = time.monotonic_ns()
            self.read += len(moments)
            self.reads += bool(moments)
            self.delays += [now_ns - int(moment) for moment in moments]

    def play(self, rate: int, seconds: float) -> None:
        """Send ``rate`` events a second on each stream for ``seconds``, and read them."""
        lines = self.model.streams
        step_ns, count = 10**9 // (rate * len(lines)), len(lines)
        due_ns = time.monotonic_ns()
        end_ns = due_ns + int(seconds * 1e9)
        while due_ns < end_ns:
            now_ns = time.monotonic_ns()
            # In small portions, so that what has arrived does not wait for a long row of sends.
            portion = 0
            while due_ns <= now_ns and portion < 16:
                try:
                    lines[self.sent % count].send(event_chunk(due_ns))
                except BlockingIOError:
                    self.blocked += 1
                self.sent += 1
                portion += 1
                self.lags.append(now_ns - due_ns)
                due_ns += step_ns
            self.take(max(0.0, (due_ns - time.monotonic_ns()) / 1e9))

    def close(self) -> None:
        """End all streams."""
        lines = [reader.socket for reader in self.readers.values()]
        for line in [*lines, *self.model.asking.values(), *self.model.listening.values()]:
            line.close()
        self.poll.close()

    def summary(self, seconds: float) -> dict[str, float]:
        """Return what is printed."""
        self.delays.sort()
        self.lags.sort()
        parts = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
        return {
            "requests": self.read,
            "errors": self.blocked,
            "sent_per_s": self.sent / seconds,
            "per_read": self.read / max(1, self.reads),
            **{name: percentile(self.delays, part) for name, part in parts.items()},
            "lag_ms": percentile(self.lags, 0.99),
        }


@click.command()
@click.argument("target", type=int)
@click.argument("models", type=int, nargs=-1, required=True)
@click.option("--streams", type=int, default=1000, show_default=True)
@click.option("--rate", type=int, default=50, show_default=True, help="Events a second on each stream.")
@click.option("--seconds", type=float, default=3.0, show_default=True)
def main(target: int, models: tuple[int, ...], streams: int, rate: int, seconds: float) -> None:
    """Be the MODELS (ports) and the clients that call TARGET (a port), and time each event on its way."""
    be_punctual()
    run = Run(models, target, streams)
    print("listening", flush=True)
    run.open()
    run.play(rate, WARMING_S)
    run.sent = run.read = run.reads = run.blocked = 0
    run.delays, run.lags = [], []
    print("begin", flush=True)
    run.play(rate, seconds)
    print(orjson.dumps(run.summary(seconds)).decode(), flush=True)


if __name__ == "__main__":
    main()

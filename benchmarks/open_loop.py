"""``python -m benchmarks.open_loop PORT``: requests at a fixed rate, timed from when each was to be sent.

A client that waits for an answer before it sends the next request asks less often just when answers are slow, and so
does not see how slow they would have been (coordinated omission). Here request *i* is due at ``start + i / rate``,
whatever became of the others: it takes a connection that is free, or waits for one; its latency counts from when it was
due.

The generator tells how late it was itself, where it had a free connection (``lag``): latencies below that are its own.
Of those that are packaged wrk and hey are closed loops, and h2load's log has no intended moments.
"""

import ctypes
import gc
import os
import select
import socket
import sys
import time
from collections import deque
from contextlib import ExitStack, suppress
from pathlib import Path

import click
import orjson

__all__ = ["Line", "main", "percentile", "run"]

WARMING_S = 0.5
"""Its latencies are not counted, its requests are."""

DRAIN_S = 2.0
"""For answers after the last request; what is missing then is an error."""

PR_SET_TIMERSLACK = 29
END = b"\r\n\r\n"


class Line:
    """One connection and the request that is under way on it."""

    __slots__ = ("due_ns", "got", "socket", "wanted")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.due_ns = 0
        self.got = b""
        self.wanted = 0

    def receive(self) -> bool:
        """Read; tell whether the answer is complete.

        Raises:
            ConnectionError: when it is closed, or answers anything but 200.
        """
        try:
            data = self.socket.recv(262_144)
        except BlockingIOError:
            return False
        if not data:
            raise ConnectionError("closed")
        self.got += data
        if not self.wanted:
            at = self.got.find(END)
            if at < 0:
                return False
            head = self.got[:at].lower()
            if not head.startswith(b"http/1.1 200"):
                raise ConnectionError(f"answered {head[:40].decode(errors='replace')}")
            self.wanted = at + 4 + int(head.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        if len(self.got) < self.wanted:
            return False
        self.got, self.wanted = b"", 0
        return True


def requests_of(path: str, kind: str, body: bytes, users: int) -> list[bytes]:
    """Return the request of each user."""
    return [
        b"POST %b HTTP/1.1\r\nHost: bench\r\nContent-Type: %b\r\nX-User-Id: user-%d\r\nContent-Length: %d\r\n\r\n"
        % (path.encode(), kind.encode(), user, len(body))
        + body
        for user in range(1, users + 1)
    ]


def percentile(values: list[int], part: float) -> float:
    """Return the value at ``part`` (0 to 1) of the sorted ``values`` in milliseconds, 0 of none."""
    return values[min(len(values) - 1, int(part * len(values)))] / 1e6 if values else 0.0


def send(line: Line, request: bytes) -> None:
    """Send all of it; the socket's buffer holds any request of this benchmark."""
    if line.socket.send(request) != len(request):
        raise ConnectionError("the request did not fit into the socket's buffer")


def run(port: int, rate: int, seconds: float, connections: int, requests: list[bytes]) -> dict[str, float]:
    """Send at ``rate`` per second; return counts, percentiles of latency and lag, in milliseconds."""
    with ExitStack() as stack:
        lines = [Line(port) for _ in range(connections)]
        for line in lines:
            stack.callback(line.socket.close)
        return play(lines, stack.enter_context(select.epoll()), rate, seconds, requests)


def play(
    lines: list[Line], poll: select.epoll, rate: int, seconds: float, requests: list[bytes]
) -> dict[str, float]:
    """Do that over ``lines``."""
    connections, by_fd = len(lines), {line.socket.fileno(): line for line in lines}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    idle, waiting, latencies, lags, errors = deque(lines), deque[int](), list[int](), list[int](), 0
    step_ns = 10**9 // rate
    start_ns = time.monotonic_ns() + 1_000_000
    counted_ns = start_ns + int(WARMING_S * 1e9)
    end_ns = counted_ns + int(seconds * 1e9)
    due_ns, turn = start_ns, 0
    now_ns = time.monotonic_ns()
    while due_ns < end_ns or (len(idle) + errors < connections and now_ns < end_ns + DRAIN_S * 1e9):
        now_ns = time.monotonic_ns()
        while due_ns <= now_ns and due_ns < end_ns:
            if idle:
                line = idle.popleft()
                line.due_ns = due_ns
                send(line, requests[turn % len(requests)])
                turn += 1
                lags.append(now_ns - due_ns)
            else:
                waiting.append(due_ns)
            due_ns += step_ns
            now_ns = time.monotonic_ns()
        # An epoll takes whole milliseconds; a select on the epoll takes microseconds.
        left_s = max(0.0, (due_ns if due_ns < end_ns else now_ns + 10**7) - now_ns) / 1e9
        if not select.select([poll], [], [], left_s)[0]:
            continue
        for fd, _event in poll.poll(0):
            line = by_fd[fd]
            try:
                if not line.receive():
                    continue
            except OSError:
                poll.unregister(fd)
                errors += 1
                continue
            if line.due_ns >= counted_ns:
                latencies.append(time.monotonic_ns() - line.due_ns)
            if waiting:
                line.due_ns = waiting.popleft()
                send(line, requests[turn % len(requests)])
                turn += 1
            else:
                idle.append(line)
    return summary(latencies, lags, turn, errors + len(waiting) + connections - len(idle) - errors)


def summary(latencies: list[int], lags: list[int], requests: int, errors: int) -> dict[str, float]:
    """Return what is printed."""
    latencies.sort()
    lags.sort()
    parts = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
    return {
        "requests": requests,
        "errors": errors,
        **{name: percentile(latencies, part) for name, part in parts.items()},
        "lag_ms": percentile(lags, 0.99),
    }


def be_punctual() -> None:
    """Let timers of this process end when they should, and nothing interrupt it, as far as that is allowed."""
    gc.disable()
    with suppress(PermissionError):
        # Before the models that share its core: who comes late must be a proxy, not the clock.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


@click.command()
@click.argument("port", type=int)
@click.option("--rate", type=int, default=5000, show_default=True, help="Requests a second.")
@click.option("--seconds", type=float, default=3.0, show_default=True, help="Counted, after half a second.")
@click.option("--connections", type=int, default=64, show_default=True)
@click.option("--path", default="/v2/models/wine/infer")
@click.option("--type", "kind", default="application/json")
@click.option("--body", type=click.Path(path_type=Path, exists=True))
@click.option("--users", type=int, default=1000)
def main(
    port: int,
    rate: int,
    seconds: float,
    connections: int,
    path: str,
    kind: str,
    body: Path | None,
    users: int,
) -> None:
    """Send requests to PORT of the loopback at a fixed rate and print one line of JSON."""
    be_punctual()
    requests = requests_of(path, kind, body.read_bytes() if body else b"{}", users)
    print("begin", flush=True)
    print(orjson.dumps(run(port, rate, seconds, connections, requests)).decode(), flush=True)


if __name__ == "__main__":
    main()

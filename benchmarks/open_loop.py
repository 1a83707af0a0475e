"""``python -m benchmarks.open_loop PORT...``: requests at a fixed rate, timed from when each was to be sent.

A client that waits for an answer before it sends the next request asks less often just when answers are slow, and so
does not see how slow they would have been (coordinated omission). Here request *i* is due at ``start + i / rate``,
whatever became of the others: it takes a connection that is free, or waits for one; its latency counts from when it was
due.

Several ports take turns of half a second, and whoever is not asked is stopped meanwhile. A machine that others share,
or whose kernel has work of its own, is slow for milliseconds at a time, and the slowest hundredth of two seconds is
mostly that: short turns spread it over all who are compared, and hundreds of turns average it out.

The generator tells how late it was itself, where it had a free connection (``lag``): latencies below that are its own.
Of those that are packaged wrk and hey are closed loops, and h2load's log has no intended moments.
"""

import ctypes
import gc
import os
import select
import signal
import socket
import sys
import time
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import click
import orjson

__all__ = ["DRAIN_S", "TURN_S", "Line", "Seen", "Target", "main", "percentile", "take_turns"]

TURN_S = 0.5
"""Long enough for what a bad shadow does now and then to happen in each."""

WARMING_S = 0.05
"""Of each turn: its latencies are not counted, its requests are. Timers of a program that was stopped run here."""

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


@dataclass(slots=True)
class Seen:
    """What was seen while one target had its turn, or several turns."""

    latencies_ns: list[int] = field(default_factory=list)
    """From when a request was due to its whole answer; without those of the beginning of a turn."""
    lags_ns: list[int] = field(default_factory=list)
    """How late requests were sent for which a connection was free."""
    requests: int = 0
    errors: int = 0

    def add(self, other: "Seen") -> None:
        """Take up what another turn has seen."""
        self.latencies_ns += other.latencies_ns
        self.lags_ns += other.lags_ns
        self.requests += other.requests
        self.errors += other.errors

    def summary(self) -> dict[str, float]:
        """Return counts, and percentiles in milliseconds."""
        latencies, lags = sorted(self.latencies_ns), sorted(self.lags_ns)
        parts = {"p50_ms": 0.5, "p99_ms": 0.99, "p999_ms": 0.999}
        return {
            "requests": self.requests,
            "errors": self.errors,
            **{name: percentile(latencies, part) for name, part in parts.items()},
            "lag_ms": percentile(lags, 0.99),
        }


class Target:
    """Who is asked: a port, and the processes that rest while it is another's turn.

    Args:
        text: ``PORT``, or ``PORT:PID,PID,...``.
        connections: how many are opened to it.

    Raises:
        OSError: when nobody listens.
    """

    def __init__(self, text: str, connections: int) -> None:
        port, _, pids = text.partition(":")
        self.pids = [int(pid) for pid in pids.split(",") if pid]
        self.lines = [Line(int(port)) for _ in range(connections)]
        self.asked = 0
        """Requests sent, all turns together."""
        self.is_out = False
        """It has failed a request, and is asked no more."""

    def close(self) -> None:
        """Close the connections."""
        for line in self.lines:
            line.socket.close()

    def signal(self, number: int) -> None:
        """Send a signal to its processes."""
        for pid in self.pids:
            os.kill(pid, number)


def take_turns(
    targets: Sequence[Target], rate: int, turns: int, turn_s: float, blocks: int, requests: list[bytes]
) -> list[list[Seen]]:
    """Send at ``rate`` per second to one target at a time, ``turns`` times to each; return what each block of each saw.

    Who is not asked is stopped (``SIGSTOP``), so that nothing it still does is on another's account. Turn *i* belongs
    to block *i* modulo ``blocks``: each block has a part of all of the time.
    """
    seen = [[Seen() for _ in range(blocks)] for _ in targets]
    is_alone = len(targets) == 1
    try:
        for target in targets:
            if not is_alone:
                target.signal(signal.SIGSTOP)
        for turn in range(turns):
            first = turn % len(targets)
            for place in (*range(first, len(targets)), *range(first)):
                target = targets[place]
                if target.is_out:
                    continue
                if not is_alone:
                    target.signal(signal.SIGCONT)
                asked = target.asked % len(requests)
                found = play(target.lines, rate, turn_s, requests[asked:] + requests[:asked])
                target.asked += found.requests
                target.is_out = found.errors > 0
                seen[place][turn % blocks].add(found)
                if not is_alone:
                    target.signal(signal.SIGSTOP)
    finally:
        for target in targets:
            target.signal(signal.SIGCONT)
    return seen


def play(lines: Sequence[Line], rate: int, seconds: float, requests: Sequence[bytes]) -> Seen:
    """Send at ``rate`` per second over ``lines``; return what was seen when all is answered."""
    with select.epoll() as poll:
        return _Turn(lines, poll, requests).run(rate, seconds)


class _Turn:
    """One turn of one target. A connection that breaks is an error, whether a request was under way on it or not."""

    def __init__(self, lines: Sequence[Line], poll: select.epoll, requests: Sequence[bytes]) -> None:
        self.seen = Seen()
        self.requests = requests
        self.poll = poll
        self.lines = {line.socket.fileno(): line for line in lines}
        """By descriptor, those that are not broken."""
        self.idle = deque(self.lines)
        self.waiting = deque[int]()
        """When requests were due for which no connection was free."""
        for fd in self.lines:
            poll.register(fd, select.EPOLLIN)

    def run(self, rate: int, seconds: float) -> Seen:
        seen, step_ns = self.seen, 10**9 // rate
        due_ns = time.monotonic_ns() + 1_000_000
        counted_ns, end_ns = due_ns + int(WARMING_S * 1e9), due_ns + int(seconds * 1e9)
        now_ns = time.monotonic_ns()
        while due_ns < end_ns or (len(self.idle) < len(self.lines) and now_ns < end_ns + DRAIN_S * 1e9):
            now_ns = time.monotonic_ns()
            while due_ns <= now_ns and due_ns < end_ns:
                if self._send(due_ns):
                    seen.lags_ns.append(now_ns - due_ns)
                else:
                    self.waiting.append(due_ns)
                due_ns += step_ns
                now_ns = time.monotonic_ns()
            # An epoll takes whole milliseconds; a select on the epoll takes microseconds.
            left_s = max(0.0, (due_ns if due_ns < end_ns else now_ns + 10**7) - now_ns) / 1e9
            if select.select([self.poll], [], [], left_s)[0]:
                self._receive(counted_ns)
        # Those that were never sent, and those that were never answered.
        seen.errors += len(self.waiting) + len(self.lines) - len(self.idle)
        return seen

    def _send(self, due_ns: int) -> bool:
        """Send the next request on a free connection; False: there is none."""
        while self.idle:
            fd = self.idle.popleft()
            line = self.lines[fd]
            try:
                send(line, self.requests[self.seen.requests % len(self.requests)])
            except OSError:
                self._break(fd)
                continue
            line.due_ns = due_ns
            self.seen.requests += 1
            return True
        return False

    def _receive(self, counted_ns: int) -> None:
        for fd, _event in self.poll.poll(0):
            line = self.lines.get(fd)
            try:
                if line is None or not line.receive():
                    continue
            except OSError:
                self._break(fd)
                continue
            if line.due_ns >= counted_ns:
                self.seen.latencies_ns.append(time.monotonic_ns() - line.due_ns)
            self.idle.append(fd)
            if self.waiting and self._send(self.waiting[0]):
                self.waiting.popleft()

    def _break(self, fd: int) -> None:
        del self.lines[fd]
        with suppress(ValueError):
            self.idle.remove(fd)
        self.poll.unregister(fd)
        self.seen.errors += 1


def be_punctual() -> None:
    """Let timers of this process end when they should, and nothing interrupt it, as far as that is allowed."""
    gc.disable()
    with suppress(PermissionError):
        # Before the models that share its core: who comes late must be a proxy, not the clock.
        os.setpriority(os.PRIO_PROCESS, 0, -10)
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0)


@click.command()
@click.argument("targets", nargs=-1, required=True, metavar="PORT[:PID,...]...")
@click.option("--rate", type=int, default=5000, show_default=True, help="Requests a second.")
@click.option("--turns", type=int, default=10, show_default=True, help="Half seconds for each port.")
@click.option(
    "--blocks", type=int, default=1, show_default=True, help="Parts in which to tell what was seen."
)
@click.option("--connections", type=int, default=64, show_default=True, help="To each port.")
@click.option("--path", default="/v2/models/wine/infer")
@click.option("--type", "kind", default="application/json")
@click.option("--body", type=click.Path(path_type=Path, exists=True))
@click.option("--users", type=int, default=1000)
def main(
    targets: tuple[str, ...],
    rate: int,
    turns: int,
    blocks: int,
    connections: int,
    path: str,
    kind: str,
    body: Path | None,
    users: int,
) -> None:
    """Send requests to ports of the loopback at a fixed rate, in turns, and print one line of JSON.

    It is a list: for each port the figures of each block, and behind them those of all.
    """
    be_punctual()
    # Whoever ends it finds everybody running again.
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    requests = requests_of(path, kind, body.read_bytes() if body else b"{}", users)
    asked = [Target(text, connections) for text in targets]
    print("begin", flush=True)
    told = []
    for each in take_turns(asked, rate, turns, TURN_S, blocks, requests):
        whole = Seen()
        for block in each:
            whole.add(block)
        told.append([seen.summary() for seen in (*each, whole)])
    print(orjson.dumps(told).decode(), flush=True)


if __name__ == "__main__":
    main()

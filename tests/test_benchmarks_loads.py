"""The benchmark's own load generators and models: what they count is what happened."""

import contextlib
import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

import pytest

from benchmarks import open_loop
from benchmarks.cells import STEADY
from benchmarks.in_step import AT_ONCE, take_turns
from benchmarks.large_models import FLOOD_BYTES, PIECE, Model
from benchmarks.loads import write_bodies
from benchmarks.open_loop import Line, Seen, Target, percentile, requests_of
from benchmarks.payloads import SMALL
from benchmarks.streams import DUE, SIZE, Reader, Run, event_chunk

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class FakeTransport:
    """Keeps what is written, and asks for a pause after so many bytes."""

    def __init__(self, model: Model, takes: int = 1 << 40) -> None:
        self.model, self.takes = model, takes
        self.written = 0
        self.pieces: list[bytes] = []
        model.connection_made(self)

    def set_write_buffer_limits(self, high: int) -> None: ...

    def is_closing(self) -> bool:
        return False

    def write(self, data: bytes) -> None:
        self.written += len(data)
        self.pieces.append(data)
        if self.written >= self.takes:
            self.model.pause_writing()


def question(size: int, kind: str = "application/json") -> bytes:
    return (
        b"POST / HTTP/1.1\r\nContent-Type: %b\r\nContent-Length: %d\r\n\r\n" % (kind.encode(), size)
        + b"x" * size
    )


@pytest.mark.parametrize("kind", ["application/json", "application/octet-stream"])
@pytest.mark.parametrize("cut", [1, 40, 80, 500])
def test_large_model_answers_as_many_bytes_when_it_has_them_all(kind: str, cut: int) -> None:
    """However a request arrives, it is answered once, at its end, with a body of its length."""
    model = Model("2")
    transport = FakeTransport(model)
    whole = question(1000, kind)
    for at in range(0, len(whole), cut):
        assert not transport.pieces
        model.data_received(whole[at : at + cut])
    model.data_received(whole)
    assert len(transport.pieces) == 2
    head, _, body = transport.pieces[0].partition(b"\r\n\r\n")
    assert len(body) == 1000
    assert kind.encode() in head


def test_flood_goes_on_only_while_somebody_takes_it() -> None:
    """A hundred MiB are written as they are taken, no more."""
    model = Model("flood")
    transport = FakeTransport(model, takes=10 * len(PIECE))
    model.data_received(question(10))
    assert transport.written < 11 * len(PIECE)
    transport.takes = 1 << 40
    model.resume_writing()
    assert transport.written - len(transport.pieces[0]) == FLOOD_BYTES


def line_of(end: socket.socket) -> Line:
    line = Line.__new__(Line)
    end.setblocking(False)
    line.socket, line.due_ns, line.got, line.wanted = end, 0, b"", 0
    return line


def test_answer_in_pieces_is_complete_once() -> None:
    """An answer is complete with its last byte, and the next one begins afresh."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        line = line_of(ours)
        assert not line.receive()
        seen = []
        for piece in (ANSWER[:10], ANSWER[10:-1], ANSWER[-1:], ANSWER):
            theirs.send(piece)
            seen.append(line.receive())
        assert seen == [False, False, True, True]


@pytest.mark.parametrize("answer", [ANSWER.replace(b"200", b"503"), b""])
def test_bad_answer_is_an_error(answer: bytes) -> None:
    """Another status than 200, or a closed connection, never counts as an answer."""
    ours, theirs = socket.socketpair()
    with closing(ours):
        line = line_of(ours)
        theirs.send(answer)
        theirs.close()
        with pytest.raises(ConnectionError):
            line.receive()


def test_percentile_of_sorted_values() -> None:
    """A percentile is one of the values, in milliseconds; of none it is 0."""
    values = [1_000_000 * value for value in range(1, 101)]
    assert [percentile(values, part) for part in (0.5, 0.99, 0.999)] == [51.0, 100.0, 100.0]
    assert percentile([], 0.5) == 0.0


def serve_slowly(listening: socket.socket, delay_s: float) -> None:
    """Answer one request after the other, each ``delay_s`` after it was read, until the client is gone."""
    line, _ = listening.accept()
    with line:
        while line.recv(65536):
            time.sleep(delay_s)
            line.sendall(ANSWER)


@pytest.mark.slow
def test_latency_counts_from_when_a_request_was_due() -> None:
    """A model that takes twice the time between requests lets them queue up, and waiting is part of latency."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        model = threading.Thread(target=serve_slowly, args=(listening, 0.008))
        model.start()
        requests = requests_of(SMALL.path, SMALL.content_type, SMALL.body, 3)
        target = Target(str(listening.getsockname()[1]), 1)
        ((seen,),) = open_loop.take_turns([target], 200, 1, 0.75, 1, requests)
        target.close()
    model.join(10)
    # 150 requests come every 5 ms and take 8: the last one has waited for 0.45 s, a closed loop would have seen 8 ms.
    assert seen.summary()["p99_ms"] > 100
    assert (seen.requests, seen.errors) == (150, 0)


@pytest.mark.parametrize("left", [0, 1])
def test_connection_that_breaks_while_it_is_free_is_an_error(left: int) -> None:
    """It is told of once, whoever notices it, and what is due goes over the others."""
    pairs = [socket.socketpair() for _ in range(1 + left)]
    pairs[0][1].close()
    for _, theirs in pairs[1:]:
        threading.Thread(target=answer_all, args=(theirs,), daemon=True).start()
    with contextlib.ExitStack() as stack:
        lines = [line_of(stack.enter_context(ours)) for ours, _ in pairs]
        seen = open_loop.play(lines, 100, 0.1, [b"a"])
    unsent = 0 if left else 10
    assert (seen.requests, seen.errors) == (10 - unsent, 1 + unsent)


def answer_all(end: socket.socket) -> None:
    with end:
        while asked := end.recv(65536):
            for _ in asked:
                end.sendall(ANSWER)


ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="states are read from /proc")
STATE = re.compile(r"^State:\s+(\S)", re.M)


class Telling:
    """Targets that note, whenever one of them is asked, which of the processes behind them are stopped."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, listening: socket.socket) -> None:
        self.processes = [subprocess.Popen(["sleep", "60"]) for _ in range(3)]
        port = listening.getsockname()[1]
        self.targets = [Target(f"{port}:{process.pid}", 1) for process in self.processes]
        self.asked: list[tuple[int, str]] = []
        self.errors: dict[int, int] = {}
        monkeypatch.setattr(open_loop, "play", self.play)

    def states(self, stopped: int) -> str:
        """Return which processes are stopped, as proc(5) has it: when so many are, or after two seconds."""
        deadline = time.monotonic() + 2
        while True:
            texts = [Path(f"/proc/{process.pid}/status").read_text() for process in self.processes]
            states = "".join("T" if STATE.findall(text) == ["T"] else "-" for text in texts)
            if states.count("T") == stopped or time.monotonic() > deadline:
                return states

    def play(self, lines: Sequence[Line], rate: int, _seconds: float, requests: Sequence[bytes]) -> Seen:
        """Note who is asked."""
        place = [target.lines for target in self.targets].index(list(lines))
        self.asked.append((place, self.states(len(self.targets) - 1)))
        number = len(self.asked)
        return Seen([number * 1_000_000], [0], rate, self.errors.get(place, 0))

    def close(self) -> None:
        for target, process in zip(self.targets, self.processes, strict=True):
            target.close()
            process.kill()
            process.wait()


@pytest.fixture
def telling(monkeypatch: pytest.MonkeyPatch) -> Iterator[Telling]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        made = Telling(monkeypatch, listening)
        with closing(made):
            yield made


@ON_LINUX
def test_who_is_not_asked_is_stopped(telling: Telling) -> None:
    """In each turn only the processes of the one that is asked run, each turn begins one further, and afterwards all
    of them run."""
    open_loop.take_turns(telling.targets, 10, 3, 0.5, 1, [b"a"])
    alone = {0: "-TT", 1: "T-T", 2: "TT-"}
    assert [place for place, _ in telling.asked] == [0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert all(states == alone[place] for place, states in telling.asked)
    assert telling.states(0) == "---"


@ON_LINUX
def test_blocks_have_a_part_of_all_of_the_time(telling: Telling) -> None:
    """Turns are dealt to the blocks one by one; nothing is lost between them."""
    first, *_ = open_loop.take_turns(telling.targets, 10, 4, 0.5, 2, [b"a"])
    assert [[value // 1_000_000 for value in block.latencies_ns] for block in first] == [[1, 8], [6, 10]]
    assert [block.requests for block in first] == [20, 20]


@ON_LINUX
def test_who_fails_is_asked_no_more(telling: Telling) -> None:
    """Its errors are told, and the others go on; all of them run afterwards."""
    telling.errors[1] = 2
    seen = open_loop.take_turns(telling.targets, 10, 3, 0.5, 1, [b"a"])
    assert [block.errors for (block,) in seen] == [0, 2, 0]
    assert [place for place, _ in telling.asked].count(1) == 1
    assert telling.states(0) == "---"


def test_body_is_written_for_the_programs(tmp_path: Path) -> None:
    """What a generator reads from the file is the payload."""
    assert write_bodies(tmp_path, STEADY).read_bytes() == SMALL.body


def test_event_carries_the_moment_it_was_due() -> None:
    """What is read from an event is what was put in, and its chunk has the length it says."""
    chunk = event_chunk(1234567890)
    size, _, rest = chunk.partition(b"\r\n")
    assert int(size, 16) == SIZE == len(rest) - 2
    assert [int(moment) for moment in DUE.findall(chunk)] == [1234567890]


@pytest.mark.parametrize("cut", [1, 60, SIZE - 3, SIZE + 3, SIZE + 5])
def test_event_in_pieces_is_counted_once(cut: int) -> None:
    """Wherever the bytes are cut, each event is found once and none is lost."""
    ours, theirs = socket.socketpair()
    with closing(ours), closing(theirs):
        reader = Reader.__new__(Reader)
        reader.socket, reader.rest = ours, b""
        data = b"".join(event_chunk(moment) for moment in (1, 2, 3))
        found = []
        for at in range(0, len(data), cut):
            theirs.send(data[at : at + cut])
            found += reader.moments()
        assert [int(moment) for moment in found] == [1, 2, 3]


def test_events_in_step_are_read_before_more_are_sent() -> None:
    """Never more than so many events are under way, and each is read once."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    streaming = Run([port], port, 3)
    streaming.open()
    under_way: list[int] = []
    take = streaming.take

    def watched(timeout_s: float) -> None:
        under_way.append(streaming.sent - streaming.read)
        take(timeout_s)

    streaming.take = watched  # type: ignore[method-assign]
    take_turns(streaming, 2 * AT_ONCE + 5)
    assert (streaming.sent, streaming.read) == (2 * AT_ONCE + 5, 2 * AT_ONCE + 5)
    assert max(under_way) == AT_ONCE
    streaming.close()

"""The pipe to the observer: bounds, batches, and a peer that comes and goes."""

import asyncio
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.dataplane import shipper as module
from proxy.dataplane.shipper import FLUSH_AFTER_S, FLUSH_BYTES, PIPE_BYTES, PIPE_FRAMES, Shipper
from proxy.exchange import Hello, build_hello, parse_frames
from tests.fakes import FakeLoop, FakeTransport

HELLO = build_hello(3, 77, b"{}")


@pytest.fixture
def loop() -> FakeLoop:
    return FakeLoop()


@pytest.fixture
def shipper(loop: FakeLoop) -> Shipper:
    return Shipper(cast("asyncio.AbstractEventLoop", loop), Path("observer.sock"), lambda: HELLO)


def test_hello_comes_first(loop: FakeLoop, shipper: Shipper) -> None:
    """The first bytes of a connection are the hello, and the frames follow in order."""
    pipe = FakeTransport(shipper)
    assert pipe.take() == HELLO
    assert shipper.ship(b"one")
    assert shipper.ship(b"two")
    assert pipe.take() == b""
    loop.advance(FLUSH_AFTER_S)
    assert pipe.writes == [b"onetwo"]


def test_frames_wait_for_an_observer(loop: FakeLoop, shipper: Shipper) -> None:
    """What comes before there is an observer follows the hello, in order; what comes then follows that."""
    assert shipper.ship(b"one")
    assert shipper.ship(b"two")
    loop.advance(1)
    pipe = FakeTransport(shipper)
    assert pipe.take() == HELLO + b"onetwo"
    assert shipper.ship(b"three")
    loop.advance(FLUSH_AFTER_S)
    assert pipe.take() == b"three"


@pytest.mark.parametrize("size", [1_000, 1 << 20])
def test_bytes_that_wait_for_an_observer_are_bounded(loop: FakeLoop, shipper: Shipper, size: int) -> None:
    """Without an observer PIPE_BYTES and one frame are kept, whatever its size, and all that was taken arrives."""
    pieces = [bytes([number % 256]) * size for number in range(PIPE_BYTES // size + 3)]
    taken = [piece for piece in pieces if shipper.ship(piece)]
    assert taken == pieces[: -(-PIPE_BYTES // size)]
    pipe = FakeTransport(shipper)
    assert not shipper.ship(b"one more")  # what is written already is not off the bound before all is
    loop.run_soon()
    assert max(map(len, pipe.writes)) <= FLUSH_BYTES + size
    assert pipe.take() == HELLO + b"".join(taken)
    assert shipper.ship(b"more")


def test_an_observer_is_given_what_waited_in_turns(loop: FakeLoop, shipper: Shipper) -> None:
    """Clients are served in between; what comes meanwhile waits behind it, and then goes the usual way."""
    frames = [b"<%d>" % number for number in range(5000)]
    assert all(map(shipper.ship, frames))
    pipe = FakeTransport(shipper)
    assert len(pipe.writes) == 2
    frames.append(b"<late>")
    assert shipper.ship(frames[-1])
    loop.run_soon()
    assert (len(pipe.writes), pipe.take()) == (4, HELLO + b"".join(frames))
    assert shipper.ship(b"usual")
    assert pipe.take() == b""
    loop.advance(FLUSH_AFTER_S)
    assert pipe.take() == b"usual"


def test_an_observer_that_dies_while_it_is_given_what_waited(loop: FakeLoop, shipper: Shipper) -> None:
    """Nothing more is written to it, and what its successor gets is what came after it."""
    shipper._closing = True  # nothing connects by itself
    assert all(shipper.ship(b"old") for _ in range(5000))
    pipe = FakeTransport(shipper)
    pipe.lose(ConnectionResetError())
    written = len(pipe.writes)
    assert shipper.ship(b"new")
    again = FakeTransport(shipper)
    loop.run_soon()
    assert (len(pipe.writes), again.take()) == (written, HELLO + b"new")


def test_frames_that_wait_for_an_observer_are_bounded(shipper: Shipper) -> None:
    """Small ones are bounded by their number."""
    assert all(shipper.ship(b"") for _ in range(PIPE_FRAMES))
    assert not shipper.ship(b"")


def test_a_hello_counts_nothing_that_is_still_to_come(loop: FakeLoop) -> None:
    """It says how many frames had been handed over when the connection before it was lost: the rest follows it."""
    count = 0

    def hello() -> bytes:
        return b"<%d>" % count

    shipper = Shipper(cast("asyncio.AbstractEventLoop", loop), Path("observer.sock"), hello)
    shipper._closing = True  # nothing connects by itself
    pipe = FakeTransport(shipper)
    for frame in (b"a", b"b"):
        count += shipper.ship(frame)
    loop.advance(FLUSH_AFTER_S)
    count += shipper.ship(b"c")  # gathers, and goes down with the connection
    pipe.lose(ConnectionResetError())
    for frame in (b"d", b"e"):
        count += shipper.ship(frame)
    loop.advance(1)
    again = FakeTransport(shipper)
    count += shipper.ship(b"f")
    loop.advance(FLUSH_AFTER_S)
    assert (pipe.take(), again.take(), count) == (b"<0>ab", b"<3>def", 6)


def test_a_long_batch_leaves_at_once(loop: FakeLoop, shipper: Shipper) -> None:
    """A batch above FLUSH_BYTES does not wait for the timer, and the timer finds nothing left."""
    pipe = FakeTransport(shipper)
    pipe.take()
    piece = bytes(FLUSH_BYTES // 2 + 1)
    assert shipper.ship(piece)
    assert shipper.ship(piece)
    assert len(pipe.take()) == 2 * len(piece)
    loop.advance(1)
    assert pipe.take() == b""


@pytest.mark.parametrize("size", [1, 1_000, FLUSH_BYTES + 1])
def test_bytes_are_bounded(loop: FakeLoop, shipper: Shipper, size: int) -> None:
    """Once PIPE_BYTES wait, an observer that stands still is given no more, however small the frames."""
    pipe = FakeTransport(shipper)
    pipe.unsent = PIPE_BYTES - size
    assert shipper.ship(bytes(size))
    loop.advance(1)
    pipe.unsent = PIPE_BYTES
    for _ in range(3):
        assert not shipper.ship(bytes(size))
        loop.advance(1)
    pipe.unsent = 0
    assert shipper.ship(bytes(size))


@pytest.mark.parametrize("size", [1, 1 << 20])
@pytest.mark.parametrize(("waiting", "is_taken"), [(PIPE_BYTES - 1, True), (PIPE_BYTES, False)])
def test_what_is_refused_says_nothing_of_its_size(
    shipper: Shipper, size: int, waiting: int, is_taken: bool
) -> None:
    """A large frame is taken where a small one is: answers that are left under too much load are still typical ones."""
    pipe = FakeTransport(shipper)
    pipe.unsent = waiting
    assert shipper.ship(bytes(size)) == is_taken


def test_frames_are_bounded(shipper: Shipper) -> None:
    """One batch holds at most PIPE_FRAMES frames."""
    FakeTransport(shipper)
    assert all(shipper.ship(b"") for _ in range(PIPE_FRAMES))
    assert not shipper.ship(b"")


def test_pauses_between_attempts_grow(
    loop: FakeLoop, shipper: Shipper, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a loss it tries again, ever more slowly, and starts anew once a connection was stable; frames that were
    waiting are gone: the next hello tells."""
    pauses: list[float] = []
    spawned: list[str] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    def spawn(coro: Coroutine[Any, Any, None], *, name: str) -> None:
        spawned.append(name)
        with pytest.raises(StopIteration):
            coro.send(None)

    async def create(factory: Callable[[], asyncio.Protocol], path: str) -> None:
        if len(pauses) < 9:
            raise FileNotFoundError(path)

    monkeypatch.setattr(asyncio, "sleep", sleep)
    monkeypatch.setattr(module, "spawn", spawn)
    monkeypatch.setattr(loop, "create_unix_connection", create, raising=False)

    pipe = FakeTransport(shipper)
    shipper.ship(b"lost")
    pipe.lose(ConnectionResetError())
    assert spawned == ["observer pipe"]
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.2, 0.2, 0.2, 0.2, 0.2]
    assert shipper.ship(b"kept")
    again = FakeTransport(shipper)
    loop.advance(module.STABLE_S + 1)
    assert again.take() == HELLO + b"kept"
    again.lose()
    assert pauses[9:] == [0.02]


async def test_real_pipe(tmp_path: Path) -> None:
    """Over a real socket: start waits for the first connection, what is shipped arrives, and close writes out."""
    received = bytearray()
    ended = asyncio.Event()

    async def intake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(-1))
        writer.close()
        ended.set()

    path = tmp_path / "observer.sock"
    server = await asyncio.start_unix_server(intake, str(path))
    shipper = Shipper(asyncio.get_running_loop(), path, lambda: HELLO)
    await shipper.start(5)
    assert shipper.ship(HELLO)
    await shipper.close(5)
    await asyncio.wait_for(ended.wait(), 5)
    server.close()
    frames = parse_frames(received)
    assert len(frames) == 2
    assert all(isinstance(frame, Hello) and frame.boot == 77 for frame in frames)


async def test_start_gives_up_waiting(tmp_path: Path) -> None:
    """Without an observer neither start nor end take longer than they are given, and the attempts end."""
    shipper = Shipper(asyncio.get_running_loop(), tmp_path / "observer.sock", lambda: HELLO)
    await shipper.start(0.01)
    assert shipper.ship(HELLO)
    await shipper.close(0.01)


async def test_an_end_before_the_observer_is_there(tmp_path: Path) -> None:
    """Who ends with frames in hand waits for an observer that is on its way, and gives it all of them."""
    received = bytearray()
    ended = asyncio.Event()

    async def intake(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        received.extend(await reader.read(-1))
        writer.close()
        ended.set()

    path = tmp_path / "observer.sock"
    shipper = Shipper(asyncio.get_running_loop(), path, lambda: HELLO)
    await shipper.start(0.01)
    for _ in range(3000):
        assert shipper.ship(HELLO)
    closing = asyncio.create_task(shipper.close(20))
    await asyncio.sleep(0)
    async with await asyncio.start_unix_server(intake, str(path)):
        await asyncio.wait_for(closing, 20)
        await asyncio.wait_for(ended.wait(), 20)
    assert len(parse_frames(received)) == 3001

"""Writes gathered to the end of the loop's turn."""

import asyncio
from typing import cast

import pytest

from proxy.dataplane.outbox import LARGE_BYTES, MOST_GATHERED, Outbox, Writer
from tests.fakes import FakeLoop, FakeTransport


class Stage:
    """An outbox with two writers."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.outbox = Outbox(cast("asyncio.AbstractEventLoop", self.loop))
        self.first, self.second = Writer(self.outbox), Writer(self.outbox)
        self.one, self.two = FakeTransport(self.first), FakeTransport(self.second)


def test_writes_leave_together_at_the_end_of_the_turn() -> None:
    """Nothing is written before the turn ends; then each connection's pieces leave in one write, in order."""
    stage = Stage()
    stage.first.write(b"a")
    stage.second.write(b"x")
    stage.first.write(b"b")
    assert (stage.one.writes, stage.two.writes) == ([], [])
    stage.loop.run_soon()
    assert (stage.one.writes, stage.two.writes) == ([b"ab"], [b"x"])


def test_one_turn_is_scheduled_once() -> None:
    """However much is written in a turn, the loop is asked for one call."""
    stage = Stage()
    for _ in range(5):
        stage.first.write(b"a")
        stage.second.write(b"b")
    assert len(stage.loop.handles) == 1
    stage.loop.run_soon()
    stage.first.write(b"c")
    assert len(stage.loop.handles) == 1


def test_closing_writes_out_first_and_aborting_does_not() -> None:
    """What was written before ``close`` arrives; after ``abort`` nothing does."""
    stage = Stage()
    stage.first.write(b"bye")
    stage.first.close()
    assert (stage.one.writes, stage.one.closed) == ([b"bye"], True)
    stage.second.write(b"lost")
    stage.two.abort()
    stage.loop.run_soon()
    assert (stage.one.writes, stage.two.writes) == ([b"bye"], [])


def test_a_large_piece_does_not_wait() -> None:
    """A stream is handed to the transport as it comes, with what was written before it, so that it can say stop."""
    stage = Stage()
    stage.first.write(b"head")
    stage.first.write_piece(b"small")
    assert stage.one.writes == []
    stage.first.write_piece(bytes(LARGE_BYTES))
    assert stage.one.writes == [b"headsmall" + bytes(LARGE_BYTES)]
    stage.first.write_piece(b"last")
    stage.loop.run_soon()
    assert stage.one.writes[1:] == [b"last"]


def test_many_small_pieces_do_not_pile_up() -> None:
    """The transport hears of a flood of small pieces while it comes, and gets every one in its order."""
    stage = Stage()
    pieces = [b"%d." % number for number in range(3 * MOST_GATHERED + 1)]
    for piece in pieces:
        stage.first.write(piece)
    assert len(stage.one.writes) == 3
    stage.loop.run_soon()
    assert stage.one.writes[-1] == pieces[-1]
    assert stage.one.written == b"".join(pieces)


def test_a_reset_is_one_and_a_close_is_none() -> None:
    """Only ``reset`` tells the other end that what it has is not whole; it waits for nothing."""
    stage = Stage()
    stage.first.write(b"lost")
    stage.first.reset()
    stage.second.close()
    assert (stage.one.writes, stage.one.was_reset, stage.two.was_reset) == ([], True, False)


def test_a_write_during_the_flush_gets_a_turn_of_its_own() -> None:
    """A transport whose write makes somebody else write delays that to the next turn, and loses nothing."""
    stage = Stage()
    written = stage.one.write

    def write_and_answer(data: bytes | bytearray | memoryview) -> None:
        written(data)
        stage.second.write(b"answer")

    stage.one.write = write_and_answer  # type: ignore[method-assign]
    stage.first.write(b"question")
    stage.loop.run_soon()
    stage.loop.run_soon()
    assert stage.two.writes == [b"answer"]


def test_what_follows_is_begun_behind_the_writes_and_written_in_the_same_turn() -> None:
    """What others write is out when it begins; what it writes itself, also on a connection that has just written, is
    out when the turn ends, and the loop was asked for one call."""
    stage = Stage()
    seen: list[list[bytes]] = []

    def follow() -> None:
        seen.append([*stage.one.writes, *stage.two.writes])
        stage.first.write(b"copy")
        stage.second.write(b"b")

    stage.outbox.follow(follow)
    stage.outbox.follow(follow)
    stage.first.write(b"a")
    stage.loop.run_soon()
    assert seen == [[b"a"], [b"a"]]
    assert (stage.one.writes, stage.two.writes) == ([b"a", b"copycopy"], [b"bb"])
    while stage.loop.handles:
        stage.loop.run_soon()
    assert (stage.one.writes, stage.two.writes) == ([b"a", b"copycopy"], [b"bb"])
    stage.first.write(b"c")
    stage.loop.run_soon()
    assert stage.one.writes[-1] == b"c"


def test_what_follows_needs_no_writer() -> None:
    """It is begun in a turn in which nobody writes, too."""
    stage = Stage()
    stage.outbox.follow(lambda: stage.first.write(b"copy"))
    while stage.loop.handles:
        stage.loop.run_soon()
    assert stage.one.writes == [b"copy"]


def test_a_fault_in_what_follows_stops_nobody_else() -> None:
    """After an exception the next turn is flushed like any other."""
    stage = Stage()
    stage.first.write(b"a")

    def fail() -> None:
        raise ArithmeticError

    stage.outbox.follow(fail)
    with pytest.raises(ArithmeticError):
        stage.loop.run_soon()
    stage.first.write(b"b")
    stage.loop.run_soon()
    assert stage.one.writes == [b"a", b"b"]

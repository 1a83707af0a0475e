"""The link: what one end sends the other receives, in order, and a broken stream ends it."""

import asyncio
import logging
import socket
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.link import MAX_LINE_BYTES, MAX_UNREAD_BYTES, Link, open_link


class Wire(asyncio.Transport):
    """A transport that keeps what is written and never lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.aborted = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep ``data``."""
        self.written += data

    def get_write_buffer_size(self) -> int:
        """Nothing is ever read on the other side."""
        return len(self.written)

    def abort(self) -> None:
        """Remember it."""
        self.aborted = True

    def is_closing(self) -> bool:
        """Tell whether it was aborted."""
        return self.aborted


class End:
    """One end of a link and what happened to it."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.closed = 0
        self.wire = Wire()
        self.link = Link(self.messages.append, self._on_closed)
        self.link.connection_made(self.wire)

    def _on_closed(self) -> None:
        self.closed += 1


@given(
    st.lists(st.dictionaries(st.text(), st.integers(0, 2**53) | st.text()), max_size=8),
    st.lists(st.integers(1, 40)),
)
def test_any_chunking_gives_the_same_messages(messages: list[dict[str, Any]], cuts: list[int]) -> None:
    """However the bytes are cut, the messages come out whole and in order."""
    sender, receiver = End(), End()
    for message in messages:
        sender.link.send(message)
    stream, at = bytes(sender.wire.written), 0
    for cut in cuts:
        receiver.link.data_received(stream[at : at + cut])
        at += cut
    receiver.link.data_received(stream[at:])
    assert messages == receiver.messages


@pytest.mark.parametrize("line", [b"{\n", b"[]\n", b"1\n", b"\n", b"\xff\n", b"{}{}\n"])
def test_a_broken_line_breaks_the_link(line: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """What is no JSON object breaks the link, and nothing after it is delivered."""
    end = End()
    with caplog.at_level(logging.ERROR):
        end.link.data_received(b'{"op":"a"}\n' + line + b'{"op":"b"}\n')
    assert end.messages == [{"op": "a"}]
    assert end.wire.aborted
    assert "link broken" in caplog.text


def test_an_endless_line_breaks_the_link() -> None:
    """A line over the limit breaks the link instead of filling the memory."""
    end = End()
    piece = b"x" * (1 << 20)
    for _ in range(MAX_LINE_BYTES // len(piece)):
        end.link.data_received(piece)
        assert not end.wire.aborted
    end.link.data_received(b"x")
    assert end.wire.aborted


def test_a_peer_that_does_not_read_breaks_the_link() -> None:
    """What waits for the peer is bounded."""
    end = End()
    message = {"op": "x" * (1 << 20)}
    for _ in range(MAX_UNREAD_BYTES // (1 << 20)):
        end.link.send(message)
    assert end.wire.aborted
    before = len(end.wire.written)
    end.link.send(message)
    assert before == len(end.wire.written)


def test_sending_after_the_end_is_dropped() -> None:
    """A closed link takes messages and forgets them; the owner is told once."""
    end = End()
    end.link.connection_lost(None)
    end.link.send({"op": "late"})
    assert not end.link.is_open
    assert end.closed == 1


async def test_two_ends_talk_over_a_socket_pair() -> None:
    """A large message crosses a real socket pair; closing one end tells the other."""
    ours, theirs = socket.socketpair()
    got: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    closed = asyncio.Event()
    link = await open_link(ours.detach(), got.put_nowait, closed.set)
    other = await open_link(theirs.detach(), lambda message: other.send(message), lambda: None)
    message = {"op": "prepare", "settings": "é" * 3_000_000}
    link.send(message)
    assert message == await got.get()
    other.close()
    await closed.wait()
    assert not link.is_open


async def test_messages_after_closing_are_not_delivered() -> None:
    """A receiver that closes its link in a message gets none after it."""
    end = End()

    def take(message: dict[str, Any]) -> None:
        end.messages.append(message)
        end.wire.abort()

    link = Link(take, lambda: None)
    link.connection_made(end.wire)
    link.data_received(b'{"op":1}\n{"op":2}\n')
    assert end.messages == [{"op": 1}]


def test_at_rest_means_nothing_half_sent_or_half_received() -> None:
    """Only then may another program go on with the same socket."""
    end = End()
    seen = [end.link.is_at_rest]
    end.link.data_received(b'{"op":')
    seen.append(end.link.is_at_rest)
    end.link.data_received(b'"a"}\n')
    seen.append(end.link.is_at_rest)
    end.link.send({"op": "b"})
    seen.append(end.link.is_at_rest)
    assert seen == [True, False, True, False]


async def test_the_descriptor_is_that_of_the_socket() -> None:
    """And none once the link is closed."""
    ours, theirs = socket.socketpair()
    closed = asyncio.Event()
    with theirs:
        fd = ours.fileno()
        link = await open_link(ours.detach(), lambda _: None, closed.set)
        assert link.fd == fd
        link.close()
        await asyncio.wait_for(closed.wait(), 10)
        assert link.fd == -1

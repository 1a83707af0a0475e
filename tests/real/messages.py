"""What two recorded directions of a connection say: requests and their answers, each piece as the bytes that came.

For the well-formed traffic of real programs only: whatever is not understood is an error, never a guess. Nothing is
normalised, so that two messages can be compared to the byte (RFC 9112 §2–§7).
"""

from dataclasses import dataclass, field

__all__ = ["Exchange", "Message", "NotYet", "exchanges", "requests"]


class NotYet(Exception):  # noqa: N818  it is no error: the rest is still on its way
    """A message has begun and is not complete."""


@dataclass
class Message:
    """A request or a response."""

    start: bytes
    """Request line or status line."""
    lines: list[bytes]
    """Header lines as they came, without their line ends."""
    body: bytes = b""
    """Without chunk framing, still compressed if it was."""
    chunks: list[int] | None = None
    """Where each chunk ended, counted in bytes of the body; None: not chunked."""
    trailers: list[bytes] = field(default_factory=list)
    until_close: bool = False
    """The end of the connection was the end of the body."""
    left: bool = False
    """Nobody read it to its end: some clients close once they have the head, or the last event of a stream, and some
    servers answer and close while a request still comes."""

    def values(self, name: bytes) -> list[bytes]:
        """Return the values of every field called ``name`` (lower case)."""
        split = (line.partition(b":") for line in self.lines)
        return [value.strip() for field_name, _, value in split if field_name.lower() == name]

    @property
    def status(self) -> int:
        """The status code of a response."""
        return int(self.start.split(b" ", 2)[1])


@dataclass
class Exchange:
    """A request, what came before its answer, and the answer."""

    request: Message
    interim: list[Message]
    response: Message
    stray: bytes = b""
    """A body behind the answer to ``HEAD``, which must not be there; the last answer of its connection only."""


class _Reader:
    def __init__(self, data: bytes, *, ended: bool = False, left: bool = False) -> None:
        self.data = data
        self.at = 0
        self.ended = ended
        self.left = left

    def line(self) -> bytes:
        end = self.data.find(b"\r\n", self.at)
        if end < 0:
            raise NotYet
        line, self.at = self.data[self.at : end], end + 2
        return line

    def fields(self) -> list[bytes]:
        lines = []
        while line := self.line():
            assert b":" in line, f"expected a header line, got {line!r}"
            lines.append(line)
        return lines

    def take(self, size: int) -> bytes:
        if self.at + size > len(self.data):
            raise NotYet
        self.at += size
        return self.data[self.at - size : self.at]

    def rest(self) -> bytes:
        if not self.ended:
            raise NotYet
        return self.take(len(self.data) - self.at)

    def message(self, *, of_request: bytes | None) -> Message:
        """Read one message; ``of_request`` is the request line that a response answers."""
        message = Message(self.line(), self.fields())
        if of_request is not None and (
            of_request.startswith(b"HEAD ") or message.status in (204, 304) or message.status < 200
        ):
            return message
        codings, lengths = message.values(b"transfer-encoding"), message.values(b"content-length")
        if codings:
            assert codings == [b"chunked"], f"expected chunked alone, got {codings}"
            assert not lengths, "both a length and a transfer coding"
            self._chunked(message)
        elif lengths:
            assert len(lengths) == 1, f"expected one length, got {lengths}"
            message.left = self.left and self.at + int(lengths[0]) > len(self.data)
            message.body = self.take(len(self.data) - self.at if message.left else int(lengths[0]))
        elif of_request is not None:
            message.until_close = True
            message.body = self.rest()
        return message

    def _chunked(self, message: Message) -> None:
        pieces, message.chunks, size = [], [], 0
        try:
            while length := int(self.line(), 16):
                pieces.append(self.take(length))
                size += length
                message.chunks.append(size)
                assert self.take(2) == b"\r\n", "a chunk is longer than it says"
            message.trailers = self.fields()
        except NotYet:
            if not self.left:
                raise
            message.left, self.at = True, len(self.data)
        message.body = b"".join(pieces)


def requests(sent: bytes) -> list[Message]:
    """Return the requests of one connection, whatever became of them.

    Raises:
        NotYet: more bytes have to come.
    """
    reader, found = _Reader(sent), []
    while reader.at < len(sent):
        found.append(reader.message(of_request=None))
    return found


def exchanges(sent: bytes, received: bytes, *, ended: bool, left: bool = False) -> list[Exchange]:
    """Return what happened on one connection.

    Args:
        sent: everything from the client.
        received: everything from the server.
        ended: the server has closed its side.
        left: the client has closed its side.

    Raises:
        NotYet: more bytes have to come.
        AssertionError: not HTTP as this file knows it, or bytes that belong to nothing.
    """
    requests, answers = _Reader(sent, left=ended), _Reader(received, ended=ended, left=left)
    found = []
    while requests.at < len(sent):
        request = requests.message(of_request=None)
        interim = []
        while (response := answers.message(of_request=request.start)).status < 200:
            interim.append(response)
        found.append(Exchange(request, interim, response))
    if found and found[-1].request.start.startswith(b"HEAD "):
        found[-1].stray, answers.at = received[answers.at :], len(received)
    assert answers.at == len(received), f"bytes that answer nothing: {received[answers.at :][:80]!r}"
    return found

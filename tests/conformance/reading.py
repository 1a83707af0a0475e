"""Strict readers of HTTP/1.1: what a proxy emits must fit the narrowest reading of the grammar, or it is not read.

They take only what RFC 9112 lets a sender generate. What a lenient reader would let pass is an :class:`Unreadable`
here, because some other reader might take it for something else.
"""

import re
from dataclasses import dataclass, field

__all__ = ["Message", "MessageReader", "Unreadable"]

_REQUEST_LINE = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+) ([!-~\x80-\xff]+) HTTP/1\.[01]")
_STATUS_LINE = re.compile(rb"HTTP/1\.1 ([1-9][0-9][0-9]) ([\t -~\x80-\xff]*)")
_FIELD = re.compile(
    rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*((?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?)"
)
_LENGTH = re.compile(rb"[0-9]{1,19}")
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,15}")

_HEAD, _BODY, _CHUNK_LINE, _CHUNK, _CHUNK_END, _TRAILERS, _UNTIL_CLOSE = range(7)


class Unreadable(Exception):  # noqa: N818 - named for what the bytes are
    """These bytes are no HTTP/1.1 message that a sender may generate."""


@dataclass
class Message:
    """One request or response."""

    start: bytes
    """First line."""
    fields: list[tuple[bytes, bytes]] = field(default_factory=list)
    """Name as sent, value."""
    body: bytes = b""
    trailers: list[tuple[bytes, bytes]] = field(default_factory=list)
    status: int = 0
    """Of a response."""
    is_whole: bool = False

    @property
    def lines(self) -> list[bytes]:
        """The fields as ``name: value``, names as sent."""
        return [b"%b: %b" % pair for pair in self.fields]

    def values(self, name: bytes) -> list[bytes]:
        """Return every value of the field ``name`` (lower case)."""
        return [value for n, value in self.fields if n.lower() == name]

    def value(self, name: bytes) -> bytes:
        """Return the values of a list field as one, or empty bytes."""
        return b", ".join(self.values(name))


class MessageReader:
    """Reads the requests, or with ``methods`` the responses, that follow each other on one connection.

    Args:
        methods: of the requests that the responses answer, in order; the last stands for all further ones.
            ``None``: read requests.
    """

    def __init__(self, methods: tuple[bytes, ...] | None = None) -> None:
        self.messages: list[Message] = []
        """Those whose head has been read."""
        self.buffer = b""
        """What is not read yet."""
        self.error = ""
        """Why nothing more can be read."""
        self._methods = methods
        self._finals = 0
        self._state = _HEAD
        self._left = 0

    @property
    def is_between(self) -> bool:
        """Everything that came is part of a whole message."""
        return self._state == _HEAD and not self.buffer

    def feed(self, data: bytes) -> None:
        """Read on; what cannot be read sets ``error`` for good."""
        self.buffer += data
        try:
            while not self.error and self._step():
                pass
        except Unreadable as error:
            self.error = str(error)

    def open_tunnel(self) -> None:
        """Take what comes for the body of the last message: its connection has become a tunnel (RFC 9110 §7.8)."""
        self._state = _UNTIL_CLOSE
        self.messages[-1].is_whole = True

    def end(self) -> None:
        """The connection is closed: a body that reaches until then is whole."""
        if self._state == _UNTIL_CLOSE:
            self.messages[-1].is_whole = True
            self._state = _HEAD

    def _step(self) -> bool:
        if self._state == _HEAD:
            return self._read_head()
        message = self.messages[-1]
        if self._state == _UNTIL_CLOSE:
            message.body, self.buffer = message.body + self.buffer, b""
            return False
        if self._state in (_BODY, _CHUNK):
            return self._read_counted(message)
        return self._read_line(message)

    def _read_head(self) -> bool:
        head, end, rest = self.buffer.partition(b"\r\n\r\n")
        if not end:
            return False
        start, *lines = head.split(b"\r\n")
        message = Message(start, [_field(line) for line in lines])
        is_request = self._methods is None
        match = (_REQUEST_LINE if is_request else _STATUS_LINE).fullmatch(start)
        if match is None:
            raise Unreadable(f"start line {start!r}")
        self.messages.append(message)
        self.buffer = rest
        has_body = True
        if self._methods is not None:
            message.status = status = int(match[1])
            has_body = status >= 200 and status not in (204, 304) and self._method() != b"HEAD"
            self._finals += status >= 200
        self._begin_body(message, has_body, is_request)
        if message.status == 101:
            self.open_tunnel()
        return True

    def _method(self) -> bytes:
        methods = self._methods or (b"GET",)
        return methods[min(self._finals, len(methods) - 1)]

    def _begin_body(self, message: Message, has_body: bool, is_request: bool) -> None:
        lengths, codings = message.values(b"content-length"), message.values(b"transfer-encoding")
        if len(lengths) + len(codings) > 1:
            raise Unreadable("more than one field that says how long the body is")
        if lengths and not _LENGTH.fullmatch(lengths[0]):
            raise Unreadable(f"content-length {lengths[0]!r}")
        if codings and codings[0].lower() != b"chunked":
            raise Unreadable(f"transfer-encoding {codings[0]!r}")
        if not has_body:
            self._end_message(message)
        elif codings:
            self._state = _CHUNK_LINE
        elif lengths or is_request:
            self._left = int(lengths[0]) if lengths else 0
            self._state = _BODY
        else:
            self._state = _UNTIL_CLOSE

    def _end_message(self, message: Message) -> None:
        message.is_whole = True
        self._state = _HEAD

    def _read_counted(self, message: Message) -> bool:
        piece, self.buffer = self.buffer[: self._left], self.buffer[self._left :]
        message.body += piece
        self._left -= len(piece)
        if self._left:
            return False
        if self._state == _CHUNK:
            self._state = _CHUNK_END
        else:
            self._end_message(message)
        return True

    def _read_line(self, message: Message) -> bool:
        line, end, rest = self.buffer.partition(b"\r\n")
        if not end:
            return False
        self.buffer = rest
        if self._state == _CHUNK_END:
            if line:
                raise Unreadable(f"{line!r} behind a chunk")
            self._state = _CHUNK_LINE
        elif self._state == _CHUNK_LINE:
            if not _CHUNK_SIZE.fullmatch(line):
                raise Unreadable(f"chunk size {line!r}")
            self._left = int(line, 16)
            self._state = _CHUNK if self._left else _TRAILERS
        elif line:
            message.trailers.append(_field(line))
        else:
            self._end_message(message)
        return True


def _field(line: bytes) -> tuple[bytes, bytes]:
    match = _FIELD.fullmatch(line)
    if match is None:
        raise Unreadable(f"field line {line!r}")
    return match[1], match[2]

"""Parsers that others wrote, from four families: how each of them splits a stream of bytes into messages.

For requests h11 (Python), the Python parser of aiohttp, and Node's server (llhttp) where ``node`` is installed; for
responses h11, the Python parser of aiohttp, and the client of the standard library.
"""

import asyncio
import http.client
import io
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import h11
import orjson
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParserPy, HttpResponseParserPy

__all__ = ["Judge", "Read", "Reading", "aiohttp_answers", "h11_answers", "request_judges", "stdlib_answers"]

Fields = tuple[tuple[bytes, bytes], ...]
LIMIT = 1 << 20
"""Larger than anything that is fed: their own limits are not what is compared."""


class Read(NamedTuple):
    """One whole message as a parser reads it."""

    start: tuple[bytes, bytes]
    """Method and target, or status and nothing."""
    fields: Fields
    """Name in lower case, value; none of a response."""
    body: bytes


class Reading(NamedTuple):
    """What a parser makes of a stream."""

    messages: tuple[Read, ...] = ()
    """The whole ones."""
    error: str = ""
    """Why the rest is none; empty also when more was expected."""
    is_between: bool = True
    """Nothing is left over."""


Judge = Callable[[bytes], Reading]


# Requests


def h11_requests(data: bytes) -> Reading:
    """Return how h11 reads requests."""
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=LIMIT)
    messages = []
    try:
        connection.receive_data(data)
        head, body = None, b""
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Request):
                head, body = event, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                assert head is not None
                messages.append(Read((head.method, head.target), tuple(head.headers), body))
                connection.send(h11.Response(status_code=404, headers=[("content-length", "0")]))
                connection.send(h11.EndOfMessage())
                if connection.our_state is not h11.DONE:
                    return Reading(tuple(messages), is_between=not connection.trailing_data[0])
                connection.start_next_cycle()
            else:
                is_between = connection.their_state is h11.IDLE and not connection.trailing_data[0]
                return Reading(tuple(messages), is_between=is_between)
    except h11.RemoteProtocolError as error:
        return Reading(tuple(messages), str(error), False)


@contextmanager
def _aiohttp_loop() -> Iterator[tuple[BaseProtocol, asyncio.AbstractEventLoop]]:
    loop = asyncio.new_event_loop()
    try:
        yield BaseProtocol(loop), loop
    finally:
        loop.close()


def aiohttp_requests(data: bytes) -> Reading:
    """Return how the Python parser of aiohttp reads requests."""
    with _aiohttp_loop() as (protocol, loop):
        parser = HttpRequestParserPy(
            protocol, loop, LIMIT, max_line_size=LIMIT, max_headers=LIMIT, max_field_size=LIMIT, auto_decompress=False
        )  # fmt: skip
        try:
            messages, _, tail = parser.feed_data(data)
        except (HttpProcessingError, ValueError) as error:
            return Reading((), repr(error), False)
        read = [
            Read(
                (head.method.encode(), head.path.encode("utf-8", "surrogateescape")),
                tuple((name.lower(), value) for name, value in head.raw_headers),
                _taken(payload),
            )
            for head, payload in messages
            if payload.is_eof()
        ]
        return Reading(tuple(read), is_between=len(read) == len(messages) and not tail and not parser._tail)


def _taken(payload: Any) -> bytes:
    """Return what was fed into a stream of aiohttp."""
    return b"".join(getattr(payload, "_buffer", ()))


_NODE_WAITS = "HPE_INVALID_EOF_STATE"
"""What Node says when a connection ends inside a request."""


class _Node:
    """Node's server in a process of its own."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self._said = process.stdout
        self._port = int(process.stdout.readline())

    def __call__(self, data: bytes) -> Reading:
        """Return how Node reads requests."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
            try:
                connection.sendall(data)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65536):
                    pass
            except ConnectionError:
                pass  # it has seen enough
        said = orjson.loads(self._said.readline())
        messages = tuple(map(_node_request, said["requests"]))
        error = "" if said["error"] == _NODE_WAITS else said["error"]
        return Reading(messages, error, not said["error"])


def _node_request(said: dict[str, Any]) -> Read:
    flat = [text.encode("latin-1") for text in said["fields"]]
    fields = tuple((name.lower(), value) for name, value in zip(flat[::2], flat[1::2], strict=True))
    start = (said["method"].encode("latin-1"), said["target"].encode("latin-1"))
    return Read(start, fields, said["body"].encode("latin-1"))


@contextmanager
def request_judges() -> Iterator[dict[str, Judge]]:
    """Give all parsers of requests that there are here, by name: two or three."""
    judges: dict[str, Judge] = {"h11": h11_requests, "aiohttp": aiohttp_requests}
    node = shutil.which("node")
    if node is None:
        yield judges
        return
    script = str(Path(__file__).with_name("node_judge.js"))
    with subprocess.Popen([node, script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield {**judges, "node": _Node(process)}
        finally:
            process.kill()


# Responses


def h11_answers(data: bytes, methods: Sequence[bytes], ended: bool) -> Reading:
    """Return how h11 reads responses to requests with these methods; the last stands for all further ones."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=LIMIT)
    messages: list[Read] = []
    try:
        connection.receive_data(data)
        if ended:
            connection.receive_data(b"")
        _ask(connection, methods, 0)
        status, body = 0, b""
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status, body = event.status_code, b""
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                messages.append(Read((b"%d" % status, b""), (), body))
                if connection.their_state is not h11.DONE or connection.our_state is not h11.DONE:
                    return Reading(tuple(messages), is_between=not connection.trailing_data[0])
                connection.start_next_cycle()
                if not connection.trailing_data[0]:
                    return Reading(tuple(messages))
                _ask(connection, methods, len(messages))
            elif not isinstance(event, h11.InformationalResponse):
                is_between = connection.their_state is h11.SEND_RESPONSE and not connection.trailing_data[0]
                return Reading(tuple(messages), is_between=is_between)
    except h11.RemoteProtocolError as error:
        return Reading(tuple(messages), str(error), False)


def _ask(connection: h11.Connection, methods: Sequence[bytes], number: int) -> None:
    method = methods[min(number, len(methods) - 1)]
    connection.send(h11.Request(method=method, target="/", headers=[("host", "h")]))
    connection.send(h11.EndOfMessage())


def aiohttp_answers(data: bytes, ended: bool) -> Reading:
    """Return how the Python parser of aiohttp reads responses, none of them to HEAD."""
    with _aiohttp_loop() as (protocol, loop):
        parser = HttpResponseParserPy(
            protocol, loop, LIMIT, max_line_size=LIMIT, max_headers=LIMIT, max_field_size=LIMIT,
            auto_decompress=False, read_until_eof=True, response_with_body=True,
        )  # fmt: skip
        error = ""
        messages: list[Any] = []
        try:
            messages, _, tail = parser.feed_data(data)
            if ended:
                parser.feed_eof()
        except (HttpProcessingError, ValueError) as caught:
            error, tail = repr(caught), b""
        finals = [(head, payload) for head, payload in messages if head.code >= 200]
        read = [
            Read((b"%d" % h.code, b""), (), _taken(p)) for h, p in finals if p.is_eof() and not p.exception()
        ]
        for _, payload in finals:
            payload.exception()  # looked at: it is not reported as forgotten
        return Reading(tuple(read), error, len(read) == len(finals) and not tail and not error)


class _Unclosed(io.BytesIO):
    """The stream that several responses are read from, one after the other."""

    def makefile(self, _mode: str) -> "_Unclosed":
        """Play a socket."""
        return self

    def close(self) -> None:
        """Stay open for the next response."""


def stdlib_answers(data: bytes, methods: Sequence[bytes]) -> Reading:
    """Return how the standard library's client reads responses to requests with these methods."""
    stream, messages = _Unclosed(data), list[Read]()
    asked = 0
    while stream.tell() < len(data):
        method = methods[min(asked, len(methods) - 1)].decode()
        answer = http.client.HTTPResponse(stream, method=method)  # type: ignore[arg-type]
        try:
            answer.begin()
            body = answer.read()
        except (http.client.HTTPException, OverflowError, ValueError) as error:
            return Reading(tuple(messages), repr(error), False)
        if answer.status >= 200:
            asked += 1
            messages.append(Read((b"%d" % answer.status, b""), (), body))
    return Reading(tuple(messages))

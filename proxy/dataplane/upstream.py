"""Connections to model servers: one protocol per connection.

Theory of operation
    A connection carries one request at a time. Its pool (:mod:`proxy.dataplane.pool`) lends it to a *sink* (the
    request in flight or a shadow call). It parses the response and hands it over piece by piece; when the message is
    complete it goes back to its pool. Whatever goes wrong reaches the sink as a :class:`~proxy.model.Fault` value,
    exactly once.

    Of a body that is read in pieces the parser sees no more than it must, because it copies each piece and calls back
    for each: the length of a body, or that it goes on to the end of the connection, says all there is to say
    (``unparsed``), and of chunks those that are plain go to a sink that wants them as they are (``on_chunks``). The
    parser is left at the beginning of a chunk by both, and never knows; a body that it has not seen to its end leaves
    it of no use.

    A response is finished only after the parser has eaten the whole read: bytes behind the end of a response belong to
    nobody, so the connection that sent them is closed, never lent again (RFC 9112 §9.2, response splitting).

Timers
    One per connection. It looks at the stored deadline and re-arms itself, never later than ``timeout`` from now, so
    that the next request needs no timer call at all.
"""

import asyncio
import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Protocol

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpResponseParser

from proxy.clock import monotonic_ns
from proxy.dataplane.outbox import Writer
from proxy.errors import BadHead, WireError
from proxy.model import Fault
from proxy.wire.plain import MAX_PLAIN_HEAD_BYTES, PlainResponse, plain_response_head
from proxy.wire.request import Framing, first_value, is_trailer, nominated
from proxy.wire.response import CHUNK_LINES, NO_CHUNK, are_plain_chunks, check_status, response_framing
from proxy.wire.upgrade import switched_protocol

if TYPE_CHECKING:
    from proxy.dataplane.pool import Pool

__all__ = ["GATEWAY_FAILURES", "Sink", "UpstreamConnection"]

MAX_RESPONSE_HEAD_BYTES = 256 * 1024
"""A longer response head, or more lines between and behind the chunks of a body, is a fault (nginx: 4-8 KiB a buffer,
Envoy: 60 KiB, HAProxy: 16 KiB)."""

GATEWAY_FAILURES = frozenset({502, 503, 504})
"""Statuses by which a model server says that it cannot answer, rather than what it answers."""

LAST_READ_BYTES = 256 * 1024

UNPARSED_BYTES = 64 * 1024
"""A body of known length of which so much is still to come is not shown to the parser: what that saves, a copy of each
read, must be worth another parser for the next response."""

_NEVER = 1 << 62
_CR, _LF = b"\r\n"

TakeChunks = Callable[[bytes, int], None]
"""Takes a read that holds nothing but plain chunks (:func:`~proxy.wire.response.are_plain_chunks`), and the time,
instead of ``on_response_body`` and ``on_response_read``."""


class Sink(Protocol):
    """Who receives a response."""

    upgrade: bytes
    """The protocol that was asked for; empty: none."""

    bucket: int
    """Where the unit falls, for models that are balanced by it."""
    endpoint: "Pool | None"
    """The server that was chosen for it last, of a model with several."""

    def on_connected(self, connection: "UpstreamConnection") -> None:
        """A connection is there, after :meth:`Pool.acquire` had none."""

    def on_interim(self, connection: "UpstreamConnection") -> None:
        """A 1xx response."""

    def on_whole_response(self, connection: "UpstreamConnection", head: PlainResponse, body: bytes) -> None:
        """Head and body in one; the connection has been taken back. No other call follows."""

    def on_upgrade(self, connection: "UpstreamConnection", rest: bytes) -> None:
        """The model consents to ``upgrade``; ``rest`` is what it has said in that protocol. No other call follows."""

    def on_response_head(self, connection: "UpstreamConnection") -> None:
        """The head is complete: ``status``, ``reason``, ``names``, ``values``, ``lines``, ``framing``."""

    def on_response_body(self, data: bytes) -> None:
        """A piece of the body, transfer coding removed."""

    def on_response_trailer(self, line: bytes) -> None:
        """A trailer field that may be forwarded, with its CRLF, before the end."""

    def on_response_read(self) -> None:
        """A read from the socket is parsed and the message goes on: time to write out."""

    def on_response_end(self) -> None:
        """The response is complete; the connection has been taken back."""

    def on_fault(self, fault: Fault, stale: bool) -> None:
        """The response will not come (or not be complete); the connection is gone.

        ``stale``: the connection had been used before and not one byte came back, so the server probably closed
        it while it was idle.
        """

    def on_upstream_paused(self, paused: bool) -> None:
        """The connection's write buffer is full (or has room again)."""


class UpstreamConnection(Writer):
    """One connection to a model server."""

    __slots__ = (
        "body_bytes",
        "complete",
        "deadline_ns",
        "feed",
        "framing",
        "head_bytes",
        "head_only",
        "head_seen",
        "keep_alive",
        "lines",
        "may_be_plain",
        "names",
        "nominated",
        "now_ns",
        "on_chunks",
        "parser",
        "pool",
        "read_paused",
        "reason",
        "request_done",
        "seen_byte",
        "sink",
        "status",
        "takes_chunks",
        "timer",
        "unparsed",
        "used",
        "values",
    )

    def __init__(self, pool: "Pool") -> None:
        super().__init__(pool.outbox)
        # Global state
        self.pool = pool
        # Per-connection state
        self.parser = HttpResponseParser(self)
        self.feed = self.parser.feed_data
        self.timer: asyncio.TimerHandle | None = None
        self.deadline_ns = _NEVER
        self.used = False
        self.now_ns = 0
        self.read_paused = False
        # Per-response state
        self.sink: Sink | None = None
        self.head_only = False
        self.request_done = False
        self.may_be_plain = False
        """The request is sent, and not a byte of its answer has come: it may come in one plain piece."""
        self.keep_alive = False
        self._reset()

    def _reset(self) -> None:
        self.names: list[bytes] = []
        self.nominated: frozenset[bytes] | None = None
        """Fields that ``Connection`` names; found with the first trailer."""
        self.values: list[bytes] = []
        self.lines: list[bytes] = []
        self.reason = b""
        self.status = 0
        self.framing = Framing.NONE
        self.head_seen = False
        self.complete = False
        self.seen_byte = False
        self.head_bytes = 0
        self.body_bytes = 0
        """Of the body, as far as the parser has seen it."""
        self.unparsed = 0
        """Bytes of the body that are still to come and that the parser will not see."""
        self.takes_chunks: TakeChunks | None = None
        """Set by a sink that wants plain chunks as they are, when it is told of the head."""
        self.on_chunks: TakeChunks | None = None
        """The same while the parser stands at the beginning of a chunk, and only then."""

    # The pool's and the sink's side

    def send(self, sink: Sink, data: bytes, head_only: bool, done: bool, now_ns: int) -> None:
        """Start a request: ``data`` is the head with as much of the body as there is; ``done`` when that is all."""
        self.sink = sink
        self.head_only = head_only
        self.request_done = done
        self.may_be_plain = done and not head_only
        # While the client is sending it is for the client's deadline to watch; see also pause_writing.
        self.deadline_ns = now_ns + self.pool.limits.timeout_ns if done else _NEVER
        if self.gathered is None:
            # HOT: what ``write`` does then, without the call (benchmarks/NOTES.md, "Bytecodes").
            self.gathered = data
            outbox = self._outbox
            if not outbox.writers:
                outbox.schedule()
            outbox.writers.append(self)
        else:
            self.write(data)

    def send_more(self, data: bytes, done: bool, now_ns: int) -> None:
        """Send a further piece of the request body."""
        self.request_done = done
        self.may_be_plain = done and not (self.seen_byte or self.head_only)
        if self.head_seen:
            self.deadline_ns = now_ns + self.pool.limits.idle_timeout_ns
        elif done:
            self.deadline_ns = now_ns + self.pool.limits.timeout_ns
        self.write_piece(data)

    def give_up(self) -> None:
        """Close at once and tell the sink nothing: it no longer wants the response.

        With a reset: a model that is still being sent a request would see the end only behind all of it.
        """
        self.sink = None
        self.deadline_ns = _NEVER
        self.reset()

    def close(self) -> None:
        """Close an idle connection, without waiting for a server that does not take the rest of what it answered."""
        self.transport.abort()

    def pause_reading(self) -> None:
        """Stop reading: the client is slower than the model. The idle timeout rests as well."""
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading."""
        if self.read_paused:
            self.read_paused = False
            limits = self.pool.limits
            self.deadline_ns = monotonic_ns() + (
                limits.idle_timeout_ns if self.head_seen else limits.timeout_ns
            )
            self.transport.resume_reading()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.pool.open += 1
        now_ns = monotonic_ns()
        self.deadline_ns = now_ns + self.pool.limits.keep_alive_ns
        self._arm(now_ns)

    def connection_lost(self, error: Exception | None) -> None:
        if self.timer is not None:
            self.timer.cancel()
        if error is not None and self.sink is not None and not self.request_done:
            self._read_last()
        sink, self.sink = self.sink, None
        self.pool.on_closed(self)
        if sink is None:
            return
        if self.head_seen and self.framing == Framing.UNTIL_CLOSE and error is None:
            if self.status not in GATEWAY_FAILURES:
                self.pool.on_answer(self.status)
            sink.on_response_end()
            return
        is_stale = self.used and not self.seen_byte
        if not is_stale:
            self.pool.on_failure()
        never_answered = not self.used and not self.seen_byte
        sink.on_fault(self.pool.fault_of_new(error) if never_answered else Fault.RESET, is_stale)

    def _read_last(self) -> None:
        """Read what the model had said before it closed.

        A server that answers before it has read the upload, and closes, resets (RFC 9112 §9.6). Our next write fails
        of that while its answer lies in the socket, and the event loop then reads no more.
        """
        sock = None if self.pool.secured is not None else self.transport.get_extra_info("socket")
        if sock is None:
            return
        with suppress(OSError):
            while self.sink is not None and (data := os.read(sock.fileno(), LAST_READ_BYTES)):
                self.data_received(data)

    def data_received(self, data: bytes) -> None:
        sink = self.sink
        if sink is None:
            self.transport.abort()  # nobody asked: never parse it into the next response
            return
        self.now_ns = now_ns = monotonic_ns()
        if self.may_be_plain:
            if self._take_plain(sink, data):
                return
            self.may_be_plain = False
        elif self.on_chunks is not None:
            # HOT: no parser, no callbacks and no new chunk for an event of a stream, and a short chunk is known by its
            # length: its line can be written in two ways. Saves 7,000 of 21,000 instructions (benchmarks/NOTES.md).
            end, lines = CHUNK_LINES.get(len(data), NO_CHUNK)
            is_one = data[:end] in lines and data[-1] == _LF and data[-2] == _CR
            if is_one or are_plain_chunks(data):
                self.on_chunks(data, now_ns)
                return
        elif self.unparsed:
            self._take_unparsed(sink, data)
            return
        self._read(sink, data)

    def _read(self, sink: Sink, data: bytes) -> None:
        """Let the parser see ``data``, and draw the conclusions."""
        self.seen_byte = True
        self.head_bytes += len(data)
        was_head_seen = self.head_seen
        if not self._parse(sink, data):
            return
        if self.complete:
            self._finish(sink)
            return
        if self.head_bytes > MAX_RESPONSE_HEAD_BYTES:
            self._fail(Fault.PROTOCOL)
            return
        if self.head_seen:
            if not self.pool.limits.total:
                self.deadline_ns = self.now_ns + self.pool.limits.idle_timeout_ns
            if not was_head_seen:
                self._begin_body()
            if self.on_chunks is not None:
                if data.endswith(b"\n"):
                    self.head_bytes = 0
                else:
                    self.on_chunks = None  # the line with the next chunk's size has begun
        sink.on_response_read()

    def _parse(self, sink: Sink, data: bytes) -> bool:
        """Feed the parser; False: the response is not this connection's any more."""
        try:
            self.feed(data)
        except HttpParserUpgrade as switch:
            if self.complete:
                self.keep_alive = False  # bytes behind the response, whatever they say
            elif self.sink is sink:
                self.sink = None
                sink.on_upgrade(self, data[switch.args[0] :])
                return False
        except HttpParserError as error:
            if not self.complete:
                self._on_bad_response(error)
                return False
            self.keep_alive = False  # bytes behind the response
        return self.sink is sink  # else the sink gave the connection up from inside a callback

    def _take_unparsed(self, sink: Sink, data: bytes) -> None:
        """Hand over a piece of a body whose end is known without the parser."""
        # HOT: saves a copy of each read of a large body (benchmarks/NOTES.md).
        left = self.unparsed - len(data)
        self.unparsed = max(left, 0)
        self.head_bytes = 0
        sink.on_response_body(data if left >= 0 else data[:left])
        if self.sink is not sink:
            return
        if left > 0:
            if not self.pool.limits.total:
                self.deadline_ns = self.now_ns + self.pool.limits.idle_timeout_ns
            sink.on_response_read()
            return
        self.complete = True
        self._renew_parser()
        if left == 0 or self._parse(sink, data[left:]):
            self._finish(sink)

    def _begin_body(self) -> None:
        """The read that ended the head has not ended the body: does the parser have to see the rest?"""
        if self.framing == Framing.UNTIL_CLOSE:
            self.unparsed = _NEVER
        elif self.framing == Framing.LENGTH:
            left = int(first_value(self.names, self.values, b"content-length")) - self.body_bytes
            self.unparsed = left if left >= UNPARSED_BYTES else 0

    def _on_bad_response(self, error: HttpParserError) -> None:
        cause = error.__context__
        if isinstance(error, HttpParserCallbackError) and not isinstance(cause, WireError):
            message = "unexpected error while parsing a response"
            self.pool.loop.call_exception_handler({"message": message, "exception": cause or error})
        if self.sink is not None:
            self._fail(Fault.PROTOCOL)

    def _take_plain(self, sink: Sink, data: bytes) -> bool:
        """Hand over a plain response that this read holds whole; False: let the parser read it."""
        # HOT: skips parser, callbacks and the rebuilding of lines; saves 3.5 µs (benchmarks/NOTES.md).
        end = data.find(b"\r\n\r\n", 0, MAX_PLAIN_HEAD_BYTES)
        if end < 0:
            return False
        head = plain_response_head(data[:end])
        if head is None:
            return False
        if len(data) != end + 4 + head[3]:
            return False
        self.sink = None
        self.used = True
        pool = self.pool
        self.deadline_ns = self.now_ns + pool.limits.keep_alive_ns
        if pool.is_simple and not pool.waiting:
            pool.idle.append(self)
        else:
            pool.take_back(self, head.status)
        sink.on_whole_response(self, head, data[end + 4 :])
        return True

    def pause_writing(self) -> None:
        if self.sink is not None:
            if not self.request_done and not self.head_seen:
                # A model that does not take the request is as slow as one that does not answer it.
                self.deadline_ns = monotonic_ns() + self.pool.limits.timeout_ns
            self.sink.on_upstream_paused(True)

    def resume_writing(self) -> None:
        if self.sink is not None:
            if not self.request_done and not self.head_seen:
                self.deadline_ns = _NEVER
            self.sink.on_upstream_paused(False)

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self.complete:
            self.keep_alive = False  # bytes behind the response

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.complete:
            return
        if self.head_seen:
            if self.nominated is None:
                self.nominated = nominated(self.names, self.values)
            if self.sink is not None and is_trailer(name.lower(), self.nominated):
                self.sink.on_response_trailer(b"%b: %b\r\n" % (name, value))
            return
        self.names.append(name.lower())
        self.values.append(value)
        self.lines.append(b"%b: %b\r\n" % (name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        if self.complete or self.sink is None:
            return
        if self.parser.get_http_version() not in ("1.1", "1.0"):
            raise BadHead("expected a response of HTTP/1.1 or HTTP/1.0")
        self.status = status = self.parser.get_status_code()
        self.reason = check_status(status, self.reason)
        if status < 200:
            if status == 101 and not self._is_consent():
                raise BadHead("expected no switch of protocols, or one to the protocol that was asked for")
            return
        self.head_seen = True
        self.framing = response_framing(status, self.names, self.values, self.head_only)
        self.keep_alive = self.parser.should_keep_alive() and (
            # RFC 9112 §6.1: a transfer coding from an HTTP/1.0 server is read, but not trusted twice.
            self.framing < Framing.CHUNKED
            or (self.framing == Framing.CHUNKED and self.parser.get_http_version() == "1.1")
        )
        if status in GATEWAY_FAILURES:
            self.pool.on_answer(status)  # now: the sink may want no more of it
        self.sink.on_response_head(self)
        if self.head_only:
            self.complete = True

    def on_body(self, data: bytes) -> None:
        if self.complete:
            self.keep_alive = False
        elif self.sink is not None:
            self.head_bytes = 0
            self.body_bytes += len(data)
            self.sink.on_response_body(data)

    def on_chunk_header(self) -> None:
        self.on_chunks = None

    def on_chunk_complete(self) -> None:
        self.on_chunks = self.takes_chunks

    @property
    def upgraded_to(self) -> bytes:
        """The protocol that a 101 switches to."""
        return switched_protocol(self.names, self.values)

    def _is_consent(self) -> bool:
        asked = self.sink.upgrade if self.sink is not None else b""
        return bool(asked) and self.upgraded_to.lower() == asked.lower() and self.parser.should_upgrade()

    def on_message_complete(self) -> None:
        if self.status >= 200:
            self.complete = True
        elif self.status == 101:
            return  # the parser now says that it stops here
        elif self.sink is not None:
            self.sink.on_interim(self)
            self._reset()
            self.seen_byte = True

    # The end of a response

    def _finish(self, sink: Sink) -> None:
        self.sink = None
        self.used = True
        reusable = self.keep_alive and self.request_done
        if not self.pool.is_simple and self.status not in GATEWAY_FAILURES:
            self.pool.on_answer(self.status)
        if self.head_only:
            # The parser cannot be told that no body follows a response to HEAD: it is waiting for one.
            self._renew_parser()
        self._reset()
        if reusable and not self.transport.is_closing():
            self.deadline_ns = self.now_ns + self.pool.limits.keep_alive_ns
            if self.read_paused:
                self.read_paused = False
                self.transport.resume_reading()
            self.pool.release(self)
        else:
            self.transport.abort()
        sink.on_response_end()

    def _renew_parser(self) -> None:
        self.parser = HttpResponseParser(self)
        self.feed = self.parser.feed_data

    def _fail(self, fault: Fault) -> None:
        sink, self.sink = self.sink, None
        self.transport.abort()
        if sink is not None:
            self.pool.on_failure()
            sink.on_fault(fault, False)

    # Timer

    def _arm(self, now_ns: int) -> None:
        limits = self.pool.limits
        wake_ns = min(
            self.deadline_ns, now_ns + min(limits.timeout_ns, limits.idle_timeout_ns, limits.keep_alive_ns)
        )
        self.timer = self.pool.loop.call_later(max(wake_ns - now_ns, 1_000_000) / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        now_ns = monotonic_ns()
        limits = self.pool.limits
        if not limits.total and (self.read_paused or self.on_chunks is not None):
            # While it is not read the time rests; and plain chunks leave it to the timer to look when they came.
            since_ns = now_ns if self.read_paused else self.now_ns
            self.deadline_ns = max(self.deadline_ns, since_ns + limits.idle_timeout_ns)
        if now_ns < self.deadline_ns:
            self._arm(now_ns)
        elif self.sink is None:
            self.timer = None
            self.pool.discard(self)
            self.close()
        else:
            self.timer = None
            self._fail(Fault.IDLE_TIMEOUT if self.head_seen and not limits.total else Fault.TIMEOUT)

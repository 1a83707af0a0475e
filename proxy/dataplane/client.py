"""Connections from clients: parse requests, one answer at a time, in order.

Theory of operation
    The parser runs over whole reads. A request is begun when its head is complete and its predecessor is answered;
    pipelined ones wait in ``waiting`` and reading stops meanwhile, so at most one read's worth is held. Everything
    a read brings is written upstream in one go at its end.

    What is not HTTP is answered once, after whatever was asked before it, and the connection is closed. A connection
    that must be closed with a request body still coming is *lingering*: the answer is flushed, our side is shut, and
    what arrives is thrown away for a moment, so that a reset does not destroy the answer on its way (RFC 9112 §9.6).

    A client that does not take its answers is given no more of them: the model is not read on its behalf, and its next
    request does not begin. If it takes nothing at all for ``timeouts.client_body``, it is cut off.

Timers
    One per connection; see ``upstream``. It wakes often enough for the shortest time that may be set while a request is
    under way. A connection that it finds idle *rests*: the timer waits for the end of ``timeouts.keep_alive``, and what
    the client sends wakes it up. Else a hundred thousand idle connections would cost a fifth of a core.
"""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from httptools import HttpParserCallbackError, HttpParserError, HttpParserUpgrade, HttpRequestParser

from proxy.clock import monotonic_ns
from proxy.dataplane.assignment import begin
from proxy.dataplane.behind import parser_behind
from proxy.dataplane.endings import leave_alone, refuse, time_out
from proxy.dataplane.inflight import HIGH_WATER_BYTES, InFlight
from proxy.dataplane.life import DONE, QUEUED
from proxy.dataplane.outbox import Writer
from proxy.errors import BadHead, HeadTooLarge, LastStop, WireError
from proxy.exchange import Flag
from proxy.wire.head import MAX_REQUEST_ID_BYTES, check_request, check_size, status_of_syntax
from proxy.wire.plain import MAX_PLAIN_HEAD_BYTES, cut_request_id, plain_request_head
from proxy.wire.request import Framing, first_value, forwarded_lines, is_trailer, nominated
from proxy.wire.response import build_reply

if TYPE_CHECKING:
    from proxy.dataplane.worker import Worker

__all__ = ["ClientConnection"]

LINGER_NS = 2_000_000_000
"""How long the rest of an unwanted request is read and thrown away (nginx ``lingering_timeout``: 5 s)."""

MOST_WAITING = 256
"""Pipelined requests that wait for their turn; one more is refused. Parsed, each takes twenty times its bytes."""

LAST_IDLE_NS = 1_000_000_000
"""How long an idle connection is still listened to while the worker drains: a client that was about to send its next
request gets an answer, which says that it is the last (nginx ``keepalive_min_timeout``)."""

_NEVER = 1 << 62

_REQUEST_LINE_REST = 64
"""Bytes of a request line that are not its target, at most; see ``_on_incomplete``."""


class ClientConnection(Writer):
    """One connection from a client to ``worker``, which calls it by URLs with ``scheme`` (``http`` or ``https``)."""

    __slots__ = (
        "client_left",
        "closing",
        "current",
        "deadline_ns",
        "deaf",
        "early",
        "feed",
        "forwarded",
        "forwarded_host",
        "head_bytes",
        "incoming",
        "last_reply",
        "lines",
        "lingering",
        "look_ns",
        "names",
        "nominated",
        "now_ns",
        "parser",
        "peer",
        "read_paused",
        "reading",
        "resting",
        "scheme",
        "take_deadline_ns",
        "target",
        "timer",
        "trailers",
        "unsent_bytes",
        "values",
        "waiting",
        "worker",
        "write_paused",
    )

    def __init__(self, worker: "Worker", scheme: bytes = b"http") -> None:
        super().__init__(worker.outbox)
        # Global state
        self.worker = worker
        # Per-connection state
        self.scheme = scheme
        self.parser = HttpRequestParser(self)
        self.feed = self.parser.feed_data
        self.peer = b""
        self.timer: asyncio.TimerHandle | None = None
        self.deadline_ns = _NEVER
        self.look_ns = 0
        self.now_ns = 0
        self.read_paused = False
        self.write_paused = False
        self.take_deadline_ns = _NEVER
        self.unsent_bytes = 0
        self.closing = False
        self.resting = False
        self.lingering = False
        self.deaf = False  # until the answer is out, what comes stays in the kernel
        self.client_left = False
        self.last_reply = b""
        self.early: bytes | None = None
        """What came behind a request that asks for another protocol, while it is not known which one is spoken."""
        self.forwarded_host = b""
        self.forwarded = b""
        # Per-request state
        self.incoming: InFlight | None = None
        self.current: InFlight | None = None
        self.waiting: deque[InFlight] = deque()
        self.reading = False
        self.head_bytes = 0
        self.target = b""
        self.names: list[bytes] = []
        self.nominated: frozenset[bytes] | None = None
        """Fields that ``Connection`` names; found with the first trailer."""
        self.values: list[bytes] = []
        self.lines: list[bytes] = []
        self.trailers = 0

    def forwarded_lines(self, host: bytes) -> bytes:
        """Return the ``x-forwarded-*`` and ``via`` lines, built once per connection and host."""
        if host != self.forwarded_host:
            self.forwarded_host = host
            self.forwarded = forwarded_lines(self.peer, host, self.scheme)
        return self.forwarded

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        peer = transport.get_extra_info("peername")
        self.peer = str(peer[0]).encode() if isinstance(peer, tuple) else b""
        self.now_ns = now_ns = monotonic_ns()
        worker = self.worker
        if not worker.on_client_connected(self):
            worker.table.slots[worker.table.slot_unrouted + 503] += 1
            sentence = "too many connections; see limits.connections"
            date = worker.date_line
            self.write(build_reply(503, sentence, worker.ids.fresh(), retry_after_s=1, date=date))
            self.linger()
        else:
            patience_ns = LAST_IDLE_NS if worker.draining else worker.table.settings.timeouts.client_head
            self.deadline_ns = now_ns + patience_ns
        self._arm(now_ns)

    def connection_lost(self, _error: Exception | None) -> None:
        self.client_left = True
        if self.timer is not None:
            self.timer.cancel()
        current, self.current = self.current, None
        self.waiting.clear()
        if current is not None and current.state != DONE:
            self.now_ns = monotonic_ns()
            leave_alone(current)
        self.worker.on_client_disconnected(self)

    def eof_received(self) -> bool:
        """A client that shuts its side has left (as for Envoy and nginx): cancel, do not answer."""
        return False

    def data_received(self, data: bytes) -> None:
        if self.closing:
            return
        self.now_ns = monotonic_ns()
        if self.resting:
            self.resting = False
            self._arm(self.now_ns)
        if not self.reading and self.current is None and self._take_plain(data):
            return
        self.head_bytes += len(data)
        try:
            self._parse(data)
        except HttpParserError as error:
            self._on_bad_request(error, data)
        current = self.current
        if current is not None:
            current.after_read()
        if self.reading and not self.closing:
            self._on_incomplete()

    def _parse(self, data: bytes) -> None:
        """Feed the parser, and another one behind each head that asks for another protocol.

        If it is one to be tunnelled, what follows waits for the model's consent. Else the request is answered as if it
        had not asked (RFC 9110 §7.8). But the parser has no eyes for what follows: neither for the next request, nor
        for the body of this one.
        """
        if self.early is not None:
            self.early += data
            if len(self.early) > HIGH_WATER_BYTES:
                self.pause_reading()
            return
        rest: bytes | memoryview = data
        while rest and not self.closing:
            try:
                self.feed(rest)
            except HttpParserUpgrade as upgrade:
                incoming = self.incoming
                self.parser = (
                    HttpRequestParser(self) if incoming is None else parser_behind(self, incoming.head)
                )
                self.feed = self.parser.feed_data
                rest = memoryview(rest)[upgrade.args[0] :]
                if self.current is not None and self.current.upgrade:
                    self.early = bytes(rest)
                    return
            else:
                return

    def _take_plain(self, data: bytes) -> bool:
        """Begin a plain request that this read holds whole; False: let the parser read it."""
        # HOT: skips parser and callbacks; saves 3.5 µs (benchmarks/NOTES.md).
        table = self.worker.table
        end = data.find(b"\r\n\r\n", 0, MAX_PLAIN_HEAD_BYTES)
        if end < 0 or end > table.head_limit:
            return False
        text, request_id = data[:end], b""
        if not table.request_id_is_unit:
            text, request_id = cut_request_id(text)
        head = plain_request_head(text)
        if head is None or len(data) != end + 4 + head.length:
            return False
        if len(head.names) + bool(request_id) > table.fields_limit:
            return False
        self.current = flight = InFlight(self, head, request_id, data[end + 4 :])
        if head.length > table.copy_limit:
            flight.flags |= Flag.REQUEST_TRUNCATED
        self.deadline_ns = _NEVER
        begin(flight)
        if flight.out:
            flight.after_read()
        elif flight.shadows:
            self.worker.outbox.follow(flight.launch)
        return True

    def pause_writing(self) -> None:
        self.write_paused = True
        self.unsent_bytes = self.transport.get_write_buffer_size()
        current = self.current
        if current is None:
            self.pause_reading()
        elif current.connection is not None:
            current.connection.pause_reading()
        if not self.closing:
            self.take_deadline_ns = monotonic_ns() + self.worker.table.settings.timeouts.client_body

    def resume_writing(self) -> None:
        self.write_paused = False
        if self.closing:
            return
        self.now_ns = monotonic_ns()
        self.take_deadline_ns = _NEVER
        current = self.current
        if current is None:
            self.on_finished(None)
        elif current.connection is not None:
            current.connection.resume_reading()

    def pause_reading(self) -> None:
        """Stop reading: the model is slower than the client, or an earlier request is not answered yet."""
        if not self.read_paused and not self.transport.is_closing():
            self.read_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Go on reading, unless what was read is still waiting for its turn."""
        if not self.read_paused or self.deaf or self.waiting or self.last_reply:
            return
        if not self.transport.is_closing():
            self.read_paused = False
            self.transport.resume_reading()
            if self.incoming is not None:
                self.deadline_ns = monotonic_ns() + self.worker.table.settings.timeouts.client_body

    # httptools callbacks

    def on_message_begin(self) -> None:
        if self.closing:
            raise BadHead("nothing is read behind the last answer")
        if len(self.waiting) >= MOST_WAITING:
            raise BadHead(f"more than {MOST_WAITING} requests wait for their turn", 503)
        self.reading = True
        self.target = b""
        self.names = []
        self.nominated = None
        self.values = []
        self.lines = []
        self.trailers = 0
        if self.current is None:
            self.deadline_ns = self.now_ns + self.worker.table.settings.timeouts.client_head

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        value = value.rstrip(b" \t")  # RFC 9110 §5.5; the parser takes off only what stands in front
        if self.incoming is not None:
            if self.nominated is None:
                self.nominated = nominated(self.names, self.values)
            if is_trailer(name.lower(), self.nominated):
                self.incoming.on_request_trailer(b"%b: %b\r\n" % (name, value))
            self.trailers += 1
            if self.trailers > self.worker.table.settings.limits.headers:
                raise HeadTooLarge("more trailer fields than limits.headers")
            return
        self.names.append(name.lower())
        self.values.append(value)
        self.lines.append(b"%b: %b\r\n" % (name, value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        limits = self.worker.table.settings.limits
        check_size(self.target, self.lines, limits.head, limits.headers)
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise BadHead(f"expected HTTP/1.1 or HTTP/1.0, got {version}", 505)
        http11 = version == "1.1"
        head = check_request(
            parser.get_method(),
            self.target,
            self.names,
            self.values,
            self.lines,
            http11=http11,
            keep_alive=parser.should_keep_alive(),
        )
        self.incoming = incoming = InFlight(self, head)
        if self.current is None:
            self.current = incoming
            incoming.may_upgrade = http11 and head.framing == Framing.NONE and parser.should_upgrade()
            begin(incoming)
        else:
            self.waiting.append(incoming)
            self.pause_reading()

    def on_body(self, data: bytes) -> None:
        assert self.incoming is not None
        self.head_bytes = 0
        self.incoming.on_request_body(data)

    def on_message_complete(self) -> None:
        incoming = self.incoming
        assert incoming is not None
        head = incoming.head
        if head.framing != Framing.NONE and b"upgrade" in head.names and self.parser.should_upgrade():
            return  # the parser takes the end of the head for the end of the message; see ``_parse``
        self.incoming = None
        self.reading = False
        self.head_bytes = 0
        self.deadline_ns = _NEVER
        incoming.on_request_end()

    # The course of a connection

    def on_answered(self, flight: InFlight) -> None:
        """The answer to the current request is written."""
        if self.client_left:
            return
        if not flight.keep_alive:
            if flight.is_cut and not flight.head.http11:
                self.closing = True
                self.flush_writes()
                self.reset()  # a body that ends with the connection: only a reset says "not whole"
            elif self.read_paused or (flight.head.keep_alive and self.worker.draining):
                self.linger()  # something is unread, or on its way: it is we who end it
            else:
                self.close() if flight.request_done else self.linger()
        elif flight.request_done:
            self.on_finished(flight)
        else:
            self.resume_reading()

    def on_finished(self, flight: InFlight | None) -> None:
        """The current request is answered and read to its end: the next one, if it is here already."""
        if self.client_left or self.closing or self.current is not flight:
            return
        self.current = None
        if self.write_paused:
            self.pause_reading()
            return
        if self.waiting:
            self.current = following = self.waiting.popleft()
            self.now_ns = monotonic_ns()
            self.worker.loop.call_soon(following.begin_queued)
            self.resume_reading()
            return
        if self.last_reply:
            self.write(self.last_reply)
            self.linger()
            return
        if self.read_paused:
            self.resume_reading()
        if self.early is not None:
            early, self.early = self.early, None
            if early:
                self.data_received(early)
                return
        if self.worker.draining and not self.reading:
            self._await_last()
            return
        timeouts = self.worker.table.settings.timeouts
        self.deadline_ns = self.now_ns + (timeouts.client_head if self.reading else timeouts.keep_alive)

    def become_tunnel(self) -> bytes:
        """Give the connection up to a tunnel; return what the client has sent for it already."""
        early, self.early = self.early or b"", None
        self.current = None
        self.closing = self.client_left = True
        self.deadline_ns = self.take_deadline_ns = _NEVER
        return early

    def close(self) -> None:
        """Close once everything is written; see ``_on_untaken`` for clients that do not take it."""
        self.closing = True
        self.take_deadline_ns = monotonic_ns() + self.worker.table.settings.timeouts.client_body
        super().close()

    def drain(self) -> None:
        """Take one more request at most: its answer will say ``connection: close``."""
        if self.current is None and not self.reading and not self.closing:
            self._await_last()

    def _await_last(self) -> None:
        """Close soon, unless a request comes that was on its way before the client could know."""
        now_ns = monotonic_ns()
        self.deadline_ns = now_ns + LAST_IDLE_NS
        self._arm(now_ns)

    def linger(self) -> None:
        """Flush, shut our side, and throw away what still comes."""
        self.closing = True
        self.lingering = True
        self.waiting.clear()
        self.last_reply = b""
        self.deaf = False
        self.resume_reading()
        self.take_deadline_ns = monotonic_ns() + LINGER_NS
        self.flush_writes()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    def _on_incomplete(self) -> None:
        """After a read that ended inside a request: limits and deadlines."""
        # All bytes since the last piece of body: a head, or the lines between and behind the chunks.
        if self.head_bytes > self.worker.table.settings.limits.head:
            if self.incoming is None and len(self.target) > self.head_bytes - _REQUEST_LINE_REST:
                self._refuse(414, "the request target is larger than limits.head")
            else:
                self._refuse(431, "the request's header or trailer lines are larger than limits.head")
        elif self.incoming is not None and self.current is self.incoming:
            self.deadline_ns = self.now_ns + self.worker.table.settings.timeouts.client_body

    def _on_bad_request(self, error: HttpParserError, data: bytes) -> None:
        """What is not HTTP, or not HTTP we accept: the one place where parser errors end."""
        last = self.waiting[-1] if self.waiting else self.current
        if self.closing:
            return
        if last is not None and self.incoming is None and not last.head.keep_alive:
            self.deaf = True  # behind what the client itself called its last request: RFC 9112 §9.6
            self.pause_reading()
            self.reading = False
            return
        cause = error.__context__
        if isinstance(cause, LastStop):
            self._refuse(cause.status_hint, str(cause))
        elif isinstance(cause, WireError):
            self._refuse(cause.status_hint, f"bad request: {cause}")
        elif isinstance(error, HttpParserCallbackError):
            self.worker.on_bug(cause or error)
            self._refuse(500, "an error of the proxy's own; its log says more")
        else:
            said = str(error).lower()
            self._refuse(
                status_of_syntax(said, data, begins_there=self.head_bytes > 0), f"bad request: {said}"
            )

    def _refuse(self, status: int, sentence: str) -> None:
        """Answer ``status`` after all earlier answers, and close."""
        request_id = self._request_id_so_far()
        incoming, self.incoming = self.incoming, None
        self.reading = False
        current = self.current
        if incoming is not None and incoming is not current:
            self.waiting.remove(incoming)
        elif incoming is not None:
            if incoming.state == DONE:
                self.linger()  # answered already: another answer would be taken for the next request's
                return
            if incoming.state != QUEUED:
                incoming.keep_alive = False
                refuse(incoming, status, sentence)
                return
            incoming.state = DONE
            self.current = current = None
        table = self.worker.table
        table.slots[table.slot_unrouted + status] += 1
        self.last_reply = build_reply(status, sentence, request_id, date=self.worker.date_line)
        if current is None:
            self.write(self.last_reply)
            self.linger()
        else:
            self.pause_reading()

    def _request_id_so_far(self) -> bytes:
        """Return the client's id for the request that is being read, or a fresh one."""
        told = first_value(self.names, self.values, b"x-request-id") if self.reading else b""
        return told if 0 < len(told) <= MAX_REQUEST_ID_BYTES else self.worker.ids.fresh()

    # Timer: one for what the client sends (``deadline_ns``), for what it takes, and for the whole request

    def _arm(self, now_ns: int) -> None:
        if self.timer is not None:
            self.timer.cancel()
        table = self.worker.table
        timeouts = table.settings.timeouts
        shortest = min(timeouts.client_head, timeouts.client_body, timeouts.keep_alive, LINGER_NS)
        shortest = _NEVER if self.resting else min(shortest, table.shortest_timeout_ns)
        wake_ns = min(self.deadline_ns, self.take_deadline_ns, self._request_deadline_ns(), now_ns + shortest)
        self.timer = self.worker.loop.call_later(max(wake_ns - now_ns, 1_000_000) / 1e9, self._on_timer)

    def _on_timer(self) -> None:
        self.now_ns = now_ns = monotonic_ns()
        if now_ns >= self.take_deadline_ns:
            self._on_untaken(now_ns)
        elif now_ns >= self.deadline_ns:
            self._on_unsent(now_ns)
        elif now_ns >= self._request_deadline_ns():
            assert self.current is not None
            time_out(self.current)
        elif self.read_paused and not self.closing and self.has_peer_ended():
            self.transport.abort()  # it has left, behind what is not read yet
        self.resting = (
            self.current is None
            and not self.reading
            and not self.closing
            and self.take_deadline_ns == _NEVER != self.deadline_ns
        )
        self._arm(now_ns)

    def _request_deadline_ns(self) -> int:
        """Return when the current request must be done; never while it has no route or is done."""
        current = self.current
        if current is None or current.state in (QUEUED, DONE):
            return _NEVER
        return current.started_ns + current.route.timeout_ns

    def _on_untaken(self, now_ns: int) -> None:
        """It is time that the client had taken something, or all if the connection is closing."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent != self.unsent_bytes:
            self.unsent_bytes = unsent  # slow, but not dead
            self.take_deadline_ns = now_ns + self.worker.table.settings.timeouts.client_body
        else:
            self.closing = True
            self.take_deadline_ns = _NEVER
            # What it does not take is dropped, or the kernel would offer it for minutes.
            (self.reset if unsent else self.transport.abort)()

    def _on_unsent(self, now_ns: int) -> None:
        """It is time that the client had sent something."""
        due_ns, self.deadline_ns = self.deadline_ns, _NEVER
        if self.closing or self.read_paused:
            return  # what it sends is not wanted, or the model is the slow one
        if self.reading:
            self._refuse(408, "the request did not arrive in time")
        elif due_ns != self.look_ns:
            # What came while the timer was due is read before it fires again.
            self.look_ns = self.deadline_ns = now_ns
        elif self.worker.draining:
            self.linger()
        else:
            self.close()

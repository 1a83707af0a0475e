"""One request between a client and a model: assigned, forwarded, answered, counted.

Life of a request (``state``)::

    QUEUED ──begin──► UNIT ──body complete──► FORWARDING ──response complete, fault, client left──► DONE
              │                                  ▲
              └──── unit found in the head ──────┘

``QUEUED`` holds pipelined requests whose predecessor is not answered yet, ``UNIT`` those whose unit is in the body. In
``DONE`` the rest of a request body that nobody wants any more is read and thrown away.

A request reads the worker's table once, in :meth:`InFlight.begin`. It is counted exactly once as started and exactly
once with a code, whatever happens.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.dataplane.mirror import launch_shadows
from proxy.dataplane.shipping import ship_primary
from proxy.dataplane.upstream import UpstreamConnection
from proxy.exchange import Flag
from proxy.identifiers import random_bits
from proxy.model import DURATION_BOUNDS_NS, FAULT_SENTENCES, FAULT_STATUS, Fault
from proxy.routing.choose import (
    IN_BODY,
    NO_UNIT,
    Choice,
    find_unit,
    find_unit_with_body,
    forced_variant,
    is_logged,
    remember,
    shadows_for,
    who_asks,
)
from proxy.routing.hashing import bucket
from proxy.routing.table import Route, Shadow, Table, Variant
from proxy.wire.head import RequestHead
from proxy.wire.request import Framing, build_head, common_block, first_value, rewrite_target
from proxy.wire.response import (
    CONTINUE,
    LAST_CHUNK,
    build_interim,
    build_plain_head,
    build_reply,
    build_response_head,
    chunk,
    forwarded_block,
)
from proxy.wire.trace import read_context

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection
    from proxy.dataplane.worker import Worker

__all__ = ["InFlight"]

QUEUED, UNIT, FORWARDING, DONE = range(4)

CLIENT_LEFT = 499
"""Status under which a request is counted whose client left before the answer began (nginx's convention)."""

HIGH_WATER_BYTES = 256 * 1024
"""Request bytes held while no connection is there yet; above, the client is not read."""


_RETRY_AFTER_S = 1


def _rest_of(data: bytes, size: int, limit: int) -> bytes:
    """Return what of ``data``, with which a body has ``size`` bytes, lies within the first ``limit``."""
    return data[: max(limit - size + len(data), 0)]


class InFlight:
    """One request. The client connection feeds it the request, the upstream connection the response.

    HOT: what most requests never set is a default of the class, not an assignment of the constructor; saves 0.6 µs
    a request against ``__slots__`` (``benchmarks/micro_road.py``).
    """

    state = QUEUED
    # Request
    request_done = False
    request_bytes = 0
    held: list[bytes] | None = None
    """Pieces of the body that came before it was known where they go."""
    out: list[bytes] | None = None
    """Request bytes to be written upstream at the end of this read."""
    replay = b""
    """The whole request as it was written, while it can be sent again."""
    request_id = b""
    """The client's or a fresh one; set before ``begin`` when it was cut from the head."""
    framing_line = b""
    # Assignment
    table: Table
    route: Route
    variant: Variant
    unit = b""
    unit_source = NO_UNIT
    bucket = 0
    connection: UpstreamConnection | None = None
    # Copies
    flags = 0
    number = 0
    copy: list[bytes] | None = None
    shadows: Sequence[Shadow] | None = None
    shadows_sent = 0
    traceparent = b""
    span_id = 0
    request_head = b""
    # Response
    status = 0
    ttfb_ns = 0
    head_sent = False
    chunked_out = False
    response_bytes = 0
    response_out: list[bytes] | None = None
    """Response bytes to be written to the client at the end of this read."""
    response_head = b""
    response_copy: list[bytes] | None = None
    fault = Fault.NONE
    is_cut = False
    """The answer ended before it was whole."""

    def __init__(self, client: "ClientConnection", head: RequestHead) -> None:
        self.client = client
        self.worker: Worker = client.worker
        self.head: RequestHead = head
        self.keep_alive = head.keep_alive

    # Request

    def begin(self) -> None:
        """Find the route, and assign unless that needs the body."""
        head, client, worker = self.head, self.client, self.worker
        self.table = table = worker.table
        self.started_ns = client.now_ns
        self.request_id = self.request_id or head.request_id or worker.ids.fresh()
        choice = table.choices.get(head)
        if choice is not None:
            return self._begin_again(choice)
        route = table.match(head.path, head.host_name, head.method)
        if route is None:
            return self.refuse(404, "no route matches this path; see the routes of the configuration")
        if head.length > table.body_limit:
            return self._refuse_large()
        self.route = route
        if head.framing == Framing.CHUNKED:
            self.framing_line = b"transfer-encoding: chunked\r\n"
        if head.is_special or table.trace_limit:
            self._build_special_block()
        else:
            # HOT: nothing to look at line by line; saves 1.5 µs for ten headers.
            self.block = head.block + client.forwarded_lines(head.host)
        return self._find_unit()

    def _begin_again(self, choice: Choice) -> None:
        """Begin a request whose head has been seen under this table: what was chosen then is chosen now."""
        # HOT: matching, finding the unit, hashing and sampling are skipped; saves 1.5 µs (benchmarks/NOTES.md).
        head, slots = self.head, self.table.slots
        self.route, self.unit, self.unit_source, self.bucket, variant, shadows, is_logged = choice
        self.variant = variant
        self.block = head.block + self.client.forwarded_lines(head.host)
        slots[self.route.slot_units + self.unit_source] += 1
        slots[variant.slot_started] += 1
        if shadows or is_logged:
            self._keep_copies(shadows, is_logged)
        self._send_head()

    def _refuse_large(self) -> None:
        self.keep_alive = False
        self.refuse(413, "the request body is larger than limits.body")

    def _build_special_block(self) -> None:
        head, limit = self.head, self.table.trace_limit
        names, values = head.names, head.values
        context = read_context(names, values)
        self.traceparent = context.traceparent
        if limit or (b"traceparent" in names and not context.traceparent):
            context = context.child(random_bits(16), random_bits(8), limit)
            self.span_id = context.span_id
            if context.sampled:
                self.flags |= Flag.TRACED
        block = common_block(
            names,
            values,
            head.lines,
            client=self.client.peer,
            host=head.host,
            trace_lines=context.lines(),
            http11=head.http11,
        )
        if b"host" not in names:
            block = b"host: %b\r\n" % (head.host or self.route.champion.model.host_header) + block
        if b"expect" in names:
            self.framing_line += b"expect: %b\r\n" % first_value(names, values, b"expect")
        self.block = block

    def _find_unit(self) -> None:
        head = self.head
        names, values = head.names, head.values
        client = self.client.peer
        if self.table.trusted:
            client = who_asks(self.table, names, values, client)
        unit, source = find_unit(self.route, names, values, head.target, client, head.framing != Framing.NONE)
        if source != IN_BODY:
            self._assign(unit, source)
            return
        self.state = UNIT
        self.table.undecided += 1
        if b"expect" in names:
            # We must have the body to choose the model, so the model cannot be asked first (RFC 9110 §10.1.1).
            self.framing_line = b"transfer-encoding: chunked\r\n" if head.framing == Framing.CHUNKED else b""
            if head.http11:
                self.client.write(CONTINUE)
        if self.request_done:
            self._assign_from_body()

    def _assign_from_body(self) -> None:
        head = self.head
        self.table.undecided -= 1
        complete = self.request_done and not self.flags & Flag.REQUEST_TRUNCATED
        body = b"".join(self.held or ()) if complete else b""
        client = who_asks(self.table, head.names, head.values, self.client.peer)
        self._assign(*find_unit_with_body(self.route, head.names, head.values, head.target, client, body))

    def _assign(self, unit: bytes, source: int) -> None:
        """Choose the variant, count the request, decide what is copied, and send it on its way.

        A request without a unit draws by its request id, or goes to the champion (``missing_unit``).
        """
        route, slots = self.route, self.table.slots
        self.unit = unit
        self.unit_source = source
        self.bucket = drawn = bucket(route.unit_prefix, unit or self.request_id)
        if source != NO_UNIT:
            slots[route.slot_units + source] += 1
            variant = route.assign(drawn)
        else:
            slots[route.slot_units + len(route.readers)] += 1
            variant = route.champion if route.missing_champion else route.assign(drawn)
        head, table = self.head, self.table
        if head.forced:
            forced = forced_variant(table, route, head.names, head.values, self.client.peer)
            if forced is not None:
                self.flags |= Flag.FORCED
                variant = forced
        self.variant = variant
        slots[variant.slot_started] += 1
        shadows = shadows_for(route, unit or self.request_id) if route.shadows else ()
        logged = route.log_limit > 0 and is_logged(route, unit or self.request_id)
        if shadows or logged or self.flags & Flag.TRACED:
            self._keep_copies(shadows, logged)
        if self.state == QUEUED:
            remember(table, head, Choice(route, unit, source, drawn, variant, shadows, logged))
        self._send_head()

    def _keep_copies(self, shadows: Sequence[Shadow], is_logged: bool) -> None:
        """Keep both bodies on the side, for the shadows and for the observer."""
        if shadows:
            self.shadows = shadows
            self.flags |= Flag.MIRRORED
        if is_logged:
            self.flags |= Flag.LOGGED
        self.number = self.worker.next_number()
        self.response_copy = []
        limit = self.table.copy_limit
        if self.request_bytes <= limit:
            self.copy = self.held[:] if self.held else []
        else:
            self.flags |= Flag.REQUEST_TRUNCATED
            self.copy = [b"".join(self.held or ())[:limit]]

    def _send_head(self) -> None:
        head, model = self.head, self.variant.model
        target = head.target
        if model.prefix:
            target = rewrite_target(target, self.route.matched_prefix, model.prefix)
        data = build_head(head.method, target, self.block, self.request_id, self.framing_line)
        if self.copy is not None:
            self.request_head = data
        held, self.held = self.held, None
        self.state = FORWARDING
        if self.request_done and head.framing != Framing.CHUNKED:
            self.out = [b"".join((data, *held)) if held else data]
        elif not held:
            self.out = [data]
        elif head.framing == Framing.CHUNKED:
            self.out = [data, *map(chunk, held)]
        else:
            self.out = [data, *held]
        got = model.pool.acquire(self)
        if got.__class__ is UpstreamConnection:
            self.connection = got
        elif got is not None:
            self.on_fault(got, False)

    def on_request_body(self, data: bytes) -> None:
        """Take a piece of the request body."""
        self.request_bytes = size = self.request_bytes + len(data)
        if self.state == QUEUED:
            self._hold(data)
            return
        table = self.table
        if self.state == DONE:
            if size > table.body_limit:
                self.client.linger()  # answered long ago: read away so much, but not for ever
            return
        if size > table.body_limit:
            self._refuse_large()
            return
        if self.state == UNIT:
            self._hold(data)
            if size > table.copy_limit:
                # A body that does not fit is assigned without the unit in it.
                self.flags |= Flag.REQUEST_TRUNCATED
                self._assign_from_body()
            return
        if self.copy is not None:
            if size <= table.copy_limit:
                self.copy.append(data)
            else:
                self.flags |= Flag.REQUEST_TRUNCATED
                self.copy.append(_rest_of(data, size, table.copy_limit))
        if self.out is None:
            self.out = []
        self.out.append(chunk(data) if self.head.framing == Framing.CHUNKED else data)

    def _hold(self, data: bytes) -> None:
        if self.held is None:
            self.held = []
        self.held.append(data)

    def on_request_end(self) -> None:
        """The request is complete."""
        self.request_done = True
        if self.state == UNIT:
            self._assign_from_body()
        if self.state == FORWARDING:
            if self.head.framing == Framing.CHUNKED:
                if self.out is None:
                    self.out = []
                self.out.append(LAST_CHUNK)
        elif self.state == DONE:
            self.client.on_finished(self)

    def begin_queued(self) -> None:
        """Begin a pipelined request whose turn it is, with what of its body has come."""
        if self.state == DONE:
            return  # the client left, or broke HTTP, in the meantime
        held, self.held = self.held, None
        done, self.request_done = self.request_done, False
        self.request_bytes = 0
        self.begin()
        for piece in held or ():
            self.on_request_body(piece)
        if done:
            self.on_request_end()
        self.after_read()

    def after_read(self) -> None:
        """Write out what one read from the client has brought, then start the copies."""
        if self.state != FORWARDING:
            return
        if self.out:
            self.flush()
        if self.shadows and self.request_done:
            shadows, self.shadows = self.shadows, None
            self.shadows_sent = launch_shadows(self, shadows)

    def flush(self) -> None:
        """Write the gathered request bytes to the model."""
        connection, out = self.connection, self.out or []
        if connection is None:
            if sum(map(len, out)) > HIGH_WATER_BYTES:
                self.client.pause_reading()
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self.out = None
        if connection.sink is self:
            self.replay = b""
            connection.send_more(data, self.request_done, self.client.now_ns)
        else:
            self.replay = data if self.request_done else b""
            connection.send(self, data, self.head.method == b"HEAD", self.request_done, self.client.now_ns)

    # Response: the sink of an upstream connection

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self.state == DONE:
            connection.pool.release(connection)
            return
        self.connection = connection
        self.client.now_ns = monotonic_ns()
        if self.replay:
            self.out = [self.replay]
        self.flush()
        self.client.resume_reading()

    def on_interim(self, connection: UpstreamConnection) -> None:
        if self.head.http11 and connection.status != 101:
            block = forwarded_block(connection.status, connection.names, connection.values, connection.lines)
            self.client.write(build_interim(connection.status, connection.reason, block))

    def on_whole_response(
        self, connection: UpstreamConnection, status: int, reason: bytes, block: bytes, body: bytes
    ) -> None:
        now_ns = connection.now_ns
        self.status = status
        self.ttfb_ns = now_ns - self.started_ns
        self.response_bytes = len(body)
        if self.keep_alive and self.head.http11 and not self.worker.draining:
            # HOT: the usual head in one format, without keywords; saves 0.4 µs.
            head = build_plain_head(status, reason, block, self.request_id, self.variant.header_line)
        else:
            head = self._response_head(reason, block)
        if self.response_copy is not None:
            self.response_head = head
            limit = self.table.copy_limit
            if len(body) > limit:
                self.flags |= Flag.RESPONSE_TRUNCATED
            self.response_copy.append(body[:limit])
        self.head_sent = True
        self.client.write(head + body)
        self.connection = None
        self._finish(now_ns)

    def _response_head(self, reason: bytes, block: bytes) -> bytes:
        if self.worker.draining:
            self.keep_alive = False
        return build_response_head(
            self.status,
            reason,
            block,
            self.request_id,
            self.variant.header_line,
            http11=self.head.http11,
            keep_alive=self.keep_alive,
            chunked=self.chunked_out,
        )

    def on_response_head(self, connection: UpstreamConnection) -> None:
        self.status = connection.status
        self.ttfb_ns = connection.now_ns - self.started_ns
        if connection.framing >= Framing.CHUNKED:
            self.chunked_out = self.head.http11
            if not self.head.http11:
                self.keep_alive = False
        block = forwarded_block(connection.status, connection.names, connection.values, connection.lines)
        head = self._response_head(connection.reason, block)
        self.response_out = [head]
        if self.response_copy is not None:
            self.response_head = head

    def on_response_body(self, data: bytes) -> None:
        self.response_bytes = size = self.response_bytes + len(data)
        if self.response_copy is not None:
            limit = self.table.copy_limit
            if size <= limit:
                self.response_copy.append(data)
            else:
                self.flags |= Flag.RESPONSE_TRUNCATED
                self.response_copy.append(_rest_of(data, size, limit))
        if self.response_out is None:
            self.response_out = []
        self.response_out.append(chunk(data) if self.chunked_out else data)

    def on_response_read(self) -> None:
        out = self.response_out
        if out:
            self.head_sent = True
            self.response_out = None
            self.client.write(out[0] if len(out) == 1 else b"".join(out))
            if self.client.write_paused and self.connection is not None:
                self.connection.pause_reading()

    def on_response_end(self) -> None:
        # The connection has been taken back: a client that is slow now must not stop it for whoever has it next.
        connection, self.connection = self.connection, None
        assert connection is not None
        if self.chunked_out:
            self.response_out = [*(self.response_out or ()), LAST_CHUNK]
        self.on_response_read()
        self._finish(connection.now_ns)

    def on_fault(self, fault: Fault, stale: bool) -> None:
        self.connection = None
        slots = self.table.slots
        if stale and self.replay and not self.flags & Flag.RETRIED:
            # The server closed an idle connection just as we used it. Not one byte came back and the whole
            # request is at hand: once more, on a connection that is known to be alive.
            self.flags |= Flag.RETRIED
            slots[self.variant.slot_retries] += 1
            self.variant.model.pool.wait(self)
            return
        slots[self.variant.model.slot_faults + fault] += 1
        self.fault = fault
        if self.status:
            # The answer has begun: end it so that the client can tell it is not whole.
            self.on_response_read()
            self.is_cut = True
            self.keep_alive = False
            self._finish(monotonic_ns())
            return
        self._answer(FAULT_STATUS[fault], FAULT_SENTENCES[fault])
        self._finish(monotonic_ns())

    def on_upstream_paused(self, paused: bool) -> None:
        if paused:
            self.client.pause_reading()
        else:
            self.client.resume_reading()

    # The end

    def refuse(self, status: int, sentence: str) -> None:
        """Answer ourselves, whatever the state."""
        if self.state == FORWARDING:
            self._drop_connection()
            if self.head_sent:
                self.is_cut = True
            else:
                self._answer(status, sentence)
            self._finish(monotonic_ns())
            return
        table = self.table
        table.slots[table.slot_unrouted + status] += 1
        if self.state == UNIT:
            table.undecided -= 1
        self._answer(status, sentence)
        self.state = DONE
        self.held = None
        self.client.on_answered(self)

    def on_client_left(self) -> None:
        """The client closed its connection: cancel the model's work at once."""
        if self.state == FORWARDING:
            self._drop_connection()
            self.flags |= Flag.CLIENT_LEFT
            if not self.status:
                self.status = CLIENT_LEFT
            self._finish(monotonic_ns())
        elif self.state == UNIT:
            self.table.slots[self.table.slot_unrouted + CLIENT_LEFT] += 1
            self.table.undecided -= 1
        self.state = DONE

    def _drop_connection(self) -> None:
        if self.connection is None:
            self.variant.model.pool.forget(self)
        elif self.connection.sink is self:
            self.connection.give_up()
        else:
            self.connection.pool.release(self.connection)
        self.connection = None

    def _answer(self, status: int, sentence: str) -> None:
        """Write a reply of our own."""
        self.status = status
        if self.worker.draining:
            self.keep_alive = False
        reply = build_reply(
            status,
            sentence,
            self.request_id,
            http11=self.head.http11,
            keep_alive=self.keep_alive,
            head_only=self.head.method == b"HEAD",
            retry_after_s=_RETRY_AFTER_S if status == 503 else None,
        )
        self.head_sent = True
        self.client.write(reply)
        if self.response_copy is not None:
            self.response_head, _, body = reply.partition(b"\r\n\r\n")
            self.response_copy = [body]
            self.response_bytes = len(body)

    def _finish(self, now_ns: int) -> None:
        """Count the request and hand over what was copied."""
        self.state = DONE
        duration_ns = now_ns - self.started_ns
        slots, variant = self.table.slots, self.variant
        slots[variant.slot_codes + (self.status if self.status < 600 else 0)] += 1
        place = bisect_left(DURATION_BOUNDS_NS, duration_ns)
        slots[variant.slot_duration + place] += 1
        slots[variant.slot_duration_sum] += duration_ns
        if ttfb_ns := self.ttfb_ns:
            if ttfb_ns != duration_ns:
                place = bisect_left(DURATION_BOUNDS_NS, ttfb_ns)
            slots[variant.slot_ttfb + place] += 1
            slots[variant.slot_ttfb_sum] += ttfb_ns
        if self.response_copy is not None:
            ship_primary(self, duration_ns)
        client = self.client
        client.now_ns = now_ns  # the client's idle time begins here, not with its last read
        client.on_answered(self)

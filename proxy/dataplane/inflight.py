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
from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.dataplane.mirror import launch_shadows
from proxy.dataplane.upstream import Pool, UpstreamConnection
from proxy.errors import WireError
from proxy.exchange import Flag, build_primary
from proxy.identifiers import random_bits
from proxy.model import DURATION_BOUNDS_NS, FAULT_SENTENCES, FAULT_STATUS, Fault
from proxy.routing.choose import (
    IN_BODY,
    NO_UNIT,
    find_unit,
    find_unit_with_body,
    forced_variant,
    is_logged,
    shadows_for,
    who_asks,
)
from proxy.routing.hashing import bucket
from proxy.routing.table import Route, Shadow, Table, host_name
from proxy.wire.request import (
    SPECIAL,
    Framing,
    build_head,
    check_head,
    common_block,
    first_value,
    has_internal,
    origin_form,
    request_framing,
    rewrite_target,
)
from proxy.wire.response import (
    CONTINUE,
    LAST_CHUNK,
    build_interim,
    build_reply,
    build_response_head,
    chunk,
    forwarded_block,
)
from proxy.wire.trace import read_context

if TYPE_CHECKING:
    from proxy.dataplane.client import ClientConnection

__all__ = ["InFlight"]

QUEUED, UNIT, FORWARDING, DONE = range(4)

CLIENT_LEFT = 499
"""Status under which a request is counted whose client left before the answer began (nginx's convention)."""

HIGH_WATER_BYTES = 256 * 1024
"""Request bytes held while no connection is there yet; above, the client is not read."""

_MAX_REQUEST_ID_BYTES = 256

_RETRY_AFTER_S = 1


class InFlight:
    """One request. The client connection feeds it the request, the upstream connection the response."""

    __slots__ = (
        "bucket",
        "chunked_in",
        "chunked_out",
        "client",
        "connection",
        "copy",
        "fault",
        "flags",
        "framing_line",
        "head_sent",
        "http11",
        "keep_alive",
        "lines",
        "method",
        "names",
        "number",
        "out",
        "replay",
        "request_block",
        "request_bytes",
        "request_done",
        "request_head",
        "request_id",
        "response_bytes",
        "response_copy",
        "response_head",
        "response_out",
        "route",
        "shadows",
        "shadows_sent",
        "span_id",
        "started_ns",
        "state",
        "status",
        "table",
        "target",
        "traceparent",
        "ttfb_ns",
        "unit",
        "unit_source",
        "values",
        "variant",
        "worker",
    )

    def __init__(self, client: "ClientConnection") -> None:
        self.client = client
        self.worker = client.worker
        self.state = QUEUED
        # Request head
        self.method = b""
        self.target = b""
        self.names: list[bytes] = []
        self.values: list[bytes] = []
        self.lines: list[bytes] = []
        self.http11 = True
        self.keep_alive = True
        # Request body
        self.chunked_in = False
        self.request_bytes = 0
        self.request_done = False
        self.out: list[bytes] = []
        self.copy: list[bytes] | None = None
        self.replay = b""
        # Assignment; table, route, variant and unit are set in begin() and _assign()
        self.flags = 0
        self.shadows: list[Shadow] | None = None
        self.shadows_sent = 0
        self.number = 0
        self.connection: UpstreamConnection | None = None
        # Response
        self.status = 0
        self.ttfb_ns = 0
        self.head_sent = False
        self.chunked_out = False
        self.response_bytes = 0
        self.response_out: list[bytes] = []
        self.response_copy: list[bytes] | None = None
        self.fault = Fault.NONE

    # Request

    def begin(self) -> None:
        """Check the head, find the route, and assign unless that needs the body."""
        names, values = self.names, self.values
        self.table: Table = self.worker.table
        self.started_ns = self.client.now_ns
        request_id = first_value(names, values, b"x-request-id")
        self.request_id = (
            request_id if 0 < len(request_id) <= _MAX_REQUEST_ID_BYTES else self.worker.ids.fresh()
        )
        try:
            check_head(names, self.target, self.http11)
            framing = request_framing(names, values)
        except WireError as error:
            self.keep_alive = False
            self.refuse(error.status_hint, f"bad request: {error}")
            return
        self.chunked_in = framing == Framing.CHUNKED
        host = first_value(names, values, b"host")
        if self.target[:1] != b"/":
            self.target, authority = origin_form(self.target)
            host = authority or host
        route = self.table.match(self.target.partition(b"?")[0], host_name(host), self.method)
        if route is None:
            self.refuse(404, "no route matches this path; see the routes of the configuration")
            return
        if framing == Framing.LENGTH and self._declared_bytes() > self.table.settings.limits.body:
            self.keep_alive = False
            self.refuse(413, "the request body is larger than limits.body")
            return
        self.route: Route = route
        self._build_block(host)
        self._find_unit(framing != Framing.NONE)

    def _declared_bytes(self) -> int:
        return int(first_value(self.names, self.values, b"content-length"))

    def _build_block(self, host: bytes) -> None:
        """Build the header lines that primary and shadows share."""
        names = self.names
        self.framing_line = b"transfer-encoding: chunked\r\n" if self.chunked_in else b""
        self.traceparent = b""
        self.span_id = 0
        if self.table.trace_limit or not SPECIAL.isdisjoint(names) or has_internal(names) or not host:
            self._build_special_block(host)
        else:
            # HOT: nothing to look at line by line; saves 1.5 µs for ten headers.
            self.request_block = b"".join(self.lines) + self.client.forwarded_lines(host)

    def _build_special_block(self, host: bytes) -> None:
        names, values, limit = self.names, self.values, self.table.trace_limit
        context = read_context(names, values)
        self.traceparent = context.traceparent
        if limit or (b"traceparent" in names and not context.traceparent):
            context = context.child(random_bits(16), random_bits(8), limit)
            self.span_id = context.span_id
            if context.sampled:
                self.flags |= Flag.TRACED
        block = common_block(
            names, values, self.lines, client=self.client.peer, host=host, trace_lines=context.lines()
        )
        if not host:
            block = b"host: %b\r\n" % self.route.champion.model.host_header + block
        if b"expect" in names:
            self.framing_line += b"expect: %b\r\n" % first_value(names, values, b"expect")
        self.request_block = block

    def _find_unit(self, has_body: bool) -> None:
        names, values = self.names, self.values
        client = who_asks(self.table, names, values, self.client.peer)
        unit, source = find_unit(self.route, names, values, self.target, client, has_body)
        if source == IN_BODY:
            self._wait_for_body()
        else:
            self._assign(unit, source)

    def _wait_for_body(self) -> None:
        self.state = UNIT
        self.copy = []
        if b"expect" in self.names:
            # We must have the body to choose the model, so the model cannot be asked first (RFC 9110 §10.1.1).
            self.framing_line = b"transfer-encoding: chunked\r\n" if self.chunked_in else b""
            self.client.write(CONTINUE)

    def _assign_from_body(self) -> None:
        names, values = self.names, self.values
        complete = self.request_done and not self.flags & Flag.REQUEST_TRUNCATED
        body = b"".join(self.copy or ()) if complete else b""
        client = who_asks(self.table, names, values, self.client.peer)
        self._assign(*find_unit_with_body(self.route, names, values, self.target, client, body))

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
        if b"x-modelproxy-force" in self.names:
            forced = forced_variant(self.table, route, self.names, self.values, self.client.peer)
            if forced is not None:
                self.flags |= Flag.FORCED
                variant = forced
        self.variant = variant
        slots[variant.slot_started] += 1
        held, self.copy = self.copy, None
        if route.shadows or route.log_limit or self.flags & Flag.TRACED:
            self._sample(unit or self.request_id, held)
        self._send_head(held)

    def _sample(self, unit: bytes, held: list[bytes] | None) -> None:
        """Decide by hash which shadows get a copy and whether the exchange is logged; if any, keep copies."""
        if shadows := shadows_for(self.route, unit):
            self.shadows = shadows
            self.flags |= Flag.MIRRORED
        if is_logged(self.route, unit):
            self.flags |= Flag.LOGGED
        if self.flags & (Flag.MIRRORED | Flag.LOGGED | Flag.TRACED):
            self.number = self.worker.next_number()
            self.copy = [] if held is None else held
            self.response_copy = []

    def _send_head(self, held: list[bytes] | None) -> None:
        model = self.variant.model
        target = rewrite_target(self.target, self.route.matched_prefix, model.prefix)
        head = build_head(self.method, target, self.request_block, self.request_id, self.framing_line)
        self.request_head = head
        self.out = [head]
        if held:
            self.out += [chunk(piece) for piece in held] if self.chunked_in else held
        self.state = FORWARDING
        pool: Pool = model.pool
        got = pool.acquire(self)
        if got is None:
            return
        if isinstance(got, Fault):
            self.on_fault(got, False)
        else:
            self.connection = got

    def on_request_body(self, data: bytes) -> None:
        """Take a piece of the request body."""
        self.request_bytes = size = self.request_bytes + len(data)
        if self.state == DONE:
            return
        if self.state == QUEUED:
            self.out.append(data)
            return
        limits = self.table.settings.limits
        if size > limits.body:
            self.keep_alive = False
            self.refuse(413, "the request body is larger than limits.body")
            return
        if self.copy is not None:
            if self.state == UNIT:
                self._hold(data, limits.copy_)
                return
            if size <= limits.copy_:
                self.copy.append(data)
            else:
                self.flags |= Flag.REQUEST_TRUNCATED
        self.out.append(chunk(data) if self.chunked_in else data)

    def _hold(self, data: bytes, limit: int) -> None:
        """Keep a piece until the unit is known; a body that does not fit is assigned without it."""
        assert self.copy is not None
        self.copy.append(data)
        if self.request_bytes > limit:
            self.flags |= Flag.REQUEST_TRUNCATED
            self._assign_from_body()

    def on_request_end(self) -> None:
        """The request is complete."""
        self.request_done = True
        if self.state == UNIT:
            self._assign_from_body()
        if self.state == FORWARDING:
            if self.chunked_in:
                self.out.append(LAST_CHUNK)
        elif self.state == DONE:
            self.client.on_finished(self)

    def release_queued(self) -> None:
        """Begin a pipelined request whose turn it is, with what of its body has come."""
        held, self.out = self.out, []
        done, self.request_done = self.request_done, False
        self.request_bytes = 0
        self.begin()
        for piece in held:
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
        if self.request_done and self.shadows:
            shadows, self.shadows = self.shadows, None
            self.shadows_sent = launch_shadows(self, shadows)

    def flush(self) -> None:
        """Write the gathered request bytes to the model."""
        connection = self.connection
        out = self.out
        if connection is None:
            if sum(map(len, out)) > HIGH_WATER_BYTES:
                self.client.pause_reading()
            return
        data = out[0] if len(out) == 1 else b"".join(out)
        self.out = []
        if connection.sink is self:
            self.replay = b""
            connection.send_more(data, self.request_done, self.client.now_ns)
        else:
            self.replay = data if self.request_done else b""
            connection.send(self, data, self.method == b"HEAD", self.request_done, self.client.now_ns)

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
        if self.http11 and connection.status != 101:
            block = forwarded_block(connection.names, connection.values, connection.lines)
            self.client.write(build_interim(connection.status, connection.reason, block))

    def on_response_head(self, connection: UpstreamConnection) -> None:
        self.status = status = connection.status
        self.ttfb_ns = connection.now_ns - self.started_ns
        framing = connection.framing
        if framing >= Framing.CHUNKED:
            self.chunked_out = self.http11
            if not self.http11:
                self.keep_alive = False
        if self.worker.draining:
            self.keep_alive = False
        head = build_response_head(
            status,
            connection.reason,
            forwarded_block(connection.names, connection.values, connection.lines),
            b"x-request-id: %b\r\n%b" % (self.request_id, self.variant.header_line),
            http11=self.http11,
            keep_alive=self.keep_alive,
            chunked=self.chunked_out,
        )
        self.response_out.append(head)
        if self.response_copy is not None:
            self.response_head = head

    def on_response_body(self, data: bytes) -> None:
        self.response_bytes = size = self.response_bytes + len(data)
        if self.response_copy is not None:
            if size <= self.table.settings.limits.copy_:
                self.response_copy.append(data)
            else:
                self.flags |= Flag.RESPONSE_TRUNCATED
        self.response_out.append(chunk(data) if self.chunked_out else data)

    def on_response_read(self) -> None:
        out = self.response_out
        if out:
            self.head_sent = True
            self.response_out = []
            self.client.write(out[0] if len(out) == 1 else b"".join(out))

    def on_response_end(self) -> None:
        connection = self.connection
        assert connection is not None
        if self.chunked_out:
            self.response_out.append(LAST_CHUNK)
        self.on_response_read()
        self.connection = None
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
            if not self.head_sent:
                self._answer(status, sentence)
            self._finish(monotonic_ns())
            return
        table = self.table
        table.slots[table.slot_unrouted + status] += 1
        self._answer(status, sentence)
        self.state = DONE
        self.out = []
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
            http11=self.http11,
            keep_alive=self.keep_alive,
            head_only=self.method == b"HEAD",
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
        slots[variant.slot_duration + bisect_left(DURATION_BOUNDS_NS, duration_ns)] += 1
        slots[variant.slot_duration_sum] += duration_ns
        if self.ttfb_ns:
            slots[variant.slot_ttfb + bisect_left(DURATION_BOUNDS_NS, self.ttfb_ns)] += 1
            slots[variant.slot_ttfb_sum] += self.ttfb_ns
        if self.response_copy is not None:
            self._ship(duration_ns)
        self.client.on_answered(self)

    def _ship(self, duration_ns: int) -> None:
        """Hand the exchange to the observer: only for mirrored, logged and traced requests."""
        worker, table, route, variant = self.worker, self.table, self.route, self.variant
        flags = self.flags
        frame = build_primary(
            (
                worker.index,
                table.version,
                self.number,
                route.index,
                variant.index,
                self.unit_source,
                variant.index,
                self.fault,
                self.status,
                flags,
                self.bucket,
                worker.wall_offset_ns + self.started_ns,
                self.ttfb_ns,
                duration_ns,
                self.request_bytes,
                self.response_bytes,
                self.shadows_sent,
                self.span_id,
            ),
            (
                self.request_id,
                self.unit,
                self.client.peer,
                self.target,
                self.request_head,
                b"".join(self.copy or ()),
                self.response_head if self.status != CLIENT_LEFT else b"",
                b"".join(self.response_copy or ()),
                self.traceparent,
            ),
        )
        shipped = worker.shipper.ship(frame)
        if flags & Flag.LOGGED:
            base = route.slot_payload
            table.slots[base] += 1
            table.slots[base + (1 if shipped else 2)] += 1

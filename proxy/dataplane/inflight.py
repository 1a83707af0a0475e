"""One request between a client and a model: forwarded, answered, counted.

Its life is drawn in :mod:`~proxy.dataplane.life`, what it holds in :mod:`~proxy.dataplane.request_state`, how it gets
its variant stands in :mod:`~proxy.dataplane.assignment`, what follows a failure in :mod:`~proxy.dataplane.attempts`,
other ends than an answer in :mod:`~proxy.dataplane.endings`. It is counted exactly once as started and exactly once
with a code, whatever happens.
"""

from array import array
from bisect import bisect_left

from proxy.clock import monotonic_ns
from proxy.dataplane.arrivals import note_arrival
from proxy.dataplane.assignment import assign_from_body, begin
from proxy.dataplane.attempts import has_stand_in, try_again
from proxy.dataplane.endings import answer, cut, is_last, refuse_large
from proxy.dataplane.evidence import NO_COIN, count
from proxy.dataplane.life import DONE, FORWARDING, QUEUED, UNIT
from proxy.dataplane.mirror import launch_shadows
from proxy.dataplane.outbox import LARGE_BYTES
from proxy.dataplane.overload import enter, leave
from proxy.dataplane.request_state import RequestState
from proxy.dataplane.shipping import ship_primary
from proxy.dataplane.tunnel import open_tunnel
from proxy.dataplane.upstream import UpstreamConnection
from proxy.exchange import DETAILED, Flag
from proxy.model import DURATION_BOUNDS_NS, FAULT_SENTENCES, FAULT_STATUS, Fault
from proxy.routing.table import Variant
from proxy.wire.plain import PlainResponse
from proxy.wire.request import Framing, build_head, rewrite_target
from proxy.wire.response import (
    build_interim,
    build_plain,
    build_response_head,
    chunk,
    forwarded_block,
    last_chunk,
    without_chunks,
)

__all__ = ["InFlight"]

HIGH_WATER_BYTES = 256 * 1024
"""Request bytes held while no connection is there yet; above, the client is not read."""


def _rest_of(data: bytes, size: int, limit: int) -> bytes:
    """Return what of ``data``, with which a body has ``size`` bytes, lies within the first ``limit``."""
    return data[: max(limit - size + len(data), 0)]


class InFlight(RequestState):
    """One request. The client connection feeds it the request, the upstream connection the response."""

    __slots__ = ()

    # Request

    def await_body(self) -> None:
        """The variant depends on the body: hold what comes."""
        self.state = UNIT
        if self.request_done:
            assign_from_body(self)

    def target_for(self, variant: Variant) -> bytes:
        """Return the request's target as the model of ``variant`` gets it."""
        target, prefix = self.head.target, variant.model.prefix
        return rewrite_target(target, self.route.matched_prefix, prefix) if prefix else target

    def header_lines(self) -> bytes:
        """Return the header lines that every model gets."""
        return self.block or self.head.block + self.client.forwarded_lines(self.head.host)

    def head_for(self, variant: Variant) -> bytes:
        """Return the head as the model of ``variant`` gets it."""
        target = self.target_for(variant)
        return build_head(self.head.method, target, self.header_lines(), self.request_id, self.framing_line)

    def send_whole(self, opening: bytes) -> None:
        """The variant is known, and the request is plain and all there: send it.

        Args:
            opening: see :class:`~proxy.routing.choose.Choice`.
        """
        # HOT: what :meth:`send_head` and :meth:`flush` do, in a straight line (benchmarks/NOTES.md,
        # "Bytecodes").
        client, held = self.client, self.held
        head = (
            opening,
            client.forwarded_lines(self.head.host),
            b"x-request-id: ",
            self.request_id,
            b"\r\n\r\n",
        )
        if self.copy is not None:
            self.request_head = data = b"".join(head)
            if held:
                data += held[0]
        else:
            data = b"".join((*head, held[0]) if held else head)
        self.held = None
        self.state = FORWARDING
        self.worker.in_flight += 1
        model = self.variant.model
        got = model.pool.acquire(self) if model.limit is None else enter(self, model)
        if got.__class__ is UpstreamConnection:
            self.connection = got
            self.replay = data
            got.send(self, data, False, True, client.now_ns)
            return
        self.out = [data]
        if got is not None:
            self.on_fault(got, False)

    def send_head(self) -> None:
        """The variant is known: send the head, with what has come of the body."""
        head = self.head
        data = self.head_for(self.variant)
        if self.copy is not None:
            self.request_head = data
        held, self.held = self.held, None
        self.state = FORWARDING
        self.worker.in_flight += 1
        if self.request_done and head.framing != Framing.CHUNKED:
            self.out = [b"".join((data, *held)) if held else data]
        elif not held:
            self.out = [data]
        elif head.framing == Framing.CHUNKED:
            self.out = [data, *map(chunk, held)]
        else:
            self.out = [data, *held]
        model = self.variant.model
        got = model.pool.acquire(self) if model.limit is None else enter(self, model)
        if got.__class__ is UpstreamConnection:
            self.connection = got
        elif got is not None:
            self.on_fault(got, False)

    def acquire(self) -> None:
        """Get a connection for another attempt, and send when it is there."""
        if self.limit is not None:
            leave(self, monotonic_ns())
        self._proceed(enter(self, self.serving.model))

    def _proceed(self, got: UpstreamConnection | Fault | None) -> None:
        if isinstance(got, UpstreamConnection):
            self.connection = got
            self.flush()
            self.client.resume_reading()
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
            refuse_large(self)
            return
        if self.state == UNIT:
            self._hold(data)
            if size > table.copy_limit:
                # A body that does not fit is assigned without the unit in it.
                self.flags |= Flag.REQUEST_TRUNCATED
                assign_from_body(self)
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

    def on_request_trailer(self, line: bytes) -> None:
        """Take a trailer field that may be forwarded, with its CRLF."""
        if self.trailers is None:
            self.trailers = []
        self.trailers.append(line)

    def on_request_end(self) -> None:
        """The request is complete."""
        self.request_done = True
        if self.state == UNIT:
            assign_from_body(self)
        if self.state == FORWARDING:
            if self.head.framing == Framing.CHUNKED:
                if self.out is None:
                    self.out = []
                self.out.append(last_chunk(self.trailers))
        elif self.state == DONE:
            self.client.on_finished(self)

    def begin_queued(self) -> None:
        """Begin a pipelined request whose turn it is, with what of its body has come."""
        if self.state == DONE:
            return  # the client left, or broke HTTP, in the meantime
        held, self.held = self.held, None
        done, self.request_done = self.request_done, False
        self.request_bytes = 0
        begin(self)
        for piece in held or ():
            self.on_request_body(piece)
        if done:
            self.on_request_end()
        self.after_read()

    def after_read(self) -> None:
        """Write out what one read from the client has brought, and behind it the copies."""
        if self.state != FORWARDING:
            return
        if self.out:
            self.flush()
        if self.shadows and self.request_done:
            self.worker.outbox.follow(self.launch)

    def launch(self) -> None:
        """Start the copies, unless the request has ended, or they were started."""
        shadows, self.shadows = self.shadows, None
        if shadows and self.state == FORWARDING:
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
            if self.replay:
                self._keep_for_replay(data)
            connection.send_more(data, self.request_done, self.client.now_ns)
        else:
            self.replay = data
            connection.send(self, data, self.head.method == b"HEAD", self.request_done, self.client.now_ns)

    # Another attempt: see ``attempts``

    def _keep_for_replay(self, data: bytes) -> None:
        rest = self.replay_rest or []
        rest.append(data)
        if self.request_bytes > self.table.copy_limit or self.status:
            self.replay, self.replay_rest = b"", None
        else:
            self.replay_rest = rest

    def sent_so_far(self) -> list[bytes]:
        """Return the request as far as the client has sent it, head first; empty when it is not at hand any more."""
        if self.replay is None:
            return self.out or []
        return [self.replay, *(self.replay_rest or ()), *(self.out or ())] if self.replay else []

    def send_again(self, data: list[bytes]) -> None:
        """Take ``data`` for what is still to be sent, once there is a connection."""
        self.out, self.replay, self.replay_rest = data, None, None

    def on_backed_off(self) -> None:
        """The pause before a retry is over."""
        if self.state == FORWARDING:
            self.acquire()

    # Response: the sink of an upstream connection

    def on_connected(self, connection: UpstreamConnection) -> None:
        if self.state == DONE:
            connection.pool.release(connection)
            return
        self.connection = connection
        self.client.now_ns = monotonic_ns()
        self.flush()
        self.client.resume_reading()

    def on_interim(self, connection: UpstreamConnection) -> None:
        if self.head.http11 and connection.status != 101:
            block = forwarded_block(connection.status, connection.names, connection.values, connection.lines)
            self.client.write(build_interim(connection.status, connection.reason, block))

    def on_upgrade(self, connection: UpstreamConnection, rest: bytes) -> None:
        self.status = 101
        self.ttfb_ns = connection.now_ns - self.started_ns
        self.head_sent = True
        self.connection = None
        if self.route.evidence is not None:
            count(self, self.route.evidence, self.ttfb_ns)
        self.coin = NO_COIN  # how the tunnel ends says nothing about the model
        open_tunnel(self, connection, rest)

    def on_tunnel_end(self) -> None:
        """Both sides of the tunnel are gone. Its duration is that of the request that opened it."""
        self.finish(self.started_ns + self.ttfb_ns)

    def on_whole_response(self, connection: UpstreamConnection, head: PlainResponse, body: bytes) -> None:
        now_ns = connection.now_ns
        status, reason, block, length, opening = head
        if status > 399 and status in self.route.failing_codes:
            self.connection = None
            if self._try_after(status):
                return
        self.status = status
        self.ttfb_ns = now_ns - self.started_ns
        self.response_bytes = length
        if self.keep_alive and self.head.http11 and not self.worker.draining:
            # HOT: the usual answer in one join, half of what a format takes; saves 70 ns.
            data = build_plain(opening, self.request_id, self.serving.header_line, body)
        else:
            data = self._response_head(reason, block) + body
        if self.response_copy is not None:
            self._keep_answer(data, block, body)
        self.head_sent = True
        self.client.write(data)
        self.connection = None
        self.finish(now_ns)

    def _keep_answer(self, data: bytes, block: bytes, body: bytes) -> None:
        """Keep of an answer what the observer wants of it: ``data`` is what the client gets, ``body`` its end."""
        limit = self.table.copy_limit
        self.response_lines = block
        if self.flags & DETAILED:
            self.response_head = data[: len(data) - len(body)]
        if len(body) > limit:
            self.flags |= Flag.RESPONSE_TRUNCATED
        self.response_copy = [body[:limit]]

    def _response_head(self, reason: bytes, block: bytes) -> bytes:
        if is_last(self):
            self.keep_alive = False
        return build_response_head(
            self.status,
            reason,
            block,
            self.request_id,
            self.serving.header_line,
            http11=self.head.http11,
            keep_alive=self.keep_alive,
            chunked=self.chunked_out,
        )

    def _try_after(self, status: int) -> bool:
        """Try again after an answer that may not be the last word; the fault counts only if there is another try."""
        model = self.serving.model
        if not try_again(self, Fault.STATUS, status):
            return False
        self.table.slots[model.slot_faults + Fault.STATUS] += 1
        return True

    def on_response_head(self, connection: UpstreamConnection) -> None:
        status = connection.status
        if status in self.route.failing_codes:
            self.connection = None
            if self._try_after(status):
                connection.give_up()
                return
            self.connection = connection
        self.replay = b""
        self.replay_rest = None
        self.status = status
        self.read_ns = connection.now_ns
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
            self.response_lines = block
            if connection.framing >= Framing.CHUNKED:
                self.arrivals = array("Q")
        if self.chunked_out:
            connection.takes_chunks = (
                self.on_response_chunks if self.response_copy is None else self._copy_chunks
            )

    def on_response_body(self, data: bytes) -> None:
        if self.response_copy is not None:
            assert self.connection is not None
            self._keep_copy(self.response_copy, data, self.connection.now_ns)
        if self.response_out is None:
            self.response_out = []
            assert self.connection is not None
            self._count_gap(self.connection.now_ns)
        self.response_out.append(chunk(data) if self.chunked_out else data)

    def _keep_copy(self, copy: list[bytes], data: bytes, now_ns: int) -> None:
        limit = self.table.copy_limit
        self.response_bytes = size = self.response_bytes + len(data)
        if size <= limit:
            copy.append(data)
            if self.arrivals is not None:
                note_arrival(self.arrivals, now_ns - self.started_ns, size)
        elif not self.flags & Flag.RESPONSE_TRUNCATED:
            self.flags |= Flag.RESPONSE_TRUNCATED
            copy.append(_rest_of(data, size, limit))

    def on_response_chunks(self, data: bytes, now_ns: int) -> None:
        """Take a read that holds nothing but plain chunks, and pass it on as it is."""
        # HOT: what _count_gap and write_piece do, without the calls; saves 800 instructions of 14,000.
        gap_ns = now_ns - self.read_ns
        self.read_ns = now_ns
        slots, variant = self.table.slots, self.variant
        slots[variant.slot_gap + bisect_left(DURATION_BOUNDS_NS, gap_ns)] += 1
        slots[variant.slot_gap_sum] += gap_ns
        client = self.client
        client.write(data)
        if len(data) >= LARGE_BYTES:
            client.flush_writes()
        if client.write_paused and self.connection is not None:
            self.connection.pause_reading()

    def _copy_chunks(self, data: bytes, now_ns: int) -> None:
        if self.response_copy is not None:
            self._keep_copy(self.response_copy, without_chunks(data), now_ns)
        self.on_response_chunks(data, now_ns)

    def on_response_read(self) -> None:
        out = self.response_out
        if out:
            self.head_sent = True
            self.response_out = None
            self.client.write_piece(out[0] if len(out) == 1 else b"".join(out))
            if self.client.write_paused and self.connection is not None:
                self.connection.pause_reading()

    def _count_gap(self, now_ns: int) -> None:
        """Count the time since the piece of the answer before this one."""
        gap_ns, self.read_ns = now_ns - self.read_ns, now_ns
        slots, variant = self.table.slots, self.variant
        slots[variant.slot_gap + bisect_left(DURATION_BOUNDS_NS, gap_ns)] += 1
        slots[variant.slot_gap_sum] += gap_ns

    def on_response_trailer(self, line: bytes) -> None:
        if self.chunked_out:
            if self.response_trailers is None:
                self.response_trailers = []
            self.response_trailers.append(line)

    def on_response_end(self) -> None:
        # The connection has been taken back: a client that is slow now must not stop it for whoever has it next.
        connection, self.connection = self.connection, None
        assert connection is not None
        if self.chunked_out:
            self.response_out = [*(self.response_out or ()), last_chunk(self.response_trailers)]
        self.on_response_read()
        self.finish(connection.now_ns)

    def on_fault(self, fault: Fault, stale: bool) -> None:
        self.connection = None
        slots, model = self.table.slots, self.serving.model
        if stale and self.replay and not self.stale_retry:
            # The server closed an idle connection just as we used it. Not one byte came back and the whole
            # request is at hand: once more, on a connection that is known to be alive.
            self.stale_retry = True
            self.flags |= Flag.RETRIED
            slots[self.variant.slot_retries] += 1
            self.send_again(self.sent_so_far())
            model.pool.wait(self)
            return
        if fault is Fault.UNHEALTHY and not has_stand_in(self, fault):
            # Nobody else can answer: to ask a server that looks unwell is better than to refuse.
            self._proceed(model.pool.acquire_any(self))
            return
        slots[model.slot_faults + fault] += 1
        if not self.status and try_again(self, fault):
            return
        self.fault = fault
        if self.status:
            # The answer has begun: end it so that the client can tell it is not whole.
            self.on_response_read()
            cut(self)
            self.keep_alive = False
            self.finish(monotonic_ns())
            return
        answer(self, FAULT_STATUS[fault], FAULT_SENTENCES[fault])
        self.finish(monotonic_ns())

    def on_upstream_paused(self, paused: bool) -> None:
        if paused:
            self.client.pause_reading()
        else:
            self.client.resume_reading()

    # The end, by the model's answer; others are in ``endings``

    def finish(self, now_ns: int) -> None:
        """Count the request and hand over what was copied."""
        self.state = DONE
        self.worker.in_flight -= 1
        if self.limit is not None:
            leave(self, now_ns)
        duration_ns = now_ns - self.started_ns
        slots, variant = self.table.slots, self.variant
        slots[variant.slot_codes + (self.status if self.status < 600 else 0)] += 1
        place = bisect_left(DURATION_BOUNDS_NS, duration_ns)
        ttfb_ns = self.ttfb_ns
        if ttfb_ns == duration_ns and ttfb_ns:
            # HOT: one count for what is both (benchmarks/NOTES.md, "Bytecodes").
            slots[variant.slot_whole + place] += 1
            slots[variant.slot_whole_sum] += duration_ns
        else:
            slots[variant.slot_duration + place] += 1
            slots[variant.slot_duration_sum] += duration_ns
            if ttfb_ns:
                slots[variant.slot_ttfb + bisect_left(DURATION_BOUNDS_NS, ttfb_ns)] += 1
                slots[variant.slot_ttfb_sum] += ttfb_ns
        evidence = self.route.evidence
        if evidence is not None:
            count(self, evidence, duration_ns)
        if self.response_copy is not None:
            ship_primary(self, duration_ns)
        client = self.client
        client.now_ns = now_ns  # the client's idle time begins here, not with its last read
        client.on_answered(self)

"""Shadows: copies of a request whose answers never reach the client.

A shadow has its own pool, its own deadline and a budget in requests and bytes; it is never retried, never waited for,
and shed first. The client's request neither knows nor notices: it holds no reference to its copies.

Accounting (slots of ``SHADOW_FIELDS``): every eligible request is sent or dropped with a reason; every sent one is
answered or failed; every answered one is shipped to the observer or counted as ``not_compared`` (nobody wants it)
or ``comparison_dropped``.
"""

from array import array
from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.dataplane.arrivals import note_arrival
from proxy.dataplane.pool import Pool
from proxy.dataplane.upstream import UpstreamConnection
from proxy.exchange import Flag, build_shadow
from proxy.model import DROPS, Drop, Fault
from proxy.routing.table import Shadow
from proxy.tally import SHADOW_FIELDS
from proxy.wire.plain import PlainResponse
from proxy.wire.request import SHADOW_LINE, Framing, build_head, first_value, rewrite_target
from proxy.wire.response import forwarded_block

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight
    from proxy.dataplane.worker import Worker

__all__ = ["ShadowCall", "launch_shadows"]

ELIGIBLE = SHADOW_FIELDS.index("eligible")
SENT = SHADOW_FIELDS.index("sent")
DROPPED = SHADOW_FIELDS.index(f"dropped_{DROPS[0].label}")
ANSWERED = SHADOW_FIELDS.index("answered")
FAILED = SHADOW_FIELDS.index("failed")
SHIPPED = SHADOW_FIELDS.index("shipped")
NOT_COMPARED = SHADOW_FIELDS.index("not_compared")
COMPARISON_DROPPED = SHADOW_FIELDS.index("comparison_dropped")

TRUNCATED = Flag.REQUEST_TRUNCATED

SHADOW_END = SHADOW_LINE + b"\r\n"


def launch_shadows(flight: "InFlight", shadows: Sequence[Shadow]) -> int:
    """Send a copy of a complete request to each of ``shadows``; return the bit mask of those sent."""
    sent = 0
    slots = flight.table.slots
    truncated = flight.flags & TRUNCATED
    body = b"" if truncated else b"".join(flight.copy or ())
    for shadow in shadows:
        base = shadow.slot
        slots[base + ELIGIBLE] += 1
        drop = Drop.TOO_LARGE if truncated else _shed(flight, shadow, len(body))
        if drop is None:
            slots[base + SENT] += 1
            sent |= shadow.bit
            _start(flight, shadow, body)
        else:
            slots[base + DROPPED + drop] += 1
    return sent


def _shed(flight: "InFlight", shadow: Shadow, size: int) -> Drop | None:
    pool: Pool = shadow.pool
    worker = flight.worker
    if worker.draining:
        return Drop.DRAINING
    if pool.rests_until_ns > flight.client.now_ns:
        return Drop.UNREACHABLE
    if worker.in_flight > shadow.shedding_limit:
        return Drop.OVERLOAD
    limit = flight.limit
    if limit is not None and limit.in_flight * 4 > limit.limit * shadow.quarters:
        return Drop.OVERLOAD
    if pool.in_flight >= shadow.max_in_flight:
        return Drop.IN_FLIGHT
    if pool.in_flight_bytes + size > shadow.max_bytes:
        return Drop.BYTES
    return None


def _start(flight: "InFlight", shadow: Shadow, body: bytes) -> None:
    """Send one copy, now or when a connection is there."""
    pool, now_ns, size = shadow.pool, flight.client.now_ns, len(body)
    if flight.response_copy is None:
        call = ShadowCall(flight, shadow, size)
    else:
        call = ComparedCall(flight, shadow, size, now_ns)
    pool.in_flight += 1
    pool.in_flight_bytes += size
    if shadow.model.prefix == flight.variant.model.prefix and not flight.framing_line:
        # HOT: the primary's head with one line more; saves 0.4 µs.
        data = flight.request_head[:-2] + SHADOW_END + body
    else:
        data = _head_for(flight, shadow, size) + body
    got = pool.acquire(call)
    if got.__class__ is UpstreamConnection:
        call.connection = got
        got.send(call, data, call.head_only, True, now_ns)
    elif got is None:
        call.data = data
    else:
        call.on_fault(got, False)


def _head_for(flight: "InFlight", shadow: Shadow, size: int) -> bytes:
    head, framing = flight.head, SHADOW_LINE
    target = rewrite_target(head.target, flight.route.matched_prefix, shadow.model.prefix)
    if head.framing == Framing.CHUNKED:
        framing += b"content-length: %d\r\n" % size
    return build_head(head.method, target, flight.header_lines(), flight.request_id, framing)


class ShadowCall:
    """One copy under way, the sink of its own upstream connection; its answer is counted and thrown away.

    Nothing of the client's side is kept: a slow shadow must not hold a finished request in memory.
    """

    # HOT: slots for what every copy has, defaults of the class for the rest; see InFlight.
    __slots__ = ("__dict__", "bucket", "connection", "head_only", "shadow", "size", "table")

    data = b""
    """The request, while there is no connection for it."""
    flags = 0
    upgrade = b""
    response_bytes = 0
    endpoint: Pool | None = None

    def __init__(self, flight: "InFlight", shadow: Shadow, size: int) -> None:
        self.table = flight.table
        self.shadow = shadow
        self.size = size
        self.bucket = flight.bucket
        self.head_only = flight.head.method == b"HEAD"
        self.connection: UpstreamConnection | None = None

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        data, self.data = self.data, b""
        connection.send(self, data, self.head_only, True, monotonic_ns())

    def on_interim(self, connection: UpstreamConnection) -> None:
        """Interim responses mean nothing to an observer."""

    def on_whole_response(self, _connection: UpstreamConnection, _head: PlainResponse, _body: bytes) -> None:
        # HOT: what :meth:`_settle` and :meth:`_leave` do, in a straight line (benchmarks/NOTES.md, "Bytecodes").
        shadow, slots = self.shadow, self.table.slots
        pool: Pool = shadow.pool
        pool.in_flight -= 1
        pool.in_flight_bytes -= self.size
        if pool.held:
            pool.give_back()
        slots[shadow.slot + ANSWERED] += 1
        slots[shadow.slot + NOT_COMPARED] += 1

    def on_upgrade(self, connection: UpstreamConnection, rest: bytes) -> None:
        """A copy asks for no other protocol."""

    def on_response_head(self, connection: UpstreamConnection) -> None:
        if connection.framing == Framing.LENGTH:
            length = int(first_value(connection.names, connection.values, b"content-length"))
            if length > self.table.copy_limit:
                self.response_bytes, self.flags = length, Flag.RESPONSE_TRUNCATED

    def on_response_body(self, data: bytes) -> None:
        if self.flags:
            return  # it is longer than what is kept, and said so
        self.response_bytes += len(data)
        if self.response_bytes > self.table.copy_limit:
            self.flags = Flag.RESPONSE_TRUNCATED

    def on_response_trailer(self, line: bytes) -> None:
        """Trailers are not compared."""

    def on_response_read(self) -> None:
        if self.flags and self.connection is not None:
            # Too long to compare: reading the rest would only cost. The answer counts as answered.
            self.connection.give_up()
            self.shadow.pool.hold()
            self.on_response_end()

    def on_response_end(self) -> None:
        self._settle(Fault.NONE, monotonic_ns())

    def on_fault(self, fault: Fault, _stale: bool) -> None:
        self._settle(fault, monotonic_ns())

    def on_upstream_paused(self, paused: bool) -> None:
        """The whole request is in the transport's buffer already; ``max_bytes`` bounds it."""

    def _settle(self, fault: Fault, _now_ns: int) -> None:
        """Count the outcome."""
        self._leave(fault)
        if not fault:
            self.table.slots[self.shadow.slot + NOT_COMPARED] += 1

    def _leave(self, fault: Fault) -> None:
        self.connection = None
        shadow = self.shadow
        pool: Pool = shadow.pool
        pool.in_flight -= 1
        pool.in_flight_bytes -= self.size
        if pool.held and not fault and not self.flags:
            pool.give_back()
        self.table.slots[shadow.slot + (FAILED if fault else ANSWERED)] += 1


class ComparedCall(ShadowCall):
    """A copy whose answer the observer wants: it is kept up to ``limits.copy`` and handed over."""

    __slots__ = (
        "number",
        "pieces",
        "response_block",
        "response_bytes",
        "route",
        "started_ns",
        "status",
        "variant",
        "worker",
    )

    arrivals: "array[int] | None" = None
    """When each piece came, of an answer without a length: see ``arrivals``."""

    def __init__(self, flight: "InFlight", shadow: Shadow, size: int, now_ns: int) -> None:
        super().__init__(flight, shadow, size)
        self.worker: Worker = flight.worker
        self.number = flight.number
        self.route = flight.route.index
        self.variant = flight.variant.index
        self.started_ns = now_ns
        self.status = self.response_bytes = 0
        self.response_block = b""
        self.pieces: list[bytes] | None = None

    def on_whole_response(self, connection: UpstreamConnection, head: PlainResponse, body: bytes) -> None:
        self.status, _, self.response_block, self.response_bytes, _ = head
        if self.response_bytes > self.table.copy_limit:
            self.flags = Flag.RESPONSE_TRUNCATED
        else:
            self.pieces = [body]
        self._settle(Fault.NONE, connection.now_ns)

    def on_response_head(self, connection: UpstreamConnection) -> None:
        super().on_response_head(connection)
        self.status = connection.status
        self.pieces = []
        if connection.framing >= Framing.CHUNKED:
            self.arrivals = array("Q")
        self.response_block = forwarded_block(
            connection.status, connection.names, connection.values, connection.lines
        )

    def on_response_body(self, data: bytes) -> None:
        super().on_response_body(data)
        if self.pieces is not None and not self.flags:
            self.pieces.append(data)
            if self.arrivals is not None and self.connection is not None:
                note_arrival(self.arrivals, self.connection.now_ns - self.started_ns, self.response_bytes)

    def _settle(self, fault: Fault, now_ns: int) -> None:
        """Count the outcome and hand the answer to the observer."""
        self._leave(fault)
        shadow, table, worker, started_ns = self.shadow, self.table, self.worker, self.started_ns
        frame = build_shadow(
            worker.index,
            table.version,
            self.number,
            self.route,
            self.variant,
            shadow.index,
            self.flags,
            fault,
            self.status,
            worker.wall_offset_ns + started_ns,
            now_ns - started_ns,
            self.response_bytes,
            self.response_block,
            b"".join(self.pieces or ()),
            b"" if self.arrivals is None else self.arrivals.tobytes(),
        )
        shipped = worker.shipper.ship(frame)
        if not fault:
            table.slots[shadow.slot + (SHIPPED if shipped else COMPARISON_DROPPED)] += 1

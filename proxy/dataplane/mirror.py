"""Shadows: copies of a request whose answers never reach the client.

A shadow has its own pool, its own deadline and a budget in requests and bytes; it is never retried, never waited for,
and shed first. The client's request neither knows nor notices: it holds no reference to its copies.

Accounting (slots of ``SHADOW_FIELDS``): every eligible request is sent or dropped with a reason; every sent one is
answered or failed; every answered one is shipped to the observer or counted as ``comparison_dropped``.
"""

from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.dataplane.upstream import Pool, UpstreamConnection
from proxy.exchange import Flag, build_shadow
from proxy.model import DROPS, Drop, Fault
from proxy.routing.table import Shadow
from proxy.tally import SHADOW_FIELDS
from proxy.wire.request import SHADOW_LINE, Framing, build_head, rewrite_target

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["ShadowCall", "launch_shadows"]

ELIGIBLE = SHADOW_FIELDS.index("eligible")
SENT = SHADOW_FIELDS.index("sent")
DROPPED = SHADOW_FIELDS.index(f"dropped_{DROPS[0].label}")
ANSWERED = SHADOW_FIELDS.index("answered")
FAILED = SHADOW_FIELDS.index("failed")
SHIPPED = SHADOW_FIELDS.index("shipped")
COMPARISON_DROPPED = SHADOW_FIELDS.index("comparison_dropped")


def launch_shadows(flight: "InFlight", shadows: list[Shadow]) -> int:
    """Send a copy of a complete request to each of ``shadows``; return the bit mask of those sent."""
    sent = 0
    slots = flight.table.slots
    truncated = flight.flags & Flag.REQUEST_TRUNCATED
    body = b"" if truncated else b"".join(flight.copy or ())
    for shadow in shadows:
        base = shadow.slot
        slots[base + ELIGIBLE] += 1
        drop = Drop.TOO_LARGE if truncated else _shed(flight, shadow, len(body))
        if drop is None:
            slots[base + SENT] += 1
            sent |= 1 << shadow.index
            ShadowCall(flight, shadow, body).start(flight, body)
        else:
            slots[base + DROPPED + drop] += 1
    return sent


def _shed(flight: "InFlight", shadow: Shadow, size: int) -> Drop | None:
    pool: Pool = shadow.pool
    if flight.worker.draining:
        return Drop.DRAINING
    if pool.in_flight >= shadow.settings.max_in_flight:
        return Drop.IN_FLIGHT
    if pool.in_flight_bytes + size > shadow.settings.max_bytes:
        return Drop.BYTES
    return None


class ShadowCall:
    """One copy under way: the sink of its own upstream connection."""

    __slots__ = (
        "connection",
        "data",
        "flags",
        "head_only",
        "limit_bytes",
        "number",
        "pieces",
        "response_block",
        "response_bytes",
        "route",
        "shadow",
        "size",
        "slots",
        "started_ns",
        "status",
        "variant",
        "version",
        "worker",
    )

    def __init__(self, flight: "InFlight", shadow: Shadow, body: bytes) -> None:
        # Nothing of the client's side is kept: a slow shadow must not hold a finished request in memory.
        self.worker = flight.worker
        self.slots = flight.table.slots
        self.version = flight.table.version
        self.limit_bytes = flight.table.settings.limits.copy_
        self.route = flight.route.index
        self.variant = flight.variant.index
        self.number = flight.number
        self.shadow = shadow
        self.head_only = flight.head.method == b"HEAD"
        self.size = len(body)
        self.started_ns = flight.client.now_ns
        self.connection: UpstreamConnection | None = None
        self.data = b""
        self.status = 0
        self.flags = 0
        self.response_bytes = 0
        self.response_block = b""
        self.pieces: list[bytes] = []

    def start(self, flight: "InFlight", body: bytes) -> None:
        """Send the copy, now or when a connection is there."""
        shadow = self.shadow
        pool: Pool = shadow.pool
        pool.in_flight += 1
        pool.in_flight_bytes += self.size
        target = rewrite_target(flight.head.target, flight.route.matched_prefix, shadow.model.prefix)
        framing = SHADOW_LINE
        if flight.head.framing == Framing.CHUNKED:
            framing += b"content-length: %d\r\n" % self.size
        self.data = build_head(flight.head.method, target, flight.block, flight.request_id, framing) + body
        got = pool.acquire(self)
        if isinstance(got, Fault):
            self.on_fault(got, False)
        elif got is not None:
            self.on_connected(got)

    def on_connected(self, connection: UpstreamConnection) -> None:
        self.connection = connection
        data, self.data = self.data, b""
        connection.send(self, data, self.head_only, True, monotonic_ns())

    def on_interim(self, connection: UpstreamConnection) -> None:
        """Interim responses mean nothing to an observer."""

    def on_whole_response(
        self, _connection: UpstreamConnection, status: int, _reason: bytes, block: bytes, body: bytes
    ) -> None:
        self.status = status
        self.response_bytes = len(body)
        self.response_block = block
        if len(body) <= self.limit_bytes:
            self.pieces.append(body)
        else:
            self.flags |= Flag.RESPONSE_TRUNCATED
        self._settle(Fault.NONE)

    def on_response_head(self, connection: UpstreamConnection) -> None:
        self.status = connection.status
        self.response_block = b"".join(connection.lines)

    def on_response_body(self, data: bytes) -> None:
        self.response_bytes += len(data)
        if self.response_bytes <= self.limit_bytes:
            self.pieces.append(data)
        else:
            self.flags |= Flag.RESPONSE_TRUNCATED

    def on_response_read(self) -> None:
        if self.flags & Flag.RESPONSE_TRUNCATED and self.connection is not None:
            # Too long to compare: reading the rest would only cost. The answer counts as answered.
            self.connection.give_up()
            self._settle(Fault.NONE)

    def on_response_end(self) -> None:
        self._settle(Fault.NONE)

    def on_fault(self, fault: Fault, _stale: bool) -> None:
        self._settle(fault)

    def on_upstream_paused(self, paused: bool) -> None:
        """The whole request is in the transport's buffer already; ``max_bytes`` bounds it."""

    def _settle(self, fault: Fault) -> None:
        """Count the outcome and hand the answer to the observer."""
        self.connection = None
        pool: Pool = self.shadow.pool
        pool.in_flight -= 1
        pool.in_flight_bytes -= self.size
        slots, base, worker = self.slots, self.shadow.slot, self.worker
        slots[base + (FAILED if fault else ANSWERED)] += 1
        frame = build_shadow(
            (
                worker.index,
                self.version,
                self.number,
                self.route,
                self.variant,
                self.shadow.index,
                self.flags,
                fault,
                self.status,
                worker.wall_offset_ns + self.started_ns,
                monotonic_ns() - self.started_ns,
                self.response_bytes,
            ),
            (self.response_block, b"".join(self.pieces)),
        )
        shipped = worker.shipper.ship(frame)
        if not fault:
            slots[base + (SHIPPED if shipped else COMPARISON_DROPPED)] += 1

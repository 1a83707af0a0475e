"""The primary part of an exchange: what a finished request leaves behind for the observer."""

from typing import TYPE_CHECKING

from proxy.exchange import DETAILED, RECORDED, TOLD, Flag, build_details, build_primary
from proxy.tally import WORKER_FIELDS

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["ship_primary"]

WATCHED = Flag.WATCHED
EXCHANGES_DROPPED = WORKER_FIELDS.index("exchanges_dropped")


def ship_primary(flight: "InFlight", duration_ns: int) -> None:
    """Hand the exchange to the observer: if it was mirrored, or if a record, spans or an example are made of it."""
    worker, table, flags = flight.worker, flight.table, flight.flags
    details = b""
    if flags & DETAILED:
        if flags & WATCHED:
            flags = _judged(flight, flags, duration_ns)
        if flags & TOLD or (flight.shadows_sent and flags & DETAILED):
            details = _details(flight, duration_ns)
    if not flight.shadows_sent and not details:
        return  # no copy was sent: there is nothing to compare with
    frame = build_primary(
        worker.index,
        table.version,
        flight.number,
        flight.route.index,
        flight.variant.index,
        flight.serving.index,
        flight.status,
        flags,
        flight.shadows_sent,
        worker.wall_offset_ns + flight.started_ns,
        flight.request_id,
        flight.unit,
        flight.response_lines,
        b"".join(flight.response_copy or ()),
        details,
        b"" if flight.arrivals is None else flight.arrivals.tobytes(),
    )
    shipped = worker.shipper.ship(frame)
    if not shipped:
        table.slots[table.slot_worker + EXCHANGES_DROPPED] += 1
    if flags & RECORDED:
        base = flight.route.slot_payload
        table.slots[base] += 1
        table.slots[base + (1 if shipped else 2)] += 1


def _judged(flight: "InFlight", flags: int, duration_ns: int) -> int:
    """Return the flags of a watched exchange that has ended: with the rules of ``log.keep`` that want it."""
    route = flight.route
    flags &= ~WATCHED
    # A fault also where the champion made it good: it is the assigned variant's.
    if route.keeps_errors and (flight.status > 499 or flight.fault):
        flags |= Flag.ERRORS
    if route.keeps_slow is not None and duration_ns > route.keeps_slow:
        flags |= Flag.SLOW
    return flags


def _details(flight: "InFlight", duration_ns: int) -> bytes:
    return build_details(
        flight.unit_source,
        flight.fault,
        flight.bucket,
        flight.ttfb_ns,
        duration_ns,
        flight.request_bytes,
        flight.response_bytes,
        flight.span_id,
        flight.head.target,
        flight.request_head,
        b"".join(flight.copy or ()),
        flight.response_head,
        flight.traceparent,
    )

"""The primary part of an exchange: what a finished request leaves behind for the observer."""

from typing import TYPE_CHECKING

from proxy.exchange import Flag, build_primary
from proxy.tally import WORKER_FIELDS

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["ship_primary"]

EXCHANGES_DROPPED = WORKER_FIELDS.index("exchanges_dropped")


def ship_primary(flight: "InFlight", duration_ns: int) -> None:
    """Hand the exchange to the observer: only for mirrored, logged and traced requests."""
    worker, table, route, variant = flight.worker, flight.table, flight.route, flight.variant
    flags = flight.flags
    frame = build_primary(
        (
            worker.index,
            table.version,
            flight.number,
            route.index,
            variant.index,
            flight.unit_source,
            flight.serving.index,
            flight.fault,
            flight.status,
            flags,
            flight.bucket,
            worker.wall_offset_ns + flight.started_ns,
            flight.ttfb_ns,
            duration_ns,
            flight.request_bytes,
            flight.response_bytes,
            flight.shadows_sent,
            flight.span_id,
        ),
        (
            flight.request_id,
            flight.unit,
            flight.client.peer,
            flight.head.target,
            flight.request_head,
            b"".join(flight.copy or ()),
            flight.response_head,
            b"".join(flight.response_copy or ()),
            flight.traceparent,
        ),
    )
    shipped = worker.shipper.ship(frame)
    if not shipped:
        table.slots[table.slot_worker + EXCHANGES_DROPPED] += 1
    if flags & Flag.LOGGED:
        base = route.slot_payload
        table.slots[base] += 1
        table.slots[base + (1 if shipped else 2)] += 1

"""From a request's head to its variant: the table, the route, the unit, the draw, and what is copied on the side.

A request reads the worker's table once, in :func:`begin`, and keeps it to its end. What is decided here is decided
once: neither a retry nor a fallback changes the assignment.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from proxy.dataplane.endings import refuse, refuse_large
from proxy.dataplane.evidence import NO_COIN, OWN_COIN, UNIT_COIN
from proxy.dataplane.order import Drawn
from proxy.exchange import TOLD, Flag
from proxy.identifiers import random_bits
from proxy.routing.choose import (
    IN_BODY,
    NO_UNIT,
    Choice,
    asks_twice,
    find_unit,
    find_unit_with_body,
    forced_variant,
    is_logged,
    is_shown,
    remember,
    shadows_for,
    who_asks,
)
from proxy.routing.hashing import bucket
from proxy.routing.table import Route, Shadow, Table
from proxy.routing.units import is_trusted
from proxy.wire.request import Framing, build_opening, common_block, first_value
from proxy.wire.response import CONTINUE
from proxy.wire.trace import read_context
from proxy.wire.upgrade import offered_protocol, upgrade_lines

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["assign_from_body", "begin"]


def begin(flight: "InFlight") -> None:
    """Find the route, and assign unless that needs the body."""
    head, client, worker = flight.head, flight.client, flight.worker
    flight.table = table = worker.table
    flight.started_ns = client.now_ns
    given = flight.request_id or head.request_id
    flight.request_id = given or worker.ids.fresh()
    if worker.in_flight >= table.in_flight_limit:
        return refuse(flight, 503, "too many requests under way; see limits.in_flight")
    choice = table.choices.get(head)
    if choice is not None:
        return _begin_again(flight, table, choice)
    if not given:
        flight.is_id_ours = True
    route = table.match(head.path, head.host_name, head.method)
    if route is None:
        return refuse(flight, 404, "no route matches this path; see the routes of the configuration")
    if head.length > table.body_limit:
        return refuse_large(flight)
    flight.route = route
    if head.framing == Framing.CHUNKED:
        flight.framing_line = b"transfer-encoding: chunked\r\n"
    if head.is_special or table.trace_limit:
        flight.block = _special_block(flight)
    else:
        # HOT: nothing to look at line by line; saves 1.5 µs for ten headers.
        flight.block = head.block + client.forwarded_lines(head.host)
    return _assign_from_head(flight)


def _begin_again(flight: "InFlight", table: Table, choice: Choice) -> None:
    """Begin a request whose head has been seen under this table: what was chosen then is chosen now."""
    # HOT: matching, finding the unit, hashing and sampling are skipped; saves 1.5 µs (benchmarks/NOTES.md). Only plain
    # heads are remembered, so the request is all there.
    slots = table.slots
    route, flight.unit, source, flight.bucket, variant, shadows, flags, opening = choice
    flight.route = route
    flight.unit_source = source
    flight.variant = flight.serving = variant
    slots[route.slot_units + source] += 1
    slots[variant.slot_started] += 1
    if flags:
        _keep_copies(flight, shadows, flags)
    flight.send_whole(opening)


def _special_block(flight: "InFlight") -> bytes:
    """Return the lines of a head in which some field must be looked at before it is forwarded."""
    head, limit = flight.head, flight.table.trace_limit
    names, values = head.names, head.values
    context = read_context(names, values)
    flight.traceparent = context.traceparent
    if limit or (b"traceparent" in names and not context.traceparent):
        context = context.child(random_bits(16), random_bits(8), limit)
        flight.span_id = context.span_id
        if context.sampled:
            flight.flags |= Flag.TRACED
    block = common_block(
        names,
        values,
        head.lines,
        client=flight.client.peer,
        scheme=flight.client.scheme,
        host=head.host,
        trace_lines=context.lines(),
        http11=head.http11,
        trusted=is_trusted(flight.client.peer.decode("latin-1"), flight.table.trusted),
    )
    if b"host" not in names:
        block = b"host: %b\r\n" % (head.host or flight.route.champion.model.host_header) + block
    if b"expect" in names and head.http11:  # of HTTP/1.0 it must be ignored: RFC 9110 §10.1.1
        flight.framing_line += b"expect: %b\r\n" % first_value(names, values, b"expect")
    if flight.may_upgrade:
        flight.upgrade = offered_protocol(names, values, flight.route.upgrades)
        if flight.upgrade:
            block += upgrade_lines(flight.upgrade)
    return block


def _assign_from_head(flight: "InFlight") -> None:
    head, route, table = flight.head, flight.route, flight.table
    names, values = head.names, head.values
    client = flight.client.peer
    if table.trusted:
        client = who_asks(table, names, values, client)
    unit, source = find_unit(route, names, values, head.target, client, head.framing != Framing.NONE)
    if source == IN_BODY:
        _await_body(flight)
        return
    shadows, flags = _assign(flight, unit, source)
    if head.is_plain:
        variant = flight.variant
        opening = build_opening(head.method, flight.target_for(variant), head.block)
        remember(table, head, Choice(route, unit, source, flight.bucket, variant, shadows, flags, opening))
    flight.send_head()


def _await_body(flight: "InFlight") -> None:
    head = flight.head
    flight.table.undecided += 1
    if b"expect" in head.names:
        # We must have the body to choose the model, so the model cannot be asked first (RFC 9110 §10.1.1).
        flight.framing_line = b"transfer-encoding: chunked\r\n" if head.framing == Framing.CHUNKED else b""
        if head.http11:
            flight.client.write(CONTINUE)
    flight.await_body()


def assign_from_body(flight: "InFlight") -> None:
    """Assign a request whose unit is in its body: that is here now, or known to be too long to look into."""
    head, table = flight.head, flight.table
    table.undecided -= 1
    complete = flight.request_done and not flight.flags & Flag.REQUEST_TRUNCATED
    body = b"".join(flight.held or ()) if complete else b""
    client = who_asks(table, head.names, head.values, flight.client.peer)
    _assign(flight, *find_unit_with_body(flight.route, head.names, head.values, head.target, client, body))
    flight.send_head()


def _assign(flight: "InFlight", unit: bytes, source: int) -> tuple[Sequence[Shadow], int]:
    """Choose the variant, count the request, decide what is copied; return its shadows and what the observer is told.

    A request without a unit draws by its request id, or goes to the champion (``missing_unit``).
    """
    head, table, route = flight.head, flight.table, flight.route
    slots = table.slots
    flight.unit = unit
    flight.unit_source = source
    flight.bucket = drawn = bucket(route.unit_prefix, unit or flight.request_id)
    if source != NO_UNIT:
        slots[route.slot_units + source] += 1
        variant = route.assign(drawn)
    else:
        slots[route.slot_units + len(route.readers)] += 1
        flight.coin = NO_COIN if route.missing_champion else OWN_COIN if flight.is_id_ours else UNIT_COIN
        variant = route.champion if route.missing_champion else route.assign(drawn)
    if head.forced:
        forced = forced_variant(table, route, head.names, head.values, flight.client.peer)
        if forced is not None:
            flight.flags |= Flag.FORCED
            flight.coin = NO_COIN
            variant = forced
    flight.variant = flight.serving = variant
    slots[variant.slot_started] += 1
    # A tunnel is never mirrored: what goes through it may mean anything.
    shadows = shadows_for(route, unit or flight.request_id) if route.shadows and not flight.upgrade else ()
    if (
        shadows
        and route.noise is not None
        and asks_twice(route, variant, unit or flight.request_id, head.names)
    ):
        shadows = Drawn((*shadows, route.noise))
    flags = _sampled(route, unit or flight.request_id, shadows)
    if flags or flight.flags & Flag.TRACED:
        _keep_copies(flight, shadows, flags)
    return shadows, flags


def _sampled(route: Route, unit: bytes, shadows: Sequence[Shadow]) -> int:
    """Return the flags of an exchange that follow from its unit: whether it is mirrored, logged, shown."""
    flags = _recorded(route, unit) if route.is_recorded else 0
    if shadows:
        flags |= Flag.MIRRORED
        if route.shown_limit and is_shown(route, unit):
            flags |= Flag.SHOWN
    return flags


def _recorded(route: Route, unit: bytes) -> int:
    """Return the flags by which a record may come to be: the sample's, and those of rules that judge later."""
    flags = Flag.LOGGED if is_logged(route, unit) else 0
    if route.keeps_errors or route.keeps_slow is not None:
        flags |= Flag.WATCHED
    return flags | Flag.OFFERED if route.settings.log.keeps_when else flags


def _keep_copies(flight: "InFlight", shadows: Sequence[Shadow], flags: int) -> None:
    """Keep the request's body on the side for the shadows, and for the observer, if it wants the exchange, both.

    Args:
        flight: the request.
        shadows: who gets a copy.
        flags: what to mark its exchange with, see :func:`_sampled`.
    """
    if shadows:
        flight.shadows = shadows
    flight.flags = flags = flight.flags | flags
    if flags & TOLD or flight.route.is_compared:
        flight.number = flight.worker.next_number()
        flight.response_head = flight.response_lines = b""
        flight.response_copy = []
    limit = flight.table.copy_limit
    if flight.request_bytes <= limit:
        flight.copy = flight.held[:] if flight.held else []
    else:
        flight.flags |= Flag.REQUEST_TRUNCATED
        flight.copy = [b"".join(flight.held or ())[:limit]]

"""The choices that a table makes for one request: its unit, a forced variant, its shadows, whether it is logged, shown.

Pure functions of the head (and body) and the table. The hot path and ``explain`` both call them, so what is explained
is what happens. Only :func:`remember` changes something: the table's memo, which never changes a choice.
"""

from collections.abc import Sequence
from hmac import compare_digest
from typing import NamedTuple

from proxy.routing.hashing import SPACE, bucket
from proxy.routing.table import Route, Shadow, Table, Variant
from proxy.routing.units import client_address, is_trusted
from proxy.wire.head import RequestHead
from proxy.wire.request import first_value

__all__ = [
    "IN_BODY",
    "NO_UNIT",
    "Choice",
    "asks_twice",
    "find_unit",
    "find_unit_with_body",
    "forced_variant",
    "is_logged",
    "is_shown",
    "remember",
    "shadows_for",
    "who_asks",
]

CHOICES_KEPT = 2048
"""Heads per table and worker whose choice is remembered; at the next one all are forgotten."""

NO_UNIT = 0xFF
"""Index of the unit source when none was present."""

IN_BODY = -1
"""Index of the unit source when the next one to try is in a body that has not been read."""


class Choice(NamedTuple):
    """What a table chooses for every request with one head, as long as the table is in force."""

    route: Route
    unit: bytes
    source: int
    """Index of the unit source."""
    bucket: int
    variant: Variant
    shadows: Sequence[Shadow]
    flags: int
    """What the exchange is marked with: see :class:`proxy.exchange.Flag`."""
    opening: bytes
    """Request line and header lines for the variant's model, as far as they do not depend on the connection."""


def remember(table: Table, head: RequestHead, choice: Choice) -> None:
    """Keep ``choice``, which was made before the body was read, for the next request with this very plain ``head``.

    Nothing is kept where something else has a say: the client's address, the request id, a forced variant, a
    trace context.
    """
    in_head = bool(choice.unit) and choice.route.readers[choice.source].is_in_head
    if not in_head or head.is_special or table.trace_limit:
        return
    if table.choices.setdefault(head, choice) is choice and len(table.choices) > CHOICES_KEPT:
        table.choices.clear()


def who_asks(table: Table, names: Sequence[bytes], values: Sequence[bytes], peer: bytes) -> bytes:
    """Return the client's address: the peer's, or what trusted peers say it is."""
    if not table.trusted:
        return peer
    forwarded = [value for name, value in zip(names, values, strict=True) if name == b"x-forwarded-for"]
    return client_address(peer, forwarded, table.trusted)


def find_unit(
    route: Route,
    names: Sequence[bytes],
    values: Sequence[bytes],
    target: bytes,
    client: bytes,
    has_body: bool,
) -> tuple[bytes, int]:
    """Return ``(unit, index of its source)`` from the head; the first source that is present decides.

    ``(b"", IN_BODY)`` when an earlier source is in the body and there is one, ``(b"", NO_UNIT)`` when none is present.
    """
    for index, reader in enumerate(route.readers):
        if reader.needs_body:
            if has_body:
                return b"", IN_BODY
        elif unit := reader.from_head(names, values, target, client):
            return unit, index
    return b"", NO_UNIT


def find_unit_with_body(
    route: Route, names: Sequence[bytes], values: Sequence[bytes], target: bytes, client: bytes, body: bytes
) -> tuple[bytes, int]:
    """Return ``(unit, index of its source)`` with the whole body at hand, or ``(b"", NO_UNIT)``."""
    for index, reader in enumerate(route.readers):
        found = reader.from_body(body) if reader.needs_body else None
        unit = found or reader.from_head(names, values, target, client)
        if unit:
            return unit, index
    return b"", NO_UNIT


def forced_variant(
    table: Table, route: Route, names: Sequence[bytes], values: Sequence[bytes], peer: bytes
) -> Variant | None:
    """Return the variant that ``x-modelproxy-force`` asks for, if the caller may: a trusted address, or the secret.

    The caller is who asked first (:func:`who_asks`), not the load balancer in between: that one is trusted to say who
    asks, and passes on whatever headers it gets. An unknown name or a caller without that right is ignored: the request
    is assigned like any other.
    """
    secret = first_value(names, values, b"x-modelproxy-force-secret")
    knows_secret = bool(route.force_secret) and compare_digest(secret, route.force_secret)
    caller = who_asks(table, names, values, peer)
    if not knows_secret and not is_trusted(caller.decode("latin-1"), table.trusted):
        return None
    return route.variant(first_value(names, values, b"x-modelproxy-force").decode("latin-1"))


def shadows_for(route: Route, unit: bytes) -> Sequence[Shadow]:
    """Return the shadows that get a copy of this unit's requests."""
    if route.mirrors_all:
        return route.shadows
    return [s for s in route.shadows if s.limit == SPACE or bucket(s.prefix, unit) < s.limit]


def asks_twice(route: Route, variant: Variant, unit: bytes, names: Sequence[bytes]) -> bool:
    """Tell whether a request of this unit, if it is mirrored, goes to the champion once more.

    Not with an ``idempotency-key``: who knows the key answers the second call with the first answer, and only the
    champion's server does.

    Args:
        route: of the request.
        variant: that it is assigned to.
        unit: who asks.
        names: lower-case field names of its head.
    """
    noise = route.noise
    if noise is None or variant is not route.champion or b"idempotency-key" in names:
        return False
    return noise.limit == SPACE or bucket(noise.prefix, unit) < noise.limit


def is_logged(route: Route, unit: bytes) -> bool:
    """Tell whether this unit's requests are in the payload log's sample."""
    limit = route.log_limit
    return limit > 0 and (limit == SPACE or bucket(route.log_prefix, unit) < limit)


def is_shown(route: Route, unit: bytes) -> bool:
    """Tell whether this unit's mirrored requests go to the observer together with what they are compared for."""
    limit = route.shown_limit
    return limit > 0 and (limit == SPACE or bucket(route.shown_prefix, unit) < limit)

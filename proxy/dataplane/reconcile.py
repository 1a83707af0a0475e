"""What a worker settles for its dead predecessor, so that the sums of the contract hold after any kill.

The predecessor's counts are all there (they live in the file). Missing is only the end of what was in flight: each is
given the one end that is true of it.
"""

from collections.abc import Sequence

from proxy.model import DROPS, Fault
from proxy.routing.table import Table
from proxy.tally import (
    CODES,
    ENDPOINT_FIELDS,
    MODEL_FIELDS,
    PAYLOAD_FIELDS,
    SHADOW_FIELDS,
    VARIANT_FIELDS,
    WORKER_FIELDS,
)

__all__ = ["reconcile", "shipped_counts"]

_STARTED, _LOST = VARIANT_FIELDS.index("started"), VARIANT_FIELDS.index("lost")
_FIRST_CODE = VARIANT_FIELDS.index("code_0")
_FAULT_LOST = MODEL_FIELDS.index(f"fault_{Fault.LOST.label}")


def reconcile(table: Table) -> None:
    """Settle the open counts in ``table.slots``; a block without a predecessor has none."""
    slots = table.slots
    base = table.slot_worker
    opened, carried, closed = (
        base + WORKER_FIELDS.index(f"connections_{field}") for field in ("opened", "carried", "closed")
    )
    slots[closed] = slots[opened] + slots[carried]
    for model in table.models.values():
        slots[model.slot_limit + 1] = slots[model.slot_limit]
        for endpoint in model.endpoints if model.is_watched else ():
            _settle_endpoint(slots, endpoint.slot)
    for route in table.routes:
        for variant in route.variants:
            first = variant.slot_started
            codes = sum(slots[first + _FIRST_CODE : first + _FIRST_CODE + CODES])
            missing = slots[first + _STARTED] - codes - slots[first + _LOST]
            slots[first + _LOST] += missing
            slots[variant.model.slot_faults + 1 + _FAULT_LOST] += missing
        for shadow in route.copies:
            _settle_shadow(slots, shadow.slot)
        payload = {field: route.slot_payload + i for i, field in enumerate(PAYLOAD_FIELDS)}
        missing = slots[payload["sampled"]] - slots[payload["shipped"]] - slots[payload["dropped"]]
        slots[payload["dropped"]] += missing


def _settle_shadow(slots: memoryview, base: int) -> None:
    at = {field: base + i for i, field in enumerate(SHADOW_FIELDS)}
    drops = [at[f"dropped_{drop.label}"] for drop in DROPS]
    slots[at["dropped_draining"]] += slots[at["eligible"]] - slots[at["sent"]] - sum(slots[i] for i in drops)
    slots[at["failed"]] += slots[at["sent"]] - slots[at["answered"]] - slots[at["failed"]]
    ended = sum(slots[at[field]] for field in ("shipped", "not_compared", "comparison_dropped"))
    slots[at["comparison_dropped"]] += slots[at["answered"]] - ended


def _settle_endpoint(slots: memoryview, base: int) -> None:
    """Let a server be in again: the successor finds out for itself whether it is."""
    at = {field: base + i for i, field in enumerate(ENDPOINT_FIELDS)}
    slots[at["healthy_again"]] = slots[at["unhealthy"]] + slots[at["unhealthy_carried"]]
    slots[at["readmitted"]] = slots[at["ejected"]] + slots[at["ejected_carried"]]


def shipped_counts(tables: Sequence[Table]) -> dict[str, int]:
    """Return how many frames this worker slot ever shipped, as :class:`proxy.exchange.Hello` wants it."""
    counts: dict[str, int] = {}
    for table in tables:
        for route in table.routes:
            shipped = table.slots[route.slot_payload + PAYLOAD_FIELDS.index("shipped")]
            counts[f"{table.version}\npayload\n{route.name}"] = shipped
            for shadow in route.copies:
                kind = "noise" if shadow is route.noise else "shadow"
                shipped = table.slots[shadow.slot + SHADOW_FIELDS.index("shipped")]
                counts[f"{table.version}\n{kind}\n{route.name}\n{shadow.model.name}"] = shipped
    return counts

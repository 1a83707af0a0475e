"""Print what it costs to count one request as evidence, by what there is to count.

``python -m benchmarks.evidence``: the counting alone, in files like those of a worker, without the road around it
(:mod:`benchmarks.micro_road` has that). The time of an empty loop is taken off; the best of several rounds is printed.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from time import process_time_ns
from types import SimpleNamespace
from typing import Any, cast

from proxy.dataplane.evidence import NO_COIN, OWN_COIN, UNIT_COIN, Evidence, count
from proxy.evidence.blocks import open_evidence
from proxy.evidence.layout import CELLS, FIELDS, block_size
from proxy.evidence.ring import open_ring
from proxy.evidence.units import cells_of, open_units
from proxy.model import Fault

REQUESTS = 200_000
ROUNDS = 7
UNITS = 10_007

Flight = SimpleNamespace


def flight(**rest: Any) -> Flight:
    """Return what the counting looks at of a request."""
    usual = {
        "bucket": 0, "request_id": b"0a1b2c3d-4e5f-8a6b-9c7d-0123456789ab",
        "coin": UNIT_COIN, "fault": Fault.NONE, "flags": 0, "status": 200,
        "variant": SimpleNamespace(slot_evidence=FIELDS),
    }  # fmt: skip
    return SimpleNamespace(**(usual | rest))


CASES = {
    "unit seen before, good answer": (flight(), UNITS),
    "unit seen before, error": (flight(status=503), UNITS),
    "first time of a unit, good answer": (flight(), CELLS),
    "first time in the hour, good answer": (flight(), UNITS),
    "no unit, good answer": (flight(coin=OWN_COIN), UNITS),
    "forced, not counted": (flight(coin=NO_COIN), UNITS),
    "unit seen before, noted for feedback": (flight(), UNITS),
}
"""What is counted, and how many units take turns."""

_NOTED = "unit seen before, noted for feedback"
_AGAIN = "first time in the hour, good answer"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, (request, units)) in enumerate(CASES.items()):
            block = open_evidence(Path(folder), f"{number:016x}", 0, block_size(2))
            cells = cells_of(open_units(Path(folder), f"{number:016x}", CELLS))
            evidence = Evidence(block.slots, cells, 2, 0)
            if name == _NOTED:
                evidence.ring, evidence.epoch = open_ring(Path(folder), 0), 0xFEDC_BA98_7654_3210
            empty = min(_round(lambda *_: None, request, evidence, units) for _ in range(ROUNDS))
            best = float("inf")
            for _ in range(ROUNDS):
                if units == CELLS:
                    cells.cast("B")[:] = bytes(2 * CELLS)
                best = min(best, _round(count, request, evidence, units, turns=name == _AGAIN) - empty)
            print(f"{name}: {best:.2f} µs")


def _round(
    each: Callable[[Any, Evidence, int], None],
    request: Flight,
    evidence: Evidence,
    units: int,
    *,
    turns: bool = False,
) -> float:
    request = cast("Any", request)
    start = process_time_ns()
    for i in range(REQUESTS):
        request.bucket = unit = i % units
        if turns and not unit:
            evidence.turn(i)
        each(request, evidence, 3_000_000 + i)
    return (process_time_ns() - start) / REQUESTS / 1000


if __name__ == "__main__":
    main()

"""The fixed script whose instructions :mod:`benchmarks.instructions` counts: ``python -m benchmarks.counted``.

Between two runs it calls a function of the C library that nothing else here calls, at which callgrind writes down what
it has counted and begins anew.
"""

import asyncio
import gc
import os

from benchmarks.micro_road import SCRIPTS, Stage
from proxy.dataplane.__main__ import GC_ALLOCATIONS

__all__ = ["COUNTED", "MARK", "PARTS_EACH", "REQUESTS", "main"]

MARK = "getsid"
"""The function of the C library at which callgrind begins a new part."""

REQUESTS = 1000
"""Each of micro_road's thousand users once; the second run sends twice as many."""

WARMING = 2 * REQUESTS
"""Until every head is remembered and every unit seen."""

PARTS_EACH = 3
"""Parts for each stage: making it and warming up, a run, a run twice as long. What is left is the program's end."""

COUNTED = (
    "split",
    "split, fresh request ids",
    "mirror",
    "mirror, not compared",
    "rollout",
    "split, 10 KiB each way",
)
"""Names in ``micro_road.SCRIPTS``."""


def mark() -> None:
    """Let callgrind begin a new part."""
    os.getsid(0)


async def main() -> None:
    """Run every stage once and once twice as long, as a worker does: with its collector's settings."""
    loop = asyncio.get_running_loop()
    scripts = {script.name: script for script in SCRIPTS}
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_ALLOCATIONS)
    for name in COUNTED:
        stage = Stage(scripts[name], loop)
        stage.run(WARMING)
        gc.collect()
        mark()
        stage.run(REQUESTS)
        mark()
        stage.run(2 * REQUESTS)
        mark()


if __name__ == "__main__":
    asyncio.run(main())

"""The fixed script whose instructions :mod:`benchmarks.instructions` counts: ``python -m benchmarks.counted``.

Between two runs it calls a function of the C library that nothing else here calls, at which callgrind writes down what
it has counted and begins anew.
"""

import asyncio
import gc
import os
import tempfile
from pathlib import Path

from benchmarks.micro_observer import PAIR_SCRIPTS, PairScript, PairStage
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
    "stream, an event",
    "pair",
)
"""Names in ``micro_road.SCRIPTS``, and of what the observer does in ``micro_observer.PAIR_SCRIPTS``."""


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
    pairs = {script.name: script for script in PAIR_SCRIPTS}
    for name in COUNTED:
        if name in pairs:
            await count_pairs(pairs[name])
            continue
        stage = Stage(scripts[name], loop)
        stage.run(WARMING)
        gc.collect()
        mark()
        stage.run(REQUESTS)
        mark()
        stage.run(2 * REQUESTS)
        mark()


async def count_pairs(script: PairScript) -> None:
    """Let an observer take in pairs as a request of the road's stages; its clock stands still."""
    with tempfile.TemporaryDirectory() as directory:
        stage = PairStage(script, Path(directory), WARMING + 3 * REQUESTS, clock_ns=int)
        await stage.run(list(stage.reads(WARMING)))
        once, twice = list(stage.reads(REQUESTS)), list(stage.reads(2 * REQUESTS))
        gc.collect()
        mark()
        await stage.run(once)
        mark()
        await stage.run(twice)
        mark()
        await stage.close()


if __name__ == "__main__":
    asyncio.run(main())

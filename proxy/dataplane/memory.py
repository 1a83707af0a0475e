"""What the C library keeps of freed memory, for bodies that come in pieces of 256 KiB.

Rationale. *Question:* where does the memory of large bodies come from, and where does it go? *Options:* from the system
for each and back, as glibc does by default (``mallopt(3)``); from a heap that keeps some. *Choice:* the latter. By
default each MiB that passes asks for memory and returns it twice, and the system zeroes every page of it anew: a fourth
of what a request of 1 MiB each way costs. With these values 16 MiB of free memory stay at the top of the heap
(``benchmarks/NOTES.md``, "Memory for large bodies"). *What would change our mind:* an event loop that reads into a
buffer of ours.
"""

import ctypes
import os
from typing import Final

__all__ = ["CHOSEN", "keep_freed_memory"]

M_TRIM_THRESHOLD: Final = -1
M_TOP_PAD: Final = -2
M_MMAP_THRESHOLD: Final = -3

KEPT_BYTES: Final = 16 * 2**20
"""Free memory at the top of the heap that is not returned to the system."""

GROWTH_BYTES: Final = 2**20
"""What the heap asks for at once beyond what it needs; a worker that has seen no traffic has touched none of it."""

LARGEST_ON_HEAP: Final = 2**21 + 2**18
"""Both bodies of an exchange at the default of ``limits.copy``, with their heads: what is longer is mapped for itself,
and returned as a whole."""

CHOSEN: Final = ("MALLOC_TRIM_THRESHOLD_", "MALLOC_TOP_PAD_", "MALLOC_MMAP_THRESHOLD_")
"""Variables by which somebody else has chosen."""


def keep_freed_memory() -> bool:
    """Let glibc keep freed memory of this process; False where the C library is another, or was told what to do."""
    environ = os.environ
    if any(name in environ for name in CHOSEN) or "glibc.malloc." in environ.get("GLIBC_TUNABLES", ""):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    values = ((M_MMAP_THRESHOLD, LARGEST_ON_HEAP), (M_TRIM_THRESHOLD, KEPT_BYTES), (M_TOP_PAD, GROWTH_BYTES))
    return all(mallopt(name, value) == 1 for name, value in values)

"""What lives as long as its process: the collector of cycles does not look at it.

Importing makes a hundred thousand objects and hardly a cycle that is garbage. With the collector at work meanwhile, and
a whole collection at the end, a tenth of a start is spent on looking at them; and each full collection later, on a busy
loop, would look again.
"""

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["lasting"]


@contextmanager
def lasting() -> Iterator[None]:
    """Keep what is made inside, and all that there was before, out of every collection."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()

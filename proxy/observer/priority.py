"""The observer's place behind the workers, where they want the same core.

Rationale. *Question:* who waits when a worker and a busy observer share a core, as under a container's CPU limit?
*Options:* both get half (the default); it gets what is left (``SCHED_IDLE``); it gets a small share.
*Choice:* a small share, a tenth beside one worker that never rests (``setpriority(2)``, ``sched(7)``), and all that a
worker leaves. With half, clients wait milliseconds for a turn. With what is left, a worker without rest would stop the
decisions about rollouts. With a sixth (7 nicer) clients still waited twice as long as beside an idle observer, with a
tenth no longer, and a rollback beside a worker without rest took 0.4 to 0.7 s either way (``benchmarks/NOTES.md``, "A
busy observer"). *What would change our mind:* comparisons in a process of their own,
which could have what is left.

Niceness weighs processes within an autogroup only, and each session is one (``sched(7)``, "The autogroup feature"). The
supervisor gives every process a session of its own, so the session's own niceness is raised as well. In a container
with a CPU controller there are no autogroups, and without a file there is nothing to raise. To be nicer takes no
privilege.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path
from typing import Final

__all__ = ["AUTOGROUP", "NICER_BY", "NICEST", "give_way", "give_way_as_session", "make_session_nicer"]

NICER_BY: Final = 10
"""Of 19: a weight of 110, where a worker has 1024."""

NICEST: Final = 19

AUTOGROUP: Final = Path("/proc/self/autogroup")

_TRIES: Final = 20
_PAUSE_S: Final = 0.11
"""The kernel takes one such word in a tenth of a second, of all its users together."""


def give_way() -> None:
    """Let this thread, and every one that it starts from now on, go after the workers."""
    with suppress(OSError):  # forbidden to a process by its seccomp filter, say: then it shares as before
        os.nice(NICER_BY)


async def give_way_as_session() -> bool:
    """Let the session go after the workers' too; False where sessions are not weighed, or this one has other processes.

    To be called once, by the process that leads it.
    """
    return os.getsid(0) == os.getpid() and await make_session_nicer(AUTOGROUP)


async def make_session_nicer(path: Path) -> bool:
    """Raise the niceness of the session whose file is at ``path``; False when there is none, or it cannot be raised."""
    for _ in range(_TRIES):
        try:
            _raise(path)
        except BlockingIOError:
            await asyncio.sleep(_PAUSE_S)
        except (OSError, ValueError, IndexError):
            return False
        else:
            return True
    return False


def _raise(path: Path) -> None:
    niceness = int(path.read_text().split()[-1])
    path.write_text(str(min(niceness + NICER_BY, NICEST)))

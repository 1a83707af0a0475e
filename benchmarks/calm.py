"""What the kernel does in the background, last: the same for everybody who is measured.

Some kernels look through memory all the time (DAMON's ``kdamond``, ``ksmd``, ``khugepaged``), milliseconds on end, on
whatever core. A request that meets them takes twenty times as long, and whether the slowest hundredth is theirs or a
proxy's is luck. Where that is allowed they get a core only when nobody else wants it (``SCHED_IDLE``, sched(7)) while a
benchmark runs; ``RESULTS.md`` names them.
"""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

__all__ = ["calm", "scanners"]

NAMES = ("kdamond", "ksmd", "khugepaged")
KTHREADD = "2"
"""The parent of the kernel's own threads."""


def scanners(proc: Path = Path("/proc")) -> dict[int, str]:
    """Return the kernel's threads that look through memory: names by process id."""
    found = {}
    for entry in proc.iterdir():
        if not entry.name.isdigit():
            continue
        with suppress(OSError):
            name, _, rest = (entry / "stat").read_text().partition(" (")[2].rpartition(") ")
            if name.startswith(NAMES) and rest.split()[1] == KTHREADD:
                found[int(entry.name)] = name
    return found


@contextmanager
def calm() -> Iterator[Sequence[str]]:
    """Let those threads run last, as far as that is allowed; yield the names of those that do."""
    before: dict[int, tuple[str, int]] = {}
    for pid, name in scanners().items():
        with suppress(OSError):
            policy = os.sched_getscheduler(pid)
            os.sched_setscheduler(pid, os.SCHED_IDLE, os.sched_param(0))
            before[pid] = (name, policy)
    try:
        yield sorted(name for name, _ in before.values())
    finally:
        for pid, (_, policy) in before.items():
            with suppress(OSError):
                os.sched_setscheduler(pid, policy, os.sched_param(0))

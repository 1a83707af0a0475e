"""What /proc and the run directory say about the proxy's processes. Linux only."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from proxy.clock import monotonic
from proxy.tally import Layout
from tests.soak.growth import Sample

__all__ = ["Process", "children", "client_ports", "copy_counters", "freeze", "look", "open_counts"]

PROC = Path("/proc")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True, slots=True)
class Process:
    """A child of the supervisor."""

    role: str
    """``worker N`` or ``observer``."""
    pid: int
    run_dir: Path


def children(supervisor: int) -> dict[str, Process]:
    """Return the children that run, by role."""
    found = {}
    for pid in _numbers(PROC / str(supervisor) / "task" / str(supervisor) / "children"):
        try:
            words = (PROC / str(pid) / "cmdline").read_bytes().decode().split("\0")
        except OSError:
            continue
        for module in ("proxy.dataplane", "proxy.observer"):
            if module in words:
                arguments = words[words.index(module) + 1 :]
                role = f"worker {arguments[0]}" if module == "proxy.dataplane" else "observer"
                run_dir = next(Path(word) for word in arguments if "/" in word)
                found[role] = Process(role, pid, run_dir)
    return found


def _numbers(path: Path) -> list[int]:
    try:
        return [int(word) for word in path.read_text().split()]
    except OSError:
        return []


def look(role: str, pid: int) -> Sample | None:
    """Return memory and open files of a process; None if it has ended."""
    try:
        resident = int((PROC / str(pid) / "statm").read_text().split()[1]) * PAGE_BYTES
        open_files = sum(1 for _ in (PROC / str(pid) / "fd").iterdir())
    except OSError:
        return None
    return Sample(monotonic(), role, pid, resident, open_files)


async def freeze(pid: int) -> None:
    """Stop a process and wait until it has stopped: from then on it does nothing, not even half a thing.

    Raises:
        OSError: it has ended.
    """
    os.kill(pid, signal.SIGSTOP)
    while (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] not in "TtZ":  # noqa: ASYNC110
        await asyncio.sleep(0.001)


def client_ports(pid: int, listen_port: int) -> frozenset[int]:
    """Return the remote ports of all connections to ``listen_port`` that the process holds."""
    inodes = set()
    for link in (PROC / str(pid) / "fd").iterdir():
        try:
            target = str(link.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    ports = set()
    for line in (PROC / str(pid) / "net" / "tcp").read_text().splitlines()[1:]:
        words = line.split()
        if words[9] in inodes and int(words[1].rpartition(":")[2], 16) == listen_port:
            ports.add(int(words[2].rpartition(":")[2], 16))
    return frozenset(ports - {0})


def copy_counters(run_dir: Path, worker: int) -> dict[int, bytes]:
    """Return a worker's counters by table version: quickly, because the worker stands still meanwhile."""
    found = {}
    for path in run_dir.glob(f"w{worker}-*.tally"):
        with contextlib.suppress(FileNotFoundError):  # folded just now: then nothing of it is under way
            found[int(path.stem.rpartition("-")[2])] = path.read_bytes()
    return found


def open_counts(counters: Mapping[int, bytes], layout_of: Callable[[int], Layout]) -> dict[str, int]:
    """Return what the counters of a stopped worker say is under way.

    Args:
        counters: from :func:`copy_counters`.
        layout_of: the layout of a table version.

    Returns:
        ``lost``: requests begun and not finished; ``failed:MODEL``: copies sent and neither answered nor failed.
    """
    found: Counter[str] = Counter({"lost": 0})
    for version, data in counters.items():
        layout = layout_of(version)
        whole = data[: layout.size * 8].ljust(layout.size * 8, b"\0")  # a new file grows to its size
        numbers = memoryview(whole).cast("Q")
        for (kind, field, *labels), number in layout.counts(numbers).items():
            if kind == "variant" and (field == "started" or field == "lost" or field.startswith("code_")):
                found["lost"] += number if field == "started" else -number
            elif kind == "shadow" and field in ("sent", "answered", "failed"):
                found[f"failed:{labels[1]}"] += number if field == "sent" else -number
    return dict(found)

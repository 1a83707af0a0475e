"""What /proc and the run directory say about the proxy's processes. Linux only."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.clock import monotonic
from proxy.routing.table import compile_table
from proxy.settings import parse
from proxy.tally import read_slots
from tests.soak.growth import Sample

__all__ = ["Process", "children", "client_ports", "freeze", "look", "open_counts"]

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


def open_counts(run_dir: Path, worker: int, text_of: Callable[[int], str]) -> dict[str, int]:
    """Return what the counters of a stopped worker say is under way.

    Args:
        run_dir: the run directory.
        worker: the worker's index.
        text_of: the configuration of a table version.

    Returns:
        ``lost``: requests begun and not finished; ``failed:MODEL``: copies sent and neither answered nor failed.
    """
    found: Counter[str] = Counter({"lost": 0})
    for path in sorted(run_dir.glob(f"w{worker}-*.tally")):
        version = int(path.stem.rpartition("-")[2])
        layout = compile_table(parse(text_of(version), environ={}), version).layout
        for (kind, field, *labels), number in layout.counts(read_slots(path, layout.size)).items():
            if kind == "variant" and (field == "started" or field == "lost" or field.startswith("code_")):
                found["lost"] += number if field == "started" else -number
            elif kind == "shadow" and field in ("sent", "answered", "failed"):
                found[f"failed:{labels[1]}"] += number if field == "sent" else -number
    return dict(found)

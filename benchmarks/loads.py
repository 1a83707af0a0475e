"""Each kind of load: what is run, and what it says at its end."""

import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from benchmarks.cells import Load
from benchmarks.measure import pinned
from benchmarks.open_loop import DRAIN_S, TURN_S

__all__ = ["SOCKET_ERRORS", "Seen", "closed", "in_turns", "streams", "write_bodies"]

ROOT = Path(__file__).resolve().parent.parent
SOCKET_ERRORS = ("connect", "read", "write", "timeout", "status")
Mark = Callable[[], None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What a load saw."""

    requests: int
    errors: str
    """Empty when there were none."""
    figures: dict[str, float]


def write_bodies(directory: Path, load: Load) -> Path:
    """Write the load's body where the programs find it; return the file."""
    path = directory / f"body-{load.payload.name.replace(' ', '-')}"
    path.write_bytes(load.payload.body)
    return path


def closed(
    wrk: str, core: str, url: str, load: Load, directory: Path, seconds: float, *, middle: Mark
) -> Seen:
    """Let wrk saturate ``url``; call ``middle`` once while it does.

    Raises:
        RuntimeError: when wrk fails.
    """
    argv = [wrk, "-t1", f"-c{load.connections}", f"-d{max(1, round(seconds))}s", "--timeout", "10s"]
    argv += ["-s", str(Path(__file__).with_name("post.lua")), url, "--"]
    argv += [
        load.payload.path,
        load.payload.content_type,
        str(write_bodies(directory, load)),
        str(load.payload.users),
    ]
    process = subprocess.Popen(pinned(core, argv), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        process.wait(seconds / 2)
    except subprocess.TimeoutExpired:
        middle()
    output = process.communicate(timeout=seconds + 30)[0]
    lines = [line for line in output.splitlines() if line.startswith(b"{")]
    if process.returncode != 0 or not lines:
        raise RuntimeError(f"wrk failed: {output.decode(errors='replace').strip()[-200:]}")
    seen = orjson.loads(lines[-1])
    errors = ", ".join(f"{seen[kind]} {kind} errors" for kind in SOCKET_ERRORS if seen[kind])
    return Seen(
        seen["requests"],
        errors,
        {
            "per_s": seen["requests"] / seen["duration_us"] * 1e6,
            "full_p50_ms": seen["p50_us"] / 1e3,
            "full_p99_ms": seen["p99_us"] / 1e3,
        },
    )


def streams(core: str, port: int, load: Load, seconds: float, models: Sequence[int], *, begin: Mark) -> Seen:
    """Let ``port`` pass on streams of ``models`` at a fixed rate; call ``begin`` when what is counted begins.

    Raises:
        RuntimeError: when the generator fails.
    """
    argv = ["benchmarks.streams", str(port), *map(str, models), "--streams", str(load.connections)]
    seen = _told(core, [*argv, "--rate", str(load.rate), "--seconds", str(seconds)], seconds, begin)
    requests, errors = int(seen.pop("requests")), int(seen.pop("errors"))
    return Seen(requests, _sentence(errors), seen | {"per_s": requests / seconds})


def in_turns(
    core: str,
    targets: Sequence[tuple[int, Iterable[int]]],
    load: Load,
    directory: Path,
    turns: int,
    blocks: int,
    *,
    begin: Mark,
) -> list[tuple[Seen, list[Seen]]]:
    """Put load at a fixed rate on one target after the other, many times; return of each what was seen, and by block.

    Args:
        core: of the generator.
        targets: ports, and the processes behind each that rest while it is another's turn.
        load: how much of what.
        directory: for the body.
        turns: for each of them.
        blocks: into which its turns are divided, each with a part of all of the time.
        begin: called when all connections are open.

    Raises:
        RuntimeError: when the generator fails.
    """
    payload = load.payload
    argv = ["benchmarks.open_loop"]
    argv += [f"{port}:{','.join(map(str, sorted(pids)))}" for port, pids in targets]
    argv += ["--connections", str(load.connections), "--rate", str(load.rate)]
    argv += ["--turns", str(turns), "--blocks", str(blocks)]
    argv += ["--path", payload.path, "--type", payload.content_type, "--users", str(payload.users)]
    argv += ["--body", str(write_bodies(directory, load))]
    told = []
    for figures in _told(core, argv, len(targets) * turns * (TURN_S + DRAIN_S), begin):
        seen = [Seen(int(f.pop("requests")), _sentence(int(f.pop("errors"))), f) for f in figures]
        told.append((seen[-1], seen[:-1]))
    return told


def _told(core: str, argv: list[str], seconds: float, begin: Mark) -> Any:
    """Run a generator that says ``begin`` and then one line of JSON; return what that line says.

    Raises:
        RuntimeError: when it fails.
    """
    command = pinned(core, [sys.executable, "-m", *argv])
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    for line in process.stdout:
        if line.strip() == b"begin":
            begin()
            break
    output, complaint = process.communicate(timeout=seconds + 60)
    if process.returncode != 0 or not output.strip():
        said = complaint.decode(errors="replace").strip().splitlines()[-1:]
        raise RuntimeError(f"the load failed: {' '.join(said)}")
    return orjson.loads(output)


def _sentence(errors: int) -> str:
    return f"{errors} errors" if errors else ""

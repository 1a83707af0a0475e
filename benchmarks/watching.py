"""``python -m benchmarks.watching``: what rollouts cost the observer, when nobody asks and when somebody does.

Starts a proxy with some rollouts, each on a route of its own, and reads the observer's CPU time from /proc: first
without a request, then under a steady load that is spread over all of them. Linux only.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import click

from benchmarks.idle_connections import ANSWER, accepts
from benchmarks.measure import cpu_of, free_ports, stop, wait_until

__all__ = ["main"]

CONFIG = """
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
state_dir: {directory}/state
log_level: error
models:
  one: {{url: "http://127.0.0.1:{model}"}}
  two: {{url: "http://127.0.0.1:{model}"}}
routes:
"""

ROUTE = """
  - name: r{number}
    match: {{path: "/r{number}"}}
    unit: [header:x-user-id]
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: canary, rollout: {{steps: [20], hold: 1h}}}}
"""

PLAIN = """
  - {name: r0, match: {path: "/r0"}, variants: [{name: v1, model: one, role: champion}]}
"""
"""What there is to compare with."""

SETTLING_S = 8.0
"""After a start, and after a change of load, until what is measured is what stays."""


def config(rollouts: int, listen: int, admin: int, model: int, directory: str) -> str:
    """Return the configuration."""
    head = CONFIG.format(listen=listen, admin=admin, model=model, directory=directory)
    return head + ("".join(ROUTE.format(number=number) for number in range(rollouts)) or PLAIN)


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def _ask(port: int, rollouts: int, rate: int, seconds: float) -> int:
    """Send ``rate`` requests a second, each of another user, to one route after the other; return how many."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    loop = asyncio.get_running_loop()
    begun, sent = loop.time(), 0
    for number in count():
        due = begun + number / rate
        if due > begun + seconds:
            break
        await asyncio.sleep(due - loop.time())
        writer.write(
            f"GET /r{number % max(1, rollouts)} HTTP/1.1\r\nHost: h\r\nx-user-id: u{number}\r\n\r\n".encode()
        )
        await reader.readuntil(b"\r\n\r\nok")
        sent += 1
    writer.close()
    return sent


def observer_of(supervisor: int) -> int:
    """Return the observer's process id; 0 when there is none yet."""
    for pid in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        if b"proxy.observer" in Path(f"/proc/{pid}/cmdline").read_bytes():
            return int(pid)
    return 0


@contextmanager
def served(rollouts: int) -> Iterator[tuple[int, int]]:
    """Run a proxy with so many rollouts; yield its port and its observer."""
    listen, admin, model = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="watching-") as directory:
        path = Path(directory) / "modelproxy.yaml"
        path.write_text(config(rollouts, listen, admin, model, directory))
        backend = subprocess.Popen([sys.executable, "-m", "benchmarks.watching", "--answer", str(model)])
        command = [sys.executable, "-m", "proxy", "serve", str(path)]
        proxy = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            wait_until(lambda: accepts(model) and accepts(listen) and observer_of(proxy.pid) > 0, proxy)
            yield listen, observer_of(proxy.pid)
        finally:
            stop(proxy)
            backend.kill()
            backend.wait()


async def _measure(rollouts: int, rate: int, seconds: float) -> tuple[float, float]:
    """Return the observer's part of a core when idle and under load."""
    with served(rollouts) as (port, observer):
        pids = frozenset((observer,))
        await asyncio.sleep(SETTLING_S)
        shares = []
        for load in (False, True):
            if load:
                await _ask(port, rollouts, rate, SETTLING_S)
            before = cpu_of(pids)[observer].total_s
            await (_ask(port, rollouts, rate, seconds) if load else asyncio.sleep(seconds))
            shares.append((cpu_of(pids)[observer].total_s - before) / seconds)
    return shares[0], shares[1]


async def _serve(port: int) -> None:
    server = await asyncio.start_server(_answer, "127.0.0.1", port)
    await server.serve_forever()


@click.command()
@click.option(
    "--rate", type=click.IntRange(1, 2000), default=100, show_default=True, help="Requests a second."
)
@click.option(
    "--seconds", type=click.IntRange(1, 3600), default=20, show_default=True, help="Of each measurement."
)
@click.option("--answer", "model", type=int, hidden=True)
def main(rate: int, seconds: int, model: int | None) -> None:
    """Measure what rollouts cost the observer."""
    if sys.platform != "linux":
        raise click.ClickException("CPU time is read from /proc: run this on Linux")
    if model is not None:
        asyncio.run(_serve(model))
        return
    print(f"{'rollouts':>8} {'idle':>8} {f'{rate}/s':>8}   of a core, the observer")
    for rollouts in (0, 1, 10, 100):
        idle, busy = asyncio.run(_measure(rollouts, rate, float(seconds)))
        print(f"{rollouts:>8} {idle * 100:>7.2f}% {busy * 100:>7.2f}%", flush=True)


if __name__ == "__main__":
    main()

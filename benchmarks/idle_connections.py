"""``python -m benchmarks.idle_connections``: what clients cost that are connected and say nothing.

Opens many keep-alive connections over loopback, each after one answered request, leaves them alone, and prints memory
of the workers and of the kernel per connection and the CPU time that the workers take to watch over them. As many
source addresses (127.1.0.x) are used as ports run out, and as many processes, of workers and of clients, as the limit
of open files asks for. Linux only.
"""

import asyncio
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import click

from benchmarks.measure import cpu_of, free_ports, stop, wait_until

__all__ = ["main"]

CONFIG = """
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
workers: {workers}
state_dir: {directory}/state
log_level: warning
timeouts: {{keep_alive: 1h}}
limits: {{connections: 1000000}}
models: {{one: {{url: "http://127.0.0.1:{model}"}}}}
routes: [{{name: all, match: {{path: "*"}}, variants: [{{name: one, model: one, role: champion}}]}}]
"""

PER_ADDRESS = 15_000
"""Connections from one source address, held by one process; about 28 000 ports are to be had."""

SPARE_FILES = 200
BATCH = 256

REQUEST = b"GET /idle HTTP/1.1\r\nHost: idle\r\nx-user-id: user-1\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\nok"


@dataclass(frozen=True, slots=True)
class Reading:
    """Memory of the workers and of the kernel's sockets, and the workers' CPU time."""

    rss_bytes: int
    kernel_bytes: int
    cpu_s: float


def file_limit(wanted: int) -> int:
    """Raise the limit of open files to ``wanted`` where that is allowed; return what it is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (wanted, hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), max(hard, most)))
        except (ValueError, OSError):
            continue
        break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def read(workers: frozenset[int]) -> Reading:
    """Look at the workers, and at what the kernel holds for sockets in buffers and in its own structures."""
    pages = sum(int(Path(f"/proc/{pid}/statm").read_text().split()[1]) for pid in workers)
    buffers = 0
    for line in Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            buffers = int(words[words.index("mem") + 1])
    size = os.sysconf("SC_PAGE_SIZE")
    cpu_s = sum(cpu.total_s for cpu in cpu_of(workers).values())
    return Reading(pages * size, buffers * size + slab_bytes(), cpu_s)


def slab_bytes() -> int:
    """Return what the kernel holds in slabs, of which sockets are a part; 0 where that is not told."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("Slab:"):
            return int(line.split()[1]) * 1024
    return 0


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Be a model."""
    try:
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)
    except (asyncio.IncompleteReadError, OSError):
        writer.close()


async def keep_open(port: int, source: str, count: int) -> None:
    """Open ``count`` connections from ``source``, one request on each; say so; keep them until the end of stdin."""
    lines: list[socket.socket] = []
    for _ in range(0, count, BATCH):
        lines += await asyncio.gather(*(_open(port, source) for _ in range(min(BATCH, count - len(lines)))))
    print(len(lines), flush=True)
    await asyncio.to_thread(sys.stdin.read)


async def _open(port: int, source: str) -> socket.socket:
    loop = asyncio.get_running_loop()
    line = socket.socket()
    line.setblocking(False)
    # With the port chosen only when the destination is known, an address has all its ports for each destination.
    line.setsockopt(socket.IPPROTO_IP, getattr(socket, "IP_BIND_ADDRESS_NO_PORT", 24), 1)
    line.bind((source, 0))
    await loop.sock_connect(line, ("127.0.0.1", port))
    await loop.sock_sendall(line, REQUEST)
    got = b""
    while not got.endswith(b"\r\n\r\nok"):
        if not (piece := await loop.sock_recv(line, 4096)):
            raise RuntimeError(f"expected an answer, got {got!r}")
        got += piece
    return line


def workers_of(supervisor: int) -> frozenset[int]:
    """Return the process ids of the workers."""
    children = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    return frozenset(
        int(pid) for pid in children if b"proxy.dataplane" in Path(f"/proc/{pid}/cmdline").read_bytes()
    )


def accepts(port: int) -> bool:
    """Tell whether somebody listens."""
    with socket.create_connection(("127.0.0.1", port), 1):
        return True


def report(count: int, workers: int, before: Reading, after: Reading, idle: Reading, seconds: float) -> None:
    """Print the figures."""
    rss = (after.rss_bytes - before.rss_bytes) / count
    kernel = (after.kernel_bytes - before.kernel_bytes) / count
    cpu = (idle.cpu_s - after.cpu_s) / seconds
    print(f"{count} idle connections, {workers} workers")
    print(
        f"  workers: {rss:.0f} bytes a connection, beside {before.rss_bytes / workers / 2**20:.0f} MiB each"
    )
    print(f"  kernel, both ends: about {kernel:.0f} bytes a connection")
    print(f"  CPU of the workers while nothing happens: {cpu * 100:.2f} % of a core")
    if count != 100_000:
        scale = 100_000 / count
        print(
            f"  extrapolated to 100000: {rss * 100_000 / 2**20:.0f} MiB, {cpu * scale * 100:.2f} % of a core"
        )


def open_all(port: int, count: int) -> list[subprocess.Popen[bytes]]:
    """Open ``count`` connections in as many processes as it takes; return the processes that hold them."""
    holders = []
    for number, first in enumerate(range(0, count, PER_ADDRESS)):
        share = min(PER_ADDRESS, count - first)
        command = [sys.executable, "-m", "benchmarks.idle_connections", "--hold", str(port)]
        command += [f"127.1.0.{number + 1}", str(share)]
        holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        holders.append(holder)
        assert holder.stdout is not None
        if (said := holder.stdout.readline().strip()) != str(share).encode():
            raise click.ClickException(f"expected {share} connections, got {said!r}")
    return holders


def measure(count: int, workers: int, seconds: float) -> None:
    """Run the proxy, open the connections, wait, print."""
    listen, admin, model = free_ports(3)
    with tempfile.TemporaryDirectory(prefix="idle-") as directory:
        config = Path(directory) / "modelproxy.yaml"
        config.write_text(
            CONFIG.format(listen=listen, admin=admin, model=model, workers=workers, directory=directory)
        )
        backend = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.idle_connections", "--answer", str(model)]
        )
        proxy = subprocess.Popen(
            [sys.executable, "-m", "proxy", "serve", str(config)], stdout=subprocess.DEVNULL
        )
        holders: list[subprocess.Popen[bytes]] = []
        try:
            wait_until(lambda: accepts(model) and accepts(listen), proxy)
            holders = open_all(listen, 256 * workers)
            time.sleep(2)
            pids = workers_of(proxy.pid)
            before = read(pids)
            holders += open_all(listen, count)
            time.sleep(5)  # until what the rush needed is given back
            after = read(pids)
            time.sleep(seconds)
            report(count, len(pids), before, after, read(pids), seconds)
        finally:
            for holder in holders:
                holder.kill()
                holder.wait()
            stop(proxy)
            backend.send_signal(signal.SIGKILL)
            backend.wait()


async def _serve(port: int) -> None:
    server = await asyncio.start_server(answer, "127.0.0.1", port)
    await server.serve_forever()


@click.command()
@click.option("--connections", type=click.IntRange(1, 1_000_000), default=100_000, show_default=True)
@click.option("--seconds", type=click.IntRange(1, 3600), default=20, show_default=True, help="Of idleness.")
@click.option("--hold", type=(int, str, int), hidden=True)
@click.option("--answer", "model", type=int, hidden=True)
def main(connections: int, seconds: int, hold: tuple[int, str, int] | None, model: int | None) -> None:
    """Measure what idle client connections cost."""
    if sys.platform != "linux":
        raise click.ClickException("memory and CPU time are read from /proc: run this on Linux")
    limit = file_limit(connections + SPARE_FILES)
    if hold is not None:
        asyncio.run(keep_open(*hold))
    elif model is not None:
        asyncio.run(_serve(model))
    else:
        # Workers do not share connections evenly: each gets room for four times its part.
        workers = 1 if connections < limit - SPARE_FILES else -(-4 * connections // limit)
        measure(connections, workers, float(seconds))


if __name__ == "__main__":
    main()

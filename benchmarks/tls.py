"""``python -m benchmarks.tls``: what TLS costs per request on connections that are kept, and per handshake.

Three tables of CPU time, for whoever wonders whether to turn it on, and for the rationale in
``proxy/dataplane/tls.py``: the proxy with TLS on no side, one side, both; a server that does nothing but answer, plain,
over the event loop's own TLS and over ours; handshakes by kind of key. Load comes from wrk over loopback. Linux only.
"""

import asyncio
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
import uvloop
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from benchmarks.idle_connections import accepts, workers_of
from benchmarks.measure import cpu_of, free_ports, stop, wait_until
from proxy.certificates import client_context, server_context
from proxy.dataplane.tls import TlsConnection
from proxy.settings import ModelTls, Tls
from tests.certificate_world import Authority

__all__ = ["main"]

CONFIG = """
listen: 127.0.0.1:{listen}
admin: 127.0.0.1:{admin}
state_dir: {directory}/state
log_level: warning
tls: {tls}
models: {{one: {{url: "{url}", tls: {model_tls}}}}}
routes: [{{name: all, match: {{path: "*"}}, variants: [{{name: one, model: one, role: champion}}]}}]
"""

ANSWER = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 16\r\n\r\n{"outputs": [1]}'
HANDSHAKES = 200
CONNECTIONS = 32


class Answering(asyncio.Protocol):
    """Answers every read: nobody here sends more than one request at a time."""

    def connection_made(self, transport: Any) -> None:
        self.write = transport.write

    def data_received(self, _data: bytes) -> None:
        self.write(ANSWER)


async def answer(kind: str, port: int, directory: Path) -> None:
    """Be a server of ``kind``: plain, loop (the event loop's TLS) or layer (ours)."""
    tls = Tls.model_validate({"certificate": "c", "key": "k"})
    files = {"c": (directory / "server.pem").read_text(), "k": (directory / "server.key").read_text()}
    context = server_context(tls, files)

    def secured() -> asyncio.Protocol:
        return TlsConnection(Answering(), context, lambda _connection, _error: None, server_side=True)

    loop = asyncio.get_running_loop()
    make = secured if kind == "layer" else Answering
    server = await loop.create_server(make, "127.0.0.1", port, ssl=context if kind == "loop" else None)
    await server.serve_forever()


@contextmanager
def started(*arguments: str, port: int) -> Iterator[subprocess.Popen[bytes]]:
    """Run a module of Python until the end of the block, once ``port`` accepts."""
    process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=subprocess.DEVNULL)
    try:
        wait_until(lambda: accepts(port), process)
        yield process
    finally:
        stop(process)


def cpu_per_request(wrk: str, url: str, pids: frozenset[int], seconds: int) -> float:
    """Put load on ``url``; return the microseconds of CPU that the processes ``pids`` took for each request."""
    script = Path(__file__).with_name("post.lua")
    command = [wrk, "-t1", f"-c{CONNECTIONS}", "-s", str(script), url]
    subprocess.run([*command, "-d1s"], check=True, capture_output=True)
    before = sum(cpu.total_s for cpu in cpu_of(pids).values())
    out = subprocess.run([*command, f"-d{seconds}s"], check=True, capture_output=True).stdout
    used = sum(cpu.total_s for cpu in cpu_of(pids).values()) - before
    seen = orjson.loads(next(line for line in out.splitlines() if line.startswith(b"{")))
    if failed := sum(seen[kind] for kind in ("connect", "read", "write", "timeout", "status")):
        raise click.ClickException(f"{url}: {failed} requests failed")
    return float(used / seen["requests"] * 1e6)


def measure_proxy(wrk: str, directory: Path, seconds: int) -> None:
    """Print the proxy's CPU per request with TLS on no side, one side, both."""
    print("proxy: µs of the worker's CPU per request, connections kept")
    secured = f"{{certificate: {directory}/server.pem, key: {directory}/server.key}}"
    for name, is_near, is_far in (
        ("plain", False, False),
        ("TLS to clients", True, False),
        ("TLS to the model", False, True),
        ("TLS to both", True, True),
    ):
        listen, admin, model = free_ports(3)
        kind = "layer" if is_far else "plain"
        (directory / "modelproxy.yaml").write_text(
            CONFIG.format(
                listen=listen,
                admin=admin,
                directory=directory,
                tls=secured if is_near else "{}",
                url=f"http{'s' if is_far else ''}://127.0.0.1:{model}",
                model_tls=f"{{ca: {directory}/ca.pem}}" if is_far else "{}",
            )
        )
        with (
            started("benchmarks.tls", "--serve", kind, str(model), str(directory), port=model),
            started("proxy", "serve", str(directory / "modelproxy.yaml"), port=listen) as proxy,
        ):
            url = f"http{'s' if is_near else ''}://127.0.0.1:{listen}"
            # The socket accepts before there is a worker.
            wait_until(lambda supervisor=proxy.pid: bool(workers_of(supervisor)), proxy)  # type: ignore[misc]
            spent = cpu_per_request(wrk, url, workers_of(proxy.pid), seconds)
        print(f"  {name:18} {spent:6.1f}")


def measure_servers(wrk: str, directory: Path, seconds: int) -> None:
    """Print the CPU per request of servers that only answer."""
    print("a server that only answers: µs of CPU per request")
    for kind, name in (("plain", "plain"), ("loop", "the event loop's TLS"), ("layer", "ours")):
        (port,) = free_ports(1)
        with started("benchmarks.tls", "--serve", kind, str(port), str(directory), port=port) as server:
            url = f"http{'' if kind == 'plain' else 's'}://127.0.0.1:{port}"
            spent = cpu_per_request(wrk, url, frozenset({server.pid}), seconds)
        print(f"  {name:21} {spent:6.1f}")


def measure_handshakes() -> None:
    """Print the server's CPU per full handshake, by kind of key."""
    print("handshakes: µs of the server's CPU each, TLS 1.3, no resumption")
    authority = Authority()
    for name, key in (
        ("ECDSA P-256", ec.generate_private_key(ec.SECP256R1())),
        ("RSA 2048", rsa.generate_private_key(65537, 2048)),
    ):
        identity = authority.issue("localhost", key=key)
        files = {"c": identity.certificate, "k": identity.key, "a": authority.pem}
        ours = server_context(Tls.model_validate({"certificate": "c", "key": "k"}), files)
        theirs = client_context(ModelTls.model_validate({"ca": "a"}), files)
        spent_ns = min(sum(_handshake_ns(ours, theirs) for _ in range(HANDSHAKES)) for _ in range(3))
        print(f"  {name:12} {spent_ns / HANDSHAKES / 1000:6.0f}")


def _handshake_ns(ours: ssl.SSLContext, theirs: ssl.SSLContext) -> int:
    """Shake hands in memory; return the CPU nanoseconds of the server's side."""
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = ours.wrap_bio(up, down, server_side=True)
    client = theirs.wrap_bio(down, up, server_hostname="localhost")
    spent_ns = 0
    for is_last in (False, True):
        try:
            client.do_handshake()
        except ssl.SSLWantReadError:
            assert not is_last
        begun_ns = time.process_time_ns()
        try:
            server.do_handshake()
        except ssl.SSLWantReadError:
            assert not is_last
        spent_ns += time.process_time_ns() - begun_ns
    return spent_ns


@click.command()
@click.option("--seconds", type=click.IntRange(1, 600), default=5, show_default=True, help="Of each load.")
@click.option("--serve", type=(str, int, click.Path(path_type=Path)), hidden=True)
def main(seconds: int, serve: tuple[str, int, Path] | None) -> None:
    """Measure what TLS costs."""
    if serve is not None:
        uvloop.run(answer(*serve))
        return
    wrk = shutil.which("wrk")
    if wrk is None or sys.platform != "linux":
        raise click.ClickException("this needs wrk (Debian: apt-get install wrk) and Linux's /proc")
    with tempfile.TemporaryDirectory(prefix="tls-") as name:
        directory, authority = Path(name), Authority()
        authority.write(directory)
        authority.issue("localhost", "127.0.0.1").write(directory, "server")
        measure_proxy(wrk, directory, seconds)
        measure_servers(wrk, directory, seconds)
    measure_handshakes()


if __name__ == "__main__":
    main()

"""Answers that are enormous, or become so when they are decoded, and what they take of the observer."""

import gzip
import zlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import brotli
import pytest
from aiohttp import web

from tests.compare.bodies import zstd
from tests.e2e.listening import listener
from tests.e2e.running import Running, eventually, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads /proc"),
]

MIB = 1024 * 1024
PLAIN = b'{"predictions": [' + b"1," * (50 * MIB) + b"1]}"
"""100 MiB of JSON."""

BOMBS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "deflate": lambda data: zlib.compress(data, 1),
    "br": lambda data: brotli.compress(data, quality=1),
    "zstd": zstd.compress,
}


@asynccontextmanager
async def giants() -> AsyncIterator[str]:
    """Run a server that answers 100 MiB, compressed as the path says; yield its URL."""
    bodies = {name: compress(PLAIN) for name, compress in BOMBS.items()}
    assert all(len(body) < MIB for body in bodies.values()), "short enough to be copied whole"
    bodies |= {f"small-{name}": compress(b'{"predictions": [1]}') for name, compress in BOMBS.items()}

    async def answer(request: web.Request) -> web.StreamResponse:
        await request.read()
        coding = request.path.removeprefix("/")
        headers = {"content-type": "application/json"}
        if coding in bodies:
            return web.Response(
                body=bodies[coding], headers={**headers, "content-encoding": coding.removeprefix("small-")}
            )
        whole = web.StreamResponse(headers=headers)
        await whole.prepare(request)
        for at in range(0, len(PLAIN), MIB):
            await whole.write(PLAIN[at : at + MIB])
        return whole

    async with listener(answer) as url:
        yield url


def config(directory: Path, url: str) -> str:
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: '{url}'}}
  two: {{url: '{url}'}}
routes:
  - name: giants
    match: {{path: "*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: two}}]
    log: {{percent: 100}}
"""


def peak_kib(pid: int) -> int:
    """Return the most memory that a process has held so far."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))


async def ask(proxy: Running, coding: str) -> None:
    """Ask once, take what comes as it is, and wait until it is settled."""
    async with proxy.session.post(f"{proxy.listen}/{coding}", data=b"{}", auto_decompress=False) as answer:
        assert answer.status == 200
        async for _ in answer.content.iter_chunked(MIB):
            pass
    await proxy.settled()


async def test_the_observer_stays_small(tmp_path: Path) -> None:
    """100 MiB from both models, plain and in each coding: none is compared, and no memory over the cap is taken."""
    async with giants() as url, serve(tmp_path, config(tmp_path, url)) as proxy:
        for coding in BOMBS:
            await ask(proxy, f"small-{coding}")  # what is imported for them is no part of what is weighed
        observer = proxy.observer_pid()
        before = peak_kib(observer)
        for coding in (*BOMBS, "plain"):
            for _ in range(3):
                await ask(proxy, coding)

        async def judged() -> bool:
            return await proxy.total("modelproxy_shadow_requests_total", outcome="uncomparable") >= 15

        await eventually(judged, "every pair to be settled")
        assert await proxy.total("modelproxy_comparisons_total") == len(BOMBS), "the small ones"
        assert await proxy.total("modelproxy_payload_records_total", outcome="written") >= 15
        assert proxy.observer_pid() == observer
        assert peak_kib(observer) - before < 48 * 1024

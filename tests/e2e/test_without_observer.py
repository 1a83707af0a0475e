"""Traffic while there is no observer, at the start and after it was killed: it waits, and is counted once."""

import asyncio
import os
import signal
import sys
from pathlib import Path

import orjson
import pytest

from tests.e2e.running import PATIENCE_S, Running, eventually, model_server, serve

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="finds the observer through /proc"),
]

ROUTE = """
  - name: {name}
    match: {{path: "/{name}/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: shade, max_in_flight: 1000}}]
    log: {{percent: 100}}
"""


def config(directory: Path, url: str, *routes: str) -> str:
    """Return a configuration that mirrors, compares and logs everything on these routes."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
models: {{one: {{url: "{url}"}}, shade: {{url: "{url}"}}}}
routes:
{"".join(ROUTE.format(name=name) for name in routes)}
"""


async def send(proxy: Running, route: str, count: int) -> None:
    """Send requests to a route."""
    for number in range(count):
        assert await proxy.infer(f"user-{number}", f"/{route}/infer") == (200, "v1")


def lines_of(state: Path) -> list[tuple[str, bool, str]]:
    """Return of each record its route, whether its shadow's answer is compared, and its request id."""
    records = [
        orjson.loads(line)
        for path in (state / "payloads").glob("*.jsonl")
        for line in path.read_bytes().splitlines()
    ]
    return [
        (record["route"], record["shadows"][0]["comparison"]["result"] == "agree", record["request_id"])
        for record in records
    ]


async def test_what_comes_while_the_observer_is_started_again(tmp_path: Path) -> None:
    """SIGKILL of an idle observer: what comes until its successor is there is recorded and compared, all of it and
    once, also on a route that is new since; no frame is missing."""
    async with (
        model_server("one") as model,
        serve(tmp_path, config(tmp_path, model.url, "wine")) as proxy,
    ):
        await send(proxy, "wine", 50)
        await proxy.settled()
        victim = proxy.observer_pid()
        os.kill(victim, signal.SIGKILL)
        await eventually(lambda: _has_ended(victim), "the end of the observer")
        await send(proxy, "wine", 100)
        fresh = proxy.config.with_suffix(".new")
        fresh.write_text(config(tmp_path, model.url, "beer", "wine"))
        fresh.replace(proxy.config)
        await eventually(lambda: _is_served(proxy, "/beer/infer"), "the new route in some worker")
        await proxy.everywhere(2)
        await eventually(proxy.is_watched, "another observer")
        await send(proxy, "beer", 50)
        await proxy.settled()
        total = await proxy.total("modelproxy_requests_total", code="200")
        assert total > 200
        for name in ("wine", "beer"):
            count = await proxy.total("modelproxy_requests_total", route=name, code="200")
            for outcome in ("sampled", "written"):
                records = await proxy.total("modelproxy_payload_records_total", route=name, outcome=outcome)
                assert records == count
            assert await proxy.total("modelproxy_comparisons_total", route=name, result="agree") == count
        assert await proxy.total("modelproxy_observer_lost_frames_total") == 0
        assert await proxy.total("modelproxy_exchanges_dropped_total") == 0
    lines = lines_of(proxy.state)
    assert len(lines) == len(set(lines)) == total
    assert all(is_compared for _, is_compared, _ in lines)


async def _has_ended(pid: int) -> bool:
    # Not when its first thread is a zombie: as long as another one lives its socket is open.
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return False


async def _is_served(proxy: Running, path: str) -> bool:
    return (await proxy.infer("ann", path))[0] == 200


@pytest.mark.long
async def test_an_observer_that_comes_after_the_last_request(tmp_path: Path) -> None:
    """With an observer that takes longer to start than the traffic lasts, all of it is recorded by the end."""
    async with model_server("one") as model:
        path = tmp_path / "modelproxy.yaml"
        path.write_text(config(tmp_path, model.url, "wine"))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "proxy", "serve", str(path), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        proxy = Running(process, path, "", "", tmp_path / "state")
        try:
            observer = await eventually(lambda: _observer_of(proxy), "the observer to begin")
            os.kill(observer, signal.SIGSTOP)
            async with asyncio.timeout(PATIENCE_S):
                proxy.listen = (await process.stdout.readline()).split()[-1].decode()
            await send(proxy, "wine", 200)
            os.kill(observer, signal.SIGCONT)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                assert await process.wait() == 0
        finally:
            await proxy.session.close()
            if process.returncode is None:
                process.kill()
                await process.wait()
    lines = lines_of(proxy.state)
    assert len(lines) == len(set(lines)) == 200


async def _observer_of(proxy: Running) -> int:
    try:
        return proxy.observer_pid()
    except (AssertionError, OSError):
        return 0

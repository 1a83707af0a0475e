"""What clients and operators see when something is broken: a clear answer, a count, and traffic that goes on."""

import asyncio
import resource
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

import aiohttp
import orjson
import pytest

from proxy.clock import monotonic
from tests.e2e.running import CountingModel, Running, eventually, model_server, serve

pytestmark = pytest.mark.slow

DEAD_PORT_URL = "http://127.0.0.1:9"
"""The discard port: nothing listens there."""


def config(directory: Path, url: str, *, shadow: str = DEAD_PORT_URL, extra: str = "", log: int = 0) -> str:
    """Return a configuration with one champion and one shadow."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
timeouts: {{client_head: 500ms, drain: 5s}}
limits: {{body: 1MiB}}
models:
  one: {{url: "{url}", timeout: 300ms}}
  shade: {{url: "{shadow}"}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: shade}}]
    log: {{percent: {log}}}
{extra}
"""


async def raw(proxy: Running, data: bytes) -> bytes:
    """Send bytes, return everything until the proxy closes."""
    host, port = proxy.listen.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(data)
    async with asyncio.timeout(10):
        answer = await reader.read()
    writer.close()
    return answer


def reply(answer: bytes) -> tuple[int, dict[str, Any]]:
    """Return status and JSON body of a reply."""
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), orjson.loads(body)


async def test_junk_gets_400_and_the_connection_ends(tmp_path: Path) -> None:
    """What is not HTTP is answered 400 in JSON and closed, and adds no series but the one for unrouted requests."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        series = len(await proxy.metrics())
        for junk in (
            b"\x16\x03\x01\x02\x00\x01\x00",
            b"GARBAGE\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET /\r\n\r\n",
        ):
            status, document = reply(await raw(proxy, junk))
            assert status in (400, 501, 505)
            assert document["error"]
            assert UUID(document["request_id"])
        for name in ("x" * 30, "y" * 30):
            await raw(
                proxy,
                f"GET /{name} HTTP/1.1\r\nHost: {name}\r\n{name}: 1\r\nConnection: close\r\n\r\n".encode(),
            )
        fresh = {key for key in await proxy.metrics() if key[0] == "modelproxy_requests_total"}
        assert {label for key in fresh for label in key[1:] if not label.startswith("code=")} == {
            "model=",
            "route=",
            "variant=",
        }
        assert len(await proxy.metrics()) == series + len(fresh)


async def test_unknown_route_and_large_body(tmp_path: Path) -> None:
    """An unknown route is 404 in JSON with the request id; a body over the limit is 413, declared or chunked."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        async with proxy.session.get(proxy.listen + "/nowhere", headers={"x-request-id": "abc"}) as answer:
            document = await answer.json()
            assert (answer.status, answer.headers["x-request-id"], document["request_id"]) == (
                404,
                "abc",
                "abc",
            )
        large = (
            b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 1000
        )
        assert reply(await raw(proxy, large))[0] == 413

        async def chunks() -> Any:
            for _ in range(40):
                yield b"x" * 65536

        try:
            async with proxy.session.post(proxy.listen + "/v2/models/wine/infer", data=chunks()) as answer:
                assert answer.status == 413
        except aiohttp.ClientError:
            pass  # a client that was still sending may see its connection end instead of the answer
        assert await proxy.total("modelproxy_requests_total", code="413") == 2


async def test_dead_and_slow_models_are_their_own_fault(tmp_path: Path) -> None:
    """A dead model is 502 at once, a slow one 504 after its timeout; both are counted on the model."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        model.gate.clear()
        start = monotonic()
        assert await proxy.infer("ann") == (504, "")
        assert monotonic() - start < 5
        model.gate.set()
        assert await proxy.infer("ann") == (200, "v1")
        await proxy.publish(config(tmp_path, DEAD_PORT_URL))
        assert (await proxy.infer("ann"))[0] == 502
        assert await proxy.total("modelproxy_upstream_faults_total", model="one", kind="timeout") == 1
        assert (
            await proxy.total("modelproxy_upstream_faults_total", model="one", kind="connect") == 2
        )  # and its retry
        assert await proxy.total("modelproxy_requests_total", variant="v1", code="502") == 1


async def test_a_dead_shadow_is_nobodys_business(tmp_path: Path) -> None:
    """A shadow that cannot be reached fails by itself, and is soon left alone; clients get every answer."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        assert [await proxy.infer("ann") for _ in range(20)] == [(200, "v1")] * 20
        await proxy.settled()
        failed = await proxy.total("modelproxy_shadow_requests_total", outcome="failed")
        dropped = await proxy.total("modelproxy_shadow_dropped_total", reason="unreachable")
        assert failed >= 1
        assert failed + dropped == 20


async def test_a_broken_file_changes_nothing(tmp_path: Path) -> None:
    """A broken configuration is refused with its lines, the old table stays, and a repaired file clears the alarm."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        good = proxy.config.read_text()
        proxy.config.write_text(good.replace("role: champion", "role: emperor"))

        async def is_refused() -> bool:
            return await proxy.total("modelproxy_config_last_reload_successful") == 0

        await eventually(is_refused, "the reload to be refused")
        assert await proxy.infer("ann") == (200, "v1")
        async with proxy.session.post(proxy.admin + "/api/v1/reload") as answer:
            document = await answer.json()
            assert answer.status == 409
            assert "emperor" in str(document)
            assert "variants[0].role" in str(document)
        assert await proxy.total("modelproxy_config_version") == 1
        proxy.config.write_text(good)

        async def is_well() -> bool:
            return await proxy.total("modelproxy_config_last_reload_successful") == 1

        await eventually(is_well, "the alarm to clear")
        journal = [orjson.loads(line) for line in (proxy.state / "journal.jsonl").read_bytes().splitlines()]
        assert any(entry["event"] != "publish" for entry in journal)


async def test_a_restart_only_change_is_refused_in_words(tmp_path: Path) -> None:
    """A change that a reload cannot make is refused with the sentence that says so."""
    async with model_server("one") as model, serve(tmp_path, config(tmp_path, model.url)) as proxy:
        proxy.config.write_text(proxy.config.read_text() + "workers: 3\n")
        async with proxy.session.post(proxy.admin + "/api/v1/reload") as answer:
            assert answer.status == 409
            assert "restart" in await answer.text()
        assert len((await proxy.status())["workers"]) == 1


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits the observer's files with prlimit")
async def test_a_full_disk_costs_records_only(tmp_path: Path) -> None:
    """When the payload log cannot be written, records are counted as failed and clients notice nothing."""
    async with model_server("one") as model:
        text = config(tmp_path, model.url, log=100)
        async with serve(tmp_path, text) as proxy:
            resource.prlimit(proxy.observer_pid(), resource.RLIMIT_FSIZE, (2000, 2000))
            for _ in range(30):
                assert await proxy.infer("ann") == (200, "v1")

            async def has_failed() -> bool:
                return await proxy.total("modelproxy_payload_records_total", outcome="failed") > 0

            await eventually(has_failed, "records to be counted as failed")
            await proxy.settled()
            for file in (proxy.state / "payloads").glob("*.jsonl"):
                for line in file.read_bytes().splitlines():
                    orjson.loads(line)


async def test_sigterm_drains(tmp_path: Path) -> None:
    """SIGTERM lets the request in flight finish, refuses new connections, and the exit code is 0."""
    async with model_server("one") as model:
        text = config(tmp_path, model.url).replace("300ms", "10s")
        async with serve(tmp_path, text) as proxy:
            model.gate.clear()
            answer = asyncio.ensure_future(proxy.infer("ann"))
            await eventually(lambda: _waiting(model), "the request to reach the model")
            proxy.process.send_signal(signal.SIGTERM)

            async def is_closed() -> bool:
                host, port = proxy.listen.removeprefix("http://").split(":")
                try:
                    _, writer = await asyncio.open_connection(host, int(port))
                except OSError:
                    return True
                writer.close()
                return False

            await eventually(is_closed, "new connections to be refused")
            model.gate.set()
            assert await answer == (200, "v1")
            async with asyncio.timeout(10):
                assert await proxy.process.wait() == 0


async def _waiting(model: CountingModel) -> bool:
    return model.waiting > 0


EARLY = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig"


@pytest.mark.skipif(sys.platform != "linux", reason="what a socket holds when it is reset is Linux's")
async def test_an_early_answer_survives_the_reset_behind_it(tmp_path: Path) -> None:
    """A model that refuses an upload by its head and closes resets the connection; its answer arrives every time."""

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(EARLY)
        writer.close()

    async def upload(host: str, port: str) -> bytes:
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n")
        writer.write(bytes(999_999))
        line = await reader.readline()
        writer.close()
        return line

    server = await asyncio.start_server(refuse, "127.0.0.1", 0, limit=4096)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, serve(tmp_path, config(tmp_path, url)) as proxy:
        host, port = proxy.listen.removeprefix("http://").split(":")
        lines = [
            line for _ in range(15) for line in await asyncio.gather(*[upload(host, port) for _ in range(4)])
        ]
        assert set(lines) == {EARLY.split(b"\n")[0] + b"\n"}

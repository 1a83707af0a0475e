"""TLS to clients and to models, through a running proxy, with clients that are used as they are."""

import asyncio
import hashlib
import io
import os
import shutil
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import pytest
from aiohttp import web

from proxy.certificates import server_context
from proxy.dataplane.tls import TlsConnection
from proxy.settings import Tls
from tests.certificate_world import Authority, Identity
from tests.e2e.running import Running, eventually, serve
from tests.e2e.secured import AUTHORITY, Shop, answer, raw_server, secured_model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

STRANGER = Authority("stranger")
LARGE = os.urandom(1 << 20) * 8


@pytest.fixture(name="shop")
def fixture_shop(tmp_path: Path) -> Shop:
    """Fresh certificates."""
    return Shop(tmp_path)


@pytest.fixture(name="both")
async def fixture_both(shop: Shop, tmp_path: Path) -> AsyncIterator[Running]:
    """A proxy with TLS on both sides, its client session trusting the authority."""
    async with (
        secured_model() as url,
        serve(tmp_path, shop.config(url, f"{{ca: {shop.ca}}}", shop.listener)) as proxy,
    ):
        yield proxy


async def get(
    proxy: Running, context: ssl.SSLContext, body: bytes = b"", fresh: bool = True, path: str = "x"
) -> tuple[int, bytes]:
    """Send one request, over a fresh connection unless said otherwise; return status and body."""
    headers = {"connection": "close"} if fresh else {}
    async with proxy.session.post(
        f"{proxy.listen}/{path}", data=body, ssl=context, headers=headers
    ) as response:
        return response.status, await response.read()


async def run(*command: str, stdin: bytes = b"") -> tuple[int, bytes]:
    """Run a program; return exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(30):
        out, _ = await process.communicate(stdin)
    assert process.returncode is not None
    return process.returncode, out


async def test_both_sides(both: Running, shop: Shop) -> None:
    """The URL says https, the model is told so, and 8 MiB come back as they were sent, over one connection."""
    assert both.listen.startswith("https://127.0.0.1:")
    connector = aiohttp.TCPConnector(ssl=shop.client(), limit=1)
    async with aiohttp.ClientSession(connector=connector) as session:
        for body in (b"small", LARGE, b""):
            async with session.post(both.listen + "/x", data=io.BytesIO(body)) as response:
                got = await response.read()
                assert response.headers["x-saw-proto"] == "https"
                assert response.headers["x-saw-host"] == urlsplit(both.listen).netloc
                assert hashlib.sha256(got).digest() == hashlib.sha256(body).digest()
    opened = await both.total("modelproxy_connections_opened_total")
    assert opened == 1


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl(both: Running, shop: Shop) -> None:
    """curl is served in both versions, and turned away with an older one, a wrong authority, or plain HTTP."""
    url, base = both.listen + "/x", ["curl", "-sS", "-m", "10", "--cacert", str(shop.ca)]
    for version in (["--tlsv1.2", "--tls-max", "1.2"], ["--tlsv1.3"]):
        assert await run(*base, *version, "-d", "hello", url) == (0, b"hello")
    code, _ = await run(*base, "--tls-max", "1.1", "--tlsv1.0", "--ciphers", "ALL:@SECLEVEL=0", url)
    assert code == 35
    code, _ = await run("curl", "-sS", "-m", "10", url)
    assert code == 60
    code, out = await run("curl", "-sS", "-m", "10", url.replace("https:", "http:"))
    assert (code, b"speaks HTTPS" in out) == (0, True)

    async def is_counted() -> bool:
        reasons = [
            await both.total("modelproxy_tls_handshake_failures_total", reason=reason)
            for reason in ("protocol", "refused", "plain_http")
        ]
        return reasons == [1, 1, 1]

    await eventually(is_counted, "the three failures in the metrics")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
async def test_openssl(both: Running, shop: Shop) -> None:
    """OpenSSL's own client finds ALPN, no compression, no renegotiation, and a proper end."""
    address = urlsplit(both.listen).netloc
    request = b"GET /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
    base = ["openssl", "s_client", "-connect", address, "-CAfile", str(shop.ca), "-ign_eof"]
    code, out = await run(*base, "-alpn", "h2,http/1.1", stdin=request)
    assert code == 0
    for line in (b"ALPN protocol: http/1.1", b"Compression: NONE", b"Verify return code: 0", b"HTTP/1.1 200"):
        assert line in out
    assert b"unexpected eof" not in out
    _, out = await run(*base[:-1], "-tls1_2", stdin=b"R\n")
    assert b"no renegotiation" in out.lower()


async def test_requests(both: Running, shop: Shop) -> None:
    """The most used client of all needs nothing but the authority."""
    requests = pytest.importorskip("requests")

    def call() -> tuple[int, bytes]:
        with requests.Session() as session:
            session.get(both.listen + "/first", timeout=10, verify=str(shop.ca))
            response = session.post(both.listen + "/x", data=b"body", timeout=10, verify=str(shop.ca))
            return response.status_code, response.content

    assert await asyncio.to_thread(call) == (200, b"body")


async def test_pipelined_and_closed_in_order(both: Running, shop: Shop) -> None:
    """Requests in one record are answered in order, and the connection ends with close_notify."""
    parts = urlsplit(both.listen)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=shop.client())
    head = b"POST /x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n"
    writer.write(b"".join(head + b"\r\n%d" % i for i in range(5)) + head + b"Connection: close\r\n\r\n5")
    async with asyncio.timeout(10):
        got = await reader.read()  # raises when the end is a cut
    bodies = [part.partition(b"\r\n\r\n")[2] for part in got.split(b"HTTP/1.1 200 OK\r\n")[1:]]
    assert bodies == [b"%d" % i for i in range(6)]
    writer.close()


@asynccontextmanager
async def traffic(proxy: Running, context: ssl.SSLContext) -> AsyncIterator[list[object]]:
    """Keep asking, over kept connections and over new ones; yield what failed."""
    failed: list[object] = []
    sent = 0
    done = False

    async def keep_asking(fresh: bool) -> None:
        nonlocal sent
        while not done:
            try:
                status, body = await get(proxy, context, b"x" * 100, fresh)
            except aiohttp.ClientError as error:
                failed.append(error)
            else:
                failed.extend([status] if (status, body) != (200, b"x" * 100) else [])
            sent += 1
            await asyncio.sleep(0.005)

    tasks = [asyncio.ensure_future(keep_asking(fresh)) for fresh in (True, True, False, False)]
    try:
        yield failed
    finally:
        done = True
        await asyncio.gather(*tasks)
    assert sent > 50


@pytest.mark.long
async def test_rotation_under_load(both: Running, shop: Shop) -> None:
    """While certificates are replaced no request fails, and new connections are shown the new one."""
    async with traffic(both, shop.client()) as failed:
        for days in (11, 22):
            shop.replace(AUTHORITY.issue("localhost", "127.0.0.1", days=days))
            expected = shop.identity.expires_s

            async def is_shown(expected: int = expected) -> bool:
                name = "modelproxy_tls_certificate_expiry_timestamp_seconds"
                return expected == await both.total(name, model="")

            await eventually(is_shown, "the new certificate in the metrics")
            port = urlsplit(both.listen).port or 0
            pem = await asyncio.to_thread(ssl.get_server_certificate, ("127.0.0.1", port))
            assert pem.split() == shop.identity.certificate.split()
    assert failed == []
    assert await both.total("modelproxy_tls_reloads_total") == 2
    assert await both.total("modelproxy_tls_last_reload_successful") == 1


async def test_an_upgrade_under_load(both: Running, shop: Shop) -> None:
    """SIGUSR2: the workers of the next program shake hands where those of this one finish; nobody is turned away."""
    async with traffic(both, shop.client()) as failed:
        both.process.send_signal(signal.SIGUSR2)

        async def is_done() -> bool:
            config = (await both.status()).get("config", {})
            return bool(config.get("version") == 2 and not config["earlier_pids"])

        await eventually(is_done, "the next program to be alone", 60)
        await asyncio.sleep(0.2)
    assert failed == []
    assert await both.total("modelproxy_tls_handshake_failures_total") == 0


@pytest.mark.long
async def test_a_worker_that_starts_beside_broken_files(both: Running, shop: Shop) -> None:
    """What cannot be used is refused and told; a worker that dies meanwhile comes back with the last good files."""
    before = shop.identity
    shop.key.write_text("half a key")

    async def is_refused() -> bool:
        return not await both.total("modelproxy_tls_last_reload_successful")

    await eventually(is_refused, "the refusal in the metrics")
    status = await both.status()
    assert "no private key" in status["config"]["certificates"]["problems"][0]
    os.kill(status["workers"][0]["pid"], signal.SIGKILL)

    async def is_back() -> bool:
        workers = (await both.status()).get("workers", [{}])
        return bool(workers[0].get("restarts") == 1 and workers[0]["up"])

    await eventually(is_back, "the worker's successor")
    assert await get(both, shop.client(), b"x") == (200, b"x")
    shop.key.write_text(before.key)

    async def is_well() -> bool:
        return bool(await both.total("modelproxy_tls_last_reload_successful"))

    await eventually(is_well, "the files in order again")


async def test_switched_on_and_off_by_a_reload(shop: Shop, tmp_path: Path) -> None:
    """A changed section holds for the next connection: plain, secured, with client certificates, and plain again."""
    async with secured_model() as url:
        tls = f"{{ca: {shop.ca}}}"
        port = _free_port()
        text = shop.config(url, tls).replace("listen: 127.0.0.1:0", f"listen: 127.0.0.1:{port}")
        secured = text.replace("\ntls: {}", f"\ntls: {shop.listener}")
        mutual = secured.replace(".key}", f".key, client_ca: {shop.ca}, min_version: 1.3}}", 1)
        async with serve(tmp_path, text) as proxy:
            assert await get(proxy, shop.client()) == (200, b"")
            await proxy.publish(secured)
            proxy.listen = f"https://127.0.0.1:{port}"
            assert await get(proxy, shop.client()) == (200, b"")
            await proxy.publish(mutual)
            assert await get(proxy, shop.client(certificate=True)) == (200, b"")
            with pytest.raises(aiohttp.ClientError):
                await get(proxy, shop.client())

            async def is_counted() -> bool:
                # In TLS 1.3 the client knows before the server does.
                return await proxy.total("modelproxy_tls_handshake_failures_total", reason="certificate") == 1

            await eventually(is_counted, "the failed handshake to be counted")
            await proxy.publish(text)
            proxy.listen = f"http://127.0.0.1:{port}"
            assert await get(proxy, shop.client()) == (200, b"")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def test_wrong_files_stop_the_start(shop: Shop, tmp_path: Path) -> None:
    """A certificate without its key is one sentence and exit code 1, for serve and for validate."""
    shop.key.write_text(AUTHORITY.issue("x").key)
    config = tmp_path / "modelproxy.yaml"
    config.write_text(shop.config("https://127.0.0.1:1", listener=shop.listener))
    for command in ("serve", "validate"):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", command, str(config)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        async with asyncio.timeout(30):
            out, _ = await process.communicate()
        assert process.returncode == 1
        assert b"tls.key: found another key" in out


def self_signed() -> Identity:
    return AUTHORITY.issue("127.0.0.1", self_signed=True)


MODELS: dict[str, tuple[Identity, str, str]] = {
    "wrong-authority": (STRANGER.issue("127.0.0.1"), "ca: @ca.pem", "unable to get local issuer certificate"),
    "self-signed": (self_signed(), "ca: @ca.pem", "self-signed certificate"),
    "expired": (AUTHORITY.issue("127.0.0.1", days=-1), "ca: @ca.pem", "certificate has expired"),
    "wrong-address": (AUTHORITY.issue("192.0.2.1"), "ca: @ca.pem", "IP address mismatch"),
    "wrong-name": (AUTHORITY.issue("a.test"), "ca: @ca.pem, server_name: b.test", "Hostname mismatch"),
    "system-trust": (AUTHORITY.issue("127.0.0.1"), "", "unable to get local issuer certificate"),
}


def many(shop: Shop, models: Mapping[str, tuple[str, str]]) -> str:
    """Return a configuration with a model and a route, ``/NAME``, for each name: URL and TLS section."""
    text = shop.config("http://127.0.0.1:1", listener=shop.listener)
    sections = "".join(f'  {name}: {{url: "{url}", tls: {tls}}}\n' for name, (url, tls) in models.items())
    routes = "".join(
        f"""
  - name: {name}
    match: {{path: /{name}}}
    variants: [{{name: v, model: {name}, role: champion}}]"""
        for name in models
    )
    return text.replace("models:\n", f"models:\n{sections}").replace("routes:\n", f"routes:{routes}\n")


async def test_models_that_cannot_prove_themselves(shop: Shop, tmp_path: Path) -> None:
    """Nothing is sent to them: 502, a fault of its own kind, and each reason in the log, once."""
    asked: list[web.Request] = []

    async def note(request: web.Request) -> web.StreamResponse:
        asked.append(request)
        return await answer(request)

    async with AsyncExitStack() as stack:
        models = {}
        for name, (identity, tls, _) in MODELS.items():
            url = await stack.enter_async_context(secured_model(identity, handler=note))
            models[name] = url, f"{{{tls.replace('@', f'{tmp_path}/')}}}"
        log = stack.enter_context((tmp_path / "log").open("wb"))
        proxy = await stack.enter_async_context(serve(tmp_path, many(shop, models), log))
        for name in MODELS:
            for _ in range(3):
                status, body = await get(proxy, shop.client(), path=name)
                assert status == 502
                assert b"TLS handshake failed" in body
            assert await proxy.total("modelproxy_upstream_faults_total", kind="tls", model=name) >= 3
    assert asked == []
    said = (tmp_path / "log").read_text().splitlines()
    for name, (_, _, words) in MODELS.items():
        (line,) = [line for line in said if f"model {name}: no secure connection" in line]
        assert words in line


TAKEN: dict[str, tuple[Identity, str]] = {
    "unverified": (self_signed(), "{verify: false}"),
    "another-name": (AUTHORITY.issue("a.test"), "{ca: @ca.pem, server_name: a.test}"),
    "mutual": (AUTHORITY.issue("127.0.0.1"), "{ca: @ca.pem, certificate: @client.pem, key: @client.key}"),
}


async def test_models_that_are_taken(shop: Shop, tmp_path: Path) -> None:
    """What the settings allow works: not to verify, another name, and a certificate of our own for who asks."""
    async with AsyncExitStack() as stack:
        models = {}
        for name, (identity, tls) in TAKEN.items():
            client_ca = AUTHORITY.pem if name == "mutual" else None
            url = await stack.enter_async_context(secured_model(identity, client_ca=client_ca))
            models[name] = url, tls.replace("@", f"{tmp_path}/")
        proxy = await stack.enter_async_context(serve(tmp_path, many(shop, models)))
        for name in TAKEN:
            assert await get(proxy, shop.client(), b"x", path=name) == (200, b"x")


VERSIONS = {"before": ssl.TLSVersion.TLSv1_2, "behind": ssl.TLSVersion.TLSv1_3}


async def test_models_that_want_a_certificate(shop: Shop, tmp_path: Path) -> None:
    """Whether they refuse us in the handshake (1.2) or behind it (1.3), it is the same fault."""
    files = {"c": shop.identity.certificate, "k": shop.identity.key, "a": AUTHORITY.pem}
    tls = Tls.model_validate({"certificate": "c", "key": "k", "client_ca": "a"})
    loop = asyncio.get_running_loop()
    models = {}
    async with AsyncExitStack() as stack:
        for name, version in VERSIONS.items():
            context = server_context(tls, files)
            context.maximum_version = version
            # Not asyncio's own TLS, which does not send the alert that says why.
            server = await loop.create_server(partial(_secured, context), "127.0.0.1", 0)
            await stack.enter_async_context(server)
            url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            models[name] = url, f"{{ca: {shop.ca}}}"
        proxy = await stack.enter_async_context(serve(tmp_path, many(shop, models)))
        for name in VERSIONS:
            status, _ = await get(proxy, shop.client(), path=name)
            assert status == 502
            assert await proxy.total("modelproxy_upstream_faults_total", kind="tls", model=name) >= 1
            assert await proxy.total("modelproxy_upstream_faults_total", kind="reset", model=name) == 0


def _secured(context: ssl.SSLContext) -> asyncio.BaseProtocol:
    return TlsConnection(asyncio.Protocol(), context, lambda *_: None, server_side=True)


async def test_a_model_that_speaks_no_tls(shop: Shop, tmp_path: Path) -> None:
    """It answers the handshake with HTTP: a failed handshake."""

    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        writer.close()

    async with (
        raw_server(plain, secured=False) as url,
        serve(tmp_path, shop.config(url)) as proxy,
    ):
        assert (await get(proxy, shop.client()))[0] == 502
        assert await proxy.total("modelproxy_upstream_faults_total", kind="tls") >= 1


async def test_a_shadow_over_tls(shop: Shop, tmp_path: Path) -> None:
    """Copies go over TLS too; one whose server cannot prove itself has failed, and those behind it are not sent."""
    good, bad = AUTHORITY.issue("127.0.0.1"), STRANGER.issue("127.0.0.1")
    async with secured_model(good) as first, secured_model(bad) as second:
        text = shop.config(first, f"{{ca: {shop.ca}}}").replace(
            "models:\n",
            f"""models:
  good: {{url: "{first}", tls: {{ca: {shop.ca}}}}}
  bad: {{url: "{second}", tls: {{ca: {shop.ca}}}}}
""",
        )
        text += "    shadows: [{model: good}, {model: bad}]\n"
        async with serve(tmp_path, text) as proxy:
            for _ in range(3):
                assert await get(proxy, shop.client(), b"1") == (200, b"1")
            await proxy.settled()
            name = "modelproxy_shadow_requests_total"
            assert await proxy.total(name, model="good", outcome="answered") == 3
            failed = await proxy.total(name, model="bad", outcome="failed")
            dropped = await proxy.total("modelproxy_shadow_dropped_total", model="bad", reason="unreachable")
            assert failed >= 1
            assert failed + dropped == 3


async def test_a_body_that_ends_with_the_connection(shop: Shop, tmp_path: Path) -> None:
    """Behind close_notify it is whole; without, the client is told that it is not."""
    is_cut = False

    async def serve_model(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 1000)
        await writer.drain()
        if is_cut:
            # The socket's own end, as a machine in between would make it, without TLS knowing.
            with socket.socket(fileno=os.dup(writer.get_extra_info("socket").fileno())) as sock:
                sock.shutdown(socket.SHUT_WR)
        else:
            writer.close()

    async with (
        raw_server(serve_model) as url,
        serve(tmp_path, shop.config(url, f"{{ca: {shop.ca}}}", shop.listener)) as proxy,
    ):
        assert await get(proxy, shop.client()) == (200, b"x" * 1000)
        assert await proxy.total("modelproxy_upstream_faults_total", kind="reset") == 0
        is_cut = True
        with pytest.raises(aiohttp.ClientPayloadError):
            await get(proxy, shop.client())
        assert await proxy.total("modelproxy_upstream_faults_total", kind="reset") == 1


async def test_a_client_that_leaves_cancels_the_model(shop: Shop, tmp_path: Path) -> None:
    """Whether it says goodbye or not, the model's connection is gone at once."""
    begun, left = asyncio.Semaphore(0), asyncio.Semaphore(0)

    async def stream(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nbegin")
        begun.release()
        with suppress(OSError):
            await reader.read()
        left.release()
        writer.transport.abort()

    async with (
        raw_server(stream) as url,
        serve(tmp_path, shop.config(url, f"{{ca: {shop.ca}}}", shop.listener)) as proxy,
    ):
        parts = urlsplit(proxy.listen)
        for is_polite in (True, False):
            reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=shop.client())
            writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
            async with asyncio.timeout(10):
                await begun.acquire()
                await reader.readuntil(b"begin")
                if is_polite:
                    writer.close()
                else:
                    writer.transport.abort()
                await left.acquire()


async def test_a_slow_reader_slows_the_model(shop: Shop, tmp_path: Path) -> None:
    """A client that does not read keeps the model from sending more than the buffers on the way hold."""
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (256 << 20))
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
                sent += 1 << 16
        except OSError:
            writer.transport.abort()

    async with (
        raw_server(pour) as url,
        serve(tmp_path, shop.config(url, f"{{ca: {shop.ca}}}", shop.listener)) as proxy,
    ):
        parts = urlsplit(proxy.listen)
        reader, writer = await asyncio.open_connection(
            parts.hostname, parts.port, ssl=shop.client(), limit=1024
        )
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")

        async def stands_still() -> bool:
            before = sent
            await asyncio.sleep(0.3)
            return before == sent > 0

        await eventually(stands_still, "the model to be slowed")
        assert sent < 64 << 20
        writer.transport.abort()


async def test_a_drain_lets_requests_finish(shop: Shop, tmp_path: Path) -> None:
    """SIGTERM in the middle: the answer comes whole and the connection ends properly."""
    gate, waiting = asyncio.Event(), asyncio.Event()

    async def wait(request: web.Request) -> web.StreamResponse:
        waiting.set()
        await gate.wait()
        return web.Response(body=b"done")

    async with (
        secured_model(handler=wait) as url,
        serve(tmp_path, shop.config(url, f"{{ca: {shop.ca}}}", shop.listener)) as proxy,
    ):
        parts = urlsplit(proxy.listen)
        reader, writer = await asyncio.open_connection(parts.hostname, parts.port, ssl=shop.client())
        writer.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        async with asyncio.timeout(20):
            await waiting.wait()
            proxy.process.send_signal(signal.SIGTERM)

            async def is_draining() -> bool:
                try:
                    _, other = await asyncio.open_connection(parts.hostname, parts.port)
                except OSError:
                    return True
                other.close()
                return False

            await eventually(is_draining, "new connections to be refused")
            gate.set()
            got = await reader.read()
            assert got.endswith(b"\r\n\r\ndone")
            assert b"connection: close" in got.lower()
            writer.close()
            assert await proxy.process.wait() == 0

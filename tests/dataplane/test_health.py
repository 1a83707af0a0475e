"""Health checks: what they ask, what an answer means, and when a server's health changes."""

import asyncio
import contextlib
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.dataplane.contexts import Contexts
from proxy.dataplane.endpoint_counts import EndpointCounts
from proxy.dataplane.health import HealthState, HealthWatch, check_request, jittered_s
from proxy.routing.table import Endpoint
from proxy.settings import Health, Model
from proxy.tally import ENDPOINT_FIELDS
from tests.certificate_world import Authority

SECOND = 1_000_000_000
SETTINGS = Health.model_validate({"timeout": "5s", "interval": "10ms"})
ROW = Health.model_validate({"unhealthy_after": 3, "healthy_after": 2})


def history(checks: str, settings: Health = ROW, is_healthy: bool = True) -> str:
    """Return what is believed after each check: ``+`` passed or healthy, ``-`` failed or not."""
    state = HealthState(settings, is_healthy)
    believed = ""
    for check in checks:
        before = state.is_healthy
        assert state.on_check(check == "+") == (state.is_healthy != before)
        believed += "+" if state.is_healthy else "-"
    return believed


CASES: dict[str, tuple[str, str]] = {
    "the first decides": ("-", "-"),
    "also for good": ("+--", "+++"),
    "three in a row": ("+---", "+++-"),
    "not in a row": ("+--+--", "++++++"),
    "two bring it back": ("-++", "--+"),
    "one does not": ("-+-+-", "-----"),
    "and away again": ("-++---", "--+++-"),
}


@pytest.mark.parametrize(("checks", "believed"), CASES.values(), ids=CASES)
def test_state(checks: str, believed: str) -> None:
    """So many failures in a row take a server out, so many passes bring it back; the very first check decides alone."""
    assert history(checks) == believed


def test_state_that_is_inherited() -> None:
    """A server that was out when its checks were changed is back with the first that passes."""
    assert history("+---", is_healthy=False) == "+++-"


@given(st.text("+-", max_size=60), st.integers(1, 5), st.integers(1, 5))
def test_law_of_the_state(checks: str, down: int, up: int) -> None:
    """Behind the first check, health changes exactly when so many checks in a row contradict it."""
    believed = history(checks, ROW.model_copy(update={"unhealthy_after": down, "healthy_after": up}))
    for i in range(1, len(checks)):
        was = believed[i - 1]
        needed = down if was == "+" else up
        row = checks[max(0, i + 1 - needed) : i + 1]
        is_contradicted = len(row) == needed and was not in row
        # A row counts from the last change on.
        since = next((j for j in range(i - 1, 0, -1) if believed[j] != believed[j - 1]), 0)
        assert (believed[i] != was) == (is_contradicted and i - since >= needed)


@given(st.integers(1, 10**13), st.integers(0, 65_535))
def test_jitter(interval: int, draw: int) -> None:
    """A pause is a tenth shorter or longer at most, and the interval on average."""
    assert 0.899999 <= jittered_s(interval, draw) * SECOND / interval <= 1.100001
    assert jittered_s(interval, 32_768) == interval / SECOND


def test_request() -> None:
    """A check is a GET that says who asks, and lets the server close."""
    head = check_request("/v2/health/ready?deep=1", b"h:9001")
    first, *lines = head.decode().split("\r\n")
    assert first == "GET /v2/health/ready?deep=1 HTTP/1.1"
    assert lines[0] == "host: h:9001"
    assert lines[1].startswith("user-agent: modelproxy/")
    assert lines[2:] == ["accept: */*", "connection: close", "", ""]


@asynccontextmanager
async def answering(answer: bytes | None) -> AsyncIterator[Endpoint]:
    """Run a server that answers so and closes; None: it never answers."""

    serving: list[asyncio.Task[None] | None] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        if answer is None:
            await reader.read()
        else:
            writer.write(answer)
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield Endpoint(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    await asyncio.gather(*filter(None, serving))


def watch(endpoint: Endpoint, settings: Health = SETTINGS) -> HealthWatch:
    return HealthWatch("m", endpoint, settings, EndpointCounts(endpoint.url))


ANSWERS: dict[str, tuple[bytes, str]] = {
    "200": (b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", ""),
    "204": (b"HTTP/1.1 204 No Content\r\n\r\n", ""),
    "no reason": (b"HTTP/1.1 200\r\n\r\n", ""),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\n\r\n", ""),
    "behind 103": (b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", ""),
    "302": (b"HTTP/1.1 302 Found\r\nlocation: /\r\n\r\n", "it answered 302"),
    "404": (b"HTTP/1.1 404 Not Found\r\n\r\n", "it answered 404"),
    "503 behind 100": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 503 No\r\n\r\n", "it answered 503"),
    "nothing": (b"", "it closed the connection without an answer"),
    "half a head": (b"HTTP/1.1 200 OK\r\n", "it closed the connection without an answer"),
    "another protocol": (b"SSH-2.0-OpenSSH\r\n\r\n", "its answer is not HTTP"),
    "a head without end": (
        b"HTTP/1.1 200 OK\r\nx: " + b"x" * 100_000 + b"\r\n\r\n",
        "its answer is not HTTP",
    ),
}


@pytest.mark.parametrize(("answer", "failure"), ANSWERS.values(), ids=ANSWERS)
async def test_answers(answer: bytes, failure: str) -> None:
    """200 to 299 passes; all else says what was wrong with it."""
    async with answering(answer) as endpoint, asyncio.timeout(10):
        assert await watch(endpoint).check() == failure


@pytest.mark.parametrize("is_trusted", [True, False])
async def test_over_tls(tmp_path: Path, is_trusted: bool) -> None:
    """A model over TLS is checked over TLS, and one that cannot prove its name has failed."""
    authority = Authority()
    certificate, key = authority.issue("127.0.0.1").write(tmp_path, "server")
    vouching = authority if is_trusted else Authority("another authority")
    ca = vouching.write(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    contexts = Contexts()
    contexts.take({str(ca): vouching.pem})

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
        await reader.read()
        writer.close()
        closed.set()

    closed = asyncio.Event()
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    asking = watch(Endpoint(url))
    asking.secured = contexts.backend("m", Model.model_validate({"url": url, "tls": {"ca": str(ca)}}))
    async with server, asyncio.timeout(10):
        failure = await asking.check()
        if is_trusted:
            assert failure == ""
            await closed.wait()
        else:
            assert failure.startswith("no connection (")


async def test_no_answer() -> None:
    """A server that accepts and says nothing has failed when the time is over."""
    async with answering(None) as endpoint:
        assert (
            await watch(endpoint, SETTINGS.model_copy(update={"timeout": 1_000_000})).check()
            == "no answer in time"
        )


async def test_no_connection() -> None:
    """A server that is not there has failed at once."""
    async with answering(b"") as endpoint:
        pass
    assert (await watch(endpoint).check()).startswith("no connection (")


async def test_checks_go_on(caplog: pytest.LogCaptureFixture) -> None:
    """Checks are counted, changes are told and logged once, and nothing is asked behind the stop."""
    caplog.set_level(logging.INFO)
    checks = iter(["", "it answered 503", "it answered 503", "it answered 503", "", ""])
    slots = [0] * len(ENDPOINT_FIELDS)
    told: list[bool] = []
    ended = asyncio.Event()

    class Scripted(HealthWatch):
        async def check(self) -> str:
            failure = next(checks, None)
            if failure is None:
                ended.set()
                await asyncio.Event().wait()
            return failure or ""

    counts = EndpointCounts("http://h:1")
    counts.move(slots, 0)
    asking = Scripted("m", Endpoint("http://h:1"), SETTINGS, counts)
    asking.listeners.append(told.append)
    asking.start()
    async with asyncio.timeout(10):
        await ended.wait()
    asking.stop()
    asking.stop()
    assert told == [False, True]
    assert asking.is_healthy
    found = {field: number for field, number in zip(ENDPOINT_FIELDS, slots, strict=True) if number}
    assert found == {"check_passed": 3, "check_failed": 3, "unhealthy": 1, "healthy_again": 1}
    assert [record.getMessage() for record in caplog.records if record.name == "modelproxy.health"] == [
        "model m: http://h:1 is unhealthy: it answered 503",
        "model m: http://h:1 is healthy again",
    ]

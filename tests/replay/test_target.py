"""A model server asked over real sockets: what it gets, and what becomes of every way it can fail."""

import asyncio
import gzip
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from proxy.replay.calls import Call
from proxy.replay.target import Target

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

CALL = Call(
    "replay-1", "POST", "/v2/models/wine/infer", (("content-type", "a/b"), ("accept", "c/d")), b"body"
)


@asynccontextmanager
async def server(serve: Serve) -> AsyncIterator[str]:
    """Run ``serve`` for each connection on a free port; yield the URL."""

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(run, "127.0.0.1", 0)
    async with listening:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"


@asynccontextmanager
async def target(
    url: str, timeout_s: float = 5.0, cap_bytes: int = 1 << 20, **headers: str
) -> AsyncIterator[Target]:
    """Yield a target that is closed in the end."""
    made = Target(url, timeout_s=timeout_s, connections=4, cap_bytes=cap_bytes, headers=headers)
    try:
        yield made
    finally:
        await made.close()


async def read_request(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return head and body of one request."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0] or 0)
    return head, await reader.readexactly(length)


def answering(*answers: bytes) -> tuple[Serve, list[tuple[bytes, bytes]]]:
    """Return a server that gives each request of a connection the next answer and then closes, and what it got."""
    got: list[tuple[bytes, bytes]] = []
    left = list(answers)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while left:
            got.append(await read_request(reader))
            writer.write(left.pop(0))
            await writer.drain()

    return serve, got


def ok(body: bytes = b"{}", *fields: bytes) -> bytes:
    lines = b"".join(field + b"\r\n" for field in fields)
    return b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n%b\r\n%b" % (len(body), lines, body)


async def test_what_the_model_gets() -> None:
    """The request as it was, marked as a copy, without compression, on the path of the target."""
    serve, got = answering(ok())
    async with server(serve) as url, target(url + "/m/4/", authorization="Bearer x") as model:
        asked = await model.ask(CALL, b"/v2/models/wine")
    assert asked.fault is None
    ((head, body),) = got
    lines = head.decode().split("\r\n")
    assert lines[0] == "POST /m/4/infer HTTP/1.1"
    fields = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
    assert (fields["content-type"], fields["accept"], fields["accept-encoding"]) == ("a/b", "c/d", "identity")
    assert (fields["x-request-id"], fields["x-modelproxy-shadow"]) == ("replay-1", "1")
    assert fields["authorization"] == "bearer x"
    assert body == b"body"


async def test_a_path_is_sent_as_it_was() -> None:
    """Escapes and dots are not tidied up."""
    serve, got = answering(ok())
    path = "/a%2Fb/../c//d;v=1/%C3%A4"
    async with server(serve) as url, target(url) as model:
        await model.ask(Call("i", "GET", path, (), b""), b"")
    assert got[0][0].split(b" ")[1] == path.encode()
    assert b"content-type" not in got[0][0].lower()


async def test_what_an_answer_says() -> None:
    """Status, the three fields and the body as sent; nothing is decoded, no redirect followed, no cookie kept."""
    data = gzip.compress(b"{}")
    coded = ok(data, b"Content-Type: application/json", b"Content-Encoding: gzip", b"set-cookie: a=b")
    moved = b"HTTP/1.1 307 Moved\r\nlocation: /other\r\ninference-header-content-length: 7\r\ncontent-length: 0\r\n\r\n"
    serve, got = answering(coded, moved)
    async with server(serve) as url, target(url) as model:
        first, second = await model.ask(CALL, b""), await model.ask(CALL, b"")
    assert first.answer is not None
    assert first.answer[:5] == (200, b"application/json", b"gzip", data, False)
    assert second.answer is not None
    assert (second.answer.status, second.answer.inference_header_length) == (307, 7)
    assert b"cookie" not in got[1][0].lower()


CUT: dict[str, bytes] = {
    "declared": b"HTTP/1.1 200 OK\r\ncontent-length: 9000000\r\n\r\n" + b"x" * 4000,
    "chunked": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n",
    "until the end": b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 5000,
}


@pytest.mark.parametrize("name", CUT)
async def test_long_answers_are_cut(name: str) -> None:
    """An answer over the cap is truncated at once; its end is not awaited."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(CUT[name])
        await reader.read()  # says nothing more

    async with server(serve) as url, target(url, cap_bytes=1000) as model:
        asked = await model.ask(CALL, b"")
    assert asked.answer is not None
    assert asked.answer.truncated
    assert len(asked.answer.body) <= 1000


FAILURES: dict[str, tuple[bytes, str]] = {
    "closes at once": (b"", "reset"),
    "no http": (b"SSH-2.0-OpenSSH\r\n\r\n", "protocol"),
    "a bad length": (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "protocol"),
    "half a head": (b"HTTP/1.1 200 OK\r\ncontent-", "reset"),
    "half a body": (b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc", "reset"),
    "half a chunk": (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n9\r\nabc", "reset"),
}


@pytest.mark.parametrize("name", FAILURES)
async def test_failures(name: str) -> None:
    """A server that breaks off or answers nonsense is a fault, never an exception."""
    data, fault = FAILURES[name]
    serve, got = answering(data)
    async with server(serve) as url, target(url) as model:
        asked = await model.ask(CALL, b"")
    assert (asked.answer, asked.fault) == (None, fault)
    assert len(got) == 1  # nothing is sent twice


async def test_nobody_there() -> None:
    """A port that nobody listens on, and a name that there is not, cannot be connected to."""
    async with server(answering()[0]) as url:
        pass
    async with target(url) as model:
        assert (await model.ask(CALL, b"")).fault == "connect"
    async with target("http://no-such-host.invalid") as model:
        assert (await model.ask(CALL, b"")).fault == "connect"


async def test_no_tls_there() -> None:
    """A server without TLS is no secure one."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async with server(serve) as url, target(url.replace("http:", "https:")) as model:
        assert (await model.ask(CALL, b"")).fault == "tls"


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"])
async def test_a_server_that_stalls(begun: bytes) -> None:
    """A server that says nothing, or stops in the middle, is given up after the timeout."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await read_request(reader)
        writer.write(begun)
        await reader.read()

    async with server(serve) as url, target(url, timeout_s=0.1) as model:
        asked = await model.ask(CALL, b"")
    assert asked.fault == "timeout"
    assert asked.duration_ns >= 90_000_000


async def test_a_connection_that_was_closed_meanwhile() -> None:
    """A kept connection that the server closed without answering costs nothing: a fresh one is asked."""
    served = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        served += 1
        await read_request(reader)
        writer.write(ok())
        await writer.drain()
        if served == 1:
            await reader.readexactly(1)  # the next request is on its way when the connection goes

    async with server(serve) as url, target(url) as model:
        first = await model.ask(CALL, b"")
        second = await model.ask(CALL, b"")
    assert (first.fault, second.fault, served) == (None, None, 2)
    assert (first.is_second, second.is_second) == (False, True)

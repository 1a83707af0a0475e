"""A worker's contexts: made once, renewed when a file's text changes, and never lost because it cannot be used."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.certificates import server_context
from proxy.dataplane import contexts as contexts_module
from proxy.dataplane.contexts import HANDSHAKE_ERRORS, Contexts
from proxy.settings import Settings, Tls, parse
from tests.certificate_world import Authority

AUTHORITY, STRANGER = Authority(), Authority("stranger")
FIRST, SECOND = AUTHORITY.issue("localhost"), AUTHORITY.issue("localhost")
FILES = {"cert": FIRST.certificate, "key": FIRST.key, "ca": AUTHORITY.pem}
TEXT = """
tls: {certificate: cert, key: key}
models:
  a: {url: "https://127.0.0.1:1", tls: {ca: ca, server_name: localhost}}
  b: {url: "https://127.0.0.1:1", tls: {ca: ca, server_name: localhost}}
  c: {url: "http://127.0.0.1:1"}
routes: [{name: r, match: {path: "*"}, variants: [{name: v, model: a, role: champion}]}]
"""


def settings_of(text: str = TEXT) -> Settings:
    return parse(text, environ={})


def test_made_once_and_shared() -> None:
    """The same settings and the same text are one context; a model without TLS has none."""
    contexts, settings = Contexts(), settings_of()
    contexts.take(FILES)
    contexts.prepare(settings)
    first = contexts.backend("a", settings.models["a"])
    second = contexts.backend("b", settings.models["b"])
    assert first is not None
    assert second is not None
    assert first.context is second.context
    assert contexts.backend("c", settings.models["c"]) is None
    assert contexts.server(settings.tls) is contexts.server(settings.tls)
    assert contexts.server(Tls()) is None


def test_renewed_when_the_text_changes() -> None:
    """Whoever holds a model's TLS gets the new context; what did not change stays the same."""
    contexts, settings = Contexts(), settings_of()
    contexts.take(FILES)
    backend = contexts.backend("a", settings.models["a"])
    assert backend is not None
    model, server = backend.context, contexts.server(settings.tls)
    contexts.take({**FILES, "cert": SECOND.certificate, "key": SECOND.key})
    assert backend.context is model
    assert contexts.server(settings.tls) is not server
    contexts.take({**FILES, "ca": STRANGER.pem})
    assert backend.context is not model


@pytest.mark.parametrize("files", [{**FILES, "key": SECOND.key}, {**FILES, "key": "nothing"}, {}])
def test_what_cannot_be_used_changes_nothing(files: dict[str, str], caplog: pytest.LogCaptureFixture) -> None:
    """The old context stays, and the log says so."""
    contexts, settings = Contexts(), settings_of()
    contexts.take(FILES)
    before = contexts.server(settings.tls)
    with caplog.at_level(logging.ERROR):
        contexts.take(files)
    assert contexts.server(settings.tls) is before
    assert "the old ones stay" in caplog.text


def test_prepare_fails_on_what_is_not_there() -> None:
    """A table whose files did not come cannot be prepared."""
    with pytest.raises(KeyError):
        Contexts().prepare(settings_of())
    contexts = Contexts()
    contexts.take({**FILES, "key": SECOND.key})
    with pytest.raises(ssl.SSLError):
        contexts.prepare(settings_of())


def test_what_nobody_needs_is_forgotten() -> None:
    """Contexts go with the last table that needs them."""
    contexts, settings = Contexts(), settings_of()
    contexts.take(FILES)
    before = contexts.server(settings.tls)
    contexts.keep([settings])
    assert contexts.server(settings.tls) is before
    contexts.keep([])
    assert contexts.server(settings.tls) is not before


@asynccontextmanager
async def tls_server(folder: Path, answer: bytes | None = None) -> AsyncIterator[int]:
    """Run a server with the first certificate, or one that says ``answer`` instead of shaking hands."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if answer is not None:
            await reader.read(1)
            writer.write(answer)
        writer.close()

    tls = Tls.model_validate({"certificate": "cert", "key": "key"})
    context = server_context(tls, FILES) if answer is None else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


class Connected(asyncio.Protocol):
    """Notes how it was connected, and until when."""

    def __init__(self) -> None:
        self.transport: asyncio.BaseTransport | None = None
        self.lost = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        self.lost.set()


async def connect(port: int, text: str = TEXT, files: dict[str, str] | None = None) -> Connected:
    contexts, settings = Contexts(), settings_of(text)
    contexts.take(files or FILES)
    backend = contexts.backend("a", settings.models["a"])
    assert backend is not None
    protocol = Connected()
    async with asyncio.timeout(10):
        await backend.connect(asyncio.get_running_loop(), protocol, "127.0.0.1", port)
    return protocol


async def test_a_connection_to_a_model(tmp_path: Path) -> None:
    """When it returns, the protocol is connected behind a verified handshake."""
    async with tls_server(tmp_path) as port:
        connected = await connect(port)
        assert connected.transport is not None
        connected.transport.close()
        async with asyncio.timeout(10):
            await connected.lost.wait()


CASES = {
    "stranger": (TEXT, {**FILES, "ca": STRANGER.pem}, None, "unable to get local issuer certificate"),
    "wrong name": (TEXT.replace(", server_name: localhost", ""), FILES, None, "mismatch"),
    "not TLS": (TEXT, FILES, b"HTTP/1.1 400 Bad Request\r\n\r\n", "wrong version number"),
    "hangs up": (TEXT, FILES, b"", ""),
}


@pytest.mark.parametrize("case", CASES)
async def test_why_there_is_none(case: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Each failure is one of the handshake, not of the connection; the log names model, address and reason, once."""
    text, files, answer, words = CASES[case]
    async with tls_server(tmp_path, answer) as port:
        with pytest.raises(HANDSHAKE_ERRORS):
            await connect(port, text, files)
    assert (f"model a: no secure connection to 127.0.0.1:{port}: " in caplog.text) == bool(words)
    assert words in caplog.text
    assert "BEGIN" not in caplog.text


async def test_nobody_listens() -> None:
    """No connection at all is no matter of TLS."""
    with pytest.raises(ConnectionRefusedError):
        await connect(1)


async def test_a_server_that_says_nothing_is_given_up(tmp_path: Path) -> None:
    """Whoever bounds the time gets its socket closed."""
    accepted: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda r, w: accepted.set_result((r, w)), "127.0.0.1", 0)
    async with server:
        task = asyncio.ensure_future(connect(server.sockets[0].getsockname()[1]))
        reader, writer = await accepted
        task.cancel()
        async with asyncio.timeout(10):
            await reader.read()
        writer.close()
        with pytest.raises(asyncio.CancelledError):
            await task


def test_a_reason_is_said_once_a_minute(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A model that is asked a thousand times a second does not fill the log."""
    times = [1000.0, 1030.0, 1059.0, 1061.0]
    monkeypatch.setattr(contexts_module, "monotonic", iter(times).__next__)
    contexts, settings = Contexts(), settings_of()
    contexts.take(FILES)
    backend = contexts.backend("a", settings.models["a"])
    assert backend is not None
    for _ in times:
        assert backend.is_refusal(ssl.SSLError(1, "why"), "h", 1)
    assert not backend.is_refusal(ConnectionResetError(), "h", 1)
    assert len(caplog.records) == 2

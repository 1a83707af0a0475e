"""A proxy and model servers that speak TLS, and clients that know nothing of either."""

import asyncio
import io
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from aiohttp import web
from aiohttp.payload import BytesIOPayload

from proxy.certificates import server_context
from proxy.settings import Tls
from tests.certificate_world import Authority, Identity

__all__ = ["AUTHORITY", "Shop", "answer", "raw_server", "secured_model"]

AUTHORITY = Authority()
"""Whom everybody trusts, unless it is said otherwise."""

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Shop:
    """The certificate files of one proxy, and its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = AUTHORITY.write(folder)
        self.identity = AUTHORITY.issue("localhost", "127.0.0.1")
        self.certificate, self.key = self.identity.write(folder, "server")
        self.client_pem, self.client_key = AUTHORITY.issue("client").write(folder, "client")

    @property
    def listener(self) -> str:
        """The section that secures the listener."""
        return f"{{certificate: {self.certificate}, key: {self.key}}}"

    def replace(self, identity: Identity) -> None:
        """Put new files in place of the old ones, one after the other, as ``mv`` does."""
        self.identity = identity
        for path, text in ((self.certificate, identity.certificate), (self.key, identity.key)):
            fresh = path.with_suffix(".new")
            fresh.write_text(text)
            fresh.replace(path)

    def config(self, url: str, tls: str = "{}", listener: str = "{}", more: str = "") -> str:
        """Return a configuration with one model."""
        return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {self.folder / "state"}
tls: {listener}
models:
  m: {{url: "{url}", tls: {tls}}}
routes:
  - name: all
    match: {{path: "*"}}
    variants: [{{name: v, model: m, role: champion}}]
{more}"""

    def client(self, *, ca: bool = True, certificate: bool = False) -> ssl.SSLContext:
        """Return the context of a client."""
        context = ssl.create_default_context(cafile=str(self.ca) if ca else None)
        if certificate:
            context.load_cert_chain(self.client_pem, self.client_key)
        return context


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer with what came, and what was said about its way."""
    body = await request.read()
    headers = {"x-saw-proto": request.headers.get("x-forwarded-proto", ""), "x-saw-host": request.host}
    return web.Response(body=BytesIOPayload(io.BytesIO(body)), headers=headers)


def context_of(identity: Identity, client_ca: str | None = None) -> ssl.SSLContext:
    """Return the context of a model server."""
    tls = {"certificate": "c", "key": "k", **({"client_ca": "a"} if client_ca else {})}
    files = {"c": identity.certificate, "k": identity.key, "a": client_ca or ""}
    return server_context(Tls.model_validate(tls), files)


@asynccontextmanager
async def secured_model(
    identity: Identity | None = None,
    *,
    client_ca: str | None = None,
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]] = answer,
) -> AsyncIterator[str]:
    """Run a model server over TLS; yield its URL."""
    context = context_of(identity or AUTHORITY.issue("localhost", "127.0.0.1"), client_ca)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def raw_server(serve: Serve, *, secured: bool = True) -> AsyncIterator[str]:
    """Run a server that does what ``serve`` says; yield its URL, which begins with https whatever it speaks."""
    context: Any = context_of(AUTHORITY.issue("127.0.0.1")) if secured else None
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"

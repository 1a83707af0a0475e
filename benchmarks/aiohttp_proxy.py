"""The proxy most teams write first: ``aiohttp.web`` in front, ``aiohttp.ClientSession`` behind, on uvloop."""

import asyncio
import ssl
from pathlib import Path

import click
import mmh3
import uvloop
from aiohttp import (
    ClientError,
    ClientResponse,
    ClientSession,
    ClientTimeout,
    DummyCookieJar,
    TCPConnector,
    web,
)
from multidict import CIMultiDict

__all__ = ["main"]

HOP_BY_HOP = ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length")
SESSION = web.AppKey("session", ClientSession)
VARIANTS = web.AppKey("variants", list[str])
SHADOW = web.AppKey("shadow", str)
COPIES = web.AppKey("copies", set[asyncio.Task[None]])


def assign(unit: str, variants: list[str]) -> str:
    """Return the address that ``unit`` always goes to: 85 %, 10 % and 5 % of all units."""
    bucket = mmh3.hash(unit, signed=False) % 100
    return variants[0] if bucket < 85 else variants[1] if bucket < 95 else variants[2]


async def forward(request: web.Request) -> web.StreamResponse:
    """Send the request to its variant and the answer back, both whole: what most such proxies do."""
    headers = CIMultiDict(request.headers)
    for name in HOP_BY_HOP:
        headers.popall(name, None)
    url = assign(headers.get("x-user-id", ""), request.app[VARIANTS]) + request.raw_path
    body = await request.read()
    session = request.app[SESSION]
    if request.app[SHADOW]:
        copies = request.app[COPIES]
        copy = asyncio.create_task(
            send_copy(session, request.method, request.app[SHADOW] + request.raw_path, headers, body)
        )
        copies.add(copy)
        copy.add_done_callback(copies.discard)
    async with session.request(
        request.method, url, headers=headers, data=body, allow_redirects=False
    ) as answer:
        kept = CIMultiDict(answer.headers)
        for name in HOP_BY_HOP:
            kept.popall(name, None)
        if answer.content_type == "text/event-stream":
            return await stream(request, answer, kept)
        return web.Response(status=answer.status, headers=kept, body=await answer.read())


async def stream(
    request: web.Request, answer: ClientResponse, headers: CIMultiDict[str]
) -> web.StreamResponse:
    """Pass an answer on piece by piece."""
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    async for piece in answer.content.iter_any():
        await response.write(piece)
    await response.write_eof()
    return response


async def send_copy(
    session: ClientSession, method: str, url: str, headers: CIMultiDict[str], body: bytes
) -> None:
    """Send a copy to the shadow and forget the answer."""
    try:
        async with session.request(method, url, headers=headers, data=body) as answer:
            await answer.read()
    except ClientError:
        pass  # a shadow that fails is nobody's business


async def application(variants: list[str], shadow: str) -> web.Application:
    """Return the proxy in front of the three addresses."""
    app = web.Application(client_max_size=2**28)
    app[VARIANTS], app[SHADOW], app[COPIES] = variants, shadow, set()
    app[SESSION] = ClientSession(
        connector=TCPConnector(limit=0),
        cookie_jar=DummyCookieJar(),
        auto_decompress=False,
        timeout=ClientTimeout(total=30),
    )
    app.router.add_route("*", "/{path:.*}", forward)
    return app


@click.command()
@click.argument("port", type=int)
@click.argument("variants", nargs=3)
@click.option("--shadow", default="", help="Address that gets a copy of every request.")
@click.option(
    "--certificate", type=click.Path(path_type=Path), help="PEM file with certificate and key: TLS."
)
def main(port: int, variants: tuple[str, str, str], shadow: str, certificate: Path | None) -> None:
    """Listen on PORT of the loopback and split over three VARIANTS (URLs)."""
    context = None
    if certificate:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
    web.run_app(
        application(list(variants), shadow),
        host="127.0.0.1",
        port=port,
        access_log=None,
        print=None,
        ssl_context=context,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()

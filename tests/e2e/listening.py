"""A server on a free port that answers by one function: a model, a collector."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.typedefs import Handler

__all__ = ["listener"]


@asynccontextmanager
async def listener(handler: Handler) -> AsyncIterator[str]:
    """Answer every request, whatever its path, by ``handler``; the value is the server's URL."""
    app = web.Application(client_max_size=1 << 26)
    app.router.add_route("*", "/{tail:.*}", handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()

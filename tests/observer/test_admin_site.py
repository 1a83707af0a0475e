"""The admin address opens when told, and shuts without cutting off who is inside."""

import asyncio
import socket
from collections.abc import AsyncIterator

import aiohttp
import pytest
from aiohttp import web

from proxy.observer.admin_site import AdminSite
from proxy.tasks import spawn

WAIT_S = 10


class Building:
    """A site, its address, and an answer that takes as long as the test wants."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        host, port = self.listener.getsockname()
        self.url = f"http://{host}:{port}/"
        self.inside = asyncio.Event()
        self.leave = asyncio.Event()
        self.site: AdminSite

    async def answer(self, _request: web.Request) -> web.Response:
        self.inside.set()
        await self.leave.wait()
        return web.Response(text="done")


@pytest.fixture
async def building() -> AsyncIterator[Building]:
    """A site that is not open yet; another share of its socket stays open beside it."""
    building = Building()
    app = web.Application()
    app.router.add_get("/", building.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    with building.listener.dup():
        building.site = AdminSite(runner, building.listener)
        yield building
        await building.site.close()


async def get(url: str) -> str:
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession() as client, client.get(url) as response:
        return await response.text()


async def test_who_comes_before_it_opens_waits(building: Building) -> None:
    """A connection is accepted by the system, and answered once the site is open."""
    building.leave.set()
    early = spawn(get(building.url), name="early")
    await asyncio.sleep(0.05)
    assert not building.inside.is_set()
    await building.site.open()
    await building.site.open()
    assert await early == "done"


async def test_who_is_inside_gets_an_answer(building: Building) -> None:
    """Hushed, it finishes what it began, and takes nobody in any more: the next one waits for another process."""
    await building.site.open()
    first = spawn(get(building.url), name="inside")
    await asyncio.wait_for(building.inside.wait(), WAIT_S)
    hush = spawn(building.site.hush(WAIT_S), name="hush")
    await asyncio.sleep(0.05)
    building.inside.clear()
    late = spawn(get(building.url), name="late")
    await asyncio.sleep(0.05)
    assert not hush.done()
    building.leave.set()
    assert await first == "done"
    await hush
    await building.site.open()
    assert not building.inside.is_set()
    late.cancel()


async def test_idle_connections_do_not_keep_it(building: Building) -> None:
    """A scraper that holds its connection open between two scrapes is let go at once."""
    building.leave.set()
    await building.site.open()
    async with aiohttp.ClientSession() as client:
        async with client.get(building.url) as response:
            assert await response.text() == "done"
        async with asyncio.timeout(WAIT_S):
            await building.site.hush(3600)


async def test_the_wait_is_bounded(building: Building) -> None:
    """An answer that takes for ever does not hold up the rest."""
    await building.site.open()
    first = spawn(get(building.url), name="inside")
    await asyncio.wait_for(building.inside.wait(), WAIT_S)
    async with asyncio.timeout(WAIT_S):
        await building.site.hush(0.02)
    building.leave.set()
    first.cancel()


async def test_hushed_before_it_was_open(building: Building) -> None:
    """It never opens then."""
    building.leave.set()
    await building.site.hush(1)
    await building.site.open()
    late = spawn(get(building.url), name="late")
    await asyncio.sleep(0.05)
    assert not building.inside.is_set()
    late.cancel()

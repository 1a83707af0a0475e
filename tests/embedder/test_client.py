"""The server of embeddings is asked once for equal texts, never for more at a time, and may fail in any way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.embedder import Embedder

VECTORS = {"east": [1.0, 0.0], "north": [0.0, 2.0], "west": [-1.0, 0.0], "north-east": [3.0, 3.0]}


class World:
    """A server that knows four directions."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []
        self.headers: list[str | None] = []
        self.at_once = self.most_at_once = 0
        self.pause_s = 0.0
        self.answer: Callable[[], Awaitable[web.StreamResponse]] | None = None

    async def embed(self, request: web.Request) -> web.StreamResponse:
        document = await request.json()
        self.asked.append(document["input"])
        self.headers.append(request.headers.get("authorization"))
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await asyncio.sleep(self.pause_s)
        finally:
            self.at_once -= 1
        if self.answer is not None:
            return await self.answer()
        items = [{"index": at, "embedding": VECTORS[text]} for at, text in enumerate(document["input"])]
        return web.Response(body=orjson.dumps({"data": items}), content_type="application/json")


@asynccontextmanager
async def asking(**changes: Any) -> AsyncIterator[tuple[World, Embedder]]:
    world = World()
    app = web.Application()
    app.router.add_post("/v1/embeddings", world.embed)
    server = TestServer(app)
    await server.start_server()
    given = {"timeout_s": 5.0, "max_in_flight": 2, "max_text": 100, "cache_bytes": 10_000} | changes
    url = str(server.make_url("/v1/embeddings"))
    embedder = Embedder(url, "directions", {"authorization": "Bearer secret"}, **given)
    try:
        yield world, embedder
    finally:
        await embedder.close()
        await server.close()


async def test_distances() -> None:
    """The mean of 1 - cosine, at most 1 each; equal texts are at 0 and are not sent."""
    async with asking() as (world, embedder):
        assert await embedder.distance([("east", "north")]) == pytest.approx(1.0)
        assert await embedder.distance([("east", "west")]) == pytest.approx(1.0)
        assert await embedder.distance([("east", "north-east"), ("u", "u")]) == pytest.approx(
            (1 - 0.5**0.5) / 2
        )
        assert await embedder.distance([("nowhere", "nowhere")]) == 0.0
        assert await embedder.distance([]) is None
        assert world.asked == [["east", "north"], ["west"], ["north-east"]]
        assert set(world.headers) == {"Bearer secret"}


async def test_heads_of_texts() -> None:
    """Of a text that is too long the head is sent, cut between characters."""
    async with asking(max_text=5) as (world, embedder):
        assert await embedder.distance([("north and more", "northern")]) == 0.0
        await embedder.distance([("éééé", "e")])
        assert world.asked == [["éé", "e"]]


async def test_no_more_at_a_time() -> None:
    """Questions wait for their turn."""
    async with asking(cache_bytes=0) as (world, embedder):
        world.pause_s = 0.02
        found = await asyncio.gather(*(embedder.distance([("east", "north")]) for _ in range(8)))
        assert found == [pytest.approx(1.0)] * 8
        assert world.most_at_once == 2


async def status(code: int) -> web.Response:
    return web.Response(status=code, headers={"location": "http://127.0.0.1:1/"})


async def broken() -> web.Response:
    return web.Response(body=b'{"data": [')


async def endless() -> web.Response:
    return web.Response(body=b" " * (17 << 20))


@pytest.mark.parametrize(
    "answer", [lambda: status(500), lambda: status(307), lambda: status(204), broken, endless]
)
async def test_faults(answer: Callable[[], Awaitable[web.StreamResponse]]) -> None:
    """An error, a redirect, what is no JSON and what does not end leave the figure out; the next question is asked."""
    async with asking() as (world, embedder):
        world.answer = answer
        assert await embedder.distance([("east", "north")]) is None
        world.answer = None
        assert await embedder.distance([("east", "north")]) == pytest.approx(1.0)


async def test_no_server_and_a_slow_one() -> None:
    """Nobody there, and nobody in time."""
    async with asking(timeout_s=0.05) as (world, embedder):
        world.pause_s = 5.0
        assert await embedder.distance([("east", "north")]) is None
    gone = Embedder("http://127.0.0.1:1/", "m", {}, timeout_s=1.0, max_in_flight=1, max_text=9, cache_bytes=0)
    assert await gone.distance([("a", "b")]) is None
    await gone.close()


async def test_another_model_answers() -> None:
    """Vectors of another length than those that are kept are not compared with them."""
    async with asking() as (world, embedder):
        await embedder.distance([("east", "north")])

        async def longer() -> web.Response:
            return web.Response(body=orjson.dumps({"data": [{"index": 0, "embedding": [1.0, 2.0, 3.0]}]}))

        world.answer = longer
        assert await embedder.distance([("east", "south")]) is None

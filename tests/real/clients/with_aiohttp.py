"""Plain calls as users of ``aiohttp`` write them. What a call may say: see :mod:`tests.real.calls`."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import aiohttp

from tests.real.clients.calling import octets, seen, serve


async def _pieces(body: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(body), 10_000):
        yield body[at : at + 10_000]


def _payload(body: bytes, json: Any, chunked: bool, files: bool) -> dict[str, Any]:
    if files:
        with aiohttp.MultipartWriter("form-data", boundary="fixed") as writer:
            part = writer.append(body)
            part.set_content_disposition("form-data", name="file", filename="a.bin")
        return {"data": writer}
    if json is not None:
        return {"json": json}
    if body:
        return {"data": _pieces(body) if chunked else body}
    return {}


async def _plain(
    url: str, method: str, path: str, *, times: int, stream: bool, **say: Any
) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    timeout = aiohttp.ClientTimeout(total=30)
    async with aiohttp.ClientSession(timeout=timeout, headers=say["headers"]) as session:
        for _ in range(times):
            options = _payload(say["body"], say["json"], say["chunked"], say["files"])
            if say["compress"]:
                options["compress"] = "gzip"
            async with session.request(method, url + path, **options) as answer:
                if stream:
                    lines = [line.decode() async for line in answer.content]
                    told.append({"status": answer.status, "lines": lines})
                else:
                    told.append(
                        {"status": answer.status, "reason": answer.reason, **seen(await answer.read())}
                    )
    return told


def plain(
    url: str,
    method: str,
    path: str,
    *,
    headers: dict[str, str] | None = None,
    json: Any = None,
    size: int = 0,
    chunked: bool = False,
    compress: bool = False,
    files: bool = False,
    stream: bool = False,
    times: int = 1,
) -> list[dict[str, Any]]:
    """Make the same call ``times`` times in one session."""
    say = {"headers": headers, "json": json, "chunked": chunked, "compress": compress, "files": files}
    return asyncio.run(_plain(url, method, path, times=times, stream=stream, body=octets(size), **say))


if __name__ == "__main__":
    serve({"plain": plain})

"""A canary on trial: models that fail whom they are told to fail, clients in a known order, and what is told of it."""

import asyncio
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, Literal

import aiohttp
import orjson
from aiohttp import web
from standardwebhooks import Webhook

from proxy.clock import monotonic, wall_ns
from proxy.engine.store import open_store
from proxy.rollout import record
from proxy.routing.table import compile_table
from proxy.settings import parse
from tests.e2e.running import CountingModel, Running, eventually, model_server

__all__ = [
    "EVENTS",
    "Crowd",
    "config",
    "counts",
    "decided",
    "decisions",
    "is_in",
    "journal",
    "models",
    "no_rollout",
    "receiver",
    "recomputed",
    "rollout",
    "unruly_server",
    "verdicts",
    "who_joins",
]

SECRET: Final = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"

EVENTS: Final = "[{metric: errors}, {metric: client_errors}]"
"""Guardrails that a busy machine does not disturb."""

MOVES: Final = ("ramp", "promote", "rollback")


def config(
    directory: Path,
    urls: Sequence[str],
    variant: str = "rollout: {}",
    *,
    route: str = "",
    model: str = "",
    more: str = "",
) -> str:
    """Return a configuration with a champion and a canary.

    Args:
        directory: holds the state.
        urls: of both models.
        variant: what the canary has beside its name: ``rollout: {…}`` or ``weight: 10``.
        route: further lines of the route, with their indent.
        model: more about the canary's model, as ``, timeout: 1s``.
        more: further lines of the file.
    """
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
workers: 2
state_dir: {directory}/state
timeouts: {{drain: 5s}}
models:
  one: {{url: "{urls[0]}"}}
  two: {{url: "{urls[1]}"{model}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
{route}    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: two, role: canary, {variant}}}
{more}"""


@asynccontextmanager
async def models() -> AsyncIterator[tuple[CountingModel, CountingModel]]:
    """Run two model servers."""
    async with model_server("one") as one, model_server("two") as two:
        yield one, two


def who_joins(text: str, weight: int, users: Iterable[str]) -> list[str]:
    """Return who of ``users`` is the canary's at ``weight`` percent."""
    head, _, _ = text.partition("rollout: {")
    split = f"{head}weight: {weight}}}\n"
    route = compile_table(parse(split, environ={}), 1).routes[0]
    return [user for user in users if route.assign(route.bucket(user.encode())).name == "v2"]


class Crowd:
    """Clients that come one after the other, or some at once, and never get an answer wrong.

    Args:
        proxy: whom they ask; may be replaced by a later one.
        routes: what each of them asks for, one after the other.
    """

    def __init__(self, proxy: Running, routes: Sequence[str] = ("wine",)) -> None:
        self.proxy = proxy
        self._paths = [f"/v2/models/{route}/infer" for route in routes]
        self.answers: dict[str, tuple[int, str]] = {}
        """Of each user the last status and variant."""
        self.history: dict[str, list[str]] = {}
        """Of each user every variant, in order."""
        self.statuses: Counter[int] = Counter()
        self.broken = 0
        """Connections that ended without an answer; the user asks again."""

    async def ask(self, users: Iterable[str], at_once: int = 8) -> None:
        """Let each user ask once, in this order, ``at_once`` under way at a time."""
        queue = iter(users)

        async def client() -> None:
            for user in queue:
                for path in self._paths:
                    await self._ask(user, path)

        await asyncio.gather(*(client() for _ in range(at_once)))

    async def _ask(self, user: str, path: str) -> None:
        deadline_s = monotonic() + 20.0
        while True:
            try:
                answer = await self.proxy.infer(user, path)
            except (aiohttp.ClientError, OSError):
                assert monotonic() < deadline_s, "nobody serves any more"
                self.broken += 1
                await asyncio.sleep(0.05)
                continue
            self.answers[user] = answer
            self.history.setdefault(user, []).append(answer[1])
            self.statuses[answer[0]] += 1
            return

    async def ask_until(
        self, users: Iterable[str], condition: Callable[[], Any], what: str, patience_s: float = 30.0
    ) -> None:
        """Let users ask, a few at a time, until ``condition`` (a look at the books, no waiting) holds."""
        queue, deadline_s = iter(users), monotonic() + patience_s
        while not condition():
            assert monotonic() < deadline_s, f"not within {patience_s} s: {what}"
            group = [user for user, _ in zip(queue, range(32), strict=False)]
            assert group, f"nobody is left to ask: {what}"
            await self.ask(group)


async def rollout(proxy: Running, route: str = "wine") -> dict[str, Any]:
    """Return where the rollout stands and its evidence; empty while the observer does not answer."""
    try:
        async with proxy.session.get(f"{proxy.admin}/api/v1/routes/{route}/rollout") as answer:
            document: dict[str, Any] = await answer.json() if answer.status == 200 else {}
    except (aiohttp.ClientError, OSError):
        return {}
    return document


async def no_rollout(proxy: Running, route: str = "wine") -> str:
    """Return why there is nothing to say about a rollout of a route."""
    async with proxy.session.get(f"{proxy.admin}/api/v1/routes/{route}/rollout") as answer:
        assert answer.status == 404
        return str((await answer.json())["error"])


async def is_in(proxy: Running, phase: str, step: int | None = None, route: str = "wine") -> dict[str, Any]:
    """Return where the rollout stands, if it is in ``phase`` (and on ``step``); else empty."""
    found = await rollout(proxy, route)
    return found if found.get("phase") == phase and step in (None, found.get("step")) else {}


def counts(document: Mapping[str, Any], name: str = "requests") -> dict[str, int]:
    """Return what was counted as ``name`` for evidence, by variant, over all epochs."""
    found = {"v1": 0, "v2": 0}
    for epoch in (document.get("evidence") or {}).get("epochs", ()):
        for variant in epoch["variants"]:
            found[variant["name"]] += variant[name]
    return found


def journal(proxy: Running, event: str) -> list[dict[str, Any]]:
    """Return the journal's lines about one kind of event."""
    lines = map(orjson.loads, (proxy.state / "journal.jsonl").read_bytes().splitlines())
    return [line for line in lines if line["event"] == event]


def decisions(proxy: Running, route: str = "wine") -> list[dict[str, Any]]:
    """Return the journal's lines about decisions that moved the rollout."""
    lines = journal(proxy, "decision")
    return [line for line in lines if line["verdict"] in MOVES and line["route"] == route]


def verdicts(proxy: Running, route: str = "wine") -> list[str]:
    """Return what was decided, in order."""
    return [line["verdict"] for line in decisions(proxy, route)]


def recomputed(proxy: Running, line: Mapping[str, Any], route: str = "wine") -> dict[str, Any]:
    """Return the decision of a journal's line, computed again from its snapshot; the stored bytes must be the same."""
    store = open_store(proxy.state, wall_ns())
    try:
        snapshot = store.snapshot(line["evidence"])
        assert snapshot is not None, line
        assert record.digest(snapshot) == line["evidence"]
        again = record.recompute(snapshot)
        kept = [each for each in store.decisions(route, 500) if each.verdict.digest == line["evidence"]]
        assert {each.verdict.document for each in kept} == {again}
    finally:
        store.close()
    document: dict[str, Any] = orjson.loads(again)
    return document


@asynccontextmanager
async def receiver() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    """Run a webhook's receiver, which refuses what is not signed; yield the file's lines and what arrives."""
    told: list[dict[str, Any]] = []

    async def on_post(request: web.Request) -> web.Response:
        told.append(Webhook(SECRET).verify(await request.read(), dict(request.headers)))
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", on_post)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    port = runner.addresses[0][1]
    line = f'{{url: "http://127.0.0.1:{port}/hook", secret: "{SECRET}"}}'
    try:
        yield f"webhooks: [{line}]\n", told
    finally:
        await runner.cleanup()


@asynccontextmanager
async def unruly_server(deed: Literal["hang", "reset"]) -> AsyncIterator[tuple[str, list[float]]]:
    """Run a model that reads a request and then says nothing, or resets; yield its URL and when it was asked."""
    asked: list[float] = []
    release = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            asked.append(monotonic())
            if deed == "hang":
                await release.wait()
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", asked
    finally:
        release.set()
        server.close()


async def decided(proxy: Running, count: int, what: str, patience_s: float = 20.0) -> list[dict[str, Any]]:
    """Wait until the journal has ``count`` decisions; return them."""

    async def look() -> list[dict[str, Any]]:
        found = decisions(proxy)
        return found if len(found) >= count else []

    found: list[dict[str, Any]] = await eventually(look, what, patience_s)
    return found

"""A model with several servers: they die and come back, and no client notices."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.e2e.running import Running, eventually, serve

pytestmark = pytest.mark.slow


class Server:
    """A model server that can be stopped and started again on its port, and say that it is not ready."""

    def __init__(self) -> None:
        self.port = 0
        self.answered = 0
        self.status = 200
        self.is_ready = True
        self.users: Counter[str] = Counter()
        self.agents: set[str] = set()
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_get("/ready", self._ready)
        app.router.add_route("*", "/{tail:.*}", self._infer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _ready(self, request: web.Request) -> web.Response:
        self.agents.add(request.headers.get("user-agent", ""))
        return web.Response(status=200 if self.is_ready else 503)

    async def _infer(self, request: web.Request) -> web.Response:
        await request.read()
        self.answered += 1
        self.users[request.headers.get("x-user-id", "")] += 1
        return web.json_response({}, status=self.status)


@asynccontextmanager
async def servers(count: int) -> AsyncIterator[list[Server]]:
    made = [Server() for _ in range(count)]
    try:
        for server in made:
            await server.start()
        yield made
    finally:
        for server in made:
            await server.stop()


def config(directory: Path, made: list[Server], more: str = "", route: str = "") -> str:
    urls = ", ".join(f'"{server.url}"' for server in made)
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
timeouts: {{drain: 5s}}
models:
  one: {{url: [{urls}], timeout: 2s{more}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    retry_budget: 100
{route}
"""


async def ask(proxy: Running, count: int, users: int = 20) -> Counter[int]:
    """Send requests, some at the same time; return how many got each status."""
    statuses: Counter[int] = Counter()

    async def client(first: int) -> None:
        for i in range(first, count, 4):
            statuses[(await proxy.infer(f"user-{i % users}"))[0]] += 1

    await asyncio.gather(*(client(first) for first in range(4)))
    return statuses


async def is_up(proxy: Running, server: Server) -> bool:
    return (await proxy.metrics())["modelproxy_endpoint_up", "model=one", f"url={server.url}"] == 1


HEALTH = (
    ", health: {path: /ready, interval: 50ms, timeout: 500ms, unhealthy_after: 2, healthy_after: 2}"
    ", outlier: {base_ejection_time: 200ms}"
)


async def test_a_server_that_dies_and_comes_back(tmp_path: Path) -> None:
    """One of three servers dies under traffic and comes back: every request is answered, and it is used again."""
    async with servers(3) as made, serve(tmp_path, config(tmp_path, made, HEALTH)) as proxy:
        assert await ask(proxy, 60) == {200: 60}
        assert all(server.answered > 10 for server in made)

        async def unhealthy() -> bool:
            (model,) = (await proxy.status())["models"]
            return bool(model["servers"][0]["unhealthy_workers"])

        async def up() -> bool:
            return await is_up(proxy, made[0])

        await made[0].stop()
        assert await ask(proxy, 60) == {200: 60}
        await eventually(unhealthy, "the dead server to be found out")
        assert not await up()
        await made[0].start()
        await eventually(up, "the server to be back")
        before = made[0].answered
        assert await ask(proxy, 60) == {200: 60}
        assert made[0].answered > before
        assert all(agent.startswith("modelproxy/") for agent in made[0].agents)
        assert await proxy.total("modelproxy_requests_total", code="200") == 180
        for result in ("passed", "failed"):
            assert await proxy.total("modelproxy_health_checks_total", url=made[0].url, result=result) >= 2


async def test_a_server_that_fails_is_left_out(tmp_path: Path) -> None:
    """Without health checks, a server that answers 503 again and again is left out, and tried again after its time."""
    outlier = ", outlier: {consecutive: 3, base_ejection_time: 300ms}"
    async with servers(2) as made, serve(tmp_path, config(tmp_path, made, outlier)) as proxy:
        made[1].status = 503
        statuses: Counter[int] = Counter()

        async def left_out() -> bool:
            statuses.update(await ask(proxy, 8))
            return await proxy.total("modelproxy_endpoint_ejections_total", url=made[1].url) > 0

        await eventually(left_out, "the server to be left out")
        assert set(statuses) == {200, 503}
        assert 3 <= statuses[503] <= 12
        made[1].status = 200

        async def answers_again() -> bool:
            before = made[1].answered
            await ask(proxy, 8)
            return made[1].answered > before

        await eventually(answers_again, "the server to be tried again")
        assert await is_up(proxy, made[1])


async def test_a_unit_keeps_its_server(tmp_path: Path) -> None:
    """With balance: hash a unit is always answered by one server; when that is not ready, by another one."""
    async with (
        servers(3) as made,
        serve(tmp_path, config(tmp_path, made, HEALTH + ", balance: hash")) as proxy,
    ):
        assert await ask(proxy, 120) == {200: 120}
        owners = {
            user: [s for s in made if s.users[user]] for user in made[0].users | made[1].users | made[2].users
        }
        assert {len(each) for each in owners.values()} == {1}
        assert sum(bool(server.users) for server in made) > 1
        gone = next(server for server in made if server.users)
        gone.is_ready = False

        async def down() -> bool:
            return not await is_up(proxy, gone)

        await eventually(down, "the server to be taken out")
        for server in made:
            server.users.clear()
        assert await ask(proxy, 120) == {200: 120}
        assert not gone.users
        for user, (owner,) in owners.items():
            assert owner is gone or owner.users[user] == 6


async def test_nobody_is_healthy(tmp_path: Path) -> None:
    """With no healthy server the champion is asked all the same; in place of a canary the champion answers."""
    async with servers(2) as made:
        text = (
            config(tmp_path, made[:1])
            .replace("routes:", f'  two: {{url: "{made[1].url}"{HEALTH}}}\nroutes:')
            .replace("role: champion}", "role: champion}, {name: v2, model: two, role: canary, weight: 100}")
        )
        async with serve(tmp_path, text) as proxy:
            made[1].is_ready = False

            async def taken_out() -> bool:
                samples = await proxy.metrics()
                return samples["modelproxy_endpoint_up", "model=two", f"url={made[1].url}"] == 0

            await eventually(taken_out, "the server to be taken out")
            assert await proxy.infer("ann") == (200, "v1")
            assert await proxy.total("modelproxy_upstream_faults_total", model="two", kind="unhealthy") == 1
            assert made[1].answered == 0
            alone = text.replace(
                "role: champion}, {name: v2, model: two, role: canary, weight: 100}", "role: champion}"
            )
            await proxy.publish(alone.replace("model: one, role", "model: two, role"))
            assert await proxy.infer("ann") == (200, "v1")
            assert made[1].answered == 1
            samples = await proxy.metrics()
            assert samples["modelproxy_endpoint_up", "model=two", f"url={made[1].url}"] == 0

"""Reading the proxy's admin address: what is there, and what is not."""

from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.admin import Admin, fetch_books, has_applied
from proxy.demo.processes import DemoError

APPLIED: list[tuple[str, dict[str, Any], bool]] = [
    ("all workers", {"config": {"version": 2}, "workers": [{"version": 2}, {"version": 3}]}, True),
    ("one is behind", {"config": {"version": 2}, "workers": [{"version": 2}, {"version": 1}]}, False),
    ("one has none yet", {"config": {"version": 2}, "workers": [{"version": None}]}, False),
    ("not published", {"config": {"version": 1}, "workers": [{"version": 2}]}, False),
    ("no workers", {"config": {"version": 2}, "workers": []}, False),
    ("an empty status", {}, False),
]


@pytest.mark.parametrize(("status", "expected"), [c[1:] for c in APPLIED], ids=[c[0] for c in APPLIED])
def test_has_applied(status: dict[str, Any], expected: bool) -> None:
    """A version is in force when the publisher and every worker say so."""
    assert has_applied(status, 2) is expected


def app_with(routes: dict[str, tuple[int, str]]) -> web.Application:
    """An address that answers each path with a fixed status and text."""

    async def handle(request: web.Request) -> web.Response:
        status, text = routes.get(request.path, (404, ""))
        return web.Response(status=status, text=text)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    return app


async def test_reads_what_is_there() -> None:
    """Readiness, status and metrics are read from their addresses."""
    routes = {
        "/readyz": (200, "ok"),
        "/api/v1/status": (200, '{"config": {"version": 5}}'),
        "/metrics": (200, "# TYPE modelproxy_config_version gauge\nmodelproxy_config_version 5\n"),
    }
    async with TestServer(app_with(routes)) as server, aiohttp.ClientSession() as session:
        admin = Admin(f"127.0.0.1:{server.port}", session)
        assert await admin.is_ready()
        assert await admin.status() == {"config": {"version": 5}}
        assert (await admin.claims("digits")).config_version == 5


@pytest.mark.parametrize("answer", [(503, "{}"), (200, "no json"), (200, "[]")], ids=["503", "text", "list"])
async def test_a_status_that_cannot_be_had_is_none(answer: tuple[int, str]) -> None:
    """A live view goes on without a status; the observer may restart under it."""
    async with TestServer(app_with({"/api/v1/status": answer})) as server, aiohttp.ClientSession() as session:
        admin = Admin(f"127.0.0.1:{server.port}", session)
        assert await admin.status() is None
        assert not await admin.is_ready()


async def test_waiting_in_vain_says_what_was_waited_for() -> None:
    """When the time is up, the message names the condition and what the status last said."""
    routes = {"/api/v1/status": (200, '{"config": {"version": 5}}')}
    async with TestServer(app_with(routes)) as server, aiohttp.ClientSession() as session:
        admin = Admin(f"127.0.0.1:{server.port}", session)
        with pytest.raises(DemoError, match=r'the reload .* 0\.05 s.*"version":5'):
            await admin.wait("the reload", 0.05, lambda status: False)


@pytest.mark.parametrize("metrics", [(500, ""), (200, "{")], ids=["500", "not metrics"])
async def test_unreadable_metrics_end_the_demo(metrics: tuple[int, str]) -> None:
    """Claims that cannot be read are never taken for zero."""
    async with TestServer(app_with({"/metrics": metrics})) as server, aiohttp.ClientSession() as session:
        with pytest.raises(DemoError, match="metrics"):
            await Admin(f"127.0.0.1:{server.port}", session).claims("digits")


async def test_books_that_cannot_be_had_end_the_demo() -> None:
    """Without a model server's own books there is nothing to check against."""
    async with TestServer(app_with({})) as server, aiohttp.ClientSession() as session:
        with pytest.raises(DemoError, match="books of m1"):
            await fetch_books(session, "m1", f"http://127.0.0.1:{server.port}", "1")

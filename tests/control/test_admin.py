"""The admin address over real HTTP: what it says, to whom, and how it refuses."""

import pytest
from aiohttp import hdrs

from proxy.control.admin import BODY_LIMIT_BYTES, Access, NotReadyError, ReloadOutcome, build_app
from proxy.control.openapi import build_openapi
from tests.control.admin_site import TOKEN, Client, FakeSurface, error_of


async def test_reading(client: Client, surface: FakeSurface) -> None:
    """Every page that is read answers 200 with its content type, and nothing may be cached."""
    expected = {
        "/": "text/html",
        "/healthz": "text/plain",
        "/readyz": "application/json",
        "/metrics": "text/plain",
        "/api/v1/status": "application/json",
        "/api/v1/table": "application/json",
        "/api/v1/openapi.json": "application/json",
    }
    for path, content_type in expected.items():
        for method in ("GET", "HEAD"):
            response = await client.request(method, path)
            assert (path, 200, content_type) == (path, response.status, response.content_type)
            assert response.headers["Cache-Control"] == "no-store"
            assert response.headers["Server"] == "modelproxy"
            assert response.headers["X-Content-Type-Options"] == "nosniff"
            assert "frame-ancestors 'none'" in response.headers["Content-Security-Policy"]


async def test_metrics_negotiates(client: Client, surface: FakeSurface) -> None:
    """The scraper's Accept decides about the format, and the content type comes back with its parameters."""
    response = await client.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    assert surface.accepts == ["application/openmetrics-text"]
    assert response.headers["Content-Type"] == "text/plain; version=1.0.0; charset=utf-8"


async def test_not_ready(client: Client, surface: FakeSurface) -> None:
    """Not ready is 503 with the reason; alive it is all the same."""
    surface.reason = "no worker is up"
    surface.failure = NotReadyError("no configuration is in force yet")
    response = await client.get("/readyz")
    assert (response.status, await error_of(response)) == (503, "no worker is up")
    for path in ("/metrics", "/api/v1/status", "/api/v1/table"):
        response = await client.get(path)
        assert (response.status, await error_of(response)) == (503, "no configuration is in force yet")
        assert response.headers["Retry-After"] == "1"
    assert (await client.get("/healthz")).status == 200


async def test_unknown_paths_and_methods(client: Client) -> None:
    """What is not there is refused in JSON, and a wrong method is told the right ones."""
    response = await client.get("/api/v1/routes/wine/demote")
    assert response.status == 404
    assert "openapi.json" in await error_of(response)
    response = await client.get("/api/v1/routes/wine/promote")
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    response = await client.get("/api/v1/reload")
    assert (response.status, response.headers["Allow"]) == (405, "POST")
    assert "POST" in await error_of(response)
    response = await client.post("/metrics")
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD")


async def test_an_unexpected_failure_says_nothing_of_itself(
    client: Client, surface: FakeSurface, caplog: pytest.LogCaptureFixture
) -> None:
    """A bug behind a page is a 500 without details; the details are in the log."""
    surface.failure = ValueError("secret detail")
    response = await client.get("/api/v1/status")
    assert response.status == 500
    assert "secret" not in await error_of(response)
    assert "secret detail" in caplog.text


async def test_reload(client: Client, surface: FakeSurface) -> None:
    """A reload answers with the version in force, and the journal learns who asked."""
    response = await client.post("/api/v1/reload")
    assert (response.status, (await response.json())["version"]) == (200, 2)
    assert surface.reloads == ["admin 127.0.0.1"]
    assert (await client.post("/api/v1/reload", json={})).status == 200


async def test_refused_reload(client: Client, surface: FakeSurface) -> None:
    """A refused reload is a 409 with every problem's line."""
    surface.outcome = ReloadOutcome(False, {"version": 1, "problems": ["a.yaml:1:1: a", "a.yaml:2:1: b"]})
    response = await client.post("/api/v1/reload")
    assert (response.status, (await response.json())["problems"]) == (409, ["a.yaml:1:1: a", "a.yaml:2:1: b"])
    assert "stays" in await error_of(response)


async def test_reload_without_a_supervisor(client: Client, surface: FakeSurface) -> None:
    """When nobody answers, the reload is a 503 and nothing hangs."""
    surface.failure = TimeoutError("no reply")
    response = await client.post("/api/v1/reload")
    assert (response.status, "did not answer" in await error_of(response)) == (503, True)


BODIES: list[tuple[str, bytes, str, int]] = [
    ("empty object", b" {} ", "application/json", 200),
    ("empty object with a charset", b"{}", "application/json; charset=utf-8", 200),
    ("what a form sends", b"a=b", "application/x-www-form-urlencoded", 415),
    ("what a form sends as text", b"{}", "text/plain", 415),
    ("no JSON", b"{", "application/json", 400),
    ("members nobody asked for", b'{"path": "/etc/passwd"}', "application/json", 400),
    ("an array", b"[]", "application/json", 400),
    ("too long", b" " * (BODY_LIMIT_BYTES + 1), "application/json", 413),
]


@pytest.mark.parametrize(
    ("body", "content_type", "status"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES]
)
async def test_bodies(
    client: Client, surface: FakeSurface, body: bytes, content_type: str, status: int
) -> None:
    """A write takes no body or an empty JSON object, and refuses anything else before it acts."""
    response = await client.post("/api/v1/reload", data=body, headers={"Content-Type": content_type})
    assert status == response.status
    assert (1 if status == 200 else 0) == len(surface.reloads)
    if status != 200:
        await error_of(response)


HOSTS: list[tuple[str, str, bool]] = [
    ("address", "127.0.0.1:9090", True),
    ("another address of the loopback", "127.0.0.53", True),
    ("name", "localhost:9090", True),
    ("name in capitals", "LOCALHOST", True),
    ("name under localhost", "proxy.localhost:9090", True),
    ("IPv6", "[::1]:9090", True),
    ("a page's own name", "evil.example:9090", False),
    ("a name that only looks like it", "localhost.evil.example", False),
    ("a name that begins like an address", "127.0.0.1.evil.example", False),
    ("another address", "192.0.2.1", False),
    ("every address", "0.0.0.0:9090", False),
    ("nonsense", "[::1", False),
    ("userinfo", "evil.example@x", False),
]


@pytest.mark.parametrize(("host", "accepted"), [c[1:] for c in HOSTS], ids=[c[0] for c in HOSTS])
async def test_host_on_the_loopback(client: Client, host: str, accepted: bool) -> None:
    """On a loopback address only loopback names are answered (DNS rebinding); health answers whoever asks."""
    response = await client.get("/api/v1/status", headers={"Host": host})
    assert (200 if accepted else 421) == response.status
    if not accepted:
        assert "localhost" in await error_of(response)
    assert (await client.get("/healthz", headers={"Host": host})).status == 200
    assert (await client.get("/readyz", headers={"Host": host})).status == 200


async def test_host_elsewhere(client: Client, surface: FakeSurface) -> None:
    """An address that others may reach is read under any name."""
    surface.allowed = Access(loopback=False, token=TOKEN)
    assert (await client.get("/metrics", headers={"Host": "proxy.example:9090"})).status == 200


ORIGINS: list[tuple[str, str | None, bool]] = [
    ("no browser", None, True),
    ("the dashboard", "http://localhost:9090", True),
    ("behind TLS", "https://localhost:9090", True),
    ("another site", "http://evil.example", False),
    ("another port", "http://localhost:3000", False),
    ("a file or a sandbox", "null", False),
    ("empty", "", False),
]


@pytest.mark.parametrize(("origin", "accepted"), [c[1:] for c in ORIGINS], ids=[c[0] for c in ORIGINS])
async def test_origin(client: Client, surface: FakeSurface, origin: str | None, accepted: bool) -> None:
    """A write from another site's page is refused (cross-site request forgery)."""
    headers = {"Host": "localhost:9090"} | ({hdrs.ORIGIN: origin} if origin is not None else {})
    response = await client.post("/api/v1/reload", headers=headers)
    assert (200 if accepted else 403, accepted) == (response.status, bool(surface.reloads))


TOKENS: list[tuple[str, str | None, bool]] = [
    ("right", f"Bearer {TOKEN}", True),
    ("scheme in another case", f"bearer {TOKEN}", True),
    ("none", None, False),
    ("wrong", "Bearer wrong", False),
    ("its beginning", f"Bearer {TOKEN[:-1]}", False),
    ("with more behind it", f"Bearer {TOKEN}x", False),
    ("no scheme", TOKEN, False),
    ("another scheme", f"Basic {TOKEN}", False),
    ("empty", "Bearer ", False),
    ("not ASCII", "Bearer é", False),
]


@pytest.mark.parametrize("loopback", [True, False])
@pytest.mark.parametrize(("value", "accepted"), [c[1:] for c in TOKENS], ids=[c[0] for c in TOKENS])
async def test_token(
    client: Client, surface: FakeSurface, value: str | None, accepted: bool, loopback: bool
) -> None:
    """Where a token is configured a write needs it; reading does not."""
    surface.allowed = Access(loopback=loopback, token=TOKEN)
    headers = {} if value is None else {"Authorization": value}
    response = await client.post("/api/v1/reload", headers=headers)
    assert (200 if accepted else 401, accepted) == (response.status, bool(surface.reloads))
    if not accepted:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert TOKEN not in await error_of(response)
    assert (await client.get("/api/v1/status")).status == 200


async def test_no_token_elsewhere(client: Client, surface: FakeSurface) -> None:
    """Without a token nothing can be written from outside, even if such a configuration should get through."""
    surface.allowed = Access(loopback=False, token=None)
    response = await client.post("/api/v1/reload")
    assert (response.status, surface.reloads) == (403, [])


async def test_nothing_is_written_before_access_is_known(client: Client, surface: FakeSurface) -> None:
    """As long as no configuration says who may write, nobody may, and is told when to try again."""
    surface.allowed = Access(loopback=True, token=None, known=False)
    response = await client.post("/api/v1/reload")
    assert (response.status, surface.reloads) == (503, [])
    assert response.headers["Retry-After"] == "1"


def test_served_is_what_is_described(surface: FakeSurface) -> None:
    """The paths and methods of the application are those of the API description, no more and no fewer."""
    served = {
        (route.method.lower(), route.resource.canonical)
        for route in build_app(surface).router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method, path) for path, verbs in build_openapi()["paths"].items() for method in verbs}
    assert described == served

"""What a person may say about a rollout over HTTP: who, with which words, and what comes of it."""

import orjson
import pytest

from proxy.control.admin import VERBS, Access, ReloadOutcome, UnknownError
from tests.control.admin_site import TOKEN, Client, FakeSurface, error_of

URL = "/api/v1/routes/wine/{}"


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_done_for_who_asks(client: Client, surface: FakeSurface, verb: str) -> None:
    """The route, who asks and why go on as they came; the answer is what came of it."""
    response = await client.post(URL.format(verb), json={"reason": "seen in the graphs"})
    assert (response.status, await response.json()) == (200, surface.outcome.document)
    assert surface.orders == [(verb, "wine", "admin 127.0.0.1", "seen in the graphs")]


async def test_a_route_may_have_any_name(client: Client, surface: FakeSurface) -> None:
    """A name is unquoted as URLs are."""
    await client.post("/api/v1/routes/a%20b%2Fc%3F/abort")
    assert surface.orders == [("abort", "a b/c?", "admin 127.0.0.1", "")]


BODIES: list[tuple[str, bytes, str, int]] = [
    ("nothing", b"", "application/octet-stream", 200),
    ("an empty object", b"{}", "application/json", 200),
    ("a reason", b'{"reason": "x"}', "application/json", 200),
    ("a reason that is no text", b'{"reason": 1}', "application/json", 400),
    ("more than a reason", b'{"reason": "x", "weight": 100}', "application/json", 400),
    ("an array", b"[]", "application/json", 400),
    ("no JSON", b"{", "application/json", 400),
    ("what a form sends", b"reason=x", "application/x-www-form-urlencoded", 415),
]


@pytest.mark.parametrize(
    ("body", "content_type", "status"), [c[1:] for c in BODIES], ids=[c[0] for c in BODIES]
)
async def test_bodies(
    client: Client, surface: FakeSurface, body: bytes, content_type: str, status: int
) -> None:
    """A verb takes a reason and nothing else, and refuses anything else before it acts."""
    response = await client.post(URL.format("abort"), data=body, headers={"Content-Type": content_type})
    assert (response.status, len(surface.orders)) == (status, 1 if status == 200 else 0)


async def test_a_reload_takes_no_reason(client: Client, surface: FakeSurface) -> None:
    """What one verb takes, another does not."""
    assert (await client.post("/api/v1/reload", json={"reason": "x"})).status == 400
    assert surface.reloads == []


@pytest.mark.parametrize("verb", VERBS)
async def test_a_verb_is_a_write(client: Client, surface: FakeSurface, verb: str) -> None:
    """The token, the origin and the method count as they do for a reload."""
    url = URL.format(verb)
    assert (await client.get(url)).status == 405
    assert (await client.post(url, headers={"Origin": "http://evil.example"})).status == 403
    surface.allowed = Access(loopback=True, token=TOKEN)
    assert (await client.post(url)).status == 401
    surface.allowed = Access(loopback=False, token=None)
    assert (await client.post(url)).status == 403
    assert surface.orders == []
    surface.allowed = Access(loopback=False, token=TOKEN)
    assert (await client.post(url, headers={"Authorization": f"Bearer {TOKEN}"})).status == 200


async def test_a_refused_verb(client: Client, surface: FakeSurface) -> None:
    """What the rollout does not allow is a 409 with the reason."""
    surface.outcome = ReloadOutcome(False, {"version": 3, "problems": ["v3: it is promoted already"]})
    response = await client.post(URL.format("promote"))
    assert (response.status, await error_of(response)) == (409, "v3: it is promoted already")
    assert (await response.json())["version"] == 3


async def test_nobody_is_there(client: Client, surface: FakeSurface) -> None:
    """When nobody answers, the verb is a 503; an unknown route is a 404 that says which there are."""
    surface.failure = TimeoutError("no reply")
    response = await client.post(URL.format("abort"))
    assert (response.status, "did not answer" in await error_of(response)) == (503, True)
    surface.failure = UnknownError("no route is called wine; there are: beer")
    response = await client.post(URL.format("abort"))
    assert (response.status, await error_of(response)) == (404, "no route is called wine; there are: beer")
    response = await client.get(URL.format("rollout"))
    assert response.status == 404


async def test_where_a_rollout_stands(client: Client) -> None:
    """Reading needs no token and takes no body."""
    response = await client.get(URL.format("rollout"))
    assert orjson.loads(await response.read()) == {"route": "wine", "phase": "ramping"}

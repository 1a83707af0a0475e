"""Disagreements at the admin address: what may be asked, and by whom."""

import pytest

from proxy.control.admin import Access, UnknownError
from proxy.control.disagreement_query import Query
from tests.control.admin_site import TOKEN, Client, FakeSurface, error_of

PATH = "/api/v1/disagreements"


async def test_a_query_reaches_the_book(client: Client, surface: FakeSurface) -> None:
    """What is asked for is asked for, decoded."""
    response = await client.get(PATH + "?route=wine&slice=tier:very%20good&sort=extreme&limit=3")
    assert (response.status, await response.json()) == (200, {"confidence": 0.95, "routes": []})
    assert surface.queries == [Query("wine", "", "", ("tier", "very good"), "extreme", 3, "")]


async def test_a_query_that_cannot_be_meant(client: Client, surface: FakeSurface) -> None:
    """It is a 400 that says what to write, and nobody is asked."""
    response = await client.get(PATH + "?sort=oldest")
    assert (response.status, await error_of(response)) == (
        400,
        "sort: expected newest or extreme, got oldest",
    )
    assert surface.queries == []


async def test_what_is_not_there(client: Client, surface: FakeSurface) -> None:
    """An unknown name is a 404 with those there are."""
    surface.failure = UnknownError("no slice is called x; there are: tier")
    response = await client.get(PATH + "?slice=x:y")
    assert (response.status, await error_of(response)) == (404, "no slice is called x; there are: tier")


ASKED: dict[str, tuple[Access, str, int]] = {
    "loopback without a token": (Access(loopback=True, token=None), "", 200),
    "loopback, a token is set": (Access(loopback=True, token=TOKEN), "", 401),
    "loopback, a wrong one": (Access(loopback=True, token=TOKEN), "Bearer wrong", 401),
    "loopback, the right one": (Access(loopback=True, token=TOKEN), f"Bearer {TOKEN}", 200),
    "elsewhere, the right one": (Access(loopback=False, token=TOKEN), f"Bearer {TOKEN}", 200),
    "elsewhere, none": (Access(loopback=False, token=TOKEN), "", 401),
    "elsewhere, none set": (Access(loopback=False, token=None), "", 403),
    "nothing in force yet": (Access(loopback=True, token=None, known=False), "", 503),
}


@pytest.mark.parametrize(("access", "offered", "status"), ASKED.values(), ids=ASKED)
@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_who_may_read_it(
    client: Client, surface: FakeSurface, method: str, access: Access, offered: str, status: int
) -> None:
    """What clients and models wrote needs the token wherever there is one, unlike what the proxy counts."""
    surface.allowed = access
    headers = {"Authorization": offered} if offered else {}
    response = await client.request(method, PATH, headers=headers)
    assert response.status == status
    assert bool(surface.queries) is (status == 200)
    if status == 401:
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert (await client.get("/api/v1/status")).status == 200

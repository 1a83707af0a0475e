"""Feedback over real HTTP: who may send it, in which form, and what is answered."""

import asyncio
from io import BytesIO

import orjson
import pytest

from proxy.control.admin import MAX_BATCHES_READ, Access, NotReadyError
from proxy.control.feedback import MAX_BYTES, MAX_ITEMS, Taken
from tests.control.admin_site import TOKEN, Client, FakeSurface, error_of

PATH = "/api/v1/feedback"
GOOD = {"route": "wine", "request_id": "one", "good": True}


async def test_taken(client: Client, surface: FakeSurface) -> None:
    """What was taken is answered as counts and problems."""
    surface.taken = Taken(accepted=2, duplicate=1, unknown=1, problems=["item 4: no request"])
    response = await client.post(PATH, json=[GOOD] * 4)
    assert response.status == 200
    assert await response.json() == {
        "accepted": 2, "duplicate": 1, "unknown": 1, "invalid": 0, "problems": ["item 4: no request"],
    }  # fmt: skip
    assert [item.request_id for item in surface.batches[0].items] == ["one"] * 4


async def test_lines(client: Client, surface: FakeSurface) -> None:
    """Lines are taken as such by their content type, also with a charset."""
    body = b"\n".join([orjson.dumps(GOOD)] * 3)
    headers = {"content-type": "application/x-ndjson; charset=utf-8"}
    assert (await client.post(PATH, data=body, headers=headers)).status == 200
    assert len(surface.batches[0].items) == 3


@pytest.mark.parametrize("status", [400, 404, 409])
async def test_nothing_taken(client: Client, surface: FakeSurface, status: int) -> None:
    """Where nothing can be taken the error is the first problem, with the counts beside it."""
    surface.taken = Taken(invalid=1, problems=["item 1: that is why"], status=status)
    response = await client.post(PATH, json=GOOD)
    assert response.status == status
    document = await response.json()
    assert (document["error"], document["invalid"]) == ("item 1: that is why", 1)


@pytest.mark.parametrize(
    ("body", "content_type", "status", "said"),
    [
        (b"{", "application/json", 400, "this is not JSON"),
        (b"[]", "application/json", 400, "expected one item at least"),
        (b"good=true", "application/x-www-form-urlencoded", 415, "application/json or application/x-ndjson"),
        (b"{}", "text/plain", 415, "application/json"),
        (orjson.dumps([GOOD] * (MAX_ITEMS + 1)), "application/json", 413, "expected at most 10000 items"),
        (b" " * (MAX_BYTES + 1), "application/json", 413, "expected at most 4194304 bytes"),
    ],
    ids=["json", "empty", "form", "text", "items", "bytes"],
)
async def test_refused_as_a_whole(
    client: Client, surface: FakeSurface, body: bytes, content_type: str, status: int, said: str
) -> None:
    """What cannot be read is refused with what was expected, and nothing comes of it."""
    response = await client.post(PATH, data=BytesIO(body), headers={"content-type": content_type})
    assert response.status == status
    assert said in await error_of(response)
    assert surface.batches == []


async def test_a_batch_may_be_longer_than_a_verb(client: Client, surface: FakeSurface) -> None:
    """A batch of some megabytes is taken, where another write may have 64 KiB."""
    items = orjson.dumps([{**GOOD, "request_id": f"{number:0350}"} for number in range(MAX_ITEMS)])
    headers = {"content-type": "application/json"}
    assert (await client.post(PATH, data=BytesIO(items), headers=headers)).status == 200
    assert (await client.post("/api/v1/reload", data=BytesIO(items), headers=headers)).status == 413


async def test_it_is_a_write(client: Client, surface: FakeSurface) -> None:
    """It needs the token, is refused to other sites, and before a configuration is in force."""
    surface.allowed = Access(loopback=True, token=TOKEN)
    assert (await client.post(PATH, json=GOOD)).status == 401
    headers = {"authorization": f"Bearer {TOKEN}"}
    assert (await client.post(PATH, json=GOOD, headers=headers)).status == 200
    assert (
        await client.post(PATH, json=GOOD, headers=headers | {"origin": "http://evil.example"})
    ).status == 403
    surface.allowed = Access(loopback=True, token=None, known=False)
    assert (await client.post(PATH, json=GOOD)).status == 503
    assert (await client.get(PATH)).status == 405
    assert len(surface.batches) == 1


async def test_busy(client: Client, surface: FakeSurface) -> None:
    """What cannot be taken now is to come again."""
    surface.failure = NotReadyError("8 batches wait; send the same again")
    response = await client.post(PATH, json=GOOD)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert "send the same again" in await error_of(response)


async def test_too_many_at_once(client: Client, surface: FakeSurface) -> None:
    """So many batches are held at a time, whoever sends them; the next is to come again, and may once one is done."""
    surface.gate.clear()
    waiting = [asyncio.ensure_future(client.post(PATH, json=GOOD)) for _ in range(MAX_BATCHES_READ)]
    for _ in waiting:
        await surface.arrived.acquire()
    response = await client.post(PATH, json=GOOD)
    assert (response.status, response.headers["Retry-After"]) == (503, "1")
    assert "16 batches are being taken already" in await error_of(response)
    surface.gate.set()
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {200}
    assert (await client.post(PATH, json=GOOD)).status == 200

"""The driver sends what it says, keeps what clients saw, and calls a failure a failure."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from proxy.demo.story import rounds
from proxy.demo.traffic import Traffic

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

USERS = ["a", "b", "c"]
SEED = 1


def answer(label: int = 1, status: int = 200, request_id: str = "") -> Handler:
    """A server that always says the same."""

    async def handle(request: web.Request) -> web.StreamResponse:
        body = b'{"outputs": [{"name": "label", "data": [%d]}]}' % label
        sent = {
            "x-request-id": request_id or request.headers["x-request-id"],
            "x-modelproxy-variant": "v1",
        }
        return web.Response(body=body, status=status, headers=sent)

    return handle


async def drive(
    handler: Handler, requests: int = 12, on_request: Callable[[Traffic], None] = lambda _: None
) -> Traffic:
    """Send requests to ``handler`` until it has seen ``requests`` of them."""
    seen, enough = 0, asyncio.Event()

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal seen
        seen += 1
        if seen >= requests:
            enough.set()
        on_request(traffic)
        return await handler(request)

    app = web.Application()
    app.router.add_post("/", handle)
    async with TestServer(app) as server:
        traffic = Traffic(
            str(server.make_url("/")), rounds(USERS, SEED), [b"x", b"y"], [1, 2], rate=5000.0, caller="test"
        )
        running = asyncio.gather(traffic.run(), enough.wait())
        await enough.wait()
        traffic.stop()
        await running
    return traffic


async def test_everybody_visits_in_every_round() -> None:
    """Users come in rounds: after any number of requests their counts differ by one at most."""
    traffic = await drive(answer())
    visits = Counter(a.user for a in traffic.answers)
    assert set(visits) == set(USERS)
    assert max(visits.values()) - min(visits.values()) <= 1
    assert len({a.request_id for a in traffic.answers}) == len(traffic.answers)


async def test_what_the_client_saw_is_kept() -> None:
    """Variant, status and label are those of the response; a label is right when the row's is."""
    traffic = await drive(answer(label=2))
    first = traffic.answers[0]
    assert (first.variant, first.status, first.label, first.error) == ("v1", 200, 2, "")
    score = traffic.scores["v1"]
    assert (score.requests, score.failed) == (len(traffic.answers), 0)
    assert score.right == sum(a.row == 1 for a in traffic.answers)
    assert traffic.failed == 0


async def test_a_request_under_way_during_a_reload_may_meet_either_version() -> None:
    """What may have been in force is what was certain at its start and what was written at its end."""

    def edit_the_file(traffic: Traffic) -> None:
        traffic.latest = 1

    traffic = await drive(answer(), on_request=edit_the_file)
    assert (traffic.answers[0].earliest, traffic.answers[0].latest) == (0, 1)


async def cut(request: web.Request) -> web.StreamResponse:
    """Close without an answer."""
    assert request.transport is not None
    request.transport.abort()
    raise asyncio.CancelledError


async def no_label(request: web.Request) -> web.StreamResponse:
    """Answer 200 with something else."""
    return web.Response(text="hello", headers={"x-request-id": request.headers["x-request-id"]})


FAILURES: list[tuple[str, Handler, int]] = [
    ("an error status", answer(status=503), 503),
    ("another request id", answer(request_id="other"), 200),
    ("no label", no_label, 200),
    ("a closed connection", cut, 0),
]


@pytest.mark.parametrize(("handler", "status"), [f[1:] for f in FAILURES], ids=[f[0] for f in FAILURES])
async def test_failures(handler: Handler, status: int) -> None:
    """Whatever is not a usable answer to this very request is a failed request."""
    traffic = await drive(handler, requests=3)
    assert {a.status for a in traffic.answers} == {status}
    assert all(a.error for a in traffic.answers)
    assert traffic.failed == len(traffic.answers)

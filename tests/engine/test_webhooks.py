"""Webhooks against a receiver on the loopback: what arrives, what is repeated, what is given up."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import orjson
import pytest
from aiohttp import web
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier

from proxy.clock import wall_ns
from proxy.engine.store import Delivery, Store
from proxy.engine.store_thread import StoreThread
from proxy.engine.webhooks import MAX_QUEUED, PAUSES_S, Event, Webhooks, event_body, signature
from proxy.settings import Webhook
from proxy.tasks import spawn

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WAIT_S = 20.0


def webhook(url: str, on: tuple[str, ...] = ("rollback", "promote"), timeout: str = "5s") -> Webhook:
    return Webhook.model_validate({"url": url, "secret": SECRET, "on": list(on), "timeout": timeout})


def event(key: str = "r1/1", verdict: str = "rollback") -> Event:
    return Event(
        key, verdict, event_body("rollout.rollback", "2026-01-01T00:00:00Z", {"route": "wine", "é": 1})
    )


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(WAIT_S):
        while not condition():  # noqa: ASYNC110 - counts are looked at
            await asyncio.sleep(0.002)


class Receiver:
    """A server that keeps what it got, and answers as told."""

    def __init__(self) -> None:
        self.requests: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.headers: dict[str, str] = {}
        self.hold: asyncio.Event | None = None
        self.url = ""

    async def on_post(self, request: web.Request) -> web.StreamResponse:
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.requests.append((headers, await request.read()))
        if self.hold is not None:
            await self.hold.wait()
        return web.Response(status=self.answers.pop(0) if self.answers else 204, headers=self.headers)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    app = web.Application()
    app.router.add_post("/{path:.*}", receiver.on_post)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook?token=t0ps3cret"
    yield receiver
    if receiver.hold is not None:
        receiver.hold.set()
    await runner.cleanup()


class Clock:
    """Wall time that is moved by hand."""

    def __init__(self) -> None:
        self.ns = wall_ns()

    def __call__(self) -> int:
        return self.ns


class Sending:
    """Webhooks that run, over a store of their own."""

    def __init__(self, directory: Path) -> None:
        self.clock = Clock()
        self.shelf = StoreThread(directory)
        self.hooks = Webhooks(self.shelf, self.clock)
        self.task: asyncio.Task[None] | None = None

    def start(self, *webhooks: Webhook) -> "Sending":
        self.hooks.configure(webhooks)
        self.task = spawn(self.hooks.run(), name="webhooks")
        return self

    async def stored(self) -> list[Delivery]:
        return await self.shelf.call(Store.deliveries, WAIT_S)

    def pass_time(self, seconds: float) -> None:
        self.clock.ns += round(seconds * 1e9)
        self.hooks._wake.set()

    async def stop(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.wait([self.task])
        await self.shelf.close(WAIT_S)


@pytest.fixture
async def sending(tmp_path: Path) -> AsyncIterator[Sending]:
    sending = Sending(tmp_path)
    yield sending
    await sending.stop()


async def test_a_message_arrives_signed(sending: Sending, receiver: Receiver) -> None:
    """What arrives is accepted by the reference implementation of Standard Webhooks, and is not kept any longer."""
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.delivered)
    ((headers, body),) = receiver.requests
    facts = Verifier(SECRET).verify(body, headers)
    assert facts == {
        "type": "rollout.rollback",
        "timestamp": "2026-01-01T00:00:00Z",
        "data": {"route": "wine", "é": 1},
    }
    assert headers["content-type"] == "application/json"
    assert headers["user-agent"].startswith("modelproxy/")
    assert sending.hooks.queued == 0
    assert await sending.stored() == []


def test_the_example_of_the_specification() -> None:
    """The signature is that of the specification's example."""
    body = b'{"test": 2432232314}'
    key = webhook("http://x/").key
    said = signature(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_only_what_is_wanted(sending: Sending, receiver: Receiver) -> None:
    """A receiver gets the verdicts that it asked for."""
    sending.start(webhook(receiver.url, on=("promote",)))
    sending.hooks.announce(event("r1/1", "ramp"))
    sending.hooks.announce(event("r1/2", "promote"))
    await until(lambda: sending.hooks.delivered)
    assert len(receiver.requests) == 1


async def test_the_same_event_is_one_message(sending: Sending, receiver: Receiver) -> None:
    """An event that is announced again while it waits is not sent twice, and later it has the same id."""
    receiver.hold = asyncio.Event()
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    sending.hooks.announce(event())
    receiver.hold.set()
    await until(lambda: sending.hooks.delivered)
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.delivered == 2)
    first, second = (headers["webhook-id"] for headers, _ in receiver.requests)
    assert first == second


async def test_repetition(sending: Sending, receiver: Receiver) -> None:
    """After a failure the same message comes again, later and later, with the time of each attempt."""
    receiver.answers = [500, 302, 429]
    receiver.headers = {"location": receiver.url, "retry-after": "600"}
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    for attempt in range(1, 4):
        await until(lambda n=attempt: sending.hooks.attempts_failed == n)  # type: ignore[misc]
        ((_, _, _, attempts, due_ns, _),) = await sending.stored()
        assert attempts == attempt
        rest_s = (due_ns - sending.clock.ns) / 1e9
        assert (
            max(600, PAUSES_S[attempt - 1] * 0.8) <= rest_s <= max(600, PAUSES_S[attempt - 1] * 1.2)
            if attempt != 0
            else 0
        )
        sending.pass_time(rest_s - 1)
        await asyncio.sleep(0)
        assert len(receiver.requests) == attempt
        sending.pass_time(2)
    await until(lambda: sending.hooks.delivered)
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    times = [int(headers["webhook-timestamp"]) for headers, _ in receiver.requests]
    assert times == sorted(times)
    assert len(set(times)) == 4
    assert len({headers["webhook-signature"] for headers, _ in receiver.requests}) == 4


async def test_giving_up(sending: Sending, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    """After ten attempts a message is given up, counted and forgotten; the log names no token."""
    receiver.answers = [500] * 20
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    for attempt in range(1, len(PAUSES_S) + 2):
        await until(lambda n=attempt: sending.hooks.attempts_failed == n)  # type: ignore[misc]
        sending.pass_time(20_000)
    await until(lambda: sending.hooks.failed)
    assert len(receiver.requests) == len(PAUSES_S) + 1
    assert await sending.stored() == []
    assert "given up after 10 attempts: status 500" in caplog.text
    assert "t0ps3cret" not in caplog.text


async def test_gone(sending: Sending, receiver: Receiver) -> None:
    """A receiver that says 410 is not asked again for this message."""
    receiver.answers = [410]
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.failed)
    assert len(receiver.requests) == 1
    assert sending.hooks.queued == 0


async def test_a_receiver_that_hangs(
    sending: Sending, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """One that does not answer in time has failed, and meanwhile the others get theirs."""
    receiver.hold = asyncio.Event()
    other = Receiver()
    sending.start(webhook(receiver.url, timeout="100ms"))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.attempts_failed)
    assert "no answer within 0.1 s" in caplog.text
    assert sending.hooks.queued == 1
    assert not other.requests


async def test_nobody_there(sending: Sending, caplog: pytest.LogCaptureFixture) -> None:
    """A refused connection is a failure like others; the log names the address without its path."""
    sending.start(webhook("http://127.0.0.1:1/hook/t0ps3cret"))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.attempts_failed)
    assert "webhook http://127.0.0.1:1: " in caplog.text
    assert "t0ps3cret" not in caplog.text


async def test_full_queue(sending: Sending, receiver: Receiver) -> None:
    """A message that finds the queue full is dropped and counted; those that wait stay."""
    receiver.hold = asyncio.Event()
    sending.start(webhook(receiver.url))
    for number in range(MAX_QUEUED + 5):
        sending.hooks.announce(event(f"r1/{number}"))
    assert sending.hooks.dropped == 5
    assert sending.hooks.queued == MAX_QUEUED
    receiver.hold.set()
    await until(lambda: sending.hooks.delivered >= MAX_QUEUED)
    assert sending.hooks.delivered == len(receiver.requests) == MAX_QUEUED
    ids = [headers["webhook-id"] for headers, _ in receiver.requests]
    assert len(set(ids)) == MAX_QUEUED


async def test_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    """What was not delivered is sent by the next process, under the same id."""
    receiver.answers = [500]
    first = Sending(tmp_path).start(webhook(receiver.url))
    first.hooks.announce(event())
    await until(lambda: first.hooks.attempts_failed)
    await first.stop()
    second = Sending(tmp_path).start(webhook(receiver.url))
    await until(lambda: second.hooks.queued)
    second.pass_time(60)
    await until(lambda: second.hooks.delivered)
    assert len({headers["webhook-id"] for headers, _ in receiver.requests}) == 1
    assert len(receiver.requests) == 2
    await second.stop()


async def test_a_receiver_that_went(sending: Sending, receiver: Receiver) -> None:
    """What waits for one that is no longer configured is dropped; a new key is used at once."""
    receiver.answers = [500, 500]
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.attempts_failed)
    changed = webhook(receiver.url).model_copy(update={"secret": SecretStr("whsec_" + "A" * 32)})
    sending.hooks.configure([changed])
    sending.pass_time(10)
    await until(lambda: len(receiver.requests) == 2)
    headers, body = receiver.requests[1]
    Verifier("whsec_" + "A" * 32).verify(body, headers)
    await until(lambda: sending.hooks.attempts_failed == 2)
    sending.hooks.configure([])
    assert (sending.hooks.dropped, sending.hooks.queued) == (1, 0)
    assert await sending.stored() == []


async def test_a_wall_clock_set_back(sending: Sending, receiver: Receiver) -> None:
    """A message put off by a clock that was wrong does not wait until that time comes again."""
    receiver.answers = [500]
    sending.clock.ns += 400 * 86_400_000_000_000
    sending.start(webhook(receiver.url))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.attempts_failed)
    sending.clock.ns -= 400 * 86_400_000_000_000
    sending.pass_time(0)
    await until(lambda: sending.hooks.delivered)


async def test_without_a_disk(tmp_path: Path, receiver: Receiver) -> None:
    """A disk that takes nothing keeps no message from being sent."""
    (tmp_path / "file").write_text("")
    sending = Sending(tmp_path / "file" / "below").start(webhook(receiver.url))
    sending.hooks.announce(event())
    await until(lambda: sending.hooks.delivered)
    await sending.stop()


async def test_the_last_message(sending: Sending, receiver: Receiver) -> None:
    """What is announced just before the end gets an attempt."""
    sending.hooks.configure([webhook(receiver.url)])
    sending.hooks.announce(event())
    await sending.hooks.settle(WAIT_S)
    assert sending.hooks.delivered == 1
    sending.start(webhook(receiver.url))


def test_the_body() -> None:
    """The message has the three fields that Standard Webhooks recommends."""
    assert orjson.loads(event_body("a.b", "ts", {"x": 1})) == {
        "type": "a.b",
        "timestamp": "ts",
        "data": {"x": 1},
    }

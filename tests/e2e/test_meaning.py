"""What two models say goes to the embedder without what must not be told; what it says is shown, and replayed."""

import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.e2e.running import Running, eventually, serve
from tests.e2e.test_replay import replay

pytestmark = pytest.mark.slow

MARK = "harmless-mark-83"
ADDRESS = "ada.Lv4@mail-kx4.example"
FIELD = "said-in-confidence-Zq7"
KEY = "embedder-key-Tn5Wb9"
REQUESTS = 12


def vector_of(text: str) -> list[float]:
    """Return what the embedder makes of a text."""
    return [byte - 127.5 for byte in sha256(text.encode()).digest()]


def distance(text: str, other: str) -> float:
    """Return 1 - cosine, at most 1, as Python has it."""
    a, b = vector_of(text), vector_of(other)
    cosine = math.sumprod(a, b) if hasattr(math, "sumprod") else sum(map(float.__mul__, a, b))
    return min(1.0, 1.0 - cosine / math.hypot(*a) / math.hypot(*b))


def said(number: int, model: str) -> str:
    """Return what a model answers; each third time both say the same."""
    return f"{MARK}: the {model if number % 3 else 'other'} answer {number}"


@asynccontextmanager
async def served(handle: Any) -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_route("*", "/{tail:.*}", handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def model(name: str) -> Any:
    """Return a model that says what :func:`said` says, on one path together with what it was told in confidence."""

    async def answer(request: web.Request) -> web.Response:
        number = (await request.json())["number"]
        text = said(number, name)
        if request.path.endswith("/private"):
            text = f"{text}, write to {ADDRESS}"
        choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        document = {"object": "chat.completion", "choices": [choice], "secret": FIELD}
        return web.json_response(document)

    return answer


class EmbeddingServer:
    """Keeps what it is asked, and can fail."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.keys: set[str | None] = set()
        self.status = 200

    async def embed(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.bodies.append(body)
        self.keys.add(request.headers.get("authorization"))
        texts = orjson.loads(body)["input"]
        data = [{"index": at, "embedding": vector_of(text)} for at, text in enumerate(texts)]
        return web.json_response({"data": data}, status=self.status)


def config(directory: Path, champion: str, shadow: str, embedder: str) -> str:
    """Return a configuration with a route that redacts and one that does not."""
    route = """
    variants: [{name: v1, model: one, role: champion}]
    shadows: [{model: two, percent: 100, max_in_flight: 1000}]
    compare: {as: text, embedder: true, slices: {tier: header:x-tier}}"""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
embedder: {{url: '{embedder}/v1/embeddings', model: m, headers: {{authorization: 'Bearer {KEY}'}}}}
models:
  one: {{url: '{champion}'}}
  two: {{url: '{shadow}'}}
routes:
  - name: private
    match: {{path: "/chat/private"}}{route}
    log: {{redact: [{{detect: email}}, {{json: /secret}}]}}
  - name: open
    match: {{path: "/chat/*"}}{route}
    log: {{percent: 100, content: true}}
"""


async def ask(proxy: Running, path: str) -> None:
    for number in range(REQUESTS):
        headers = {"x-request-id": f"{path}-{number}", "x-tier": "gold" if number % 2 else "tin"}
        document = {"number": number, "messages": []}
        async with proxy.session.post(
            f"{proxy.listen}/chat/{path}", json=document, headers=headers
        ) as answer:
            assert answer.status == 200
            await answer.read()
    await proxy.settled()


async def meaning(proxy: Running, route: str, pairs: int) -> dict[str, Any]:
    """Return what is told of the route's shadow once so many pairs were answered."""

    async def told() -> dict[str, Any] | None:
        async with proxy.session.get(f"{proxy.admin}/api/v1/disagreements?route={route}") as answer:
            document = await answer.json()
        shadow: dict[str, Any] = document["routes"][0]["shadows"][0]
        return shadow if shadow["meaning"] and shadow["meaning"]["pairs"] == pairs else None

    found: dict[str, Any] = await eventually(told, f"the meaning of {pairs} pairs of {route}")
    return found


async def counted(proxy: Running) -> dict[str, float]:
    """Return what the observer counts of its questions."""
    names = ("asked", "answered", "failed", "dropped", "withheld")
    async with proxy.session.get(f"{proxy.admin}/metrics") as answer:
        lines = (await answer.text()).splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    return {name: values[f"modelproxy_observer_meanings_{name}_total"] for name in names}


async def test_meaning(tmp_path: Path) -> None:
    """The mean is that of the texts, by slice too; a replay finds the same; nothing that is redacted is told."""
    embedder = EmbeddingServer()
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(served(each))
            for each in (model("one"), model("two"), embedder.embed)
        ]
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, *urls)))
        await ask(proxy, "open")
        apart = [distance(said(number, "one"), said(number, "two")) for number in range(REQUESTS)]
        shadow = await meaning(proxy, "open", REQUESTS)
        assert shadow["meaning"]["mean_distance"] == pytest.approx(sum(apart) / REQUESTS, abs=2e-6)
        gold = next(each for each in shadow["slices"]["tier"] if each["value"] == "gold")
        assert gold["meaning"]["mean_distance"] == pytest.approx(
            sum(apart[1::2]) / len(apart[1::2]), abs=2e-6
        )
        assert embedder.keys == {f"Bearer {KEY}"}
        # Those that differ are asked for, each text once.
        assert len(embedder.bodies) == REQUESTS - len(range(0, REQUESTS, 3))

        code, document, err = await replay(
            *("--log", str(proxy.state / "payloads"), "--to", urls[1], "--config", str(proxy.config)),
        )
        assert (code, err) == (0, "")
        assert document["compared"] == REQUESTS
        replayed = document["scores"]["meaning_distance"]
        assert replayed["count"] == REQUESTS
        assert replayed["mean"] == pytest.approx(shadow["meaning"]["mean_distance"], abs=2e-6)

        before = len(embedder.bodies)
        await ask(proxy, "private")
        await meaning(proxy, "private", REQUESTS)
        told = b"\n".join(embedder.bodies[before:])
        assert MARK.encode() in told
        for secret in (ADDRESS, FIELD, "mail-kx4"):
            assert secret.encode() not in told
        numbers = await counted(proxy)
        assert numbers == {"asked": 24, "answered": 24, "failed": 0, "dropped": 0, "withheld": 0}


async def test_a_broken_embedder(tmp_path: Path) -> None:
    """It changes no count of pairs: the figure is left out, and counted."""
    embedder = EmbeddingServer()
    embedder.status = 500
    async with AsyncExitStack() as stack:
        urls = [
            await stack.enter_async_context(served(each))
            for each in (model("one"), model("two"), embedder.embed)
        ]
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, *urls)))
        await ask(proxy, "open")

        async def all_failed() -> bool:
            return (await counted(proxy))["failed"] == REQUESTS - len(range(0, REQUESTS, 3))

        await eventually(all_failed, "every question failed")
        shadow = await meaning(proxy, "open", len(range(0, REQUESTS, 3)))  # both said the same
        assert shadow["meaning"]["mean_distance"] == 0.0
        assert shadow["agree"] + shadow["disagree"] == REQUESTS
        for file in (proxy.state).rglob("*"):
            assert not file.is_file() or KEY.encode() not in file.read_bytes()

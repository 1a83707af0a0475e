"""A running proxy times the streams of both arms, and compares what they add up to."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from aiohttp import web

from tests.e2e.listening import listener
from tests.e2e.running import eventually, serve

pytestmark = pytest.mark.slow

GAP_S = 0.02
WORDS = ("Hel", "lo", " you")


@asynccontextmanager
async def chat_server(words: tuple[str, ...], gap_s: float) -> AsyncIterator[str]:
    """Run a server that streams these words, each after a pause, and says that each is two tokens; yield its URL."""

    async def chat(request: web.Request) -> web.StreamResponse:
        await request.read()
        answer = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await answer.prepare(request)
        choices: list[dict[str, Any]] = [{"index": 0, "delta": {"role": "assistant", "content": ""}}]
        await answer.write(b"data: " + orjson.dumps({"choices": choices}) + b"\n\n")
        for word in words:
            await asyncio.sleep(gap_s)
            choices = [{"index": 0, "delta": {"content": word}, "finish_reason": None}]
            await answer.write(b"data: " + orjson.dumps({"choices": choices}) + b"\n\n")
        usage = {"prompt_tokens": 1, "completion_tokens": 2 * len(words)}
        await answer.write(
            b"data: " + orjson.dumps({"choices": [], "usage": usage}) + b"\n\ndata: [DONE]\n\n"
        )
        return answer

    async with listener(chat) as url:
        yield url


def config(directory: Path, champion: str, candidate: str) -> str:
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: '{champion}'}}
  two: {{url: '{candidate}'}}
routes:
  - name: chat
    match: {{path: "/v1/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: two}}]
    compare: {{as: text}}
    log: {{percent: 100, content: true}}
"""


async def test_both_arms(tmp_path: Path) -> None:
    """The same words agree however they come in pieces, and the slower arm shows as slower."""
    async with (
        chat_server(WORDS, GAP_S) as champion,
        chat_server(("Hello you",), 5 * GAP_S) as candidate,
        serve(tmp_path, config(tmp_path, champion, candidate)) as proxy,
    ):
        asked = {"model": "m", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        async with proxy.session.post(proxy.listen + "/v1/chat/completions", json=asked) as answer:
            assert answer.status == 200
            assert (await answer.read()).endswith(b"data: [DONE]\n\n")

        def written() -> list[bytes]:
            files = (tmp_path / "state" / "payloads").glob("payloads-*")
            return [line for file in files for line in file.read_bytes().splitlines()]

        async def is_written() -> bool:
            return bool(written())

        await eventually(is_written, "a record")
        (record,) = map(orjson.loads, written())
        ours, theirs = record["response"]["pace"], record["shadows"][0]["pace"]
        assert record["shadows"][0]["comparison"]["result"] == "agree"
        assert (ours["parts"], ours["tokens"]) == (3, 6)
        assert (theirs["parts"], theirs["tokens"], theirs["tokens_per_second"]) == (1, 2, None)
        gap_ms = GAP_S * 1000
        assert ours["time_to_first_token_ms"] >= 0.9 * gap_ms
        assert ours["gap_max_ms"] >= ours["gap_p50_ms"] >= 0.5 * gap_ms
        assert ours["time_to_last_token_ms"] >= 2.7 * gap_ms
        assert 0 < ours["tokens_per_second"] < 5 * 1000 / (1.8 * gap_ms)
        assert theirs["time_to_first_token_ms"] >= 4.5 * gap_ms
        first = "modelproxy_time_to_first_token_seconds_count"
        assert await proxy.total(first, variant="v1", model="one") == 1
        assert await proxy.total(first, variant="", model="two") == 1
        assert await proxy.total("modelproxy_time_per_output_token_seconds_count") == 1

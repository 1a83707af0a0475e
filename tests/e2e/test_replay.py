"""A replayed comparison is the live one: the same requests, the same models, the same judgement, request by request."""

import asyncio
import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.records.reading import PayloadReader
from proxy.records.record import Record
from tests.e2e.dialects import QUESTIONS, DialectModel, dialect_server
from tests.e2e.running import Running, eventually, serve

pytestmark = pytest.mark.slow


def config(directory: Path, champion: DialectModel, shadow: DialectModel) -> str:
    """Return a configuration that mirrors and logs everything; the shadow's path replaces the matched prefix."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: '{champion.url}'}}
  two: {{url: '{shadow.url}/other/name'}}
routes:
  - name: all
    match: {{path: "/models/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: two, percent: 100, max_in_flight: 1000}}]
    log: {{percent: 100}}
"""


async def ask_everything(proxy: Running) -> None:
    """Send each question once, under an id of its own."""
    for number, question in enumerate(QUESTIONS):
        headers = {"x-request-id": f"q{number}", **question.headers}
        url = f"{proxy.listen}/models{question.path}"
        skipped = [] if "content-type" in headers else ["content-type"]
        async with proxy.session.post(
            url, data=question.body, headers=headers, skip_auto_headers=skipped
        ) as answer:
            await answer.read()
    await proxy.settled()


async def replay(*arguments: str, **environ: str) -> tuple[int, dict[str, Any], str]:
    """Run the command; return exit code, document and what it said on standard error."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "replay", "--json", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | environ,
    )
    out, err = await process.communicate()
    return process.returncode or 0, orjson.loads(out) if out else {}, err.decode()


def outcomes_of(path: Path) -> dict[str, dict[str, Any]]:
    """Return the lines of ``--out`` by request id."""
    lines = map(orjson.loads, path.read_bytes().splitlines())
    return {line["request_id"]: line for line in lines}


SAME = ("result", "distance", "reason", "method", "rows", "rows_disagreeing")


async def test_a_replayed_comparison_is_the_live_one(tmp_path: Path) -> None:
    """For every request that can be replayed: result, distance, reason, method and rows of the live record."""
    async with AsyncExitStack() as stack:
        champion = await stack.enter_async_context(dialect_server())
        shadow = await stack.enter_async_context(dialect_server(skew=3))
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, champion, shadow)))
        await ask_everything(proxy)
        live = {record.request_id: record for record in PayloadReader([proxy.state / "payloads"])}
        assert len(live) == len(QUESTIONS)
        before = len(shadow.asked)
        code, document, err = await replay(
            *("--log", str(proxy.state / "payloads"), "--to", f"{shadow.url}/other/name"),
            *("--config", str(proxy.config), "--out", str(tmp_path / "out.jsonl")),
        )
        assert (code, err) == (0, "")
    replayed = outcomes_of(tmp_path / "out.jsonl")
    different = {
        request_id: (live[request_id].request.path, expected(live[request_id]), outcome["comparison"])
        for request_id, outcome in replayed.items()
        if expected(live[request_id]) != {key: outcome["comparison"][key] for key in SAME}
    }
    assert different == {}
    missing = {live[request_id].request.path for request_id in live.keys() - replayed.keys()}
    assert missing == {"/models/long"}  # longer than log.body: counted, and not as agreement
    assert document["not_replayed"] == {"answer_truncated": 8}
    results = Counter(outcome["comparison"]["result"] for outcome in replayed.values())
    assert (results["agree"], results["disagree"]) == (document["agree"], document["disagree"])
    assert min(results.values()) >= 8  # there are some of each, so that equality says something
    assert set(results) == {"agree", "disagree", "uncomparable"}
    check_what_was_asked(shadow, before)


def expected(record: Record) -> dict[str, Any]:
    """Return what the live record says of its comparison."""
    (shadow,) = record.shadows
    assert shadow.comparison is not None
    return {key: shadow.comparison[key] for key in SAME}


def check_what_was_asked(model: DialectModel, before: int) -> None:
    """Each replayed request is marked, and has the body and the type that the live copy had."""
    copies = {headers["x-request-id"]: at for at, headers in enumerate(model.asked[:before])}
    for at, headers in enumerate(model.asked[before:], start=before):
        assert headers["x-modelproxy-shadow"] == "1"
        copy = copies[headers["x-request-id"].removeprefix("replay-")]
        assert model.bodies[at] == model.bodies[copy]
        for name in ("content-type", "accept", "inference-header-content-length"):
            assert headers.get(name) == model.asked[copy].get(name)


async def test_against_another_model(tmp_path: Path) -> None:
    """Two models that are asked now are compared as when one was a shadow; the log gives only the requests."""
    async with AsyncExitStack() as stack:
        champion = await stack.enter_async_context(dialect_server())
        shadow = await stack.enter_async_context(dialect_server(skew=3))
        proxy = await stack.enter_async_context(serve(tmp_path, config(tmp_path, champion, shadow)))
        await ask_everything(proxy)
        live = {record.request_id: record for record in PayloadReader([proxy.state / "payloads"])}
        code, _, err = await replay(
            *("--log", str(proxy.state / "payloads"), "--to", f"{shadow.url}/x"),
            *("--against", f"{champion.url}/x"),
            *("--match", "/models/*", "--out", str(tmp_path / "out.jsonl")),
        )
        assert (code, err) == (0, "")
    replayed = outcomes_of(tmp_path / "out.jsonl")
    assert replayed.keys() == live.keys()  # a recorded answer that is cut does not matter here
    for request_id, outcome in replayed.items():
        assert {key: outcome["comparison"][key] for key in SAME} == expected(live[request_id])


async def test_interrupted(tmp_path: Path) -> None:
    """After Ctrl-C there is a report of what there was, and exit code 130."""
    async with dialect_server() as model:
        write_log(tmp_path, 100)
        model.delay_s = 0.05
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "replay", "--json", "--log", str(tmp_path), "--to", model.url),
            *("--concurrency", "2"),
            stdout=asyncio.subprocess.PIPE,
        )

        async def has_begun() -> bool:
            return len(model.asked) >= 5

        await eventually(has_begun, "five requests")
        process.send_signal(signal.SIGINT)
        out, _ = await process.communicate()
    document = orjson.loads(out)
    assert process.returncode == 130
    assert document["interrupted"] is True
    assert 0 < document["sent"] < 100
    assert document["sent"] + document["abandoned"] <= len(model.asked) + 2


def write_log(directory: Path, count: int, **changes: Any) -> None:
    """Write a log of ``count`` requests that a :class:`DialectModel` answered with label 1."""
    from tests.records.lines import plain_document

    answer = orjson.dumps({"model_name": "m", "outputs": [output()]}).decode()
    lines = []
    for number in range(count):
        document = plain_document(number % 1000, **changes)
        body = orjson.dumps({"n": number}).decode()
        document["request_id"] = f"q{number}"
        document["request"] |= {"path": "/oip", "body": body, "size": len(body)}
        document["response"] |= {"body": answer, "size": len(answer)}
        lines.append(orjson.dumps(document) + b"\n")
    (directory / "payloads.jsonl").write_bytes(b"".join(lines))


def output() -> dict[str, Any]:
    """Return the output tensor that the log holds."""
    return {"name": "label", "datatype": "INT64", "shape": [1], "data": [1]}

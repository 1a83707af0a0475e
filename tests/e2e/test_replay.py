"""A replayed comparison is the live one: the same requests, the same models, the same judgement, request by request."""

import asyncio
import os
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from proxy.records.reading import PayloadReader
from proxy.records.record import Record, ShadowAnswer
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
  three: {{url: '{shadow.url}'}}
routes:
  - name: falls-back
    match: {{path: "/models/fallback/*"}}
    variants:
      - {{name: v1, model: one, role: champion}}
      - {{name: v2, model: three, role: challenger, weight: 99.9999}}
    shadows: [{{model: two, percent: 100, max_in_flight: 1000}}]
    log: {{percent: 100}}
  - name: all
    match: {{path: "/models/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: two, percent: 100, max_in_flight: 1000}}]
    compare: {{slices: {{kind: "header:content-type"}}, rtol: 1e-6}}
    log: {{percent: 100, content: true}}
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


@asynccontextmanager
async def two_models(
    directory: Path, make_config: Callable[[Path, DialectModel, DialectModel], str]
) -> AsyncIterator[tuple[Running, DialectModel, DialectModel]]:
    """Run a proxy with a champion and a shadow that answers otherwise."""
    async with (
        dialect_server() as champion,
        dialect_server(skew=3) as shadow,
        serve(directory, make_config(directory, champion, shadow)) as proxy,
    ):
        yield proxy, champion, shadow


def recorded(proxy: Running) -> dict[str, Record]:
    """Return what is in the payload log, by request id."""
    return {record.request_id: record for record in PayloadReader([proxy.state / "payloads"])}


SAME = ("result", "distance", "reason", "method", "rows", "rows_disagreeing", "scores")


async def test_a_replayed_comparison_is_the_live_one(tmp_path: Path) -> None:
    """For every request that can be replayed: result, distance, reason, method and rows of the live record."""
    async with two_models(tmp_path, config) as (proxy, _, shadow):
        await ask_everything(proxy)
        live = recorded(proxy)
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
    assert document["uncomparable"].keys() == {"both_failed", "fallback"}
    check_what_was_asked(shadow, before)


def shadow_of(record: Record) -> ShadowAnswer:
    """Return what the record says of the one shadow."""
    (shadow,) = record.shadows
    return shadow


def expected(record: Record) -> dict[str, Any]:
    """Return what the live record says of its comparison."""
    shadow = shadow_of(record)
    assert shadow.comparison is not None
    return {"scores": {}} | {key: shadow.comparison[key] for key in SAME if key in shadow.comparison}


def check_what_was_asked(model: DialectModel, before: int) -> None:
    """Each replayed request is marked, and has the body and the type that the live copy had."""
    copies = {headers["x-request-id"]: at for at, headers in enumerate(model.asked[:before])}
    for at, headers in enumerate(model.asked[before:], start=before):
        assert headers["x-modelproxy-shadow"] == "1"
        copy = copies[headers["x-request-id"].removeprefix("replay-")]
        assert model.bodies[at] == model.bodies[copy]
        for name in ("content-type", "accept", "inference-header-content-length"):
            assert headers.get(name) == model.asked[copy].get(name)


RULED = {
    "costs": ("oip-batch", "{as: classification, costs: {'1': {'2': 0.25}}}"),
    "costs-of-classes": ("probabilities", "{as: classification, costs: {cat: {dog: 0.3}}}"),
    "threshold": ("v1-batch", "{as: probabilities, threshold: 0.6, tolerance: 0.5}"),
    "place": ("json", "{as: regression, at: /score, scale: 20, atol: 0.1}"),
    "glob": ("json", "{as: json, ignore: ['/score', '/a/0']}"),
    "schema": ("said", "{as: text, at: /text, schema: {type: object, required: [a]}}"),
    "embedding": ("vectors", "{as: embedding}"),
    "ranking": ("ranked", "{as: ranking, at: '/hits/*/id', k: 3}"),
    "tensor": ("oip-binary", "{as: tensor, tolerance: 0.5}"),
    "exact": ("json-gzip", "{as: exact}"),
    "sliced": ("ndjson", "{slices: {tier: header:x-tier, part: json:/n}}"),
    "nothing": ("nothing", "{}"),
    "moved": ("moved", "{}"),
    "unprocessable": ("unprocessable", "{}"),
    "cut": ("cut-chat", "{as: text}"),
}
"""Route → the form of its answers, and its rule."""

SOME_OF_EACH = RULED.keys() - {"nothing", "moved", "unprocessable", "cut"}
"""Routes with agreement and disagreement. 204 is like an empty 200, two errors are not judged, and a cut answer of the
shadow is none."""


def ruled_config(directory: Path, champion: DialectModel, shadow: DialectModel) -> str:
    """Return a configuration with a route for each of :data:`RULED`."""
    routes = "".join(
        f"""
  - name: {name}
    match: {{path: "/ruled/{name}/*"}}
    variants: [{{name: v1, model: one, role: champion}}]
    shadows: [{{model: two, percent: 100, max_in_flight: 1000}}]
    compare: {rule}
    log: {{percent: 100, content: true}}"""
        for name, (_, rule) in RULED.items()
    )
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
models:
  one: {{url: '{champion.url}'}}
  two: {{url: '{shadow.url}'}}
routes:{routes}
"""


async def ask_by_rule(proxy: Running) -> None:
    """Send eight requests to each route, one with a query, and one without a body and with a header twice."""
    for name, (form, _) in RULED.items():
        url = f"{proxy.listen}/ruled/{name}/{form}"
        questions = [each for each in QUESTIONS if each.path == f"/{form}"] or QUESTIONS[
            :: len(QUESTIONS) // 8
        ]
        for number, question in enumerate(questions):
            headers = {**question.headers, "x-request-id": f"{name}-{number}", "x-tier": "ab"[number % 2]}
            async with proxy.session.post(
                url, data=question.body, headers=headers, allow_redirects=False
            ) as answer:
                await answer.read()
        async with proxy.session.post(f"{url}?version=2", data=b"{}") as answer:
            await answer.read()
        twice = [("accept", "text/plain"), ("accept", "application/json"), ("x-request-id", f"{name}-get")]
        async with proxy.session.get(url, headers=twice, allow_redirects=False) as answer:
            await answer.read()
    await proxy.settled()


async def test_by_every_kind_of_rule(tmp_path: Path) -> None:
    """Costs, places, globs, schemas, slices; vectors, statuses without a body, streams that break: as it was live."""
    async with two_models(tmp_path, ruled_config) as (proxy, _, shadow):
        await ask_by_rule(proxy)
        live = recorded(proxy)
        before = len(shadow.asked)
        code, document, err = await replay(
            *("--log", str(proxy.state / "payloads"), "--to", shadow.url),
            *("--config", str(proxy.config), "--out", str(tmp_path / "out.jsonl")),
        )
        assert (code, err) == (0, "")
    assert document["not_replayed"] == {"query": len(RULED)}
    replayed = outcomes_of(tmp_path / "out.jsonl")
    assert len(replayed) == len(live) - len(RULED)
    results: dict[str, Counter[str]] = {name: Counter() for name in RULED}
    for request_id, outcome in replayed.items():
        said = shadow_of(live[request_id])
        if said.comparison is None or outcome["comparison"] is None:
            assert (said.comparison, said.fault) == (outcome["comparison"], outcome["fault"])
            results[outcome["route"]]["none"] += 1
            continue
        assert {key: outcome["comparison"][key] for key in SAME} == expected(live[request_id])
        results[outcome["route"]][outcome["comparison"]["result"]] += 1
    assert results["cut"].keys() == {"agree", "none"}
    for name in SOME_OF_EACH:
        assert results[name].keys() == {"agree", "disagree"}, name
    distances = {outcome["comparison"]["distance"] for outcome in replayed.values() if outcome["comparison"]}
    assert {0.1, 0.3} <= {
        round(each or 0.0, 12) for each in distances
    }  # two of five rows at 0.25; one at 0.3
    check_what_was_asked(shadow, before)


async def test_against_another_model(tmp_path: Path) -> None:
    """Two models that are asked now are compared as when one was a shadow; the log gives only the requests."""
    async with two_models(tmp_path, config) as (proxy, champion, shadow):
        await ask_everything(proxy)
        live = recorded(proxy)
        code, _, err = await replay(
            *("--log", str(proxy.state / "payloads"), "--to", f"{shadow.url}/x"),
            *("--against", f"{champion.url}/x"),
            *("--match", "/models/*", "--out", str(tmp_path / "out.jsonl")),
        )
        assert (code, err) == (0, "")
    replayed = outcomes_of(tmp_path / "out.jsonl")
    assert replayed.keys() == live.keys()  # a recorded answer that is cut does not matter here
    for request_id, outcome in replayed.items():
        if live[request_id].route == "all":  # the other one has other models
            assert {key: outcome["comparison"][key] for key in SAME} == expected(live[request_id])


async def test_a_model_that_dies_on_the_way(tmp_path: Path) -> None:
    """What a model breaks, answers with nonsense, or never answers is counted as failed; the rest is compared."""
    async with dialect_server() as model:
        write_log(tmp_path, 60)
        model.fails = lambda count: {10: "cut", 20: "garbage", 30: "stall", 40: "close"}.get(count)
        code, document, err = await replay(
            *("--log", str(tmp_path), "--to", model.url, "--timeout", "1s", "--fail-over", "4%"),
            # One after the other, so that the connection that is closed without a word has been used.
            *("--concurrency", "1"),
        )
    assert document["failed"] == {"protocol": 1, "reset": 1, "timeout": 1}
    assert (document["agree"], document["sent"]) == (57, 60)
    assert document["asked_again"] == 1  # closed without a word: as a connection that was kept for too long
    assert document["limit"]["wrong"]["share"] == pytest.approx(0.05)
    assert (code, err) == (1, "")


async def test_a_model_that_is_killed_midway(tmp_path: Path) -> None:
    """After a model server is gone, everything fails at once, and the report has both halves."""
    write_log(tmp_path, 200)
    async with dialect_server() as model:
        model.delay_s = 0.01

        async def kill() -> None:
            async def is_halfway() -> bool:
                return len(model.asked) >= 100

            await eventually(is_halfway, "half of the requests")
            await model.kill()

        killing = asyncio.ensure_future(kill())
        code, document, err = await replay("--log", str(tmp_path), "--to", model.url)
        await killing
    assert (code, err) == (0, "")
    assert document["sent"] == 200 == document["agree"] + sum(document["failed"].values())
    assert document["agree"] >= 90
    assert set(document["failed"]) <= {"connect", "reset"}


async def test_a_slow_model_makes_requests_late(tmp_path: Path) -> None:
    """At the pace of the log a model that is too slow makes requests late, which the report says; none is left out."""
    async with dialect_server() as model:
        write_log(tmp_path, 40)  # one a millisecond
        model.delay_s = 0.02
        code, document, _ = await replay(
            *("--log", str(tmp_path), "--to", model.url, "--speed", "1x", "--concurrency", "2")
        )
    assert (code, document["agree"]) == (0, 40)
    assert document["late_ms"]["max"] >= 200  # 40 requests by two take 400 ms, and were due within 40
    assert document["latency"]["new_ms"]["p50"] >= 20 * 0.95


async def test_many_records(tmp_path: Path) -> None:
    """Ten thousand records are all sent, and all compared."""
    async with dialect_server() as model:
        write_log(tmp_path, 10_000, pad="x" * 700)
        code, document, err = await replay("--log", str(tmp_path), "--to", model.url, "--concurrency", "32")
    assert (code, err) == (0, "")
    assert (document["sent"], document["agree"], len(model.asked)) == (10_000, 10_000, 10_000)


async def test_a_log_that_is_being_written(tmp_path: Path) -> None:
    """A replay reads a growing log up to the last whole line of the moment, and finds nothing damaged."""
    write_log(tmp_path, 50)
    path = tmp_path / "payloads.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])

    async with dialect_server() as model:
        model.delay_s = 0.005
        replaying = asyncio.ensure_future(replay("--log", str(tmp_path), "--to", model.url))

        async def has_begun() -> bool:
            return bool(model.asked)

        await eventually(has_begun, "the first request")
        with path.open("ab") as file:
            file.write(whole[len(whole) * 2 // 3 :])
        code, document, _ = await replaying
    assert (code, document["log"]["damaged"]) == (0, 0)
    assert 30 <= document["agree"] == len(model.asked) <= 50


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_interrupted(tmp_path: Path, number: signal.Signals) -> None:
    """After Ctrl-C or SIGTERM there is a report of what there was, and exit code 130."""
    async with dialect_server() as model:
        write_log(tmp_path, 100)
        model.fails = lambda count: "stall" if count >= 5 else None
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "proxy", "replay", "--json", "--log", str(tmp_path), "--to", model.url),
            *("--concurrency", "2"),
            stdout=asyncio.subprocess.PIPE,
        )

        async def is_stuck() -> bool:
            return len(model.asked) == 7

        await eventually(is_stuck, "two requests that wait")
        process.send_signal(number)
        out, _ = await process.communicate()
    document = orjson.loads(out)
    assert process.returncode == 130
    assert (document["interrupted"], document["sent"], document["abandoned"]) == (True, 5, 2)


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

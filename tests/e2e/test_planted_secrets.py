"""What people send in confidence does not come out again: planted everywhere, searched for in every way out.

The same traffic is sent through two proxies. One is told what must not be written; of it nothing may come out. The
other is told nothing: from it the same secrets must come out, or the search would find nothing where something is.
"""

import asyncio
import gzip
import sqlite3
import struct
import subprocess
import sys
from base64 import urlsafe_b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import brotli
import orjson
import pytest
import yaml
from aiohttp import web
from click.testing import CliRunner

from proxy.cli import COMMANDS, main
from proxy.rundir import left_behind, owner_of
from tests.e2e.listening import listener
from tests.e2e.planting import Heard
from tests.e2e.running import Running, eventually, serve
from tests.privacy.dialects import DIALECTS, EVENTS, body_of
from tests.sinks.receivers import RECEIVERS, Receiver, unzstd

pytestmark = pytest.mark.slow

MARK = "harmless-mark-71"
"""Stands beside the secrets: where it does not come out, nothing was written that could have held one."""

NAMED = {
    "a field": "field-Kq2Zb7Wx",
    "a field of an answer": "answer-field-Hj4Nv8Rt",
    "a field of a copy's answer": "copy-field-Pm5Lc3Yd",
    "a nested field": "nested-Tg6Bs9Xk",
    "a tensor": "tensor-Wd3Fn7Vq",
    "a binary tensor": "binary-Rc8Kz4Mj",
    "a column": "column-Bv9Qt5Hs",
    "a header": "header-Yk7Gx2Lp",
    "a header of an answer": "answer-header-Fz6Jr8Nc",
    "a cookie": "cookie-Vn4Wm9Kt",
    "a field of an error": "error-field-Sx3Dq7Zb",
    "a label": "label-Jn4Xw8Tz",
    "a copy's label": "copy-label-Mb6Qd3Yr",
    "a field of a compressed answer": "compressed-Lh8Pc5Rv",
    "a true answer": "true-label-Cw5Hn9Vd",
}
"""Rules name the place where they stand."""
FORMED = {
    "an address": "ada.Qm7@mail-kx4.example",
    "an address that is a key": "key.Wz5@mail-kx4.example",
    "an address in a binary tensor": "tensor.Rt6@mail-kx4.example",
    "an address in UTF-16": "wide.Sq9@mail-kx4.example",
    "an address as characters": "chars.Jb8@mail-kx4.example",
    "an address in base64": "base.Nc3@mail-kx4.example",
    "an address in hex": "hex.Tf2@mail-kx4.example",
    "an address in quoted-printable": "quoted.Yc7@mail-kx4.example",
    "an address in octal": "octal.Dk1@mail-kx4.example",
    "an address in an answer": "answer.Vd9@mail-kx4.example",
    "an address in a header": "header.Hs4@mail-kx4.example",
    "a card": "4556 7375 8689 9855",
    "a token": "ghp_Zk8Wq3Xv7Bn5Mt9Rc2Ld6Jf4Hs1Gp0Yy7Tt5",
    "a telephone number": "+49 30 8675309",
    "a password over segments of a path": "pass-Hw6Zr2Nk",
    "bearer credentials": "Qx9vTz3LmW7kRb5NcJd8",
    "an address in a request's id": "asked.Lm5@mail-kx4.example",
    "an address in a stream": "stream.Gk2@mail-kx4.example",
    "a card in a stream": "5105 1051 0510 5100",
    "a token in a stream": "sk-Xb6Tn1Vq8Kd4Rw9Mz3Jf7Hc2",
    "an address in a copy's stream": "copied.Zs8@mail-kx4.example",
}
"""Detectors know them by their form, wherever they stand."""
SAID = {
    "a prompt": "prompt: the otter Bx7 hides",
    "a generated answer": "reply: the heron Cy8 waits",
    "a streamed answer": "stream-Dz9-flows",
    "a copy's generated answer": "copy: the stork Ew2 leaves",
    "a prompt quoted by an error": "error: the crane Fv3 calls",
    "a text": "text: the raven Gu4 sleeps",
}
"""Free text."""
NEVER = {
    "a unit": "unit-in-person-Xw3",
    "a query": "query-Pq8Rz5",
    "another header": "header-not-logged-Mv6",
    "who asks": "203.0.113.77",
    "the admin token": "admin-token-Jq2vX8",
    "the key of hashes": "unit-key-R7wNhbT4kLp9",
    "the force secret": "force-secret-Zt5mKe",
    "the embedder's key": "embedder-key-Kx6Mw2",
    "the hook's secret": "hook-secret-4YcPud7Wx2Qn9Bv5Kz",
    "the hook's path": "hook-path-Gd5Xr2",
}
"""Nothing of the kind is written, whatever the rules."""

REDACT: list[dict[str, Any]] = [
    {"json": "/parameters/user", "action": "hash"},
    {"json": "/**/secret"},
    {"json": "/**/hidden", "action": "mask"},
    {"tensor": "ssn", "action": "mask"},
    {"tensor": "diagnosis"},
    {"header": "x-api-key"},
    {"header": "cookie", "action": "mask"},
    {"header": "set-cookie", "action": "hash"},
    {"detect": "email"},
    {"detect": "card", "action": "keep_last"},
    {"detect": "token"},
    {"detect": "phone", "action": "hash"},
]
HEADERS = ["authorization", "cookie", "set-cookie", "x-api-key", "x-user-id", "x-note", "content-type"]


class Call(NamedTuple):
    """A request to be sent."""

    path: str
    headers: dict[str, str]
    body: bytes


def packed(text: str) -> bytes:
    """Return one element of a binary tensor of texts."""
    return sized(text.encode())


def sized(data: bytes) -> bytes:
    """Return bytes as one element of a binary tensor."""
    return struct.pack("<I", len(data)) + data


def binary() -> tuple[bytes, int]:
    """Return a request with binary tensors, and the length of the JSON in front."""
    tensors = [
        ("ssn", "BYTES", [1], packed(NAMED["a binary tensor"])),
        ("q", "BYTES", [1], packed(f"{MARK} {FORMED['an address in a binary tensor']}")),
        ("w", "BYTES", [1], sized(f"{MARK} {FORMED['an address in UTF-16']}".encode("utf-16-le"))),
        (
            "c",
            "UINT8",
            [len(FORMED["an address as characters"])],
            FORMED["an address as characters"].encode(),
        ),
    ]
    described = [
        {"name": n, "datatype": d, "shape": s, "parameters": {"binary_data_size": len(raw)}}
        for n, d, s, raw in tensors
    ]
    head = orjson.dumps({"inputs": described})
    return head + b"".join(raw for *_, raw in tensors), len(head)


def calls() -> Iterator[Call]:
    """Yield every request, with secrets in each place that a request has."""
    person = {
        "authorization": f"Bearer {FORMED['bearer credentials']}",
        "cookie": f"session={NAMED['a cookie']}",
        "x-api-key": NAMED["a header"],
        "x-user-id": NEVER["a unit"],
        "x-note": f"{MARK} {FORMED['an address in a header']}",
        "x-other": NEVER["another header"],
        "x-forwarded-for": NEVER["who asks"],
    }
    document = {
        "note": MARK,
        "parameters": {"user": NAMED["a field"], "deep": [{"secret": {"x": NAMED["a nested field"]}}]},
        "inputs": [{"name": "ssn", "datatype": "BYTES", "shape": [1], "data": [NAMED["a tensor"]]}],
        "texts": [
            f"from {FORMED['an address']}, pay {FORMED['a card']}", FORMED["a token"], FORMED["a telephone number"],
        ],
        "by": {FORMED["an address that is a key"]: 1},
        "hex": FORMED["an address in hex"].encode().hex(" "),
        "mime": "".join(f"={code:02X}" for code in FORMED["an address in quoted-printable"].encode()),
        "octal": "".join(f"\\{code:03o}" for code in FORMED["an address in octal"].encode()),
        "b64": urlsafe(f"mail {FORMED['an address in base64']}"),
    }  # fmt: skip
    path = f"/v2/models/{FORMED['an address'].replace('@', '%40')}/infer?user={NEVER['a query']}"
    for coding in ("", "gzip", "br", "error"):
        yield Call(
            path, {**person, "x-answer": coding, "content-type": "application/json"}, orjson.dumps(document)
        )
    yield Call(path, {**person, "content-encoding": "gzip"}, gzip.compress(orjson.dumps(document)))
    body, length = binary()
    yield Call("/v2/models/wine/infer", {**person, "inference-header-content-length": str(length)}, body)
    path = f"/v2/models/to/http://ada:{FORMED['a password over segments of a path']}@db/infer"
    yield Call(path, {**person, "content-type": "application/json"}, orjson.dumps({"note": MARK}))
    table = f"age,ssn,note\n3,{NAMED['a column']},{MARK}\n"
    yield Call("/v2/models/table", {**person, "content-type": "text/csv"}, table.encode())
    lines = b"".join(orjson.dumps(each) + b"\n" for each in (document, {"hidden": NAMED["a nested field"]}))
    yield Call("/v2/models/lines", {**person, "content-type": "application/x-ndjson"}, lines)
    said = {"model": "m", "messages": [{"role": "user", "content": f"{MARK} {SAID['a prompt']}"}]}
    for answer in ("", "stream", "error", "gzip"):
        yield Call(
            "/v1/chat/completions", {**person, "x-answer": answer}, orjson.dumps({**said, "n": answer})
        )
    for dialect in DIALECTS:
        yield Call(f"/talk/{dialect}", person, orjson.dumps({"note": MARK}))
    person["x-request-id"] = FORMED["an address in a request's id"]
    yield Call("/v2/classes/infer", {**person, "content-type": "application/json"}, orjson.dumps(document))
    yield Call("/v1/audio", {**person, "content-type": "text/plain"}, f"{MARK} {SAID['a text']}".encode())


def urlsafe(text: str) -> str:
    """Return the base64 of a text."""
    return urlsafe_b64encode(text.encode()).decode()


async def answer(request: web.Request) -> web.StreamResponse:
    """Answer as a model with secrets of its own; a copy gets another answer, so that both disagree."""
    body = await request.read()
    is_copy = request.headers.get("x-modelproxy-shadow") == "1"
    wanted = request.headers.get("x-answer", "")
    if request.path.startswith("/v1/"):
        return await generate(request, wanted, is_copy=is_copy)
    if request.path.startswith("/talk/"):
        return talk(request.path.removeprefix("/talk/"), is_copy=is_copy)
    if request.path.startswith("/v2/classes/"):
        said = NAMED["a copy's label" if is_copy else "a label"]
        tensor = {"name": "diagnosis", "datatype": "BYTES", "shape": [1], "data": [said]}
        return web.json_response({"id": MARK, "outputs": [tensor]})
    place = "a field of a copy's answer" if is_copy else "a field of an answer"
    place = "a field of a compressed answer" if wanted in ("gzip", "br") and not is_copy else place
    document: dict[str, Any] = {
        "note": MARK,
        "secret": NAMED[place],
        "outputs": [{"name": "label", "datatype": "INT64", "shape": [1], "data": [int(is_copy)]}],
        "text": f"{'copy' if is_copy else 'answer'} to {FORMED['an address in an answer']}",
        "by": {FORMED["an address that is a key"]: int(is_copy)},
    }
    if wanted == "error":
        document = {"error": {"note": MARK, "hidden": NAMED["a field of an error"], "about": len(body)}}
    headers = {"x-api-key": NAMED["a header of an answer"], "set-cookie": f"a={NAMED['a cookie']}"}
    data = orjson.dumps(document)
    if wanted in ("gzip", "br"):
        data = gzip.compress(data) if wanted == "gzip" else brotli.compress(data)
        headers["content-encoding"] = wanted
    status = 500 if wanted == "error" else 200
    return web.Response(body=data, status=status, headers=headers, content_type="application/json")


def talk(dialect: str, *, is_copy: bool) -> web.Response:
    """Answer piece by piece in one dialect, with secrets that several pieces share, and once more beside the pieces."""
    own = (place for place in FORMED if place.endswith("in a copy's stream" if is_copy else "in a stream"))
    secrets = [FORMED[place] for place in own]
    text = " and ".join((MARK, *secrets, "so on"))
    kind, documents = DIALECTS[dialect]([text[at : at + 5] for at in range(0, len(text), 5)])
    body = body_of(kind, documents)
    if kind == EVENTS:
        body = body.replace(b"\n\n", f"\n\n: {secrets} {MARK}\n\n".encode(), 1)
    return web.Response(body=body, headers={"content-type": kind.decode()} if kind else {})


async def generate(request: web.Request, wanted: str, *, is_copy: bool) -> web.StreamResponse:
    """Answer as a generating model."""
    text = SAID["a copy's generated answer"] if is_copy else SAID["a generated answer"]
    if wanted == "error":
        problem = {"detail": [{"input": f"{MARK} {SAID['a prompt quoted by an error']}"}]}
        return web.json_response(problem, status=422)
    if wanted == "stream":
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        secret = SAID["a streamed answer"]
        for piece in (f"{MARK} ", secret[:6], secret[6:], " copy" if is_copy else ""):
            chunk = {
                "object": "chat.completion.chunk",
                "choices": [{"index": 0, "delta": {"content": piece}}],
            }
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
        await response.write(f": {secret}\n\ndata: [DONE]\n\n".encode())
        return response
    message = {"role": "assistant", "content": f"{MARK} {text}"}
    document = {"object": "chat.completion", "choices": [{"index": 0, "message": message}]}
    data, headers = orjson.dumps(document), {"content-type": "application/json"}
    if wanted == "gzip":
        data, headers["content-encoding"] = gzip.compress(data), "gzip"
    return web.Response(body=data, headers=headers)


def settings(
    state: Path, model: str, collector: str, embedder: str, sinks: list[Receiver], *, told: bool
) -> dict[str, Any]:
    """Return the configuration: everything there is, written to everywhere there is."""
    slices = {
        "key": "header:x-api-key",
        "note": "header:x-note",
        "user": "json:/parameters/user",
        "who": "cookie:session",
        "unit": "header:x-user-id",
    }
    compare: dict[str, Any] = {"examples": 100, "noise": 100, "as": "json", "slices": slices}
    rules = {"redact": REDACT} if told else {"content": True}
    log = {"percent": 100, "headers": HEADERS, **rules}
    variants = [
        {"name": "v1", "model": "one", "role": "champion"},
        {"name": "v2", "model": "one", "role": "challenger", "weight": 10},
    ]
    common = {"variants": variants, "shadows": [{"model": "two"}], "compare": compare, "log": log}
    return {
        "listen": "127.0.0.1:0",
        "admin": "127.0.0.1:0",
        "admin_token": NEVER["the admin token"],
        "state_dir": str(state),
        "log_level": "debug",
        "trusted": ["127.0.0.1"],
        "embedder": {
            "url": embedder,
            "model": "m",
            "headers": {"authorization": NEVER["the embedder's key"]},
        },
        "tracing": {"otlp": collector, "percent": 100},
        "payload_log": {
            "unit_key": NEVER["the key of hashes"],
            "sinks": [{"kind": "jsonl"}, *(each.settings for each in sinks)],
        },
        "webhooks": [
            {"url": "http://127.0.0.1:9/" + NEVER["the hook's path"], "secret": NEVER["the hook's secret"]}
        ],
        "models": {"one": {"url": model}, "two": {"url": model.replace("127.0.0.1", "localhost")}},
        "routes": [
            {
                "name": "wine",
                "match": {"path": "/v2/models/*"},
                "unit": ["header:x-user-id"],
                "force_secret": NEVER["the force secret"],
                **common,
            },
            {
                "name": "talk",
                "match": {"path": "/talk/*"},
                "unit": ["header:x-user-id"],
                **common,
                "compare": compare | {"as": "text", "embedder": True},
                "log": {**log, "content": True},
            },
            {
                "name": "classes",
                "match": {"path": "/v2/classes/*"},
                "unit": ["header:x-user-id"],
                **common,
                "compare": compare | {"as": "classification", "noise": 0, "labels": "1h"},
            },
            {"name": "chat", "match": {"path": "/v1/*"}, "unit": ["client_ip", "header:x-user-id"], **common},
        ],
    }


async def embed(heard: Heard, request: web.Request) -> web.Response:
    """Hear what is sent to the embedder, and answer as one."""
    body = await request.read()
    heard.take("embedder", body)
    data = [{"index": at, "embedding": [1.0, float(at)]} for at, _ in enumerate(orjson.loads(body)["input"])]
    return web.json_response({"data": data})


class World(NamedTuple):
    """A proxy with everything that it can write to."""

    proxy: Running
    model: str
    spans: list[bytes]


@asynccontextmanager
async def world(directory: Path, heard: Heard, *, told: bool) -> AsyncIterator[World]:
    """Run a proxy with every kind of sink, a collector and two models; when it has ended, hear what sinks have got."""
    state = directory / "state"
    spans: list[bytes] = []

    async def collect(request: web.Request) -> web.Response:
        body = await request.read()
        spans.append(gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body)
        return web.Response(content_type="application/x-protobuf")

    async with AsyncExitStack() as stack:
        model = await stack.enter_async_context(listener(answer))
        collector = await stack.enter_async_context(listener(collect))
        embedder = await stack.enter_async_context(listener(partial(embed, heard)))
        sinks = [await stack.enter_async_context(make(state)) for make in RECEIVERS.values()]
        text = yaml.safe_dump(settings(state, model, collector, embedder, sinks, told=told))
        stack.callback(hear_sinks, sinks, heard)
        log = stack.enter_context((directory / "stderr").open("wb"))
        proxy = await stack.enter_async_context(serve(directory, text, log))
        yield World(proxy, model, spans)


def hear_sinks(sinks: list[Receiver], heard: Heard) -> None:
    """Take what every sink has got: some write when a file is full, or at the end."""
    for sink in sinks:
        heard.take(f"sink {sink.settings['kind']}", sink.received())


async def send_everything(proxy: Running) -> int:
    """Send every request; return how many there were."""
    number = 0
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        for call in calls():
            number += 1
            headers = {"content-type": "application/json", **call.headers}
            url = proxy.listen + call.path
            async with session.post(url, data=call.body, headers=headers) as response:
                assert response.status in (200, 422, 500), call
                await response.read()
    return number


async def label(proxy: Running) -> None:
    """Say what the true answer of a request was, and one of a request that nobody knows."""
    headers = {"authorization": f"Bearer {NEVER['the admin token']}"}
    said = {"route": "classes", "label": NAMED["a true answer"]}
    items = [{**said, "request_id": each} for each in (FORMED["an address in a request's id"], "nobody")]
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.post(f"{proxy.admin}/api/v1/feedback", json=items) as response,
    ):
        told = await response.json()
        assert (response.status, told["accepted"], told["unknown"]) == (200, 1, 1)


async def ask_everything(proxy: Running, heard: Heard) -> None:
    """Read every page that the description of the admin address names."""
    headers = {"authorization": f"Bearer {NEVER['the admin token']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        async with session.get(f"{proxy.admin}/api/v1/openapi.json") as described:
            pages = [path for path, verbs in (await described.json())["paths"].items() if "get" in verbs]
        for page in {*pages, "/", "/metrics", "/api/v1/status", "/api/v1/table"}:
            for route in ("wine", "chat", "talk", "classes"):
                path = page.replace("{route}", route).replace("{digest}", "0" * 64)
                async with session.get(proxy.admin + path) as response:
                    heard.take(path, str(response.headers).encode() + await response.read())


SERVERS = {"serve", "demo"}
"""Commands that do not end by themselves."""


def run_commands(proxy: Running, model: str, heard: Heard) -> None:
    """Run every command in the ways that commands are called."""
    config, payloads = str(proxy.config), str(proxy.state / "payloads")
    replay = [
        "--log",
        payloads,
        "--to",
        model,
        "--despite",
        "redacted",
        "--despite",
        "query",
        "--examples",
        "99",
    ]
    admin = ["--admin", proxy.admin]
    path = f"/v2/models/{FORMED['an address']}/x?user={NEVER['a query']}"
    special = {
        "explain": [[config, "--path", path]],
        "plan": [[config, config]],
        "query": [["select * from records", "--log", payloads]],
        "replay": [
            ["--log", payloads, "--to", "http://127.0.0.1:9", "--limit", "1"],
            replay,
            [*replay, "--json"],
            [*replay, "--config", config, "--out", str(proxy.state / "replayed.jsonl")],
        ],
        "report": [["wine", "--state-dir", str(proxy.state)]],
    }
    for name in sorted(COMMANDS.keys() - SERVERS):
        ways = special.get(name, [[config], admin, ["wine", *admin], ["wine", "--json", *admin]])
        for arguments in ways:
            if name == "query":  # DuckDB belongs into a process of its own
                command = [sys.executable, "-m", "proxy", name, *arguments]
                done = subprocess.run(command, capture_output=True, check=False)
                heard.take(f"modelproxy {name}", done.stdout + done.stderr)
                continue
            result = CliRunner().invoke(main, [name, *arguments])
            heard.take(f"modelproxy {name}", result.output.encode())
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                heard.take(f"modelproxy {name}", repr(result.exception).encode())


def files_below(directory: Path, heard: Heard) -> None:
    """Read every file, compressed ones as what they hold."""
    for path in sorted(directory.rglob("*")):
        if path.is_file() and path.suffix != ".key":
            data = path.read_bytes()
            if path.suffix in (".zst", ".gz") and data:
                data = unzstd(data) if path.suffix == ".zst" else gzip.decompress(data)
            heard.take(str(path.relative_to(directory)), data)
            if path.suffix == ".sqlite":
                heard.take(f"tables of {path.name}", dump(path))


def command_lines(pids: list[int]) -> bytes:
    """Return what everybody on the machine can read of processes."""
    return b"\n".join(Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids)


def dump(path: Path) -> bytes:
    """Return what a database says, which may stand in its write-ahead log alone."""
    with sqlite3.connect(path) as database:
        tables = [row[0] for row in database.execute("select name from sqlite_master where type = 'table'")]
        rows = [row for table in tables for row in database.execute(f'select * from "{table}"')]  # noqa: S608
    return b"\n".join(cell if isinstance(cell, bytes) else str(cell).encode() for row in rows for cell in row)


async def listen_to_everything(directory: Path, *, told: bool) -> Heard:
    """Send every secret through a proxy, and return everything that came out of it on any side but the client's."""
    heard = Heard()
    async with world(directory, heard, told=told) as (proxy, model, spans):
        number = await send_everything(proxy)
        await proxy.settled()
        await label(proxy)
        await ask_everything(proxy, heard)
        await asyncio.to_thread(run_commands, proxy, model, heard)
        await eventually(
            lambda: asyncio.sleep(0, b"".join(spans).count(b"/v1/audio")), "spans of the last request"
        )
        for run_directory in left_behind(owner_of(proxy.state)):
            files_below(run_directory, heard)
            heard.take("run directory", str(run_directory).encode())
        pids = [proxy.process.pid, proxy.observer_pid()]
        heard.take("command lines", command_lines(pids))
    heard.take("spans", b"".join(spans))
    files_below(proxy.state, heard)
    heard.take("stderr", (directory / "stderr").read_bytes())
    assert heard.said["run directory"]
    assert (
        sum(what.count(b'"request_id"') for where, what in heard.said.items() if "payloads-" in where)
        >= number
    )
    return heard


def leaked(heard: Heard, planted: dict[str, str]) -> dict[str, list[str]]:
    """Return where each secret came out."""
    found = {what: heard.leaks(secret) for what, secret in planted.items()}
    return {what: where for what, where in found.items() if where}


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
async def test_what_is_told_in_confidence_does_not_come_out(tmp_path: Path) -> None:
    """No sink, page, command, span, log line or file holds anything that was planted, in any form."""
    heard = await listen_to_everything(tmp_path, told=True)
    assert leaked(heard, NAMED | FORMED | SAID | NEVER) == {}
    assert MARK.encode() in heard.said["embedder"]
    wanted = {where for where in heard.said if where.startswith(("sink ", "payloads"))}
    assert {where for where in wanted if MARK.encode() not in heard.said[where]} == set()
    put_together = b"".join(what for where, what in heard.said.items() if "payloads-" in where)
    assert put_together.count(b'"assembled":true') >= 2 * len(DIALECTS)


@pytest.mark.long
@pytest.mark.skipif(not Path("/proc/self/cmdline").exists(), reason="reads /proc")
async def test_the_search_finds_what_comes_out(tmp_path: Path) -> None:
    """Without rules, and with free text asked for, every secret of a body or logged header is found in every sink."""
    heard = await listen_to_everything(tmp_path, told=False)
    sinks = [where for where in heard.said if where.startswith(("sink ", "payloads"))]
    found = leaked(heard, NAMED | FORMED | SAID)
    missed = {what: set(sinks) - set(found.get(what, [])) for what in NAMED | FORMED | SAID}
    for what in missed:
        if "true" in what:
            missed[what] = {
                sink for sink in missed[what] if "payloads" in sink
            }  # not every kind has lines for labels
        if "copy" in what:
            missed[what].discard("sink cloudevents")  # KServe's events know no copies
    assert {what: where for what, where in missed.items() if where} == {}
    assert leaked(heard, NEVER) == {}

"""A model server that answers in many forms, each a function of the request alone, and so the same whenever asked."""

import asyncio
import gzip
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import orjson
from aiohttp import web

__all__ = ["QUESTIONS", "DialectModel", "Question", "dialect_server"]


class Question(NamedTuple):
    """A request of one form: its path stands for the form."""

    path: str
    body: bytes
    headers: Mapping[str, str]


def _json(path: str, document: Any) -> Question:
    return Question(path, orjson.dumps(document), {"content-type": "application/json"})


def _binary(number: int) -> Question:
    values = struct.pack("<4f", *(number + i / 7 for i in range(4)))
    head = orjson.dumps(
        {
            "inputs": [
                {
                    "name": "x",
                    "datatype": "FP32",
                    "shape": [2, 2],
                    "parameters": {"binary_data_size": len(values)},
                }
            ]
        }
    )
    length = {"inference-header-content-length": str(len(head)), "content-type": "application/octet-stream"}
    return Question("/oip-binary", head + values, length)


def questions(number: int) -> list[Question]:
    """Return one question of each form."""
    return [
        *(
            _json(f"/{form}", {"n": number})
            for form in (
                "oip", "oip-batch", "v1", "v1-batch", "json", "json-gzip", "text", "bytes", "stream", "chat", "error",
                "fallback/mine-fails", "broken", "fewer-rows", "empty", "ndjson", "csv", "long", "deflate",
                "probabilities",
            )
        ),
        _binary(number),
        Question("/text", b"plain " + bytes([48 + number % 10]), {"content-type": "text/plain"}),
        Question("/bytes", b"\xff\x00" + bytes([number % 256]), {"content-type": "image/png", "accept": "image/png"}),
        Question("/oip", b"", {}),
    ]  # fmt: skip


QUESTIONS = [question for number in range(8) for question in questions(number)]
"""Requests of every form, eight of each."""


class DialectModel:
    """Answers by the request and by how it errs; ``skew`` is how often, one in so many."""

    def __init__(self, skew: int) -> None:
        self.skew = skew
        self.url = ""
        self.runner: web.AppRunner
        self.delay_s = 0.0
        self.asked: list[Mapping[str, str]] = []
        """Headers of each request, lower-case names; what came twice is joined."""
        self.bodies: list[bytes] = []
        self.fails: Callable[[int], str | None] = lambda count: None
        """Given the number of the request, says how to fail it (``close``, ``cut``, ``garbage``, ``stall``), or not."""

    async def kill(self) -> None:
        """Close every connection and listen no more."""
        await self.runner.cleanup()

    def _errs(self, body: bytes) -> bool:
        return self.skew > 0 and sum(body) % self.skew == 0

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        body = await request.read()
        self.asked.append({name.lower(): ", ".join(request.headers.getall(name)) for name in request.headers})
        self.bodies.append(body)
        failure = self.fails(len(self.asked) - 1)
        await asyncio.sleep(self.delay_s)
        if failure is not None:
            return await self._fail(request, failure)
        form = request.path.rpartition("/")[2]
        if form in ("stream", "chat", "cut-chat"):
            return await self._stream(request, form, errs=self._errs(body))
        status, kind, data, headers = _answers(form, body, errs=self._errs(body))
        return web.Response(status=status, body=data, headers={"content-type": kind, **headers})

    async def _fail(self, request: web.Request, failure: str) -> web.StreamResponse:
        assert request.transport is not None
        if failure == "garbage":
            request.transport.write(b"!!! this is no HTTP\r\n\r\n")
        if failure == "cut":
            request.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{")
        if failure == "stall":
            await asyncio.sleep(60)
        request.transport.close()
        return web.Response()

    async def _stream(self, request: web.Request, form: str, *, errs: bool) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        words = ["the", "quick", "red" if errs else "brown", "fox"]
        for at, word in enumerate(words):
            last = at == len(words) - 1
            delta = {"index": 0, "delta": {"content": f" {word}"}, "finish_reason": "stop" if last else None}
            chunk = (
                {"object": "chat.completion.chunk", "choices": [delta]}
                if form != "stream"
                else {"word": word}
            )
            await response.write(b"data: " + orjson.dumps(chunk) + b"\n\n")
            if form == "cut-chat" and errs and at == 1:
                assert request.transport is not None
                request.transport.close()
                return response
        await response.write(b"data: [DONE]\n\n")
        await response.write_eof()
        return response


_Answer = tuple[int, str, bytes, dict[str, str]]

_STATUSES = {"error": 500, "moved": 307, "unprocessable": 422}


def _answers(form: str, body: bytes, *, errs: bool) -> _Answer:
    label = 2 if errs else 1
    drift = 0.25 if errs else 1e-9
    json_answers: dict[str, Any] = {
        "oip": _oip([label]),
        "oip-batch": _oip([0, 1, label, 3, label]),
        "fewer-rows": _oip([1, 2] if errs else [1, 2, 3]),
        "v1": {"predictions": [0.5 + drift]},
        "v1-batch": {"predictions": [[0.1, 0.9], [0.7 - drift, 0.3 + drift], [0.5, 0.5]]},
        "probabilities": {"predictions": [{"cat": 0.6 - drift, "dog": 0.4 + drift}]},
        "json": {"a": [1, 2, {"b": label}], "score": 3.0 + drift, "text": "x"},
        "json-gzip": {"a": label, "pad": "x" * 500},
        "deflate": {"a": label},
        "error": {"error": "always"},
        "mine-fails": {"a": 1},
        "broken": {"a": 1},
        "vectors": {"data": [{"object": "embedding", "index": 0, "embedding": [1.0, 0.5, -0.25 + 8 * drift]}]},
        "ranked": {"hits": [{"id": name} for name in ("abdc" if errs else "abcd")]},
        "said": {"text": '{"b": 1}' if errs else '{"a": 1}'},
        "moved": {"a": label},
        "unprocessable": {"a": label},
    }  # fmt: skip
    if form == "oip-binary":
        return _binary_answer(errs=errs)
    if form in json_answers:
        return _json_answer(form, json_answers[form], errs=errs)
    if form == "nothing":
        return 200 if errs else 204, "text/plain", b"", {}
    plain: dict[str, tuple[str, bytes]] = {
        "text": ("text/plain", b"red fox" if errs else b"brown fox"),
        "bytes": ("image/png", b"\x89PNG\xff" + bytes([label])),
        "empty": ("text/plain", b""),
        "ndjson": ("application/x-ndjson", b'{"a":1}\n{"a":%d}\n' % label),
        "csv": ("text/csv", b"a,b\n1,2\n3,%d\n" % label),
        "long": ("text/plain", b"x" * 70_000 + (b"!" if errs else b"")),
    }
    kind, data = plain[form]
    return 200, kind, data, {}


def _json_answer(form: str, document: Any, *, errs: bool) -> _Answer:
    status, data, headers = 200, orjson.dumps(document), {}
    if form in _STATUSES:
        status = _STATUSES[form]
    elif form == "mine-fails" and errs:
        status = 503
    elif form == "broken" and errs:
        data = data[:-1]
    elif form == "json-gzip":
        data, headers = gzip.compress(data, mtime=0), {"content-encoding": "gzip"}
    elif form == "deflate":
        import zlib

        data, headers = zlib.compress(data), {"content-encoding": "deflate"}
    return status, "application/json", data, headers


def _oip(labels: list[int]) -> dict[str, Any]:
    output = {"name": "label", "datatype": "INT64", "shape": [len(labels)], "data": labels}
    return {"model_name": "m", "outputs": [output]}


def _binary_answer(*, errs: bool) -> _Answer:
    values = struct.pack("<4f", 0.5, 0.25, 0.125, 9.0 if errs else 1.0)
    output = {"name": "y", "datatype": "FP32", "shape": [4], "parameters": {"binary_data_size": len(values)}}
    head = orjson.dumps({"model_name": "m", "outputs": [output]})
    return 200, "application/octet-stream", head + values, {"inference-header-content-length": str(len(head))}


@asynccontextmanager
async def dialect_server(skew: int = 0) -> AsyncIterator[DialectModel]:
    """Run a :class:`DialectModel` on a free port."""
    model = DialectModel(skew)
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{tail:.*}", model.answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    model.runner = runner
    model.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield model
    finally:
        await runner.cleanup()

"""One model server: a process of its own that speaks the Open Inference Protocol over HTTP/1.1.

``python -m proxy.demo.server --model champion --port 0`` trains the model, listens, and prints one line of
JSON with its port when it is ready. It ends on SIGTERM, SIGINT, or when its standard input (a pipe) closes:
a server whose parent died without a word does not stay behind.

Beside the protocol it keeps its own books (``GET /demo/counts``, ``GET /demo/answers``), so that what the
proxy claims can be held against what the models really answered.
"""

import asyncio
import os
import signal
import stat
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import click
import orjson
from aiohttp import web

from proxy.clock import monotonic_ns
from proxy.demo.models import ROLES, TrainedModel, load_dataset, train
from proxy.demo.oip import BadInputError, build_answer, build_metadata, parse_question

__all__ = ["Books", "build_app", "main"]

MAX_BODY_BYTES = 512 * 1024
"""A request body. 256 rows of 64 numbers written out are at most about 400 kB. Larger: 413."""

MAX_KEPT = 200_000
"""Answers and units each server remembers; past it they are counted as forgotten."""

KEEP_ALIVE_S = 120.0
"""Idle connections live longer than in any pool in front: the server is never the one to close."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Books:
    """What this server did, by its own count. Each inference request is entered before it is answered."""

    def __init__(self) -> None:
        self.requests = 0
        """Inference requests without the shadow mark."""
        self.shadow_requests = 0
        """Inference requests with ``x-modelproxy-shadow: 1``."""
        self.refused = 0
        """Inference requests of either kind answered 400."""
        self.repeated = 0
        """Inference requests whose id and kind had been seen before: a retry, or a copy too many."""
        self.forgotten = 0
        """Requests not kept one by one because ``MAX_KEPT`` was reached."""
        self.busy_ns = 0
        """Time spent predicting."""
        self.units: Counter[str] = Counter()
        """Requests without the shadow mark per value of ``x-user-id``."""
        self.answers: dict[bool, dict[str, int | None]] = {False: {}, True: {}}
        """Label of the first row by request id; ``[True]`` for shadow requests. None: refused."""

    def enter(self, request_id: str, unit: str, shadow: bool) -> None:
        """Count one inference request."""
        if shadow:
            self.shadow_requests += 1
        else:
            self.requests += 1
        kept = self.answers[shadow]
        if request_id in kept:
            self.repeated += 1
        elif len(kept) >= MAX_KEPT:
            self.forgotten += 1
        else:
            kept[request_id] = None
            if not shadow:
                self.units[unit] += 1

    def note(self, request_id: str, shadow: bool, label: int) -> None:
        """Keep the label that was answered."""
        if request_id in self.answers[shadow]:
            self.answers[shadow][request_id] = label

    def counts(self) -> dict[str, Any]:
        """Return the books without the single answers, ready for JSON."""
        return {
            "requests": self.requests,
            "shadow_requests": self.shadow_requests,
            "refused": self.refused,
            "repeated": self.repeated,
            "forgotten": self.forgotten,
            "busy_ms": self.busy_ns / 1e6,
            "units": dict(self.units),
        }


_BOOKS = web.AppKey("books", Books)
_MODEL = web.AppKey("model", TrainedModel)


def build_app(model: TrainedModel) -> web.Application:
    """Return the server for ``model``, not yet listening."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
    app[_BOOKS] = Books()
    app[_MODEL] = model
    app.router.add_get("/v2", _server_metadata)
    app.router.add_get("/v2/health/live", _live)
    app.router.add_get("/v2/health/ready", _ready)
    for base in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        app.router.add_get(base, _model_metadata)
        app.router.add_get(f"{base}/ready", _model_ready)
        app.router.add_post(f"{base}/infer", _infer)
    app.router.add_get("/demo/counts", _counts)
    app.router.add_get("/demo/answers", _answers)
    return app


def _json(document: Any, status: int = 200) -> web.Response:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return web.Response(body=body, status=status, content_type="application/json")


@web.middleware
async def _errors_as_json(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except BadInputError as error:
        request.app[_BOOKS].refused += 1
        return _json({"error": str(error)}, 400)
    except web.HTTPException as error:
        response = _json({"error": error.reason}, error.status)
        if allowed := error.headers.get("Allow"):
            response.headers["Allow"] = allowed
        return response


def _check_model(request: web.Request) -> TrainedModel:
    model = request.app[_MODEL]
    name, version = request.match_info["model"], request.match_info.get("version", model.role.version)
    if name != model.role.served_as or version != model.role.version:
        raise web.HTTPNotFound(reason=f"this server has {model.role.served_as} version {model.role.version}")
    return model


async def _server_metadata(_: web.Request) -> web.Response:
    return _json({"name": "modelproxy-demo", "version": "1", "extensions": []})


async def _live(_: web.Request) -> web.Response:
    return _json({"live": True})


async def _ready(_: web.Request) -> web.Response:
    return _json({"ready": True})


async def _model_metadata(request: web.Request) -> web.Response:
    return _json(build_metadata(_check_model(request).role))


async def _model_ready(request: web.Request) -> web.Response:
    model = _check_model(request)
    return _json({"name": model.role.served_as, "ready": True})


async def _infer(request: web.Request) -> web.Response:
    model, books = _check_model(request), request.app[_BOOKS]
    request_id = request.headers.get("x-request-id", "")
    shadow = request.headers.get("x-modelproxy-shadow") == "1"
    books.enter(request_id, request.headers.get("x-user-id", ""), shadow)
    question = parse_question(await request.read())
    started_ns = monotonic_ns()
    labels, probabilities = model.predict(question.rows)
    books.busy_ns += monotonic_ns() - started_ns
    books.note(request_id, shadow, int(labels[0]))
    return _json(build_answer(model.role, question, labels, probabilities))


async def _counts(request: web.Request) -> web.Response:
    return _json(request.app[_BOOKS].counts())


async def _answers(request: web.Request) -> web.Response:
    answers = request.app[_BOOKS].answers
    return _json({"primary": answers[False], "shadow": answers[True]})


async def _serve(model: TrainedModel, host: str, port: int) -> None:
    runner = web.AppRunner(build_app(model), access_log=None, keepalive_timeout=KEEP_ALIVE_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port, shutdown_timeout=2.0)
    await site.start()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _stop_with_parent(loop, stop)
    port = runner.addresses[0][1]
    announcement = {"model": model.role.name, "port": port, "accuracy": model.accuracy}
    print(orjson.dumps(announcement).decode(), flush=True)
    await stop.wait()
    await runner.cleanup()


def _stop_with_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # A terminal or /dev/null says nothing about a parent; only a pipe does.
    descriptor = sys.stdin.fileno()
    if not stat.S_ISFIFO(os.fstat(descriptor).st_mode):
        return

    def on_readable() -> None:
        if not os.read(descriptor, 4096):
            loop.remove_reader(descriptor)
            stop.set()

    loop.add_reader(descriptor, on_readable)


@click.command()
@click.option(
    "--model", "name", type=click.Choice(sorted(ROLES)), required=True, help="Which model to serve."
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0: any free one.")
def main(name: str, host: str, port: int) -> None:
    """Train one of the demo's models and serve it over the Open Inference Protocol V2."""
    asyncio.run(_serve(train(name, load_dataset()), host, port))


if __name__ == "__main__":
    main()

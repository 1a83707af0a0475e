"""One model server: a process of its own that speaks the Open Inference Protocol over HTTP/1.1.

``python -m proxy.demo.server --model champion --port 0`` trains the model, listens, and prints one line of
JSON with its port when it is ready. It ends on SIGTERM, SIGINT, or when its standard input (a pipe) closes:
a server whose parent died without a word does not stay behind. With more than one ``--model`` it serves each
under its name and version; the first is the one that is meant where a request names no version.

Beside the protocol it keeps its own books of each model (``GET /demo/counts?version=1``, ``GET /demo/answers``),
so that what the proxy claims can be held against what the models really answered.
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
"""Answers and units remembered of each model; past it they are counted as forgotten."""

KEEP_ALIVE_S = 120.0
"""Idle connections live longer than in any pool in front: the server is never the one to close."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Books:
    """What one model did, by its server's count. Each inference request is entered before it is answered."""

    def __init__(self) -> None:
        self.requests = 0
        """Inference requests without the shadow mark."""
        self.shadow_requests = 0
        """Inference requests with ``x-modelproxy-shadow: 1``."""
        self.refused = 0
        """Inference requests of either kind answered 400."""
        self.failed = 0
        """Inference requests of either kind on which the model raised, answered 500."""
        self.repeated = 0
        """Inference requests whose id and kind had been seen before: a retry, or a copy too many."""
        self.forgotten = 0
        """Requests not kept one by one because ``MAX_KEPT`` was reached."""
        self.busy_ns = 0
        """Time spent predicting."""
        self.units: Counter[str] = Counter()
        """Requests without the shadow mark per value of ``x-user-id``."""
        self.answers: dict[bool, dict[str, int | None]] = {False: {}, True: {}}
        """Label of the first row by request id; ``[True]`` for shadow requests. None: refused or failed."""

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
            "failed": self.failed,
            "repeated": self.repeated,
            "forgotten": self.forgotten,
            "busy_ms": self.busy_ns / 1e6,
            "units": dict(self.units),
        }


class Served:
    """A model and its books."""

    __slots__ = ("books", "model")

    def __init__(self, model: TrainedModel) -> None:
        self.model = model
        self.books = Books()


_SERVED = web.AppKey("served", list[Served])


def build_app(*models: TrainedModel) -> web.Application:
    """Return the server for ``models``, not yet listening."""
    app = web.Application(middlewares=[_errors_as_json], client_max_size=MAX_BODY_BYTES)
    app[_SERVED] = [Served(model) for model in models]
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
        return _json({"error": str(error)}, 400)
    except web.HTTPException as error:
        response = _json({"error": error.reason}, error.status)
        if allowed := error.headers.get("Allow"):
            response.headers["Allow"] = allowed
        return response


def _find(request: web.Request) -> Served:
    """Return whom the path names."""
    served = request.app[_SERVED]
    name, version = request.match_info["model"], request.match_info.get("version")
    for each in served:
        role = each.model.role
        if name == role.served_as and version in (None, role.version):
            return each
    known = ", ".join(f"{each.model.role.served_as} version {each.model.role.version}" for each in served)
    raise web.HTTPNotFound(reason=f"this server has {known}")


async def _server_metadata(_: web.Request) -> web.Response:
    return _json({"name": "modelproxy-demo", "version": "1", "extensions": []})


async def _live(_: web.Request) -> web.Response:
    return _json({"live": True})


async def _ready(_: web.Request) -> web.Response:
    return _json({"ready": True})


async def _model_metadata(request: web.Request) -> web.Response:
    return _json(build_metadata(_find(request).model.role))


async def _model_ready(request: web.Request) -> web.Response:
    return _json({"name": _find(request).model.role.served_as, "ready": True})


async def _infer(request: web.Request) -> web.Response:
    asked = _find(request)
    model, books = asked.model, asked.books
    request_id = request.headers.get("x-request-id", "")
    shadow = request.headers.get("x-modelproxy-shadow") == "1"
    books.enter(request_id, request.headers.get("x-user-id", ""), shadow)
    try:
        question = parse_question(await request.read())
    except BadInputError:
        books.refused += 1
        raise
    started_ns = monotonic_ns()
    try:
        labels, probabilities = model.predict(question.rows)
    except ValueError as error:
        books.failed += 1
        return _json({"error": f"{type(error).__name__}: {error}"}, 500)
    finally:
        books.busy_ns += monotonic_ns() - started_ns
    books.note(request_id, shadow, int(labels[0]))
    return _json(build_answer(model.role, question, labels, probabilities))


def _books(request: web.Request) -> Books:
    served, version = request.app[_SERVED], request.query.get("version")
    for each in served:
        if version in (None, each.model.role.version):
            return each.books
    raise web.HTTPNotFound(reason=f"this server has no version {version}")


async def _counts(request: web.Request) -> web.Response:
    return _json(_books(request).counts())


async def _answers(request: web.Request) -> web.Response:
    answers = _books(request).answers
    return _json({"primary": answers[False], "shadow": answers[True]})


async def _serve(models: list[TrainedModel], host: str, port: int) -> None:
    runner = web.AppRunner(build_app(*models), access_log=None, keepalive_timeout=KEEP_ALIVE_S)
    await runner.setup()
    site = web.TCPSite(runner, host, port, shutdown_timeout=2.0)
    await site.start()
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    _stop_with_parent(loop, stop)
    port = runner.addresses[0][1]
    announcement = {"port": port, "accuracy": {model.role.name: model.accuracy for model in models}}
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
    "--model",
    "names",
    type=click.Choice(sorted(ROLES)),
    required=True,
    multiple=True,
    help="Which model to serve; may be given more than once.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, show_default=True, help="Port to listen on; 0: any free one.")
def main(names: tuple[str, ...], host: str, port: int) -> None:
    """Train some of the demo's models and serve them over the Open Inference Protocol V2."""
    dataset = load_dataset()
    asyncio.run(_serve([train(name, dataset) for name in names], host, port))


if __name__ == "__main__":
    main()

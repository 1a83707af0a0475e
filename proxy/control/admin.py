"""The admin address: metrics, health, status and the few verbs there are, over HTTP.

Who may do what
    Reading is open to whoever reaches the address, which is the loopback unless the configuration says
    otherwise. Writing (``POST``), and reading what clients and models wrote (disagreements: values of slices, labels,
    requests and answers), needs ``Authorization: Bearer TOKEN`` as soon as ``admin_token`` is set, and an address that
    is not loopback refuses to start without one.

    A browser on this machine reaches the loopback too, on behalf of any page it shows. So on a loopback
    address the ``Host`` must be a loopback name (a page cannot make its own name resolve to us and read
    what we say: DNS rebinding), and a write is refused when its ``Origin`` is another site or its body is
    what an HTML form can send (cross-site request forgery). Health is exempt: probes come with any ``Host``
    and learn nothing.

Errors are ``{"error": sentence}`` with the fitting status, also for unknown paths and methods.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Protocol
from urllib.parse import urlsplit

import orjson
from aiohttp import hdrs, web

from proxy.control.dashboard import CONTENT_SECURITY_POLICY, PAGE
from proxy.control.disagreement_query import Query, parse_query
from proxy.control.feedback import CONTENT_TYPES, MAX_BYTES, Parsed, Taken, parse_feedback
from proxy.control.gate import GATE, Gate
from proxy.control.openapi import build_openapi

__all__ = [
    "BODY_LIMIT_BYTES",
    "MAX_BATCHES_READ",
    "VERBS",
    "Access",
    "NotReadyError",
    "ReloadOutcome",
    "Surface",
    "UnknownError",
    "build_app",
]

BODY_LIMIT_BYTES = 64 * 1024
"""Longest request body but for feedback; the peer sees 413. No verb needs more than a sentence."""

MAX_BATCHES_READ = 16
"""Batches of feedback that are read and taken at a time, 4 MiB each; the next is told to come again."""

VERBS = ("promote", "abort", "pause", "resume")
"""What a person may say about a rollout."""

_log = logging.getLogger("modelproxy")

_REASON: web.RequestKey[str] = web.RequestKey("reason", str)

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_ALWAYS_OPEN = frozenset({"/healthz", "/readyz"})
_FEEDBACK_PATH = "/api/v1/feedback"
_DISAGREEMENTS_PATH = "/api/v1/disagreements"
_READING = frozenset({hdrs.METH_GET, hdrs.METH_HEAD})

_HEADERS = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class NotReadyError(Exception):
    """What was asked for is not known yet; asking again in a moment helps."""


class UnknownError(Exception):
    """What was asked for is not there. ``str()`` is the sentence that says what is."""


@dataclass(frozen=True, slots=True)
class Access:
    """Who may do what."""

    loopback: bool
    """The address is bound to the loopback alone."""
    token: str | None
    """What a write must bring; None: nothing."""
    known: bool = True
    """False before a configuration is in force: nothing is written then."""


@dataclass(frozen=True, slots=True)
class ReloadOutcome:
    """What came of a reload, or of a verb."""

    accepted: bool
    document: Mapping[str, Any]
    """``version`` in force afterwards and, when refused, ``problems``: one line each."""


class Surface(Protocol):
    """What is behind the admin address."""

    def access(self) -> Access:
        """Return who may do what at this moment."""

    def unready(self) -> str | None:
        """Return why no request can be served, or None when one can."""

    async def metrics(self, accept: str) -> tuple[bytes, str]:
        """Return the exposition for a scraper with this ``Accept``, and its content type."""

    async def status(self) -> Mapping[str, Any]:
        """Return the status document."""

    async def table(self) -> Mapping[str, Any]:
        """Return the table in force."""

    async def reload(self, by: str) -> ReloadOutcome:
        """Read the configuration file again, for ``by``.

        Raises:
            OSError: whoever does it cannot be reached.
        """

    async def rollout(self, route: str) -> Mapping[str, Any]:
        """Return where the rollout of ``route`` stands.

        Raises:
            UnknownError: there is no such route, or it has no rollout.
        """

    async def disagreements(self, query: Query) -> Mapping[str, Any]:
        """Return what is known of disagreements.

        Raises:
            UnknownError: there is no such route, shadow, slice or example.
        """

    async def snapshot(self, digest: str) -> bytes:
        """Return what the decision with this evidence digest was made from, as JSON.

        Raises:
            UnknownError: it is not, or no longer, there.
        """

    async def steer(self, verb: str, route: str, by: str, reason: str) -> ReloadOutcome:
        """Do ``verb`` to the rollout of ``route``, for ``by`` and because of ``reason``.

        Raises:
            OSError: whoever does it cannot be reached.
            UnknownError: there is no such route.
        """

    async def feedback(self, batch: Parsed) -> Taken:
        """Count what was said about answers. What is counted is on the disk.

        Raises:
            NotReadyError: it cannot be taken now; nothing was.
        """


_SURFACE: web.AppKey[Surface] = web.AppKey("surface")
_TURNS: web.AppKey[asyncio.Semaphore] = web.AppKey("turns")


def build_app(surface: Surface) -> web.Application:
    """Return the application that shows ``surface``. Its paths are those of :func:`build_openapi`."""
    middlewares = [_with_gate, _with_errors, _with_guard]
    app = web.Application(middlewares=middlewares, client_max_size=BODY_LIMIT_BYTES)
    app[_SURFACE] = surface
    app[GATE] = Gate()
    app[_TURNS] = asyncio.Semaphore(MAX_BATCHES_READ)
    app.add_routes(
        [
            web.get("/", _get_dashboard),
            web.get("/healthz", _get_health),
            web.get("/readyz", _get_ready),
            web.get("/metrics", _get_metrics),
            web.get("/api/v1/status", _get_status),
            web.get("/api/v1/table", _get_table),
            web.get("/api/v1/openapi.json", _get_openapi),
            web.get(_DISAGREEMENTS_PATH, _get_disagreements),
            web.post("/api/v1/reload", _post_reload),
            web.post(_FEEDBACK_PATH, _post_feedback),
            web.get("/api/v1/routes/{route}/rollout", _get_rollout),
            web.get("/api/v1/evidence/{digest}", _get_snapshot),
            *(web.post(f"/api/v1/routes/{{route}}/{verb}", _make_post(verb)) for verb in VERBS),
        ]
    )
    app.on_response_prepare.append(_add_headers)
    return app


async def _add_headers(_: web.Request, response: web.StreamResponse) -> None:
    for name, value in _HEADERS.items():
        response.headers.setdefault(name, value)
    response.headers[hdrs.SERVER] = "modelproxy"  # not the versions of Python and aiohttp


async def _get_dashboard(_: web.Request) -> web.StreamResponse:
    headers = {"Content-Security-Policy": CONTENT_SECURITY_POLICY}
    return web.Response(body=PAGE, content_type="text/html", charset="utf-8", headers=headers)


async def _get_health(_: web.Request) -> web.StreamResponse:
    return web.Response(text="ok\n")


async def _get_ready(request: web.Request) -> web.StreamResponse:
    reason = request.app[_SURFACE].unready()
    return _json({"ready": True}) if reason is None else _error(503, reason)


async def _get_metrics(request: web.Request) -> web.StreamResponse:
    body, content_type = await request.app[_SURFACE].metrics(request.headers.get(hdrs.ACCEPT, ""))
    return web.Response(body=body, headers={hdrs.CONTENT_TYPE: content_type})


async def _get_status(request: web.Request) -> web.StreamResponse:
    return _json(await request.app[_SURFACE].status())


async def _get_table(request: web.Request) -> web.StreamResponse:
    return _json(await request.app[_SURFACE].table())


async def _get_openapi(_: web.Request) -> web.StreamResponse:
    return _json(build_openapi())


async def _get_disagreements(request: web.Request) -> web.StreamResponse:
    try:
        query = parse_query(request.query.items())
    except ValueError as error:
        return _error(400, str(error))
    return _json(await request.app[_SURFACE].disagreements(query))


async def _post_reload(request: web.Request) -> web.StreamResponse:
    try:
        outcome = await request.app[_SURFACE].reload(f"admin {request.remote or 'unknown'}")
    except OSError as error:
        _log.warning("reload was not answered: %r", error)
        return _error(503, "the supervisor did not answer; the configuration in force stays")
    if outcome.accepted:
        return _json(outcome.document)
    sentence = "the configuration was refused; the one in force stays"
    return _json({"error": sentence, **outcome.document}, 409)


async def _get_rollout(request: web.Request) -> web.StreamResponse:
    return _json(await request.app[_SURFACE].rollout(request.match_info["route"]))


async def _get_snapshot(request: web.Request) -> web.StreamResponse:
    data = await request.app[_SURFACE].snapshot(request.match_info["digest"])
    return web.Response(body=data, content_type="application/json")


async def _post_feedback(request: web.Request) -> web.StreamResponse:
    if request.content_type not in CONTENT_TYPES:
        return _error(415, f"expected Content-Type: {' or '.join(CONTENT_TYPES)}")
    turns = request.app[_TURNS]
    if turns.locked():
        raise NotReadyError(f"{MAX_BATCHES_READ} batches are being taken already; send the same again")
    async with turns:
        return await _take_feedback(request)


async def _take_feedback(request: web.Request) -> web.StreamResponse:
    try:
        body = await request.clone(client_max_size=MAX_BYTES).read()
        # Ten thousand items take some time, which is not the loop's.
        batch = await asyncio.to_thread(parse_feedback, body, request.content_type)
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"expected at most {MAX_BYTES} bytes at once; send several batches")
    except OverflowError as error:
        return _error(413, str(error))
    except ValueError as error:
        return _error(400, str(error))
    taken = await request.app[_SURFACE].feedback(batch)
    if taken.status == 200:
        return _json(taken.document())
    return _json({"error": taken.problems[0], **taken.document()}, taken.status)


def _make_post(verb: str) -> _Handler:
    async def post(request: web.Request) -> web.StreamResponse:
        by, reason = f"admin {request.remote or 'unknown'}", request.get(_REASON, "")
        try:
            outcome = await request.app[_SURFACE].steer(verb, request.match_info["route"], by, reason)
        except OSError as error:
            _log.warning("%s was not answered: %r", verb, error)
            return _error(503, "the supervisor did not answer; GET rollout says what came of it")
        if outcome.accepted:
            return _json(outcome.document)
        problems = "; ".join(outcome.document.get("problems", ())) or f"{verb} was refused"
        return _json({"error": problems, **outcome.document}, 409)

    return post


@web.middleware
async def _with_gate(request: web.Request, handler: _Handler) -> web.StreamResponse:
    request.app[GATE].on_head(request.transport)
    return await handler(request)


@web.middleware
async def _with_errors(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Say every error in JSON, and never more than a sentence of ours."""
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed as error:
        allowed = ", ".join(sorted(error.allowed_methods))
        refusal = _error(405, f"this path answers {allowed} only")
        refusal.headers[hdrs.ALLOW] = allowed
        return refusal
    except web.HTTPNotFound:
        return _error(404, "no such path; GET /api/v1/openapi.json lists those there are")
    except web.HTTPRequestEntityTooLarge:
        return _error(413, f"expected a body of at most {BODY_LIMIT_BYTES} bytes")
    except web.HTTPException as error:
        return _error(error.status, error.reason.lower())
    except UnknownError as error:
        return _error(404, str(error))
    except NotReadyError as error:
        refusal = _error(503, str(error))
        refusal.headers[hdrs.RETRY_AFTER] = "1"
        return refusal
    except Exception:
        _log.exception("%s %s failed", request.method, request.path)
        return _error(500, "this failed for a reason that is in the log")


@web.middleware
async def _with_guard(request: web.Request, handler: _Handler) -> web.StreamResponse:
    """Refuse what a foreign page or an unknown caller may not do."""
    if request.path in _ALWAYS_OPEN:
        return await handler(request)
    access = request.app[_SURFACE].access()
    host = request.headers.get(hdrs.HOST, "")
    if access.loopback and host and not _is_loopback_name(host):
        return _error(421, "expected a Host that names this machine: localhost, 127.0.0.1 or [::1]")
    if request.path == _DISAGREEMENTS_PATH:
        if (refusal := _refuse_without_token(request, access, "reading this")) is not None:
            return refusal
    elif request.method not in _READING and request.match_info.http_exception is None:
        refusal = _refuse_stranger(request, access, host)
        if refusal is None and request.path != _FEEDBACK_PATH:
            refusal = await _refuse_body(request)
        if refusal is not None:
            return refusal
    return await handler(request)


def _refuse_stranger(request: web.Request, access: Access, host: str) -> web.Response | None:
    if not access.known:
        raise NotReadyError("no configuration is in force yet; try again in a moment")
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return _error(403, "expected no Origin or this address's own; another site may not write here")
    return _refuse_without_token(request, access, "writing")


def _refuse_without_token(request: web.Request, access: Access, what: str) -> web.Response | None:
    if not access.known:
        raise NotReadyError("no configuration is in force yet; try again in a moment")
    if access.token is None:
        return None if access.loopback else _error(403, f"{what} needs admin_token on an address like this")
    scheme, _, offered = request.headers.get(hdrs.AUTHORIZATION, "").partition(" ")
    # Compared as bytes: compare_digest takes only ASCII texts, and headers may hold anything.
    if scheme.lower() == "bearer" and hmac.compare_digest(_bytes(offered.strip()), _bytes(access.token)):
        return None
    refusal = _error(401, f"{what} needs Authorization: Bearer with the configured admin_token")
    refusal.headers[hdrs.WWW_AUTHENTICATE] = 'Bearer realm="modelproxy"'
    return refusal


async def _refuse_body(request: web.Request) -> web.Response | None:
    """Refuse a body that says what nobody asks for; keep the reason that a verb may be given."""
    body = await request.read()
    if not body:
        return None
    takes_reason = request.path.rpartition("/")[2] in VERBS
    expected = (
        'no body, or a JSON object with "reason" at most'
        if takes_reason
        else "no body, or an empty JSON object"
    )
    if request.content_type != "application/json":
        return _error(415, "expected no body, or Content-Type: application/json")
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        return _error(400, f"expected {expected}; this is not JSON")
    if not isinstance(document, dict) or not set(document) <= ({"reason"} if takes_reason else set()):
        return _error(400, f"expected {expected}")
    if not isinstance(reason := document.get("reason", ""), str):
        return _error(400, "reason: expected text")
    request[_REASON] = reason
    return None


def _is_loopback_name(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _json(document: Mapping[str, Any], status: int = 200) -> web.Response:
    return web.Response(body=orjson.dumps(document), status=status, content_type="application/json")


def _error(status: int, sentence: str) -> web.Response:
    return _json({"error": sentence}, status)

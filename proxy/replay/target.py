"""One model server, asked over HTTP: a call in, an answer or a fault out. Trouble is a value here, never an exception.

Rules
    * Every request is marked ``x-modelproxy-shadow: 1``, so that a server can refuse side effects.
    * Asked for without compression; an answer that comes compressed all the same is handed on as it came, and what
      compares it decodes it. A redirect is an answer like any other.
    * An answer is read up to a cap, as the proxy's side copies are; what is longer is truncated and not read on.
    * Nothing is sent twice, but for one case: a kept connection that the server had closed by the time it was used.
      Then no byte of an answer came, and the server most likely saw nothing. It is counted, for a server that breaks
      off without a word looks the same.
"""

import ssl
from collections.abc import Mapping
from typing import Any, Final

import aiohttp
from yarl import URL

from proxy import __version__
from proxy.clock import monotonic_ns
from proxy.compare import Answer
from proxy.model import Fault
from proxy.replay.calls import Call
from proxy.replay.judging import Asked
from proxy.wire.request import rewrite_target

__all__ = ["Target"]

_KEEP_ALIVE_S: Final = 4.0
"""Less than the shortest common default of model servers (uvicorn's 5 s)."""
_MAX_HEAD_BYTES: Final = 256 * 1024
"""As the proxy's own limit for response heads."""
_CHUNK_BYTES: Final = 64 * 1024


class Target:
    """Where calls go.

    Args:
        url: ``http[s]://host[:port][/path]``; a path replaces the matched prefix, as that of a model in the file does.
        timeout_s: call sent to last byte of its answer.
        connections: most at once.
        cap_bytes: of an answer's body.
        headers: further ones for every call; they replace those of the record.
    """

    def __init__(
        self, url: str, *, timeout_s: float, connections: int, cap_bytes: int, headers: Mapping[str, str]
    ) -> None:
        self.url = url
        parsed = URL(url)
        self._origin = str(parsed.origin())
        self._prefix = parsed.raw_path.rstrip("/").encode()
        self._cap_bytes = cap_bytes
        self._headers = dict(headers)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=connections, keepalive_timeout=_KEEP_ALIVE_S),
            timeout=aiohttp.ClientTimeout(total=timeout_s),
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("content-type", "accept-encoding", "accept"),
            max_line_size=_MAX_HEAD_BYTES,
            max_field_size=_MAX_HEAD_BYTES,
            max_headers=1024,
            trace_configs=[_reuse_trace()],
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()

    async def ask(self, call: Call, matched_prefix: bytes) -> Asked:
        """Send ``call`` and read its answer.

        Args:
            call: what to ask.
            matched_prefix: the part of its path that the target's own path replaces.
        """
        started_ns = monotonic_ns()
        for is_last in (False, True):
            course = _Course()
            try:
                answer = await self._exchange(call, matched_prefix, course)
            except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                if not is_last and course.is_reused and not course.has_begun and _is_stale(error):
                    continue
                return Asked(None, _fault_of(error).label, monotonic_ns() - started_ns, is_last)
            break
        return Asked(answer, None, monotonic_ns() - started_ns, is_last)

    async def _exchange(self, call: Call, matched_prefix: bytes, course: "_Course") -> Answer:
        target = rewrite_target(call.path.encode(), matched_prefix, self._prefix).decode()
        headers = {
            "user-agent": f"modelproxy-replay/{__version__}",
            "accept-encoding": "identity",
            **dict(call.headers),
            **self._headers,
            "x-request-id": call.request_id,
            "x-modelproxy-shadow": "1",
        }
        async with self._session.request(
            call.method,
            URL(self._origin + target, encoded=True),
            data=call.body or None,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=course,
        ) as response:
            course.has_begun = True
            body, is_cut = await self._read(response)
            length = response.headers.get("inference-header-content-length", "")
            return Answer(
                response.status,
                _field(response, "content-type"),
                _field(response, "content-encoding"),
                body,
                is_cut,
                int(length) if length.isascii() and length.isdigit() and len(length) < 10 else None,
            )

    async def _read(self, response: aiohttp.ClientResponse) -> tuple[bytes, bool]:
        """Return the body, and whether it is longer than the cap: then only its head, and the rest is not awaited."""
        if (response.content_length or 0) > self._cap_bytes and response.method != "HEAD":
            response.close()
            return b"", True
        pieces, size = [], 0
        async for piece in response.content.iter_chunked(_CHUNK_BYTES):
            pieces.append(piece)
            size += len(piece)
            if size > self._cap_bytes:
                response.close()
                return b"".join(pieces)[: self._cap_bytes], True
        return b"".join(pieces), False


class _Course:
    """How far an attempt came."""

    __slots__ = ("has_begun", "is_reused")

    def __init__(self) -> None:
        self.is_reused = False
        """It went over a connection that was kept from an earlier one."""
        self.has_begun = False
        """The head of an answer came."""


def _reuse_trace() -> aiohttp.TraceConfig:
    async def note(_session: aiohttp.ClientSession, context: Any, _params: Any) -> None:
        context.trace_request_ctx.is_reused = True

    trace = aiohttp.TraceConfig()
    trace.on_connection_reuseconn.append(note)
    return trace


def _is_stale(error: Exception) -> bool:
    return isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)


def _field(response: aiohttp.ClientResponse, name: str) -> bytes | None:
    value = response.headers.get(name)
    return None if value is None else value.encode("utf-8", "surrogateescape")


def _fault_of(error: Exception) -> Fault:
    """Return how the model failed, in the words of the proxy."""
    if isinstance(error, aiohttp.ConnectionTimeoutError):
        return Fault.CONNECT_TIMEOUT
    if isinstance(error, TimeoutError):
        return Fault.TIMEOUT
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return Fault.TLS
    if isinstance(error, aiohttp.ClientConnectorError):
        return Fault.CONNECT
    if isinstance(error, aiohttp.ClientResponseError | ValueError):
        return Fault.PROTOCOL
    return Fault.RESET

"""Messages to an HTTP server, several at a time, for a thread that may wait.

An answer of 2xx is a success. 408, 425, 429 and 5xx (or what a protocol says instead) may be better the next time; any
other answer will be the same again: a redirect too, because credentials were meant for the address in the file.
"""

import asyncio
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Final, NamedTuple

import aiohttp

__all__ = ["RETRYABLE", "Message", "Posted", "Poster"]

RETRYABLE: Final = frozenset({408, 425, 429, *range(500, 600)})
"""RFC 9110 §15.5.9, RFC 8470 §5.2, RFC 6585 §4, RFC 9110 §15.6."""

_BAD_CONTENT: Final = frozenset({HTTPStatus.BAD_REQUEST, HTTPStatus.UNPROCESSABLE_ENTITY})
"""RFC 9110 §15.5.1 and §15.5.21. Any other refusal is of whoever asks, or of the address."""

_AT_ONCE: Final = 8
_MAX_ANSWER_BYTES: Final = 64 << 10
_MAX_PAUSE_S: Final = 60.0
"""A receiver may ask for so long a pause (RFC 9110 §10.2.3), in seconds alone."""


class Message(NamedTuple):
    """What is posted."""

    headers: Mapping[str, str]
    body: bytes


class Posted(NamedTuple):
    """What became of a message."""

    problem: str
    """Empty: it was taken."""
    is_retryable: bool = False
    pause_s: float = 0.0
    body: bytes = b""
    """Of an answer of 2xx, the first 64 KiB."""
    is_too_large: bool = False
    """It was not taken for its size (RFC 9110 §15.5.14): a smaller one may be."""
    is_bad: bool = False
    """It was not taken for something in it: what is beside that may be."""


class Poster:
    """Posts to one URL. Belongs to one thread, which must not have a running event loop.

    Args:
        url: where to. Never shown: many services put a token there.
        headers: of every message.
        timeout_s: from opening the connection to the whole answer, of one message.
        retryable: status codes after which a message may be sent again.
    """

    def __init__(
        self,
        url: str,
        headers: Mapping[str, str],
        timeout_s: float,
        retryable: frozenset[int] = RETRYABLE,
    ) -> None:
        self._url = url
        self._headers = headers
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._retryable = retryable
        self._runner: asyncio.Runner | None = None
        self._session: aiohttp.ClientSession | None = None

    def post(self, messages: Sequence[Message]) -> list[Posted]:
        """Post ``messages`` and return what became of each. Of many at a time, so their order is not kept."""
        if self._runner is None:
            self._runner = asyncio.Runner(loop_factory=asyncio.new_event_loop)
        return self._runner.run(self._post_all(messages))

    def close(self) -> None:
        """Close the connections."""
        runner, self._runner = self._runner, None
        if runner is not None:
            if self._session is not None:
                runner.run(self._session.close())
                self._session = None
            runner.close()

    async def _post_all(self, messages: Sequence[Message]) -> list[Posted]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=_AT_ONCE),
                # Answers are read as they come, since one of a few bytes may be compressed from gigabytes.
                headers={"accept-encoding": "identity", **self._headers},
                timeout=self._timeout,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        session = self._session
        turns = asyncio.Semaphore(_AT_ONCE)

        async def post(message: Message) -> Posted:
            # The time of a message begins with its turn.
            async with turns:
                return await self._post(session, message)

        return list(await asyncio.gather(*map(post, messages)))

    async def _post(self, session: aiohttp.ClientSession, message: Message) -> Posted:
        try:
            async with session.post(
                self._url, data=message.body, headers=message.headers, allow_redirects=False
            ) as answer:
                body = await _beginning(answer)
        except TimeoutError:
            return Posted(f"no answer within {self._timeout.total:g} s", is_retryable=True)
        except (aiohttp.ClientError, OSError) as error:
            # Their texts may hold the URL, and with it a token.
            return Posted(type(error).__name__, is_retryable=True)
        except ValueError:  # one message must not cost those beside it
            return Posted("a header that cannot be sent")
        if 200 <= answer.status < 300:
            return Posted("", body=body)
        return Posted(
            f"status {answer.status}",
            answer.status in self._retryable,
            _retry_after_s(answer.headers),
            is_too_large=answer.status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            is_bad=answer.status in _BAD_CONTENT,
        )


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return min(float(text), _MAX_PAUSE_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """Return the body, or as much of it as is looked at; then the connection is not used again: it may be endless."""
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _MAX_ANSWER_BYTES:
            answer.close()
            break
    return bytes(body[:_MAX_ANSWER_BYTES])

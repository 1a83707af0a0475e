"""Asks a server for embeddings: several requests at a time, equal texts once, and never an exception for its faults."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final

import aiohttp

from proxy.compare.meaning import Pair, mean_distance
from proxy.compare.vectors import cosine
from proxy.embedder.cache import VectorCache
from proxy.embedder.dialect import Vector, build_body, read_vectors

__all__ = ["Embedder"]

_MAX_ANSWER_BYTES: Final = 16 << 20


class Embedder:
    """A server that turns texts into vectors. Belongs to one loop.

    Args:
        url: where to, with its path. Never shown: it may hold a token.
        model: its name there.
        headers: of every request.
        timeout_s: of one request, to the whole answer.
        max_in_flight: requests at a time; further ones wait.
        max_text: bytes of a text that are sent: its head.
        cache_bytes: of vectors that are kept.
    """

    def __init__(
        self,
        url: str,
        model: str,
        headers: Mapping[str, str],
        *,
        timeout_s: float,
        max_in_flight: int,
        max_text: int,
        cache_bytes: int,
    ) -> None:
        self._url = url
        self._model = model
        self._headers = {"content-type": "application/json", **headers}
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._turns = asyncio.Semaphore(max_in_flight)
        self._max_text = max_text
        self._cache = VectorCache(cache_bytes)
        self._session: aiohttp.ClientSession | None = None

    @classmethod
    def of(cls, embedder: Any) -> "Embedder":
        """Return the one of the section ``embedder``: a :class:`proxy.settings.embedding.Embedder`, or its like."""
        return cls(
            embedder.url.get_secret_value(),
            embedder.model,
            {name: value.get_secret_value() for name, value in embedder.headers.items()},
            timeout_s=embedder.timeout / 1e9,
            max_in_flight=embedder.max_in_flight,
            max_text=embedder.max_text,
            cache_bytes=embedder.cache,
        )

    async def distance(self, pairs: Sequence[Pair]) -> float | None:
        """Return the mean over ``pairs`` of 1 - cosine, in [0, 1]; None where the server did not answer as it should.

        Equal texts are at distance 0, and not asked for.
        """
        heads = [(self._head(text), self._head(other)) for text, other in pairs]
        wanted = list(dict.fromkeys(text for pair in heads if pair[0] != pair[1] for text in pair))
        known = {text: vector for text in wanted if (vector := self._cache.get(text)) is not None}
        missing = [text for text in wanted if text not in known]
        if missing:
            vectors = await self._ask(missing)
            if vectors is None:
                return None
            for text, vector in zip(missing, vectors, strict=True):
                self._cache.put(text, vector)
                known[text] = vector
        if len({len(vector) for vector in known.values()}) > 1:
            return None  # another model answers now than before
        return mean_distance(
            [1.0 if text == other else cosine(known[text], known[other]) for text, other in heads]
        )

    def _head(self, text: str) -> str:
        raw = text.encode("utf-8", "replace")
        return raw[: self._max_text].decode("utf-8", "ignore") if len(raw) > self._max_text else raw.decode()

    async def _ask(self, texts: Sequence[str]) -> list[Vector] | None:
        async with self._turns:
            if self._session is None:
                self._session = aiohttp.ClientSession(
                    timeout=self._timeout, cookie_jar=aiohttp.DummyCookieJar(), headers=self._headers
                )
            try:
                # No redirects: credentials were meant for the address in the file.
                async with self._session.post(
                    self._url, data=build_body(self._model, texts), allow_redirects=False
                ) as answer:
                    if answer.status != 200:
                        return None
                    body = await _read(answer)
            except (TimeoutError, aiohttp.ClientError, OSError, ValueError):
                return None
        return None if body is None else read_vectors(body, len(texts))

    async def close(self) -> None:
        """Close the connections."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()


async def _read(answer: aiohttp.ClientResponse) -> bytes | None:
    body = bytearray()
    async for piece in answer.content.iter_any():
        body += piece
        if len(body) > _MAX_ANSWER_BYTES:
            answer.close()
            return None
    return bytes(body)

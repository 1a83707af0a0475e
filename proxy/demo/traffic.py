"""Drive requests through the proxy as several hundred users and keep what each client saw.

The driver is paced: request *k* is due at ``start + k / rate`` whatever the answers take, up to
``CONCURRENCY`` requests under way. Users come in shuffled rounds, so that everybody visits in every scene.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Sequence

import aiohttp
import numpy as np

from proxy.clock import monotonic
from proxy.demo.facts import Answer
from proxy.demo.oip import parse_answer
from proxy.tasks import spawn

__all__ = ["CONCURRENCY", "Traffic", "VariantScore"]

CONCURRENCY = 48
"""Requests under way at most. Past it the driver waits; the proxy's own queues are never what limits it."""

TIMEOUT_S = 15.0
"""A client gives up after this long; counted as a failed request."""

_RECENT = 400
_SEED = 20


class VariantScore:
    """What the live view shows of one variant, as its clients saw it."""

    def __init__(self) -> None:
        self.requests = 0
        self.failed = 0
        self.right = 0
        """Answers with the digit that the scan shows."""
        self.recent_s: deque[float] = deque(maxlen=_RECENT)
        """Latencies of the latest requests, seconds."""


class Traffic:
    """One run's requests.

    Set ``earliest`` and ``latest`` around each reload; read ``answers`` when it is over.
    """

    def __init__(
        self, url: str, users: Sequence[str], bodies: Sequence[bytes], truth: Sequence[int], rate: float
    ) -> None:
        """Prepare to ask ``url`` about ``bodies``, whose labels are ``truth``, ``rate`` times a second."""
        self.earliest = 0
        """Index of the last step known to be in force everywhere: who starts now meets no older one."""
        self.latest = 0
        """Index of the last step written: a request ending now has met no newer one."""
        self.answers: list[Answer] = []
        self.scores: dict[str, VariantScore] = {}
        self._url = url
        self._users = users
        self._bodies = bodies
        self._truth = truth
        self._rate = rate
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._under_way: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()

    @property
    def failed(self) -> int:
        """Requests without a usable answer so far."""
        return sum(score.failed for score in self.scores.values())

    async def run(self) -> None:
        """Send requests until ``stop``; return when the last one under way has its answer or has failed."""
        random = np.random.default_rng(_SEED)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_S)
        connector = aiohttp.TCPConnector(limit=CONCURRENCY)
        rows = random.permutation(len(self._bodies))
        round_of_users: list[int] = []
        started, number = monotonic(), 0
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while not self._stopping.is_set():
                if not round_of_users:
                    round_of_users = random.permutation(len(self._users)).tolist()
                user, row = self._users[round_of_users.pop()], int(rows[number % len(rows)])
                await self._wait_due(started + number / self._rate)
                await self._slots.acquire()
                number += 1
                task = spawn(self._ask(session, f"demo-{number:06d}", user, row), name=f"request {number}")
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.gather(*self._under_way)

    def stop(self) -> None:
        """Send no further requests."""
        self._stopping.set()

    async def _wait_due(self, due: float) -> None:
        delay = due - monotonic()
        if delay > 0:
            try:
                await asyncio.wait_for(self._stopping.wait(), delay)
            except TimeoutError:
                return

    async def _ask(self, session: aiohttp.ClientSession, request_id: str, user: str, row: int) -> None:
        headers = {"x-request-id": request_id, "x-user-id": user, "content-type": "application/json"}
        earliest, started = self.earliest, monotonic()
        variant, status, label, error = "", 0, None, ""
        try:
            async with session.post(self._url, data=self._bodies[row], headers=headers) as response:
                body = await response.read()
                status, variant = response.status, response.headers.get("x-modelproxy-variant", "")
                if response.headers.get("x-request-id") != request_id:
                    error = "the request id did not come back"
        except (aiohttp.ClientError, TimeoutError) as problem:
            error = f"{type(problem).__name__} {problem}".strip()
        else:
            label = parse_answer(body)
            if not error and (status != 200 or label is None):
                error = body[:120].decode(errors="replace") or "empty answer"
        finally:
            self._slots.release()
        latency_s = monotonic() - started
        self._note(
            Answer(request_id, user, row, earliest, self.latest, variant, status, label, latency_s, error)
        )

    def _note(self, answer: Answer) -> None:
        self.answers.append(answer)
        score = self.scores.setdefault(answer.variant, VariantScore())
        score.requests += 1
        score.failed += bool(answer.error)
        score.right += answer.label == self._truth[answer.row]
        score.recent_s.append(answer.latency_s)

    def by_variant(self) -> Counter[str]:
        """Return how many requests each variant answered so far."""
        return Counter({variant: score.requests for variant, score in self.scores.items()})

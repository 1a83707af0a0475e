"""Drive requests through the proxy as many users and keep what each client saw.

The driver is paced: one request after the other is due, whatever the answers take, up to ``concurrency`` requests
under way. What a slow machine falls behind by more than a moment is not made up for: a burst would only show how
fast everything is when overrun.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Iterator, Sequence

import aiohttp
import numpy as np

from proxy.clock import monotonic
from proxy.demo.facts import Answer
from proxy.demo.oip import parse_answer
from proxy.tasks import spawn

__all__ = ["CONCURRENCY", "Traffic", "VariantScore"]

CONCURRENCY = 48
"""Requests under way at most, by default. Past it the driver waits; the proxy's own queues are never what limits it."""

_BEHIND_S = 0.25
"""So much delay is made up for."""

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
        self,
        url: str,
        visitors: Iterator[str],
        bodies: Sequence[bytes],
        truth: Sequence[int],
        rate: float,
        *,
        caller: str,
        concurrency: int = CONCURRENCY,
    ) -> None:
        """Prepare to ask ``url`` about ``bodies``, whose labels are ``truth``, ``rate`` times a second.

        Args:
            url: where to.
            visitors: who comes next, for ever.
            bodies: what is asked, in random order again and again.
            truth: the right answers.
            rate: requests a second.
            caller: what request ids begin with, up to a dash.
            concurrency: requests under way at most.
        """
        self.earliest = 0
        """Index of the last step known to be in force everywhere: who starts now meets no older one."""
        self.latest = 0
        """Index of the last step written: a request ending now has met no newer one."""
        self.answers: list[Answer] = []
        self.scores: dict[str, VariantScore] = {}
        self._url = url
        self._visitors = visitors
        self._bodies = bodies
        self._truth = truth
        self._rate = rate
        self._caller = caller
        self._concurrency = concurrency
        self._started_s = 0.0
        self._slots = asyncio.Semaphore(concurrency)
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
        connector = aiohttp.TCPConnector(limit=self._concurrency)
        rows = random.permutation(len(self._bodies))
        self._started_s, number = monotonic(), 0
        due_s = self._started_s
        async with aiohttp.ClientSession(timeout=timeout, connector=connector) as session:
            while not self._stopping.is_set():
                user, row = next(self._visitors), int(rows[number % len(rows)])
                due_s = max(due_s + 1 / self._rate, monotonic() - _BEHIND_S)
                await self._wait_due(due_s)
                await self._slots.acquire()
                number += 1
                request_id = f"{self._caller}-{number:06d}"
                task = spawn(self._ask(session, request_id, user, row), name=request_id)
                self._under_way.add(task)
                task.add_done_callback(self._under_way.discard)
            await asyncio.gather(*self._under_way)

    @property
    def now_s(self) -> float:
        """Seconds since the first request was due."""
        return monotonic() - self._started_s

    def stop(self) -> None:
        """Send no further requests."""
        self._stopping.set()

    async def _wait_due(self, due: float) -> None:
        delay = due - monotonic()
        if delay > 0:
            try:
                async with asyncio.timeout(delay):
                    await self._stopping.wait()
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
        latency_s, at_s = monotonic() - started, started - self._started_s
        self._note(
            Answer(
                request_id, user, row, earliest, self.latest, variant, status, label, latency_s, error, at_s
            )
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

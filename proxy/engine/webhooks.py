"""Webhooks: whoever should hear of a decision gets a signed message, sent again until it arrives.

Rules
    * Nobody waits for a receiver. Each has a bounded queue, and a message that finds it full is dropped and counted.
    * A message keeps its ``webhook-id`` at every attempt, so that a receiver can tell a repetition, and is signed anew
      with the time of the attempt, as Standard Webhooks asks for.
    * Anything but a status of 2xx is a failure, a redirect too: the signature was meant for the address in the file.
      After a failure it rests, longer each time, and after some ten hours it gives up.
    * What is on its way survives a restart, if the disk took it. A message whose address is not in the configuration
      any more is dropped.

Source: Standard Webhooks specification 1.0 (headers, signature ``v1``, repetition, ``410 Gone``).
"""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, TypeVar

import aiohttp
import orjson

from proxy import __version__
from proxy.clock import wall_ns
from proxy.engine.store import Delivery, Store, StoreError
from proxy.identifiers import random_bits
from proxy.tasks import spawn

if TYPE_CHECKING:
    from proxy.settings import Webhook

__all__ = ["MAX_IN_FLIGHT", "MAX_QUEUED", "PAUSES_S", "Event", "Shelf", "Webhooks", "event_body", "signature"]

T = TypeVar("T")

MAX_QUEUED: Final = 256
"""Messages to one receiver that wait. A rollout has some twenty decisions."""

MAX_IN_FLIGHT: Final = 4
"""Messages being sent at a time, to one receiver one."""

PAUSES_S: Final = (5.0, 20.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 10800.0, 14400.0)
"""After the first, second … failed attempt, each with up to a fifth more or less. Ten attempts, some ten hours."""

_MAX_RETRY_AFTER_S: Final = 3600.0
"""A receiver may ask for so long a pause (RFC 9110 §10.2.3), in seconds alone."""

_GONE: Final = 410
_LOAD_S: Final = 5.0
_NS: Final = 1_000_000_000
_LONGEST_NS: Final = int(max(PAUSES_S) * 1.25) * _NS

_log = logging.getLogger("modelproxy")


class Event(NamedTuple):
    """Something to tell."""

    key: str
    """What it is about, so that the same event is the same message to a receiver, also after a restart."""
    verdict: str
    """Receivers choose by it."""
    body: bytes
    """JSON."""


def event_body(kind: str, ts: str, facts: Mapping[str, Any]) -> bytes:
    """Return the message: ``type``, ``timestamp`` and ``data``, as Standard Webhooks recommends."""
    return orjson.dumps({"type": kind, "timestamp": ts, "data": facts})


class Shelf(Protocol):
    """Where messages on their way are kept; see :class:`proxy.engine.store_thread.StoreThread`."""

    def submit(self, act: Callable[[Store], T]) -> "asyncio.Future[T]":
        """Have ``act`` done some time; never waits."""

    async def call(self, act: Callable[[Store], T], patience_s: float) -> T:
        """Have ``act`` done and return its result.

        Raises:
            StoreError: that cannot be.
        """


class _Receiver:
    """One entry of ``webhooks`` and what waits for it."""

    def __init__(self, webhook: "Webhook") -> None:
        self.webhook = webhook
        self.waiting: dict[str, Delivery] = {}
        self.is_busy = False

    def next_due(self) -> Delivery | None:
        return None if self.is_busy else min(self.waiting.values(), key=_due, default=None)


class Webhooks:
    """Tells the receivers in force. Belongs to one loop.

    Args:
        shelf: keeps what is on its way.
        clock_ns: wall time.
    """

    def __init__(self, shelf: Shelf, clock_ns: Callable[[], int] = wall_ns) -> None:
        self.delivered = 0
        """Messages that a receiver took."""
        self.failed = 0
        """Messages that were given up."""
        self.dropped = 0
        """Messages that found a queue full, or whose receiver is no longer configured."""
        self.attempts_failed = 0
        self._shelf = shelf
        self._clock_ns = clock_ns
        self._receivers: dict[str, _Receiver] = {}
        self._in_flight: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._session: aiohttp.ClientSession | None = None
        self._own: set[str] | None = set()
        """Messages of this process, until those of earlier ones are loaded: on the disk both look alike."""
        self._loading: asyncio.Task[None] | None = None

    @property
    def queued(self) -> int:
        """Messages on their way."""
        return sum(len(receiver.waiting) for receiver in self._receivers.values())

    def configure(self, webhooks: "Sequence[Webhook]") -> None:
        """Use these receivers from now on. What waits for one that stays goes on waiting."""
        before, self._receivers = self._receivers, {}
        for webhook in webhooks:
            name = _name(webhook)
            receiver = before.pop(name, None) or _Receiver(webhook)
            receiver.webhook = webhook
            self._receivers[name] = receiver
        for gone in before.values():
            self._drop(gone.waiting.values())
        self._wake.set()

    def announce(self, event: Event) -> None:
        """Queue ``event`` for every receiver that wants it. Never waits."""
        now_ns = self._clock_ns()
        fresh = []
        for name, receiver in self._receivers.items():
            if event.verdict not in map(str, receiver.webhook.on):
                continue
            digest = hashlib.sha256(f"{event.key}\n{name}".encode()).hexdigest()
            delivery = Delivery(f"msg_{digest[:32]}", name, now_ns, 0, now_ns, event.body)
            if delivery.id in receiver.waiting:
                continue
            if len(receiver.waiting) >= MAX_QUEUED:
                self.dropped += 1
                _log.warning("webhook %s: its queue is full, a message is dropped", receiver.webhook.receiver)
                continue
            receiver.waiting[delivery.id] = delivery
            fresh.append(delivery)
            if self._own is not None:
                self._own.add(delivery.id)
        if fresh:
            self._shelf.submit(lambda store: store.put_deliveries(fresh))
            self._wake.set()

    async def run(self) -> None:
        """Send what is due until cancelled."""
        try:
            while True:
                self._wake.clear()
                if self._needs_loading and (self._loading is None or self._loading.done()):
                    self._loading = spawn(self._load(), name="webhooks of earlier processes")
                self._start_due()
                # Not wait_for: before Python 3.12 it may swallow a cancellation that meets the wake-up.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._rest_s()):
                        await self._wake.wait()
        finally:
            tasks = {*self._in_flight, *([self._loading] if self._loading else ())}
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks)
            if self._session is not None:
                await self._session.close()

    async def settle(self, timeout_s: float) -> None:
        """Wait until nothing is being sent, but not longer: what was announced last gets its first attempt."""
        loop = asyncio.get_running_loop()
        end_s = loop.time() + timeout_s
        while (left_s := end_s - loop.time()) > 0:
            self._start_due()
            if not self._in_flight:
                return
            await asyncio.wait(self._in_flight, timeout=left_s, return_when=asyncio.FIRST_COMPLETED)

    # Queue

    @property
    def _needs_loading(self) -> bool:
        return self._own is not None and bool(self._receivers)

    async def _load(self) -> None:
        """Take up what an earlier process left."""
        try:
            stored = await self._shelf.call(Store.deliveries, _LOAD_S)
        except StoreError:
            return
        own, self._own = self._own or set(), None
        strays = []
        for delivery in stored:
            receiver = self._receivers.get(delivery.target)
            if delivery.id in own:
                continue
            if receiver is None or len(receiver.waiting) >= MAX_QUEUED:
                strays.append(delivery)
            else:
                receiver.waiting[delivery.id] = delivery
        self._drop(strays)
        self._wake.set()

    def _drop(self, deliveries: Collection[Delivery]) -> None:
        ids = [delivery.id for delivery in deliveries]
        if ids:
            self.dropped += len(ids)
            self._shelf.submit(lambda store: store.drop_deliveries(ids))

    def _start_due(self) -> None:
        now_ns = self._clock_ns()
        for receiver in self._receivers.values():
            if len(self._in_flight) >= MAX_IN_FLIGHT:
                return
            delivery = receiver.next_due()
            # What is due later than any pause was put off by a wall clock that was set back since.
            if delivery is None or 0 < delivery.due_ns - now_ns < _LONGEST_NS:
                continue
            receiver.is_busy = True
            task = spawn(self._attempt(receiver, delivery), name="webhook")
            self._in_flight.add(task)
            task.add_done_callback(self._on_done)

    def _on_done(self, task: "asyncio.Task[None]") -> None:
        self._in_flight.discard(task)
        self._wake.set()

    def _rest_s(self) -> float | None:
        if len(self._in_flight) >= MAX_IN_FLIGHT:
            return None
        due = [found.due_ns for each in self._receivers.values() if (found := each.next_due()) is not None]
        if not due:
            # With an empty queue there is nothing to do, unless the disk has yet to tell what was left.
            return _LOAD_S if self._needs_loading else None
        # A wall clock that was set back must not keep a message waiting: it is looked at again in a while.
        return min(max(min(due) - self._clock_ns(), 0) / _NS, 60.0)

    # One attempt

    async def _attempt(self, receiver: _Receiver, delivery: Delivery) -> None:
        try:
            problem, pause_s = await self._post(receiver.webhook, delivery)
        finally:
            receiver.is_busy = False
        if not problem:
            self.delivered += 1
            self._forget(receiver, delivery)
            return
        self.attempts_failed += 1
        attempts = delivery.attempts + 1
        where = receiver.webhook.receiver
        if pause_s is None or attempts > len(PAUSES_S):
            self.failed += 1
            _log.error("webhook %s: given up after %d attempts: %s", where, attempts, problem)
            self._forget(receiver, delivery)
            return
        if attempts == 1:
            _log.warning("webhook %s: %s; it is tried again", where, problem)
        rest_s = max(_with_jitter(PAUSES_S[attempts - 1]), pause_s)
        later = delivery._replace(attempts=attempts, due_ns=self._clock_ns() + round(rest_s * _NS))
        if delivery.id in receiver.waiting:  # else its receiver went out of the configuration meanwhile
            receiver.waiting[delivery.id] = later
            self._shelf.submit(lambda store: store.put_deliveries([later]))

    def _forget(self, receiver: _Receiver, delivery: Delivery) -> None:
        receiver.waiting.pop(delivery.id, None)
        self._shelf.submit(lambda store: store.drop_deliveries([delivery.id]))

    async def _post(self, webhook: "Webhook", delivery: Delivery) -> tuple[str, float | None]:
        """Send it once; return what went wrong, empty if nothing, and the least pause, None: for ever."""
        headers = _headers(webhook.key, delivery, self._clock_ns() // _NS)
        timeout = aiohttp.ClientTimeout(total=webhook.timeout / _NS)
        try:
            async with self._client().post(
                webhook.url.get_secret_value(),
                data=delivery.body,
                headers=headers,
                timeout=timeout,
                allow_redirects=False,
            ) as response:
                # The answer's body means nothing, and may be endless: the connection is not used again.
                response.close()
        except TimeoutError:
            return f"no answer within {timeout.total:g} s", 0.0
        except Exception as error:  # a message that is neither sent nor put off would be tried without end
            # Their texts may hold the URL, and with it a token.
            return type(error).__name__, 0.0
        if 200 <= response.status < 300:
            return "", 0.0
        if response.status == _GONE:
            return "410 Gone: the receiver wants no more of it", None
        return f"status {response.status}", _retry_after_s(response.headers)

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=MAX_IN_FLIGHT),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
            )
        return self._session


def signature(key: bytes, message_id: str, timestamp_s: int, body: bytes) -> str:
    """Return the value of ``webhook-signature`` (Standard Webhooks 1.0, "Signature scheme", symmetric)."""
    signed = b"%s.%d.%s" % (message_id.encode(), timestamp_s, body)
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def _headers(key: bytes, delivery: Delivery, timestamp_s: int) -> dict[str, str]:
    return {
        "content-type": "application/json",
        "user-agent": f"modelproxy/{__version__}",
        "webhook-id": delivery.id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": signature(key, delivery.id, timestamp_s, delivery.body),
    }


def _name(webhook: "Webhook") -> str:
    """Return what names the receiver on the disk: its URL may hold a token."""
    return hashlib.sha256(webhook.url.get_secret_value().encode()).hexdigest()[:16]


def _retry_after_s(headers: Mapping[str, str]) -> float:
    text = headers.get("retry-after", "")
    return (
        min(float(text), _MAX_RETRY_AFTER_S) if text.isascii() and text.isdigit() and len(text) < 10 else 0.0
    )


def _with_jitter(pause_s: float) -> float:
    return pause_s * (0.8 + 0.4 * (random_bits(2) / 65536))


def _due(delivery: Delivery) -> tuple[int, int]:
    return delivery.due_ns, delivery.created_ns

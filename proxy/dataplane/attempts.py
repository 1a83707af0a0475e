"""What follows when a model fails before the client got a byte: the same model again, the champion, or the failure.

Rules
    * Nothing is sent twice but what the route's ``retry`` and ``fallback`` name, and only while the request is at hand
      as it was sent (up to ``limits.copy``).
    * The assignment stays. The fault is counted to the model that failed, the request to its variant, and the record
      names who served it.
    * Nobody falls back from the champion, and no request whose sender forced a variant does: it asked for that one.

Retries have a budget (A. Cockcroft's "retry storms"; Envoy's ``retry_budget``): with every model down, a request that
is tried twice doubles the load at the worst moment.
"""

from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.exchange import Flag
from proxy.identifiers import random_bits
from proxy.model import Fault
from proxy.routing.table import Route

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["RetryBudget", "has_stand_in", "try_again"]

WINDOW_NS = 10_000_000_000
ALWAYS = 3
"""Retries in a window that the budget always allows, so that quiet routes retry too (Envoy
``min_retry_concurrency``)."""

BACK_OFF_NS = 25_000_000
"""Before the first retry; doubled for each further one, and drawn between half and all of it (Envoy's default base)."""


class RetryBudget:
    """How many retries one worker may make on one route: a percent of the requests that began in the window."""

    __slots__ = ("_began_ns", "_retries", "_started")

    def __init__(self) -> None:
        self._began_ns = -WINDOW_NS
        self._started = 0
        self._retries = 0

    def take(self, percent: float, started: int, now_ns: int) -> bool:
        """Take one retry; False when there is none left.

        Args:
            percent: retries allowed for a hundred requests.
            started: requests of the route so far.
            now_ns: monotonic time.
        """
        if now_ns - self._began_ns >= WINDOW_NS:
            self._began_ns, self._started, self._retries = now_ns, started, 0
        if self._retries >= ALWAYS + (started - self._started) * percent / 100:
            return False
        self._retries += 1
        return True


def try_again(flight: "InFlight", fault: Fault, status: int = 0) -> bool:
    """Begin another attempt, if the route has one for this failure.

    Args:
        flight: a request whose client got no byte of an answer; it has no connection now.
        fault: how its model failed.
        status: what the model answered when that is the fault.

    Returns:
        False when the client must be told.
    """
    route = flight.route
    sent = flight.sent_so_far()
    if not sent:
        return False
    if (fault in route.retry_faults or status in route.retry_codes) and _may_retry(flight):
        flight.retries += 1
        flight.flags |= Flag.RETRIED
        flight.table.slots[flight.variant.slot_retries] += 1
        flight.send_again(sent)
        _resend_soon(flight)
        return True
    if (fault in route.fallback_faults or status in route.fallback_codes) and _may_fall_back(flight):
        flight.fault = fault
        flight.table.slots[flight.variant.slot_fallbacks] += 1
        flight.serving = route.champion
        flight.send_again([flight.head_for(route.champion) + _behind_head(sent[0]), *sent[1:]])
        flight.acquire()
        return True
    return False


def _may_retry(flight: "InFlight") -> bool:
    route, settings = flight.route, flight.route.settings
    if flight.retries >= settings.retry_attempts:
        return False
    budget: RetryBudget = route.retry_budget or RetryBudget()
    route.retry_budget = budget
    return budget.take(float(settings.retry_budget), _started(flight, route), monotonic_ns())


def _started(flight: "InFlight", route: Route) -> int:
    return sum(flight.table.slots[variant.slot_started] for variant in route.variants)


def _resend_soon(flight: "InFlight") -> None:
    pause_ns = BACK_OFF_NS << (flight.retries - 1)
    pause_ns = pause_ns // 2 + random_bits(2) * (pause_ns // 2) // 65_536
    flight.worker.loop.call_later(pause_ns / 1e9, flight.on_backed_off)


def has_stand_in(flight: "InFlight", fault: Fault) -> bool:
    """Tell whether the champion would answer for the model that has failed with ``fault``."""
    return fault in flight.route.fallback_faults and _may_fall_back(flight)


def _may_fall_back(flight: "InFlight") -> bool:
    champion = flight.route.champion
    return flight.serving is not champion and not flight.flags & Flag.FORCED


def _behind_head(data: bytes) -> bytes:
    return data[data.index(b"\r\n\r\n") + 4 :]

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

from math import exp
from typing import TYPE_CHECKING

from proxy.clock import monotonic_ns
from proxy.exchange import Flag
from proxy.identifiers import random_bits
from proxy.model import Fault
from proxy.routing.table import Route, Table

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["RetryBudget", "attach_budgets", "has_stand_in", "try_again"]

WINDOW_NS = 10_000_000_000
"""How long requests and retries weigh: after so long 37 % of what they did."""
ALWAYS = 3
"""Retries in such a time that the budget always allows, so that quiet routes retry too (Envoy
``min_retry_concurrency``)."""

BACK_OFF_NS = 25_000_000
"""Before the first retry; doubled for each further one, and drawn between half and all of it (Envoy's default base)."""


class RetryBudget:
    """How many retries one worker may make on one route: a percent of its recent requests.

    Both are weighed by their age, with a time constant of ``WINDOW_NS``. Requests are not watched one by one: those
    that have begun since the last look are taken for evenly spread over the time since, which is what lets a server
    that dies after hours of peace have the retries of all who are just then with it.

    Args:
        started: requests of the route so far.
        now_ns: monotonic time.
    """

    __slots__ = ("_requests", "_retries", "_seen_ns", "_started")

    def __init__(self, started: int, now_ns: int) -> None:
        self._requests = 0.0
        self._retries = 0.0
        self._started = started
        self._seen_ns = now_ns

    def take(self, percent: float, started: int, now_ns: int) -> bool:
        """Take one retry; False when there is none left.

        Args:
            percent: retries allowed for a hundred requests.
            started: requests of the route so far.
            now_ns: monotonic time.
        """
        self._look(started, now_ns)
        if self._retries + 1 > ALWAYS + self._requests * percent / 100:
            return False
        self._retries += 1
        return True

    def _look(self, started: int, now_ns: int) -> None:
        fresh, age = started - self._started, (now_ns - self._seen_ns) / WINDOW_NS
        left = exp(-age)
        self._requests = self._requests * left + fresh * ((1 - left) / age if age > 0 else 1)
        self._retries *= left
        self._started, self._seen_ns = started, now_ns

    def successor(self, before: int, started: int, now_ns: int) -> "RetryBudget":
        """Return the budget of the same route under another table.

        Args:
            before: requests of the route so far, as this budget's table counts them.
            started: the same, as the other table does.
            now_ns: monotonic time.
        """
        self._look(before, now_ns)
        fresh = RetryBudget(started, now_ns)
        fresh._requests, fresh._retries = self._requests, self._retries
        return fresh


def attach_budgets(table: Table, before: Table | None, now_ns: int) -> None:
    """Give every route of ``table`` its budget; one that was in ``before`` goes on with what it had."""
    known = {route.name: route for route in before.routes} if before is not None else {}
    for route in table.routes:
        old, started = known.get(route.name), _started(table, route)
        if before is not None and old is not None and old.retry_budget is not None:
            route.retry_budget = old.retry_budget.successor(_started(before, old), started, now_ns)
        else:
            route.retry_budget = RetryBudget(started, now_ns)


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
    started, now_ns = _started(flight.table, route), monotonic_ns()
    budget: RetryBudget = route.retry_budget or RetryBudget(started, now_ns)
    route.retry_budget = budget
    return budget.take(float(settings.retry_budget), started, now_ns)


def _started(table: Table, route: Route) -> int:
    return sum(table.slots[variant.slot_started] for variant in route.variants)


def _resend_soon(flight: "InFlight") -> None:
    if flight.retries == 1 and len(flight.serving.model.endpoints) > 1:
        flight.acquire()  # from another server, which has nothing to recover from
        return
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

"""How many requests a model takes at once, found out from how long it takes to answer.

Theory of operation
    A model server that is not full answers in about the same time whatever is under way; one that is full queues, and
    the time grows with the queue. The *gradient* compares both: the time to the first byte that requests take when the
    model is nearly idle (``base``), and what they take now. Every 100 ms that brought answers::

        gradient = clamp(base * (1 + buffer) / median now, 0.5, 2)
        limit    = clamp(limit * gradient + sqrt(limit * gradient), min, max)

    The square root is the headroom by which the limit grows while times stay flat. ``base`` is measured anew every
    minute or so, by letting only ``min`` requests through until 50 have been answered, and at once when the limit has
    stood at ``min`` for five rounds: the model may have become slower for good. This is Envoy's gradient controller
    (adaptive concurrency filter), with the time to the first byte in place of the whole time, since the length of an
    answer of a language model says nothing of its load.

    What is over the limit is answered 503 at once, or by the champion; what is under way is never touched.
"""

from math import sqrt
from statistics import median
from typing import TYPE_CHECKING, Any

from proxy.clock import monotonic_ns
from proxy.identifiers import random_bits
from proxy.model import Fault
from proxy.routing.table import Model, Table

if TYPE_CHECKING:
    from proxy.dataplane.inflight import InFlight

__all__ = ["AdaptiveLimit", "Limits", "enter", "leave"]

ROUND_NS = 100_000_000
CALIBRATION_SAMPLES = 50
STUCK_ROUNDS = 5
"""Rounds at the minimum after which the base is measured again."""
MAX_SAMPLES = 1000
"""Of one round; more would tell no more."""
JITTER = 0.15
"""Part of the interval between calibrations that is drawn, so that workers and replicas do not measure together."""


class AdaptiveLimit:
    """The limit of one model in one worker.

    Args:
        lowest: least requests that are always let through, 1 and up.
        highest: most requests.
        buffer: part of the base by which times may rise before the limit falls.
        every_ns: time between two calibrations.
        now_ns: monotonic time.
    """

    __slots__ = (
        "_base",
        "_base_ns",
        "_buffer",
        "_due_ns",
        "_every_ns",
        "_highest",
        "_is_calibrating",
        "_lowest",
        "_round_ns",
        "_samples",
        "_saved",
        "_slots",
        "_stuck",
        "in_flight",
        "limit",
    )

    def __init__(self, lowest: int, highest: int, buffer: float, every_ns: int, now_ns: int) -> None:
        self._lowest = lowest
        self._highest = highest
        self._buffer = buffer
        self._every_ns = every_ns
        self._base_ns = 0.0
        self._samples: list[int] = []
        self._stuck = 0
        self._saved = lowest
        self._is_calibrating = True
        self._round_ns = now_ns
        self._due_ns = 0
        self._slots: Any = None
        self._base = 0
        self.limit = lowest
        self.in_flight = 0

    @property
    def is_calibrating(self) -> bool:
        """Tell whether the base is being measured."""
        return self._is_calibrating

    def move(self, slots: Any, base: int) -> None:
        """Show the limit under another table from now on.

        Args:
            slots: its tally block; None: no table shows it any more.
            base: slot of ``limit_raised`` there; ``limit_lowered`` follows.
        """
        if slots is not self._slots:
            if self._slots is not None:
                self._slots[self._base + 1] += self.limit
            self._slots, self._base = slots, base
            if slots is not None:
                slots[base] += self.limit

    def _set(self, limit: int) -> None:
        if self._slots is not None:
            raised = limit - self.limit
            self._slots[self._base + (raised < 0)] += abs(raised)
        self.limit = limit

    def enter(self) -> bool:
        """Count a request in; False: there are enough."""
        if self.in_flight >= self.limit:
            return False
        self.in_flight += 1
        return True

    def leave(self, ttfb_ns: int, now_ns: int) -> None:
        """Count a request out.

        Args:
            ttfb_ns: how long its answer took to begin; 0: there was none, which says nothing of load.
            now_ns: monotonic time.
        """
        self.in_flight -= 1
        if ttfb_ns and len(self._samples) < MAX_SAMPLES:
            self._samples.append(ttfb_ns)
        if self._is_calibrating:
            if len(self._samples) >= CALIBRATION_SAMPLES:
                self._calibrate(now_ns)
        elif now_ns - self._round_ns >= ROUND_NS and self._samples:
            self._update(now_ns)

    def _calibrate(self, now_ns: int) -> None:
        self._base_ns = median(self._samples)
        self._samples.clear()
        self._stuck = 0
        self._is_calibrating = False
        self._set(self._saved)
        self._round_ns = now_ns
        self._due_ns = now_ns + self._every_ns + int(self._every_ns * JITTER * random_bits(2) / 65_536)

    def _update(self, now_ns: int) -> None:
        gradient = self._base_ns * (1 + self._buffer) / median(self._samples)
        gradient = min(max(gradient, 0.5), 2.0)
        self._samples.clear()
        self._round_ns = now_ns
        wanted = self.limit * gradient
        self._set(min(max(int(wanted + sqrt(wanted)), self._lowest), self._highest))
        self._stuck = self._stuck + 1 if self.limit == self._lowest < self._highest else 0
        if now_ns >= self._due_ns or self._stuck >= STUCK_ROUNDS:
            self._is_calibrating = True
            self._saved = self.limit
            self._set(self._lowest)


class Limits:
    """The limits of one worker; like pools they outlive tables, so a reload forgets nothing that was learnt."""

    def __init__(self) -> None:
        self._limits: dict[tuple[Any, ...], AdaptiveLimit] = {}

    def attach(self, table: Table) -> None:
        """Give every model of ``table`` that wants one its limit."""
        used: dict[tuple[Any, ...], AdaptiveLimit] = {}
        for model in table.models.values():
            settings = model.settings.adaptive_concurrency
            if settings is None:
                continue
            key = model.name, model.settings
            limit = self._limits.get(key) or AdaptiveLimit(
                settings.min,
                settings.max,
                float(settings.buffer) / 100,
                settings.calibrate_every,
                monotonic_ns(),
            )
            used[key] = model.limit = limit
            limit.move(table.slots, model.slot_limit)
        for key, limit in self._limits.items():
            if key not in used:
                limit.move(None, 0)
        self._limits = used


def enter(flight: "InFlight", model: Model) -> Any:
    """Return what the model's pool says to ``acquire``, or ``Fault.OVERLOAD``."""
    limit: AdaptiveLimit | None = model.limit
    if limit is not None:
        if not limit.enter():
            return Fault.OVERLOAD
        flight.limit = limit
    return model.pool.acquire(flight)


def leave(flight: "InFlight", now_ns: int) -> None:
    """Count ``flight`` out of the limit that it came in under."""
    limit, flight.limit = flight.limit, None
    if limit is not None:
        limit.leave(flight.ttfb_ns, now_ns)

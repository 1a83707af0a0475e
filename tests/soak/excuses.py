"""Whose fault it was: why a client did not get the answer that was due, if the reason is not the proxy."""

from bisect import bisect_left
from collections.abc import Mapping, Sequence

from tests.soak.books import Attempt, Down, End, Entry, Kill
from tests.soak.mix import Kind

__all__ = ["ROUTE_MODELS", "Judge", "is_right"]

ROUTE_MODELS: Mapping[str, tuple[str, ...]] = {  # the champion's first
    "wine": ("v1", "v2", "v3"),
    "chat": ("v1", "v2"),
    "flaky": ("flaky",),
    "": (),
}

LEFT_BEHIND_NS = 2_000_000_000
"""Longer than a worker takes to see that a client has left; shorter than a port takes to be used again."""

_OUR_FAULT_STATUS = (502, 503, 504)


def is_right(entry: Entry) -> bool:
    """Tell whether the client got exactly what the order was to get."""
    order = entry.order
    if entry.wrong:
        return False
    if order.leaves:
        return entry.end is End.LEFT
    if order.kind is Kind.CUT:
        return entry.end is End.CUT and entry.status == 200
    return entry.end is End.WHOLE and entry.status == order.status


class Judge:
    """Knows what was killed when.

    Args:
        kills: workers.
        downs: model servers, with the time they were away.
        attempts: what the models saw, by request id.
    """

    def __init__(
        self, kills: Sequence[Kill], downs: Sequence[Down], attempts: Mapping[str, Sequence[Attempt]]
    ) -> None:
        self._kills = sorted(kills, key=lambda kill: kill.stopped_ns)
        self._times = [kill.stopped_ns for kill in self._kills]
        self._downs = downs
        self._attempts = attempts

    def kill_of(self, entry: Entry, *, left_behind: bool = False) -> Kill | None:
        """Return the kill that hit the connection of ``entry`` before the request was over, if one did.

        Args:
            entry: a client's note.
            left_behind: take a kill for it too that came just after the client had left: the worker may not have seen
                that.
        """
        last_ns = entry.ended_ns + (LEFT_BEHIND_NS if left_behind and entry.end is End.LEFT else 0)
        for kill in self._kills[bisect_left(self._times, entry.opened_ns) :]:
            if kill.stopped_ns > last_ns:
                return None
            if entry.port in kill.ports:
                return kill
        return None

    def excuse(self, entry: Entry) -> str | None:
        """Return why ``entry`` is not what was ordered; None: there is no excuse, the proxy failed it."""
        if entry.wrong or entry.end is End.NO_CONNECTION:
            return None
        if entry.end in (End.CUT, End.BROKEN) and self.kill_of(entry) is not None:
            return "worker killed"
        if entry.end is End.BROKEN:
            return None
        if entry.end is End.CUT or entry.status in _OUR_FAULT_STATUS:
            return self._excuse_of_models(entry)
        return None

    def _excuse_of_models(self, entry: Entry) -> str | None:
        models = ROUTE_MODELS[entry.order.route]
        if entry.end is End.WHOLE and not entry.order.forced and entry.order.kind is not Kind.LARGE_UP:
            # The champion stands in for everybody else; but not once the answer has begun, not for a variant that the
            # client insists on, and not where the request is too long to be at hand still.
            models = models[:1]
        for down in self._downs:
            if down.model in models and down.killed_ns <= entry.ended_ns and down.back_ns >= entry.began_ns:
                return "model killed"
        attempts = self._attempts.get(entry.order.identity, ())
        if any(attempt.outcome == "F" and not attempt.is_copy for attempt in attempts):
            return "model failed as told"
        return None

"""Which rollouts are judged next, when there are more than a tick has time for.

Rules
    * What has not changed is not judged again before :data:`IDLE_NS`: then time itself may have brought something.
    * Who waits longest is next. New events of a canary count like seconds of waiting, up to :data:`MOST_HASTE`: so a
      canary that begins to fail is looked at at once among hundreds, and nobody is passed over for ever.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

__all__ = ["IDLE_NS", "MOST_HASTE", "Candidate", "Turns"]

_SECOND_NS: Final = 1_000_000_000

IDLE_NS: Final = 2 * _SECOND_NS
"""After this time a rollout is judged again, though nothing was counted."""

MOST_HASTE: Final = 10
"""So many seconds of waiting new events are worth at most."""


class Candidate(NamedTuple):
    """A rollout that may be judged."""

    route: str
    mark: tuple[object, ...]
    """Equal as long as there is nothing new to judge."""
    events: int
    """Of its canary, so far."""
    is_pressing: bool = False
    """It is judged in any case: it waits for an answer."""


class _Judged(NamedTuple):
    mark: tuple[object, ...]
    events: int
    at_ns: int


class Turns:
    """Who has been judged when. Pure: no clock."""

    def __init__(self) -> None:
        self._due: set[str] = set()
        self._judged: dict[str, _Judged] = {}

    @property
    def left(self) -> int:
        """Candidates that were due in the last tick and have to wait for the next."""
        return len(self._due)

    def order(self, candidates: Iterable[Candidate], now_ns: int) -> list[str]:
        """Return the routes that are due, the most urgent first; who is no candidate is forgotten.

        Args:
            candidates: every rollout there is.
            now_ns: a clock that never goes back.
        """
        known, self._judged = self._judged, {}
        waits: dict[str, tuple[bool, int]] = {}
        for each in candidates:
            judged = known.get(each.route)
            if judged is None:
                waits[each.route] = (True, now_ns)
                continue
            self._judged[each.route] = judged
            waited_ns = now_ns - judged.at_ns
            if not each.is_pressing and each.mark == judged.mark and waited_ns < IDLE_NS:
                continue
            haste = min(max(each.events - judged.events, 0), MOST_HASTE)
            waits[each.route] = (each.is_pressing, waited_ns + haste * _SECOND_NS)
        self._due = set(waits)
        return sorted(waits, key=lambda route: waits[route], reverse=True)

    def done(self, candidate: Candidate, now_ns: int) -> None:
        """Take down that ``candidate`` is judged, as it was when it was named."""
        self._judged[candidate.route] = _Judged(candidate.mark, candidate.events, now_ns)
        self._due.discard(candidate.route)

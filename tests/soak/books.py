"""What clients, models and troublemakers noted, as values."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tests.soak.mix import Order

__all__ = ["Attempt", "Books", "Down", "End", "Entry", "Kill", "read_attempts"]


class End(StrEnum):
    """How a request ended for its client."""

    WHOLE = "whole"
    """An answer to its last byte."""
    CUT = "cut"
    """A head, and then less than it announced."""
    BROKEN = "broken"
    """The connection ended without a head."""
    LEFT = "left"
    """The client left on purpose."""
    NO_CONNECTION = "no connection"


@dataclass(slots=True)
class Entry:
    """A client's note of one request. Times are monotonic nanoseconds."""

    order: Order
    port: int
    """The client's port."""
    opened_ns: int
    """When the connection was opened."""
    began_ns: int
    ended_ns: int
    end: End
    status: int = 0
    variant: str = ""
    """The variant that answered; empty: the proxy itself."""
    attempt: str = ""
    """The model's own name for what it did."""
    wrong: str = ""
    """What is wrong with a whole answer."""
    event_delays_ns: tuple[int, ...] = ()
    """From the model's writing of an event to its reading."""


@dataclass(slots=True)
class Attempt:
    """A model's note of one request that reached it."""

    name: str
    """``MODEL.PID.NUMBER``."""
    identity: str
    is_copy: bool
    action: str
    seen_ns: int
    outcome: str = ""
    """``A`` answered whole, ``F`` failed as told, ``G`` the other side left; empty: killed before any of them."""
    ended_ns: int = 0
    status: int = 0

    @property
    def model(self) -> str:
        """The model server."""
        return self.name.partition(".")[0]


@dataclass(frozen=True, slots=True)
class Kill:
    """A worker that was stopped, looked at, and killed."""

    worker: int
    stopped_ns: int
    ports: frozenset[int]
    """Ports of the clients it held."""
    open_counts: Mapping[str, int]
    """What its own counters say was under way: ``lost``, and ``failed:MODEL`` for each shadow."""


@dataclass(frozen=True, slots=True)
class Down:
    """A model server that was killed and started again."""

    model: str
    killed_ns: int
    back_ns: int


@dataclass(slots=True)
class Books:
    """Everything that was noted."""

    entries: list[Entry] = field(default_factory=list)
    attempts: dict[str, Attempt] = field(default_factory=dict)
    kills: list[Kill] = field(default_factory=list)
    downs: list[Down] = field(default_factory=list)
    upgrades: list[tuple[int, int]] = field(default_factory=list)
    """From the signal to the end of the processes of the program before."""
    observer_kills: int = 0
    reloads: int = 0
    refused: int = 0

    def by_identity(self) -> dict[str, list[Attempt]]:
        """Return the attempts of each request."""
        found: defaultdict[str, list[Attempt]] = defaultdict(list)
        for attempt in self.attempts.values():
            found[attempt.identity].append(attempt)
        return dict(found)


def read_attempts(lines: Iterable[str]) -> dict[str, Attempt]:
    """Read a model's books (see :mod:`tests.soak.model`); a last line that a kill cut short is left out.

    Raises:
        ValueError: an attempt ends that never began, or ends twice.
    """
    attempts: dict[str, Attempt] = {}
    for line in lines:
        if not line.endswith("\n"):
            continue
        mark, time, name, *rest = line.split()
        if mark == "S":
            attempts[name] = Attempt(name, rest[0], rest[1] == "s", rest[2], int(time))
            continue
        attempt = attempts.get(name)
        if attempt is None or attempt.outcome:
            raise ValueError(f"attempt {name} ends without having begun, or twice")
        attempt.outcome, attempt.ended_ns = mark, int(time)
        if mark == "A":
            attempt.status = int(rest[0])
    return attempts

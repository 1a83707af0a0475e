"""What was predicted for requests whose true answers may come later: remembered for a while, and not for ever.

Pure: time is an argument. Rules
    * Bounded in time, in number and in bytes; the oldest go first, whatever was predicted: to keep those that disagree
      for longer would make the models look worse than they are.
    * An id that is used again names the later request.
    * Of requests that went too early or were too old their names are remembered a little longer, so that a label that
      comes late is called late; one that comes later still is unknown.
    * Which rows were labelled is remembered too: the first word on a row stays.
"""

from collections import OrderedDict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, NamedTuple, TypeVar

from proxy.compare.labels import Label
from proxy.compare.values import Predicted

__all__ = ["MAX_REQUESTS", "Memory", "Remembered", "Side", "compact"]

MAX_REQUESTS: Final = 200_000
"""Requests that are remembered of one route."""

MAX_LATE: Final = 32_768
"""Requests of one route whose names are remembered when nothing else is."""

_ENTRY_BYTES: Final = 600
"""What an entry takes beside its values: objects, the dictionary's place, one more side."""
_VALUE_BYTES: Final = 41
"""And for having got its label."""

K = TypeVar("K")


class Side(NamedTuple, Generic[K]):
    """What one shadow predicted beside the primary."""

    key: K
    """What the outcome is counted for."""
    predicted: Predicted


@dataclass(slots=True)
class Remembered(Generic[K]):
    """One request."""

    arrived_ns: int
    variant: str
    """Who answered the client."""
    unit: int
    """Names who asked."""
    sides: tuple[Side[K], ...]
    labelled: bytearray = field(default_factory=bytearray)
    """Of each row, whether a label came for it; empty: for none."""
    weight: int = 0
    """Bytes that it is taken to occupy in memory."""
    is_saved: bool = False
    """It is put by elsewhere, or is about to be: it can be found there when it is not remembered here any more."""

    @property
    def rows(self) -> frozenset[int]:
        """How many rows there are, as each side has it."""
        return frozenset(side.predicted.rows for side in self.sides)

    def mark(self, rows: Iterable[int]) -> None:
        """Take note that labels came for ``rows``."""
        missing = max(self.rows, default=0) - len(self.labelled)
        self.labelled += bytes(max(0, missing))
        for row in rows:
            self.labelled[row] = 1


class Memory(Generic[K]):
    """The requests of one route.

    Args:
        keep_ns: how long one is remembered.
        budget_bytes: most that all of them may weigh.
    """

    def __init__(self, keep_ns: int, budget_bytes: int, max_requests: int = MAX_REQUESTS) -> None:
        self.keep_ns = keep_ns
        self.budget_bytes = budget_bytes
        self.forgotten = 0
        """Requests that went before their time, for want of room, and are nowhere else."""
        self.weight = 0
        self._max_requests = max_requests
        self._entries: OrderedDict[int, Remembered[K]] = OrderedDict()
        """By name, the oldest first."""
        self._late: OrderedDict[int, None] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def add(self, name: int, entry: Remembered[K]) -> None:
        """Remember one more; what there is no room for any more is forgotten."""
        entry.weight = _weight(entry.sides)
        if (before := self._entries.pop(name, None)) is not None:
            self.weight -= before.weight
        self._late.pop(name, None)
        self._entries[name] = entry
        self.weight += entry.weight
        self.expire(entry.arrived_ns)
        while self.weight > self.budget_bytes or len(self._entries) > self._max_requests:
            self.forgotten += not self._forget().is_saved

    def find(self, name: int, now_ns: int) -> Remembered[K] | Literal["late", "unknown"]:
        """Return what is remembered of a request."""
        self.expire(now_ns)
        found = self._entries.get(name)
        if found is not None:
            return found
        return "late" if name in self._late else "unknown"

    def expire(self, now_ns: int) -> None:
        """Forget what is too old."""
        while self._entries and now_ns - next(iter(self._entries.values())).arrived_ns > self.keep_ns:
            self._forget()

    def keep_only(self, keys: Collection[K]) -> None:
        """Forget what would be counted for anything but ``keys``."""
        for name, entry in list(self._entries.items()):
            sides = tuple(side for side in entry.sides if side.key in keys)
            if not sides:
                self._remove(name)
            elif len(sides) < len(entry.sides):
                entry.sides = sides

    def _forget(self) -> Remembered[K]:
        return self._remove(next(iter(self._entries)))

    def _remove(self, name: int) -> Remembered[K]:
        entry = self._entries.pop(name)
        self.weight -= entry.weight
        self._late[name] = None
        if len(self._late) > MAX_LATE:
            self._late.popitem(last=False)
        return entry


def compact(sides: Sequence[Side[K]]) -> tuple[Side[K], ...]:
    """Return the sides with their predictions as small as they can be: equal ones are one."""
    found: list[Side[K]] = []
    known: dict[tuple[Label, ...], tuple[Label, ...]] = {}
    for key, predicted in sides:
        primary, shadow = (
            None if values is None else _shared(known, tuple(values))
            for values in (predicted.primary, predicted.shadow)
        )
        found.append(Side(key, Predicted(primary, shadow, predicted.is_number)))
    return tuple(found)


def _shared(
    known: dict[tuple[Label, ...], tuple[Label, ...]], values: tuple[Label, ...]
) -> tuple[Label, ...]:
    try:
        found = known.setdefault(values, values)
    except TypeError:  # a value that has no hash
        return values
    # 1, 1.0 and true are equal, and so is their hash: any of them stands for the others, as it does for labels.
    return found


def _weight(sides: Sequence[Side[K]]) -> int:
    seen: dict[int, Sequence[Label]] = {}
    for side in sides:
        for values in (side.predicted.primary, side.predicted.shadow):
            if values is not None:
                seen[id(values)] = values
    texts = sum(
        _length(value) for values in seen.values() for value in values if isinstance(value, str | tuple)
    )
    return (
        _ENTRY_BYTES * max(1, len(sides))
        + sum(_VALUE_BYTES * len(values) for values in seen.values())
        + texts
    )


def _length(value: Label) -> int:
    if isinstance(value, str):
        return 48 + 4 * len(value)
    if isinstance(value, tuple):
        return 56 + sum(_VALUE_BYTES + _length(each) for each in value)
    return 0

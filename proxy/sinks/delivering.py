"""Batches of records to an HTTP server: what was not taken and may be the next time is offered again.

A record may be in several messages (its two events), and a message may hold many records (a batch). A record is written
when all its messages were taken, failed when one never will be, and else is sent again as a whole: what its receiver
had taken of it comes a second time, with the same ids.

A message that is too large for its receiver (413) is sent again in halves, and these in halves, down to the record that
is too large by itself: it alone fails. How large messages may be is learnt from that, so that the next ones are not
refused first; never from a receiver that takes nothing at all.

So is one with something in it that its receiver does not take (400, 422), as far as a bounded number of messages goes:
a receiver that takes nothing at all looks the same at first, and is not to be flooded.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final, Generic, NamedTuple, TypeVar

import orjson

from proxy.sinks.posting import Message, Posted, Poster
from proxy.sinks.sink import Entry, Result, Token

__all__ = ["HttpWriter", "Parcel"]

T = TypeVar("T")

_SEARCH_MESSAGES: Final = 64
"""Sent more than need be for one batch to find what is bad in it: a record among a thousand costs twenty. What is still
refused then has failed together."""


class Parcel(NamedTuple):
    """A message, and the records that are in it."""

    message: Message
    positions: Sequence[int]
    """Of the records in their batch."""


class _Fate(IntEnum):
    """What became of a record; of several messages the worst counts."""

    WRITTEN = 0
    AGAIN = 1
    FAILED = 2


class HttpWriter(Generic[T]):
    """Brings records to an HTTP server. A :class:`proxy.sinks.sink.Writer`.

    Args:
        poster: sends.
        build: makes of a record what stands in messages.
        pack: makes messages of what ``build`` gave, each with its position in the batch.
        refused: how many records of a message that was taken were not, by the body of the answer.
    """

    held_bytes = 0

    def __init__(
        self,
        poster: Poster,
        build: Callable[[Mapping[str, Any]], T],
        pack: Callable[[Sequence[tuple[int, T]]], Sequence[Parcel]],
        refused: Callable[[bytes], int] = lambda _: 0,
    ) -> None:
        self._poster = poster
        self._build = build
        self._pack = pack
        self._refused = refused
        self._too_large: int | None = None
        """Bytes of the smallest message that was refused for its size and taken in parts."""

    def write(self, entries: Sequence[Entry]) -> Result:
        """Send ``entries``."""
        fates = [_Fate.WRITTEN] * len(entries)
        built: list[tuple[int, T]] = []
        problem, pause_s = "", 0.0
        for position, entry in enumerate(entries):
            try:
                built.append((position, self._build(orjson.loads(entry.line))))
            except Exception as error:  # one record that is not as expected must not spoil the others
                fates[position], problem = _Fate.FAILED, type(error).__name__
        for parcel, posted in self._deliver(dict(built)):
            problem, pause_s = posted.problem or problem, max(pause_s, posted.pause_s)
            for position, fate in zip(parcel.positions, self._fates(parcel, posted), strict=True):
                fates[position] = max(fates[position], fate)
        if not problem and _Fate.FAILED in fates:
            problem = "some records were refused"
        return Result(
            written=_tokens(entries, fates, _Fate.WRITTEN),
            failed=_tokens(entries, fates, _Fate.FAILED),
            again=[entry for entry, fate in zip(entries, fates, strict=True) if fate is _Fate.AGAIN],
            problem=problem,
            pause_s=pause_s,
        )

    def _deliver(self, built: Mapping[int, T]) -> list[tuple[Parcel, Posted]]:
        """Send what was built, by position, and return what became of each message that was not sent again in parts.

        Of n records in a message that is at most 2 n - 1 messages, in log2(n) rounds.
        """
        delivered, whole, left = [], [], _SEARCH_MESSAGES
        waiting = self._fitting(built, self._pack(list(built.items())))
        while waiting:
            answers = self._poster.post([parcel.message for parcel in waiting])
            halves: list[Parcel] = []
            for parcel, posted in zip(waiting, answers, strict=True):
                if len(parcel.positions) > 1 and posted.is_too_large:
                    whole.append(parcel)
                    halves += self._halves(built, parcel)
                elif len(parcel.positions) > 1 and posted.is_bad and left > 0:
                    left -= 2
                    halves += self._halves(built, parcel)
                else:
                    delivered.append((parcel, posted))
            waiting = halves
        if whole and any(not posted.problem for _, posted in delivered):
            self._too_large = min(len(parcel.message.body) for parcel in whole)
        return delivered

    def _fitting(self, built: Mapping[int, T], parcels: Sequence[Parcel]) -> list[Parcel]:
        """Return ``parcels`` with those in halves that are as large as one that was refused."""
        fitting: list[Parcel] = []
        for parcel in parcels:
            if (
                self._too_large is None
                or len(parcel.message.body) < self._too_large
                or len(parcel.positions) < 2
            ):
                fitting.append(parcel)
            else:
                fitting += self._fitting(built, self._halves(built, parcel))
        return fitting

    def _halves(self, built: Mapping[int, T], parcel: Parcel) -> list[Parcel]:
        positions, middle = parcel.positions, len(parcel.positions) // 2
        return [
            half
            for part in (positions[:middle], positions[middle:])
            for half in self._pack([(position, built[position]) for position in part])
        ]

    def _fates(self, parcel: Parcel, posted: Posted) -> list[_Fate]:
        count = len(parcel.positions)
        if posted.problem:
            return [_Fate.AGAIN if posted.is_retryable else _Fate.FAILED] * count
        # Which ones it refused it does not say. They must not be sent again, so it only matters how many.
        refused = max(0, min(self._refused(posted.body), count))
        return [_Fate.FAILED] * refused + [_Fate.WRITTEN] * (count - refused)

    def tick(self) -> Result:
        """Do nothing: nothing is held."""
        return Result()

    def close(self) -> Result:
        """Close the connections."""
        self._poster.close()
        return Result()


def _tokens(entries: Sequence[Entry], fates: Sequence[_Fate], wanted: _Fate) -> list[Token]:
    return [entry.token for entry, fate in zip(entries, fates, strict=True) if fate is wanted]

"""True answers that are quicker than the comparison of the answers they are about.

An answer reaches the observer some 10 ms after the client has it, and is compared when the slowest shadow has answered
too. Who labels a test set, one request after the other, posts before that; so what is on its way is waited for,
a little.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

from proxy.observer.pairing import Pair

__all__ = ["MAX_MISSING", "MAX_WAITING", "PATIENCE_S", "Early", "is_among"]

PATIENCE_S: Final = 2.0
"""Longer nobody is kept waiting: clients give up after five seconds."""

MAX_WAITING: Final = 64
"""Posts that wait at a time; another one is answered at once."""

MAX_MISSING: Final = 1000
"""Of one post. Who has more at once has not just got them; and all are looked for each time."""

_PAUSES_S: Final = (0.01, 0.03, 0.06)
_LAST_PAUSE_S: Final = 0.1
"""Once it is seen to wait for a shadow; all pairs are looked through for it."""


class Early:
    """Waits for comparisons on behalf of those who have true answers already.

    Args:
        is_coming: whether one of these requests, by id, may still be on its way to be compared.
    """

    def __init__(self, is_coming: Callable[[Collection[bytes]], bool]) -> None:
        self._is_coming = is_coming
        self._waiting = 0

    async def wait(self, missing: Callable[[], Collection[bytes]]) -> None:
        """Wait until nothing is missing, or nothing that is comes any more.

        Args:
            missing: returns the ids of the requests that are not known.
        """
        if self._waiting >= MAX_WAITING or not 0 < len(missing()) <= MAX_MISSING:
            return
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE_S):
                    await self._look(missing)
        finally:
            self._waiting -= 1

    async def _look(self, missing: Callable[[], Collection[bytes]]) -> None:
        for pause_s in _PAUSES_S:  # so long anything may be on its way
            await asyncio.sleep(pause_s)
            if not (ids := missing()):
                return
        while ids and self._is_coming(ids):
            await asyncio.sleep(_LAST_PAUSE_S)
            ids = missing()


def is_among(pairs: Iterable[Pair], ids: Collection[bytes]) -> bool:
    """Return whether one of ``pairs`` is that of a request with one of these ids."""
    return any(pair.primary is not None and pair.primary.request_id in ids for pair in pairs)

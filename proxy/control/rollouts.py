"""Where every rollout stands, kept in memory and in the book.

Rules
    * What lowers a canary's weight never waits for the disk for long, and never fails because of it. What raises one by
      the engine's decision takes effect only after the book says so: a restart would forget it otherwise.
    * A restart never brings back a canary that was taken off: where the disk takes no new book when a weight falls, the
      old one is made unbelievable (:meth:`proxy.control.book.Book.outdate`).
    * Nor does a file that lacks a route, or its rollout, for a while: what was rolled back or paused when it went is
      remembered (:func:`proxy.control.matching.remembered`).
    * A book that could not be written is tried again until it is what is in memory.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from proxy.control.book import Book, Content, Entry
from proxy.control.engine_clock import start_clock
from proxy.control.matching import Matched, match, remembered, rollout_documents
from proxy.settings import Settings
from proxy.tasks import spawn

__all__ = ["BOOK_PATIENCE_S", "FALL_PATIENCE_S", "Rollouts", "fresh_id"]

BOOK_PATIENCE_S = 5.0
"""A disk that takes longer for the book counts as one that refuses it."""

FALL_PATIENCE_S = 1.0
"""The same, when a canary is to be taken off meanwhile. What is written late is written all the same."""

RETRY_S = 2.0
"""Between two attempts to write a book that the disk refused."""

_log = logging.getLogger("modelproxy")


class Rollouts:
    """The rollouts of one supervisor.

    Args:
        book: where they are kept; read once, here.
        counts_go_on: the program before was upgraded: what it counted goes on. Otherwise counters begin at 0.
    """

    def __init__(self, book: Book, *, counts_go_on: bool = False) -> None:
        self._book = book
        reading = book.read()
        if reading.warning:
            _log.error("%s; rollouts that are not known are held at 0 %%", reading.warning)
        content = reading.content
        self.entries: Mapping[str, Entry] = content.entries
        """By route. What is wanted: a table may lag behind it."""
        self.ended = content.ended
        """Rollouts that the file does not have any more, oldest first."""
        self.warning = reading.warning
        """What was wrong with the book at the start; empty: nothing."""
        self._unknown = reading.unknown
        states = [entry.state for entry in content.entries.values()]
        latest = max((max(s.since_ns, s.started_ns, s.promoted_ns) for s in states), default=0)
        self.clock = start_clock(content.clock, max(latest, content.now_ns))
        counted = content if counts_go_on else Content()
        self._decisions = {route: dict(verdicts) for route, verdicts in counted.decisions.items()}
        self.stale = counted.stale
        """Requests about a state that was over, also under the programs before."""
        self.failures = counted.failures
        """How often the book could not be written, likewise."""
        self._is_kept = book.exists()
        # One thread: what is written later is written after what was written before.
        self._disk = ThreadPoolExecutor(1, thread_name_prefix="book of rollouts")
        self._retry: asyncio.Task[None] | None = None

    def match(self, settings: Settings) -> Matched:
        """Return what becomes of the rollouts under ``settings``; nothing is changed yet."""
        return match(self.entries, settings, self.clock.now_ns(), fresh_id, self._unknown, self.ended)

    def count(self, route: str, verdict: str) -> None:
        """Count a verdict."""
        verdicts = self._decisions.setdefault(route, {})
        verdicts[verdict] = verdicts.get(verdict, 0) + 1

    def totals(self) -> dict[str, dict[str, int]]:
        """Return how often each verdict was applied, by route."""
        return {route: dict(verdicts) for route, verdicts in self._decisions.items()}

    def describe(self) -> dict[str, Any]:
        """Return what the observer is told, as JSON values."""
        return {
            "states": list(rollout_documents(self.entries)),
            "clock_offset_ns": self.clock.offset_ns,
            "decisions": self.totals(),
            "book_is_written": self._retry is None,
        }

    def adopt(self, entries: Mapping[str, Entry], settings: Settings) -> None:
        """Take ``entries`` for what is wanted, under ``settings``."""
        self.ended = remembered(self.ended, self.entries, entries, self.clock.now_ns())
        self.entries = entries
        names = {route.name for route in settings.routes}
        self._decisions = {route: counted for route, counted in self._decisions.items() if route in names}
        # What was unknown has an entry by now, or its route has no rollout: a later one is new.
        self._unknown = frozenset()

    async def write(self, entries: Mapping[str, Entry], *, falls: bool = False) -> bool:
        """Write the book with ``entries``; False when the disk refuses it, or takes too long.

        Nothing is written as long as there never was a rollout.

        Args:
            entries: what is wanted from now on, if the caller adopts it.
            falls: a weight is lower than the book has it: should this fail, the book is made unbelievable.
        """
        if not (entries or self.entries or self._is_kept):
            return True
        patience_s = FALL_PATIENCE_S if falls else BOOK_PATIENCE_S
        try:
            await self._do(self._book.write, self._content(entries), patience_s=patience_s)
        except TimeoutError:
            # What hangs is in front of all else that could be done about the book.
            self._fail(f"it takes longer than {patience_s:g} s")
            return False
        except OSError as error:
            self._fail(error.strerror)
            if falls:
                await self._outdate()
            return False
        self._is_kept = True
        return True

    async def flush(self) -> bool:
        """Write the book as it is in memory, for the program after; False when that cannot be."""
        return await self.write(self.entries)

    def close(self) -> None:
        """Try no more."""
        if self._retry is not None:
            self._retry.cancel()
        self._disk.shutdown(wait=False)

    def _content(self, entries: Mapping[str, Entry]) -> Content:
        now_ns = self.clock.now_ns()
        ended = remembered(self.ended, self.entries, entries, now_ns)
        return Content(entries, self.totals(), self.clock, now_ns, ended, self.stale, self.failures)

    async def _do(self, act: Callable[..., None], *arguments: Any, patience_s: float) -> None:
        future = asyncio.get_running_loop().run_in_executor(self._disk, act, *arguments)
        async with asyncio.timeout(patience_s):
            await future

    def _fail(self, reason: str | None) -> None:
        self.failures += 1
        _log.error("%s: cannot write the book of rollouts: %s", self._book.path, reason)
        if self._retry is None:
            self._retry = spawn(self._keep_trying(), name="book of rollouts")

    async def _outdate(self) -> None:
        path = self._book.path
        try:
            await self._do(self._book.outdate, patience_s=FALL_PATIENCE_S)
        except (OSError, TimeoutError) as error:
            _log.error(
                "%s: cannot be set aside either (%s): should the proxy be restarted before the disk recovers, a canary "
                "that was taken off comes back",
                path,
                error.strerror or "it takes too long",
            )
        else:
            _log.error(
                "%s: set aside; should the proxy be restarted now, every rollout is held at 0 %%", path
            )

    async def _keep_trying(self) -> None:
        written: Mapping[str, Entry] | None = None
        # What is wanted may have changed while it was written.
        while written is not self.entries:
            await asyncio.sleep(RETRY_S)
            wanted, loop = self.entries, asyncio.get_running_loop()
            with contextlib.suppress(OSError):
                # Also one that hangs is waited for: it is in front of all the others.
                await loop.run_in_executor(self._disk, self._book.write, self._content(wanted))
                written = wanted
        self._retry = None
        _log.info("%s: the book of rollouts is written again", self._book.path)


def fresh_id() -> str:
    """Return 16 hex digits that no rollout had before."""
    return os.urandom(8).hex()

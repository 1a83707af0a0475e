"""A sink: records on their way to one place, through a bounded queue and a thread of its own.

The disk, the collector, the broker may be slow, full or gone; the event loop never waits for them, and no sink waits
for another. What does not fit into the queue is dropped, what the writer cannot bring there is failed, and both are
counted. A sink tries again by itself, with growing pauses, for as long as the process lives.

Rules
    * ``taken = written + failed`` once nothing waits; what was offered and not taken is ``dropped``.
    * A writer is called by the sink's thread alone, and says of each record once what became of it, then or later.
    * Nothing that a writer raises ends the thread: its records have failed.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol, TypeAlias

from proxy.clock import monotonic_ns
from proxy.plural import count
from proxy.sinks.counts import SinkCounts

__all__ = ["NOBODYS", "Entry", "Result", "Settled", "Sink", "Token", "Writer"]

Token: TypeAlias = tuple[int, int, int]
"""Whose record it is: worker, table version, route."""

NOBODYS: Final[Token] = (-1, 0, 0)
"""Of a line that is no inference's: nobody counts it but the sink."""

Settled: TypeAlias = Callable[[Sequence[Token], Sequence[Token]], None]
"""Called in the sink's thread with the tokens of the records that were written, and of those that failed."""

_BATCH_BYTES: Final = 1 << 20
_GATHER_S: Final = 0.05
"""A lone record waits this long for others: 20 writes a second at most, and a reader sees it at once."""
_IDLE_S: Final = 1.0
"""How often the writer of an idle sink may look at the time."""
_RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
"""Pauses after the first, second … failure in a row; the last one repeats."""
_LAST_RETRY_S: Final = 0.1
"""While the sink is being closed."""
_PATIENCE_NS: Final = 300_000_000_000
"""A record that is offered again and again for so long has failed: what its receiver can never take must not stop all
that comes after it."""

_log = logging.getLogger("modelproxy")


class Entry(NamedTuple):
    """A record that waits."""

    line: bytes
    """JSON, with its newline."""
    token: Token


class Result(NamedTuple):
    """What became of records: of those that were just given to the writer, and of those that it held."""

    written: Sequence[Token] = ()
    failed: Sequence[Token] = ()
    again: Sequence[Entry] = ()
    """Of those just given: to be given once more after a pause, in this order. The writer holds what it does not
    name."""
    problem: str = ""
    """What is wrong, for an operator; empty: nothing. Never holds a secret."""
    pause_s: float = 0.0
    """The least pause that the receiver asked for."""


class Writer(Protocol):
    """Brings records to where they belong. Every call may wait for it."""

    @property
    def held_bytes(self) -> int:
        """Memory of the records that it has taken and not settled. Read by any thread."""

    def write(self, entries: Sequence[Entry]) -> Result:
        """Take ``entries``, at least one."""

    def tick(self) -> Result:
        """Do what is due though nothing came."""

    def close(self) -> Result:
        """Settle everything that is held."""


class Sink:
    """A queue of records, and the thread that has them written.

    Args:
        name: of the metrics and the log.
        writer: belongs to the thread.
        queue_bytes: how much may wait, with what the writer holds.
        on_settled: told what became of each record that was taken.
        counts: what became of them all.
        is_eager: begin at once, not with the first record: the writer has something to do by the clock.
        patience_ns: see ``_PATIENCE_NS``.
    """

    def __init__(
        self,
        name: str,
        writer: Writer,
        queue_bytes: int,
        on_settled: Settled | None = None,
        counts: SinkCounts | None = None,
        *,
        is_eager: bool = False,
        patience_ns: int = _PATIENCE_NS,
    ) -> None:
        self.name = name
        self.counts = counts or SinkCounts()
        self._writer = writer
        self._queue_bytes = queue_bytes
        self._on_settled = on_settled
        self._patience_ns = patience_ns
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._deadline_ns = 0
        """While closing: when to stop offering records again."""
        self._failures = 0
        """Results in a row with something wrong."""
        self._refusals = 0
        """Of those the last ones that brought nothing to its place: the more, the longer the pause."""
        self._problem = ""
        self._refused_ns: dict[int, int] = {}
        """Entry that waits to be offered again (by identity) → since when."""
        self._thread: threading.Thread | None = None
        if is_eager:
            self._start()

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait, including those being written."""
        return self._bytes + self._writer.held_bytes

    @property
    def is_failing(self) -> bool:
        """Whether the last attempt failed."""
        return self._failures > 0

    @property
    def problem(self) -> str:
        """What is wrong; empty when the last attempt was a success."""
        return self._problem

    def has_room(self) -> bool:
        """Tell whether another record would be taken."""
        return self.queued_bytes < self._queue_bytes and not self._is_closing

    def submit(self, line: bytes, token: Token) -> bool:
        """Queue ``line``; False if there is no room, which is counted. Never waits.

        Whether there is room does not depend on the line: else the records that are left under too much load would be
        the short ones. So the queue may be exceeded by one.
        """
        with self._changed:
            if not self.has_room():
                self.counts.dropped()
                return False
            if self._thread is None:
                # Started with the first record: most routes log nothing, and a thread is not free.
                self._start()
            before = self._bytes
            self._entries.append(Entry(line, token))
            self._bytes += len(line)
            self.counts.taken()
            if before == 0 or before < _BATCH_BYTES <= self._bytes:
                self._changed.notify()
        return True

    def drop(self) -> None:
        """Count a record that was not even built, because no sink had room."""
        self.counts.dropped()

    def begin_to_close(self, timeout_s: float) -> None:
        """Take no more, and offer nothing again after ``timeout_s``."""
        with self._changed:
            self._is_closing = True
            self._deadline_ns = monotonic_ns() + int(timeout_s * 1e9)
            self._changed.notify()

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end the thread; wait at most ``timeout_s``. False if the writer was too slow."""
        self.begin_to_close(timeout_s)
        return self.wait_closed(timeout_s)

    def wait_closed(self, timeout_s: float) -> bool:
        """Wait for the end of the thread, after :meth:`begin_to_close`; False if it takes longer than ``timeout_s``."""
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # The thread

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._run, name=f"sink {self.name}", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            result = self._patient(self._guarded(batch, self._act(batch)))
            self._settle(batch, result)
            if result.again or result.failed:
                self._rest(result.pause_s)
        self._settle((), self._guarded((), self._writer.close))

    def _act(self, batch: Sequence[Entry]) -> Callable[[], Result]:
        return partial(self._writer.write, batch) if batch else self._writer.tick

    def _guarded(self, batch: Sequence[Entry], act: Callable[[], Result]) -> Result:
        try:
            return act()
        except Exception as error:  # a thread that ends would leave every later record without an outcome
            # Not its text: a bug's may quote a record.
            return Result(failed=[entry.token for entry in batch], problem=type(error).__name__)

    def _patient(self, result: Result) -> Result:
        """Return ``result``; what can never be written, or not in the time that is left, has failed in it."""
        if not result.again:
            self._refused_ns = {}
            return result
        now_ns = monotonic_ns()
        is_over = self._is_closing and now_ns >= self._deadline_ns and not result.written
        failed, again, refused_ns = list(result.failed), [], {}
        for entry in result.again:
            since_ns = self._refused_ns.get(id(entry), now_ns)
            if is_over or now_ns - since_ns >= self._patience_ns:
                failed.append(entry.token)
            else:
                again.append(entry)
                refused_ns[id(entry)] = since_ns
        self._refused_ns = refused_ns
        return result._replace(failed=failed, again=again)

    def _settle(self, batch: Sequence[Entry], result: Result) -> None:
        with self._changed:
            self._bytes -= sum(len(entry.line) for entry in batch)
            self._bytes += sum(len(entry.line) for entry in result.again)
            self._entries.extendleft(reversed(result.again))
        self._note(result)
        self.counts.settled(len(result.written), len(result.failed))
        if self._on_settled is not None and (result.written or result.failed):
            self._on_settled(result.written, result.failed)

    def _take(self) -> list[Entry] | None:
        """Wait for records and return some; none after an idle while, None when the sink is closing and all is
        written."""
        with self._changed:
            if not self._entries and not self._is_closing:
                self._changed.wait(_IDLE_S)
            if not self._entries:
                return None if self._is_closing else []
            if self._bytes < _BATCH_BYTES and not self._is_closing:
                self._changed.wait(_GATHER_S)
            batch: list[Entry] = []
            size = 0
            while self._entries and size < _BATCH_BYTES:
                batch.append(self._entries.popleft())
                size += len(batch[-1].line)
            return batch

    def _note(self, result: Result) -> None:
        # With something written the place is there: what it refuses of the rest is no reason to wait longer.
        self._refusals = bool(result.problem) + (0 if result.written else self._refusals)
        if not result.problem:
            if not result.written:
                return  # nothing was tried, or nobody knows yet: what was wrong may still be
            if self._failures:
                _log.warning("sink %s: writing again", self.name)
            self._failures, self._problem = 0, ""
            return
        self._problem = result.problem
        if not self._failures:
            lost = f"; {count(len(result.failed), 'record')} lost" if result.failed else ""
            _log.error("sink %s: %s%s, trying again", self.name, result.problem, lost)
        self._failures += 1

    def _rest(self, least_s: float) -> None:
        pause_s = max(_RETRY_S[min(max(self._refusals, 1), len(_RETRY_S)) - 1], least_s)
        with self._changed:
            if not self._is_closing:
                self._changed.wait_for(lambda: self._is_closing, pause_s)
            elif self._entries:
                self._changed.wait(_LAST_RETRY_S)

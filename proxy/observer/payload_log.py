"""The payload log: lines on their way to the disk, through a bounded queue and a thread of its own.

The disk may be slow, full or gone; the event loop never waits for it. What does not fit into the queue is
the caller's to count as dropped; what the disk refuses is reported as failed. The log tries again by
itself, with growing pauses, for as long as the process lives.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

from proxy.clock import wall_ns
from proxy.observer.rolling import FileLimits, RollingFile

__all__ = ["PayloadLog", "Settled", "Token"]

Token: TypeAlias = tuple[int, int, int]
"""Whose line it is: worker, table version, route."""

Settled: TypeAlias = Callable[[Sequence[Token], Sequence[Token]], None]
"""Called in the log's thread with the tokens of the lines that were written, and of those that failed."""

_BATCH_BYTES: Final = 1 << 20
_GATHER_S: Final = 0.05
"""A lone line waits this long for others: 20 writes a second at most, and a reader of the file sees it at
once."""
_IDLE_S: Final = 1.0
"""How often an idle log looks whether its file is too old."""
_RETRY_S: Final = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
"""Pauses after the first, second … failure in a row; the last one repeats."""

_log = logging.getLogger("modelproxy")


class PayloadLog:
    """A queue of lines and the thread that writes them.

    Args:
        limits: of the files.
        queue_bytes: how much may wait.
        on_settled: told what became of each line.
        make_file: makes the file.
    """

    def __init__(
        self,
        limits: FileLimits,
        queue_bytes: int,
        on_settled: Settled,
        make_file: Callable[[FileLimits], RollingFile] = RollingFile,
    ) -> None:
        self._limits = limits
        self._queue_bytes = queue_bytes
        self._on_settled = on_settled
        self._make_file = make_file
        self._lines: deque[tuple[bytes, Token]] = deque()
        self._bytes = 0
        self._changed = threading.Condition()
        self._is_closing = False
        self._failures = 0
        self._thread: threading.Thread | None = None

    @property
    def queued_bytes(self) -> int:
        """Bytes that wait, including those being written."""
        return self._bytes

    @property
    def is_failing(self) -> bool:
        """Whether the last write failed."""
        return self._failures > 0

    def has_room(self) -> bool:
        """Tell whether another line would be taken."""
        return self._bytes < self._queue_bytes and not self._is_closing

    def submit(self, line: bytes, token: Token) -> bool:
        """Queue ``line``; False if there is no room. Never waits."""
        with self._changed:
            if self._is_closing or self._bytes + len(line) > self._queue_bytes:
                return False
            if self._thread is None:
                # Started with the first line: most routes log nothing, and a thread is not free.
                self._thread = threading.Thread(target=self._run, name="payload-log", daemon=True)
                self._thread.start()
            before = self._bytes
            self._lines.append((line, token))
            self._bytes += len(line)
            if before == 0 or before < _BATCH_BYTES <= self._bytes:
                self._changed.notify()
        return True

    def configure(self, limits: FileLimits, queue_bytes: int) -> None:
        """Use these limits from the next write on. What is queued stays queued."""
        with self._changed:
            self._limits, self._queue_bytes = limits, queue_bytes

    def close(self, timeout_s: float) -> bool:
        """Write what is queued and end the thread; wait at most ``timeout_s``. False if the disk was too
        slow."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        if self._thread is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        file = self._make_file(self._limits)
        while (batch := self._take()) is not None:
            if not batch:
                self._roll(file)
                continue
            if file.limits != self._limits:
                file.close()
                file = self._make_file(self._limits)
            count, error = self._append(file, [line for line, _ in batch])
            tokens = [token for _, token in batch]
            with self._changed:
                self._bytes -= sum(len(line) for line, _ in batch)
            self._note(error, len(batch) - count)
            self._on_settled(tokens[:count], tokens[count:])
            if error is not None:
                self._rest()
        file.close()

    def _append(self, file: RollingFile, lines: Sequence[bytes]) -> tuple[int, Exception | None]:
        try:
            return file.append(lines, wall_ns())
        except Exception as error:  # a thread that ends would leave every later line without an outcome
            return 0, error

    def _take(self) -> list[tuple[bytes, Token]] | None:
        """Wait for lines and return some; none after an idle while, None when the log is closing and all is
        written."""
        with self._changed:
            if not self._lines and not self._is_closing:
                self._changed.wait(_IDLE_S)
            if not self._lines:
                return None if self._is_closing else []
            if self._bytes < _BATCH_BYTES and not self._is_closing:
                self._changed.wait(_GATHER_S)
            batch: list[tuple[bytes, Token]] = []
            size = 0
            while self._lines and size < _BATCH_BYTES:
                batch.append(self._lines.popleft())
                size += len(batch[-1][0])
            return batch

    def _roll(self, file: RollingFile) -> None:
        try:
            file.roll(wall_ns())
        except OSError:
            file.close()

    def _note(self, error: Exception | None, failed: int) -> None:
        if error is None:
            if self._failures:
                _log.warning("payload log: writing again")
            self._failures = 0
            return
        if not self._failures:
            _log.error("payload log: %s; %d records lost, trying again", error, failed)
        self._failures += 1

    def _rest(self) -> None:
        pause_s = _RETRY_S[min(self._failures, len(_RETRY_S)) - 1]
        with self._changed:
            self._changed.wait_for(lambda: self._is_closing, pause_s)

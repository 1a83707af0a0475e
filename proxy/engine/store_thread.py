"""The thread that owns a file of evidence: a slow disk keeps nobody waiting who does not want to wait.

Rules
    * What is asked for is done in order, one at a time. More than :data:`MAX_WAITING` is refused at once.
    * A file that cannot be opened is tried again, with pauses, whenever something is asked for.
    * A file that turns out damaged or deleted while it is open is replaced by a new one, and ``generation`` grows: who
      has evidence in memory writes all of it again.
"""

import asyncio
import logging
import queue
import sqlite3
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, Protocol, TypeVar

from proxy.clock import monotonic_ns, wall_ns
from proxy.engine.store import Store, StoreError, is_damage, open_store

__all__ = ["MAX_WAITING", "REOPEN_NS", "FileThread", "Kept", "StoreThread"]


class Kept(Protocol):
    """A file that a thread owns."""

    path: Path

    @property
    def changes(self) -> int:
        """How many rows were written here since it was opened."""

    def is_in_place(self) -> bool:
        """Tell whether the file still has its name."""

    def close(self) -> None:
        """Close; what was written stays."""


T = TypeVar("T")
S = TypeVar("S", bound=Kept)

MAX_WAITING: Final = 64
"""Requests that may wait for the disk. A tick asks for two or three, and waits for them before it asks again."""

REOPEN_NS: Final = 5_000_000_000
"""A file that could not be opened is not tried again before."""

_log = logging.getLogger("modelproxy")

_Job = tuple[Callable[[Any], Any], "asyncio.Future[Any]"]


class FileThread(Generic[S]):
    """Does things with one file of a directory. Belongs to the loop that made it.

    Args:
        directory: where the file is, or will be.
        open_: opens the file: ``(directory, wall time)``.
        what: what is in it, in a word.
    """

    def __init__(self, directory: Path, open_: Callable[[Path, int], S], what: str) -> None:
        self.directory = directory
        self.what = what
        self.failures = 0
        """Requests that the disk refused, or that found no room."""
        self.problem = ""
        """Why a request failed; empty: none did since something was written last."""
        self.generation = 0
        """Grows with every file that is opened."""
        self._open = open_
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._waiting = 0
        self._store: S | None = None
        self._opened_ns: int | None = None
        self._thread: threading.Thread | None = None
        self._is_closing = False

    def submit(self, act: Callable[[S], T]) -> "asyncio.Future[T]":
        """Have ``act`` done in the thread; return what will be its result, or a :class:`StoreError`. Never waits."""
        future: asyncio.Future[T] = self._loop.create_future()
        if self._is_closing or self._waiting >= MAX_WAITING:
            problem = "it is closed"
            if not self._is_closing:
                self._note(problem := "the disk is too slow")
            future.set_exception(StoreError(f"{self.directory}: cannot keep {self.what}: {problem}"))
            future.exception()  # nobody needs to ask for it
            return future
        if self._thread is None:
            # A daemon: a dead disk must not keep the process from ending.
            self._thread = threading.Thread(target=self._run, name=self.what, daemon=True)
            self._thread.start()
        self._waiting += 1
        self._jobs.put((act, future))
        return future

    async def call(self, act: Callable[[S], T], patience_s: float) -> T:
        """Have ``act`` done and return its result.

        Raises:
            StoreError: the disk refused it, or took longer than ``patience_s``; then it may still be done later.
        """
        future = self.submit(act)
        done, _ = await asyncio.wait((future,), timeout=patience_s)
        if not done:
            future.add_done_callback(_look)
            raise StoreError(f"{self.directory}: the disk takes longer than {patience_s:g} s")
        return future.result()

    async def close(self, timeout_s: float) -> bool:
        """Do what waits, then close the file; False if that takes longer than ``timeout_s``."""
        if self._thread is None:
            return True
        ended = self.submit(_nothing)
        self._is_closing = True
        self._jobs.put(None)
        done, _ = await asyncio.wait((ended,), timeout=timeout_s)
        ended.add_done_callback(_look)
        return bool(done)

    # In the thread

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            act, future = job
            wrote = False
            try:
                store = self._ready()
                before = store.changes
                result, error = act(store), None
                wrote = store.changes != before
            except Exception as failure:  # whatever it is, who waits for it must hear of it
                result, error = None, failure
                self._after(failure)
            # A closed loop means that the process ends.
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._settle, future, result, error, wrote)
        if self._store is not None:
            self._store.close()

    def _ready(self) -> S:
        if self._store is not None and not self._store.is_in_place():
            _log.warning("%s is gone: %s is written into a new one", self._store.path, self.what)
            self._drop()
        if self._store is None:
            now_ns = monotonic_ns()
            if self._opened_ns is not None and now_ns - self._opened_ns < REOPEN_NS:
                raise StoreError(self.problem or f"{self.directory}: cannot keep {self.what}")
            self._opened_ns = now_ns
            self._store = self._open(self.directory, wall_ns())
            self._opened_ns = None
            self.generation += 1
        return self._store

    def _after(self, failure: Exception) -> None:
        if is_damage(failure):
            # Opened again it is found damaged, and moved aside.
            self._drop()

    def _drop(self) -> None:
        if self._store is not None:
            with suppress(sqlite3.Error):
                self._store.close()
        self._store = None

    # In the loop

    def _settle(
        self, future: "asyncio.Future[Any]", result: Any, error: Exception | None, wrote: bool
    ) -> None:
        self._waiting -= 1
        if error is None:
            # A full disk can still be read.
            if self.problem and wrote:
                _log.info("%s is kept again", self.what)
                self.problem = ""
        else:
            self._note(str(error) if isinstance(error, StoreError) else f"{type(error).__name__}: {error}")
            if not isinstance(error, StoreError):
                error = StoreError(f"{self.directory}: cannot keep {self.what}: {error}")
        if future.done():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)
            future.exception()

    def _note(self, problem: str) -> None:
        self.failures += 1
        if not self.problem:
            _log.error("cannot keep %s: %s", self.what, problem)
        self.problem = problem


class StoreThread(FileThread[Store]):
    """The thread of the evidence file; arguments as of :class:`FileThread`."""

    def __init__(self, directory: Path, open_: Callable[[Path, int], Store] = open_store) -> None:
        super().__init__(directory, open_, "evidence")


def _nothing(_: object) -> None:
    """Do nothing: whatever was asked for before is done by then."""


def _look(future: "asyncio.Future[Any]") -> None:
    if not future.cancelled():
        future.exception()

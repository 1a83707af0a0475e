"""The only writer: every change of what the proxy does goes through :meth:`Publisher.publish`.

Theory of operation
    A publish reads a whole document and brings the processes to it (level-triggered: it does not matter which
    change was announced, or how often): judge → compile → number → prepare everywhere → journal → commit
    everywhere. What is refused on the way changes nothing: the running table stays, and the refusal is
    counted, journalled and shown.

    *Prepare* makes each process compile and keep the table; *commit* makes it effective. So a table that one
    process cannot hold (no space for its counters) is never half effective. A process that is down does not
    count: it gets every table when it comes back.

Rule
    Judging is pure (:func:`judge`); one lock makes publishes one after the other; nothing else changes a
    table.
"""

import asyncio
import hashlib
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from proxy.certificates import Inspection, inspect, named_files, read_files
from proxy.clock import wall_ns
from proxy.control.changes import describe_changes
from proxy.control.journal import Journal
from proxy.errors import ConfigError
from proxy.routing.table import Table, compile_table
from proxy.settings import Settings, parse_with_source, public_document, restart_needed, to_json, warnings

__all__ = [
    "Accepted",
    "Fleet",
    "Outcome",
    "Publisher",
    "Refused",
    "Release",
    "Result",
    "Unchanged",
    "judge",
]

JOURNAL_PATIENCE_S = 5.0
"""A disk that takes longer for one line counts as a failed write; the change goes on."""

_log = logging.getLogger("modelproxy")


@dataclass(frozen=True, slots=True)
class Accepted:
    """The document may become the next table."""

    settings: Settings
    digest: str
    changes: tuple[str, ...]
    """What differs from the running one, as sentences; empty for the first."""
    warnings: tuple[str, ...]
    """What an operator should look at, one line each; no reason to refuse."""
    certificates: Inspection
    """The certificate files that the document names."""


@dataclass(frozen=True, slots=True)
class Unchanged:
    """The document says what is running already."""

    digest: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The document cannot become the next table."""

    problems: tuple[str, ...]
    """All of them, one line each."""
    digest: str


def judge(
    content: bytes, running: Settings | None, *, source: str, environ: Mapping[str, str]
) -> Accepted | Unchanged | Refused:
    """Return what is to be done with the document ``content``. Of the world it sees the certificate files it names.

    Args:
        content: the file's bytes.
        running: what is effective now; None at the start.
        source: the file's name in the problems.
        environ: for ``${NAME}``.
    """
    digest = hashlib.sha256(content).hexdigest()
    try:
        settings, where = parse_with_source(content.decode("utf-8-sig"), source=source, environ=environ)
    except UnicodeDecodeError as error:
        return Refused((f"{source}: expected UTF-8 text, got {error.reason} at byte {error.start}",), digest)
    except ConfigError as error:
        return Refused(tuple(str(problem) for problem in error.problems), digest)
    if settings == running:
        return Unchanged(digest)
    if running is not None and (sentences := restart_needed(running, settings)):
        return Refused(tuple(f"{source}: {sentence}" for sentence in sentences), digest)
    certificates = inspect(settings, read_files(named_files(settings)), where, now_s=wall_ns() / 1e9)
    if certificates.problems:
        return Refused(tuple(map(str, certificates.problems)), digest)
    advice = tuple(map(str, (*warnings(settings, where), *certificates.warnings)))
    if running is None:
        return Accepted(settings, digest, (), advice, certificates)
    changes = describe_changes(public_document(running), public_document(settings))
    return Accepted(settings, digest, changes, advice, certificates)


class Release:
    """One numbered table and the document it came from."""

    __slots__ = ("certificates", "digest", "settings", "table", "text", "version")

    def __init__(
        self, settings: Settings, version: int, digest: str, certificates: Inspection | None = None
    ) -> None:
        self.settings = settings
        self.certificates = certificates or Inspection({}, (), (), {})
        """The certificate files as they were when the release was made."""
        self.version = version
        self.digest = digest
        """SHA-256 of the file's bytes, in hex: what ``sha256sum`` prints."""
        self.table: Table = compile_table(settings, version, digest)
        self.text = to_json(settings).decode()
        """The complete settings, secrets included: only for the private links to the children."""


class Fleet(Protocol):
    """The processes that hold tables."""

    async def prepare(self, release: Release) -> tuple[str, ...]:
        """Have every running process compile and keep ``release``; return the refusals, one line each."""

    def commit(self, release: Release) -> None:
        """Make the prepared ``release`` effective everywhere; cannot fail."""

    def abandon(self, release: Release) -> None:
        """Forget the prepared ``release`` again; it was never effective."""


class Result(StrEnum):
    """What became of a publish."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a publish, and which version runs now."""

    result: Result
    version: int
    """The version that is effective afterwards; 0 when there is none yet."""
    problems: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    may_pass_later: bool = False
    """It was refused by a process that could not hold the table just now, not for what the document says."""

    @property
    def ok(self) -> bool:
        """Tell whether the proxy now does what the document says."""
        return self.result is not Result.REFUSED

    def document(self) -> dict[str, Any]:
        """Return the outcome as JSON values."""
        return {
            "result": str(self.result),
            "version": self.version,
            "problems": list(self.problems),
            "changes": list(self.changes),
            "warnings": list(self.warnings),
        }


class Publisher:
    """Publishes documents, one after the other.

    Args:
        source: the configuration file as it was named; in problems and in the status.
        fleet: who gets the tables.
        journal: where each change is written first.
        last_version: the highest version that was ever used; the next one is higher.
        environ: for ``${NAME}`` in documents.
        on_change: called after whatever :meth:`status` shows has changed.
        reloads: how many were tried under the program before, if this one follows it.
        refused: how many of these were refused.
    """

    def __init__(
        self,
        *,
        source: str,
        fleet: Fleet,
        journal: Journal,
        last_version: int,
        environ: Mapping[str, str],
        on_change: Callable[[], None],
        reloads: int = 0,
        refused: int = 0,
    ) -> None:
        self._source = source
        self._fleet = fleet
        self._journal = journal
        self._last_version = last_version
        self._environ = environ
        self._on_change = on_change
        self._lock = asyncio.Lock()
        self._running: Release | None = None
        self._before = last_version
        self._digest = ""
        self._loaded_wall_ns = 0
        self._last_error: tuple[str, ...] = ()
        self._reloads, self._refused = reloads, refused

    @property
    def running(self) -> Release | None:
        """The effective release; None before the first."""
        return self._running

    @property
    def last_version(self) -> int:
        """The highest version that was ever used, also by a refused table."""
        return self._last_version

    @asynccontextmanager
    async def at_rest(self) -> AsyncIterator[None]:
        """Hold publishes back: within, no table is half way to a process. Waits for the one under way."""
        async with self._lock:
            yield

    async def publish(self, content: bytes, *, by: str, why: str) -> Outcome:
        """Bring every process to the document ``content``, or refuse it and change nothing.

        Waits for publishes before it, for the processes to prepare (bounded by their patience) and for the
        journal (bounded by ``JOURNAL_PATIENCE_S``). Once the journal has the line, the commit follows without
        a wait in between.

        Args:
            content: the whole document.
            by: who asked, for the journal: ``start``, ``file``, ``signal``, ``admin 127.0.0.1``.
            why: one phrase for the journal.
        """
        async with self._lock:
            running = self._running
            # In a thread: a large file takes a second to parse, and the children are listened to meanwhile.
            verdict = await asyncio.to_thread(
                judge,
                content,
                running.settings if running else None,
                source=self._source,
                environ=self._environ,
            )
            if isinstance(verdict, Accepted):
                outcome = await self._release(verdict, by, why)
            elif isinstance(verdict, Unchanged):
                outcome = self._unchanged(verdict)
            else:
                outcome = await self._refuse(verdict, by, why)
            self._count(outcome, first=running is None)
        self._on_change()
        return outcome

    async def refuse(self, problem: str, *, by: str, why: str) -> Outcome:
        """Record that there is no document to judge, for example because the file is gone; the table
        stays."""
        async with self._lock:
            outcome = await self._refuse(Refused((problem,), ""), by, why)
            self._count(outcome, first=self._running is None)
        self._on_change()
        return outcome

    def status(self) -> dict[str, Any]:
        """Return the state of the configuration as JSON values."""
        return {
            "version": self._running.version if self._running else 0,
            "digest": self._digest,
            "path": self._source,
            "loaded_wall_ns": self._loaded_wall_ns,
            "last_reload_successful": not self._last_error,
            "last_error": list(self._last_error),
            "reloads_total": self._reloads,
            "reloads_refused_total": self._refused,
            "journal_failures_total": self._journal.failures,
        }

    async def _release(self, verdict: Accepted, by: str, why: str) -> Outcome:
        version = self._last_version + 1
        try:
            release = Release(verdict.settings, version, verdict.digest, verdict.certificates)
        except Exception as error:
            # A document that passed every rule and does not compile is a bug of ours; the old table serves
            # on.
            _log.exception("cannot compile %s", self._source)
            return await self._refuse(
                Refused((f"{self._source}: cannot compile the table: {error!r}",), verdict.digest), by, why
            )
        # The number is used up whatever comes: a version means one table, also in a process that kept a
        # refused one.
        self._last_version = version
        if refusals := await self._fleet.prepare(release):
            self._fleet.abandon(release)
            outcome = await self._refuse(Refused(refusals, verdict.digest), by, why)
            return replace(outcome, may_pass_later=True)
        await self._write(
            lambda: self._journal.published(
                wall_ns=wall_ns(),
                version=version,
                before=self._before,
                by=by,
                why=why,
                digest=verdict.digest,
                changes=verdict.changes,
            )
        )
        self._fleet.commit(release)
        self._running, self._before, self._digest = release, version, verdict.digest
        self._loaded_wall_ns = wall_ns()
        self._last_error = ()
        _log.info("table version %d is effective (%s: %s)", version, by, why)
        for sentence in verdict.changes:
            _log.info("version %d: %s", version, sentence)
        for warning in verdict.warnings:
            _log.warning("%s", warning)
        return Outcome(Result.PUBLISHED, version, changes=verdict.changes, warnings=verdict.warnings)

    def _unchanged(self, verdict: Unchanged) -> Outcome:
        assert self._running is not None
        self._digest = verdict.digest
        self._last_error = ()
        _log.info("the configuration says what is running already (version %d)", self._running.version)
        return Outcome(Result.UNCHANGED, self._running.version)

    async def _refuse(self, verdict: Refused, by: str, why: str) -> Outcome:
        version = self._running.version if self._running else 0
        self._last_error = verdict.problems
        if self._running:
            for problem in verdict.problems:
                _log.error("reload refused, version %d stays: %s", version, problem)
            await self._write(
                lambda: self._journal.refused(
                    wall_ns=wall_ns(),
                    running=version,
                    by=by,
                    why=why,
                    digest=verdict.digest,
                    problems=verdict.problems,
                )
            )
        return Outcome(Result.REFUSED, version, problems=verdict.problems)

    def _count(self, outcome: Outcome, *, first: bool) -> None:
        if first:
            return
        self._reloads += 1
        self._refused += not outcome.ok

    async def _write(self, append: Callable[[], bool]) -> None:
        try:
            await asyncio.wait_for(asyncio.to_thread(append), JOURNAL_PATIENCE_S)
        except TimeoutError:
            self._journal.failures += 1
            _log.error("journal: the disk took longer than %g s; the change goes on", JOURNAL_PATIENCE_S)

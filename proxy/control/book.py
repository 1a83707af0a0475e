"""The book of rollouts on disk: ``state_dir/rollouts.json``, replaced whole, so that a crash leaves it old or new.

It holds, for each route with a rollout, its state and the plan that it was last matched with; the same of rollouts that
were rolled back or paused and that the file has dropped since; how often each verdict was applied; and the clock of the
engine.

Rules
    * Reading never fails. What cannot be read is *unknown*, and whoever asks holds it at weight 0: the whole file when
      it is no book, one route when only its entry is damaged.
    * A book that is known to be wrong is not left lying: where a canary was taken off and the disk takes no new book,
      the old one is renamed to ``rollouts.json.outdated``, which takes no space. Found at a start, everything is
      unknown.
"""

import contextlib
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from proxy.control.engine_clock import EngineClock
from proxy.private import make_private_directory, open_private
from proxy.rollout.state import RolloutState

__all__ = ["Book", "Content", "Ended", "Entry", "Reading"]

FORMAT = 1
"""Of the file. One of a later format is not understood: everything in it is unknown."""

_MAX_BYTES = 64 * 1024 * 1024

_log = logging.getLogger("modelproxy")


@dataclass(frozen=True, slots=True)
class Entry:
    """One route's rollout."""

    state: RolloutState
    plan: Mapping[str, Any]
    """The plan that the state was last matched with, as a document."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A rollout that the file does not have any more, and that must not begin anew should it come back."""

    entry: Entry
    """As it stood."""
    ended_ns: int
    """When the file dropped it, by the engine's clock."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is written down."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    """By route."""
    decisions: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """Route → verdict → how often."""
    clock: EngineClock | None = None
    now_ns: int = 0
    """The engine's clock when it was written."""
    ended: tuple[Ended, ...] = ()
    """Oldest first."""
    stale: int = 0
    failures: int = 0
    """Counts of :class:`proxy.control.rollouts.Rollouts`."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What was read."""

    content: Content
    unknown: frozenset[str] | None = frozenset()
    """Routes whose entry cannot be read; None: any route, nothing can be read."""
    warning: str = ""
    """What is wrong; empty when all is well."""


class Book:
    """Reads and writes the file. Blocks on the disk; methods may be called from any thread.

    Args:
        state_dir: where.
    """

    def __init__(self, state_dir: Path) -> None:
        self.path = state_dir / "rollouts.json"
        self.outdated_path = state_dir / "rollouts.json.outdated"
        self._lock = threading.Lock()

    def read(self) -> Reading:
        """Return what is written down; never raises."""
        try:
            with os.fdopen(open_private(self.path, os.O_RDONLY), "rb") as file:
                data = file.read(_MAX_BYTES + 1)
        except FileNotFoundError:
            if os.path.lexists(self.outdated_path):
                return _nothing(f"{self.path} could not be written when a canary was taken off")
            return Reading(Content())
        except OSError as error:
            return _nothing(f"{self.path}: cannot read the book of rollouts: {error.strerror}")
        try:
            return _parse(data, self.path)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            return _nothing(f"{self.path} is no book of rollouts: {error}")

    def exists(self) -> bool:
        """Tell whether there is one, believable or not."""
        return os.path.lexists(self.path) or os.path.lexists(self.outdated_path)

    def write(self, content: Content) -> None:
        """Replace the book; returns when it is on the disk.

        Raises:
            OSError: it cannot be written; the one before is as it was.
        """
        data = orjson.dumps(_document(content), option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            make_private_directory(self.path.parent)
            fresh = self.path.with_name("rollouts.json.new")
            fresh.unlink(missing_ok=True)
            try:
                _write(fresh, data)
                fresh.replace(self.path)
            except OSError:
                with contextlib.suppress(OSError):
                    fresh.unlink(missing_ok=True)
                raise
            _sync_directory(self.path.parent)
            self.outdated_path.unlink(missing_ok=True)

    def outdate(self) -> None:
        """See to it that no later start believes the book.

        Raises:
            OSError: not even that can be done.
        """
        with self._lock:
            try:
                self.path.replace(self.outdated_path)
            except FileNotFoundError:
                os.close(open_private(self.outdated_path, os.O_WRONLY | os.O_CREAT))
            _sync_directory(self.path.parent)


def _nothing(warning: str) -> Reading:
    return Reading(Content(), None, warning)


def _parse(data: bytes, path: Path) -> Reading:
    document = orjson.loads(data)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise ValueError(f"expected an object of format {FORMAT}")
    entries: dict[str, Entry] = {}
    unknown = set()
    for route, entry in document["rollouts"].items():
        try:
            entries[route] = _entry(entry, route)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.error("%s: routes[%s]: %s", path, route, error)
            unknown.add(route)
    warning = f"{path}: the entries of {', '.join(sorted(unknown))} cannot be read" if unknown else ""
    now_ns, stale, failures = (_whole(document.get(name)) for name in ("now_ns", "stale", "failures"))
    ended = tuple(_ended(document, path))
    content = Content(entries, _decisions(document), _clock(document), now_ns, ended, stale, failures)
    return Reading(content, frozenset(unknown), warning)


def _entry(document: Mapping[str, Any], route: str) -> Entry:
    state, plan = RolloutState.from_document(document["state"]), document["plan"]
    if state.route != route or not isinstance(plan, dict):
        raise ValueError("its route or its plan is another's")
    return Entry(state, plan)


def _ended(document: Mapping[str, Any], path: Path) -> Iterator[Ended]:
    """Yield what ended rollouts can be read; of the others nobody knows what they would forbid."""
    found = document.get("ended", ())
    for each in found if isinstance(found, list) else ():
        try:
            yield Ended(_entry(each, each["state"]["route"]), _whole(each.get("ended_ns")))
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            _log.error("%s: an ended rollout cannot be read: %s", path, error)


def _decisions(document: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    counted = document.get("decisions")
    if not isinstance(counted, dict):
        return {}
    return {
        route: {verdict: _whole(count) for verdict, count in verdicts.items()}
        for route, verdicts in counted.items()
        if isinstance(verdicts, dict)
    }


def _clock(document: Mapping[str, Any]) -> EngineClock | None:
    clock = document.get("clock")
    if not isinstance(clock, dict) or type(clock.get("offset_ns")) is not int:
        return None
    return EngineClock(clock["offset_ns"], str(clock.get("boot", "")))


def _whole(value: Any) -> int:
    return value if type(value) is int and value >= 0 else 0


def _document(content: Content) -> dict[str, Any]:
    clock = content.clock
    return {
        "format": FORMAT,
        "rollouts": {route: _written(entry) for route, entry in content.entries.items()},
        "ended": [{**_written(each.entry), "ended_ns": each.ended_ns} for each in content.ended],
        "decisions": content.decisions,
        "clock": None if clock is None else {"offset_ns": clock.offset_ns, "boot": clock.boot},
        "now_ns": content.now_ns,
        "stale": content.stale,
        "failures": content.failures,
    }


def _written(entry: Entry) -> dict[str, Any]:
    return {"state": entry.state.document(), "plan": dict(entry.plan)}


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(open_private(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    """Have the new name on the disk too. Not every file system can; then it is as durable as that one makes it."""
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

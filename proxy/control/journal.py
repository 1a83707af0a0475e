"""The journal: who changed what, when and why; one JSON object a line, only ever appended to.

It is the memory of the table version: numbers go on across restarts, so that a number in an old log line or
payload record always means the same table.

Rules
    * A line is on disk (``fsync``) before the change it tells of becomes effective.
    * The journal never stops a change. A full disk during an incident must not keep an operator from taking a
      bad canary off; what could not be written is counted and logged.
    * A crash may tear the last line. Reading skips it; the next line starts on a line of its own.
    * At 16 MiB the file becomes ``journal.1.jsonl``, in place of an older one, and a new one begins with a line that
      holds the highest version. At every moment of that change one of the two tells it.
"""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from proxy.private import make_private_directory, open_private

__all__ = ["Journal", "LastVersion"]

_log = logging.getLogger("modelproxy")

_MAX_PROBLEMS = 50

ROLL_BYTES = 16 * 1024 * 1024
"""A longer journal is rolled: some 50 000 changes."""

_MAX_VERSION = (1 << 31) - 1
"""Versions are packed into 32 bits on their way to the observer. A line that tells of a higher one is not ours."""


@dataclass(frozen=True, slots=True)
class LastVersion:
    """The highest table version a journal tells of."""

    version: int
    """0 when there is none."""
    warning: str = ""
    """Why the version may be too low; empty when all is well."""


class Journal:
    """Appends to ``state_dir/journal.jsonl`` (mode 0600, the directory 0700). Blocks on the disk.

    One process writes. Methods may be called from any one thread at a time.

    Args:
        state_dir: where.
        roll_bytes: the length from which on it is rolled; one predecessor is kept.
    """

    def __init__(self, state_dir: Path, *, roll_bytes: int = ROLL_BYTES) -> None:
        self.path = state_dir / "journal.jsonl"
        self.previous_path = state_dir / "journal.1.jsonl"
        self._roll_bytes = roll_bytes
        self._highest = 0
        self.failures = 0
        """Lines that could not be written."""

    def last_version(self) -> LastVersion:
        """Read the highest version that was ever published; never raises."""
        before, last = _read_highest(self.previous_path), _read_highest(self.path)
        self._highest = max(before.version, last.version)
        return LastVersion(self._highest, last.warning or before.warning)

    def published(
        self,
        *,
        wall_ns: int,
        version: int,
        before: int,
        by: str,
        why: str,
        digest: str,
        changes: tuple[str, ...],
    ) -> bool:
        """Write that ``version`` is about to take the place of ``before``; False when it could not be
        written."""
        self._highest = max(self._highest, version)
        return self._append(
            {
                "ts": _timestamp(wall_ns),
                "event": "publish",
                "version": version,
                "from": before,
                "by": by,
                "why": why,
                "digest": digest,
                "changes": list(changes),
            }
        )

    def refused(
        self, *, wall_ns: int, running: int, by: str, why: str, digest: str, problems: tuple[str, ...]
    ) -> bool:
        """Write that a document was refused and ``running`` stays; False when it could not be written."""
        return self._append(
            {
                "ts": _timestamp(wall_ns),
                "event": "refused",
                "running": running,
                "by": by,
                "why": why,
                "digest": digest,
                "problems": list(problems[:_MAX_PROBLEMS]),
            }
        )

    def steered(
        self, *, wall_ns: int, event: str, version: int, by: str, digest: str, facts: Mapping[str, Any]
    ) -> bool:
        """Write what a rollout does, is about to do, or was asked for and does not; False when it could not be written.

        Args:
            wall_ns: when.
            event: ``decision`` (the engine's), ``verb`` (a person's), ``note`` (nothing moves).
            version: the table that is effective from then on.
            by: who.
            digest: of the configuration file in force.
            facts: what else is to be known of it; see :mod:`proxy.control.steering`.
        """
        self._highest = max(self._highest, version)
        line = {"ts": _timestamp(wall_ns), "event": event, "version": version, "by": by, "digest": digest}
        return self._append({**line, **facts, **line})

    def _append(self, entry: dict[str, Any]) -> bool:
        try:
            make_private_directory(self.path.parent)
            self._roll(str(entry["ts"]))
            _write(self.path, entry)
        except OSError as error:
            self.failures += 1
            _log.error("journal %s: cannot write: %s; the change goes on", self.path, error.strerror)
            return False
        return True

    def _roll(self, ts: str) -> None:
        """Begin a new file if it is time. What cannot be rolled is written on."""
        try:
            if self.path.stat().st_size < self._roll_bytes:
                return
            fresh = self.path.with_name("journal.jsonl.new")
            fresh.unlink(missing_ok=True)
            _write(fresh, {"ts": ts, "event": "rolled", "version": self._highest})
            self.path.replace(self.previous_path)
            fresh.replace(self.path)
        except FileNotFoundError:
            pass  # it is the first line
        except OSError as error:
            _log.warning("journal %s: cannot begin a new file: %s; it grows on", self.path, error.strerror)


def _read_highest(path: Path) -> LastVersion:
    highest = broken = 0
    try:
        with os.fdopen(open_private(path, os.O_RDONLY), "rb") as file:
            for line in file:
                version = _version_of(line)
                if version is None:
                    # A line without an end is a torn one: the crash came before the change was effective.
                    broken += line.endswith(b"\n")
                else:
                    highest = max(highest, version)
    except FileNotFoundError:
        return LastVersion(0)
    except OSError as error:
        return LastVersion(highest, f"{path}: cannot read the journal: {error.strerror}")
    if broken:
        return LastVersion(highest, f"{path}: {broken} unreadable lines were skipped")
    return LastVersion(highest)


def _write(path: Path, entry: dict[str, Any]) -> None:
    fd = open_private(path, os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        _append_line(fd, orjson.dumps(entry, option=orjson.OPT_APPEND_NEWLINE))
    finally:
        os.close(fd)


def _append_line(fd: int, line: bytes) -> None:
    size = os.fstat(fd).st_size
    if size and os.pread(fd, 1, size - 1) != b"\n":
        line = b"\n" + line
    try:
        written = os.write(fd, line)
        if written != len(line):
            # The next write would say why; a regular file is cut short only when space runs out.
            written += os.write(fd, line[written:])
        os.fsync(fd)
    except OSError:
        os.ftruncate(fd, size)
        raise


def _version_of(line: bytes) -> int | None:
    """Return the version a line tells of, 0 when it tells of none, None when it is no journal line."""
    if not line.strip():
        return 0
    try:
        entry = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(entry, dict):
        return None
    version = entry.get("version", 0)
    return version if type(version) is int and 0 <= version <= _MAX_VERSION else None


def _timestamp(wall_ns: int) -> str:
    return (
        datetime.fromtimestamp(wall_ns / 1e9, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )

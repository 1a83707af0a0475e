"""Judging a document: may it become the next table? Pure, but for the certificate files that it names."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from proxy.certificates import Inspection, inspect, named_files, read_files
from proxy.clock import wall_ns
from proxy.control.changes import describe_changes
from proxy.errors import ConfigError
from proxy.settings import Settings, parse_with_source, restart_needed, warnings

__all__ = ["Accepted", "Refused", "Unchanged", "judge"]


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
    changes = describe_changes(running.public, settings.public)
    return Accepted(settings, digest, changes, advice, certificates)

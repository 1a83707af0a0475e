"""A numbered table with all it was made of, who gets it, and what becomes of an attempt to bring it in."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from proxy.certificates import Inspection
from proxy.control.book import Entry
from proxy.control.matching import positions_of, rollout_documents
from proxy.routing.table import Table, compile_table
from proxy.settings import Settings
from proxy.settled import WITHHELD, settle

__all__ = ["Fleet", "Outcome", "Release", "Result"]


class Release:
    """One numbered table and what it came from.

    Args:
        settings: as the file declares them.
        version: the table's number.
        digest: of the file.
        certificates: the certificate files as they are now.
        entries: where the rollouts stand, by route.
        before: a release of the same settings, whose texts are taken over.
    """

    __slots__ = (
        "certificates",
        "digest",
        "entries",
        "for_observer",
        "for_workers",
        "positions",
        "rollouts",
        "settings",
        "table",
        "version",
    )

    def __init__(
        self,
        settings: Settings,
        version: int,
        digest: str,
        certificates: Inspection | None = None,
        entries: Mapping[str, Entry] | None = None,
        before: "Release | None" = None,
    ) -> None:
        self.settings = settings
        self.certificates = certificates or Inspection({}, (), (), {})
        """The certificate files as they were when the release was made, or renewed since while it is in force."""
        self.version = version
        self.digest = digest
        """SHA-256 of the file's bytes, in hex: what ``sha256sum`` prints."""
        self.entries = entries or {}
        positions = positions_of(self.entries)
        self.positions = [position.document() for position in positions]
        """The weights of rollouts, as every process is told them."""
        self.rollouts = rollout_documents(self.entries)
        """Their states, as the observer is told them."""
        self.table: Table = compile_table(settings, version, digest, positions)
        self.for_observer: str = before.for_observer if before else settle(settings).decode()
        """The values of the settings, secrets included: only for the private link."""
        self.for_workers: str = before.for_workers if before else settle(settings, WITHHELD).decode()
        """What of them a worker needs."""

    def with_rollouts(self, version: int, digest: str, entries: Mapping[str, Entry]) -> "Release":
        """Return the release of the same settings with rollouts that stand elsewhere."""
        return Release(self.settings, version, digest, self.certificates, entries, self)


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
    ALREADY = "already"
    """The same is under way, or done."""
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

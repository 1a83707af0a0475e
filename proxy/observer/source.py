"""What the read side needs to know of the observer, and one consistent reading of it."""

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from proxy.control.label_items import LabelItem
from proxy.engine.feedback_store import Told
from proxy.observer.label_store import KnownLabels
from proxy.observer.labelling import LabelTold
from proxy.observer.showing import Known
from proxy.routing.table import Table
from proxy.tally import Key, Layout, read_all

__all__ = ["CountReader", "Reading", "Source"]


class Source(Protocol):
    """The running observer as the admin address sees it."""

    @property
    def run_dir(self) -> Path:
        """Where the tally blocks lie."""

    @property
    def tables(self) -> Mapping[int, Table]:
        """Every live (not folded) table, by version."""

    @property
    def current(self) -> Table | None:
        """The committed table; None until every live version is known and one of them committed."""

    @property
    def fleet(self) -> Mapping[str, Any]:
        """The supervisor's last ``fleet`` message; empty before the first."""

    def gauges(self) -> Mapping[str, float]:
        """Return what the observer holds, by name; names that end in ``_total`` only grow."""

    def disagreements(self, route: str) -> Sequence[Known]:
        """Return what is known of the disagreements of each shadow of a route."""

    def labels(self, route: str) -> Sequence[KnownLabels]:
        """Return what labels say of each shadow of a route."""

    def noise_fields(self, stretch: str) -> Mapping[str, Sequence[int]]:
        """Return by field how often answers differed; see :class:`proxy.noise.fields.FieldCounts`."""

    def sinks(self) -> Sequence[Mapping[str, Any]]:
        """Return what the sinks of the payload log do and have done, see :meth:`proxy.sinks.sinks.Sinks.statistics`."""

    def judgement(self, route: str) -> Mapping[str, Any] | None:
        """Return what the engine thought last of the rollout of ``route``; None when it has not, or cannot."""

    async def evidence(self, route: str) -> Mapping[str, Any] | None:
        """Return what a route is judged by; None when it tries nothing."""

    async def snapshot(self, digest: str) -> bytes | None:
        """Return what the decision with this evidence digest was made from; None when it is not there."""

    async def feedback(
        self, items: Mapping[str, Sequence[tuple[int, bool]]], refused: Mapping[str, int]
    ) -> Mapping[str, Told]:
        """Count what was said about answers: it is on the disk then.

        Args:
            items: by route, each of which takes feedback: hash of a request's id, and whether its answer was good.
            refused: by route, how many more there were that nobody can take.

        Raises:
            BusyError: it cannot be taken now; nothing was.
        """

    async def take_labels(
        self, items: Mapping[str, Sequence[LabelItem]], refused: Mapping[str, int]
    ) -> Mapping[str, LabelTold]:
        """Count what is true: it is on the disk then.

        Args:
            items: by route, each of which takes labels.
            refused: by route, how many more there were that nobody can take.

        Raises:
            BusyError: it cannot be taken now.
        """

    async def request(self, verb: str, by: str, facts: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Ask the supervisor to do ``verb``, for ``by``, and return its reply: ``ok`` and ``document``.

        Args:
            verb: see :mod:`proxy.control.steering` for those about a rollout.
            by: who wants it.
            facts: what else the request says: ``route``, ``reason``, ``decision``.

        Raises:
            OSError: the supervisor cannot be reached, or did not answer in time (``TimeoutError``).
        """


@dataclass(frozen=True, slots=True)
class Reading:
    """Everything that is shown, read at one time."""

    table: Table
    """The committed table."""
    counts: Mapping[int, Mapping[Key, int]]
    """Counts by table version; 0: what was folded."""
    fleet: Mapping[str, Any]
    gauges: Mapping[str, float]
    judgements: Mapping[str, Mapping[str, Any] | None] = field(default_factory=dict)
    """What the engine thought last, by route."""
    noise_fields: Mapping[str, Mapping[str, Sequence[int]]] = field(default_factory=dict)
    """How often answers differed, by what that is evidence for and by field."""
    labels: Mapping[str, Sequence[KnownLabels]] = field(default_factory=dict)
    """What labels say of shadows, by route."""
    sinks: Sequence[Mapping[str, Any]] = ()
    """What the sinks of the payload log do and have done."""


class CountReader:
    """Reads every count there is, and never shows less than it showed before.

    The observer forgets a retired table *before* the supervisor folds its blocks into the base. A reader
    that knew only the live tables would miss those counts in between. So a layout is kept here until its
    version is seen in the base. Methods may be called from any thread.
    """

    def __init__(self, run_dir: Path) -> None:
        self._run_dir = run_dir
        self._layouts: dict[int, dict[str, Layout]] = {}
        self._lock = threading.Lock()

    def read(self, tables: Mapping[int, Table]) -> dict[int, Counter[Key]]:
        """Return the counts by version, 0 being what was folded.

        Raises:
            OSError: the run directory cannot be read.
        """
        with self._lock:
            for version, table in tables.items():
                self._layouts[version] = {"w": table.layout, "o": table.observer_layout}
            counts = read_all(self._run_dir, self._layouts)
            for version in self._layouts.keys() - counts.keys():
                del self._layouts[version]
            return counts

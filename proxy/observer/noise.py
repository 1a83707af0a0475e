"""Triples in the observer: counted in the blocks, and by field in files of the run directory.

What is counted of a triple as a whole lies in the tally blocks. Which fields differ comes from bodies and can have no
place in a layout; it has files of its own (:mod:`proxy.observer.noise_files`). Neither loses a count by a kill, a
restart of the observer, or an upgrade. Evidence is kept by its *stretch* (:func:`proxy.routing.noise.stretch_of`):
another rule or another model begins anew, and a return to what was before goes on.
"""

import logging
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from proxy.compare import Comparison
from proxy.exchange import Primary, ShadowPart
from proxy.noise.fields import FieldCounts
from proxy.noise.triples import is_answer, is_in_time, outcomes
from proxy.observer.blocks import Blocks
from proxy.observer.noise_files import FieldFile, open_fields, path_of
from proxy.routing.table import Route, Shadow, Table

__all__ = ["KEPT_STRETCHES", "NoiseBook"]

KEPT_STRETCHES: Final = 256
"""Those of the tables that came last; the fields of others are forgotten. Each takes 53 KiB of the run directory."""

_log = logging.getLogger("modelproxy")


class _Stretch:
    """Counts by field: our own, and those that the program before an upgrade may still add to."""

    __slots__ = ("counts", "earlier", "files")

    def __init__(self, files: Sequence[FieldFile] = ()) -> None:
        self.files = files
        self.counts = files[0].counts if files else FieldCounts()
        self.earlier = files[1:]

    def document(self) -> Mapping[str, Sequence[int]]:
        """Return all counts there are."""
        if not self.earlier:
            return self.counts.document()
        total = FieldCounts()
        for file in self.earlier:
            total.add(file.document())
        total.add(self.counts.document())
        return total.document()


class NoiseBook:
    """Counts triples, and remembers in which fields they differed.

    Args:
        blocks: the counts.
        run_dir: holds the files of an earlier life; in an upgrade also the link to the program before. None: fields are
            in memory alone.
    """

    def __init__(self, blocks: Blocks, run_dir: Path | None = None) -> None:
        self._blocks = blocks
        self._run_dir = run_dir
        self._stretches: OrderedDict[str, _Stretch] = OrderedDict()
        self._has_failed = False

    def admit(self, table: Table) -> None:
        """Take in what ``table`` may count."""
        for route in table.routes:
            for shadow in route.shadows if route.noise is not None else ():
                if shadow.stretch not in self._stretches:
                    self._stretches[shadow.stretch] = self._open(shadow.stretch)
                self._stretches.move_to_end(shadow.stretch)
        while len(self._stretches) > KEPT_STRETCHES:
            self._forget()

    def _open(self, stretch: str) -> _Stretch:
        if self._run_dir is None:
            return _Stretch()
        try:
            return _Stretch([file for file in open_fields(self._run_dir, stretch) if file is not None])
        except (OSError, ValueError) as error:
            if not self._has_failed:
                why = error.strerror if isinstance(error, OSError) else error
                _log.warning("cannot keep which fields differ above noise: %s; they are in memory alone", why)
            self._has_failed = True
            return _Stretch()

    def _forget(self) -> None:
        stretch, forgotten = self._stretches.popitem(last=False)
        for file in forgotten.files:
            file.close()
        if self._run_dir is not None:
            for is_earlier in (False, True):
                path_of(self._run_dir, stretch, is_earlier=is_earlier).unlink(missing_ok=True)

    def close(self) -> None:
        """Let go of the files. They stay."""
        while self._stretches:
            for file in self._stretches.popitem()[1].files:
                file.close()

    def observe(
        self,
        route: Route,
        primary: Primary,
        parts: Mapping[int, ShadowPart],
        comparisons: Mapping[int, Comparison],
        *,
        tells_fields: bool = True,
    ) -> None:
        """Count what one exchange says of each candidate; nothing if the champion was not asked once more.

        Args:
            route: of the table that the exchange belongs to; it has a noise shadow.
            primary: the exchange.
            parts: what came of its copies, by index.
            comparisons: of those that were judged, by index.
            tells_fields: also remember in which fields answers differ.
        """
        noise = route.noise
        if noise is None or not primary.shadows_sent & noise.bit:
            return
        for shadow in route.shadows:
            if not primary.shadows_sent & shadow.bit:
                continue
            pair = _judged(primary, (shadow, noise), parts, comparisons)
            if not (found := outcomes(*pair) if pair else ()):
                self._blocks.count_triple(primary, shadow.index, ("left_out",))
                continue
            self._blocks.count_triple(primary, shadow.index, found)
            if tells_fields and (stretch := self._stretches.get(shadow.stretch)) is not None:
                stretch.counts.observe(*pair)

    def fields(self, stretch: str) -> Mapping[str, Sequence[int]]:
        """Return the counts by field; see :class:`proxy.noise.fields.FieldCounts`."""
        found = self._stretches.get(stretch)
        return {} if found is None else found.document()


def _judged(
    primary: Primary,
    copies: tuple[Shadow, Shadow],
    parts: Mapping[int, ShadowPart],
    comparisons: Mapping[int, Comparison],
) -> tuple[Comparison, Comparison] | tuple[()]:
    """Return the judgements on the candidate's answer and the champion's second one; nothing if they say nothing."""
    candidate, noise = copies
    mine, second = parts.get(candidate.index), parts.get(noise.index)
    if mine is None or second is None or not is_answer(primary.status):
        return ()
    timeouts = candidate.settings.timeout, noise.settings.timeout
    if not is_in_time(mine.duration_ns, second.duration_ns, timeouts):
        return ()
    first, other = comparisons.get(candidate.index), comparisons.get(noise.index)
    return () if first is None or other is None else (first, other)

"""Triples in the observer: counted in the blocks, and by field in a file of the run directory.

What is counted of a triple as a whole lies in the tally blocks, so a kill loses nothing and ``/metrics`` can show it.
Which fields differ comes from bodies and can have no place in a layout; it is kept in memory and written to
``noise.json`` (0600) each few seconds, so a kill loses the last of them, whichever way they spoke. Evidence is kept by
its *stretch* (:func:`proxy.routing.noise.stretch_of`): another rule or another model begins anew, and a
return to what was before goes on.
"""

import asyncio
import logging
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import orjson

from proxy.compare import Comparison
from proxy.exchange import Primary
from proxy.noise.fields import FieldCounts
from proxy.noise.triples import outcomes
from proxy.observer.blocks import Blocks
from proxy.private import open_private
from proxy.routing.table import Route
from proxy.tally import EARLIER

__all__ = ["FILE_NAME", "KEPT_STRETCHES", "SAVE_EVERY_S", "NoiseBook"]

FILE_NAME: Final = "noise.json"

KEPT_STRETCHES: Final = 256
"""Those that were counted for last; the fields of others are forgotten."""

SAVE_EVERY_S: Final = 5.0

_log = logging.getLogger("modelproxy")


class NoiseBook:
    """Counts triples, and remembers in which fields they differed.

    Args:
        blocks: the counts.
        run_dir: holds the file of an earlier life; in an upgrade also the link to the program before. None: nothing is
            kept.
    """

    def __init__(self, blocks: Blocks, run_dir: Path | None = None) -> None:
        self._blocks = blocks
        self._fields: OrderedDict[str, FieldCounts] = OrderedDict()
        self._has_news = False
        self._has_failed = False
        self._path = None if run_dir is None else run_dir / FILE_NAME
        if run_dir is not None:
            stored = _read(run_dir / FILE_NAME) or _read(run_dir / EARLIER / FILE_NAME)
            for stretch, counts in stored.items():
                self._fields[stretch] = FieldCounts(counts)

    def observe(
        self,
        route: Route,
        primary: Primary,
        comparisons: Mapping[int, Comparison],
        *,
        tells_fields: bool = True,
    ) -> None:
        """Count what one exchange says of each candidate; nothing if the champion was not asked once more.

        Args:
            route: of the table that the exchange belongs to; it has a noise shadow.
            primary: the exchange.
            comparisons: by index of the copy.
            tells_fields: also remember in which fields answers differ.
        """
        noise = route.noise
        if noise is None or (second := comparisons.get(noise.index)) is None:
            return
        for shadow in route.shadows:
            candidate = comparisons.get(shadow.index)
            if candidate is None or not (found := outcomes(candidate, second)):
                continue
            self._blocks.count_triple(primary, shadow.index, found)
            if tells_fields and (candidate.differences or second.differences):
                self._fields_of(shadow.stretch).observe(candidate, second)
                self._has_news = True

    def fields(self, stretch: str) -> Mapping[str, Sequence[int]]:
        """Return the counts by field; see :class:`proxy.noise.fields.FieldCounts`."""
        found = self._fields.get(stretch)
        return {} if found is None else found.document()

    def _fields_of(self, stretch: str) -> FieldCounts:
        found = self._fields.setdefault(stretch, FieldCounts())
        self._fields.move_to_end(stretch)
        if len(self._fields) > KEPT_STRETCHES:
            self._fields.popitem(last=False)
        return found

    async def keep(self) -> None:
        """Write the file whenever there is news, until cancelled. It lies beside the counters, in memory as a rule."""
        while True:
            await asyncio.sleep(SAVE_EVERY_S)
            self.save()

    def save(self) -> None:
        """Write the file if there is news."""
        if self._path is not None and (data := self._news()) is not None:
            self._write(self._path, data)

    def _news(self) -> bytes | None:
        if not self._has_news:
            return None
        self._has_news = False
        return orjson.dumps({stretch: counts.document() for stretch, counts in self._fields.items()})

    def _write(self, path: Path, data: bytes) -> None:
        fresh = path.with_name(f"{FILE_NAME}.new")
        try:
            with os.fdopen(open_private(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), "wb") as file:
                file.write(data)
            fresh.replace(path)
        except OSError as error:
            if not self._has_failed:
                _log.warning("cannot keep which fields differ above noise: %s", error.strerror)
            self._has_failed = True
            self._has_news = True
        else:
            self._has_failed = False


def _read(path: Path) -> Mapping[str, Mapping[str, Sequence[int]]]:
    """Return what a file holds; nothing where it is missing, or not what :class:`NoiseBook` writes."""
    try:
        document = orjson.loads(path.read_bytes())
        return {
            str(stretch): {str(path): [int(number) for number in row] for path, row in counts.items()}
            for stretch, counts in document.items()
        }
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, TypeError, AttributeError) as error:
        _log.warning("cannot read %s: %s; counts by field begin anew", path, type(error).__name__)
        return {}

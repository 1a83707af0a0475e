"""What lies in the run directory for decisions: blocks of evidence, and the counts of copies to a canary's model.

Everything here blocks, on memory that only seldom is a disk (``/dev/shm``), and locks nothing: a number is as of some
moment of the reading.
"""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from proxy.engine.dossier import Reading
from proxy.engine.store import ShadowCounts
from proxy.evidence.blocks import epochs, sources
from proxy.evidence.counts import read_all
from proxy.routing.table import Route, Table
from proxy.tally import Section

__all__ = ["read_evidence", "read_shadow"]


def read_evidence(run_dir: Path, wanted: Mapping[str, int]) -> list[Reading]:
    """Return what each source there is has counted in the epochs that are wanted.

    Args:
        run_dir: ours; the program before an upgrade is found from there.
        wanted: epoch → how many variants it has.
    """
    found: list[Reading] = []
    places = sources(run_dir)
    for name, place in places.items():
        for epoch in sorted(epochs(place) & wanted.keys()):
            found.append(Reading(name, epoch, *read_all(place, epoch, wanted[epoch])))
    # A source that was adopted meanwhile is deleted where it was, file by file: half of it would seem to have gone
    # backwards. The next time it is found where it is now.
    now = sources(run_dir)
    return [each for each in found if now.get(each.source) == places[each.source]]


def read_shadow(run_dir: Path, table: Table, route: Route, variant: str) -> ShadowCounts | None:
    """Return what copies to the model of ``variant`` have shown under ``table``; None where it gets none.

    Only answers that were compared with the champion's speak about the variant.
    """
    canary = route.variant(variant)
    if canary is None or all(shadow.model.name != canary.model.name for shadow in route.shadows):
        return None
    model, champion = canary.model.name, route.champion.name
    sent = table.layout.section("shadow", route.name, model)
    judged = table.observer_layout.section("comparison", route.name, champion, model)
    answered, failed = _add_up(run_dir, "w", table.version, sent, ("answered", "failed"))
    agree, disagree = _add_up(run_dir, "o", table.version, judged, ("agree", "disagree"))
    counts = ShadowCounts(answered, failed, agree + disagree, disagree)
    if route.noise is None:
        return counts
    stretch = next(shadow.stretch for shadow in route.shadows if shadow.model.name == model)
    section = table.observer_layout.section("triple", route.name, model, stretch)
    same, *odd = _add_up(run_dir, "o", table.version, section, ("same", "candidate", "champion", "both"))
    return ShadowCounts(*counts[:4], same + sum(odd), *odd)


def _add_up(
    run_dir: Path, writer: str, version: int, section: Section, fields: tuple[str, ...]
) -> tuple[int, ...]:
    totals = [0] * len(fields)
    # Only the section is read: a table of a thousand routes has a million counters.
    size = len(section.fields) * 8
    for path in run_dir.glob(f"{writer}[0-9]*-{version}.tally"):
        with suppress(FileNotFoundError), path.open("rb", buffering=0) as file:
            data = os.pread(file.fileno(), size, section.base * 8)
            values = memoryview(data.ljust(size, b"\0")).cast("Q")
            for i, name in enumerate(fields):
                totals[i] += values[section.fields.index(name)]
    return tuple(totals)

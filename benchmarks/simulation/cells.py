"""All cells, in the order of the report."""

from benchmarks.simulation import (
    aa_events,
    aa_latency,
    aa_units,
    coverage,
    delay_events,
    delay_latency,
    promotion,
    rollouts,
    twice,
)
from benchmarks.simulation.cell import Cell

__all__ = ["CELLS", "cell"]

CELLS: tuple[Cell, ...] = (
    *aa_events.CELLS,
    *aa_latency.CELLS,
    *aa_units.CELLS,
    *promotion.CELLS,
    *coverage.CELLS,
    *delay_events.CELLS,
    *delay_latency.CELLS,
    *rollouts.CELLS,
    *twice.CELLS,
)


def cell(name: str) -> Cell:
    """Return a cell by its name."""
    return next(each for each in CELLS if each.name == name)

"""Samples do not depend on how many processes drew them."""

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.simulation.cells import cell
from benchmarks.simulation.run import CHUNKS, chunks_of, simulate


@pytest.mark.parametrize("runs", [1, CHUNKS - 1, CHUNKS, CHUNKS + 1, 1000])
def test_chunks(runs: int) -> None:
    """The chunks are all of the runs, and nearly alike."""
    sizes = chunks_of(runs)
    assert sum(sizes) == runs
    assert max(sizes) - min(sizes) <= 1
    assert min(sizes) >= 1


@pytest.mark.slow
def test_same_for_any_number_of_jobs() -> None:
    """One process and two draw the same samples, another seed others."""
    few = [replace(cell(name), runs=20) for name in ("split", "triples")]

    def drawn(seed: int, jobs: int) -> dict[str, dict[str, list[float]]]:
        return {
            each.name: {name: list(values) for name, values in samples.items()}
            for each, samples in simulate(few, cell, seed, jobs)
        }

    one = drawn(1, 1)
    assert drawn(1, 2) == one
    assert drawn(2, 1) != one
    assert len(one["split"]["e"]) == 20
    assert np.unique(one["split"]["e"]).size > 10

"""From cells to samples: chunks of runs, in several processes; the same numbers for any number of jobs."""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from zlib import crc32

import numpy as np

from benchmarks.simulation.cell import Cell, Samples

__all__ = ["CHUNKS", "chunks_of", "samples_of", "simulate"]

CHUNKS = 16
"""Parts that a cell's runs are cut into, each with a stream of random numbers of its own."""


def chunks_of(runs: int) -> list[int]:
    """Return how many runs each chunk has."""
    return [runs // CHUNKS + (number < runs % CHUNKS) for number in range(min(CHUNKS, runs))]


def samples_of(cell: Cell, seed: int, number: int, runs: int) -> Samples:
    """Return the samples of one chunk: they depend on the seed, the cell's name and the chunk's number alone."""
    sequence = np.random.SeedSequence(seed, spawn_key=(crc32(cell.name.encode()), number))
    return cell.draw(np.random.default_rng(sequence), runs)


def joined(parts: list[Samples]) -> Samples:
    """Return the samples of all chunks, in the order of the chunks."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _chunk(lookup: Callable[[str], Cell], name: str, seed: int, number: int, runs: int) -> Samples:
    return samples_of(lookup(name), seed, number, runs)


def simulate(
    cells: list[Cell], lookup: Callable[[str], Cell], seed: int, jobs: int
) -> Iterator[tuple[Cell, Samples]]:
    """Yield each cell with its samples, as they are completed.

    Args:
        cells: what to run, with the number of runs.
        lookup: finds a cell by its name, in another process: a function at the top of a module.
        seed: of everything.
        jobs: processes; 1 runs all in this one.
    """
    if jobs <= 1:
        for cell in cells:
            sizes = enumerate(chunks_of(cell.runs))
            yield cell, joined([samples_of(cell, seed, number, runs) for number, runs in sizes])
        return
    # Each process is one thread's worth of work: linear algebra on more of them only waits for the others.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_be_nice) as pool:
        waiting: dict[Future[Samples], tuple[str, int]] = {}
        parts: dict[str, dict[int, Samples]] = {}
        for cell in cells:
            for number, runs in enumerate(chunks_of(cell.runs)):
                future = pool.submit(_chunk, lookup, cell.name, seed, number, runs)
                waiting[future] = cell.name, number
        of = {cell.name: cell for cell in cells}
        for future in as_completed(waiting):
            name, number = waiting[future]
            parts.setdefault(name, {})[number] = future.result()
            if len(parts[name]) == len(chunks_of(of[name].runs)):
                found = parts.pop(name)
                yield of[name], joined([found[number] for number in sorted(found)])


def _be_nice() -> None:
    os.nice(10)

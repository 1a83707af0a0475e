"""A champion that is asked twice: how often a candidate that is as noisy is blamed, how soon a noisier one is found."""

import math
from functools import partial

import numpy as np

from benchmarks.simulation.cell import Alarms, Cell, Delay, Errs, Floats, Kept, Samples
from benchmarks.simulation.classic import diffy
from benchmarks.simulation.looks import first_reached, harm_by_look
from proxy.stats import bounded
from proxy.stats.histogram import Counts

__all__ = ["CELLS"]

Generator = np.random.Generator

TRIPLES = 10_000
VALUES = np.array([0.0, 0.5, 1.0])
ALPHA = 0.05


def draw_triples(rng: Generator, candidate: float, champion: float, count: int) -> tuple[Counts, Counts]:
    """Return for each triple whether the candidate's and whether the champion's second answer differs."""
    mine, second = rng.random(count) < candidate, rng.random(count) < champion
    return mine.astype(np.int64), second.astype(np.int64)


def blamed(rng: Generator, runs: int, noise: float) -> Samples:
    """Draw candidates that are as noisy as the champion, and look after each of 10,000 triples."""
    samples = {name: np.empty(runs) for name in ("e", "diffy")}
    total, share = np.arange(1, TRIPLES + 1), np.full(TRIPLES, 0.5)
    for run in range(runs):
        mine, second = draw_triples(rng, noise, noise, TRIPLES)
        samples["e"][run] = harm_by_look(mine * (1 - second), second * (1 - mine), share, 0.0).max()
        samples["diffy"][run] = diffy(np.cumsum(mine), np.cumsum(second), total)
    return samples


def found(rng: Generator, runs: int, alpha: float) -> Samples:
    """Draw candidates that differ in 4 % of answers where the champion does in 2 %: triples until they are found."""
    total, share, taken = np.arange(1.0, 2 * TRIPLES + 1), np.full(2 * TRIPLES, 0.5), np.empty(runs)
    for run in range(runs):
        mine, second = draw_triples(rng, 0.04, 0.02, 2 * TRIPLES)
        taken[run] = first_reached(
            harm_by_look(mine * (1 - second), second * (1 - mine), share, 0.0), total, alpha
        )
    return {"e": taken}


def excess(rng: Generator, runs: int, candidate: float, champion: float) -> Samples:
    """Draw 1,000 looks of ten triples, and whether the interval of the excess ever leaves it out."""
    out, truth = np.empty(runs), 0.5 * (1.0 + candidate - champion)
    for run in range(runs):
        mine, second = draw_triples(rng, candidate, champion, TRIPLES)
        worth = np.stack([mine < second, mine == second, mine > second], axis=1)
        counts = np.cumsum(worth, axis=0)[9::10]
        most = max(_money(counts, VALUES, truth), _money(counts, 1.0 - VALUES, 1.0 - truth))
        out[run] = most >= math.log(2.0 / ALPHA)
        # The interval is made of the same money: tests/stats/test_bounded.py.
    return {"out": out}


def _money(counts: Counts, levels: Floats, mean: float) -> float:
    """Return the most that `bounded.above` ever has, over all looks."""
    growth = counts @ np.log1p(np.outer((levels - mean) / mean, bounded.STAKES))
    top = growth.max(axis=1)
    money = top + np.log(np.exp(growth - top[:, None]).mean(axis=1))
    assert abs(money[-1] - bounded.above(counts[-1], levels, mean)) < 1e-9
    return float(money.max())


def _bound(candidate: float, champion: float, alpha: float) -> float:
    """Return the triples below which no valid rule can find out, on average."""
    mine, second = candidate * (1.0 - champion), champion * (1.0 - candidate)
    part = mine / (mine + second)
    divergence = part * math.log(2.0 * part) + (1.0 - part) * math.log(2.0 * (1.0 - part))
    return -math.log(alpha) / ((mine + second) * divergence)


CELLS = (
    *(
        Cell(
            f"triples-{100 * noise:g} %",
            f"the champion asked twice, {100 * noise:g} % noise, looked at after each of 10,000 triples",
            runs,
            partial(blamed, noise=noise),
            (
                Errs("e", "disagreement beyond the champion's own", alphas=(0.05, 0.01)),
                Alarms("diffy", "raw > noise by 20 % and by 0.03 % (Diffy), ever flagged"),
            ),
        )
        for noise, runs in ((0.02, 4_000), (0.3, 16_000))
    ),
    *(
        Cell(
            f"triples-excess-{100 * candidate:g}",
            f"the champion asked twice, 2 % noise, the candidate differs in {100 * candidate:g} %, 1,000 looks of 10",
            4_000,
            partial(excess, candidate=candidate, champion=0.02),
            (Kept("out", "disagreement above noise"),),
        )
        for candidate in (0.02, 0.04)
    ),
    *(
        Cell(
            f"triples-found-{alpha:g}",
            "the champion differs from itself in 2 % of answers, the candidate in 4 %; requests are triples",
            2_000,
            partial(found, alpha=alpha),
            (
                Delay(
                    "e",
                    f"disagreement beyond the champion's own, α = {100 * alpha:g} %",
                    _bound(0.04, 0.02, alpha),
                    1.5,
                ),
            ),
        )
        for alpha in (0.01, 0.05)
    ),
)

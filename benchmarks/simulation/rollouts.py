"""Whole rollouts of ``rollout: {}``: canaries that are the same, too bad, slower, dead."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from functools import partial

import numpy as np

from benchmarks.simulation.cell import Cell, Figure, Floats, Samples, Share, Table
from benchmarks.simulation.engine import Behaviour, Rollout, default_plan, slower_by, with_errors
from benchmarks.simulation.traffic import autoregressive
from proxy.rollout.slices import ERRORS, FIRST_EVENTS, REQUEST_ERRORS, REQUESTS, UNITS
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Verdict

__all__ = ["CELLS"]

Generator = np.random.Generator
Pair = Callable[[Generator], tuple[Behaviour, Behaviour]]
"""Draws how canary and champion of one rollout answer."""

BINS_PER_MINUTE = 6


def drawn(
    rng: Generator, runs: int, pair: Pair, requests: int = 1000, every: int = 1, bins: int = 400
) -> Samples:
    """Draw rollouts, and what became of them."""
    names = ("rolled_back", "promoted", "minutes", "exposed", "failed", "weight", "invalid")
    samples = {name: np.zeros(runs) for name in names}
    for run in range(runs):
        canary, champion = pair(rng)
        rollout = Rollout(rng, canary, champion, requests=requests, most_bins=bins)
        phase = rollout.run(every)
        samples["rolled_back"][run] = phase is Phase.ROLLED_BACK
        samples["promoted"][run] = phase is Phase.PROMOTED
        samples["minutes"][run] = rollout.bins / BINS_PER_MINUTE
        samples["exposed"][run] = rollout.exposed
        samples["failed"][run] = rollout.failed
        samples["weight"][run] = 100.0 * rollout.share[rollout.bins - 1]
        samples["invalid"][run] = any(each.verdict is Verdict.INVALID for each in rollout.rulings)
    return samples


def same(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that is the same."""
    return Behaviour(), Behaviour()


def hard_day(rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that is the same, on hosts with noise, in an hour with an incident of what both share."""
    begins = int(rng.integers(30, 110))

    def errors(number: int) -> float:
        return 0.06 if begins <= number < begins + 18 else 0.01

    arms = []
    for _ in range(2):
        noise = np.repeat(autoregressive(rng, 80, 0.05), BINS_PER_MINUTE)
        arms.append(replace(Behaviour(), errors=errors, factor=partial(_at, noise)))
    return arms[0], arms[1]


def _at(series: Floats, number: int) -> float:
    return float(series[number])


def at_the_margin(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that breaks promotion margin and tolerance of errors at once, exactly: 4 % become 5 %."""
    return with_errors(0.05), with_errors(0.04)


def slower_at_the_margin(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that is slower by exactly what a promotion rules out: four buckets, 21.6 %."""
    return slower_by(1.05**4), Behaviour()


def twice(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that fails twice as often."""
    return with_errors(0.02), Behaviour()


def thrice_later(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that fails three times as often from the 17th minute on."""
    return replace(Behaviour(), errors=_later), Behaviour()


def _later(number: int) -> float:
    return 0.03 if number >= 17 * BINS_PER_MINUTE else 0.01


def half_as_slow_again(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that takes half as long again."""
    return slower_by(1.5), Behaviour()


def dead(_rng: Generator) -> tuple[Behaviour, Behaviour]:
    """Return a canary that answers nothing but errors, next to a champion that fails nothing."""
    return with_errors(1.0, 0.0), with_errors(0.0)


SHARES = {1: 3, 5: 3, 10: 3, 25: 5, 50: 9}
"""Percent of the canary, and after how many failures a dead one is to be gone."""


def failures_needed(_rng: Generator, runs: int) -> Samples:
    """Return after how many failures a canary that fails everything is rolled back: no matter of chance.

    Next to it the champion answers what is its share of the requests so far, without an error.
    """
    samples = {}
    for percent in SHARES:
        plan = replace(default_plan(), steps=(Decimal(percent), Decimal(100)))
        count = 0
        while True:
            count += 1
            rollout = Rollout(np.random.default_rng(0), Behaviour(), Behaviour(), plan)
            rollout.share[0], rollout.bins = percent / 100, 1
            for first in (REQUESTS, UNITS, REQUEST_ERRORS, FIRST_EVENTS, ERRORS):
                rollout.arms[0, 0, first] = count
            for first in (REQUESTS, UNITS):
                rollout.arms[1, 0, first] = count * (100 - percent) // percent
            if rollout.decide().verdict is Verdict.ROLLBACK:
                break
        samples[str(percent)] = np.full(runs, float(count))
    return samples


def _median(values: Floats) -> float:
    return float(np.median(values))


def _most(values: Floats) -> float:
    return float(values.max())


def _figures(*names: tuple[str, str]) -> tuple[Figure, ...]:
    return tuple(Figure((of,), f"{what}, median", _median, table=Table.ENGINE) for of, what in names)


_GOES = (
    Share("rolled_back", "rolled back", least=0.95),
    Share("promoted", "promoted", most=0.05),
)
_TAKEN = _figures(("minutes", "minutes until then"), ("exposed", "requests that the canary answered"))
_HARM = (
    *_TAKEN,
    *_figures(("failed", "requests that the canary failed"), ("weight", "canary's weight then, %")),
)

CELLS = (
    Cell(
        "engine-failures",
        "nothing but errors, next to a champion without, judged after each request",
        1,
        failures_needed,
        tuple(
            Figure(
                (str(percent),),
                f"failures of a canary at {percent} % until it is rolled back",
                _most,
                most,
                table=Table.ENGINE,
            )
            for percent, most in SHARES.items()
        ),
    ),
    Cell(
        "engine-same",
        "a canary that is the same; 100 requests a second, errors 1 %, client errors 2 %",
        500,
        partial(drawn, pair=same, every=2),
        (
            Share("rolled_back", "rolled back", most=0.01),
            Share("promoted", "promoted within 66 minutes", least=0.9),
            Share("invalid", "ever called invalid"),
            *_TAKEN,
        ),
    ),
    Cell(
        "engine-hard-day",
        "a canary that is the same; hosts with noise of 5 % with a memory, and an incident of 6 % errors",
        500,
        partial(drawn, pair=hard_day, every=2),
        (Share("rolled_back", "rolled back", most=0.01), Share("promoted", "promoted within 66 minutes")),
    ),
    Cell(
        "engine-margin",
        "errors 4 % → 5 %: exactly at promotion margin and tolerance",
        120,
        partial(drawn, pair=at_the_margin, every=4, bins=240),
        (Share("promoted", "promoted", most=0.05), Share("rolled_back", "rolled back")),
    ),
    Cell(
        "engine-margin-latency",
        "latency × 1.216: exactly at what a promotion rules out",
        120,
        partial(drawn, pair=slower_at_the_margin, every=2),
        (Share("promoted", "promoted", most=0.05), Share("rolled_back", "rolled back")),
    ),
    Cell(
        "engine-twice",
        "errors 1 % → 2 %",
        120,
        partial(drawn, pair=twice),
        (*_GOES, *_HARM),
    ),
    Cell(
        "engine-later",
        "errors 1 % → 3 % from minute 17 on",
        64,
        partial(drawn, pair=thrice_later),
        (Share("rolled_back", "rolled back", least=0.9), *_HARM),
    ),
    Cell(
        "engine-slower",
        "latency × 1.5",
        64,
        partial(drawn, pair=half_as_slow_again),
        (
            Share("rolled_back", "rolled back", least=0.9),
            Share("promoted", "promoted", most=0.05),
            *_TAKEN,
        ),
    ),
    Cell(
        "engine-dead",
        "nothing but errors, next to a champion without; one request in 10 s to the canary",
        240,
        partial(drawn, pair=dead, requests=100),
        (
            Share("rolled_back", "rolled back", least=0.95),
            Figure(
                ("failed",), "requests that the canary failed, median", _median, most=3, table=Table.ENGINE
            ),
            Figure(("failed",), "requests that the canary failed, most of all", _most, table=Table.ENGINE),
        ),
    ),
)

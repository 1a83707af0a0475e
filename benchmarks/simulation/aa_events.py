"""Errors, nothing is wrong: how often is the canary rolled back all the same, however often one looks."""

from functools import partial

import numpy as np

from benchmarks.simulation.cell import Alarms, Cell, Errs, Figure, Floats, Samples, Share, Table
from benchmarks.simulation.classic import canary_judge, failed_checks, proportions_z, repeated
from benchmarks.simulation.looks import harm_by_look
from benchmarks.simulation.stretches import stretches
from benchmarks.simulation.traffic import RAMP, diurnal, errors_by_look, incident
from proxy.rollout.guardrails import harm_with
from proxy.rollout.plan import Guardrail
from proxy.settings import Metric
from proxy.stats.events import harm
from proxy.stats.histogram import Counts

__all__ = ["CELLS", "judged_repeatedly"]

Generator = np.random.Generator

REQUESTS = 1000
"""Of a look."""
SHARE = 0.1


def _best(values: Floats) -> float:
    return float(values.max())


def at_rate(rng: Generator, runs: int, rate: float, looks: int, margin: float) -> Samples:
    """Draw runs whose canary is worse by exactly the margin: the worst that the null hypothesis allows."""
    share, best = np.full(looks, SHARE), np.empty(runs)
    for run in range(runs):
        errors = errors_by_look(rng, np.full(looks, REQUESTS), SHARE, rate, rate * (1.0 + margin))
        best[run] = _best(harm_by_look(*errors, share, margin))
    return {"e": best}


def computed(_rng: Generator, runs: int) -> Samples:
    """Return the probability itself that evidence ever reaches 1/alpha in 20,000 events, after each of them."""
    found = {f"{alpha:g}": _ever(alpha, 20_000) for alpha in (0.05, 0.01, 0.001)}
    return {name: np.full(runs, 100.0 * value) for name, value in found.items()}


def _ever(alpha: float, events: int) -> float:
    """Return P(`harm` reaches 1/alpha within so many events) where each is the canary's with its share's probability.

    How much of the canary it takes grows with the number of events, and so does the evidence with it: what has not
    reached 1/alpha is the events up to one number.
    """
    enough, needed, reached = -np.log(alpha), 1, 0.0
    alive = np.ones(1)
    for number in range(1, events + 1):
        alive = np.convolve(alive, (1.0 - SHARE, SHARE))
        while needed <= number and harm([needed], [number - needed], [SHARE], 0.0) < enough:
            needed += 1
        reached += float(alive[needed:].sum())
        alive = alive[:needed]
    return reached


def strongest_of_eight(rng: Generator, runs: int, rate: float) -> Samples:
    """Draw runs of eight independent metrics of which the strongest counts, and of tests of each of them."""
    looks = 200
    share, total = np.full(looks, SHARE), np.arange(1, looks + 1) * REQUESTS
    samples = {name: np.empty(runs) for name in ("e", "z", "z01", "eight")}
    for run in range(runs):
        logs, tests = [], []
        mine = np.cumsum(rng.binomial(REQUESTS, SHARE, looks))
        for _ in range(8):
            errors = errors_by_look(rng, np.full(looks, REQUESTS), SHARE, rate, rate)
            logs.append(harm_by_look(*errors, share, 0.0))
            sums = np.cumsum(errors[0]), np.cumsum(errors[1])
            tests.append(proportions_z(sums[0], mine, sums[1], total - mine))
        samples["e"][run] = _best(np.stack(logs)) - np.log(8.0)
        samples["z"][run] = repeated(tests[0], 0.05)
        samples["z01"][run] = repeated(tests[0], 0.01)
        samples["eight"][run] = max(repeated(each, 0.05) for each in tests)
    return samples


def thresholds(rng: Generator, runs: int, rate: float) -> Samples:
    """Draw runs judged by constants, and by a canary judge on one point per minute."""
    names = ("flagger", "flagger_large", "argo", "judge", "single")
    samples = {name: np.empty(runs) for name in names}
    looks = 200
    for run in range(runs):
        requests = np.full(looks, 100)
        errors = rng.binomial(100, rate, looks)
        samples["flagger"][run] = failed_checks(errors, requests, 0.99, 5)
        samples["argo"][run] = failed_checks(errors, requests, 0.95, 3)
        large = rng.binomial(1000, rate, looks)
        samples["flagger_large"][run] = failed_checks(large, 10 * requests, 0.99, 5)
        samples["judge"][run] = judged_repeatedly(rng.binomial(600, rate, (2, 100)) / 600)
        n1 = np.array([looks * 100])
        z = proportions_z(rng.binomial(n1, rate), n1, rng.binomial(9 * n1, rate), 9 * n1)
        samples["single"][run] = repeated(z, 0.05)
    return samples


def judged_repeatedly(points: Floats) -> float:
    """Return whether `canary_judge` ever says "high" at 48 moments between 6 and 100 points."""
    ends = np.linspace(6, points.shape[1], 48).astype(int)
    return max(canary_judge(points[0, :end], points[1, :end]) for end in ends)


def ramp(rng: Generator, runs: int) -> Samples:
    """Draw a ramp over two days with a rhythm, and an incident of what both share while the canary has 25 %."""
    looks = 200
    share = np.repeat(RAMP, looks // len(RAMP))
    requests = diurnal(looks, REQUESTS)
    rate = incident(looks, 0.01, 0.06, 130, 155)
    samples = {name: np.empty(runs) for name in ("e", "pooled", "single", "flagger")}
    for run in range(runs):
        mine = rng.binomial(requests, share)
        canary, champion = rng.binomial(mine, rate), rng.binomial(requests - mine, rate)
        samples["e"][run] = _best(harm_by_look(canary, champion, share, 0.0))
        sums = [np.cumsum(each) for each in (canary, mine, champion, requests - mine)]
        z = proportions_z(*sums)
        samples["pooled"][run] = repeated(z, 0.01)
        samples["single"][run] = repeated(z[-1:], 0.01)
        samples["flagger"][run] = failed_checks(canary, mine, 0.99, 5)
    return samples


def delivery(rng: Generator, runs: int) -> Samples:
    """Draw a ramp whose errors come late, are tried again, and are read out of order and twice.

    Requests are attributed to the epoch of their coin, as workers do, and to the bin in which they completed. An error
    takes 0 to 12 looks longer than a success; half of those who got an error send another request, with a coin of its
    own. Cumulative counts of three workers are read by a reader who gets them late, twice and in any order, and merges
    by the greater.
    """
    per_epoch, tail = 30, 15
    samples = {"e": np.empty(runs), "same": np.empty(runs)}
    for run in range(runs):
        rows: list[tuple[Counts, Counts, Floats]] = []
        same = True
        for share in RAMP:
            counts = np.stack([_late_errors(rng, per_epoch, tail, share) for _ in range(3)])
            merged = _merged(rng, counts)
            same = same and bool((merged == counts.sum(axis=0)).all())
            rows.append((merged[0], merged[1], np.full(per_epoch + tail, share)))
        # Outcomes of an earlier epoch arrive while the next one is on: looks are in the order of arrival.
        start = np.concatenate([np.arange(per_epoch + tail) + i * per_epoch for i in range(len(RAMP))])
        order = np.argsort(start, kind="stable")
        canary, champion, shares = (np.concatenate([row[i] for row in rows])[order] for i in range(3))
        samples["e"][run] = _best(harm_by_look(canary, champion, shares, 0.0))
        samples["same"][run] = same
    return samples


def _late_errors(rng: Generator, looks: int, tail: int, share: float, rate: float = 0.02) -> Counts:
    """Return errors (2, looks + tail) of one worker in the bins in which they completed."""
    arrived = np.zeros((2, looks + tail), np.int64)
    requests = np.full(looks, REQUESTS // 3)
    for _ in range(2):
        errors = errors_by_look(rng, requests, share, rate, rate)
        again = np.zeros(looks, np.int64)
        for arm, counts in enumerate(errors):
            at = np.repeat(np.arange(looks), counts)
            lands = at + np.minimum(rng.geometric(0.3, len(at)) - 1, 12)
            np.add.at(arrived[arm], lands, 1)
            retried = lands[rng.random(len(at)) < 0.5]
            np.add.at(again, retried[retried < looks], 1)
        requests = again
    return arrived


def _merged(rng: Generator, counts: Counts) -> Counts:
    """Return the slices (2, looks) of a reader who gets each worker's cumulative counts twice, in any order."""
    cumulative = np.cumsum(counts, axis=2)
    workers, _, looks = counts.shape
    known = np.zeros((workers, looks, 2), np.int64)
    letters = np.tile(np.arange(workers * looks), 2)
    rng.shuffle(letters)
    for letter in letters.tolist():
        worker, look = divmod(letter, looks)
        known[worker, look] = np.maximum(known[worker, look], cumulative[worker, :, look])
    merged: Counts = np.diff(known, axis=1, prepend=0).sum(axis=0).T
    return merged


def as_built(rng: Generator, runs: int) -> Samples:
    """Draw runs judged by the guardrail itself: every bet of it, at its margin."""
    looks, margin = 90, 0.1
    guardrail = Guardrail("errors", Metric.ERRORS, margin, 0.25, 0.01, None, advisory=False)
    share, best = np.full(looks, SHARE), np.empty(runs)
    for run in range(runs):
        mine = rng.binomial(REQUESTS, SHARE, looks)
        units = mine, REQUESTS - mine
        errors = rng.binomial(units[0], 0.02 * (1 + margin)), rng.binomial(units[1], 0.02)
        best[run] = max(
            harm_with(guardrail, stretch)
            for stretch in stretches(*errors, share, range(2, looks + 1, 2), units)
        )
    return {"e": best}


_SETTING = "errors {rate}, 10 % canary, 1,000 requests a look"

CELLS = (
    *(
        Cell(
            f"errors-{name}",
            f"{_SETTING.format(rate=name)}, 200 looks",
            40_000,
            partial(at_rate, rate=rate, looks=200, margin=0.0),
            (Errs("e", "errors, margin 0"),),
        )
        for name, rate in (("0.5 %", 0.005), ("1 %", 0.01))
    ),
    Cell(
        "errors-margin",
        f"{_SETTING.format(rate='1 %')}, 200 looks; the canary is worse by exactly 10 %",
        40_000,
        partial(at_rate, rate=0.01, looks=200, margin=0.1),
        (Errs("e", "errors, margin 10 %"),),
    ),
    Cell(
        "errors-default",
        f"{_SETTING.format(rate='2 %')}, 90 looks of 10 s; the canary is worse by exactly 10 %",
        3_000,
        as_built,
        (
            Errs(
                "e",
                "the guardrail `errors` as built: outright, lesser and late harm, first events and outcomes",
                alphas=(0.05, 0.01),
            ),
        ),
    ),
    Cell(
        "errors-2000",
        f"{_SETTING.format(rate='1 %')}, 2,000 looks",
        20_000,
        partial(at_rate, rate=0.01, looks=2000, margin=0.0),
        (Errs("e", "errors, margin 0"),),
    ),
    Cell(
        "errors-computed",
        "any rate of errors, 10 % canary, 20,000 errors, looked at after each",
        1,
        computed,
        tuple(
            Figure(
                (f"{alpha:g}",),
                f"probability that 1/α is ever reached, α = {100 * alpha:g} %: computed, not simulated",
                _best,
                most=100 * alpha,
                unit=" %",
            )
            for alpha in (0.05, 0.01, 0.001)
        ),
    ),
    *(
        Cell(
            f"eight-{name}",
            f"{_SETTING.format(rate=name)}, 200 looks",
            12_000,
            partial(strongest_of_eight, rate=rate),
            (
                Errs("e", "the strongest of eight metrics, at α / 8"),
                Alarms("z", "two-proportion z at every look, p < 0.05"),
                Alarms("z01", "two-proportion z at every look, p < 0.01"),
                Alarms("eight", "the same, any of eight metrics, p < 0.05"),
            ),
        )
        for name, rate in (("0.5 %", 0.005), ("1 %", 0.01))
    ),
    *(
        Cell(
            f"thresholds-{name}",
            f"errors {name}, 200 checks",
            2_000,
            partial(thresholds, rate=rate),
            (
                Alarms("flagger", "success ≥ 99 % of 100, five failed checks (Flagger's example)"),
                Alarms("flagger_large", "success ≥ 99 % of 1,000, five failed checks"),
                Alarms("argo", "success ≥ 95 % of 100, three failed checks (Argo's example)"),
                Alarms("judge", "canary judge, 48 judgements, independent minutes"),
                Alarms("single", "two-proportion z, one look at the end, p < 0.05"),
            ),
        )
        for name, rate in (("0.5 %", 0.005), ("1 %", 0.01))
    ),
    Cell(
        "ramp",
        "ramp 1-5-10-25-50 %, a daily rhythm of ±40 %, a shared incident of 6 % errors",
        30_000,
        ramp,
        (
            Errs("e", "errors, slices never pooled"),
            Alarms("pooled", "pooled two-proportion z at every look, p < 0.01"),
            Alarms("single", "pooled two-proportion z, one look at the end, p < 0.01"),
            Alarms("flagger", "success ≥ 99 %, five failed checks"),
        ),
    ),
    Cell(
        "delivery",
        "ramp 1-5-10-25-50 %; errors come late and are tried again; counts of three workers read twice, in any order",
        10_000,
        delivery,
        (
            Errs("e", "errors, merged by the greater"),
            Share("same", "slices are the same as without", least=0.99, table=Table.FIGURES),
        ),
    ),
)

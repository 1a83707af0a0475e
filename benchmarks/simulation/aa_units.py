"""Users who come back, copies, splits, many metrics: nothing is wrong, or all of it in one place."""

from functools import partial

import numpy as np

from benchmarks.simulation.cell import Alarms, Cell, Errs, Figure, Floats, Samples, Share, Table
from benchmarks.simulation.classic import chi_square, diffy, proportions_z, repeated
from benchmarks.simulation.looks import allocation_by_look, exceeds_by_look, harm_by_look
from benchmarks.simulation.traffic import Users, errors_by_look, sticky_users
from proxy.stats.histogram import Counts
from proxy.stats.mixtures import average
from proxy.stats.multiple import e_bh, e_holm
from proxy.stats.normal import FIXED_POINT, cluster_ratio, difference, enough, one_sided

__all__ = ["CELLS", "sticky"]

Generator = np.random.Generator

LOOKS = 100
NORMAL_LOOKS = 25
HASHES = 1024
TAU = 0.005
"""Prior scale of the difference of error rates, for the normal mixture: half of the rate."""


def sticky(
    rng: Generator, runs: int, correlation: float, ratio: float = 1.0, users: int = 6000, rate: float = 0.01
) -> Samples:
    """Draw users of 1 to 500 requests each, 10 % of them in the canary; three ways to count their errors."""
    samples = {name: np.empty(runs) for name in ("first", "request", "cluster", "naive")}
    share = np.full(LOOKS, 0.1)
    for run in range(runs):
        drawn = sticky_users(rng, users, 0.1, rate, rate * ratio, correlation)
        samples["first"][run] = harm_by_look(*_first_errors(drawn), share, 0.0).max()
        every = _all_errors(rng, drawn)
        samples["request"][run] = harm_by_look(*every, share, 0.0).max()
        samples["cluster"][run] = _clustered(rng, drawn)
        samples["naive"][run] = _naive(drawn, every)
    samples["request_at"] = (samples["request"] >= -np.log(0.01)).astype(np.float64)
    samples["naive_at"] = (samples["naive"] >= -np.log(0.01)).astype(np.float64)
    samples["first_at"] = (samples["first"] >= -np.log(0.01)).astype(np.float64)
    samples["cluster_at"] = (samples["cluster"] >= -np.log(0.01)).astype(np.float64)
    return samples


def _looks_of(moments: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> Counts:
    return np.bincount(np.minimum((moments * LOOKS).astype(np.int64), LOOKS - 1), minlength=LOOKS)


def _first_errors(users: Users) -> tuple[Counts, Counts]:
    found = users.errors > 0
    return (
        _looks_of(users.first_error[found & users.in_canary]),
        _looks_of(users.first_error[found & ~users.in_canary]),
    )


def _all_errors(rng: Generator, users: Users) -> tuple[Counts, Counts]:
    """Return every error in the look in which it falls: the first when it was first, the others after it."""
    result = []
    for mine in (users.in_canary, ~users.in_canary):
        first = np.repeat(users.first_error[mine], np.maximum(users.errors[mine] - 1, 0))
        later = first + (1.0 - first) * rng.random(len(first))
        result.append(_looks_of(np.concatenate([users.first_error[mine & (users.errors > 0)], later])))
    return result[0], result[1]


def _clustered(rng: Generator, users: Users) -> float:
    """Return the greatest log e of the normal mixture over hash buckets of users, where it may be trusted."""
    hashes = rng.integers(0, HASHES, len(users.requests))
    counts = np.zeros((2, 2, HASHES), np.int64)
    left = [users.requests.copy(), users.errors.copy()]
    best = 0.0
    for look in range(NORMAL_LOOKS):
        part = 1.0 / (NORMAL_LOOKS - look)
        for row in range(2):
            now = rng.binomial(left[row], part)
            left[row] -= now
            for arm, mine in enumerate((users.in_canary, ~users.in_canary)):
                np.add.at(counts[arm, row], hashes[mine], now[mine])
        arms = [cluster_ratio(counts[arm, 0], counts[arm, 1] * FIXED_POINT) for arm in range(2)]
        found = difference(arms[0], arms[1])
        if enough(found, int(counts[:, 1].sum())):
            best = max(best, one_sided(found.value, found.variance, 0.0, TAU))
    return best


def _naive(users: Users, errors: tuple[Counts, Counts]) -> float:
    """Return the greatest log e of a normal mixture that takes requests for independent."""
    best = 0.0
    totals = [int(users.requests[mine].sum()) for mine in (users.in_canary, ~users.in_canary)]
    for look in range(LOOKS // NORMAL_LOOKS - 1, LOOKS, LOOKS // NORMAL_LOOKS):
        n = [total * (look + 1) / LOOKS for total in totals]
        k = [int(each[: look + 1].sum()) for each in errors]
        p = [k[arm] / n[arm] for arm in range(2)]
        variance = sum(p[arm] * (1.0 - p[arm]) / n[arm] for arm in range(2))
        if sum(k) >= 20 and variance > 0.0:
            best = max(best, one_sided(p[0] - p[1], variance, 0.0, TAU))
    return best


def disagreement(rng: Generator, runs: int) -> Samples:
    """Draw copies that disagree exactly as often as is tolerated: 2 % of 100 a look, 200 looks."""
    total = np.arange(1, 201) * 100
    samples = {name: np.empty(runs) for name in ("e", "z")}
    for run in range(runs):
        count = np.cumsum(rng.binomial(100, 0.02, 200))
        samples["e"][run] = exceeds_by_look(count, total, 0.02).max()
        z = (count - 0.02 * total) / np.sqrt(0.02 * 0.98 * total)
        samples["z"][run] = repeated(z[4:], 0.05)
    return samples


def triples(rng: Generator, runs: int) -> Samples:
    """Draw a champion that disagrees with itself on 3 % of requests, and a candidate that is the same."""
    looks = 200
    samples = {name: np.empty(runs) for name in ("e", "diffy")}
    for run in range(runs):
        odd = rng.multinomial(100, (0.03 * 0.97, 0.03 * 0.97, 0.03**2, 1 - 0.03 * 1.97), looks)
        share = np.full(looks, 0.5)
        samples["e"][run] = harm_by_look(odd[:, 0], odd[:, 1], share, 0.0).max()
        raw, noise = np.cumsum(odd[:, 0] + odd[:, 2]), np.cumsum(odd[:, 1] + odd[:, 2])
        samples["diffy"][run] = diffy(raw, noise, np.arange(1, looks + 1) * 100)
    return samples


def split(rng: Generator, runs: int) -> Samples:
    """Draw units that fall as they should: 10 %, 1000 a look, 200 looks."""
    shares, looks = np.array([0.1, 0.9]), 200
    samples = {name: np.empty(runs) for name in ("e", "chi01", "chi001")}
    for run in range(runs):
        mine = rng.binomial(1000, 0.1, looks)
        units = np.cumsum(np.stack([mine, 1000 - mine], axis=1), axis=0)
        samples["e"][run] = allocation_by_look(units, shares).max()
        root = chi_square(units, shares)
        # One-sided levels of the root are half of those of the chi-square.
        samples["chi01"][run] = repeated(root, 0.005)
        samples["chi001"][run] = repeated(root, 0.0005)
    return samples


def many(rng: Generator, runs: int) -> Samples:
    """Draw 50 metrics of 3 challengers, none of them worse, with a quarter of the traffic each and one champion.

    Half of a variant's errors are in all its metrics at once. A third of the risk goes to each challenger.
    """
    looks, metrics = 100, 50
    share, n = np.full(looks, 0.5), np.arange(1, looks + 1) * 500
    samples = {name: np.empty(runs) for name in ("rollback", "named", "z")}
    for run in range(runs):
        arms = rng.binomial(500, 0.01, (4, metrics, looks)) + rng.binomial(500, 0.01, (4, 1, looks))
        best = {"rollback": -np.inf, "named": -np.inf, "z": 0.0}
        for challenger in arms[1:]:
            found = np.stack(
                [harm_by_look(*counts, share, 0.0) for counts in zip(challenger, arms[0], strict=True)]
            )
            overall = float(found.max()) - np.log(metrics)
            best["rollback"] = max(best["rollback"], overall - np.log(3.0))
            last = float(e_holm(found[:, -1]).max())
            best["named"] = max(best["named"], last - np.log(3.0))
            sums = np.cumsum(challenger, axis=1), np.cumsum(arms[0], axis=1)
            best["z"] = max(best["z"], repeated(proportions_z(sums[0], n, sums[1], n).ravel(), 0.01))
        for name, value in best.items():
            samples[name][run] = value
    return samples


def discoveries(rng: Generator, runs: int) -> Samples:
    """Draw 150 metrics of which 30 are worse by half, and the share of wrong names of e-BH at the end."""
    metrics, worse, share, looks = 150, 30, np.array([0.5]), 40
    samples = {name: np.empty(runs) for name in ("false", "found")}
    for run in range(runs):
        ratio = np.where(np.arange(metrics) < worse, 1.5, 1.0)
        canary, champion = errors_by_look(rng, 1000 * looks, 0.5, 0.01, 0.01 * ratio)
        logs = [
            average(harm_by_look(canary[i : i + 1], champion[i : i + 1], share, 0.0), [1.0])
            for i in range(metrics)
        ]
        named = e_bh(logs, 0.1)
        samples["false"][run] = named[worse:].sum() / max(1, named.sum())
        samples["found"][run] = named[:worse].mean()
    return samples


def _mean_percent(values: Floats) -> float:
    return 100.0 * float(values.mean())


_USERS = "sticky users, 1 to 500 requests each, correlation {icc}"

CELLS = (
    *(
        Cell(
            f"sticky-{icc}",
            f"{_USERS.format(icc=icc)}, 10 % canary, 100 looks",
            1_000,
            partial(sticky, correlation=icc),
            (
                Errs("first", "errors, first of each user", alphas=(0.05, 0.01)),
                Errs("cluster", "normal mixture, variance over 1,024 hashes of users", alphas=(0.05, 0.01)),
                Alarms("request_at", "bets on requests, α = 1 % (a misuse of ours)"),
                Alarms("naive_at", "normal mixture that takes requests for independent, α = 1 %"),
            ),
        )
        for icc in (0.02, 0.1, 0.3)
    ),
    Cell(
        "sticky-twice",
        f"{_USERS.format(icc=0.3)}, 10 % canary; the canary fails twice as often",
        800,
        partial(sticky, correlation=0.3, ratio=2.0),
        (
            Share("first_at", "found by first errors, α = 1 %", least=0.75, table=Table.FIGURES),
            Share("cluster_at", "found by the normal mixture, α = 1 %", table=Table.FIGURES),
        ),
    ),
    Cell(
        "disagreement",
        "copies disagree exactly as often as is tolerated, 2 %; 100 a look, 200 looks",
        30_000,
        disagreement,
        (
            Errs("e", "disagreement"),
            Alarms("z", "z of one proportion at every look, p < 0.05"),
        ),
    ),
    Cell(
        "triples",
        "two answers of the champion and one of the candidate, 3 % noise, 100 a look, 200 looks",
        30_000,
        triples,
        (
            Errs("e", "disagreement beyond the champion's own"),
            Alarms("diffy", "raw > noise by 20 % and by 0.03 % (Diffy), ever flagged"),
        ),
    ),
    Cell(
        "split",
        "units fall as they should, 10 %; 1,000 a look, 200 looks",
        30_000,
        split,
        (
            Errs("e", "sample ratio mismatch"),
            Alarms("chi01", "chi-square at every look, p < 0.01"),
            Alarms("chi001", "chi-square at every look, p < 0.001"),
        ),
    ),
    Cell(
        "many",
        "50 metrics of each of 3 challengers, half of their errors shared, 100 looks",
        1_200,
        many,
        (
            Errs("rollback", "any of the challengers rolled back, α / 3 for each", alphas=(0.05, 0.01)),
            Errs("named", "any metric named by e-Holm at the end, α / 3 for each", alphas=(0.05, 0.01)),
            Alarms("z", "two-proportion z, any metric at any look, p < 0.01"),
        ),
    ),
    Cell(
        "discoveries",
        "150 metrics, of which 30 are worse by half, after 40,000 requests",
        600,
        discoveries,
        (
            Figure(
                ("false",),
                "wrong among those named by e-BH at 10 %, mean",
                _mean_percent,
                most=10.0,
                unit=" %",
            ),
            Figure(("found",), "found of those that are worse, mean", _mean_percent, unit=" %"),
        ),
    ),
)

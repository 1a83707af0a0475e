"""Joining e-values: averages, maxima, delayed starts, and the beta and Dirichlet mixtures of multinomial bets.

A weighted average of e-values is an e-value whatever the dependence between them, and an average of
e-processes in one filtration is an e-process (Vovk & Wang, "E-values: calibration, combination and
applications", Annals of Statistics 2021). Bets on the same coins that learn of them at different moments are in
different filtrations: an average of those guarantees nothing to whoever stops when it is great. `strongest` does.
"""

import math

import numpy as np
from numpy.typing import ArrayLike

from proxy.stats.special import Floats, deviance, logsumexp, stirling_correction

__all__ = ["average", "late_onset", "late_onset_each", "mixed", "multinomial", "strongest", "strongest_each"]


def average(log_es: ArrayLike, weights: ArrayLike) -> float:
    """Return the logarithm of the weighted mean of e-values.

    Model: the weights are fixed before the evidence; any dependence between the e-values is allowed.
    Shapes: ``log_es: (M,)``, ``weights: (M,)``, not negative; they are divided by their sum.
    Range: between the least and the greatest of the logs; ``-inf`` where all e-values are 0.
    Edges: a weight of 0 leaves its e-value out; one e-value is its own average. No e-values: 0 (E = 1).

    Raises:
        ValueError: NaN or ``+inf`` in the logs, a negative weight, weights that are all 0, or other lengths.

    Source: Vovk & Wang (2021): the arithmetic mean of e-values is an e-value.
    Checked against: sums of exponentials in rational arithmetic.
    """
    logs, shares = _weighed(log_es, weights)
    return float(logsumexp(logs + np.log(shares))) if logs.size else 0.0


def strongest(log_es: ArrayLike, weights: ArrayLike) -> float:
    """Return the logarithm of the greatest of some e-values, each times its part of the money.

    What to use in place of `average` for e-processes of different filtrations: of a user who comes back the coin
    is revealed to the bet on durations by the first answer, and to the bet on errors by the first error. The mean
    of the two at a moment that is chosen knowing both may exceed 1, for one may know what the other is about to bet
    on. The greatest has a guarantee whatever each knows: by Ville's inequality, for each in its own filtration,
    ``P(E_i ever reaches 1 / (w_i alpha)) <= w_i alpha``, and the sum of those is at most alpha:

        ``P(at any time max_i w_i E_i >= 1/alpha) <= alpha``.

    So its reciprocal is an anytime-valid p-value, in every filtration; it is no e-process, and may enter another
    `strongest` (a part of the money of a part), but no average. It is less than `average` by what the others have.

    Model: each e-value is that of an e-process in some filtration, or has such a guarantee; any dependence.
    Shapes, edges and errors as of `average`, and no greater than that.

    Source: Ville's inequality and a union bound. Why not the average: Choe & Ramdas, "Combining evidence across
    filtrations", arXiv 2402.09698.
    Checked against: full enumeration of a tree on which the average fails.
    """
    logs, shares = _weighed(log_es, weights)
    return float((logs + np.log(shares)).max()) if logs.size else 0.0


def strongest_each(log_es: Floats, weights: Floats) -> Floats:
    """Return `strongest` over the last axis: ``log_es: (..., K)``, ``weights: (K,)`` above 0, result ``(...)``.

    Where nothing is known yet, all e-values 1 exactly, the result is 0: what counts as evidence exceeds that anyway.
    """
    found: Floats = (log_es + np.log(weights / weights.sum())).max(axis=-1)
    return np.where((log_es == 0.0).all(axis=-1), 0.0, found)


def _weighed(log_es: ArrayLike, weights: ArrayLike) -> tuple[Floats, Floats]:
    """Return the logs that have a weight, and the weights, of which the sum is 1."""
    logs, shares = np.asarray(log_es, np.float64), np.asarray(weights, np.float64)
    if logs.shape != shares.shape or logs.ndim != 1:
        raise ValueError(f"expected one weight per e-value, got {shares.shape} for {logs.shape}")
    if not logs.size:
        return logs, shares
    if np.isnan(logs).any() or (logs == np.inf).any():
        raise ValueError("expected logs of e-values that are finite or -inf")
    if not (shares >= 0.0).all() or not 0.0 < math.fsum(shares) < math.inf:
        raise ValueError("expected weights of at least 0 that are not all 0")
    kept = shares > 0.0
    total = math.fsum(shares)
    return logs[kept], shares[kept] / total


def mixed(log_es: Floats, parts: Floats) -> Floats:
    """Return the log of the weighted mean over the last axis: what several bets with parts of the money are worth.

    Shapes: ``log_es: (..., J)`` finite, ``parts: (J,)`` above 0. Where all e-values are 1 and the parts are
    whole numbers the result is 0 exactly.
    """
    top = log_es.max(axis=-1)
    mean = (np.exp(log_es - top[..., None]) * parts).sum(axis=-1) / parts.sum()
    result: Floats = top + np.log(mean)
    return result


def late_onset(
    log_e_by_start: ArrayLike, planned: int, index: ArrayLike | None = None, *, at_once: float = 0.5
) -> float:
    """Return the log e-value of a bettor who starts again with each slice, as one who waits does.

    A long healthy period costs a bet that started with it all its money. A part a of the money, half of it, is
    therefore bet from the start, and the other part is spread evenly over the slices that are planned, each
    share of it waiting (worth what it is) until its slice comes:
    ``E* = sum_j u_j E_{j:t} + sum_{j > t} u_j``, ``u_0 = a + (1 - a)/J``, ``u_j = (1 - a)/J``.

    Model: each ``E_{j:t}`` is an e-process that is 1 before slice j; then so is their mixture.
    Shapes: ``log_e_by_start: (S,)``, entry i is the log evidence of its slice and all later ones.
    ``index: (S,)`` is the number, from 0, that each slice had when it came; needed once slices have been
    joined (coarsened): a start that is gone takes its money with it. Without it ``0..S-1``.
    ``at_once`` is a, in [0, 1].
    Range: finite, at least ``log(u_0) + log_e_by_start[0]``; at most the greatest of 0 and the logs.
    Edges: no slices: 0 (E = 1). More slices than planned: those past the plan have no money of their own.

    Raises:
        ValueError: planned below 1, at_once outside its range, or an index that does not start with 0 and rise.

    Source: mixtures over starting times, as in Shin, Ramdas & Rinaldo, "E-detectors" (2024).
    Checked against: the sum in plain arithmetic; validity by full enumeration.
    """
    return float(late_onset_each(log_e_by_start, planned, index, at_once=at_once))


def late_onset_each(
    log_e_by_start: ArrayLike, planned: int, index: ArrayLike | None = None, *, at_once: float = 0.5
) -> Floats:
    """Return `late_onset` of several metrics at once: ``log_e_by_start: (..., S)``, result ``(...)``, the same bits."""
    logs = np.asarray(log_e_by_start, np.float64)
    if planned < 1:
        raise ValueError(f"expected at least 1 planned slice, got {planned}")
    if not 0.0 <= at_once <= 1.0:
        raise ValueError(f"expected a part of the money from 0 to 1, got {at_once}")
    slices = logs.shape[-1]
    if not slices:
        return np.zeros(logs.shape[:-1])
    numbers = np.arange(slices) if index is None else np.asarray(index, np.int64)
    if len(numbers) != slices or numbers[0] != 0 or (np.diff(numbers) <= 0).any():
        raise ValueError("expected slice numbers that start with 0 and rise, one per slice")
    later = (1.0 - at_once) / planned
    funded = numbers < planned if later else numbers < 1
    money = np.where(numbers == 0, at_once + later, later)
    terms = logs[..., funded] + np.log(money[funded])
    if waiting := max(0, planned - 1 - int(numbers[-1])) * later:
        terms = np.concatenate([terms, np.full((*logs.shape[:-1], 1), math.log(waiting))], axis=-1)
    return logsumexp(terms)


def multinomial(counts: ArrayLike, probabilities: ArrayLike, strength: ArrayLike) -> Floats:
    """Return the log e-value of a Dirichlet mixture against given probabilities of categories.

    ``log DirMult(x; k theta) - log Mult(x; theta)``, where ``k theta`` are the prior's parameters: with two
    categories the beta-binomial mixture. Written in deviances, so that 10^12 counts lose no digits:
    ``sum_i dev(A_i + x_i, (k+n) theta_i) - 1/2 sum_i log((A_i + x_i)/A_i) + 1/2 log((k+n)/k) + corrections``.

    Model: at each unit, given the past, category i has the probability theta_i.
    Shapes: ``counts: (..., K)``, ``probabilities: (..., K)``, each in (0, 1) with the sum 1 over the last
    axis, ``strength: (...)`` above 0: how many units the prior is worth. Result ``(...)``.
    Range: finite; 0 for no counts; at least about ``-(K-1)/2 log(1 + n/k)``.

    Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
    Checked against: savvi 0.3.1's ``Multinomial`` (1.988121467), lgamma with 60 digits.
    """
    x, theta = np.asarray(counts, np.float64), np.asarray(probabilities, np.float64)
    k = np.asarray(strength, np.float64)
    n = x.sum(axis=-1)
    prior = k[..., None] * theta
    after = prior + x
    fit = deviance(after, (k + n)[..., None] * theta, x - n[..., None] * theta)
    each = fit - 0.5 * np.log1p(x / prior) + stirling_correction(after) - stirling_correction(prior)
    result: Floats = (
        each.sum(axis=-1) + 0.5 * np.log1p(n / k) + stirling_correction(k) - stirling_correction(k + n)
    )
    return result

"""Many e-values: which of them may be named when the whole says that something is wrong."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from proxy.stats.special import Floats

__all__ = ["e_bh", "e_holm"]


def e_holm(log_es: ArrayLike, weights: ArrayLike | None = None) -> Floats:
    """Return log e-values adjusted so that naming all that reach log(1/alpha) errs with probability <= alpha.

    The adjusted value of one is the least that `mixtures.strongest` makes of any set that it is in (closed testing).
    Whoever is named here is also named by the strongest of all: attribution never says more than the decision.

    Model: any dependence; e-processes of any filtrations. The guarantee holds at every moment at once: whatever is
    true, to name anyone wrongly the set of all true claims must have reached 1/alpha, which it ever does with
    probability alpha at most.
    Shapes: ``log_es: (K,)``, finite or -inf, ``weights: (K,)`` above 0, fixed beforehand; equal without. The
    result is ``(K,)``, at most ``log_es``.
    Edges: one e-value is unchanged; none give none.

    Raises:
        ValueError: NaN or +inf, or weights that are not above 0 or of another length.

    Source: Holm (1979) with weights, on the reciprocals of e-values; closed testing as in Vovk & Wang, "E-values:
    calibration, combination and applications" (Annals of Statistics 2021), with maxima in place of means.
    Checked against: all subsets, for up to 8 e-values.
    """
    logs = _logs(log_es)
    shares = np.ones(len(logs)) if weights is None else np.asarray(weights, np.float64)
    if shares.shape != logs.shape or not ((shares > 0.0) & np.isfinite(shares)).all():
        raise ValueError("expected one weight above 0 per e-value")
    money = np.log(shares) + logs
    order = np.argsort(money, kind="stable")
    # A set is weakest with everyone in it who does not raise its strongest member.
    weakest = money[order] - np.log(np.cumsum(shares[order]))
    adjusted = np.empty(len(logs))
    adjusted[order] = np.minimum.accumulate(weakest[::-1])[::-1]
    return np.minimum(adjusted, logs)


def e_bh(log_es: ArrayLike, level: float) -> NDArray[np.bool_]:
    """Return which e-values may be named so that the expected share of wrong ones among them is at most level.

    The k greatest are named, for the greatest k such that the k-th greatest is at least ``K / (k level)``.

    Model: any dependence. At one moment, or when looking stops by a rule; not for every moment at once.
    Shapes: ``log_es: (K,)``, finite or -inf; result ``(K,)``. Equal e-values are named together.

    Raises:
        ValueError: NaN or +inf, or a level outside (0, 1).

    Source: Wang & Ramdas, "False discovery rate control with e-values" (JRSSB 2022): the base e-BH procedure.
    Checked against: its definition, subset by subset.
    """
    logs = _logs(log_es)
    if not 0.0 < level < 1.0:
        raise ValueError(f"expected a level in 0..1, got {level}")
    if not len(logs):
        return np.zeros(0, np.bool_)
    falling = np.sort(logs)[::-1]
    needed = np.log(len(logs)) - np.log(level) - np.log(np.arange(1, len(logs) + 1))
    reached = np.flatnonzero(falling >= needed)
    if not len(reached):
        return np.zeros(len(logs), np.bool_)
    named: NDArray[np.bool_] = logs >= falling[reached[-1]]
    return named


def _logs(log_es: ArrayLike) -> Floats:
    logs = np.asarray(log_es, np.float64)
    if logs.ndim != 1 or np.isnan(logs).any() or (logs == np.inf).any():
        raise ValueError("expected logs of e-values in one dimension, finite or -inf")
    return logs

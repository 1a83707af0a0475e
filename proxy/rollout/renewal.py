"""Evidence from units that come back: what began after everybody had been counted.

A unit's coin is flipped once. So everybody who was met is counted, and a bet on first answers has nothing to learn from
then on. But each *generation* (an hour) is an experiment of its own: count every unit at its first answer, and at its
first event of each kind, in this hour, as if it had never been seen. Where the canary is no worse, the hour says
nothing about how the coins fell, and its bets are worth 1 on average and reach 1/alpha with probability alpha at most.

Hours may not be multiplied
    Who was slow in one hour is slow in the next, with the same coin: evidence of two hours is largely the same. The
    bets of each hour are fair for somebody who has not seen the hours before. Somebody who has may know every coin, and
    for them a mean of bets is not fair either (Choe & Ramdas, "Combining evidence across filtrations", arXiv
    2402.09698). What holds whatever anybody knows is Ville's inequality for each, in its own filtration, and that
    probabilities of a union add up at most: with parts of the money w that are fixed beforehand,

        ``P(ever w_0 E_ever >= 1/alpha, or w_g E_g >= 1/alpha for any hour g) <= (w_0 + sum w_g) alpha <= alpha``.

    So the greatest counts (:func:`proxy.stats.mixtures.strongest`), and no sum or product.

The money
    0.8 stays with the evidence of first times, which is all there is of users who come once. The hours share 0.2: half
    of it the first 8, evenly, half of the rest the 16 after them, and so on, each block twice as long. It is fixed by
    the number of the hour since the evidence began alone, and nothing that can be edited on the way. The hour in which
    the evidence begins has none: its units are counted as first times. After a promotion it has: there nobody is new.

Where nobody comes back
    Without a single unit counted (a route without ``unit``, requests that are all their own coins) there are no hours,
    and the evidence of first times has all the money. A rollout that counts its first unit late had it all until then:
    it is rolled back by chance with probability ``1.2 alpha`` at most, which only such can reach.

Limits
    * Units are sticky, so weights of later hours were chosen by who knew about earlier ones. A ramp after good hours
      goes on to a larger share of the same users. That favours no canary that is no worse in the simulation
      (``tests/rollout/test_renewal.py``), and the parts of the money leave room; it is not proved.
    * Scores of latency are frozen before the hour, from both variants together. From the champion alone they would
      know which slow users are the champion's.
    * Nothing of this is used to show that a canary is good, or how the coin falls: there each unit counts once.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import log

import numpy as np

from proxy.model import Metric
from proxy.rollout.evidence import GuardrailEvidence, GuardrailGrounds
from proxy.rollout.guardrails import OUTRIGHT, WIDE_MARGIN, Stretch
from proxy.rollout.plan import EVENT_METRICS, Guardrail
from proxy.rollout.showing import at_each_quantile
from proxy.rollout.slices import BUCKETS, RENEWED_EVENTS, Counts, Reals
from proxy.stats import events, histogram, latency

__all__ = ["EVER", "Hours", "money_of"]

EVER = 0.8
"""Part of the money on first times."""

_FIRST_BLOCK = 8
_LOG_TWO = log(2)


def money_of(numbers: Counts) -> Reals:
    """Return the part of the money of each hour, by its number since the evidence began: 1 is the first whole one.

    It adds up to ``1 - EVER``, over all hours there can ever be.
    """
    block = np.floor(np.log2(np.maximum(numbers - 1, 0) / _FIRST_BLOCK + 1))
    each = (1 - EVER) * 0.5 ** (block + 1) / (_FIRST_BLOCK * 2.0**block)
    return np.where(numbers > 0, each, 0.0)


class Hours:
    """The generations of one stretch of evidence.

    Args:
        stretch: the evidence.
        is_later: another stretch came before it, in which most units were counted that there are.
    """

    def __init__(self, stretch: Stretch, *, is_later: bool = False) -> None:
        self._stretch = stretch
        renewals = stretch.bins.renewals
        numbers = renewals.generation - stretch.beginning_ns // renewals.period_ns + int(is_later)
        coin = (renewals.share > 0) & (renewals.share < 1)
        kept = np.flatnonzero((numbers > 0) & coin)
        self._rows = renewals.only(kept)
        # A generation has a row for each epoch in it.
        self._firsts = np.flatnonzero(np.diff(numbers[kept], prepend=0))
        self._log_money = np.log(money_of(numbers[kept][self._firsts]))
        self.log_ever = log(EVER) if renewals.epochs else 0.0
        """The logarithm of the part of the money on first times."""

    def strengthen(
        self, guardrails: Sequence[Guardrail], found: Sequence[GuardrailGrounds]
    ) -> tuple[GuardrailGrounds, ...]:
        """Return what first times say of each guardrail or what an hour does, whichever is stronger."""
        if not self.log_ever:
            return tuple(found)
        if not len(self._firsts):
            none = np.zeros(0)
            return tuple(self._joined(each, none, none) for each in found)
        on_events = [
            each for each in guardrails if each.metric in EVENT_METRICS or each.metric is Metric.SLOW
        ]
        of_events = zip(*self._events(on_events), strict=True) if on_events else iter(())
        joined = []
        for guardrail, each in zip(guardrails, found, strict=True):
            if guardrail.metric is Metric.DISAGREEMENT:
                joined.append(each)  # of copies, which have no coin
            elif guardrail.metric is Metric.LATENCY:
                joined.append(self._joined(each, *self._latency(guardrail.margin)))
            else:
                joined.append(self._joined(each, *next(of_events)))
        return tuple(joined)

    def _joined(self, found: GuardrailGrounds, harm: Reals, suspicion: Reals) -> GuardrailGrounds:
        """Return ``found`` with log e of each generation."""
        if found.metric is Metric.DISAGREEMENT:
            return found
        again = float((self._log_money + harm).max(initial=-np.inf))
        suspected = float((self._log_money + suspicion).max(initial=-np.inf))
        parts = (("first_times", self.log_ever + found.harm), ("hours", again)) if len(harm) else ()
        return replace(
            found,
            harm=max(self.log_ever + found.harm, again),
            suspicion=max(self.log_ever + found.suspicion, suspected),
            parts=(*found.parts, *parts),
        )

    def tell(self, guardrail: Guardrail, shown: GuardrailEvidence) -> GuardrailEvidence:
        """Return what is shown of a guardrail, with the figures of an hour where that is what speaks against it."""
        parts = dict(shown.parts)
        if not parts.get("hours", -np.inf) > parts.get("first_times", 0.0):
            return shown
        is_latency = guardrail.metric is Metric.LATENCY
        figures = self._latency(guardrail.margin) if is_latency else self._events([guardrail])
        hour = int((self._log_money + figures[0].reshape(-1)).argmax())
        part = slice(self._firsts[hour], [*self._firsts[1:], len(self._rows.epochs)][hour])
        arms = [arm[part] for arm in (self._rows.canary, self._rows.champion)]
        totals = [int(arm[:, :BUCKETS].sum()) for arm in arms]
        if is_latency:
            mine, other = (at_each_quantile(arm[:, :BUCKETS].sum(axis=0)) for arm in arms)
            shown = replace(shown, canary_ns=mine, champion_ns=other)
        else:
            found = [int(_events_of([guardrail], arm).sum()) for arm in arms]
            shown = replace(shown, canary_events=found[0], champion_events=found[1])
        return replace(shown, canary_total=totals[0], champion_total=totals[1], is_of_one_hour=True)

    def _events(self, guardrails: Sequence[Guardrail]) -> tuple[Reals, Reals]:
        """Return log e of harm, and of any difference, for each guardrail and generation: (M, G) each."""
        rows = self._rows
        shares, which = np.unique(rows.share, return_inverse=True)
        generation = np.repeat(np.arange(len(self._firsts)), np.diff([*self._firsts, len(rows.epochs)]))
        canary, champion = (
            np.zeros((len(guardrails), len(self._firsts), len(shares)), np.int64) for _ in range(2)
        )
        for total, arm in ((canary, rows.canary), (champion, rows.champion)):
            np.add.at(total.transpose(1, 2, 0), (generation, which), _events_of(guardrails, arm))
        harm = np.zeros(canary.shape[:2])
        margins = np.array([each.margin for each in guardrails])
        for margin in np.unique(margins).tolist():
            same = np.flatnonzero(margins == margin)
            arms = canary[same], champion[same]
            outright = events.harm_at_each(*arms, shares, margin, (1 + margin) * OUTRIGHT)
            # Both learn of coins by the same events.
            harm[same] = np.logaddexp(outright, events.harm_each(*arms, shares, margin)) - _LOG_TWO
        return harm, events.harm_each(canary, champion, shares, 0.0)

    def _latency(self, margin: float) -> tuple[Reals, Reals]:
        """Return log e of harm, and of "slower by the margin" without the guard of hosts, for each generation."""
        rows, count = self._rows, len(self._firsts)
        found = np.zeros((2, count))
        shifts = [histogram.buckets_of_margin(each) for each in (max(WIDE_MARGIN, margin), margin)]
        ends = [*self._firsts[1:].tolist(), len(rows.epochs)]
        for number, (first, end) in enumerate(zip(self._firsts.tolist(), ends, strict=True)):
            if (reference := int(rows.reference[first])) >= 0:
                part = slice(first, end)
                arms = rows.canary[part, :BUCKETS], rows.champion[part, :BUCKETS]
                scores = rows.references[reference]
                found[:, number] = latency.slower_alone(*arms, rows.share[part], scores, shifts)
        wide, narrow = found
        agreed = np.minimum(narrow, self._guard(margin, narrow))
        return np.maximum(wide, agreed) - _LOG_TWO, narrow

    def _guard(self, margin: float, narrow: Reals) -> Reals:
        """Return the blocks' log e of each generation; -inf, which agrees with nothing, where requests say nothing."""
        period_ns = self._rows.period_ns
        guard = np.full(len(narrow), -np.inf)
        for number in np.flatnonzero(narrow > 0).tolist():
            begin_ns = int(self._rows.generation[self._firsts[number]]) * period_ns
            guard[number] = self._stretch.guard_between(margin, begin_ns, begin_ns + period_ns)
        return guard


def _events_of(guardrails: Sequence[Guardrail], arm: Counts) -> Counts:
    """Return (R, M) the first events of units in each row, for each guardrail."""
    # Column k: how many took at least as long as bucket k says.
    longer = arm[:, BUCKETS - 1 :: -1].cumsum(axis=1)[:, ::-1]
    columns = []
    for each in guardrails:
        if each.metric is not Metric.SLOW:
            columns.append(arm[:, RENEWED_EVENTS + EVENT_METRICS.index(each.metric)])
            continue
        assert each.threshold_ns is not None  # the settings ask for it
        first = histogram.bucket_of(each.threshold_ns) + 1
        columns.append(longer[:, first] if first < BUCKETS else np.zeros(len(arm), np.int64))
    return np.stack(columns, axis=1)

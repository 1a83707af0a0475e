"""From slices to evidence: what the counts of a rollout say, in one value.

Stretches
    A rollout has two stretches of evidence, each with its own accepted risk: from its beginning to the promotion, and
    from the promotion on. After it the canary is the one with most of the traffic and the holdback is what it is
    compared with; harm still means that the new one is worse.

All guardrails together
    The overall evidence of harm is the greatest of the critical guardrails' e-values, each times its weight. Errors and
    latency have 0.3 each, the others share 0.4 but have no more than 0.3; of these, those that the plan has, scaled to
    1. Weights depend on the plan alone. Not the sum: the first answer of a user who comes back reveals a coin that the
    bets on errors have yet to be paid for, and a sum of bets of which some know what others wait for guarantees nothing
    (:func:`proxy.stats.mixtures.strongest`).

Problems, as they are called in :attr:`~proxy.rollout.evidence.Evidence.problems`
    ``counts_backwards``: a counter fell, less than a ``hold`` (a minute at least) ago. What was counted meanwhile is
    left out (:mod:`proxy.engine.continuity`), and what is there is sound: so harm is heard, but nothing is raised until
    it has been watched for a step's time without another fall. ``no_canary_traffic``: in the present epoch the champion
    has so many units that the canary should have had 20, and it has none. ``stray_units``: units of a variant without a
    share. ``feedback_srm``: feedback, on which a critical guardrail rests, comes for one variant more often than its
    share says. ``stale``: the counts were not read for 30 s. ``clock``: it jumped.
"""

from collections import Counter
from dataclasses import dataclass, fields, replace
from functools import cached_property
from math import inf, log

import numpy as np
from numpy.typing import NDArray

from proxy.model import Metric
from proxy.rollout import feedback
from proxy.rollout.evidence import Evidence, Grounds, GuardrailEvidence, GuardrailGrounds
from proxy.rollout.guardrails import Stretch, difference_limit, first_outcomes, halves, weigh
from proxy.rollout.plan import HARM_METRICS, Guardrail, Plan
from proxy.rollout.renewal import Hours
from proxy.rollout.showing import events_to_harm, ratio_of_events, show
from proxy.rollout.slices import (
    BUCKETS,
    FIRST_LATENCY,
    REQUEST_ERRORS,
    REQUESTS,
    UNITS,
    Allocation,
    Slices,
)
from proxy.rollout.state import Phase, RolloutState
from proxy.rollout.switched import judge_switched, judge_switched_feedback
from proxy.stats import mixtures, multiple, proportion
from proxy.stats.allocation import mismatch

__all__ = ["Assembly", "assemble", "weights_of"]

_STALE_NS = 30_000_000_000
_LEAST_DOUBT_NS = 60_000_000_000
_LATELY_NS = 300_000_000_000
_EXPECTED_UNITS = 20
"""Units of the canary that chance leaves out in one of e^20 rollouts."""

_COMPARED = 50
"""Coins of the canary whose latency was compared, without which it counts as never compared."""

_WEIGHTS = {Metric.ERRORS: 0.3, Metric.LATENCY: 0.3}
_REST = 0.4
_MOST_WEIGHT = 0.3


def assemble(plan: Plan, state: RolloutState, slices: Slices, now_ns: int) -> Evidence:
    """Return what the counts say about a rollout; arguments as of :class:`Assembly`."""
    return Assembly(plan, state, slices, now_ns).evidence


@dataclass(frozen=True)
class Assembly:
    """The evidence of one moment, of which each part is made when it is first asked for."""

    plan: Plan
    """What the file asks for."""
    state: RolloutState
    """Where the rollout stands: which stretch of evidence counts, and since when it is on its step."""
    slices: Slices
    """All slices of this rollout id."""
    now_ns: int
    """The engine's clock."""

    @cached_property
    def grounds(self) -> Grounds:
        """What a verdict rests on, with nothing but 1 known of the excess share."""
        plan, state, slices, own = self.plan, self.state, self.slices, self._stretch.slices
        held_ns = max(0, self.now_ns - state.since_ns - max(0, slices.health.away_ns))
        if self._is_broken:
            return Grounds(problems=("counts_backwards",), held_ns=held_ns)
        guardrails: tuple[GuardrailGrounds, ...]
        if self._is_switched:
            guardrails = _switched(plan, state, slices, own, self.now_ns)
        else:
            found = weigh(plan.guardrails, self._stretch)
            guardrails = self._hours.strengthen(plan.guardrails, found)
        weights = weights_of(plan.guardrails)
        failed, sound = _shadow(plan, state, slices)
        everyone = slice(None) if self._is_switched else _coin(own)
        return Grounds(
            guardrails=guardrails,
            harm=_overall(weights, [each.harm for each in guardrails]),
            harm_of_events=_overall(
                weights, [-inf if each.metric is Metric.LATENCY else each.harm for each in guardrails]
            ),
            suspicion=_overall(weights, [each.suspicion for each in guardrails]),
            blamed=_blamed(plan, weights, guardrails),
            is_randomised=not self._is_switched,
            allocation=_allocation(own),
            problems=(*_problems(plan, self._stretch, self.now_ns), *_skewed(plan, self._stretch)),
            held_ns=held_ns,
            canary_units=int(own.canary[everyone, UNITS].sum()),
            champion_units=int(own.champion[everyone, UNITS].sum()),
            canary_requests=int(own.canary[everyone, REQUESTS].sum()),
            champion_requests=int(own.champion[everyone, REQUESTS].sum()),
            is_latency_seen=self._is_switched or _is_latency_seen(plan, self._stretch, self.now_ns),
            expected_units=_expected_units(own),
            request_rate=_rate(self._stretch.bins, self.now_ns),
            excess_errors=_excess_errors(own),
            shadow_failed=failed,
            shadow_sound=sound,
            shadow_answered=slices.shadow.answered,
            shadow_failures=slices.shadow.failed,
        )

    @cached_property
    def excess_share(self) -> float:
        """By how much more of its requests the canary fails at most, with 95 % confidence at all times."""
        return 1.0 if self._is_broken else _excess_share(self.plan, self._stretch)

    @cached_property
    def evidence(self) -> Evidence:
        """Everything."""
        facts = {each.name: getattr(self.grounds, each.name) for each in fields(Grounds)}
        return Evidence(**facts | {"guardrails": self._guardrails, "excess_share": self.excess_share})

    @property
    def _guardrails(self) -> tuple[GuardrailEvidence, ...]:
        enough = log(1 / self.plan.false_promotion)
        shown = tuple(
            found if isinstance(found, GuardrailEvidence) else show(each, found, self._stretch, enough)
            for each, found in zip(self.plan.guardrails, self.grounds.guardrails, strict=False)
        )
        if self._is_switched:
            return shown
        shown = tuple(map(self._hours.tell, self.plan.guardrails, shown))
        if self.state.phase is Phase.ROLLED_BACK:
            return shown
        return _with_events_to_harm(self.plan, self._stretch, shown, self._hours.log_ever)

    @cached_property
    def _is_broken(self) -> bool:
        return _is_broken(self.slices)

    @cached_property
    def _stretch(self) -> Stretch:
        slices = self.slices
        if self.state.phase is Phase.PROMOTED:
            slices = slices.since(self.state.promoted_ns)
        return Stretch(slices, self.state.evidence_since_ns)

    @cached_property
    def _hours(self) -> Hours:
        return Hours(self._stretch, is_later=self.state.phase is Phase.PROMOTED)

    @property
    def _is_switched(self) -> bool:
        return self.state.phase is Phase.PROMOTED and not _coin(self._stretch.slices).any()


def _coin(slices: Slices) -> NDArray[np.bool_]:
    return (slices.share > 0) & (slices.share < 1)


def _is_broken(slices: Slices) -> bool:
    shadow = slices.shadow
    least = min(
        int(slices.canary.min(initial=0)),
        int(slices.champion.min(initial=0)),
        shadow.answered,
        shadow.failed,
        shadow.compared,
        shadow.disagreed,
        shadow.triples,
        shadow.candidate_odd,
        shadow.champion_odd,
        shadow.both_odd,
        *(min((*each.units, *each.requests), default=0) for each in slices.allocations),
    )
    return least < 0


# All guardrails together


def weights_of(guardrails: tuple[Guardrail, ...]) -> tuple[float, ...]:
    """Return the weight of each guardrail in the overall evidence of harm; 0 for those that roll nothing back.

    Returns:
        Weights that add up to 1, or are all 0.
    """
    counted = Counter(each.metric for each in guardrails if _can_roll_back(each))
    rest = sum(count for metric, count in counted.items() if metric not in _WEIGHTS)
    weights = []
    for each in guardrails:
        weight = min(_REST / max(1, rest), _MOST_WEIGHT)
        if each.metric in _WEIGHTS:
            weight = _WEIGHTS[each.metric] / max(1, counted[each.metric])
        weights.append(weight if _can_roll_back(each) else 0.0)
    total = sum(weights)
    return tuple(each / total if total else 0.0 for each in weights)


def _can_roll_back(guardrail: Guardrail) -> bool:
    return not guardrail.advisory and guardrail.metric in HARM_METRICS


def _overall(weights: tuple[float, ...], log_es: list[float]) -> float:
    return mixtures.strongest(log_es, weights) if any(weights) else 0.0


def _blamed(
    plan: Plan, weights: tuple[float, ...], guardrails: tuple[GuardrailGrounds, ...]
) -> tuple[str, ...]:
    """Return whose harm is shown on its own, all names together wrong with probability ``false_rollback`` at most."""
    weighed = [(g, w) for g, w in zip(guardrails, weights, strict=True) if w]
    if not weighed:
        return ()
    adjusted = multiple.e_holm([g.harm for g, _ in weighed], [w for _, w in weighed])
    enough = log(1 / plan.false_rollback)
    return tuple(g.name for (g, _), log_e in zip(weighed, adjusted.tolist(), strict=True) if log_e > enough)


def _with_events_to_harm(
    plan: Plan, stretch: Stretch, guardrails: tuple[GuardrailEvidence, ...], log_ever: float
) -> tuple[GuardrailEvidence, ...]:
    """Say of the errors how many more in a row would roll back, of units that had none before."""
    weights = weights_of(plan.guardrails)
    number = next(
        (i for i, each in enumerate(plan.guardrails) if each.metric is Metric.ERRORS and weights[i]), None
    )
    if number is None or not guardrails or not len(stretch.last_epoch.epochs):
        return guardrails
    log_es = [each.harm for each in guardrails]

    def overall(harm: float) -> float:
        changed = max(log_ever + harm, log_es[number])
        return _overall(weights, [*log_es[:number], changed, *log_es[number + 1 :]])

    enough = log(1 / plan.false_rollback)
    found = events_to_harm(plan.guardrails[number], log_es[number], stretch, overall, enough)
    named = replace(guardrails[number], events_to_harm=found)
    return (*guardrails[:number], named, *guardrails[number + 1 :])


# The state of the counting


def _allocation(slices: Slices) -> float:
    """Return log e against "units fall as the shares say"; requests too, where each is a coin of its own."""
    units = sum(_epoch_allocation(each, each.units) for each in slices.allocations)
    if not slices.health.own_coins:
        return float(units)
    if all(each.units == each.requests for each in slices.allocations):
        return float(units)
    requests = sum(_epoch_allocation(each, each.requests) for each in slices.allocations)
    # Each completion reveals its own coin to both: one filtration.
    return halves(units, requests)


def _epoch_allocation(each: Allocation, counts: tuple[int, ...]) -> float:
    kept = [i for i, share in enumerate(each.shares) if share > 0]
    if len(kept) < 2:
        return 0.0
    shares = np.array([each.shares[i] for i in kept])
    return mismatch(np.array([counts[i] for i in kept], np.int64), shares / shares.sum())


def _is_latency_seen(plan: Plan, stretch: Stretch, now_ns: int) -> bool:
    """Tell whether latency has been compared: of 50 coins of the canary, or for as long as a step has to last.

    The latter is for units that come back: all may have been counted before there was a reference, and only a larger
    step brings others.
    """
    slices = stretch.slices
    compared = (slices.reference >= 0) & _coin(slices)
    if not compared.any():
        return False
    columns = slice(FIRST_LATENCY, FIRST_LATENCY + BUCKETS)
    if int(slices.canary[compared, columns].sum()) >= _COMPARED:
        return True
    since_ns = int(slices.start_ns[compared].min())
    return not slices.health.own_coins and now_ns - since_ns >= plan.hold_ns


def _problems(plan: Plan, stretch: Stretch, now_ns: int) -> tuple[str, ...]:
    slices, epoch = stretch.slices, stretch.last_epoch
    problems = []
    fell_ns = slices.health.fell_ns
    if fell_ns and now_ns - fell_ns < max(plan.hold_ns, _LEAST_DOUBT_NS):
        problems.append("counts_backwards")
    expected = _expected_units(epoch)
    if expected >= _EXPECTED_UNITS and not epoch.canary[:, UNITS].any():
        problems.append("no_canary_traffic")
    if any(
        units and not share
        for each in slices.allocations
        for units, share in zip(each.units, each.shares, strict=True)
    ):
        problems.append("stray_units")
    if now_ns - slices.health.read_ns > _STALE_NS:
        problems.append("stale")
    if slices.health.clock_jumped:
        problems.append("clock")
    return tuple(problems)


def _skewed(plan: Plan, stretch: Stretch) -> tuple[str, ...]:
    is_asked = any(each.metric is Metric.FEEDBACK for each in plan.critical)
    return ("feedback_srm",) if is_asked and feedback.is_skewed(stretch.skew) else ()


def _expected_units(slices: Slices) -> float:
    coin = _coin(slices)
    odds = slices.share[coin] / (1 - slices.share[coin])
    return float(odds @ slices.champion[coin, UNITS])


def _rate(slices: Slices, now_ns: int) -> float:
    """Return requests per second of both, lately or over the whole stretch, whichever is more.

    A step that begins in a quiet hour is paid for in a busy one.
    """
    if not len(slices.epochs):
        return 0.0
    second = 1_000_000_000
    ends = np.minimum(slices.start_ns + slices.span_ns, max(now_ns, int(slices.start_ns[-1]) + second))
    counts = slices.canary[:, REQUESTS] + slices.champion[:, REQUESTS]
    rates = []
    for beginning in (int(slices.start_ns[0]), int(ends[-1]) - _LATELY_NS):
        rows = slices.start_ns >= beginning
        time = int(ends[-1]) - int(slices.start_ns[rows].min(initial=ends[-1]))
        rates.append(float(counts[rows].sum()) * second / max(time, second))
    return max(rates)


# What it costs


def _excess_errors(slices: Slices) -> float:
    """Return an estimate of the requests that the canary failed beyond what the champion would have."""
    coin = _coin(slices)
    odds = slices.share[coin] / (1 - slices.share[coin])
    failed = float(slices.canary[coin, REQUEST_ERRORS].sum())
    return max(0.0, failed - float(odds @ slices.champion[coin, REQUEST_ERRORS]))


def _excess_share(plan: Plan, stretch: Stretch) -> float:
    """Return by how much more of its requests the canary fails at most, with 95 % confidence at all times.

    Two routes, each with half of the 5 %, and the lesser counts: the risk ratio times the champion's share, and the
    difference itself, which does for rare errors.
    """
    if plan.excess_errors is None:
        return 0.0
    named = next((each for each in plan.guardrails if each.metric is Metric.ERRORS), None)
    errors = named or Guardrail("errors", Metric.ERRORS, 0.1, 0.25, 0.01, None, advisory=True)
    slices = stretch.slices
    least = difference_limit(errors, slices, 0.025)
    coin = _coin(slices)
    units = int(slices.champion[coin, UNITS].sum())
    # The two-sided sequence of 95 % errs on this side in 2.5 % at most.
    high = ratio_of_events(errors, stretch)[1] if named and units else inf
    if high == inf:
        return least
    share = int(first_outcomes(errors, slices.champion)[coin].sum()) / units
    return min(least, max(0.0, high - 1) * share)


# Without a coin


def _shadow(plan: Plan, state: RolloutState, slices: Slices) -> tuple[float, float]:
    """Return log e of "copies fail beyond the tolerance of errors" and of "within it"; 0 where nothing asks for it."""
    errors = next((each for each in plan.critical if each.metric is Metric.ERRORS), None)
    if state.phase is not Phase.BAKING or errors is None:
        return 0.0, 0.0
    shadow = slices.shadow
    total = shadow.answered + shadow.failed
    tolerance = errors.tolerance or errors.promotion_margin / 100
    return (
        proportion.exceeds(shadow.failed, total, min(tolerance, 1.0)),
        proportion.within(shadow.failed, total, min(tolerance, 1.0)),
    )


def _switched(
    plan: Plan, state: RolloutState, slices: Slices, own: Slices, now_ns: int
) -> tuple[GuardrailEvidence, ...]:
    if now_ns - state.promoted_ns >= plan.switch_back_ns:
        # Days after the switch the load alone differs by more than any margin: there is nothing left to compare.
        return tuple(GuardrailEvidence(each.name, each.metric, each.advisory) for each in plan.guardrails)
    before = slices.before(state.promoted_ns)
    return tuple(
        judge_switched_feedback(each, slices.feedback, state.promoted_ns, plan.false_rollback)
        if each.metric is Metric.FEEDBACK
        else judge_switched(each, before, own, plan.false_rollback)
        for each in plan.guardrails
    )

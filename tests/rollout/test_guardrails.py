"""Evidence about one guardrail: exact where it says so, and of use."""

from dataclasses import replace
from itertools import product
from math import comb, exp, inf, log

import numpy as np
import pytest

from proxy.rollout.evidence import GuardrailEvidence
from proxy.rollout.guardrails import Stretch, difference_limit, event_harms, halves, harm_with, weigh
from proxy.rollout.showing import judge
from proxy.rollout.slices import (
    BIN_NS,
    ERRORS,
    FIELDS,
    FIRST_EVENTS,
    FIRST_LATENCY,
    UNITS,
    ShadowEvidence,
    Slices,
    no_slices,
    starts_ns,
)
from proxy.stats import bounded, events
from tests.rollout.world import START, Behaviour, World, guardrail, plan

ENOUGH = log(20)


def counted(shares: list[float], canary: list[int], champion: list[int], times: list[int]) -> Slices:
    """Return slices with first errors alone, at given bins."""
    arms = []
    for errors in (canary, champion):
        arm = np.zeros((len(shares), FIELDS), np.int64)
        arm[:, ERRORS] = arm[:, FIRST_EVENTS] = arm[:, UNITS] = errors
        arms.append(arm)
    starts = START + BIN_NS * np.array(times, np.int64)
    return Slices(
        tuple(map(str, shares)),
        starts,
        np.full(len(shares), BIN_NS, np.int64),
        np.array(shares),
        arms[0],
        arms[1],
        np.full(len(shares), -1, np.int64),
    )


def harm_of(counted: Slices, margin: float = 0.1) -> float:
    """Return log e of harm by errors."""
    stretch = Stretch(counted, START)
    slices = stretch.slices
    return float(
        event_harms(slices.canary[None, :, ERRORS], slices.champion[None, :, ERRORS], stretch, margin)[0]
    )


@pytest.mark.parametrize("margin", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("times", [[0, 1, 2], [0, 6, 30], [3, 300, 9000]])
def test_harm_is_an_e_value(margin: float, times: list[int]) -> None:
    """Over every way in which coins can fall, at the margin, its mean is 1: whatever was bet on late onsets."""
    shares, totals = [0.05, 0.5, 0.25], [3, 2, 4]
    mean = 0.0
    for falls in product(*(range(total + 1) for total in totals)):
        slices = counted(shares, list(falls), [t - k for t, k in zip(totals, falls, strict=True)], times)
        chance = 1.0
        for share, total, k in zip(shares, totals, falls, strict=True):
            p = share * (1 + margin) / (1 + share * margin)
            chance *= comb(total, k) * p**k * (1 - p) ** (total - k)
        mean += chance * exp(harm_of(slices, margin))
    assert mean == pytest.approx(1.0, abs=1e-9)


def test_the_mean_of_two() -> None:
    """Of their e-values, also where one has lost everything."""
    assert halves(0.0, 0.0) == 0.0
    assert halves(log(3), log(1)) == pytest.approx(log(2))
    assert halves(-inf, log(3)) == halves(log(3), -inf) == pytest.approx(log(1.5))
    assert halves(-inf, -inf) == -inf


def test_a_single_bet_is_an_e_value() -> None:
    """All the money on one ratio: the mean over all falls of the coin is 1."""
    p = 0.1 * 1.1 / 1.01
    mean = sum(
        comb(6, k) * p**k * (1 - p) ** (6 - k) * exp(events.harm_at([k], [6 - k], [0.1], 0.1, 3000.0))
        for k in range(7)
    )
    assert mean == pytest.approx(1.0, abs=1e-12)
    with pytest.raises(ValueError, match="ratio above"):
        events.harm_at([1], [1], [0.1], 0.1, 1.1)


@pytest.mark.parametrize(("share", "most"), [(0.01, 2), (0.05, 3), (0.1, 3), (0.25, 4), (0.5, 7)])
def test_a_dead_canary_fails_few_requests(share: float, most: int) -> None:
    """With weight 0.3 in the whole, at 1 %: next to a champion that fails nothing, so many failures are enough."""
    slices = counted([share], [most], [0], [0])
    slices.champion[0, UNITS] = int(most * (1 - share) / share)
    assert 0.3 * exp(harm_with(guardrail("errors"), Stretch(slices, START))) > 100


def test_a_canary_that_is_only_late_is_not_blamed() -> None:
    """The champion has answered a thousand units and the canary none: nothing has failed."""
    slices = counted([0.1], [0], [0], [0])
    slices.champion[0, UNITS] = 1000
    assert harm_with(guardrail("errors"), Stretch(slices, START)) == 0.0


def test_more_failures_are_more_harm() -> None:
    """As if they had been counted in the last slice with a coin."""
    slices = counted([0.1, 0.5, 1.0], [1, 2, 5], [3, 4, 0], [0, 1, 2])
    more = counted([0.1, 0.5, 1.0], [1, 9, 5], [3, 4, 0], [0, 1, 2])
    found = harm_with(guardrail("errors"), Stretch(slices, START), 7)
    assert found == harm_with(guardrail("errors"), Stretch(more, START))
    assert found > harm_with(guardrail("errors"), Stretch(slices, START))


def test_a_late_onset_is_found() -> None:
    """After three hours of health, evidence of harm is not weighed down by them."""
    bins = [60 * 6 * 3]
    healthy = counted([0.5], [5000], [5000], [0])
    both = counted([0.5, 0.5], [5000, 160], [5000, 80], [0, bins[0]])
    late = harm_of(both)
    pooled = events.harm(both.canary[:, ERRORS], both.champion[:, ERRORS], both.share, 0.1)
    assert judge(guardrail("errors"), Stretch(healthy, START), ENOUGH).harm < 0
    assert late > log(100) > pooled


def test_a_slice_belongs_to_its_beginning() -> None:
    """One that reaches over a moment, after a quiet time, is not counted from that moment on; the next one is."""
    assert starts_ns(START)[1] == START + 6 * BIN_NS
    early = counted([0.5, 0.5], [100, 30], [100, 3], [0, 5])
    over = replace(early, span_ns=np.array([BIN_NS, 4 * BIN_NS]))
    assert harm_of(over) == harm_of(early)
    assert harm_of(counted([0.5, 0.5], [100, 30], [100, 3], [0, 6])) > harm_of(early)


def test_joining_slices_between_starts_changes_no_bit() -> None:
    """The bets are the same on bins and on what is joined of them."""
    shares, times = [0.05] * 4 + [0.5] * 8, [0, 1, 2, 5, 6, 7, 8, 9, 30, 31, 32, 33]
    canary, champion = list(range(1, 13)), list(range(12, 0, -1))
    bins = Stretch(counted(shares, canary, champion, times), START)
    joined = bins.slices
    assert len(joined.epochs) < len(bins.bins.epochs)
    again = Stretch(joined, START)
    assert len(again.slices.epochs) == len(joined.epochs)
    for margin in (0.0, 0.1):
        one = events.harm_by_start(
            bins.bins.canary[:, ERRORS], bins.bins.champion[:, ERRORS], bins.bins.share, margin
        )
        rows = np.searchsorted(bins.bins.start_ns, joined.start_ns)
        other = events.harm_by_start(
            joined.canary[:, ERRORS], joined.champion[:, ERRORS], joined.share, margin
        )
        assert one[rows].tolist() == other.tolist()


def test_shares_of_nothing_and_of_everything_carry_no_bet() -> None:
    """Where there was no coin there is no evidence."""
    slices = counted([0.0, 1.0], [0, 50], [50, 0], [0, 1])
    found = judge(guardrail("errors"), Stretch(slices, START), ENOUGH)
    assert (found.harm, found.suspicion, found.noninferiority) == (0.0, 0.0, 0.0)
    assert (found.low, found.high, found.canary_total) == (0.0, inf, 0)


@pytest.mark.parametrize(
    "metric", ["errors", "client_errors", "abandoned", "latency", "slow", "disagreement"]
)
def test_no_counts_no_evidence(metric: str) -> None:
    """Before the first bin every log e is 0 and every interval is everything."""
    found = judge(guardrail(metric), Stretch(no_slices(), START), ENOUGH)
    assert (found.harm, found.suspicion, found.noninferiority, found.requests_to_show) == (
        0.0,
        0.0,
        0.0,
        None,
    )
    assert found.low == 0.0
    assert found.high == (1.0 if metric == "disagreement" else inf)


def served(bins: int, canary: Behaviour = Behaviour(), champion: Behaviour = Behaviour()) -> Stretch:
    world = World(plan(steps=(50, 100)), rate=1000, canary=canary, champion=champion)
    world.serve(bins)
    return Stretch(world.slices(), START)


def test_rare_events_are_shown_by_their_difference() -> None:
    """Without a single error no ratio is known, but the tolerance is; without a tolerance nothing is shown."""
    stretch = served(6)
    assert judge(guardrail("errors"), stretch, ENOUGH).noninferiority > ENOUGH
    assert judge(guardrail("errors", tolerance=0.0), stretch, ENOUGH).noninferiority == 0.0


def test_slow_is_what_takes_longer_than_the_threshold() -> None:
    """To within one bucket of 5 percent."""
    slices = counted([0.5], [0], [0], [0])
    arm = slices.canary.copy()
    for bucket in (100, 200, 300):
        arm[0, FIRST_LATENCY + bucket] += 7
    arm[0, UNITS] = 21
    stretch = Stretch(replace(slices, canary=arm), START)
    took_ns = [int(1000 * 1.05 ** (bucket - 0.5)) for bucket in (100, 200, 300)]
    for beyond, threshold_ns in zip((14, 7, 0), took_ns, strict=True):
        found = judge(guardrail("slow", threshold_ns=threshold_ns), stretch, ENOUGH)
        assert found.canary_events == beyond


def test_the_excess_that_is_ruled_out_shrinks_with_traffic() -> None:
    """It is 1 while nothing is known, and the test against it has just been reached."""
    errors = guardrail("errors")
    assert difference_limit(errors, no_slices(), 0.025) == 1.0
    limits = [difference_limit(errors, served(bins).bins, 0.025) for bins in (1, 4, 16)]
    assert limits[0] > limits[1] > limits[2] > 0
    slices = served(4).bins
    canary, champion = (
        np.stack([arm[:, UNITS], 0 * arm[:, UNITS]], axis=1) for arm in (slices.canary, slices.champion)
    )
    log_e = bounded.difference_within(canary, champion, slices.share, (0.0, 1.0), np.zeros(4), limits[1])
    assert log(40) < log_e < log(50)


# Latency


def slower(factor: float, bins: int = 60) -> Stretch:
    return served(bins, canary=Behaviour(median_ms=20 * factor))


def test_latency_that_is_the_same_is_shown_to_be() -> None:
    """No harm, no suspicion, and shown in ten minutes of traffic."""
    found = judge(guardrail("latency"), slower(1.0), ENOUGH)
    assert found.harm < 0
    assert found.suspicion < 0
    assert found.noninferiority > ENOUGH
    assert found.low <= 1 <= found.high
    assert found.canary_ns[0] == pytest.approx(20e6, rel=0.05)


def test_a_much_slower_canary_needs_no_blocks() -> None:
    """Twice as slow shows within two bins, at the wide margin."""
    found = judge(guardrail("latency"), slower(2.0, bins=2), ENOUGH)
    parts = dict(found.parts)
    assert found.harm > log(1000)
    assert parts["blocks"] == 0.0
    assert parts["wide"] > log(1000)


def test_parts_name_every_bet() -> None:
    """A tail that grew is found by the bet on tails, and the parts say so."""
    stretch = served(30)
    slices = stretch.slices
    canary = slices.canary.copy()
    canary[:, FIRST_LATENCY + 240] += canary[:, UNITS] // 50
    found = weigh([guardrail("latency")], Stretch(replace(slices, canary=canary), START))[0]
    parts = dict(found.parts)
    assert parts.keys() >= {"tilt", "tail", "over_p50", "over_p95", "over_p99"}
    assert parts["tail"] > log(1000) > parts["over_p50"]


def test_guardrails_are_weighed_together_as_they_are_alone() -> None:
    """In whatever company, margins and tolerances of its own included, each has the same bits."""
    stretch = served(30, canary=Behaviour(errors=0.02, client_errors=0.01))
    many = [
        guardrail("slow", name="a", threshold_ns=25_000_000, margin=0.3),
        guardrail("errors", promotion_margin=0.5),
        guardrail("latency"),
        guardrail("client_errors", tolerance=0.0),
        guardrail("disagreement"),
        guardrail("slow", name="b", threshold_ns=30_000_000),
        guardrail("abandoned"),
    ]
    assert list(weigh(many, stretch)) == [weigh([each], stretch)[0] for each in many]
    assert weigh([], stretch) == ()


def test_a_somewhat_slower_canary_needs_both() -> None:
    """A third slower: requests alone are a suspicion; with twenty blocks that agree it is harm."""
    early, late = (judge(guardrail("latency"), slower(1.33, bins), ENOUGH) for bins in (15, 132))
    assert early.suspicion > log(1000)
    assert early.harm < log(20)
    assert late.harm > log(1000)
    assert late.noninferiority < 0


def test_noise_of_hosts_alone_is_no_harm() -> None:
    """Where blocks swing, requests may be certain, and blocks are not."""
    world = World(plan(steps=(50, 100)), rate=400)
    swing = world.generator.standard_normal(25)
    world.noise = lambda bin_: float(np.exp(0.35 * swing[bin_ // 6]))
    world.serve(150)
    found = judge(guardrail("latency"), Stretch(world.slices(), START), ENOUGH)
    assert dict(found.parts)["blocks"] < log(20)
    assert found.harm < log(20)


def test_slices_without_a_reference_say_nothing_of_latency() -> None:
    """They are shown, and carry no bet."""
    slices = slower(2.0, bins=4).bins
    unknown = replace(slices, reference=np.full(4, -1, np.int64))
    found = judge(guardrail("latency"), Stretch(unknown, START), ENOUGH)
    assert (found.harm, found.noninferiority) == (0.0, 0.0)
    assert found.canary_ns[0] > found.champion_ns[0]
    half = replace(slices, reference=np.array([-1, -1, 0, 0]))
    some, whole = (judge(guardrail("latency"), Stretch(each, START), ENOUGH).harm for each in (half, slices))
    assert 0 < some < whole


def test_blocks_wait_for_enough_answers() -> None:
    """At less than an answer a second to each arm a block takes long, so that half an hour makes less than twenty."""
    world = World(plan(steps=(50, 100)), rate=10, canary=Behaviour(median_ms=80))
    world.serve(180)
    begins, series = Stretch(world.slices(), START).block_series
    assert 10 <= len(begins) < 20
    assert all(len(each) == len(begins) for each in series)
    assert series[0].mean() == pytest.approx(log(4), abs=0.1)
    assert np.isnan(series[1]).all()


def test_blocks_do_not_cross_epochs() -> None:
    """What is left of an epoch is left out."""
    slices = served(22).bins
    epochs = replace(slices, epochs=(*"a" * 8, *"b" * 14))
    begins, _ = Stretch(epochs, START).block_series
    assert ((begins - START) // BIN_NS).tolist() == [0, 8, 14]


# Disagreement


@pytest.mark.parametrize(
    ("compared", "disagreed", "beyond", "within"),
    [(2000, 5, False, True), (2000, 120, True, False), (100, 2, False, False), (0, 0, False, False)],
)
def test_copies_are_held_to_the_tolerance(compared: int, disagreed: int, beyond: bool, within: bool) -> None:
    """Beyond it, within it, or not known yet."""
    slices = no_slices(shadow=ShadowEvidence(compared, 0, compared, disagreed))
    found = judge(guardrail("disagreement"), Stretch(slices, START), ENOUGH)
    assert (found.suspicion > ENOUGH, found.noninferiority > ENOUGH) == (beyond, within)
    assert (found.requests_to_show == 0) == within
    assert found.low <= (disagreed / compared if compared else 0) <= found.high


def noisy(**counts: int) -> GuardrailEvidence:
    """Return what is found of a guardrail that tolerates 2 % above noise, from 4,000 copies of which half differ."""
    shadow = ShadowEvidence(4000, 0, 4000, 2000, **counts)
    rule = guardrail("disagreement", asked_twice=0.5)
    return judge(rule, Stretch(no_slices(shadow=shadow), START), ENOUGH)


def test_noise_is_no_disagreement() -> None:
    """Half of the copies differ, and so does the champion from itself: nothing is held against the canary, and with
    enough of them it is shown to be within. By the share of copies alone it could never be."""
    alike = noisy(triples=2000, candidate_odd=60, champion_odd=60, both_odd=900)
    assert alike.suspicion < 0 < ENOUGH < alike.noninferiority
    assert (alike.canary_events, alike.champion_events) == (960, 960)
    assert (alike.canary_total, alike.champion_total) == (2000, 2000)
    assert alike.low < 0 < alike.high < 0.05
    assert alike.requests_to_show == 0
    other = noisy(triples=2000, candidate_odd=300, champion_odd=60, both_odd=900)
    assert other.suspicion > ENOUGH > 0 > other.noninferiority
    assert 0.02 < other.low < 0.12 < other.high
    nothing = noisy()
    assert nothing.suspicion == 0.0
    assert (nothing.low, nothing.high) == (-1.0, 1.0)


def test_few_differences_show_both() -> None:
    """Where copies differ less than is tolerated, all of them speak for the canary, those asked twice or not."""
    shadow = ShadowEvidence(4000, 0, 4000, 4, triples=10)
    found = judge(
        guardrail("disagreement", asked_twice=0.01), Stretch(no_slices(shadow=shadow), START), ENOUGH
    )
    plain = judge(guardrail("disagreement"), Stretch(no_slices(shadow=shadow), START), ENOUGH)
    assert found.noninferiority == pytest.approx(plain.noninferiority - np.log(2))


@pytest.mark.parametrize("noise", [0.02, 0.4])
def test_a_canary_that_is_as_noisy_is_not_held(noise: float) -> None:
    """Of 300 canaries that differ as the champion does, at no tolerance and looked at 50 times, at most 1 % is ever
    suspected, up to chance; by the share of copies all of them would be."""
    rng = np.random.default_rng(3)
    rule = guardrail("disagreement", tolerance=0.0, asked_twice=1.0)
    held = 0
    for _ in range(300):
        mine, second = rng.random(5_000) < noise, rng.random(5_000) < noise
        odd, other = (mine & ~second).cumsum(), (second & ~mine).cumsum()
        held += any(
            weigh(
                [rule],
                Stretch(
                    no_slices(
                        shadow=ShadowEvidence(
                            triples=n, candidate_odd=int(odd[n - 1]), champion_odd=int(other[n - 1])
                        )
                    ),
                    START,
                ),
            )[0].suspicion
            > log(100)
            for n in range(100, 5_001, 100)
        )
    assert held <= 8

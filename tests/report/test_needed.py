"""How many units a guardrail takes: against the bets themselves, and against what cannot be."""

from collections.abc import Callable
from dataclasses import replace
from math import inf, isfinite, log
from typing import Any

import numpy as np
import pytest

from proxy.report.needed import NEVER, Model, blocks_s, outright, to_find, to_show
from proxy.rollout.slices import BUCKETS, Counts
from proxy.settings import Metric
from proxy.stats import events, histogram, latency
from tests.rollout.world import guardrail, plan

MODEL = Model(((Metric.ERRORS, 0.01), (Metric.CLIENT_ERRORS, 0.02)), 0.3, 0.01, 2.0, 0.0)
PLAN = plan()


def test_rates() -> None:
    """A bad canary is worse by the factor, or by the points; nobody fails more than always, or never at all."""
    assert MODEL.bad_rate(Metric.ERRORS) == pytest.approx(0.02)
    assert replace(MODEL, added=0.05).bad_rate(Metric.ERRORS) == pytest.approx(0.06)
    assert replace(MODEL, factor=1000.0).bad_rate(Metric.ERRORS) == 1.0
    assert replace(MODEL, rates=((Metric.ERRORS, 0.0),)).rate(Metric.ERRORS) > 0


@pytest.mark.parametrize("share", [0.01, 0.1, 0.5])
def test_events_are_found_as_fast_as_the_bet_says(share: float) -> None:
    """The mean is near to where the expected counts have enough evidence."""
    found = to_find(guardrail("errors"), PLAN, MODEL, share, 1 / 3)
    n = found.mean
    canary, champion = n * share * 0.02, n * (1 - share) * 0.01
    log_e = events.harm([round(canary)], [round(champion)], [share], 0.1)
    assert log_e == pytest.approx(log(100 * 12), abs=2.5)
    assert found.mean < found.late < 3 * found.mean


def test_within_the_margin_nothing_is_found() -> None:
    """A canary that is worse by less than the margin is not to be found, at any size."""
    assert to_find(guardrail("errors"), PLAN, replace(MODEL, factor=1.09), 0.5, 1 / 3) == NEVER
    assert to_find(guardrail("latency"), PLAN, replace(MODEL, factor=1.1), 0.5, 1 / 3) == NEVER


def crossing(
    share: float, factor: float, log_e: Callable[[Counts, Counts], float], enough: float, most: int
) -> float:
    """Return the mean number of drawn requests at which evidence first is enough."""
    found = []
    for seed in range(10):
        generator = np.random.default_rng(seed)
        mine = generator.random(most) < share
        took = 1e8 * np.where(mine, factor, 1.0) * np.exp(MODEL.spread * generator.standard_normal(most))
        buckets = histogram.buckets_of(took.astype(np.int64))

        def counts(n: int, arm: "np.ndarray[Any, np.dtype[np.bool_]]", buckets: Any = buckets) -> Counts:
            return np.bincount(buckets[:n][arm[:n]], minlength=BUCKETS)[None, :]

        looks = np.unique(np.geomspace(10, most, 40).astype(int)).tolist()
        found.append(next((n for n in looks if log_e(counts(n, mine), counts(n, ~mine)) > enough), most))
    return float(np.mean(found))


def reference() -> latency.Reference:
    took = 1e8 * np.exp(MODEL.spread * np.random.default_rng(99).standard_normal(20_000))
    return latency.Reference(np.bincount(histogram.buckets_of(took.astype(np.int64)), minlength=BUCKETS))


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_latency_is_found_about_when_the_bet_finds_it(share: float) -> None:
    """Drawn latencies, twice as long, are found after about as many requests."""
    found = to_find(guardrail("latency"), PLAN, MODEL, share, 1 / 3)
    known, shift, half = reference(), histogram.buckets_of_margin(0.5), np.array([share])

    def log_e(canary: Counts, champion: Counts) -> float:
        return latency.slower(canary, champion, half, known, shift).combined

    mean = crossing(share, 2.0, log_e, log(1200), int(found.mean * 6))
    assert found.mean == pytest.approx(mean, rel=0.5)
    assert found.late > mean


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_latency_is_shown_about_when_the_bet_shows_it(share: float) -> None:
    """The same of a canary that is as fast."""
    (found,) = to_show(guardrail("latency"), PLAN, MODEL, share)
    known, shift, half = reference(), histogram.buckets_within_margin(0.25), np.array([share])

    def log_e(canary: Counts, champion: Counts) -> float:
        return latency.not_slower(canary, champion, half, known, shift).combined

    mean = crossing(share, 1.0, log_e, log(20), int(found.mean * 6))
    assert found.mean == pytest.approx(mean, rel=0.5)
    assert found.late > mean


def test_a_tolerance_is_another_way() -> None:
    """Rare events are shown by the difference, of which only first requests count."""
    ratio, within = to_show(guardrail("errors"), PLAN, replace(MODEL, rates=((Metric.ERRORS, 0.0001),)), 0.5)
    assert within.mean < ratio.mean / 100
    assert (ratio.counted, within.counted) == (0.0001, 1.0)
    assert len(to_show(guardrail("errors", tolerance=None), PLAN, MODEL, 0.5)) == 1


def test_disagreement() -> None:
    """The nearer to the tolerance, the longer; beyond it never."""
    amounts = [
        to_show(guardrail("disagreement"), PLAN, replace(MODEL, disagreement=d), 0.5)[0]
        for d in (0.0, 0.01, 0.015)
    ]
    assert amounts[0].mean < amounts[1].mean < amounts[2].mean < inf
    assert to_show(guardrail("disagreement"), PLAN, replace(MODEL, disagreement=0.02), 0.5) == (NEVER,)


def test_disagreement_above_noise() -> None:
    """A champion that differs from itself far beyond the tolerance keeps no canary from being shown to do the same; it
    takes more copies the fewer of them it is asked twice for. Where little differs, all copies are another way."""
    noisy = replace(MODEL, disagreement=0.4)
    often, seldom = (
        to_show(guardrail("disagreement", asked_twice=share), PLAN, noisy, 0.5) for share in (0.5, 0.05)
    )
    assert (len(often), len(seldom)) == (1, 1)
    assert often[0].mean * 10 == pytest.approx(seldom[0].mean)
    assert often[0].mean < inf
    few = to_show(guardrail("disagreement", asked_twice=0.05), PLAN, replace(MODEL, disagreement=0.001), 0.5)
    assert few[1].mean < few[0].mean
    assert to_show(guardrail("disagreement", tolerance=0.0, asked_twice=0.5), PLAN, MODEL, 0.5) == (NEVER,)


def test_a_dead_canary() -> None:
    """It goes after a few failures, more of them the more traffic it has."""
    counts = [outright(guardrail("errors"), PLAN, share, 1 / 3) for share in (0.01, 0.1, 0.5)]
    assert counts == [2, 3, 10]
    assert outright(guardrail("errors"), plan(false_rollback=1e-300), 0.999, 1 / 3) is None


def test_small_slowdowns_have_to_last() -> None:
    """What only the guard of blocks finds takes twenty blocks of 50 answers each; what is plain does not."""
    small = replace(MODEL, factor=1.3)
    assert blocks_s(guardrail("latency"), small, 0.5, 1000.0) == 200
    assert blocks_s(guardrail("latency"), small, 0.01, 10.0) == 20 * 500
    assert blocks_s(guardrail("latency"), MODEL, 0.5, 1000.0) == 0
    assert blocks_s(guardrail("errors"), small, 0.5, 1000.0) == 0
    assert isfinite(to_find(guardrail("latency"), PLAN, small, 0.5, 1 / 3).mean)


def test_feedback_on_a_part_of_the_answers() -> None:
    """Where a tenth of the answers is judged it takes ten times as many requests, to find and to show."""
    model = replace(MODEL, rates=((Metric.FEEDBACK, 0.1),))
    part, feedback = replace(model, judged=0.1), guardrail("feedback")
    all_, tenth = (to_find(feedback, PLAN, each, 0.5, 1 / 3) for each in (model, part))
    assert tenth.mean == pytest.approx(10 * all_.mean)
    assert tenth.late == pytest.approx(10 * all_.late)
    assert tenth.counted == pytest.approx(all_.counted / 10)
    (shown,), (later,) = (to_show(feedback, PLAN, each, 0.5) for each in (model, part))
    assert later.mean == pytest.approx(10 * shown.mean)

"""The verdict on one guardrail, in words and figures."""

from dataclasses import replace
from math import inf, log
from typing import Any

import pytest

from proxy.report.facts import Judged
from proxy.report.standing import Standing, figures, meaning, ratio_text, standing
from proxy.rollout.evidence import GuardrailEvidence
from proxy.settings import Metric
from tests.rollout import world

PLAN = world.plan(guardrails=tuple(map(world.guardrail, ("errors", "latency", "disagreement"))))


def judged(**changes: Any) -> Judged:
    return Judged(PLAN, world.state(PLAN), world.evidence(PLAN, **changes), world.START)


def found(metric: str = "errors", **changes: Any) -> GuardrailEvidence:
    return replace(GuardrailEvidence(metric, Metric(metric), advisory=False), **changes)


CASES = [
    ("nothing yet", found(), Standing.UNKNOWN),
    ("harm", found(harm=log(101)), Standing.WORSE),
    ("a tie is not reached", found(harm=log(100)), Standing.UNKNOWN),
    ("suspicion", found(suspicion=log(21)), Standing.LOOKS_WORSE),
    ("harm before all", found(harm=log(101), noninferiority=9), Standing.WORSE),
    ("suspicion before good", found(suspicion=log(21), noninferiority=9), Standing.LOOKS_WORSE),
    ("shown", found(noninferiority=log(21)), Standing.AS_GOOD),
    ("disagreement never harms", found("disagreement", harm=99.0, suspicion=99.0), Standing.LOOKS_WORSE),
]


@pytest.mark.parametrize(("guardrail", "expected"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_standing(guardrail: GuardrailEvidence, expected: Standing) -> None:
    """Each verdict follows from the thresholds of the plan."""
    assert standing(judged(), guardrail) is expected
    assert "v3" in meaning(judged(), guardrail)


def test_whoever_is_blamed_is_worse() -> None:
    """A guardrail that all together name is worse."""
    assert standing(judged(blamed=("errors",)), found()) is Standing.WORSE


def test_meanings() -> None:
    """A sentence names the margin that the verdict is about."""
    assert meaning(judged(), found(harm=9)) == "v3 is worse than v1 by more than the margin of 10 %."
    assert "slower by less than 25 %" in meaning(judged(), found("latency", noninferiority=9))
    assert "or by less than 1 % of requests" in meaning(judged(), found(noninferiority=9))
    assert "more than the tolerated 2 %" in meaning(judged(), found("disagreement", suspicion=9))
    assert "less than 2 % of copies is open" in meaning(judged(), found("disagreement"))
    assert "margin of 50 %" in meaning(judged(is_randomised=False), found(harm=9))


def test_figures() -> None:
    """Counts have their total, latencies three quantiles, and copies no champion."""
    events = found(canary_events=2, canary_total=1000, champion_events=3, champion_total=2000)
    assert figures(events) == ("2 of 1,000 (0.2 %)", "3 of 2,000 (0.15 %)")
    slow = found("latency", canary_ns=(33_000_000, 50_000_000, 12_000_000_000))
    assert figures(slow) == ("33 ms / 50 ms / 12 s", "nothing yet")
    assert figures(found("disagreement")) == ("nothing yet", "–")


def test_ratios() -> None:
    """Limits that are not known are not made up."""
    assert ratio_text(judged(), found()) == "not known"
    assert ratio_text(judged(), found(low=0.5, high=inf)) == "0.5 times at least"
    assert ratio_text(judged(), found(low=0.0, high=2.0)) == "2 times at most"
    assert ratio_text(judged(), found(low=0.5, high=2.0)) == "0.5 to 2 times"
    known: dict[str, Any] = {
        "canary_events": 2,
        "canary_total": 100,
        "champion_events": 1,
        "champion_total": 100,
    }
    assert ratio_text(judged(), found(low=0.5, high=3.0, **known)) == "2 times (0.5 to 3 times)"
    assert ratio_text(judged(), found("disagreement", low=0.01, high=inf, canary_total=9)) == "1 % to 100 %"
    assert ratio_text(judged(), found("disagreement")) == "–"


def test_disagreement_above_noise() -> None:
    """The champion's own figure stands beside the canary's, the tolerance is beyond it, limits may be below nothing."""
    of = world.plan(guardrails=(world.guardrail("disagreement", asked_twice=0.05),))
    known = Judged(of, world.state(of), world.evidence(of), world.START)
    totals = {"canary_events": 62, "champion_events": 61, "canary_total": 100, "champion_total": 100}
    shown = found("disagreement", noninferiority=9.0, low=-0.12, high=0.14, **totals)
    assert figures(shown) == ("62 of 100 (62 %)", "61 of 100 (61 %)")
    assert ratio_text(known, shown) == "-12 % to 14 %"
    assert meaning(known, shown) == (
        "v3 answers otherwise than v1 in less than 2 % of copies more than v1 differs from itself."
    )
    assert "the tolerated 2 % of copies more than v1 differs from itself" in meaning(
        known, found("disagreement", suspicion=9)
    )


def test_feedback() -> None:
    """Units that were judged are compared, in words that say so."""
    of = world.plan(guardrails=(world.guardrail("feedback", tolerance=0.05),))
    known = Judged(of, world.state(of), world.evidence(of), world.START)
    good = found("feedback", noninferiority=9.0, canary_events=3, canary_total=50, champion_total=70)
    assert "or by less than 5 % of units that were judged" in meaning(known, good)
    assert figures(good) == ("3 of 50 (6 %)", "0 of 70 (0 %)")
    assert standing(known, found("feedback", harm=9.0)) is Standing.WORSE

"""Sentences for people."""

from dataclasses import replace
from decimal import Decimal

import pytest

from proxy.rollout import sentences
from proxy.rollout.evidence import Evidence, GuardrailEvidence
from proxy.rollout.sentences import Said, chance, describe, percent, say
from proxy.rollout.state import Phase
from proxy.rollout.verdict import Reason, Verdict
from proxy.settings import Metric
from tests.rollout.world import evidence, guardrail, plan, state

PLAN = plan()
ERRORS = GuardrailEvidence(
    "errors",
    Metric.ERRORS,
    False,
    canary_events=12,
    canary_total=300,
    champion_events=20,
    champion_total=2000,
)


def said(reason: Reason, verdict: Verdict = Verdict.HOLD, about: tuple[str, ...] = ("errors",)) -> Said:
    return Said(verdict, reason, about, Decimal(5), Decimal(25))


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_has_a_sentence(reason: Reason) -> None:
    """One that names the canary or says that there is no verdict, and has no hole in it."""
    found = say(PLAN, state(PLAN), evidence(PLAN), said(reason))
    assert found.startswith(("v3 ", "no verdict"))
    assert "{" not in found
    assert "None" not in found


@pytest.mark.parametrize(
    ("log_e", "expected"),
    [(4.7, "fewer than 1 of 109"), (-3.0, "fewer than 1 of 1"), (30.0, "fewer than 1 of 100,000,000")],
)
def test_chances(log_e: float, expected: str) -> None:
    """An e-value is a bound on how often chance does this."""
    assert chance(log_e) == expected


@pytest.mark.parametrize(
    ("guardrail", "expected"),
    [
        (ERRORS, "v3 failed 4 % of 300 units, v1 1 % of 2,000"),
        (replace(ERRORS, canary_events=300, champion_total=0), "v3 failed 100 % of 300 units, v1 none of 0"),
        (
            replace(ERRORS, metric=Metric.CLIENT_ERRORS),
            "v3 refused, as the client's mistake, 4 % of 300 units, v1 1 % of 2,000",
        ),
        (replace(ERRORS, metric=Metric.SLOW), "v3 was slow for 4 % of 300 units, v1 1 % of 2,000"),
        (
            replace(ERRORS, metric=Metric.DISAGREEMENT),
            "v3 answered 4 % of 300 compared copies otherwise than v1",
        ),
        (
            replace(ERRORS, metric=Metric.FEEDBACK),
            "of 300 units of v3 that were judged 4 % got a bad answer, of 2,000 of v1 1 %",
        ),
        (replace(ERRORS, metric=Metric.LATENCY), "nothing is known of the latency of v3 yet"),
        (
            replace(
                ERRORS,
                metric=Metric.LATENCY,
                canary_ns=(52_000_000, 80_000_000, 12_000_000_000),
                champion_ns=(40_000_000, 60_000_000, 90_000_000),
            ),
            "answers of v3 take 52 ms (p95 80 ms, p99 12 s), of v1 40 ms (p95 60 ms, p99 90 ms)",
        ),
    ],
)
def test_guardrails_are_described(guardrail: GuardrailEvidence, expected: str) -> None:
    """Both arms, in figures that people know."""
    assert describe(guardrail, PLAN) == expected


def test_disagreement_above_noise_is_described() -> None:
    """Beside the canary's share stands the champion's own."""
    found = replace(
        ERRORS, name="disagreement", metric=Metric.DISAGREEMENT, champion_total=300, champion_events=9
    )
    of = replace(PLAN, guardrails=(guardrail("disagreement", asked_twice=0.05),))
    assert describe(found, of) == (
        "v3 answered 4 % of 300 copies otherwise than v1, which answered 3 % of them otherwise when it was asked again"
    )


@pytest.mark.parametrize(
    ("totals", "expected"),
    [
        (
            (0, 0),
            "in feedback; nobody has said yet whether an answer was good, of 1,000 units of v3 and 99,000 of v1",
        ),
        ((12, 340), "in feedback; feedback has come for 12 and 340 of 1,000 units of v3 and 99,000 of v1"),
    ],
)
def test_thin_feedback_is_told(totals: tuple[int, int], expected: str) -> None:
    """Where feedback is what is missing, the sentence says how much has come."""
    of = plan(guardrails=(guardrail("feedback"),))
    known = evidence(of)
    found = replace(known.guardrails[0], canary_total=totals[0], champion_total=totals[1])
    told = say(
        of, state(of), replace(known, guardrails=(found,)), said(Reason.NOT_SHOWN, about=("feedback",))
    )
    assert told.endswith(expected)


def test_feedback_for_one_variant_is_told() -> None:
    """How much came for each, and how rare a division like this is."""
    of = plan(guardrails=(guardrail("feedback"),))
    known = evidence(of)
    parts = (("allocation", 8.0),)
    found = replace(known.guardrails[0], canary_total=400, champion_total=12, parts=parts)
    told = say(of, state(of), replace(known, guardrails=(found,)), said(Reason.FEEDBACK_SRM, Verdict.INVALID))
    assert "for 400 of its 1,000 units and for 12 of 99,000 of v1" in told
    assert "fewer than 1 of 2,980 rollouts" in told


def test_a_rollback_says_who_what_and_how_certain() -> None:
    """And that it was no comparison at the same time, where it was not."""
    known = Evidence(guardrails=(ERRORS,), harm=5.0)
    harm = said(Reason.HARM, Verdict.ROLLBACK)
    found = say(PLAN, state(PLAN), known, harm)
    assert found == (
        "v3 is rolled back: v3 failed 4 % of 300 units, v1 1 % of 2,000; a canary that is not worse shows this in "
        "fewer than 1 of 148 rollouts"
    )
    assert "before the switch" in say(PLAN, state(PLAN), replace(known, is_randomised=False), harm)
    assert "other problems" in say(PLAN, state(PLAN), replace(known, problems=("clock",)), harm)
    assert "together" in say(PLAN, state(PLAN), known, replace(harm, about=()))


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        (Verdict.ROLLBACK, "rolled back, as the plan wants it"),
        (Verdict.PROMOTE, "not shown to be as good"),
        (Verdict.HOLD, "until a person decides: nothing was decided within 24h"),
    ],
)
def test_the_end_is_told_as_the_plan_wants_it(verdict: Verdict, words: str) -> None:
    """Each wish has its words."""
    assert words in say(PLAN, state(PLAN), evidence(PLAN), said(Reason.INCONCLUSIVE, verdict))


def test_steps_and_promotions() -> None:
    """From where to where, and on what grounds."""
    ramp = said(Reason.SHOWN, Verdict.RAMP)
    assert say(PLAN, state(PLAN), evidence(PLAN), ramp).startswith("v3 goes from 5 % to 25 %: 1,000 units")
    baked = replace(ramp, weight_now=Decimal(0))
    assert "waited long enough" in say(PLAN, state(PLAN), evidence(PLAN), baked)
    promotion = said(Reason.SHOWN, Verdict.PROMOTE)
    assert "every guardrail" in say(PLAN, state(PLAN), evidence(PLAN), promotion)
    switch = plan(steps=(Decimal(100),))
    assert "copies of requests" in say(switch, state(switch), evidence(switch), promotion)
    dry = plan(dry_run=True)
    assert say(dry, state(dry), evidence(dry), ramp).startswith(
        "dry run, v3 stays at 5 %; without it: v3 goes"
    )


def test_who_paused_it_is_named() -> None:
    """And who settled it."""
    assert "paused by anna" in say(PLAN, state(PLAN, paused_by="anna"), evidence(PLAN), said(Reason.PAUSED))
    settled = state(PLAN, phase=Phase.PROMOTED, by="ben")
    assert "ben decided so" in say(PLAN, settled, evidence(PLAN), said(Reason.BY_PERSON))


@pytest.mark.parametrize(
    ("weight", "text"), [("5", "5 %"), ("100", "100 %"), ("0.50", "0.5 %"), ("0", "0 %")]
)
def test_weights_as_text(weight: str, text: str) -> None:
    """Without needless zeros, and never as 1E+2."""
    assert percent(Decimal(weight)) == text
    assert sentences.__doc__

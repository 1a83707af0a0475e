"""The part about the evidence."""

import re
from dataclasses import replace
from math import log
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.report.evidence_part import evidence, since_promotion
from proxy.report.facts import Facts, gather
from proxy.report.pages import Block, Bullets, Heading, Paragraph, Table
from proxy.rollout.plan import Plan
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import MINUTE, Behaviour, guardrail, plan


def facts_of(told: Told, **changes: Any) -> Facts:
    return gather("wine", {**told.document(), **changes}, told.snapshots)


def text(blocks: list[Block]) -> str:
    return "\n".join(
        "\n".join(each.items)
        if isinstance(each, Bullets)
        else each.text
        if isinstance(each, Paragraph)
        else ""
        for each in blocks
    )


def table(blocks: list[Block]) -> Table:
    return next(each for each in blocks if isinstance(each, Table))


METRICS = ("errors", "client_errors", "abandoned", "latency", "slow", "disagreement", "feedback")


@given(st.lists(st.sampled_from(METRICS), min_size=1, unique=True), st.data())
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_guardrail_appears(metrics: list[str], data: st.DataObject) -> None:
    """Each has its verdict in words and its row of figures, whatever the plan."""
    guardrails = tuple(guardrail(each, advisory=data.draw(st.booleans())) for each in metrics)
    told = tell(plan(guardrails=guardrails), rate=500).run(2)
    blocks = evidence(facts_of(told))
    verdicts = next(each for each in blocks if isinstance(each, Bullets)).items
    assert [each.partition(":")[0] for each in verdicts] == metrics
    assert [row[0] for row in table(blocks).rows] == metrics
    for each, said in zip(guardrails, verdicts, strict=True):
        assert each.advisory == ("advisory" in said)


def test_a_rollback() -> None:
    """Words come first: who is worse; then figures, the average that decides, and who is named."""
    blocks = evidence(facts_of(bad_rollout()))
    said = text(blocks)
    assert "errors: worse. v3 is worse than v1 by more than the margin of 10 %." in said
    assert "latency: not yet known." in said
    assert "All guardrails together have an e-value of 1" in said
    assert "(e-Holm): errors" in said
    assert "divided as the weights say" in said
    assert re.fullmatch(r"\d+ of \d+ \([\d.]+ %\)", table(blocks).rows[0][1])


def test_a_broken_lot() -> None:
    """A division that the weights do not explain is told before anybody trusts the rest."""
    facts = facts_of(good_rollout())
    assert facts.then is not None
    for log_e, words in ((log(2000), "cannot be trusted"), (log(50), "may not be divided")):
        found = replace(facts.then.evidence, allocation=log_e, problems=("clock", "novelty"))
        said = text(evidence(replace(facts, then=replace(facts.then, evidence=found))))
        assert words in said
        assert "The clock jumped." in said
        assert "novelty" in said


def test_one_guardrail_needs_no_parts() -> None:
    """With one guardrail nothing is said of several."""
    told = tell(plan(guardrails=(guardrail("errors"),)), rate=500).run(1)
    assert "watching several" not in text(evidence(facts_of(told)))


def test_copies() -> None:
    """What copies showed is told where there were some."""
    told = tell(plan(), rate=500).run(1)
    assert "copies" not in text(evidence(facts_of(told)))
    said = text(
        evidence(facts_of(told, shadow={"answered": 90, "failed": 10, "compared": 0, "disagreed": 0}))
    )
    assert "Of 100 copies of requests that v3 got besides, it failed 10 (10 %)." in said


def test_nothing_is_known() -> None:
    """Before the first judgement there is none."""
    blocks = evidence(gather("wine", {"rollout": "r", "variant": "v3"}, {}))
    assert blocks == [Heading("The evidence"), Paragraph("There is none yet.")]


@pytest.mark.parametrize(
    ("of", "shown"),
    [
        (plan(), False),
        (plan(switch_back_ns=99 * MINUTE), True),
    ],
    ids=["unwatched", "switch back"],
)
def test_since_the_promotion(of: Plan, shown: bool) -> None:
    """After a promotion that is still guarded, what was seen since is told by itself."""
    told = tell(of, rate=3000, every=6, canary=Behaviour(errors=0.01), champion=Behaviour(errors=0.01))
    facts = facts_of(told.run(600))
    blocks = since_promotion(facts)
    assert bool(blocks) == shown
    if shown:
        assert blocks[0] == Heading("Since the promotion")
        assert "Nobody is left on v1" in text(blocks)

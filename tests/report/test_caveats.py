"""What was not tested."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.report.caveats import caveats
from proxy.report.facts import Facts, gather
from proxy.report.pages import Bullets
from tests.report.told import tell
from tests.rollout.world import MINUTE, guardrail, plan


def items(facts: Facts) -> str:
    return "\n".join(next(each for each in caveats(facts) if isinstance(each, Bullets)).items)


def facts_of(**changes: Any) -> Facts:
    told = tell(plan(**changes), rate=500).run(2)
    return gather("wine", told.document(), told.snapshots)


def with_evidence(facts: Facts, **changes: Any) -> Facts:
    assert facts.then is not None
    return replace(facts, then=replace(facts.then, evidence=replace(facts.then.evidence, **changes)))


def test_the_default_plan() -> None:
    """What no guardrail watches, labels, sameness, machines, forced requests and other hours are named."""
    said = items(facts_of())
    for each in (
        "No guardrail watched whether more clients give up waiting (abandoned).",
        "nothing here knows the right answers",
        "Whether v3 answers the same as v1",
        "machines are not. It has one server.",
        "forced by a header",
        "the evidence is from 20 s, Friday 04:40 to Friday 04:40 UTC",
        "units met v3: what is rare or small does not show yet",
        "v1 had no errors and client_errors at all",
    ):
        assert each in said, each
    assert "missing_unit" not in said


def test_what_the_plan_changes() -> None:
    """A plan that watches or leaves out other things has other gaps."""
    said = items(facts_of(guardrails=(guardrail("disagreement"), guardrail("errors", advisory=True))))
    assert "answers the same" not in said
    assert "errors only advised" in said
    assert "Nothing was counted yet for disagreement" in said
    assert "How much of the disagreement is v1's own: nobody asks it twice (compare.noise)" in said
    twice = items(facts_of(guardrails=(guardrail("disagreement", asked_twice=0.05),)))
    assert "v1's own" not in twice
    assert "answers the same" not in twice
    assert "its machine's" not in said
    assert "missing_unit is champion" in items(facts_of(missing_unit="champion"))


def test_units_that_come_again() -> None:
    """Sticky units are told from requests."""
    said = items(with_evidence(facts_of(), canary_units=5000, canary_requests=90_000))
    assert "90,000 requests to v3 came from 5,000 units." in said
    assert "does not show yet" not in said


def test_everything_at_once() -> None:
    """A comparison with the time before is told as one."""
    assert "switched at once" in items(with_evidence(facts_of(), is_randomised=False))


SPANS = [
    (20 * MINUTE, "Other hours"),
    (30 * 60 * MINUTE, "a whole week was not seen"),
    (9 * 24 * 60 * MINUTE, ""),
]


@pytest.mark.parametrize(("span_ns", "words"), SPANS)
def test_hours(span_ns: int, words: str) -> None:
    """How much of a day or week was seen follows from the time of the evidence."""
    facts = facts_of()
    assert facts.then is not None
    then = replace(facts.then, now_ns=facts.then.state.started_ns + span_ns)
    said = items(replace(facts, then=then))
    assert words in said
    assert bool(words) == ("Other " in said)


def test_what_is_not_kept() -> None:
    """Evidence that is only in memory is told."""
    told = tell(plan(), rate=500).run(1)
    facts = gather("wine", {**told.document(), "kept": False, "problem": "the disk is full"}, {})
    assert "Not all of the evidence is on the disk: the disk is full." in items(facts)


def test_nothing_yet() -> None:
    """Where nothing was judged there is nothing to add."""
    assert items(gather("wine", {"rollout": "r"}, {})) == "Nothing has been tested yet."


def test_feedback() -> None:
    """With a guardrail on feedback it is said how many answers nobody judged."""
    said = items(facts_of(guardrails=(guardrail("errors"), guardrail("feedback"))))
    assert "that nobody judged: feedback came for 0 of its" in said
    assert "nothing here knows the right answers" not in said
    assert "Nothing was counted yet for feedback" in said

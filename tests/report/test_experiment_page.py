"""The outlook as a page, and its advice."""

from dataclasses import replace
from typing import Any

import pytest

from proxy.report.experiment import Traffic, foresee
from proxy.report.experiment_page import advice, compile_outlook
from proxy.report.markdown import render_markdown
from proxy.report.needed import Model
from proxy.rollout.plan import Plan
from proxy.settings import Metric
from tests.rollout.world import MINUTE, guardrail, plan

MODEL = Model(((Metric.ERRORS, 0.01), (Metric.CLIENT_ERRORS, 0.02)), 0.3, 0.01, 2.0, 0.0)


def page(of: Plan, **changes: Any) -> str:
    traffic = replace(Traffic(200.0, None, 0.0, MODEL), **changes)
    return render_markdown(compile_outlook("wine", foresee(of, traffic), ("Assumed: the moon is round.",)))


def test_what_it_says() -> None:
    """Both ends of a rollout stand first, every guardrail has its rows, assumptions and other steps are named."""
    text = page(plan())
    assert "**If v3 is as good, it is promoted after about " in text
    assert "If it is as bad as asked for, it is rolled back after about" in text
    assert "Assumed: the moon is round." in text
    for name in ("errors", "client_errors", "latency"):
        assert text.count(f"\n| {name} ") == 2
    assert "| as in the file" in text
    assert "\\[50, 100\\]" in text
    assert "\\[1, 5, 25, 50, 100\\]" not in text  # as in the file
    assert "nothing but errors goes at 1 % after 2" in text
    assert "## Advice" not in text


CASES = [
    (
        "a margin that takes for ever",
        plan(guardrails=(guardrail("errors", tolerance=None),)),
        {"rate": 3.0, "model": replace(MODEL, rates=((Metric.ERRORS, 0.0001),))},
        ["At 3 requests a second, showing errors within 25 % (promotion_margin) takes", "use tolerance: 0.5%"],
    ),
    (
        "no copies",
        plan(guardrails=(guardrail("disagreement"),)),
        {},
        ["no shadow of this route copies requests to wine-v3"],
    ),
    (
        "too seldom asked twice",
        plan(guardrails=(guardrail("disagreement", asked_twice=0.001),)),
        {"rate": 3.0, "copies": 1.0, "model": replace(MODEL, disagreement=0.4)},
        ["ask the champion twice for more of them (compare.noise)", "2 % of copies above the champion's own noise"],
    ),
    (
        "too little time",
        plan(max_duration_ns=10 * MINUTE),
        {"rate": 20.0},
        ["showing", "takes"],
    ),
    ("few users", plan(), {"rate": 3.0, "units": 300}, ["Each of the 300 users counts once"]),
    ("a step for nobody", plan(), {"rate": 0.1}, ["begin with a larger step"]),
    ("a tight budget", plan(excess_errors=5), {}, ["for the budget: a larger excess_errors"]),
]  # fmt: skip


@pytest.mark.parametrize(("of", "changes", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_advice(of: Plan, changes: dict[str, Any], said: list[str]) -> None:
    """What is slow is named, with a change that brings it about."""
    traffic = replace(Traffic(200.0, None, 0.0, MODEL), **changes)
    found = "\n".join(advice(foresee(of, traffic)))
    assert not [each for each in said if each not in found], found


def test_what_cannot_be() -> None:
    """A rollout that does not fit its time, that never ends, or whose harm is within the margin, is told as such."""
    assert "the rollout ends before, by on_inconclusive" in page(plan(max_duration_ns=10 * MINUTE))
    assert "cannot be promoted, however good it is: disagreement" in page(
        plan(guardrails=(guardrail("disagreement"),))
    )
    assert "is within the margins: it is not rolled back" in page(plan(), model=replace(MODEL, factor=1.05))
    assert "never: within the margin" in page(plan(), model=replace(MODEL, factor=1.05))
    added = page(plan(), model=replace(MODEL, added=0.01), units=1_000_000)
    assert "in 1 % of requests more (latency: 2 times as long)" in added
    assert "1,000,000 users" in added

"""The plots of a report."""

from typing import Any
from xml.etree import ElementTree

from proxy.report.facts import Facts, gather
from proxy.report.figures import MOST_INTERVALS, figures
from proxy.report.pages import Block, Figure, Paragraph
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import guardrail, plan


def facts_of(told: Told, **changes: Any) -> Facts:
    return gather("wine", {**told.document(), **changes}, told.snapshots)


def drawn(blocks: list[Block]) -> list[Figure]:
    return [each for each in blocks if isinstance(each, Figure)]


def test_what_is_drawn() -> None:
    """Evidence both ways, the weight, the limits of each guardrail, and the latency of both."""
    found = drawn(figures(facts_of(good_rollout())))
    assert [each.title for each in found] == [
        "Evidence that the canary is worse",
        "Evidence that the canary is as good",
        "Weight of the canary",
        "errors: v3 divided by v1",
        "client_errors: v3 divided by v1",
        "latency: v3 divided by v1",
        "Latency of both",
    ]
    ids = set()
    for each in found:
        root = ElementTree.fromstring(each.svg)  # noqa: S314 - our own
        ids |= {element.get("id") for element in root if element.get("id")}
        assert each.table.rows
    assert len(ids) == 2 * len(found)  # no two plots of a page share an id


def test_thresholds_and_weights() -> None:
    """The plan's thresholds are drawn and named, and the promotion is the last step."""
    worse, good, weight, *_ = drawn(figures(facts_of(good_rollout())))
    assert "rolled back from 100 on" in worse.svg
    assert "as good from 20 on" in good.svg
    assert "100 %" in weight.svg


def test_after_a_rollback_it_ends() -> None:
    """What comes long after the end is not drawn."""
    told = bad_rollout()
    points = [*told.points, {**told.points[-1], "now_ns": told.points[-1]["now_ns"] + 10**15}]
    found = drawn(figures(facts_of(told, points=points)))
    assert "1 min" in found[0].svg
    assert " d" not in found[0].table.rows[-1][0]


def test_many_guardrails() -> None:
    """A report has no more plots than somebody looks at, and says what is left out."""
    names = [guardrail("slow", name=f"slow_{i}ms", threshold_ns=i * 1_000_000) for i in range(100, 110)]
    found = drawn(figures(facts_of(tell(plan(guardrails=tuple(names)), rate=200).run(2))))
    assert sum("divided by" in each.title for each in found) == MOST_INTERVALS
    assert "more are in the table" in found[0].caption


def test_disagreement_above_noise() -> None:
    """Above noise the axis goes below nothing, and title and caption say what is drawn."""
    told = tell(plan(guardrails=(guardrail("disagreement", asked_twice=0.5),)), rate=200).run(2)
    (figure,) = (each for each in drawn(figures(facts_of(told))) if each.title.startswith("disagreement"))
    assert figure.title == "disagreement: share of copies answered otherwise above the champion's own noise"
    assert "tolerated are 2 % above the champion's own noise" in figure.caption


def test_disagreement() -> None:
    """Of disagreement the share is drawn against its tolerance, and nothing that rolls back."""
    told = tell(plan(guardrails=(guardrail("disagreement"),)), rate=200).run(2)
    titles = [each.title for each in drawn(figures(facts_of(told)))]
    assert "disagreement: share of copies answered otherwise" in titles


def test_no_moment() -> None:
    """Without points there are no plots."""
    blocks = figures(facts_of(bad_rollout(), points=[]))
    assert Paragraph("No moment has been kept yet.") in blocks

"""What happened when, and with what it can be checked."""

from proxy.report.facts import Facts, gather
from proxy.report.pages import Command, Paragraph, Table
from proxy.report.story import reproducing, timeline
from proxy.rollout.transitions import Action
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import plan


def facts_of(told: Told) -> Facts:
    return gather("wine", told.document(), told.snapshots)


def rows(facts: Facts) -> list[tuple[str, ...]]:
    return [row for block in timeline(facts) if isinstance(block, Table) for row in block.rows]


def test_every_move_has_its_row() -> None:
    """Steps, words of people and edits of the file stand in order, with who did it and why."""
    told = tell(plan(), rate=500).run(3)
    told.move(Action.PAUSE, "anna", "lunch")
    told.history += [
        {
            "ts": "2025-11-21T05:00:00.000Z",
            "event": "publish",
            "by": "file",
            "changes": ["routes[wine].salt: a → b"],
        },
        {
            "ts": "2025-11-21T05:00:01.000Z",
            "event": "note",
            "verdict": "hold",
            "rollout": told.world.state.rollout,
        },
        {
            "ts": "2025-11-20T05:00:00.000Z",
            "event": "publish",
            "by": "file",
            "changes": ["routes[wine]: long ago"],
        },
        {"ts": "no time", "event": "verb", "verdict": "resume", "by": "bert"},
        {"ts": "2025-11-21T05:00:02.000Z", "event": "verb", "verdict": "abort", "rollout": "another"},
    ]
    found = rows(facts_of(told))
    assert [row[1] for row in found] == ["–", "anna", "file", "bert"]
    assert found[0] == ("2025-11-21 04:40:00 UTC", "–", "", "its evidence begins")
    assert found[1] == ("2025-11-21 04:40:30 UTC", "anna", "stays at 1 %", "pause: lunch")
    assert found[2][3] == "the configuration was edited: routes[wine].salt: a → b"
    assert found[3][0] == "no time"


def test_weights() -> None:
    """A promotion shows the way up."""
    found = rows(facts_of(good_rollout()))
    assert [row[2] for row in found] == ["", "1 % → 5 %", "5 % → 25 %", "25 % → 50 %", "50 % → 100 %"]


def test_without_a_journal() -> None:
    """The moves of the engine are in the store too."""
    told = bad_rollout()
    facts = gather("wine", {**told.document(), "history": []}, told.snapshots)
    assert [row[1:3] for row in rows(facts)] == [("–", ""), ("engine", "1 % → 0 %")]


def test_a_long_story_is_cut() -> None:
    """The last rows are shown, and it is said how many are not."""
    told = tell(plan(), rate=500).run(1)
    told.history += [{"ts": f"{i}", "event": "verb", "verdict": "pause", "by": str(i)} for i in range(200)]
    blocks = timeline(facts_of(told))
    assert any(isinstance(each, Paragraph) and each.text.startswith("141 earlier rows") for each in blocks)
    assert rows(facts_of(told))[-1][1] == "199"


def test_nothing_happened() -> None:
    """Where nothing is known, that is said."""
    blocks = timeline(gather("wine", {"rollout": "r"}, {}))
    assert Paragraph("Nothing has moved yet.") in blocks


def test_reproducing() -> None:
    """The report names every digest and the command that checks it, and explains the e-value with the plan's risk."""
    facts = facts_of(bad_rollout())
    blocks = reproducing(facts, "1.2.3", "modelproxy report wine --verify")
    text = str(blocks)
    assert facts.deciding is not None
    assert facts.plan is not None
    for each in (facts.document.rollout, facts.plan.digest(), facts.deciding.evidence, "c0ffee", "1.2.3"):
        assert each in text
    assert "reaches 100 in at most 1 % of rollouts" in text
    assert Command("modelproxy report wine --verify") in blocks
    assert not any(isinstance(each, Command) for each in reproducing(facts, "1.2.3", ""))

"""What is asked of a rollout: read, judged, written down."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import orjson
import pytest

from proxy.control.book import Entry
from proxy.control.steering import REASON_MAX, Order, Stale, Step, note_facts, read_order, take
from proxy.rollout.state import ENGINE, Phase
from tests.control.rollout_world import MINUTE, START_NS, TEXT, entry_of, plan_in, settings_of

SETTINGS = settings_of()
PLAN = plan_in(SETTINGS)
ENTRY = entry_of(SETTINGS)
LATER_NS = START_NS + MINUTE
FRESH = "0123456789abcdef"


def decision(action: str | None, **more: Any) -> dict[str, Any]:
    """What the engine sends about the rollout as it is."""
    return {
        "verdict": action or "hold", "action": action, "reason": "shown", "sentence": "all is well",
        "rollout": ENTRY.state.rollout, "sequence": ENTRY.state.sequence, "evidence": "abc", "needs": [],
        "log_e": {"errors": 1.5}, "confidence": {"errors": [0.5, 1.5]}, "requests_exposed": 7, "dry_run": False, **more,
    }  # fmt: skip


def engine(action: str | None, verb: str = "decide", **more: Any) -> Order:
    """The engine's order."""
    order = read_order({"verb": verb, "by": "engine", "route": "wine", "decision": decision(action, **more)})
    assert isinstance(order, Order)
    return order


def person(verb: str, reason: str = "") -> Order:
    """A person's order."""
    order = read_order({"verb": verb, "by": "admin 127.0.0.1", "route": "wine", "reason": reason})
    assert isinstance(order, Order)
    return order


def taken(order: Order, entry: Entry = ENTRY) -> Step:
    """Take an order that must be allowed."""
    step = take(order, entry, PLAN, LATER_NS, FRESH)
    assert isinstance(step, Step), step
    return step


class TestRead:
    """Messages of the link."""

    def test_a_persons_word(self) -> None:
        """Who, what, where and why come through."""
        order = person("abort", "it is bad")
        assert (order.verb, order.route, order.by) == ("abort", "wine", "admin 127.0.0.1")
        assert (order.reason, order.decision, order.is_engine) == ("it is bad", {}, False)

    def test_nobody_is_the_engine_by_saying_so(self) -> None:
        """A person's word is judged as a person's, whatever name it brings."""
        order = read_order({"verb": "promote", "by": ENGINE, "route": "wine"})
        assert isinstance(order, Order)
        assert order.by == "a person"

    @pytest.mark.parametrize(
        ("reason", "kept"),
        [
            ("x" * 600, "x" * (REASON_MAX - 1) + "…"),
            ("x" * REASON_MAX, "x" * REASON_MAX),
            ("a\nb\x1b[2J", "a\\nb\\x1b[2J"),
            (None, ""),
            (5, ""),
        ],
    )
    def test_a_reason_is_one_printable_line(self, reason: object, kept: str) -> None:
        """Long ones are cut and control characters are shown, so that no line of a log is forged."""
        order = read_order({"verb": "abort", "by": "x", "route": "wine", "reason": reason})
        assert isinstance(order, Order)
        assert order.reason == kept

    @pytest.mark.parametrize(
        "message",
        [
            {"verb": "explode", "route": "wine"},
            {"verb": "abort"},
            {"verb": "abort", "route": 5},
            {"verb": ["abort"], "route": "wine"},
            {"verb": "decide", "route": "wine"},
            {"verb": "decide", "route": "wine", "decision": [1]},
            {"verb": "note", "route": "wine", "decision": {"verdict": "hold"}},
        ],
    )
    def test_what_cannot_be_understood(self, message: Mapping[str, Any]) -> None:
        """It is refused with a sentence."""
        assert isinstance(read_order(message), str)

    def test_equal_decisions_have_equal_keys(self) -> None:
        """Two ticks that decide the same are the same; another state or action is not."""
        assert engine("ramp").key == engine("ramp", needs=["more"]).key
        assert engine("ramp").key != engine("rollback").key
        assert engine("ramp").key != engine("ramp", sequence=9).key

    @pytest.mark.parametrize(("verdict", "label"), [("ramp", "ramp"), ("junk", "other"), (5, "other")])
    def test_labels_are_known(self, verdict: object, label: str) -> None:
        """No verdict makes a metric of its own."""
        assert engine("ramp", verdict=verdict).verdict == label


STEPS: list[tuple[str, Order, Phase, str, tuple[bool, bool, bool]]] = [
    ("ramp", engine("ramp"), Phase.RAMPING, "the next step, 5 % → 25 % (ramping, step 2 of 3)", (False, True, False)),
    ("rollback", engine("rollback"), Phase.ROLLED_BACK, "rolled back, 5 % → 0 % (rolled back)", (True, False, True)),
    ("conclude", engine("conclude"), Phase.INCONCLUSIVE, "stays at 5 % (inconclusive)", (False, False, False)),
    ("promote", person("promote"), Phase.PROMOTED, "v2: promoted, 5 % → 100 % (promoted)", (False, False, False)),
    ("abort", person("abort"), Phase.ROLLED_BACK, "v2: aborted, 5 % → 0 % (rolled back)", (True, False, True)),
    ("pause", person("pause"), Phase.RAMPING, "paused by admin 127.0.0.1)", (False, False, True)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("order", "phase", "words", "flags"), [case[1:] for case in STEPS], ids=[case[0] for case in STEPS]
)
def test_steps(order: Order, phase: Phase, words: str, flags: tuple[bool, bool, bool]) -> None:
    """Each order leads where it should, says from which to which weight, and how urgent it is."""
    step = taken(order)
    assert (step.entry.state.phase, step.entry.plan) == (phase, PLAN.document())
    assert words in step.sentence
    assert (step.falls, step.rises, step.is_urgent) == flags


@pytest.mark.parametrize("reason", ["a sale", ""])
def test_a_pause_keeps_its_reason(reason: str) -> None:
    """What the person said, and nothing where nothing was said."""
    asked = taken(Order("pause", "wine", "anna", reason)).entry.state
    assert (asked.paused_by, asked.paused_reason) == ("anna", reason)


def test_the_journal_learns_what_the_engine_knew() -> None:
    """The line has the verdict, the figures and the weights."""
    facts = taken(engine("ramp")).facts
    assert facts == {
        "route": "wine", "variant": "v2", "rollout": ENTRY.state.rollout, "phase": "ramping",
        "sequence": ENTRY.state.sequence + 1, "verdict": "ramp", "action": "ramp", "reason": "shown",
        "sentence": "all is well", "evidence": "abc", "needs": [], "log_e": {"errors": 1.5},
        "confidence": {"errors": [0.5, 1.5]}, "requests_exposed": 7, "dry_run": False,
        "from_weight": 5.0, "to_weight": 25.0,
    }  # fmt: skip


def test_a_long_decision_is_cut() -> None:
    """A line of the journal stays short; what was decided stays in it."""
    facts = taken(engine("ramp", log_e={f"metric-{i}": 1.0 for i in range(10_000)})).facts
    assert len(orjson.dumps(facts)) < 2000
    assert (facts["verdict"], facts["is_cut"], "log_e" in facts) == ("ramp", True, False)


@pytest.mark.parametrize("more", [{"sequence": 9}, {"sequence": 0}, {"rollout": "another"}])
def test_a_decision_about_a_state_that_is_over(more: dict[str, Any]) -> None:
    """It is refused in words, and a note about it too."""
    stale = take(engine("ramp", **more), ENTRY, PLAN, LATER_NS, FRESH)
    assert isinstance(stale, Stale)
    assert "by now" in stale.sentence
    assert isinstance(note_facts(engine(None, "note", **more), ENTRY.state, PLAN), Stale)


def test_a_persons_word_is_never_stale() -> None:
    """It acts on the rollout as it is when its turn comes."""
    moved = Entry(replace(ENTRY.state, sequence=77, step=2), ENTRY.plan)
    assert taken(person("abort"), moved).entry.state.sequence == 78


REFUSED: list[tuple[str, Order, dict[str, Any], str]] = [
    ("an action that is none", engine("explode"), {}, "expected an action"),
    ("no action", engine(None), {}, "expected an action"),
    ("paused", engine("ramp"), {"paused_by": "admin 127.0.0.1"}, "paused by admin 127.0.0.1"),
    ("a step left out", engine("promote"), {}, "no step is left out"),
    ("nothing paused", person("resume"), {}, "nothing to resume"),
    ("done already", person("promote"), {"phase": Phase.PROMOTED}, "it is promoted already"),
]


@pytest.mark.parametrize(
    ("order", "state", "words"), [case[1:] for case in REFUSED], ids=[case[0] for case in REFUSED]
)
def test_what_the_law_refuses(order: Order, state: dict[str, Any], words: str) -> None:
    """The sentence comes back, with the variant's name where it is about the rollout."""
    answer = take(order, Entry(replace(ENTRY.state, **state), ENTRY.plan), PLAN, LATER_NS, FRESH)
    assert isinstance(answer, str)
    assert words in answer


def test_a_rollout_that_starts_again_is_new() -> None:
    """Resume of what was rolled back takes the fresh id."""
    over = Entry(replace(ENTRY.state, phase=Phase.ROLLED_BACK), ENTRY.plan)
    assert taken(person("resume"), over).entry.state.rollout == FRESH


def test_a_note_moves_nothing() -> None:
    """It is what the engine thought, and the weight that stays."""
    facts = note_facts(engine(None, "note", verdict="invalid"), ENTRY.state, PLAN)
    assert not isinstance(facts, Stale)
    assert (facts["verdict"], facts["weight"], facts["sequence"]) == ("invalid", 5.0, ENTRY.state.sequence)


def test_the_world_is_as_assumed() -> None:
    """The rollout of these tests begins on its first step of three."""
    assert (ENTRY.state.phase, ENTRY.state.step, len(PLAN.ladder)) == (Phase.RAMPING, 0, 3)
    assert "steps: [5, 25, 50]" in TEXT

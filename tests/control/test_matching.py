"""What becomes of every rollout when a file is published."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from proxy.control.book import Ended, Entry
from proxy.control.matching import (
    HELD_BY,
    KEPT_NS,
    KEPT_OF_A_ROUTE,
    KEPT_OF_ALL,
    Matched,
    match,
    plan_for,
    positions_of,
    remembered,
    rollout_documents,
)
from proxy.rollout.state import ENGINE, Phase
from tests.control.rollout_world import START_NS, TEXT, Ids, entry_of, plan_in, settings_of


def ramped(step: int = 1) -> Entry:
    """A rollout of wine on a later step."""
    entry = entry_of(settings_of())
    return Entry(replace(entry.state, step=step, sequence=5), entry.plan)


def test_rollouts_begin() -> None:
    """Each route that has one gets one, with an id of its own and a sentence; the others none."""
    matched = match({}, settings_of(), START_NS, Ids())
    assert [*matched.entries] == ["wine", "beer"]
    assert matched.sentences == (
        "routes[wine]: the rollout of v2 begins at 5 %",
        "routes[beer]: the rollout of v3 begins at 0 %",
    )
    assert {entry.state.rollout for entry in matched.entries.values()} == {f"{1:016x}", f"{2:016x}"}
    assert matched.alarms == ()


def test_the_same_file_changes_nothing() -> None:
    """Published again, as after a restart, everything stands where it stood, and nothing is said."""
    before = {"wine": ramped(), "beer": entry_of(settings_of(), "beer")}
    matched = match(before, settings_of(), START_NS + 1, Ids())
    assert (matched.entries, matched.sentences, matched.alarms) == (before, (), ())


EDITS: list[tuple[str, str, str, list[str], str | None]] = [
    (
        "steps",
        "[5, 25, 50]",
        "[1, 10, 50]",
        ["the rollout of v2 continues at 10 %: the steps were edited"],
        "10",
    ),
    ("hold", "hold: 1m", "hold: 2m", [], "25"),
    (
        "a risk",
        "hold: 1m",
        "hold: 1m, false_rollback: 2",
        ["stays at 25 % and is judged anew: the accepted risk"],
        "25",
    ),
    (
        "the model",
        "v2, model: m2, role: canary, rollout: {steps: [5",
        "v2, model: m1, role: canary, rollout: {steps: [5",
        ["restarts at 5 %: v2 is another model now"],
        "5",
    ),
    (
        "a weight",
        "rollout: {steps: [5, 25, 50], hold: 1m}",
        "weight: 7",
        ["ends: v2 has a weight of 7 % now"],
        None,
    ),
    (
        "the route",
        "name: wine",
        "name: whine",
        ["routes[wine]: the rollout of v2 ends: route wine is gone"],
        None,
    ),
]


@pytest.mark.parametrize(
    ("old", "new", "words", "weight"), [case[1:] for case in EDITS], ids=[case[0] for case in EDITS]
)
def test_edits(old: str, new: str, words: list[str], weight: str | None) -> None:
    """Every edit does what its rule says, and says so with the route's name."""
    assert old in TEXT
    matched = match({"wine": ramped()}, settings_of(TEXT.replace(old, new, 1)), START_NS + 1, Ids())
    said = [line for line in matched.sentences if line.startswith("routes[wine]")]
    assert len(said) == len(words)
    assert all(word in line for word, line in zip(words, said, strict=True))
    weights = {position.route: position.weight for position in positions_of(matched.entries)}
    assert weights.get("wine") == (None if weight is None else Decimal(weight))


@pytest.mark.parametrize("unknown", [None, {"wine"}])
def test_what_nobody_knows_is_held(unknown: set[str] | None) -> None:
    """A rollout whose place was lost is at weight 0 by nobody's decision but the start's, and it is said loudly."""
    matched = match({}, settings_of(), START_NS, Ids(), unknown)
    state = matched.entries["wine"].state
    assert (state.phase, state.by, state.is_terminal) == (Phase.ROLLED_BACK, HELD_BY, True)
    assert positions_of(matched.entries)[0].weight == 0
    assert "modelproxy resume wine" in matched.alarms[0]
    assert len(matched.alarms) == (2 if unknown is None else 1)


def test_what_is_known_is_not_held() -> None:
    """An entry counts, whatever else is unknown."""
    matched = match({"wine": ramped()}, settings_of(), START_NS, Ids(), None)
    assert matched.entries["wine"] == ramped()


FOREIGN: list[tuple[str, dict[str, Any]]] = [
    ("a field that came", {"holdback": None}),
    ("a field that means something else now", {"guardrails": [{"metric": "mood"}]}),
    ("nothing at all", {"everything": None}),
]


@pytest.mark.parametrize("damage", [case[1] for case in FOREIGN], ids=[case[0] for case in FOREIGN])
def test_another_versions_plan_ends_no_rollout(damage: dict[str, Any]) -> None:
    """What the program before wrote otherwise is taken to be as the file has it: the rollout goes on."""
    entry = ramped()
    plan = {} if "everything" in damage else {**entry.plan, **damage}
    if "holdback" in damage:
        del plan["holdback"]
    matched = match({"wine": Entry(entry.state, plan)}, settings_of(), START_NS, Ids())
    assert matched.entries["wine"].state.step == 1
    assert matched.entries["wine"].state.rollout == entry.state.rollout


def test_another_versions_plan_still_tells_what_was_edited() -> None:
    """Fields that can be read are compared as ever."""
    entry = ramped()
    plan = {name: value for name, value in entry.plan.items() if name != "holdback"}
    edited = settings_of(
        TEXT.replace('m2: {url: "http://127.0.0.1:9002"}', 'm2: {url: "http://127.0.0.1:9009"}')
    )
    matched = match({"wine": Entry(entry.state, plan)}, edited, START_NS, Ids())
    assert any("v2 is another model now" in line for line in matched.sentences)


def test_an_unreadable_plan_of_a_rollout_that_ends() -> None:
    """Nothing is needed of it, and nothing fails."""
    gone = settings_of(TEXT.replace("rollout: {steps: [5, 25, 50], hold: 1m}", "weight: 7"))
    matched = match({"wine": Entry(ramped().state, {})}, gone, START_NS, Ids())
    assert "wine" not in matched.entries
    assert "routes[wine]: the rollout of v2 ends" in matched.sentences


def test_plan_for_a_good_entry() -> None:
    """A plan that can be read is the one that was written."""
    settings = settings_of()
    assert plan_for(entry_of(settings), None) == plan_in(settings)


def test_documents() -> None:
    """Processes are told the states and the exact weights."""
    entries = {"wine": ramped()}
    (position,) = positions_of(entries)
    assert (position.route, position.variant, position.rollout) == (
        "wine",
        "v2",
        entries["wine"].state.rollout,
    )
    assert rollout_documents(entries) == (entries["wine"].state.document(),)
    assert entries["wine"].state.by == ENGINE


class Files:
    """One file after the other, and what is remembered from each to the next."""

    def __init__(self, **change: Any) -> None:
        entry = entry_of(settings_of())
        self.entries = {"wine": Entry(replace(entry.state, **change), entry.plan)}
        self.ended: tuple[Ended, ...] = ()
        self.now_ns = START_NS
        self._fresh = Ids()

    def read(self, text: str, after_ns: int = 1) -> Matched:
        """Publish ``text`` after a while."""
        self.now_ns += after_ns
        matched = match(self.entries, settings_of(text), self.now_ns, self._fresh, (), self.ended)
        self.ended = remembered(self.ended, self.entries, matched.entries, self.now_ns)
        self.entries = dict(matched.entries)
        return matched


OFF: dict[str, Any] = {
    "phase": Phase.ROLLED_BACK,
    "step": 2,
    "sequence": 9,
    "reason": "It failed 3 times as often.",
}
CANARY = "{name: v2, model: m2, role: canary, rollout: {steps: [5, 25, 50], hold: 1m}}"
AWAY: list[tuple[str, str]] = [
    ("without the route", TEXT.replace("name: wine", "name: whine", 1)),
    ("with a weight", TEXT.replace(CANARY, "{name: v2, model: m2, role: canary, weight: 0}", 1)),
    ("with another canary", TEXT.replace(CANARY, CANARY.replace("v2", "v9"), 1)),
    ("with another model", TEXT.replace(CANARY, CANARY.replace("m2", "m1"), 1)),
]


@pytest.mark.parametrize("text", [case[1] for case in AWAY], ids=[case[0] for case in AWAY])
def test_a_file_that_flickers_brings_nothing_back(text: str) -> None:
    """A canary that was rolled back stays so when a file lacks it for a while, and it is said how to start it."""
    files = Files(**OFF)
    files.read(text)
    assert files.entries.get("wine") is None or files.entries["wine"].state.phase is not Phase.ROLLED_BACK
    matched = files.read(TEXT)
    state = files.entries["wine"].state
    assert (state.phase, state.rollout) == (Phase.ROLLED_BACK, f"{255:016x}")
    assert state.sequence > 9
    assert state.reason.startswith("It failed 3 times as often; the file dropped it")
    (alarm,) = matched.alarms
    assert "stays at 0 %" in alarm
    assert "modelproxy resume wine" in alarm
    assert not any("routes[wine]: the rollout of v2 begins" in line for line in matched.sentences)
    # Again and again, without growing words.
    files.read(text)
    files.read(TEXT)
    again = files.entries["wine"].state
    assert (again.phase, again.reason) == (Phase.ROLLED_BACK, state.reason)
    assert again.sequence > state.sequence


def test_another_build_begins() -> None:
    """It is the build that is remembered: another name, model or server is another canary."""
    files = Files(**OFF)
    files.read(AWAY[0][1])
    for change in (
        ("9002", "9003"),
        (CANARY, CANARY.replace("m2", "m1")),
        (CANARY, CANARY.replace("v2", "v9")),
    ):
        matched = match({}, settings_of(TEXT.replace(*change)), files.now_ns, Ids(), (), files.ended)
        assert (matched.entries["wine"].state.phase, matched.alarms) == (Phase.RAMPING, ())


def test_a_pause_survives_a_file_that_flickers() -> None:
    """A person's word is not undone by a file: the rollout begins anew, and waits at 0 % for resume."""
    files = Files(step=2, paused_by="anna", paused_reason="a sale", sequence=4)
    files.read(AWAY[0][1])
    matched = files.read(TEXT)
    state = matched.entries["wine"].state
    assert (state.paused_by, state.paused_reason, state.sequence) == ("anna", "a sale", 5)
    assert positions_of(matched.entries)[0].weight == 0
    assert "paused by anna" in matched.alarms[0]


def test_what_was_under_way_begins_anew() -> None:
    """Only what must not reach clients is remembered."""
    files = Files(step=2)
    files.read(AWAY[0][1])
    assert files.ended == ()
    assert files.read(TEXT).entries["wine"].state.step == 0


def test_what_is_tried_again_is_not_remembered_as_over() -> None:
    """A person who started it again was heard: a flicker afterwards begins anew, as with any other."""
    files = Files(**OFF)
    files.read(AWAY[0][1])
    files.read(TEXT)
    started = replace(files.entries["wine"].state, phase=Phase.RAMPING, step=0)
    files.entries["wine"] = Entry(started, files.entries["wine"].plan)
    files.read(AWAY[0][1])
    assert files.ended == ()
    assert files.read(TEXT).entries["wine"].state.phase is Phase.RAMPING


def test_memory_is_bounded() -> None:
    """The last ones of each route and of all are remembered, and for so long only."""
    entry = entry_of(settings_of())

    def over(route: str, number: int) -> Entry:
        plan = {
            **entry.plan,
            "route": route,
            "canary": {"name": f"v{number}", "model": "m", "urls": ["http://m"]},
        }
        return Entry(replace(entry.state, route=route, phase=Phase.ROLLED_BACK), plan)

    ended: tuple[Ended, ...] = ()
    for number in range(KEPT_OF_A_ROUTE + 3):
        ended = remembered(ended, {"wine": over("wine", number)}, {}, START_NS + number)
    assert [each.entry.plan["canary"]["name"] for each in ended] == [
        f"v{number}" for number in range(3, KEPT_OF_A_ROUTE + 3)
    ]
    assert remembered(ended, {}, {}, START_NS + KEPT_NS + 3) == ended[1:]
    foreign = Entry(entry.state, {**entry.plan, "everything": None, "steps": None})
    assert remembered(ended, {}, {"wine": foreign}, START_NS) == ended, (
        "a plan that nobody understands is no reason"
    )
    many = {f"route-{number}": over(f"route-{number}", 0) for number in range(KEPT_OF_ALL + 2)}
    assert len(remembered(ended, many, {}, START_NS)) == KEPT_OF_ALL

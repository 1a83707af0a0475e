"""One sentence for each way that a rollout can stand."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.report.facts import Facts, gather
from proxy.report.headline import headline
from proxy.rollout.state import Phase
from proxy.rollout.transitions import Action
from proxy.settings import Inconclusive
from tests.report.told import Told, bad_rollout, good_rollout, tell
from tests.rollout.world import MINUTE, Behaviour, guardrail, plan


def facts_of(told: Told) -> Facts:
    return gather("wine", told.document(), told.snapshots)


def paused() -> Told:
    told = tell(plan(), rate=500).run(3)
    told.move(Action.PAUSE, "anna", "lunch")
    return told


def aborted() -> Told:
    told = tell(plan(), rate=500).run(3)
    told.move(Action.ABORT, "anna", "looks odd")
    return told


def promoted_by_hand() -> Told:
    told = tell(plan(), rate=500).run(3)
    told.move(Action.PROMOTE, "anna", "")
    return told


def slow() -> Told:
    slow_canary = Behaviour(errors=0.01, median_ms=40)
    return tell(plan(), rate=3000, canary=slow_canary, champion=Behaviour(errors=0.01)).run(
        99, Phase.ROLLED_BACK
    )


def out_of_time(wish: Inconclusive) -> Told:
    short = plan(max_duration_ns=2 * MINUTE, on_inconclusive=wish)
    return tell(short, rate=500, champion=Behaviour(errors=0.01), canary=Behaviour(errors=0.01)).run(13)


def never_fails() -> Told:
    only = plan(guardrails=(guardrail("errors"),))
    return tell(only, rate=2000, canary=Behaviour(errors=0.5)).run(99, Phase.ROLLED_BACK)


CASES: list[tuple[str, Callable[[], Told], list[str]]] = [
    (
        "rolled back",
        bad_rollout,
        [
            "v3 was rolled back at 1 % after ",
            " requests: it failed ",
            " times as often as v1, at least ",
            "; had it been as good, evidence like this would come up in fewer than one of 1",
        ],
    ),
    ("promoted", good_rollout, ["promoted to 100 %", "as good as v1", "client_errors and latency", "one of 20"]),
    ("slow", slow, ["its answers took", "as long as those of v1 (half of them"]),
    ("a champion without errors", never_fails, ["it failed ", " times in ", "and v1 0 times in "]),
    ("paused", paused, ["v3 is at 1 %, step 1 of 4", "anna has paused it (lunch): the engine"]),
    ("aborted", aborted, ["v3 was taken back by anna (looks odd)", "not yet known in errors"]),
    ("promoted by hand", promoted_by_hand, ["promoted to 100 % by anna, after", "the evidence by then"]),
    ("under way", lambda: tell(plan(), rate=500).run(3), ["v3 is at 1 %, step 1 of 4, for 30 s", "The engine: "]),
    ("baking", lambda: tell(plan(bake_ns=MINUTE), rate=500).run(3), ["no traffic yet and has baked for 30 s"]),
    (
        "out of time: rollback",
        lambda: out_of_time(Inconclusive.ROLLBACK),
        ["rolled back at 1 %", "nothing was decided within 2 min", "to go back then"],
    ),
    ("out of time: hold", lambda: out_of_time(Inconclusive.HOLD), ["Nothing was decided", "until a person decides"]),
    ("dry run", lambda: tell(plan(dry_run=True), rate=500).run(3), ["This is a dry run"]),
]  # fmt: skip


@pytest.mark.parametrize(("make", "said"), [c[1:] for c in CASES], ids=[c[0] for c in CASES])
def test_headline(make: Callable[[], Told], said: list[str]) -> None:
    """It says what was decided, where, after how much, and why."""
    sentence = headline(facts_of(make()))
    assert not [each for each in said if each not in sentence], sentence
    assert sentence.endswith(".")
    assert ".." not in sentence


def test_nobody_has_judged() -> None:
    """Before the first judgement there is nothing to say."""
    bare: dict[str, Any] = {"rollout": "r", "variant": "v3", "champion": "v1"}
    assert "Nothing has been decided about v3" in headline(gather("wine", bare, {}))


def test_it_never_claims_more_than_was_decided() -> None:
    """Where the engine says less than the threshold, the sentence does too."""
    facts = facts_of(bad_rollout())
    assert facts.then is not None
    faint = replace(
        facts, then=replace(facts.then, evidence=replace(facts.then.evidence, is_randomised=False))
    )
    assert "compared with the time before everything was switched" in headline(faint)
    assert "rollouts" not in headline(faint)

"""Decisions as values that are written down."""

from dataclasses import replace
from math import inf, nan

import orjson

from proxy.rollout.decide import decide
from proxy.rollout.verdict import Reason, Verdict, canonical, rounded
from tests.rollout.world import MINUTE, START, evidence, plan, state

DECISION = decide(plan(), state(plan()), evidence(plan()), START + 10 * MINUTE)


def test_a_decision_is_plain_json() -> None:
    """Everything of it, with None for what is infinite."""
    document = orjson.loads(canonical(DECISION.document()))
    assert document["verdict"] == "ramp"
    assert document["weight"] == "5"
    assert document["confidence"]["errors"] == [0.0, None]
    assert set(document["log_e"]) >= {"harm", "suspicion", "allocation", "latency.noninferiority"}
    assert document.keys() == set(DECISION.__slots__)


def test_floats_are_rounded() -> None:
    """To 1e-9; there is no negative zero, and what is no number is None."""
    assert rounded({"a": [1.00000000049, -1e-12, inf, nan, 3, "x", True]}) == {
        "a": [1.0, 0.0, None, None, 3, "x", True]
    }
    assert str(rounded(-1e-12)) == "0.0"


def test_keys_are_sorted() -> None:
    """One value has one text."""
    assert canonical({"b": 1, "a": 2}) == canonical({"a": 2, "b": 1}) == b'{"a":2,"b":1}'


def test_what_is_worth_a_line() -> None:
    """A first decision, another verdict, reason, rollout or step; not more of the same evidence."""
    assert DECISION.changed_from(None)
    assert not replace(DECISION, requests_exposed=5, sentence="x").changed_from(DECISION)
    for changes in ({"verdict": Verdict.HOLD}, {"reason": Reason.HARM}, {"rollout": "x"}, {"step": 4}):
        assert replace(DECISION, **changes).changed_from(DECISION)

from typing import Any

import pytest

from tests.settings.rollout_cases import ROLLOUT_PROBLEMS
from tests.settings.settings_world import canary, minimal, told

CANARY = "routes[0].variants[1]"


@pytest.mark.parametrize("name", ROLLOUT_PROBLEMS)
def test_one_problem(name: str) -> None:
    """Each wrong rollout is one problem, at the place that has to change."""
    text, path, sentence = ROLLOUT_PROBLEMS[name]
    found = told(text)
    assert [path] == list(found)
    assert sentence in found[path]


def test_all_at_once() -> None:
    """Everything that is wrong with a rollout is told in one go."""
    guardrails: list[dict[str, Any]] = [
        {"metric": "slow"},
        {"metric": "latency", "tolerance": 1},
        {"metric": "errrors"},
        {"metric": "disagreement"},
    ]
    text = canary({"steps": [5, 1, 120], "hold": "25h", "holdback": "60%", "guardrails": guardrails})
    assert set(told(text)) == {
        f"{CANARY}.rollout.{key}"
        for key in (
            "steps[1]",
            "steps[2]",
            "hold",
            "holdback",
            "guardrails[0].threshold",
            "guardrails[1].tolerance",
            "guardrails[2].metric",
            "guardrails[3].tolerance",
            "guardrails[3].metric",
        )
    }


BLUNT: dict[str, tuple[str, set[str]]] = {
    "rollout as a list": (canary([1]), {f"{CANARY}.rollout"}),
    "steps as a mapping": (canary({"steps": {"a": 1}}), {f"{CANARY}.rollout.steps"}),
    "steps of anything": (
        canary({"steps": [None, True, [], 5]}),
        {f"{CANARY}.rollout.steps[{i}]" for i in range(3)},
    ),
    "guardrails as text": (canary({"guardrails": "errors"}), {f"{CANARY}.rollout.guardrails"}),
    "guardrails of anything": (
        canary({"guardrails": [None, 1, {"metric": ["errors"]}]}),
        {f"{CANARY}.rollout.guardrails[{i}]" for i in range(2)} | {f"{CANARY}.rollout.guardrails[2].metric"},
    ),
    "broken threshold": (
        canary({"guardrails": [{"metric": "slow", "threshold": t} for t in ("x", "x")]}),
        {f"{CANARY}.rollout.guardrails[{i}].threshold" for i in range(2)},
    ),
    "broken model": (
        canary({"guardrails": [{"metric": "disagreement", "tolerance": 1}]}, model=5),
        {f"{CANARY}.model"},
    ),
    "broken holdback": (canary({"holdback": "x", "steps": [99, 100]}), {f"{CANARY}.rollout.holdback"}),
    "broken weight beside it": (
        canary({}, others=[{"name": "c", "model": "two", "role": "challenger", "weight": "x"}]),
        {"routes[0].variants[2].weight"},
    ),
    "weights over all beside it": (
        canary({}, others=[{"name": "c", "model": "two", "role": "challenger", "weight": 70}] * 2),
        {"routes[0].variants", "routes[0].variants[3].name"},
    ),
    "broken role": (canary({}, role="boss"), {f"{CANARY}.role"}),
    "shadows as text": (
        minimal(
            route={
                "shadows": "two",
                "variants": [
                    {"name": "v1", "model": "one", "role": "champion"},
                    {"name": "v2", "model": "two", "role": "canary", "rollout": {}},
                ],
            }
        ),
        {"routes[0].shadows"},
    ),
}


@pytest.mark.parametrize("name", BLUNT)
def test_broken_in_itself(name: str) -> None:
    """A rule says nothing about a value that is broken in itself."""
    text, paths = BLUNT[name]
    assert paths == set(told(text))

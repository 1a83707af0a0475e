"""Warnings about asking the champion twice."""

from typing import Any

import pytest

from proxy.settings import warnings
from tests.settings.settings_world import minimal, read

SHADOWS = [{"model": "two", "timeout": "30s"}]
TWO_SERVERS = {"url": ["http://h", "http://i"]}

CASES: dict[str, tuple[dict[str, Any], dict[str, Any], list[tuple[str, str]]]] = {
    "as it is meant": ({"shadows": SHADOWS, "compare": {"noise": 5, "excess": 10}}, {}, []),
    "no noise": ({"shadows": SHADOWS}, {}, []),
    "excess of nothing": (
        {"shadows": SHADOWS, "compare": {"excess": 10}},
        {},
        [("compare.excess", "excess where the champion is asked once")],
    ),
    "nothing mirrored": (
        {"shadows": [{"model": "two", "percent": 0}], "compare": {"noise": 5}},
        {},
        [("compare.noise", "noise where nothing is mirrored")],
    ),
    "nothing compared": (
        {"shadows": SHADOWS, "compare": {"noise": 5, "as": "none"}},
        {},
        [("compare.noise", "noise where nothing is compared")],
    ),
    "timeouts that differ": (
        {"shadows": [*SHADOWS, {"model": "one", "timeout": "40s"}], "compare": {"noise": 5}},
        {},
        [("shadows[0].timeout", "30s")],
    ),
    "less time than the client's request": (
        {"shadows": [{"model": "two"}], "compare": {"noise": 5}},
        {},
        [("shadows[0].timeout", "10s")],
    ),
    "a shadow that gets nothing has no say": (
        {"shadows": [*SHADOWS, {"model": "one", "timeout": "40s", "percent": 0}], "compare": {"noise": 5}},
        {},
        [],
    ),
    "one server of several for a unit": (
        {"shadows": SHADOWS, "compare": {"noise": 5}},
        {**TWO_SERVERS, "balance": "hash"},
        [("compare.noise", "noise of a champion that is balanced by hash")],
    ),
    "any server of several": ({"shadows": SHADOWS, "compare": {"noise": 5}}, TWO_SERVERS, []),
}


@pytest.mark.parametrize("case", CASES)
def test_warnings(case: str) -> None:
    """What keeps two answers of the champion from being two draws of the same is pointed out, and nothing else."""
    route, model, expected = CASES[case]
    found = warnings(read(minimal(route=route, model=model)))
    assert [(problem.path, problem.found) for problem in found] == [
        (f"routes[0].{p}", f) for p, f in expected
    ]

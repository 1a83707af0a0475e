"""What a run makes of a record, by the rule of its route."""

from typing import Any

import pytest

from proxy.compare import ComparisonRule
from proxy.replay.preparing import Prepared, Preparer
from proxy.replay.rules import RouteRule, RouteRules
from tests.replay.asking import record_of

RULE = RouteRule(ComparisonRule("json"), b"/v2/models/wine")
RULES = RouteRules({"wine": RULE}, None)

LEFT_OUT: dict[str, tuple[str, Preparer, dict[str, Any]]] = {
    "another route": ("unknown_route", Preparer(RULES), {"route": "beer"}),
    "half a request": ("request_truncated", Preparer(RULES), {"request": {"truncated": True}}),
    "half an answer": ("answer_truncated", Preparer(RULES), {"response": {"truncated": True}}),
    "another path": (
        "path_unmatched",
        Preparer(RULES, replaces_paths=True),
        {"request": {"path": "/v2/models/wines/infer"}},
    ),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_left_out(name: str) -> None:
    """What cannot be sent, or not be compared, has a reason."""
    reason, preparer, changes = LEFT_OUT[name]
    assert preparer.prepare(record_of(**changes)) == reason


def test_prepared() -> None:
    """The rule, the call, and the recorded answer; that of no use where another model is asked, however it is."""
    found = Preparer(RULES, replaces_paths=True).prepare(record_of())
    assert isinstance(found, Prepared)
    assert (found.rule, found.call.path) == (RULE, "/v2/models/wine/infer")
    assert found.recorded is not None
    assert found.recorded.body == b'{"a":1}'
    found = Preparer(RULES, is_recorded=False).prepare(record_of(response={"truncated": True}))
    assert isinstance(found, Prepared)
    assert found.recorded is None

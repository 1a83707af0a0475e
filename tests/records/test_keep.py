"""Why a record is kept: the worker's word, what was compared, and expressions over the record."""

import time
from typing import Any

import pytest

from proxy.exchange import Flag
from proxy.records.keep import MOST_CHARACTERS, REASONS, KeepRule, Kept, compile_keep_rule

RECORD: dict[str, Any] = {
    "request_id": "r-1",
    "fault": None,
    "request": {"path": "/v1/chat", "body": "please refund me", "size": 16},
    "response": {"status": 429, "body": None, "duration_ms": 12.5},
    "shadows": [
        {"model": "b", "body": "", "comparison": {"result": "disagree", "distance": 0.7}},
        {"model": "c", "body": "", "comparison": None},
    ],
}

HOLDS: dict[str, tuple[str, bool]] = {
    "a number": ("response.status == `429`", True),
    "another number": ("response.status == `200`", False),
    "greater": ("response.duration_ms > `10`", True),
    "within a text": ("contains(request.body, 'refund')", True),
    "some copy": ("shadows[?comparison.distance > `0.5`]", True),
    "no copy": ("shadows[?comparison.distance > `0.9`]", False),
    "no such field": ("response.nothing", False),
    "null": ("fault", False),
    "zero is true": ("`0`", True),
    "an empty text is not": ("shadows[0].body", False),
    "an empty object is not": ("`{}`", False),
    "both": ("response.status == `429` && starts_with(request.path, '/v1')", True),
    "not": ("!fault", True),
}


@pytest.mark.parametrize("name", HOLDS)
def test_expressions(name: str) -> None:
    """What an expression says of a record is true or not as JMESPath has it."""
    text, expected = HOLDS[name]
    assert compile_keep_rule(disagreement=False, when=(text,)).holds(RECORD) is expected


def test_one_of_several_is_enough() -> None:
    """A rule that fails does not keep another from holding; alone it is told."""
    failing = "contains(response.body, 'x')"  # the body is null
    rule = compile_keep_rule(disagreement=False, when=(failing, "response.status == `429`"))
    assert rule.holds(RECORD)
    with pytest.raises(ValueError, match=r"log\.keep failed: JMESPathTypeError"):
        compile_keep_rule(disagreement=False, when=(failing,)).holds(RECORD)


def test_what_a_failure_says() -> None:
    """The message does not quote the record."""
    with pytest.raises(ValueError, match="failed") as caught:
        compile_keep_rule(disagreement=False, when=("abs(request.body)",)).holds(RECORD)
    assert "refund" not in str(caught.value)


def test_large_records_are_not_looked_at() -> None:
    """Bodies beyond the bound are a failure, however simple the rule; those at it are not."""
    rule = compile_keep_rule(disagreement=False, when=("request_id",))
    rest = MOST_CHARACTERS - len(RECORD["request"]["body"])
    shadow = {"body": "x" * rest, "comparison": None}
    assert rule.holds({**RECORD, "shadows": [shadow]})
    with pytest.raises(ValueError, match="at most 1048576 characters"):
        rule.holds({**RECORD, "shadows": [shadow, {"body": "x", "comparison": None}]})


EXPRESSIONS = (
    "contains(request.body, '{}b')",
    "starts_with(request.body, '{}b')",
    "ends_with(response.body, 'b{}')",
    "shadows[?contains(body, '{}b')]",
    "contains(join('', shadows[].body), '{}b')",
    "sort_by(shadows, &body)[-1].body == '{}b'",
    "length(request.body) > length(reverse(request.body))",
)
"""What rules say of bodies. JMESPath has no patterns, and a body is one text to it."""


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_what_a_body_may_cost(expression: str) -> None:
    """A rule looks through the longest body that it looks at at once, whatever stands there."""
    rule = compile_keep_rule(disagreement=False, when=(expression.replace("{}", "a" * 500),))
    for piece in ("a", "a" * 499 + "c", "ab"):
        part = {"body": piece * (MOST_CHARACTERS // 4 // len(piece)), "comparison": None}
        record = {**RECORD, "request": part, "response": part, "shadows": [part] * 2}
        began = time.process_time()
        rule.holds(record)
        assert time.process_time() - began < 1.0, piece[:9]


FLAGS: dict[str, tuple[int, bool, list[str]]] = {
    "nothing": (Flag.MIRRORED, False, []),
    "sample": (Flag.LOGGED, False, ["sample"]),
    "errors": (Flag.ERRORS, False, ["errors"]),
    "all of the worker's": (Flag.SLOW | Flag.LOGGED | Flag.ERRORS, False, ["sample", "errors", "slow"]),
    "disagreement": (Flag.MIRRORED, True, ["disagreement"]),
    "all": (Flag.SLOW | Flag.LOGGED | Flag.ERRORS, True, ["sample", "errors", "slow", "disagreement"]),
}


@pytest.mark.parametrize("name", FLAGS)
def test_reasons(name: str) -> None:
    """Reasons are named in one order."""
    flags, disagrees, expected = FLAGS[name]
    assert KeepRule(disagreement=True).reasons(flags, disagrees=disagrees) == expected
    assert expected == [reason for reason in REASONS if reason in expected]


def test_a_disagreement_that_nobody_asked_for() -> None:
    """Without the rule it is no reason."""
    assert KeepRule().reasons(0, disagrees=True) == []


INCLUSIONS: dict[str, tuple[Kept, float]] = {
    "by the sample": (Kept(("sample",)), 0.25),
    "by a rule": (Kept(("errors",)), 1.0),
    "by both": (Kept(("sample", "slow")), 1.0),
    "by the sample, thinned": (Kept(("sample",), 0.5), 0.125),
    "by a rule, thinned": (Kept(("when",), 0.5), 0.5),
}


@pytest.mark.parametrize("name", INCLUSIONS)
def test_inclusion(name: str) -> None:
    """A rule is certain, the sample is as likely as it is, the budget multiplies."""
    kept, expected = INCLUSIONS[name]
    assert kept.inclusion(0.25) == expected

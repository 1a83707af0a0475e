"""The rules of ``log.keep``: read, written back, and refused with what is wrong."""

from typing import Any

import jsonschema
import pytest

from proxy.settings import json_schema
from proxy.settings.keeping import Keep, keep_rule, parse_expression
from tests.settings.settings_world import minimal, problems_of, read

RULES: dict[str, tuple[Any, Keep]] = {
    "errors": ("errors", Keep("errors")),
    "disagreement": ("disagreement", Keep("disagreement")),
    "slow": ({"slow": "1m30s"}, Keep("slow", slow=90_000_000_000)),
    "slow from the start": ({"slow": "0s"}, Keep("slow")),
    "when": ({"when": "response.status == `429`"}, Keep("when", when="response.status == `429`")),
}


@pytest.mark.parametrize("name", RULES)
def test_rules(name: str) -> None:
    """A rule is read, and written back as it was."""
    written, rule = RULES[name]
    assert keep_rule().read(written) == rule
    assert keep_rule().write(rule) == written
    schema = keep_rule().json_schema
    jsonschema.Draft202012Validator(schema).validate(written)


EXPRESSIONS = (
    "response.status == `429`",
    "shadows[?comparison.distance > `0.5`] | [0]",
    "contains(request.body, 'refund') && !fault",
    'not_null(fault, request.headers."x-tier")',
    "sort_by(shadows, &duration_ms)[-1].duration_ms > `100`",
)


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_expressions(text: str) -> None:
    """What JMESPath can evaluate is taken as it is."""
    assert parse_expression(text) == text


REFUSED: dict[str, tuple[Any, str]] = {
    "another word": ("error", r"errors, disagreement, .* \(did you mean errors\?\)"),
    "a number": (5, "errors, disagreement"),
    "nothing": (None, "errors, disagreement"),
    "two at once": ({"slow": "1s", "when": "a"}, "errors, disagreement"),
    "another key": ({"slower": "1s"}, r"did you mean slow\?"),
    "a bare number": ({"slow": 5}, "a duration with its unit"),
    "too long ago": ({"slow": "200h"}, "0s to 168h"),
    "an expression of nothing": ({"when": ""}, "1 to 1024 characters"),
    "a long one": ({"when": "a" * 1025}, "1 to 1024 characters"),
    "no text": ({"when": ["a"]}, "1 to 1024 characters"),
    "one that is not over": ({"when": "response.status =="}, "makes no sense at its end, column 18"),
    "one with a flaw": ({"when": "response..status"}, r"makes no sense at column 10, '\.status'"),
    "a character that is none": ({"when": "a # b"}, "makes no sense at column 3, '# b'"),
    "a literal that is none": (
        {"when": "a == `b`"},
        "JSON between backticks, or a text between single quotes",
    ),
    "a function that is none": (
        {"when": "!contain(request.body, 'a')"},
        r"column 2 \(did you mean contains\?\)",
    ),
    "too many arguments": ({"when": "a && length(b, c)"}, "1 arguments of length at column 6"),
    "too few": ({"when": "not_null()"}, "at least 1 arguments of not_null"),
    "one that is too deep": ({"when": "(" * 1000}, "JMESPath expression"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    """What is no rule is refused with what was expected, and where in the expression."""
    written, message = REFUSED[name]
    with pytest.raises(ValueError, match=message):
        keep_rule().read(written)


def test_the_problem_has_its_place() -> None:
    """The file's problem names the entry and its line, beside all others."""
    problems = problems_of(minimal(route={"log": {"keep": ["errors", {"when": "a["}], "budget": -1}}))
    assert [problem.path for problem in problems] == ["routes[0].log.keep[1]", "routes[0].log.budget"]
    assert all(problem.line for problem in problems)


def test_what_a_log_keeps() -> None:
    """The shortest time counts; every expression does."""
    rules = ["errors", {"slow": "2s"}, {"slow": "1s"}, {"when": "a"}, {"when": "b"}]
    log = read(minimal(route={"log": {"keep": rules}})).routes[0].log
    assert (log.keeps_errors, log.keeps_disagreement) == (True, False)
    assert (log.keeps_slow, log.keeps_when) == (1_000_000_000, ("a", "b"))
    bare = read(minimal()).routes[0].log
    assert (bare.keeps_errors, bare.keeps_slow, bare.keeps_when, bare.budget) == (False, None, (), 0)


def test_editors_know_it() -> None:
    """The JSON Schema of the file has the rules in it."""
    text = str(json_schema())
    assert "'slow'" in text
    assert "'when'" in text

"""What models say is judged as who asked would judge it."""

from typing import Any

import orjson
import pytest

from proxy.compare import Answer, ComparisonRule, Difference, compare
from proxy.compare.wording import TEXT_LIMIT
from tests.compare.answers import chat, json_answer, oip, text_answer, v1

RULE = ComparisonRule("text")
CITY = ComparisonRule("text", schema=orjson.dumps({"type": "object", "required": ["city"]}).decode())
LONG = "All happy families are alike; every unhappy family is unhappy in its own way. " * 200


def calls(*functions: tuple[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "id": f"call-{at}",
            "type": "function",
            "function": {"name": name, "arguments": orjson.dumps(given).decode()},
        }
        for at, (name, given) in enumerate(functions)
    ]


PARIS = calls(("weather", {"city": "Paris", "days": 3}))

# rule, primary, shadow → result, distance (...: not said here), reason, rows, rows disagreeing
CASES: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Any, ...]]] = {
    "auto: chat": (ComparisonRule(), chat("Paris."), chat("paris"), ("agree", 0.0, None, 1, 0)),
    "auto: plain text": (
        ComparisonRule(),
        text_answer("The capital is Paris."),
        text_answer("the capital is paris"),
        ("agree", 0.0, None, 1, 0),
    ),
    "other words for the same": (
        RULE,
        chat("The capital of France is Paris."),
        chat("The capital city of France is Paris."),
        ("agree", ..., None, 1, 0),
    ),
    "other words": (
        RULE,
        chat("The capital of France is Paris."),
        chat("I have no idea what that might be."),
        ("disagree", ..., "text", 1, 1),
    ),
    "a stricter tolerance": (
        ComparisonRule("text", tolerance=0.0),
        chat("The capital of France is Paris."),
        chat("The capital city of France is Paris."),
        ("disagree", ..., "text", 1, 1),
    ),
    "a sign makes another answer": (RULE, chat("-5"), chat("5"), ("disagree", ..., "text", 1, 1)),
    "more than twice as long, of the same words": (
        RULE,
        chat("Paris Paris"),
        chat("Paris Paris Paris Paris Paris"),
        ("disagree", ..., "length", 1, 1),
    ),
    "more than twice as long": (RULE, chat("Paris"), chat("Paris Paris Paris"), ("disagree", ..., "length", 1, 1)),
    "less than half as long": (RULE, chat("Paris Paris Paris"), chat("Paris"), ("disagree", ..., "length", 1, 1)),
    "one says nothing": (RULE, chat("Paris"), chat(""), ("disagree", 1.0, "length", 1, 1)),
    "both say nothing": (RULE, chat(""), chat(None), ("agree", 0.0, None, 1, 0)),
    "one of two choices": (RULE, chat("a a a", "Paris"), chat("a a a", "Rome"), ("disagree", ..., "text", 2, 1)),
    "fewer choices": (RULE, chat("a", "b"), chat("a"), ("disagree", 1.0, "rows", 2, 2)),
    "cut by its length": (
        RULE,
        chat("Paris"),
        chat("Paris", finish="length"),
        ("disagree", 0.0, "finish_reason", 1, 1),
    ),
    "refused": (
        RULE,
        chat("Paris"),
        chat(None, refusal="I cannot help with that."),
        ("disagree", 1.0, "refusal", 1, 1),
    ),
    "both refuse in other words": (
        RULE,
        chat(None, refusal="I cannot help with that."),
        chat(None, refusal="I can not help with that."),
        ("agree", ..., None, 1, 0),
    ),
    "the same call": (
        RULE,
        chat(None, finish="tool_calls", tool_calls=PARIS),
        chat(None, finish="tool_calls", tool_calls=calls(("weather", {"days": 3.0, "city": "Paris"}))),
        ("agree", 0.0, None, 1, 0),
    ),
    "another argument": (
        RULE,
        chat(None, finish="tool_calls", tool_calls=PARIS),
        chat(None, finish="tool_calls", tool_calls=calls(("weather", {"city": "Rome", "days": 3}))),
        ("disagree", 1 / 3, "tool_calls", 1, 1),
    ),
    "an argument that does not count": (
        ComparisonRule("text", ignore=("/tool_calls/*/arguments/days",)),
        chat(None, finish="tool_calls", tool_calls=PARIS),
        chat(None, finish="tool_calls", tool_calls=calls(("weather", {"city": "Paris", "days": 5}))),
        ("agree", 0.0, None, 1, 0),
    ),
    "another tool": (
        RULE,
        chat(None, finish="tool_calls", tool_calls=PARIS),
        chat(None, finish="tool_calls", tool_calls=calls(("map", {"city": "Paris", "days": 3}))),
        ("disagree", 1 / 3, "tool_calls", 1, 1),
    ),
    "a call instead of an answer": (
        RULE,
        chat("It is sunny."),
        chat(None, finish="tool_calls", tool_calls=PARIS),
        ("disagree", 1.0, "tool_calls", 1, 1),
    ),
    "texts with a dimension of one": (
        ComparisonRule("text", at="/a"),
        json_answer({"a": [["Paris"], ["Rome"]]}),
        json_answer({"a": ["Paris", "Rome"]}),
        ("agree", 0.0, None, 2, 0),
    ),
    "texts with one of two": (
        ComparisonRule("text", at="/a"),
        json_answer({"a": [["Paris", "Rome"]]}),
        json_answer({"a": [["Paris", "Rome"]]}),
        ("uncomparable", None, "no_text", 0, 0),
    ),
    "no call": (
        RULE,
        chat(None, finish="tool_calls", tool_calls=PARIS),
        chat("It is sunny."),
        ("disagree", 1.0, "tool_calls", 1, 1),
    ),
    "JSON in another order": (
        RULE,
        chat('{"city": "Paris", "people": 2102650}'),
        chat('{"people":2102650.0,"city":"Paris"}'),
        ("agree", 0.0, None, 1, 0),
    ),
    "JSON within tolerance": (
        RULE,
        chat('{"city": "Paris", "people": 2102650.0}'),
        chat('{"city": "Paris", "people": 2102650.9}'),
        ("agree", 0.0, None, 1, 0),
    ),
    "JSON with another integer": (
        RULE,
        chat('{"city": "Paris", "people": 2102650}'),
        chat('{"city": "Paris", "people": 2102651}'),
        ("disagree", 0.5, "fields", 1, 1),
    ),
    "JSON with another word": (
        RULE,
        chat('{"city": "Paris", "class": "A"}'),
        chat('{"city": "Paris", "class": "B"}'),
        ("disagree", 0.5, "fields", 1, 1),
    ),
    "JSON and no JSON": (
        RULE,
        chat('{"city": "Paris"}'),
        chat('Here you are: {"city": "Paris"}'),
        ("disagree", 1.0, "format", 1, 1),
    ),
    "JSON of the form asked for": (
        CITY,
        chat('{"city": "Paris"}'),
        chat('{"city": "Paris"}'),
        ("agree", 0.0, None, 1, 0),
    ),
    "JSON of another form": (
        CITY,
        chat('{"city": "Paris"}'),
        chat('{"town": "Paris"}'),
        ("disagree", 1.0, "schema", 1, 1),
    ),
    "only the shadow's is of the form": (
        CITY,
        chat("Paris"),
        chat('{"city": "Paris"}'),
        ("disagree", 1.0, "schema", 1, 1),
    ),
    "text in a field": (
        ComparisonRule("text", at="/answer"),
        json_answer({"answer": "Paris", "ms": 3}),
        json_answer({"answer": "PARIS", "ms": 4}),
        ("agree", 0.0, None, 1, 0),
    ),
    "texts in fields": (
        ComparisonRule("text", at="/answers/*/text"),
        json_answer({"answers": [{"text": "Paris"}, {"text": "Rome"}]}),
        json_answer({"answers": [{"text": "Paris"}, {"text": "Oslo"}]}),
        ("disagree", ..., "text", 2, 1),
    ),
    "Triton's generate": (
        RULE,
        json_answer({"model_name": "a", "text_output": "Paris"}),
        json_answer({"model_name": "b", "text_output": "paris"}),
        ("agree", 0.0, None, 1, 0),
    ),
    "outputs of the protocol": (
        RULE,
        oip(("output", "BYTES", [2, 1], ["Paris", "Rome"])),
        oip(("output", "BYTES", [2, 1], ["Paris", "Oslo"])),
        ("disagree", ..., "text", 2, 1),
    ),
    "no text": (RULE, v1(1.5), v1(1.5), ("uncomparable", None, "no_text", 0, 0)),
    "no text in the shadow's": (RULE, chat("a"), v1(1.5), ("disagree", 1.0, "format", 1, 1)),
    "the heads of long texts": (
        RULE,
        chat(LONG),
        chat(LONG[:TEXT_LIMIT] + LONG[TEXT_LIMIT:].replace("happy", "glad")),
        ("agree", 0.0, None, 1, 0),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_texts(name: str) -> None:
    """One pair of answers, one verdict."""
    rule, primary, shadow, expected = CASES[name]
    said = compare(rule, primary, shadow)
    assert said.method == "text"
    distance: Any = said.distance if said.distance is None else pytest.approx(said.distance)
    if expected[1] is ...:
        assert said.distance is not None
        assert 0.0 <= said.distance <= 1.0
        distance = ...
    assert (said.result, distance, said.reason, said.rows, said.rows_disagreeing) == expected


def test_what_is_told() -> None:
    """chrF2, token F1 and length ratio of the words; where the texts are long, how much was looked at."""
    said = compare(RULE, chat("ab"), chat("ax"))
    assert said.scores == (("chrf", 25.0), ("token_f1", 0.0), ("length_ratio", 1.0))
    assert [(d.path, d.primary, d.shadow) for d in said.differences] == [("/choices/0", '"ab"', '"ax"')]
    same = compare(RULE, chat("It is ab."), chat("it is AB"))
    assert same.scores == (("chrf", 100.0), ("token_f1", 1.0), ("length_ratio", 1.0))
    ended = compare(RULE, chat("ab"), chat("ab", finish="length"))
    assert ended.differences == (Difference("/choices/0/finish_reason", '"stop"', '"length"'),)
    cut = compare(RULE, chat(LONG), chat(LONG[:-30] + "something else at the very end"))
    assert cut.result == "agree"
    assert dict(cut.scores)["characters_compared"] == TEXT_LIMIT


def test_where_calls_part() -> None:
    """The path names choice, call and argument."""
    primary = chat(None, finish="tool_calls", tool_calls=PARIS)
    shadow = chat(None, finish="tool_calls", tool_calls=calls(("weather", {"city": "Rome", "days": 3})))
    (difference,) = compare(RULE, primary, shadow).differences
    assert difference.path == "/choices/0/tool_calls/0/arguments/city"

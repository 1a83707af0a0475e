"""Texts beside each other are found as the method text finds them, and their vectors are 0 to 1 apart."""

import math

import pytest

from proxy.compare.meaning import Pair, mean_distance, text_pairs
from proxy.compare.rules import ComparisonRule
from proxy.compare.values import Answer
from tests.compare.answers import json_answer, text_answer, v1

RULE = ComparisonRule("text")


def chat(*texts: str, refusal: str | None = None) -> Answer:
    """Return a completion with these choices."""
    choices = [
        {"index": at, "message": {"role": "assistant", "content": text, "refusal": refusal}}
        for at, text in enumerate(texts)
    ]
    return json_answer({"object": "chat.completion", "choices": choices})


PAIRS: dict[str, tuple[ComparisonRule, Answer, Answer, tuple[Pair, ...]]] = {
    "choices": (RULE, chat("a", "b"), chat("c", "b"), (("a", "c"), ("b", "b"))),
    "plain text": (RULE, text_answer("a"), text_answer("b"), (("a", "b"),)),
    "at a place": (
        ComparisonRule("text", at="/said"),
        json_answer({"said": "a"}),
        json_answer({"said": "b"}),
        (("a", "b"),),
    ),
    "JSON is compared as such": (RULE, chat('{"a": 1}'), chat("c"), ()),
    "refusals": (RULE, chat("", refusal="no"), chat("", refusal="never"), (("no", "never"),)),
    "a refusal and an answer": (RULE, chat("", refusal="no"), chat("yes"), ()),
    "nothing said": (RULE, chat(" "), chat("yes"), ()),
    "other rows": (RULE, chat("a"), chat("a", "b"), ()),
    "no texts": (RULE, v1(1.0), v1(1.0), ()),
    "a broken answer": (RULE, chat("a"), json_answer({})._replace(body=b"{"), ()),
    "an error": (RULE, chat("a"), chat("b")._replace(status=500), ()),
}


@pytest.mark.parametrize("name", PAIRS)
def test_pairs(name: str) -> None:
    """Prose beside prose, row by row."""
    rule, primary, shadow, expected = PAIRS[name]
    assert text_pairs(rule, primary, shadow) == expected


@pytest.mark.parametrize(
    ("cosines", "expected"),
    [([1.0], 0.0), ([-1.0], 1.0), ([0.5, 1.0], 0.25), ([], None), ([math.nan, 1.0], None)],
)
def test_distance(cosines: list[float], expected: float | None) -> None:
    """Each is at most 1; what is no number leaves the figure out."""
    assert mean_distance(cosines) == expected

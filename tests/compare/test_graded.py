"""What services say of each text that they were given is tensors, a row for each."""

from typing import Any

import pytest

from proxy.compare import ComparisonRule, compare
from proxy.compare.graded import are_links, read_graded
from tests.compare.answers import json_answer

SCORES: dict[str, Any] = {
    "object": "list",
    "data": [{"index": 1, "object": "score", "score": 0.5}, {"index": 0, "object": "score", "score": 1}],
}
CLASSES = {"object": "list", "data": [{"index": 0, "label": "a", "probs": [0.75, 0.25], "num_classes": 2}]}


def moderated(flagged: bool, *met: str, score: float = 0.5) -> dict[str, Any]:
    """Return what OpenAI's moderation says of a text."""
    names = ("hate", "violence")
    return {
        "flagged": flagged,
        "categories": {name: name in met for name in names},
        "category_scores": dict.fromkeys(names, score),
        "category_applied_input_types": {name: ["text"] for name in names},
    }


ANSWERS: dict[str, tuple[Any, dict[str, list[Any]] | None]] = {
    "vLLM, score": ({"id": "score-1", "created": 1, **SCORES}, {"score": [1, 0.5]}),
    "vLLM, classify": (CLASSES, {"label": ["a"], "probs": [0.75, 0.25]}),
    "vLLM, classify without names": (
        {"object": "list", "data": [{"index": 0, "label": None, "probs": [0.75, 0.25], "num_classes": 2}]},
        {"probs": [0.75, 0.25]},
    ),
    "SGLang, score": (
        {"object": "scoring", "scores": [[0.9, 0.1], [0.2, 0.8]]},
        {"scores": [0.9, 0.1, 0.2, 0.8]},
    ),
    "moderation": (
        {"id": "modr-1", "results": [moderated(True, "violence", "hate"), moderated(False)]},
        {"label": ["hate, violence", "none"]},
    ),
    "moderation, flagged for nothing": (
        {"results": [moderated(True)]},
        {"label": ["flagged"]},
    ),
    "images": ({"created": 1, "data": [{"b64_json": "AA=="}, {"b64_json": "AQ=="}]}, {}),
    "moderation, met and not flagged": (
        {"results": [moderated(False, "hate"), moderated(True, "hate")]},
        {"label": ["hate, not flagged", "hate"]},
    ),
    "images with more": ({"created": 1, "data": [{"b64_json": "AA==", "score": 1}]}, None),
    "no images": ({"created": 1, "data": [{"revised_prompt": "x"}]}, None),
    "scores that are words": ({"object": "scoring", "scores": "x"}, None),
    "scores without a service": ({"scores": [[0.9, 0.1]]}, None),
    "rows of other members": ({"object": "list", "data": [*SCORES["data"], {"index": 2}]}, None),
    "rows without numbers": (
        {"object": "list", "data": [{"index": "a", "object": "score", "score": 1}]},
        None,
    ),
    "a row without a number": (
        {"object": "list", "data": [*SCORES["data"], {"index": "a", "object": "score", "score": 1}]},
        None,
    ),
    "embeddings": (
        {"object": "list", "data": [{"index": 0, "embedding": [1.5], "object": "embedding"}]},
        None,
    ),
    "moderation of words": ({"results": [{"flagged": "yes", "categories": {}, "category_scores": {}}]}, None),
    "images without a time": ({"data": [{"url": "x"}]}, None),
    "rows that are none": ({"data": [1, 2]}, None),
    "no rows": ({"object": "list", "data": []}, None),
    "a list": ([1], None),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_answers(name: str) -> None:
    """The values of each column, in the order of the texts."""
    document, expected = ANSWERS[name]
    found = read_graded(document)
    assert (None if found is None else {each.name: each.data for each in found.tensors}) == expected


def test_rows() -> None:
    """As many as there were texts."""
    found = read_graded(SCORES)
    assert found is not None
    assert found.rows == 2


def test_links() -> None:
    """An image that is there is none; a link of its own for every call cannot be compared."""
    linked, packed = ({"created": 1, "data": [{name: "x"}]} for name in ("url", "b64_json"))
    assert are_links(linked)
    assert not are_links(packed)
    first, other, whole = map(json_answer, (linked, {**linked, "created": 2}, packed))
    for shadow in (first, other, whole):
        assert compare(ComparisonRule(), first, shadow).reason == "linked"
    assert (
        compare(ComparisonRule(), whole, json_answer({**packed, "created": 2, "usage": {}})).result == "agree"
    )
    assert compare(ComparisonRule("json"), first, other).result == "agree"

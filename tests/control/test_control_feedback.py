"""A batch of feedback as it comes: what can be read, and what each item that cannot be taken is told."""

from typing import Any

import orjson
import pytest

from proxy.control.feedback import (
    CONTENT_TYPES,
    MAX_ITEMS,
    SHOWN_PROBLEMS,
    Item,
    Taken,
    parse_feedback,
)

JSON, LINES = CONTENT_TYPES[:2]
GOOD = {"route": "wine", "request_id": "one", "good": True}


def parse(document: Any) -> Any:
    return parse_feedback(orjson.dumps(document), JSON)


def test_one_object() -> None:
    """An object is a batch of one."""
    found = parse({**GOOD, "good": False})
    assert found.items == [Item(1, "wine", "one", good=False)]
    assert found.refused == []


def test_an_array() -> None:
    """An array is a batch; each item says where it stood."""
    found = parse([GOOD, {**GOOD, "request_id": "two"}])
    assert [(item.number, item.request_id) for item in found.items] == [(1, "one"), (2, "two")]


@pytest.mark.parametrize("content_type", CONTENT_TYPES[1:])
def test_lines(content_type: str) -> None:
    """Of lines each is an item; one that is not JSON is refused alone, an empty one is none."""
    body = orjson.dumps(GOOD) + b"\r\n\n{nonsense\n" + orjson.dumps({**GOOD, "request_id": "two"})
    found = parse_feedback(body, content_type)
    assert [(item.number, item.request_id) for item in found.items] == [(1, "one"), (3, "two")]
    assert list(map(str, found.refused)) == ["item 2: expected a JSON object; this is not JSON"]


INVALID: dict[str, tuple[Any, str]] = {
    "number": (5, "expected a JSON object, got 5"),
    "array": ([GOOD], "expected a JSON object, got [{"),
    "null": (None, "expected a JSON object, got nothing"),
    "no route": ({**GOOD, "route": None}, "route: expected the name of a route, got nothing"),
    "empty route": ({**GOOD, "route": ""}, 'route: expected the name of a route, got ""'),
    "route of another type": (
        {**GOOD, "route": ["wine"]},
        'route: expected the name of a route, got ["wine"]',
    ),
    "no id": (
        {"route": "wine", "good": True},
        "request_id: expected what the answer's x-request-id said, got nothing",
    ),
    "id of another type": ({**GOOD, "request_id": 17}, "got 17"),
    "empty id": ({**GOOD, "request_id": ""}, 'got ""'),
    "giant id": ({**GOOD, "request_id": "x" * 10_000}, "xxx..."),
    "no word": ({"route": "wine", "request_id": "x"}, "good: expected true or false, got nothing"),
    "word as text": ({**GOOD, "good": "yes"}, 'good: expected true or false, got "yes"'),
    "word as number": ({**GOOD, "good": 1}, "good: expected true or false, got 1"),
    "another field": (
        {**GOOD, "score": 0.5},
        '"score" is no field; there are route, request_id and one of good, label and labels',
    ),
    "escapes": ({**GOOD, "\x1b[31m": 1}, "is no field"),
}


@pytest.mark.parametrize("name", INVALID)
def test_an_item_that_cannot_be_taken(name: str) -> None:
    """It is told what was expected and what was found, on one printable line; the others are taken."""
    value, said = INVALID[name]
    found = parse([GOOD, value])
    (refused,) = found.refused
    assert len(found.items) == 1
    assert str(refused).startswith("item 2: ")
    assert said in str(refused)
    assert str(refused).isprintable()
    assert len(str(refused)) < 200


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (b"", JSON),
        (b"{", JSON),
        (b"[]", JSON),
        (b"\xff", JSON),
        (b"", LINES),
        (b"\n\n", LINES),
        (b"[" * 9999, JSON),
    ],
)
def test_nothing_to_be_read(body: bytes, content_type: str) -> None:
    """A body without an item is refused as a whole."""
    with pytest.raises(ValueError, match="expected"):
        parse_feedback(body, content_type)


def test_too_many() -> None:
    """One more than the limit is refused as a whole, with what to do."""
    assert len(parse([GOOD] * MAX_ITEMS).items) == MAX_ITEMS
    with pytest.raises(OverflowError, match="several batches"):
        parse([GOOD] * (MAX_ITEMS + 1))


def test_few_problems_are_said() -> None:
    """All are counted, the first few said."""
    document = Taken(invalid=99, problems=[f"item {number}" for number in range(99)]).document()
    assert document["invalid"] == 99
    assert len(document["problems"]) == SHOWN_PROBLEMS

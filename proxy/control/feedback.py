"""What somebody says about answers, as it comes over the admin address: one object, an array, or a line each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from proxy.control.label_items import LabelItem, read_labels
from proxy.printable import printable

__all__ = [
    "CONTENT_TYPES",
    "MAX_BYTES",
    "MAX_ITEMS",
    "SHOWN_PROBLEMS",
    "Item",
    "Parsed",
    "Refusal",
    "Taken",
    "parse_feedback",
]

MAX_ITEMS: Final = 10_000
MAX_BYTES: Final = 4 * 1024 * 1024
"""Of one batch. Longer ones are refused as a whole."""

SHOWN_PROBLEMS: Final = 10
"""So many problems of a batch are said in words; all are counted."""

CONTENT_TYPES: Final = ("application/json", "application/x-ndjson", "application/jsonl")

_SAID: Final = ("good", "label", "labels")
"""What is said of an answer: one of these."""

_FIELDS: Final = {"route", "request_id", *_SAID}
_MAX_ID: Final = 8192
_LINES: Final = CONTENT_TYPES[1:]


@dataclass(frozen=True, slots=True)
class Item:
    """Whether one answer was good."""

    number: int
    """Where it stood in the batch, from 1."""
    route: str
    request_id: str
    good: bool


@dataclass(frozen=True, slots=True)
class Refusal:
    """An item that cannot be taken."""

    number: int
    sentence: str
    route: str = ""
    """Empty where it did not say."""

    def __str__(self) -> str:
        """Return the sentence, with the item's place."""
        return f"item {self.number}: {self.sentence}"


@dataclass(frozen=True, slots=True)
class Parsed:
    """A batch as it was read."""

    items: Sequence[Item]
    refused: Sequence[Refusal]
    labels: Sequence[LabelItem] = ()


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a batch."""

    accepted: int = 0
    duplicate: int = 0
    unknown: int = 0
    invalid: int = 0
    problems: Sequence[str] = ()
    status: int = 200
    """HTTP: 200 where one item at least could be taken."""

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return {
            "accepted": self.accepted,
            "duplicate": self.duplicate,
            "unknown": self.unknown,
            "invalid": self.invalid,
            "problems": list(self.problems[:SHOWN_PROBLEMS]),
        }


def parse_feedback(body: bytes, content_type: str) -> Parsed:
    """Return what is in a batch.

    Args:
        body: at most :data:`MAX_BYTES`.
        content_type: one of :data:`CONTENT_TYPES`.

    Raises:
        OverflowError: more than :data:`MAX_ITEMS` items.
        ValueError: nothing can be read; the text says what was expected.
    """
    items: list[Item] = []
    labels: list[LabelItem] = []
    refused: list[Refusal] = []
    number = 0
    for number, value in enumerate(_values(body, content_type), 1):
        if number > MAX_ITEMS:
            raise OverflowError(f"expected at most {MAX_ITEMS} items at once; send them in several batches")
        found = _item(number, value)
        if isinstance(found, Item):
            items.append(found)
        elif isinstance(found, LabelItem):
            labels.append(found)
        else:
            refused.append(found)
    if not number:
        raise ValueError("expected one item at least; there is none")
    return Parsed(items, refused, labels)


class _NoJson:
    """Stands for a line that is not JSON."""


def _values(body: bytes, content_type: str) -> Iterator[Any]:
    if content_type not in _LINES:
        try:
            document = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise ValueError(
                f"expected a JSON object, or an array of them; this is not JSON: {error}"
            ) from None
        yield from document if isinstance(document, list) else [document]
        return
    for line in body.split(b"\n"):
        if not line.strip():
            continue
        try:
            yield orjson.loads(line)
        except orjson.JSONDecodeError:
            yield _NoJson()


def _item(number: int, value: Any) -> Item | LabelItem | Refusal:
    if isinstance(value, _NoJson):
        return Refusal(number, "expected a JSON object; this is not JSON")
    if not isinstance(value, dict):
        return Refusal(number, f"expected a JSON object, got {_shown(value)}")
    route, name = value.get("route"), value.get("request_id")
    known = route if isinstance(route, str) else ""
    if not isinstance(route, str) or not route:
        return Refusal(number, f"route: expected the name of a route, got {_shown(route)}")
    if not isinstance(name, str) or not 0 < len(name) <= _MAX_ID:
        expected = "request_id: expected what the answer's x-request-id said"
        return Refusal(number, f"{expected}, got {_shown(name)}", known)
    if unknown := sorted(value.keys() - _FIELDS):
        there = "route, request_id and one of good, label and labels"
        return Refusal(number, f"{_shown(unknown[0])} is no field; there are {there}", known)
    said = [key for key in _SAID if key in value]
    if len(said) > 1:
        return Refusal(number, f"expected one of good, label and labels, got {' and '.join(said)}", known)
    if said and said[0] != "good":
        try:
            return LabelItem(number, route, name, read_labels(value))
        except ValueError as error:
            return Refusal(number, str(error), known)
    good = value.get("good")
    if not isinstance(good, bool):
        return Refusal(number, f"good: expected true or false, got {_shown(good)}", known)
    return Item(number, route, name, good)


def _shown(value: Any) -> str:
    if value is None:
        return "nothing"
    text = orjson.dumps(value).decode()
    return printable(text if len(text) <= 60 else text[:57] + "...")

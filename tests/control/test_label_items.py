"""True answers as they are posted: of one row, of each row of a batch, and what each that cannot be taken is told."""

from typing import Any

import orjson
import pytest

from proxy.control.feedback import CONTENT_TYPES, parse_feedback
from proxy.control.label_items import MAX_ROW_LABELS, MAX_TEXT

ONE = {"route": "wine", "request_id": "one"}


def parse(*items: Any) -> Any:
    return parse_feedback(orjson.dumps(items), CONTENT_TYPES[0])


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ({"label": 7}, (7,)),
        ({"label": "red"}, ("red",)),
        ({"label": False}, (False,)),
        ({"label": 0}, (0,)),
        ({"label": ["a", "b"]}, (("a", "b"),)),
        ({"label": []}, ((),)),
        ({"labels": [7]}, (7,)),
        ({"labels": [1.5, None, 2]}, (1.5, None, 2)),
        ({"labels": [["a"], None]}, (("a",), None)),
    ],
)
def test_what_is_read(said: dict[str, Any], labels: tuple[Any, ...]) -> None:
    """A label is that of the only row, labels those of each."""
    found = parse({**ONE, **said})
    assert [item.labels for item in found.labels] == [labels]
    assert (found.items, found.refused) == ([], [])


def test_both_kinds_in_a_batch() -> None:
    """Words and labels may come together; each knows its place."""
    found = parse({**ONE, "label": 1}, {**ONE, "good": True}, {**ONE, "labels": [2]})
    assert [item.number for item in found.items] == [2]
    assert [item.number for item in found.labels] == [1, 3]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        ({"label": None}, "label: expected the true answer, got nothing"),
        ({"label": {"a": 1}}, "label: expected text, a number, true or false, or a list of those"),
        ({"label": "x" * (MAX_TEXT + 1)}, "label: expected at most 1024 characters"),
        ({"label": [1] * (MAX_ROW_LABELS + 1)}, "label: expected at most 1000 labels in a row"),
        ({"label": [[1]]}, "in the list of a row's labels"),
        ({"label": [None]}, "in the list of a row's labels"),
        ({"labels": []}, "labels: expected a list with the true answer of each row"),
        ({"labels": 7}, "labels: expected a list with the true answer of each row"),
        ({"labels": [None, None]}, "expected the true answer of one row at least, got null for all"),
        ({"labels": [1, {}]}, "labels[1]: expected text, a number"),
        ({"label": 1, "labels": [1]}, "expected one of good, label and labels, got label and labels"),
        ({"good": True, "label": 1}, "expected one of good, label and labels, got good and label"),
        ({"label": 1, "row": 0}, '"row" is no field'),
    ],
)
def test_what_cannot_be_taken(said: dict[str, Any], sentence: str) -> None:
    """Each says what was expected; the rest of the batch is taken."""
    found = parse({**ONE, **said}, {**ONE, "label": 1})
    (refused,) = found.refused
    assert len(found.labels) == 1
    assert sentence in str(refused)
    assert refused.route == "wine"

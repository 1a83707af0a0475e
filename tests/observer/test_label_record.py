"""A label as a line of the payload log."""

from dataclasses import replace
from typing import Any

import orjson
import pytest

from proxy.control.label_items import LabelItem
from proxy.observer.label_record import label_line
from proxy.observer.route_rules import RouteRules
from proxy.privacy.actions import key_id, keyed_hash
from tests.observer.exchanges import BASE_CONFIG, STARTED_WALL_NS, table_of

KEY = b"k" * 32
ITEM = LabelItem(1, "wine", "abc", ("red", None, 7, ("a", "b")))


def line(log: str = "body: 1KiB") -> dict[str, Any]:
    text = BASE_CONFIG.replace("body: 1KiB", log)
    rule = RouteRules(table_of(text).routes[0], KEY).record
    found = label_line(rule, "wine", ITEM, STARTED_WALL_NS)
    assert found.endswith(b"}\n")
    document: dict[str, Any] = orjson.loads(found)
    return document


def test_what_is_written() -> None:
    """Version and kind first, then when, of which request, and the labels."""
    assert line() == {
        "schema": line()["schema"],
        "kind": "label",
        "ts": "2025-10-09T08:53:20.123456Z",
        "request_id": "abc",
        "route": "wine",
        "labels": ["red", None, 7, ["a", "b"]],
    }
    assert list(line())[:2] == ["schema", "kind"]


@pytest.mark.parametrize(
    "log",
    [
        "body: 1KiB, redact: [{json: /outputs/*/data}]",
        "body: 1KiB, redact: [{detect: email}]",
        "body: 1KiB, content: false",
        "body: 0B",
    ],
)
def test_what_must_not_be_written(log: str) -> None:
    """Where bodies are redacted or left out hashes stand for labels, under the key that the line names."""
    found = line(log)
    assert found["labels"] == [
        keyed_hash(KEY, b"red"),
        None,
        keyed_hash(KEY, b"7"),
        keyed_hash(KEY, b'["a","b"]'),
    ]
    assert (found["redacted"], found["unit_key_id"]) == (True, key_id(KEY))


@pytest.mark.parametrize("rule", ["{detect: email}", "{header: X-Request-Id}"])
def test_an_id_is_that_of_the_record(rule: str) -> None:
    """What may not be written of a request's id in its record may not be in the line of its label."""
    text = BASE_CONFIG.replace("body: 1KiB", f"body: 1KiB, redact: [{rule}]")
    rules = RouteRules(table_of(text).routes[0], KEY).record
    item = replace(ITEM, request_id="ada@example.com")
    assert orjson.loads(label_line(rules, "wine", item, STARTED_WALL_NS))["request_id"] == "***"

"""A label that was accepted → a line of the payload log, to be joined with the record of its request.

Pure. A label is a value that a model should have answered: where bodies are redacted, or left out (``log.content:
false``, ``log.body: 0B``), hashes stand for labels, as they do for those in counts of mistakes; and the request's id is
told as its record tells it.
"""

from functools import partial
from typing import Any

import orjson

from proxy.control.label_items import LabelItem, TrueLabel
from proxy.observer.predictions import NOTHING_HIDDEN, Hiding
from proxy.observer.record import RecordRule, shown_id, timestamp
from proxy.privacy.actions import keyed_hash
from proxy.records.label import KIND
from proxy.records.schema import SCHEMA_VERSION

__all__ = ["hiding_of", "label_line"]


def label_line(rule: RecordRule, route: str, item: LabelItem, wall_ns: int) -> bytes:
    """Return the line, with its newline.

    Args:
        rule: of the route, for its records.
        route: its name.
        item: what was accepted.
        wall_ns: when.
    """
    labels: list[Any] = list(item.labels)
    document: dict[str, Any] = {
        "schema": SCHEMA_VERSION,
        "kind": KIND,
        "ts": timestamp(wall_ns),
        "request_id": shown_id(rule, item.request_id.encode()),
        "route": route,
        "labels": labels,
    }
    if _is_hidden(rule):
        document["labels"] = [None if label is None else _hashed(rule, label) for label in item.labels]
        document |= {"redacted": True, "unit_key_id": rule.key_id}
    return orjson.dumps(document, option=orjson.OPT_APPEND_NEWLINE)


def hiding_of(rule: RecordRule) -> Hiding:
    """Return how labels of a route are hidden where they are put by: with the hash that its records have."""
    if not _is_hidden(rule):
        return NOTHING_HIDDEN
    return Hiding(rule.key_id, partial(keyed_hash, rule.redactor.key))


def _is_hidden(rule: RecordRule) -> bool:
    return rule.redactor.concerns_bodies or rule.content is False or not rule.body_cap


def _hashed(rule: RecordRule, label: TrueLabel) -> str:
    text = label.encode() if isinstance(label, str) else orjson.dumps(label)
    return keyed_hash(rule.redactor.key, text)

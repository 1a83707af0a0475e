"""Records as sinks get them: lines of JSON."""

from typing import Any

import orjson

from proxy.sinks.sink import Entry

__all__ = ["LABEL", "RECORD", "entry_of", "record_of"]

_BODY = {"content_type": "application/json", "encoding": "text", "truncated": False}

RECORD: dict[str, Any] = {
    "schema": 2,
    "ts": "2026-11-21T04:05:20.111541Z",
    "request_id": "req-1",
    "route": "wine",
    "table_version": 1,
    "config_version": 1,
    "unit": "f77085a77e6ae7d7f2f97edde3e0db09",
    "unit_source": "header:x-user-id",
    "variant": "v2",
    "role": "challenger",
    "model": "wine-v2",
    "served_by": "v2",
    "probability": 0.1,
    "inclusion_probability": 0.5,
    "kept_by": ["sample"],
    "budget_probability": 1.0,
    "request": {
        "method": "POST",
        "path": "/v2/models/wine/infer",
        "size": 14,
        "body": '{"planted": 1}',
        **_BODY,
    },
    "response": {
        "status": 200,
        "size": 15,
        "body": '{"harvested":2}',
        **_BODY,
        "ttfb_ms": 3.5,
        "duration_ms": 4.25,
    },
    "fault": None,
    "shadows": [
        {
            "model": "wine-v4",
            "status": 200,
            "fault": None,
            "duration_ms": 5.5,
            "size": 15,
            "body": '{"harvested":3}',
            **_BODY,
            "comparison": {"result": "disagree", "distance": 0.25, "reason": "label"},
        }
    ],
}
"""A record with everything that most have."""

LABEL: dict[str, Any] = {
    "schema": 2,
    "kind": "label",
    "ts": "2026-11-21T05:00:00.250000Z",
    "request_id": "req-1",
    "route": "wine",
    "labels": ["planted", None, 7],
}
"""What is true of that request."""


def record_of(**changes: Any) -> dict[str, Any]:
    """Return the record with changes: of ``request`` and ``response`` only what is given changes."""
    record = {**RECORD, **changes}
    for part in ("request", "response"):
        record[part] = {**RECORD[part], **changes.get(part, {})}
    return record


def entry_of(number: int = 1, **changes: Any) -> Entry:
    """Return a record with the id ``req-NUMBER``, as a sink gets it."""
    record = record_of(request_id=f"req-{number}", **changes)
    return Entry(orjson.dumps(record) + b"\n", (0, 1, number))

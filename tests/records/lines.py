"""Lines of payload logs, as versions of the proxy write them."""

from typing import Any

import orjson

from proxy.compare import Comparison
from proxy.observer.record import build_line, build_record, compile_record_rule
from tests.observer.exchanges import BASE_CONFIG, STARTED_WALL_NS, primary_part, shadow_part, table_of

__all__ = ["built_document", "line_of", "plain_document"]


def plain_document(number: int = 0, **changes: Any) -> dict[str, Any]:
    """Return a small record of version 1, the ``number``th of one a millisecond."""
    micro = f"{number * 1000:06d}"
    document = {
        "ts": f"2026-11-21T04:05:{20 + int(micro[:-6] or 0)}.{micro[-6:]}Z",
        "request_id": f"r{number}",
        "route": "wine",
        "table_version": 1,
        "config_version": 1,
        "unit": "f77085a77e6ae7d7f2f97edde3e0db09",
        "unit_source": "header:x-user-id",
        "variant": "v1",
        "role": "champion",
        "model": "wine-v1",
        "served_by": "v1",
        "probability": 0.75,
        "inclusion_probability": 0.5,
        "request": {
            "method": "POST",
            "path": "/v2/models/wine/infer",
            "content_type": "application/json",
            "size": 2,
            "body": "{}",
            "encoding": "text",
            "truncated": False,
        },
        "response": {
            "status": 200,
            "content_type": "application/json",
            "size": 7,
            "body": '{"a":1}',
            "encoding": "text",
            "truncated": False,
            "ttfb_ms": 1.5,
            "duration_ms": 2.5,
        },
        "fault": None,
        "shadows": [],
    }
    return document | changes


def line_of(number: int = 0, **changes: Any) -> bytes:
    """Return :func:`plain_document` as a line."""
    return orjson.dumps(plain_document(number, **changes)) + b"\n"


def built_document(log: str = "{percent: 50}", **changes: Any) -> dict[str, Any]:
    """Return what the observer writes of an exchange with one compared shadow, as a reader gets it."""
    config = BASE_CONFIG.replace("log: {percent: 50, body: 1KiB}", f"log: {log}")
    route = table_of(config).routes[0]
    judged = Comparison("disagree", 0.5, "label", "classification", 1, 1)
    changes = {"started_wall_ns": STARTED_WALL_NS} | changes
    rule = compile_record_rule(route, b"k" * 32)
    record = build_record(rule, route, primary_part(**changes), {0: shadow_part()}, {0: judged})
    document: dict[str, Any] = orjson.loads(build_line(record))
    return document

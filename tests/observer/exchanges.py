"""Exchanges as workers leave them, with every field given a plain default; and the config they belong to."""

from dataclasses import astuple, fields, replace
from typing import Any

from proxy.exchange import (
    Details,
    Flag,
    Primary,
    ShadowPart,
    build_details,
    build_hello,
    build_primary,
    build_shadow,
)
from proxy.routing.table import Table, compile_table
from proxy.settings import parse
from proxy.settled import read_settled, settle

__all__ = [
    "BASE_CONFIG",
    "STARTED_WALL_NS",
    "agreeing",
    "as_frame",
    "hello_frame",
    "primary_part",
    "shadow_part",
    "table_of",
]

STARTED_WALL_NS = 1_760_000_000_123_456_789
"""2025-10-09T08:53:20.123456789Z."""

BASE_CONFIG = """
models:
  wine-v1: {url: "http://10.0.0.1:9001"}
  wine-v2: {url: "http://10.0.0.2:9002"}
  wine-v4: {url: "http://10.0.0.4:9100"}
  wine-v5: {url: "http://10.0.0.5:9100"}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: ["header:x-user-id", "cookie:uid", "json:/parameters/user"]
    variants:
      - {name: v1, model: wine-v1, role: champion}
      - {name: v2, model: wine-v2, role: challenger, weight: 25}
    shadows:
      - {model: wine-v4, percent: 100}
      - {model: wine-v5, percent: 100}
    compare: {as: classification}
    log: {percent: 50, body: 1KiB}
"""

_ANSWER = b'{"model_name":"wine","outputs":[{"name":"label","datatype":"INT64","shape":[1],"data":[%d]}]}'


def table_of(text: str = BASE_CONFIG, version: int = 1) -> Table:
    """Return the table of a config in YAML."""
    return compile_table(read_settled(settle(parse(text, environ={}))), version, "digest")


def agreeing(label: int) -> bytes:
    """Return an answer whose label is ``label``."""
    return _ANSWER % label


def primary_part(**changes: Any) -> Primary:
    """Return a primary that was logged, mirrored to shadow 0, and answered with label 1.

    What only a record or a span tells is there, whatever the flags.
    """
    body = changes.get("response_body", agreeing(1))
    details = Details(
        unit_source=0,
        fault=0,
        bucket=7,
        ttfb_ns=2_500_000,
        duration_ns=3_000_400,
        request_bytes=len(b'{"inputs":[]}'),
        response_bytes=len(body),
        span_id=0,
        target=b"/v2/models/wine/infer?user=ada@example.org",
        request_head=(
            b"POST /v2/models/wine/infer?user=ada@example.org HTTP/1.1\r\n"
            b"host: model\r\ncontent-type: application/json\r\nx-user-id: ada@example.org\r\n"
            b"authorization: Bearer hunter2\r\ncontent-length: 13\r\n\r\n"
        ),
        request_body=b'{"inputs":[]}',
        response_head=b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nset-cookie: s=1\r\n\r\n",
        traceparent=b"",
    )
    primary = Primary(
        worker=0,
        version=1,
        number=1,
        route=0,
        variant=0,
        served_by=changes.get("variant", 0),
        status=200,
        flags=Flag.MIRRORED | Flag.LOGGED,
        shadows_sent=1,
        started_wall_ns=STARTED_WALL_NS,
        request_id=b"req-1",
        unit=b"ada@example.org",
        response_lines=b"content-type: application/json\r\nset-cookie: s=1\r\n",
        response_body=body,
        details=details,
    )
    told = {name: changes.pop(name) for name in _DETAILS & changes.keys()}
    return (
        replace(primary, details=replace(details, **told), **changes) if told else replace(primary, **changes)
    )


_DETAILS = {field.name for field in fields(Details)}


def shadow_part(**changes: Any) -> ShadowPart:
    """Return shadow 0's answer to :func:`primary_part`, with the same label."""
    body = changes.get("response_body", agreeing(1))
    part = ShadowPart(
        worker=0,
        version=1,
        number=1,
        route=0,
        variant=0,
        shadow=0,
        flags=0,
        fault=0,
        status=200,
        started_wall_ns=STARTED_WALL_NS + 1_000_000,
        duration_ns=4_000_000,
        response_bytes=len(body),
        response_lines=b"content-type: application/json\r\n",
        response_body=body,
    )
    return replace(part, **changes)


def as_frame(part: Primary | ShadowPart) -> bytes:
    """Return the bytes a worker sends for ``part``."""
    if isinstance(part, ShadowPart):
        return build_shadow(*astuple(part))
    *values, _, arrivals = (getattr(part, name) for name in part.__slots__)
    details = b"" if part.details is None else build_details(*astuple(part.details))
    return build_primary(*[*values, details, arrivals])


def hello_frame(worker: int = 0, boot: int = 1, shipped: bytes = b"{}") -> bytes:
    """Return a hello."""
    return build_hello(worker, boot, shipped)

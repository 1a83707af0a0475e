"""Records as OpenTelemetry log records, over OTLP/HTTP in protobuf.

The body of a log record is the whole payload record, as a map. What collectors search and count by stands in attributes
too, under the names of the semantic conventions (HTTP 1.23 and later; those of generative models are still in
development). A record whose request was part of a trace has its trace id, and as its span the call to the model. A
label is a log record too, of an event name of its own.

Sources: OTLP specification 1.9.0, *OTLP/HTTP* (status codes that may be sent again, partial success); OpenTelemetry
logs data model, *Log and Event Record Definition* and *Severity Fields*.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import (
    AnyValue,
    ArrayValue,
    InstrumentationScope,
    KeyValue,
    KeyValueList,
)
from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord, ResourceLogs, ScopeLogs, SeverityNumber
from opentelemetry.proto.resource.v1.resource_pb2 import Resource

from proxy import __version__
from proxy.records.label import KIND, KIND_COLUMN
from proxy.sinks.delivering import Parcel
from proxy.sinks.posting import Message

__all__ = ["EVENT_NAME", "LABEL_EVENT_NAME", "RETRYABLE", "build_log_record", "logs_url", "pack", "refused"]

EVENT_NAME: Final = "modelproxy.payload"
LABEL_EVENT_NAME: Final = "modelproxy.label"
"""Of log records whose body is the true answer to a request."""

RETRYABLE: Final = frozenset({429, 502, 503, 504})
"""OTLP specification, *Retryable Response Codes*; after any other a message must not be sent again."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

_PLACES: Final[Mapping[str, tuple[str, ...]]] = {
    "http.request.method": ("request", "method"),
    "url.path": ("request", "path"),
    "http.request.body.size": ("request", "size"),
    "http.response.status_code": ("response", "status"),
    "http.response.body.size": ("response", "size"),
    "error.type": ("fault",),
    "modelproxy.route": ("route",),
    "modelproxy.variant": ("variant",),
    "modelproxy.role": ("role",),
    "modelproxy.model": ("model",),
    "modelproxy.served_by": ("served_by",),
    "modelproxy.version": ("table_version",),
    "modelproxy.request_id": ("request_id",),
    "modelproxy.unit": ("unit",),
    "modelproxy.probability": ("probability",),
    "modelproxy.inclusion_probability": ("inclusion_probability",),
    "modelproxy.duration_ms": ("response", "duration_ms"),
    "modelproxy.ttfb_ms": ("response", "ttfb_ms"),
}
"""Attribute → where it stands in the record."""

_OPERATIONS: Final = (
    ("/chat/completions", "chat"),
    ("/completions", "text_completion"),
    ("/embeddings", "embeddings"),
)
"""End of the path → ``gen_ai.operation.name``. The first that fits."""

_USAGE: Final = (
    ("gen_ai.usage.input_tokens", ("prompt_tokens", "input_tokens")),
    ("gen_ai.usage.output_tokens", ("completion_tokens", "output_tokens")),
)

_Document = Mapping[str, Any]


def logs_url(url: str) -> str:
    """Return where log records go: a URL without a path is the base of a collector."""
    base = url.rstrip("/")
    return base if "/" in base.partition("://")[2] else f"{base}/v1/logs"


def build_log_record(record: _Document, observed_ns: int) -> LogRecord:
    """Return ``record`` as a log record.

    Args:
        record: a payload record, or a label.
        observed_ns: when this is done, wall time.
    """
    if record.get(KIND_COLUMN) == KIND:
        return _label_record(record, observed_ns)
    is_error = record["response"]["status"] >= 500 or record["fault"] is not None
    found = LogRecord(
        time_unix_nano=_nanoseconds(record["ts"]),
        observed_time_unix_nano=observed_ns,
        severity_number=SeverityNumber.SEVERITY_NUMBER_ERROR
        if is_error
        else SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="ERROR" if is_error else "INFO",
        event_name=EVENT_NAME,
        body=_any(record),
        attributes=_attributes({**_at(record), **_generative(record)}),
    )
    if record.get("trace_id"):
        found.trace_id = bytes.fromhex(record["trace_id"])
        found.span_id = bytes.fromhex(record.get("span_id") or "")
    return found


def _label_record(label: _Document, observed_ns: int) -> LogRecord:
    return LogRecord(
        time_unix_nano=_nanoseconds(label["ts"]),
        observed_time_unix_nano=observed_ns,
        severity_number=SeverityNumber.SEVERITY_NUMBER_INFO,
        severity_text="INFO",
        event_name=LABEL_EVENT_NAME,
        body=_any(label),
        attributes=_attributes({f"modelproxy.{name}": label[name] for name in ("route", "request_id")}),
    )


def _nanoseconds(ts: str) -> int:
    return (datetime.fromisoformat(ts) - _EPOCH) // _MICROSECOND * 1000


def _at(record: _Document) -> _Document:
    found = {}
    for name, path in _PLACES.items():
        value: Any = record
        for key in path:
            value = value.get(key)
        found[name] = value
    return found


def _generative(record: _Document) -> _Document:
    """Return what the conventions for generative models have a name for; nothing for other models."""
    operation = next((name for end, name in _OPERATIONS if record["request"]["path"].endswith(end)), None)
    if operation is None:
        return {}
    response_part = record["response"]
    request, response = _body(record["request"]), _body(response_part)
    usage = response.get("usage")
    usage = usage if isinstance(usage, dict) else {}
    choices = response.get("choices")
    ends = (
        [each.get("finish_reason") for each in choices or () if isinstance(each, dict)]
        if isinstance(choices, list)
        else []
    )
    # Where the body was not to be written, the record says how many there were.
    usage = {**{name: response_part.get(name) for name in ("prompt_tokens", "completion_tokens")}, **usage}
    counts = {
        name: next((usage[key] for key in keys if isinstance(usage.get(key), int)), None)
        for name, keys in _USAGE
    }
    return {
        "gen_ai.operation.name": operation,
        "gen_ai.request.model": _text(request.get("model")),
        "gen_ai.response.model": _text(response.get("model")),
        "gen_ai.response.finish_reasons": [end for end in ends if isinstance(end, str)] or None,
        **counts,
    }


def _body(part: _Document) -> _Document:
    """Return a body that is a JSON object; an empty one for any other."""
    try:
        document = orjson.loads(part["body"]) if part["encoding"] == "text" and part["body"] else {}
    except orjson.JSONDecodeError:
        return {}
    return document if isinstance(document, dict) else {}


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def pack(records: Sequence[tuple[int, LogRecord]], service_name: str) -> list[Parcel]:
    """Return the message with all ``records``; none for none."""
    if not records:
        return []
    scope = ScopeLogs(
        scope=InstrumentationScope(name="modelproxy", version=__version__),
        log_records=[record for _, record in records],
    )
    resource = Resource(
        attributes=_attributes({"service.name": service_name, "service.version": __version__})
    )
    request = ExportLogsServiceRequest(resource_logs=[ResourceLogs(resource=resource, scope_logs=[scope])])
    message = Message({"content-type": "application/x-protobuf"}, request.SerializeToString())
    return [Parcel(message, [position for position, _ in records])]


def refused(body: bytes) -> int:
    """Return how many records of a message the collector refused though it took the message."""
    try:
        return int(ExportLogsServiceResponse.FromString(body).partial_success.rejected_log_records)
    except DecodeError:
        return 0


def _attributes(values: _Document) -> list[KeyValue]:
    return [KeyValue(key=name, value=_any(value)) for name, value in values.items() if value is not None]


def _any(value: object) -> AnyValue:
    match value:
        case None:
            return AnyValue()
        case bool():
            return AnyValue(bool_value=value)
        case int() if -(1 << 63) <= value < 1 << 63:
            return AnyValue(int_value=value)
        case int() | float():
            return AnyValue(double_value=value)
        case list() | tuple():
            return AnyValue(array_value=ArrayValue(values=[_any(each) for each in value]))
        case dict():
            pairs = [KeyValue(key=name, value=_any(each)) for name, each in value.items()]
            return AnyValue(kvlist_value=KeyValueList(values=pairs))
        case _:
            return AnyValue(string_value=str(value))

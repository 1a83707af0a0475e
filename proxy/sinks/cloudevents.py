"""Records as CloudEvents over HTTP, in the words of KServe's inference logger.

Of each record two events are made, one of the request and one of the answer, with the types, the id (that of the
request, the same in both) and the attributes that KServe's logger sends (kserve/kserve, ``pkg/logger/worker.go``). So
what listens to KServe's logger can listen to this. What is more than that logger tells: answers with errors come too,
each event has a ``source`` of its own (CloudEvents 1.0.2 §3.1.1 wants source and id together to be unique), and the
answer's has everything else of the record, as JSON, in the attribute ``record``. A label is one event, of a type beside
theirs that their logger has not: its data is the line of the payload log. Several labels may come for one request, so
its id is another one, and the attribute ``requestid`` says which request it is of.

Sources: CloudEvents 1.0.2; its HTTP protocol binding 1.0.2 (§3.1 binary, §3.2 structured, §3.3 batched); its JSON event
format 1.0.2 (§3.1.1 data, §4 batch).
"""

import base64
import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple, TypeAlias

import orjson

from proxy.records.label import KIND, KIND_COLUMN
from proxy.sinks.delivering import Parcel
from proxy.sinks.posting import Message

__all__ = [
    "Event",
    "Events",
    "binary",
    "build_events",
    "pack_batches",
    "pack_each",
    "structured",
    "structured_batch",
]

REQUEST_TYPE: Final = "org.kubeflow.serving.inference.request"
RESPONSE_TYPE: Final = "org.kubeflow.serving.inference.response"
LABEL_TYPE: Final = "org.kubeflow.serving.inference.label"
"""KServe's logger has none of these."""

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_COMPONENT: Final = "predictor"
_JSON: Final = "application/json"
"""Of what a stream adds up to, which is written in its place."""
_RECORD_BYTES: Final = 4096
"""Longest ``record``: servers take heads of 8 KiB, and it may be a header."""
_BATCH_RECORDS: Final = 64

_ESCAPES: Final = {byte: f"%{byte:02X}" for byte in range(256) if not 0x21 <= byte <= 0x7E or byte in b'"%'}

_Document = Mapping[str, Any]


class Event(NamedTuple):
    """A CloudEvent."""

    attributes: Mapping[str, str]
    """Context attributes, ``datacontenttype`` included where there is one."""
    data: bytes | None


Events: TypeAlias = tuple[Event, ...]
"""Of the request and of the answer of one record; or of one label."""


def build_events(record: _Document, source: str, recorded_ns: int) -> Events:
    """Return the events of the request and of the answer of ``record``, or of the label that it is.

    Args:
        record: a payload record, or a label.
        source: beginning of the events' source.
        recorded_ns: when this is done, wall time.
    """
    began = datetime.fromisoformat(record["ts"])
    shared = {
        "specversion": "1.0",
        "id": record["request_id"],
        "recordedtime": _time(_EPOCH + timedelta(microseconds=recorded_ns // 1000)),
        "inferenceservicename": record["route"],
        "component": _COMPONENT,
    }
    if record.get(KIND_COLUMN) == KIND:
        return (_label_event(record, source, began, shared),)
    request, response = record["request"], record["response"]
    ended = began + timedelta(milliseconds=response["duration_ms"])
    common = {**shared, "endpoint": record["variant"]}

    def event(sort: str, what: str, when: datetime, part: _Document, **more: str) -> Event:
        attributes = {
            **common,
            "type": sort,
            "source": f"{source}/{record['route']}/{what}",
            "time": _time(when),
            "metadata": _json({name: [value] for name, value in part.get("headers", {}).items()}),
            **more,
        }
        data = _data(part)
        kind = _JSON if part.get("assembled") else part["content_type"]
        if data is not None and kind and kind.isprintable():
            attributes["datacontenttype"] = kind
        return Event(attributes, data)

    return (
        event(REQUEST_TYPE, "request", began, request),
        event(RESPONSE_TYPE, "response", ended, response, record=_rest(record)),
    )


def _label_event(label: _Document, source: str, when: datetime, shared: Mapping[str, str]) -> Event:
    data = orjson.dumps(label)
    # The same for a label that is sent again, another for the next label of the request.
    name = f"{label['request_id']}/{hashlib.sha256(data).hexdigest()[:16]}"
    return Event(
        {
            **shared,
            "id": name,
            "type": LABEL_TYPE,
            "source": f"{source}/{label['route']}/label",
            "time": _time(when),
            "requestid": label["request_id"],
            "datacontenttype": _JSON,
        },
        data,
    )


def _rest(record: _Document) -> str:
    """Return everything of ``record`` but bodies and headers, as JSON."""

    def bare(part: _Document) -> _Document:
        return {name: value for name, value in part.items() if name not in ("body", "encoding", "headers")}

    rest = {
        **record,
        "request": bare(record["request"]),
        "response": bare(record["response"]),
        "shadows": [bare(shadow) for shadow in record["shadows"]],
    }
    text = _json(rest)
    while len(text) > _RECORD_BYTES and rest.get("rows"):
        kept = rest["rows"][: len(rest["rows"]) // 2]
        rest |= {"rows": kept, "rows_omitted": rest["rows_omitted"] + len(rest["rows"]) - len(kept)}
        text = _json(rest)
    if len(text) > _RECORD_BYTES:
        text = _json({**rest, "shadows": None})
    return text


def _data(part: _Document) -> bytes | None:
    body = part["body"]
    if body is None:
        return None
    return base64.b64decode(body) if part["encoding"] == "base64" else body.encode()


def binary(event: Event) -> Message:
    """Return ``event`` in the binary mode: attributes are headers, the data is the body."""
    headers = {
        f"ce-{name}": _header_value(value)
        for name, value in event.attributes.items()
        if name != "datacontenttype"
    }
    if (kind := event.attributes.get("datacontenttype")) is not None:
        headers["content-type"] = kind
    return Message(headers, event.data or b"")


def structured(event: Event) -> Message:
    """Return ``event`` in the structured mode: one JSON object."""
    return Message({"content-type": "application/cloudevents+json"}, orjson.dumps(_object(event)))


def structured_batch(events: Sequence[Event]) -> Message:
    """Return ``events`` in the batched mode: a JSON array of them."""
    body = orjson.dumps([_object(event) for event in events])
    return Message({"content-type": "application/cloudevents-batch+json"}, body)


def pack_each(events: Sequence[tuple[int, Events]], mode: Callable[[Event], Message]) -> list[Parcel]:
    """Return a message for each event, in the mode that ``mode`` writes."""
    return [Parcel(mode(event), (position,)) for position, each in events for event in each]


def pack_batches(events: Sequence[tuple[int, Events]]) -> list[Parcel]:
    """Return messages with the events of up to 64 records each, in the batched mode."""
    parcels = []
    for start in range(0, len(events), _BATCH_RECORDS):
        part = events[start : start + _BATCH_RECORDS]
        message = structured_batch([event for _, each in part for event in each])
        parcels.append(Parcel(message, [position for position, _ in part]))
    return parcels


def _object(event: Event) -> dict[str, Any]:
    document: dict[str, Any] = dict(event.attributes)
    if event.data is None:
        return document
    kind = event.attributes.get("datacontenttype", "")
    if _is_json(kind):
        # As it was written, not written anew: numbers keep their digits.
        if _parses(event.data):
            return {**document, "data": orjson.Fragment(event.data)}
    else:
        try:
            return {**document, "data": event.data.decode()}
        except UnicodeDecodeError:
            pass
    return {**document, "data_base64": base64.b64encode(event.data).decode()}


def _is_json(content_type: str) -> bool:
    """JSON event format §3.1: the subtype is json or ends with +json; none at all means application/json."""
    kind = content_type.partition(";")[0].strip().lower()
    return not kind or kind.endswith(("/json", "+json"))


def _parses(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _header_value(value: str) -> str:
    """HTTP protocol binding §3.1.3.2: what is not visible ASCII, and ``"`` and ``%``, is percent-encoded as UTF-8."""
    return value.encode().decode("latin-1").translate(_ESCAPES)


def _json(document: object) -> str:
    return orjson.dumps(document).decode()


def _time(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")

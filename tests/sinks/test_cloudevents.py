"""CloudEvents, read back by the SDK of those who wrote the specification."""

from typing import Any

import orjson
import pytest
from cloudevents.core.bindings.http import HTTPMessage, from_binary_event, from_structured_event
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from proxy.sinks.cloudevents import (
    Event,
    binary,
    build_events,
    pack_batches,
    pack_each,
    structured,
    structured_batch,
)
from tests.sinks.lines import LABEL, record_of

RECORDED_NS = 1_763_697_920_500_000_000


def events_of(**changes: Any) -> tuple[Event, Event]:
    request, response = build_events(record_of(**changes), "/modelproxy", RECORDED_NS)
    return request, response


def label_of(**changes: Any) -> Event:
    (event,) = build_events({**LABEL, **changes}, "/modelproxy", RECORDED_NS)
    return event


def read_binary(event: Event) -> Any:
    message = binary(event)
    return from_binary_event(HTTPMessage(dict(message.headers), message.body))


def read_structured(event: Event) -> Any:
    message = structured(event)
    assert message.headers == {"content-type": "application/cloudevents+json"}
    return from_structured_event(HTTPMessage(dict(message.headers), message.body))


MODES = pytest.mark.parametrize("read", [read_binary, read_structured], ids=["binary", "structured"])


@MODES
def test_types_ids_and_attributes_are_those_of_kserve(read: Any) -> None:
    """Both events have the request's id and KServe's types; source and id together are unique; times are right."""
    request, response = (read(event) for event in events_of())
    assert request.get_type() == "org.kubeflow.serving.inference.request"
    assert response.get_type() == "org.kubeflow.serving.inference.response"
    assert request.get_id() == response.get_id() == "req-1"
    assert request.get_source() == "/modelproxy/wine/request"
    assert response.get_source() == "/modelproxy/wine/response"
    assert request.get_specversion() == "1.0"
    assert request.get_time().isoformat() == "2026-11-21T04:05:20.111541+00:00"
    assert (response.get_time() - request.get_time()).total_seconds() == 0.00425
    for event in (request, response):
        assert event.get_extension("inferenceservicename") == "wine"
        assert event.get_extension("component") == "predictor"
        assert event.get_extension("endpoint") == "v2"
        assert event.get_extension("metadata") == "{}"
        assert event.get_extension("recordedtime") == "2025-11-21T04:05:20.500000Z"


@MODES
def test_bodies(read: Any) -> None:
    """The data is the body; JSON is read as JSON."""
    request, response = (read(event) for event in events_of())
    assert (request.get_data(), response.get_data()) == ({"planted": 1}, {"harvested": 2})
    assert request.get_datacontenttype() == "application/json"


BODIES: dict[str, tuple[dict[str, Any], Any]] = {
    "text": ({"body": "grüß", "content_type": "text/plain; charset=utf-8"}, "grüß"),
    "bytes": (
        {"body": "/wA=", "encoding": "base64", "content_type": "application/octet-stream"},
        b"\xff\x00",
    ),
    "numbers as they were written": ({"body": '{"a":1.50,"b":12345678901234567890123}'}, None),
}


@pytest.mark.parametrize("name", BODIES)
def test_kinds_of_bodies(name: str) -> None:
    """Text stays text and bytes stay bytes, in both modes; nothing is written anew."""
    part, expected = BODIES[name]
    request, _ = events_of(request=part)
    if expected is None:
        assert part["body"].encode() in structured(request).body
        assert binary(request).body == part["body"].encode()
        return
    assert read_structured(request).get_data() == expected
    data = read_binary(request).get_data()
    assert (data.encode() if isinstance(data, str) else data) in (
        expected.encode() if isinstance(expected, str) else expected,
    )


def test_json_that_is_none() -> None:
    """A body that only says to be JSON is sent as bytes: an event must stay readable."""
    request, _ = events_of(request={"body": '{"cut'})
    assert read_structured(request).get_data() == b'{"cut'


@MODES
def test_no_body(read: Any) -> None:
    """Where a body was left out there is no data and no content type; where it was empty the data is empty."""
    request, response = events_of(
        request={"body": None, "encoding": None}, response={"body": "", "content_type": "text/plain"}
    )
    assert "datacontenttype" not in request.attributes
    assert request.data is None
    assert not read(request).get_data()
    assert not read(response).get_data()


@pytest.mark.parametrize("kind", ["a\nb", "text/plain\x00", ""])
def test_a_type_that_is_none(kind: str) -> None:
    """What no header can say is left out: the event itself can be sent."""
    request, _ = events_of(request={"body": "x", "content_type": kind})
    assert ("datacontenttype" in request.attributes, request.data) == (False, b"x")


@MODES
def test_everything_else_comes_with_the_answer(read: Any) -> None:
    """The answer's event has the rest of the record as JSON, without bodies; headers are metadata, as KServe's."""
    _, response = (read(event) for event in events_of(response={"headers": {"x-trace": "a b"}}))
    rest = orjson.loads(response.get_extension("record"))
    assert rest["shadows"][0]["comparison"] == {"result": "disagree", "distance": 0.25, "reason": "label"}
    assert (rest["probability"], rest["response"]["status"]) == (0.1, 200)
    assert "harvested" not in response.get_extension("record")
    assert "x-trace" not in response.get_extension("record")
    assert orjson.loads(response.get_extension("metadata")) == {"x-trace": ["a b"]}


def test_a_long_record_fits_into_a_header() -> None:
    """With very many shadows their outcomes are left out rather than the event refused."""
    _, response = events_of(shadows=record_of()["shadows"] * 60)
    assert len(binary(response).headers["ce-record"]) < 8000
    assert orjson.loads(response.attributes["record"])["shadows"] is None


def test_a_record_of_many_rows_fits_into_a_header() -> None:
    """Of compared rows so many are left out as must be, the first ones stay, and their number is right."""
    rows = [{"shadow": "wine-v4", "row": row, "agrees": False, "primary_label": "a"} for row in range(64)]
    _, response = events_of(rows=rows, rows_omitted=36)
    rest = orjson.loads(response.attributes["record"])
    assert len(binary(response).headers["ce-record"]) < 8000
    assert rest["shadows"]
    assert rest["rows"] == rows[: len(rest["rows"])]
    assert 8 <= len(rest["rows"]) == 100 - rest["rows_omitted"]


@MODES
@pytest.mark.parametrize("text", ['a "quoted" id', "100 %", "grüß", "😀", "a\tb", "\x00\r\nx: y"])
def test_any_id_survives(read: Any, text: str) -> None:
    """A client's id may hold anything: it arrives as it was and adds no header."""
    request, _ = events_of(request_id=text)
    assert read(request).get_id() == text
    assert all(value.isascii() and value.isprintable() for value in binary(request).headers.values())


def test_batches() -> None:
    """In the batched mode many events are one array; each is an event of its own, and long lists become several."""
    request, response = events_of()
    message = structured_batch([request, response])
    assert message.headers["content-type"] == "application/cloudevents-batch+json"
    for written, event in zip(orjson.loads(message.body), (request, response), strict=True):
        read = JSONFormat().read(CloudEvent, orjson.dumps(written))
        assert read.get_type() == event.attributes["type"]
    parcels = pack_batches([(position, events_of()) for position in range(100)])
    assert [len(parcel.positions) for parcel in parcels] == [64, 36]
    assert [len(orjson.loads(parcel.message.body)) for parcel in parcels] == [128, 72]


@MODES
def test_a_label(read: Any) -> None:
    """A label is an event of a type of its own, beside those of its request and answer; its data is the line."""
    event = read(label_of())
    assert event.get_type() == "org.kubeflow.serving.inference.label"
    assert event.get_source() == "/modelproxy/wine/label"
    assert event.get_time().isoformat() == "2026-11-21T05:00:00.250000+00:00"
    assert event.get_extension("requestid") == "req-1"
    assert event.get_extension("inferenceservicename") == "wine"
    assert event.get_datacontenttype() == "application/json"
    assert event.get_data() == LABEL


def test_labels_of_one_request_have_ids_of_their_own() -> None:
    """What is sent again has the same id, what is said next another one."""
    ids = [label_of(**changes).attributes["id"] for changes in ({}, {}, {"labels": [None, 1]})]
    assert ids[0] == ids[1] != ids[2]
    assert all(each.startswith("req-1/") for each in ids)


def test_a_batch_of_both() -> None:
    """In the batched mode records have two events in the array, labels one."""
    built = [(0, events_of()), (1, (label_of(),)), (2, events_of())]
    (parcel,) = pack_batches(built)
    assert list(parcel.positions) == [0, 1, 2]
    assert len(orjson.loads(parcel.message.body)) == 5
    assert [list(each.positions) for each in pack_each(built, binary)] == [[0], [0], [1], [2], [2]]


def test_each_event_is_a_message() -> None:
    """In the other modes an event is a message, and both of a record stand for it."""
    parcels = pack_each([(3, events_of()), (5, events_of())], binary)
    assert [list(parcel.positions) for parcel in parcels] == [[3], [3], [5], [5]]


@MODES
def test_a_stream_that_was_put_together(read: Any) -> None:
    """Where the record has what a stream adds up to, the data is JSON and says so."""
    _, response = events_of(
        response={"body": '{"choices":[]}', "content_type": "text/event-stream", "assembled": True}
    )
    event = read(response)
    assert (event.get_data(), event.get_datacontenttype()) == ({"choices": []}, "application/json")

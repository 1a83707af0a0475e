"""Log records, decoded by the protobuf classes of the specification."""

from typing import Any

import orjson
import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsPartialSuccess,
    ExportLogsServiceRequest,
    ExportLogsServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.semconv.attributes import error_attributes, http_attributes, url_attributes

from proxy.sinks.otlp import RETRYABLE, build_log_record, logs_url, pack, refused
from tests.sinks.lines import LABEL, RECORD, record_of

CHAT: dict[str, Any] = {
    "request": {"path": "/v1/chat/completions", "body": '{"model":"small"}'},
    "response": {
        "body": orjson.dumps(
            {
                "model": "small-2026",
                "choices": [{"finish_reason": "stop"}, {"finish_reason": None}],
                "usage": {"prompt_tokens": 7, "completion_tokens": 11},
            }
        ).decode()
    },
}


def decoded(**changes: Any) -> Any:
    """Return the log record as a collector sees it."""
    (parcel,) = pack([(0, build_log_record(record_of(**changes), 5))], "wine-proxy")
    assert parcel.message.headers == {"content-type": "application/x-protobuf"}
    request = ExportLogsServiceRequest.FromString(parcel.message.body)
    resource = request.resource_logs[0]
    assert plain(resource.resource.attributes)["service.name"] == "wine-proxy"
    assert resource.scope_logs[0].scope.name == "modelproxy"
    return resource.scope_logs[0].log_records[0]


def value(any_value: AnyValue) -> Any:
    kind = any_value.WhichOneof("value")
    if kind == "kvlist_value":
        return plain(any_value.kvlist_value.values)
    if kind == "array_value":
        return [value(each) for each in any_value.array_value.values]
    return None if kind is None else getattr(any_value, kind)


def plain(pairs: Any) -> dict[str, Any]:
    return {pair.key: value(pair.value) for pair in pairs}


def test_times_severity_and_name() -> None:
    """Time is the request's, to the microsecond; severity follows what became of it."""
    record = decoded()
    assert record.time_unix_nano == 1_795_233_920_111_541_000
    assert record.observed_time_unix_nano == 5
    assert (record.severity_text, record.severity_number, record.event_name) == (
        "INFO",
        9,
        "modelproxy.payload",
    )
    for changes in ({"response": {"status": 503}}, {"fault": "timeout"}):
        assert (decoded(**changes).severity_text, decoded(**changes).severity_number) == ("ERROR", 17)


def test_the_body_is_the_record() -> None:
    """Nothing of the record is left out, and its values keep their kinds."""
    assert value(decoded().body) == RECORD


def test_attributes() -> None:
    """What is searched by stands in attributes, by the names of the semantic conventions."""
    found = plain(decoded(fault="timeout").attributes)
    assert found[http_attributes.HTTP_REQUEST_METHOD] == "POST"
    assert found[http_attributes.HTTP_RESPONSE_STATUS_CODE] == 200
    assert found[url_attributes.URL_PATH] == "/v2/models/wine/infer"
    assert found[error_attributes.ERROR_TYPE] == "timeout"
    assert (found["modelproxy.variant"], found["modelproxy.inclusion_probability"]) == ("v2", 0.5)
    assert not [name for name in found if name.startswith("gen_ai")]
    assert "error.type" not in plain(decoded().attributes)


def test_a_label() -> None:
    """A label has an event name of its own, its own time, and the id of its request; the body is the line."""
    (parcel,) = pack([(0, build_log_record(LABEL, 5))], "wine-proxy")
    request = ExportLogsServiceRequest.FromString(parcel.message.body)
    (record,) = request.resource_logs[0].scope_logs[0].log_records
    assert (record.event_name, record.severity_text) == ("modelproxy.label", "INFO")
    assert (record.time_unix_nano, record.observed_time_unix_nano) == (1_795_237_200_250_000_000, 5)
    assert value(record.body) == LABEL
    assert plain(record.attributes) == {"modelproxy.route": "wine", "modelproxy.request_id": "req-1"}


def test_generating_models() -> None:
    """Of a chat the conventions for generative models are kept: operation, models, tokens, how it ended."""
    found = plain(decoded(**CHAT).attributes)
    assert found[gen_ai_attributes.GEN_AI_OPERATION_NAME] == "chat"
    assert found[gen_ai_attributes.GEN_AI_REQUEST_MODEL] == "small"
    assert found[gen_ai_attributes.GEN_AI_RESPONSE_MODEL] == "small-2026"
    assert found[gen_ai_attributes.GEN_AI_USAGE_INPUT_TOKENS] == 7
    assert found[gen_ai_attributes.GEN_AI_USAGE_OUTPUT_TOKENS] == 11
    assert found[gen_ai_attributes.GEN_AI_RESPONSE_FINISH_REASONS] == ["stop"]


def test_tokens_of_a_body_that_was_not_written() -> None:
    """Where the body was left out, its tokens are those that the record says."""
    part = {"body": None, "encoding": None, "prompt_tokens": 3, "completion_tokens": 4}
    found = plain(decoded(request={"path": "/v1/chat/completions"}, response=part).attributes)
    assert (found["gen_ai.usage.input_tokens"], found["gen_ai.usage.output_tokens"]) == (3, 4)


ODD: list[str | None] = [
    None,
    "",
    "[]",
    "no JSON",
    '{"usage":[],"choices":5,"model":{}}',
    '{"choices":[1],"usage":{"prompt_tokens":"x"}}',
]


@pytest.mark.parametrize("body", ODD)
def test_odd_bodies(body: str | None) -> None:
    """Whatever a model answers, there is a log record."""
    part = {"body": body, "encoding": None if body is None else "text"}
    found = plain(decoded(request={"path": "/v1/completions", **part}, response=part).attributes)
    assert {name for name in found if name.startswith("gen_ai")} == {"gen_ai.operation.name"}
    assert found["gen_ai.operation.name"] == "text_completion"


def test_ids_of_the_trace() -> None:
    """A traced request's record is found from its trace; another's has no id."""
    record = decoded(trace_id="4bf92f3577b34da6a3ce929d0e0e4736", span_id="00f067aa0ba902b7")
    assert (record.trace_id.hex(), record.span_id.hex()) == (
        "4bf92f3577b34da6a3ce929d0e0e4736",
        "00f067aa0ba902b7",
    )
    assert (decoded().trace_id, decoded().span_id) == (b"", b"")


@pytest.mark.parametrize("number", [0, -1, 1 << 62, 1 << 63, 1 << 70, 1.5, True])
def test_numbers(number: float) -> None:
    """Every number has a form, and a truth value is none."""
    found = value(decoded(of_tomorrow=number).body)["of_tomorrow"]
    assert found == number
    assert isinstance(found, bool) == isinstance(number, bool)


def test_many_records_are_one_message() -> None:
    """A batch is a message; none is none."""
    (parcel,) = pack([(position, build_log_record(RECORD, 5)) for position in (1, 4)], "s")
    assert parcel.positions == [1, 4]
    assert pack([], "s") == []


def test_partial_success() -> None:
    """What a collector refused of a message is told by its answer; any other answer refuses nothing."""
    partial = ExportLogsPartialSuccess(rejected_log_records=3)
    assert refused(ExportLogsServiceResponse(partial_success=partial).SerializeToString()) == 3
    assert refused(b"") == refused(b"<html>") == 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://h:4318", "http://h:4318/v1/logs"),
        ("http://h:4318/", "http://h:4318/v1/logs"),
        ("http://h/v1/logs", "http://h/v1/logs"),
        ("http://h/tenant/logs?x=y", "http://h/tenant/logs?x=y"),
    ],
)
def test_logs_url(url: str, expected: str) -> None:
    """A URL without a path is a collector's base."""
    assert logs_url(url) == expected


def test_what_may_be_sent_again() -> None:
    """OTLP names four status codes; any other must not be tried again."""
    assert {429, 502, 503, 504} == RETRYABLE

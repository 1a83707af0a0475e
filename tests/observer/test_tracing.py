"""Spans: parents and children as the worker announced them, over a real collector's protocol."""

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from aiohttp import web
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode

from proxy.exchange import Flag, Primary, ShadowPart
from proxy.model import Fault
from proxy.observer.pairing import Pair
from proxy.observer.tracing import OtlpTracer, build_spans, traces_url
from tests.observer.exchanges import BASE_CONFIG, STARTED_WALL_NS, primary_part, shadow_part, table_of

TABLE = table_of()
TRACE_ID, CLIENT_ID, UPSTREAM_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", "1122334455667788"
HEAD = (
    b"POST /v2/models/wine/infer HTTP/1.1\r\nhost: a\r\n"
    + f"traceparent: 00-{TRACE_ID}-{UPSTREAM_ID}-01\r\n\r\n".encode()
)


def traced(**changes: Any) -> Primary:
    changes = {
        "flags": Flag.TRACED,
        "request_head": HEAD,
        "span_id": int(UPSTREAM_ID, 16),
        "traceparent": f"00-{TRACE_ID}-{CLIENT_ID}-01".encode(),
        **changes,
    }
    return primary_part(**changes)


def pair_of(primary: Primary, *shadows: ShadowPart) -> Pair:
    return Pair(0, primary, {part.shadow: part for part in shadows})


def spans_of(primary: Primary, *shadows: ShadowPart) -> list[ReadableSpan]:
    return build_spans(TABLE, pair_of(primary, *shadows), Resource.get_empty())


def attributes_of(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


def test_parents_and_children() -> None:
    """The client's span is the server span's parent, which is the parent of the calls; ids are those on the wire."""
    server, client, shadow = spans_of(traced(), shadow_part())
    assert server.parent is not None
    assert (f"{server.parent.trace_id:032x}", f"{server.parent.span_id:016x}") == (TRACE_ID, CLIENT_ID)
    assert server.parent.is_remote
    for child in (client, shadow):
        assert child.parent is not None
        assert child.parent.span_id == server.context.span_id
        assert f"{child.context.trace_id:032x}" == TRACE_ID
    assert f"{client.context.span_id:016x}" == UPSTREAM_ID
    assert len({span.context.span_id for span in (server, client, shadow)}) == 3
    assert [span.kind for span in (server, client, shadow)] == [
        SpanKind.SERVER,
        SpanKind.CLIENT,
        SpanKind.CLIENT,
    ]


def test_times_and_names() -> None:
    """Spans begin and end when the exchange did."""
    server, client, shadow = spans_of(traced(), shadow_part())
    assert (server.start_time, server.end_time) == (STARTED_WALL_NS, STARTED_WALL_NS + 3_000_400)
    assert (shadow.start_time, shadow.end_time) == (STARTED_WALL_NS + 1_000_000, STARTED_WALL_NS + 5_000_000)
    assert (server.name, client.name, shadow.name) == ("POST /v2/models/wine/*", "POST", "POST")


def test_what_is_detected_is_not_in_the_path() -> None:
    """What the route's records may not hold of a path, spans do not tell either."""
    config = BASE_CONFIG.replace("body: 1KiB", "redact: [{detect: email, action: hash}]")
    pair = pair_of(traced(target=b"/v2/ada%40example.com?q=1"))
    server, _ = build_spans(table_of(config), pair, Resource.get_empty())
    assert attributes_of(server)["url.path"] == "/v2/***"


def test_attributes() -> None:
    """Attributes follow the HTTP conventions; the query, which may hold the unit, is not among them."""
    server, client, shadow = spans_of(traced(variant=1, served_by=1), shadow_part(variant=1))
    assert attributes_of(server) == {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        "http.route": "/v2/models/wine/*",
        "http.request.body.size": 13,
        "url.path": "/v2/models/wine/infer",
        "url.scheme": "http",
        "modelproxy.route": "wine",
        "modelproxy.variant": "v2",
        "modelproxy.version": 1,
        "modelproxy.request_id": "req-1",
    }
    assert attributes_of(client)["server.address"] == "10.0.0.2"
    assert attributes_of(client)["server.port"] == 9002
    assert attributes_of(client)["modelproxy.model"] == "wine-v2"
    assert attributes_of(shadow)["modelproxy.shadow"] is True
    assert attributes_of(shadow)["modelproxy.model"] == "wine-v4"


def test_without_a_client_span_the_server_span_is_a_root() -> None:
    """Absent, or another trace's, ``traceparent`` makes a root."""
    other = b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01"
    for traceparent in (b"", other):
        assert spans_of(traced(traceparent=traceparent))[0].parent is None


def test_without_a_trace_id_there_are_no_spans() -> None:
    """A head without a valid traceparent makes no span."""
    assert spans_of(traced(request_head=b"POST / HTTP/1.1\r\n\r\n")) == []
    assert spans_of(traced(request_head=HEAD.replace(b"4bf92f", b"zzzzzz"))) == []


ERRORS: dict[str, tuple[dict[str, Any], str | None, str | None]] = {
    "ok": ({}, None, None),
    "the client's fault": ({"status": 404}, None, "404"),
    "the model's fault": ({"status": 500}, "500", "500"),
    "a fault before the head": ({"status": 502, "fault": Fault.CONNECT, "ttfb_ns": 0}, "connect", "connect"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name: str) -> None:
    """A span is an error as the conventions say: the server's from 500 on, the client's from 400 on."""
    changes, server_error, client_error = ERRORS[name]
    server, client = spans_of(traced(**changes))
    for span, error in ((server, server_error), (client, client_error)):
        assert attributes_of(span).get("error.type") == error
        assert (span.status.status_code is StatusCode.ERROR) == (error is not None)
    if changes.get("fault"):
        assert "http.response.status_code" not in attributes_of(client)


URLS = {
    "http://c:4318": "http://c:4318/v1/traces",
    "http://c:4318/": "http://c:4318/v1/traces",
    "http://c:4318/v1/traces": "http://c:4318/v1/traces",
    "https://c/otlp": "https://c/otlp",
}


@pytest.mark.parametrize("otlp", URLS)
def test_traces_url(otlp: str) -> None:
    """A collector's base URL gets the standard path; a path of one's own is used as it is."""
    assert traces_url(otlp) == URLS[otlp]


class Collector:
    """A collector on loopback: decodes what it gets."""

    def __init__(self) -> None:
        self.status = 200
        self.spans: list[Any] = []
        self.service = ""
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        assert request.path == "/v1/traces"
        message = ExportTraceServiceRequest.FromString(await request.read())
        for resource in message.resource_spans:
            named = {entry.key: entry.value.string_value for entry in resource.resource.attributes}
            self.service = named["service.name"]
            for scope in resource.scope_spans:
                self.spans += scope.spans
        return web.Response(status=self.status)


@pytest.fixture
async def collector() -> AsyncIterator[Collector]:
    collector = Collector()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", collector.take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    collector.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield collector
    await runner.cleanup()


async def test_spans_reach_a_collector(collector: Collector) -> None:
    """What a collector decodes has the ids of the wire, the links and the service's name."""
    tracer = OtlpTracer(collector.url, "wine-proxy", delay_ms=10)
    tracer.trace(TABLE, pair_of(traced(), shadow_part()))
    await asyncio.to_thread(tracer.close)
    assert (tracer.exported, tracer.failed, tracer.dropped) == (3, 0, 0)
    assert collector.service == "wine-proxy"
    server, client, shadow = sorted(collector.spans, key=lambda span: (span.kind, span.start_time_unix_nano))
    assert server.parent_span_id.hex() == CLIENT_ID
    assert client.span_id.hex() == UPSTREAM_ID
    assert client.parent_span_id == shadow.parent_span_id == server.span_id
    assert {span.trace_id.hex() for span in collector.spans} == {TRACE_ID}


async def test_a_refusing_collector_is_counted(collector: Collector) -> None:
    """Spans that the collector refuses are failed spans."""
    collector.status = 400
    tracer = OtlpTracer(collector.url, "wine-proxy", delay_ms=10)
    tracer.trace(TABLE, pair_of(traced()))
    await asyncio.to_thread(tracer.close)
    assert (tracer.exported, tracer.failed) == (0, 2)


class StuckExporter(SpanExporter):
    """A collector that does not answer until it is let go."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.go.wait(10)
        return SpanExportResult.SUCCESS

    def shutdown(self) -> None:
        self.go.set()


def test_a_stuck_collector_drops_and_counts() -> None:
    """While the collector is stuck, spans wait up to the bound and are then dropped; nobody waits."""
    exporter = StuckExporter()
    tracer = OtlpTracer("http://unused", "wine-proxy", exporter, delay_ms=10, queue_spans=512)
    for _ in range(400):
        tracer.trace(TABLE, pair_of(traced()))
    assert tracer.dropped == 800 - 512
    exporter.go.set()
    tracer.close()
    assert tracer.exported == 512

"""Spans out of exchanges: the request as the client saw it, the call to the model, the copies to the shadows.

Nothing of this runs where requests are served. The worker wrote a ``traceparent`` for the model and kept
the id in it; here, after the fact, the spans are built with their true ids and times and handed to the
OpenTelemetry SDK's batch exporter, which has a thread of its own. Names and attributes follow the HTTP
semantic conventions 1.23 and later.

``<method> <route>`` (server; parent: the client's span, if it sent one)
  ├─ ``<method>`` (client; to the model; its id is the one the model saw as its parent)
  └─ ``<method>`` (client; one per shadow; ``modelproxy.shadow`` is true)
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from proxy import __version__
from proxy.exchange import Details, Flag, Primary
from proxy.identifiers import random_bits
from proxy.model import Fault
from proxy.observer.heads import first_fields, request_line
from proxy.observer.pairing import Pair
from proxy.observer.record import masked_id, masked_method, masked_path
from proxy.routing.table import Model, Route, Table

__all__ = ["OtlpTracer", "build_spans", "traces_url"]

QUEUE_SPANS: Final = 4096
"""Spans that wait for the collector; further ones are dropped and counted."""
_EXPORT_TIMEOUT_S: Final = 5.0

_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SCOPE: Final = InstrumentationScope("modelproxy", __version__)

Attributes = Mapping[str, str | bool | int | float]


def traces_url(otlp: str) -> str:
    """Return where spans go: a URL without a path is the base of a collector, as in
    ``OTEL_EXPORTER_OTLP_ENDPOINT``."""
    base = otlp.rstrip("/")
    return base if "/" in base.partition("://")[2] else f"{base}/v1/traces"


def build_spans(
    table: Table, pair: Pair, resource: Resource, new_id: Callable[[], int] = lambda: random_bits(8)
) -> list[ReadableSpan]:
    """Return the spans of an exchange, server span first; none without a valid trace id.

    Args:
        table: of the exchange's version.
        pair: with its primary.
        resource: who we are.
        new_id: gives fresh span ids.
    """
    primary = pair.primary
    assert primary is not None, "the caller has looked"
    details = primary.details
    assert details is not None, "a worker sends them with what is traced"
    trace_id, upstream_parent = _parse(first_fields(details.request_head).get(b"traceparent"))
    if not trace_id:
        return []
    route = table.routes[primary.route]
    came_from = _parse(details.traceparent)
    server = _context(trace_id, new_id())
    parent = _context(trace_id, came_from[1], remote=True) if came_from[0] == trace_id else None
    common = _common(primary, details, route)
    spans = [_server_span(primary, details, route, server, parent, resource, common)]
    client = _context(trace_id, details.span_id or upstream_parent)
    model = route.variants[primary.served_by].model
    # The status is the model's own unless it gave none and we answered in its place.
    status = primary.status if details.ttfb_ns else 0
    extra = {**common, "modelproxy.retried": bool(primary.flags & Flag.RETRIED)}
    when = (primary.started_wall_ns, details.duration_ns)
    # After a fallback the fault is that of the model which was asked first.
    fault = details.fault if primary.served_by == primary.variant or primary.flags & Flag.CUT else 0
    spans.append(_client_span(model, status, fault, client, server, resource, when, extra))
    for part in pair.shadows.values():
        model, extra = route.copies[part.shadow].model, {**common, "modelproxy.shadow": True}
        context, when = _context(trace_id, new_id()), (part.started_wall_ns, part.duration_ns)
        spans.append(_client_span(model, part.status, part.fault, context, server, resource, when, extra))
    return spans


class OtlpTracer:
    """Builds spans and hands them to the collector at ``otlp``; never waits for it.

    Args:
        otlp: URL, see :func:`traces_url`.
        service_name: resource attribute ``service.name``.
        exporter: stands in for the OTLP exporter.
        delay_ms: longest time a span waits for others.
        queue_spans: spans that may wait for the collector.
    """

    def __init__(
        self,
        otlp: str,
        service_name: str,
        exporter: SpanExporter | None = None,
        delay_ms: int = 2000,
        queue_spans: int = QUEUE_SPANS,
    ) -> None:
        self._resource = Resource.create({"service.name": service_name, "service.version": __version__})
        inner = exporter or OTLPSpanExporter(endpoint=traces_url(otlp), timeout=_EXPORT_TIMEOUT_S)
        self._exporter = _CountingExporter(inner)
        # The SDK drops the oldest span of a full queue without telling; we stop before it is full, and count.
        self._queue_spans = queue_spans
        self._processor = BatchSpanProcessor(
            self._exporter, max_queue_size=2 * queue_spans, schedule_delay_millis=delay_ms
        )
        self._submitted = 0
        self.dropped = 0
        """Spans that found no room."""

    @property
    def exported(self) -> int:
        """Spans that the collector has taken."""
        return self._exporter.exported

    @property
    def failed(self) -> int:
        """Spans that the collector refused, or that never reached it."""
        return self._exporter.failed

    def trace(self, table: Table, pair: Pair) -> None:
        """Export the spans of an exchange."""
        spans = build_spans(table, pair, self._resource)
        waiting = self._submitted - self._exporter.exported - self._exporter.failed
        if waiting + len(spans) > self._queue_spans:
            self.dropped += len(spans)
            return
        self._submitted += len(spans)
        for span in spans:
            self._processor.on_end(span)

    def close(self) -> None:
        """Export what waits, then stop. May wait as long as the collector does: call it from a thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]


class _CountingExporter(SpanExporter):
    """Counts what became of the spans; runs in the batch processor's thread."""

    def __init__(self, inner: SpanExporter) -> None:
        self.exported = 0
        self.failed = 0
        self._inner = inner

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        try:
            result = self._inner.export(spans)
        finally:
            if result is SpanExportResult.SUCCESS:
                self.exported += len(spans)
            else:
                self.failed += len(spans)
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)


def _server_span(
    primary: Primary,
    details: Details,
    route: Route,
    context: SpanContext,
    parent: SpanContext | None,
    resource: Resource,
    common: Attributes,
) -> ReadableSpan:
    attributes = {
        **common,
        "url.path": masked_path(route, details.target),
        "url.scheme": "http",
        "http.route": route.settings.match.path,
        "http.request.body.size": details.request_bytes,
        # Semantic conventions: a server's span is an error from 500 on; 4xx is the client's fault.
        **_status_attributes(primary.status, details.fault, error_from=500),
    }
    name = f"{common['http.request.method']} {route.settings.match.path}"
    when = (primary.started_wall_ns, details.duration_ns)
    return _span(name, SpanKind.SERVER, context, parent, resource, when, attributes)


def _client_span(
    model: Model,
    status: int,
    fault: int,
    context: SpanContext,
    parent: SpanContext,
    resource: Resource,
    when: tuple[int, int],
    common: Attributes,
) -> ReadableSpan:
    attributes = {
        **common,
        "server.address": model.host,
        "server.port": model.port,
        "modelproxy.model": model.name,
        **_status_attributes(status, fault, error_from=400),
    }
    name = str(common["http.request.method"])
    return _span(name, SpanKind.CLIENT, context, parent, resource, when, attributes)


def _span(
    name: str,
    kind: SpanKind,
    context: SpanContext,
    parent: SpanContext | None,
    resource: Resource,
    when: tuple[int, int],
    attributes: Attributes,
) -> ReadableSpan:
    started_wall_ns, duration_ns = when
    is_error = "error.type" in attributes
    return ReadableSpan(
        name=name,
        context=context,
        parent=parent,
        resource=resource,
        attributes=attributes,
        kind=kind,
        status=Status(StatusCode.ERROR if is_error else StatusCode.UNSET),
        start_time=started_wall_ns,
        end_time=started_wall_ns + duration_ns,
        instrumentation_scope=_SCOPE,
    )


def _common(primary: Primary, details: Details, route: Route) -> Attributes:
    return {
        "http.request.method": masked_method(route, request_line(details.request_head)[0]),
        "modelproxy.route": route.name,
        "modelproxy.variant": route.variants[primary.variant].name,
        "modelproxy.version": primary.version,
        "modelproxy.request_id": masked_id(route, primary.request_id),
    }


def _status_attributes(status: int, fault: int, *, error_from: int) -> Attributes:
    attributes: dict[str, str | bool | int | float] = {}
    if status:
        attributes["http.response.status_code"] = status
    if fault:
        attributes["error.type"] = Fault(fault).label
    elif status >= error_from:
        attributes["error.type"] = str(status)
    return attributes


def _parse(traceparent: bytes | None) -> tuple[int, int]:
    """Return trace id and span id of a ``traceparent`` that was validated by the worker; zeros if there is
    none."""
    parts = (traceparent or b"").split(b"-")
    try:
        return (int(parts[1], 16), int(parts[2], 16)) if len(parts) >= 4 else (0, 0)
    except ValueError:
        return 0, 0


def _context(trace_id: int, span_id: int, *, remote: bool = False) -> SpanContext:
    return SpanContext(trace_id, span_id, is_remote=remote, trace_flags=_SAMPLED)

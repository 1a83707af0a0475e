"""Settings → sinks. What a kind needs is imported when a sink of that kind is there."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy import __version__
from proxy.clock import wall_ns
from proxy.sinks.counts import SinkCounts
from proxy.sinks.delivering import HttpWriter, Parcel
from proxy.sinks.jsonl import JsonlWriter
from proxy.sinks.posting import RETRYABLE, Poster
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Settled, Sink, Writer
from proxy.sinks.sinks import Sinks

if TYPE_CHECKING:
    from proxy.settings import PayloadLog, PayloadSink, Settings

__all__ = ["BuiltSinks", "directory_of"]

_SOURCE: Final = "/modelproxy"
_TIMEOUT_NS: Final = 10_000_000_000


class BuiltSinks(Sinks):
    """The sinks of the settings.

    Args:
        settings: at the start. Which sinks there are does not change; limits of their files do.
        run_dir: where their counts are kept.
        on_settled: told what became of the records of the first.

    Raises:
        OSError: no space for their counts.
        ImportError: a library is missing.
    """

    def __init__(self, settings: "Settings", run_dir: Path | None, on_settled: Settled | None) -> None:
        self._writers: list[tuple[PayloadSink, Writer]] = []
        sinks: list[Sink] = []
        kinds: dict[str, str] = {}
        for each in settings.payload_log.sinks:
            writer = _writer(settings, each)
            self._writers.append((each, writer))
            kinds[each.label] = str(each.kind)
            sinks.append(
                Sink(
                    each.label,
                    writer,
                    each.queue or settings.payload_log.queue,
                    on_settled if not sinks else None,
                    SinkCounts(run_dir, each.label),
                    is_eager=settings.payload_log.keep_age is not None and isinstance(writer, JsonlWriter),
                )
            )
        super().__init__(sinks, kinds)

    def configure(self, settings: "Settings") -> None:
        """Use the limits of these settings from the next write on."""
        for each, writer in self._writers:
            if isinstance(writer, JsonlWriter):
                writer.limits = _file_limits(settings, each)


def directory_of(settings: "Settings", sink: "PayloadSink") -> Path:
    """Return where a sink of files writes."""
    return settings.payload_dir if sink.dir is None else settings.state_dir / sink.dir


def _writer(settings: "Settings", sink: "PayloadSink") -> Writer:
    match sink.kind:
        case "cloudevents":
            return _cloudevents(sink)
        case "otlp":
            return _otlp(sink, settings.tracing.service_name)
        case _:
            return JsonlWriter(_file_limits(settings, sink), is_compressed=sink.compression == "zstd")


def _cloudevents(sink: "PayloadSink") -> Writer:
    from proxy.sinks import cloudevents as events

    source = sink.source or _SOURCE
    modes: dict[str, Callable[[Sequence[tuple[int, events.Events]]], Sequence[Parcel]]] = {
        "structured": partial(events.pack_each, mode=events.structured),
        "batch": events.pack_batches,
    }
    pack = modes.get(sink.mode or "", partial(events.pack_each, mode=events.binary))
    return HttpWriter(
        _poster(sink, _url(sink)), lambda record: events.build_events(record, source, wall_ns()), pack
    )


def _otlp(sink: "PayloadSink", service_name: str) -> Writer:
    from proxy.sinks import otlp

    return HttpWriter(
        _poster(sink, otlp.logs_url(_url(sink)), otlp.RETRYABLE),
        lambda record: otlp.build_log_record(record, wall_ns()),
        partial(otlp.pack, service_name=service_name),
        otlp.refused,
    )


def _url(sink: "PayloadSink") -> str:
    assert sink.url is not None, "the settings have been checked"
    return sink.url.get_secret_value()


def _poster(sink: "PayloadSink", url: str, retryable: frozenset[int] = RETRYABLE) -> Poster:
    headers = {name: value.get_secret_value() for name, value in (sink.headers or {}).items()}
    user_agent = {"user-agent": f"modelproxy/{__version__}"}
    return Poster(url, {**user_agent, **headers}, (sink.timeout or _TIMEOUT_NS) / 1e9, retryable)


def _file_limits(settings: "Settings", sink: "PayloadSink") -> FileLimits:
    log: PayloadLog = settings.payload_log
    suffix = ".jsonl.zst" if sink.compression == "zstd" else ".jsonl"
    return FileLimits(
        directory_of(settings, sink), log.roll_size, log.roll_every, log.keep_size, log.keep_age, suffix
    )

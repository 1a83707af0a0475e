"""Settings → sinks. What a kind needs is imported when a sink of that kind is there."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from proxy import __version__
from proxy.clock import wall_ns
from proxy.sinks.counts import SinkCounts, level
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
_PARQUET_EVERY_NS: Final = 60_000_000_000
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
        counts = [SinkCounts(run_dir, each.label) for each in settings.payload_log.sinks]
        level(counts)
        for each, its_counts in zip(settings.payload_log.sinks, counts, strict=True):
            writer = _writer(settings, each)
            self._writers.append((each, writer))
            kinds[each.label] = str(each.kind)
            sinks.append(
                Sink(
                    each.label,
                    writer,
                    each.queue or settings.payload_log.queue,
                    on_settled if not sinks else None,
                    its_counts,
                    # Files are deleted by the clock, and what a killed process left at the start.
                    is_eager=each.kind == "parquet"
                    or (each.kind == "jsonl" and settings.payload_log.keep_age is not None),
                )
            )
        super().__init__(sinks, kinds)

    def configure(self, settings: "Settings") -> None:
        """Use the limits of these settings from the next write on."""
        for each, writer in self._writers:
            if hasattr(writer, "limits"):
                writer.limits = _file_limits(settings, each)


def directory_of(settings: "Settings", sink: "PayloadSink") -> Path:
    """Return where a sink of files writes."""
    if sink.dir is not None:
        return settings.state_dir / sink.dir
    return settings.state_dir / "parquet" if sink.kind == "parquet" else settings.payload_dir


def _writer(settings: "Settings", sink: "PayloadSink") -> Writer:
    match sink.kind:
        case "parquet":
            return _parquet(settings, sink)
        case "kafka":
            return _kafka(sink, sink.queue or settings.payload_log.queue)
        case "cloudevents":
            return _cloudevents(sink)
        case "otlp":
            return _otlp(sink, settings.tracing.service_name)
        case _:
            return JsonlWriter(_file_limits(settings, sink), is_compressed=sink.compression == "zstd")


def _parquet(settings: "Settings", sink: "PayloadSink") -> Writer:
    from proxy.sinks.parquet import GROUP_BYTES, ParquetWriter

    # What gathers takes its room from the queue's: there must be some left while it is written.
    group_bytes = min(GROUP_BYTES, (sink.queue or settings.payload_log.queue) // 2)
    return ParquetWriter(_file_limits(settings, sink), sink.compression or "zstd", group_bytes=group_bytes)


def _kafka(sink: "PayloadSink", queue_bytes: int) -> Writer:
    from proxy.sinks.kafka import KafkaWriter, producer_options

    assert sink.brokers is not None, "the settings have been checked"
    assert sink.topic is not None, "the settings have been checked"
    own = {name: value.get_secret_value() for name, value in (sink.options or {}).items()}
    options = producer_options(sink.brokers, sink.acks or "all", sink.compression or "zstd", queue_bytes, own)
    return KafkaWriter(options, sink.topic, sink.key or "unit")


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
    every = log.roll_every if sink.kind == "jsonl" else sink.roll_every or _PARQUET_EVERY_NS
    return FileLimits(directory_of(settings, sink), log.roll_size, every, log.keep_size, log.keep_age, suffix)

"""Records a second and core that each kind of sink writes: ``python -m benchmarks.sinks [RECORDS]``.

CPU time of this process alone (``process_time``), so a busy machine changes little: parsing where a kind needs it,
compression, encoding, and the calls that hand data to the system. Receivers over HTTP and brokers are not part of it:
of those kinds it is what their messages cost to make. A record is an inference of 2 KiB with one shadow; no two are
alike. Above the rate that one core leaves, a sink's queue fills and records are dropped and counted, which the last
line shows.
"""

import sys
import tempfile
from collections.abc import Callable, Sequence
from hashlib import blake2b
from pathlib import Path
from time import process_time_ns

import orjson

from proxy.sinks.cloudevents import binary, build_events, structured_batch
from proxy.sinks.jsonl import JsonlWriter
from proxy.sinks.otlp import build_log_record, pack
from proxy.sinks.parquet import ParquetWriter
from proxy.sinks.rolling import FileLimits
from proxy.sinks.sink import Entry, Sink, Writer
from tests.sinks.lines import record_of

__all__ = ["SCRIPTS", "entries_of", "rate_of"]

RECORDS = 20_000
BATCH = 500
TOKEN = (0, 1, 0)


def entries_of(count: int) -> list[Entry]:
    """Return different records."""
    found = []
    for number in range(count):
        noise = blake2b(number.to_bytes(8), digest_size=64).digest() * 2
        values = [round((noise[i] << 8 | noise[i + 7]) / 97, 4) for i in range(100)]
        body = orjson.dumps(
            {"inputs": [{"name": "x", "shape": [1, 100], "datatype": "FP32", "data": values}]}
        ).decode()
        record = record_of(
            request_id=f"7b0c{number:028x}", unit=f"{number % 5000:032x}", request={"body": body}
        )
        found.append(Entry(orjson.dumps(record) + b"\n", TOKEN))
    return found


def _limits(directory: str, suffix: str = ".jsonl") -> FileLimits:
    return FileLimits(Path(directory), 64 << 20, 3_600_000_000_000, 1 << 40, None, suffix)


def _through(writer: Writer, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), BATCH):
        writer.write(entries[start : start + BATCH])
    writer.close()


def _lines(directory: str, entries: Sequence[Entry]) -> None:
    _through(JsonlWriter(_limits(directory)), entries)


def _frames(directory: str, entries: Sequence[Entry]) -> None:
    _through(JsonlWriter(_limits(directory, ".jsonl.zst"), is_compressed=True), entries)


def _parquet(directory: str, entries: Sequence[Entry]) -> None:
    _through(ParquetWriter(_limits(directory)), entries)


def _events(_: str, entries: Sequence[Entry]) -> None:
    for entry in entries:
        for event in build_events(orjson.loads(entry.line), "/modelproxy", 0):
            binary(event)


def _batched_events(_: str, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), 64):
        structured_batch(
            [
                event
                for entry in entries[start : start + 64]
                for event in build_events(orjson.loads(entry.line), "/modelproxy", 0)
            ]
        )


def _log_records(_: str, entries: Sequence[Entry]) -> None:
    for start in range(0, len(entries), BATCH):
        part = entries[start : start + BATCH]
        pack(
            [(i, build_log_record(orjson.loads(entry.line), 0)) for i, entry in enumerate(part)], "modelproxy"
        )


SCRIPTS: dict[str, Callable[[str, Sequence[Entry]], None]] = {
    "jsonl": _lines,
    "jsonl, zstd": _frames,
    "parquet": _parquet,
    "cloudevents, binary": _events,
    "cloudevents, batch": _batched_events,
    "otlp": _log_records,
}


def rate_of(script: Callable[[str, Sequence[Entry]], None], entries: Sequence[Entry]) -> tuple[float, int]:
    """Return records a second of CPU, and the bytes that were left in files."""
    with tempfile.TemporaryDirectory() as directory:
        began_ns = process_time_ns()
        script(directory, entries)
        seconds = (process_time_ns() - began_ns) / 1e9
        return len(entries) / seconds, sum(
            path.stat().st_size for path in Path(directory).rglob("*") if path.is_file()
        )


def shed(entries: Sequence[Entry]) -> tuple[int, int]:
    """Return how many of ``entries``, offered as fast as can be, a compressing sink wrote and how many it dropped."""
    with tempfile.TemporaryDirectory() as directory:
        sink = Sink("zstd", JsonlWriter(_limits(directory, ".jsonl.zst"), is_compressed=True), 1 << 20)
        for entry in entries:
            sink.submit(*entry)
        sink.close(60)
        counts = sink.counts.show()
        assert counts["taken"] + counts["dropped"] == len(entries)
        assert counts["taken"] == counts["written"]
        return counts["written"], counts["dropped"]


def main(arguments: Sequence[str]) -> None:
    """Print a table."""
    entries = entries_of(int(arguments[0]) if arguments else RECORDS)
    size = sum(len(entry.line) for entry in entries) / len(entries)
    print(f"{len(entries)} records of {size:.0f} bytes")
    for name, script in SCRIPTS.items():
        script_rate, stored = max(rate_of(script, entries) for _ in range(3))
        kept = f"{stored / len(entries):7.0f} bytes each in files" if stored else ""
        print(f"{name:20} {script_rate:9,.0f} records/s and core {1e6 / script_rate:7.1f} µs  {kept}")
    written, dropped = shed(entries)
    print(f"offered at once to a queue of 1 MiB: {written} written, {dropped} dropped and counted")


if __name__ == "__main__":
    main(sys.argv[1:])

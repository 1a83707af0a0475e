"""Microseconds of the observer per compared pair: from the bytes of a worker's pipe to the counts and the log.

``python -m benchmarks.micro_observer [--profile] [--json]``. No socket; all behind it is real: frames as a worker
builds them, in reads of the size that a worker writes, the queue, the book, the comparison, the counters' mapped files,
a record and, where pairs are logged, the file that it is written to by a thread of its own, whose time counts. Users,
request ids, answers and lengths differ from pair to pair, as those of real clients and models do; dates change every
thousand pairs, and one pair in a hundred disagrees. The best of several rounds is printed.
"""

import asyncio
import cProfile
import gc
import pstats
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time_ns
from typing import Any, NamedTuple, cast

import orjson

from proxy.clock import monotonic_ns
from proxy.dataplane.shipper import FLUSH_BYTES
from proxy.exchange import TOLD, Flag
from proxy.observer.__main__ import GC_THRESHOLDS
from proxy.observer.blocks import Blocks
from proxy.observer.disagreements import Disagreements
from proxy.observer.intake import Connection, Intake
from proxy.observer.observer import NullTracer
from proxy.observer.outcomes import Outcomes
from proxy.sinks.build import BuiltSinks
from proxy.tally import block_path, read_slots
from proxy.tasks import spawn
from tests.observer.exchanges import as_frame, hello_frame, primary_part, shadow_part, table_of

__all__ = ["PAIR_SCRIPTS", "PairScript", "PairStage"]

PAIRS = 4000
ROUNDS = 7
DATED = 1000
"""Pairs that share a date: a model that answers so many a second writes the same one into all."""

CONFIG = """
state_dir: @state
payload_log: {sinks: [{kind: jsonl, compression: @compression}]}
models: {a: {url: "http://127.0.0.1:1"}, b: {url: "http://127.0.0.1:2"}, c: {url: "http://127.0.0.1:3"}}
routes:
  - name: wine
    match: {path: "/v2/models/wine/*"}
    unit: [header:x-user-id]
    variants:
      - {name: v1, model: a, role: champion}
      - {name: v2, model: b, role: challenger, weight: 10}
    shadows: [{model: c, percent: 100}]
    compare: {as: @as}
    log: {percent: 5}
"""


class PairScript(NamedTuple):
    """What is compared, again and again."""

    name: str
    method: str = "classification"
    flags: int = Flag.MIRRORED
    numbers: int = 0
    """Values in an answer; none: a class and three probabilities."""
    is_bare: bool = False
    """The answer is a class alone."""
    compression: str = "none"
    """Of the file that records are written to, where pairs are logged."""


PAIR_SCRIPTS = (
    PairScript("pair", is_bare=True),
    PairScript("pair, with probabilities"),
    PairScript("pair, logged", flags=Flag.MIRRORED | Flag.LOGGED, is_bare=True),
    PairScript("pair, logged with zstd", flags=Flag.MIRRORED | Flag.LOGGED, is_bare=True, compression="zstd"),
    PairScript("pair, 10 KiB", method="auto", numbers=1010),
    PairScript("pair, 10 KiB, logged", method="auto", flags=Flag.MIRRORED | Flag.LOGGED, numbers=1010),
    PairScript("pair, as json", method="json", is_bare=True),
    PairScript("pair, 10 KiB as json", method="json, ignore: [/**/nothing, /outputs/*/none]", numbers=1010),
)


class SilentTransport:
    """Is never closed and never asked to wait for long."""

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...
    def abort(self) -> None: ...
    def is_closing(self) -> bool:
        return False


def answer(script: PairScript, number: int, version: int, label: int) -> bytes:
    """Return what model ``version`` answers to request ``number``: the Open Inference Protocol's JSON."""
    head = b'{"model_name":"wine","model_version":"%d","id":"8f14e45f-%012d","outputs":[' % (version, number)
    if script.numbers:
        noise = 1e-6 * (version > 1)
        values = b",".join(
            [b"%.6f" % (10 + (turn * 7 + number) % 90 + noise) for turn in range(script.numbers)]
        )
        other = b"9999.5" if label else b"0.5"
        shape = script.numbers + 1
        return head + b'{"name":"y","datatype":"FP32","shape":[%d],"data":[%b,%b]}]}' % (
            shape,
            values,
            other,
        )
    data = b'{"name":"predict","datatype":"INT64","shape":[1,1],"data":[%d]}' % (number % 2 + 2 * label)
    if not script.is_bare:
        sure = 0.5 + number % 499 / 1000
        data += b',{"name":"proba","datatype":"FP32","shape":[1,3],"data":[%.4f,%.4f,0]}' % (sure, 1 - sure)
    return head + data + b"]}"


def response_lines(number: int, length: int) -> bytes:
    """Return the header lines of an answer as they are forwarded."""
    second = number // DATED
    return (
        b"Server: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 03:%02d:%02d GMT\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n" % (second // 60 % 60, second % 60, length)
    )


def pair_frames(script: PairScript, number: int) -> tuple[bytes, bytes]:
    """Return the frames of an exchange: of a hundred, one disagrees, and half have the shadow's part first."""
    request_id = b"8f14e45f-ceea-467f-a0e6-%012d" % number
    user = b"user-%d" % (number * 7919 % 1000)
    variant = number % 10 == 0
    body, other = answer(script, number, 1, 0), answer(script, number, 4, number % 100 == 99)
    question = (
        b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[13.24,2.59,2.87,%d]}]}' % number
    )
    lines = response_lines(number, len(body))
    head = b"HTTP/1.1 200 OK\r\n%bx-request-id: %b\r\nx-modelproxy-variant: v1\r\n\r\n" % (lines, request_id)
    primary = primary_part(
        number=number,
        variant=int(variant),
        flags=script.flags,
        request_id=request_id,
        unit=user,
        bucket=number * 7919 % 10_000,
        started_wall_ns=1_790_000_000_000_000_000 + number * 100_003,
        duration_ns=3_000_000 + number,
        ttfb_ns=3_000_000 + number,
        request_body=question,
        request_bytes=len(question),
        request_head=(
            b"POST /v2/models/wine/infer HTTP/1.1\r\nHost: 127.0.0.1:8080\r\nContent-Type: application/json\r\n"
            b"x-user-id: %b\r\nx-request-id: %b\r\nContent-Length: %d\r\n\r\n"
            % (user, request_id, len(question))
        ),
        target=b"/v2/models/wine/infer",
        response_lines=lines,
        response_head=head,
        response_body=body,
    )
    if not script.flags & TOLD:
        primary.details = None
    shadow = shadow_part(
        number=number,
        variant=int(variant),
        started_wall_ns=1_790_000_000_000_100_000 + number * 100_003,
        duration_ns=3_500_000 + number,
        response_lines=response_lines(number, len(other)),
        response_body=other,
    )
    frames = as_frame(primary), as_frame(shadow)
    return frames if number % 2 else (frames[1], frames[0])


class PairStage:
    """An observer with one worker's connection."""

    def __init__(
        self, script: PairScript, run_dir: Path, pairs: int, clock_ns: Callable[[], int] = monotonic_ns
    ) -> None:
        text = CONFIG.replace("@as", script.method).replace("@state", str(run_dir / "state"))
        self.table = table_of(text.replace("@compression", script.compression))
        self.sinks = BuiltSinks(self.table.settings, None, None)
        self.blocks = Blocks(run_dir)
        book = Disagreements(run_dir)
        outcomes = Outcomes(self.blocks, self.sinks, NullTracer(), b"k" * 32, witness=book)
        self.blocks.admit(self.table, [0])
        outcomes.admit(self.table)
        book.admit(self.table)
        book.commit(self.table.version)
        second_ns = 1_000_000_000
        self.intake = Intake(
            run_dir / "observer.sock",
            self.blocks,
            outcomes,
            queue_bytes=1 << 26,
            pair_timeout_ns=60 * second_ns,
            clock_ns=clock_ns,
        )
        self.task = spawn(self.intake.run(), name="intake")
        self.path = block_path(run_dir, "o0", 1)
        self.connection = Connection(self.intake)
        self.connection.connection_made(cast("Any", SilentTransport()))
        self.connection.data_received(hello_frame())
        self.frames = [pair_frames(script, number) for number in range(pairs)]
        self.at = 0

    def reads(self, pairs: int) -> Iterator[bytes]:
        """Yield the next pairs as the pipe brings them; parts of a pair are some frames apart."""
        frames: list[bytes] = []
        for first in range(self.at, self.at + pairs, 8):
            group = self.frames[first : min(first + 8, self.at + pairs)]
            frames += [frames[0] for frames in group] + [frames[1] for frames in group]
        self.at += pairs
        read, size = [], 0
        for frame in frames:
            read.append(frame)
            size += len(frame)
            if size > FLUSH_BYTES:
                yield b"".join(read)
                read, size = [], 0
        yield b"".join(read)

    async def run(self, reads: list[bytes]) -> None:
        """Take ``reads`` in, each when the one before is done with, and wait until what is logged is written."""
        for read in reads:
            self.connection.data_received(read)
            await asyncio.sleep(0)
            while self.intake.statistics().queued_frames:  # noqa: ASYNC110 - nobody signals an empty queue
                await asyncio.sleep(0)
        while self.sinks.queued_bytes:  # noqa: ASYNC110 - nobody signals that either
            await asyncio.sleep(0.005)

    def compared(self) -> dict[str, int]:
        """Return how many pairs were compared, by result."""
        layout = self.table.observer_layout
        counts = layout.counts(read_slots(self.path, layout.size))
        found = Counter[str]()
        for (_, result, *_), number in counts.items():
            found[result] += number
        return {result: found[result] for result in ("agree", "disagree")}

    async def close(self) -> None:
        """End the consumer."""
        self.task.cancel()
        await asyncio.wait([self.task])
        self.sinks.close(5)
        self.blocks.close()

    def written(self) -> int:
        """Return how many records were written.

        Raises:
            RuntimeError: some were not.
        """
        counts = self.sinks.statistics()[0]["counts"]
        if counts["dropped"] or counts["failed"]:
            raise RuntimeError(f"expected every record to be written, got {counts}")
        return int(counts["written"])


async def main() -> None:
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    costs: dict[str, float] = {}
    for script in PAIR_SCRIPTS:
        with tempfile.TemporaryDirectory() as directory:
            stage = PairStage(script, Path(directory), (ROUNDS + 2) * PAIRS // (10 if script.numbers else 1))
            costs[script.name] = await measure(stage, script)
            await stage.close()
            if "--json" not in sys.argv:
                micros = costs[script.name]
                print(
                    f"{script.name}: {micros:.2f} µs a pair, {1e6 / micros:,.0f} pairs/s on a core",
                    flush=True,
                )
    if "--json" in sys.argv:
        print(orjson.dumps(costs).decode())


async def measure(stage: PairStage, script: PairScript) -> float:
    """Return what a pair costs, in microseconds."""
    each = len(stage.frames) // (ROUNDS + 2)
    best = float("inf")
    for turn in range(ROUNDS + 1):
        reads = list(stage.reads(each))
        start = process_time_ns()
        await stage.run(reads)
        best = min(best, (process_time_ns() - start) / each / 1000) if turn else best
    if "--profile" in sys.argv:
        reads = list(stage.reads(each))
        profile = cProfile.Profile()
        profile.enable()
        await stage.run(reads)
        profile.disable()
        pstats.Stats(profile).sort_stats("tottime").print_stats(25)
    if sum(stage.compared().values()) != stage.at:
        raise SystemExit(f"{script.name}: expected {stage.at} pairs to be compared, got {stage.compared()}")
    if script.flags & Flag.LOGGED and stage.written() != stage.at:
        raise SystemExit(f"{script.name}: expected {stage.at} records to be written, got {stage.written()}")
    return best


if __name__ == "__main__":
    asyncio.run(main())

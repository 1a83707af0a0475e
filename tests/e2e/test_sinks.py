"""Records at several places at once, of which one is dead and one slow, and an observer that is killed meanwhile."""

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest

from tests.e2e.running import Running, eventually, model_server, serve
from tests.sinks.receivers import HttpReceiver, http_receiver, unzstd

pytestmark = pytest.mark.slow

OUTCOMES = ("written", "dropped", "failed")
LONGEST_RECORD = 4096
"""A queue is full once its bound is reached, and may be exceeded by one."""


def config(directory: Path, url: str, sinks: str) -> str:
    """Return a configuration that logs every request to these sinks."""
    return f"""
listen: 127.0.0.1:0
admin: 127.0.0.1:0
state_dir: {directory}/state
timeouts: {{drain: 5s}}
payload_log: {{sinks: [{sinks}]}}
models: {{one: {{url: "{url}"}}}}
routes:
  - name: wine
    match: {{path: "/v2/models/wine/*"}}
    unit: [header:x-user-id]
    variants: [{{name: v1, model: one, role: champion}}]
    log: {{percent: 100}}
"""


async def outcomes(proxy: Running, sink: str) -> dict[str, int]:
    """Return the counts of one sink."""
    return {
        each: await proxy.total("modelproxy_sink_records_total", sink=sink, outcome=each) for each in OUTCOMES
    }


async def total(proxy: Running, sink: str) -> int:
    """Return how many records of a sink have an outcome."""
    return sum((await outcomes(proxy, sink)).values())


def ids_in_lines(directory: Path) -> Counter[str]:
    """Return the request ids of all lines; each must be whole."""
    found: Counter[str] = Counter()
    for path in directory.glob("*.jsonl*"):
        data = unzstd(path.read_bytes()) if path.suffix == ".zst" else path.read_bytes()
        assert not data or data.endswith(b"\n")
        found.update(orjson.loads(line)["request_id"] for line in data.splitlines())
    return found


def ids_in_parquet(directory: Path) -> Counter[str]:
    """Return the request ids of all Parquet files; each must be whole."""
    return Counter(
        name
        for path in directory.rglob("*.parquet")
        for name in pq.ParquetFile(path).read(["request_id"]).column(0).to_pylist()
    )


async def send(proxy: Running, count: int) -> None:
    """Send requests, each of which must be answered."""
    for number in range(count):
        assert await proxy.infer(f"user-{number}") == (200, "v1")


@pytest.mark.long
async def test_a_dead_and_a_slow_sink_touch_no_other(tmp_path: Path) -> None:
    """One sink refuses connections and one never answers: clients and the others have every record, and every record of
    each sink has one outcome; the drain writes what is left."""
    async with model_server("one") as model, http_receiver() as slow, http_receiver() as good:
        slow.gate.clear()
        text = config(
            tmp_path,
            model.url,
            "{kind: jsonl, compression: zstd}, {kind: parquet, roll_every: 1s}, "
            "{kind: otlp, name: dead, url: 'http://127.0.0.1:9', queue: 64KiB}, "
            f"{{kind: cloudevents, name: slow, url: '{slow.url}', queue: 64KiB, timeout: 60s}}, "
            f"{{kind: cloudevents, name: good, url: '{good.url}', mode: batch}}",
        )
        async with serve(tmp_path, text) as proxy:
            await send(proxy, 150)
            await proxy.settled()

            async def has_written() -> bool:
                named = [await outcomes(proxy, sink) for sink in ("jsonl", "parquet", "good")]
                return all(each == {"written": 150, "dropped": 0, "failed": 0} for each in named)

            await eventually(has_written, "three sinks to have everything")
            status = {sink["name"]: sink for sink in (await proxy.status())["sinks"]}
            assert status["dead"]["failing"]
            assert "Error" in status["dead"]["problem"]
            assert not status["jsonl"]["failing"]
            for name in ("dead", "slow"):
                assert 0 < status[name]["queue_bytes"] < (64 << 10) + LONGEST_RECORD
                assert status[name]["dropped"] > 0
                assert status[name]["written"] == 0
            assert await proxy.total("modelproxy_sink_failing") == 1
            assert await proxy.total("modelproxy_payload_records_total", outcome="written") == 150
            # Not yet closed by its age, so that the end has something to write.
            await send(proxy, 10)
        assert len(ids_in_lines(proxy.state / "payloads")) == 160
        assert len(ids_in_parquet(proxy.state / "parquet")) == 160
        assert not list((proxy.state / "parquet").rglob("*.tmp"))
        assert sum(len(orjson.loads(body)) for _, _, body in good.got) == 2 * 160


@pytest.mark.long
async def test_a_killed_observer_leaves_whole_files(tmp_path: Path) -> None:
    """After SIGKILL in the midst of writing, lines and Parquet files are whole, none is written twice, and what was in
    hand is counted: what each sink says to have written is what is there, also at a receiver."""
    async with model_server("one") as model, http_receiver() as receiver:
        packed = "{kind: jsonl, name: packed, dir: packed, compression: zstd}"
        events = f"{{kind: cloudevents, name: events, url: '{receiver.url}', mode: batch}}"
        sinks = f"{{kind: jsonl}}, {packed}, {{kind: parquet, roll_every: 3s}}, {events}"
        async with serve(tmp_path, config(tmp_path, model.url, sinks)) as proxy:
            for _ in range(2):
                traffic = asyncio.ensure_future(send(proxy, 120))
                before = await proxy.total("modelproxy_sink_records_total", sink="jsonl", outcome="written")

                async def is_writing(before: int = before) -> bool:
                    return (
                        await proxy.total("modelproxy_sink_records_total", sink="jsonl", outcome="written")
                        > before
                    )

                await eventually(is_writing, "records to be written")
                os.kill(proxy.observer_pid(), signal.SIGKILL)
                await traffic
                await eventually(proxy.is_watched, "another observer")
            await send(proxy, 20)
            await proxy.settled()

            async def has_settled() -> bool:
                totals = [await total(proxy, sink) for sink in ("jsonl", "packed", "parquet", "events")]
                # Also of a record that the kill found between two sinks.
                return len(set(totals)) == 1

            await eventually(has_settled, "each sink to have an outcome of every record")
            counts = {sink: await outcomes(proxy, sink) for sink in ("jsonl", "parquet", "events")}
        lines = ids_in_lines(proxy.state / "payloads")
        columns = ids_in_parquet(proxy.state / "parquet")
        for found in (lines, columns):
            assert max(found.values()) == 1
        # A line that was written and not yet counted when the kill came counts as failed, and is there.
        assert (
            counts["jsonl"]["written"] <= len(lines) <= counts["jsonl"]["written"] + counts["jsonl"]["failed"]
        )
        parquet = counts["parquet"]
        assert parquet["written"] <= len(columns) <= parquet["written"] + parquet["failed"]
        assert parquet["failed"] > 0
        # What it had taken and not answered when the kill came is counted as failed, and is there.
        received = {event["id"] for _, _, body in receiver.got for event in orjson.loads(body)}
        assert counts["events"]["written"] <= len(received) <= sum(counts["events"].values())
        assert not list((proxy.state / "parquet").rglob("*.tmp"))


async def test_a_receiver_that_comes_back_gets_what_waited(tmp_path: Path) -> None:
    """While a receiver refuses for the moment records wait; once it takes them it gets all, and none has failed."""
    async with model_server("one") as model, http_receiver() as receiver:
        receiver.statuses = [503] * 3
        text = config(tmp_path, model.url, f"{{kind: otlp, url: '{receiver.url}'}}")
        async with serve(tmp_path, text) as proxy:
            await send(proxy, 20)
            await eventually(lambda: _has_all(proxy, receiver), "the records to arrive")
            assert receiver.attempts > 3
            assert await outcomes(proxy, "otlp") == {"written": 20, "dropped": 0, "failed": 0}


async def _has_all(proxy: Running, receiver: HttpReceiver) -> bool:
    return bool(receiver.got) and (await outcomes(proxy, "otlp"))["written"] == 20


@pytest.mark.long
async def test_an_upgrade_loses_no_record(tmp_path: Path) -> None:
    """While one observer writes its last records another begins in the same directories: all are there once, all counts
    go on, and none has failed."""
    async with model_server("one") as model:
        sinks = "{kind: jsonl}, {kind: parquet, roll_every: 1s}"
        async with serve(tmp_path, config(tmp_path, model.url, sinks)) as proxy:
            await send(proxy, 40)
            proxy.process.send_signal(signal.SIGUSR2)
            await send(proxy, 40)

            async def is_upgraded() -> bool:
                told = (await proxy.status()).get("config", {})
                return told.get("upgrades_total") == 1 and not told["earlier_pids"]

            await eventually(is_upgraded, "the end of the upgrade", 60)
            await send(proxy, 40)
            await proxy.settled()

            async def has_written() -> bool:
                named = [await outcomes(proxy, sink) for sink in ("jsonl", "parquet")]
                return named == [{"written": 120, "dropped": 0, "failed": 0}] * 2

            await eventually(has_written, "both sinks to have everything")
        for found in (ids_in_lines(proxy.state / "payloads"), ids_in_parquet(proxy.state / "parquet")):
            assert (len(found), max(found.values())) == (120, 1)
        assert not list((proxy.state / "parquet").rglob("*.tmp"))

"""Kafka: librdkafka's mock cluster as the broker, reached over its sockets.

It speaks Kafka's protocol and is no Kafka: no disks, no replicas, no access control. What is proved is what we say to a
cluster and make of its answers.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
import pytest

from proxy.clock import monotonic
from proxy.sinks.kafka import KafkaWriter, producer_options
from proxy.sinks.sink import Result, Token
from tests.sinks.lines import entry_of
from tests.sinks.receivers import MockCluster

WAIT_S = 20.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[MockCluster]:
    with MockCluster() as cluster:
        yield cluster


def writer_of(brokers: Sequence[str], **options: Any) -> KafkaWriter:
    return KafkaWriter(
        {**producer_options(brokers, "all", "zstd", 1 << 20, {}), **options}, "records", "unit"
    )


def until(writer: KafkaWriter, count: int, first: Result) -> tuple[list[Token], list[Token], str]:
    """Tick until so many records are settled."""
    written, failed, problem = [*first.written], [*first.failed], first.problem
    deadline = monotonic() + WAIT_S
    while len(written) + len(failed) < count:
        assert monotonic() < deadline
        result = writer.tick()
        written += result.written
        failed += result.failed
        problem = result.problem or problem
    return written, failed, problem


def test_records_arrive(cluster: MockCluster) -> None:
    """Each record is a message with its JSON as value, the unit's hash as key, and the route as a header."""
    topic = cluster.topic()
    writer = KafkaWriter(producer_options(cluster.brokers, "all", "zstd", 1 << 20, {}), topic, "unit")
    entries = [entry_of(number) for number in range(100)]
    written, failed, _ = until(writer, 100, writer.write(entries))
    assert (sorted(written), failed) == ([entry.token for entry in entries], [])
    assert writer.held_bytes == 0
    messages = cluster.read(topic, 100)
    assert sorted(orjson.loads(message.value())["request_id"] for message in messages) == sorted(
        f"req-{number}" for number in range(100)
    )
    assert {message.key() for message in messages} == {b"f77085a77e6ae7d7f2f97edde3e0db09"}
    assert len({message.partition() for message in messages}) == 1
    assert dict(messages[0].headers()) == {"content-type": b"application/json", "route": b"wine"}
    writer.close()


@pytest.mark.parametrize(
    ("key", "unit", "expected"),
    [("request_id", "u", b"req-7"), ("unit", None, b"req-7"), ("unit", "u", b"u")],
)
def test_keys(cluster: MockCluster, key: str, unit: str | None, expected: bytes) -> None:
    """The key is what was asked for; without a unit it is the request's id."""
    topic = cluster.topic()
    writer = KafkaWriter(producer_options(cluster.brokers, "1", "none", 1 << 20, {}), topic, key)
    until(writer, 1, writer.write([entry_of(7, unit=unit)]))
    assert [message.key() for message in cluster.read(topic, 1)] == [expected]
    writer.close()


def test_a_record_that_is_too_long_fails_alone(cluster: MockCluster) -> None:
    """What no broker takes has failed at once, and the others are written."""
    writer = writer_of(cluster.brokers, **{"message.max.bytes": 4096})
    long = entry_of(2, request={"body": "x" * 8192})
    written, failed, problem = until(writer, 3, writer.write([entry_of(1), long, entry_of(3)]))
    assert (sorted(written), failed) == ([(0, 1, 1), (0, 1, 3)], [(0, 1, 2)])
    assert problem in ("MSG_SIZE_TOO_LARGE", "")
    writer.close()


def test_without_a_broker_records_are_held_and_then_fail() -> None:
    """While nobody answers records are held, and the problem says so; after their time they have failed."""
    writer = writer_of(
        ["127.0.0.1:1"], **{"message.timeout.ms": 1500, "socket.connection.setup.timeout.ms": 1000}
    )
    first = writer.write([entry_of(1)])
    assert first.written == []
    written, failed, problem = until(writer, 1, first)
    assert (written, failed) == ([], [(0, 1, 1)])
    assert problem in ("_MSG_TIMED_OUT", "_ALL_BROKERS_DOWN", "_TRANSPORT")
    assert writer.held_bytes == 0
    writer.close()


def test_closing_gives_up_what_nobody_took(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the end what is held gets a moment, then it has failed: every record has an outcome."""
    monkeypatch.setattr("proxy.sinks.kafka._CLOSE_NS", 200_000_000)
    writer = writer_of(["127.0.0.1:1"])
    first = writer.write([entry_of(1), entry_of(2)])
    assert writer.held_bytes == 2 * len(entry_of(1).line)
    last = writer.close()
    assert sorted([*first.failed, *last.failed]) == [(0, 1, 1), (0, 1, 2)]


def test_options_that_librdkafka_refuses() -> None:
    """Records fail at once, and the operator reads which options to look at, but no value."""
    writer = writer_of(["127.0.0.1:1"], **{"security.protocol": "SSL", "ssl.key.pem": "-----BEGIN s3cr3t"})
    result = writer.write([entry_of(1), entry_of(2)])
    assert (result.written, result.failed) == ((), [(0, 1, 1), (0, 1, 2)])
    assert "(security.protocol, ssl.key.pem): _INVALID_ARG" in result.problem
    assert "s3cr3t" not in result.problem
    assert writer.close() == Result()


def test_closing_without_a_record() -> None:
    """A sink that was never used has no client to close."""
    assert writer_of(["127.0.0.1:1"]).close() == Result()


def test_options() -> None:
    """All acknowledgements mean an idempotent producer; one's own options are kept; queues are bounded above ours."""
    options = producer_options(["a:1", "b:2"], "all", "lz4", 1 << 20, {"sasl.username": "u"})
    assert options["bootstrap.servers"] == "a:1,b:2"
    assert options["enable.idempotence"] is True
    assert options["sasl.username"] == "u"
    assert options["queue.buffering.max.kbytes"] > 1024
    assert producer_options(["a:1"], "1", "lz4", 1 << 20, {})["enable.idempotence"] is False

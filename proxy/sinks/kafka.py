"""Records to Kafka, by librdkafka: one message a record, whose value is the record's JSON.

librdkafka has a queue, batches and retries of its own, in a thread of its own; it is told to give a record up after two
minutes. A record is written when the brokers say so (``acks``), not when it was handed over. With ``acks: all`` the
producer is idempotent: what is sent again is not in the topic twice, and the order within a partition is kept.
"""

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson
from confluent_kafka import KafkaError, KafkaException, Producer

from proxy.clock import monotonic_ns
from proxy.sinks.sink import Entry, Result, Token

if TYPE_CHECKING:
    from confluent_kafka import Message

__all__ = ["KafkaWriter", "producer_options"]

_GIVE_UP_MS: Final = 120_000
_WAIT_NS: Final = 1_000_000_000
"""A write waits so long for the brokers' word; what they have not said by then is held and asked for later."""
_POLL_S: Final = 0.05
_CLOSE_NS: Final = 3_000_000_000
_MEETING: Final = ("sasl.", "security.", "ssl.")
"""Beginnings of the names of options that can be wrong in a way that only librdkafka knows."""

_log = logging.getLogger("modelproxy")


def producer_options(
    brokers: Sequence[str], acks: str, compression: str, queue_bytes: int, options: Mapping[str, str]
) -> dict[str, Any]:
    """Return the configuration of a producer; ``options`` are librdkafka's own."""
    return {
        "client.id": "modelproxy",
        "bootstrap.servers": ",".join(brokers),
        "acks": acks,
        "enable.idempotence": acks == "all",
        "compression.type": compression,
        "linger.ms": 5,
        "message.timeout.ms": _GIVE_UP_MS,
        # The bound is the sink's. This one is higher, so that librdkafka never refuses what was taken.
        "queue.buffering.max.kbytes": queue_bytes // 1024 * 2 + 1024,
        "queue.buffering.max.messages": 0,
        **options,
    }


class KafkaWriter:
    """Brings records to a topic. A :class:`proxy.sinks.sink.Writer`.

    Args:
        options: see :func:`producer_options`.
        topic: where to.
        key_of: member of the record that is the message's key: records with equal keys keep their order.
    """

    def __init__(self, options: Mapping[str, Any], topic: str, key_of: str) -> None:
        self._options = dict(options)
        self._topic = topic
        self._key_of = key_of
        self._producer: Producer | None = None
        self._held = 0
        self._written: list[Token] = []
        self._failed: list[Token] = []
        self._problem = ""

    @property
    def held_bytes(self) -> int:
        """Bytes of the records whose delivery is not known."""
        return self._held

    def write(self, entries: Sequence[Entry]) -> Result:
        """Hand ``entries`` over, and wait a moment for the brokers' word."""
        again: Sequence[Entry] = ()
        try:
            producer = self._open()
        except KafkaException as error:
            # Its text may quote a value; nothing is sent before somebody has changed the file.
            named = ", ".join(sorted(name for name in self._options if name.startswith(_MEETING)))
            problem = f"librdkafka does not take the options of this sink ({named}): {_text(error.args[0])}"
            return Result(failed=[entry.token for entry in entries], problem=problem)
        for position, entry in enumerate(entries):
            try:
                self._produce(producer, entry)
            except BufferError:
                again = entries[position:]
                break
            except KafkaException as error:
                # Too long, for example: it will never be taken.
                self._failed.append(entry.token)
                self._problem = _text(error.args[0])
        return self._collect(producer, _WAIT_NS)._replace(again=again)

    def tick(self) -> Result:
        """Ask what became of what is held."""
        return Result() if self._producer is None else self._collect(self._producer, 0)

    def close(self) -> Result:
        """Wait a moment for what is held, and give up the rest."""
        if self._producer is None:
            return Result()
        done = self._collect(self._producer, _CLOSE_NS)
        self._producer.purge()
        last = self._collect(self._producer, _CLOSE_NS)
        return Result([*done.written, *last.written], [*done.failed, *last.failed], problem=last.problem)

    def _open(self) -> Producer:
        if self._producer is None:
            # What librdkafka would say on standard error at each attempt, error_cb says once.
            silent = logging.Logger("librdkafka")
            silent.addHandler(logging.NullHandler())
            self._producer = Producer({**self._options, "error_cb": self._on_error}, logger=silent)
        return self._producer

    def _produce(self, producer: Producer, entry: Entry) -> None:
        record = orjson.loads(entry.line)
        key = record.get(self._key_of) or record["request_id"]
        size = len(entry.line)

        def on_delivery(error: KafkaError | None, _: "Message") -> None:
            self._held -= size
            if error is None:
                self._written.append(entry.token)
                self._problem = ""
            else:
                self._failed.append(entry.token)
                self._problem = _text(error)

        producer.produce(
            self._topic,
            value=entry.line[:-1],
            key=key.encode(),
            headers=[("content-type", b"application/json"), ("route", record["route"].encode())],
            on_delivery=on_delivery,
        )
        self._held += size

    def _collect(self, producer: Producer, wait_ns: int) -> Result:
        deadline_ns = monotonic_ns() + wait_ns
        producer.poll(0)
        while self._held and monotonic_ns() < deadline_ns:
            producer.poll(_POLL_S)
        written, self._written = self._written, []
        failed, self._failed = self._failed, []
        return Result(written, failed, problem=self._problem)

    def _on_error(self, error: KafkaError) -> None:
        self._problem = _text(error)


def _text(error: KafkaError) -> str:
    """Return what is wrong by its name: librdkafka's texts hold addresses, and perhaps more."""
    return str(error.name())

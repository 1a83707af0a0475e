"""Where records go: one entry for each place, of a kind that says which other keys it may have."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import ConfigDict, SecretStr
from pydantic.config import JsonDict

from proxy.settings import grammar, units
from proxy.settings.fields import REQUIRED, RESTART, Section, setting
from proxy.settings.grammar import duration, size, text
from proxy.settings.kinds import HeaderName, Name

__all__ = [
    "COMMON_KEYS",
    "COMPRESSIONS",
    "DIRECTORIES",
    "KEYS",
    "LIBRARIES",
    "REQUIRED_KEYS",
    "InnerDirectory",
    "PayloadSink",
]

Kind = Literal["jsonl", "parquet", "cloudevents", "kafka", "otlp"]
KafkaOption = Annotated[
    str, text(units.parse_kafka_option, "an option of librdkafka", pattern=units.KAFKA_OPTION_PATTERN)
]
Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]
Key = Literal["unit", "request_id"]
Acks = Literal["all", "1", "0"]
Mode = Literal["binary", "structured", "batch"]

InnerDirectory = Annotated[
    Path, text(units.parse_inner_path, "a relative path that stays inside state_dir", pattern=r"[^/].*")
]

COMMON_KEYS: Final = frozenset({"kind", "name", "queue"})
"""What every kind may have."""

KEYS: Final[dict[str, frozenset[str]]] = {
    "jsonl": frozenset({"dir", "compression"}),
    "parquet": frozenset({"dir", "compression", "roll_every"}),
    "cloudevents": frozenset({"url", "headers", "timeout", "mode", "source"}),
    "kafka": frozenset({"brokers", "topic", "key", "acks", "compression", "options"}),
    "otlp": frozenset({"url", "headers", "timeout"}),
}
"""Kind → what else it may have."""

REQUIRED_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "jsonl": (),
    "parquet": (),
    "cloudevents": ("url",),
    "kafka": ("brokers", "topic"),
    "otlp": ("url",),
}
"""Kind → what it must have."""

COMPRESSIONS: Final[dict[str, tuple[str, ...]]] = {
    "jsonl": ("none", "zstd"),
    "parquet": ("zstd", "none", "snappy"),
    "kafka": ("zstd", "none", "gzip", "snappy", "lz4"),
}
"""Kind → compressions that it knows, its default first."""

DIRECTORIES: Final[dict[str, str]] = {"jsonl": "payloads", "parquet": "parquet"}
"""Kind that writes files → its directory unless said otherwise, inside state_dir."""

LIBRARIES: Final[dict[str, tuple[str, str]]] = {
    "parquet": ("pyarrow", "parquet"),
    "kafka": ("confluent_kafka", "kafka"),
}
"""Kind → module that it needs, and the extra that installs it."""


def _kind_rule(kind: str) -> JsonDict:
    """Return what an editor checks of one kind: no key of another one, and none of its own forgotten."""
    others = frozenset().union(*KEYS.values()) - KEYS[kind]
    allowed: JsonDict = {name: {"type": "null"} for name in sorted(others)}
    if kind in COMPRESSIONS:
        allowed["compression"] = {"enum": [*COMPRESSIONS[kind], None]}
    then: JsonDict = {
        "properties": {**allowed, **{name: {"not": {"type": "null"}} for name in REQUIRED_KEYS[kind]}}
    }
    if REQUIRED_KEYS[kind]:
        then["required"] = list(REQUIRED_KEYS[kind])
    return {"if": {"required": ["kind"], "properties": {"kind": {"const": kind}}}, "then": then}


class PayloadSink(Section):
    """One place that records go to."""

    model_config = ConfigDict(json_schema_extra={"allOf": [_kind_rule(kind) for kind in KEYS]})

    kind: Annotated[Kind, grammar.choice(Kind)] = setting(
        REQUIRED,
        "jsonl: files of JSON lines; parquet: files of columns, partitioned by route and hour; cloudevents: events "
        "over HTTP, in the words of KServe's logger; kafka: messages to a topic; otlp: log records over HTTP to an "
        "OpenTelemetry collector.",
        RESTART,
    )
    name: Name | None = setting(
        None, "What metrics, status and log call it; null: its kind. Two of a kind need names.", RESTART
    )
    queue: Annotated[int, size("64KiB", "16GiB")] | None = setting(
        None, "Memory for records that wait for this sink; null: payload_log.queue.", RESTART
    )
    dir: InnerDirectory | None = setting(
        None,
        "jsonl, parquet: directory of the files: relative to state_dir, and inside it; null: for jsonl "
        "payload_log.dir, else payloads; for parquet parquet.",
        RESTART,
    )
    compression: Annotated[Compression, grammar.choice(Compression)] | None = setting(
        None,
        "jsonl: none or zstd, which writes .jsonl.zst; null: none. parquet: zstd, snappy or none; null: zstd. kafka: "
        "zstd, lz4, snappy, gzip or none; null: zstd.",
        RESTART,
    )
    roll_every: Annotated[int, duration("1s", "24h")] | None = setting(
        None,
        "parquet: files are closed when they are this old, and can be read only then; records of so long are lost at "
        "most when the observer is killed; null: 1m.",
        RESTART,
    )
    url: Annotated[SecretStr, grammar.hidden_url()] | None = setting(
        None,
        "cloudevents, otlp: where to; http:// or https://. Its path and query are not shown again. For otlp a URL "
        "without a path is a collector's base, and /v1/logs is added.",
        RESTART,
    )
    headers: Mapping[HeaderName, Annotated[SecretStr, grammar.hidden_text()]] | None = setting(
        None,
        "cloudevents, otlp: further headers, such as authorization; their values are not shown. null: none.",
        RESTART,
        max_length=32,
    )
    timeout: Annotated[int, duration("100ms", "5m")] | None = setting(
        None,
        "cloudevents, otlp: from opening the connection to the whole answer, of one attempt; null: 10s.",
        RESTART,
    )
    mode: Annotated[Mode, grammar.choice(Mode)] | None = setting(
        None,
        "cloudevents: binary: attributes are headers, as KServe's logger does; structured: an event is a JSON object; "
        "batch: a JSON array of many; null: binary.",
        RESTART,
    )
    source: (
        Annotated[str, text(units.parse_source, "a URI reference", pattern=r"[!-~]+", longest=256)] | None
    ) = setting(
        None,
        "cloudevents: beginning of every event's source, before the route's name; null: /modelproxy.",
        RESTART,
    )

    brokers: tuple[Annotated[str, text(units.parse_broker, "host:port")], ...] | None = setting(
        None,
        "kafka: brokers to begin with; the others are learnt from them.",
        RESTART,
        min_length=1,
        max_length=32,
    )
    topic: Annotated[str, text(units.parse_topic, "a topic's name", pattern=units.TOPIC_PATTERN)] | None = (
        setting(
            None, "kafka: where to. It must be there, unless the brokers make topics by themselves.", RESTART
        )
    )
    key: Annotated[Key, grammar.choice(Key)] | None = setting(
        None,
        "kafka: what of a record is its message's key: unit (its hash, without one request_id) or "
        "request_id. Records of "
        "one key keep their order; null: unit.",
        RESTART,
    )
    acks: Annotated[Acks, grammar.choice(Acks)] | None = setting(
        None,
        "kafka: when a record counts as written: all (all replicas that are in step have it), '1' (one broker), '0' "
        "(handed over); null: all.",
        RESTART,
    )
    options: Mapping[KafkaOption, Annotated[SecretStr, grammar.hidden_text()]] | None = setting(
        None,
        "kafka: how brokers are met, by librdkafka's names: security.protocol, sasl.*, ssl.*; values are not shown; "
        "null: in plain and without credentials.",
        RESTART,
        max_length=32,
    )

    @property
    def label(self) -> str:
        """What metrics, status and log call it."""
        return self.name or self.kind

"""Sinks of the payload log that are wrong in one way each."""

from typing import Any

from tests.settings.settings_world import minimal

__all__ = ["SINK_PROBLEMS", "UNSEEN_BY_EDITORS", "sinks"]


def sinks(*entries: Any, **more: Any) -> str:
    """Return the small file with these sinks."""
    return minimal(payload_log={"sinks": list(entries), **more})


SINK_PROBLEMS: dict[str, tuple[str, str, str]] = {
    "no sink": (sinks(), "payload_log.sinks", "at least one entry"),
    "too many sinks": (
        sinks(*({"kind": "jsonl", "name": f"s{i}", "dir": f"s{i}"} for i in range(9))),
        "payload_log.sinks",
        "at most 8",
    ),
    "sink without a kind": (sinks({"name": "a"}), "payload_log.sinks[0].kind", "the key kind here"),
    "unknown sink": (sinks({"kind": "jsnol"}), "payload_log.sinks[0].kind", "(did you mean jsonl?)"),
    "two sinks of a name": (
        sinks({"kind": "jsonl"}, {"kind": "jsonl", "dir": "b"}),
        "payload_log.sinks[1].name",
        "a name that no other sink has (sinks[0] is called jsonl too)",
    ),
    "two sinks in a directory": (
        sinks({"kind": "jsonl"}, {"kind": "jsonl", "name": "b", "dir": "./payloads"}),
        "payload_log.sinks[1].dir",
        "a directory that no other sink writes into, nor above or below it (sinks[0] does)",
    ),
    "a sink below another": (
        sinks({"kind": "jsonl"}, {"kind": "jsonl", "name": "b", "dir": "payloads/packed"}),
        "payload_log.sinks[1].dir",
        "nor above or below it (sinks[0] does)",
    ),
    "a sink above another": (
        sinks({"kind": "jsonl", "dir": "a/b"}, {"kind": "parquet", "dir": "a"}),
        "payload_log.sinks[1].dir",
        "nor above or below it (sinks[0] does)",
    ),
    "a sink above all": (
        sinks({"kind": "jsonl"}, {"kind": "parquet", "dir": "."}),
        "payload_log.sinks[1].dir",
        "nor above or below it (sinks[0] does)",
    ),
    "two sinks in the log's directory": (
        sinks({"kind": "jsonl", "dir": "a"}, {"kind": "jsonl", "name": "b"}, dir="a"),
        "payload_log.sinks[1].dir",
        "(sinks[0] does)",
    ),
    "sink outside": (
        sinks({"kind": "jsonl", "dir": "../a"}),
        "payload_log.sinks[0].dir",
        "stays inside state_dir",
    ),
    "sink with another's key": (
        sinks({"kind": "jsonl", "url": "http://h/"}),
        "payload_log.sinks[0].url",
        "a key that jsonl does not have, expected one of compression, dir, kind, name, queue",
    ),
    "sink with another's headers": (
        sinks({"kind": "jsonl", "headers": {"a": "b"}}),
        "payload_log.sinks[0].headers",
        "a key that jsonl does not have",
    ),
    "sink of HTTP without a URL": (
        sinks({"kind": "otlp"}),
        "payload_log.sinks[0]",
        "the key url here: otlp needs it",
    ),
    "sink to no URL": (
        sinks({"kind": "otlp", "url": "collector:4318"}),
        "payload_log.sinks[0].url",
        "expected a URL such as",
    ),
    "header of a sink that is none": (
        sinks({"kind": "otlp", "url": "http://h", "headers": {"a b": "c"}}),
        "payload_log.sinks[0].headers.'a b'",
        "expected a header name",
    ),
    "header of a sink with a line break": (
        sinks({"kind": "otlp", "url": "http://h", "headers": {"a": "b\r\nc: d"}}),
        "payload_log.sinks[0].headers.a",
        "a value that is not shown, expected 1 to 4096 visible ASCII characters",
    ),
    "unknown mode of a sink": (
        sinks({"kind": "cloudevents", "url": "http://h", "mode": "binaer"}),
        "payload_log.sinks[0].mode",
        "(did you mean binary?)",
    ),
    "kafka without a topic": (
        sinks({"kind": "kafka", "brokers": ["h:9092"]}),
        "payload_log.sinks[0]",
        "the key topic here: kafka needs it",
    ),
    "kafka without brokers": (
        sinks({"kind": "kafka", "brokers": [], "topic": "t"}),
        "payload_log.sinks[0].brokers",
        "at least one entry",
    ),
    "kafka's broker without a port": (
        sinks({"kind": "kafka", "brokers": ["h"], "topic": "t"}),
        "payload_log.sinks[0].brokers[0]",
        "expected host:port",
    ),
    "no topic": (
        sinks({"kind": "kafka", "brokers": ["h:1"], "topic": "a/b"}),
        "payload_log.sinks[0].topic",
        "a topic's name",
    ),
    "an option that loads a library": (
        sinks(
            {"kind": "kafka", "brokers": ["h:1"], "topic": "t", "options": {"plugin.library.paths": "x.so"}}
        ),
        "payload_log.sinks[0].options.plugin.library.paths",
        "expected one of client.id",
    ),
    "acks as a number": (
        sinks({"kind": "kafka", "brokers": ["h:1"], "topic": "t", "acks": 1}),
        "payload_log.sinks[0].acks",
        "one of all, 1, 0",
    ),
    "another's compression": (
        sinks({"kind": "jsonl", "compression": "lz4"}),
        "payload_log.sinks[0].compression",
        "one of none, zstd: jsonl knows no other",
    ),
    "two kinds of files in a directory": (
        sinks({"kind": "parquet", "dir": "payloads"}, {"kind": "jsonl"}),
        "payload_log.sinks[1].dir",
        "(sinks[0] does)",
    ),
    "slow sink": (
        sinks({"kind": "otlp", "url": "http://h", "timeout": "1h"}),
        "payload_log.sinks[0].timeout",
        "100ms to 5m",
    ),
    "source of events with a blank": (
        sinks({"kind": "cloudevents", "url": "http://h", "source": "a b"}),
        "payload_log.sinks[0].source",
        "a URI reference",
    ),
    "kept for less than a file": (
        sinks({"kind": "jsonl"}, keep_age="30m"),
        "payload_log.keep_age",
        "at least roll_every",
    ),
}

UNSEEN_BY_EDITORS = {
    "two sinks of a name",
    "two sinks in a directory",
    "a sink above all",
    "a sink above another",
    "a sink below another",
    "two sinks in the log's directory",
    "sink outside",
    "kept for less than a file",
    "header of a sink that is none",
    "header of a sink with a line break",
    "slow sink",
    "an option that loads a library",
    "kafka's broker without a port",
    "two kinds of files in a directory",
}
"""What a JSON Schema cannot say."""

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
        "a directory that no other sink writes into (sinks[0] does)",
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
    "kept for less than a file": (
        sinks({"kind": "jsonl"}, keep_age="30m"),
        "payload_log.keep_age",
        "at least roll_every",
    ),
}

UNSEEN_BY_EDITORS = {
    "two sinks of a name",
    "two sinks in a directory",
    "two sinks in the log's directory",
    "sink outside",
    "kept for less than a file",
}
"""What a JSON Schema cannot say."""

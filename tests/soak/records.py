"""What the payload log says, against what clients saw."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from tests.soak.books import End, Entry
from tests.soak.mix import Kind, predicted_label

__all__ = ["Records", "read_records"]

_LABELLED = (Kind.SMALL, Kind.PIPELINED, Kind.FORCED, Kind.FRESH, Kind.CHUNKED, Kind.SLOW_SEND, Kind.LARGE_UP)
_VARIANTS = ("v1", "v2", "v3")


@dataclass(slots=True)
class Records:
    """The records, and each way in which one of them is not true."""

    identities: set[str] = field(default_factory=set)
    lines: int = 0
    doubled: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    untrue: list[str] = field(default_factory=list)
    """Another status or variant than the client's."""
    misjudged: list[str] = field(default_factory=list)
    """A comparison with another result than the answers have."""
    judged: int = 0
    moved: list[str] = field(default_factory=list)
    """A unit with two variants under one table."""


def read_records(lines: Iterable[bytes], entries: Mapping[str, Entry]) -> Records:
    """Compare each line of the payload log with the client's entry of the same request id."""
    records = Records()
    homes: dict[tuple[int, str, str], str] = {}
    for line in lines:
        record: dict[str, Any] = orjson.loads(line)
        identity = record["request_id"]
        records.lines += 1
        if identity in records.identities:
            records.doubled.append(identity)
        records.identities.add(identity)
        entry = entries.get(identity)
        if entry is None:
            records.unknown.append(identity)
            continue
        if entry.end is End.WHOLE:
            _compare(records, record, entry)
        if record["probability"] is not None and record["unit"] is not None:
            home = (record["table_version"], record["route"], record["unit"])
            if homes.setdefault(home, record["variant"]) != record["variant"]:
                records.moved.append(identity)
    return records


def _compare(records: Records, record: Mapping[str, Any], entry: Entry) -> None:
    identity = entry.order.identity
    told = record["response"]["status"], record["route"]
    if told != (entry.status, entry.order.route) or (entry.variant and record["served_by"] != entry.variant):
        records.untrue.append(f"{identity}: {told} by {record['served_by']}")
    if entry.order.kind not in _LABELLED or entry.variant not in _VARIANTS:
        return
    for shadow in record["shadows"]:
        comparison = shadow.get("comparison")
        if not comparison or shadow["status"] != 200 or comparison["result"] == "uncomparable":
            continue
        records.judged += 1
        same = predicted_label(shadow["model"], identity) == predicted_label(entry.variant, identity)
        if comparison["result"] != ("agree" if same else "disagree"):
            records.misjudged.append(f"{identity}: {shadow['model']} {comparison['result']}")

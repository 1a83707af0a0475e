"""Lines of another kind beside the records of inferences: readers pass over them."""

from pathlib import Path

import orjson

from proxy.records.label import KIND, is_other_kind
from proxy.records.reading import PayloadReader
from proxy.records.record import Damaged, OtherKind, Record, parse_record
from proxy.records.schema import SCHEMA_VERSION
from tests.sinks.lines import RECORD

LABEL = {
    "schema": SCHEMA_VERSION,
    "kind": KIND,
    "ts": "2026-11-21T04:05:20.111541Z",
    "request_id": RECORD["request_id"],
    "route": "wine",
    "labels": [1, None],
}


def test_kinds() -> None:
    """A label is no inference, and neither is what a later program may write."""
    assert not is_other_kind(RECORD)
    assert isinstance(parse_record(orjson.dumps(RECORD)), Record)
    for document in (LABEL, {**RECORD, "kind": "of tomorrow"}):
        assert is_other_kind(document)
        found = parse_record(orjson.dumps(document))
        assert isinstance(found, OtherKind)
        assert isinstance(found, Damaged)


def test_they_are_passed_over(tmp_path: Path) -> None:
    """They are neither records nor damage, and are counted."""
    lines = [LABEL, RECORD, LABEL]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    reader = PayloadReader([tmp_path])
    assert [record.request_id for record in reader] == [RECORD["request_id"]]
    assert (reader.reading.records, reader.reading.others, reader.reading.damaged) == (1, 2, 0)

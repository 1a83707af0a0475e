"""Lines of another kind beside the records of inferences: readers pass over them."""

from pathlib import Path

import orjson
import pytest

from proxy.records.label import KIND, LABEL_COLUMNS, is_other_kind, label_rows
from proxy.records.reading import PayloadReader
from proxy.records.record import Damaged, OtherKind, Record, parse_record
from proxy.records.schema import SCHEMA_VERSION
from tests.sinks.lines import RECORD

README = (Path(__file__).parents[2] / "README.md").read_text()

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


def test_the_readme_prints_the_columns() -> None:
    """The README has one row for each column of labels, in order, with its kind and its meaning."""
    table = README.split("| column of labels |", 1)[1].split("\n\n", 1)[0]
    assert table.splitlines()[2:] == [
        f"| `{column.name}` | {column.kind} | {column.meaning[0].upper()}{column.meaning[1:]}. |"
        for column in LABEL_COLUMNS
    ]


def test_rows() -> None:
    """Of each row that got a label there is one row; what has no labels is none."""
    found = label_rows({**LABEL, "labels": [None, "red", [1, 2]]})
    assert [(row["row"], row["label"], row["route"]) for row in found] == [
        (1, "red", "wine"),
        (2, "[1,2]", "wine"),
    ]
    with pytest.raises(KeyError):
        label_rows(RECORD)


def test_they_are_passed_over(tmp_path: Path) -> None:
    """They are neither records nor damage, and are counted."""
    lines = [LABEL, RECORD, LABEL]
    (tmp_path / "a.jsonl").write_bytes(b"".join(orjson.dumps(line) + b"\n" for line in lines))
    reader = PayloadReader([tmp_path])
    assert [record.request_id for record in reader] == [RECORD["request_id"]]
    assert (reader.reading.records, reader.reading.others, reader.reading.damaged) == (1, 2, 0)

"""Parquet files, read back: the records that went in, and damage that is told."""

import sys
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from proxy.records.columnar import ColumnFile, document_of
from proxy.records.files import LogError, find_files
from proxy.records.reading import PayloadReader
from proxy.records.record import Record, read_document
from proxy.sinks.parquet_tables import table_of
from tests.records.lines import built_document, line_of, plain_document
from tests.records.test_table import NEW


def write(directory: Path, records: list[dict[str, Any]], name: str = "payloads-1.parquet") -> Path:
    """Write records as the sink does, into the partition of their route."""
    folder = directory / f"route={records[0]['route']}" / "date=2026-11-21" / "hour=04"
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table_of(records), folder / name)
    return folder / name


def without_document(record: Record) -> list[Any]:
    """Return everything that a record says."""
    return [getattr(record, name) for name in Record.__slots__ if name != "document"]


RECORDS: dict[str, dict[str, Any]] = {
    "what the observer writes": built_document(),
    "headers and redaction": built_document(
        "{percent: 50, headers: [x-user-id, host], redact: [{json: /inputs}]}"
    ),
    "content left out": built_document("{percent: 50, content: false}"),
    "the first version": plain_document(),
    "a stream that was put together": plain_document(schema=2, response=plain_document()["response"] | {
        "content_type": "text/event-stream", "body": "{}", "assembled": True,
    }),
    "a query and what it takes": plain_document(schema=2, request=plain_document()["request"] | {
        "has_query": True, "accept": "text/event-stream", "inference_header_length": 2, "content_encoding": "x",
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_comes_back(tmp_path: Path, name: str) -> None:
    """What a file of lines would give a file of columns gives."""
    expected = read_document(RECORDS[name])
    write(tmp_path, [RECORDS[name]])
    (found,) = PayloadReader([tmp_path])
    assert isinstance(expected, Record)
    assert without_document(found) == without_document(expected)


def test_the_whole_document_comes_back() -> None:
    """Every field that is not null stands where it stood."""
    for document in (built_document(), {name: value for name, value in NEW.items() if name != "of_tomorrow"}):
        (row,) = table_of([document]).to_pylist()
        found = document_of(row, "wine")
        assert {key for key in document if document[key] is not None} <= found.keys()
        assert found["shadows"][0]["comparison"] == document["shadows"][0]["comparison"]
        assert [found.get(name) for name in ("slices", "noise", "rows", "rows_omitted")] == [
            _said(document.get(name)) for name in ("slices", "noise", "rows", "rows_omitted")
        ]
        orjson.dumps(found)


def _said(value: Any) -> Any:
    """Return ``value`` without what is null."""
    if not isinstance(value, dict):
        return value
    return {name: _said(inner) for name, inner in value.items() if inner is not None}


def test_many_files_in_order(tmp_path: Path) -> None:
    """Partitions are merged by time, and read to their end."""
    write(tmp_path, [plain_document(i) for i in range(0, 600, 2)])
    write(tmp_path, [plain_document(i, route="beer") for i in range(1, 600, 2)], "payloads-2.parquet")
    reader = PayloadReader([tmp_path])
    found = list(reader)
    assert [record.request_id for record in found] == [f"r{i}" for i in range(600)]
    assert {record.route for record in found} == {"wine", "beer"}
    assert reader.reading.read_bytes == reader.reading.total_bytes > 0


def test_damage_is_told(tmp_path: Path) -> None:
    """A file that is no Parquet, or half of one, is named; the others are read."""
    whole = write(tmp_path, [plain_document(1)])
    half = whole.with_name("payloads-2.parquet")
    half.write_bytes(whole.read_bytes()[:-20])
    reader = PayloadReader([tmp_path])
    assert [record.request_id for record in reader] == ["r1"]
    assert reader.reading.problems == [f"{half}: damaged Parquet"]


def test_rows_that_are_no_records(tmp_path: Path) -> None:
    """A row without what a record must have is damage."""
    path = tmp_path / "other.parquet"
    pq.write_table(table_of([plain_document()]).drop(["ts"]), path)
    foreign = tmp_path / "foreign.parquet"
    pq.write_table(
        pa.table({"ts": ["yesterday", None], "request_headers": ["{", None], "b": [1, 2]}), foreign
    )
    reader = PayloadReader([path, foreign])
    assert list(reader) == []
    assert [problem.partition(": ")[2] for problem in sorted(reader.reading.problems)] == [
        "ts is no time",
        "ts is no text",
        "ts is no text",
    ]


def test_both_kinds_are_perhaps_the_same_records(tmp_path: Path) -> None:
    """A directory in which two sinks write is refused: each record would count twice."""
    whole = write(tmp_path, [plain_document()])
    (whole.parent / ".payloads-3.parquet").touch()
    assert find_files([tmp_path]) == [whole]
    (tmp_path / "payloads.jsonl").write_bytes(line_of())
    with pytest.raises(LogError, match="perhaps of the same records"):
        PayloadReader([tmp_path])


def test_without_the_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no PyArrow is told what to install."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(LogError, match=r"pip install 'modelproxy\[parquet\]'"):
        list(ColumnFile(tmp_path / "a.parquet").records())
